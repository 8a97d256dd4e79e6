//! What is asked of a configuration: values set above all layers, taken back, or files read again.
//!
//! Owns [`ConfigOrder`] and what becomes of the layers of a component by it. Nothing that runs is touched here: what comes
//! of it is an application that is deployed as any other.

use std::collections::{BTreeMap, BTreeSet};

use airssys_wasm::ConfigurationError;

use super::file;
use super::layers::{ConfigLayers, ConfigSource, FileLayer, Values};

/// Values that were set above all that manifests say: component → key → value.
pub type ConfigSettings = BTreeMap<String, Values>;

/// A change of configuration that is asked for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConfigOrder {
    /// The component, by its name in the manifest. Needed to set and unset; without it, files of all components are read
    /// again.
    pub component: Option<String>,
    /// Values that count more than those of every layer of the manifest.
    pub set: Values,
    /// Keys whose values were set, and are not any more.
    pub unset: BTreeSet<String>,
    /// Whether the `config-file` is read again.
    pub reload: bool,
}

/// No values, which can be secrets.
impl std::fmt::Debug for ConfigOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigOrder")
            .field("component", &self.component)
            .field("set", &self.set.keys())
            .field("unset", &self.unset)
            .field("reload", &self.reload)
            .finish()
    }
}

/// Bytes of keys that are listed where a change is told: some, of any length, or dozens of short ones.
const LISTED_BYTES: usize = 1 << 10;

/// As many keys as there is room for, and how many more there are.
fn listed<'a>(keys: impl ExactSizeIterator<Item = &'a String>) -> String {
    let mut left = keys.len();
    let mut text = String::new();
    for key in keys {
        if text.len() >= LISTED_BYTES {
            text.push_str(&format!(" and {left} more"));
            break;
        }
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&escaped(key));
        left -= 1;
    }
    text
}

/// What is done, in short, for a history: at most about 3 KiB, however many keys there are.
impl std::fmt::Display for ConfigOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut what = Vec::new();
        if !self.set.is_empty() {
            what.push(format!("set {}", listed(self.set.keys())));
        }
        if !self.unset.is_empty() {
            what.push(format!("unset {}", listed(self.unset.iter())));
        }
        if self.reload {
            what.push("reload".to_owned());
        }
        match &self.component {
            Some(name) => write!(f, "config of {}: {}", escaped(name), what.join(", ")),
            None => write!(f, "config: {}", what.join(", ")),
        }
    }
}

/// Why a configuration is not changed. Nothing is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigOrderRefused {
    /// Nothing is asked for.
    #[error("nothing is to be set, unset or read again")]
    Empty,
    /// Values are to be set or unset, and it is not said of whom.
    #[error("values are set of one component: name it")]
    NoComponent,
    /// There is no such component.
    #[error("there is no component `{name}`; {help}")]
    NoSuchComponent {
        /// The name, escaped.
        name: String,
        /// What there is.
        help: String,
    },
    /// It is started by others, who give it a configuration.
    #[error("`{0}` is spawned: change its `config` in the manifest, and deploy that")]
    Spawned(String),
    /// A key that was not set is to be unset.
    #[error(
        "`{key}` of `{component}` was not set{}", 
        match layer {
            Some(layer) => format!("; its value is of the layer `{}`", layer.as_str()),
            None => ", and has no value".to_owned(),
        }
    )]
    NotSet {
        /// The component.
        component: String,
        /// The key, escaped.
        key: String,
        /// Where its value comes from.
        layer: Option<ConfigSource>,
    },
    /// A key is to be set and unset.
    #[error("`{0}` is to be set and unset at once")]
    Both(String),
    /// It is too large, or has what is no key.
    #[error("`{component}` cannot be configured so: {why}")]
    Configuration {
        /// The component.
        component: String,
        /// What is wrong.
        why: ConfigurationError,
    },
    /// Nobody would read it.
    #[error("`{component}` {why}; {help}")]
    Unread {
        /// The component.
        component: String,
        /// Why not.
        why: &'static str,
        /// What to do about it.
        help: &'static str,
    },
    /// Files are to be read again, and there are none.
    #[error("{}; {help}", self.what())]
    NoFile {
        /// The component; `None` if all are meant.
        component: Option<String>,
        /// What to do about it.
        help: &'static str,
    },
    /// Its file cannot be read.
    #[error("`{path}`, the `config-file` of `{component}`: {why}")]
    File {
        /// The component.
        component: String,
        /// The file.
        path: String,
        /// Why not, without what stands in it.
        why: String,
    },
}

impl ConfigOrderRefused {
    pub(crate) fn no_file(component: Option<String>) -> Self {
        Self::NoFile {
            component,
            help: "name one in the manifest (`config-file`) and deploy that, or set values with `airssys config set`",
        }
    }

    /// What is the matter, without what to do about it.
    #[must_use]
    pub fn what(&self) -> String {
        match self {
            Self::NoSuchComponent { name, .. } => format!("there is no component `{name}`"),
            Self::Spawned(name) => format!("`{name}` is spawned"),
            Self::Unread { component, why, .. } => format!("`{component}` {why}"),
            Self::NoFile { component, .. } => match component {
                Some(component) => format!("`{component}` has no `config-file` to read again"),
                None => "no component has a `config-file` to read again".to_owned(),
            },
            other => other.to_string(),
        }
    }

    /// What to do about it, where something can be done.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Self::NoSuchComponent { help, .. } => Some(help),
            Self::Spawned(_) => Some("change its `config` in the manifest, and deploy that"),
            Self::Unread { help, .. } | Self::NoFile { help, .. } => Some(help),
            _ => None,
        }
    }
}

