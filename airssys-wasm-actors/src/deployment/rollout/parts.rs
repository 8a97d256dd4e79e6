//! What a rollout does to one thing that changes, and how that is undone.
//!
//! Owns the hands of a rollout: each step of a plan becomes [`StepParts`], which are warmed, switched, switched back and
//! let go when the machine says so. Every one of them can be asked at any moment and finds out itself what there is to do.

use std::sync::Arc;
use std::time::Duration;

use super::told::Told;
use crate::address::ActorAddress;
use crate::application::Application;
use crate::application::running::Live;
use crate::counters::Counters;
use crate::deployment::gate::{Interval, Latency};
use crate::deployment::plan::{Action, Part, Replacement, Step};
use crate::deployment::share::Share;
use crate::deployment::strategy::{RolloutStrategy, StateHandling};
use crate::error::with_sources;
use crate::health::ChildHealth;
use crate::reference::ActorRef;
use crate::route::{ArmStats, ShadowStats, Split, SplitMode, SplitSpec, Weight};
use crate::supervisor::{ChildSpec, RestartIntensity, Start, Supervisor, SupervisorSpec};
use crate::system::System;
use crate::upgrade::{Upgrade, UpgradeOptions, UpgradeOrder, UpgradeState, Upgraded};

/// How long a candidate may take to finish what it has accepted.
const DRAIN_WITHIN: Duration = Duration::from_secs(30);

/// The last parts of the addresses of a candidate and of its supervisor, below its component's.
const CANDIDATE: &str = "next";
const TRIAL: &str = "trial";

/// How often a candidate is restarted before it is no longer tried; the gate has its word long before that.
const TRIAL_RESTARTS: RestartIntensity = RestartIntensity {
    max: 100,
    within: Duration::from_secs(10),
};

/// What a step works with.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) system: System,
    pub(super) live: Arc<Live>,
    pub(super) old: Arc<Application>,
    pub(super) new: Arc<Application>,
}

/// What one step of a plan changes.
pub(super) struct StepParts(Vec<OnePart>);

enum OnePart {
    Replace(Box<Replace>),
    Told(Box<Told>),
    Start(Box<StartOne>),
    Stop(StopOne),
    Retune(Box<Change<ChildSpec>>),
    RetuneSupervisor(Box<Change<SupervisorSpec>>),
    Report,
}

/// What something was, and what it is to be.
struct Change<T> {
    old: T,
    new: T,
}

type Done = Result<(), String>;

impl StepParts {
    /// What the step needs, or why it cannot be done.
    pub(super) fn of(step: &Step, ground: &Ground) -> Result<Self, String> {
        let parts = step.parts.iter().map(|part| one(part, ground));
        Ok(Self(parts.collect::<Result<_, _>>()?))
    }

