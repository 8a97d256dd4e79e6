//! classify-v3.wasm: the classifier's third revision, and a bad release on purpose.
//!
//! It does what new code may well do: its rules are reasonable, its tests on the developer's own events pass, and
//! on real traffic it is slow and dies now and then. A canary's gate is there to find that out.

#[rustfmt::skip]
mod bindings;
#[path = "../../classify/src/component.rs"]
mod component;
#[path = "../../classify/src/poison.rs"]
mod poison;
mod rating;
#[path = "../../classify/src/scale.rs"]
mod scale;
#[path = "../../classify-v2/src/rating.rs"]
mod second;

#[cfg(target_arch = "wasm32")]
use component::Classifier;

#[cfg(target_arch = "wasm32")]
bindings::export!(Classifier with_types_in bindings);
