//! The walk over a manifest that turns it into an application.
//!
//! Owns the list of findings and the order of the checks: names, files, grants and limits of each component, then
//! links between them, then what is left missing, then everything that names a component. A fault stops what
//! depends on it and nothing else, so that one walk finds them all and none twice.

use std::collections::BTreeMap;
use std::path::PathBuf;

use airssys_wasm::{Component, Engine, Surface};
use toml::Spanned;

use super::components::Loaded;
use super::options::escaped;
use super::options::{self, ResolveOptions, SetValues};
use super::{
    Application, Loading, ResolvedComponent, asking, components, links, sources, spawned,
    supervisors,
};
use crate::address::ActorAddress;
use crate::manifest::{ApplicationSpec, Finding, FindingKind, ManifestErrors, in_order};
use crate::system::OWN_SUPERVISOR;

pub(super) struct Resolving<'a> {
    pub(super) spec: &'a ApplicationSpec,
    pub(super) engine: &'a Engine,
    pub(super) options: &'a ResolveOptions,
    findings: Vec<Finding>,
    /// Loaded files, so that one used twice is compiled once.
    pub(super) files: BTreeMap<PathBuf, Option<Component>>,
}

impl<'a> Resolving<'a> {
    pub(super) fn new(
        spec: &'a ApplicationSpec,
        engine: &'a Engine,
        options: &'a ResolveOptions,
    ) -> Self {
        Self {
            spec,
            engine,
            options,
            findings: Vec::new(),
            files: BTreeMap::new(),
        }
    }

    /// Adds a finding without a place.
    pub(super) fn find(&mut self, kind: FindingKind, what: String, help: Option<String>) {
        self.findings.push(Finding {
            kind,
            at: None,
            what,
            help,
        });
    }

    /// Adds a finding at the place of a value.
    pub(super) fn find_at<T>(
        &mut self,
        at: &Spanned<T>,
        kind: FindingKind,
        what: String,
        help: Option<String>,
    ) {
        let at = Some(self.spec.location(at));
        self.findings.push(Finding {
            kind,
            at,
            what,
            help,
        });
    }

    /// Adds a finding that knows its byte in the text.
    pub(super) fn find_byte(&mut self, byte: usize, finding: Finding) {
        self.findings
            .push(finding.at(self.spec.location(&Spanned::new(byte..byte, ()))));
    }

    pub(super) fn component_names(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.spec
            .tables
            .components
            .keys()
            .map(|name| name.get_ref().as_str())
    }

    pub(super) fn is_component(&self, name: &str) -> bool {
        self.component_names().any(|known| known == name)
    }

    /// Whether it is started by others, and not with the application.
    pub(super) fn is_spawned(&self, name: &str) -> bool {
        let mut components = self.spec.tables.components.iter();
        components.any(|(known, spec)| known.get_ref() == name && spec.spawned)
    }

    pub(super) fn finish(mut self) -> Result<Application, ManifestErrors> {
        let name = self.address();
        self.names(name.as_ref());
        let set = options::resolve(&mut self);
        let inputs = options::inputs(&mut self);
        let loaded = self.load();
        let surfaces: BTreeMap<&str, &Surface> = loaded
            .iter()
            .filter_map(|(name, loaded)| Some((*name, &**loaded.as_ref()?.component.surface())))
            .collect();
        let tree = supervisors::resolve(&mut self);
        let order = tree.component_order();
        let sources = sources::resolve(&mut self, name.as_ref(), &surfaces, &inputs);
        let report = asking::resolve(&mut self, name.as_ref(), &surfaces);
        let spawned = spawned::names(&mut self);
        let mut resolved = self.components(name.as_ref(), &loaded, &surfaces, &order, &set);
        let spawned = self.components(name.as_ref(), &loaded, &surfaces, &spawned, &set);
        spawned::resolve(&mut self, name.as_ref(), &loaded, &mut resolved, &spawned);
        ManifestErrors::check(&self.spec.file, self.findings)?;
        let Some(address) = name else {
            // Without a name there is a finding, and the check above has returned it.
            let finding = Finding::new(FindingKind::BadValue, "the application has no valid name");
            return Err(ManifestErrors::one(&self.spec.file, finding));
        };
        let children = resolved
            .iter()
            .map(|one| (one.name.as_str(), one.child.clone()))
            .collect();
        let supervision = tree.supervision(&address, &self.spec.tables.supervision, &children);
        Ok(Application {
            manifest: self.spec.text.as_str().into(),
            description: self.spec.tables.application.description.clone(),
            supervision,
            components: resolved,
            spawned,
            sources,
            report,
        })
    }

