//! The tables of a manifest that say how a component is replaced.
//!
//! Owns their shape, and how they become the parts of a strategy. What the parts mean, and which fit together, is
//! checked where a command line's are.

use std::time::Duration;

use serde::Deserialize;
use serde::de::Deserializer;
use toml::Spanned;

use super::grammar;
use super::units::DurationText;
use crate::deployment::{CanaryStep, Gate, Share, StateHandling, StrategyKind, StrategyParts};

/// `[components.NAME.rollout]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RolloutSpec {
    /// How carefully; rolling if not said.
    pub strategy: Option<Spanned<StrategyKind>>,
    /// Rolling: how many replicas more than declared there may be.
    pub max_surge: Option<Spanned<u32>>,
    /// Rolling: how many fewer may serve.
    pub max_unavailable: Option<Spanned<u32>>,
    /// Canary: its steps.
    pub steps: Option<Spanned<Vec<CanaryStepSpec>>>,
    /// Canary: the parameter whose value decides who serves a message.
    pub sticky: Option<Spanned<String>>,
    /// Shadow: what part of the messages is copied.
    pub share: Option<Spanned<Share>>,
    /// Shadow: for how long.
    #[serde(rename = "for")]
    pub pause: Option<Spanned<DurationText>>,
    /// Shadow: what it calls may be called twice with the same effect.
    pub repeatable: Option<Spanned<bool>>,
    /// How long the old revision is kept after the switch.
    pub soak: Option<Spanned<DurationText>>,
    /// What the new revision has to keep to.
    pub gate: Option<Spanned<GateSpec>>,
    /// What becomes of its state.
    pub state: Option<Spanned<StateHandling>>,
    /// How long handles that others hold keep its replacement back.
    pub handles_within: Option<DurationText>,
}

/// One of `steps`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CanaryStepSpec {
    /// The new revision's part of the traffic.
    pub weight: Share,
    /// For how long; until it is promoted if not said.
    #[serde(rename = "for")]
    pub pause: Option<DurationText>,
}

/// `gate = { … }`
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GateSpec {
    /// The most errors among its requests.
    pub error_rate_max: Option<Share>,
    /// The most errors beyond those of the old revision.
    pub error_excess_max: Option<Share>,
    /// How many times the old revision's latency its own may be.
    pub latency_ratio_max: Option<f64>,
    /// How many of its instances may trap in an interval.
    pub traps_max: Option<u64>,
    /// How many restarts it may need in an interval.
    pub restarts_max: Option<u64>,
    /// How many times the old revision's memory its own may be.
    pub memory_ratio_max: Option<f64>,
    /// Shadow: how many answers may differ.
    pub mismatches_max: Option<Share>,
    /// Fewer requests say nothing.
    pub samples_min: Option<u64>,
    /// How long it is looked at before it is judged.
    pub interval: Option<DurationText>,
    /// How many intervals in a row may say nothing.
    pub holds_max: Option<u32>,
}

impl GateSpec {
    fn gate(&self) -> Gate {
        let default = Gate::default();
        Gate {
            error_rate_max: self.error_rate_max.unwrap_or(default.error_rate_max),
            error_excess_max: self.error_excess_max.unwrap_or(default.error_excess_max),
            latency_ratio_max: self.latency_ratio_max.unwrap_or(default.latency_ratio_max),
            traps_max: self.traps_max.unwrap_or(default.traps_max),
            restarts_max: self.restarts_max.unwrap_or(default.restarts_max),
            memory_ratio_max: self.memory_ratio_max.unwrap_or(default.memory_ratio_max),
            mismatches_max: self.mismatches_max.unwrap_or(default.mismatches_max),
            samples_min: self.samples_min.unwrap_or(default.samples_min),
            interval: self.interval.map_or(default.interval, |text| text.0),
            holds_max: self.holds_max.unwrap_or(default.holds_max),
        }
    }
}

impl RolloutSpec {
    /// What it says of the strategy.
    pub(crate) fn parts(&self) -> StrategyParts {
        let time = |text: &Option<Spanned<DurationText>>| -> Option<Duration> {
            text.as_ref().map(|text| text.get_ref().0)
        };
        let step = |step: &CanaryStepSpec| CanaryStep {
            weight: step.weight,
            pause: step.pause.map(|text| text.0),
        };
        StrategyParts {
            strategy: said(self.strategy.as_ref()),
            max_surge: said(self.max_surge.as_ref()),
            max_unavailable: said(self.max_unavailable.as_ref()),
            steps: self
                .steps
                .as_ref()
                .map(|steps| steps.get_ref().iter().map(step).collect()),
            sticky: said(self.sticky.as_ref()),
            share: said(self.share.as_ref()),
            pause: time(&self.pause),
            repeatable: said(self.repeatable.as_ref()),
            soak: time(&self.soak),
            gate: self.gate.as_ref().map(|gate| gate.get_ref().gate()),
        }
    }

    /// The byte of the text where a part is.
    pub(crate) fn place(&self, part: &str) -> Option<usize> {
        match part {
            "strategy" => at(self.strategy.as_ref()),
            "max-surge" => at(self.max_surge.as_ref()).or(at(self.max_unavailable.as_ref())),
            "max-unavailable" => at(self.max_unavailable.as_ref()),
            "steps" => at(self.steps.as_ref()).or(at(self.strategy.as_ref())),
            "sticky" => at(self.sticky.as_ref()),
            "share" => at(self.share.as_ref()),
            "for" => at(self.pause.as_ref()),
            "repeatable" => at(self.repeatable.as_ref()),
            "soak" => at(self.soak.as_ref()),
            "gate" => at(self.gate.as_ref()),
            _ => None,
        }
    }
}

fn said<T: Clone>(value: Option<&Spanned<T>>) -> Option<T> {
    value.map(|value| value.get_ref().clone())
}

fn at<T>(value: Option<&Spanned<T>>) -> Option<usize> {
    value.map(|value| value.span().start)
}

impl<'de> Deserialize<'de> for StrategyKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        grammar::rollout_strategy(deserializer)
    }
}

impl<'de> Deserialize<'de> for StateHandling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        grammar::state_handling(deserializer)
    }
}
