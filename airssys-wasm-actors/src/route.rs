//! Routes: how the traffic of one actor is split while another one is tried in its place.
//!
//! Owns [`Split`]: the *stable* actor, which has the name, and a *candidate* with an address of its own and the same
//! functions. Every call and cast to the stable one (through a reference, a link, a batch or by a native actor, on the
//! short road or by the mailbox) chooses its arm at the moment it is made, by `choice`; a message that has been pushed
//! stays where it is. What belongs to the name itself always goes to the stable arm: messages of the messaging plane,
//! signals, timers, publications, dead letters sent again. A call on a resource goes to whoever owns it, and is not
//! counted. In shadow mode the stable arm answers everything and `shadow` sends copies.
//!
//! Readers take no lock. An actor whose traffic was never split pays one load and a branch a request. One that has a
//! split has a [`Switch`], which it keeps: what the split says is one word in it (`said`), so that a request for the
//! stable arm adds to shared counters and no more. One for the candidate borrows [`Live`] by a hazard pointer (`arc-swap`),
//! and that is also how a removal knows when it is complete: whoever is the last of those who have borrowed it drops it,
//! and from then on nothing more can reach the candidate by this route ([`Split::drained`]). A candidate whose mailbox
//! takes nothing, because its registration has ended, loses no request: it goes to the stable arm.
//!
//! It decides nothing: weights come from whoever rolls out, and what is counted here ([`ArmStats`], [`ShadowStats`]) is read there.

mod arm;
mod breaker;
mod choice;
mod circuit;
mod history;
mod key;
mod latency;
mod leg;
mod said;
mod shadow;
mod sticky;
mod way;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::SystemTime;

use airssys_wasm::{Args, ExportId, InterfaceName, Value};
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

pub use arm::ArmStats;
pub use breaker::{BREAKER_WINDOW_MAX, Breaker};
pub use choice::Weight;
pub(crate) use circuit::{LinkCircuit, Pass};
pub use history::RouteChange;
pub use latency::Latencies;
pub(crate) use leg::{NotSent, Routed, Tally, push_cast};
pub use shadow::{ShadowSpec, ShadowStats};
pub(crate) use sticky::Standing;
pub(crate) use way::Known;

use crate::address::ActorAddress;
use crate::counters::Counters;
use crate::reference::{ActorRef, function_path};
use crate::slot::Slot;
use arm::{Arm, Sampling};
use choice::Turn;
use history::History;
use leg::{Leg, Note};
use said::Said;
use shadow::Shadow;
use sticky::Places;
use way::Way;

/// What a split does with the requests that its weight gives to the candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SplitMode {
    /// The candidate answers them.
    #[default]
    Weighted,
    /// The stable arm answers them, as it does all others, and the candidate has a copy.
    Shadow,
}

/// How a split is made.
#[derive(Debug, Clone)]
pub struct SplitSpec {
    /// What becomes of the candidate's requests.
    pub mode: SplitMode,
    /// The candidate's share at first.
    pub weight: Weight,
    /// The parameter, by its name and wherever it stands in each function, whose value decides which arm a request goes to, always
    /// the same at one weight. A function without such a parameter takes turns. Default: all take turns.
    pub sticky: Option<String>,
    /// One of so many calls is timed; rounded up to a power of two. Where 8,192 requests and more come to an arm between
    /// two readings of its statistics, an eighth as many of the others, each of which then stands for more. Default 8.
    pub sample_every: u32,
    /// Whether an answer `err` of a function that returns a `result` is counted as an error. Default: it is an answer.
    pub err_is_error: bool,
    /// How copies are made in [`SplitMode::Shadow`].
    pub shadow: ShadowSpec,
    /// Who makes it and why, for its history.
    pub why: String,
}

impl Default for SplitSpec {
    fn default() -> Self {
        Self {
            mode: SplitMode::Weighted,
            weight: Weight::NONE,
            sticky: None,
            sample_every: 8,
            err_is_error: false,
            shadow: ShadowSpec::default(),
            why: String::new(),
        }
    }
}

