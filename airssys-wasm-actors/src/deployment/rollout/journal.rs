//! Where a rollout's records go: a registry, or nowhere.
//!
//! Owns the task that writes them, one after the other and off the async workers, and what is registered before the first.
//! An error says nothing of whether the record is there: it is read again then. A machine that is told that a record is not
//! written may undo what it says, and of one that is final there must be no doubt.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airssys_wasm::{Digest, printable};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::hanging::watched;
use super::{DeployOptions, Deployer, component_file};
use crate::address::ActorAddress;
use crate::application::{Application, ResolvedComponent};
use crate::deployment::machine::Input;
use crate::exit::with_sources;
use crate::registry::{
    DeployedComponent, DeployedLink, DeploymentState, JournalEntry, NewDeployment, NewRevision,
    Provenance, Registry, RegistryError, RevisionSurface, Transition,
};

/// Longest text of a record, and of who deploys and why, in bytes.
pub const NOTE_BYTES_MAX: usize = 4 << 10;

/// How long a disk rests that has not said whether a record is on it.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Now, in milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.unwrap_or_default().as_millis();
    u64::try_from(ms).unwrap_or(u64::MAX)
}

/// Writes the records of one deployment in order.
pub(super) struct Journal {
    records: mpsc::UnboundedSender<(DeploymentState, String)>,
    task: JoinHandle<()>,
}

impl Journal {
    /// The deployment is known later, before the first record. Without a registry, records are nowhere and written at
    /// once. Each one is answered through `inputs`; `hold` is told why there is no answer yet, and when there is.
    pub(super) fn later(
        deployment: oneshot::Receiver<Deployed>,
        inputs: mpsc::UnboundedSender<Input>,
        hold: impl Fn(Option<String>) + Send + Sync + 'static,
    ) -> Self {
        // unbounded: a rollout writes a record only after it was told of the one before, but for one more in a rollback.
        let (records, mut queue) = mpsc::unbounded_channel::<(DeploymentState, String)>();
        let task = tokio::spawn(async move {
            // Without one there is no record but that it has failed.
            let deployment = deployment.await.unwrap_or(None);
            while let Some((state, text)) = queue.recv().await {
                let written = match &deployment {
                    Some(deployment) => written(deployment, state, &text, &hold).await,
                    None => Ok(()),
                };
                let input = match written {
                    Ok(()) => Input::Journaled,
                    Err(why) => Input::JournalFailed(why),
                };
                if inputs.send(input).is_err() {
                    return;
                }
            }
        });
        Self { records, task }
    }

    pub(super) fn write(&self, state: DeploymentState, note: String) {
        // The task ends only with the rollout.
        let _ = self.records.send((state, note));
    }

    /// Waits for what has been written so far; there is no more.
    pub(super) async fn close(self) {
        drop(self.records);
        // An error is the end of the runtime.
        let _ = self.task.await;
    }
}

/// Why a record is not written, as far as that is known.
struct Lost {
    why: String,
    /// It may be there all the same.
    unsure: bool,
}

/// Writes a record. Whether it is there is waited for where the next host boots by it: what runs must be the same.
async fn written(
    deployment: &(Registry, ActorAddress, u64),
    state: DeploymentState,
    note: &str,
    hold: &(impl Fn(Option<String>) + Send + Sync),
) -> Result<(), String> {
    // It was begun in this state.
    if state == DeploymentState::Prepared {
        return Ok(());
    }
    let transition = Transition {
        to: state,
        component: None,
        // A reason may be as long as whoever gave it liked; the record has to be written.
        note: printable(note, NOTE_BYTES_MAX),
        at_unix_ms: unix_ms(),
    };
    let what = format!("record `{state}`");
    let writing = blocking(deployment, &transition, write);
    let written = watched(&deployment.0, &what, writing, hold, None).await;
    let Err(Lost { why, mut unsure }) = written else {
        return Ok(());
    };
    if unsure && state == DeploymentState::Permanent {
        let unknown = format!(
            "it is not known whether the record `{state}` is written, and nothing is undone until then: {why}"
        );
        hold(Some(unknown.clone()));
        let what = format!("say whether `{state}` is recorded");
        let mut found = Err(why);
        while unsure {
            tokio::time::sleep(ASK_EVERY).await;
            let looking = blocking(deployment, &transition, look);
            match watched(&deployment.0, &what, looking, hold, Some(&unknown)).await {
                Ok(()) => (found, unsure) = (Ok(()), false),
                Err(lost) => unsure = lost.unsure,
            }
        }
        hold(None);
        return found;
    }
    Err(why)
}

