//! Admission: whether there is room for one more instance, asked before it is made.
//!
//! Owns what an engine leaves to others ([`CapacityConfig`]), the [`Permit`] every instance holds, and the
//! refusal ([`NoCapacity`]). It has to come before: a process that runs out of memory mappings is aborted by
//! its allocator, and nothing could be caught. So an instance is charged at its birth for all it may come to
//! use (its fiber's stack is made at its first call), and a reserve stays free for what nobody counts. Usually
//! a spawn costs some atomic additions here (no system call, no lock); the machine is looked at when the figures are a second old (a
//! minute for mappings, which cost 1 µs each to count) or a limit is near.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::engine::ticker::TickCount;
use crate::machine::{Machine, count_mappings, read_number};

mod needs;
mod room;

pub use needs::Needs;
use room::{Live, Sample};

/// What an engine's instances may take, and what they leave to the rest of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityConfig {
    /// Most instances alive at once, whatever the machine has room for (default: no such limit).
    pub instances_max: Option<u64>,
    /// Most memory mappings they may take by the engine's estimate (default: what the kernel allows).
    pub mappings_max: Option<u64>,
    /// Memory mappings left to everything else (default 3,000): code images, threads, the allocator.
    pub mappings_reserve: u64,
    /// Memory left free, in bytes (default: a sixteenth of what there is, at most 512 MiB). It is also what
    /// instances grow into between two looks at the machine.
    pub memory_reserve_bytes: Option<u64>,
    /// Descriptors left free (default 64). Instances have none of their own; what serves them has.
    pub descriptors_reserve: u64,
}

impl Default for CapacityConfig {
    fn default() -> Self {
        Self {
            instances_max: None,
            mappings_max: None,
            mappings_reserve: 3_000,
            memory_reserve_bytes: None,
            descriptors_reserve: 64,
        }
    }
}

/// What an instance needs and a machine can run out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resource {
    /// Slots of the engine's pool, or its configured number of instances.
    Instances,
    /// Memory mappings of the process.
    Mappings,
    /// Address space of the process.
    AddressSpace,
    /// Memory of the machine, or of a control group.
    Memory,
    /// Open descriptors of the process.
    Descriptors,
}

impl Resource {
    /// Returns the resource's name in kebab case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instances => "instances",
            Self::Mappings => "mappings",
            Self::AddressSpace => "address-space",
            Self::Memory => "memory",
            Self::Descriptors => "descriptors",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no room for another instance. Nothing was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no room for another instance: {used} of {limit} {what} are in use or promised, and {reserve} are kept \
     in reserve; {raise}"
)]
pub(crate) struct NoCapacity {
    pub(crate) resource: Resource,
    pub(crate) used: u64,
    pub(crate) limit: u64,
    pub(crate) reserve: u64,
    /// What is counted, and where its limit comes from.
    pub(crate) what: &'static str,
    pub(crate) raise: &'static str,
}

/// What one instance may come to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Mappings from its birth on.
    pub(crate) mappings: u32,
    /// Mappings more from its first call on.
    pub(crate) mappings_later: u32,
    /// Address space in bytes.
    pub(crate) address_space: u64,
}

/// Most mappings of a linear memory in a pool: its initial image, what else is accessible, and what is
/// reserved behind it.
pub(crate) const MAPPINGS_PER_POOLED_MEMORY: u32 = 3;

/// Most mappings of a linear memory on its own: what is reserved before it, too. Fewer where the kernel can
/// merge it with its neighbour's.
const MAPPINGS_PER_MEMORY: u32 = 4;

/// Mappings of a fiber's stack: the stack and its guard page.
pub(crate) const MAPPINGS_PER_STACK: u32 = 2;

impl Cost {
    /// Of an instance with so many linear memories. A pool has its stacks and its address space from the
    /// beginning; on demand each instance brings its own.
    pub(crate) fn new(memories: u32, pooled: bool, memory_bytes: u64, stack_bytes: u64) -> Self {
        if pooled {
            return Self {
                mappings: memories.saturating_mul(MAPPINGS_PER_POOLED_MEMORY),
                ..Self::default()
            };
        }
        Self {
            mappings: memories.saturating_mul(MAPPINGS_PER_MEMORY),
            mappings_later: MAPPINGS_PER_STACK,
            address_space: memory_bytes
                .saturating_mul(memories.into())
                .saturating_add(stack_bytes),
        }
    }

    fn mappings_in_all(self) -> u64 {
        u64::from(self.mappings) + u64::from(self.mappings_later)
    }
}

