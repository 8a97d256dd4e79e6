//! Questions about what is registered: by name, by what it does now, by interface, by grant; who is linked to whom.
//!
//! Owns [`RegistryQuery`] and [`Dependency`]. Answers are computed from the records of one moment; nothing is kept beside
//! them that could disagree. A query reads every revision, of which retention leaves a few dozen a component.

use std::collections::{BTreeMap, BTreeSet};

use airssys_wasm::InterfaceName;
use redb::ReadTransaction;

use super::Registry;
use super::database::{REVISIONS, Stop};
use super::deployment::{Deployment, DeploymentPointers};
use super::error::RegistryError;
use super::records::{Reader, all_pointers};
use super::revision::{self, Revision, RevisionInterface};
use crate::address::ActorAddress;
use crate::dead_letters::AddressPattern;

/// What a revision is for its application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RevisionState {
    /// The permanent deployment has it.
    Serving,
    /// A deployment that has not ended has it.
    Trial,
    /// The deployment that was permanent before has it.
    RollbackTarget,
    /// None of these.
    Retired,
}

/// What a revision has to be. Every condition that is given must hold; the default passes all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryQuery {
    /// The component's address.
    pub name: Option<AddressPattern>,
    /// What it is for its application; it can be more than one thing, and each is found.
    pub state: Option<RevisionState>,
    /// An interface it exports: `quakes:app/parse@0.1.0` finds every version that can stand for that one,
    /// `quakes:app/parse` any version, and `parse` any package's.
    pub exports: Option<String>,
    /// An interface it imports, in the same forms.
    pub imports: Option<String>,
    /// The name of something it is granted.
    pub grant: Option<String>,
}

/// A revision that a query has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRevision {
    /// The revision.
    pub revision: Revision,
    /// All that it is for its application; `Retired` stands alone.
    pub states: BTreeSet<RevisionState>,
}

/// A link from one component's import to the actor that answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Who imports.
    pub from: ActorAddress,
    /// What, with its version.
    pub import: String,
    /// Whose export answers.
    pub to: ActorAddress,
    /// The application whose deployment says so.
    pub application: ActorAddress,
    /// The number of that deployment.
    pub deployment: u64,
    /// Whether that deployment has not ended, and the permanent one does not have the link.
    pub trial: bool,
}

impl Registry {
    /// The revisions that pass, by component and number.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn query(&self, query: &RegistryQuery) -> Result<Vec<FoundRevision>, RegistryError> {
        self.inner.database.read(|transaction| {
            let states = states(transaction)?;
            let all = revision::all(&transaction.open_table(REVISIONS)?)?;
            let found = all.into_iter().map(|revision| {
                let name = (revision.component.clone(), revision.number);
                let states = states.get(&name).cloned();
                let states = states.unwrap_or_else(|| BTreeSet::from([RevisionState::Retired]));
                FoundRevision { revision, states }
            });
            Ok(found.filter(|found| query.passes(found)).collect())
        })
    }

    /// Who imports from a component, by the permanent deployments and those that have not ended.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn dependents_of(
        &self,
        component: &ActorAddress,
    ) -> Result<Vec<Dependency>, RegistryError> {
        let mut all = self.dependencies()?;
        all.retain(|dependency| dependency.to == *component);
        Ok(all)
    }

    /// From whom a component imports, by the permanent deployments and those that have not ended.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn dependencies_of(
        &self,
        component: &ActorAddress,
    ) -> Result<Vec<Dependency>, RegistryError> {
        let mut all = self.dependencies()?;
        all.retain(|dependency| dependency.from == *component);
        Ok(all)
    }

    /// Every link of every application, in order.
    fn dependencies(&self) -> Result<Vec<Dependency>, RegistryError> {
        self.inner.database.read(|transaction| {
            let mut found = BTreeMap::new();
            for (state, deployment) in pointed_at(transaction)? {
                if state == RevisionState::RollbackTarget {
                    continue;
                }
                for link in links(&deployment, state == RevisionState::Trial) {
                    let name = (link.from.clone(), link.import.clone(), link.to.clone());
                    // The permanent one comes first: what it has already is not a trial's.
                    found.entry(name).or_insert(link);
                }
            }
            Ok(found.into_values().collect())
        })
    }
}

fn links(deployment: &Deployment, trial: bool) -> Vec<Dependency> {
    let components = deployment.components.iter();
    components
        .flat_map(|(from, deployed)| {
            deployed.links.iter().map(move |link| Dependency {
                from: from.clone(),
                import: link.import.clone(),
                to: link.to.clone(),
                application: deployment.application.clone(),
                deployment: deployment.number,
                trial,
            })
        })
        .collect()
}

impl RegistryQuery {
    fn passes(&self, found: &FoundRevision) -> bool {
        let revision = &found.revision;
        let interface = |wanted: &Option<String>, of: &[RevisionInterface], exported: bool| {
            wanted.as_ref().is_none_or(|wanted| {
                of.iter()
                    .any(|interface| is_meant(wanted, &interface.name, exported))
            })
        };
        self.name
            .as_ref()
            .is_none_or(|name| name.matches(&revision.component))
            && self.state.is_none_or(|state| found.states.contains(&state))
            && interface(&self.exports, &revision.surface.exports, true)
            && interface(&self.imports, &revision.surface.imports, false)
            && self
                .grant
                .as_ref()
                .is_none_or(|grant| revision.grants.contains(grant))
    }
}

/// Whether an interface of a component is the one that a query names.
fn is_meant(wanted: &str, found: &str, exported: bool) -> bool {
    let (wanted, found) = (InterfaceName::new(wanted), InterfaceName::new(found));
    if wanted.as_str().contains('@') {
        return if exported {
            wanted.accepts(&found)
        } else {
            found.accepts(&wanted)
        };
    }
    let whole = wanted.as_str().contains(['/', ':']);
    wanted.as_str() == found.unversioned() || (!whole && wanted.as_str() == found.interface())
}

/// The deployments that pointers name, the permanent one of an application first.
pub(super) fn pointed_at(
    transaction: &ReadTransaction,
) -> Result<Vec<(RevisionState, Deployment)>, Stop> {
    let reader = Reader::new(transaction)?;
    let mut found = Vec::new();
    for (application, pointers) in all_pointers(transaction)? {
        for (state, number) in roles(pointers) {
            found.push((state, reader.there(&application, number)?));
        }
    }
    Ok(found)
}

/// What the pointers of an application name.
pub(super) fn roles(pointers: DeploymentPointers) -> impl Iterator<Item = (RevisionState, u64)> {
    [
        (RevisionState::Serving, pointers.permanent),
        (RevisionState::Trial, pointers.trial),
        (RevisionState::RollbackTarget, pointers.rollback_target),
    ]
    .into_iter()
    .filter_map(|(state, number)| Some((state, number?)))
}

/// The states of every revision that has one, by component and number.
fn states(
    transaction: &ReadTransaction,
) -> Result<BTreeMap<(ActorAddress, u64), BTreeSet<RevisionState>>, Stop> {
    let mut states: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (state, deployment) in pointed_at(transaction)? {
        for (component, deployed) in deployment.components {
            let of = states.entry((component, deployed.revision)).or_default();
            of.insert(state);
        }
    }
    Ok(states)
}
