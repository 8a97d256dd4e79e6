//! How an actor ended.
//!
//! Owns [`ExitReason`], the only word on an actor's end that supervision decides on. ractor's own
//! reasons are not used: ractor reports an actor stopped before its state is dropped, while an
//! exit of ours is sent by the guard that outlives the Store.

use std::fmt;
use std::sync::Arc;

use airssys_wasm::Fault;

/// Longest text of a panic or an error kept in an exit reason, in bytes: it goes to logs, events
/// and callers, and may come from a guest.
pub(crate) const REASON_BYTES_MAX: usize = 4096;

/// Why an incarnation of an actor ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ExitReason {
    /// It ended by itself, with nothing left to do.
    Normal,
    /// It was asked to stop, by its supervisor or the system.
    Shutdown,
    /// The guest trapped or exceeded a limit.
    Fault(Arc<Fault>),
    /// It was killed.
    Killed,
    /// A native actor panicked, with the message of the panic.
    Panicked(Arc<str>),
    /// A native actor returned an error and chose to exit.
    Error(Arc<str>),
    /// It could not be started: instantiation, `init` or `pre_start` failed.
    StartFailed(Arc<str>),
    /// Its supervisor gave up: more restarts than the intensity allows.
    CrashLoop,
}

impl ExitReason {
    /// Whether a transient child with this reason stays down: `normal` and `shutdown`, as in OTP.
    /// Killed is abnormal.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        matches!(self, Self::Normal | Self::Shutdown)
    }

    /// The reason as a stable kebab-case name; a fault gives its class.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Shutdown => "shutdown",
            Self::Fault(fault) => fault.class.as_str(),
            Self::Killed => "killed",
            Self::Panicked(_) => "panicked",
            Self::Error(_) => "error",
            Self::StartFailed(_) => "start-failed",
            Self::CrashLoop => "crash-loop",
        }
    }

    pub(crate) fn panicked(payload: &(dyn std::any::Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&'static str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("a panic without a message");
        Self::Panicked(bounded(text))
    }

    pub(crate) fn error(error: &dyn std::error::Error) -> Self {
        Self::Error(bounded(&with_sources(error)))
    }

    pub(crate) fn start_failed(text: &str) -> Self {
        Self::StartFailed(bounded(text))
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Fault(fault) => fmt::Display::fmt(fault, f),
            Self::Killed => f.write_str("killed"),
            Self::Panicked(text) => write!(f, "panicked: {text}"),
            Self::Error(text) => write!(f, "error: {text}"),
            Self::StartFailed(text) => write!(f, "start failed: {text}"),
            Self::CrashLoop => f.write_str("crash-loop: more restarts than its supervisor allows"),
        }
    }
}

/// An error with its sources, `a: b: c`.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// `text` cut to [`REASON_BYTES_MAX`] with control characters escaped, so that it stays one line.
pub(crate) fn bounded(text: &str) -> Arc<str> {
    let mut out = String::with_capacity(text.len().min(REASON_BYTES_MAX));
    for c in text.chars() {
        if out.len() >= REASON_BYTES_MAX {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Arc::from(out)
}
