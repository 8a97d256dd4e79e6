//! What is counted of one arm of a split.
//!
//! Owns the live counts, written where a request is chosen and where a call ends, and [`ArmStats`], what is read of them.
//! Restarts and dead letters are the slot's own. Only some calls are timed: two readings of the clock cost more than
//! everything else here. Which ones follows a low-discrepancy sequence, so that no pattern of requests hides from it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use airssys_wasm::{CallRefused, Value};

use crate::counters::Counters;
use crate::error::CallError;
use crate::mailbox::Refusal;
use crate::reply::Answer;
use crate::route::latency::{Latencies, Recorder};
use crate::slot::Slot;

/// What was counted of one arm since its split was made, or in an interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArmStats {
    /// Calls and casts that went to it.
    pub requests: u64,
    /// Those that ended in an error that is its own: it died, was too slow, too full, or answered wrongly.
    pub errors: u64,
    /// How long calls took that were answered, of those that were timed.
    pub latencies: Latencies,
    /// Its incarnations started after the first.
    pub restarts: u64,
    /// Casts to it that became dead letters.
    pub dead_letters: u64,
}

impl ArmStats {
    /// What came after `earlier`, which is of the same arm.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            errors: self.errors.saturating_sub(earlier.errors),
            latencies: self.latencies.since(&earlier.latencies),
            restarts: self.restarts.saturating_sub(earlier.restarts),
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
    requests: AtomicU64,
    errors: AtomicU64,
    latencies: Recorder,
    /// The slot's own counts when the split was made.
    before: Counters,
}

impl Arm {
    pub(super) fn new(slot: &Slot) -> Self {
        Self {
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            latencies: Recorder::default(),
            before: slot.counters().read(),
        }
    }

    /// A request goes to it. Returns when it began, if it is to be timed.
    pub(super) fn request(&self, sampling: Sampling) -> Option<Instant> {
        let nth = self.requests.fetch_add(1, Ordering::Relaxed);
        sampling.takes(nth).then(Instant::now)
    }

    /// A request that went to it has gone elsewhere.
    pub(super) fn gone_elsewhere(&self) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// A call that it was asked has ended.
    pub(super) fn ended(&self, answer: &Answer, began: Option<Instant>, err_is_error: bool) {
        let failed = match answer {
            Ok(results) => {
                if let Some(began) = began {
                    self.latencies.record(began.elapsed());
                }
                let first = results.values().first();
                err_is_error && matches!(first, Some(Value::Result(Err(_))))
            }
            Err(why) => is_callees(why),
        };
        if failed {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A cast to it was refused.
    pub(super) fn refused(&self, refusal: &Refusal) {
        if !matches!(refusal, Refusal::TooLarge(..)) {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted; `slot` is its own, while there is one.
    pub(super) fn read(&self, slot: Option<&Slot>) -> ArmStats {
        let counters = slot.map_or(self.before, |slot| slot.counters().read());
        ArmStats {
            requests: self.requests.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            latencies: self.latencies.read(),
            restarts: counters.restarts.saturating_sub(self.before.restarts),
            dead_letters: counters
                .dead_letters
                .saturating_sub(self.before.dead_letters),
        }
    }
}

/// Whether an error speaks against the callee, and not against its caller.
fn is_callees(why: &CallError) -> bool {
    match why {
        CallError::TooLarge { .. }
        | CallError::Cycle { .. }
        | CallError::CallDepth { .. }
        | CallError::EmptyGroup { .. }
        | CallError::CircuitOpen { .. }
        | CallError::Refused(CallRefused::StaleHandle { .. }) => false,
        CallError::NoSuchActor { .. }
        | CallError::Stopped { .. }
        | CallError::CalleeDied { .. }
        | CallError::Deadline { .. }
        | CallError::MailboxFull { .. }
        | CallError::Evicted { .. }
        | CallError::NoSuchFunction(_)
        | CallError::Refused(_)
        | CallError::PendingReplies { .. }
        | CallError::NoReply { .. }
        | CallError::WrongReply { .. }
        | CallError::Native { .. } => true,
    }
}

/// Which requests are timed: one of 2ⁿ.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sampling(u32);

impl Sampling {
    /// Every so many, rounded up to a power of two.
    pub(super) fn every(requests: u32) -> Self {
        Self(requests.clamp(1, 1 << 31).next_power_of_two().ilog2())
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
    use crate::mailbox::MailboxConfig;
    use airssys_wasm::{Args, IntoArgs};
    use proptest::prelude::*;
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
    fn errors_of_the_callee_are_counted_and_those_of_the_caller_are_not() {
        let slot = crate::slot::testing::slot(MailboxConfig::default());
        let arm = Arm::new(&slot);
        let address = slot.address().clone();
        let dead = CallError::CalleeDied {
            address: address.clone(),
            reason: crate::ExitReason::Killed,
        };
        let cycle = CallError::Cycle { path: vec![] };
        let every = Sampling::every(1);
        for answer in [Err(dead), Err(cycle), Ok(Args::new())] {
            let began = arm.request(every);
            arm.ended(&answer, began, false);
        }
        let before = arm.read(Some(&slot));
        assert_eq!((before.requests, before.errors), (3, 1));
        assert_eq!(before.latencies.count(), 1);
        assert_eq!(before.error_rate(), Some(1.0 / 3.0));

        // What a guest answers is an answer, unless asked for.
        let err = || Ok((Value::Result(Err(None)),).into_args());
        arm.ended(&err(), arm.request(every), false);
        assert_eq!(arm.read(Some(&slot)).since(&before).errors, 0);
        arm.ended(&err(), arm.request(every), true);
        let late = CallError::Deadline {
            address,
            within: Duration::ZERO,
        };
        arm.ended(&Err(late), arm.request(every), false);
        slot.counters().restart();
        let interval = arm.read(Some(&slot)).since(&before);
        assert_eq!((interval.requests, interval.errors), (3, 2));
        assert_eq!(interval.latencies.count(), 2);
        assert_eq!((interval.restarts, interval.dead_letters), (1, 0));
        arm.request(every);
        arm.gone_elsewhere();
        assert_eq!(arm.read(Some(&slot)).since(&before).requests, 3);
        assert_eq!(ArmStats::default().error_rate(), None);
    }
}
