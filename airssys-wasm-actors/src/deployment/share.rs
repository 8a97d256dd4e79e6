//! A part of a whole as people write it: `5%`, `0.25%`.
//!
//! Owns the one text form. The unit is the ten-thousandth: fine enough for a canary of a busy service, and a whole
//! number, so that weights add up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::manifest::TextVisitor;

/// A part of a whole, in ten-thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Share(u16);

/// A text is not a [`Share`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a part of a whole; write a percentage from `0%` to `100%`, with at most two decimals"
)]
pub struct ShareError(String);

impl Share {
    /// Nothing of it.
    pub const NONE: Self = Self(0);
    /// The whole.
    pub const ALL: Self = Self(10_000);

    /// So many ten-thousandths; more than 10,000 are the whole.
    #[must_use]
    pub const fn from_ten_thousandths(parts: u16) -> Self {
        if parts > Self::ALL.0 {
            Self::ALL
        } else {
            Self(parts)
        }
    }

    /// So many hundredths; more than 100 are the whole.
    #[must_use]
    pub const fn percent(hundredths: u8) -> Self {
        Self::from_ten_thousandths(hundredths as u16 * 100)
    }

    /// It as a whole number, 0 to 10,000.
    #[must_use]
    pub const fn ten_thousandths(self) -> u16 {
        self.0
    }

    /// It as a number from 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::ALL.0)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        match (rest, rest % 10) {
            (0, _) => write!(f, "{whole}%"),
            (_, 0) => write!(f, "{whole}.{}%", rest / 10),
            _ => write!(f, "{whole}.{rest:02}%"),
        }
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let refused = || ShareError(text.escape_debug().to_string());
        let number = text.strip_suffix('%').ok_or_else(refused)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(whole, 3) || !digits(decimals, 2) {
            return Err(refused());
        }
        let scale = if decimals.len() == 1 { 10 } else { 1 };
        let whole: u16 = whole.parse().map_err(|_| refused())?;
        let decimals: u16 = decimals.parse().map_err(|_| refused())?;
        let parts = u32::from(whole) * 100 + u32::from(decimals) * scale;
        match u16::try_from(parts) {
            Ok(parts) if parts <= Self::ALL.0 => Ok(Self(parts)),
            _ => Err(refused()),
        }
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor {
            expecting: "a percentage such as \"5%\"",
            parse: Self::from_str,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_as_it_is_written() {
        for (text, parts) in [
            ("0%", 0),
            ("0.01%", 1),
            ("0.5%", 50),
            ("5%", 500),
            ("12.25%", 1_225),
            ("33.3%", 3_330),
            ("100%", 10_000),
        ] {
            let share: Share = text.parse().unwrap();
            assert_eq!(share.ten_thousandths(), parts, "{text}");
            assert_eq!(share.to_string(), text);
            let json = format!("{text:?}");
            assert_eq!(serde_json::to_string(&share).unwrap(), json);
            assert_eq!(serde_json::from_str::<Share>(&json).unwrap(), share);
        }
    }

    #[test]
    fn every_other_text_is_refused_with_the_form() {
        for text in [
            "", "%", "5", "5 %", "-5%", "+5%", ".5%", "5.%", "5.123%", "100.01%", "101%", "9999%",
            "٣%", "1e1%",
        ] {
            let error = text.parse::<Share>().unwrap_err();
            assert!(
                error.to_string().contains("two decimals"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn more_than_the_whole_is_the_whole() {
        assert_eq!(Share::from_ten_thousandths(u16::MAX), Share::ALL);
        assert_eq!(Share::percent(200), Share::ALL);
        assert!((Share::percent(25).fraction() - 0.25).abs() < 1e-12);
    }
}