/// Why a split is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitRefused {
    /// One candidate at a time.
    #[error("the traffic of `{stable}` is split already")]
    AlreadySplit {
        /// The stable actor.
        stable: ActorAddress,
    },
    /// An actor cannot take its own place.
    #[error("`{stable}` cannot be its own candidate")]
    Itself {
        /// The stable actor.
        stable: ActorAddress,
    },
    /// No request would be routed by it.
    #[error("no function of `{stable}` has a parameter `{parameter}`")]
    NoParameter {
        /// The stable actor.
        stable: ActorAddress,
        /// The parameter that was to decide, escaped.
        parameter: String,
    },
    /// The candidate could not answer every request.
    #[error(
        "`{candidate}` does not have `{function}` of `{stable}` in the same place and of the same type"
    )]
    OtherFunctions {
        /// The stable actor.
        stable: ActorAddress,
        /// The candidate.
        candidate: ActorAddress,
        /// The first function that differs.
        function: String,
    },
}

/// The traffic of one actor, split between it and a candidate. It stands until it is removed, also when this handle is dropped.
pub struct Split {
    stable: Weak<Slot>,
    address: ActorAddress,
    switch: Arc<Switch>,
    number: u32,
    candidate: Arc<Slot>,
    way: Way,
    candidate_arm: Arm,
    /// What had been counted of both when it was made.
    before: [ArmStats; 2],
    /// What was counted of the stable arm, once it is removed: another split may count there.
    after: OnceLock<ArmStats>,
    sampling: Sampling,
    err_is_error: bool,
    /// Where the key is, if it is sticky.
    places: Places,
    shadow: Shadow,
    /// Held while it is changed.
    history: Mutex<History>,
    /// No request chooses by it any more.
    removed: AtomicBool,
}

/// What an actor keeps whose traffic is split, or has been.
#[derive(Default)]
pub(crate) struct Switch {
    /// A [`Said`].
    said: AtomicU64,
    turn: Turn,
    /// Requests of the stable arm.
    requests: AtomicU64,
    stable: Arm,
    live: ArcSwapOption<Split>,
    /// Splits so far.
    made: AtomicU32,
}

/// Where a slot's switch is, if it has one.
#[derive(Default)]
pub(crate) struct Junction(OnceLock<Arc<Switch>>);

impl Junction {
    fn switch(&self) -> Option<&Arc<Switch>> {
        self.0.get()
    }
}

impl Slot {
    /// Where a request goes, as of now. `known` is its caller's.
    pub(crate) fn route(&self, export: ExportId, args: &Args, known: &mut Known) -> Routed {
        if let Some(switch) = self.junction().switch()
            && let Some(routed) = switch.route(self.handler(), export, args, known)
        {
            return routed;
        }
        self.replica_for(args).map_or(Routed::Own, Routed::Other)
    }
}

impl Switch {
    /// Where a request goes, if it is a split that decides.
    fn route(
        &self,
        handler: Option<ExportId>,
        export: ExportId,
        args: &Args,
        known: &mut Known,
    ) -> Option<Routed> {
        let said = Said(self.said.load(Ordering::Relaxed));
        if said == Said::NOTHING || handler == Some(export) {
            known.forget();
            return None;
        }
        if let Some(owner) = owner_of(args) {
            return self.route_to(said, args, owner);
        }
        if !said.is_plain() {
            return Some(self.look_closer(said, export, args));
        }
        if self.turn.is_candidates(said.weight())
            && let Some(split) = self.known_or_live(said, known)
            && let Some(leg) = Leg::begin(split, said)
        {
            return Some(Routed::Candidate(leg));
        }
        Some(Routed::Stable(self.stable_begins(said)))
    }

    /// A request is the stable arm's.
    fn stable_begins(&self, said: Said) -> Note {
        let nth = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut note = Note::new(said.err_is_error());
        note.began(self.stable.times(nth, said.sampling()));
        note
    }

    /// What was counted of the stable arm, with what its slot has counted itself.
    fn read(&self, counters: Counters) -> ArmStats {
        let requests = self.requests.load(Ordering::Relaxed);
        self.stable.read(requests, counters)
    }

    /// Where a call on a resource goes.
    #[cold]
    fn route_to(&self, said: Said, args: &Args, owner: &str) -> Option<Routed> {
        let split = self.live_of(said)?;
        split.owns(args, owner).map(Routed::Other)
    }

    /// Where a request goes if a key decides, or if the candidate has a copy.
    #[inline(never)]
    fn look_closer(&self, said: Said, export: ExportId, args: &Args) -> Routed {
        let Some(split) = self.live_of(said) else {
            return Routed::Stable(self.stable_begins(said));
        };
        let by_key = said.is_sticky().then(|| split.places.key(export, args));
        let is_candidates = by_key.flatten().map_or_else(
            || self.turn.is_candidates(said.weight()),
            |key| choice::key_is_candidates(key::hash(key), said.weight()),
        );
        let mut pair = None;
        match said.is_shadow() {
            true if is_candidates => pair = shadow::copy(&split, export, args),
            false if is_candidates => {
                if let Some(leg) = Leg::begin(split, said) {
                    return Routed::Candidate(leg);
                }
            }
            _ => {}
        }
        let mut note = self.stable_begins(said);
        note.pair(pair);
        Routed::Stable(note)
    }

