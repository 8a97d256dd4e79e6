//! What a rollout does to one thing that changes, and how that is undone.
//!
//! Owns the hands of a rollout: each step of a plan becomes [`StepParts`], which are warmed, switched, switched back and
//! let go when the machine says so. Every one of them can be asked at any moment and finds out itself what there is to do.

pub(super) mod feeding;
mod replace;
mod rescale;
mod retune;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use feeding::Sourcing;
use replace::Replace;
use rescale::Rescale;
use retune::{Reflag, Retune};

use super::arms::StepArms;
use super::bounds::Bounds;
use super::children::{StartOne, StopOne};
use super::endings::Endings;
use super::reading;
use super::told::Told;
use crate::application::Application;
use crate::application::running::Live;
use crate::deployment::gate::Interval;
use crate::deployment::plan::{Action, Part, Step};
use crate::deployment::share::Share;
use crate::route::SplitMode;
use crate::source::SourceRun;
use crate::spawning::Spawning;
use crate::supervisor::ChildSpec;
use crate::system::System;
use crate::upgrade::Ahead;

/// What a step works with.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) system: System,
    pub(super) live: Arc<Live>,
    pub(super) old: Arc<Application>,
    pub(super) new: Arc<Application>,
    pub(super) endings: Endings,
    /// A new component calls what comes only with a step before it, and is started after that: so are those after it.
    pub(super) starts_wait: Arc<AtomicBool>,
}

/// What one step of a plan changes.
pub(super) struct StepParts {
    parts: Vec<OnePart>,
    bounds: Vec<Bounds>,
    /// What the steps before it change.
    ahead: Ahead,
}

enum OnePart {
    Replace(Box<Replace>),
    Told(Box<Told>),
    /// In start order: what it spawns has to have where to be.
    Start(Vec<StartOne>),
    /// The other way round.
    Stop(Vec<StopOne>),
    Retune(Box<Retune>),
    Scale(Box<(Rescale, Retune)>),
    RetuneSupervisor(Box<Reflag>),
    Report,
    Source(Box<Sourcing>),
}

/// Done, or why not.
pub(super) type Done = Result<(), String>;

impl StepParts {
    /// What the step needs, or why it cannot be done. `ahead` is what the steps before it change, and what this one does
    /// afterwards.
    pub(super) fn of(step: &Step, ground: &Ground, ahead: &mut Ahead) -> Result<Self, String> {
        let parts = step.parts.iter().map(|part| one(part, ahead, ground));
        let parts = parts.collect::<Result<_, _>>()?;
        let bounds = step.parts.iter();
        let bounds = bounds.filter_map(|part| Bounds::of(part, ground));
        let before = ahead.clone();
        for part in &step.parts {
            change(part, ahead, ground)?;
        }
        Ok(Self {
            parts,
            bounds: bounds.collect(),
            ahead: before,
        })
    }

