//! What a rollout has to know of a step of its plan.
//!
//! Owns the way from a plan's words to the few things that decide what is done.

use std::time::Duration;

use crate::deployment::gate::Gate;
use crate::deployment::plan::{Action, Step};
use crate::deployment::share::Share;
use crate::deployment::strategy::{CanaryStep, RolloutStrategy};

/// One step of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RolloutStep {
    /// What it is, for the journal.
    pub(crate) label: String,
    /// Whether there is something to be started beforehand.
    pub(crate) warm: bool,
    /// How it is switched.
    pub(crate) way: Way,
    /// What its new revision has to keep to, as long as it can be undone.
    pub(crate) gate: Option<Gate>,
}

/// How a step is switched.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Way {
    /// With one switch.
    AtOnce,
    /// Weight by weight, and then with one switch.
    Canary(Vec<CanaryStep>),
    /// After copies of the traffic, with one switch.
    Shadow {
        /// How much of it.
        share: Share,
        /// For how long.
        pause: Duration,
    },
    /// When nothing can be undone any more.
    Last,
}

impl RolloutStep {
    /// What a rollout has to know of a step.
    #[must_use]
    pub(crate) fn of(step: &Step) -> Self {
        let names = step.parts.iter().map(|part| part.name.as_str());
        let mut label = names.collect::<Vec<_>>().join(", ");
        let mut warm = false;
        let mut way = Way::AtOnce;
        let mut gate = None;
        for part in &step.parts {
            warm |= matches!(
                part.action,
                Action::Start { .. }
                    | Action::Replace(_)
                    | Action::StartSource
                    | Action::ReplaceSource { .. }
            );
            if part.action.is_last() {
                way = Way::Last;
            }
            let Action::Replace(replacement) = &part.action else {
                continue;
            };
            let strategy = &replacement.strategy;
            gate = strictest(gate, strategy.gate());
            // A plan has these in steps of their own.
            match strategy {
                RolloutStrategy::Canary { steps, .. } => way = Way::Canary(steps.clone()),
                RolloutStrategy::Shadow { share, pause, .. } => {
                    way = Way::Shadow {
                        share: *share,
                        pause: *pause,
                    };
                }
                _ => {}
            }
            if step.parts.len() == 1 {
                label = format!("{} by {strategy}", part.name);
            }
        }
        Self {
            label,
            warm,
            way,
            gate,
        }
    }
}

/// One gate for what is switched together: in each row the narrower.
fn strictest(one: Option<Gate>, other: Option<&Gate>) -> Option<Gate> {
    let (Some(one), Some(other)) = (&one, other) else {
        return one.or_else(|| other.cloned());
    };
    Some(Gate {
        error_rate_max: one.error_rate_max.min(other.error_rate_max),
        error_excess_max: one.error_excess_max.min(other.error_excess_max),
        latency_ratio_max: one.latency_ratio_max.min(other.latency_ratio_max),
        traps_max: one.traps_max.min(other.traps_max),
        restarts_max: one.restarts_max.min(other.restarts_max),
        memory_ratio_max: one.memory_ratio_max.min(other.memory_ratio_max),
        mismatches_max: one.mismatches_max.min(other.mismatches_max),
        samples_min: one.samples_min.max(other.samples_min),
        interval: one.interval.min(other.interval),
        holds_max: one.holds_max.min(other.holds_max),
    })
}
