//! classify.wasm: magnitude, depth and tsunami flag become a severity.
//!
//! What a later revision does otherwise is its `rating` alone: all else here is part of each of them.

#[rustfmt::skip]
mod bindings;
mod component;
mod poison;
mod rating;
mod scale;

#[cfg(target_arch = "wasm32")]
use component::Classifier;

#[cfg(target_arch = "wasm32")]
bindings::export!(Classifier with_types_in bindings);
