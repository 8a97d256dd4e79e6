//! What a rollout does to one thing that changes, and how that is undone.
//!
//! Owns the hands of a rollout: each step of a plan becomes [`StepParts`], which are warmed, switched, switched back and
//! let go when the machine says so. Every one of them can be asked at any moment and finds out itself what there is to do.

mod replace;
mod rescale;

use std::sync::Arc;

use replace::Replace;
use rescale::Rescale;

use crate::address::ActorAddress;
use crate::application::Application;
use crate::application::running::Live;
use crate::deployment::gate::Interval;
use crate::deployment::plan::{Action, Part, Step};
use crate::deployment::share::Share;
use crate::route::SplitMode;
use crate::supervisor::{ChildSpec, Supervisor, SupervisorSpec};
use crate::system::System;

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
    Start(Box<StartOne>),
    Stop(StopOne),
    Retune(Box<Change<ChildSpec>>),
    Scale(Box<(Rescale, Change<ChildSpec>)>),
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
                OnePart::Retune(change) => retune(ground, &change.new)?,
                OnePart::Scale(scale) => {
                    let (rescale, change) = &mut **scale;
                    rescale.grow(ground).await?;
                    retune(ground, &change.new)?;
                }
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
                OnePart::Retune(change) => retune(ground, &change.old),
                OnePart::Scale(scale) => {
                    let (rescale, change) = &mut **scale;
                    let tuned = retune(ground, &change.old);
                    rescale.undo(ground).await.and(tuned)
                }
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
                OnePart::Replace(replace) => replace.release_old(ground).await,
                OnePart::Scale(scale) => scale.0.shrink(ground).await,
                OnePart::Stop(stop) => stop.stop(ground).await,
                _ => {}
            }
        }
    }

    /// Lets go of what was to come: it does not.
    pub(super) async fn release_new(&mut self, ground: &Ground) {
        for part in self.0.iter_mut().rev() {
            match part {
                OnePart::Replace(replace) => replace.release_new(ground).await,
                OnePart::Start(start) => start.stop(ground).await,
                _ => {}
            }
        }
    }

    pub(super) fn begin_interval(&mut self, ground: &Ground) {
        for part in &mut self.0 {
            if let OnePart::Replace(replace) = part {
                replace.begin_interval(ground);
            }
        }
    }

    /// What the old revisions and the new ones did since.
    pub(super) fn measure(&self, ground: &Ground) -> (Interval, Interval) {
        let mut sums = (Interval::default(), Interval::default());
        for part in &self.0 {
            if let OnePart::Replace(replace) = part {
                let (stable, candidate) = replace.measure(ground);
                add(&mut sums.0, stable);
                add(&mut sums.1, candidate);
            }
        }
        sums
    }

    /// The new revision's share of the traffic now, where it is split.
    pub(super) fn weight(&self) -> Option<u16> {
        self.0.iter().find_map(|part| match part {
            OnePart::Replace(replace) => replace.weight(),
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
            OnePart::Replace(Box::new(Replace::new(component(&ground.new)?, replacement)))
        }
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
        Action::Scale { replicas, .. } => {
            let rescale = Rescale::of(address()?, *replicas);
            let same = || format!("`{}` has as many replicas as before", part.name);
            OnePart::Scale(Box::new((
                rescale.ok_or_else(same)?,
                Change {
                    old: component(&ground.old)?,
                    new: component(&ground.new)?,
                },
            )))
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

/// An error with what caused it.
pub(super) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        text = format!("{text}: {next}");
        source = next.source();
    }
    text
}
