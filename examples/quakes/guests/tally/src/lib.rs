//! tally.wasm: counts events, and the energy they released, by region and severity.
//!
//! The one component of the example with a memory: the counts live in the instance, and are gone with it, unless
//! it is asked for a snapshot first. Nobody else's crash can touch them.

#[rustfmt::skip]
mod bindings;
mod component;
mod ledger;
mod memory;
mod snapshot;

#[cfg(target_arch = "wasm32")]
use component::Tally;

#[cfg(target_arch = "wasm32")]
bindings::export!(Tally with_types_in bindings);
