//! What is kept of a supervisor whether or not its actor lives.
//!
//! Owns [`Record`]: a supervisor's name, flags and children, who serves it now, and how it ends. The record outlives
//! the actor: one that was killed is cleaned up after by another actor on the same record, and only when the last of
//! the old tree is gone does the record's parent hear of the end. [`ExitSink`] is the way of every exit to whoever
//! supervises by then.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::actor::SupervisorMessage;
use super::child::{ChildSpec, PreparedActor, PreparedChild, Standing};
use super::decide::{RestartIntensity, RestartPolicy};
use super::spec::{AutoShutdown, Strategy, SupervisorSpec};
use super::tuning::Tuning;
use crate::address::{ActorAddress, ActorId};
use crate::crashes::{self, Ended};
use crate::events::Event;
use crate::exit::ExitReason;
use crate::shared::Shared;
use crate::slot::Slot;
use crate::upgrade::NotReplaced;

pub(crate) type SupervisorRef = ractor::ActorRef<SupervisorMessage>;

/// The flags of a supervisor, which may change while it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SupervisorFlags {
    pub(crate) strategy: Strategy,
    pub(crate) intensity: RestartIntensity,
    pub(crate) auto_shutdown: AutoShutdown,
    pub(crate) quarantine_after: Option<u32>,
}

impl SupervisorFlags {
    pub(crate) fn of(spec: &SupervisorSpec) -> Self {
        Self {
            strategy: spec.strategy,
            intensity: spec.intensity,
            auto_shutdown: spec.auto_shutdown,
            quarantine_after: spec.quarantine_after,
        }
    }
}

/// Where a supervisor is.
#[derive(Debug, Clone, Default)]
pub(crate) struct SupervisorLife {
    /// Number of the newest incarnation; 0 before the first.
    pub(crate) incarnation: u64,
    /// It, or what is left of its tree, lives.
    pub(crate) active: bool,
    /// Its first children are up.
    pub(crate) booted: bool,
    /// It has ended, and its parent has not started it again: it waits for that, or never will.
    pub(crate) settled: bool,
    /// Nobody is going to start it again by itself.
    pub(crate) ended: Option<ExitReason>,
}

/// Who serves a record.
#[derive(Default)]
struct Served {
    actor: Option<SupervisorRef>,
    /// Only what cleans up may serve it: the incarnation is to end.
    cleaning: bool,
    /// It was asked to stop before anybody served it.
    stop: Option<StopAsked>,
}

/// How a supervisor is asked to end by its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StopAsked {
    /// It will be started again: its children's mailboxes wait.
    pub(crate) keep: bool,
}

pub(crate) struct Record {
    id: ActorId,
    address: ActorAddress,
    parent: Weak<Record>,
    /// As its parent's spec of it says.
    restart: Mutex<RestartPolicy>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) flags: Mutex<SupervisorFlags>,
    /// What it starts with, to be prepared again if one of them has been forgotten.
    pub(crate) first: Mutex<Vec<ChildSpec>>,
    /// What it is from its next start on, if its parent has another spec of it by now.
    next: Mutex<Option<SupervisorSpec>>,
    /// In start order: ids are given in that order.
    pub(crate) children: Mutex<BTreeMap<ActorId, PreparedChild>>,
    /// Children that it supervises otherwise than it has been told of. There is a message about them on its way for as long as
    /// there are any.
    pub(super) unheard: Mutex<BTreeSet<ActorId>>,
    served: Mutex<Served>,
    /// Which of its children each actor of a supervisor below it serves.
    servers: Mutex<HashMap<ractor::ActorId, ActorId>>,
    life: watch::Sender<SupervisorLife>,
    ending: AtomicBool,
    restarts: AtomicU32,
}

