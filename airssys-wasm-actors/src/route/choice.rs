//! Which arm a request goes to.
//!
//! Owns [`Weight`] and the two ways of choosing by it. Both are decided by plain data. By turn, the weights of all
//! requests so far are summed in one atomic, and the candidate has the request that carries the sum past the next ten
//! thousand: of any consecutive requests its share is within one request of the sum of their weights, also where the
//! weight changes among them. By key, a hash is compared with the weight: a key keeps its arm while the weight stays,
//! and a greater weight moves keys to the candidate and none back.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Parts of the whole.
const WHOLE: u16 = 10_000;

/// The candidate's share of the requests, in ten-thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Weight(u16);

impl Weight {
    /// Nothing goes to the candidate.
    pub const NONE: Self = Self(0);
    /// Everything goes to the candidate.
    pub const ALL: Self = Self(WHOLE);

    /// So many ten-thousandths; `None` for more than 10,000.
    #[must_use]
    pub const fn new(parts: u16) -> Option<Self> {
        if parts > WHOLE {
            return None;
        }
        Some(Self(parts))
    }

    /// Ten-thousandths, 0 to 10,000.
    #[must_use]
    pub const fn parts(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Weight {
    /// Writes it in per cent: `12.5 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", f64::from(self.0) / 100.0)
    }
}

/// The weights of all requests so far, summed.
#[derive(Debug, Default)]
pub(super) struct Turn(AtomicU64);

impl Turn {
    /// Whether the candidate has the next request.
    pub(super) fn is_candidates(&self, weight: Weight) -> bool {
        let (weight, whole) = (u64::from(weight.0), u64::from(WHOLE));
        // Nothing to sum, and no cache line to fight for.
        if weight == 0 {
            return false;
        }
        let before = self.0.fetch_add(weight, Ordering::Relaxed);
        before % whole + weight >= whole
    }
}

/// Whether the candidate has the requests of a key with this hash.
pub(super) fn key_is_candidates(hash: u64, weight: Weight) -> bool {
    // The hash as a fraction of its range, in ten-thousandths.
    let at = (u128::from(hash) * u128::from(WHOLE)) >> 64;
    at < u128::from(weight.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weights() -> impl Strategy<Value = Weight> {
        prop_oneof![
            Just(Weight::NONE),
            Just(Weight::ALL),
            Just(Weight(1)),
            Just(Weight(9_999)),
            (0..=WHOLE).prop_map(Weight),
        ]
    }

    proptest! {
        /// Of any consecutive requests, not of the first ones alone, whatever the weight was before them.
        #[test]
        fn the_share_of_any_stretch_is_within_one_request(
            start in any::<u32>(),
            weight in weights(),
            requests in 1_usize..3_000,
        ) {
            let turn = Turn(AtomicU64::new(u64::from(start)));
            let taken: Vec<_> = (0..requests).map(|_| turn.is_candidates(weight)).collect();
            for stretch in [1, 2, 7, 100, requests / 2, requests] {
                let Some(windows) = (stretch > 0).then(|| taken.windows(stretch)) else { continue };
                let fair = f64::from(weight.0) * stretch as f64 / f64::from(WHOLE);
                for window in windows {
                    let share = window.iter().filter(|taken| **taken).count() as f64;
                    prop_assert!((share - fair).abs() <= 1.0, "{share} of {stretch} at {weight}");
                }
            }
        }

        /// The weight may change at every request.
        #[test]
        fn the_share_stays_within_one_request_where_the_weight_changes(
            weights in prop::collection::vec(weights(), 1..500),
        ) {
            let turn = Turn::default();
            let taken: Vec<_> = weights.iter().map(|weight| turn.is_candidates(*weight)).collect();
            for from in 0..weights.len() {
                let (mut fair, mut share) = (0_u64, 0_u64);
                for (weight, taken) in weights.iter().zip(&taken).skip(from) {
                    fair += u64::from(weight.0);
                    share += u64::from(*taken) * u64::from(WHOLE);
                    prop_assert!(fair.abs_diff(share) <= u64::from(WHOLE));
                }
            }
        }

        #[test]
        fn a_greater_weight_moves_keys_to_the_candidate_and_none_back(
            hash in any::<u64>(), one in weights(), other in weights(),
        ) {
            let (less, more) = (one.min(other), one.max(other));
            prop_assert!(!key_is_candidates(hash, less) || key_is_candidates(hash, more));
            prop_assert!(!key_is_candidates(hash, Weight::NONE));
            prop_assert!(key_is_candidates(hash, Weight::ALL));
        }
    }

    #[test]
    fn threads_that_choose_together_share_one_sequence() {
        let turn = Turn::default();
        let weight = Weight(1_234);
        let taken: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..25_000).filter(|_| turn.is_candidates(weight)).count()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap() as u64)
                .sum()
        });
        assert_eq!(taken, 12_340);
    }

    #[test]
    fn a_weight_is_at_most_the_whole_and_is_written_in_per_cent() {
        assert_eq!(Weight::new(10_000), Some(Weight::ALL));
        assert_eq!(Weight::new(10_001), None);
        assert_eq!(Weight(1_250).to_string(), "12.5 %");
        assert_eq!(Weight::ALL.to_string(), "100 %");
    }
}
