//! The journal of deployments: begun, advanced, read back.
//!
//! Owns the order of things on disk: each transition is one record, durable before the call returns, and in the same
//! transaction as the pointers it moves. Whoever acts on a transition records it first; a rollback acts first, because
//! what boots without its record is the old revision anyway. Each record costs one transaction, two syncs.

use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::database::{
    DEPLOYMENTS, JOURNAL, POINTERS, RECORD_BYTES_MAX, REVISIONS, Stop, Written, decode, encode,
    next_number, text,
};
use super::deployment::{
    DeployedComponent, Deployment, DeploymentPointers, DeploymentState, DeploymentStep,
    JournalEntry, JournalRecord, NewDeployment, Transition,
};
use super::error::RegistryError;
use super::revision::{self, Revision};
use super::{Registry, fault};
use crate::address::ActorAddress;

/// Largest record of a journal, in bytes: a note is a sentence, and the numbers of a step are few.
const JOURNAL_RECORD_BYTES_MAX: usize = 64 << 10;

/// Most records of one journal that may be steps or have steps before them: a canary of a hundred weights, each with
/// its verdicts, in fifty components.
const JOURNAL_RECORDS_MAX: u64 = 10_000;

/// What of a deployment never changes, as it lies in its table.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DeploymentRecord {
    manifest: String,
    pub(super) components: BTreeMap<ActorAddress, DeployedComponent>,
    by: String,
    why: String,
    pub(super) at_unix_ms: u64,
}

impl Registry {
    /// Records a deployment as `Prepared` and gives it the application's next number. Durable when it returns.
    ///
    /// # Errors
    /// [`RegistryError::Unfinished`] while another one of the application has not ended,
    /// [`RegistryError::NoSuchRevision`] and [`RegistryError::NoSuchArtifact`] if it has something that is not there,
    /// [`RegistryError::NotOfApplication`], [`RegistryError::TooLarge`], and those of the disk.
    pub fn begin(
        &self,
        application: &ActorAddress,
        new: NewDeployment,
    ) -> Result<Deployment, RegistryError> {
        for component in new.components.keys() {
            check_component(application, component)?;
        }
        let mut unused = self.inner.unused.lock();
        let deployment = self.inner.database.write(|transaction| {
            let pointers = pointers(&transaction.open_table(POINTERS)?, application)?;
            if let Some(number) = pointers.trial {
                let state = last_state(&transaction.open_table(JOURNAL)?, application, number)?;
                return Err(Stop::Refused(RegistryError::Unfinished {
                    application: application.clone(),
                    number,
                    state: state.unwrap_or(DeploymentState::Prepared),
                }));
            }
            let revisions = transaction.open_table(REVISIONS)?;
            for revision in components(&revisions, &new.components)?.into_values() {
                let digest = revision.digest;
                if !self.inner.artifacts.has(digest)? {
                    return Err(Stop::Refused(RegistryError::NoSuchArtifact { digest }));
                }
            }
            drop(revisions);
            let deployment = begun(transaction, application, new)?;
            Ok(Written::Changed(deployment, fault::PREPARED))
        })?;
        for (component, deployed) in &deployment.components {
            let name = (component.clone(), deployed.revision);
            unused.revisions.remove(&name);
        }
        Ok(deployment)
    }

    /// Records that a deployment is in the next state, and moves the pointers with it. Durable when it returns.
    ///
    /// `Permanent` makes it what the application boots, and what was permanent before the rollback target.
    ///
    /// # Errors
    /// [`RegistryError::IllegalTransition`] if [`DeploymentState::may_become`] does not allow it,
    /// [`RegistryError::NoSuchDeployment`], [`RegistryError::NotOfApplication`], [`RegistryError::TooLarge`], and those
    /// of the disk. After any of the first four nothing was written.
    pub fn advance(
        &self,
        application: &ActorAddress,
        number: u64,
        transition: Transition,
    ) -> Result<JournalRecord, RegistryError> {
        if let Some(component) = &transition.component {
            check_component(application, component)?;
        }
        self.inner.database.write(|transaction| {
            let from = state(transaction, application, number)?;
            let steps = transition.to.commit_steps();
            let record = advanced(transaction, application, number, from, transition)?;
            Ok(Written::Changed(record, steps))
        })
    }