impl Record {
    pub(crate) fn new(
        spec: &SupervisorSpec,
        shared: &Arc<Shared>,
        parent: Weak<Self>,
        restart: RestartPolicy,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: shared.next_id(),
            address: spec.address.clone(),
            parent,
            restart: Mutex::new(restart),
            shared: Arc::clone(shared),
            flags: Mutex::new(SupervisorFlags::of(spec)),
            first: Mutex::new(spec.children.clone()),
            next: Mutex::default(),
            children: Mutex::default(),
            unheard: Mutex::default(),
            served: Mutex::default(),
            servers: Mutex::default(),
            life: watch::Sender::default(),
            ending: AtomicBool::new(false),
            restarts: AtomicU32::new(0),
        })
    }

    pub(crate) fn id(&self) -> ActorId {
        self.id
    }

    pub(crate) fn address(&self) -> &ActorAddress {
        &self.address
    }

    pub(crate) fn parent(&self) -> Option<Arc<Self>> {
        self.parent.upgrade()
    }

    /// Whether its parent starts it again when it gives up.
    pub(crate) fn returns(&self) -> bool {
        *self.restart.lock() == RestartPolicy::Permanent && self.parent().is_some()
    }

    pub(crate) fn child(&self, id: ActorId) -> Option<PreparedChild> {
        self.children.lock().get(&id).cloned()
    }

    /// The child is this from its next start on, and for whoever asks, and callers resolve functions in it. How it is
    /// supervised stays as it is where that has been changed meanwhile.
    ///
    /// # Errors
    /// There is no such child, or another revision has come since this one was prepared.
    pub(crate) fn respec(&self, successor: &Arc<PreparedActor>) -> Result<(), NotReplaced> {
        self.respec_among(self.children.lock(), successor)
    }

    /// The same while nobody supervises the child: `None` if somebody does, or is about to.
    pub(crate) fn respec_while_down(
        &self,
        successor: &Arc<PreparedActor>,
    ) -> Option<Result<(), NotReplaced>> {
        let children = self.children.lock();
        // It is active before it looks at them.
        let is_down = !self.is_active();
        is_down.then(|| self.respec_among(children, successor))
    }

    fn respec_among(
        &self,
        mut children: MutexGuard<'_, BTreeMap<ActorId, PreparedChild>>,
        successor: &Arc<PreparedActor>,
    ) -> Result<(), NotReplaced> {
        let slot = &successor.slot;
        let Some(PreparedChild::Actor(child)) = children.get_mut(&slot.id()) else {
            return Err(NotReplaced::Gone);
        };
        if successor.follows != slot.revision() {
            return Err(NotReplaced::Superseded);
        }
        let successor = successor.in_place_of(child);
        let before = std::mem::replace(child, Arc::clone(&successor));
        // Under the lock: no other one finds that this has not come yet.
        if let Ok(surface) = successor.spec.surface() {
            slot.publish(surface);
            if let Some(front) = slot.front() {
                front.publish(surface);
            }
        }
        self.edit_first(|first| {
            let address = slot.front().unwrap_or(slot).address();
            if let Some(spec) = first.iter_mut().find(|spec| spec.address == *address) {
                *spec = ChildSpec {
                    address: address.clone(),
                    // How many there are is not a revision's to say.
                    replicas: spec.replicas,
                    ..successor.spec.clone()
                };
            }
        });
        drop(children);
        drop(before);
        self.respecced([slot.id()]);
        Ok(())
    }

    /// More children that are supervised as `like` is by now, whatever it was when they were prepared.
    pub(crate) fn add_like(
        &self,
        like: &PreparedActor,
        new: Vec<Arc<PreparedActor>>,
    ) -> Vec<PreparedChild> {
        let mut children = self.children.lock();
        let like = children
            .get(&like.slot.id())
            .map_or(&like.spec, PreparedChild::spec);
        let tuning = Tuning::of(like);
        let tuned = new.into_iter().map(|one| {
            let child = PreparedChild::Actor(Arc::new(one.tuned(tuning)));
            (child.id(), child)
        });
        let added: BTreeMap<_, _> = tuned.collect();
        children.extend(added.clone());
        added.into_values().collect()
    }

    /// Changes what it starts with; also what it will start with once it is what its parent's spec says by now. Whoever has
    /// changed a child does so with the children locked: what is changed last is last in both.
    pub(crate) fn edit_first(&self, edit: impl Fn(&mut Vec<ChildSpec>)) {
        edit(&mut self.first.lock());
        if let Some(next) = &mut *self.next.lock() {
            edit(&mut next.children);
        }
    }

    /// Its parent has another spec of it. Whether it is started again holds now; what it is made of from its next start
    /// on, unless that is what it was before.
    pub(crate) fn specced(&self, before: &ChildSpec, now: &ChildSpec) {
        *self.restart.lock() = now.restart;
        if !now.is_made_as(before) {
            *self.next.lock() = now.as_supervisor().cloned();
        }
        self.tell(SupervisorMessage::Flags);
    }

    /// It is another spec from this start on, if it is to be: its flags, and what it starts with.
    pub(crate) fn become_next(&self) -> Option<SupervisorSpec> {
        let _children = self.children.lock();
        let spec = self.next.lock().take()?;
        *self.flags.lock() = SupervisorFlags::of(&spec);
        self.first.lock().clone_from(&spec.children);
        Some(spec)
    }

    /// It could not be made so: it is tried again with the next start, unless there is a newer spec by then.
    pub(crate) fn leave_next(&self, spec: SupervisorSpec) {
        let _children = self.children.lock();
        // With what has been changed of them since.
        let children = self.first.lock().clone();
        let spec = SupervisorSpec { children, ..spec };
        self.next.lock().get_or_insert(spec);
    }

    /// The actors among its children that have this address, or share it, in the order of their ids.
    pub(crate) fn actors_at(&self, address: &ActorAddress) -> Vec<Arc<PreparedActor>> {
        let children = self.children.lock();
        let actors = children.values().filter_map(|child| match child {
            PreparedChild::Actor(actor) if child.shared_address() == *address => Some(actor),
            _ => None,
        });
        actors.cloned().collect()
    }

    /// Its children in start order: those it starts with as its spec says, then the others as they were started.
    pub(crate) fn in_order(&self) -> Vec<PreparedChild> {
        let places: HashMap<_, _> = {
            let first = self.first.lock();
            let addresses = first.iter().map(|spec| spec.address.clone());
            addresses.zip(0_usize..).collect()
        };
        let mut children: Vec<_> = self.children.lock().values().cloned().collect();
        // Stable: those that have come since are in the order of their ids.
        children.sort_by_cached_key(|child| {
            let standing = child.standing();
            let first = standing.is_first();
            let place = first.then(|| places.get(&child.shared_address()));
            match place.flatten() {
                Some(place) => (*place, 0),
                None => (usize::MAX, standing.later()),
            }
        });
        children
    }

    pub(crate) fn life(&self) -> watch::Receiver<SupervisorLife> {
        self.life.subscribe()
    }

    /// How often it was started again.
    pub(crate) fn restarts(&self) -> u32 {
        self.restarts.load(Ordering::Relaxed)
    }

    pub(crate) fn count_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    /// An incarnation is about to be made, and its predecessor's tree is gone.
    pub(crate) fn begin(&self) -> u64 {
        let mut served = self.served.lock();
        self.set_actor(&mut served, None);
        *served = Served::default();
        drop(served);
        self.ending.store(false, Ordering::Release);
        let mut incarnation = 0;
        self.life.send_modify(|life| {
            incarnation = life.incarnation + 1;
            *life = SupervisorLife {
                incarnation,
                active: true,
                ..SupervisorLife::default()
            };
        });
        incarnation
    }

    /// `actor` supervises from here on; `false` if it is too late for that.
    pub(crate) fn serve(&self, actor: &SupervisorRef) -> bool {
        let mut served = self.served.lock();
        if served.cleaning {
            return false;
        }
        if let Some(StopAsked { keep }) = served.stop {
            // Behind its own boot, which it overtakes.
            let _ = actor.send_message(SupervisorMessage::Stop { keep, reply: None });
        }
        self.set_actor(&mut served, Some(actor));
        true
    }

    /// The incarnation is to end at once: whoever served it does so no longer, and is returned.
    pub(crate) fn begin_cleaning(&self) -> Option<SupervisorRef> {
        let mut served = self.served.lock();
        served.cleaning = true;
        self.set_actor(&mut served, None)
    }

    /// `actor` takes what is left of the incarnation to its end.
    pub(crate) fn clean(&self, actor: &SupervisorRef) {
        self.set_actor(&mut self.served.lock(), Some(actor));
    }

    /// Its parent hears of the actor's death, and is to know whose it was.
    fn set_actor(
        &self,
        served: &mut Served,
        actor: Option<&SupervisorRef>,
    ) -> Option<SupervisorRef> {
        let before = std::mem::replace(&mut served.actor, actor.cloned());
        if let Some(parent) = self.parent() {
            let mut servers = parent.servers.lock();
            if let Some(before) = &before {
                servers.remove(&before.get_id());
            }
            if let Some(actor) = actor {
                servers.insert(actor.get_id(), self.id);
            }
        }
        before
    }

    pub(crate) fn actor(&self) -> Option<SupervisorRef> {
        self.served.lock().actor.clone()
    }

    /// The supervisor below it that this actor serves, if it serves one.
    pub(crate) fn served_below(&self, actor: ractor::ActorId) -> Option<Arc<Self>> {
        let id = self.servers.lock().get(&actor).copied()?;
        match self.children.lock().get(&id) {
            Some(PreparedChild::Supervisor(one)) => Some(Arc::clone(&one.record)),
            _ => None,
        }
    }

    /// Asks the incarnation to end in order.
    pub(crate) fn ask_to_stop(&self, keep: bool) {
        let mut served = self.served.lock();
        match &served.actor {
            Some(actor) => {
                // An error means that it has just been killed, and is cleaned up after.
                let _ = actor.send_message(SupervisorMessage::Stop { keep, reply: None });
            }
            None => served.stop = Some(StopAsked { keep }),
        }
    }

    /// Sends to the actor that supervises now; `false` if there is none. A message to one that has
    /// just been killed is lost, and its successor looks at the children themselves.
    pub(crate) fn tell(&self, message: SupervisorMessage) -> bool {
        let actor = self.actor();
        actor.is_some_and(|actor| actor.send_message(message).is_ok())
    }

    pub(crate) fn is_active(&self) -> bool {
        self.life.borrow().active
    }

    pub(crate) fn incarnation(&self) -> u64 {
        self.life.borrow().incarnation
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire) || self.ended().is_some()
    }

    pub(crate) fn begin_to_end(&self) {
        self.ending.store(true, Ordering::Release);
    }

    /// Why it is down, if nobody starts it again by itself.
    pub(crate) fn ended(&self) -> Option<ExitReason> {
        self.life.borrow().ended.clone()
    }

    /// Its first children are up.
    pub(crate) fn booted(&self) {
        self.life.send_modify(|life| life.booted = true);
        let incarnation = self.incarnation();
        self.shared.emit(Event::SupervisorStarted {
            address: self.address.clone(),
            incarnation,
        });
        if let Some(parent) = self.parent() {
            parent.tell(SupervisorMessage::Started {
                child: self.id,
                incarnation,
            });
        }
    }

    /// The incarnation is over, and with it everything that lived in its tree.
    pub(crate) fn exited(&self, reason: ExitReason) {
        self.set_actor(&mut self.served.lock(), None);
        let (mut incarnation, mut booted) = (0, false);
        self.life.send_modify(|life| {
            life.active = false;
            (incarnation, booted) = (life.incarnation, life.booted);
        });
        self.shared.emit(Event::SupervisorExited {
            address: self.address.clone(),
            incarnation,
            reason: reason.clone(),
        });
        let Some(parent) = self.parent() else {
            // The root.
            self.retire(&reason);
            return;
        };
        let child = self.id;
        parent.tell(if booted {
            SupervisorMessage::Exited {
                child,
                incarnation,
                reason,
            }
        } else {
            SupervisorMessage::StartFailed {
                child,
                incarnation,
                reason,
            }
        });
    }

    /// It is down and will be started again, in a while.
    pub(crate) fn waits(&self) {
        self.life.send_modify(|life| life.settled = true);
    }

    /// It is down, and nobody starts it again by itself.
    pub(crate) fn suspend(&self, reason: &ExitReason) {
        let children: Vec<_> = self.children.lock().values().cloned().collect();
        for child in children.iter().rev() {
            child.suspend(reason);
        }
        self.end(reason);
    }

    /// It is forgotten, with all its children.
    pub(crate) fn retire(&self, reason: &ExitReason) {
        let children = std::mem::take(&mut *self.children.lock());
        for child in children.values().rev() {
            child.retire(reason);
        }
        self.shared.unregister_supervisor(self);
        self.end(reason);
    }

    fn end(&self, reason: &ExitReason) {
        let first = self.life.send_if_modified(|life| {
            let first = life.ended.is_none();
            life.settled = true;
            life.ended.get_or_insert_with(|| reason.clone());
            first
        });
        if first {
            let address = self.address.clone();
            self.shared.emit(Event::SupervisorEnded {
                address,
                reason: reason.clone(),
            });
        }
    }
}

