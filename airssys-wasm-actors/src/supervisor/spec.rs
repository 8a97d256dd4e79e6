//! What a supervisor is made of: plain data, checked before anything starts.

use std::collections::HashSet;
use std::time::Duration;

use super::child::ChildSpec;
use super::decide::RestartIntensity;
use super::tuning::Tuning;
use crate::address::ActorAddress;

/// Which children are restarted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Strategy {
    /// Only the child that ended.
    #[default]
    OneForOne,
    /// All children: they are stopped in reverse start order, and started again in order.
    OneForAll,
    /// The child that ended and those started after it.
    RestForOne,
    /// Only the child that ended; children come and go. None is there at the beginning, one that was stopped is
    /// forgotten, and at the end all are asked to stop at once.
    SimpleOneForOne,
}

impl Strategy {
    /// Whether a restart concerns siblings.
    #[must_use]
    pub fn is_group(self) -> bool {
        matches!(self, Self::OneForAll | Self::RestForOne)
    }

    /// Its name as a manifest writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneForOne => "one-for-one",
            Self::OneForAll => "one-for-all",
            Self::RestForOne => "rest-for-one",
            Self::SimpleOneForOne => "simple-one-for-one",
        }
    }
}

/// Whether a supervisor ends when significant children have ended by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum AutoShutdown {
    /// No; then no child can be significant.
    #[default]
    Never,
    /// When the first one has.
    AnySignificant,
    /// When the last one has.
    AllSignificant,
}

/// How long a restart waits, more for each in a row. OTP has none: it restarts at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// Before the first restart in a row.
    pub initial: Duration,
    /// How many times longer each next one waits. At least 1.
    pub factor: f64,
    /// The longest wait.
    pub max: Duration,
    /// The part of the wait that is left to chance, 0 to 1: 0.2 waits 80 % to 100 % of it.
    pub jitter: f64,
    /// A child that has run for so long begins at `initial` again.
    pub reset_after: Duration,
}

impl Default for Backoff {
    /// 100 ms, doubled up to 30 s, a fifth of it left to chance; anew after a minute without a fault.
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(100),
            factor: 2.0,
            max: Duration::from_secs(30),
            jitter: 0.2,
            reset_after: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    /// Whether it comes to an end, and does not go down.
    pub(crate) fn is_sound(&self) -> bool {
        self.factor >= 1.0
            && self.factor.is_finite()
            && (0.0..=1.0).contains(&self.jitter)
            && self.initial <= self.max
    }

    /// The wait before the restart after `streak` others in a row. `seed` is the chance.
    #[must_use]
    pub fn delay(&self, streak: u32, seed: u64) -> Duration {
        let exponent = i32::try_from(streak.min(1_000)).unwrap_or(1_000);
        let longest = self.max.as_secs_f64();
        let whole = (self.initial.as_secs_f64() * self.factor.max(1.0).powi(exponent)).min(longest);
        let chance = f64::from(u32::try_from(mix(seed ^ u64::from(streak)) >> 32).unwrap_or(0))
            / f64::from(u32::MAX);
        let jitter = self.jitter.clamp(0.0, 1.0);
        Duration::try_from_secs_f64(whole * (1.0 - jitter * chance)).unwrap_or(self.max)
    }
}

/// The finaliser of splitmix64.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A supervisor: its name, its limits, and the children it starts with.
#[derive(Clone)]
pub struct SupervisorSpec {
    /// Its name, for events, reports and its parent.
    pub address: ActorAddress,
    /// Which children are restarted together.
    pub strategy: Strategy,
    /// How many restarts, of all its children, it allows before it gives up.
    pub intensity: RestartIntensity,
    /// Whether it ends with its significant children.
    pub auto_shutdown: AutoShutdown,
    /// How often one child may be the reason for it to give up; then that child is quarantined: not started any more
    /// with the others until it is asked for. Default `None`: OTP knows no quarantine.
    pub quarantine_after: Option<u32>,
    /// What it starts, in order, each time it is started. Children added later are its own affair, and are gone
    /// when it is.
    pub children: Vec<ChildSpec>,
}

