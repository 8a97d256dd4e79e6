//! The pooling allocator: how large a pool this machine has room for.
//!
//! A pooled instance is made in 2–3 µs instead of 12, but a pool reserves its whole address space when it is
//! made (about 4 GiB for each memory in the strict profile) and two mappings for each stack. So the size is
//! probed, not assumed: first cut to what the kernel's mapping count allows, because past that an `mmap` fails
//! inside wasmtime and the process aborts; then tried, and halved while the address space refuses. If not even
//! a small pool fits, the engine allocates on demand and remembers why.

use std::fmt;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::profile::Profile;
use crate::capacity::{MAPPINGS_PER_POOLED_MEMORY, MAPPINGS_PER_STACK};
use crate::limits::{LimitClass, Limits};
use crate::machine::{count_mappings, read_number};

/// How the engine allocates instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// From a pool with room for this many instances.
    Pooled {
        /// Instances that fit.
        instances: u32,
    },
    /// From the operating system, each time.
    OnDemand {
        /// Why there is no pool.
        reason: String,
    },
}

impl fmt::Display for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pooled { instances } => write!(f, "pooled, {instances} instances"),
            Self::OnDemand { reason } => write!(f, "on demand ({reason})"),
        }
    }
}

/// Below this many instances a pool is not worth its reservations.
const POOL_INSTANCES_MIN: u32 = 8;

/// Mappings an instance that was called costs. One is to spare for the memories beyond one each.
const MAPPINGS_PER_INSTANCE: u64 =
    MAPPINGS_PER_POOLED_MEMORY as u64 + MAPPINGS_PER_STACK as u64 + 1;

/// Mappings left to the rest of the process: code images, threads, the allocator.
const MAPPINGS_RESERVED: u64 = 3_000;

/// Linear memory kept resident in a free slot (64 KiB): most small guests touch no more, and resetting by
/// memcpy costs 160 µs at 2 MiB.
const MEMORY_KEEP_RESIDENT: usize = 64 * 1024;

/// Stack and table bytes kept resident in a free slot (8 KiB): what an ordinary call touches.
const SMALL_KEEP_RESIDENT: usize = 8 * 1024;

/// Makes an engine with the largest pool up to `wanted` instances that this process has room for.
pub(super) fn probe(profile: Profile, wanted: u32) -> wasmtime::Result<(Engine, Allocation)> {
    let (mut instances, mut reason) = mapping_budget(wanted);
    while instances >= POOL_INSTANCES_MIN {
        let mut config = profile.config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(
            profile, instances,
        )));
        match Engine::new(&config) {
            Ok(engine) => return Ok((engine, Allocation::Pooled { instances })),
            Err(error) => {
                reason = format!(
                    "a pool of {instances} instances was refused: {}",
                    error.root_cause()
                );
                instances /= 2;
            }
        }
    }
    let mut config: Config = profile.config();
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    let engine = Engine::new(&config)?;
    tracing::warn!(%reason, "instances are allocated on demand: making one takes about four times as long");
    Ok((engine, Allocation::OnDemand { reason }))
}

/// The caps a component has to fit are those of the largest class: its own class is checked when it is linked.
fn pooling(profile: Profile, instances: u32) -> PoolingAllocationConfig {
    let largest = |row: fn(&Limits) -> u32| {
        LimitClass::ALL
            .into_iter()
            .map(|class| row(&class.limits()))
            .max()
            .unwrap_or(1)
    };
    let memories = largest(|limits| limits.memories_max);
    let tables = largest(|limits| limits.tables_max);
    // One is the host's (`component/reexport.rs`).
    let core_instances = largest(|limits| limits.core_instances_max).saturating_add(1);
    let elements = largest(|limits| limits.table_elements_max);
    let mut pool = PoolingAllocationConfig::new();
    // `pagemap_scan` stays off, though a restart would take a fifth less: it takes a page that is swapped out, or being
    // moved, for one nobody has written, and the next guest in the slot reads it.
    pool.total_component_instances(instances)
        // Core instances cost nothing until they are made; a component has three to five.
        .total_core_instances(instances.saturating_mul(core_instances.min(8)))
        // Nearly every component has one memory, and each is 4 GiB of a 128 TiB address space.
        .total_memories(instances.saturating_add(instances / 4).max(memories))
        .total_tables(instances.saturating_mul(3).max(tables))
        .total_stacks(instances)
        .max_memories_per_component(memories)
        .max_memories_per_module(memories)
        .max_tables_per_component(tables)
        .max_tables_per_module(tables)
        .max_core_instances_per_component(core_instances)
        .table_elements(usize::try_from(elements).unwrap_or(usize::MAX))
        .max_memory_size(usize::try_from(profile.memory_bytes_max()).unwrap_or(usize::MAX))
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT)
        .async_stack_keep_resident(SMALL_KEEP_RESIDENT)
        .table_keep_resident(SMALL_KEEP_RESIDENT);
    pool
}

/// Cuts a pool to the mappings this process has left.
fn mapping_budget(wanted: u32) -> (u32, String) {
    let limit = read_number("/proc/sys/vm/max_map_count");
    let Some((limit, used)) = limit.zip(count_mappings()) else {
        return (
            wanted,
            "a pool of fewer than 8 instances was asked for".to_owned(),
        );
    };
    let room = limit.saturating_sub(used).saturating_sub(MAPPINGS_RESERVED) / MAPPINGS_PER_INSTANCE;
    let room = u32::try_from(room).unwrap_or(u32::MAX);
    if room < wanted {
        tracing::info!(
            wanted,
            room,
            limit,
            used,
            "the pool is cut to what vm.max_map_count has room for"
        );
    }
    let reason = format!(
        "there is room for {room} pooled instances: {used} of {limit} mappings (vm.max_map_count) are in use"
    );
    (wanted.min(room), reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_too_small_to_be_one_is_on_demand_and_says_so() {
        let (_, allocation) = probe(Profile::Strict, 1).unwrap();
        assert!(
            matches!(&allocation, Allocation::OnDemand { .. }),
            "{allocation}"
        );
    }

    #[test]
    fn a_pool_no_address_space_has_room_for_is_halved() {
        // 60,000 slots of 4 GiB are twice the 128 TiB there are, but the mapping count may cut it first.
        let (_, allocation) = probe(Profile::Strict, 60_000).unwrap();
        match allocation {
            Allocation::Pooled { instances } => assert!(instances < 60_000),
            Allocation::OnDemand { reason } => assert!(!reason.is_empty()),
        }
    }

    #[test]
    fn dense_fits_its_memories() {
        let (_, allocation) = probe(Profile::Dense, 64).unwrap();
        assert_eq!(allocation, Allocation::Pooled { instances: 64 });
    }
}
