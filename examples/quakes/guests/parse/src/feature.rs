//! Reads one feature. Required: `id`, `properties.time`, `properties.type` and the three coordinates. Absent or
//! null is `none` for magnitude, magnitude type and place, and `false` for the tsunami flag.
//!
//! The fields are those of the feed's own description (USGS, "GeoJSON Summary Format"). What it calls typical
//! ranges is taken as bounds, with room below for the smallest magnitudes and above for the highest wells.

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::bindings::exports::quakes::app::parse::{BadValue, ParseError, Quake};

const MAGNITUDE: RangeInclusive<f64> = -5.0..=10.0;
const DEGREES_EAST: RangeInclusive<f64> = -180.0..=180.0;
const DEGREES_NORTH: RangeInclusive<f64> = -90.0..=90.0;
const DEPTH_KM: RangeInclusive<f64> = -10.0..=1000.0;

/// Longest quotation of a bad value, in characters: an error is no way to send a message through.
const FOUND_CHARS_MAX: usize = 64;

/// A value and its path in the feature, for the error that may come of it.
struct Field<'a> {
    path: &'static str,
    value: Option<&'a Value>,
}

/// Reads a feature.
pub(crate) fn read(text: &str) -> Result<Quake, ParseError> {
    let feature: Value =
        serde_json::from_str(text).map_err(|error| ParseError::NotJson(error.to_string()))?;
    let at = |path, pointer| Field {
        path,
        value: feature.pointer(pointer).filter(|value| !value.is_null()),
    };
    Ok(Quake {
        id: at("id", "/id").text()?,
        magnitude: at("properties.mag", "/properties/mag")
            .optional(|field| field.number(MAGNITUDE))?,
        magnitude_type: at("properties.magType", "/properties/magType").optional(Field::text)?,
        place: at("properties.place", "/properties/place").optional(Field::text)?,
        time_ms: at("properties.time", "/properties/time").integer()?,
        kind: at("properties.type", "/properties/type").text()?,
        tsunami: at("properties.tsunami", "/properties/tsunami")
            .optional(Field::integer)?
            .unwrap_or(0)
            != 0,
        longitude: at("geometry.coordinates[0]", "/geometry/coordinates/0").number(DEGREES_EAST)?,
        latitude: at("geometry.coordinates[1]", "/geometry/coordinates/1").number(DEGREES_NORTH)?,
        depth_km: at("geometry.coordinates[2]", "/geometry/coordinates/2").number(DEPTH_KM)?,
    })
}