    /// Records something that happened in the state a deployment is in. Durable when it returns.
    ///
    /// # Errors
    /// [`RegistryError::Ended`] if the deployment is in a final state, [`RegistryError::TooManySteps`],
    /// [`RegistryError::NoSuchDeployment`], [`RegistryError::NotOfApplication`], [`RegistryError::TooLarge`], and those
    /// of the disk.
    pub fn note_step(
        &self,
        application: &ActorAddress,
        number: u64,
        step: DeploymentStep,
    ) -> Result<JournalRecord, RegistryError> {
        if let Some(component) = &step.component {
            check_component(application, component)?;
        }
        self.inner.database.write(|transaction| {
            let state = state(transaction, application, number)?;
            if state.is_final() {
                return Err(Stop::Refused(RegistryError::Ended {
                    application: application.clone(),
                    number,
                    state,
                }));
            }
            let DeploymentStep {
                name,
                component,
                value,
                at_unix_ms,
            } = step;
            let entry = JournalEntry::Step { name, value };
            let record = append(
                transaction,
                application,
                number,
                at_unix_ms,
                component,
                entry,
            )?;
            if record.seq > JOURNAL_RECORDS_MAX {
                return Err(Stop::Refused(RegistryError::TooManySteps {
                    application: application.clone(),
                    number,
                    max: JOURNAL_RECORDS_MAX,
                }));
            }
            Ok(Written::Changed(record, fault::STEP))
        })
    }

    /// One deployment with its journal.
    ///
    /// # Errors
    /// [`RegistryError::NoSuchDeployment`], and those of the disk.
    pub fn deployment(
        &self,
        application: &ActorAddress,
        number: u64,
    ) -> Result<Deployment, RegistryError> {
        self.inner.database.read(|transaction| {
            let found = Reader::new(transaction)?.deployment(application, number)?;
            found.ok_or_else(|| Stop::Refused(no_such(application, number)))
        })
    }

    /// The deployments of an application, newest first, at most `limit`; none if it was never deployed.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn history(
        &self,
        application: &ActorAddress,
        limit: usize,
    ) -> Result<Vec<Deployment>, RegistryError> {
        self.inner.database.read(|transaction| {
            let reader = Reader::new(transaction)?;
            let numbers = reader.numbers(application)?;
            let newest = numbers.into_iter().rev().take(limit);
            newest
                .map(|number| reader.there(application, number))
                .collect()
        })
    }

    /// Which deployments of an application are which; none of them if it was never deployed.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn pointers(
        &self,
        application: &ActorAddress,
    ) -> Result<DeploymentPointers, RegistryError> {
        self.inner
            .database
            .read(|transaction| pointers(&transaction.open_table(POINTERS)?, application))
    }

    /// The applications that were ever deployed, by name.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn applications(&self) -> Result<Vec<ActorAddress>, RegistryError> {
        self.inner
            .database
            .read(|transaction| Ok(all_pointers(transaction)?.into_keys().collect()))
    }

    /// The revisions of a deployment's components, by address: what is needed to start them.
    ///
    /// # Errors
    /// [`RegistryError::NoSuchRevision`] if one has been collected, and those of the disk.
    pub fn revisions_of(
        &self,
        deployment: &Deployment,
    ) -> Result<BTreeMap<ActorAddress, Revision>, RegistryError> {
        self.inner.database.read(|transaction| {
            components(&transaction.open_table(REVISIONS)?, &deployment.components)
        })
    }
}

fn check_component(
    application: &ActorAddress,
    component: &ActorAddress,
) -> Result<(), RegistryError> {
    let below = component.as_str().strip_prefix(application.as_str());
    if below.is_some_and(|below| below.starts_with('/')) {
        return Ok(());
    }
    Err(RegistryError::NotOfApplication {
        application: application.clone(),
        component: component.clone(),
    })
}

fn no_such(application: &ActorAddress, number: u64) -> RegistryError {
    RegistryError::NoSuchDeployment {
        application: application.clone(),
        number,
    }
}

