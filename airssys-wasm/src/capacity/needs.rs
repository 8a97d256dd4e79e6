//! What so many actors need of a machine, before any of them is made.

use crate::engine::profile::{ASYNC_STACK_BYTES, Profile};
use crate::limits::LimitClass;

use super::room::MEMORY_PER_INSTANCE;
use super::{CapacityConfig, MAPPINGS_PER_POOLED_MEMORY, MAPPINGS_PER_STACK};

/// Bytes of one table element.
const TABLE_ELEMENT_BYTES: u64 = 8;

/// What a process needs for so many component actors, each with one linear memory and in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// Actors.
    pub actors: u64,
    /// Memory mappings, the reserve included.
    pub mappings: u64,
    /// Address space in bytes. Reserved, not used.
    pub address_space: u64,
    /// Memory in bytes, while the actors are idle and their guests small.
    pub memory: u64,
    /// Bytes that could be written to, of which few are: what a machine has to promise that does not
    /// overcommit.
    pub committed: u64,
    /// Descriptors to be left beside those in use.
    pub descriptors: u64,
}

impl Needs {
    /// Estimates it for a profile, by the same figures that admission charges.
    #[must_use]
    pub fn of(profile: Profile, actors: u64) -> Self {
        let each = |bytes: u64| actors.saturating_mul(bytes);
        let reserves = CapacityConfig::default();
        let stack = u64::try_from(ASYNC_STACK_BYTES).unwrap_or(u64::MAX);
        // The pool has room for three tables an instance, each as large as any class allows.
        let tables =
            3 * TABLE_ELEMENT_BYTES * u64::from(LimitClass::Large.limits().table_elements_max);
        // And for a second memory in every fourth.
        let memories = profile.memory_address_space() / 4 * 5;
        let mappings = u64::from(MAPPINGS_PER_POOLED_MEMORY + MAPPINGS_PER_STACK) + 1;
        Self {
            actors,
            mappings: each(mappings).saturating_add(reserves.mappings_reserve),
            address_space: each(memories + stack + tables),
            memory: each(MEMORY_PER_INSTANCE),
            committed: each(stack + tables),
            descriptors: reserves.descriptors_reserve,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_dense_profile_fits_100_000_into_the_address_space() {
        let strict = Needs::of(Profile::Strict, 100_000);
        let dense = Needs::of(Profile::Dense, 100_000);
        assert!(strict.address_space > 1 << 47);
        assert!(dense.address_space < 1 << 44);
        assert_eq!(strict.mappings, 603_000);
        assert_eq!(dense.memory, 100_000 * 32 * 1024);
        assert!(Needs::of(Profile::Strict, 10_000).address_space < 1 << 47);
        assert_eq!(Needs::of(Profile::Strict, u64::MAX).mappings, u64::MAX);
    }
}
