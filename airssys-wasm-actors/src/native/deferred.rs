//! Answers given later than their handler returns.
//!
//! Owns [`Reply`], the answer a native actor still owes, and [`Home`], from which a reply that is dropped learns
//! whether its actor let go of it or has ended. What is owed keeps its message's room in the mailbox, so a mailbox's
//! depth bounds the answers owed too. It answers exactly once; nothing here waits or is retried.

use std::fmt;
use std::sync::{Arc, OnceLock};

use airssys_wasm::IntoArgs;

use crate::address::ActorAddress;
use crate::envelope::Envelope;
use crate::error::CallError;
use crate::exit::{ExitReason, bounded};
use crate::slot::Slot;

/// What one incarnation of a native actor shares with the messages it was given.
pub(crate) struct Home {
    pub(crate) slot: Arc<Slot>,
    /// Set right before its state is dropped.
    ending: OnceLock<ExitReason>,
}

impl Home {
    pub(crate) fn new(slot: Arc<Slot>) -> Arc<Self> {
        Arc::new(Self {
            slot,
            ending: OnceLock::new(),
        })
    }

    /// The incarnation ends for this reason: what it drops from now on it did not let go of by choice.
    pub(crate) fn ends(&self, reason: &ExitReason) {
        // Whoever said it first is right.
        let _ = self.ending.set(reason.clone());
    }

    fn ended(&self) -> Option<ExitReason> {
        let killed = || self.slot.lane().killed().then_some(ExitReason::Killed);
        self.ending.get().cloned().or_else(killed)
    }
}

/// The answer to one call, to be given later; taken by [`Message::defer`](crate::Message::defer).
///
/// It may be kept, or moved to a task. It answers once: dropped without an answer, the caller gets
/// [`CallError::NoReply`], or [`CallError::CalleeDied`] when the actor has ended. Until then the message keeps its
/// room in the actor's mailbox.
pub struct Reply {
    /// `None` once answered.
    envelope: Option<Box<Envelope>>,
    home: Arc<Home>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reply")
            .field(self.home.slot.address())
            .finish()
    }
}

impl Reply {
    pub(crate) fn new(envelope: Box<Envelope>, home: &Arc<Home>) -> Self {
        Self {
            envelope: Some(envelope),
            home: Arc::clone(home),
        }
    }

    /// Answers. Returns whether the caller was still waiting; a late answer is discarded.
    pub fn send(mut self, results: impl IntoArgs) -> bool {
        self.envelope
            .take()
            .is_some_and(|envelope| envelope.finish(Ok(results.into_args())))
    }

    /// Answers with an error: the caller gets [`CallError::Native`] with this text, cut to 4 KiB. Returns whether the
    /// caller was still waiting.
    pub fn fail(mut self, message: &str) -> bool {
        let why = CallError::Native {
            address: self.home.slot.address().clone(),
            message: bounded(message).to_string(),
        };
        self.envelope
            .take()
            .is_some_and(|envelope| envelope.finish(Err(why)))
    }

    /// Whether the caller still waits. An answer that nobody waits for may be left out.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.envelope
            .as_ref()
            .is_some_and(|envelope| !envelope.is_expired())
    }

    /// The actor that asked; `None` for a task of the host, or an actor that is gone.
    #[must_use]
    pub fn sender(&self) -> Option<ActorAddress> {
        let sender = self.envelope.as_ref()?.sender?;
        self.home.slot.shared().address_of(sender)
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let Some(envelope) = self.envelope.take() else {
            return;
        };
        let address = self.home.slot.address().clone();
        envelope.finish(Err(match self.home.ended() {
            Some(reason) => CallError::CalleeDied { address, reason },
            None => CallError::NoReply { address },
        }));
    }
}
