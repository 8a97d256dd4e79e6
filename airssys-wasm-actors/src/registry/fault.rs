//! The steps of the registry that a test can make fail, or stop the host at.
//!
//! Owns the names. A hook is called with the name of each step, in the order they happen; what it returns is taken for
//! the operating system's answer there. Without a hook a step costs a branch.

use std::io;
use std::sync::Arc;

/// Called at every named step; an error is the step's. It is for tests, which fill the disk or end the process there.
pub type RegistryFault = Arc<dyn Fn(&'static str) -> io::Result<()> + Send + Sync>;

/// A transaction has one step right before its commit and one right after. After an error of the second it is durable
/// though its caller is told otherwise, as it can be after a real one.
#[derive(Clone, Copy)]
pub(super) struct CommitSteps {
    pub(super) before: &'static str,
    pub(super) after: &'static str,
}

macro_rules! commits {
    ($($name:ident = $text:literal,)*) => {
        $(pub(super) const $name: CommitSteps = CommitSteps {
            before: concat!($text, ".before-commit"),
            after: concat!($text, ".after-commit"),
        };)*

        /// Every step that [`RegistryFault`] can be called with.
        pub const REGISTRY_STEPS: &[&str] = &[
            ARTIFACT_CREATE,
            ARTIFACT_WRITE,
            ARTIFACT_SYNC,
            ARTIFACT_RENAME,
            ARTIFACT_DIRECTORY,
            $($name.before, $name.after,)*
            GC_UNLINK,
        ];
    };
}

/// Before the temporary file is made.
pub(super) const ARTIFACT_CREATE: &str = "artifact.create";
/// When half of it has been written.
pub(super) const ARTIFACT_WRITE: &str = "artifact.write";
/// When all of it has been written, before it is synced.
pub(super) const ARTIFACT_SYNC: &str = "artifact.sync";
/// When it has been synced, before it gets its name.
pub(super) const ARTIFACT_RENAME: &str = "artifact.rename";
/// When it has its name, before its directory is synced.
pub(super) const ARTIFACT_DIRECTORY: &str = "artifact.directory";
/// Before each file that nothing refers to is removed.
pub(super) const GC_UNLINK: &str = "gc.unlink";

commits! {
    REGISTER = "revision.register",
    PREPARED = "journal.prepared",
    WARMED = "journal.warmed",
    SWITCHING = "journal.switching",
    SOAKING = "journal.soaking",
    PERMANENT = "journal.permanent",
    ROLLING_BACK = "journal.rolling-back",
    ROLLED_BACK = "journal.rolled-back",
    FAILED = "journal.failed",
    STEP = "journal.step",
    RECOVER = "recover",
    COLLECT = "gc",
}

/// The hook of one registry.
#[derive(Clone, Default)]
pub(super) struct Faults(pub(super) Option<RegistryFault>);

impl Faults {
    pub(super) fn at(&self, step: &'static str) -> io::Result<()> {
        match &self.0 {
            Some(fault) => fault(step),
            None => Ok(()),
        }
    }
}