/// Asks the disk on a thread for that.
async fn blocking(
    (registry, application, number): &(Registry, ActorAddress, u64),
    transition: &Transition,
    ask: fn(&Registry, &ActorAddress, u64, &Transition) -> Result<(), Lost>,
) -> Result<(), Lost> {
    let (registry, number) = (registry.clone(), *number);
    let (application, transition) = (application.clone(), transition.clone());
    let asking = move || ask(&registry, &application, number, &transition);
    let asked = tokio::task::spawn_blocking(asking).await;
    asked.unwrap_or_else(|_| {
        Err(Lost {
            why: "the host is going down".to_owned(),
            unsure: true,
        })
    })
}

fn write(
    registry: &Registry,
    application: &ActorAddress,
    number: u64,
    transition: &Transition,
) -> Result<(), Lost> {
    let advanced = advanced(registry, application, number, transition);
    advanced.map_err(|(why, unsure)| Lost {
        why: with_sources(&why),
        unsure,
    })
}

/// Writes a record, and looks for it where that is answered by an error: beside that stands whether it may be there all the
/// same.
fn advanced(
    registry: &Registry,
    application: &ActorAddress,
    number: u64,
    transition: &Transition,
) -> Result<(), (RegistryError, bool)> {
    let Err(why) = registry.advance(application, number, transition.clone()) else {
        return Ok(());
    };
    let looked = look(registry, application, number, transition);
    looked.map_err(|lost| (why, lost.unsure))
}

/// Whether a record that was to be written is there: it is the last transition then.
fn look(
    registry: &Registry,
    application: &ActorAddress,
    number: u64,
    transition: &Transition,
) -> Result<(), Lost> {
    let lost = |why, unsure| Err(Lost { why, unsure });
    let deployment = match registry.deployment(application, number) {
        Ok(deployment) => deployment,
        Err(why) => {
            let unsure = !matches!(why, RegistryError::NoSuchDeployment { .. });
            return lost(with_sources(&why), unsure);
        }
    };
    let mut records = deployment.journal.iter().rev();
    let last = records.find(|one| matches!(one.entry, JournalEntry::Transition { .. }));
    // A state can follow itself, and so the rest is compared, too.
    let is_it = last.is_some_and(|one| {
        let JournalEntry::Transition { to, note } = &one.entry else {
            return false;
        };
        *to == transition.to && *note == transition.note && one.at_unix_ms == transition.at_unix_ms
    });
    match is_it {
        true => Ok(()),
        false => lost("the record is not there".to_owned(), false),
    }
}

/// Why a deployment is ended that was over before.
pub(super) fn was_lost(was: DeploymentState) -> String {
    format!("its end could not be recorded when it came; it was {was} until then")
}

/// Why a deployment is ended by the stop of its host.
pub(super) fn was_stopped(was: DeploymentState) -> String {
    format!("the host was stopped while it was {was}")
}

/// Ends what is recorded of deployments whose rollout is over, or stopped, without a last record. Nothing must be under way.
/// `note` says why. Blocks the thread for as long as the disk takes.
pub(super) fn end_unfinished(
    registry: &Registry,
    application: &ActorAddress,
    note: fn(DeploymentState) -> String,
) -> Result<(), RegistryError> {
    let ended = registry.end_unfinished(application, unix_ms(), note)?;
    for one in ended {
        tracing::warn!(%application, number = one.number, was = %one.was, now = %one.now, "a deployment is recorded as ended");
    }
    Ok(())
}

/// Why an application was not registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The registry refused, or its disk did.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A component's file could not be read again.
    #[error("the component `{name}` cannot be read again: {}: {why}; put its file back, or deploy a manifest that names it where it is", .file.display())]
    Unreadable {
        /// The component.
        name: String,
        /// Its file.
        file: PathBuf,
        /// Why not.
        why: std::io::Error,
    },
    /// A component's file is not what was loaded from it.
    #[error("the file of the component `{name}` has changed since it was loaded; deploy it again")]
    Changed {
        /// The component.
        name: String,
    },
}

