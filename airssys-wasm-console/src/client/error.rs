//! Why a host did not do what it was asked, or was not found.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::api::{API_MAJOR, ErrorReport};
use crate::socket::{FoundSocket, SocketDirectory, SocketError};

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Nobody runs that application, or any.
    #[error("{} is running{}", match .application {
        Some(name) => format!("no application `{}`", name.escape_debug()),
        None => "no application".to_owned(),
    }, named(.running, "; there is "))]
    NoHost {
        /// The application asked for, if one was.
        application: Option<String>,
        /// Where its socket would be.
        directory: PathBuf,
        /// Those that run there.
        running: Vec<String>,
    },
    /// It is not clear which is meant.
    #[error("more than one application is running: {}", .running.join(", "))]
    Several {
        /// Those that run.
        running: Vec<String>,
    },
    /// There is no socket at the path, or its host is gone.
    #[error("no host listens at {0}")]
    NotListening(PathBuf),
    /// The sockets there cannot be looked at.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The machine refuses the connection.
    #[error("cannot connect to {path}: {why}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        why: io::Error,
    },
    /// It took too long. What was asked may have been done.
    #[error("the host at {path} did not answer within {} s", .within.as_secs())]
    Timeout {
        /// The socket.
        path: PathBuf,
        /// How long it was waited for.
        within: Duration,
    },
    /// Something else listens there.
    #[error("what listens at {0} is no airssys host")]
    NotAHost(PathBuf),
    /// Its API is another.
    #[error(
        "the host at {path} speaks version {version} of the control API, and this program version {API_MAJOR}"
    )]
    OtherVersion {
        /// The socket.
        path: PathBuf,
        /// The host's version.
        version: String,
    },
    /// The host refused, and said why.
    #[error("{}", .report.message)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        report: ErrorReport,
    },
    /// The answer cannot be understood, or ended early. What was asked may have been done.
    #[error("the host at {path} did not answer in full: {why}")]
    Garbled {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

fn named(running: &[String], before: &str) -> String {
    match running {
        [] => String::new(),
        running => format!("{before}{}", running.join(", ")),
    }
}

impl ControlError {
    pub(super) fn no_host(
        directory: &SocketDirectory,
        application: Option<&str>,
        live: &[FoundSocket],
    ) -> Self {
        Self::NoHost {
            application: application.map(str::to_owned),
            directory: directory.path().to_owned(),
            running: names(live),
        }
    }

    pub(super) fn several(live: &[FoundSocket]) -> Self {
        Self::Several {
            running: names(live),
        }
    }

    pub(super) fn connect(path: &Path, why: io::Error) -> Self {
        let path = path.to_owned();
        match why.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Self::NotListening(path),
            _ => Self::Connect { path, why },
        }
    }

    /// The kind as a stable kebab-case name; a refusal gives the host's.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::NoHost { .. } => "no-host",
            Self::Several { .. } => "several-hosts",
            Self::NotListening(_) => "not-listening",
            Self::Socket(_) => "socket",
            Self::Connect { .. } => "connect",
            Self::Timeout { .. } => "timeout",
            Self::NotAHost(_) => "not-a-host",
            Self::OtherVersion { .. } => "other-version",
            Self::Refused { report, .. } => &report.kind,
            Self::Garbled { .. } => "garbled",
        }
    }

    /// What can be done about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoHost { running, .. } if !running.is_empty() => Some(
                "choose one with `--app NAME`, or name another socket with `--control`".to_owned(),
            ),
            Self::NoHost { directory, .. } => Some(format!(
                "`airssys up` serves its socket in {}; name another socket with `--control`",
                directory.display()
            )),
            Self::Several { .. } => Some("choose one with `--app NAME`".to_owned()),
            Self::NotListening(path) => Some(format!(
                "`airssys up MANIFEST --control {}` serves it",
                path.display()
            )),
            Self::Refused { report, .. } => report.hint.clone(),
            Self::OtherVersion { .. } => {
                Some("use the `airssys` that the host was started with".to_owned())
            }
            _ => None,
        }
    }
}

fn names(live: &[FoundSocket]) -> Vec<String> {
    live.iter().map(|found| found.application.clone()).collect()
}
