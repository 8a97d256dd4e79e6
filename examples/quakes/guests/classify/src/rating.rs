//! How severe an event is, in the first revision: magnitudes as they come, and felt from 4 on.

use crate::bindings::exports::quakes::app::classify::Severity;
use crate::scale;

/// Below it an event counts as too weak to be felt, however shallow.
const FELT_FROM_MAGNITUDE: f64 = 4.0;

/// Says how severe an event of this magnitude and depth is.
pub(crate) fn severity(magnitude: Option<f64>, depth_km: f64, tsunami: bool) -> Severity {
    scale::severity(magnitude, depth_km, tsunami, FELT_FROM_MAGNITUDE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shallow_events_are_felt_from_four_on() {
        assert_eq!(severity(Some(3.99), 1.0, false), Severity::Minor);
        assert_eq!(severity(Some(4.0), 1.0, false), Severity::Moderate);
    }
}
