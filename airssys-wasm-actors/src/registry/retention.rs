//! What is kept, and the collection of what is not.
//!
//! Owns [`Retention`], the pure decision of what a registry keeps, and [`Registry::gc`]. Records go first, in one
//! transaction, then the files that no record names: a crash between the two leaves files, which the next collection
//! finds. What this process has put or registered and not used yet is kept.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use airssys_wasm::Digest;
use redb::{ReadableTable, WriteTransaction};

use super::database::{DEPLOYMENTS, JOURNAL, POINTERS, REVISIONS, Stop, Written};
use super::deployment::DeploymentPointers;
use super::error::RegistryError;
use super::query::roles;
use super::records::{address, deployment_record, pointers};
use super::{Registry, fault, revision};
use crate::address::ActorAddress;

/// How many revisions of a component, and how many deployments of an application, are kept at least. One is kept if either
/// rule says so, and in any case if something needs it (see [`Registry::gc`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// So many of the newest. Default 10.
    pub keep_last: usize,
    /// Those no older than this. Default 7 days.
    pub keep_for: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            keep_last: 10,
            keep_for: Duration::from_hours(7 * 24),
        }
    }
}

/// What a collection has removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Revisions.
    pub revisions: usize,
    /// Deployments, with their journals.
    pub deployments: usize,
    /// Files of artifacts.
    pub artifacts: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// A component and the number of a revision, or an application and the number of a deployment.
type Name = (ActorAddress, u64);

/// What the decision is made of.
#[derive(Default)]
struct Known {
    revisions: BTreeMap<Name, u64>,
    deployments: BTreeMap<Name, KnownDeployment>,
    pointers: BTreeMap<ActorAddress, DeploymentPointers>,
}

struct KnownDeployment {
    at_unix_ms: u64,
    revisions: Vec<Name>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Kept {
    revisions: BTreeSet<Name>,
    deployments: BTreeSet<Name>,
}

impl Registry {
    /// Removes what retention does not keep, and files that nothing refers to.
    ///
    /// Never removed are the permanent deployment, the one that has not ended and the rollback target of each
    /// application, every revision that a kept deployment has, and every artifact that a kept revision has: any
    /// deployment in the history can be gone back to.
    ///
    /// # Errors
    /// Those of the disk. What had been removed until then stays removed; the next collection goes on.
    pub fn gc(&self, now_unix_ms: u64) -> Result<GcReport, RegistryError> {
        // Held to the end: no file may be put, and no revision registered, between the decision and the removal.
        let unused = self.inner.unused.lock();
        let retention = self.inner.retention;
        let (mut report, wanted) = self.inner.database.write(|transaction| {
            let kept = kept(
                &known(transaction)?,
                retention,
                now_unix_ms,
                &unused.revisions,
            );
            collect(transaction, &kept)
        })?;
        let removed = self.inner.artifacts.remove_unless(|digest| {
            wanted.contains(&digest) || unused.artifacts.contains(&digest)
        })?;
        report.artifacts = removed.files;
        report.bytes = removed.bytes;
        Ok(report)
    }
}

/// What is kept of what there is.
fn kept(known: &Known, retention: Retention, now_unix_ms: u64, unused: &HashSet<Name>) -> Kept {
    let deployments = known.deployments.iter();
    let deployments = deployments.map(|(name, deployment)| (name, deployment.at_unix_ms));
    let mut deployments = by_age(deployments, retention, now_unix_ms);
    for (application, pointers) in &known.pointers {
        deployments.extend(roles(*pointers).map(|(_, number)| (application.clone(), number)));
    }
    let revisions = known.revisions.iter().map(|(name, at)| (name, *at));
    let mut revisions = by_age(revisions, retention, now_unix_ms);
    revisions.extend(unused.iter().cloned());
    for name in &deployments {
        if let Some(deployment) = known.deployments.get(name) {
            revisions.extend(deployment.revisions.iter().cloned());
        }
    }
    Kept {
        revisions,
        deployments,
    }
}

/// Those that the two rules keep. They come in the order of their names, so the newest of each is last.
fn by_age<'a>(
    names: impl DoubleEndedIterator<Item = (&'a Name, u64)>,
    retention: Retention,
    now_unix_ms: u64,
) -> BTreeSet<Name> {
    let keep_for_ms = u64::try_from(retention.keep_for.as_millis()).unwrap_or(u64::MAX);
    let mut kept = BTreeSet::new();
    let mut of: Option<(&ActorAddress, usize)> = None;
    for (name, at) in names.rev() {
        let newer = match of {
            Some((same, newer)) if *same == name.0 => newer,
            _ => 0,
        };
        of = Some((&name.0, newer.saturating_add(1)));
        // A clock that was set back makes a thing new, not old.
        let age = now_unix_ms.saturating_sub(at);
        if newer < retention.keep_last || age <= keep_for_ms {
            kept.insert(name.clone());
        }
    }
    kept
}

fn known(transaction: &WriteTransaction) -> Result<Known, Stop> {
    let mut known = Known::default();
    for revision in revision::all(&transaction.open_table(REVISIONS)?)? {
        let name = (revision.component, revision.number);
        known.revisions.insert(name, revision.provenance.at_unix_ms);
    }
    let table = transaction.open_table(POINTERS)?;
    for entry in transaction.open_table(DEPLOYMENTS)?.iter()? {
        let (key, record) = entry?;
        let (application, number) = key.value();
        let application = address(application)?;
        let record = deployment_record(&application, number, record.value())?;
        let components = record.components.into_iter();
        let deployment = KnownDeployment {
            at_unix_ms: record.at_unix_ms,
            revisions: components
                .map(|(component, deployed)| (component, deployed.revision))
                .collect(),
        };
        let of = pointers(&table, &application)?;
        known.pointers.insert(application.clone(), of);
        known.deployments.insert((application, number), deployment);
    }
    Ok(known)
}

/// Removes the records that are not kept, and returns the digests that are still wanted.
fn collect(
    transaction: &WriteTransaction,
    kept: &Kept,
) -> Result<Written<(GcReport, HashSet<Digest>)>, Stop> {
    let mut report = GcReport::default();
    let mut wanted = HashSet::new();
    let mut revisions = transaction.open_table(REVISIONS)?;
    for revision in revision::all(&revisions)? {
        let name = (revision.component, revision.number);
        if kept.revisions.contains(&name) {
            wanted.insert(revision.digest);
        } else {
            revisions.remove((name.0.as_str(), name.1))?;
            report.revisions += 1;
        }
    }
    let mut deployments = transaction.open_table(DEPLOYMENTS)?;
    let mut journal = transaction.open_table(JOURNAL)?;
    let mut gone = Vec::new();
    for entry in deployments.iter()? {
        let key = entry?.0;
        let (application, number) = key.value();
        let name = (address(application)?, number);
        if !kept.deployments.contains(&name) {
            gone.push(name);
        }
    }
    for (application, number) in gone {
        let application = application.as_str();
        deployments.remove((application, number))?;
        let records = (application, number, 0)..=(application, number, u64::MAX);
        journal.retain_in(records, |_, _| false)?;
        report.deployments += 1;
    }
    Ok(if report == GcReport::default() {
        Written::Unchanged((report, wanted))
    } else {
        Written::Changed((report, wanted), fault::COLLECT)
    })
}

#[cfg(test)]
mod tests;
