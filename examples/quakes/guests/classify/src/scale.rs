//! The scale of severities.
//!
//! The classes are the customary ones by magnitude, as EarthScope (IRIS) lists them under "How do I interpret
//! magnitudes and magnitude types?": micro below 3, minor from 3, light from 4, moderate from 5, strong from 6,
//! major from 7, great from 8.
//!
//! On top of it this example has a rule of its own, which no agency publishes: an event goes up by one class,
//! once, if a tsunami message was issued for it, or if it can be felt and is closer than 10 km to the surface.
//! "Closer than", because exactly 10 km is what the USGS reports where the depth could not be determined. From
//! which magnitude on an event can be felt is for each revision of the classifier to say.

use crate::bindings::exports::quakes::app::classify::Severity;

const SHALLOW_BELOW_KM: f64 = 10.0;

/// Says how severe an event of this magnitude and depth is, where what is shallow can be felt from magnitude
/// `felt_from` on.
pub(crate) fn severity(
    magnitude: Option<f64>,
    depth_km: f64,
    tsunami: bool,
    felt_from: f64,
) -> Severity {
    let Some(magnitude) = magnitude else {
        return Severity::Unrated;
    };
    let class = class(magnitude);
    let shallow = magnitude >= felt_from && depth_km < SHALLOW_BELOW_KM;
    if tsunami || shallow {
        next(class)
    } else {
        class
    }
}

fn class(magnitude: f64) -> Severity {
    match magnitude {
        ..3.0 => Severity::Micro,
        ..4.0 => Severity::Minor,
        ..5.0 => Severity::Light,
        ..6.0 => Severity::Moderate,
        ..7.0 => Severity::Strong,
        ..8.0 => Severity::Major,
        _ => Severity::Great,
    }
}

fn next(class: Severity) -> Severity {
    match class {
        Severity::Unrated => Severity::Unrated,
        Severity::Micro => Severity::Minor,
        Severity::Minor => Severity::Light,
        Severity::Light => Severity::Moderate,
        Severity::Moderate => Severity::Strong,
        Severity::Strong => Severity::Major,
        Severity::Major | Severity::Great => Severity::Great,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classes_begin_at_whole_magnitudes() {
        let deep = |magnitude| severity(Some(magnitude), 100.0, false, 4.0);
        assert_eq!(deep(-0.8), Severity::Micro);
        assert_eq!(deep(2.99), Severity::Micro);
        assert_eq!(deep(3.0), Severity::Minor);
        assert_eq!(deep(4.0), Severity::Light);
        assert_eq!(deep(5.0), Severity::Moderate);
        assert_eq!(deep(6.0), Severity::Strong);
        assert_eq!(deep(7.0), Severity::Major);
        assert_eq!(deep(8.0), Severity::Great);
    }

    #[test]
    fn shallow_or_tsunami_is_one_class_up_and_both_is_no_more() {
        assert_eq!(severity(Some(6.4), 9.9, false, 4.0), Severity::Major);
        assert_eq!(severity(Some(6.4), 40.0, true, 4.0), Severity::Major);
        assert_eq!(severity(Some(6.4), 9.9, true, 4.0), Severity::Major);
        assert_eq!(severity(Some(9.5), 5.0, true, 4.0), Severity::Great);
    }

    #[test]
    fn an_undetermined_depth_and_a_small_event_stay_where_they_are() {
        assert_eq!(severity(Some(5.0), 10.0, false, 4.0), Severity::Moderate);
        assert_eq!(severity(Some(3.9), 1.0, false, 4.0), Severity::Minor);
        assert_eq!(severity(Some(3.9), 1.0, false, 3.9), Severity::Light);
    }

    #[test]
    fn without_a_magnitude_there_is_no_rating() {
        assert_eq!(severity(None, 1.0, true, 4.0), Severity::Unrated);
    }
}
