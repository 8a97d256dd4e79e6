//! The number of replicas follows what they have to do.
//!
//! Owns who acts on what an [`Autoscaler`] decides: [`System::autoscale`], and the same for the components of an
//! application whose manifest says so. A task for each looks 20 times a second at the queue and at which replicas have
//! something in hand, decides once a second on what it has seen, and scales. A message pays nothing: only flags are read
//! that are kept anyway. How many there should be is decided by `deployment::autoscale`, how there come to be as many by
//! `scaling`.
//!
//! What is stopped, quarantined or not there is left alone, and so is what a deployment has in hand ([`Held`]). What cannot
//! be scaled is told, and not tried again for longer and longer.

mod window;

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::address::ActorAddress;
use crate::deployment::{Autoscale, AutoscaleError, Autoscaler, Load};
use crate::events::Event;
use crate::exit::with_sources;
use crate::scaling::{ScaleError, ScaleOptions, check_bounds, replicas_of, scale_slot};
use crate::shared::Shared;
use crate::slot::Slot;
use crate::supervisor::Supervisor;
use crate::system::System;
use window::Window;

/// From one look at the replicas to the next: short beside the calls that keep one busy for long, and nothing beside a
/// second of a processor.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks that a decision is made on: a second of them.
const LOOKS: u32 = 20;

/// Longest that a deployment waits for a change of a number that is under way.
const SETTLE_WITHIN: Duration = Duration::from_secs(60);

/// Why the number of an actor's replicas is not left to what they have to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AutoscaleRefused {
    /// The bounds or the aim cannot be.
    #[error(transparent)]
    Config(#[from] AutoscaleError),
    /// It cannot have another number of replicas.
    #[error(transparent)]
    Scale(#[from] ScaleError),
    /// Somebody has done so before.
    #[error("the replicas of `{0}` are autoscaled already: end that first, or change its bounds")]
    Already(ActorAddress),
}

/// How an autoscaled actor stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AutoscaleStatus {
    /// How many replicas there are.
    pub replicas: u32,
    /// The fewest.
    pub min: u32,
    /// The most.
    pub max: u32,
    /// A deployment has it in hand: its number stays what it is.
    pub paused: bool,
    /// What was done last, or could not be, and for which load: `from 1 to 2: queue 450, busy 93 %`.
    pub last: Option<String>,
}

/// The number of an actor's replicas follows what they have to do for as long as this is kept.
#[must_use = "it ends when it is dropped"]
pub struct Autoscaling {
    shared: Weak<Shared>,
    entry: Arc<Entry>,
}

impl fmt::Debug for Autoscaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Autoscaling")
            .field("address", &self.entry.address)
            .field("config", &*self.entry.config.borrow())
            .finish_non_exhaustive()
    }
}

impl Autoscaling {
    /// Whose replicas.
    #[must_use]
    pub fn address(&self) -> &ActorAddress {
        &self.entry.address
    }

    /// Other bounds and another aim, from the next decision on.
    ///
    /// # Errors
    /// [`AutoscaleError`], with the ones before.
    pub fn set(&self, config: Autoscale) -> Result<(), AutoscaleError> {
        config.check()?;
        self.entry.configure(config);
        Ok(())
    }
}

impl Drop for Autoscaling {
    fn drop(&mut self) {
        match self.shared.upgrade() {
            Some(shared) => shared.autoscales().remove(&self.entry),
            None => self.entry.end(),
        }
    }
}

/// One actor whose number of replicas is not left as it is.
struct Entry {
    address: ActorAddress,
    options: ScaleOptions,
    /// It ends with the supervisor of an application, and nobody keeps it.
    of_application: bool,
    /// `None` once it is over.
    config: watch::Sender<Option<Autoscale>>,
    /// It has begun to change the number, and that is under way.
    scaling: watch::Sender<bool>,
    last: Mutex<Option<String>>,
}

impl Entry {
    fn configure(&self, config: Autoscale) {
        self.config.send_if_modified(|now| {
            // What is over stays so.
            let changes = now.is_some_and(|now| now != config);
            if changes {
                *now = Some(config);
            }
            changes
        });
    }

    fn end(&self) {
        self.config.send_replace(None);
    }
}

/// Everybody whose number of replicas is not left as it is, and what of it deployments have in hand.
#[derive(Default)]
pub(crate) struct Autoscales(Mutex<Known>);

#[derive(Default)]
struct Known {
    entries: HashMap<ActorAddress, Arc<Entry>>,
    held: HashMap<ActorAddress, u32>,
}

