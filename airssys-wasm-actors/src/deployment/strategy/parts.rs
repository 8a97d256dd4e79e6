//! What strategies are made of where they are written down.
//!
//! Owns the one check that a manifest's table and a command line's words both pass, and the words. A part that says
//! nothing to the chosen strategy is an error: whoever wrote it meant something by it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{CanaryStep, RolloutStrategy};
use crate::deployment::gate::Gate;
use crate::deployment::share::Share;
use crate::manifest::{parse_duration, suggest};

/// How long the old revision is kept where a strategy keeps it and does not say for how long.
const SOAK_DEFAULT: Duration = Duration::from_secs(60);

/// How long a shadow lasts.
const SHADOW_FOR_DEFAULT: Duration = Duration::from_secs(60);

/// What part of the messages a shadow is given copies of.
const SHADOW_SHARE_DEFAULT: Share = Share::percent(10);

/// Which strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StrategyKind {
    /// Stop, then start.
    Recreate,
    /// Replica by replica.
    Rolling,
    /// One switch between two sets.
    BlueGreen,
    /// More and more of the traffic.
    Canary,
    /// Copies of the traffic.
    Shadow,
}

impl StrategyKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Recreate,
        Self::Rolling,
        Self::BlueGreen,
        Self::Canary,
        Self::Shadow,
    ];

    /// Its name in manifests and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recreate => "recreate",
            Self::Rolling => "rolling",
            Self::BlueGreen => "blue-green",
            Self::Canary => "canary",
            Self::Shadow => "shadow",
        }
    }

    /// The parts that say something to it.
    const fn parts(self) -> &'static [&'static str] {
        match self {
            Self::Recreate => &[],
            Self::Rolling => &["max-surge", "max-unavailable"],
            Self::BlueGreen => &["soak", "gate"],
            Self::Canary => &["steps", "sticky", "soak", "gate"],
            Self::Shadow => &["share", "for", "repeatable", "soak", "gate"],
        }
    }
}

impl fmt::Display for StrategyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StrategyKind {
    type Err = StrategyError;

    fn from_str(text: &str) -> Result<Self, StrategyError> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| {
            let what = format!("there is no strategy `{}`", text.escape_debug());
            let help = suggest(text, "strategies", Self::ALL.map(Self::as_str));
            StrategyError::new("strategy", what, help)
        })
    }
}

/// Something is wrong with a strategy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct StrategyError {
    /// The part it is about, as a manifest's key.
    pub part: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub help: String,
}

impl StrategyError {
    pub(crate) fn new(part: &'static str, what: String, help: impl Into<String>) -> Self {
        Self {
            part,
            what,
            help: help.into(),
        }
    }
}

/// A strategy as it is written down: only what is said is there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StrategyParts {
    /// Which one.
    pub strategy: Option<StrategyKind>,
    /// Rolling: how many more.
    pub max_surge: Option<u32>,
    /// Rolling: how many fewer.
    pub max_unavailable: Option<u32>,
    /// Canary: its steps.
    pub steps: Option<Vec<CanaryStep>>,
    /// Canary: the parameter that decides.
    pub sticky: Option<String>,
    /// Shadow: what part is copied.
    pub share: Option<Share>,
    /// Shadow: for how long.
    pub pause: Option<Duration>,
    /// Shadow: what it calls may be called twice.
    pub repeatable: Option<bool>,
    /// How long the old revision is kept.
    pub soak: Option<Duration>,
    /// What the new revision has to keep to.
    pub gate: Option<Gate>,
}

