//! The summing resource limiter of one Store.
//!
//! wasmtime's own `StoreLimits` bounds each memory by itself; a component with eight memories would get eight
//! times its share. This one keeps the sum over all memories and all tables, refuses a memory larger than the engine's
//! profile has room for (the engine would refuse it after it was counted), and remembers that a growth was
//! refused, because a guest's allocator answers a refused `memory.grow` with `unreachable`: the fault is then
//! `memory`, not `unreachable`. Called by wasmtime only when something grows; no allocation. Each sum is told to the
//! instance's [`Control`], where others see it.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::engine::Profile;
use crate::host::control::Control;
use crate::limits::Limits;

/// What was refused since the call began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A memory wanted to be this large; all memories together held `held` bytes.
    Memory { wanted_bytes: u64, held_bytes: u64 },
    /// A table wanted this many elements; all tables together held `held`.
    Table { wanted: u64, held: u64 },
}

/// Sums what one Store holds against its limits.
#[derive(Debug)]
pub(crate) struct SummingLimiter {
    memory_bytes: u64,
    memory_bytes_max: u64,
    /// Of any one memory.
    one_memory_bytes_max: u64,
    table_elements: u64,
    table_elements_max: u64,
    memories_max: u32,
    tables_max: u32,
    core_instances_max: u32,
    refused: Option<Refused>,
    seen_by: Arc<Control>,
}

impl SummingLimiter {
    /// Makes the limiter of a Store which the host adds some core instances of its own to.
    pub(crate) fn new(
        limits: &Limits,
        profile: Profile,
        core_instances_added: u32,
        seen_by: Arc<Control>,
    ) -> Self {
        Self {
            memory_bytes: 0,
            memory_bytes_max: limits.memory_bytes_max,
            one_memory_bytes_max: profile.memory_bytes_max(),
            table_elements: 0,
            table_elements_max: limits.table_elements_max.into(),
            memories_max: limits.memories_max,
            tables_max: limits.tables_max,
            core_instances_max: limits
                .core_instances_max
                .saturating_add(core_instances_added),
            refused: None,
            seen_by,
        }
    }

    /// Forgets a refusal: each call is judged by its own.
    pub(crate) fn begin_call(&mut self) {
        self.refused = None;
    }

    pub(crate) fn refused(&self) -> Option<Refused> {
        self.refused
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    pub(crate) fn table_elements(&self) -> u64 {
        self.table_elements
    }
}

impl Drop for SummingLimiter {
    /// With the Store's data: what it counted is given back.
    fn drop(&mut self) {
        self.seen_by.holds_memory(0);
        self.seen_by.holds_tables(0);
    }
}

fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn narrow(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

impl ResourceLimiter for SummingLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let (current, desired) = (wide(current), wide(desired));
        let held_bytes = self.memory_bytes;
        let after = held_bytes.saturating_sub(current).saturating_add(desired);
        // A growth past the memory's own maximum fails in wasmtime after we allowed it; it must not be
        // charged, and it is the module's own limit, not ours.
        let fits = after <= self.memory_bytes_max && desired <= self.one_memory_bytes_max;
        if maximum.is_some_and(|maximum| desired > wide(maximum)) && fits {
            return Ok(true);
        }
        if !fits {
            self.refused = Some(Refused::Memory {
                wanted_bytes: desired,
                held_bytes,
            });
            return Ok(false);
        }
        self.memory_bytes = after;
        self.seen_by.holds_memory(after);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let (current, desired) = (wide(current), wide(desired));
        let held = self.table_elements;
        let after = held.saturating_sub(current).saturating_add(desired);
        if maximum.is_some_and(|maximum| desired > wide(maximum))
            && after <= self.table_elements_max
        {
            return Ok(true);
        }
        if after > self.table_elements_max {
            self.refused = Some(Refused::Table {
                wanted: desired,
                held,
            });
            return Ok(false);
        }
        self.table_elements = after;
        self.seen_by.holds_tables(after);
        Ok(true)
    }

    fn instances(&self) -> usize {
        narrow(self.core_instances_max)
    }

    fn tables(&self) -> usize {
        narrow(self.tables_max)
    }

    fn memories(&self) -> usize {
        narrow(self.memories_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 64 * 1024;

    fn limiter() -> SummingLimiter {
        let limits = Limits {
            memory_bytes_max: 4 * 65_536,
            table_elements_max: 10,
            ..Limits::default()
        };
        SummingLimiter::new(&limits, Profile::Strict, 0, Arc::default())
    }

    #[test]
    fn memories_are_summed() {
        let mut limiter = limiter();
        assert!(limiter.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(limiter.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(!limiter.memory_growing(2 * PAGE, 3 * PAGE, None).unwrap());
        assert_eq!(
            limiter.refused(),
            Some(Refused::Memory {
                wanted_bytes: 3 * 65_536,
                held_bytes: 4 * 65_536
            })
        );
        assert_eq!(limiter.memory_bytes(), 4 * 65_536);
        limiter.begin_call();
        assert_eq!(limiter.refused(), None);
    }

    #[test]
    fn a_growth_past_the_modules_own_maximum_is_not_charged() {
        let mut limiter = limiter();
        assert!(limiter.memory_growing(0, PAGE, Some(PAGE)).unwrap());
        assert!(limiter.memory_growing(PAGE, 2 * PAGE, Some(PAGE)).unwrap());
        assert_eq!(limiter.memory_bytes(), 65_536);
        assert_eq!(limiter.refused(), None);
    }

    #[test]
    fn tables_are_summed_and_nothing_overflows() {
        let mut limiter = limiter();
        assert!(limiter.table_growing(0, 6, None).unwrap());
        assert!(!limiter.table_growing(0, usize::MAX, None).unwrap());
        assert!(limiter.table_growing(0, 4, None).unwrap());
        assert!(!limiter.table_growing(4, 5, None).unwrap());
        assert_eq!(limiter.table_elements(), 10);
    }
}
