//! The scenarios by name, and the series that each consists of.

use std::fmt;
use std::str::FromStr;

use super::operations::{self, Prepared};
use super::{LoadPlan, Target};
use crate::error::BenchError;

/// What the built-in guests can be made to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadScenario {
    /// The host calls a component and has its reply.
    Call,
    /// The host calls a component, which asks another over a link.
    Ask,
    /// The host casts 64 messages to a component, and calls it behind them.
    Cast,
    /// The same from many senders to one component.
    FanIn,
    /// The host calls many components at once and waits for all.
    FanOut,
    /// The host calls the first of a chain of components.
    Pipeline,
    /// A component asks another with bytes, which come back.
    Payload,
    /// An actor is spawned, answers, and is stopped.
    Spawn,
    /// An actor is made to trap, and answers again.
    Restart,
    /// One of many idle actors is called, chosen at random.
    Density,
    /// Of a hundred operations 70 calls, 20 asks, 5 payloads of 1 KiB, 4 casts, 1 restart.
    Mixed,
}

impl LoadScenario {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Call,
        Self::Ask,
        Self::Cast,
        Self::FanIn,
        Self::FanOut,
        Self::Pipeline,
        Self::Payload,
        Self::Spawn,
        Self::Restart,
        Self::Density,
        Self::Mixed,
    ];

    /// Returns the scenario's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Ask => "ask",
            Self::Cast => "cast",
            Self::FanIn => "fan-in",
            Self::FanOut => "fan-out",
            Self::Pipeline => "pipeline",
            Self::Payload => "payload",
            Self::Spawn => "spawn",
            Self::Restart => "restart",
            Self::Density => "density",
            Self::Mixed => "mixed",
        }
    }
}

impl fmt::Display for LoadScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No scenario is called that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no scenario `{0}`")]
pub struct UnknownScenario(String);

impl FromStr for LoadScenario {
    type Err = UnknownScenario;

    fn from_str(text: &str) -> Result<Self, UnknownScenario> {
        Self::ALL
            .into_iter()
            .find(|scenario| scenario.as_str() == text)
            .ok_or_else(|| UnknownScenario(text.to_owned()))
    }
}

/// The sizes of the scenarios that have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of `payload`, a series each.
    pub payload: Vec<u32>,
    /// Components that `fan-out` calls at once.
    pub receivers: u32,
    /// Components in the chain of `pipeline`, the last one included.
    pub stages: u32,
    /// Actors of `density`.
    pub actors: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            payload: vec![
                16,
                256,
                1 << 10,
                4 << 10,
                16 << 10,
                64 << 10,
                256 << 10,
                1 << 20,
            ],
            receivers: 8,
            stages: 4,
            actors: 1_000,
        }
    }
}

/// One series of a plan.
pub(super) struct Part {
    pub(super) name: String,
    what: What,
}

enum What {
    BuiltIn(LoadScenario),
    Payload(u32),
    Own,
    Rival(operations::Rival),
}

impl Part {
    fn new(name: impl Into<String>, what: What) -> Self {
        let name = name.into();
        Self { name, what }
    }

    pub(super) async fn prepare(&self, plan: &LoadPlan) -> Result<Prepared, BenchError> {
        let at_a_time = plan.pace.concurrency();
        match (&self.what, &plan.target) {
            (What::BuiltIn(scenario), Target::BuiltIn(_, sizes)) => {
                operations::built_in(*scenario, sizes, at_a_time).await
            }
            (What::Payload(bytes), _) => operations::payload(*bytes, at_a_time).await,
            (What::Rival(rival), _) => operations::rival(*rival).await,
            (_, Target::Own(own)) => operations::own(own).await,
            (What::Own, Target::BuiltIn(..)) => {
                Err(BenchError::failed("preparing", "no function was given"))
            }
        }
    }
}

/// The series of a plan, in the order they are driven.
pub(super) fn parts(plan: &LoadPlan) -> Vec<Part> {
    let (scenario, sizes) = match &plan.target {
        Target::BuiltIn(scenario, sizes) => (*scenario, sizes),
        Target::Own(own) => {
            let name = format!("{}#{}", own.actor, own.function);
            return vec![Part::new(name, What::Own)];
        }
    };
    let mut parts: Vec<Part> = match scenario {
        LoadScenario::Payload => sizes
            .payload
            .iter()
            .map(|bytes| {
                Part::new(
                    format!("payload {}", human_bytes(*bytes)),
                    What::Payload(*bytes),
                )
            })
            .collect(),
        other => vec![Part::new(other.as_str(), What::BuiltIn(other))],
    };
    if plan.rivals && scenario == LoadScenario::Call {
        let rivals = operations::Rival::ALL.iter();
        parts.extend(rivals.map(|rival| Part::new(rival.as_str(), What::Rival(*rival))));
    }
    parts
}

/// `16 B`, `64 KiB`, `1 MiB`.
fn human_bytes(bytes: u32) -> String {
    const KIB: u32 = 1 << 10;
    const MIB: u32 = 1 << 20;
    if bytes >= MIB && bytes.is_multiple_of(MIB) {
        format!("{} MiB", bytes / MIB)
    } else if bytes >= KIB && bytes.is_multiple_of(KIB) {
        format!("{} KiB", bytes / KIB)
    } else {
        format!("{bytes} B")
    }
}
