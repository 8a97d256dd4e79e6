//! What a manifest says of a component's configuration, layer by layer, and an application with another one.
//!
//! Owns reading the layers and finding what is wrong with them: a value that is none, a file or a variable that is not
//! there, what the policy does not allow, and what nobody would read. Values are in no finding: they can be secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use airssys_wasm::{ConfigReach, Surface};

use super::components::Loaded;
use super::options::escaped;
use super::resolving::Resolving;
use super::{Application, ResolvedComponent};
use crate::address::ActorAddress;
use crate::configuration::file::{self, ConfigFileError};
use crate::configuration::{
    ConfigLayers, ConfigOrder, ConfigOrderRefused, ConfigSettings, FileLayer, Values,
};
use crate::deployment::ComponentOutline;
use crate::manifest::{FindingKind, suggest};
use crate::supervisor::{ChildSpec, SupervisorSpec};

/// The functions that are given it.
const GIVEN: [&str; 2] = ["airssys:actor/init#init", "airssys:actor/start#start"];

/// The interfaces that read it, without their versions.
const STORES: [&str; 2] = ["airssys:config/store", "wasi:config/store"];

/// The layers of one component; `set` is what options of the command line say.
pub(super) fn resolve(
    resolving: &mut Resolving<'_>,
    name: &str,
    loaded: &Loaded<'_>,
    set: Option<&BTreeMap<String, String>>,
) -> ConfigLayers {
    let layers = ConfigLayers {
        manifest: manifest(resolving, name, loaded),
        file: file(resolving, name, loaded),
        environment: environment(resolving, name, loaded),
        options: set.cloned().unwrap_or_default(),
        set: settings(resolving, name, loaded),
    };
    if let Err(why) = layers.configuration().check() {
        let what = format!("`{name}` cannot be configured so: {why}");
        find(resolving, loaded, FindingKind::BadValue, what, None);
    }
    unread(resolving, name, loaded, &layers);
    layers
}

/// What was set. One that is spawned by now is configured by its manifest alone: nobody could take back what was set before.
fn settings(resolving: &Resolving<'_>, name: &str, loaded: &Loaded<'_>) -> Values {
    let all = &resolving.options.settings;
    let set = all.get(name).filter(|_| !loaded.spec.spawned);
    set.cloned().unwrap_or_default()
}

/// Adds a finding where the configuration begins.
fn find(
    resolving: &mut Resolving<'_>,
    loaded: &Loaded<'_>,
    kind: FindingKind,
    what: String,
    help: Option<String>,
) {
    let spec = loaded.spec;
    match (
        &spec.config,
        &spec.config_file,
        spec.config_env.values().next(),
    ) {
        (Some(at), ..) => resolving.find_at(at, kind, what, help),
        (None, Some(at), _) => resolving.find_at(at, kind, what, help),
        (None, None, Some(at)) => resolving.find_at(at, kind, what, help),
        (None, None, None) => resolving.find(kind, what, help),
    }
}

fn manifest(resolving: &mut Resolving<'_>, name: &str, loaded: &Loaded<'_>) -> Values {
    let Some(table) = &loaded.spec.config else {
        return Values::new();
    };
    file::flat(table.get_ref()).unwrap_or_else(|why| {
        let what = format!("the `config` of `{name}`: {why}");
        resolving.find_at(table, FindingKind::BadValue, what, None);
        Values::new()
    })
}

fn file(resolving: &mut Resolving<'_>, name: &str, loaded: &Loaded<'_>) -> Option<FileLayer> {
    let named = loaded.spec.config_file.as_ref()?;
    let path = resolving.spec.path(named.get_ref());
    match file::read(&path) {
        Ok(values) => Some(FileLayer { path, values }),
        Err(why) => {
            let text = escaped(named.get_ref());
            let kind = match why {
                ConfigFileError::Missing | ConfigFileError::Unreadable(_) => {
                    FindingKind::MissingFile
                }
                _ => FindingKind::BadValue,
            };
            let what = format!("`{text}`, the `config-file` of `{name}`: {why}");
            let help = matches!(why, ConfigFileError::Missing).then(|| {
                let path = path.display();
                format!("paths start at the manifest's directory: looked for {path}")
            });
            resolving.find_at(named, kind, what, help);
            None
        }
    }
}

fn environment(resolving: &mut Resolving<'_>, name: &str, loaded: &Loaded<'_>) -> Values {
    let mut values = Values::new();
    for (key, variable) in &loaded.spec.config_env {
        let text = escaped(variable.get_ref());
        if !resolving
            .options
            .policy
            .config_env
            .allows(variable.get_ref())
        {
            let what = format!("the policy does not allow `{name}` the variable `{text}`");
            let help = format!("to allow it, add {text:?} to `config-env.names` of the policy");
            resolving.find_at(variable, FindingKind::GrantRefused, what, Some(help));
            continue;
        }
        let lookup = resolving.options.environment.as_ref();
        let found = lookup.and_then(|lookup| lookup(variable.get_ref()));
        match found.map(std::ffi::OsString::into_string) {
            Some(Ok(value)) => {
                values.insert(key.clone(), value);
            }
            Some(Err(_)) => {
                let what = format!("the environment variable `{text}` is no UTF-8 text");
                resolving.find_at(variable, FindingKind::BadValue, what, None);
            }
            None => {
                let key = escaped(key);
                let what = format!(
                    "the host's environment has no variable `{text}`, which `{name}` is to have as `{key}`"
                );
                let help = "set it where the host is started, or take it out".to_owned();
                resolving.find_at(variable, FindingKind::BadValue, what, Some(help));
            }
        }
    }
    values
}