/// Where an incarnation reports its start and its end: to whoever supervises it by then.
#[derive(Clone)]
pub(crate) struct ExitSink(Arc<Record>);

impl ExitSink {
    pub(crate) fn new(record: Arc<Record>) -> Self {
        Self(record)
    }

    pub(crate) fn started(&self, slot: &Slot, incarnation: u64) {
        self.0.shared.emit(Event::Started {
            address: slot.address().clone(),
            incarnation,
        });
        self.0.tell(SupervisorMessage::Started {
            child: slot.id(),
            incarnation,
        });
    }

    pub(crate) fn start_failed(&self, slot: &Slot, incarnation: u64, reason: ExitReason) {
        let ended = Ended {
            slot,
            incarnation,
            reason: &reason,
            starting: true,
            dropped: false,
        };
        crashes::record(&self.0, &ended);
        let address = slot.address().clone();
        self.0.shared.emit(Event::StartFailed {
            address,
            incarnation,
            reason: reason.clone(),
        });
        self.0.tell(SupervisorMessage::StartFailed {
            child: slot.id(),
            incarnation,
            reason,
        });
    }

    pub(crate) fn exited(&self, slot: &Slot, incarnation: u64, reason: ExitReason, dropped: bool) {
        // Before anybody hears of it: whoever does finds the report.
        let ended = Ended {
            slot,
            incarnation,
            reason: &reason,
            starting: false,
            dropped,
        };
        crashes::record(&self.0, &ended);
        let address = slot.address().clone();
        self.0.shared.emit(Event::Exited {
            address,
            incarnation,
            reason: reason.clone(),
        });
        self.0.tell(SupervisorMessage::Exited {
            child: slot.id(),
            incarnation,
            reason,
        });
    }
}