impl Field<'_> {
    fn optional<T>(
        self,
        read: impl FnOnce(Self) -> Result<T, ParseError>,
    ) -> Result<Option<T>, ParseError> {
        self.value.is_some().then(|| read(self)).transpose()
    }

    fn text(self) -> Result<String, ParseError> {
        let value = self.present()?;
        value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| ParseError::BadValue(self.bad("a string", value)))
    }

    fn integer(self) -> Result<i64, ParseError> {
        let value = self.present()?;
        value
            .as_i64()
            .ok_or_else(|| ParseError::BadValue(self.bad("an integer", value)))
    }

    fn number(self, range: RangeInclusive<f64>) -> Result<f64, ParseError> {
        let value = self.present()?;
        let number = value
            .as_f64()
            .ok_or_else(|| ParseError::BadValue(self.bad("a number", value)))?;
        if range.contains(&number) {
            return Ok(number);
        }
        let expected = format!("{} to {}", range.start(), range.end());
        Err(ParseError::OutOfRange(self.bad(&expected, value)))
    }

    fn present(&self) -> Result<&Value, ParseError> {
        self.value
            .ok_or_else(|| ParseError::MissingField(self.path.to_owned()))
    }

    fn bad(&self, expected: &str, found: &Value) -> BadValue {
        BadValue {
            field: self.path.to_owned(),
            expected: expected.to_owned(),
            found: found.to_string().chars().take(FOUND_CHARS_MAX).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEED: &str = include_str!("../../../data/earthquakes.json");

    fn feature(change: impl FnOnce(&mut Value)) -> Result<Quake, ParseError> {
        let mut feed: Value = serde_json::from_str(FEED).unwrap();
        let mut feature = feed["features"][0].take();
        change(&mut feature);
        read(&feature.to_string())
    }

    #[test]
    fn every_event_of_the_feed_is_read() {
        let feed: Value = serde_json::from_str(FEED).unwrap();
        let features = feed["features"].as_array().unwrap();
        let quakes: Vec<_> = features
            .iter()
            .map(|feature| read(&feature.to_string()).unwrap())
            .collect();
        assert_eq!(quakes.len(), 1707);
        assert_eq!(
            quakes
                .iter()
                .filter(|quake| quake.kind == "earthquake")
                .count(),
            1679
        );
        assert_eq!(quakes.iter().filter(|quake| quake.tsunami).count(), 4);
        let strongest = quakes
            .iter()
            .filter_map(|quake| quake.magnitude)
            .fold(f64::MIN, f64::max);
        assert_eq!(strongest, 6.4);
    }

    #[test]
    fn the_first_event_is_read_to_the_letter() {
        let quake = feature(|_| {}).unwrap();
        assert_eq!(quake.id, "ci37868143");
        assert_eq!(quake.magnitude, Some(2.0));
        assert_eq!(quake.magnitude_type.as_deref(), Some("ml"));
        assert_eq!(quake.place.as_deref(), Some("4km W of Castaic, CA"));
        assert_eq!(quake.time_ms, 1_517_966_773_840);
        assert_eq!(
            (quake.longitude, quake.latitude, quake.depth_km),
            (-118.6671667, 34.4945, 26.49)
        );
    }

    #[test]
    fn what_networks_leave_null_is_none() {
        let quake = feature(|feature| {
            for property in ["mag", "magType", "place", "tsunami"] {
                feature["properties"][property] = Value::Null;
            }
        })
        .unwrap();
        assert_eq!(
            (
                quake.magnitude,
                quake.magnitude_type,
                quake.place,
                quake.tsunami
            ),
            (None, None, None, false)
        );
    }

    #[test]
    fn text_that_is_not_json_says_where() {
        let Err(ParseError::NotJson(reason)) = read("{\"id\": ") else {
            panic!("read")
        };
        assert!(reason.contains("line 1 column"), "{reason}");
        let deep = "[".repeat(100_000);
        assert!(matches!(read(&deep), Err(ParseError::NotJson(_))));
    }

    #[test]
    fn a_missing_field_is_named() {
        let missing = |result| match result {
            Err(ParseError::MissingField(path)) => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(missing(read("{}")), "id");
        assert_eq!(
            missing(feature(
                |feature| feature["properties"]["time"] = Value::Null
            )),
            "properties.time"
        );
        let no_depth = feature(|feature| {
            drop(
                feature["geometry"]["coordinates"]
                    .as_array_mut()
                    .unwrap()
                    .pop(),
            )
        });
        assert_eq!(missing(no_depth), "geometry.coordinates[2]");
    }

    #[test]
    fn a_value_of_another_type_is_quoted_and_cut() {
        let long = "x".repeat(1000);
        let Err(ParseError::BadValue(bad)) =
            feature(|feature| feature["properties"]["mag"] = long.into())
        else {
            panic!("read")
        };
        assert_eq!(
            (bad.field.as_str(), bad.expected.as_str()),
            ("properties.mag", "a number")
        );
        assert_eq!(bad.found.chars().count(), FOUND_CHARS_MAX);
    }

    #[test]
    fn a_number_out_of_range_is_not_an_event() {
        for (path, value) in [("/properties/mag", 11.0), ("/geometry/coordinates/1", 90.1)] {
            let result = feature(|feature| *feature.pointer_mut(path).unwrap() = value.into());
            assert!(
                matches!(result, Err(ParseError::OutOfRange(_))),
                "{result:?}"
            );
        }
    }
}
