//! The messaging plane: what is sent by address and topic, without a link.
//!
//! Owns its limits, the word for what a native actor receives ([`MessageEnvelope`]), and what one incarnation holds of
//! the plane and gives back when it ends. A message of the plane is an ordinary message to
//! `airssys:messaging/handler#handle-message`: mailbox, order, supervision and accounting are the same.

mod handling;
mod ledger;
mod plane;

use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::{ExportId, Surface};
use bytes::Bytes;

use crate::address::ActorAddress;
use crate::slot::Slot;
use crate::topics::Owner;

pub(crate) use handling::{as_handled, is_bare, open};
pub(crate) use ledger::Ledger;
pub(crate) use plane::Plane;

/// What one actor may hold of the plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessagingLimits {
    /// Most timers of one actor that are still to come. Default 256.
    pub timers_per_actor_max: u32,
    /// Most bytes of what they are to send, over all timers of one actor. Default 8 MiB.
    pub timer_bytes_per_actor_max: u64,
    /// Shortest interval of a timer. Default 1 ms, tokio's own resolution.
    pub interval_min: Duration,
    /// Most subscriptions of one actor. Default 256.
    pub subscriptions_per_actor_max: u32,
    /// Most calls a component may have taken and not answered yet. Default 256. A native actor's are bounded by the
    /// depth of its mailbox.
    pub pending_replies_max: u32,
}

impl Default for MessagingLimits {
    fn default() -> Self {
        Self {
            timers_per_actor_max: 256,
            timer_bytes_per_actor_max: 8 << 20,
            interval_min: Duration::from_millis(1),
            subscriptions_per_actor_max: 256,
            pending_replies_max: 256,
        }
    }
}

/// A function that is looked for in a surface, whatever the version of its interface.
pub(crate) struct Wanted {
    interface: &'static str,
    function: &'static str,
}

/// What an actor exports to receive messages of the plane.
pub(crate) const HANDLE_MESSAGE: Wanted = Wanted {
    interface: "airssys:messaging/handler",
    function: "handle-message",
};

impl Wanted {
    /// As dead letters name it.
    pub(crate) fn path(&self) -> String {
        format!("{}#{}", self.interface, self.function)
    }

    /// Whether it is the function of this path.
    pub(crate) fn is_at(&self, path: &str) -> bool {
        path.split_once('#').is_some_and(|(interface, function)| {
            interface.split('@').next() == Some(self.interface) && function == self.function
        })
    }

    /// The function of that name which takes what a message of the plane is to its receiver. One of another type is a
    /// function like any other.
    pub(crate) fn find(&self, surface: &Surface) -> Option<ExportId> {
        surface
            .export_functions()
            .find(|(_, name, exported)| {
                name.as_str().split('@').next() == Some(self.interface)
                    && exported.name == self.function
                    && handling::takes_messages(&exported.ty)
            })
            .map(|(id, _, _)| id)
    }
}

/// A message of the plane in the hands of a native actor: [`Message::envelope`](crate::Message::envelope).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MessageEnvelope {
    /// The actor that sent it, stamped by the host; `None` for a task of the host, or a sender that is gone.
    pub sender: Option<ActorAddress>,
    /// The topic it was published under.
    pub topic: Option<Box<str>>,
    /// What was sent; shared with every other subscriber.
    pub payload: Bytes,
    /// Whether somebody waits for an answer.
    pub wants_reply: bool,
}

/// What one incarnation holds of the plane: dropped with it, it gives everything back.
pub(crate) struct Holdings {
    pub(crate) slot: Arc<Slot>,
    pub(crate) owner: Owner,
    used: bool,
}

impl Holdings {
    /// For the incarnation that is being made in `slot`.
    pub(crate) fn new(slot: &Arc<Slot>) -> Self {
        Self {
            owner: Owner {
                actor: slot.id(),
                tenure: Some(slot.shared().next_id().0),
            },
            slot: Arc::clone(slot),
            used: false,
        }
    }

    /// Takes over what `before` holds.
    pub(crate) fn inherit(&mut self, before: &mut Self) {
        let shared = self.slot.shared();
        if before.used {
            self.used = true;
            shared.timers().hand_over(before.owner, self.owner);
        }
        before.used = shared.topics().inherit(before.owner, self.owner);
    }

    /// What it has subscribed counts from now on, and what `before` holds no longer.
    pub(crate) fn take_over(&mut self, before: Option<&mut Self>) {
        let shared = self.slot.shared();
        let before = before.map(|before| {
            before.used = false;
            before.owner
        });
        shared.topics().take_over(before, self.owner);
        if let Some(before) = before {
            shared.timers().release(before);
        }
    }

    /// Gives everything back.
    pub(crate) fn let_go(&mut self) {
        if std::mem::take(&mut self.used) {
            let shared = self.slot.shared();
            shared.timers().release(self.owner);
            shared.topics().release(self.owner);
        }
    }

    /// Something is about to be held.
    pub(crate) fn used(&mut self) -> Owner {
        self.used = true;
        self.owner
    }
}

impl Drop for Holdings {
    fn drop(&mut self) {
        self.let_go();
    }
}
