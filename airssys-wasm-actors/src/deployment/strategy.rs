//! How carefully one component is replaced.
//!
//! Owns the strategies, what each needs of a component ([`RolloutStrategy::unfit`]), and the parts they are made of
//! in a manifest or on a command line ([`StrategyParts`], [`StrategyWords`]), checked in one place for both.
//!
//! The default is rolling with one more and none fewer. With one replica that is: a new instance is made and warmed
//! beside the old one, and takes over its mailbox between two messages. No message waits for an instance to be made,
//! never fewer replicas serve than are declared, and one instance more is all it needs; blue-green needs twice as
//! many for as long as its soak lasts, which is worth it where one wants to look first, so it is said.

mod parts;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use airssys_wasm::Surface;
use serde::{Serialize, Serializer};

pub use parts::{StrategyError, StrategyKind, StrategyParts, StrategyWords};

use super::gate::Gate;
use super::share::Share;
use crate::component::Hooks;
use crate::manifest::{duration_text, serialize_duration};

/// How long handles that others hold keep back a new revision of their owner, unless a manifest says otherwise.
const HANDLES_WITHIN_DEFAULT: Duration = Duration::from_secs(30);

/// How one revision of a component takes the place of another.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(
    tag = "strategy",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
#[non_exhaustive]
pub enum RolloutStrategy {
    /// The old instances end, then the new ones start. Messages wait in the mailbox meanwhile.
    Recreate,
    /// Replica by replica.
    Rolling {
        /// How many more there may be than are declared.
        max_surge: u32,
        /// How many fewer may serve.
        max_unavailable: u32,
    },
    /// A whole new set beside the old one, then one switch. The old set stays warm for the soak.
    BlueGreen {
        /// How long the old set is kept.
        #[serde(serialize_with = "serialize_duration")]
        soak: Duration,
        /// What the new one has to keep to meanwhile.
        gate: Gate,
    },
    /// More and more of the traffic, as long as the gate is passed; then one switch, and a soak.
    Canary {
        /// What part, and for how long.
        steps: Vec<CanaryStep>,
        /// What the new revision has to keep to.
        gate: Gate,
        /// The parameter whose value decides who serves a message, so that one caller's stay together.
        sticky: Option<String>,
        /// How long the old revision is kept.
        #[serde(serialize_with = "serialize_duration")]
        soak: Duration,
    },
    /// Copies of messages go to the new revision, whose answers are compared and thrown away; then one switch, and
    /// a soak.
    Shadow {
        /// What part of the messages is copied.
        share: Share,
        /// For how long.
        #[serde(rename = "for", serialize_with = "serialize_duration")]
        pause: Duration,
        /// What the new revision has to keep to.
        gate: Gate,
        /// How long the old revision is kept.
        #[serde(serialize_with = "serialize_duration")]
        soak: Duration,
        /// What it calls may be called twice with the same effect.
        repeatable: bool,
    },
}

/// One step of a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CanaryStep {
    /// The new revision's part of the traffic.
    pub weight: Share,
    /// For how long; `None`: until somebody promotes it.
    #[serde(rename = "for", serialize_with = "optional_duration")]
    pub pause: Option<Duration>,
}

/// What becomes of what an instance holds in memory when its component is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateHandling {
    /// The old revision's `airssys:actor/state` takes a snapshot, and the new one's restores it.
    HandOver,
    /// It is gone.
    Discard,
}

impl StateHandling {
    /// Its name in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HandOver => "hand-over",
            Self::Discard => "discard",
        }
    }
}

/// What a manifest says of how a component is replaced.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutPolicy {
    /// How carefully.
    pub strategy: RolloutStrategy,
    /// What becomes of its state; `None`: handed over where it can be.
    pub state: Option<StateHandling>,
    /// How long handles that others hold keep its replacement back before they become stale.
    pub handles_within: Duration,
}

impl Default for RolloutPolicy {
    fn default() -> Self {
        Self {
            strategy: RolloutStrategy::default(),
            state: None,
            handles_within: HANDLES_WITHIN_DEFAULT,
        }
    }
}

impl Default for RolloutStrategy {
    /// One more, and none fewer.
    fn default() -> Self {
        Self::Rolling {
            max_surge: 1,
            max_unavailable: 0,
        }
    }
}

/// What of a component decides which strategies it can have.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Nature {
    /// It exports `airssys:actor/state`.
    pub(crate) has_state: bool,
    /// It takes part in the messaging plane, or spawns.
    pub(crate) messages: bool,
    /// Others hold handles of it.
    pub(crate) owns_resources: bool,
    /// It calls others.
    pub(crate) has_links: bool,
}

impl Nature {
    pub(crate) fn of(surface: &Surface, has_links: bool) -> Self {
        let hooks = Hooks::of(surface);
        Self {
            has_state: hooks.has_state(),
            messages: hooks.has_messages(),
            owns_resources: surface.owns_resources(),
            has_links,
        }
    }
}

impl RolloutStrategy {
    /// Which of the strategies it is.
    #[must_use]
    pub fn kind(&self) -> StrategyKind {
        match self {
            Self::Recreate => StrategyKind::Recreate,
            Self::Rolling { .. } => StrategyKind::Rolling,
            Self::BlueGreen { .. } => StrategyKind::BlueGreen,
            Self::Canary { .. } => StrategyKind::Canary,
            Self::Shadow { .. } => StrategyKind::Shadow,
        }
    }

