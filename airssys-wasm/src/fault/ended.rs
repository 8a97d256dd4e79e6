//! The errors our own host functions end a guest with.
//!
//! One typed enum, so that the classifier needs no text to recognise what we raised ourselves.

use crate::outbound::LinkFailure;

/// Raised inside the guest's call; the classifier turns each into its fault class.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum EndedByHost {
    #[error("used {used_ms} ms of CPU in one call; the limit `cpu-per-call` is {limit_ms} ms")]
    CpuDeadline { used_ms: u128, limit_ms: u128 },
    #[error("killed from outside")]
    Killed,
    #[error("{what} was not granted; to allow it, {add}")]
    Denied { what: String, add: String },
    #[error("asked for {wanted} random bytes in one call; the limit `random-bytes-max` is {limit}")]
    RandomBytes { wanted: u64, limit: u64 },
    #[error("linked call to {function} failed: {failure}")]
    LinkFailed {
        function: String,
        failure: LinkFailure,
    },
    #[error("exited with status {0}")]
    Exited(i32),
}
