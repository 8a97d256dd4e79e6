//! What leads from one application to another: a pure function of two outlines.
//!
//! Owns [`plan()`] and its answer. What only supervisors know is changed first and touches no instance; then
//! components are started and replaced, in start order where links allow it; what is gone is stopped last, callers
//! first and otherwise in reverse, when nothing can bring the old application back any more. So a plan from the new application to the
//! old one undoes it, and that is what a roll back is. Sources change after what they feed, or before it, whichever fits.
//!
//! **In between, old and new call each other.** Of a caller and a callee that are both replaced, the order is one in
//! which the link fits at every moment; where only both together fit, they are one step ([`Step::together`]), whose
//! callers are paused and whose queues run empty before all of it is switched. That cannot be done gradually, so a
//! canary or shadow in such a step is refused, and so is whatever cannot be changed while it runs: all of it in one
//! go.

mod beside;
mod compare;
mod order;
mod refusal;
mod show;
mod sources;
#[cfg(test)]
mod tests;

use std::time::Duration;

use airssys_wasm::Digest;
use semver::Version;
use serde::Serialize;

pub use refusal::{PlanRefusal, PlanRefused};

use super::autoscale::Autoscale;
use super::outline::{ApplicationOutline, ComponentOutline};
use super::strategy::{RolloutStrategy, StateHandling};
use crate::address::ActorAddress;
use crate::manifest::serialize_duration;
use crate::supervisor::AutoShutdown;
use order::Change;

/// What a deployment says beside the manifest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanOptions {
    /// A strategy for everything that is replaced, instead of each component's own; the gate is the component's, where
    /// it has one.
    pub strategy: Option<RolloutStrategy>,
    /// What becomes of state, instead of what each component says.
    pub state: Option<StateHandling>,
    /// Sources that are there and differ go on as they are.
    pub keep_sources: bool,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// The application.
    pub application: ActorAddress,
    /// What is done, one after the other.
    pub steps: Vec<Step>,
    /// The components that stay as they are.
    pub unchanged: Vec<String>,
    /// The components that were deployed, are to go on, and do not run: somebody has stopped them, or they have ended for
    /// good. They stay so until the host is started again, and a step that needs one of them
    /// ([`Action::needs_it_running`]) fails.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stopped: Vec<String>,
}

/// One step: what is switched at once.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// What is changed, in start order.
    pub parts: Vec<Part>,
    /// Why these cannot be changed one after the other; empty if there is one part, or if no instance is touched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub together: Vec<String>,
}

/// One thing that changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Part {
    /// Its name in the manifest, or a supervisor's address.
    pub name: String,
    /// What is done.
    #[serde(flatten)]
    pub action: Action,
    /// Between which bounds it has replicas, if that is not as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscale: Option<AutoscaleChange>,
    /// The components and sources that call it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub callers: Vec<String>,
}

/// Between which bounds a component had replicas, and is to have them. `None`: their number is as it was set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AutoscaleChange {
    /// Before.
    pub from: Option<Autoscale>,
    /// After.
    pub to: Option<Autoscale>,
}

/// What is done to one thing.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(
    tag = "action",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
#[non_exhaustive]
pub enum Action {
    /// A component that was not there is started.
    Start {
        /// What it is.
        new: PlannedRevision,
        /// What it is granted.
        grants: Vec<String>,
        /// How many drain its mailbox.
        replicas: u32,
    },
    /// A component gets new instances.
    Replace(Box<Replacement>),
    /// Only its configuration changes: its instances go on, and are told, one replica after the other.
    Reconfigure {
        /// The keys.
        config: ConfigChange,
        /// What its supervisor knows of it and changes with it, by the manifest's keys.
        retuned: Vec<&'static str>,
    },
    /// Only the number of its replicas changes.
    Scale {
        /// How many.
        #[serde(flatten)]
        replicas: Scale,
        /// What its supervisor knows of it and changes with it, by the manifest's keys.
        retuned: Vec<&'static str>,
    },
    /// Only what its supervisor, or the next deployment, knows of it changes.
    Retune {
        /// By the manifest's keys.
        keys: Vec<&'static str>,
    },
    /// A component that is not there any more is stopped.
    Stop {
        /// What it was.
        old: PlannedRevision,
    },
    /// A supervisor changes what it does from now on.
    RetuneSupervisor {
        /// By the manifest's keys.
        keys: Vec<&'static str>,
    },
    /// A source that was not there begins.
    StartSource,
    /// A source ends, and goes on otherwise, under the same name.
    ReplaceSource {
        /// By the manifest's keys.
        keys: Vec<&'static str>,
        /// Whether it reads another input, instead of going on with the next item.
        anew: bool,
    },
    /// A source that is not there any more ends.
    StopSource {
        /// Whether it is stopped while that can be undone: it does not fit what its component becomes. Otherwise it feeds
        /// until nothing can be undone.
        early: bool,
    },
    /// Other questions are asked at the end.
    ChangeReport,
}