    /// The split that said this, without a look where the caller has it yet.
    fn known_or_live(&self, said: Said, known: &mut Known) -> Option<Arc<Split>> {
        match known.0.take() {
            Some(split) if split.is(self, said) => Some(split),
            _ => self.live_of(said),
        }
    }

    /// The split that said this; `None` once it is removed.
    #[cold]
    fn live_of(&self, said: Said) -> Option<Arc<Split>> {
        let split = self.live.load_full()?;
        split.is(self, said).then_some(split)
    }
}

/// Who owns the first handle among the arguments, which is the one a method is called on.
fn owner_of(args: &Args) -> Option<&str> {
    args.values().iter().find_map(|value| match value {
        Value::Handle(handle) => handle.owner().map(|owner| &*owner.address),
        _ => None,
    })
}

impl Split {
    /// Splits the traffic of `stable`, from the next request on.
    pub(crate) fn install(
        stable: &Arc<Slot>,
        candidate: Arc<Slot>,
        spec: SplitSpec,
    ) -> Result<Arc<Self>, SplitRefused> {
        fits(stable, &candidate)?;
        let places = places(stable, &candidate, spec.sticky.as_deref())?;
        let switch = stable.junction().0.get_or_init(Arc::default);
        let number = switch
            .made
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1)
            .max(1);
        let said = Said::new(number, &spec);
        let candidate_arm = Arm::default();
        let split = Arc::new(Self {
            stable: Arc::downgrade(stable),
            address: stable.address().clone(),
            switch: Arc::clone(switch),
            before: [
                switch.read(stable.counters().read()),
                candidate_arm.read(0, candidate.counters().read()),
            ],
            after: OnceLock::new(),
            number,
            way: Way::default(),
            candidate_arm,
            candidate,
            sampling: said.sampling(),
            err_is_error: said.err_is_error(),
            places,
            shadow: Shadow::new(spec.shadow),
            history: Mutex::default(),
            removed: AtomicBool::new(false),
        });
        let mut history = split.history.lock();
        history.note(SystemTime::now(), Some(spec.weight), &spec.why);
        let nothing: Option<Arc<Self>> = None;
        let live = Some(Arc::clone(&split));
        if switch.live.compare_and_swap(&nothing, live).is_some() {
            return Err(SplitRefused::AlreadySplit {
                stable: stable.address().clone(),
            });
        }
        switch.said.store(said.0, Ordering::Release);
        drop(history);
        Ok(split)
    }

    /// The candidate's share; nothing once it is removed.
    #[must_use]
    pub fn weight(&self) -> Weight {
        let _unchanged = self.history.lock();
        if self.removed.load(Ordering::Relaxed) {
            return Weight::NONE;
        }
        self.said().weight()
    }

    /// What it says, while it is not removed and its history is held.
    fn said(&self) -> Said {
        Said(self.switch.said.load(Ordering::Relaxed))
    }

    /// Changes the candidate's share, for requests from now on; `why` also says who. A message that has been pushed
    /// stays where it is. Returns whether the split is there.
    pub fn set_weight(&self, weight: Weight, why: &str) -> bool {
        let mut history = self.history.lock();
        if self.removed.load(Ordering::Relaxed) {
            return false;
        }
        history.note(SystemTime::now(), Some(weight), why);
        let said = self.said().with(weight);
        self.switch.said.store(said.0, Ordering::Release);
        true
    }

    /// Removes the split: every request from now on goes to the stable actor. What the candidate has accepted it
    /// finishes; [`Split::drained`] waits for that. Returns whether it was there.
    pub fn remove(&self, why: &str) -> bool {
        let mut history = self.history.lock();
        if self.removed.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.switch.said.store(Said::NOTHING.0, Ordering::Release);
        history.note(SystemTime::now(), None, why);
        // Set once, here.
        let _ = self.after.set(self.stable_now());
        drop(history);
        drop(self.switch.live.swap(None));
        self.way.close();
        true
    }

    /// Waits, once the split is removed, until the candidate has finished all that it was sent by this route: until then
    /// it must not be stopped. It also waits for what others have sent to the candidate by its own address, and not for
    /// the resources that others hold of it.
    pub async fn drained(&self) {
        self.way.left().await;
        self.candidate.mailbox().emptied().await;
    }

    /// What was counted of the stable arm, until the split was removed, and of the candidate. The difference of two
    /// readings is an interval's: [`ArmStats::since`].
    #[must_use]
    pub fn stats(&self) -> (ArmStats, ArmStats) {
        let stable = self.after.get().cloned();
        let counters = self.candidate.counters().read();
        let [_, before] = &self.before;
        (
            stable.unwrap_or_else(|| self.stable_now()),
            self.candidate_arm
                .read(self.way.requests(), counters)
                .since(before),
        )
    }

    fn stable_now(&self) -> ArmStats {
        let counters = |slot: Arc<Slot>| slot.counters().read();
        let counters = self
            .stable
            .upgrade()
            .map_or_else(Counters::default, counters);
        let [before, _] = &self.before;
        self.switch.read(counters).since(before)
    }

    /// What became of the copies in [`SplitMode::Shadow`].
    #[must_use]
    pub fn shadow_stats(&self) -> ShadowStats {
        self.shadow.read()
    }

    /// The changes of its weight, oldest first: the last 256.
    #[must_use]
    pub fn history(&self) -> Vec<RouteChange> {
        self.history.lock().read()
    }

    /// The actor whose traffic is split.
    #[must_use]
    pub fn stable(&self) -> &ActorAddress {
        &self.address
    }

    /// The actor that is tried.
    #[must_use]
    pub fn candidate(&self) -> &ActorAddress {
        self.candidate.address()
    }

    /// Whether it is the one that said this at this switch.
    fn is(&self, switch: &Switch, said: Said) -> bool {
        self.number == said.number() && std::ptr::eq(&raw const *self.switch, switch)
    }

    /// The candidate, or the replica of it, if it owns the resource that these arguments are about.
    fn owns(&self, args: &Args, owner: &str) -> Option<Arc<Slot>> {
        if *self.candidate.address().as_str() == *owner {
            return Some(Arc::clone(&self.candidate));
        }
        self.candidate.replica_for(args)
    }

    /// The path of a function of both arms.
    fn function(&self, export: ExportId) -> String {
        let surface = self.candidate.surface();
        let function = surface.export_function(export);
        function.map_or_else(String::new, |(interface, function)| {
            function_path(interface, &function.name)
        })
    }
}

