//! Tables by the number of an actor.
//!
//! Owns [`IdMap`] and [`IdSet`]: hash tables that keep numbers which follow each other next to each other. Children get
//! theirs in a row and are started and stopped in that order, so of very many the next one's entry is in the cache already;
//! a hash that scatters them costs a miss each. Numbers are given by this process and by nobody else: there is no sender to
//! choose those that collide.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use crate::address::ActorId;

pub(crate) type IdMap<V> = HashMap<ActorId, V, BuildHasherDefault<IdHasher>>;
pub(crate) type IdSet = HashSet<ActorId, BuildHasherDefault<IdHasher>>;

/// Numbers that are kept together: as many as a table looks at in one step.
const TOGETHER_BITS: u32 = 4;

/// The bits by which a table tells entries of one step apart.
const TAG: u64 = 0xfe00_0000_0000_0000;

/// 2⁶⁴ divided by the golden ratio, odd: multiplied, neighbours are far apart (Knuth, *The Art of Computer Programming*, 6.4).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0.rotate_left(8) ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        let number = self.0;
        let block = (number >> TOGETHER_BITS).wrapping_mul(GOLDEN) >> 32;
        let within = number & ((1 << TOGETHER_BITS) - 1);
        (number.wrapping_mul(GOLDEN) & TAG) | (block << TOGETHER_BITS) | within
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    fn hash(number: u64) -> u64 {
        BuildHasherDefault::<IdHasher>::default().hash_one(ActorId(number))
    }

    /// Of numbers in a row, each but every sixteenth is the next place in the table. In one that is half full no step holds
    /// more than it has room for, whatever lies between two numbers, and those that are kept together have different tags.
    #[test]
    fn what_follows_each_other_lies_side_by_side_and_nothing_crowds() {
        let places = 1_u64 << 11;
        for apart in [1, 2, 3, 7, 16, 64, 1_000, 1_024, 4_096, 65_536] {
            let mut steps = HashMap::<_, u32>::new();
            for n in 1..=1_000 {
                *steps.entry(hash(n * apart) % places / 16).or_default() += 1;
            }
            let fullest = steps.values().max().copied();
            assert!(fullest <= Some(16), "{fullest:?} in one, {apart} apart");
        }
        for n in (0..1_000).filter(|n| n % 16 != 15) {
            assert_eq!((hash(n) + 1) % places, hash(n + 1) % places);
        }
        for block in 0..100 {
            let tags: HashSet<_> = (0..16).map(|n| hash(block * 16 + n) & TAG).collect();
            assert_eq!(tags.len(), 16);
        }
    }
}