impl ConfigOrder {
    /// Checks what is wrong with it whatever it is for.
    ///
    /// # Errors
    /// [`ConfigOrderRefused::Empty`], [`ConfigOrderRefused::NoComponent`] and [`ConfigOrderRefused::Both`].
    pub fn check(&self) -> Result<(), ConfigOrderRefused> {
        let values = !self.set.is_empty() || !self.unset.is_empty();
        if !values && !self.reload {
            return Err(ConfigOrderRefused::Empty);
        }
        if values && self.component.is_none() {
            return Err(ConfigOrderRefused::NoComponent);
        }
        match self.unset.iter().find(|key| self.set.contains_key(*key)) {
            Some(key) => Err(ConfigOrderRefused::Both(escaped(key))),
            None => Ok(()),
        }
    }

    /// The layers of a component it is for. Blocks if files are to be read again.
    pub(crate) fn apply(
        &self,
        component: &str,
        layers: &ConfigLayers,
    ) -> Result<ConfigLayers, ConfigOrderRefused> {
        let mut after = layers.clone();
        for key in &self.unset {
            if after.set.remove(key).is_none() {
                let mut values = layers.values();
                let found = values.find(|(known, ..)| known == key);
                return Err(ConfigOrderRefused::NotSet {
                    component: component.to_owned(),
                    key: escaped(key),
                    layer: found.map(|(.., layer)| layer),
                });
            }
        }
        after.set.extend(self.set.clone());
        if self.reload && after.file.is_none() {
            return Err(ConfigOrderRefused::no_file(Some(component.to_owned())));
        }
        if let Some(FileLayer { path, values }) = after.file.as_mut().filter(|_| self.reload) {
            *values = file::read(path).map_err(|why| ConfigOrderRefused::File {
                component: component.to_owned(),
                path: path.display().to_string(),
                why: why.to_string(),
            })?;
        }
        after.configuration().check().map_err(|why| {
            let component = component.to_owned();
            ConfigOrderRefused::Configuration { component, why }
        })?;
        Ok(after)
    }
}

fn escaped(key: &str) -> String {
    airssys_wasm::printable(key, 256)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(set: &[(&str, &str)], unset: &[&str]) -> ConfigOrder {
        let set = set.iter();
        ConfigOrder {
            component: Some("one".to_owned()),
            set: set
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            unset: unset.iter().map(|key| (*key).to_owned()).collect(),
            reload: false,
        }
    }

    #[test]
    fn what_is_set_counts_until_it_is_unset() {
        let layers = ConfigLayers {
            manifest: order(&[("mode", "slow")], &[]).set,
            ..ConfigLayers::default()
        };
        let set = order(&[("mode", "fast"), ("new", "1")], &[]);
        let set = set.apply("one", &layers).unwrap();
        assert_eq!(set.configuration().get("mode"), Some("fast"));
        let unset = order(&[], &["mode", "new"]).apply("one", &set).unwrap();
        assert_eq!(unset, layers);
        let not = order(&[], &["mode"]).apply("one", &layers).unwrap_err();
        assert_eq!(
            not.to_string(),
            "`mode` of `one` was not set; its value is of the layer `manifest`"
        );
        let not = order(&[], &["a\nb"]).apply("one", &layers).unwrap_err();
        assert!(
            not.to_string().ends_with("was not set, and has no value"),
            "{not}"
        );
    }

    #[test]
    fn what_has_no_file_is_not_read_again() {
        let order = ConfigOrder {
            reload: true,
            ..order(&[], &[])
        };
        let not = order.apply("one", &ConfigLayers::default()).unwrap_err();
        assert_eq!(not.what(), "`one` has no `config-file` to read again");
        assert!(not.remedy().unwrap().contains("config set"), "{not}");
        assert!(not.to_string().starts_with(&not.what()), "{not}");
    }

    #[test]
    fn an_order_that_says_nothing_or_too_much_is_refused() {
        assert_eq!(
            ConfigOrder::default().check(),
            Err(ConfigOrderRefused::Empty)
        );
        let nobody = ConfigOrder {
            component: None,
            ..order(&[("a", "1")], &[])
        };
        assert_eq!(nobody.check(), Err(ConfigOrderRefused::NoComponent));
        let both = order(&[("a", "1")], &["a"]);
        assert_eq!(both.check(), Err(ConfigOrderRefused::Both("a".to_owned())));
        let large = "x".repeat(airssys_wasm::CONFIG_VALUE_BYTES_MAX + 1);
        let large = order(&[("a", &large)], &[]);
        let wrong = large.apply("one", &ConfigLayers::default()).unwrap_err();
        assert!(
            matches!(wrong, ConfigOrderRefused::Configuration { .. }),
            "{wrong}"
        );
        assert!(!format!("{large:?}").contains("xxx"));
    }

    #[test]
    fn of_many_keys_some_are_told_and_how_many_more_there_are() {
        let order = |keys: usize| ConfigOrder {
            component: Some("one".to_owned()),
            set: (0..keys)
                .map(|n| (format!("{n:0>200}"), "v".to_owned()))
                .collect(),
            unset: (0..keys).map(|n| format!("{n:0>255}")).collect(),
            ..ConfigOrder::default()
        };
        let few = order(2).to_string();
        assert!(
            few.starts_with("config of one: set 0000") && !few.contains("more"),
            "{few}"
        );
        let many = order(1_000).to_string();
        assert!(
            many.contains(" and 994 more, unset 0") && many.ends_with(" and 996 more"),
            "{many}"
        );
        assert!(many.len() < 4_096, "{}", many.len());
    }
}
