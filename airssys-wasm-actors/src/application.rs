//! Applications: a manifest resolved, started, waited for, asked and stopped.
//!
//! Owns the stages after reading: [`ApplicationSpec`] → [`Application`] (every component loaded, every link and
//! function checked, the start order known) → [`RunningApplication`]. Resolving starts nothing and finds
//! everything that is wrong in one go; what it accepts can still fail in a guest's own `init`, and nowhere else
//! before the first message. It blocks the thread for as long as compiling takes.

pub(crate) mod asking;
mod autoscale;
mod components;
mod configuration;
pub(crate) mod feeding;
mod links;
mod options;
mod order;
mod resolving;
mod rollout;
pub(crate) mod running;
pub(crate) mod sources;
mod spawned;
mod supervisors;
mod version;

use std::path::PathBuf;
use std::sync::Arc;

use airssys_wasm::{Component, Engine};

pub use asking::{Report, ReportError, ReportTable};
pub use options::{EnvironmentLookup, InputOverride, LoadingObserver, ResolveOptions};
pub use running::{ApplicationEnded, RunningApplication};

use crate::address::ActorAddress;
use crate::application::asking::ReportPlan;
use crate::application::feeding::Feeding;
use crate::application::resolving::Resolving;
use crate::autoscaling::Autoscales;
use crate::configuration::ConfigLayers;
use crate::deployment::{ApplicationOutline, ComponentOutline};
use crate::manifest::{ApplicationSpec, ManifestErrors};
use crate::source::SourcePlan;
use crate::supervisor::{ChildSpec, StartError, SupervisorSpec};
use crate::system::System;

/// An application that can be started: what its manifest says is there, and fits together.
#[derive(Clone)]
pub struct Application {
    /// The text it was resolved from.
    manifest: Arc<str>,
    description: String,
    /// With everything that is under it.
    supervision: SupervisorSpec,
    /// In start order.
    components: Vec<ResolvedComponent>,
    /// Started by others.
    spawned: Vec<ResolvedComponent>,
    sources: Vec<Arc<SourcePlan>>,
    report: ReportPlan,
}

/// One component of an [`Application`].
#[derive(Clone)]
pub struct ResolvedComponent {
    /// Its name in the manifest.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// The loaded component.
    pub component: Component,
    /// What it is granted, as a manifest writes it.
    pub grants: Vec<&'static str>,
    /// The actor it becomes.
    pub child: ChildSpec,
    /// Where what it is configured with comes from.
    pub config: Arc<ConfigLayers>,
    /// What of it is compared when another one is to take its place.
    pub outline: Arc<ComponentOutline>,
}

/// What [`ApplicationSpec::resolve`] is doing.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Loading<'a> {
    /// A component is about to be loaded, which compiles it if it is not in the cache.
    Begin {
        /// Its name in the manifest.
        name: &'a str,
        /// Its place among the components, from 0.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// All have been loaded, or refused.
    Done,
}

impl ApplicationSpec {
    /// Checks everything that can be checked without starting anything.
    ///
    /// # Errors
    /// [`ManifestErrors`] with everything that is wrong.
    pub fn resolve(
        &self,
        engine: &Engine,
        options: &ResolveOptions,
    ) -> Result<Application, ManifestErrors> {
        Resolving::new(self, engine, options).finish()
    }
}

impl Application {
    /// The first part of every address in it.
    #[must_use]
    pub fn name(&self) -> &ActorAddress {
        &self.supervision.address
    }

    /// What the manifest says of it.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Its components, in the order they start.
    #[must_use]
    pub fn components(&self) -> &[ResolvedComponent] {
        &self.components
    }

    /// The components that others start, in the order of the manifest.
    #[must_use]
    pub fn spawned(&self) -> &[ResolvedComponent] {
        &self.spawned
    }

    /// The manifest's text.
    #[must_use]
    pub fn manifest(&self) -> &str {
        &self.manifest
    }

    /// The source of this address.
    pub(crate) fn source(&self, address: &ActorAddress) -> Option<&Arc<SourcePlan>> {
        self.sources.iter().find(|plan| plan.address == *address)
    }

    pub(crate) fn report_plan(&self) -> &ReportPlan {
        &self.report
    }

    /// Its supervisor, with the tree of its children. Sources are added to it when it runs.
    #[must_use]
    pub fn supervision(&self) -> &SupervisorSpec {
        &self.supervision
    }

    /// What of it is compared when another one is to take its place.
    #[must_use]
    pub fn outline(&self) -> ApplicationOutline {
        let outlines = |components: &[ResolvedComponent]| {
            let outlines = components.iter().map(|one| (*one.outline).clone());
            outlines.collect::<Vec<_>>()
        };
        ApplicationOutline::new(
            &self.supervision,
            outlines(&self.components),
            outlines(&self.spawned),
            &self.sources,
            format!("{:?}", self.report),
        )
    }

    /// The addresses of its sources and of what they feed, in the order of the manifest.
    pub fn sources(&self) -> impl Iterator<Item = (&ActorAddress, &ActorAddress)> {
        self.sources.iter().map(|plan| (&plan.address, &plan.to))
    }

    /// The same application with nothing that feeds it.
    #[must_use]
    pub fn without_sources(mut self) -> Self {
        self.sources.clear();
        self
    }

    /// Starts its components in order, and then its sources, under a supervisor of its own.
    ///
    /// # Errors
    /// [`StartError`] when a name is taken or an actor does not start; what had started is stopped again.
    pub async fn start(self, system: &System) -> Result<RunningApplication, StartError> {
        let before = system.counters();
        for component in &self.components {
            let child = &component.child;
            tracing::debug!(address = %child.address, grants = ?component.grants, "to be started");
            for link in child.links() {
                tracing::debug!(address = %child.address, import = link.import, to = %link.to, "linked");
            }
        }
        let components = self.components.into_iter();
        let components: Vec<_> = components
            .map(|one| (one.child.address, one.outline.autoscale))
            .collect();
        let supervisor = system.supervise(self.supervision).await?;
        // They are gone with their supervisor: what has been sent is not sent again.
        let sources = Arc::new(Feeding::default());
        let plans = self.sources.into_iter();
        let feeding = plans.map(|plan| sources.begin(plan).child()).collect();
        let actors = components.iter();
        let actors = actors.filter_map(|(name, _)| system.whereis(name));
        let mut actors: Vec<_> = actors.collect();
        match supervisor.start(feeding).await {
            Ok(fed) => {
                actors.extend(fed);
                for (address, config) in &components {
                    Autoscales::set(system.shared(), address, *config, &supervisor);
                }
                Ok(RunningApplication::new(
                    system.clone(),
                    supervisor,
                    actors,
                    sources,
                    self.report,
                    before,
                ))
            }
            Err(error) => {
                supervisor.stop().await;
                Err(error)
            }
        }
    }
}
