//! What can go wrong with a message, and how a caller tells.
//!
//! Owns [`CallError`] (the answer to a call that got no reply) and [`SendError`] (a message that
//! was not accepted, with the message handed back unless it is a dead letter). Errors are made off the fast path; each names
//! the actor concerned, whether the message may have been handled, and whether a retry can help.

use std::fmt;
use std::time::Duration;

use airssys_wasm::{
    Args, ArgsMismatch, CallRefused, LinkFailure, LinkFailureReason, NoSuchFunction,
};

use crate::address::ActorAddress;
use crate::exit::ExitReason;

/// Why a call ended without a reply. Every accepted call ends in exactly one reply or one of these.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nobody is registered under the address, or its registration has ended.
    #[error("no actor `{address}`")]
    NoSuchActor {
        /// The address asked for.
        address: ActorAddress,
    },
    /// A group has no member that could take the message.
    #[error("group `{group}` has no member that takes messages")]
    EmptyGroup {
        /// The group.
        group: ActorAddress,
    },
    /// The actor was stopped (or its supervisor ended) before the message was handled.
    #[error("actor `{address}` has stopped ({reason}) before it handled the message")]
    Stopped {
        /// The callee.
        address: ActorAddress,
        /// Why its registration ended.
        reason: ExitReason,
    },
    /// The callee died with the message in its hands. Whether its effects took place is unknown.
    #[error("actor `{address}` died while it handled the message: {reason}")]
    CalleeDied {
        /// The callee.
        address: ActorAddress,
        /// How it died.
        reason: ExitReason,
    },
    /// The caller's reply-by has passed. The callee is not disturbed: if it has begun, it goes on.
    #[error("no reply from actor `{address}` within {within:?}")]
    Deadline {
        /// The callee.
        address: ActorAddress,
        /// How long the caller was ready to wait.
        within: Duration,
    },
    /// The callee's mailbox has no room.
    #[error(
        "the mailbox of `{address}` is full ({queued} messages, {queued_bytes} bytes); \
         retry later, or give it more `depth` or `bytes`"
    )]
    MailboxFull {
        /// The callee.
        address: ActorAddress,
        /// Messages accepted and not finished.
        queued: u32,
        /// Their bytes, rounded up.
        queued_bytes: u64,
    },
    /// The message alone is larger than the mailbox takes.
    #[error("a message of {bytes} bytes is too large for `{address}`, which takes {bytes_max}")]
    TooLarge {
        /// The callee.
        address: ActorAddress,
        /// Size of the message.
        bytes: u64,
        /// Largest accepted.
        bytes_max: u64,
    },
    /// The message was dropped: it had no room, or was taken out of the mailbox again to make room for others.
    #[error(
        "the mailbox of `{address}` has no room for all, and dropped the message (`{strategy}`)"
    )]
    Evicted {
        /// The callee.
        address: ActorAddress,
        /// The strategy that did it, as the manifest spells it.
        strategy: &'static str,
    },
    /// Waiting would never end: each actor on the path waits for the next.
    #[error("the call would wait for ever: {}", Path(path))]
    Cycle {
        /// The actors, the caller first and last.
        path: Vec<ActorAddress>,
    },
    /// More nested calls than allowed.
    #[error("a chain of {depth} nested calls is too deep; the most is {depth_max}")]
    CallDepth {
        /// Calls in the chain.
        depth: u32,
        /// The limit.
        depth_max: u32,
    },
    /// The link's breaker is open: too many of its last calls have failed, and this one was not made.
    #[error(
        "the link to `{address}` is not used for {retry_in:?} more, because too many of its last calls have failed"
    )]
    CircuitOpen {
        /// Where the link leads.
        address: ActorAddress,
        /// When it is tried again; zero while another call is trying it.
        retry_in: Duration,
    },
    /// The callee has no such function.
    #[error(transparent)]
    NoSuchFunction(#[from] NoSuchFunction),
    /// The arguments do not fit the function, or hold a stale handle; the callee was not disturbed.
    #[error("the arguments do not fit: {0}")]
    Refused(CallRefused),
    /// The callee, a component, owes as many answers as one may.
    #[error(
        "actor `{address}` owes {pending_max} answers, and takes no further call before it has given one"
    )]
    PendingReplies {
        /// The callee.
        address: ActorAddress,
        /// The limit, `pending_replies_max`.
        pending_max: u32,
    },
    /// The callee took the call and let it go without an answer.
    #[error("actor `{address}` handled the call without a reply")]
    NoReply {
        /// The callee.
        address: ActorAddress,
    },
    /// The reply is of other types than the caller of a [`Call`](crate::Call) expects.
    #[error("actor `{address}` replied with other types than it declares: {mismatch}")]
    WrongReply {
        /// The callee.
        address: ActorAddress,
        /// Both types.
        mismatch: ArgsMismatch,
    },
    /// A native actor answered with an error.
    #[error("actor `{address}`: {message}")]
    Native {
        /// The callee.
        address: ActorAddress,
        /// What it said.
        message: String,
    },
}

