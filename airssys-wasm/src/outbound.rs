//! Linked calls, seen from the calling guest: the seam through which whoever hosts the instances carries them.
//!
//! The engine knows nothing of actors. When a guest calls a linked import, its arguments are lifted into
//! [`Args`] and handed to the instance's [`Outbound`]; the guest's fiber waits until that answers. At most one
//! call is in flight for an instance, and a pending one is dropped with the Store.

use std::any::Any;
use std::fmt;
use std::task::{Context, Poll};

use crate::args::Args;
use crate::messaging::Messaging;
use crate::surface::ImportId;

/// Carries linked calls out of an instance. At most one call is in flight at a time.
pub trait Outbound: Any + Send {
    /// Starts a call of the given import.
    fn start(&mut self, import: ImportId, args: Args);

    /// Polls the call started last; called only between `start` and the first `Ready`.
    ///
    /// # Errors
    /// A [`LinkFailure`] says why there is no answer. How the guest sees it is the link's choice
    /// ([`LinkedImport::error_as`](crate::LinkedImport)).
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Args, LinkFailure>>;

    /// Returns what answers for the messaging plane, if the instance has one.
    fn messaging(&mut self) -> Option<&mut dyn Messaging> {
        None
    }
}

/// An [`Outbound`] for instances without links: it refuses every call.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOutbound;

impl Outbound for NoOutbound {
    fn start(&mut self, _import: ImportId, _args: Args) {}

    fn poll(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Args, LinkFailure>> {
        Poll::Ready(Err(LinkFailure {
            reason: LinkFailureReason::NoSuchActor,
            message: "this instance was started without links".to_owned(),
        }))
    }
}

/// Why a linked call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFailure {
    /// The kind of failure.
    pub reason: LinkFailureReason,
    /// What happened, in words; may contain text of the callee's.
    pub message: String,
}

impl fmt::Display for LinkFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.message)
    }
}

/// The kinds of failure of a linked call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkFailureReason {
    /// The callee died with this call in its hands.
    CalleeDied,
    /// The reply did not come in time.
    Deadline,
    /// The callee's mailbox had no room.
    MailboxFull,
    /// The call would have waited for itself.
    Cycle,
    /// The chain of calls is too deep.
    CallDepth,
    /// Too many of the link's last calls have failed, and it is not used for a while.
    CircuitOpen,
    /// Nobody has the address.
    NoSuchActor,
    /// The callee stopped before it took the call.
    Stopped,
    /// The arguments or the reply exceed the size of a message.
    TooLarge,
    /// A handle among the arguments leads to nothing any more.
    StaleHandle,
    /// The callee took the call and refused it.
    Rejected,
}

impl LinkFailureReason {
    /// Returns the reason's name in kebab case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CalleeDied => "callee-died",
            Self::Deadline => "deadline",
            Self::MailboxFull => "mailbox-full",
            Self::Cycle => "cycle",
            Self::CallDepth => "call-depth",
            Self::CircuitOpen => "circuit-open",
            Self::NoSuchActor => "no-such-actor",
            Self::Stopped => "stopped",
            Self::TooLarge => "too-large",
            Self::StaleHandle => "stale-handle",
            Self::Rejected => "rejected",
        }
    }
}

/// The outbound of a live instance. Dropping it is dropping foreign code: a panic there must not unwind
/// through the drop of a Store.
pub(crate) struct QuietOutbound(Option<Box<dyn Outbound>>);

impl QuietOutbound {
    pub(crate) fn new(outbound: Box<dyn Outbound>) -> Self {
        Self(Some(outbound))
    }

    /// The outbound itself; `None` only while it is being dropped.
    pub(crate) fn get_mut(&mut self) -> Option<&mut dyn Outbound> {
        self.0.as_deref_mut()
    }

    pub(crate) fn start(&mut self, import: ImportId, args: Args) {
        if let Some(outbound) = &mut self.0 {
            outbound.start(import, args);
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Args, LinkFailure>> {
        match &mut self.0 {
            Some(outbound) => outbound.poll(cx),
            None => NoOutbound.poll(cx),
        }
    }
}

impl Drop for QuietOutbound {
    fn drop(&mut self) {
        let outbound = self.0.take();
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(outbound))).is_err() {
            tracing::error!(
                "an outbound panicked while it was dropped; only its own instance is affected"
            );
        }
    }
}