    fn address(&mut self) -> Option<ActorAddress> {
        let name = &self.spec.tables.application.name;
        match name.get_ref().parse() {
            Ok(_) if name.get_ref() == OWN_SUPERVISOR => {
                let what = format!("`{OWN_SUPERVISOR}` is the name of the host's own supervisor");
                let help = "give the application another name".to_owned();
                self.find_at(name, FindingKind::BadValue, what, Some(help));
                None
            }
            Ok(address) => Some(address),
            Err(error) => {
                self.find_at(name, FindingKind::BadValue, format!("{error}"), None);
                None
            }
        }
    }

    /// Components, supervisors and sources share one space of names.
    fn names(&mut self, application: Option<&ActorAddress>) {
        let tables = &self.spec.tables;
        if tables.components.is_empty() {
            let help = "add a `[components.NAME]` table with a `file`".to_owned();
            self.find(
                FindingKind::MissingKey,
                "the application has no components".to_owned(),
                Some(help),
            );
        }
        let components = tables.components.keys().map(|name| ("component", name));
        let supervisors = tables.supervisors.keys().map(|name| ("supervisor", name));
        let sources = tables.sources.keys().map(|name| ("source", name));
        let mut known: BTreeMap<&str, (&str, &Spanned<String>)> = BTreeMap::new();
        for (kind, name) in components.chain(supervisors).chain(sources) {
            // One with a `/` could be the address of somebody's replica.
            let valid = if name.get_ref().contains('/') {
                let text = escaped(name.get_ref());
                Err(format!(
                    "`{text}` is no name of a {kind}: a name is one part of an address, without `/`"
                ))
            } else {
                let address = match application {
                    Some(application) => application.join(name.get_ref()),
                    None => name.get_ref().parse(),
                };
                address.map(|_| ()).map_err(|error| error.to_string())
            };
            if let Err(what) = valid {
                self.find_at(name, FindingKind::BadValue, what, None);
            }
            let Some((other, first)) = known.insert(name.get_ref(), (kind, name)) else {
                continue;
            };
            let line = self.spec.location(first).line;
            let text = name.get_ref();
            let what = format!("the {kind} `{text}` has the name of the {other} in line {line}");
            let help = "give one of the two another name: both are part of the application's tree";
            let help = Some(help.to_owned());
            self.find_at(name, FindingKind::DuplicateName, what, help);
        }
    }

    /// Loads every component's file; `None` where that failed.
    fn load(&mut self) -> BTreeMap<&'a str, Option<Loaded<'a>>> {
        let entries = in_order(&self.spec.tables.components);
        let count = entries.len();
        let mut loaded = BTreeMap::new();
        for (index, (name, component)) in entries.into_iter().enumerate() {
            let name = name.get_ref().as_str();
            if let Some(loading) = &self.options.loading {
                loading(Loading::Begin { name, index, count });
            }
            tracing::debug!(component = name, file = %escaped(component.file.get_ref()), "loading");
            loaded.insert(name, components::load(self, name, component));
        }
        if let Some(loading) = &self.options.loading {
            loading(Loading::Done);
        }
        loaded
    }

    /// Links every component that could be loaded, in start order.
    fn components(
        &mut self,
        application: Option<&ActorAddress>,
        loaded: &BTreeMap<&'a str, Option<Loaded<'a>>>,
        surfaces: &BTreeMap<&str, &Surface>,
        order: &[&'a str],
        set: &SetValues,
    ) -> Vec<ResolvedComponent> {
        let mut resolved = Vec::new();
        for name in order {
            let Some(Some(loaded)) = loaded.get(name) else {
                continue;
            };
            let links = links::resolve(self, application, name, loaded, surfaces);
            resolved.extend(components::link(
                self,
                application,
                name,
                loaded,
                links,
                surfaces,
                set.get(*name),
            ));
        }
        resolved
    }
}
