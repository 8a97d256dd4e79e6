//! Several replicas that drain one queue.
//!
//! Owns how slots make a team: the front, a slot that has the name and the data queue, and one slot
//! for each replica, with an incarnation, a lane and a queue of its own for what is meant for it alone. A replica
//! takes its own messages first, then one of the queue that all share. An enqueue wakes one idle replica; one
//! that ends, or was woken and finds something of its own, passes the wake-up on, and so does one that has been taken out
//! of rotation or leaves, which drains only its own queue. Who waits for a message that a replica
//! has taken waits for that replica. What a replica had taken and
//! not begun goes back to the front of the shared queue. A call on a resource goes to the replica that owns it. Order between messages is not promised.
//!
//! A front is vacant: nothing runs in it. It is made so, or becomes so: an actor that is to be several goes on draining
//! its queue beside its replicas until they are up, and is then let go ([`Slot::vacate`]). Its name, queue, monitors and
//! links stay; it does not go back, so that one of several is a team of one.

use std::sync::Arc;

use airssys_wasm::{Args, Surface, Value};

use super::Slot;
use crate::address::ActorAddress;
use crate::counters::SlotCounters;
use crate::envelope::Envelope;
use crate::mailbox::{MailboxConfig, Member, Members, Next};
use crate::reference::ActorState;
use crate::shared::Shared;

impl Slot {
    /// Makes a slot that has a name and a queue, and in which nothing ever runs.
    pub(crate) fn vacant(
        shared: &Arc<Shared>,
        address: ActorAddress,
        surface: Arc<Surface>,
        mailbox: MailboxConfig,
    ) -> Arc<Self> {
        let front = Arc::new(Self::empty(shared, address, surface, mailbox, false));
        front.lane.leave();
        front.mailbox.crew().vacate();
        // Whoever monitors it watches the registration.
        front.begin();
        front.running();
        front
    }

    /// Makes the slot of a replica that will drain this one's queue, once it has joined.
    pub(crate) fn replica(self: &Arc<Self>, address: ActorAddress, rests: bool) -> Arc<Self> {
        let (surface, mailbox) = (self.surface(), *self.mailbox.config());
        let mut replica = Self::empty(&self.shared, address, surface, mailbox, rests);
        replica.front = Some(Arc::clone(self));
        Arc::new(replica)
    }

    /// These drain its queue from the moment they run.
    pub(crate) fn join(&self, replicas: &[Arc<Self>]) {
        let members: Vec<_> = replicas.iter().map(Member::of).collect();
        self.mailbox.crew().join(&members);
    }

    /// The slot whose queue it drains beside its own.
    pub(crate) fn front(&self) -> Option<&Arc<Self>> {
        self.front.as_ref()
    }

    /// The replicas that drain its queue; `None` if it drains it alone.
    pub(crate) fn replicas(&self) -> Option<Members> {
        self.mailbox.crew().members()
    }

    /// Whether nothing of its own runs in it any more, or ever has.
    pub(crate) fn is_vacant(&self) -> bool {
        self.mailbox.crew().is_vacant()
    }

    /// Whether its incarnation is to be its last, and others go on under its name.
    pub(super) fn hands_on(&self) -> bool {
        self.lane.is_leaving() && !self.is_vacant() && self.replicas().is_some()
    }

    /// Its own incarnation is gone for good, and others drain its queue: the name stays as it is, and becomes theirs alone.
    /// `false` if there are none. Whoever asks supervises all of them.
    pub(crate) fn vacate(&self) -> bool {
        let others = self.replicas();
        if others.is_none_or(|others| others.is_empty()) {
            return false;
        }
        // Where all of them are stopped, so is the name.
        let is_kept_up = self.is_kept_up();
        self.lane.leave();
        self.mailbox.crew().vacate();
        // Taken and not begun; nobody comes back for it.
        if let Some(envelope) = self.lane.take_retry() {
            self.mailbox.spare(envelope);
        }
        let mut life = self.life.lock();
        if is_kept_up {
            life.active = true;
            life.running = true;
            if life.gone.take().is_some() {
                self.mailbox.reopen();
            }
        }
        let departed = life.departed();
        drop(life);
        if let Some(departed) = departed {
            self.tell(departed);
        }
        self.mailbox.pass_on();
        true
    }

