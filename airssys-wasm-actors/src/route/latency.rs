//! How long calls take, in buckets.
//!
//! Owns the histogram that is written to and the one that is read. Buckets are log-linear: sixteen for each doubling
//! from a nanosecond to 18 minutes, so that what is read is within a thirtieth of what was measured. A call that is timed
//! stands for those that are not, and is counted as so many, so that calls may be timed more and less densely in turn.
//! Recording is three relaxed increments, without a lock or an allocation; two histograms of the same arm are subtracted to
//! have what came between them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets of each doubling: 2 to the power of this.
const FINE_BITS: u32 = 4;
const FINE: u64 = 1 << FINE_BITS;
/// Doublings told apart; what takes longer is counted in the last bucket.
const DOUBLINGS: u32 = 40;
/// 592.
const BUCKETS: usize = ((DOUBLINGS - FINE_BITS + 1) << FINE_BITS) as usize;
const NANOS_MAX: u64 = (1 << DOUBLINGS) - 1;

fn bucket_of(nanos: u64) -> usize {
    let nanos = nanos.min(NANOS_MAX);
    let Some(shift) = nanos
        .checked_ilog2()
        .and_then(|log| log.checked_sub(FINE_BITS))
    else {
        // Below sixteen each nanosecond has its own.
        return usize::try_from(nanos).unwrap_or(0);
    };
    // The leading bit adds sixteen, and so the next doubling begins where this one ends.
    let at = (u64::from(shift) << FINE_BITS) + (nanos >> shift);
    usize::try_from(at).unwrap_or(BUCKETS - 1)
}

/// The middle of a bucket.
fn nanos_of(bucket: usize) -> u64 {
    let bucket = u64::try_from(bucket).unwrap_or(0);
    let Some(shift) = (bucket >> FINE_BITS).checked_sub(1) else {
        return bucket;
    };
    let width = 1_u64 << shift;
    ((bucket & (FINE - 1)) + FINE) * width + width / 2
}

/// What is written to.
pub(super) struct Recorder {
    buckets: Box<[AtomicU64]>,
    nanos: AtomicU64,
    timed: AtomicU64,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            nanos: AtomicU64::new(0),
            timed: AtomicU64::new(0),
        }
    }
}

impl Recorder {
    /// A call took so long, and stands for `calls` of them.
    pub(super) fn record(&self, took: Duration, calls: u64) {
        let nanos = u64::try_from(took.as_nanos()).map_or(NANOS_MAX, |nanos| nanos.min(NANOS_MAX));
        if let Some(bucket) = self.buckets.get(bucket_of(nanos)) {
            bucket.fetch_add(calls, Ordering::Relaxed);
            let sum = nanos.saturating_mul(calls);
            let before = self.nanos.fetch_add(sum, Ordering::Relaxed);
            if before.checked_add(sum).is_none() {
                // The sum has begun anew: it is the most there can be from now on.
                self.nanos.store(u64::MAX, Ordering::Relaxed);
            }
            self.timed.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self) -> Latencies {
        let read = |bucket: &AtomicU64| bucket.load(Ordering::Relaxed);
        Latencies {
            buckets: self.buckets.iter().map(read).collect(),
            nanos: read(&self.nanos),
            timed: read(&self.timed),
        }
    }
}

/// How long calls took, by those that were timed. A value is within a thirtieth of what was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    buckets: Box<[u64]>,
    nanos: u64,
    timed: u64,
}

impl Latencies {
    /// How many calls were timed.
    #[must_use]
    pub fn timed(&self) -> u64 {
        self.timed
    }

