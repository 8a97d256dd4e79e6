//! tally-v2.wasm: the tally's second revision. It counts as the first one does, and also notes the strongest event
//! of each region; it goes on from the first one's snapshots, and the first one from its own.

#[rustfmt::skip]
mod bindings;
#[path = "../../tally/src/component.rs"]
mod component;
mod extremes;
/// The first revision's `memory`, as it is: what either revision writes, the other one reads.
#[cfg(test)]
#[path = "../../tally/src/memory.rs"]
mod first;
#[path = "../../tally/src/ledger.rs"]
mod ledger;
mod memory;
#[path = "../../tally/src/snapshot.rs"]
mod snapshot;

use bindings::exports::quakes::app::extremes::{Extreme, Guest};
use component::{MEMORY, Tally};

impl Guest for Tally {
    fn strongest_by_region() -> Vec<Extreme> {
        MEMORY.with_borrow(|memory| memory.extremes().rows())
    }
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Tally with_types_in bindings);