/// A child's place, whatever it is.
impl PreparedChild {
    pub(crate) fn id(&self) -> ActorId {
        match self {
            Self::Actor(actor) => actor.slot.id(),
            Self::Supervisor(one) => one.record.id(),
        }
    }

    /// The address of its spec: of a replica, the one they share.
    pub(crate) fn shared_address(&self) -> ActorAddress {
        match self {
            Self::Actor(actor) => {
                let slot = actor.slot.front().unwrap_or(&actor.slot);
                slot.address().clone()
            }
            Self::Supervisor(one) => one.record.address().clone(),
        }
    }

    pub(crate) fn spec(&self) -> &ChildSpec {
        match self {
            Self::Actor(actor) => &actor.spec,
            Self::Supervisor(one) => &one.spec,
        }
    }

    pub(crate) fn standing(&self) -> &Arc<Standing> {
        match self {
            Self::Actor(actor) => &actor.standing,
            Self::Supervisor(one) => &one.standing,
        }
    }

    pub(crate) fn incarnation(&self) -> u64 {
        match self {
            Self::Actor(actor) => actor.slot.incarnation(),
            Self::Supervisor(one) => one.record.incarnation(),
        }
    }

    pub(crate) fn is_active(&self) -> bool {
        match self {
            Self::Actor(actor) => actor.slot.is_active(),
            Self::Supervisor(one) => one.record.is_active(),
        }
    }

