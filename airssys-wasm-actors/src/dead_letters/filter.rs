//! Which dead letters are meant.
//!
//! Owns [`DeadLetterFilter`], [`AddressPattern`] and [`DeadLetterSelection`]: plain data, with the time passed in. A
//! pattern is matched in time linear in the address for each `*`; it cannot be made to take long.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use super::DeadLetter;
use crate::address::{ADDRESS_BYTES_MAX, ActorAddress};

/// A pattern of addresses.
///
/// `quakes` is that address and everything below it. `*` stands for any characters of one segment, and never for a
/// `/`: `quakes/*` is every address right below `quakes`, and no other. `**` as the last segment stands for one or
/// more segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPattern(Box<str>);

/// Why a text is not an [`AddressPattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// A character that neither addresses nor patterns have.
    #[error(
        "`{text}` is not a pattern of addresses: `{found}` is not allowed; use a-z, 0-9, `.`, `_`, `-`, `/` and `*`"
    )]
    Character {
        /// The text given, escaped.
        text: String,
        /// The character, escaped.
        found: String,
    },
    /// Two `/` follow one another, or it begins or ends with one, or it is empty.
    #[error(
        "`{0}` is not a pattern of addresses: a segment is empty; write names joined by single `/`"
    )]
    EmptySegment(String),
    /// A `**` that is not the whole last segment.
    #[error("`{0}` is not a pattern of addresses: `**` can only be the whole last segment")]
    DoubleStar(String),
    /// Longer than any address.
    #[error("a pattern of {0} bytes is too long; no address is longer than {ADDRESS_BYTES_MAX}")]
    TooLong(usize),
}

impl FromStr for AddressPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(PatternError::TooLong(text.len()));
        }
        let allowed = |c: char| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '/' | '*')
        };
        let escaped = || text.escape_debug().to_string();
        if let Some(found) = text.chars().find(|c| !allowed(*c)) {
            let found = found.escape_debug().to_string();
            let text = escaped();
            return Err(PatternError::Character { text, found });
        }
        let mut segments = text.split('/').peekable();
        while let Some(segment) = segments.next() {
            if segment.is_empty() {
                return Err(PatternError::EmptySegment(escaped()));
            }
            let last = segments.peek().is_none();
            if segment.contains("**") && !(last && segment == "**") {
                return Err(PatternError::DoubleStar(escaped()));
            }
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for AddressPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AddressPattern {
    /// Whether it stands for this address.
    #[must_use]
    pub fn matches(&self, address: &ActorAddress) -> bool {
        // Without a star it is a place in the tree, and what is below it is meant too.
        let and_below = !self.0.contains('*');
        let mut segments = address.as_str().split('/');
        for pattern in self.0.split('/') {
            let Some(segment) = segments.next() else {
                return false;
            };
            if pattern == "**" {
                return true;
            }
            if !segment_matches(pattern, segment) {
                return false;
            }
        }
        and_below || segments.next().is_none()
    }
}

/// Both are ASCII. The pieces between stars are found one after the other, the first and the last at the ends.
fn segment_matches(pattern: &str, segment: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == segment;
    };
    let Some(mut left) = segment.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*') {
        match left.split_once(piece) {
            _ if piece.is_empty() => {}
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    left.ends_with(last)
}

/// What a letter has to be. Every condition that is given must hold; the default passes all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Whom it is for.
    pub target: Option<AddressPattern>,
    /// The kind of its reason, as [`CallError::kind`](crate::CallError::kind).
    pub kind: Option<String>,
    /// It became a dead letter longer ago than this.
    pub older_than: Option<Duration>,
    /// It became a dead letter no longer ago than this.
    pub newer_than: Option<Duration>,
    /// Whether it is poison.
    pub poison: Option<bool>,
    /// Most letters, the oldest first.
    pub limit: Option<usize>,
}

impl DeadLetterFilter {
    /// Whether a letter passes, but for the limit.
    pub(super) fn passes(&self, letter: &DeadLetter, now: SystemTime) -> bool {
        // A clock that was set back makes a letter new, not old.
        let age = now.duration_since(letter.at).unwrap_or_default();
        self.target
            .as_ref()
            .is_none_or(|target| target.matches(&letter.target))
            && self
                .kind
                .as_ref()
                .is_none_or(|kind| *kind == letter.why.kind())
            && self.older_than.is_none_or(|than| age > than)
            && self.newer_than.is_none_or(|than| age <= than)
            && self.poison.is_none_or(|poison| letter.poison == poison)
    }
}

/// The letters that something is to be done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetterSelection {
    /// These, by sequence.
    Sequences(Vec<u64>),
    /// Those that pass.
    Filter(DeadLetterFilter),
}

impl From<u64> for DeadLetterSelection {
    fn from(sequence: u64) -> Self {
        Self::Sequences(vec![sequence])
    }
}

impl From<DeadLetterFilter> for DeadLetterSelection {
    fn from(filter: DeadLetterFilter) -> Self {
        Self::Filter(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stay_within_their_segments() {
        for (pattern, address, matches) in [
            ("quakes", "quakes", true),
            ("quakes", "quakes/parse", true),
            ("quakes", "quakes/a/b", true),
            ("quakes", "quakesx", false),
            ("quakes/parse", "quakes", false),
            ("quakes/*", "quakes/parse", true),
            ("quakes/*", "quakes/a/b", false),
            ("quakes/*", "quakes", false),
            ("*", "quakes/parse", false),
            ("**", "quakes/parse", true),
            ("quakes/**", "quakes/a/b", true),
            ("quakes/**", "quakes", false),
            ("quakes/**", "quakesx/a", false),
            ("*/parse", "quakes/parse", true),
            ("q*s/p*", "quakes/parse", true),
            ("q*s/p*", "quakes/xparse", false),
            ("*-*-1", "a-b-1", true),
            ("*-*-1", "a-1", false),
            ("a*a", "a", false),
            ("a*ab*b", "aabb", true),
            ("a*ab*b", "aab", false),
        ] {
            let parsed: AddressPattern = pattern.parse().unwrap();
            let address = address.parse().unwrap();
            assert_eq!(parsed.matches(&address), matches, "{pattern} {address}");
        }
    }

    #[test]
    fn what_no_address_could_match_is_refused() {
        let parse = |text: &str| text.parse::<AddressPattern>().unwrap_err();
        assert!(matches!(parse("A"), PatternError::Character { .. }));
        assert!(matches!(parse("a\n"), PatternError::Character { .. }));
        for text in ["", "/a", "a/", "a//b"] {
            assert!(matches!(parse(text), PatternError::EmptySegment(_)));
        }
        for text in ["**/a", "a**", "***", "a/b**"] {
            assert!(matches!(parse(text), PatternError::DoubleStar(_)));
        }
        assert_eq!(parse(&"a".repeat(256)), PatternError::TooLong(256));
    }
}