/// How old a look at the machine may be.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How old a count of the mappings may be.
const COUNT_EVERY: Duration = Duration::from_secs(60);

/// How soon the mappings are counted again while instances are being refused.
const COUNT_AGAIN: Duration = Duration::from_millis(100);

/// Who may be made. One for each engine.
#[derive(Debug)]
pub(crate) struct Admission {
    config: CapacityConfig,
    /// Instances the pool has room for; `None` if they are allocated on demand.
    pool: Option<u64>,
    ticks: TickCount,
    tick: Duration,
    // What live instances hold or were promised.
    instances: AtomicU64,
    mappings: AtomicU64,
    /// Mappings that are there, as opposed to promised.
    made: AtomicU64,
    /// The most there ever were: a pool's slots stay mapped when they are free.
    made_most: AtomicU64,
    address_space: AtomicU64,
    // Up to where nobody has to look.
    instances_until: AtomicU64,
    mappings_until: AtomicU64,
    address_space_until: AtomicU64,
    look_at: AtomicU64,
    /// Taken by whoever looks, never on the usual way.
    seen: Mutex<Option<Seen>>,
}

/// The last look at the machine.
#[derive(Debug)]
struct Seen {
    sample: Sample,
    counted_at: u64,
}

/// An instance's place. Dropped after its Store.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    cost: Cost,
    called: bool,
}

impl Admission {
    pub(crate) fn new(
        config: CapacityConfig,
        pool: Option<u32>,
        ticks: TickCount,
        tick: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            config,
            pool: pool.map(u64::from),
            ticks,
            tick,
            instances: AtomicU64::new(0),
            mappings: AtomicU64::new(0),
            made: AtomicU64::new(0),
            made_most: AtomicU64::new(0),
            address_space: AtomicU64::new(0),
            instances_until: AtomicU64::new(0),
            mappings_until: AtomicU64::new(0),
            address_space_until: AtomicU64::new(0),
            look_at: AtomicU64::new(0),
            seen: Mutex::new(None),
        })
    }

    /// Instances that are alive or being made.
    pub(crate) fn instances(&self) -> u64 {
        self.instances.load(Ordering::Relaxed)
    }

    /// Gives a place to one instance, or says what there is too little of.
    pub(crate) fn admit(self: &Arc<Self>, cost: Cost) -> Result<Permit, NoCapacity> {
        let add = |account: &AtomicU64, n: u64| account.fetch_add(n, Ordering::AcqRel) + n;
        let instances = add(&self.instances, 1);
        let mappings = add(&self.mappings, cost.mappings_in_all());
        let address_space = add(&self.address_space, cost.address_space);
        let now_made = add(&self.made, cost.mappings.into());
        self.made_most.fetch_max(now_made, Ordering::AcqRel);
        // From here on its drop takes all of that back.
        let permit = Permit {
            admission: Arc::clone(self),
            cost,
            called: false,
        };
        let until = |limit: &AtomicU64| limit.load(Ordering::Acquire);
        if instances <= until(&self.instances_until)
            && mappings <= until(&self.mappings_until)
            && address_space <= until(&self.address_space_until)
            && self.ticks.now() < until(&self.look_at)
        {
            return Ok(permit);
        }
        let live = Live {
            instances,
            mappings,
            // What is being made now is not there yet.
            made: now_made.saturating_sub(cost.mappings.into()),
            address_space,
        };
        self.look(live, cost)?;
        Ok(permit)
    }

    #[cold]
    fn look(&self, live: Live, cost: Cost) -> Result<(), NoCapacity> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.ticks.now();
        let (before, counted_at) = match seen.take() {
            Some(seen) => (Some(seen.sample), Some(seen.counted_at)),
            None => (None, None),
        };
        let mut sample = Sample {
            machine: Machine::read_cheap(),
            address_space: live.address_space.saturating_sub(cost.address_space),
            mappings: before.as_ref().and_then(|before| before.mappings),
            made: before.as_ref().map_or(0, |before| before.made),
            others: before.as_ref().map_or(0, |before| before.others),
            mappings_max: read_number("/proc/sys/vm/max_map_count"),
        };
        let since = |age: Duration| {
            counted_at.is_none_or(|at| now.saturating_sub(at) >= self.in_ticks(age))
        };
        let short = live.mappings > sample.mappings_until(&self.config);
        let count = since(COUNT_EVERY) || short && since(COUNT_AGAIN);
        if count {
            sample.mappings = count_mappings();
            sample.made = match self.pool {
                // Less the one that asks, which may be the one that makes it the most.
                Some(_) => self
                    .made_most
                    .load(Ordering::Acquire)
                    .saturating_sub(cost.mappings.into()),
                None => live.made,
            };
            let others = sample.mappings.unwrap_or(0).saturating_sub(sample.made);
            sample.others = sample.others.max(others);
        }
        let decided = sample.decide(&self.config, self.pool, live);
        let until = match &decided {
            Ok(until) => *until,
            // Whoever comes next looks too.
            Err(_) => room::Until::default(),
        };
        self.instances_until
            .store(until.instances, Ordering::Release);
        self.mappings_until.store(until.mappings, Ordering::Release);
        self.address_space_until
            .store(until.address_space, Ordering::Release);
        self.look_at
            .store(now + self.in_ticks(LOOK_EVERY), Ordering::Release);
        let counted_at = if count {
            now
        } else {
            counted_at.unwrap_or(now)
        };
        *seen = Some(Seen { sample, counted_at });
        decided.map(|_| ())
    }

    fn in_ticks(&self, time: Duration) -> u64 {
        let ticks = time.as_nanos() / self.tick.as_nanos().max(1);
        u64::try_from(ticks).unwrap_or(u64::MAX).max(1)
    }
}

