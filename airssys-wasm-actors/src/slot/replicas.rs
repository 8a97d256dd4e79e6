//! Several replicas that drain one queue.
//!
//! Owns how slots make a [`Team`]: the slot that has the name and the data queue, in which nothing runs, and one slot
//! for each replica, with an incarnation, a lane and a queue of its own for what is meant for it alone. A replica
//! takes its own messages first, then one of the queue that all share. An enqueue wakes one idle replica; one
//! that ends, or was woken and finds something of its own, passes the wake-up on, and so does one that has been taken out of rotation, which drains only its own queue. Who waits for a message that a replica
//! has taken waits for that replica. What a replica had taken and
//! not begun goes back to the front of the shared queue. A call on a resource goes to the replica that owns it. Order between messages is not promised.

use std::sync::{Arc, OnceLock, Weak};

use airssys_wasm::{Args, Surface, Value};

use super::Slot;
use crate::address::ActorAddress;
use crate::counters::SlotCounters;
use crate::envelope::Envelope;
use crate::mailbox::{Lane, Mailbox, MailboxConfig, Next};
use crate::reference::ActorState;
use crate::shared::Shared;

/// The place of a slot among replicas.
pub(super) enum Team {
    /// Has the name and the queue.
    Front(OnceLock<Box<[Weak<Slot>]>>),
    /// Drains the queue of another slot beside its own.
    Replica(Arc<Slot>),
}

/// What a team is made of.
pub(crate) struct TeamSpec<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) address: ActorAddress,
    /// One for each replica.
    pub(crate) addresses: Vec<ActorAddress>,
    pub(crate) surface: &'a Arc<Surface>,
    pub(crate) mailbox: MailboxConfig,
    pub(crate) rests: bool,
}

impl Slot {
    /// Makes the slot with the queue, and those of the replicas that drain it.
    pub(crate) fn team(spec: TeamSpec<'_>) -> (Arc<Self>, Vec<Arc<Self>>) {
        let TeamSpec {
            shared,
            address,
            addresses,
            surface,
            mailbox,
            rests,
        } = spec;
        let lanes: Vec<_> = addresses.iter().map(|_| Arc::<Lane>::default()).collect();
        let mut front = Self::empty(shared, address, Arc::clone(surface), mailbox, false);
        front.mailbox = Mailbox::new(mailbox, lanes.clone().into());
        front.team = Some(Box::new(Team::Front(OnceLock::new())));
        let front = Arc::new(front);
        let mut replicas = Vec::with_capacity(addresses.len());
        for (address, lane) in addresses.into_iter().zip(lanes) {
            let mut replica = Self::empty(shared, address, Arc::clone(surface), mailbox, rests);
            let own: Box<[_]> = Box::new([Arc::clone(&lane)]);
            replica.mailbox = Mailbox::new(mailbox, own);
            replica.lane = lane;
            replica.team = Some(Box::new(Team::Replica(Arc::clone(&front))));
            replicas.push(Arc::new(replica));
        }
        if let Some(Team::Front(cell)) = front.team.as_deref() {
            // Set once, here.
            let _ = cell.set(replicas.iter().map(Arc::downgrade).collect());
        }
        // Nothing runs in it; whoever monitors it watches the registration.
        front.begin();
        front.running();
        (front, replicas)
    }

    /// The slot whose queue it drains beside its own.
    pub(crate) fn front(&self) -> Option<&Arc<Self>> {
        match self.team.as_deref()? {
            Team::Replica(front) => Some(front),
            Team::Front(_) => None,
        }
    }

    /// The replicas that drain its queue; `None` if it drains it itself.
    pub(crate) fn replicas(&self) -> Option<&[Weak<Self>]> {
        match self.team.as_deref()? {
            Team::Front(replicas) => Some(replicas.get().map_or(&[], |replicas| replicas)),
            Team::Replica(_) => None,
        }
    }

