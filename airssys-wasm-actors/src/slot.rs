//! The place of an actor: what stays while incarnations come and go.
//!
//! Owns an actor's identity, its mailbox, its counters, the edge that says whom it waits for, and
//! the kill switch of whatever runs in it now. A slot is made when a name is registered and retired
//! when the registration ends; restarts happen inside it. References, links and envelopes hold
//! slots, never actors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use airssys_wasm::{KillSwitch, Surface};
use parking_lot::Mutex;

use crate::address::{ActorAddress, ActorId};
use crate::counters::SlotCounters;
use crate::dead_letters::Failed;
use crate::envelope::Undelivered;
use crate::error::CallError;
use crate::events::Event;
use crate::exit::ExitReason;
use crate::mailbox::{Lane, Mailbox, MailboxConfig};
use crate::resting::Resting;
use crate::shared::Shared;
use crate::wait_for::Edge;

/// One registered actor.
pub(crate) struct Slot {
    id: ActorId,
    address: ActorAddress,
    surface: Arc<Surface>,
    mailbox: Mailbox,
    lane: Arc<Lane>,
    shared: Arc<Shared>,
    counters: SlotCounters,
    incarnation: AtomicU64,
    /// Whom it waits for in a linked call, for the search for cycles.
    edge: Edge,
    /// Whether its behaviour lies in `resting` while it is idle.
    rests: bool,
    resting: Resting,
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
    /// Set when the registration has ended.
    gone: Option<ExitReason>,
}

impl Slot {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        address: ActorAddress,
        surface: Arc<Surface>,
        mailbox: MailboxConfig,
        rests: bool,
    ) -> Arc<Self> {
        let lane = Arc::new(Lane::default());
        Arc::new(Self {
            id: shared.next_id(),
            address,
            surface,
            mailbox: Mailbox::new(mailbox, Box::new([Arc::clone(&lane)])),
            lane,
            shared: Arc::clone(shared),
            counters: SlotCounters::default(),
            incarnation: AtomicU64::new(0),
            edge: Edge::default(),
            rests: rests && shared.short_road(),
            resting: Resting::default(),
            life: Mutex::default(),
        })
    }

    pub(crate) fn id(&self) -> ActorId {
        self.id
    }

    pub(crate) fn address(&self) -> &ActorAddress {
        &self.address
    }

    pub(crate) fn surface(&self) -> &Arc<Surface> {
        &self.surface
    }

    pub(crate) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    pub(crate) fn lane(&self) -> &Lane {
        &self.lane
    }

    /// Whether callers may find it in [`Slot::resting`].
    pub(crate) fn rests(&self) -> bool {
        self.rests
    }

    pub(crate) fn resting(&self) -> &Resting {
        &self.resting
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
        self.life.lock().active = true;
        self.lane.begin();
        self.incarnation.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The incarnation runs; `kill` interrupts its guest.
    pub(crate) fn running(&self, kill: Option<KillSwitch>) {
        let mut life = self.life.lock();
        life.running = true;
        // Killed while it was being started: the switch was not there to be thrown.
        if self.lane.killed()
            && let Some(kill) = &kill
        {
            kill.kill();
        }
        life.kill = kill;
    }

    /// The incarnation has ended, and with it its Store.
    pub(crate) fn ended(&self) {
        self.lane.end();
        self.edge.clear();
        let mut life = self.life.lock();
        life.active = false;
        life.running = false;
        life.kill = None;
        if let Some(reason) = life.gone.clone() {
            drop(life);
            // Retired while it ran: what it put back since the sweep has nobody to come for it.
            self.close_mailbox(&reason);
        }
    }

    /// Whether an incarnation is being started or runs.
    pub(crate) fn is_active(&self) -> bool {
        self.life.lock().active
    }

    pub(crate) fn is_running(&self) -> bool {
        self.life.lock().running
    }

    /// Ends the incarnation now, also in the middle of a message.
    pub(crate) fn kill(&self) {
        let life = self.life.lock();
        self.lane.kill();
        if let Some(kill) = &life.kill {
            kill.kill();
        }
    }

    /// Why the registration has ended, if it has.
    pub(crate) fn exit_reason(&self) -> Option<ExitReason> {
        self.life.lock().gone.clone()
    }

    /// Ends the registration: the name is free, the mailbox refuses, and what is queued fails.
    pub(crate) fn retire(&self, reason: &ExitReason) {
        {
            let mut life = self.life.lock();
            if life.gone.is_some() {
                return;
            }
            life.gone = Some(reason.clone());
        }
        self.shared.unregister(self);
        self.close_mailbox(reason);
        self.shared.emit(Event::Gone {
            address: self.address.clone(),
            reason: reason.clone(),
        });
    }

    fn close_mailbox(&self, reason: &ExitReason) {
        self.mailbox.close(|| CallError::Stopped {
            address: self.address.clone(),
            reason: reason.clone(),
        });
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
            .surface
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
        with_lanes(config, |own| Box::new([own]))
    }

    /// The same, drained by a second lane too.
    pub(crate) fn slot_with_lane(config: MailboxConfig, second: &Arc<Lane>) -> Arc<Slot> {
        with_lanes(config, |own| Box::new([own, Arc::clone(second)]))
    }

    fn with_lanes(
        config: MailboxConfig,
        lanes: impl FnOnce(Arc<Lane>) -> Box<[Arc<Lane>]>,
    ) -> Arc<Slot> {
        let engine = Engine::new(EngineConfig {
            cache: CacheLocation::Off,
            pool_instances_max: 1,
            ..EngineConfig::default()
        })
        .unwrap();
        let shared = Shared::new(engine, crate::DeadLetterLimits::default(), 16, true);
        let wit = "package test:test; interface test { f: func(n: u32); }";
        let surface = Arc::new(Surface::from_wit(wit).unwrap());
        let slot = Slot::new(&shared, "test".parse().unwrap(), surface, config, false);
        let mut slot = slot;
        let own = Arc::clone(&slot.lane);
        Arc::get_mut(&mut slot).unwrap().mailbox = Mailbox::new(config, lanes(own));
        shared.register(std::slice::from_ref(&slot)).unwrap();
        slot
    }
}
