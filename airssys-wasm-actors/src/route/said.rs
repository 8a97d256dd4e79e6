//! What a split says, in one word.
//!
//! Owns how it is packed: a request reads it with one load, and so reads nothing that does not belong together while
//! its weight changes, or while one split is removed and another made. From the bottom: weight (14 bits), shadow (1), `err` is an
//! error (1), sampling (5), by key (1), number of the split (32).

use crate::route::arm::Sampling;
use crate::route::{SplitMode, SplitSpec, Weight};

const WEIGHT_BITS: u32 = 14;
const SHADOW: u32 = WEIGHT_BITS;
const ERRS: u32 = SHADOW + 1;
const SAMPLING: u32 = ERRS + 1;
const STICKY: u32 = SAMPLING + 5;
const NUMBER: u32 = 32;

/// Settings of a split and its number, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said(pub(super) u64);

impl Said {
    /// That there is none.
    pub(super) const NOTHING: Self = Self(0);

    pub(super) fn new(number: u32, spec: &SplitSpec) -> Self {
        let flag = |set: bool, at: u32| u64::from(set) << at;
        let settings = flag(spec.mode == SplitMode::Shadow, SHADOW)
            | flag(spec.err_is_error, ERRS)
            | u64::from(Sampling::every(spec.sample_every).bits()) << SAMPLING
            | flag(spec.sticky.is_some(), STICKY)
            | u64::from(number) << NUMBER;
        Self(settings).with(spec.weight)
    }

    /// The same with another weight.
    pub(super) fn with(self, weight: Weight) -> Self {
        Self(self.0 & !((1 << WEIGHT_BITS) - 1) | u64::from(weight.parts()))
    }

    /// The bits from `at` on, so many.
    fn bits(self, at: u32, bits: u32) -> u64 {
        self.0 >> at & ((1 << bits) - 1)
    }

    pub(super) fn weight(self) -> Weight {
        let parts = u16::try_from(self.bits(0, WEIGHT_BITS));
        parts.ok().and_then(Weight::new).unwrap_or(Weight::ALL)
    }

    pub(super) fn is_shadow(self) -> bool {
        self.bits(SHADOW, 1) == 1
    }

    /// Neither with copies nor by key.
    pub(super) fn is_plain(self) -> bool {
        self.0 & (1 << SHADOW | 1 << STICKY) == 0
    }

    pub(super) fn err_is_error(self) -> bool {
        self.bits(ERRS, 1) == 1
    }

    pub(super) fn sampling(self) -> Sampling {
        Sampling::of_bits(u32::try_from(self.bits(SAMPLING, 5)).unwrap_or(0))
    }

    pub(super) fn is_sticky(self) -> bool {
        self.bits(STICKY, 1) == 1
    }

    pub(super) fn number(self) -> u32 {
        u32::try_from(self.0 >> NUMBER).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_comes_out_again(
            (number, parts, other) in (1_u32.., 0_u16..=10_000, 0_u16..=10_000),
            (shadow, err_is_error, sticky) in any::<(bool, bool, bool)>(),
            bits in 0_u32..32,
        ) {
            let weight = |parts| Weight::new(parts).unwrap();
            let spec = SplitSpec {
                mode: if shadow { SplitMode::Shadow } else { SplitMode::Weighted },
                weight: weight(parts),
                sticky: sticky.then(|| "user".to_owned()),
                sample_every: 1 << bits,
                err_is_error,
                ..SplitSpec::default()
            };
            let said = Said::new(number, &spec);
            prop_assert_eq!((said.weight(), said.number()), (weight(parts), number));
            prop_assert_eq!((said.is_shadow(), said.err_is_error()), (shadow, err_is_error));
            prop_assert_eq!(said.sampling(), Sampling::every(1 << bits));
            prop_assert_eq!(said.is_sticky(), sticky);
            prop_assert_eq!(said.is_plain(), !shadow && !sticky);
            prop_assert_ne!(said, Said::NOTHING);
            let changed = said.with(weight(other));
            prop_assert_eq!(changed.weight(), weight(other));
            prop_assert_eq!(changed.with(weight(parts)), said);
        }
    }
}
