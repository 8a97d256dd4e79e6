//! The registry on real files, on a disk that fills up or loses power, and under a process that is killed.

mod calls;
mod collecting;
mod damage;
pub(super) mod disk;
mod full;
mod history;
mod kills;
mod opening;
mod power;
mod queries;
mod recovering;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A directory of a test's own, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("airssys-registry-{}-{next}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Where the registry is: not there yet.
    fn registry(&self) -> PathBuf {
        self.0.join("a/registry")
    }

    fn open(&self) -> Registry {
        Registry::open(&self.registry(), RegistryOptions::default()).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn address(text: &str) -> ActorAddress {
    text.parse().unwrap()
}

fn app() -> ActorAddress {
    address("quakes")
}

/// Contents of a component; another `text` is another artifact and another manifest.
fn contents(registry: &Registry, component: &str, text: &str) -> NewRevision {
    NewRevision {
        component: address(component),
        digest: registry.put_artifact(text.as_bytes()).unwrap(),
        version: Some("1.2.3".parse().unwrap()),
        surface: RevisionSurface {
            exports: vec![RevisionInterface {
                name: "quakes:app/classify@0.1.0".to_owned(),
                functions: vec!["classify: func(m: f64) -> string".to_owned()],
            }],
            imports: Vec::new(),
        },
        grants: vec!["log".to_owned(), "clocks".to_owned(), "log".to_owned()],
        spec: format!("file = \"{text}.wasm\"\n"),
        provenance: Provenance {
            by: "ada".to_owned(),
            why: "the first".to_owned(),
            source: "classify.wasm".to_owned(),
            at_unix_ms: 1_000,
        },
    }
}

/// A deployment of these revisions, without links.
fn deployment(of: &[&Revision], at_unix_ms: u64) -> NewDeployment {
    NewDeployment {
        manifest: "[application]\nname = \"quakes\"\n".to_owned(),
        components: of
            .iter()
            .map(|revision| {
                let deployed = DeployedComponent {
                    revision: revision.number,
                    links: Vec::new(),
                    strategy: "recreate".to_owned(),
                };
                (revision.component.clone(), deployed)
            })
            .collect(),
        settings: crate::configuration::ConfigSettings::new(),
        by: "ada".to_owned(),
        why: "try it".to_owned(),
        at_unix_ms,
    }
}

fn to(state: DeploymentState) -> Transition {
    Transition {
        to: state,
        component: None,
        note: format!("now {state}"),
        at_unix_ms: 5,
    }
}

/// The way of a deployment that goes well, after `Prepared`.
const WELL: [DeploymentState; 4] = [
    DeploymentState::Warmed,
    DeploymentState::Switching,
    DeploymentState::Soaking,
    DeploymentState::Permanent,
];

/// Deploys these revisions for good.
fn deploy(registry: &Registry, of: &[&Revision], at_unix_ms: u64) -> u64 {
    let begun = registry.begin(&app(), deployment(of, at_unix_ms)).unwrap();
    for state in WELL {
        registry.advance(&app(), begun.number, to(state)).unwrap();
    }
    begun.number
}

/// All that can be read, as text.
fn dump(registry: &Registry) -> Result<String, RegistryError> {
    use std::fmt::Write as _;
    let mut text = String::new();
    for application in registry.applications()? {
        let pointers = registry.pointers(&application)?;
        let _ = writeln!(text, "{application} {pointers:?}");
        for deployment in registry.history(&application, usize::MAX)? {
            let _ = writeln!(text, "{deployment:#?}");
        }
    }
    for found in registry.query(&RegistryQuery::default())? {
        let _ = writeln!(text, "{found:#?}");
    }
    Ok(text)
}

/// What holds at any moment, whatever happened before.
fn check_invariants(registry: &Registry) {
    for application in registry.applications().unwrap() {
        let pointers = registry.pointers(&application).unwrap();
        let history = registry.history(&application, usize::MAX).unwrap();
        for deployment in &history {
            let mut state = None;
            for (at, record) in deployment.journal.iter().enumerate() {
                assert_eq!(record.seq, at as u64 + 1);
                if let JournalEntry::Transition { to, .. } = &record.entry {
                    match state {
                        None => assert_eq!(*to, DeploymentState::Prepared),
                        Some(DeploymentState::Prepared) if *to == DeploymentState::Prepared => {
                            panic!("prepared twice")
                        }
                        Some(state) => assert!(DeploymentState::may_become(state, *to)),
                    }
                    state = Some(*to);
                }
            }
            assert_eq!(state, Some(deployment.state));
            let number = Some(deployment.number);
            assert_eq!(!deployment.state.is_final(), pointers.trial == number);
        }
        let permanent = |number| {
            let deployment = registry.deployment(&application, number).unwrap();
            assert_eq!(deployment.state, DeploymentState::Permanent);
            for revision in registry.revisions_of(&deployment).unwrap().values() {
                registry.artifact(revision.digest).unwrap();
            }
        };
        pointers.permanent.into_iter().for_each(permanent);
        pointers.rollback_target.into_iter().for_each(permanent);
        let newest = history
            .iter()
            .find(|deployment| deployment.state == DeploymentState::Permanent);
        assert_eq!(newest.map(|newest| newest.number), pointers.permanent);
    }
    let directory = registry.directory();
    assert!(names(directory).iter().all(|name| !name.starts_with('.')));
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The files under `artifacts/`.
fn files(registry: &Registry) -> Vec<String> {
    let directory = registry.directory().join(ARTIFACTS);
    let shards = names(&directory).into_iter();
    shards
        .flat_map(|shard| names(&directory.join(shard)))
        .collect()
}
