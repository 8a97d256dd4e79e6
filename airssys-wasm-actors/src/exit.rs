//! How an actor ended.
//!
//! Owns [`ExitReason`], the only word on an actor's end that supervision decides on. ractor's own
//! reasons are not used: ractor reports an actor stopped before its state is dropped, while an
//! exit of ours is sent by the guard that outlives the Store.

use std::fmt;
use std::sync::Arc;

use airssys_wasm::{Fault, FaultClass, printable};

use crate::address::ActorAddress;

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
    /// Its supervisor gave up, or it is a supervisor and gave up: more restarts than the intensity allows. OTP's
    /// supervisor ends with `shutdown` then, and a transient one is not started again.
    CrashLoop,
    /// It said at its start that it is not needed (OTP's `ignore`): it stays down, and that is no fault.
    Declined,
    /// It is a supervisor, and a child it starts with did not start.
    ChildNotStarted(Arc<LinkedExit>),
    /// It failed its health checks.
    Unhealthy(Arc<str>),
    /// It was the reason for its supervisor to give up, too often: it is not started with the others any more.
    Quarantined,
    /// An actor it was linked to ended, and it does not trap exits.
    Linked(Arc<LinkedExit>),
    /// There was nobody to monitor or to link with (OTP's `noproc`): told in signals, and the end of an actor
    /// that linked itself to nobody.
    NoSuchActor,
}

/// The exit that came through a link.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LinkedExit {
    /// The actor that ended first, however many links were in between.
    pub from: ActorAddress,
    /// How that one ended.
    pub reason: ExitReason,
}

impl ExitReason {
    /// Whether a transient child with this reason stays down: `normal` and `shutdown`, as in OTP, and what OTP
    /// calls `shutdown` or `ignore`. Killed is abnormal.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        match self {
            Self::Normal | Self::Shutdown | Self::CrashLoop | Self::Declined => true,
            Self::Linked(exit) => exit.reason.is_normal(),
            _ => false,
        }
    }

    /// Whether an instance trapped or exceeded a limit. One that was killed, that nobody waited for any more, or for
    /// which there was no room, did neither.
    pub(crate) fn is_trap(&self) -> bool {
        let not_its_own = |class: &FaultClass| {
            matches!(
                class,
                FaultClass::Killed | FaultClass::Abandoned | FaultClass::NoCapacity(_)
            )
        };
        matches!(self, Self::Fault(fault) if !not_its_own(&fault.class))
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
            Self::Declined => "declined",
            Self::ChildNotStarted(_) => "child-not-started",
            Self::Unhealthy(_) => "unhealthy",
            Self::Quarantined => "quarantined",
            Self::Linked(_) => "linked",
            Self::NoSuchActor => "no-such-actor",
        }
    }

    /// This exit, for an actor that it ends through a link with `from`.
    pub(crate) fn through_link(self, from: &ActorAddress) -> Self {
        match self {
            // The first of a chain is the one that matters.
            linked @ Self::Linked(_) => linked,
            reason => Self::Linked(Arc::new(LinkedExit {
                from: from.clone(),
                reason,
            })),
        }
    }

    /// The end of a supervisor at whose start this child did not start.
    pub(crate) fn child_not_started(from: &ActorAddress, reason: &Self) -> Self {
        match reason {
            // The innermost is the one that matters.
            Self::ChildNotStarted(_) => reason.clone(),
            reason => Self::ChildNotStarted(Arc::new(LinkedExit {
                from: from.clone(),
                reason: reason.clone(),
            })),
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
            Self::CrashLoop => f.write_str(
                "crash-loop: more restarts than its supervisor allows; mend what ends its children, or allow more by its `restarts`",
            ),
            Self::Declined => f.write_str("declined to start"),
            Self::ChildNotStarted(child) => {
                write!(f, "its child `{}` did not start: {}", child.from, child.reason)
            }
            Self::Unhealthy(text) => write!(f, "unhealthy: {text}"),
            Self::Quarantined => f.write_str(
                "quarantined: it has made its supervisor give up too often; restart it by name once it is repaired",
            ),
            Self::Linked(exit) => {
                write!(f, "linked to `{}`, which ended: {}", exit.from, exit.reason)
            }
            Self::NoSuchActor => f.write_str("no such actor"),
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

/// `text` on one line of about [`REASON_BYTES_MAX`] bytes, with nothing in it that a terminal or a reader is led by.
pub(crate) fn bounded(text: &str) -> Arc<str> {
    Arc::from(printable(text, REASON_BYTES_MAX))
}
