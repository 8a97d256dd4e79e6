//! Who drains a mailbox beside the slot that has it.
//!
//! Owns the [`Crew`] of a mailbox: none, for nearly all of them, or the lanes of the replicas that share its queue.
//! Members come and go while messages do: whoever pushes reads the list that is there, without a lock. A crew changes in
//! one place at a time, because all its members are children of one supervisor; what is not in it yet or any more takes
//! what is queued, or passes the wake-up on, before it sleeps or ends.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::{ArcSwapOption, Guard};

use super::Lane;
use crate::address::ActorId;
use crate::slot::Slot;

/// One replica.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) id: ActorId,
    pub(crate) lane: Arc<Lane>,
    pub(crate) slot: Weak<Slot>,
}

impl Member {
    pub(crate) fn of(slot: &Arc<Slot>) -> Self {
        Self {
            id: slot.id(),
            lane: slot.lane_shared(),
            slot: Arc::downgrade(slot),
        }
    }
}

/// The members of one mailbox.
#[derive(Default)]
pub(crate) struct Crew {
    /// Whether there are any, or the slot itself never drains: read with every message.
    is_there: AtomicBool,
    /// The slot that has the mailbox does not drain it itself.
    vacant: AtomicBool,
    members: ArcSwapOption<Vec<Member>>,
}

/// The members at one moment.
pub(crate) struct Members(Guard<Option<Arc<Vec<Member>>>>);

impl Deref for Members {
    type Target = [Member];

    fn deref(&self) -> &[Member] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl Members {
    /// The slots of those that are still there.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Arc<Slot>> + '_ {
        self.iter().filter_map(|member| member.slot.upgrade())
    }
}

impl Crew {
    /// Its members; `None` if the slot that has the mailbox drains it alone.
    pub(crate) fn members(&self) -> Option<Members> {
        self.is_there().then(|| Members(self.members.load()))
    }

    pub(crate) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Acquire)
    }

    /// Whether the slot that has the mailbox does not drain it itself.
    pub(crate) fn is_vacant(&self) -> bool {
        self.vacant.load(Ordering::Acquire)
    }

    /// From now on the slot that has the mailbox does not drain it itself.
    pub(crate) fn vacate(&self) {
        self.vacant.store(true, Ordering::Release);
        self.is_there.store(true, Ordering::Release);
    }

    pub(crate) fn join(&self, new: &[Member]) {
        self.change(|members| members.extend_from_slice(new));
        self.is_there.store(true, Ordering::Release);
    }

    pub(crate) fn leave(&self, id: ActorId) {
        self.change(|members| members.retain(|member| member.id != id));
        let is_empty = self
            .members
            .load()
            .as_ref()
            .is_none_or(|all| all.is_empty());
        if is_empty && !self.is_vacant() {
            self.is_there.store(false, Ordering::Release);
        }
    }

    fn change(&self, change: impl Fn(&mut Vec<Member>)) {
        self.members.rcu(|members| {
            let mut members = members.as_deref().cloned().unwrap_or_default();
            change(&mut members);
            Some(Arc::new(members))
        });
    }
}
