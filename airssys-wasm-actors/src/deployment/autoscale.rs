//! How many replicas a component should have: a pure function of what it had to do.
//!
//! Owns the decision, its hysteresis and its memory. Wanted is the larger of two numbers: so many that the queue of
//! each is no longer than it should be, and so many that each is busy no more than it should be. More come at once,
//! as far as the step allows, because messages wait; fewer only when less has been wanted for a while, one at a
//! time, because a lull is not an end. Between the two, nothing changes. Whoever acts on it says when that was not done.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::manifest::serialize_duration;
use crate::supervisor::REPLICAS_MAX;

/// How long no other try is made after the first that failed; twice as long after each further one in a row.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The longest of these waits.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// The bounds and the aim.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Autoscale {
    /// The fewest replicas; at least 1. To have none while there is nothing to do is passivation's, of one that is alone.
    pub min: u32,
    /// The most.
    pub max: u32,
    /// Messages that may wait for each replica.
    pub queue_per_replica: u32,
    /// The part of its time that each may be busy, 0 to 1.
    pub utilisation: f64,
    /// How far off the aim nothing is done, as a part of the aim: 0.1 is 10 %.
    pub tolerance: f64,
    /// After a change, how long until there may be more.
    #[serde(serialize_with = "serialize_duration")]
    pub up_cooldown: Duration,
    /// How long fewer must have been wanted, and how long after a change, before there are fewer.
    #[serde(serialize_with = "serialize_duration")]
    pub down_cooldown: Duration,
}

impl fmt::Display for Autoscale {
    /// `1 to 8, queue 100 each, busy 70 %`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max, queue) = (self.min, self.max, self.queue_per_replica);
        let busy = percent(self.utilisation);
        write!(f, "{min} to {max}, queue {queue} each, busy {busy:.0} %")
    }
}

impl Default for Autoscale {
    /// One to eight, 100 messages each, busy for 70 % of the time, give or take a tenth; more after 5 s, fewer after a
    /// minute.
    fn default() -> Self {
        Self {
            min: 1,
            max: 8,
            queue_per_replica: 100,
            utilisation: 0.7,
            tolerance: 0.1,
            up_cooldown: Duration::from_secs(5),
            down_cooldown: Duration::from_secs(60),
        }
    }
}

/// Bounds or an aim that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AutoscaleError {
    /// The bounds are in no order, or outside what there can be.
    #[error("use 1 to {REPLICAS_MAX} replicas, and no more at least than at most")]
    Bounds,
    /// An aim of nothing.
    #[error("use at least 1 message for each replica, and a utilisation above 0 and at most 1")]
    Aim,
    /// A tolerance that hides everything.
    #[error("use a tolerance of at least 0 and below 1")]
    Tolerance,
}

/// What a component had to do lately.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Messages that wait.
    pub queued: u64,
    /// The part of its time that a replica was busy, on average; 0 to 1.
    pub utilisation: f64,
}

impl fmt::Display for Load {
    /// `queue 450, busy 93 %`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let busy = percent(self.utilisation);
        write!(f, "queue {}, busy {busy:.0} %", self.queued)
    }
}

fn percent(part: f64) -> f64 {
    part.clamp(0.0, 1.0) * 100.0
}

/// Decides again and again.
#[derive(Debug, Clone)]
pub struct Autoscaler {
    config: Autoscale,
    memory: Memory,
    /// What the newest decision changes, as long as that can be taken back.
    decided: Option<Decided>,
    /// What has failed last, and has not been done since.
    failed: Option<Failed>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    /// When the number was changed last.
    changed: Option<Duration>,
    /// Since when fewer have been wanted.
    fewer_since: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Decided {
    more: bool,
    before: Memory,
}

#[derive(Debug, Clone, Copy)]
struct Failed {
    more: bool,
    in_a_row: u32,
    /// Not tried again before.
    until: Duration,
}

impl Autoscale {
    /// Whether it can be.
    ///
    /// # Errors
    /// [`AutoscaleError`].
    pub fn check(&self) -> Result<(), AutoscaleError> {
        if self.min == 0 || self.min > self.max || self.max > REPLICAS_MAX {
            return Err(AutoscaleError::Bounds);
        }
        if self.queue_per_replica == 0 || !(self.utilisation > 0.0 && self.utilisation <= 1.0) {
            return Err(AutoscaleError::Aim);
        }
        if !(0.0..1.0).contains(&self.tolerance) {
            return Err(AutoscaleError::Tolerance);
        }
        Ok(())
    }
}

impl Autoscaler {
    /// Nothing has been decided yet.
    ///
    /// # Errors
    /// [`AutoscaleError`].
    pub fn new(config: Autoscale) -> Result<Self, AutoscaleError> {
        config.check()?;
        Ok(Self {
            config,
            memory: Memory::default(),
            decided: None,
            failed: None,
        })
    }

