//! The records of deployments as they lie in their tables: found, read, put together.
//!
//! Owns the form of a deployment on disk. Nothing here writes.

use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable};
use serde::{Deserialize, Serialize};

use super::database::{DEPLOYMENTS, JOURNAL, POINTERS, Stop, decode, text};
use super::deployment::{
    DeployedComponent, Deployment, DeploymentPointers, DeploymentState, JournalEntry, JournalRecord,
};
use super::error::RegistryError;
use super::revision::{self, Revision};
use crate::address::ActorAddress;
use crate::configuration::ConfigSettings;

/// What of a deployment never changes, as it lies in its table.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DeploymentRecord {
    pub(super) manifest: String,
    pub(super) components: BTreeMap<ActorAddress, DeployedComponent>,
    /// Left out where nothing was set, so that a record is what it was before there were settings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) settings: ConfigSettings,
    pub(super) by: String,
    pub(super) why: String,
    pub(super) at_unix_ms: u64,
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
pub(super) fn components(
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

pub(super) fn whole(
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
        settings: record.settings,
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
    pub(super) fn numbers(&self, application: &ActorAddress) -> Result<Vec<u64>, Stop> {
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
