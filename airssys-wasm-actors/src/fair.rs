//! A bounded store in which nobody pushes out another's by having more.
//!
//! Owns [`Fair`]: what is kept by ascending number, whose it is, and who gives way when there is no room. That is always
//! whoever has the most there, of what there is too much of, with the oldest that they have; so one that floods the store
//! pushes out its own, and what others left stays to be read. Every step takes a time that grows with the logarithm of what
//! is kept.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// What is kept of many holders, by number.
#[derive(Debug)]
pub(crate) struct Fair<K, T> {
    items: BTreeMap<u64, Item<K, T>>,
    holders: BTreeMap<K, Holder>,
    by_count: BTreeSet<Rank<K>>,
    by_bytes: BTreeSet<Rank<K>>,
    bytes: usize,
}

#[derive(Debug)]
struct Item<K, T> {
    value: T,
    holder: K,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Holder {
    sequences: BTreeSet<u64>,
    bytes: usize,
}

/// How much, and among those that have as much the one with the oldest is the last.
type Rank<K> = (usize, Reverse<u64>, K);

impl<K, T> Default for Fair<K, T> {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            holders: BTreeMap::new(),
            by_count: BTreeSet::new(),
            by_bytes: BTreeSet::new(),
            bytes: 0,
        }
    }
}

impl<K: Ord + Clone, T> Fair<K, T> {
    /// Keeps a value of `bytes` under a number that nothing has. Returns what gives way for it, within these bounds: itself,
    /// if its holder would have the most with it alone.
    pub(crate) fn keep(
        &mut self,
        sequence: u64,
        holder: K,
        (bytes, value): (usize, T),
        (count_max, bytes_max): (usize, usize),
    ) -> Vec<T> {
        self.change(&holder, |one| {
            one.sequences.insert(sequence);
            one.bytes += bytes;
        });
        self.bytes += bytes;
        let item = Item {
            value,
            holder,
            bytes,
        };
        self.items.insert(sequence, item);
        let mut gone = Vec::new();
        while let Some((_, Reverse(oldest), _)) = match () {
            () if self.items.len() > count_max => self.by_count.last(),
            () if self.bytes > bytes_max => self.by_bytes.last(),
            () => None,
        } {
            gone.extend(self.remove(*oldest));
        }
        gone
    }

    pub(crate) fn remove(&mut self, sequence: u64) -> Option<T> {
        let item = self.items.remove(&sequence)?;
        self.bytes -= item.bytes;
        self.change(&item.holder, |one| {
            one.sequences.remove(&sequence);
            one.bytes -= item.bytes;
        });
        Some(item.value)
    }