impl StrategyParts {
    /// Puts the strategy together.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn build(self) -> Result<RolloutStrategy, Vec<StrategyError>> {
        let mut wrong = self.strangers();
        let kind = self.strategy.unwrap_or(StrategyKind::Rolling);
        let soak = self.soak.unwrap_or(SOAK_DEFAULT);
        let gate = self.gate.unwrap_or_default();
        check_gate(&gate, &mut wrong);
        let strategy = match kind {
            StrategyKind::Recreate => RolloutStrategy::Recreate,
            StrategyKind::Rolling => {
                let (surge, unavailable) = match (self.max_surge, self.max_unavailable) {
                    // Whoever asks for fewer meanwhile does so to have no more.
                    (None, Some(unavailable)) if unavailable > 0 => (0, unavailable),
                    (surge, unavailable) => (surge.unwrap_or(1), unavailable.unwrap_or(0)),
                };
                if surge == 0 && unavailable == 0 {
                    let what =
                        "with no replica more and none fewer, none can be replaced".to_owned();
                    let help = "raise `max-surge` or `max-unavailable`";
                    wrong.push(StrategyError::new("max-surge", what, help));
                }
                RolloutStrategy::Rolling {
                    max_surge: surge,
                    max_unavailable: unavailable,
                }
            }
            StrategyKind::BlueGreen => RolloutStrategy::BlueGreen { soak, gate },
            StrategyKind::Canary => {
                let steps = self.steps.unwrap_or_default();
                check_steps(&steps, &mut wrong);
                RolloutStrategy::Canary {
                    steps,
                    gate,
                    sticky: self.sticky,
                    soak,
                }
            }
            StrategyKind::Shadow => {
                let share = self.share.unwrap_or(SHADOW_SHARE_DEFAULT);
                if share == Share::NONE {
                    let what = "a shadow of nothing shows nothing".to_owned();
                    wrong.push(StrategyError::new("share", what, "copy more than `0%`"));
                }
                RolloutStrategy::Shadow {
                    share,
                    pause: self.pause.unwrap_or(SHADOW_FOR_DEFAULT),
                    gate,
                    soak,
                    repeatable: self.repeatable.unwrap_or(false),
                }
            }
        };
        if wrong.is_empty() {
            Ok(strategy)
        } else {
            Err(wrong)
        }
    }

    /// The parts that say nothing to the strategy.
    fn strangers(&self) -> Vec<StrategyError> {
        let kind = self.strategy.unwrap_or(StrategyKind::Rolling);
        let said = [
            ("max-surge", self.max_surge.is_some()),
            ("max-unavailable", self.max_unavailable.is_some()),
            ("steps", self.steps.is_some()),
            ("sticky", self.sticky.is_some()),
            ("share", self.share.is_some()),
            ("for", self.pause.is_some()),
            ("repeatable", self.repeatable.is_some()),
            ("soak", self.soak.is_some()),
            ("gate", self.gate.is_some()),
        ];
        let strangers = said
            .into_iter()
            .filter(|(part, said)| *said && !kind.parts().contains(part));
        strangers
            .map(|(part, _)| {
                let what = match self.strategy {
                    Some(_) => format!("`{part}` says nothing to the strategy `{kind}`"),
                    None => format!(
                        "`{part}` says nothing to `{kind}`, which is the strategy if none is said"
                    ),
                };
                let by = StrategyKind::ALL.into_iter();
                let by = by.filter(|other| other.parts().contains(&part));
                let by: Vec<_> = by.map(|other| format!("`{other}`")).collect();
                let help = format!(
                    "it is for {}: say one as `strategy`, or leave it out",
                    by.join(", ")
                );
                StrategyError::new(part, what, help)
            })
            .collect()
    }
}

fn check_steps(steps: &[CanaryStep], wrong: &mut Vec<StrategyError>) {
    if steps.is_empty() {
        let what = "a canary needs steps".to_owned();
        let help = "for example 5% for 30 s and 50% for 1 min, as `steps` of a manifest or `--steps 5%:30s,50%:1min`";
        wrong.push(StrategyError::new("steps", what, help));
    }
    let mut before = Share::NONE;
    for step in steps {
        if step.weight <= before {
            let what = match before {
                Share::NONE => format!("a step of {} sends nothing", step.weight),
                before => format!("a step of {} comes after one of {before}", step.weight),
            };
            let help = "each step takes more of the traffic than the one before it";
            wrong.push(StrategyError::new("steps", what, help));
        }
        before = before.max(step.weight);
    }
}

fn check_gate(gate: &Gate, wrong: &mut Vec<StrategyError>) {
    for (key, ratio) in [
        ("latency-ratio-max", gate.latency_ratio_max),
        ("memory-ratio-max", gate.memory_ratio_max),
    ] {
        if !(ratio.is_finite() && ratio >= 1.0) {
            let what = format!("`{key}` is {ratio}: a revision that does the same would not pass");
            wrong.push(StrategyError::new("gate", what, "give it at least 1.0"));
        }
    }
    if gate.samples_min == 0 {
        let what = "a gate that needs no request passes what nobody has called".to_owned();
        let help = "give `samples-min` at least 1";
        wrong.push(StrategyError::new("gate", what, help));
    }
}