    /// The replica these arguments are for alone: the one that owns the first handle among them, which is the one a
    /// method is called on. `None` without replicas, or without such a handle.
    pub(crate) fn replica_for(&self, args: &Args) -> Option<Arc<Self>> {
        let replicas = self.replicas()?;
        let owner = args.values().iter().find_map(|value| match value {
            Value::Handle(handle) => handle.owner(),
            _ => None,
        })?;
        let mut alive = replicas.iter().filter_map(Weak::upgrade);
        alive.find(|replica| *replica.address.as_str() == *owner.address)
    }

    /// An incarnation after the first begins.
    pub(crate) fn count_restart(&self) {
        let after_trap = self.life.lock().trapped;
        self.counted().restart(after_trap);
    }

    /// Where its ends and starts are counted: where the messages are.
    pub(super) fn counted(&self) -> &SlotCounters {
        let front = self.front().map_or(self, |front| front);
        &front.counters
    }

    /// What the drain does next.
    pub(crate) fn take_next(&self) -> Option<Next> {
        let own = self.mailbox.take_next(&self.lane);
        let Some(front) = self.front() else {
            return own;
        };
        if own.is_none() && !self.lane.is_out() {
            let shared = front.mailbox.take_shared()?;
            shared.moved(front.id, self.id);
            return Some(Next::Message(shared));
        }
        // It may have been woken for a message that it does not take now.
        front.mailbox.pass_on();
        own
    }

    /// Whether a message waits that its drain would take.
    pub(crate) fn has_queued(&self) -> bool {
        let shared = |front: &Arc<Self>| !self.lane.is_out() && front.mailbox.has_queued();
        self.mailbox.has_queued() || self.front().is_some_and(shared)
    }

    /// Marks the drain idle; `true` if it may sleep, `false` if it must look again. Its waker has been registered
    /// before.
    pub(crate) fn settle(&self) -> bool {
        match self.front() {
            None => self.mailbox.settle(&self.lane),
            Some(_) => self.lane.settle(|| self.has_queued()),
        }
    }

    /// The same for a caller that had won the edge of its lane: whatever has come wakes the drain.
    pub(crate) fn settle_for(&self) {
        match self.front() {
            None => self.mailbox.settle_for(&self.lane),
            Some(_) => self.lane.settle_for(|| self.has_queued()),
        }
    }

    /// A message was taken and not begun: it is the next in turn, of this actor or of any replica.
    pub(crate) fn put_back(&self, envelope: Box<Envelope>) {
        match self.front() {
            Some(front) if envelope.target.id() == front.id => {
                envelope.moved(self.id, front.id);
                front.mailbox.spare(envelope);
            }
            _ => {
                // One drain takes one message at a time, so the cell was empty.
                let other = self.lane.put_back(envelope);
                drop(other);
            }
        }
    }

    /// Whether no replica of the team it belongs to is expected to run.
    pub(crate) fn team_is_down(&self) -> bool {
        self.every_mate(|mate| mate.exit_reason().is_some())
    }

    /// Whether no replica of the team it belongs to is registered.
    pub(crate) fn team_is_gone(&self) -> bool {
        self.every_mate(|mate| mate.shared.by_id(mate.id).is_none())
    }

    fn every_mate(&self, is: impl Fn(&Self) -> bool) -> bool {
        let replicas = self.front().and_then(|front| front.replicas());
        let mut alive = replicas
            .unwrap_or_default()
            .iter()
            .filter_map(Weak::upgrade);
        alive.all(|mate| is(&mate))
    }

    /// The best any of its replicas is in.
    pub(super) fn state_of(replicas: &[Weak<Self>]) -> ActorState {
        let mut best = ActorState::Down;
        for replica in replicas.iter().filter_map(Weak::upgrade) {
            match replica.state() {
                ActorState::Running => return ActorState::Running,
                ActorState::OutOfRotation => best = ActorState::OutOfRotation,
                ActorState::Starting if best == ActorState::Down => best = ActorState::Starting,
                ActorState::Starting | ActorState::Down => {}
            }
        }
        best
    }
}