    pub(super) async fn warm(&mut self, ground: &Ground) -> Done {
        for part in &mut self.parts {
            match part {
                OnePart::Replace(replace) => replace.warm(ground).await?,
                OnePart::Start(starts) => {
                    for start in starts {
                        start.warm(ground, &self.ahead).await?;
                    }
                }
                OnePart::Source(source) => source.warm().await?,
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) async fn set_weight(&mut self, share: Share, ground: &Ground) -> Done {
        for part in &mut self.parts {
            if let OnePart::Replace(replace) = part {
                replace.begin_trial(ground).await?;
                replace.split(share, SplitMode::Weighted)?;
            }
        }
        Ok(())
    }

    pub(super) async fn shadow(&mut self, share: Share, ground: &Ground) -> Done {
        for part in &mut self.parts {
            if let OnePart::Replace(replace) = part {
                if share == Share::NONE {
                    replace.unsplit("the copies have ended");
                } else {
                    replace.begin_trial(ground).await?;
                    replace.split(share, SplitMode::Shadow)?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn switch(&mut self, ground: &Ground) -> Done {
        for part in &mut self.parts {
            match part {
                OnePart::Replace(replace) => replace.switch(ground).await?,
                OnePart::Told(told) => told.switch(ground).await?,
                OnePart::Retune(retune) => retune.switch(ground)?,
                OnePart::Scale(scale) => {
                    let (rescale, retune) = &mut **scale;
                    rescale.grow(ground).await?;
                    retune.switch(ground)?;
                }
                OnePart::RetuneSupervisor(flags) => flags.switch(ground).await?,
                OnePart::Report => set_report(ground, &ground.new),
                OnePart::Start(starts) => {
                    for start in starts {
                        start.switch(ground).await?;
                    }
                }
                OnePart::Source(source) => source.switch(ground).await?,
                OnePart::Stop(_) => {}
            }
        }
        self.bounds.iter().for_each(|bounds| bounds.switch(ground));
        Ok(())
    }

    /// Puts what was there before in charge, whatever had been done; goes on with the others if one fails.
    pub(super) async fn switch_back(&mut self, ground: &Ground) -> Done {
        self.bounds
            .iter()
            .for_each(|bounds| bounds.switch_back(ground));
        let mut failed = Vec::new();
        for part in self.parts.iter_mut().rev() {
            let back = match part {
                OnePart::Replace(replace) => replace.switch_back().await,
                OnePart::Told(told) => told.switch_back().await,
                OnePart::Retune(retune) => retune.switch_back(ground),
                OnePart::Scale(scale) => {
                    let (rescale, retune) = &mut **scale;
                    let tuned = retune.switch_back(ground);
                    rescale.undo(ground).await.and(tuned)
                }
                OnePart::RetuneSupervisor(flags) => flags.switch_back(ground).await,
                OnePart::Report => {
                    set_report(ground, &ground.old);
                    Ok(())
                }
                OnePart::Start(starts) => {
                    let mut back = Ok(());
                    for start in starts.iter_mut().rev() {
                        back = back.and(start.switch_back(ground).await);
                    }
                    back
                }
                OnePart::Source(source) => source.switch_back(ground).await,
                OnePart::Stop(_) => Ok(()),
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
        // What is gone is not switched before.
        self.bounds.iter().for_each(|bounds| bounds.switch(ground));
        for part in &mut self.parts {
            match part {
                OnePart::Replace(replace) => replace.release_old(ground).await,
                OnePart::Told(told) => told.release_old(),
                OnePart::Scale(scale) => scale.0.shrink(ground).await,
                OnePart::Stop(stops) => {
                    for stop in stops {
                        stop.stop(ground).await;
                    }
                }
                OnePart::Source(source) => source.release_old(ground).await,
                _ => {}
            }
        }
    }

    /// Lets go of what was to come: it does not.
    pub(super) async fn release_new(&mut self, ground: &Ground) {
        for part in self.parts.iter_mut().rev() {
            match part {
                OnePart::Replace(replace) => replace.release_new(ground).await,
                OnePart::Start(starts) => {
                    for start in starts.iter_mut().rev() {
                        start.stop(ground).await;
                    }
                }
                OnePart::Source(source) => source.release_new(ground),
                _ => {}
            }
        }
    }

    /// Lets go of what is tried beside the application, which is stopped.
    pub(super) async fn abandon(&mut self) {
        for part in &mut self.parts {
            if let OnePart::Replace(replace) = part {
                replace.abandon().await;
            }
        }
    }

    pub(super) fn begin_interval(&mut self, ground: &Ground) {
        for part in &mut self.parts {
            if let OnePart::Replace(replace) = part {
                replace.begin_interval(ground);
            }
        }
    }

    /// What the old revisions and the new ones did since.
    pub(super) fn measure(&self, ground: &Ground) -> (Interval, Interval) {
        let mut sums = (Interval::default(), Interval::default());
        for part in &self.parts {
            if let OnePart::Replace(replace) = part {
                let (stable, candidate) = replace.measure(ground);
                reading::add(&mut sums.0, stable);
                reading::add(&mut sums.1, candidate);
            }
        }
        sums
    }

    /// The new revision's share of the traffic now, where it is split.
    pub(super) fn weight(&self) -> Option<u16> {
        self.parts.iter().find_map(|part| match part {
            OnePart::Replace(replace) => replace.weight(),
            _ => None,
        })
    }

    /// The sources that the step has begun.
    pub(super) fn begun(&self) -> Vec<Arc<SourceRun>> {
        let begun = self.parts.iter().filter_map(|part| match part {
            OnePart::Source(source) => source.begun().cloned(),
            _ => None,
        });
        begun.collect()
    }

    /// What each revision did until now, where the traffic is split.
    pub(super) fn arms(&self) -> Option<StepArms> {
        self.parts.iter().find_map(|part| match part {
            OnePart::Replace(replace) => replace.arms(),
            _ => None,
        })
    }
}

/// The component that a part is of, in one of the applications.
fn component_of(part: &Part, application: &Application) -> Result<ChildSpec, String> {
    let mut components = application.components().iter();
    let found = components.find(|one| one.name == part.name);
    let none = || format!("there is no component `{}`", part.name);
    found.map(|one| one.child.clone()).ok_or_else(none)
}

/// What is otherwise once this part is done.
fn change(part: &Part, ahead: &mut Ahead, ground: &Ground) -> Result<(), String> {
    match &part.action {
        Action::Replace(_) => {
            let spec = component_of(part, &ground.new)?;
            if let Ok(surface) = spec.surface() {
                let surface = Arc::clone(surface);
                ahead.replaces(spec.address, surface);
            }
        }
        Action::Start { .. } => ahead.starts(component_of(part, &ground.new)?.address),
        _ => {}
    }
    Ok(())
}

fn one(part: &Part, ahead: &Ahead, ground: &Ground) -> Result<OnePart, String> {
    let address = || {
        let name = ground.new.name();
        name.join(&part.name).map_err(|why| why.to_string())
    };
    let component = |application: &Application| component_of(part, application);
    Ok(match &part.action {
        Action::Replace(replacement) => {
            let (old, new) = (component(&ground.old)?, component(&ground.new)?);
            OnePart::Replace(Box::new(Replace::new(
                &old,
                new,
                replacement,
                ahead,
                ground,
            )?))
        }
        Action::Start { .. } => {
            let family = component(&ground.new)?;
            let family = family.spawns().map(Spawning::supervisor);
            let own = address()?;
            let all = family.into_iter().chain([&own]);
            let starts = all.map(|address| StartOne::of(&ground.new, address));
            OnePart::Start(starts.collect::<Result<_, _>>()?)
        }
        Action::Stop { .. } => {
            let family = component(&ground.old)?;
            let family = family.spawns().map(Spawning::supervisor);
            let own = address()?;
            let all = [&own].into_iter().chain(family);
            let stops = all.map(|address| StopOne::of(&ground.old, address));
            OnePart::Stop(stops.collect::<Result<_, _>>()?)
        }
        Action::Reconfigure { retuned, .. } => {
            let told = Told::new(component(&ground.new)?, retuned);
            OnePart::Told(Box::new(told))
        }
        Action::Retune { keys } => {
            let retune = Retune::to(&component(&ground.new)?, keys);
            OnePart::Retune(Box::new(retune))
        }
        Action::RetuneSupervisor { keys } => {
            OnePart::RetuneSupervisor(Box::new(Reflag::to(&part.name, keys, ground)?))
        }
        Action::ChangeReport => OnePart::Report,
        Action::Scale { replicas, retuned } => {
            let rescale = Rescale::of(address()?, *replicas);
            let same = || format!("`{}` has as many replicas as before", part.name);
            let retune = Retune::to(&component(&ground.new)?, retuned);
            OnePart::Scale(Box::new((rescale.ok_or_else(same)?, retune)))
        }
        Action::StartSource | Action::ReplaceSource { .. } => {
            OnePart::Source(Box::new(Sourcing::to(ground, address()?)?))
        }
        Action::StopSource { early } => {
            OnePart::Source(Box::new(Sourcing::gone(address()?, !early)))
        }
    })
}

fn set_report(ground: &Ground, application: &Application) {
    *ground.live.report.lock() = application.report_plan().clone();
}
