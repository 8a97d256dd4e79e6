//! Routes: how the traffic of one actor is split while another one is tried in its place.
//!
//! Owns [`Split`]: the *stable* actor, which has the name, and a *candidate* with an address of its own and the same
//! functions. Every call and cast to the stable one (through a reference, a link, a batch or by a native actor, on the
//! short road or by the mailbox) chooses its arm at the moment it is made, by `choice`; a message that has been pushed
//! stays where it is. What belongs to the name itself always goes to the stable arm: messages of the messaging plane,
//! signals, timers, publications, dead letters sent again. A call on a resource goes to whoever owns it, and is not
//! counted. In shadow mode the stable arm answers everything and `shadow` sends copies.
//!
//! Readers take no lock. Without a split a request pays one relaxed load and a branch. With one, it borrows the
//! split by a hazard pointer (`arc-swap`), and that is also how a removal knows when it is complete: [`Live`] is dropped
//! by whoever is last of those who have borrowed it to choose the candidate, and from then on nothing more can reach the
//! candidate by this route ([`Split::drained`]). A candidate whose mailbox takes nothing, because its registration has
//! ended, loses no request: it goes to the stable arm.
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
mod shadow;

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use airssys_wasm::{Args, ExportId, Value};
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub use arm::ArmStats;
pub use breaker::{BREAKER_WINDOW_MAX, Breaker};
pub use choice::Weight;
pub(crate) use circuit::{LinkCircuit, Pass};
pub use history::RouteChange;
pub use latency::Latencies;
pub(crate) use leg::{Leg, Routed, Tally, push_cast};
pub use shadow::{ShadowSpec, ShadowStats};

use crate::address::ActorAddress;
use crate::reference::{ActorRef, function_path};
use crate::slot::Slot;
use arm::{Arm, Sampling};
use choice::Turn;
use history::History;
use shadow::Shadow;

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
    /// The parameter, counted from 0, whose value decides which arm a request goes to, always the same at one weight.
    /// A function without such a parameter takes turns. Default: all take turns.
    pub sticky: Option<usize>,
    /// One of so many calls is timed; rounded up to a power of two. Default 8.
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
    candidate: Arc<Slot>,
    mode: SplitMode,
    sticky: Option<usize>,
    sampling: Sampling,
    err_is_error: bool,
    weight: AtomicU16,
    turn: Turn,
    stable_arm: Arm,
    candidate_arm: Arm,
    shadow: Shadow,
    history: Mutex<History>,
    /// No request chooses by it any more.
    removed: AtomicBool,
    /// Nobody who has chosen by it is on the way any more.
    settled: AtomicBool,
    settling: Notify,
}

/// A split where requests find it. Whoever may yet send something to the candidate keeps it.
pub(crate) struct Live {
    split: Arc<Split>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.split.settled.store(true, Ordering::Release);
        self.split.settling.notify_waiters();
    }
}

/// Where a slot's split is, if it has one.
#[derive(Default)]
pub(crate) struct Junction {
    /// Whether to look at all. Whoever reads an old value either looks for nothing, or was before.
    is_split: AtomicBool,
    live: ArcSwapOption<Live>,
}

impl Slot {
    /// Where a request goes, as of now.
    pub(crate) fn route(&self, export: ExportId, args: &Args) -> Routed {
        if self.junction().is_split.load(Ordering::Relaxed)
            && let Some(routed) = self.route_split(export, args)
        {
            return routed;
        }
        self.replica_for(args).map_or(Routed::Own, Routed::Other)
    }