impl std::fmt::Debug for SupervisorSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let children: Vec<_> = self.children.iter().map(|child| &child.address).collect();
        f.debug_struct("SupervisorSpec")
            .field("address", &self.address)
            .field("strategy", &self.strategy)
            .field("intensity", &self.intensity)
            .field("auto_shutdown", &self.auto_shutdown)
            .field("quarantine_after", &self.quarantine_after)
            .field("children", &children)
            .finish()
    }
}

impl SupervisorSpec {
    /// One for one, with OTP's default intensity and no children.
    #[must_use]
    pub fn new(address: ActorAddress) -> Self {
        Self {
            address,
            strategy: Strategy::default(),
            intensity: RestartIntensity::default(),
            auto_shutdown: AutoShutdown::default(),
            quarantine_after: None,
            children: Vec::new(),
        }
    }

    /// The same with another strategy.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// The same with another intensity.
    #[must_use]
    pub fn intensity(mut self, max: u32, within: Duration) -> Self {
        self.intensity = RestartIntensity { max, within };
        self
    }

    /// The same with another rule about significant children.
    #[must_use]
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.auto_shutdown = auto_shutdown;
        self
    }

    /// The same with one more child, started after the others.
    #[must_use]
    pub fn with(mut self, child: ChildSpec) -> Self {
        self.children.push(child);
        self
    }

    /// Checks what can be checked of it and of the supervisors among its children.
    ///
    /// # Errors
    /// [`SpecError`]: the first thing that is wrong.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.strategy == Strategy::SimpleOneForOne && !self.children.is_empty() {
            return Err(SpecError::SimpleChildren(self.address.clone()));
        }
        self.check_children(&self.children)
    }

    /// Checks children that are to be its.
    pub(crate) fn check_children(&self, children: &[ChildSpec]) -> Result<(), SpecError> {
        let mut seen = HashSet::new();
        for child in children {
            if !seen.insert(&child.address) {
                return Err(SpecError::Duplicate {
                    supervisor: self.address.clone(),
                    child: child.address.clone(),
                });
            }
            let tuning = Tuning::of(child);
            tuning.check(&child.address, &self.address, self.auto_shutdown)?;
            if let Some(spec) = child.as_supervisor() {
                spec.check()?;
            }
        }
        Ok(())
    }
}

/// What is wrong with the spec of a supervisor or a child. Nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// Two children have one name.
    #[error("two children of `{supervisor}` are called `{child}`; give one another name")]
    Duplicate {
        /// The supervisor.
        supervisor: ActorAddress,
        /// The name.
        child: ActorAddress,
    },
    /// A child is significant and always started again.
    #[error(
        "`{0}` is significant and permanent: its end would both end its supervisor and be followed by a restart; \
         make it transient or temporary"
    )]
    SignificantPermanent(ActorAddress),
    /// A child is significant for a supervisor that does not ask.
    #[error(
        "`{child}` is significant, but `{supervisor}` never ends with its children; give the supervisor another \
         auto-shutdown"
    )]
    SignificantNever {
        /// The supervisor.
        supervisor: ActorAddress,
        /// The child.
        child: ActorAddress,
    },
    /// A simple-one-for-one supervisor is given children to begin with.
    #[error("`{0}` is simple-one-for-one, which starts without children; add them when it runs")]
    SimpleChildren(ActorAddress),
    /// A supervisor's strategy cannot change to or from simple-one-for-one while it runs.
    #[error(
        "`{0}` cannot become or stop being simple-one-for-one while it runs; stop it and start another"
    )]
    SimpleChange(ActorAddress),
    /// A child is to become something with other functions, or to be drained by another number of replicas.
    #[error(
        "`{0}` is to have other functions, another number of replicas or another kind; stop and forget it first"
    )]
    OtherSurface(ActorAddress),
    /// A backoff that never comes to an end, or goes down.
    #[error(
        "the backoff of `{0}` needs a factor of at least 1, a jitter between 0 and 1, and an initial wait of at most \
         the longest"
    )]
    Backoff(ActorAddress),
}
