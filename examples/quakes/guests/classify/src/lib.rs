//! classify.wasm: magnitude, depth and tsunami flag become a severity.
//!
//! It takes one configuration key, `poison`: with a number N it traps on N chosen events, to show what
//! a crash costs. Its only state is that number, which every new instance gets anew from `init`.

#[rustfmt::skip]
mod bindings;
mod poison;
mod scale;

use std::sync::OnceLock;

use bindings::airssys::actor::log::{Level, log};
use bindings::exports::airssys::actor::init;
use bindings::exports::quakes::app::classify::{ClassifyError, Guest, Quake, Severity};
use poison::Poison;

/// Set once, by `init`.
static POISON: OnceLock<Poison> = OnceLock::new();

struct Classifier;

impl init::Guest for Classifier {
    fn init(config: Vec<(String, String)>) -> Result<(), String> {
        let poison = Poison::from_config(&config)?;
        if poison != Poison::NONE {
            log(Level::Debug, &poison.to_string());
        }
        POISON
            .set(poison)
            .map_err(|_| "init was called twice".to_owned())
    }
}

impl Guest for Classifier {
    fn classify(quake: Quake, number: u32) -> Result<Severity, ClassifyError> {
        if POISON.get().is_some_and(|poison| poison.hits(number)) {
            // A trap, not an error: the instance is gone, as in a real crash.
            std::process::abort();
        }
        Ok(scale::severity(
            quake.magnitude,
            quake.depth_km,
            quake.tsunami,
        ))
    }
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Classifier with_types_in bindings);
