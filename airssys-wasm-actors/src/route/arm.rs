//! What is counted of one arm of a split.
//!
//! Owns the live counts, written where a request is chosen and where a call ends, and [`ArmStats`], what is read of them.
//! Restarts and dead letters are the slot's own. Only some calls are timed: two readings of the clock cost more than
//! everything else here. Which ones follows a low-discrepancy sequence, so that no pattern of requests hides from it. After
//! so many requests as give enough to know, and until the next reading, fewer are timed, and stand for more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use airssys_wasm::Value;

use crate::counters::Counters;
use crate::mailbox::Refusal;
use crate::reply::Ending;
use crate::route::latency::{Latencies, Recorder};

/// What was counted of one arm since its split was made, or in an interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArmStats {
    /// Calls and casts that went to it.
    pub requests: u64,
    /// Those that have ended, well or not: `requests` without what its actor had under way when this was read.
    pub ended: u64,
    /// Those that ended in an error that is its own: it died, was too slow, too full, or answered wrongly.
    pub errors: u64,
    /// How long calls took that were answered, of those that were timed.
    pub latencies: Latencies,
    /// Its incarnations started after the first.
    pub restarts: u64,
    /// Those of them that followed a trap or an exceeded limit.
    pub trap_restarts: u64,
    /// Its incarnations that ended by a trap or an exceeded limit.
    pub traps: u64,
    /// Casts to it that became dead letters.
    pub dead_letters: u64,
}

impl ArmStats {
    /// What came after `earlier`, which is of the same arm.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            ended: self.ended.saturating_sub(earlier.ended),
            errors: self.errors.saturating_sub(earlier.errors),
            latencies: self.latencies.since(&earlier.latencies),
            restarts: self.restarts.saturating_sub(earlier.restarts),
            trap_restarts: self.trap_restarts.saturating_sub(earlier.trap_restarts),
            traps: self.traps.saturating_sub(earlier.traps),
            dead_letters: self.dead_letters.saturating_sub(earlier.dead_letters),
        }
    }

    /// The part of the requests that ended in an error; `None` without requests.
    #[must_use]
    pub fn error_rate(&self) -> Option<f64> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "so many requests that it matters are never made"
        )]
        (self.requests > 0).then(|| self.errors as f64 / self.requests as f64)
    }
}

/// The live counts of one arm.
pub(super) struct Arm {
    errors: AtomicU64,
    /// Requests up to this one are timed densely.
    dense_until: AtomicU64,
    latencies: Recorder,
}

/// A call that is timed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Began {
    at: Instant,
    sampling: Sampling,
}

impl Default for Arm {
    fn default() -> Self {
        Self {
            errors: AtomicU64::new(0),
            dense_until: AtomicU64::new(DENSE),
            latencies: Recorder::default(),
        }
    }
}

impl Arm {
    /// The `nth` request goes to it, counted from 0. Returns when it began, if it is to be timed.
    pub(super) fn times(&self, nth: u64, sampling: Sampling) -> Option<Began> {
        let sampling = if nth < self.dense_until.load(Ordering::Relaxed) {
            sampling
        } else {
            sampling.sparse()
        };
        sampling.takes(nth).then(|| Began {
            at: Instant::now(),
            sampling,
        })
    }

