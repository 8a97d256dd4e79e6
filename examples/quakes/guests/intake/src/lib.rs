//! intake.wasm: takes each event through parse, classify, region and tally, and says what became of it.
//!
//! Stateless. An event is counted last, when nothing else can fail: an error means that it was not counted,
//! unless it is the tally that did not answer; then nobody here knows.

#[rustfmt::skip]
mod bindings;

use bindings::exports::quakes::app::intake::{FeedError, Guest};
use bindings::quakes::app::classify::{self, ClassifyError};
use bindings::quakes::app::parse::{self, BadValue, ParseError};
use bindings::quakes::app::region::{self, RegionError};
use bindings::quakes::app::tally::{self, TallyError};

struct Intake;

impl Guest for Intake {
    fn feed(number: u32, item: String) -> Result<(), FeedError> {
        let quake = parse::parse(&item)?;
        let severity = classify::classify(&quake, number)?;
        let region = region::region(quake.longitude, quake.latitude)?;
        Ok(tally::record(&region, severity, quake.magnitude)?)
    }
}

impl From<ParseError> for FeedError {
    fn from(error: ParseError) -> Self {
        let explain = |BadValue {
                           field,
                           expected,
                           found,
                       }| format!("{field}: {found} is not {expected}");
        match error {
            ParseError::NotJson(reason) => Self::Rejected(format!("not JSON: {reason}")),
            ParseError::MissingField(field) => Self::Rejected(format!("{field} is missing")),
            ParseError::BadValue(bad) => Self::Rejected(explain(bad)),
            ParseError::OutOfRange(bad) => {
                Self::Rejected(format!("out of range: {}", explain(bad)))
            }
            ParseError::Unavailable(reason) => Self::Failed(format!("parse: {reason}")),
        }
    }
}

impl From<ClassifyError> for FeedError {
    fn from(ClassifyError::Unavailable(reason): ClassifyError) -> Self {
        Self::Failed(format!("classify: {reason}"))
    }
}

impl From<RegionError> for FeedError {
    fn from(error: RegionError) -> Self {
        match error {
            RegionError::NoSuchPlace(place) => Self::Rejected(format!("no such place: {place}")),
            RegionError::Unavailable(reason) => Self::Failed(format!("region: {reason}")),
        }
    }
}

impl From<TallyError> for FeedError {
    fn from(error: TallyError) -> Self {
        match error {
            TallyError::Refused(reason) => Self::Rejected(format!("tally: {reason}")),
            TallyError::Unavailable(reason) => Self::Failed(format!("tally: {reason}")),
        }
    }
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Intake with_types_in bindings);