impl Action {
    /// Whether it is done to what runs, and fails where nothing does.
    #[must_use]
    pub fn needs_it_running(&self) -> bool {
        match self {
            Self::Replace(_) | Self::Reconfigure { .. } | Self::Scale { .. } => true,
            Self::Start { .. }
            | Self::Retune { .. }
            | Self::Stop { .. }
            | Self::RetuneSupervisor { .. }
            | Self::StartSource
            | Self::ReplaceSource { .. }
            | Self::StopSource { .. }
            | Self::ChangeReport => false,
        }
    }
}

/// What a component is, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedRevision {
    /// Its bytes.
    pub digest: Digest,
    /// The version it has for people.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "crate::registry::serialize_version"
    )]
    pub version: Option<Version>,
}

/// How many replicas there were, and are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Scale {
    /// Before.
    pub from: u32,
    /// After.
    pub to: u32,
}

/// A component that gets new instances.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Replacement {
    /// What it was.
    pub old: PlannedRevision,
    /// What it is to be.
    pub new: PlannedRevision,
    /// What a part of its instances may be instead: a deployment that failed could not put the old revision back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mixed: Vec<PlannedRevision>,
    /// Whether its version goes back: allowed, and mostly not what is meant.
    pub version_goes_back: bool,
    /// Why new instances are needed.
    pub because: Vec<Because>,
    /// What it may do more and less.
    pub grants: GrantsChange,
    /// What it may consume.
    pub limits: Vec<LimitChange>,
    /// What it is configured with.
    pub config: ConfigChange,
    /// How carefully.
    pub strategy: RolloutStrategy,
    /// What becomes of its state.
    pub state: StateHandling,
    /// Whether what runs has state to be lost; if not, nothing need be said of it.
    #[serde(skip)]
    pub has_state: bool,
    /// How long handles that others hold keep it back.
    #[serde(serialize_with = "serialize_duration")]
    pub handles_within: Duration,
    /// How many drain its mailbox.
    pub replicas: Scale,
    /// What else changes, by the manifest's keys.
    pub retuned: Vec<&'static str>,
}

/// Why a component needs new instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Because {
    /// It is another component.
    Bytes,
    /// It may do other things.
    Grants,
    /// It may consume more or less.
    Limits,
    /// It is configured otherwise.
    Config,
    /// Its imports lead elsewhere, or wait for longer.
    Links,
    /// It is told the ends of others.
    Monitors,
    /// It gives up its instance at another time.
    Passivation,
    /// What it spawns has changed.
    Spawns,
    /// A part of its instances may be of another revision: a deployment that failed could not put the old one back.
    Mixed,
}

impl Because {
    /// Its name in plans.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Grants => "grants",
            Self::Limits => "limits",
            Self::Config => "config",
            Self::Links => "links",
            Self::Monitors => "monitors",
            Self::Passivation => "passivation",
            Self::Spawns => "spawns",
            Self::Mixed => "mixed",
        }
    }
}

/// What a component may do more, less, and otherwise; as the manifest writes it, without values of the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GrantsChange {
    /// What it could not do before.
    pub added: Vec<String>,
    /// What it cannot do any more.
    pub removed: Vec<String>,
    /// What has another value.
    pub changed: Vec<String>,
}

/// Keys of a configuration that differ; no values, which can be secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConfigChange {
    /// Keys that were not there.
    pub added: Vec<String>,
    /// Keys that are not there any more.
    pub removed: Vec<String>,
    /// Keys with another value.
    pub changed: Vec<String>,
}

/// A limit that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitChange {
    /// The manifest's key.
    pub limit: &'static str,
    /// As it was.
    pub old: String,
    /// As it is to be.
    pub new: String,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Everything that changes, in order.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.steps.iter().flat_map(|step| &step.parts)
    }

    /// How long old revisions are kept after the last switch: as long as the longest of their soaks.
    #[must_use]
    pub fn soak(&self) -> Duration {
        let soaks = self.parts().filter_map(|part| match &part.action {
            Action::Replace(replacement) => Some(replacement.strategy.soak()),
            _ => None,
        });
        soaks.max().unwrap_or_default()
    }
}

impl Action {
    /// Whether it is done when nothing can be undone any more.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Stop { .. } | Self::StopSource { early: false })
    }
}

impl Step {
    fn of(part: Part) -> Self {
        Self {
            parts: vec![part],
            together: Vec::new(),
        }
    }
}

impl ConfigChange {
    /// Every key that differs.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let keys = [&self.added, &self.removed, &self.changed];
        keys.into_iter().flatten().map(String::as_str)
    }
}