impl Permit {
    /// The instance is called: what was promised for that is made now.
    #[inline]
    pub(crate) fn called(&mut self) {
        if !self.called {
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        self.called = true;
        let later = self.cost.mappings_later.into();
        self.admission.made.fetch_add(later, Ordering::AcqRel);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Self {
            admission,
            cost,
            called,
        } = self;
        let later = if *called { cost.mappings_later } else { 0 };
        let take = |account: &AtomicU64, n: u64| account.fetch_sub(n, Ordering::AcqRel);
        take(&admission.made, u64::from(cost.mappings) + u64::from(later));
        take(&admission.address_space, cost.address_space);
        take(&admission.mappings, cost.mappings_in_all());
        take(&admission.instances, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: Cost = Cost {
        mappings: 3,
        mappings_later: 2,
        address_space: 1 << 20,
    };

    fn admission(config: CapacityConfig, pool: Option<u32>) -> Arc<Admission> {
        Admission::new(config, pool, TickCount::default(), Duration::from_millis(1))
    }

    #[test]
    fn instances_are_refused_past_the_limit_and_admitted_again() {
        let config = CapacityConfig {
            instances_max: Some(10),
            ..CapacityConfig::default()
        };
        let admission = admission(config, None);
        for _ in 0..3 {
            let mut permits: Vec<_> = (0..10).map(|_| admission.admit(COST).unwrap()).collect();
            let refused = admission.admit(COST).unwrap_err();
            assert_eq!(refused.resource, Resource::Instances);
            assert_eq!((refused.used, refused.limit), (10, 10));
            permits.truncate(4);
            assert_eq!(admission.instances(), 4);
        }
        assert_eq!(admission.instances(), 0);
        assert_eq!(admission.made.load(Ordering::Relaxed), 0);
        assert_eq!(admission.mappings.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn growth_to_come_is_charged_at_birth() {
        let config = CapacityConfig {
            mappings_max: Some(52),
            ..CapacityConfig::default()
        };
        let admission = admission(config, None);
        let mut permits: Vec<_> = (0..10).map(|_| admission.admit(COST).unwrap()).collect();
        let refused = admission.admit(COST).unwrap_err();
        assert_eq!(refused.resource, Resource::Mappings);
        for permit in &mut permits {
            permit.called();
            permit.called();
        }
        assert_eq!(admission.made.load(Ordering::Relaxed), 50);
        drop(permits);
        assert_eq!(admission.made.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_pool_is_as_large_as_it_is() {
        let cost = Cost::new(1, true, 1 << 32, 1 << 21);
        assert_eq!(cost.address_space, 0);
        let admission = admission(CapacityConfig::default(), Some(2));
        let _permits = [
            admission.admit(cost).unwrap(),
            admission.admit(cost).unwrap(),
        ];
        let refused = admission.admit(cost).unwrap_err();
        assert_eq!((refused.resource, refused.limit), (Resource::Instances, 2));
        assert!(refused.to_string().contains("airssys doctor"), "{refused}");
    }

    #[test]
    fn the_machine_is_not_looked_at_for_each() {
        let admission = admission(CapacityConfig::default(), None);
        let _first = admission.admit(COST).unwrap();
        let looked = admission.seen.lock().unwrap().take();
        assert!(looked.is_some());
        let _more: Vec<_> = (0..8).map(|_| admission.admit(COST).unwrap()).collect();
        assert!(admission.seen.lock().unwrap().is_none());
    }
}