    pub(super) async fn warm(&mut self, ground: &Ground) -> Done {
        for part in &mut self.0 {
            match part {
                OnePart::Replace(replace) => replace.warm(ground).await?,
                OnePart::Start(start) => start.start(ground).await?,
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) async fn set_weight(&mut self, share: Share) -> Done {
        for part in &mut self.0 {
            if let OnePart::Replace(replace) = part {
                replace.split(share, SplitMode::Weighted)?;
            }
        }
        Ok(())
    }

    pub(super) async fn shadow(&mut self, share: Share) -> Done {
        for part in &mut self.0 {
            if let OnePart::Replace(replace) = part {
                if share == Share::NONE {
                    replace.unsplit("the copies have ended");
                } else {
                    replace.split(share, SplitMode::Shadow)?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn switch(&mut self, ground: &Ground) -> Done {
        for part in &mut self.0 {
            match part {
                OnePart::Replace(replace) => replace.switch(ground).await?,
                OnePart::Told(told) => told.switch(ground).await?,
                OnePart::Retune(change) => retune(ground, &change.new)?,
                OnePart::RetuneSupervisor(one) => change(ground, &one.new).await?,
                OnePart::Report => set_report(ground, &ground.new),
                OnePart::Start(_) | OnePart::Stop(_) => {}
            }
        }
        Ok(())
    }

    /// Puts what was there before in charge, whatever had been done; goes on with the others if one fails.
    pub(super) async fn switch_back(&mut self, ground: &Ground) -> Done {
        let mut failed = Vec::new();
        for part in self.0.iter_mut().rev() {
            let back = match part {
                OnePart::Replace(replace) => replace.switch_back().await,
                OnePart::Told(told) => told.switch_back().await,
                OnePart::Retune(change) => retune(ground, &change.old),
                OnePart::RetuneSupervisor(one) => change(ground, &one.old).await,
                OnePart::Report => {
                    set_report(ground, &ground.old);
                    Ok(())
                }
                OnePart::Start(_) | OnePart::Stop(_) => Ok(()),
            };
            failed.extend(back.err());
        }
        if failed.is_empty() {
            Ok(())
        } else {
            Err(failed.join("; "))
        }
    }

    /// Lets go of what there was before: nothing is undone any more.
    pub(super) async fn release_old(&mut self, ground: &Ground) {
        for part in &mut self.0 {
            match part {
                OnePart::Replace(replace) => {
                    if let Some(upgraded) = replace.upgraded.take() {
                        upgraded.release().await;
                    }
                }
                OnePart::Stop(stop) => stop.stop(ground).await,
                _ => {}
            }
        }
    }

    /// Lets go of what was to come: it does not.
    pub(super) async fn release_new(&mut self, ground: &Ground) {
        for part in self.0.iter_mut().rev() {
            match part {
                OnePart::Replace(replace) => {
                    replace.upgrade = None;
                    replace.end_candidate("the deployment is undone").await;
                }
                OnePart::Start(start) => start.stop(ground).await,
                _ => {}
            }
        }
    }

    pub(super) fn begin_interval(&mut self, ground: &Ground) {
        for part in &mut self.0 {
            if let OnePart::Replace(replace) = part {
                replace.since = replace.reading(ground);
            }
        }
    }

    /// What the old revisions and the new ones did since.
    pub(super) fn measure(&self, ground: &Ground) -> (Interval, Interval) {
        let mut sums = (Interval::default(), Interval::default());
        for part in &self.0 {
            if let OnePart::Replace(replace) = part {
                let (stable, candidate) = replace.reading(ground).since(&replace.since);
                add(&mut sums.0, stable);
                add(&mut sums.1, candidate);
            }
        }
        sums
    }

    /// The new revision's share of the traffic now, where it is split.
    pub(super) fn weight(&self) -> Option<u16> {
        self.0.iter().find_map(|part| match part {
            OnePart::Replace(replace) => Some(replace.split.as_ref()?.weight().parts()),
            _ => None,
        })
    }
}

/// Several components of a step are looked at as one.
fn add(sum: &mut Interval, one: Interval) {
    sum.requests += one.requests;
    sum.errors += one.errors;
    sum.traps += one.traps;
    sum.restarts += one.restarts;
    sum.memory_bytes += one.memory_bytes;
    sum.compared += one.compared;
    sum.mismatched += one.mismatched;
    // The slower one decides.
    if one.latency.p50 > sum.latency.p50 {
        sum.latency = one.latency;
    }
}

fn one(part: &Part, ground: &Ground) -> Result<OnePart, String> {
    let address = || {
        let name = ground.new.name();
        name.join(&part.name).map_err(|why| why.to_string())
    };
    let component = |application: &Application| {
        let mut components = application.components().iter();
        let found = components.find(|one| one.name == part.name);
        let none = || format!("there is no component `{}`", part.name);
        found.map(|one| one.child.clone()).ok_or_else(none)
    };
    Ok(match &part.action {
        Action::Replace(replacement) => {
            let scale = replacement.replicas;
            if scale.from != scale.to {
                return Err(not_yet(
                    part,
                    "the number of replicas of a component that runs",
                ));
            }
            OnePart::Replace(Box::new(Replace::new(component(&ground.new)?, replacement)))
        }
        Action::Reconfigure { .. } => OnePart::Told(Box::new(Told::new(component(&ground.new)?))),
        Action::Start { .. } => OnePart::Start(Box::new(StartOne {
            spec: component(&ground.new)?,
            supervisor: parent(&ground.new, &address()?)?,
            started: false,
        })),
        Action::Stop { .. } => OnePart::Stop(StopOne {
            address: address()?,
            supervisor: parent(&ground.old, &address()?)?,
        }),
        Action::Retune { .. } => OnePart::Retune(Box::new(Change {
            old: component(&ground.old)?,
            new: component(&ground.new)?,
        })),
        Action::RetuneSupervisor { .. } => OnePart::RetuneSupervisor(Box::new(Change {
            old: supervisor_of(&ground.old, &part.name)?,
            new: supervisor_of(&ground.new, &part.name)?,
        })),
        Action::ChangeReport => OnePart::Report,
        Action::Scale { .. } => {
            return Err(not_yet(
                part,
                "the number of replicas of a component that runs",
            ));
        }
        Action::StartSource | Action::StopSource => {
            return Err(not_yet(part, "the sources of an application that runs"));
        }
    })
}

fn not_yet(part: &Part, what: &str) -> String {
    format!(
        "`{}`: {what} cannot be changed; stop the application and start it anew",
        part.name
    )
}

/// Looks through the tree of an application's supervisors.
fn find<T>(spec: &SupervisorSpec, wanted: &impl Fn(&SupervisorSpec) -> Option<T>) -> Option<T> {
    wanted(spec).or_else(|| {
        let mut below = spec.children.iter().filter_map(ChildSpec::as_supervisor);
        below.find_map(|below| find(below, wanted))
    })
}

fn supervisor_of(application: &Application, address: &str) -> Result<SupervisorSpec, String> {
    let this = |spec: &SupervisorSpec| (spec.address.as_str() == address).then(|| spec.clone());
    let none = || format!("there is no supervisor `{address}`");
    find(application.supervision(), &this).ok_or_else(none)
}

/// The supervisor that a component is under, and the order of its children.
fn parent(
    application: &Application,
    child: &ActorAddress,
) -> Result<(ActorAddress, Vec<ActorAddress>), String> {
    let has = |spec: &SupervisorSpec| {
        let children: Vec<_> = spec
            .children
            .iter()
            .map(|one| one.address.clone())
            .collect();
        children
            .contains(child)
            .then(|| (spec.address.clone(), children))
    };
    let none = || format!("`{child}` is under no supervisor");
    find(application.supervision(), &has).ok_or_else(none)
}

fn supervisor(ground: &Ground, address: &ActorAddress) -> Result<Supervisor, String> {
    let none = || format!("the supervisor `{address}` is not there");
    ground.system.find_supervisor(address).ok_or_else(none)
}

fn retune(ground: &Ground, spec: &ChildSpec) -> Done {
    ground
        .system
        .retune(spec.clone())
        .map_err(|why| why.to_string())
}

/// Changes the flags of a supervisor; its children stay what they are by now.
async fn change(ground: &Ground, spec: &SupervisorSpec) -> Done {
    let supervisor = supervisor(ground, &spec.address)?;
    let spec = SupervisorSpec {
        children: supervisor.first_children(),
        ..spec.clone()
    };
    supervisor.change(spec).await.map_err(|why| why.to_string())
}

fn set_report(ground: &Ground, application: &Application) {
    *ground.live.report.lock() = application.report_plan().clone();
}

/// A component that was not there before.
struct StartOne {
    spec: ChildSpec,
    supervisor: (ActorAddress, Vec<ActorAddress>),
    started: bool,
}

impl StartOne {
    async fn start(&mut self, ground: &Ground) -> Done {
        let (address, order) = &self.supervisor;
        let supervisor = supervisor(ground, address)?;
        let mut children = supervisor.first_children();
        let place = order.iter().position(|one| *one == self.spec.address);
        let later = order.get(place.map_or(order.len(), |at| at + 1)..);
        let later = later.unwrap_or_default();
        let at = children.iter().position(|one| later.contains(&one.address));
        children.insert(at.unwrap_or(children.len()), self.spec.clone());
        let spec = SupervisorSpec {
            children,
            ..supervisor.spec_now()
        };
        self.started = true;
        let changed = supervisor.change(spec).await;
        changed.map_err(|why| why.to_string())?;
        let started = supervisor.start_stopped_child(&self.spec.address).await;
        started.map_err(|why| why.to_string())?;
        let actor = ground.system.whereis(&self.spec.address);
        ground.live.added.lock().extend(actor);
        Ok(())
    }

    async fn stop(&mut self, ground: &Ground) {
        if !std::mem::take(&mut self.started) {
            return;
        }
        let one = StopOne {
            address: self.spec.address.clone(),
            supervisor: self.supervisor.clone(),
        };
        one.stop(ground).await;
    }
}

/// A component that is not there any more.
struct StopOne {
    address: ActorAddress,
    supervisor: (ActorAddress, Vec<ActorAddress>),
}

impl StopOne {
    async fn stop(&self, ground: &Ground) {
        let Ok(supervisor) = supervisor(ground, &self.supervisor.0) else {
            return;
        };
        supervisor.forget_first(&self.address);
        // One that is gone already is what is wanted.
        if let Err(why) = supervisor.stop_child(&self.address).await {
            tracing::debug!(address = %self.address, %why, "not stopped by its deployment");
        }
        let mut added = ground.live.added.lock();
        added.retain(|actor| *actor.address() != self.address);
    }
}

/// A component that gets new instances.
struct Replace {
    spec: ChildSpec,
    options: UpgradeOptions,
    strategy: RolloutStrategy,
    upgrade: Option<Upgrade>,
    upgraded: Option<Upgraded>,
    candidate: Option<(Supervisor, ActorRef)>,
    split: Option<Arc<Split>>,
    /// What was counted when the interval began.
    since: Reading,
}

impl Replace {
    fn new(spec: ChildSpec, replacement: &Replacement) -> Self {
        let mut options = UpgradeOptions {
            wait_max: replacement.handles_within,
            regardless: true,
            ..UpgradeOptions::default()
        };
        if replacement.state == StateHandling::Discard {
            options.state = UpgradeState::Discard;
        }
        match &replacement.strategy {
            RolloutStrategy::Recreate => options.instead = true,
            RolloutStrategy::Rolling {
                max_surge,
                max_unavailable,
            } => {
                options.order = UpgradeOrder::Rolling {
                    at_once: (*max_surge).max(*max_unavailable).max(1),
                };
            }
            _ => options.order = UpgradeOrder::Together,
        }
        Self {
            spec,
            options,
            strategy: replacement.strategy.clone(),
            upgrade: None,
            upgraded: None,
            candidate: None,
            split: None,
            since: Reading::default(),
        }
    }

    async fn warm(&mut self, ground: &Ground) -> Done {
        let mut upgrade = self.prepare(ground)?;
        if self.strategy.is_gradual() {
            // Its instances are made again when it is switched: the candidate has its own.
            return self.start_candidate(ground).await;
        }
        upgrade.warm().await.map_err(|why| why.to_string())?;
        self.upgrade = Some(upgrade);
        Ok(())
    }

    fn prepare(&self, ground: &Ground) -> Result<Upgrade, String> {
        let upgrade = ground.system.upgrade(self.spec.clone(), self.options);
        upgrade.map_err(|why| with_sources(&why))
    }

    /// Starts an actor of the new revision beside the old one, with a mailbox of its own.
    async fn start_candidate(&mut self, ground: &Ground) -> Done {
        let address = &self.spec.address;
        let Some(stable) = ground.system.whereis(address) else {
            return Err(format!("there is no actor `{address}`"));
        };
        let mut spec = self.spec.clone();
        spec.address = address.join(CANDIDATE).map_err(|why| why.to_string())?;
        if let Start::Component(start) = &mut spec.start {
            start.template = start.template.numbered_after(&stable.surface());
        }
        let start_within = spec.start_within;
        let candidate = spec.address.clone();
        // Of its own: however often it ends, the application does not end with it.
        let trial = SupervisorSpec {
            intensity: TRIAL_RESTARTS,
            children: vec![spec],
            ..SupervisorSpec::new(address.join(TRIAL).map_err(|why| why.to_string())?)
        };
        let supervisor = ground.system.supervise(trial).await;
        let supervisor = supervisor.map_err(|why| with_sources(&why))?;
        let Some(actor) = ground.system.whereis(&candidate) else {
            supervisor.stop().await;
            return Err("the candidate has ended".to_owned());
        };
        self.candidate = Some((supervisor, actor.clone()));
        match actor.health(start_within).await {
            Ok(ChildHealth::Failed(text)) => Err(format!("the new revision is not well: {text}")),
            Ok(_) => Ok(()),
            Err(why) => Err(why.to_string()),
        }
    }

    fn split(&mut self, share: Share, mode: SplitMode) -> Done {
        let weight = Weight::new(share.ten_thousandths()).unwrap_or(Weight::ALL);
        let why = self.strategy.to_string();
        if let Some(split) = &self.split {
            split.set_weight(weight, &why);
            return Ok(());
        }
        let Some((supervisor, candidate)) = &self.candidate else {
            return Err("there is no candidate".to_owned());
        };
        let Some(stable) = supervisor.system_actor(&self.spec.address) else {
            return Err(format!("there is no actor `{}`", self.spec.address));
        };
        let sticky = match &self.strategy {
            RolloutStrategy::Canary {
                sticky: Some(parameter),
                ..
            } => place_of(&stable, parameter),
            _ => None,
        };
        let spec = SplitSpec {
            mode,
            weight,
            sticky,
            // Few requests are enough for the gate to compare.
            sample_every: 1,
            why,
            ..SplitSpec::default()
        };
        let split = stable.split(candidate, spec);
        self.split = Some(split.map_err(|why| why.to_string())?);
        Ok(())
    }

    fn unsplit(&mut self, why: &str) {
        if let Some(split) = &self.split {
            split.remove(why);
        }
    }

    async fn switch(&mut self, ground: &Ground) -> Done {
        let upgrade = match self.upgrade.take() {
            Some(upgrade) => upgrade,
            None => {
                let mut upgrade = self.prepare(ground)?;
                upgrade.warm().await.map_err(|why| why.to_string())?;
                upgrade
            }
        };
        let upgraded = upgrade.switch().await.map_err(|why| why.to_string())?;
        self.upgraded = Some(upgraded);
        self.end_candidate("the new revision serves alone").await;
        Ok(())
    }

    async fn switch_back(&mut self) -> Done {
        let back = match self.upgraded.take() {
            Some(upgraded) => upgraded.roll_back().await.map(|_| ()),
            None => Ok(()),
        };
        self.end_candidate("the old revision serves alone").await;
        back.map_err(|why| why.to_string())
    }

    /// Nothing more goes to the candidate; what it has accepted it finishes, and then it is stopped.
    async fn end_candidate(&mut self, why: &str) {
        let split = self.split.take();
        if let Some(split) = &split {
            split.remove(why);
        }
        let Some((supervisor, actor)) = self.candidate.take() else {
            return;
        };
        let ending = async move {
            if let Some(split) = split {
                // One that hangs on is ended by its own limits, or here.
                let _ = tokio::time::timeout(DRAIN_WITHIN, split.drained()).await;
            }
            drop(actor);
            supervisor.stop().await;
        };
        // Nobody waits for the last of its messages.
        tokio::spawn(ending);
    }

    fn reading(&self, ground: &Ground) -> Reading {
        if let Some(split) = &self.split {
            let (stable, candidate) = split.stats();
            return Reading::Split {
                stable: Box::new(stable),
                candidate: Box::new(candidate),
                shadow: split.shadow_stats(),
            };
        }
        let actor = ground.system.whereis(&self.spec.address);
        Reading::Alone(actor.map(|actor| actor.counters()).unwrap_or_default())
    }
}

/// The place of a parameter in the first function that has it.
fn place_of(actor: &ActorRef, parameter: &str) -> Option<u8> {
    let surface = actor.surface();
    let mut functions = surface.export_functions();
    functions.find_map(|(_, _, function)| {
        let mut params = function.ty.params.iter();
        let place = params.position(|(name, _)| **name == *parameter)?;
        u8::try_from(place).ok()
    })
}

/// What has been counted at one moment.
enum Reading {
    /// One revision serves.
    Alone(Counters),
    Split {
        stable: Box<ArmStats>,
        candidate: Box<ArmStats>,
        shadow: ShadowStats,
    },
}

impl Default for Reading {
    fn default() -> Self {
        Self::Alone(Counters::default())
    }
}

impl Reading {
    /// What came after `earlier`: of the stable arm, and of the new revision.
    fn since(&self, earlier: &Self) -> (Interval, Interval) {
        match (self, earlier) {
            (Self::Alone(now), Self::Alone(before)) => {
                let restarts = now.restarts.saturating_sub(before.restarts);
                let interval = Interval {
                    requests: (now.calls + now.casts).saturating_sub(before.calls + before.casts),
                    errors: now.call_errors.saturating_sub(before.call_errors),
                    traps: restarts,
                    restarts,
                    ..Interval::default()
                };
                (Interval::default(), interval)
            }
            (
                Self::Split {
                    stable,
                    candidate,
                    shadow,
                },
                earlier,
            ) => {
                let nothing = ArmStats::default();
                let (stable_before, candidate_before, compared, different) = match earlier {
                    Self::Split {
                        stable,
                        candidate,
                        shadow,
                    } => (
                        &**stable,
                        &**candidate,
                        shadow.same + shadow.different,
                        shadow.different,
                    ),
                    Self::Alone(_) => (&nothing, &nothing, 0, 0),
                };
                let mut candidate = interval(&candidate.since(candidate_before));
                candidate.compared = (shadow.same + shadow.different).saturating_sub(compared);
                candidate.mismatched = shadow.different.saturating_sub(different);
                (interval(&stable.since(stable_before)), candidate)
            }
            (Self::Alone(_), Self::Split { .. }) => (Interval::default(), Interval::default()),
        }
    }
}

fn interval(stats: &ArmStats) -> Interval {
    let latencies = &stats.latencies;
    Interval {
        requests: stats.requests,
        errors: stats.errors,
        latency: Latency {
            p50: latencies.p50().unwrap_or_default(),
            p99: latencies.p99().unwrap_or_default(),
            mean: latencies.mean().unwrap_or_default(),
            samples: latencies.timed(),
        },
        traps: stats.restarts,
        restarts: stats.restarts,
        ..Interval::default()
    }
}
