//! How much room a sample of the machine leaves: a pure decision over plain data.

use super::{CapacityConfig, NoCapacity, Resource};
use crate::machine::Machine;

/// What an actor takes of memory beside what its guest grows to, in bytes: the bars of the rows `rss.called`
/// (24 KiB) and its page tables, rounded up.
pub(super) const MEMORY_PER_INSTANCE: u64 = 32 * 1024;

/// The most that is kept free of memory unless the configuration says otherwise (512 MiB).
const MEMORY_RESERVE_MAX: u64 = 512 << 20;

/// Address space of a process on x86-64 with four levels of page tables; others are not limited here.
pub(crate) const ADDRESS_SPACE: Option<u64> = if cfg!(target_arch = "x86_64") {
    Some(1 << 47)
} else {
    None
};

/// A look at the machine, and what instances held at that moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// All but its mappings.
    pub(super) machine: Machine,
    pub(super) address_space: u64,
    pub(super) mappings_max: Option<u64>,
    /// Mappings of the process when they were counted.
    pub(super) mappings: Option<u64>,
    /// The most of them that instances can have made.
    pub(super) made: u64,
    /// Mappings of everything else, by the counts so far: the instances' were charged as if none could be
    /// merged with its neighbour, and after enough of them have come and gone none is.
    pub(super) others: u64,
}

/// What live instances hold or were promised, the one that asks included.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Live {
    pub(super) instances: u64,
    pub(super) mappings: u64,
    /// Mappings that are there, without the one that asks.
    pub(super) made: u64,
    pub(super) address_space: u64,
}

/// Up to where nobody has to look again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Until {
    pub(super) instances: u64,
    pub(super) mappings: u64,
    pub(super) address_space: u64,
}

impl Sample {
    /// Mappings that may be promised: what instances had made, and what was free beside the reserve.
    pub(super) fn mappings_until(&self, config: &CapacityConfig) -> u64 {
        let own = config.mappings_max.unwrap_or(u64::MAX);
        let (Some(max), Some(used)) = (self.mappings_max, self.mappings) else {
            return own;
        };
        let usable = max.saturating_sub(config.mappings_reserve);
        own.min(self.made.saturating_add(usable.saturating_sub(used)))
            .min(usable.saturating_sub(self.others).max(self.made))
    }

    /// Whether everything promised has room.
    pub(super) fn decide(
        &self,
        config: &CapacityConfig,
        pool: Option<u64>,
        live: Live,
    ) -> Result<Until, NoCapacity> {
        let instances = self.instances(config, pool, live)?;
        let mappings = self.mappings(config, live)?;
        let address_space = self.address_space(live)?;
        self.descriptors(config)?;
        Ok(Until {
            instances,
            mappings,
            address_space,
        })
    }

    fn instances(
        &self,
        config: &CapacityConfig,
        pool: Option<u64>,
        live: Live,
    ) -> Result<u64, NoCapacity> {
        let own = config.instances_max.unwrap_or(u64::MAX);
        let pool = pool.unwrap_or(u64::MAX);
        let limit = own.min(pool);
        if live.instances > limit {
            let (what, raise) = if own < pool {
                (
                    "instances (`instances_max`)",
                    "raise `instances_max`, or stop some",
                )
            } else {
                (
                    "pool slots (`pool_instances_max`)",
                    "raise `pool_instances_max`, or run `airssys doctor` if the machine has cut it",
                )
            };
            return Err(NoCapacity {
                resource: Resource::Instances,
                used: live.instances.saturating_sub(1),
                limit,
                reserve: 0,
                what,
                raise,
            });
        }
        Ok(limit.min(self.memory(config, live)?))
    }

    /// Up to how many instances memory is not looked at again: a quarter of those it has room for.
    fn memory(&self, config: &CapacityConfig, live: Live) -> Result<u64, NoCapacity> {
        let machine = &self.machine;
        let of_machine = machine.memory_available.zip(machine.memory_total);
        let of_group = machine.group_memory_available.zip(machine.group_memory_max);
        let tighter = [
            of_machine.map(|pair| (pair, "bytes of memory")),
            of_group.map(|pair| (pair, "bytes of the control group's memory (`memory.max`)")),
        ];
        let tighter = tighter
            .into_iter()
            .flatten()
            .min_by_key(|((available, _), _)| *available);
        let Some(((available, total), what)) = tighter else {
            return Ok(u64::MAX);
        };
        let reserve = config
            .memory_reserve_bytes
            .unwrap_or_else(|| (total / 16).min(MEMORY_RESERVE_MAX));
        let more = available.saturating_sub(reserve) / MEMORY_PER_INSTANCE;
        if more == 0 {
            return Err(NoCapacity {
                resource: Resource::Memory,
                used: total.saturating_sub(available),
                limit: total,
                reserve,
                what,
                raise: "give it more memory, or run `airssys doctor`",
            });
        }
        Ok(live.instances.saturating_add(more / 4))
    }

    fn mappings(&self, config: &CapacityConfig, live: Live) -> Result<u64, NoCapacity> {
        let until = self.mappings_until(config);
        if live.mappings <= until {
            return Ok(until);
        }
        if config.mappings_max.is_some_and(|max| live.mappings > max) {
            return Err(NoCapacity {
                resource: Resource::Mappings,
                used: live.mappings,
                limit: config.mappings_max.unwrap_or(0),
                reserve: 0,
                what: "memory mappings (`mappings_max`), the new instance's included,",
                raise: "raise `mappings_max`, or stop some",
            });
        }
        Err(NoCapacity {
            resource: Resource::Mappings,
            used: self.others.saturating_add(live.mappings),
            limit: self.mappings_max.unwrap_or(0),
            reserve: config.mappings_reserve,
            what: "memory mappings (`vm.max_map_count`), the new instance's included,",
            raise: "run `airssys doctor` for what to raise",
        })
    }