fn begun(
    transaction: &WriteTransaction,
    application: &ActorAddress,
    new: NewDeployment,
) -> Result<Deployment, Stop> {
    let number = next_number(transaction, "deployment", application.as_str())?;
    let NewDeployment {
        manifest,
        components,
        by,
        why,
        at_unix_ms,
    } = new;
    let record = DeploymentRecord {
        manifest,
        components,
        by,
        why,
        at_unix_ms,
    };
    let what = || format!("deployment {number} of `{application}`");
    let text = encode(what, RECORD_BYTES_MAX, &record)?;
    let mut deployments = transaction.open_table(DEPLOYMENTS)?;
    deployments.insert((application.as_str(), number), text.as_str())?;
    let state = DeploymentState::Prepared;
    let first = JournalEntry::Transition {
        to: state,
        note: String::new(),
    };
    let first = append(transaction, application, number, at_unix_ms, None, first)?;
    set_pointers(transaction, application, number, state)?;
    Ok(whole(application, number, record, state, vec![first]))
}

/// Appends a transition that the table of states allows, and moves the pointers.
pub(super) fn advanced(
    transaction: &WriteTransaction,
    application: &ActorAddress,
    number: u64,
    from: DeploymentState,
    transition: Transition,
) -> Result<JournalRecord, Stop> {
    let Transition {
        to,
        component,
        note,
        at_unix_ms,
    } = transition;
    if !from.may_become(to) {
        return Err(Stop::Refused(RegistryError::IllegalTransition {
            application: application.clone(),
            number,
            from,
            to,
        }));
    }
    let entry = JournalEntry::Transition { to, note };
    let record = append(
        transaction,
        application,
        number,
        at_unix_ms,
        component,
        entry,
    )?;
    set_pointers(transaction, application, number, to)?;
    Ok(record)
}

fn append(
    transaction: &WriteTransaction,
    application: &ActorAddress,
    number: u64,
    at_unix_ms: u64,
    component: Option<ActorAddress>,
    entry: JournalEntry,
) -> Result<JournalRecord, Stop> {
    let mut journal = transaction.open_table(JOURNAL)?;
    let name = application.as_str();
    let mut range = journal.range((name, number, 0)..=(name, number, u64::MAX))?;
    let last = match range.next_back() {
        Some(entry) => entry?.0.value().2,
        None => 0,
    };
    drop(range);
    let record = JournalRecord {
        seq: last.saturating_add(1),
        at_unix_ms,
        component,
        entry,
    };
    let what = || format!("a record of deployment {number} of `{application}`");
    let text = encode(what, JOURNAL_RECORD_BYTES_MAX, &record)?;
    journal.insert((name, number, record.seq), text.as_str())?;
    Ok(record)
}

fn set_pointers(
    transaction: &WriteTransaction,
    application: &ActorAddress,
    number: u64,
    state: DeploymentState,
) -> Result<(), Stop> {
    let mut table = transaction.open_table(POINTERS)?;
    let before = pointers(&table, application)?;
    let after = before.after(number, state);
    if after != before {
        let what = || format!("the pointers of `{application}`");
        let text = encode(what, RECORD_BYTES_MAX, &after)?;
        table.insert(application.as_str(), text.as_str())?;
    }
    Ok(())
}

/// The state of a deployment that is there.
fn state(
    transaction: &WriteTransaction,
    application: &ActorAddress,
    number: u64,
) -> Result<DeploymentState, Stop> {
    let journal = transaction.open_table(JOURNAL)?;
    let state = last_state(&journal, application, number)?;
    state.ok_or_else(|| Stop::Refused(no_such(application, number)))
}