/// Whether the candidate can be asked whatever the stable one can: exports are called by their number.
fn fits(stable: &Arc<Slot>, candidate: &Arc<Slot>) -> Result<(), SplitRefused> {
    if stable.id() == candidate.id() {
        return Err(SplitRefused::Itself {
            stable: stable.address().clone(),
        });
    }
    for (export, interface, function) in stable.surface().export_functions() {
        // Another version that stands in for it, and other names of parameters, are what a function's number allows, too.
        let stands_in = |other: &InterfaceName| {
            other == interface
                || (other.unversioned() == interface.unversioned() && interface.accepts(other))
        };
        let has_it = candidate.surface().export_function(export).is_some_and(
            |(in_interface, candidates)| {
                stands_in(in_interface)
                    && candidates.name == function.name
                    && candidates.ty.same_shape(&function.ty)
            },
        );
        if !has_it {
            return Err(SplitRefused::OtherFunctions {
                stable: stable.address().clone(),
                candidate: candidate.address().clone(),
                function: function_path(interface, &function.name),
            });
        }
    }
    Ok(())
}

/// Where the parameter is that decides.
fn places(
    stable: &Arc<Slot>,
    candidate: &Arc<Slot>,
    sticky: Option<&str>,
) -> Result<Places, SplitRefused> {
    let Some(parameter) = sticky else {
        return Ok(Places::default());
    };
    let places = Places::of(parameter, &stable.surface(), &candidate.surface());
    if places.are_none() {
        return Err(SplitRefused::NoParameter {
            stable: stable.address().clone(),
            parameter: parameter.escape_debug().to_string(),
        });
    }
    Ok(places)
}

impl ActorRef {
    /// Splits the traffic of this actor: from the next request on `candidate` has the share that the weight says.
    ///
    /// # Errors
    /// [`SplitRefused`] when it is split already, when the candidate does not have every function of this actor, in
    /// the same place and of the same type, or when it is to be sticky by a parameter that no function has.
    pub fn split(&self, candidate: &Self, spec: SplitSpec) -> Result<Arc<Split>, SplitRefused> {
        Split::install(self.slot(), Arc::clone(candidate.slot()), spec)
    }
}
