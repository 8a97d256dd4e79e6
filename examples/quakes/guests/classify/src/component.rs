//! What every revision of the classifier exports; how severe an event is comes from the revision's `rating`.
//!
//! It takes one configuration key, `poison`: with a number N it traps on N chosen events, to show what
//! a crash costs. Its only state is that number, which every new instance gets anew from `init`.

use std::sync::OnceLock;

use crate::bindings::airssys::actor::log::{Level, log};
use crate::bindings::exports::airssys::actor::init;
use crate::bindings::exports::quakes::app::classify::{ClassifyError, Guest, Quake, Severity};
use crate::poison::Poison;
use crate::rating;

/// Set once, by `init`.
static POISON: OnceLock<Poison> = OnceLock::new();

pub(crate) struct Classifier;

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
        Ok(rating::severity(
            quake.magnitude,
            quake.depth_km,
            quake.tsunami,
        ))
    }
}
