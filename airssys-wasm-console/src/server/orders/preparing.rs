//! What of an order is done before its turn, and again if something else runs by then: reading, compiling, planning.
//!
//! Owns where the files of components are found that no manifest says anew: in the registry, which is given those back first
//! that it has lost. All of it blocks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use airssys_wasm_actors::deployment::{
    Action, DeployOptions, HealedArtifact, Plan, artifacts_of, heal_artifacts,
};
use airssys_wasm_actors::{
    Application, ApplicationSpec, ConfigOrder, Deployment, Registry, RegistryError,
};

use super::words::recorded;
use super::{Beside, Deploying, From, Job, refusals};
use crate::server::answer::Refusal;

/// What fits what runs.
pub(super) struct Ready {
    pub(super) application: Application,
    /// What ran when it was prepared.
    pub(super) base: Arc<Application>,
    /// It is what runs with this done to it, and at its turn that can be another.
    pub(super) order: Option<ConfigOrder>,
    pub(super) plan: Option<Plan>,
    pub(super) options: DeployOptions,
}

impl Ready {
    /// It is prepared anew: what was done for it before is said, too.
    pub(super) fn after(mut self, before: Option<Self>) -> Self {
        let said = before.map(|before| before.options.notes);
        self.options.notes.splice(..0, said.unwrap_or_default());
        self
    }
}

/// Reads, compiles and plans what has its turn. Blocks.
pub(super) fn prepare(deploying: &Deploying, job: Job) -> Result<Ready, Refusal> {
    ready(deploying, job, false)
}

/// The same of what waits for its turn: whether it fits what runs shows then, and what is made of what runs is made of that.
/// `None` if only that can say more of it.
pub(super) fn prepare_in_line(deploying: &Deploying, job: Job) -> Result<Option<Ready>, Refusal> {
    let of_what_runs = match job.from {
        From::Manifest(_) | From::Registry(Some(_)) => false,
        From::Registry(None) | From::Replicas(..) | From::Running(_) => true,
    };
    match ready(deploying, job, true) {
        Err(_) if of_what_runs => Ok(None),
        ready => ready.map(Some),
    }
}

fn ready(deploying: &Deploying, job: Job, waits: bool) -> Result<Ready, Refusal> {
    let deployer = &deploying.deployer;
    let base = deployer.current();
    let mut options = job.options;
    let scales = matches!(job.from, From::Replicas(..));
    let resolved = |spec: &ApplicationSpec, beside: Beside| {
        let resolved = (deploying.resolve)(spec, beside);
        resolved.map_err(|errors| refusals::of_manifest(&errors))
    };
    let mut order = None;
    let application = match job.from {
        From::Running(asked) => {
            if !job.plan_only {
                files_of(deploying, &base, &mut options)?;
            }
            let configured = base.configured(&asked);
            order = Some(asked);
            configured.map_err(|error| refusals::of_deploy(&error.into()))?
        }
        From::Manifest(path) => {
            let spec = ApplicationSpec::read(&path);
            let spec = spec.map_err(|errors| refusals::of_manifest(&errors))?;
            let beside = Beside {
                settings: deployer.current().settings(),
                ..Beside::default()
            };
            resolved(&spec, beside)?
        }
        From::Registry(to) => {
            let registry = deployer.registry().ok_or_else(refusals::no_registry)?;
            let refused = |error| refusals::of_registry(&error);
            let application = deployer.current();
            let name = application.name();
            let number = match to {
                Some(number) => number,
                None => {
                    let pointers = registry.pointers(name).map_err(refused)?;
                    pointers.rollback_target.ok_or_else(refusals::no_target)?
                }
            };
            let deployment = registry.deployment(name, number).map_err(refused)?;
            let artifacts = kept(deploying, registry, &deployment, &mut options)?;
            let settings = deployment.settings;
            let spec = ApplicationSpec::parse(deploying.manifest.clone(), deployment.manifest);
            let spec = spec.map_err(|errors| refusals::of_manifest(&errors))?;
            options.why = recorded(&format!("rollback to {number}"), &options.why);
            options.source = format!("deployment {number}");
            let beside = Beside {
                artifacts,
                settings,
            };
            resolved(&spec, beside)?
        }
        From::Replicas(name, replicas) => {
            let current = deployer.current();
            let text = current.manifest().to_owned();
            let spec = ApplicationSpec::parse(deploying.manifest.clone(), text);
            let spec = spec.map_err(|errors| refusals::of_manifest(&errors))?;
            let spec = spec.with_replicas(&name, replicas);
            let spec = spec.map_err(|error| refusals::of_edit(&error))?;
            let beside = Beside {
                artifacts: files_of(deploying, &current, &mut options)?,
                settings: current.settings(),
            };
            resolved(&spec, beside)?
        }
    };
    let plan = match deployer.plan(&application, &options.plan) {
        Ok(plan) => Some(plan),
        // It is planned again at its turn, when something else runs.
        Err(_) if waits => None,
        Err(error) => return Err(refusals::of_deploy(&error)),
    };
    let more = |plan: &&Plan| {
        let mut parts = plan.steps.iter().flat_map(|step| &step.parts);
        parts.any(|part| !matches!(part.action, Action::Scale { .. }))
    };
    if scales && let Some(plan) = plan.as_ref().filter(more) {
        return Err(refusals::not_scaled(&plan.to_string()));
    }
    Ok(Ready {
        application,
        base,
        order,
        plan,
        options,
    })
}

/// The files that what runs was made of: those of the registry, which nobody changes, or where there is none those that it
/// was read from.
fn files_of(
    deploying: &Deploying,
    current: &Application,
    options: &mut DeployOptions,
) -> Result<BTreeMap<String, PathBuf>, Refusal> {
    let deployer = &deploying.deployer;
    if let (Some(registry), Some(number)) = (deployer.registry(), deployer.current_number()) {
        let deployment = registry.deployment(current.name(), number);
        let deployment = deployment.map_err(|error| refusals::of_registry(&error))?;
        return kept(deploying, registry, &deployment, options);
    }
    let all = current.components().iter().chain(current.spawned());
    Ok(all
        .map(|one| (one.name.clone(), one.file.clone()))
        .collect())
}

/// The files of a deployment's components. Those that the registry has lost are put back first, from where its manifest, or
/// that of what runs, names them, if they have the recorded bytes there; that is said of whatever is deployed.
fn kept(
    deploying: &Deploying,
    registry: &Registry,
    deployment: &Deployment,
    options: &mut DeployOptions,
) -> Result<BTreeMap<String, PathBuf>, Refusal> {
    let refused = |error: RegistryError| refusals::of_registry(&error);
    let text = deploying.deployer.current().manifest().to_owned();
    let named = ApplicationSpec::parse(deploying.manifest.clone(), text);
    let named = named.map_err(|errors| refusals::of_manifest(&errors))?;
    let healed = heal_artifacts(registry, deployment, &named);
    let healed = healed.map_err(|error| refusals::of_lost(&error))?;
    let said = healed.iter().map(HealedArtifact::to_string);
    options.notes.extend(said);
    artifacts_of(registry, deployment).map_err(refused)
}
