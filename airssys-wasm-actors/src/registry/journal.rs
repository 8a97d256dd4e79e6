//! The journal of deployments: begun, advanced, read back.
//!
//! Owns the order of things on disk: each transition is one record, durable before the call returns, and in the same
//! transaction as the pointers it moves. Whoever acts on a transition records it first; a rollback acts first, because
//! what boots without its record is the old revision anyway. Each record costs one transaction, two syncs.

use std::collections::BTreeMap;

use redb::{ReadableTable, WriteTransaction};

use super::database::{
    DEPLOYMENTS, JOURNAL, POINTERS, RECORD_BYTES_MAX, REVISIONS, Stop, Written, encode, next_number,
};
use super::deployment::{
    Deployment, DeploymentPointers, DeploymentState, DeploymentStep, JournalEntry, JournalRecord,
    NewDeployment, Transition,
};
use super::error::RegistryError;
use super::records::{
    DeploymentRecord, Reader, all_pointers, components, last_state, pointers, whole,
};
use super::revision::Revision;
use super::{Registry, fault};
use crate::address::ActorAddress;

/// Largest record of a journal, in bytes: a note is a sentence, and the numbers of a step are few.
const JOURNAL_RECORD_BYTES_MAX: usize = 64 << 10;

/// Most records of one journal that may be steps or have steps before them: a canary of a hundred weights, each with
/// its verdicts, in fifty components.
const JOURNAL_RECORDS_MAX: u64 = 10_000;

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
                    return Err(Stop::Refused(RegistryError::NoSuchArtifact {
                        path: self.inner.artifacts.path(digest),
                        digest,
                    }));
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
        self.history_of(application, limit, |deployment| deployment)
    }

    /// The same, each made into what is wanted of it before the next one is read: with its manifest one can have a MiB. `of` must not
    /// ask the registry.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn history_of<T>(
        &self,
        application: &ActorAddress,
        limit: usize,
        mut of: impl FnMut(Deployment) -> T,
    ) -> Result<Vec<T>, RegistryError> {
        self.inner.database.read(|transaction| {
            let reader = Reader::new(transaction)?;
            let numbers = reader.numbers(application)?;
            let newest = numbers.into_iter().rev().take(limit);
            newest
                .map(|number| Ok(of(reader.there(application, number)?)))
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
        settings,
        by,
        why,
        at_unix_ms,
    } = new;
    let record = DeploymentRecord {
        manifest,
        components,
        settings,
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