    /// Nobody starts it again by itself; its name stays taken.
    pub(crate) fn suspend(&self, reason: &ExitReason) {
        match self {
            Self::Actor(actor) => {
                let slot = &actor.slot;
                if slot.is_active() {
                    slot.kill_own();
                }
                // Its name is that of others, too.
                if slot.is_kept_up() {
                    return;
                }
                slot.suspend(reason);
                if let Some(front) = slot.front()
                    && front.team_is_down()
                {
                    front.suspend(reason);
                }
            }
            Self::Supervisor(one) => one.record.suspend(reason),
        }
    }

    /// Its name is free.
    pub(crate) fn retire(&self, reason: &ExitReason) {
        match self {
            Self::Actor(actor) => {
                let slot = &actor.slot;
                if slot.is_active() {
                    slot.kill_own();
                }
                if slot.vacate() {
                    if slot.team_is_down() {
                        slot.suspend(reason);
                    }
                    return;
                }
                slot.retire(reason);
                let Some(front) = slot.front() else {
                    return;
                };
                // The last replica takes the name they shared along, and the last that was expected to run, who serves it.
                if front.team_is_gone() {
                    front.retire(reason);
                } else if front.team_is_down() {
                    front.suspend(reason);
                }
            }
            Self::Supervisor(one) => one.record.retire(reason),
        }
    }
}
