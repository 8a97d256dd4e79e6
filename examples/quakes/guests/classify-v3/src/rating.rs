//! How severe an event is, in the third revision: a magnitude is a measurement, so every magnitude that the event
//! may have had is rated by the second revision's rules, and the likeliest class is the answer.
//!
//! Two things are wrong with it, and are meant to be:
//!
//! - It rates 1,801 magnitudes where the second revision rates one.
//! - It counts layers of rock from sea level down. Wells and volcanoes are above it, where a depth is negative: on
//!   this example's feed 1 event in 50, and each of them is a trap.

use std::collections::BTreeMap;

use crate::bindings::exports::quakes::app::classify::Severity;
use crate::second;

/// Magnitudes tried for each event.
const TRIED: u32 = 1800;
/// How far they reach to both sides, in standard deviations.
const REACH: f64 = 3.0;
/// Standard deviation of the magnitude of an event at the surface.
const DEVIATION: f64 = 0.05;
/// What each layer that the waves come through adds to it.
const DEVIATION_BY_LAYER: f64 = 0.0001;
/// Layers of rock in a kilometre.
const LAYERS_BY_KM: f64 = 2.0;

/// Says how severe an event of this magnitude and depth most likely is.
pub(crate) fn severity(magnitude: Option<f64>, depth_km: f64, tsunami: bool) -> Severity {
    let deviation = DEVIATION + DEVIATION_BY_LAYER * f64::from(layers(depth_km));
    let Some(magnitude) = magnitude else {
        return Severity::Unrated;
    };
    let mut likelihoods = BTreeMap::<Severity, f64>::new();
    for step in 0..=TRIED {
        let deviations = REACH * (2.0 * f64::from(step) / f64::from(TRIED) - 1.0);
        let tried = magnitude + deviations * deviation;
        let class = second::severity(Some(tried), depth_km, tsunami);
        *likelihoods.entry(class).or_default() += (-0.5 * deviations * deviations).exp();
    }
    let likeliest = likelihoods
        .into_iter()
        .max_by(|(_, one), (_, another)| one.total_cmp(another));
    likeliest.map_or(Severity::Unrated, |(class, _)| class)
}

/// How many layers are above this depth.
fn layers(depth_km: f64) -> u16 {
    let layers = (depth_km * LAYERS_BY_KM).round();
    if layers < 0.0 {
        // What an unsigned number that went below zero does where overflows are checked: the instance is gone.
        std::process::abort();
    }
    // A cast of a float keeps to the type's range.
    layers as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_boundary_is_near_it_says_what_the_second_revision_says() {
        for magnitude in [-0.5, 1.2, 2.4, 3.5, 4.5, 5.5, 6.5, 7.5, 8.6] {
            for (depth_km, tsunami) in [(0.0, false), (9.5, false), (35.0, true), (600.0, false)] {
                assert_eq!(
                    severity(Some(magnitude), depth_km, tsunami),
                    second::severity(Some(magnitude), depth_km, tsunami),
                    "{magnitude} at {depth_km} km"
                );
            }
        }
    }

    #[test]
    fn what_has_no_magnitude_stays_unrated() {
        assert_eq!(severity(None, 1.0, true), Severity::Unrated);
    }

    #[test]
    fn layers_are_counted_from_sea_level_down() {
        assert_eq!([0.0, -0.2, 0.25, 35.0].map(layers), [0, 0, 1, 70]);
    }
}