/// A strategy in the words of a command line; only what is said is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StrategyWords<'a> {
    /// `--strategy canary`
    pub strategy: Option<&'a str>,
    /// `--steps 5%:30s,50%:1min`; a step without a time lasts until it is promoted.
    pub steps: Option<&'a str>,
    /// `--soak 1min`
    pub soak: Option<&'a str>,
    /// `--max-surge 1`
    pub max_surge: Option<u32>,
    /// `--max-unavailable 0`
    pub max_unavailable: Option<u32>,
    /// `--share 10%`
    pub share: Option<&'a str>,
    /// `--for 1min`
    pub pause: Option<&'a str>,
    /// `--sticky PARAMETER`
    pub sticky: Option<&'a str>,
}

impl StrategyWords<'_> {
    /// Reads them; `None` where nothing is said. The gate is the component's own, or the default one.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn read(&self) -> Result<Option<RolloutStrategy>, Vec<StrategyError>> {
        if *self == Self::default() {
            return Ok(None);
        }
        let mut wrong = self.without_strategy();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let strategy = read(self.strategy, "strategy", &mut wrong, str::parse);
        let parts = StrategyParts {
            strategy,
            max_surge: self.max_surge,
            max_unavailable: self.max_unavailable,
            steps: read(self.steps, "steps", &mut wrong, steps),
            sticky: self.sticky.map(str::to_owned),
            share: read(self.share, "share", &mut wrong, share),
            pause: read(self.pause, "for", &mut wrong, time),
            repeatable: None,
            soak: read(self.soak, "soak", &mut wrong, time),
            gate: None,
        };
        // Without its strategy, every other word would be found to be a stranger.
        if self.strategy.is_some() && strategy.is_none() {
            return Err(wrong);
        }
        match parts.build() {
            Ok(strategy) if wrong.is_empty() => Ok(Some(strategy)),
            Ok(_) => Err(wrong),
            Err(more) => {
                // What could not be read is missing, and is not to be asked for.
                let read: Vec<_> = wrong.iter().map(|error| error.part).collect();
                wrong.extend(more.into_iter().filter(|error| !read.contains(&error.part)));
                Err(wrong)
            }
        }
    }
}

impl StrategyWords<'_> {
    /// What is said of a strategy that is not said: then what each component's manifest says holds.
    fn without_strategy(&self) -> Vec<StrategyError> {
        if self.strategy.is_some() {
            return Vec::new();
        }
        let said = [
            ("steps", self.steps.is_some()),
            ("sticky", self.sticky.is_some()),
            ("share", self.share.is_some()),
            ("for", self.pause.is_some()),
            ("soak", self.soak.is_some()),
        ];
        let said = said.into_iter().filter(|(_, said)| *said);
        said.map(|(part, _)| {
            let what = format!(
                "`--{part}` says nothing without `--strategy`: each component is replaced as its manifest says"
            );
            let by = StrategyKind::ALL.into_iter();
            let by = by.filter(|kind| kind.parts().contains(&part));
            let by: Vec<_> = by.map(|kind| format!("`--strategy {kind}`")).collect();
            StrategyError::new(part, what, format!("say {} too, or leave it out", by.join(" or ")))
        })
        .collect()
    }
}

fn read<T>(
    text: Option<&str>,
    part: &'static str,
    wrong: &mut Vec<StrategyError>,
    parse: impl Fn(&str) -> Result<T, StrategyError>,
) -> Option<T> {
    match parse(text?) {
        Ok(value) => Some(value),
        Err(error) => {
            wrong.push(StrategyError { part, ..error });
            None
        }
    }
}

fn share(text: &str) -> Result<Share, StrategyError> {
    text.parse()
        .map_err(|error| StrategyError::new("share", format!("{error}"), "for example `10%`"))
}

fn time(text: &str) -> Result<Duration, StrategyError> {
    parse_duration(text).map_err(|error| {
        StrategyError::new("for", format!("{error}"), "for example `30s` or `1min`")
    })
}

fn steps(text: &str) -> Result<Vec<CanaryStep>, StrategyError> {
    text.split(',')
        .map(|step| {
            let (weight, pause) = match step.split_once(':') {
                Some((weight, pause)) => (weight, Some(time(pause.trim())?)),
                None => (step, None),
            };
            let weight = share(weight.trim())?;
            Ok(CanaryStep { weight, pause })
        })
        .collect()
}