    /// A call that it was asked has ended.
    pub(super) fn ended(&self, answer: Ending<'_>, began: Option<Began>, err_is_error: bool) {
        let failed = match answer {
            Ok(results) => {
                if let Some(began) = began {
                    let calls = began.sampling.calls();
                    self.latencies.record(began.at.elapsed(), calls);
                }
                let first = results.values().first();
                err_is_error && matches!(first, Some(Value::Result(Err(_))))
            }
            Err(why) => why.is_callees(),
        };
        if failed {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A cast to it was refused. One that is dropped counts as the dead letter that it is.
    pub(super) fn refused(&self, refusal: &Refusal) {
        if !matches!(refusal, Refusal::TooLarge(..) | Refusal::Newest(_)) {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted, with its requests so far and what the slot has counted itself.
    pub(super) fn read(&self, requests: u64, counters: Counters) -> ArmStats {
        self.dense_until.store(requests + DENSE, Ordering::Relaxed);
        ArmStats {
            requests,
            ended: requests.saturating_sub(counters.under_way()),
            errors: self.errors.load(Ordering::Relaxed),
            latencies: self.latencies.read(),
            restarts: counters.restarts,
            trap_restarts: counters.trap_restarts,
            traps: counters.traps,
            dead_letters: counters.dead_letters,
        }
    }
}

/// Requests after each reading of which as many are timed as was asked for: with one of eight, a thousand.
const DENSE: u64 = 8_192;
/// How many times fewer are timed after those, as a power of two.
const SPARSE_BITS: u32 = 3;

/// Which requests are timed: one of 2ⁿ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sampling(u32);

impl Sampling {
    /// Every so many, rounded up to a power of two.
    pub(super) fn every(requests: u32) -> Self {
        Self(requests.clamp(1, 1 << 31).next_power_of_two().ilog2())
    }

    /// One of 2 to the power of so many.
    pub(super) fn of_bits(bits: u32) -> Self {
        Self(bits.min(31))
    }

    pub(super) fn bits(self) -> u32 {
        self.0
    }

    fn sparse(self) -> Self {
        Self(self.0 + SPARSE_BITS)
    }

    /// How many a request stands for that is timed.
    fn calls(self) -> u64 {
        1 << self.0
    }

    fn takes(self, nth: u64) -> bool {
        // The multiples of the golden ratio fall evenly into every interval, here into the first 2ⁿ-th, and in step
        // with no period of the requests.
        let at = nth.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        at.checked_shr(u64::BITS - self.0).unwrap_or(0) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::CallError;
    use airssys_wasm::{Args, IntoArgs};
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::ops::Range;
    use std::time::Duration;

    proptest! {
        #[test]
        fn of_any_stretch_and_of_any_period_the_right_part_is_timed(
            bits in 0_u32..7, from in 0_u64..1 << 40, period in 1_u64..65,
        ) {
            let sampling = Sampling::every(1 << bits);
            let taken = (0..20_000).filter(|n| sampling.takes(from + n * period)).count();
            let fair = 20_000 >> bits;
            prop_assert!(taken.abs_diff(fair) <= fair / 4 + 2, "{taken} of {fair}");
        }
    }

    #[test]
    fn sampling_is_rounded_up_to_a_power_of_two() {
        for (every, bits) in [(0, 0), (1, 0), (2, 1), (5, 3), (8, 3), (u32::MAX, 31)] {
            assert_eq!(Sampling::every(every).0, bits);
        }
        assert!((0..1_000).all(|nth| Sampling::every(1).takes(nth)));
    }

    #[test]
    fn many_requests_between_two_readings_are_timed_less_densely() {
        let arm = Arm::default();
        let sampling = Sampling::every(8);
        let timed = |requests: Range<u64>| {
            let requests = requests.map(|nth| arm.times(nth, sampling));
            let sparse = |began: &Option<Began>| began.is_some_and(|it| it.sampling != sampling);
            let all: Vec<_> = requests.collect();
            let sparse = all.iter().filter(|began| sparse(began)).count() as u64;
            (
                all.iter().flatten().count() as u64 - sparse,
                sparse,
                all.into_iter()
                    .flatten()
                    .map(|it| it.sampling.calls())
                    .sum::<u64>(),
            )
        };
        for from in [0, 100_000] {
            let (dense, sparse, calls) = timed(from..from + 100_000);
            assert!(dense.abs_diff(DENSE / 8) <= 4, "{dense}");
            assert!(sparse.abs_diff((100_000 - DENSE) / 64) <= 4, "{sparse}");
            assert!(calls.abs_diff(100_000) <= 300, "{calls}");
            arm.read(from + 100_000, Counters::default());
        }
    }

    #[test]
    fn errors_of_the_callee_are_counted_and_those_of_the_caller_are_not() {
        let arm = Arm::default();
        let requests = Cell::new(0);
        let timed = |sampling| {
            let nth = requests.replace(requests.get() + 1);
            arm.times(nth, sampling)
        };
        let address: crate::ActorAddress = "a".parse().unwrap();
        let dead = CallError::CalleeDied {
            address: address.clone(),
            reason: crate::ExitReason::Killed,
        };
        let cycle = CallError::Cycle { path: vec![] };
        let every = Sampling::every(1);
        for answer in [Err(dead), Err(cycle), Ok(Args::new())] {
            let began = timed(every);
            arm.ended(answer.as_ref(), began, false);
        }
        let mut counters = Counters::default();
        let before = arm.read(requests.get(), counters);
        assert_eq!((before.requests, before.errors), (3, 1));
        assert_eq!(before.latencies.timed(), 1);
        assert_eq!(before.error_rate(), Some(1.0 / 3.0));

        // What a guest answers is an answer, unless asked for.
        let err = || Ok::<_, CallError>((Value::Result(Err(None)),).into_args());
        arm.ended(err().as_ref(), timed(every), false);
        assert_eq!(arm.read(requests.get(), counters).since(&before).errors, 0);
        arm.ended(err().as_ref(), timed(every), true);
        let late = CallError::Deadline {
            address,
            within: Duration::ZERO,
        };
        arm.ended(Err(&late), timed(every), false);
        counters.restarts = 1;
        let interval = arm.read(requests.get(), counters).since(&before);
        assert_eq!((interval.requests, interval.errors), (3, 2));
        assert_eq!(interval.latencies.timed(), 2);
        assert_eq!((interval.restarts, interval.dead_letters), (1, 0));
        assert_eq!(ArmStats::default().error_rate(), None);
    }
}
