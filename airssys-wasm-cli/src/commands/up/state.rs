//! What `airssys up --state DIR` boots and records.
//!
//! Owns which manifest starts: the permanent deployment's where there is one, and the one that was named where there is
//! none. What starts first is recorded as the first deployment; what is deployed later, by the deployer. Every call of
//! the registry blocks, and is made on a thread for that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use airssys_wasm_actors::deployment::{
    DeployOptions, HealedArtifact, RegisterError, artifacts_of, heal_artifacts, register_first,
};
use airssys_wasm_actors::{
    ActorAddress, Application, ApplicationSpec, Recovered, Registry, RegistryError, RegistryOptions,
};

use airssys_wasm_console::Beside;

use crate::commands::deploy::user;
use crate::failure::{Failure, FailureKind};
use crate::progress::Progress;

/// What starts.
pub(super) struct Booting {
    pub(super) spec: ApplicationSpec,
    /// What of it is not in the manifest.
    pub(super) beside: Beside,
    /// Where deployments are recorded, and the number of the one that starts, if it is not the first.
    pub(super) registry: Option<(Registry, Option<u64>)>,
}

impl Booting {
    /// The manifest that was named, recorded nowhere.
    fn named(spec: &ApplicationSpec) -> Self {
        Self {
            spec: spec.clone(),
            beside: Beside::default(),
            registry: None,
        }
    }
}

/// Finds what starts, and says what is not as one may think.
pub(super) async fn boot(
    directory: Option<&Path>,
    spec: &ApplicationSpec,
    progress: &Progress,
) -> Result<Booting, Failure> {
    let name = spec.tables.application.name.get_ref().parse();
    // A name that is no address is found with everything else that is wrong with the manifest.
    let (Some(directory), Ok(name)) = (directory, name) else {
        return Ok(Booting::named(spec));
    };
    let directory = directory.to_owned();
    let named = spec.clone();
    let opened = aside(move || opened(&directory, &name, &named)).await?;
    let Opened {
        registry,
        recovered,
        healed,
        artifacts,
    } = opened.map_err(|error| failed(&error))?;
    for one in &recovered.interrupted {
        progress.note(&format!(
            "deployment {} was {} when the host ended, and is {} now",
            one.number, one.was, one.now
        ));
    }
    for one in &healed {
        progress.note(&one.to_string());
    }
    let Some(deployment) = recovered.boot else {
        return Ok(Booting {
            registry: Some((registry, None)),
            ..Booting::named(spec)
        });
    };
    let number = deployment.number;
    if deployment.manifest != spec.text {
        let file = spec.file.display();
        progress.note(&format!(
            "{file} is not what was deployed last: deployment {number} starts; `airssys deploy {file}` deploys the file"
        ));
    }
    let booted = ApplicationSpec::parse(spec.file.clone(), deployment.manifest);
    tracing::info!(deployment = number, "starts from the registry");
    Ok(Booting {
        spec: booted?,
        beside: Beside {
            artifacts,
            settings: deployment.settings,
        },
        registry: Some((registry, Some(number))),
    })
}

/// A registry, and what it says.
struct Opened {
    registry: Registry,
    recovered: Recovered,
    healed: Vec<HealedArtifact>,
    artifacts: BTreeMap<String, PathBuf>,
}

fn opened(
    directory: &Path,
    application: &ActorAddress,
    named: &ApplicationSpec,
) -> Result<Opened, RegistryError> {
    let registry = Registry::open(directory, RegistryOptions::default())?;
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
    let recovered = registry.recover(application, now)?;
    let mut opened = Opened {
        registry,
        recovered,
        healed: Vec::new(),
        artifacts: BTreeMap::new(),
    };
    if let Some(deployment) = &opened.recovered.boot {
        opened.healed = heal_artifacts(&opened.registry, deployment, named)?;
        opened.artifacts = artifacts_of(&opened.registry, deployment)?;
    }
    Ok(opened)
}

/// The number of what has started; it is recorded if it is the first.
pub(super) async fn recorded(
    registry: Option<(Registry, Option<u64>)>,
    application: &Application,
    manifest: &Path,
) -> Result<Option<(Registry, u64)>, Failure> {
    let (registry, application) = match registry {
        None => return Ok(None),
        Some((registry, Some(number))) => return Ok(Some((registry, number))),
        Some((registry, None)) => (registry, application.clone()),
    };
    let options = DeployOptions {
        by: user(),
        why: "the first start".to_owned(),
        source: manifest.display().to_string(),
        ..DeployOptions::default()
    };
    let registering = registry.clone();
    let number = aside(move || register_first(&registering, &application, &options)).await?;
    let number = number.map_err(|error| {
        const LEFT: &str =
            "nothing was left running; without `--state` it starts and is not recorded";
        match &error {
            RegisterError::Registry(error) => {
                let remedy = error.remedy().map(|remedy| format!("{remedy}\n{LEFT}"));
                failed(error).hint(remedy.unwrap_or_else(|| LEFT.to_owned()))
            }
            error => Failure::of(FailureKind::Io, error).hint(LEFT),
        }
    })?;
    Ok(Some((registry, number)))
}

async fn aside<T: Send + 'static>(
    blocking: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(blocking).await;
    done.map_err(|error| Failure::of(FailureKind::Io, &error))
}

fn failed(error: &RegistryError) -> Failure {
    let failure = Failure::new(FailureKind::Io, error.message()).detail("registry", error.kind());
    match error.remedy() {
        Some(remedy) => failure.hint(remedy),
        None => failure,
    }
}
