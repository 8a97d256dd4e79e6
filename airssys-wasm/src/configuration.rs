//! The configuration of an instance, and the host interfaces that read it.
//!
//! Owns [`Configuration`], an immutable snapshot of keys and values with the number of its revision, and the bounds of
//! one. A Store holds one snapshot, which its owner exchanges between two calls ([`crate::Instance::configure`]), so that a
//! guest sees one configuration while it handles a message. Where the values come from is the business of whoever hosts
//! the instances. What a guest may read is its grants' to say, key by key; values are in no log and no audit event.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::messaging::ConfigReach;
use crate::printable::printable;

mod host;

pub(crate) use host::{INTERFACE, WASI_INTERFACE, WASI_WIT, WIT, define};

/// Most keys of a configuration.
pub const CONFIG_KEYS_MAX: usize = 1_000;
/// Longest key in bytes, as long as the longest topic.
pub const CONFIG_KEY_BYTES_MAX: usize = 255;
/// Longest value in bytes.
pub const CONFIG_VALUE_BYTES_MAX: usize = 64 << 10;
/// Most bytes of all keys and values of a configuration together: every instance that is told of a change may copy it.
pub const CONFIG_BYTES_MAX: usize = 256 << 10;

/// What a component is configured with. The default is nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    revision: u64,
    values: BTreeMap<Box<str>, Box<str>>,
}

/// The values are left out: they can be secrets.
impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configuration")
            .field("revision", &self.revision)
            .field("keys", &self.values.keys())
            .finish()
    }
}

/// What is too large, or no key, in a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigurationError {
    /// A key is empty, too long, or has a control character.
    #[error(
        "`{0}` is no key: a key has 1 to {CONFIG_KEY_BYTES_MAX} bytes and no control characters"
    )]
    Key(String),
    /// A value is too long.
    #[error("the value of `{key}` has {bytes} bytes, and the most are {CONFIG_VALUE_BYTES_MAX}")]
    Value {
        /// Its key.
        key: String,
        /// Its bytes.
        bytes: usize,
    },
    /// There are too many keys.
    #[error("there are {0} keys, and the most are {CONFIG_KEYS_MAX}")]
    Keys(usize),
    /// All of it is too large.
    #[error("keys and values have {0} bytes together, and the most are {CONFIG_BYTES_MAX}")]
    Bytes(usize),
}

impl Configuration {
    /// Returns the configuration of these keys and values; of two values of one key, the later. `revision` is higher for
    /// one that takes the place of another.
    #[must_use]
    pub fn new<K, V>(revision: u64, values: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<Box<str>>,
        V: Into<Box<str>>,
    {
        let values = values.into_iter();
        let values = values.map(|(key, value)| (key.into(), value.into()));
        Self {
            revision,
            values: values.collect(),
        }
    }

    /// Checks it against the bounds of a configuration.
    ///
    /// # Errors
    /// The first [`ConfigurationError`].
    pub fn check(&self) -> Result<(), ConfigurationError> {
        if self.values.len() > CONFIG_KEYS_MAX {
            return Err(ConfigurationError::Keys(self.values.len()));
        }
        for (key, value) in self.iter() {
            let long = key.len() > CONFIG_KEY_BYTES_MAX;
            if key.is_empty() || long || key.chars().any(char::is_control) {
                return Err(ConfigurationError::Key(printable(key, 256)));
            }
            if value.len() > CONFIG_VALUE_BYTES_MAX {
                let (key, bytes) = (printable(key, 256), value.len());
                return Err(ConfigurationError::Value { key, bytes });
            }
        }
        let bytes = self
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        if bytes > CONFIG_BYTES_MAX {
            return Err(ConfigurationError::Bytes(bytes));
        }
        Ok(())
    }

    /// Returns the number of its revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the same values as another revision.
    #[must_use]
    pub fn with_revision(mut self, revision: u64) -> Self {
        self.revision = revision;
        self
    }

    /// Returns the value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|value| &**value)
    }