/// Somebody has to read it: `init`, or the component itself, which needs to be allowed to.
fn unread(resolving: &mut Resolving<'_>, name: &str, loaded: &Loaded<'_>, layers: &ConfigLayers) {
    let reads = loaded.grants.config();
    if let Some((why, help)) = why_unread(loaded.component.surface(), reads, layers) {
        let kind = FindingKind::UnknownFunction;
        let what = format!("`{name}` {why}");
        find(resolving, loaded, kind, what, Some(help.to_owned()));
    }
}

/// Why nobody would read this configuration, and what to do about it.
fn why_unread(
    surface: &Surface,
    reads: &[ConfigReach],
    layers: &ConfigLayers,
) -> Option<(&'static str, &'static str)> {
    let is_given = || GIVEN.iter().any(|hook| surface.export(hook).is_ok());
    if layers.values().next().is_none() || is_given() {
        return None;
    }
    let mut imports = surface.imports.iter();
    if !imports.any(|import| STORES.contains(&import.name.unversioned())) {
        return Some((
            "is configured, and does not export `airssys:actor/init`",
            "nothing would read it: take it out, or let the component export that interface, or import \
             `airssys:config/store` or `wasi:config/store`",
        ));
    }
    let mut keys = layers.values().map(|(key, ..)| key);
    let is_read = keys.any(|key| reads.iter().any(|reach| reach.matches(key)));
    (!is_read).then_some((
        "is configured, and may not read any of it",
        "grant it the keys: `config = [\"**\"]` in its `grants` is all of them",
    ))
}

impl Application {
    /// The values that were set above all that the manifest says, by component.
    #[must_use]
    pub fn settings(&self) -> ConfigSettings {
        let set = self.components.iter().chain(&self.spawned);
        let set = set.filter(|one| !one.config.set.is_empty());
        set.map(|one| (one.name.clone(), one.config.set.clone()))
            .collect()
    }

    /// The same application with another configuration: whatever of it is asked for, or nothing. Blocks if files are to be
    /// read again.
    ///
    /// # Errors
    /// [`ConfigOrderRefused`].
    pub fn configured(&self, order: &ConfigOrder) -> Result<Application, ConfigOrderRefused> {
        order.check()?;
        match &order.component {
            Some(name) => self.check_name(name)?,
            None if self.components.iter().all(|one| one.config.file.is_none()) => {
                return Err(ConfigOrderRefused::no_file(None));
            }
            None => {}
        }
        let mut new = self.clone();
        let wanted = |one: &&mut ResolvedComponent| match &order.component {
            Some(name) => one.name == *name,
            None => one.config.file.is_some(),
        };
        for one in new.components.iter_mut().filter(wanted) {
            let layers = order.apply(&one.name, &one.config)?;
            let reads = &one.outline.capabilities.config;
            if let Some((why, help)) = why_unread(&one.outline.surface, reads, &layers) {
                let component = one.name.clone();
                return Err(ConfigOrderRefused::Unread {
                    component,
                    why,
                    help,
                });
            }
            let config = layers.configuration();
            let pairs = layers.values();
            let pairs = pairs.map(|(key, value, _)| (key.to_owned(), value.to_owned()));
            one.outline = Arc::new(ComponentOutline {
                config: pairs.collect(),
                ..(*one.outline).clone()
            });
            one.child = one.child.clone().configuration(config);
            one.config = Arc::new(layers);
        }
        let children = new.components.iter().map(|one| &one.child);
        let children = children.map(|child| (&child.address, child)).collect();
        new.supervision = with_children(&new.supervision, &children);
        Ok(new)
    }

    fn check_name(&self, name: &str) -> Result<(), ConfigOrderRefused> {
        let names = |of: &[ResolvedComponent]| of.iter().any(|one| one.name == name);
        if names(&self.components) {
            return Ok(());
        }
        if names(&self.spawned) {
            return Err(ConfigOrderRefused::Spawned(name.to_owned()));
        }
        let known = self.components.iter().map(|one| one.name.as_str());
        Err(ConfigOrderRefused::NoSuchComponent {
            name: escaped(name),
            help: suggest(name, "components", known),
        })
    }
}

/// The same tree with these in the place of its children of their addresses.
fn with_children(
    spec: &SupervisorSpec,
    children: &BTreeMap<&ActorAddress, &ChildSpec>,
) -> SupervisorSpec {
    let child = |child: &ChildSpec| match (child.as_supervisor(), children.get(&child.address)) {
        (Some(below), _) => ChildSpec {
            start: ChildSpec::supervisor(with_children(below, children)).start,
            ..child.clone()
        },
        (None, Some(other)) => (*other).clone(),
        (None, None) => child.clone(),
    };
    SupervisorSpec {
        children: spec.children.iter().map(child).collect(),
        ..spec.clone()
    }
}