/// Puts the application's components into the registry and begins a deployment of it, which is `prepared` then. Blocks
/// the thread for as long as the disk takes.
pub(super) fn register(
    registry: &Registry,
    application: &Application,
    options: &DeployOptions,
) -> Result<u64, RegisterError> {
    let tables = tables_of(application);
    let mut components = BTreeMap::new();
    for one in application.components().iter().chain(application.spawned()) {
        let deployed = register_one(registry, tables.as_ref(), one, options)?;
        components.insert(one.child.address.clone(), deployed);
    }
    let new = NewDeployment {
        manifest: application.manifest().to_owned(),
        components,
        settings: application.settings(),
        by: options.by.clone(),
        why: options.why.clone(),
        at_unix_ms: unix_ms(),
    };
    let name = application.name();
    let begun = registry.begin(name, new.clone()).map(|one| one.number);
    let there = |why| begun_all_the_same(registry, name, &new, &why).ok_or(why);
    Ok(begun.or_else(there)?)
}

/// The deployment that was begun though its record was answered by an error: the one under way, if it was made of this.
fn begun_all_the_same(
    registry: &Registry,
    application: &ActorAddress,
    new: &NewDeployment,
    why: &RegistryError,
) -> Option<u64> {
    if !may_be_there(why) {
        return None;
    }
    let number = registry.pointers(application).ok()?.trial?;
    let found = registry.deployment(application, number).ok()?;
    let is_it = found.state == DeploymentState::Prepared
        && found.at_unix_ms == new.at_unix_ms
        && found.manifest == new.manifest
        && found.components == new.components
        && found.settings == new.settings
        && (&found.by, &found.why) == (&new.by, &new.why);
    is_it.then_some(number)
}

/// Whether a record may be there that was answered by this; what is refused is not.
fn may_be_there(why: &RegistryError) -> bool {
    why.retryable() || matches!(why, RegistryError::Corrupt { .. })
}

fn tables_of(application: &Application) -> Option<toml::Table> {
    toml::from_str(application.manifest()).ok()
}

fn register_one(
    registry: &Registry,
    tables: Option<&toml::Table>,
    one: &ResolvedComponent,
    options: &DeployOptions,
) -> Result<DeployedComponent, RegisterError> {
    let name = || one.name.clone();
    let digest = one.component.digest();
    // What is there need not be read again from a file that may be another by now, and is not collected until it is registered.
    if let Err(lost) = registry.keep_artifact(digest) {
        let read = component_file::read(&one.file);
        let is_it = |bytes: &Vec<u8>| Digest::of(bytes) == digest;
        // What was booted from the registry has no other file: what is wrong is that the registry has lost it.
        if one.file == registry.artifact_path(digest) && !read.as_ref().is_ok_and(is_it) {
            return Err(lost.into());
        }
        let bytes = read.map_err(|why| RegisterError::Unreadable {
            name: name(),
            file: one.file.clone(),
            why,
        })?;
        if !is_it(&bytes) {
            return Err(RegisterError::Changed { name: name() });
        }
        registry.put_artifact(&bytes)?;
    }
    let words = tables
        .and_then(|tables| tables.get("components")?.get(&one.name)?.as_table())
        .and_then(|words| toml::to_string(words).ok());
    let outline = &one.outline;
    let new = NewRevision {
        component: one.child.address.clone(),
        digest,
        version: outline.version.clone(),
        surface: RevisionSurface::of(&outline.surface),
        grants: one.grants.iter().map(|name| (*name).to_owned()).collect(),
        spec: words.unwrap_or_default(),
        provenance: Provenance {
            by: options.by.clone(),
            why: options.why.clone(),
            source: options.source.clone(),
            at_unix_ms: unix_ms(),
        },
    };
    let revision = registered(registry, new)?;
    let links = one.child.links().iter();
    Ok(DeployedComponent {
        revision,
        links: links
            .map(|link| DeployedLink {
                import: link.import.clone(),
                to: link.to.clone(),
            })
            .collect(),
        strategy: outline.rollout.strategy.to_string(),
    })
}

