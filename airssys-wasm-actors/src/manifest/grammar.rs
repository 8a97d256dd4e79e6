//! The values of a manifest that are one word of a short list, or a word with a tail.
//!
//! Owns their text forms and the closed types they become.

use std::collections::BTreeMap;

use serde::de::{Deserialize, Deserializer};

use super::units::{TextVisitor, parse_duration};
use crate::deployment::{StateHandling, StrategyKind};
use crate::mailbox::BackpressureStrategy;
use crate::supervisor::{AutoShutdown, RestartPolicy, ShutdownPolicy, Strategy};

/// How a failed link reaches the guest, when the function returns `result<_, E>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorAs {
    /// `"text"`: `E` is a `string`.
    Text,
    /// `"case:NAME"`: `E` is a variant with this case, which carries a `string` or nothing.
    Case(String),
}

/// How the input of a source is cut into items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SourceFormat {
    /// `"json"`: the elements of an array in one JSON document.
    #[default]
    Json,
    /// `"lines"`: the lines of a text that are not blank.
    Lines,
}

/// The type of a command-line option that a manifest declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    /// A whole number, with or without a sign.
    Integer,
    /// Any text.
    String,
    /// `true` or `false`; without a value, `true`.
    Boolean,
}

impl OptionKind {
    /// The word for it in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::String => "string",
            Self::Boolean => "boolean",
        }
    }

    /// Whether a text is a value of this type, and if not, what one looks like.
    ///
    /// # Errors
    /// What was expected.
    pub fn check(self, text: &str) -> Result<(), &'static str> {
        match self {
            Self::Integer if text.parse::<i64>().is_err() => Err("a whole number"),
            Self::Boolean if !matches!(text, "true" | "false") => Err("`true` or `false`"),
            _ => Ok(()),
        }
    }
}

/// Declares one word of a list: its type, what a message expects, and the words.
macro_rules! words {
    ($($name:ident($ty:ty) $expecting:literal { $($word:literal => $value:expr,)+ })+) => {$(
        pub(super) fn $name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$ty, D::Error> {
            deserializer.deserialize_str(TextVisitor {
                expecting: $expecting,
                parse: |text| match text {
                    $($word => Ok($value),)+
                    _ => Err(unknown(text, &[$($word),+])),
                },
            })
        }
    )+};
}

words! {
    source_format(SourceFormat) "how the input is cut into items" {
        "json" => SourceFormat::Json,
        "lines" => SourceFormat::Lines,
    }
    option_kind(OptionKind) "the type of the option" {
        "integer" => OptionKind::Integer,
        "string" => OptionKind::String,
        "boolean" => OptionKind::Boolean,
    }
    backpressure(BackpressureStrategy) "what a full mailbox does" {
        "error" => BackpressureStrategy::Error,
        "block" => BackpressureStrategy::Block,
        "drop-newest" => BackpressureStrategy::DropNewest,
        "drop-oldest" => BackpressureStrategy::DropOldest,
    }
    strategy(Strategy) "which children restart together" {
        "one-for-one" => Strategy::OneForOne,
        "one-for-all" => Strategy::OneForAll,
        "rest-for-one" => Strategy::RestForOne,
    }
    auto_shutdown(AutoShutdown) "whether the supervisor ends with significant children" {
        "never" => AutoShutdown::Never,
        "any-significant" => AutoShutdown::AnySignificant,
        "all-significant" => AutoShutdown::AllSignificant,
    }
    rollout_strategy(StrategyKind) "how a component is replaced" {
        "recreate" => StrategyKind::Recreate,
        "rolling" => StrategyKind::Rolling,
        "blue-green" => StrategyKind::BlueGreen,
        "canary" => StrategyKind::Canary,
        "shadow" => StrategyKind::Shadow,
    }
    state_handling(StateHandling) "what becomes of the state of a component that is replaced" {
        "hand-over" => StateHandling::HandOver,
        "discard" => StateHandling::Discard,
    }
    restart_word(RestartPolicy) "when the actor is restarted" {
        "permanent" => RestartPolicy::Permanent,
        "transient" => RestartPolicy::Transient,
        "temporary" => RestartPolicy::Temporary,
    }
}

/// Written as serde writes it, so that one place makes suggestions of both.
fn unknown(text: &str, words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    format!(
        "unknown variant `{}`, expected one of {}",
        text.escape_debug(),
        words.join(", ")
    )
}

pub(super) fn restart<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<RestartPolicy>, D::Error> {
    restart_word(deserializer).map(Some)
}

pub(super) fn shutdown<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ShutdownPolicy>, D::Error> {
    deserializer
        .deserialize_str(TextVisitor {
            expecting: "a duration, \"brutal\" or \"infinity\"",
            parse: |text| match text {
                "brutal" => Ok(ShutdownPolicy::Brutal),
                "infinity" => Ok(ShutdownPolicy::Infinity),
                _ => parse_duration(text)
                    .map(ShutdownPolicy::Timeout)
                    .map_err(|error| format!("{error}, or \"brutal\", or \"infinity\"")),
            },
        })
        .map(Some)
}

impl<'de> Deserialize<'de> for ErrorAs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor {
            expecting: "\"text\" or \"case:NAME\"",
            parse: |text| match (text, text.split_once(':')) {
                ("text", _) => Ok(Self::Text),
                (_, Some(("case", name))) if !name.is_empty() => Ok(Self::Case(name.to_owned())),
                _ => Err(format!(
                    "`{}` does not say how an error is carried; write \"text\", or \"case:NAME\" with a case of \
                     the function's error type",
                    text.escape_debug()
                )),
            },
        })
    }
}

/// A table whose keys are names; their places are kept, and with them the order of the text.
pub(super) type Named<T> = BTreeMap<toml::Spanned<String>, T>;

/// The entries of such a table in the order of the text.
pub(crate) fn in_order<T>(
    named: &BTreeMap<toml::Spanned<String>, T>,
) -> Vec<(&toml::Spanned<String>, &T)> {
    let mut entries: Vec<_> = named.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}