impl Autoscales {
    /// The number of replicas at an address follows this from now on, until the supervisor of its application ends; or is
    /// left as it is. Whoever has autoscaled it before does not any more.
    pub(crate) fn set(
        shared: &Arc<Shared>,
        address: &ActorAddress,
        config: Option<Autoscale>,
        application: &Supervisor,
    ) {
        let mut known = shared.autoscales().0.lock();
        let before = known.entries.get(address).cloned();
        if let (Some(before), Some(config)) = (&before, config)
            && before.of_application
        {
            return before.configure(config);
        }
        if let Some(before) = before {
            known.entries.remove(address);
            before.end();
        }
        let Some(config) = config else { return };
        // What comes from a manifest has been asked there.
        let options = ScaleOptions {
            discard_state: true,
            ..ScaleOptions::default()
        };
        let entry = Entry::new(address.clone(), config, options, true);
        known.entries.insert(address.clone(), Arc::clone(&entry));
        drop(known);
        begin(shared, entry, Some(application.clone()));
    }

    /// What holds at an address.
    pub(crate) fn config(&self, address: &ActorAddress) -> Option<Autoscale> {
        let known = self.0.lock();
        let config = known.entries.get(address)?.config.borrow();
        *config
    }

    /// How the actor stands, if it is autoscaled.
    pub(crate) fn status(slot: &Slot) -> Option<AutoscaleStatus> {
        let address = slot.address();
        let known = slot.shared().autoscales().0.lock();
        let entry = Arc::clone(known.entries.get(address)?);
        let paused = known.held.contains_key(address);
        drop(known);
        let Autoscale { min, max, .. } = (*entry.config.borrow())?;
        let last = entry.last.lock().clone();
        Some(AutoscaleStatus {
            replicas: replicas_of(slot.shared(), address).unwrap_or(0),
            min,
            max,
            paused,
            last,
        })
    }

    fn remove(&self, entry: &Arc<Entry>) {
        entry.end();
        let mut known = self.0.lock();
        if let Place::Occupied(place) = known.entries.entry(entry.address.clone())
            && Arc::ptr_eq(place.get(), entry)
        {
            place.remove();
        }
    }

    fn is_held(&self, address: &ActorAddress) -> bool {
        self.0.lock().held.contains_key(address)
    }

    /// The number is about to be changed; `None` if a deployment has it in hand.
    fn begin_to_scale<'a>(&self, entry: &'a Entry) -> Option<Changing<'a>> {
        let known = self.0.lock();
        if known.held.contains_key(&entry.address) {
            return None;
        }
        entry.scaling.send_replace(true);
        Some(Changing(entry))
    }
}

impl Entry {
    fn new(
        address: ActorAddress,
        config: Autoscale,
        options: ScaleOptions,
        of_application: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            address,
            options,
            of_application,
            config: watch::Sender::new(Some(config)),
            scaling: watch::Sender::new(false),
            last: Mutex::default(),
        })
    }
}

/// A number is being changed.
struct Changing<'a>(&'a Entry);

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.scaling.send_replace(false);
    }
}

/// While it is kept, nobody changes the number of replicas at an address by himself.
pub(crate) struct Held {
    shared: Arc<Shared>,
    address: ActorAddress,
}

impl Held {
    pub(crate) fn new(shared: &Arc<Shared>, address: ActorAddress) -> Self {
        let mut known = shared.autoscales().0.lock();
        *known.held.entry(address.clone()).or_insert(0) += 1;
        drop(known);
        Self {
            shared: Arc::clone(shared),
            address,
        }
    }

    /// Waits for what was begun before, and not for ever: it can hang on a child that may take any time to stop.
    pub(crate) async fn settled(&self) {
        let entry = {
            let known = self.shared.autoscales().0.lock();
            known.entries.get(&self.address).cloned()
        };
        if let Some(entry) = entry {
            let mut scaling = entry.scaling.subscribe();
            // Whoever changes a number then finds that it is under way.
            let _ = timeout(SETTLE_WITHIN, scaling.wait_for(|scaling| !scaling)).await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut known = self.shared.autoscales().0.lock();
        if let Place::Occupied(mut place) = known.held.entry(self.address.clone()) {
            *place.get_mut() -= 1;
            if *place.get() == 0 {
                place.remove();
            }
        }
    }
}

impl System {
    /// Has the number of an actor's replicas follow what they have to do, within bounds, for as long as the answer is kept
    /// and the system is there: looked at 20 times a second, decided once a second, and carried out as by
    /// [`System::scale`] with these options. The number may be another one before; it comes into the bounds at the first
    /// decision. What it does is told by [`Event::Autoscaled`], and what it cannot do by [`Event::NotAutoscaled`].
    ///
    /// Busy is a replica that has a message in hand, also while that waits for others; a native actor that answers later is
    /// not while it does. Components of an application are autoscaled by its manifest.
    ///
    /// # Errors
    /// [`AutoscaleRefused`], with nothing changed: bounds or an aim that cannot be; nobody at the address, or somebody who
    /// cannot have another number of replicas; one that is autoscaled already.
    pub fn autoscale(
        &self,
        address: &ActorAddress,
        config: Autoscale,
        options: ScaleOptions,
    ) -> Result<Autoscaling, AutoscaleRefused> {
        config.check()?;
        let Some(actor) = self.whereis(address) else {
            return Err(ScaleError::NoSuchActor(address.clone()).into());
        };
        check_bounds(actor.slot(), config.min, config.max, options)?;
        let shared = actor.slot().shared();
        let entry = Entry::new(address.clone(), config, options, false);
        match shared.autoscales().0.lock().entries.entry(address.clone()) {
            Place::Occupied(_) => return Err(AutoscaleRefused::Already(address.clone())),
            Place::Vacant(place) => place.insert(Arc::clone(&entry)),
        };
        begin(shared, Arc::clone(&entry), None);
        Ok(Autoscaling {
            shared: Arc::downgrade(shared),
            entry,
        })
    }

