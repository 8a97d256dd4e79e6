//! What can go wrong with the registry, and what to do about it.
//!
//! Owns [`RegistryError`]. Each error names the file or the subject, and what to do; whether a part of it was done is
//! said where it can be in doubt. Nothing that was acknowledged before an error is lost by it.

use std::io;
use std::path::{Path, PathBuf};

use airssys_wasm::Digest;

use super::deployment::DeploymentState;
use crate::address::ActorAddress;

/// Why the registry did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The operating system refuses.
    #[error(
        "cannot {doing} {}; make sure that the host may use it, and do it again", .path.display()
    )]
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
    #[error(
        "no room on the disk to {doing} {}; free some, for example by garbage collection, and do it again",
        .path.display()
    )]
    Full {
        /// What was being done, as `write`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Somebody else could have written what is there.
    #[error("{} is not safe for the registry: {why}; {remedy}", .path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Another process, or another [`Registry`](crate::Registry) of this one, has it.
    #[error(
        "the registry in {} is in use; one host has it at a time: stop the other, or choose another directory",
        .path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A newer version of the host has written it.
    #[error(
        "{} is of format {found}, and this version reads up to {known}; use the version that wrote it, or a newer one",
        .path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this version reads.
        known: u32,
    },
    /// What lies on disk is not what was written there.
    #[error("{} is damaged: {what}; {remedy}", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The database was closed by an error of another call just now.
    #[error("{} was closed after an error of another call; do it again", .path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
    /// No artifact has that digest.
    #[error(
        "the registry has no artifact {digest}: put a file with those bytes at {}, or deploy a component of them, which does so", .path.display()
    )]
    NoSuchArtifact {
        /// The file that it would be.
        path: PathBuf,
        /// The digest asked for.
        digest: Digest,
    },
    /// The component has no revision of that number, or it has been collected.
    #[error(
        "`{component}` has no revision {number}; `airssys registry list` says which there are, older ones are gone by retention"
    )]
    NoSuchRevision {
        /// The component.
        component: ActorAddress,
        /// The number asked for.
        number: u64,
    },
    /// The application has no deployment of that number, or it has been collected.
    #[error(
        "`{application}` has no deployment {number}; `airssys history` says which there are, older ones are gone by retention"
    )]
    NoSuchDeployment {
        /// The application.
        application: ActorAddress,
        /// The number asked for.
        number: u64,
    },
    /// The journal does not allow that state after the one there is.
    #[error(
        "deployment {number} of `{application}` is {from}, and {to} cannot follow; nothing was written"
    )]
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
    #[error(
        "deployment {number} of `{application}` is {state}; wait for its end, or roll it back, before the next"
    )]
    Unfinished {
        /// The application.
        application: ActorAddress,
        /// The deployment that has not ended.
        number: u64,
        /// Its state.
        state: DeploymentState,
    },
    /// A step can only be noted of a deployment that goes on.
    #[error("deployment {number} of `{application}` is {state}, so there are no more steps of it")]
    Ended {
        /// The application.
        application: ActorAddress,
        /// The deployment.
        number: u64,
        /// Its state.
        state: DeploymentState,
    },
    /// The address of a component does not begin with its application's.
    #[error(
        "`{component}` is not a component of `{application}`; its address begins with `{application}/`"
    )]
    NotOfApplication {
        /// The application.
        application: ActorAddress,
        /// The component.
        component: ActorAddress,
    },
    /// A record is larger than any real one.
    #[error("{what} has {bytes} bytes, {max} is the most that the registry keeps; make it shorter")]
    TooLarge {
        /// What it is of.
        what: String,
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The journal of one deployment has as many records as it can have; transitions still fit.
    #[error(
        "the journal of deployment {number} of `{application}` has {max} records already; note fewer steps"
    )]
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
