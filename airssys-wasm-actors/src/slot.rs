//! The place of an actor: what stays while incarnations come and go.
//!
//! Owns an actor's identity, its mailbox, its counters, the edge that says whom it waits for, and
//! the kill switch of whatever runs in it now. A slot is made when a name is registered and retired
//! when the registration ends; restarts happen inside it. References, links and envelopes hold
//! slots, never actors.

mod bonds;
mod published;
mod replicas;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use airssys_wasm::{ExportId, Fault, KillSwitch, ResourceOwner, Surface, Usage};

use crate::address::{ActorAddress, ActorId};
use crate::counters::SlotCounters;
use crate::crashes::{Left, Recent};
use crate::dead_letters::Failed;
use crate::envelope::Undelivered;
use crate::error::CallError;
use crate::events::Event;
use crate::exit::ExitReason;
use crate::mailbox::{Lane, Mailbox, MailboxConfig};
use crate::passivation::ComponentBehaviour;
use crate::reference::ActorState;
use crate::resting::Resting;
use crate::route::Junction;
use crate::shared::Shared;
use crate::signal::SignalBudget;
use crate::slot::bonds::Bonds;
use crate::slot::published::Published;
use crate::sync::Mutex;
use crate::topics::{Owner, RingUnits};
use crate::wait_for::Edge;

pub(crate) use bonds::Watcher;

/// One registered actor.
pub(crate) struct Slot {
    id: ActorId,
    address: ActorAddress,
    published: Published,
    mailbox: Mailbox,
    lane: Arc<Lane>,
    shared: Arc<Shared>,
    counters: SlotCounters,
    incarnation: AtomicU64,
    /// Whom it waits for in a linked call, for the search for cycles.
    edge: Edge,
    /// Whether its behaviour lies in `resting` while it is idle.
    rests: bool,
    resting: Resting<ComponentBehaviour>,
    /// The same for the behaviour of a model.
    #[cfg(all(test, feature = "model"))]
    pub(crate) modelled: Resting<crate::model::Tiny>,
    signals: SignalBudget,
    rings: RingUnits,
    /// Whose queue it drains beside its own, if it is a replica.
    front: Option<Arc<Slot>>,
    /// Whether its traffic is split, and how.
    junction: Junction,
    /// Its incarnation has no instance at the moment.
    passive: AtomicBool,
    life: Mutex<Life>,
}

/// What changes at a start or an end, all at once.
#[derive(Default)]
struct Life {
    /// An incarnation is being started or runs.
    active: bool,
    /// It takes messages.
    running: bool,
    kill: Option<KillSwitch>,
    /// What others know of it, if it has resources.
    owner: Option<Arc<ResourceOwner>>,
    /// The incarnation before ended by a trap or an exceeded limit.
    trapped: bool,
    /// When it began, in nanoseconds since the system did.
    began: u64,
    /// What it has left for a report of its end; made when there is something.
    left: Option<Box<Left>>,
    /// Set while no incarnation is to be expected.
    gone: Option<ExitReason>,
    /// The registration has ended: there will be none.
    retired: bool,
    /// Monitors and links, made when the first is.
    bonds: Option<Box<Bonds>>,
}

