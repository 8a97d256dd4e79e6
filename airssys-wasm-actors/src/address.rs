//! Names of actors.
//!
//! Owns the one place where an address is validated ([`ActorAddress::from_str`]) and the
//! process-local number of an actor ([`ActorId`]). An address is a name, not a place: it does not
//! say whether the actor runs here. Cloning costs one atomic increment.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest address in bytes: one file name on every common file system, so that an address can
/// name a journal or a directory later.
pub const ADDRESS_BYTES_MAX: usize = 255;

/// The name of an actor: one or more segments joined by `/`, for example `quakes/classify`.
///
/// A segment starts with a letter or a digit and goes on with letters, digits, `.`, `_` and `-`,
/// all ASCII; letters are lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActorAddress(Arc<str>);

impl ActorAddress {
    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address as a shared string.
    pub(crate) fn to_shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// This address with one more segment.
    ///
    /// # Errors
    /// [`AddressError`] when the segment or the whole is not a valid address.
    pub fn join(&self, segment: &str) -> Result<Self, AddressError> {
        format!("{self}/{segment}").parse()
    }
}

impl fmt::Display for ActorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ActorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Why a text is not an [`ActorAddress`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The text has no characters, or two `/` follow one another, or it begins or ends with one.
    #[error("`{0}` is not an actor address: a segment is empty; write names joined by single `/`")]
    EmptySegment(String),
    /// A character that addresses do not have.
    #[error(
        "`{text}` is not an actor address: `{found}` is not allowed; use a-z, 0-9, `.`, `_`, `-`, \
         and begin each segment with a letter or a digit"
    )]
    Character {
        /// The text given.
        text: String,
        /// The character, escaped.
        found: String,
    },
    /// More than [`ADDRESS_BYTES_MAX`] bytes.
    #[error("an actor address of {0} bytes is too long; the longest is {ADDRESS_BYTES_MAX}")]
    TooLong(usize),
}

impl FromStr for ActorAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::TooLong(text.len()));
        }
        for segment in text.split('/') {
            if segment.is_empty() {
                return Err(AddressError::EmptySegment(text.escape_debug().to_string()));
            }
            for (at, c) in segment.char_indices() {
                let plain = c.is_ascii_lowercase() || c.is_ascii_digit();
                if !(plain || (at > 0 && matches!(c, '.' | '_' | '-'))) {
                    return Err(AddressError::Character {
                        text: text.escape_debug().to_string(),
                        found: c.escape_debug().to_string(),
                    });
                }
            }
        }
        Ok(Self(Arc::from(text)))
    }
}

impl Serialize for ActorAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ActorAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The number of a registered actor in this process, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActorId(pub(crate) u64);

impl ActorId {
    /// No actor: ids begin at 1.
    pub(crate) const NOBODY: Self = Self(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_addresses_survive_a_round_trip() {
        for text in ["a", "quakes/classify", "a.b-c_d/9", "0"] {
            assert_eq!(text.parse::<ActorAddress>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn each_kind_of_bad_address_has_its_own_error() {
        for text in ["", "/a", "a/", "a//b"] {
            assert!(
                matches!(
                    text.parse::<ActorAddress>(),
                    Err(AddressError::EmptySegment(_))
                ),
                "{text}"
            );
        }
        for text in ["A", "-a", "a/.b", "a b", "ä", "a\n", ".."] {
            assert!(
                matches!(
                    text.parse::<ActorAddress>(),
                    Err(AddressError::Character { .. })
                ),
                "{text}"
            );
        }
        assert_eq!(
            "a".repeat(256).parse::<ActorAddress>(),
            Err(AddressError::TooLong(256))
        );
    }

    #[test]
    fn json_is_validated_as_text_is() {
        let json = "\"quakes/parse\"";
        let address: ActorAddress = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&address).unwrap(), json);
        assert!(serde_json::from_str::<ActorAddress>("\"quakes//parse\"").is_err());
    }

    #[test]
    fn join_validates_the_segment() {
        let parent: ActorAddress = "quakes".parse().unwrap();
        assert_eq!(parent.join("parse").unwrap().as_str(), "quakes/parse");
        assert!(parent.join("..").is_err());
    }
}
