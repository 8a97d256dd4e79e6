//! What can go wrong with the registry, and what to do about it.
//!
//! Owns [`RegistryError`]. Each error names the file or the subject ([`RegistryError::what`]), and what to do
//! ([`RegistryError::remedy`]); whether a part of it was done is said where it can be in doubt. Nothing that was
//! acknowledged before an error is lost by it.

use std::io;
use std::path::{Path, PathBuf};

use airssys_wasm::Digest;

use super::deployment::DeploymentState;
use crate::address::ActorAddress;

/// Why the registry did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{}{}", self.what(), self.remedy().map(|remedy| format!("; {remedy}")).unwrap_or_default())]
#[non_exhaustive]
pub enum RegistryError {
    /// The operating system refuses.
    Io {
        /// What was being done, as `write`.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// There is no room on the disk. What was asked has not been done, or not been acknowledged: ask what is there
    /// before doing it again.
    Full {
        /// What was being done, as `write`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Somebody else could have written what is there.
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Another process, or another [`Registry`](crate::Registry) of this one, has it.
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A newer version of the host has written it.
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this version reads.
        known: u32,
    },
    /// What lies on disk is not what was written there.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The database was closed by an error of another call just now.
    Closed {
        /// The file.
        path: PathBuf,
    },
    /// No artifact has that digest.
    NoSuchArtifact {
        /// The file that it would be.
        path: PathBuf,
        /// The digest asked for.
        digest: Digest,
    },
    /// A file that a deployment has to boot from is missing or damaged, and none of the files that a manifest names has its
    /// bytes. Nothing was changed.
    ArtifactLost {
        /// The component.
        component: ActorAddress,
        /// Its revision.
        revision: u64,
        /// The digest of the file.
        digest: Digest,
        /// The file in the registry.
        path: PathBuf,
        /// Whether there is a file there, with other bytes.
        damaged: bool,
        /// Files that have been looked at in its place.
        looked: Vec<PathBuf>,
    },
    /// The component has no revision of that number, or it has been collected.
    NoSuchRevision {
        /// The component.
        component: ActorAddress,
        /// The number asked for.
        number: u64,
    },
    /// The application has no deployment of that number, or it has been collected.
    NoSuchDeployment {
        /// The application.
        application: ActorAddress,
        /// The number asked for.
        number: u64,
    },
    /// The journal does not allow that state after the one there is.
    IllegalTransition {
        /// The application.
        application: ActorAddress,
        /// The deployment.
        number: u64,
        /// Its state.
        from: DeploymentState,
        /// The state asked for.
        to: DeploymentState,
    },
    /// One deployment of an application at a time.
    Unfinished {
        /// The application.
        application: ActorAddress,
        /// The deployment that has not ended.
        number: u64,
        /// Its state.
        state: DeploymentState,
    },
    /// A step can only be noted of a deployment that goes on.
    Ended {
        /// The application.
        application: ActorAddress,
        /// The deployment.
        number: u64,
        /// Its state.
        state: DeploymentState,
    },
    /// The address of a component does not begin with its application's.
    NotOfApplication {
        /// The application.
        application: ActorAddress,
        /// The component.
        component: ActorAddress,
    },
    /// A record is larger than any real one.
    TooLarge {
        /// What it is of.
        what: String,
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The journal of one deployment has as many records as it can have; transitions still fit.
    TooManySteps {
        /// The application.
        application: ActorAddress,
        /// The deployment.
        number: u64,
        /// The bound.
        max: u64,
    },
}

impl RegistryError {
    /// What is the matter.
    #[must_use]
    pub fn what(&self) -> String {
        match self {
            Self::Io { doing, path, .. } => format!("cannot {doing} {}", path.display()),
            Self::Full { doing, path, .. } => {
                format!("no room on the disk to {doing} {}", path.display())
            }
            Self::Unsafe { path, why, .. } => {
                format!("{} is not safe for the registry: {why}", path.display())
            }
            Self::InUse { path } => format!("the registry in {} is in use", path.display()),
            Self::NewerFormat { path, found, known } => format!(
                "{} is of format {found}, and this version reads up to {known}",
                path.display()
            ),
            Self::Corrupt { path, what, .. } => format!("{} is damaged: {what}", path.display()),
            Self::Closed { path } => {
                format!(
                    "{} was closed after an error of another call",
                    path.display()
                )
            }
            Self::NoSuchArtifact { digest, .. } => {
                format!("the registry has no artifact {digest}")
            }
            Self::ArtifactLost {
                component,
                revision,
                digest,
                path,
                damaged,
                looked,
            } => lost(component, *revision, *digest, path, *damaged, looked),
            Self::NoSuchRevision { component, number } => {
                format!("`{component}` has no revision {number}")
            }
            Self::NoSuchDeployment {
                application,
                number,
            } => format!("`{application}` has no deployment {number}"),
            Self::IllegalTransition {
                application,
                number,
                from,
                to,
            } => format!(
                "deployment {number} of `{application}` is {from}, and {to} cannot follow; nothing was written"
            ),
            Self::Unfinished {
                application,
                number,
                state,
            } => format!("deployment {number} of `{application}` is {state}"),
            Self::Ended {
                application,
                number,
                state,
            } => format!(
                "deployment {number} of `{application}` is {state}, so there are no more steps of it"
            ),
            Self::NotOfApplication {
                application,
                component,
            } => format!("`{component}` is not a component of `{application}`"),
            Self::TooLarge { what, bytes, max } => {
                format!("{what} has {bytes} bytes, {max} is the most that the registry keeps")
            }
            Self::TooManySteps {
                application,
                number,
                max,
            } => format!(
                "the journal of deployment {number} of `{application}` has {max} records already"
            ),
        }
    }

    /// What to do about it, where something can be done.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        let words = match self {
            Self::Io { .. } => "make sure that the host may use it, and do it again",
            Self::Full { .. } => "free some, for example by garbage collection, and do it again",
            Self::Unsafe { remedy, .. } | Self::Corrupt { remedy, .. } => remedy,
            Self::InUse { .. } => {
                "one host has it at a time: stop the other, or choose another directory"
            }
            Self::NewerFormat { .. } => "use the version that wrote it, or a newer one",
            Self::Closed { .. } => "do it again",
            Self::NoSuchArtifact { path, .. } => {
                let path = path.display();
                return Some(format!(
                    "put a file with those bytes at {path}, or deploy a component of them, which does so"
                ));
            }
            Self::ArtifactLost { path, .. } => {
                let path = path.display();
                return Some(format!(
                    "put a file with those bytes at {path}, or where the manifest names it; if there is none any more, \
                     another directory begins with the manifest's files, and without the history"
                ));
            }
            Self::NoSuchRevision { .. } => {
                "`airssys registry list` says which there are, older ones are gone by retention"
            }
            Self::NoSuchDeployment { .. } => {
                "`airssys history` says which there are, older ones are gone by retention"
            }
            Self::Unfinished { .. } => "wait for its end, or roll it back, before the next",
            Self::NotOfApplication { application, .. } => {
                return Some(format!("its address begins with `{application}/`"));
            }
            Self::TooLarge { .. } => "make it shorter",
            Self::TooManySteps { .. } => "note fewer steps",
            Self::IllegalTransition { .. } | Self::Ended { .. } => return None,
        };
        Some(words.to_owned())
    }

