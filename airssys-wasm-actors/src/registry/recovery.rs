//! After a start of the host: what had not ended is ended, and what is to boot is found.
//!
//! Owns [`Registry::recover`]. Only the permanent deployment boots; a trial is as if it had never been, whatever it had
//! switched before the host ended. Costs a read of the application's journals, and one transaction if something was
//! interrupted.

use redb::WriteTransaction;

use super::database::{DEPLOYMENTS, JOURNAL, Stop, Written};
use super::deployment::{Deployment, DeploymentState, Transition};
use super::error::RegistryError;
use super::journal::advanced;
use super::records::{Reader, last_state, numbers, pointers};
use super::{Registry, database, fault};
use crate::address::ActorAddress;

/// What a host finds when it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovered {
    /// The deployment to boot, with one revision for each component. An application that never had a permanent one
    /// boots nothing.
    pub boot: Option<Deployment>,
    /// Deployments that the end of the host interrupted, in the order of their numbers. They have been ended by this call:
    /// it finds them once.
    pub interrupted: Vec<Interrupted>,
}

/// A deployment that the end of a host interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted {
    /// Its number.
    pub number: u64,
    /// The state it was in.
    pub was: DeploymentState,
    /// The state it has ended in: `RolledBack` or `Failed`.
    pub now: DeploymentState,
}

impl Registry {
    /// Ends what a host that is gone left unfinished in the journal of an application, and returns what to boot.
    ///
    /// It is for the start of a host, before anything is deployed: a deployment that goes on would be ended too. Calling
    /// it again changes nothing.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn recover(
        &self,
        application: &ActorAddress,
        at_unix_ms: u64,
    ) -> Result<Recovered, RegistryError> {
        let interrupted = self.end_unfinished(application, at_unix_ms, |was| {
            format!("the host ended while it was {was}")
        })?;
        let boot = self.inner.database.read(|transaction| {
            let table = transaction.open_table(database::POINTERS)?;
            let permanent = pointers(&table, application)?.permanent;
            let reader = Reader::new(transaction)?;
            permanent
                .map(|number| reader.there(application, number))
                .transpose()
        })?;
        Ok(Recovered { boot, interrupted })
    }

    /// Ends the deployments of an application that have not ended, of which none goes on; `note` says why of each.
    pub(crate) fn end_unfinished(
        &self,
        application: &ActorAddress,
        at_unix_ms: u64,
        note: fn(DeploymentState) -> String,
    ) -> Result<Vec<Interrupted>, RegistryError> {
        let database = &self.inner.database;
        database.write(|transaction| end_all(transaction, application, at_unix_ms, note))
    }
}

fn end_all(
    transaction: &WriteTransaction,
    application: &ActorAddress,
    at_unix_ms: u64,
    note: fn(DeploymentState) -> String,
) -> Result<Written<Vec<Interrupted>>, Stop> {
    let pointers = pointers(&transaction.open_table(database::POINTERS)?, application)?;
    let mut interrupted = Vec::new();
    for number in numbers(&transaction.open_table(DEPLOYMENTS)?, application)? {
        let state = last_state(&transaction.open_table(JOURNAL)?, application, number)?;
        let was = state.ok_or_else(|| {
            Stop::Record(format!(
                "deployment {number} of `{application}` has no journal"
            ))
        })?;
        let mut now = was;
        for &to in was.after_the_host(pointers.permanent.is_some()) {
            let transition = Transition {
                to,
                component: None,
                note: note(was),
                at_unix_ms,
            };
            advanced(transaction, application, number, now, transition)?;
            now = to;
        }
        if now != was {
            interrupted.push(Interrupted { number, was, now });
        }
    }
    Ok(if interrupted.is_empty() {
        Written::Unchanged(interrupted)
    } else {
        Written::Changed(interrupted, fault::RECOVER)
    })
}