    /// The bounds and the aim that the number of an actor's replicas follows; `None` if it is left as it is.
    #[must_use]
    pub fn autoscaled(&self, address: &ActorAddress) -> Option<Autoscale> {
        self.shared().autoscales().config(address)
    }
}

/// Begins the task of one. While it waits it holds nothing of the system but the supervisor it ends with.
fn begin(shared: &Arc<Shared>, entry: Arc<Entry>, application: Option<Supervisor>) {
    let system = Arc::downgrade(shared);
    shared.spawn(async move {
        let ended = async {
            match &application {
                Some(supervisor) => drop(supervisor.ended().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = ended => {}
            () = follow(&system, &entry) => {}
        }
        if let Some(shared) = system.upgrade() {
            shared.autoscales().remove(&entry);
        }
    });
}

/// Looks, decides and scales, until it is over.
async fn follow(system: &Weak<Shared>, entry: &Entry) {
    let mut config = entry.config.subscribe();
    let first = *config.borrow_and_update();
    let Some(Ok(mut scaler)) = first.map(Autoscaler::new) else {
        return;
    };
    let began = Instant::now();
    let (mut window, mut next) = (Window::default(), began);
    loop {
        next = (next + LOOK_EVERY).max(Instant::now());
        tokio::select! {
            // Its sender is in the entry.
            _ = config.changed() => {}
            () = sleep_until(next) => {}
        }
        match *config.borrow_and_update() {
            // It was checked by whoever has set it.
            Some(config) => drop(scaler.set(config)),
            None => return,
        }
        let Some(shared) = system.upgrade() else {
            return;
        };
        let slot = shared.whereis(&entry.address);
        let is_up = |slot: &Arc<Slot>| slot.exit_reason().is_none() && !slot.team_is_down();
        let Some(slot) = slot.filter(is_up) else {
            window.clear();
            continue;
        };
        if shared.autoscales().is_held(&entry.address) {
            window.clear();
            continue;
        }
        window.add(slot.mailbox().queued(), slot.at_work());
        if window.looks() < LOOKS {
            continue;
        }
        let load = window.load();
        window.clear();
        let replicas = replicas_of(&shared, &entry.address);
        if let (Some(load), Some(replicas)) = (load, replicas) {
            step(&shared, entry, &mut scaler, slot, (replicas, load), began).await;
            // What it was like meanwhile was another number's load.
            next = Instant::now();
        }
    }
}

/// Decides once, and carries it out.
async fn step(
    shared: &Arc<Shared>,
    entry: &Entry,
    scaler: &mut Autoscaler,
    slot: Arc<Slot>,
    (from, load): (u32, Load),
    began: Instant,
) {
    let Some(to) = scaler.decide(from, load, began.elapsed()) else {
        return;
    };
    let Some(_changing) = shared.autoscales().begin_to_scale(entry) else {
        scaler.undone();
        return;
    };
    let address = &entry.address;
    match scale_slot(slot, to, entry.options).await {
        Ok(scaled) => {
            let from = scaled.from;
            tracing::info!(%address, from, to, %load, "autoscaled");
            *entry.last.lock() = Some(format!("from {from} to {to}: {load}"));
            let address = address.clone();
            shared.emit(Event::Autoscaled {
                address,
                from,
                to,
                load,
            });
        }
        // Not now: somebody else has it in hand, or it is being stopped or made again.
        Err(
            why @ (ScaleError::UnderWay(_)
            | ScaleError::SupervisorEnded(_)
            | ScaleError::Stopped(_)
            | ScaleError::NoSuchActor(_)),
        ) => {
            tracing::debug!(%address, from, to, %load, %why, "not autoscaled yet");
            scaler.undone();
        }
        Err(why) => {
            scaler.failed(began.elapsed());
            let why = with_sources(&why);
            tracing::warn!(%address, from, to, %load, why, "not autoscaled");
            *entry.last.lock() = Some(format!("not from {from} to {to}: {load}: {why}"));
            let address = address.clone();
            shared.emit(Event::NotAutoscaled {
                address,
                from,
                to,
                load,
                why: why.into(),
            });
        }
    }
}