    /// What is the matter with the reason behind it, where there is one; without what to do.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Io { source, .. } | Self::Full { source, .. } => {
                format!("{}: {source}", self.what())
            }
            error => error.what(),
        }
    }

    /// The kind as a stable kebab-case name, the same in logs and JSON.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io",
            Self::Full { .. } => "disk-full",
            Self::Unsafe { .. } => "unsafe-directory",
            Self::InUse { .. } => "in-use",
            Self::NewerFormat { .. } => "newer-format",
            Self::Corrupt { .. } => "corrupt",
            Self::Closed { .. } => "closed",
            Self::NoSuchArtifact { .. } => "no-such-artifact",
            Self::ArtifactLost { .. } => "artifact-lost",
            Self::NoSuchRevision { .. } => "no-such-revision",
            Self::NoSuchDeployment { .. } => "no-such-deployment",
            Self::IllegalTransition { .. } => "illegal-transition",
            Self::Unfinished { .. } => "unfinished",
            Self::Ended { .. } => "ended",
            Self::NotOfApplication { .. } => "not-of-application",
            Self::TooLarge { .. } => "too-large",
            Self::TooManySteps { .. } => "too-many-steps",
        }
    }

    /// Whether the same call may succeed later without anything being changed in the registry.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            Self::Io { .. } | Self::Full { .. } | Self::InUse { .. } | Self::Closed { .. }
        )
    }

    /// An error of the operating system, with its place.
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full {
                doing,
                path,
                source,
            },
            _ => Self::Io {
                doing,
                path,
                source,
            },
        }
    }

    /// Whether it says that the database cannot be used further as it is open now.
    pub(super) fn breaks_database(&self) -> bool {
        matches!(
            self,
            Self::Io { .. } | Self::Full { .. } | Self::Corrupt { .. } | Self::Closed { .. }
        )
    }
}

fn lost(
    component: &ActorAddress,
    revision: u64,
    digest: Digest,
    path: &Path,
    damaged: bool,
    looked: &[PathBuf],
) -> String {
    let is = if damaged { "damaged" } else { "missing" };
    let path = path.display();
    let mut text =
        format!("the file of `{component}`, revision {revision}, is {is}: {path}, {digest}");
    let others: Vec<_> = looked.iter().map(|one| one.display().to_string()).collect();
    if !others.is_empty() {
        text.push_str(&format!(
            "; its bytes are not at {}",
            others.join(", nor at ")
        ));
    }
    text
}
