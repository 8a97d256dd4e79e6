//! classify-v2.wasm: the classifier's second revision. It exports the same, and rates some events higher.

#[rustfmt::skip]
mod bindings;
#[path = "../../classify/src/component.rs"]
mod component;
#[path = "../../classify/src/poison.rs"]
mod poison;
mod rating;
#[path = "../../classify/src/scale.rs"]
mod scale;

#[cfg(target_arch = "wasm32")]
use component::Classifier;

#[cfg(target_arch = "wasm32")]
bindings::export!(Classifier with_types_in bindings);