    /// How many calls they stand for.
    fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The mean; `None` if none were timed.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let nanos = self.nanos.checked_div(self.count())?;
        Some(Duration::from_nanos(nanos))
    }

    /// The time that a part of the calls, between 0 and 1, did not exceed: `0.99` for p99. `None` if none were timed.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let count = self.count();
        // At least one, and at most all of them: also for a part that is out of range.
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float is cast to the nearest integer there is"
        )]
        let rank = ((count as f64 * part).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0;
        for (at, in_it) in self.buckets.iter().enumerate() {
            seen += in_it;
            if *in_it > 0 && seen >= rank {
                return Some(Duration::from_nanos(nanos_of(at)));
            }
        }
        None
    }

    /// Half of them took at most so long.
    #[must_use]
    pub fn p50(&self) -> Option<Duration> {
        self.quantile(0.5)
    }

    /// All but a hundredth of them took at most so long.
    #[must_use]
    pub fn p99(&self) -> Option<Duration> {
        self.quantile(0.99)
    }

    /// Those that came after `earlier`, which is of the same arm.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |at: usize| earlier.buckets.get(at).copied().unwrap_or(0);
        let buckets = self.buckets.iter().enumerate();
        Self {
            buckets: buckets
                .map(|(at, now)| now.saturating_sub(before(at)))
                .collect(),
            nanos: self.nanos.saturating_sub(earlier.nanos),
            timed: self.timed.saturating_sub(earlier.timed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_follow_one_another_without_a_gap() {
        assert_eq!(BUCKETS, 592);
        assert_eq!(bucket_of(NANOS_MAX), BUCKETS - 1);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        for at in 0..BUCKETS {
            assert_eq!(bucket_of(nanos_of(at)), at);
        }
        for shift in 0..DOUBLINGS {
            let edge = 1_u64 << shift;
            assert!(bucket_of(edge) - bucket_of(edge - 1) == 1, "{edge}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_within_a_thirtieth(nanos in 0..NANOS_MAX) {
            let read = nanos_of(bucket_of(nanos));
            prop_assert!(read.abs_diff(nanos) <= nanos / 30 + 1, "{nanos} {read}");
        }

        /// Against the sorted values themselves.
        #[test]
        fn quantiles_are_those_of_the_values(
            mut values in prop::collection::vec(0..10_000_000_000_u64, 1..200),
            part in 0.0..=1.0_f64,
        ) {
            let recorder = Recorder::default();
            for value in &values {
                recorder.record(Duration::from_nanos(*value), 1);
            }
            values.sort_unstable();
            let rank = ((values.len() as f64 * part).ceil() as usize).clamp(1, values.len());
            let read = recorder.read();
            let expected = Duration::from_nanos(nanos_of(bucket_of(values[rank - 1])));
            prop_assert_eq!(read.quantile(part), Some(expected));
            prop_assert_eq!(read.timed(), values.len() as u64);
            let mean = values.iter().sum::<u64>() / values.len() as u64;
            prop_assert_eq!(read.mean(), Some(Duration::from_nanos(mean)));
        }
    }

    #[test]
    fn an_interval_has_only_what_came_in_it() {
        let recorder = Recorder::default();
        assert_eq!(
            (recorder.read().p50(), recorder.read().mean()),
            (None, None)
        );
        for _ in 0..100 {
            recorder.record(Duration::from_millis(5), 1);
        }
        let before = recorder.read();
        recorder.record(Duration::from_nanos(12), 1);
        recorder.record(Duration::from_nanos(14), 1);
        let interval = recorder.read().since(&before);
        assert_eq!(interval.timed(), 2);
        assert_eq!(interval.mean(), Some(Duration::from_nanos(13)));
        assert_eq!(interval.p99(), Some(Duration::from_nanos(14)));
        assert_eq!(before.since(&Latencies::default()), before);
    }

    /// Half of the calls are quick; of the slow ones a fifth as many are timed.
    #[test]
    fn a_call_that_is_timed_stands_for_those_that_are_not() {
        let recorder = Recorder::default();
        for _ in 0..50 {
            recorder.record(Duration::from_nanos(4), 2);
        }
        for _ in 0..10 {
            recorder.record(Duration::from_nanos(12), 10);
        }
        let read = recorder.read();
        assert_eq!((read.timed(), read.count()), (60, 200));
        assert_eq!(read.mean(), Some(Duration::from_nanos(8)));
        assert_eq!(read.p50(), Some(Duration::from_nanos(4)));
        assert_eq!(read.quantile(0.51), Some(Duration::from_nanos(12)));
    }

    #[test]
    fn what_is_too_much_to_count_is_as_much_as_there_can_be() {
        let recorder = Recorder::default();
        for _ in 0..3 {
            recorder.record(Duration::from_secs(3_600), 1 << 31);
        }
        let read = recorder.read();
        assert_eq!(
            (read.timed(), read.count(), read.nanos),
            (3, 3 << 31, u64::MAX)
        );
        assert_eq!(
            read.p50(),
            Some(Duration::from_nanos(nanos_of(BUCKETS - 1)))
        );
    }
}
