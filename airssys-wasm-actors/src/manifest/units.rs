//! Durations and sizes as manifests write them: `"500ms"`, `"64MiB"`.
//!
//! Owns the two text forms and nothing else. Both take a whole number and a unit, without a sign, an
//! exponent or a fraction: what a person reads is what the system does. There is no unit-less form, so that
//! nobody has to guess whether `timeout = 5000` means seconds.

use std::fmt;
use std::time::Duration;

use serde::Serializer;
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// The units of time, with their nanoseconds.
const TIME_UNITS: [(&str, u64); 5] = [
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The units of size, with their bytes. Powers of two only: a decimal `MB` is the usual misunderstanding.
const SIZE_UNITS: [(&str, u64); 4] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Why a text is not a duration or a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// Neither a number nor a unit is where one should be.
    #[error(
        "`{text}` is not {what}; write a whole number and a unit ({units}), such as `{example}`"
    )]
    Form {
        /// The text given, escaped.
        text: String,
        /// "a duration" or "a size".
        what: &'static str,
        /// The units there are.
        units: String,
        /// One that is right.
        example: &'static str,
    },
    /// Nothing can be done in no time, or with no bytes.
    #[error("`{0}` is zero; it must be more")]
    Zero(String),
    /// More than 2⁶⁴ nanoseconds (584 years) or bytes.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

/// Reads a duration: `250us`, `500ms`, `2s`, `5min`, `1h`.
///
/// # Errors
/// [`UnitError`] when the text has another form, is zero, or is longer than 584 years.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    parse(text, "a duration", &TIME_UNITS, "500ms").map(Duration::from_nanos)
}

/// Reads a size in bytes: `512B`, `64KiB`, `64MiB`, `1GiB`.
///
/// # Errors
/// [`UnitError`] when the text has another form, is zero, or is more than 2⁶⁴ bytes.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    parse(text, "a size", &SIZE_UNITS, "64MiB")
}

/// A duration as a manifest writes it: in the largest unit of which it is a whole number; nanoseconds are left out.
pub(crate) fn duration_text(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let mut largest_first = TIME_UNITS.iter().rev();
    let fits = |(_, scale): &&(&str, u64)| nanos > 0 && nanos.is_multiple_of(u128::from(*scale));
    match largest_first.find(fits) {
        Some((unit, scale)) => format!("{}{unit}", nanos / u128::from(*scale)),
        None if nanos == 0 => "0s".to_owned(),
        None => format!("{}us", nanos / 1_000),
    }
}

/// For fields that are durations.
pub(crate) fn serialize_duration<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&duration_text(*duration))
}

fn parse(
    text: &str,
    what: &'static str,
    units: &[(&str, u64)],
    example: &'static str,
) -> Result<u64, UnitError> {
    let form = || UnitError::Form {
        text: text.escape_debug().to_string(),
        what,
        units: units
            .iter()
            .map(|(unit, _)| *unit)
            .collect::<Vec<_>>()
            .join(", "),
        example,
    };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(form)?;
    let unit = unit.trim_start();
    let (_, scale) = units
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(form)?;
    if number.is_empty() {
        return Err(form());
    }
    let too_large = || UnitError::TooLarge(text.to_owned());
    let number: u64 = number.parse().map_err(|_| too_large())?;
    match number.checked_mul(*scale) {
        Some(0) => Err(UnitError::Zero(text.to_owned())),
        Some(total) => Ok(total),
        None => Err(too_large()),
    }
}

/// A duration read from a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationText(pub Duration);

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(TextVisitor {
                expecting: "a duration such as \"500ms\"",
                parse: parse_duration,
            })
            .map(Self)
    }
}

/// A size in bytes read from a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeText(pub u64);

impl<'de> Deserialize<'de> for SizeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(TextVisitor {
                expecting: "a size such as \"64MiB\"",
                parse: parse_size,
            })
            .map(Self)
    }
}

/// Reads a string and hands it to a parser; an error keeps the place of the string.
pub(crate) struct TextVisitor<T, E> {
    pub(crate) expecting: &'static str,
    pub(crate) parse: fn(&str) -> Result<T, E>,
}

impl<T, E: fmt::Display> Visitor<'_> for TextVisitor<T, E> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<Error: de::Error>(self, text: &str) -> Result<T, Error> {
        (self.parse)(text).map_err(Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_has_its_length() {
        for (text, nanos) in [
            ("250us", 250_000),
            ("500ms", 500_000_000),
            ("2s", 2_000_000_000),
            ("2 s", 2_000_000_000),
            ("5min", 300_000_000_000),
            ("1h", 3_600_000_000_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_nanos(nanos)),
                "{text}"
            );
        }
        for (text, bytes) in [
            ("512B", 512),
            ("64KiB", 65_536),
            ("64MiB", 67_108_864),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn a_duration_is_written_as_it_is_read() {
        for text in ["250us", "500ms", "2s", "90s", "5min", "1h", "36h"] {
            assert_eq!(duration_text(parse_duration(text).unwrap()), text);
        }
        assert_eq!(duration_text(Duration::from_secs(120)), "2min");
        assert_eq!(duration_text(Duration::from_nanos(1_999)), "1us");
        assert_eq!(duration_text(Duration::ZERO), "0s");
    }

    #[test]
    fn every_other_text_is_refused_with_an_example() {
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "5.5s",
            "1e3s",
            "5 seconds",
            "5S",
            "٣s",
            "s5",
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(matches!(error, UnitError::Form { .. }), "{text}: {error}");
            assert!(error.to_string().contains("500ms"));
        }
        for text in ["64MB", "64mib", "64", "64 M"] {
            assert!(
                matches!(parse_size(text), Err(UnitError::Form { .. })),
                "{text}"
            );
        }
        assert!(matches!(parse_duration("0s"), Err(UnitError::Zero(_))));
        assert!(matches!(
            parse_duration("999999999999h"),
            Err(UnitError::TooLarge(_))
        ));
        assert!(matches!(
            parse_size("99999999999999999999999B"),
            Err(UnitError::TooLarge(_))
        ));
    }
}
