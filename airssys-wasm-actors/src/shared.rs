//! What all actors of a system share.
//!
//! Owns the registry (names and ids to slots), the dead letters and the events. The registry is
//! read when a name is looked up or a cycle is searched, never on the way of a message that finds
//! its callee idle.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use airssys_wasm::Engine;
use parking_lot::{Mutex, RwLock};
use tokio::sync::broadcast;

use crate::address::{ActorAddress, ActorId};
use crate::autoscaling::Autoscales;
use crate::counters::Counters;
use crate::crashes::{CrashLimits, CrashStore};
use crate::dead_letters::{DeadLetterLimits, DeadLetterStore, Failed};
use crate::events::{Event, Events};
use crate::groups::Groups;
use crate::ids::IdMap;
use crate::messaging::MessagingLimits;
use crate::passivation::Sweep;
use crate::scaling::Alterations;
use crate::signal::MonitorId;
use crate::slot::Slot;
use crate::supervisor::Record;
use crate::timers::TimerQueue;
use crate::topics::TopicTable;

pub(crate) struct Shared {
    engine: Engine,
    short_road: bool,
    /// The runtime its actors live in.
    runtime: Option<tokio::runtime::Id>,
    spawner: Option<tokio::runtime::Handle>,
    next_id: AtomicU64,
    next_monitor: AtomicU64,
    next_config: AtomicU64,
    registry: RwLock<Registry>,
    groups: Groups,
    dead_letters: DeadLetterStore,
    crashes: CrashStore,
    /// When it began: what is measured from here fits one number.
    began: Instant,
    /// Who may give up its instance.
    sweep: Sweep,
    messaging: MessagingLimits,
    topics: TopicTable,
    timers: Arc<TimerQueue>,
    alterations: Alterations,
    autoscales: Autoscales,
    events: broadcast::Sender<Event>,
    /// Counts of the actors that are gone.
    retired: Mutex<Counters>,
}

/// How much of each is kept.
#[derive(Default)]
pub(crate) struct Bounds {
    pub(crate) dead_letters: DeadLetterLimits,
    pub(crate) crashes: CrashLimits,
    /// Events for a subscriber that is behind.
    pub(crate) events: usize,
    pub(crate) messaging: MessagingLimits,
}

#[derive(Default)]
struct Registry {
    names: HashMap<ActorAddress, Arc<Slot>>,
    supervisors: HashMap<ActorAddress, Arc<Record>>,
    ids: IdMap<Arc<Slot>>,
    /// Unregistered, and still held by somebody whose call may yet end.
    leaving: Vec<Weak<Slot>>,
}