    /// The replica these arguments are for alone: the one that owns the first handle among them, which is the one a
    /// method is called on. `None` without replicas, or without such a handle.
    pub(crate) fn replica_for(&self, args: &Args) -> Option<Arc<Self>> {
        let replicas = self.replicas()?;
        let owner = args.values().iter().find_map(|value| match value {
            Value::Handle(handle) => handle.owner(),
            _ => None,
        })?;
        let mut alive = replicas.slots();
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
        let Some(front) = self.front() else {
            if !self.lane.is_leaving() {
                return self.mailbox.take_next(&self.lane);
            }
            // As below.
            self.mailbox.pass_on();
            return self.lane.take_next();
        };
        let own = self.mailbox.take_next(&self.lane);
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
        match self.front() {
            None => !self.lane.is_leaving() && self.mailbox.has_queued(),
            Some(front) => {
                self.mailbox.has_queued() || (!self.lane.is_out() && front.mailbox.has_queued())
            }
        }
    }

    /// The drain is marked idle: `true` if it may sleep, `false` if it must look again. Its waker has been registered
    /// before.
    pub(crate) fn settle(&self) -> bool {
        self.lane.settle(|| self.has_queued())
    }

    /// The same for a caller that had won the edge of its lane: whatever has come wakes the drain.
    pub(crate) fn settle_for(&self) {
        self.lane.settle_for(|| self.has_queued());
    }

    /// A message was taken and not begun: it is the next in turn, of this actor or of any replica.
    pub(crate) fn put_back(&self, envelope: Box<Envelope>) {
        match self.front() {
            Some(front) if envelope.target.id() == front.id => {
                envelope.moved(self.id, front.id);
                front.mailbox.spare(envelope);
            }
            None if self.lane.is_leaving() => self.mailbox.spare(envelope),
            _ => {
                // One drain takes one message at a time, so the cell was empty.
                let other = self.lane.put_back(envelope);
                drop(other);
            }
        }
    }

    /// What is meant for it alone and not begun goes to the others: it takes nothing any more.
    pub(super) fn hand_back(&self, envelope: Box<Envelope>, to: &Self) {
        envelope.moved(self.id, to.id);
        to.mailbox.spare(envelope);
    }

    /// Of those who take from its queue: how many are up, and how many of these have something in hand at this moment.
    pub(crate) fn at_work(&self) -> (u32, u32) {
        let (mut up, mut busy) = (0, 0);
        let mut count = |one: &Self| {
            if one.own_state() == ActorState::Running {
                up += 1;
                busy += u32::from(!one.lane.is_idle());
            }
        };
        if !self.is_vacant() {
            count(self);
        }
        if let Some(replicas) = self.replicas() {
            replicas.slots().for_each(|one| count(&one));
        }
        (up, busy)
    }

    /// Whether anybody is expected to drain its queue, beside its own incarnation.
    pub(crate) fn is_kept_up(&self) -> bool {
        let replicas = self.replicas();
        replicas.is_some_and(|all| all.slots().any(|one| one.exit_reason().is_none()))
    }

    /// Whether nobody of the team that it leads is expected to run.
    pub(crate) fn team_is_down(&self) -> bool {
        (self.is_vacant() || self.exit_reason().is_some()) && !self.is_kept_up()
    }

    /// Whether nobody of the team that it leads is registered.
    pub(crate) fn team_is_gone(&self) -> bool {
        let is_there = |one: Arc<Self>| self.shared.by_id(one.id).is_some();
        self.is_vacant() && !self.replicas().is_some_and(|all| all.slots().any(is_there))
    }

    /// The best that any of its replicas is in, and its own incarnation, if there is one.
    pub(super) fn state_of(&self, replicas: &Members) -> ActorState {
        let own = (!self.is_vacant()).then(|| self.own_state());
        let states = replicas.slots().map(|one| one.own_state());
        let rank = |state: &ActorState| match state {
            ActorState::Running => 3,
            ActorState::OutOfRotation => 2,
            ActorState::Starting => 1,
            ActorState::Down => 0,
        };
        let best = states.chain(own).max_by_key(rank);
        best.unwrap_or(ActorState::Down)
    }
}
