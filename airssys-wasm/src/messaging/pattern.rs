//! Patterns of names with segments: topics, and the addresses and configuration keys a grant reaches.
//!
//! Owns [`TopicPattern`], [`AddressReach`] and [`ConfigReach`], each parsed once. `*` stands for exactly one segment, and `**` (or `>`)
//! as the last segment for one or more; a star is never a part of a segment, so `data/*` cannot reach `database/x`.
//! Matching is one pass over both, without backtracking.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

/// Longest topic or pattern in bytes, as long as the longest actor address.
pub const TOPIC_BYTES_MAX: usize = 255;
/// Most segments of a topic or a pattern.
pub const TOPIC_SEGMENTS_MAX: usize = 16;

/// Why a text is not a topic, or not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternSyntax {
    /// It is empty, begins or ends with a separator, or has two of them in a row.
    #[error("`{0}` has an empty segment")]
    EmptySegment(String),
    /// A character that segments do not have.
    #[error("`{text}` has the character `{found}`, which is not allowed in a segment")]
    Character {
        /// The text given, escaped.
        text: String,
        /// The character, escaped.
        found: String,
    },
    /// `**` or `>` before the end.
    #[error("`{0}` has `**` before its end: it stands for all that follows, so it comes last")]
    RestBeforeEnd(String),
    /// More than [`TOPIC_BYTES_MAX`] bytes or [`TOPIC_SEGMENTS_MAX`] segments.
    #[error(
        "a name of {bytes} bytes in {segments} segments is too long; the most are {TOPIC_BYTES_MAX} and \
         {TOPIC_SEGMENTS_MAX}"
    )]
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// Its segments.
        segments: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Segment {
    Exactly(Box<str>),
    One,
    Rest,
}

/// A topic is split at `.` and `/`, an address only at `/`.
fn topic_separator(c: char) -> bool {
    matches!(c, '.' | '/')
}

fn address_separator(c: char) -> bool {
    c == '/'
}

fn key_separator(c: char) -> bool {
    c == '.'
}

fn escaped(text: &str) -> String {
    crate::printable::printable(text, 256)
}

fn check_length(text: &str, segments: usize) -> Result<(), PatternSyntax> {
    if text.len() > TOPIC_BYTES_MAX || segments > TOPIC_SEGMENTS_MAX {
        return Err(PatternSyntax::TooLong {
            bytes: text.len(),
            segments,
        });
    }
    Ok(())
}

fn check_segment(text: &str, segment: &str) -> Result<(), PatternSyntax> {
    if segment.is_empty() {
        return Err(PatternSyntax::EmptySegment(escaped(text)));
    }
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.');
    match segment.chars().find(|c| !allowed(c)) {
        Some(found) => Err(PatternSyntax::Character {
            text: escaped(text),
            found: found.escape_debug().to_string(),
        }),
        None => Ok(()),
    }
}

/// Checks that a text is a topic: segments of ASCII letters, digits, `_`, `-` and `:`, joined by `.` or `/`.
///
/// # Errors
/// [`PatternSyntax`].
pub fn check_topic(text: &str) -> Result<(), PatternSyntax> {
    check_length(
        text,
        text.split(topic_separator)
            .take(TOPIC_SEGMENTS_MAX + 1)
            .count(),
    )?;
    text.split(topic_separator)
        .try_for_each(|segment| check_segment(text, segment))
}

fn parse(text: &str, separator: fn(char) -> bool) -> Result<Box<[Segment]>, PatternSyntax> {
    check_length(
        text,
        text.split(separator).take(TOPIC_SEGMENTS_MAX + 1).count(),
    )?;
    let mut segments = Vec::new();
    for segment in text.split(separator) {
        if segments.last() == Some(&Segment::Rest) {
            return Err(PatternSyntax::RestBeforeEnd(escaped(text)));
        }
        segments.push(match segment {
            "*" => Segment::One,
            "**" | ">" => Segment::Rest,
            name => {
                check_segment(text, name)?;
                Segment::Exactly(name.into())
            }
        });
    }
    Ok(segments.into())
}

fn matches(pattern: &[Segment], name: &str, separator: fn(char) -> bool) -> bool {
    let mut names = name.split(separator);
    for segment in pattern {
        let Some(name) = names.next() else {
            return false;
        };
        match segment {
            Segment::Rest => return true,
            Segment::One => {}
            Segment::Exactly(exactly) if **exactly == *name => {}
            Segment::Exactly(_) => return false,
        }
    }
    names.next().is_none()
}

/// Whether whatever `inner` matches, `outer` matches too.
fn covers(outer: &[Segment], inner: &[Segment]) -> bool {
    let mut inners = inner.iter();
    for segment in outer {
        let Some(inner) = inners.next() else {
            return false;
        };
        match (segment, inner) {
            (Segment::Rest, _) => return true,
            (Segment::One, Segment::One | Segment::Exactly(_)) => {}
            (Segment::Exactly(one), Segment::Exactly(other)) if one == other => {}
            _ => return false,
        }
    }
    inners.next().is_none()
}

