//! Configurations: looked at, and changed.

use std::collections::{BTreeMap, BTreeSet};

use airssys_wasm_actors::{ConfigLayers, ConfigSource};
use serde::{Deserialize, Serialize};

/// Which configurations are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigQuery {
    /// Of this component, by its name in the manifest; of all if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// With values. Those of the environment are never told.
    #[serde(default)]
    pub values: bool,
}

/// What the components of an application are configured with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConfigList {
    /// One for each component that is wanted, in start order.
    pub components: Vec<ConfigView>,
}

/// What one component is configured with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigView {
    /// Its name in the manifest.
    pub component: String,
    /// Its `config-file`, if it has one.
    pub file: Option<String>,
    /// Its keys, in order.
    pub keys: Vec<ConfigKeyView>,
}

/// One key of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigKeyView {
    /// The key.
    pub key: String,
    /// The layer that its value is of: `manifest`, `file`, `environment`, `option` or `set`.
    pub layer: String,
    /// Its value, where values are wanted and it is not of the environment.
    pub value: Option<String>,
}

/// A change of configuration.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigRequest {
    /// The component, by its name in the manifest. Without it, the files of all components are read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Values that count more than those of every layer of the manifest.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Keys that were set, and are not any more.
    #[serde(default)]
    pub unset: BTreeSet<String>,
    /// Whether the `config-file` is read again.
    #[serde(default)]
    pub reload: bool,
    /// Who changes it.
    #[serde(default)]
    pub by: String,
    /// Why.
    #[serde(default)]
    pub why: String,
    /// Whether it waits its turn while a deployment is under way.
    #[serde(default)]
    pub queue: bool,
    /// Only the plan is wanted; nothing is changed.
    #[serde(default)]
    pub plan_only: bool,
}

/// No values, which can be secrets.
impl std::fmt::Debug for ConfigRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigRequest")
            .field("component", &self.component)
            .field("set", &self.set.keys())
            .field("unset", &self.unset)
            .field("reload", &self.reload)
            .finish_non_exhaustive()
    }
}

impl ConfigView {
    pub(crate) fn of(component: &str, layers: &ConfigLayers, values: bool) -> Self {
        let keys = layers.values().map(|(key, value, layer)| ConfigKeyView {
            key: key.to_owned(),
            layer: layer.as_str().to_owned(),
            value: (values && layer != ConfigSource::Environment).then(|| value.to_owned()),
        });
        Self {
            component: component.to_owned(),
            file: layers.file().map(|path| path.display().to_string()),
            keys: keys.collect(),
        }
    }
}