impl Shared {
    pub(crate) fn new(engine: Engine, bounds: Bounds, short_road: bool) -> Arc<Self> {
        let spawner = tokio::runtime::Handle::try_current().ok();
        let (events, _) = broadcast::channel(bounds.events.max(1));
        Arc::new(Self {
            engine,
            short_road,
            runtime: spawner.as_ref().map(tokio::runtime::Handle::id),
            spawner,
            next_id: AtomicU64::new(1),
            next_monitor: AtomicU64::new(1),
            // What an actor begins with is 1.
            next_config: AtomicU64::new(2),
            registry: RwLock::default(),
            groups: Groups::default(),
            dead_letters: DeadLetterStore::new(bounds.dead_letters),
            crashes: CrashStore::new(bounds.crashes),
            began: Instant::now(),
            sweep: Sweep::default(),
            messaging: bounds.messaging,
            topics: TopicTable::default(),
            timers: Arc::default(),
            alterations: Alterations::default(),
            autoscales: Autoscales::default(),
            events,
            retired: Mutex::default(),
        })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether this thread is in the runtime its actors live in.
    pub(crate) fn is_at_home(&self) -> bool {
        tokio::runtime::Handle::try_current().is_ok_and(|handle| Some(handle.id()) == self.runtime)
    }

    /// Runs a task of the system's own in the runtime its actors live in.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(spawner) = &self.spawner {
            spawner.spawn(task);
        }
    }

    pub(crate) fn messaging(&self) -> &MessagingLimits {
        &self.messaging
    }

    pub(crate) fn topics(&self) -> &TopicTable {
        &self.topics
    }

    pub(crate) fn timers(&self) -> &Arc<TimerQueue> {
        &self.timers
    }

    pub(crate) fn alterations(&self) -> &Alterations {
        &self.alterations
    }

    pub(crate) fn autoscales(&self) -> &Autoscales {
        &self.autoscales
    }

    /// Whether callers may run the calls of idle components themselves.
    pub(crate) fn short_road(&self) -> bool {
        self.short_road
    }

    pub(crate) fn next_id(&self) -> ActorId {
        ActorId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// A revision of a configuration that none has had.
    pub(crate) fn next_config(&self) -> u64 {
        self.next_config.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_monitor(&self) -> MonitorId {
        MonitorId(self.next_monitor.fetch_add(1, Ordering::Relaxed))
    }

    /// Every supervisor there is.
    pub(crate) fn records(&self) -> Vec<Arc<Record>> {
        self.registry.read().supervisors.values().cloned().collect()
    }

    /// Registers all of these, or none: the first name that is taken is returned.
    pub(crate) fn register(
        &self,
        slots: &[Arc<Slot>],
        supervisors: &[Arc<Record>],
    ) -> Result<(), ActorAddress> {
        let mut registry = self.registry.write();
        let names = slots.iter().map(|slot| slot.address());
        let names = names.chain(supervisors.iter().map(|record| record.address()));
        let mut seen = HashSet::with_capacity(slots.len() + supervisors.len());
        for name in names {
            let taken =
                registry.names.contains_key(name) || registry.supervisors.contains_key(name);
            if taken || !seen.insert(name) {
                return Err(name.clone());
            }
        }
        drop(seen);
        registry.names.reserve(slots.len());
        registry.ids.reserve(slots.len());
        for slot in slots {
            registry
                .names
                .insert(slot.address().clone(), Arc::clone(slot));
            registry.ids.insert(slot.id(), Arc::clone(slot));
        }
        for record in supervisors {
            registry
                .supervisors
                .insert(record.address().clone(), Arc::clone(record));
        }
        Ok(())
    }

    /// Frees the name of a slot; `false` if it had been freed before.
    pub(crate) fn unregister(&self, slot: &Slot) -> bool {
        let mut registry = self.registry.write();
        let Some(removed) = registry.ids.remove(&slot.id()) else {
            return false;
        };
        registry.names.remove(slot.address());
        if registry.leaving.len() == registry.leaving.capacity() {
            registry.leaving.retain(|slot| slot.strong_count() > 0);
        }
        registry.leaving.push(Arc::downgrade(&removed));
        true
    }

    /// The supervisor that has an address now.
    pub(crate) fn supervisor(&self, address: &ActorAddress) -> Option<Arc<Record>> {
        self.registry.read().supervisors.get(address).cloned()
    }

    /// Frees the name of a supervisor; `false` if it had been freed before.
    pub(crate) fn unregister_supervisor(&self, record: &Record) -> bool {
        let mut registry = self.registry.write();
        let has_it = registry
            .supervisors
            .get(record.address())
            .is_some_and(|named| named.id() == record.id());
        if has_it {
            registry.supervisors.remove(record.address());
        }
        has_it
    }

    /// A slot is gone, and nothing will be counted of it any more.
    pub(crate) fn retire(&self, counters: Counters) {
        *self.retired.lock() += counters;
    }

    pub(crate) fn whereis(&self, address: &ActorAddress) -> Option<Arc<Slot>> {
        self.registry.read().names.get(address).cloned()
    }

    pub(crate) fn by_id(&self, id: ActorId) -> Option<Arc<Slot>> {
        self.registry.read().ids.get(&id).cloned()
    }

    pub(crate) fn address_of(&self, id: ActorId) -> Option<ActorAddress> {
        self.by_id(id).map(|slot| slot.address().clone())
    }

    /// Every registered actor, by address.
    pub(crate) fn all(&self) -> Vec<Arc<Slot>> {
        let mut all: Vec<_> = self.registry.read().names.values().cloned().collect();
        all.sort_by(|a, b| a.address().cmp(b.address()));
        all
    }

    pub(crate) fn counters(&self) -> Counters {
        let slots: Vec<_> = {
            let registry = self.registry.read();
            let leaving = registry.leaving.iter().filter_map(Weak::upgrade);
            registry.names.values().cloned().chain(leaving).collect()
        };
        let mut sum = *self.retired.lock();
        for slot in &slots {
            sum += slot.counters().read();
        }
        sum
    }

    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    pub(crate) fn sweep(&self) -> &Sweep {
        &self.sweep
    }

    pub(crate) fn crashes(&self) -> &CrashStore {
        &self.crashes
    }

    /// How long it has been there.
    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn dead_letters(&self) -> &DeadLetterStore {
        &self.dead_letters
    }

    /// A cast to an address that nobody has.
    pub(crate) fn dead_letter_of_nobody(&self, failed: Failed) {
        let (address, kind) = (failed.target.clone(), failed.why.kind());
        *self.retired.lock() += Counters {
            casts: 1,
            dead_letters: 1,
            ..Counters::default()
        };
        self.dead_letters.fail(failed);
        self.emit(Event::DeadLetter { address, kind });
    }

    /// Lets go of everything that is registered, and would keep it: the runtime it lived in is gone.
    pub(crate) fn forget_all(&self) {
        let registry = std::mem::take(&mut *self.registry.write());
        // Not under the lock: what is dropped may look others up. A message holds its target, which holds it.
        for slot in registry.ids.values() {
            slot.let_go();
        }
        drop(registry);
        self.groups.forget_all();
        self.topics.forget_all();
        self.timers.forget_all();
    }

    /// Tells whoever listens; never waits.
    pub(crate) fn emit(&self, event: Event) {
        // An error means that nobody listens.
        let _ = self.events.send(event);
    }

    pub(crate) fn subscribe(&self) -> Events {
        Events(self.events.subscribe())
    }
}