    #[inline(never)]
    fn route_split(&self, export: ExportId, args: &Args) -> Option<Routed> {
        let guard = self.junction().live.load();
        let split = &guard.as_ref()?.split;
        if self.handler() == Some(export) {
            return None;
        }
        if let Some(owner) = owner_of(args) {
            return split.owns(args, owner).map(Routed::Other);
        }
        let is_candidates = split.is_candidates(args);
        let mut pair = None;
        if is_candidates && split.mode == SplitMode::Shadow {
            pair = shadow::copy(split, export, args);
        }
        let to_candidate = is_candidates && split.mode == SplitMode::Weighted;
        let began = split.arm(to_candidate).request(split.sampling);
        Some(Routed::Split(Leg::new(guard, to_candidate, began, pair)))
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
        let split = Arc::new(Self {
            stable: Arc::downgrade(stable),
            address: stable.address().clone(),
            mode: spec.mode,
            sticky: spec.sticky,
            sampling: Sampling::every(spec.sample_every),
            err_is_error: spec.err_is_error,
            weight: AtomicU16::new(spec.weight.parts()),
            turn: Turn::default(),
            stable_arm: Arm::new(stable),
            candidate_arm: Arm::new(&candidate),
            candidate,
            shadow: Shadow::new(spec.shadow),
            history: Mutex::default(),
            removed: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            settling: Notify::new(),
        });
        split.note(Some(spec.weight), &spec.why);
        let junction = stable.junction();
        let live = Arc::new(Live {
            split: Arc::clone(&split),
        });
        let nothing: Option<Arc<Live>> = None;
        if junction
            .live
            .compare_and_swap(&nothing, Some(live))
            .is_some()
        {
            return Err(SplitRefused::AlreadySplit {
                stable: stable.address().clone(),
            });
        }
        junction.is_split.store(true, Ordering::Release);
        Ok(split)
    }

    /// The candidate's share.
    #[must_use]
    pub fn weight(&self) -> Weight {
        Weight::new(self.weight.load(Ordering::Relaxed)).unwrap_or(Weight::ALL)
    }

    /// Changes the candidate's share, for requests from now on; `why` also says who. A message that has been pushed
    /// stays where it is.
    pub fn set_weight(&self, weight: Weight, why: &str) {
        // In the order in which they are noted.
        let mut history = self.history.lock();
        self.weight.store(weight.parts(), Ordering::Relaxed);
        history.note(SystemTime::now(), Some(weight), why);
    }

    /// Removes the split: every request from now on goes to the stable actor. What the candidate has accepted it
    /// finishes; [`Split::drained`] waits for that. Returns whether it was there.
    pub fn remove(&self, why: &str) -> bool {
        if self.removed.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.note(None, why);
        // A stable actor that is gone has taken it along.
        if let Some(stable) = self.stable.upgrade() {
            let junction = stable.junction();
            junction.is_split.store(false, Ordering::Relaxed);
            drop(junction.live.swap(None));
        }
        true
    }

    /// Waits, once the split is removed, until the candidate has finished all that it was sent by this route: until then
    /// it must not be stopped. It also waits for what others have sent to the candidate by its own address, and not for
    /// the resources that others hold of it.
    pub async fn drained(&self) {
        loop {
            let settling = self.settling.notified();
            if self.settled.load(Ordering::Acquire) {
                break;
            }
            settling.await;
        }
        self.candidate.mailbox().emptied().await;
    }

    /// What was counted of the stable arm and of the candidate. The difference of two readings is an interval's:
    /// [`ArmStats::since`].
    #[must_use]
    pub fn stats(&self) -> (ArmStats, ArmStats) {
        let stable = self.stable.upgrade();
        (
            self.stable_arm.read(stable.as_deref()),
            self.candidate_arm.read(Some(&self.candidate)),
        )
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

    fn note(&self, weight: Option<Weight>, why: &str) {
        self.history.lock().note(SystemTime::now(), weight, why);
    }

    fn arm(&self, candidate: bool) -> &Arm {
        if candidate {
            &self.candidate_arm
        } else {
            &self.stable_arm
        }
    }

    fn is_candidates(&self, args: &Args) -> bool {
        let weight = self.weight();
        match self.sticky.and_then(|place| args.values().get(place)) {
            Some(key) => choice::key_is_candidates(key::hash(key), weight),
            None => self.turn.is_candidates(weight),
        }
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
        let has_it = candidate.surface().export_function(export).is_some_and(
            |(in_interface, candidates)| {
                in_interface == interface
                    && candidates.name == function.name
                    && candidates.ty == function.ty
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

impl ActorRef {
    /// Splits the traffic of this actor: from the next request on `candidate` has the share that the weight says.
    ///
    /// # Errors
    /// [`SplitRefused`] when it is split already, or when the candidate does not have every function of this actor, in
    /// the same place and of the same type.
    pub fn split(&self, candidate: &Self, spec: SplitSpec) -> Result<Arc<Split>, SplitRefused> {
        Split::install(self.slot(), Arc::clone(candidate.slot()), spec)
    }
}
