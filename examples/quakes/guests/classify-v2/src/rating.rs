//! How severe an event is, in the second revision. Two boundaries are other than in the first one:
//!
//! - Magnitudes are compared to one decimal, as agencies publish them. Some networks report two: an event of
//!   2.97 is published as one of 3.0, and the first revision called it micro.
//! - Shallow events are felt from magnitude 3 on: the customary description of a minor event is that it is
//!   often felt. The first revision began at 4.

use crate::bindings::exports::quakes::app::classify::Severity;
use crate::scale;

/// Below it an event counts as too weak to be felt, however shallow.
const FELT_FROM_MAGNITUDE: f64 = 3.0;

/// Says how severe an event of this magnitude and depth is.
pub(crate) fn severity(magnitude: Option<f64>, depth_km: f64, tsunami: bool) -> Severity {
    scale::severity(
        magnitude.map(published),
        depth_km,
        tsunami,
        FELT_FROM_MAGNITUDE,
    )
}

/// To one decimal.
fn published(magnitude: f64) -> f64 {
    (magnitude * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magnitudes_are_compared_to_one_decimal() {
        assert_eq!(severity(Some(2.94), 20.0, false), Severity::Micro);
        assert_eq!(severity(Some(2.95), 20.0, false), Severity::Minor);
        assert_eq!(severity(Some(5.99), 20.0, false), Severity::Strong);
        assert_eq!(severity(Some(-0.06), 20.0, false), Severity::Micro);
    }

    #[test]
    fn shallow_events_are_felt_from_three_on() {
        assert_eq!(severity(Some(2.9), 1.0, false), Severity::Micro);
        assert_eq!(severity(Some(2.96), 1.0, false), Severity::Light);
        assert_eq!(severity(Some(3.5), 10.0, false), Severity::Minor);
    }

    #[test]
    fn what_has_no_magnitude_stays_unrated() {
        assert_eq!(severity(None, 1.0, true), Severity::Unrated);
    }
}