/// Puts the files back that the registry has lost of what runs, and says so. What cannot be put back is an error: the next host
/// would not boot.
fn put_back(
    registry: &Registry,
    application: &Application,
    options: &DeployOptions,
    say: impl Fn(String),
) -> Result<(), RegisterError> {
    let tables = tables_of(application);
    for one in application.components().iter().chain(application.spawned()) {
        let was = match registry.artifact(one.component.digest()) {
            Ok(_) => continue,
            Err(RegistryError::NoSuchArtifact { .. }) => "missing",
            Err(RegistryError::Corrupt { .. }) => "damaged",
            Err(why) => return Err(why.into()),
        };
        // Of the revision that it has: what is registered once more is the same, and its file is there.
        register_one(registry, tables.as_ref(), one, options)?;
        say(format!(
            "the file of `{}` was {was} in the registry, and was put back from {}",
            one.name,
            one.file.display()
        ));
    }
    Ok(())
}

/// The number of a revision, also where its record was answered by an error and is there.
fn registered(registry: &Registry, new: NewRevision) -> Result<u64, RegistryError> {
    let registering = registry.register(new.clone());
    let there = |why: &RegistryError| {
        let known = may_be_there(why).then(|| registry.revisions(&new.component));
        let mut known = known?.ok()?.into_iter();
        known.find(|one| one.has_contents_of(&new))
    };
    let revision = registering.or_else(|why| there(&why).ok_or(why))?;
    Ok(revision.number)
}

/// Registers an application that begins to run as its first deployment, permanent at once: there is nothing to go
/// back to. Blocks the thread for as long as the disk takes.
///
/// # Errors
/// [`RegisterError`].
pub fn register_first(
    registry: &Registry,
    application: &Application,
    options: &DeployOptions,
) -> Result<u64, RegisterError> {
    let number = register(registry, application, options)?;
    let states = [
        DeploymentState::Warmed,
        DeploymentState::Switching,
        DeploymentState::Soaking,
        DeploymentState::Permanent,
    ];
    for to in states {
        let transition = Transition {
            to,
            component: None,
            note: "the first deployment".to_owned(),
            at_unix_ms: unix_ms(),
        };
        let advanced = advanced(registry, application.name(), number, &transition);
        advanced.map_err(|(why, _)| why)?;
    }
    Ok(number)
}

/// The files of a deployment's components, for [`ResolveOptions::artifacts`](crate::ResolveOptions::artifacts).
///
/// # Errors
/// [`RegistryError`] when a revision or its artifact is not there, or is damaged.
pub fn artifacts_of(
    registry: &Registry,
    deployment: &crate::registry::Deployment,
) -> Result<BTreeMap<String, PathBuf>, RegistryError> {
    let mut files = BTreeMap::new();
    for (address, deployed) in &deployment.components {
        let revision = registry.revision(address, deployed.revision)?;
        // Compared with its digest.
        registry.artifact(revision.digest)?;
        let name = deployment.name_of(address).to_owned();
        files.insert(name, registry.artifact_path(revision.digest));
    }
    Ok(files)
}

/// What a rollout's end is told to: the deployment's number, if it has one.
pub(super) type Deployed = Option<(Registry, ActorAddress, u64)>;

/// Registers what is to be deployed, off the async workers. What `differs` in nothing from what runs is registered only
/// where the registry would boot another; of that, files that the registry has lost are put back, which `say` is told. `hold`
/// is told where the registry does not answer.
pub(super) async fn begin(
    deployer: Deployer,
    differs: bool,
    application: Arc<Application>,
    options: DeployOptions,
    say: impl Fn(String) + Send + 'static,
    hold: &impl Fn(Option<String>),
) -> Result<Deployed, String> {
    let Some(registry) = deployer.registry().cloned() else {
        return Ok(None);
    };
    let (name, asked) = (application.name().clone(), registry.clone());
    let begun = tokio::task::spawn_blocking(move || {
        if !differs {
            let boots = registry.pointers(application.name())?.permanent;
            if boots == deployer.current_number() {
                put_back(&registry, &application, &options, say)?;
                return Ok(None);
            }
        }
        deployer.end_lost(&registry, was_lost)?;
        // Until its end is recorded. Also if it cannot be begun: its first record may be there, and the answer lost.
        deployer.inner.unended.store(true, Ordering::Release);
        let number = register(&registry, &application, &options);
        number.map(|number| Some((registry, number)))
    });
    match watched(&asked, "begin the record of it", begun, hold, None).await {
        Ok(Ok(begun)) => Ok(begun.map(|(registry, number)| (registry, name, number))),
        Ok(Err(why)) => Err(with_sources(&why)),
        Err(_) => Err("the host is going down".to_owned()),
    }
}