    /// Has both orders follow what becomes of a holder.
    fn change(&mut self, key: &K, change: impl FnOnce(&mut Holder)) {
        let holder = self.holders.entry(key.clone()).or_default();
        if let Some([count, bytes]) = holder.ranks(key) {
            self.by_count.remove(&count);
            self.by_bytes.remove(&bytes);
        }
        change(holder);
        match holder.ranks(key) {
            Some([count, bytes]) => {
                self.by_count.insert(count);
                self.by_bytes.insert(bytes);
            }
            None => drop(self.holders.remove(key)),
        }
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<&T> {
        self.items.get(&sequence).map(|item| &item.value)
    }

    /// Whoever changes it leaves its size as it is.
    pub(crate) fn get_mut(&mut self, sequence: u64) -> Option<&mut T> {
        self.items.get_mut(&sequence).map(|item| &mut item.value)
    }

    /// By number, ascending.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.items.values().map(|item| &item.value)
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Holder {
    /// By count and by bytes; `None` if it has nothing.
    fn ranks<K: Clone>(&self, key: &K) -> Option<[Rank<K>; 2]> {
        let oldest = Reverse(*self.sequences.first()?);
        let count = self.sequences.len();
        Some([count, self.bytes].map(|amount| (amount, oldest, key.clone())))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: (usize, usize) = (4, 100);

    fn kept(store: &Fair<char, u64>) -> Vec<u64> {
        store.values().copied().collect()
    }

    #[test]
    fn one_that_floods_pushes_out_its_own() {
        let mut store = Fair::default();
        assert!(store.keep(0, 'a', (1, 0), BOUNDS).is_empty());
        for n in 1..4 {
            assert!(store.keep(n, 'b', (1, n), BOUNDS).is_empty());
        }
        for n in 4..100 {
            assert_eq!(store.keep(n, 'b', (1, n), BOUNDS), [n - 3]);
        }
        assert_eq!(kept(&store), [0, 97, 98, 99]);
        // Whoever has less is let in for it.
        assert_eq!(store.keep(100, 'a', (1, 100), BOUNDS), [97]);
        // As many as the other: the oldest gives way.
        assert_eq!(store.keep(101, 'c', (1, 101), BOUNDS), [0]);
    }

    #[test]
    fn what_there_is_too_much_of_decides_who_has_the_most() {
        let mut store = Fair::default();
        store.keep(0, 'a', (60, 0), BOUNDS);
        store.keep(1, 'b', (1, 1), BOUNDS);
        store.keep(2, 'b', (1, 2), BOUNDS);
        // Too many bytes: not of whoever has the most letters.
        assert_eq!(store.keep(3, 'b', (40, 3), BOUNDS), [0]);
        assert_eq!((store.len(), store.bytes()), (3, 42));
        // What would have the most by itself pushes out nobody.
        assert_eq!(store.keep(4, 'c', (90, 4), BOUNDS), [4]);
        assert_eq!(kept(&store), [1, 2, 3]);
        assert!(store.keep(5, 'c', (30, 5), BOUNDS).is_empty());
        // The oldest of whoever has the most, until there is room.
        assert_eq!(store.keep(6, 'd', (31, 6), BOUNDS), [1, 2, 3]);
    }

    proptest! {
        /// Against a store that is looked through each time.
        #[test]
        fn whoever_has_the_most_gives_way(
            steps in prop::collection::vec((0..5_u8, 0..40_usize, any::<bool>()), 1..200),
        ) {
            let mut store = Fair::default();
            let mut plain: Vec<(u64, u8, usize)> = Vec::new();
            for (sequence, (holder, bytes, removes)) in (0..).zip(steps) {
                if removes && !plain.is_empty() {
                    let (gone, ..) = plain.remove(bytes % plain.len());
                    prop_assert_eq!(store.remove(gone), Some(gone));
                    prop_assert_eq!(store.remove(gone), None);
                }
                let gone = store.keep(sequence, holder, (bytes, sequence), BOUNDS);
                plain.push((sequence, holder, bytes));
                let mut expected = Vec::new();
                while let Some(one) = gives_way(&plain) {
                    expected.push(one);
                    plain.retain(|(sequence, ..)| *sequence != one);
                }
                prop_assert_eq!(gone, expected);
                let values: Vec<u64> = store.values().copied().collect();
                let all: Vec<u64> = plain.iter().map(|(sequence, ..)| *sequence).collect();
                prop_assert_eq!(values, all);
                prop_assert_eq!(store.bytes(), plain.iter().map(|(.., bytes)| bytes).sum::<usize>());
                let holders: BTreeSet<u8> = plain.iter().map(|(_, holder, _)| *holder).collect();
                prop_assert_eq!(store.holders.len(), holders.len());
                prop_assert_eq!(store.by_count.len(), holders.len());
                prop_assert_eq!(store.by_bytes.len(), holders.len());
            }
        }
    }

    fn gives_way(plain: &[(u64, u8, usize)]) -> Option<u64> {
        let sum = |of: Option<u8>, what: fn(usize) -> usize| -> usize {
            let those = plain
                .iter()
                .filter(|(_, holder, _)| of.is_none_or(|of| of == *holder));
            those.map(|(.., bytes)| what(*bytes)).sum()
        };
        let too_many: fn(usize) -> usize = match () {
            () if plain.len() > BOUNDS.0 => |_| 1,
            () if sum(None, |bytes| bytes) > BOUNDS.1 => |bytes| bytes,
            () => return None,
        };
        let most = plain
            .iter()
            .map(|(_, holder, _)| sum(Some(*holder), too_many))
            .max();
        let mut of_the_most = plain
            .iter()
            .filter(|(_, holder, _)| Some(sum(Some(*holder), too_many)) == most);
        of_the_most.next().map(|(sequence, ..)| *sequence)
    }
}
