//! The walk over a manifest that turns it into an application.
//!
//! Owns the list of findings and the order of the checks: names, files, grants and limits of each component, then
//! links between them, then what is left missing, then everything that names a component. A fault stops what
//! depends on it and nothing else, so that one walk finds them all and none twice.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use airssys_wasm::{Component, Engine, Surface};
use toml::Spanned;

use super::components::Loaded;
use super::options::escaped;
use super::options::{self, ResolveOptions, SetValues};
use super::{Application, Loading, ResolvedComponent, asking, components, links, order, sources};
use crate::address::ActorAddress;
use crate::manifest::{ApplicationSpec, Finding, FindingKind, ManifestErrors, in_order, suggest};
use crate::supervisor::{RestartIntensity, SupervisorSpec};
use crate::system::OWN_SUPERVISOR;

/// A manifest's default restart intensity: 5 in 30 s. OTP's own, 1 in 5 s, is for code one has tested oneself.
const RESTARTS_DEFAULT: RestartIntensity = RestartIntensity {
    max: 5,
    within: Duration::from_secs(30),
};

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
        let order = self.order();
        let sources = sources::resolve(&mut self, name.as_ref(), &surfaces, &inputs);
        let report = asking::resolve(&mut self, name.as_ref(), &surfaces);
        let components = self.components(name.as_ref(), &loaded, &surfaces, &order, &set);
        let restarts = self.spec.tables.supervision.restarts.as_ref();
        let intensity = restarts.map_or(RESTARTS_DEFAULT, |restarts| RestartIntensity {
            max: restarts.max,
            within: restarts.within.0,
        });
        ManifestErrors::check(&self.spec.file, self.findings)?;
        let Some(address) = name else {
            // Without a name there is a finding, and the check above has returned it.
            let finding = Finding::new(FindingKind::BadValue, "the application has no valid name");
            return Err(ManifestErrors::one(&self.spec.file, finding));
        };
        let strategy = self.spec.tables.supervision.strategy;
        Ok(Application {
            description: self.spec.tables.application.description.clone(),
            supervision: SupervisorSpec {
                strategy,
                intensity,
                ..SupervisorSpec::new(address)
            },
            components,
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

    /// Components and sources share one space of names.
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
        for name in tables.components.keys().chain(tables.sources.keys()) {
            let valid = match application {
                Some(application) if !name.get_ref().contains('/') => {
                    application.join(name.get_ref()).map(|_| ())
                }
                _ => name.get_ref().parse::<ActorAddress>().map(|_| ()),
            };
            if let Err(error) = valid {
                self.find_at(name, FindingKind::BadValue, error.to_string(), None);
            }
        }
        for source in tables.sources.keys() {
            if let Some(component) = tables
                .components
                .keys()
                .find(|name| name.get_ref() == source.get_ref())
            {
                let line = self.spec.location(component).line;
                let what = format!(
                    "the source `{}` has the name of the component in line {line}",
                    source.get_ref()
                );
                let help =
                    "give one of the two another name: both become actors of the application"
                        .to_owned();
                self.find_at(source, FindingKind::DuplicateName, what, Some(help));
            }
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
            loaded.insert(name, components::load(self, component));
        }
        if let Some(loading) = &self.options.loading {
            loading(Loading::Done);
        }
        loaded
    }

    /// The names of the components in start order; in the manifest's where that is circular.
    fn order(&mut self) -> Vec<&'a str> {
        let entries = in_order(&self.spec.tables.components);
        let place = |name: &str| {
            entries
                .iter()
                .position(|(known, _)| known.get_ref() == name)
        };
        for (name, component) in &entries {
            for after in component
                .after
                .iter()
                .filter(|after| place(after.get_ref()).is_none())
            {
                let what = format!(
                    "`{}` starts after `{}`, and there is no such component",
                    name.get_ref(),
                    after.get_ref()
                );
                let help = suggest(after.get_ref(), "components", self.component_names());
                self.find_at(after, FindingKind::UnknownActor, what, Some(help));
            }
        }
        let waits_for = |item: usize| {
            let after = entries.get(item).map(|(_, component)| &component.after);
            after
                .into_iter()
                .flatten()
                .filter_map(|after| place(after.get_ref()))
                .collect()
        };
        let name = |item: &usize| entries.get(*item).map(|(name, _)| name.get_ref().as_str());
        match order::start_order(entries.len(), waits_for) {
            Ok(order) => order.iter().filter_map(name).collect(),
            Err(circle) => {
                let names: Vec<_> = circle
                    .iter()
                    .chain(circle.first())
                    .filter_map(name)
                    .collect();
                let path = names.join("` after `");
                let what = format!("the start order is circular: `{path}`");
                let help =
                    "take one of them out of `after`; links may be circular, `after` may not"
                        .to_owned();
                let first = circle
                    .first()
                    .and_then(|item| entries.get(*item))
                    .and_then(|(_, spec)| spec.after.first());
                match first {
                    Some(after) => {
                        self.find_at(after, FindingKind::CircularStart, what, Some(help))
                    }
                    None => self.find(FindingKind::CircularStart, what, Some(help)),
                }
                entries
                    .iter()
                    .map(|(name, _)| name.get_ref().as_str())
                    .collect()
            }
        }
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
