//! The durable registry: which revisions of a component there are, and the journal of deployments.
//!
//! ```text
//! bytes ── put_artifact ──▶ Digest ── register ──▶ Revision ── begin ──▶ Deployment ── advance … ──▶ Permanent
//!                           a file                 a record              a record       records      what boots
//! ```
//!
//! Owns a directory: `registry.redb` with all records, and `artifacts/` with the components' files by digest. It knows
//! what is to run, and not what does: it starts, stops and routes nothing. Everything that returns is durable; after a
//! crash at any point `recover` ends what was under way, and says what to boot.
//!
//! **Calls block** on the disk, for two syncs each if they write: call them off the async workers, for example in
//! tokio's `spawn_blocking`. Nothing here is on the way of a message. `docs/registry.md` describes what lies on disk.

mod artifacts;
mod database;
mod deployment;
mod error;
mod fault;
mod journal;
mod query;
mod records;
mod recovery;
mod retention;
mod revision;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use airssys_wasm::Digest;
use parking_lot::Mutex;

pub use deployment::{
    DeployedComponent, DeployedLink, Deployment, DeploymentPointers, DeploymentState,
    DeploymentStep, JournalEntry, JournalRecord, NewDeployment, Transition,
};
pub use error::RegistryError;
pub use fault::{REGISTRY_STEPS, RegistryFault};
pub use query::{Dependency, FoundRevision, RegistryQuery, RevisionState};
pub use recovery::{Interrupted, Recovered};
pub use retention::{GcReport, Retention};
pub(crate) use revision::serialize_version;
pub use revision::{NewRevision, Provenance, Revision, RevisionInterface, RevisionSurface};

use crate::address::ActorAddress;
use artifacts::Artifacts;
use database::{Database, Medium};
use fault::Faults;

/// The directory of artifacts in the registry's directory.
const ARTIFACTS: &str = "artifacts";

/// The registry of one host. A handle: clones are the same registry. Its file is locked until the last is dropped.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    database: Database,
    artifacts: Artifacts,
    retention: Retention,
    /// Held while a file is put, a revision registered or used, and garbage collected: what this process has brought
    /// and not used yet is no garbage. Always taken before the database is written.
    unused: Mutex<Unused>,
}

/// What was brought and is not needed by a record yet, since the registry was opened.
#[derive(Default)]
struct Unused {
    artifacts: HashSet<Digest>,
    revisions: HashSet<(ActorAddress, u64)>,
}

/// How a registry is opened.
#[derive(Clone, Default)]
pub struct RegistryOptions {
    /// What garbage collection keeps.
    pub retention: Retention,
    /// For tests: called at every step on disk, by its name in [`REGISTRY_STEPS`]. `None` in a host.
    pub fault: Option<RegistryFault>,
}

impl fmt::Debug for RegistryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryOptions")
            .field("retention", &self.retention)
            .field("fault", &self.fault.is_some())
            .finish()
    }
}

impl Registry {
    /// Opens the registry in a directory; makes both if they are not there, the directory with mode 0700.
    ///
    /// The whole database is read and its checksums compared.
    ///
    /// # Errors
    /// [`RegistryError::InUse`] while another process has it, [`RegistryError::Corrupt`] if its file is damaged,
    /// [`RegistryError::NewerFormat`] if a newer version has written it, [`RegistryError::Unsafe`] if others may write in
    /// the directory, and those of the disk.
    pub fn open(directory: &Path, options: RegistryOptions) -> Result<Self, RegistryError> {
        Self::open_in(directory, options, Medium::File)
    }

    fn open_in(
        directory: &Path,
        options: RegistryOptions,
        medium: Medium,
    ) -> Result<Self, RegistryError> {
        if let Some(above) = directory.parent() {
            let made = std::fs::create_dir_all(above);
            made.map_err(|error| RegistryError::io("make the directory", above, error))?;
            if artifacts::make_directory(directory)? && !above.as_os_str().is_empty() {
                artifacts::sync_directory(above)?;
            }
        }
        check_private(directory)?;
        let RegistryOptions { retention, fault } = options;
        let faults = Faults(fault);
        let database = Database::open(directory, medium, faults.clone())?;
        database.remove_temporaries()?;
        let artifacts = Artifacts::open(directory.join(ARTIFACTS), faults)?;
        artifacts.remove_temporaries()?;
        // Always: whoever made what is there may have ended before it was durable.
        artifacts::sync_directory(directory)?;
        Ok(Self {
            inner: Arc::new(Inner {
                directory: directory.to_owned(),
                database,
                artifacts,
                retention,
                unused: Mutex::default(),
            }),
        })
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// Keeps the bytes of a component, and returns the digest they are found by. Durable when it returns; the same bytes
    /// again are the same file.
    ///
    /// They are kept until a revision of them is registered, whatever retention says, as long as this process lives.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn put_artifact(&self, bytes: &[u8]) -> Result<Digest, RegistryError> {
        let digest = Digest::of(bytes);
        let mut unused = self.inner.unused.lock();
        self.inner.artifacts.put(digest, bytes)?;
        unused.artifacts.insert(digest);
        Ok(digest)
    }

    /// The bytes of a component, compared with their digest.
    ///
    /// # Errors
    /// [`RegistryError::NoSuchArtifact`], [`RegistryError::Corrupt`] if they are not what was put, and those of the disk.
    pub fn artifact(&self, digest: Digest) -> Result<Vec<u8>, RegistryError> {
        self.inner.artifacts.read(digest)
    }

    /// Looks whether the bytes of a component are there, compared with their digest. They are kept then until a revision of them is
    /// registered, as those that are put are.
    ///
    /// # Errors
    /// Those of [`Registry::artifact`].
    pub fn keep_artifact(&self, digest: Digest) -> Result<(), RegistryError> {
        // Before it is looked for: what is found is not collected then.
        self.inner.unused.lock().artifacts.insert(digest);
        self.inner.artifacts.read(digest).map(drop)
    }

    /// Where an artifact lies, or would lie. What is read there is not compared with the digest.
    #[must_use]
    pub fn artifact_path(&self, digest: Digest) -> PathBuf {
        self.inner.artifacts.path(digest)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("directory", &self.inner.directory)
            .finish_non_exhaustive()
    }
}

/// What is in the directory is run: nobody else may write there.
#[cfg(unix)]
fn check_private(directory: &Path) -> Result<(), RegistryError> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(directory)
        .map_err(|error| RegistryError::io("look at", directory, error))?;
    let us = rustix::process::geteuid().as_raw();
    let (why, remedy) = if !found.is_dir() {
        let why = "it is not a directory".to_owned();
        (why, "choose another directory")
    } else if found.uid() != us {
        let why = format!("it belongs to user {}, not to user {us}", found.uid());
        (why, "choose another directory")
    } else if found.mode() & 0o022 != 0 {
        let why = format!(
            "its mode is {:o}, so others may write in it",
            found.mode() & 0o777
        );
        (
            why,
            "take that right away (chmod go-w), if you trust what is there",
        )
    } else {
        return Ok(());
    };
    Err(RegistryError::Unsafe {
        path: directory.to_owned(),
        why,
        remedy,
    })
}

#[cfg(not(unix))]
fn check_private(_: &Path) -> Result<(), RegistryError> {
    Ok(())
}
