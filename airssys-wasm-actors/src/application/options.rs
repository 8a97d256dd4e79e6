//! What a run adds to a manifest: values of its options, other inputs, and the operator's policy.
//!
//! Owns how an option's value reaches the configuration of the component it sets, and how an input takes the
//! place of a source's file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use airssys_wasm::Policy;

use super::Loading;
use super::resolving::Resolving;
use crate::configuration::ConfigSettings;
use crate::manifest::{FindingKind, in_order, name_shown, suggest};
use crate::source::Input;

/// An input instead of a source's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputOverride {
    /// The source; may be left out where there is one only.
    pub source: Option<String>,
    /// What it reads.
    pub input: Input,
}

/// Told what a resolve is doing.
pub type LoadingObserver = Box<dyn Fn(Loading<'_>) + Send + Sync>;

/// Finds a variable of the host's environment.
pub type EnvironmentLookup = Box<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// What [`resolve`](crate::ApplicationSpec::resolve) takes beside the manifest.
#[derive(Default)]
pub struct ResolveOptions {
    /// What components may be granted. The default allows nothing.
    pub policy: Policy,
    /// Values of the manifest's `[options]`, by name.
    pub values: BTreeMap<String, String>,
    /// Other inputs.
    pub inputs: Vec<InputOverride>,
    /// Files of components instead of those that the manifest names, by the component's name: the artifacts of a
    /// registry, when a deployment of it is started again.
    pub artifacts: BTreeMap<String, PathBuf>,
    /// Values that count more than those of every layer, by component: what was set while an earlier host ran. Those of
    /// components that are not there are left out.
    pub settings: ConfigSettings,
    /// The host's environment, of which `config-env` takes variables that the policy allows. Default: it is empty.
    pub environment: Option<EnvironmentLookup>,
    /// Told of each component before it is loaded, since that can take seconds.
    pub loading: Option<LoadingObserver>,
}

impl fmt::Debug for ResolveOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolveOptions")
            .field("policy", &self.policy)
            .field("values", &self.values)
            .field("inputs", &self.inputs)
            .field("artifacts", &self.artifacts)
            .field("settings", &self.settings.keys())
            .finish_non_exhaustive()
    }
}

/// Values set from outside: component → key → value.
pub(super) type SetValues = BTreeMap<String, BTreeMap<String, String>>;

/// Checks every option of the manifest, given or not, and every value given.
pub(super) fn resolve(resolving: &mut Resolving<'_>) -> SetValues {
    let (spec, given) = (resolving.spec, &resolving.options.values);
    let mut set = SetValues::new();
    for (name, option) in in_order(&spec.tables.options) {
        let Some((component, key)) = split(resolving, option.sets.get_ref()) else {
            let what = format!(
                "`{}` does not name a configuration key",
                escaped(option.sets.get_ref())
            );
            resolving.find_at(
                &option.sets,
                FindingKind::BadValue,
                what,
                Some("write \"component.key\"".to_owned()),
            );
            continue;
        };
        if !resolving.is_component(component) {
            let what = format!(
                "the option `{}` sets `{component}`, and there is no such component",
                name.get_ref()
            );
            let help = suggest(component, "components", resolving.component_names());
            resolving.find_at(&option.sets, FindingKind::UnknownActor, what, Some(help));
            continue;
        }
        let Some(value) = given.get(name.get_ref().as_str()) else {
            continue;
        };
        match option.kind.check(value) {
            Ok(()) => {
                set.entry(component.to_owned())
                    .or_default()
                    .insert(key.to_owned(), value.clone());
            }
            Err(expected) => {
                let what = format!(
                    "`{}` is not a value of the option `{}`",
                    escaped(value),
                    name.get_ref()
                );
                resolving.find(
                    FindingKind::BadOption,
                    what,
                    Some(format!("it takes {expected}")),
                );
            }
        }
    }
    for name in given.keys().filter(|name| {
        !spec
            .tables
            .options
            .keys()
            .any(|known| known.get_ref() == *name)
    }) {
        let known = spec
            .tables
            .options
            .keys()
            .map(|name| name.get_ref().as_str());
        let what = format!("the manifest has no option `{}`", escaped(name));
        resolving.find(
            FindingKind::BadOption,
            what,
            Some(suggest(name, "options", known)),
        );
    }
    set
}

/// `component.key`. A component's name may have dots in it: the longest that fits is meant.
fn split<'a>(resolving: &Resolving<'_>, sets: &'a str) -> Option<(&'a str, &'a str)> {
    let dots = sets.match_indices('.');
    let mut known = dots.filter_map(|(at, _)| Some((sets.get(..at)?, sets.get(at + 1..)?)));
    known
        .rfind(|(component, _)| resolving.is_component(component))
        .or_else(|| sets.split_once('.'))
}

/// Finds the source each input is for; inputs without one are findings.
pub(super) fn inputs(resolving: &mut Resolving<'_>) -> BTreeMap<String, Input> {
    let names: Vec<_> = resolving
        .spec
        .tables
        .sources
        .keys()
        .map(|name| name.get_ref().as_str())
        .collect();
    let mut inputs = BTreeMap::new();
    for given in &resolving.options.inputs {
        let source = match (&given.source, names.as_slice()) {
            (Some(name), _) if names.contains(&name.as_str()) => name.clone(),
            (Some(name), _) => {
                let what = format!("the manifest has no source `{}`", escaped(name));
                let help = suggest(name, "sources", names.iter().copied());
                resolving.find(FindingKind::BadOption, what, Some(help));
                continue;
            }
            (None, [only]) => (*only).to_owned(),
            (None, []) => {
                let what = format!(
                    "{} is given as input, and the manifest has no source",
                    given.input
                );
                resolving.find(
                    FindingKind::BadOption,
                    what,
                    Some("add a `[sources.NAME]` table".to_owned()),
                );
                continue;
            }
            (None, [first, ..]) => {
                let what = format!(
                    "{} is given as input, and there are {} sources",
                    given.input,
                    names.len()
                );
                let help = format!(
                    "name one: `--input {first}=…`; the sources are {}",
                    names.join(", ")
                );
                resolving.find(FindingKind::BadOption, what, Some(help));
                continue;
            }
        };
        // Two readers of one stream would each get what the other has not taken yet.
        if given.input == Input::Stdin
            && let Some(other) = inputs
                .iter()
                .find(|(name, input)| **input == Input::Stdin && **name != source)
        {
            let what = format!(
                "standard input is given to both `{}` and `{source}`, and can be read once",
                other.0
            );
            let help = "write one of the two to a file, and give that".to_owned();
            resolving.find(FindingKind::BadOption, what, Some(help));
            continue;
        }
        if inputs.insert(source.clone(), given.input.clone()).is_some() {
            resolving.find(
                FindingKind::BadOption,
                format!("two inputs are given for the source `{source}`"),
                None,
            );
        }
    }
    inputs
}

/// Text from outside, on one line.
pub(super) fn escaped(text: &str) -> String {
    name_shown(text)
}