    /// Its gate, if it has one.
    #[must_use]
    pub fn gate(&self) -> Option<&Gate> {
        match self {
            Self::Recreate | Self::Rolling { .. } => None,
            Self::BlueGreen { gate, .. }
            | Self::Canary { gate, .. }
            | Self::Shadow { gate, .. } => Some(gate),
        }
    }

    /// The same by another gate; one without a gate stays as it is.
    #[must_use]
    pub fn with_gate(mut self, other: &Gate) -> Self {
        match &mut self {
            Self::Recreate | Self::Rolling { .. } => {}
            Self::BlueGreen { gate, .. }
            | Self::Canary { gate, .. }
            | Self::Shadow { gate, .. } => *gate = other.clone(),
        }
        self
    }

    /// How long the old revision is kept after the switch.
    #[must_use]
    pub fn soak(&self) -> Duration {
        match self {
            Self::Recreate | Self::Rolling { .. } => Duration::ZERO,
            Self::BlueGreen { soak, .. }
            | Self::Canary { soak, .. }
            | Self::Shadow { soak, .. } => *soak,
        }
    }

    /// Whether both revisions are given messages for a while.
    #[must_use]
    pub fn is_gradual(&self) -> bool {
        matches!(self, Self::Canary { .. } | Self::Shadow { .. })
    }

    /// Why a component like that cannot be replaced so.
    pub(crate) fn unfit(&self, nature: Nature) -> Vec<StrategyError> {
        if !self.is_gradual() {
            return Vec::new();
        }
        let kind = self.kind().as_str();
        let mut unfit = Vec::new();
        let mut add = |why: &str| {
            let what = format!("it cannot be replaced by `{kind}`: {why}");
            let help =
                "use `rolling` or `blue-green`, which have one revision at a time".to_owned();
            unfit.push(StrategyError::new("strategy", what, help));
        };
        if nature.has_state {
            add("it exports `airssys:actor/state`, and one state cannot be in two places");
        }
        if nature.messages {
            add(
                "it takes part in `airssys:messaging` or spawns, and both revisions would be subscribed and send by one \
                 name",
            );
        }
        if nature.owns_resources {
            add("it owns resources, and a handle leads to one instance");
        }
        if let Self::Shadow {
            repeatable: false, ..
        } = self
            && nature.has_links
        {
            let what = "it calls others, and would call them once more for each copy".to_owned();
            let help =
                "say `repeatable = true` if what it calls may be called twice with the same effect"
                    .to_owned();
            unfit.push(StrategyError::new("strategy", what, help));
        }
        unfit
    }
}

impl fmt::Display for RolloutStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().as_str())?;
        match self {
            Self::Recreate => Ok(()),
            Self::Rolling {
                max_surge,
                max_unavailable,
            } => write!(f, ", {max_surge} more and {max_unavailable} fewer at most"),
            Self::BlueGreen { soak, .. } => write!(f, ", soak {}", duration_text(*soak)),
            Self::Canary {
                steps,
                sticky,
                soak,
                ..
            } => {
                for (at, step) in steps.iter().enumerate() {
                    f.write_str(if at == 0 { " " } else { ", " })?;
                    write!(f, "{step}")?;
                }
                write!(f, ", 100%, soak {}", duration_text(*soak))?;
                match sticky {
                    Some(parameter) => write!(f, ", sticky by `{parameter}`"),
                    None => Ok(()),
                }
            }
            Self::Shadow {
                share, pause, soak, ..
            } => {
                let (pause, soak) = (duration_text(*pause), duration_text(*soak));
                write!(f, " {share} for {pause}, 100%, soak {soak}")
            }
        }
    }
}

impl fmt::Display for CanaryStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pause {
            Some(pause) => write!(f, "{} for {}", self.weight, duration_text(pause)),
            None => write!(f, "{} until promoted", self.weight),
        }
    }
}

fn optional_duration<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serialize_duration(duration, serializer),
        None => serializer.serialize_none(),
    }
}

/// One move of a rolling replacement: start these many new replicas, and when they serve, stop these many old ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollingMove {
    /// New ones to start.
    pub start: u32,
    /// Old ones to stop, after that.
    pub stop: u32,
}

/// The moves from `from` old replicas to `to` new ones.
///
/// There are never more than `max_surge` beyond the larger of the two numbers, and never fewer than `max_unavailable`
/// below the smaller one. With neither there would be no move: then one is stopped first.
#[must_use]
pub fn rolling_moves(from: u32, to: u32, max_surge: u32, max_unavailable: u32) -> Vec<RollingMove> {
    let most = from.max(to).saturating_add(max_surge);
    let least = from.min(to).saturating_sub(max_unavailable);
    let (mut old, mut new) = (from, 0);
    let mut moves = Vec::new();
    while old > 0 || new < to {
        let start = (to - new).min(most.saturating_sub(old + new));
        new += start;
        let stop = old.min((old + new).saturating_sub(least));
        let stop = if start == 0 && stop == 0 { 1 } else { stop };
        old -= stop;
        moves.push(RollingMove { start, stop });
    }
    moves
}
