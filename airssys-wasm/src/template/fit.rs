//! Whether a component fits its limits at all, as far as that is known before it runs.

use super::LinkError;
use crate::component::{Component, Finding};
use crate::limits::Limits;

/// Bytes of a page of linear memory; custom page sizes are off.
const WASM_PAGE_BYTES: u64 = 65_536;

/// Checks the limits themselves, then what the component is known to need against them.
pub(super) fn check(component: &Component, limits: &Limits) -> Result<(), LinkError> {
    let profile_max = component.engine().profile().memory_bytes_max();
    let mut findings = Vec::new();
    let mut at_most = |what, found: u64, max: u64| {
        if found > max {
            findings.push(Finding { what, found, max });
        }
    };
    at_most(
        "memory-bytes-max of the limits",
        limits.memory_bytes_max,
        crate::limits::MEMORY_BYTES_HARD_MAX,
    );
    if let Some(needed) = component.raw().resources_required() {
        at_most(
            "memories",
            needed.num_memories.into(),
            limits.memories_max.into(),
        );
        at_most("tables", needed.num_tables.into(), limits.tables_max.into());
        if let Some(pages) = needed.max_initial_memory_size {
            let bytes = pages.saturating_mul(WASM_PAGE_BYTES);
            let max = limits.memory_bytes_max.min(profile_max);
            at_most("initial bytes of a memory", bytes, max);
        }
        if let Some(elements) = needed.max_initial_table_size {
            at_most(
                "initial elements of a table",
                elements,
                limits.table_elements_max.into(),
            );
        }
    }
    if findings.is_empty() {
        Ok(())
    } else {
        Err(LinkError::ExceedsLimits(findings))
    }
}