/// The state that the last transition in the journal says.
pub(super) fn last_state(
    journal: &impl ReadableTable<(&'static str, u64, u64), &'static str>,
    application: &ActorAddress,
    number: u64,
) -> Result<Option<DeploymentState>, Stop> {
    let name = application.as_str();
    let range = journal.range((name, number, 0)..=(name, number, u64::MAX))?;
    for entry in range.rev() {
        let record = journal_record(application, number, entry?.1.value())?;
        if let JournalEntry::Transition { to, .. } = record.entry {
            return Ok(Some(to));
        }
    }
    Ok(None)
}

fn journal_record(
    application: &ActorAddress,
    number: u64,
    text: &str,
) -> Result<JournalRecord, Stop> {
    decode(
        || format!("the journal of deployment {number} of `{application}`"),
        text,
    )
}

pub(super) fn pointers(
    table: &impl ReadableTable<&'static str, &'static str>,
    application: &ActorAddress,
) -> Result<DeploymentPointers, Stop> {
    match text(table, application.as_str())? {
        Some(record) => decode(|| format!("the pointers of `{application}`"), &record),
        None => Ok(DeploymentPointers::default()),
    }
}

/// The pointers of every application.
pub(super) fn all_pointers(
    transaction: &ReadTransaction,
) -> Result<BTreeMap<ActorAddress, DeploymentPointers>, Stop> {
    let table = transaction.open_table(POINTERS)?;
    let mut all = BTreeMap::new();
    for entry in table.iter()? {
        let (name, record) = entry?;
        let name = name.value();
        let application = address(name)?;
        let pointers = decode(|| format!("the pointers of `{name}`"), record.value())?;
        all.insert(application, pointers);
    }
    Ok(all)
}

/// An address that is a key.
pub(super) fn address(name: &str) -> Result<ActorAddress, Stop> {
    name.parse()
        .map_err(|error| Stop::Record(format!("a key: {error}")))
}

/// The revisions of components; each is there.
fn components(
    revisions: &impl ReadableTable<(&'static str, u64), &'static str>,
    components: &BTreeMap<ActorAddress, DeployedComponent>,
) -> Result<BTreeMap<ActorAddress, Revision>, Stop> {
    let mut found = BTreeMap::new();
    for (component, deployed) in components {
        let number = deployed.revision;
        let revision = revision::find(revisions, component, number)?;
        let revision = revision.ok_or_else(|| RegistryError::NoSuchRevision {
            component: component.clone(),
            number,
        })?;
        found.insert(component.clone(), revision);
    }
    Ok(found)
}

/// The numbers of an application's deployments, oldest first.
pub(super) fn numbers(
    deployments: &impl ReadableTable<(&'static str, u64), &'static str>,
    application: &ActorAddress,
) -> Result<Vec<u64>, Stop> {
    let name = application.as_str();
    let range = deployments.range((name, 0)..=(name, u64::MAX))?;
    range.map(|entry| Ok(entry?.0.value().1)).collect()
}

pub(super) fn deployment_record(
    application: &ActorAddress,
    number: u64,
    text: &str,
) -> Result<DeploymentRecord, Stop> {
    decode(|| format!("deployment {number} of `{application}`"), text)
}

fn whole(
    application: &ActorAddress,
    number: u64,
    record: DeploymentRecord,
    state: DeploymentState,
    journal: Vec<JournalRecord>,
) -> Deployment {
    Deployment {
        application: application.clone(),
        number,
        manifest: record.manifest,
        components: record.components,
        by: record.by,
        why: record.why,
        at_unix_ms: record.at_unix_ms,
        state,
        journal,
    }
}

/// Deployments out of their tables, as one moment had them.
pub(super) struct Reader {
    deployments: redb::ReadOnlyTable<(&'static str, u64), &'static str>,
    journal: redb::ReadOnlyTable<(&'static str, u64, u64), &'static str>,
}

impl Reader {
    pub(super) fn new(transaction: &ReadTransaction) -> Result<Self, Stop> {
        Ok(Self {
            deployments: transaction.open_table(DEPLOYMENTS)?,
            journal: transaction.open_table(JOURNAL)?,
        })
    }

    /// Oldest first.
    fn numbers(&self, application: &ActorAddress) -> Result<Vec<u64>, Stop> {
        numbers(&self.deployments, application)
    }

    pub(super) fn deployment(
        &self,
        application: &ActorAddress,
        number: u64,
    ) -> Result<Option<Deployment>, Stop> {
        let name = application.as_str();
        let Some(record) = text(&self.deployments, (name, number))? else {
            return Ok(None);
        };
        let record = deployment_record(application, number, &record)?;
        let mut journal = Vec::new();
        let mut state = None;
        for entry in self
            .journal
            .range((name, number, 0)..=(name, number, u64::MAX))?
        {
            let record = journal_record(application, number, entry?.1.value())?;
            if let JournalEntry::Transition { to, .. } = &record.entry {
                state = Some(*to);
            }
            journal.push(record);
        }
        let state = state.ok_or_else(|| {
            Stop::Record(format!(
                "deployment {number} of `{application}` has no journal"
            ))
        })?;
        Ok(Some(whole(application, number, record, state, journal)))
    }

    /// One that a pointer or a list names.
    pub(super) fn there(
        &self,
        application: &ActorAddress,
        number: u64,
    ) -> Result<Deployment, Stop> {
        let found = self.deployment(application, number)?;
        found.ok_or_else(|| {
            Stop::Record(format!("deployment {number} of `{application}` is missing"))
        })
    }
}