    /// Returns every key with its value, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Returns the keys that are not the same in `after`: with another value, new, or gone; in order.
    #[must_use]
    pub fn changed<'a>(&'a self, after: &'a Self) -> Vec<&'a str> {
        let gone_or_other = self
            .iter()
            .filter(|(key, value)| after.get(key) != Some(*value));
        let new = after.iter().filter(|(key, _)| self.get(key).is_none());
        let mut changed: Vec<_> = gone_or_other.chain(new).map(|(key, _)| key).collect();
        changed.sort_unstable();
        changed
    }
}

/// Which keys a policy lets a manifest ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfigPolicy {
    /// None.
    #[default]
    None,
    /// These, and whatever the patterns cover.
    Within(Vec<ConfigReach>),
    /// Any.
    Any,
}

impl ConfigPolicy {
    /// Whether a pattern may be granted.
    pub(crate) fn allows(&self, asked: &ConfigReach) -> bool {
        match self {
            Self::None => false,
            Self::Within(within) => within.iter().any(|allowed| allowed.covers(asked)),
            Self::Any => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Configuration {
        Configuration::new(1, pairs.iter().copied())
    }

    #[test]
    fn what_has_changed_is_each_key_once_and_in_order() {
        let before = of(&[("b", "1"), ("c", "1"), ("d", "1")]);
        let after = of(&[("a", "1"), ("b", "2"), ("c", "1")]);
        assert_eq!(before.changed(&after), ["a", "b", "d"]);
        assert_eq!(after.changed(&before), ["a", "b", "d"]);
        assert!(before.changed(&before.clone().with_revision(9)).is_empty());
    }

    #[test]
    fn of_two_values_of_a_key_the_later_counts() {
        let config = of(&[("a", "1"), ("a", "2")]);
        assert_eq!(config.get("a"), Some("2"));
        assert_eq!(config.iter().count(), 1);
    }

    #[test]
    fn each_bound_has_its_error() {
        let check = |pairs: Vec<(String, String)>| Configuration::new(1, pairs).check();
        let pair = |key: &str, bytes: usize| (key.to_owned(), "x".repeat(bytes));
        assert_eq!(check(vec![pair("k", CONFIG_VALUE_BYTES_MAX)]), Ok(()));
        assert_eq!(
            check(vec![pair(&"k".repeat(CONFIG_KEY_BYTES_MAX), 0)]),
            Ok(())
        );
        for key in [
            "",
            "a\nb",
            "\u{1b}[2J",
            &"k".repeat(CONFIG_KEY_BYTES_MAX + 1),
        ] {
            let wrong = check(vec![pair(key, 0)]).unwrap_err();
            assert!(matches!(wrong, ConfigurationError::Key(_)), "{wrong}");
            assert!(!wrong.to_string().contains(char::is_control), "{wrong}");
        }
        let wrong = check(vec![pair("k", CONFIG_VALUE_BYTES_MAX + 1)]).unwrap_err();
        assert!(
            wrong
                .to_string()
                .starts_with("the value of `k` has 65537 bytes"),
            "{wrong}"
        );
        let many = |count: usize, bytes: usize| {
            let pairs = (0..count).map(|at| pair(&format!("{at:04}"), bytes));
            check(pairs.collect())
        };
        assert_eq!(many(CONFIG_KEYS_MAX, 1), Ok(()));
        assert_eq!(
            many(CONFIG_KEYS_MAX + 1, 1),
            Err(ConfigurationError::Keys(CONFIG_KEYS_MAX + 1))
        );
        assert_eq!(
            many(5, CONFIG_VALUE_BYTES_MAX),
            Err(ConfigurationError::Bytes(5 * (CONFIG_VALUE_BYTES_MAX + 4)))
        );
    }

    #[test]
    fn a_value_is_not_in_what_is_written_of_it() {
        let config = of(&[("password", "hunter2")]);
        let written = format!("{config:?}");
        assert!(
            written.contains("password") && !written.contains("hunter2"),
            "{written}"
        );
    }
}