impl Slot {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        address: ActorAddress,
        surface: Arc<Surface>,
        mailbox: MailboxConfig,
        rests: bool,
    ) -> Arc<Self> {
        Arc::new(Self::empty(shared, address, surface, mailbox, rests))
    }

    fn empty(
        shared: &Arc<Shared>,
        address: ActorAddress,
        surface: Arc<Surface>,
        mailbox: MailboxConfig,
        rests: bool,
    ) -> Self {
        let lane = Arc::new(Lane::default());
        Self {
            id: shared.next_id(),
            address,
            published: Published::new(surface),
            mailbox: Mailbox::new(mailbox, Arc::clone(&lane)),
            lane,
            shared: Arc::clone(shared),
            counters: SlotCounters::default(),
            incarnation: AtomicU64::new(0),
            edge: Edge::default(),
            rests: rests && shared.short_road(),
            resting: Resting::default(),
            #[cfg(all(test, feature = "model"))]
            modelled: Resting::default(),
            signals: SignalBudget::default(),
            rings: RingUnits::default(),
            front: None,
            junction: Junction::default(),
            passive: AtomicBool::new(false),
            life: Mutex::default(),
        }
    }

    pub(crate) fn id(&self) -> ActorId {
        self.id
    }

    pub(crate) fn address(&self) -> &ActorAddress {
        &self.address
    }

    pub(crate) fn handler(&self) -> Option<ExportId> {
        self.published.handler()
    }

    /// What it offers now.
    pub(crate) fn surface(&self) -> Arc<Surface> {
        self.published.now()
    }

    /// What it offered when it was registered; an actor that is not a component offers nothing else.
    pub(crate) fn first_surface(&self) -> &Arc<Surface> {
        self.published.first()
    }

    /// How often another revision of it has taken the place of one: whoever prepares the next knows which it follows.
    pub(crate) fn revision(&self) -> u64 {
        self.published.revision()
    }

    /// It offers this from now on, which is numbered after what it offered before; and so do the replicas, of a team.
    pub(crate) fn publish(&self, surface: &Arc<Surface>) {
        self.published.publish(surface);
    }

    pub(crate) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    pub(crate) fn lane(&self) -> &Lane {
        &self.lane
    }

    /// The lane for what outlives a borrow of the slot, and must not hold the slot itself.
    pub(crate) fn lane_shared(&self) -> Arc<Lane> {
        Arc::clone(&self.lane)
    }

    /// Whether callers may find it in [`Slot::resting`].
    pub(crate) fn rests(&self) -> bool {
        self.rests
    }

    /// Whether callers may find it, or a replica of it, at rest.
    pub(crate) fn may_rest(&self) -> bool {
        self.rests || self.mailbox.crew().is_there()
    }

    pub(crate) fn resting(&self) -> &Resting<ComponentBehaviour> {
        &self.resting
    }

    pub(crate) fn junction(&self) -> &Junction {
        &self.junction
    }

    pub(crate) fn counters(&self) -> &SlotCounters {
        &self.counters
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Number of the newest incarnation; 0 before the first.
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::Acquire)
    }

    /// An incarnation is about to be made. Its predecessor's Store is gone.
    pub(crate) fn begin(&self) -> u64 {
        let mut life = self.life.lock();
        life.active = true;
        life.began = nanos(self.shared.age());
        life.left = None;
        if life.gone.take().is_some() {
            self.mailbox.reopen();
        }
        self.lane.begin();
        let incarnation = self.incarnation.fetch_add(1, Ordering::AcqRel) + 1;
        let departed = life.departed();
        drop(life);
        if let Some(departed) = departed {
            self.tell(departed);
        }
        incarnation
    }

    /// The incarnation is started, and takes messages.
    pub(crate) fn running(&self) {
        self.life.lock().running = true;
    }

    /// The incarnation has an instance, which `kill` interrupts: in its `init`, too.
    pub(crate) fn armed(&self, kill: Option<KillSwitch>, owner: Option<Arc<ResourceOwner>>) {
        let mut life = self.life.lock();
        // Killed while it was being started: the switch was not there to be thrown.
        if self.lane.killed()
            && let Some(kill) = &kill
        {
            kill.kill();
        }
        life.kill = kill;
        life.owner = owner;
    }

    /// Whether its incarnation has given up its instance.
    pub(crate) fn is_passive(&self) -> bool {
        self.passive.load(Ordering::Acquire)
    }

    /// The incarnation has given up its instance, or has one again.
    pub(crate) fn set_passive(&self, passive: bool) {
        self.passive.store(passive, Ordering::Release);
        if passive {
            // The switch of an instance that is gone.
            let mut life = self.life.lock();
            life.kill = None;
            life.owner = None;
        }
    }

    /// Resources of the incarnation that runs which others hold.
    pub(crate) fn resources_held(&self) -> usize {
        let life = self.life.lock();
        let own = life.owner.as_ref().map_or(0, |owner| owner.held());
        drop(life);
        match self.replicas() {
            Some(replicas) => {
                let of_each = replicas.slots().map(|one| one.resources_held());
                own + of_each.sum::<usize>()
            }
            None => own,
        }
    }

    /// What the instance of the incarnation that runs holds now, also in the middle of a message; of replicas, all
    /// together. Nothing without an instance.
    pub(crate) fn usage(&self) -> Usage {
        let life = self.life.lock();
        let mut sum = life
            .kill
            .as_ref()
            .map_or_else(Usage::default, KillSwitch::usage);
        drop(life);
        let replicas = self.replicas();
        for one in replicas.iter().flat_map(|all| all.slots()) {
            let usage = one.usage();
            sum.memory_bytes = sum.memory_bytes.saturating_add(usage.memory_bytes);
            sum.table_elements = sum.table_elements.saturating_add(usage.table_elements);
        }
        sum
    }

    /// The incarnation has ended, and with it its Store. Returns the reason to report: a kill may have been
    /// a link's.
    pub(crate) fn ended(&self, reason: ExitReason) -> ExitReason {
        self.passive.store(false, Ordering::Release);
        self.lane.end();
        self.edge.clear();
        // It may have been woken for a message that it has not taken.
        match self.front() {
            Some(front) => front.mailbox.pass_on(),
            None if self.mailbox.crew().is_there() => self.mailbox.pass_on(),
            None => {}
        }
        let hands_on = self.hands_on();
        let mut life = self.life.lock();
        // Those who would go on under its name may have been stopped together with it.
        let hands_on = hands_on && life.gone.is_none();
        let was_active = std::mem::replace(&mut life.active, false);
        life.running = false;
        life.kill = None;
        life.owner = None;
        if was_active {
            life.trapped = reason.is_trap();
            if life.trapped {
                self.counted().trap();
            }
        }
        let (reason, watching) = if was_active && hands_on {
            life.hand_on(reason)
        } else if was_active {
            life.part(self.incarnation(), reason)
        } else {
            (reason, HashMap::new())
        };
        let gone = life.gone.clone();
        let departed = gone.as_ref().and_then(|_| life.departed());
        drop(life);
        for (monitor, target) in watching {
            if let Some(target) = target {
                target.unwatch(monitor);
            }
        }
        if let Some(gone) = gone {
            // Retired while it ran: what it put back since the sweep has nobody to come for it.
            self.close_mailbox(&gone);
        }
        if let Some(departed) = departed {
            self.tell(departed);
        }
        reason
    }

    /// The incarnation's instance has died of this.
    #[cold]
    pub(crate) fn leave_fault(&self, fault: Arc<Fault>) {
        self.life.lock().left().fault = Some(fault);
    }

    /// The incarnation is about to be gone, and these were its last messages.
    pub(crate) fn leave_recent(&self, recent: Recent) {
        if !recent.is_empty() {
            self.life.lock().left().recent = Some(recent);
        }
    }

    /// Its supervisor ends the incarnation for this, whatever it ends with.
    pub(crate) fn leave_verdict(&self, reason: ExitReason) {
        self.life.lock().left().verdict = Some(reason);
    }

    /// Its supervisor stops the incarnation in order, and does so by a kill.
    pub(crate) fn leave_in_order(&self) {
        let mut life = self.life.lock();
        if life.active {
            life.left().expected = true;
        }
    }

    /// How long the incarnation was there, and what it has left.
    pub(crate) fn take_left(&self) -> (Duration, Option<Box<Left>>) {
        let mut life = self.life.lock();
        let began = Duration::from_nanos(life.began);
        (self.shared.age().saturating_sub(began), life.left.take())
    }

    /// Whether an incarnation is being started or runs.
    pub(crate) fn is_active(&self) -> bool {
        self.life.lock().active
    }

    pub(crate) fn state(&self) -> ActorState {
        match self.replicas() {
            Some(replicas) => self.state_of(&replicas),
            None => self.own_state(),
        }
    }

    fn own_state(&self) -> ActorState {
        let life = self.life.lock();
        match (life.active, life.running) {
            (_, true) if self.lane.is_out() => ActorState::OutOfRotation,
            (_, true) => ActorState::Running,
            (true, false) => ActorState::Starting,
            (false, false) => ActorState::Down,
        }
    }

    /// Ends the incarnation now, also in the middle of a message; of every replica, if it has some.
    pub(crate) fn kill(&self) {
        if let Some(replicas) = self.replicas() {
            replicas.slots().for_each(|replica| replica.kill_own());
        }
        self.kill_own();
    }

    /// The same, and of no replica.
    pub(crate) fn kill_own(&self) {
        self.kill_living(&self.life.lock());
    }

    fn kill_living(&self, life: &Life) {
        self.lane.kill();
        if let Some(kill) = &life.kill {
            kill.kill();
        }
    }

    /// Why the registration has ended, if it has.
    pub(crate) fn exit_reason(&self) -> Option<ExitReason> {
        self.life.lock().gone.clone()
    }

    /// Whether the registration has ended.
    pub(crate) fn is_retired(&self) -> bool {
        self.life.lock().retired
    }

    /// No incarnation is to be expected: the mailbox refuses, and what is queued fails. The name stays taken; the
    /// next [`Slot::begin`] opens the mailbox again. Returns whether it was not so before.
    pub(crate) fn suspend(&self, reason: &ExitReason) -> bool {
        if self.is_vacant() && self.exit_reason().is_none() {
            self.ended(reason.clone());
        }
        {
            let mut life = self.life.lock();
            if life.gone.is_some() {
                return false;
            }
            life.gone = Some(reason.clone());
        }
        self.shared.timers().release(Owner {
            actor: self.id,
            tenure: None,
        });
        self.shared.topics().forget(self.id);
        self.close_mailbox(reason);
        let mut life = self.life.lock();
        let departed = life.departed();
        // Others may wait for the end of an incarnation that there will not be.
        let awaited = !life.active && life.is_awaited();
        let parted = awaited.then(|| life.part(self.incarnation(), reason.clone()));
        let unborn = life.departed();
        drop(life);
        drop(parted);
        for departed in departed.into_iter().chain(unborn) {
            self.tell(departed);
        }
        true
    }

    /// Ends the registration: the name is free, the mailbox refuses, and what is queued fails.
    pub(crate) fn retire(&self, reason: &ExitReason) {
        // First: whoever is told finds the name free.
        if !self.shared.unregister(self) {
            return;
        }
        self.life.lock().retired = true;
        for group in self.shared.groups().leave_all(self.id) {
            let address = self.address.clone();
            self.shared.emit(Event::Left { group, address });
        }
        if !self.suspend(reason) {
            self.tell_waiting();
        }
        if let Some(front) = self.front() {
            front.mailbox.crew().leave(self.id);
        }
        self.shared.emit(Event::Gone {
            address: self.address.clone(),
            reason: reason.clone(),
        });
    }

    /// There is nobody left to run it: it takes nothing any more, and holds nobody.
    pub(crate) fn let_go(&self) {
        let reason = ExitReason::Shutdown;
        let mut life = self.life.lock();
        life.retired = true;
        life.gone.get_or_insert_with(|| reason.clone());
        let bonds = life.bonds.take();
        drop(life);
        drop(bonds);
        self.lane.end();
        self.close_mailbox(&reason);
    }

    fn close_mailbox(&self, reason: &ExitReason) {
        if self.lane.is_leaving()
            && let Some(front) = self.front()
        {
            return self
                .mailbox
                .close_to(|envelope| self.hand_back(envelope, front));
        }
        self.mailbox.close(|| CallError::Stopped {
            address: self.address.clone(),
            reason: reason.clone(),
        });
    }

    /// The signals that may be under way to it.
    pub(crate) fn signal_budget(&self) -> &SignalBudget {
        &self.signals
    }

    /// What its subscriptions that drop the oldest hold.
    pub(crate) fn rings(&self) -> &RingUnits {
        &self.rings
    }

    /// Whom it waits for.
    pub(crate) fn edge(&self) -> &Edge {
        &self.edge
    }

    /// A cast to this actor will not be handled.
    pub(crate) fn dead_letter(&self, undelivered: Undelivered) {
        let Undelivered {
            sender,
            export,
            args,
            why,
            fatal,
            replay,
        } = undelivered;
        self.counters.dead_letter();
        let function = self
            .surface()
            .export_function(export)
            .map_or_else(String::new, |(interface, function)| {
                crate::reference::function_path(interface, &function.name)
            });
        let kind = why.kind();
        self.shared.dead_letters().fail(Failed {
            target: self.address.clone(),
            function,
            sender: sender.and_then(|id| self.shared.address_of(id)),
            sender_id: sender,
            args,
            why,
            at: SystemTime::now(),
            fatal,
            replay,
        });
        // After it is kept: whoever hears of it finds it.
        self.shared.emit(Event::DeadLetter {
            address: self.address.clone(),
            kind,
        });
    }

    /// A dead letter that was sent again to this actor has been handled.
    pub(crate) fn dead_letter_handled(&self, sequence: u64) {
        self.shared.dead_letters().handled(sequence);
        self.shared.emit(Event::DeadLetterHandled {
            address: self.address.clone(),
            sequence,
        });
    }
}

impl Life {
    fn left(&mut self) -> &mut Left {
        self.left.get_or_insert_default()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.retire(self.counters.read());
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Slots without a system around them.

    use super::*;
    use airssys_wasm::{CacheLocation, Engine, EngineConfig};

    /// A slot whose surface has one function, `f`.
    pub(crate) fn slot(config: MailboxConfig) -> Arc<Slot> {
        slot_of(F, config)
    }

    const F: &str = "package test:test; interface test { f: func(n: u32); }";

    /// The same with the functions of this WIT.
    pub(crate) fn slot_of(wit: &str, config: MailboxConfig) -> Arc<Slot> {
        let engine = Engine::new(EngineConfig {
            cache: CacheLocation::Off,
            pool_instances_max: 1,
            ..EngineConfig::default()
        })
        .unwrap();
        let shared = Shared::new(engine, crate::shared::Bounds::default(), true);
        let surface = Arc::new(Surface::from_wit(wit).unwrap());
        let slot = Slot::new(&shared, "test".parse().unwrap(), surface, config, false);
        shared.register(std::slice::from_ref(&slot), &[]).unwrap();
        slot
    }
}
