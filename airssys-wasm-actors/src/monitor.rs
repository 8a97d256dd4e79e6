//! Monitors held by tasks of the host.
//!
//! Owns [`Monitor`], a future of one [`Down`]. It watches the incarnation that runs when it is made, like a
//! monitor of an actor; dropping it takes it back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::exit::ExitReason;
use crate::signal::{Down, MonitorId};
use crate::slot::{Slot, Watcher};

/// Resolves once, when the incarnation it watches has ended.
///
/// By then the actor's name is free, or its next incarnation has begun.
#[must_use = "a monitor that is dropped watches nothing"]
pub struct Monitor {
    id: MonitorId,
    slot: Arc<Slot>,
    down: oneshot::Receiver<Down>,
}

impl Monitor {
    pub(crate) fn new(slot: &Arc<Slot>) -> Self {
        let (tx, down) = oneshot::channel();
        let id = slot.shared().next_monitor();
        slot.watch(id, Watcher::Host(tx));
        Self {
            id,
            slot: Arc::clone(slot),
            down,
        }
    }

    /// Its number, which its [`Down`] carries.
    #[must_use]
    pub fn id(&self) -> MonitorId {
        self.id
    }
}

impl Future for Monitor {
    type Output = Down;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Down> {
        let told = std::task::ready!(Pin::new(&mut self.down).poll(cx));
        Poll::Ready(told.unwrap_or_else(|_| {
            // The watched slot is gone with all it kept: nobody ran in it.
            Down {
                monitor: self.id,
                address: self.slot.address().clone(),
                incarnation: self.slot.incarnation(),
                reason: ExitReason::NoSuchActor,
            }
        }))
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.slot.unwatch(self.id);
    }
}
