//! What all actors of a system share.
//!
//! Owns the registry (names and ids to slots), the dead letters and the events. The registry is
//! read when a name is looked up or a cycle is searched, never on the way of a message that finds
//! its callee idle.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
        let removed = {
            let mut registry = self.registry.write();
            let removed = registry.ids.remove(&slot.id());
            if removed.is_some() {
                registry.names.remove(slot.address());
            }
            removed
        };
        if removed.is_some() {
            *self.retired.lock() += slot.counters().read();
        }
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
        let mut sum = *self.retired.lock();
        for slot in self.all() {
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
