//! An instance that has been put aside, and how it comes back.
//!
//! Owns [`Kept`], which is with whoever may go back and not with the drain that is asked: an incarnation that ends in the
//! middle takes nothing of it along.

use std::sync::Arc;

use parking_lot::Mutex;

use super::replacement::{StateTaken, make, size, state_of};
use crate::exit::ExitReason;
use crate::passivation::ComponentBehaviour;
use crate::supervisor::{PreparedActor, Record};

/// What ran before an upgrade, until it is taken.
#[derive(Clone)]
pub(crate) struct Kept {
    instance: Arc<Mutex<Option<ComponentBehaviour>>>,
    /// In which it was put aside.
    incarnation: u64,
}

/// What serves next, and what of the state it has.
pub(super) type Back = (ComponentBehaviour, StateTaken);

impl Kept {
    pub(super) fn new(instance: ComponentBehaviour, incarnation: u64) -> Self {
        Self {
            instance: Arc::new(Mutex::new(Some(instance))),
            incarnation,
        }
    }

    pub(super) fn is_there(&self) -> bool {
        self.instance.lock().is_some()
    }

    pub(crate) fn take(&self) -> Option<ComponentBehaviour> {
        self.instance.lock().take()
    }

    /// What is to serve in the place of `running`, which is given back unless it has ended: an instance with its state, at
    /// most `bytes_max` of it, or else the one that was kept. `None` if neither is to be had.
    pub(super) async fn back(
        &self,
        running: ComponentBehaviour,
        successor: &Arc<PreparedActor>,
        record: &Record,
        bytes_max: Option<u64>,
    ) -> Result<(Option<ComponentBehaviour>, Option<Back>), ExitReason> {
        let as_it_was = || self.take().map(|kept| (kept, StateTaken::AsItWas));
        let Some(bytes_max) = bytes_max else {
            let kept = self.take().map(|kept| (kept, StateTaken::None));
            return Ok((Some(running), kept));
        };
        // What was handed over ended with its incarnation: what the next one began with is no more than that.
        // Nor is a state taken from one to whom it cannot be told.
        if successor.slot.incarnation() != self.incarnation || !successor.hooks.restores() {
            return Ok((Some(running), as_it_was()));
        }
        let (running, snapshot) = match state_of(running, bytes_max).await {
            Ok(said) => said,
            Err(ExitReason::Killed) => return Err(ExitReason::Killed),
            Err(reason) => {
                let address = successor.slot.address();
                tracing::warn!(%address, %reason, "it has ended while it said what it held: the one before goes on");
                return match as_it_was() {
                    Some(back) => Ok((None, Some(back))),
                    None => Err(reason),
                };
            }
        };
        // Its own code may know nothing of what the revision after it held. Then it goes on with what it had.
        if let Ok(Some(snapshot)) = snapshot {
            let bytes = size(Some(&snapshot));
            if let Ok(live) = make(record, successor, Some(snapshot)).await {
                drop(self.take());
                let live = ComponentBehaviour::Live(live);
                return Ok((
                    Some(running),
                    Some((live, StateTaken::HandedOver { bytes })),
                ));
            }
        }
        Ok((Some(running), as_it_was()))
    }
}