macro_rules! patterns {
    ($($(#[$doc:meta])* $name:ident, $separator:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// Two are the same that stand for the same names, however they are written.
        #[derive(Clone, Debug)]
        pub struct $name {
            text: Box<str>,
            segments: Box<[Segment]>,
        }

        impl $name {
            /// Returns the text it was read from.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.text
            }

            /// Returns whether it stands for this name.
            #[must_use]
            pub fn matches(&self, name: &str) -> bool {
                matches(&self.segments, name, $separator)
            }

            /// Returns whether it stands for every name that `other` stands for.
            #[must_use]
            pub fn covers(&self, other: &Self) -> bool {
                covers(&self.segments, &other.segments)
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.segments == other.segments
            }
        }

        impl Eq for $name {}

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.segments.hash(state);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }

        impl FromStr for $name {
            type Err = PatternSyntax;

            fn from_str(text: &str) -> Result<Self, PatternSyntax> {
                Ok(Self {
                    segments: parse(text, $separator)?,
                    text: text.into(),
                })
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

patterns! {
    /// A pattern of topics, such as `rooms/*/said` or `rooms.**`. `.` and `/` separate alike.
    TopicPattern, topic_separator;
    /// A pattern of the addresses that a grant reaches, such as `chat/room` or `chat/*`. Without a star it is that
    /// address alone.
    AddressReach, address_separator;
    /// A pattern of the configuration keys that a grant reaches, such as `limits.*` or `**`. Its segments are joined by `.`;
    /// without a star it is that key alone.
    ConfigReach, key_separator;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(text: &str) -> TopicPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_star_is_one_segment_and_two_are_the_rest() {
        for (pattern, name, fits) in [
            ("a.b.c", "a.b.c", true),
            ("a.b.c", "a.b.c", true),
            ("a/*/c", "a.b.c", true),
            ("a/*/c", "a.c", false),
            ("a/*", "a/b/c", false),
            ("a/**", "a/b/c", true),
            ("a.>", "a.b", true),
            ("a.>", "a", false),
            ("**", "a", true),
            ("data/*", "database/x", false),
            ("*", "a/b", false),
        ] {
            assert_eq!(topic(pattern).matches(name), fits, "{pattern} {name}");
        }
        let address: AddressReach = "app/a.b".parse().unwrap();
        assert!(address.matches("app/a.b"));
        assert!(!address.matches("app/a/b"));
        let key: ConfigReach = "db.*".parse().unwrap();
        for (name, fits) in [
            ("db.host", true),
            ("db", false),
            ("db.a.b", false),
            ("dbx.host", false),
        ] {
            assert_eq!(key.matches(name), fits, "{name}");
        }
    }

    #[test]
    fn two_ways_to_write_a_pattern_are_one_pattern() {
        let same = [
            ("a.b", "a/b"),
            ("a/**", "a.>"),
            ("a.*/c", "a/*.c"),
            ("**", ">"),
        ];
        for (one, other) in same {
            assert_eq!(topic(one), topic(other));
        }
        assert_ne!(topic("a/*"), topic("a/**"));
        assert_ne!(topic("a/b"), topic("a"));
        // In an address a dot is a part of the name.
        let reach = |text: &str| text.parse::<AddressReach>().unwrap();
        assert_ne!(reach("a.b"), reach("a/b"));
        assert_eq!(reach("a/**"), reach("a/>"));
    }

    #[test]
    fn what_one_pattern_covers() {
        for (outer, inner, covered) in [
            ("**", "a/*/c", true),
            ("a/**", "a/b/**", true),
            ("a/**", "**", false),
            ("a/*", "a/b", true),
            ("a/*", "a/*", true),
            ("a/*", "a/**", false),
            ("a/b", "a/*", false),
            ("a/*/c", "a/b", false),
        ] {
            assert_eq!(
                topic(outer).covers(&topic(inner)),
                covered,
                "{outer} {inner}"
            );
        }
    }

    #[test]
    fn each_kind_of_bad_pattern_has_its_own_error() {
        let bad = |text: &str| text.parse::<TopicPattern>().unwrap_err();
        for text in ["", "a//b", ".a", "a.", "a/./b"] {
            assert!(
                matches!(bad(text), PatternSyntax::EmptySegment(_)),
                "{text}"
            );
        }
        for text in ["a b", "a*", "***", "a\n", "ä", "a/>b"] {
            assert!(
                matches!(bad(text), PatternSyntax::Character { .. }),
                "{text}"
            );
        }
        for text in ["**/a", ">.a", "**.**"] {
            assert!(
                matches!(bad(text), PatternSyntax::RestBeforeEnd(_)),
                "{text}"
            );
        }
        assert!(matches!(
            bad(&"a".repeat(256)),
            PatternSyntax::TooLong { .. }
        ));
        assert!(matches!(
            bad(&["a"; 17].join("/")),
            PatternSyntax::TooLong { .. }
        ));
        assert!(check_topic("rooms.tea/said").is_ok());
        assert!(check_topic("rooms/*").is_err());
        assert!(check_topic(&"a/".repeat(1 << 20)).is_err());
    }
}