impl CallError {
    /// Whether it speaks against the callee, and not against its caller.
    pub(crate) fn is_callees(&self) -> bool {
        match self {
            Self::TooLarge { .. }
            | Self::Cycle { .. }
            | Self::CallDepth { .. }
            | Self::EmptyGroup { .. }
            | Self::CircuitOpen { .. }
            | Self::Refused(CallRefused::StaleHandle { .. }) => false,
            Self::NoSuchActor { .. }
            | Self::Stopped { .. }
            | Self::CalleeDied { .. }
            | Self::Deadline { .. }
            | Self::MailboxFull { .. }
            | Self::Evicted { .. }
            | Self::NoSuchFunction(_)
            | Self::Refused(_)
            | Self::PendingReplies { .. }
            | Self::NoReply { .. }
            | Self::WrongReply { .. }
            | Self::Native { .. } => true,
        }
    }

    /// All kinds there are.
    pub const KINDS: [&str; 18] = [
        "no-such-actor",
        "empty-group",
        "stopped",
        "callee-died",
        "deadline",
        "mailbox-full",
        "too-large",
        "evicted",
        "cycle",
        "call-depth",
        "circuit-open",
        "no-such-function",
        "stale-handle",
        "refused",
        "pending-replies",
        "no-reply",
        "wrong-reply",
        "native",
    ];

    /// The kind as a stable kebab-case name, the same in logs, JSON and counters.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoSuchActor { .. } => "no-such-actor",
            Self::EmptyGroup { .. } => "empty-group",
            Self::Stopped { .. } => "stopped",
            Self::CalleeDied { .. } => "callee-died",
            Self::Deadline { .. } => "deadline",
            Self::MailboxFull { .. } => "mailbox-full",
            Self::TooLarge { .. } => "too-large",
            Self::Evicted { .. } => "evicted",
            Self::Cycle { .. } => "cycle",
            Self::CallDepth { .. } => "call-depth",
            Self::CircuitOpen { .. } => "circuit-open",
            Self::NoSuchFunction(_) => "no-such-function",
            Self::Refused(CallRefused::StaleHandle { .. }) => "stale-handle",
            Self::Refused(_) => "refused",
            Self::PendingReplies { .. } => "pending-replies",
            Self::NoReply { .. } => "no-reply",
            Self::WrongReply { .. } => "wrong-reply",
            Self::Native { .. } => "native",
        }
    }

    /// Whether the same call may succeed later without anything being changed.
    ///
    /// It says nothing on whether a retry is safe: after [`CallError::CalleeDied`] and
    /// [`CallError::Deadline`] the callee may have acted on the message.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            Self::CalleeDied { .. }
                | Self::Deadline { .. }
                | Self::MailboxFull { .. }
                | Self::Evicted { .. }
                | Self::CircuitOpen { .. }
                | Self::PendingReplies { .. }
        )
    }

    /// What the guest behind a link is told.
    pub(crate) fn into_link_failure(self) -> LinkFailure {
        let reason = match &self {
            Self::NoSuchActor { .. } | Self::EmptyGroup { .. } => LinkFailureReason::NoSuchActor,
            Self::Stopped { .. } => LinkFailureReason::Stopped,
            Self::CalleeDied { .. } => LinkFailureReason::CalleeDied,
            Self::Deadline { .. } => LinkFailureReason::Deadline,
            Self::MailboxFull { .. } | Self::Evicted { .. } => LinkFailureReason::MailboxFull,
            Self::TooLarge { .. } => LinkFailureReason::TooLarge,
            Self::Cycle { .. } => LinkFailureReason::Cycle,
            Self::CallDepth { .. } => LinkFailureReason::CallDepth,
            Self::CircuitOpen { .. } => LinkFailureReason::CircuitOpen,
            Self::Refused(CallRefused::StaleHandle { .. }) => LinkFailureReason::StaleHandle,
            Self::NoSuchFunction(_)
            | Self::Refused(_)
            | Self::PendingReplies { .. }
            | Self::NoReply { .. }
            | Self::WrongReply { .. }
            | Self::Native { .. } => LinkFailureReason::Rejected,
        };
        LinkFailure {
            reason,
            message: self.to_string(),
        }
    }
}

/// Writes a path of actors as `a → b → a`.
struct Path<'a>(&'a [ActorAddress]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, address) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(" → ")?;
            }
            write!(f, "`{address}`")?;
        }
        Ok(())
    }
}

/// A cast that was not accepted; the arguments come back with it, unless it is a dead letter.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{why}")]
pub struct SendError {
    /// Why not.
    #[source]
    pub why: Box<CallError>,
    /// The arguments, handed back; `None` when the message is a dead letter now.
    pub args: Option<Box<Args>>,
}

#[cfg(test)]
mod tests {
    use super::CallError;

    #[test]
    fn all_kinds_are_listed() {
        let (_, kinds) = include_str!("error.rs")
            .split_once("fn kind(&self)")
            .unwrap();
        let (kinds, _) = kinds.split_once("    }\n").unwrap();
        let kinds = kinds.split('"').skip(1).step_by(2);
        assert_eq!(kinds.collect::<Vec<_>>(), CallError::KINDS);
    }
}
