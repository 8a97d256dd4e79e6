//! Where the values of one component's configuration come from.
//!
//! Owns [`ConfigLayers`]: of several values of one key, that of the later layer counts. Plain data; what a file says is
//! read once, by whoever makes the layer (`file`).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use airssys_wasm::Configuration;
use serde::Serialize;

/// Keys and their values.
pub(crate) type Values = BTreeMap<String, String>;

/// The layers of one component's configuration.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConfigLayers {
    pub(crate) manifest: Values,
    pub(crate) file: Option<FileLayer>,
    pub(crate) environment: Values,
    pub(crate) options: Values,
    pub(crate) set: Values,
}

/// What a file says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct FileLayer {
    pub(crate) path: PathBuf,
    pub(crate) values: Values,
}

/// Where a value comes from, the first layer first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ConfigSource {
    /// `config` in the manifest.
    Manifest,
    /// The file that `config-file` names.
    File,
    /// A variable of the host's environment that `config-env` names.
    Environment,
    /// An option of the command line.
    Option,
    /// `airssys config set`.
    Set,
}

impl ConfigSource {
    /// Its name in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Option => "option",
            Self::Set => "set",
        }
    }
}

/// Keys and where they come from; no values, which can be secrets.
impl fmt::Debug for ConfigLayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = self.values().map(|(key, _, source)| (key, source));
        f.debug_map().entries(sources).finish()
    }
}

impl ConfigLayers {
    fn layers(&self) -> [(ConfigSource, Option<&Values>); 5] {
        [
            (ConfigSource::Manifest, Some(&self.manifest)),
            (
                ConfigSource::File,
                self.file.as_ref().map(|file| &file.values),
            ),
            (ConfigSource::Environment, Some(&self.environment)),
            (ConfigSource::Option, Some(&self.options)),
            (ConfigSource::Set, Some(&self.set)),
        ]
    }

    /// Every key with its value and where that comes from, in the order of the keys.
    pub fn values(&self) -> impl Iterator<Item = (&str, &str, ConfigSource)> {
        let mut all = BTreeMap::new();
        for (source, values) in self.layers() {
            for (key, value) in values.into_iter().flatten() {
                all.insert(key.as_str(), (value.as_str(), source));
            }
        }
        all.into_iter()
            .map(|(key, (value, source))| (key, value, source))
    }

    /// The file that it has values from, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| &*file.path)
    }

    /// What the component is configured with.
    #[must_use]
    pub fn configuration(&self) -> Configuration {
        Configuration::new(1, self.values().map(|(key, value, _)| (key, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        let owned = |text: &str| text.to_owned();
        pairs
            .iter()
            .map(|(key, value)| (owned(key), owned(value)))
            .collect()
    }

    #[test]
    fn the_later_layer_counts_key_by_key() {
        let mut layers = ConfigLayers {
            manifest: values(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1")]),
            file: Some(FileLayer {
                path: PathBuf::new(),
                values: values(&[("b", "2"), ("c", "2"), ("d", "2"), ("e", "2")]),
            }),
            environment: values(&[("c", "3"), ("d", "3"), ("e", "3"), ("secret", "hunter2")]),
            options: values(&[("d", "4"), ("e", "4")]),
            set: values(&[("e", "5")]),
        };
        let seen: Vec<_> = layers.values().collect();
        assert_eq!(
            seen,
            [
                ("a", "1", ConfigSource::Manifest),
                ("b", "2", ConfigSource::File),
                ("c", "3", ConfigSource::Environment),
                ("d", "4", ConfigSource::Option),
                ("e", "5", ConfigSource::Set),
                ("secret", "hunter2", ConfigSource::Environment),
            ]
        );
        assert_eq!(layers.configuration().get("e"), Some("5"));
        assert!(!format!("{layers:?}").contains("hunter2"));
        layers.set.clear();
        assert_eq!(
            layers.configuration().get("e"),
            Some("4"),
            "what was below is there again"
        );
    }
}