impl PlannedRevision {
    /// Whether its version comes before another's; metadata of the build is no order.
    fn is_before(&self, other: &Self) -> bool {
        match (&self.version, &other.version) {
            (Some(this), Some(other)) => this.cmp_precedence(other).is_lt(),
            _ => false,
        }
    }

    fn of(component: &ComponentOutline) -> Self {
        Self {
            digest: component.digest,
            version: component.version.clone(),
        }
    }
}

/// What leads from the application that runs to another one.
///
/// # Errors
/// [`PlanRefused`] with everything that stands in the way.
pub fn plan(
    current: &ApplicationOutline,
    new: &ApplicationOutline,
    options: &PlanOptions,
) -> Result<Plan, PlanRefused> {
    let mut refused = Vec::new();
    if current.name != new.name {
        refused.push(PlanRefusal::OtherApplication {
            current: current.name.clone(),
            new: new.name.clone(),
        });
        return Err(PlanRefused { refusals: refused });
    }
    refusal::shape(current, new, &mut refused);
    refusal::breaks(current, new, &mut refused);
    let changes = changes(current, new, options, &mut refused);
    let touched: Vec<&Change<'_>> = changes.iter().filter(|one| one.is_touched()).collect();
    let mut steps = Vec::new();
    let (first, last) = retunes(current, new, &changes);
    let sources = sources::steps(current, new, options, &mut refused);
    steps.extend(first);
    steps.extend(sources.first);
    steps.extend(order::steps(&touched, new, &mut refused));
    steps.extend(last);
    steps.extend(sources.after);
    steps.extend(sources.last);
    steps.extend(order::gone(current, new).map(|one| {
        let old = PlannedRevision::of(one);
        Step::of(part(
            &one.name,
            Action::Stop { old },
            current.callers(&one.name),
        ))
    }));
    if !refused.is_empty() {
        return Err(PlanRefused { refusals: refused });
    }
    let unchanged = changes.iter().filter(|one| one.action.is_none());
    Ok(Plan {
        application: new.name.clone(),
        steps,
        unchanged: unchanged.map(|one| one.new.name.clone()).collect(),
        stopped: Vec::new(),
    })
}

fn part(name: &str, action: Action, callers: Vec<String>) -> Part {
    Part {
        name: name.to_owned(),
        action,
        autoscale: None,
        callers,
    }
}

/// What becomes of each component of the new application, in start order.
fn changes<'a>(
    current: &'a ApplicationOutline,
    new: &'a ApplicationOutline,
    options: &PlanOptions,
    refused: &mut Vec<PlanRefusal>,
) -> Vec<Change<'a>> {
    let change = |one: &'a ComponentOutline| {
        let old = current.component(&one.name);
        let action = match old {
            None => Some(Action::Start {
                new: PlannedRevision::of(one),
                grants: compare::grant_names(&one.capabilities),
                replicas: one.replicas,
            }),
            Some(old) => {
                let spawns = compare::spawns(current, old, new, one);
                compare::action(old, one, spawns, options, refused)
            }
        };
        Change {
            old,
            new: one,
            action,
        }
    };
    new.components.iter().map(change).collect()
}

/// Everything that touches no instance, as one step before all others; and what can only be after them, as another.
fn retunes(
    current: &ApplicationOutline,
    new: &ApplicationOutline,
    changes: &[Change<'_>],
) -> (Option<Step>, Option<Step>) {
    // A child is significant only while its supervisor asks.
    let (mut parts, mut last) = (Vec::new(), Vec::new());
    for one in &new.supervisors {
        let old = current.supervisors.iter();
        let Some(old) = old.into_iter().find(|old| old.address == one.address) else {
            continue;
        };
        let keys = old.differing(one);
        if !keys.is_empty() {
            let asks_no_more =
                one.auto_shutdown == AutoShutdown::Never && keys.contains(&"auto-shutdown");
            let action = Action::RetuneSupervisor { keys };
            let parts = if asks_no_more { &mut last } else { &mut parts };
            parts.push(part(one.address.as_str(), action, Vec::new()));
        }
    }
    // One that is below another has ceased to be significant by the time that that one asks no more.
    last.reverse();
    for change in changes.iter().filter(|change| !change.is_touched()) {
        parts.extend(change.part(Vec::new()));
    }
    // What is touched ceases to be significant with that.
    let ceases = |change: &Change<'_>| {
        let mut retuned = change.retuned().iter();
        retuned.any(|key| *key == "significant") && !change.new.tuning.significant
    };
    let later = match changes.iter().any(ceases) {
        true => last,
        false => {
            parts.extend(last);
            Vec::new()
        }
    };
    if current.report != new.report && !current.components.is_empty() {
        parts.push(part("report", Action::ChangeReport, Vec::new()));
    }
    let step = |parts: Vec<Part>| {
        let together = Vec::new();
        (!parts.is_empty()).then_some(Step { parts, together })
    };
    (step(parts), step(later))
}
