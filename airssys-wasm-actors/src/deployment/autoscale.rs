//! How many replicas a component should have: a pure function of what it had to do.
//!
//! Owns the decision, its hysteresis and its memory. Wanted is the larger of two numbers: so many that the queue of
//! each is no longer than it should be, and so many that each is busy no more than it should be. More come at once,
//! as far as the step allows, because messages wait; fewer only when less has been wanted for a while, one at a
//! time, because a lull is not an end. Between the two, nothing changes.

use std::time::Duration;

use crate::supervisor::REPLICAS_MAX;

/// The bounds and the aim.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Autoscale {
    /// The fewest replicas; at least 1: one that is idle gives up its instance by passivation.
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
    pub up_cooldown: Duration,
    /// How long fewer must have been wanted, and how long after a change, before there are fewer.
    pub down_cooldown: Duration,
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

/// Decides again and again.
#[derive(Debug, Clone)]
pub struct Autoscaler {
    config: Autoscale,
    /// When the number was changed last.
    changed: Option<Duration>,
    /// Since when fewer have been wanted.
    fewer_since: Option<Duration>,
}

impl Autoscaler {
    /// Nothing has been decided yet.
    ///
    /// # Errors
    /// [`AutoscaleError`].
    pub fn new(config: Autoscale) -> Result<Self, AutoscaleError> {
        if config.min == 0 || config.min > config.max || config.max > REPLICAS_MAX {
            return Err(AutoscaleError::Bounds);
        }
        if config.queue_per_replica == 0 || !(config.utilisation > 0.0 && config.utilisation <= 1.0)
        {
            return Err(AutoscaleError::Aim);
        }
        if !(0.0..1.0).contains(&config.tolerance) {
            return Err(AutoscaleError::Tolerance);
        }
        Ok(Self {
            config,
            changed: None,
            fewer_since: None,
        })
    }

    /// How many there should be at `now`, of `replicas` that there are; `None`: as many as there are.
    ///
    /// At most twice as many at a time, and one fewer.
    pub fn decide(&mut self, replicas: u32, load: Load, now: Duration) -> Option<u32> {
        let Autoscale { min, max, .. } = self.config;
        let replicas_now = replicas.max(1);
        if replicas < min || replicas > max {
            return self.change(replicas.clamp(min, max), now);
        }
        let wanted = self.wanted(replicas_now, load).clamp(min, max);
        let since = |then: Option<Duration>| then.map(|then| now.saturating_sub(then));
        let rested = since(self.changed);
        if wanted > replicas {
            self.fewer_since = None;
            if rested.is_some_and(|rested| rested < self.config.up_cooldown) {
                return None;
            }
            return self.change(wanted.min(replicas_now.saturating_mul(2)), now);
        }
        if wanted == replicas {
            self.fewer_since = None;
            return None;
        }
        let fewer_since = *self.fewer_since.get_or_insert(now);
        let cooldown = self.config.down_cooldown;
        let quiet = now.saturating_sub(fewer_since) >= cooldown;
        if !quiet || rested.is_some_and(|rested| rested < cooldown) {
            return None;
        }
        self.change(replicas - 1, now)
    }

    fn change(&mut self, to: u32, now: Duration) -> Option<u32> {
        self.changed = Some(now);
        self.fewer_since = None;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn load(queued: u64, utilisation: f64) -> Load {
        Load {
            queued,
            utilisation,
        }
    }

    #[test]
    fn what_is_wanted_follows_the_longer_queue_or_the_busier_time() {
        for (replicas, load, decided) in [
            (1, load(0, 0.7), None),
            // Within the tolerance.
            (1, load(0, 0.76), None),
            (1, load(0, 0.78), Some(2)),
            (2, load(450, 0.1), Some(4)),
            (4, load(450, 0.1), Some(5)),
            // Never more than twice as many at a time, or than there may be.
            (1, load(100_000, 1.0), Some(2)),
            (6, load(100_000, 1.0), Some(8)),
            (8, load(100_000, 1.0), None),
            // The bounds hold whatever the load says.
            (12, load(0, 0.7), Some(8)),
            (0, load(0, 0.0), Some(1)),
            (1, load(0, f64::NAN), None),
        ] {
            let mut scaler = Autoscaler::new(Autoscale::default()).unwrap();
            assert_eq!(
                scaler.decide(replicas, load, s(1_000)),
                decided,
                "{replicas} {load:?}"
            );
        }
    }

    #[test]
    fn fewer_come_late_and_one_by_one_and_more_soon() {
        let mut scaler = Autoscaler::new(Autoscale::default()).unwrap();
        assert_eq!(scaler.decide(4, load(0, 0.1), s(0)), None);
        assert_eq!(scaler.decide(4, load(0, 0.1), s(59)), None);
        // A busy moment begins the wait anew.
        assert_eq!(scaler.decide(4, load(0, 0.7), s(59)), None);
        assert_eq!(scaler.decide(4, load(0, 0.1), s(60)), None);
        assert_eq!(scaler.decide(4, load(0, 0.1), s(120)), Some(3));
        assert_eq!(scaler.decide(3, load(0, 0.1), s(121)), None);
        assert_eq!(scaler.decide(3, load(0, 0.1), s(181)), Some(2));
        assert_eq!(scaler.decide(2, load(900, 0.1), s(185)), None);
        assert_eq!(scaler.decide(2, load(900, 0.1), s(186)), Some(4));
        assert_eq!(scaler.decide(4, load(900, 0.1), s(187)), None);
        assert_eq!(scaler.decide(4, load(900, 0.1), s(191)), Some(8));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let with = |change: fn(&mut Autoscale)| {
            let mut config = Autoscale::default();
            change(&mut config);
            Autoscaler::new(config).map(|_| ()).unwrap_err()
        };
        assert_eq!(with(|config| config.min = 0), AutoscaleError::Bounds);
        assert_eq!(with(|config| config.min = 9), AutoscaleError::Bounds);
        assert_eq!(with(|config| config.max = 65), AutoscaleError::Bounds);
        assert_eq!(
            with(|config| config.queue_per_replica = 0),
            AutoscaleError::Aim
        );
        assert_eq!(
            with(|config| config.utilisation = f64::NAN),
            AutoscaleError::Aim
        );
        assert_eq!(
            with(|config| config.tolerance = 1.0),
            AutoscaleError::Tolerance
        );
    }

    proptest! {
        /// A steady load that so many replicas can serve comes to rest within the bounds, and stays there.
        #[test]
        fn a_steady_load_comes_to_rest(work in 0.0..12.0f64, from in 1..=8u32) {
            let config = Autoscale::default();
            let mut scaler = Autoscaler::new(config).unwrap();
            let (mut replicas, mut changes) = (from, Vec::new());
            for second in 0..2_000 {
                let utilisation = (work / f64::from(replicas)).min(1.0);
                if let Some(next) = scaler.decide(replicas, load(0, utilisation), s(second)) {
                    prop_assert!((config.min..=config.max).contains(&next));
                    replicas = next;
                    changes.push(second);
                }
            }
            prop_assert!(changes.last().is_none_or(|last| *last < 1_000), "{changes:?}");
        }
    }
}
