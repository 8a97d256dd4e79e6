//! What a manifest says of a component's configuration, layer by layer.
//!
//! Owns reading the layers and finding what is wrong with them: a value that is none, a file or a variable that is not
//! there, what the policy does not allow, and what nobody would read. Values are in no finding: they can be secrets.

use std::collections::BTreeMap;

use super::components::Loaded;
use super::options::escaped;
use super::resolving::Resolving;
use crate::configuration::file::{self, ConfigFileError};
use crate::configuration::{ConfigLayers, FileLayer, Values};
use crate::manifest::FindingKind;

const INIT: &str = "airssys:actor/init#init";

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
        set: Values::new(),
    };
    if let Err(why) = layers.configuration().check() {
        let what = format!("`{name}` cannot be configured so: {why}");
        find(resolving, loaded, FindingKind::BadValue, what, None);
    }
    unread(resolving, name, loaded, &layers);
    layers
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
    let surface = loaded.component.surface();
    if layers.values().next().is_none() || surface.export(INIT).is_ok() {
        return;
    }
    let mut imports = surface.imports.iter();
    let imports = imports.any(|import| STORES.contains(&import.name.unversioned()));
    let (what, help) = if !imports {
        (
            format!("`{name}` is configured, and does not export `airssys:actor/init`"),
            "nothing would read it: take it out, or let the component export that interface, or import \
             `airssys:config/store` or `wasi:config/store`",
        )
    } else if loaded.grants.config().is_empty() {
        (
            format!("`{name}` is configured, and may not read any of it"),
            "grant it the keys: `config = [\"**\"]` in its `grants` is all of them",
        )
    } else {
        return;
    };
    let kind = FindingKind::UnknownFunction;
    find(resolving, loaded, kind, what, Some(help.to_owned()));
}