    fn address_space(&self, live: Live) -> Result<u64, NoCapacity> {
        let limited = self.machine.address_space_max.or(ADDRESS_SPACE);
        let (Some(max), Some(used)) = (limited, self.machine.address_space_used) else {
            return Ok(u64::MAX);
        };
        // The allocator and the loader have to find some too.
        let reserve = max / 64;
        let room = max.saturating_sub(reserve).saturating_sub(used);
        let until = self.address_space.saturating_add(room);
        if live.address_space <= until {
            return Ok(until);
        }
        let others = used.saturating_sub(self.address_space);
        Err(NoCapacity {
            resource: Resource::AddressSpace,
            used: others.saturating_add(live.address_space),
            limit: max,
            reserve,
            what: "bytes of address space, the new instance's included,",
            raise: "use the profile `dense`, or run `airssys doctor`",
        })
    }

    fn descriptors(&self, config: &CapacityConfig) -> Result<(), NoCapacity> {
        let machine = &self.machine;
        let (Some(max), Some(used)) = (machine.descriptors_max, machine.descriptors_used) else {
            return Ok(());
        };
        if used.saturating_add(config.descriptors_reserve) <= max {
            return Ok(());
        }
        Err(NoCapacity {
            resource: Resource::Descriptors,
            used,
            limit: max,
            reserve: config.descriptors_reserve,
            what: "descriptors (`ulimit -n`)",
            raise: "run `airssys doctor` for what to raise",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// A machine with room for much.
    fn sample() -> Sample {
        let machine = Machine {
            address_space_used: Some(GIB),
            memory_total: Some(16 * GIB),
            memory_available: Some(8 * GIB),
            descriptors_max: Some(1_024),
            descriptors_used: Some(20),
            ..Machine::default()
        };
        Sample {
            machine,
            mappings_max: Some(65_530),
            mappings: Some(1_000),
            ..Sample::default()
        }
    }

    fn live(instances: u64) -> Live {
        Live {
            instances,
            mappings: instances * 5,
            made: 0,
            address_space: instances << 32,
        }
    }

    #[test]
    fn each_resource_is_refused_by_its_name() {
        let config = CapacityConfig::default();
        let group = |max: u64, available: u64| {
            let mut sample = sample();
            sample.machine.group_memory_max = Some(max);
            sample.machine.group_memory_available = Some(available);
            sample
        };
        let with = |change: fn(&mut Sample)| {
            let mut sample = sample();
            change(&mut sample);
            sample
        };
        use Resource::{AddressSpace, Descriptors, Instances, Mappings, Memory};
        for (sample, pool, instances, refused) in [
            (sample(), None, 1, None),
            (sample(), None, 12_000, None),
            (sample(), None, 12_306, None),
            (sample(), None, 12_307, Some(Mappings)),
            (sample(), Some(10), 10, None),
            (sample(), Some(10), 11, Some(Instances)),
            (with(|s| s.mappings = Some(62_530)), None, 1, Some(Mappings)),
            (
                with(|s| (s.mappings, s.made) = (Some(62_530), 5)),
                None,
                2,
                Some(Mappings),
            ),
            (with(|s| s.others = 60_000), None, 506, None),
            (with(|s| s.others = 60_000), None, 507, Some(Mappings)),
            (
                with(|s| (s.mappings, s.made) = (Some(62_530), 5)),
                None,
                1,
                None,
            ),
            (with(|s| s.mappings_max = None), None, 12_307, None),
            (
                with(|s| s.mappings_max = None),
                None,
                33_000,
                Some(AddressSpace),
            ),
            (
                with(|s| s.machine.address_space_max = Some(4 * GIB)),
                None,
                1,
                Some(AddressSpace),
            ),
            (
                with(|s| s.machine.memory_available = Some(GIB / 2)),
                None,
                1,
                Some(Memory),
            ),
            (group(GIB, GIB / 2), None, 1, None),
            (group(GIB, GIB / 16), None, 1, Some(Memory)),
            (
                with(|s| s.machine.descriptors_used = Some(960)),
                None,
                1,
                None,
            ),
            (
                with(|s| s.machine.descriptors_used = Some(961)),
                None,
                1,
                Some(Descriptors),
            ),
            (Sample::default(), None, 1_000_000_000, Some(AddressSpace)),
        ] {
            let mut sample = sample;
            if refused == Some(AddressSpace) {
                sample.machine.address_space_used = Some(GIB);
            }
            let decided = sample.decide(&config, pool, live(instances));
            let found = decided.map(|_| ()).map_err(|why| why.resource);
            assert_eq!(found.err(), refused, "{sample:?} {instances}");
        }
    }

    #[test]
    fn memory_is_looked_at_again_before_a_quarter_of_it_is_used() {
        let until = sample()
            .decide(&CapacityConfig::default(), None, live(100))
            .unwrap();
        let room = (8 * GIB - GIB / 2) / MEMORY_PER_INSTANCE;
        assert_eq!(until.instances, 100 + room / 4);
    }

    #[test]
    fn a_machine_that_tells_nothing_limits_nothing() {
        let decided = Sample::default().decide(&CapacityConfig::default(), None, live(1 << 40));
        assert!(decided.is_ok());
    }
}
