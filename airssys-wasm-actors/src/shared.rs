//! What all actors of a system share.
//!
//! Owns the registry (names and ids to slots), the dead letters and the events. The registry is
//! read when a name is looked up or a cycle is searched, never on the way of a message that finds
//! its callee idle.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use airssys_wasm::Engine;
use parking_lot::{Mutex, RwLock};
use tokio::sync::broadcast;

use crate::address::{ActorAddress, ActorId};
use crate::counters::Counters;
use crate::dead_letters::{DeadLetterLimits, DeadLetterStore};
use crate::events::{Event, Events};
use crate::slot::Slot;

pub(crate) struct Shared {
    engine: Engine,
    short_road: bool,
    /// The runtime its actors live in.
    runtime: Option<tokio::runtime::Id>,
    next_id: AtomicU64,
    registry: RwLock<Registry>,
    dead_letters: DeadLetterStore,
    events: broadcast::Sender<Event>,
    /// Counts of the actors that are gone.
    retired: Mutex<Counters>,
}

#[derive(Default)]
struct Registry {
    names: HashMap<ActorAddress, Arc<Slot>>,
    ids: HashMap<ActorId, Arc<Slot>>,
    /// Unregistered, and still held by somebody whose call may yet end.
    leaving: Vec<Weak<Slot>>,
}

impl Shared {
    pub(crate) fn new(
        engine: Engine,
        dead_letters: DeadLetterLimits,
        events_capacity: usize,
        short_road: bool,
    ) -> Arc<Self> {
        let (events, _) = broadcast::channel(events_capacity.max(1));
        Arc::new(Self {
            engine,
            short_road,
            runtime: tokio::runtime::Handle::try_current()
                .ok()
                .map(|handle| handle.id()),
            next_id: AtomicU64::new(1),
            registry: RwLock::default(),
            dead_letters: DeadLetterStore::new(dead_letters),
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

    /// Whether callers may run the calls of idle components themselves.
    pub(crate) fn short_road(&self) -> bool {
        self.short_road
    }

    pub(crate) fn next_id(&self) -> ActorId {
        ActorId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Registers all of `slots`, or none: the first name that is taken is returned.
    pub(crate) fn register(&self, slots: &[Arc<Slot>]) -> Result<(), ActorAddress> {
        let mut registry = self.registry.write();
        for (at, slot) in slots.iter().enumerate() {
            let twice = slots
                .iter()
                .take(at)
                .any(|other| other.address() == slot.address());
            if twice || registry.names.contains_key(slot.address()) {
                return Err(slot.address().clone());
            }
        }
        for slot in slots {
            registry
                .names
                .insert(slot.address().clone(), Arc::clone(slot));
            registry.ids.insert(slot.id(), Arc::clone(slot));
        }
        Ok(())
    }

    /// Frees the name of a slot, if the slot still has it.
    pub(crate) fn unregister(&self, slot: &Slot) {
        let mut registry = self.registry.write();
        let Some(removed) = registry.ids.remove(&slot.id()) else {
            return;
        };
        registry.names.remove(slot.address());
        if registry.leaving.len() == registry.leaving.capacity() {
            registry.leaving.retain(|slot| slot.strong_count() > 0);
        }
        registry.leaving.push(Arc::downgrade(&removed));
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

    pub(crate) fn dead_letters(&self) -> &DeadLetterStore {
        &self.dead_letters
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