    /// Other bounds and another aim from now on, if they are; when it changed the number last is still known.
    ///
    /// # Errors
    /// [`AutoscaleError`], with the ones before.
    pub fn set(&mut self, config: Autoscale) -> Result<(), AutoscaleError> {
        config.check()?;
        if config != self.config {
            self.config = config;
            self.memory.fewer_since = None;
            self.failed = None;
        }
        Ok(())
    }

    /// How many there should be at `now`, of `replicas` that there are; `None`: as many as there are. What is decided is
    /// taken as done, unless [`Autoscaler::undone`] or [`Autoscaler::failed`] says before the next decision that it was not.
    ///
    /// At most twice as many at a time, and one fewer.
    pub fn decide(&mut self, replicas: u32, load: Load, now: Duration) -> Option<u32> {
        if self.decided.take().is_some() {
            self.failed = None;
        }
        let Autoscale { min, max, .. } = self.config;
        let replicas_now = replicas.max(1);
        if replicas < min || replicas > max {
            return self.change(replicas, replicas.clamp(min, max), now);
        }
        let wanted = self.wanted(replicas_now, load).clamp(min, max);
        let since = |then: Option<Duration>| then.map(|then| now.saturating_sub(then));
        let rested = since(self.memory.changed);
        if wanted > replicas {
            self.memory.fewer_since = None;
            if rested.is_some_and(|rested| rested < self.config.up_cooldown) {
                return None;
            }
            let to = wanted.min(replicas_now.saturating_mul(2));
            return self.change(replicas, to, now);
        }
        if wanted == replicas {
            self.memory.fewer_since = None;
            return None;
        }
        let fewer_since = *self.memory.fewer_since.get_or_insert(now);
        let cooldown = self.config.down_cooldown;
        let quiet = now.saturating_sub(fewer_since) >= cooldown;
        if !quiet || rested.is_some_and(|rested| rested < cooldown) {
            return None;
        }
        self.change(replicas, replicas - 1, now)
    }

    /// What was decided last was not done, and nothing is wrong: it is decided again as if it never had been.
    pub fn undone(&mut self) {
        if let Some(Decided { before, .. }) = self.decided.take() {
            self.memory = before;
        }
    }

    /// What was decided last could not be done at `now`. More, or fewer if it was that, are not tried again for 2 s, and
    /// for twice as long after each further failure in a row, 5 min at most.
    pub fn failed(&mut self, now: Duration) {
        let Some(Decided { more, before }) = self.decided.take() else {
            return;
        };
        self.memory = before;
        let last = self.failed.filter(|failed| failed.more == more);
        let in_a_row = last.map_or(0, |failed| failed.in_a_row.saturating_add(1));
        let wait = RETRY_AFTER.saturating_mul(2_u32.saturating_pow(in_a_row));
        self.failed = Some(Failed {
            more,
            in_a_row,
            until: now.saturating_add(wait.min(RETRY_AFTER_MAX)),
        });
    }

    fn change(&mut self, from: u32, to: u32, now: Duration) -> Option<u32> {
        let more = to > from;
        let waits = |failed: Failed| failed.more == more && now < failed.until;
        if self.failed.is_some_and(waits) {
            return None;
        }
        self.decided = Some(Decided {
            more,
            before: self.memory,
        });
        self.memory = Memory {
            changed: Some(now),
            fewer_since: None,
        };
        Some(to)
    }

    /// By how much the load differs from the aim, in replicas.
    fn wanted(&self, replicas: u32, load: Load) -> u32 {
        let count = f64::from(replicas);
        let queued = u32::try_from(load.queued).map_or(f64::from(u32::MAX), f64::from);
        let by_queue = queued / (f64::from(self.config.queue_per_replica) * count);
        let by_use = load.utilisation.clamp(0.0, 1.0) / self.config.utilisation;
        // What is not a number wants nothing.
        let load = if by_use.is_nan() {
            by_queue
        } else {
            by_queue.max(by_use)
        };
        if (load - 1.0).abs() <= self.config.tolerance {
            return replicas;
        }
        let wanted = (count * load).ceil().min(f64::from(REPLICAS_MAX));
        // Not more for what is below the aim: rounding up one of two would never come down.
        (1..=REPLICAS_MAX)
            .find(|number| f64::from(*number) >= wanted)
            .unwrap_or(REPLICAS_MAX)
    }
}
