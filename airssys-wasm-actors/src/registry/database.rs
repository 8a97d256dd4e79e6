//! The database: opened, checked, read and written in transactions, closed after an error and opened anew.
//!
//! Owns the file `registry.redb`, its tables, the form of a record in them, and the translation of redb's errors; redb
//! is named nowhere outside of the registry. A record is JSON behind a version, so that it can be read by people and by
//! later versions. Each write is one durable transaction: two-phase, with the state of the allocator (redb's quick
//! repair), two syncs.
//!
//! **Damage.** Every page is compared with its checksum when the file is opened, so that what was read afterwards is
//! what was written; that reads the whole file, which has a few KiB a revision. redb may still panic on a file that is
//! changed under it: a panic becomes an error here.
//!
//! **After an error** redb refuses further writes. The database is closed then, and opened again by the next call: a
//! full disk is over when there is room again, and what had been acknowledged is there.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parking_lot::{RwLock, RwLockReadGuard, RwLockUpgradableReadGuard, RwLockWriteGuard};
use redb::{
    Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::artifacts::TEMPORARY;
use super::error::RegistryError;
use super::fault::{CommitSteps, Faults};

/// The database's file in the registry's directory.
pub(super) const FILE: &str = "registry.redb";

/// The newest format of the tables that is read here, and the one that is written.
pub(super) const FORMAT: u32 = 1;

/// Largest record, in bytes. A manifest can have 1 MiB, and some of its characters take six in JSON.
pub(super) const RECORD_BYTES_MAX: usize = 8 << 20;

/// What redb keeps in memory, in bytes: a registry of thousands of revisions whole.
const CACHE_BYTES: usize = 16 << 20;

const REMEDY: &str = "restore it from a copy, or stop the host, move the file away and deploy again: \
                      the artifacts beside it are kept";

/// What the file is.
pub(super) const META: TableDefinition<'_, &str, u32> = TableDefinition::new("meta");
/// Its key in [`META`].
pub(super) const META_FORMAT: &str = "format";
/// The last number that was given: to a component's revisions, to an application's deployments.
pub(super) const NUMBERS: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("numbers");
/// By component and number.
pub(super) const REVISIONS: TableDefinition<'_, (&str, u64), &str> =
    TableDefinition::new("revisions");
/// By application and number.
pub(super) const DEPLOYMENTS: TableDefinition<'_, (&str, u64), &str> =
    TableDefinition::new("deployments");
/// By application, number and place in the deployment's journal, from 1.
pub(super) const JOURNAL: TableDefinition<'_, (&str, u64, u64), &str> =
    TableDefinition::new("journal");
/// By application.
pub(super) const POINTERS: TableDefinition<'_, &str, &str> = TableDefinition::new("pointers");

/// Where the bytes of the database lie.
#[derive(Clone)]
pub(super) enum Medium {
    /// In the file.
    File,
    /// In memory, with the faults of a disk.
    #[cfg(test)]
    Simulated(super::tests::disk::Disk),
}

/// The database of one registry. It is `None` between an error and the next call.
pub(super) struct Database {
    directory: PathBuf,
    path: PathBuf,
    medium: Medium,
    faults: Faults,
    open: RwLock<Option<redb::Database>>,
}

/// What a write came to.
pub(super) enum Written<T> {
    /// Something was changed.
    Changed(T, CommitSteps),
    /// Nothing was, and nothing has to reach the disk.
    Unchanged(T),
}

/// Why a transaction was left.
pub(super) enum Stop {
    /// It was refused.
    Refused(RegistryError),
    /// By redb.
    Redb(redb::Error),
    /// A record is not one.
    Record(String),
    /// A record was written by a newer version.
    Newer(u32),
}

impl From<RegistryError> for Stop {
    fn from(error: RegistryError) -> Self {
        Self::Refused(error)
    }
}

macro_rules! stops {
    ($($error:ident,)*) => {$(
        impl From<redb::$error> for Stop {
            fn from(error: redb::$error) -> Self {
                Self::Redb(error.into())
            }
        }
    )*};
}

stops! { CommitError, DatabaseError, SetDurabilityError, StorageError, TableError, TransactionError, }

/// How a record lies in its table.
#[derive(Deserialize)]
struct Stored<'a> {
    v: u32,
    #[serde(borrow)]
    record: &'a RawValue,
}

/// A record as text, for its table.
pub(super) fn encode<T: Serialize>(
    what: impl Fn() -> String,
    bytes_max: usize,
    record: &T,
) -> Result<String, Stop> {
    #[derive(Serialize)]
    struct Storing<'a, T> {
        v: u32,
        record: &'a T,
    }
    let text = serde_json::to_string(&Storing { v: FORMAT, record });
    let text = text.map_err(|error| Stop::Record(format!("{}: {error}", what())))?;
    if text.len() > bytes_max {
        return Err(Stop::Refused(RegistryError::TooLarge {
            what: what(),
            bytes: text.len(),
            max: bytes_max,
        }));
    }
    Ok(text)
}

/// A record out of its table.
pub(super) fn decode<T: DeserializeOwned>(
    what: impl Fn() -> String,
    text: &str,
) -> Result<T, Stop> {
    let wrong = |error: serde_json::Error| Stop::Record(format!("{}: {error}", what()));
    let stored: Stored<'_> = serde_json::from_str(text).map_err(wrong)?;
    if stored.v > FORMAT {
        return Err(Stop::Newer(stored.v));
    }
    serde_json::from_str(stored.record.get()).map_err(wrong)
}

/// The next number of a kind of thing, from 1, never given twice.
pub(super) fn next_number(
    transaction: &WriteTransaction,
    kind: &str,
    of: &str,
) -> Result<u64, Stop> {
    let mut numbers = transaction.open_table(NUMBERS)?;
    let last = numbers.get((kind, of))?.map_or(0, |last| last.value());
    let next = last.saturating_add(1);
    numbers.insert((kind, of), next)?;
    Ok(next)
}

impl Database {
    /// Opens the database, and makes it if the registry is new.
    pub(super) fn open(
        directory: &Path,
        medium: Medium,
        faults: Faults,
    ) -> Result<Self, RegistryError> {
        let database = Self {
            directory: directory.to_owned(),
            path: directory.join(FILE),
            medium,
            faults,
            open: RwLock::new(None),
        };
        database.create()?;
        *database.open.write() = Some(database.connect()?);
        Ok(database)
    }

    /// Makes the file under another name first: it is whole, or not there. Its name is durable when its directory is synced.
    fn create(&self) -> Result<(), RegistryError> {
        let there = match &self.medium {
            Medium::File => self.path.try_exists(),
            #[cfg(test)]
            Medium::Simulated(disk) => Ok(!disk.is_empty()),
        };
        if there.map_err(|error| RegistryError::io("look at", &self.path, error))? {
            return Ok(());
        }
        let unique = RandomState::new().hash_one(std::process::id());
        let temporary = self.directory.join(format!("{TEMPORARY}{unique:016x}"));
        if matches!(self.medium, Medium::File) {
            make_private(&temporary)
                .map_err(|error| RegistryError::io("make", &temporary, error))?;
        }
        let made = self.guarded(|| {
            let builder = builder();
            let database = match &self.medium {
                // Which is empty.
                Medium::File => builder.create(&temporary)?,
                #[cfg(test)]
                Medium::Simulated(disk) => builder.create_with_backend(disk.backend())?,
            };
            let transaction = begin(&database)?;
            transaction.open_table(META)?.insert(META_FORMAT, FORMAT)?;
            transaction.open_table(NUMBERS)?;
            transaction.open_table(REVISIONS)?;
            transaction.open_table(DEPLOYMENTS)?;
            transaction.open_table(JOURNAL)?;
            transaction.open_table(POINTERS)?;
            transaction.commit()?;
            database.close()?;
            Ok(())
        });
        if matches!(self.medium, Medium::File) {
            // A link, unlike a rename, does not replace what another process made in the meantime; and that process
            // may have removed this one's temporary file.
            let linked = made.and_then(|()| {
                let linked = fs::hard_link(&temporary, &self.path);
                let there = self.path.try_exists().unwrap_or(false);
                match linked {
                    Err(error) if !there => Err(RegistryError::io("make", &self.path, error)),
                    _ => Ok(()),
                }
            });
            let _leftover_is_removed_at_the_next_open = fs::remove_file(&temporary);
            return linked;
        }
        made
    }

    /// Opens the file that is there, and looks whether it is what it should be.
    fn connect(&self) -> Result<redb::Database, RegistryError> {
        if matches!(self.medium, Medium::File) {
            let private = keep_private(&self.path);
            private.map_err(|error| RegistryError::io("make private", &self.path, error))?;
        }
        let (database, format) = self.guarded(|| {
            let builder = builder();
            let database = match &self.medium {
                Medium::File => builder.open(&self.path)?,
                #[cfg(test)]
                Medium::Simulated(disk) => builder.create_with_backend(disk.backend())?,
            };
            let transaction = database.begin_read()?;
            let format = transaction.open_table(META)?.get(META_FORMAT)?;
            let format = format.map_or(0, |format| format.value());
            Ok((database, format))
        })?;
        match format {
            1..=FORMAT => Ok(database),
            0 => Err(self.corrupt("it does not say its format".to_owned())),
            found => Err(RegistryError::NewerFormat {
                path: self.path.clone(),
                found,
                known: FORMAT,
            }),
        }
    }

    /// Removes what was being made when a host ended. The file's lock is held, so nobody is making it now.
    pub(super) fn remove_temporaries(&self) -> Result<(), RegistryError> {
        for path in super::artifacts::list(&self.directory)? {
            let name = path.file_name().map(|name| name.to_string_lossy());
            if name.is_some_and(|name| name.starts_with(TEMPORARY)) {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(RegistryError::io("remove", &path, error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Reads what one moment had.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Stop>,
    ) -> Result<T, RegistryError> {
        self.within(|database| read(&database.begin_read()?))
    }

    /// Writes all or nothing, one writer at a time. What is returned is durable.
    pub(super) fn write<T>(
        &self,
        write: impl FnOnce(&WriteTransaction) -> Result<Written<T>, Stop>,
    ) -> Result<T, RegistryError> {
        self.within(|database| {
            let transaction = begin(database)?;
            match write(&transaction)? {
                Written::Unchanged(done) => {
                    transaction.abort()?;
                    Ok(done)
                }
                Written::Changed(done, steps) => {
                    self.step(steps.before)?;
                    transaction.commit()?;
                    self.step(steps.after)?;
                    Ok(done)
                }
            }
        })
    }

    fn step(&self, step: &'static str) -> Result<(), Stop> {
        let passed = self.faults.at(step);
        passed.map_err(|error| Stop::Refused(RegistryError::io("write", &self.path, error)))
    }

    fn within<T>(
        &self,
        act: impl FnOnce(&redb::Database) -> Result<T, Stop>,
    ) -> Result<T, RegistryError> {
        let open = self.opened()?;
        let Some(database) = open.as_ref() else {
            return Err(RegistryError::Closed {
                path: self.path.clone(),
            });
        };
        let done = self.guarded(|| act(database));
        drop(open);
        if done.as_ref().is_err_and(RegistryError::breaks_database) {
            // Held until it is closed: whoever opens it again before that is told that another host has it.
            let mut open = self.open.write();
            let broken = open.take();
            // Closing writes, and may find the same trouble again; the error that is returned says it.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(broken)));
        }
        done
    }

    /// Whether nobody else can look at it, or open it, at this moment.
    #[cfg(test)]
    pub(super) fn is_held_alone(&self) -> bool {
        self.open.is_locked_exclusive()
    }

    fn opened(&self) -> Result<RwLockReadGuard<'_, Option<redb::Database>>, RegistryError> {
        let open = self.open.read();
        if open.is_some() {
            return Ok(open);
        }
        drop(open);
        let open = self.open.upgradable_read();
        if open.is_some() {
            return Ok(RwLockUpgradableReadGuard::downgrade(open));
        }
        let mut open = RwLockUpgradableReadGuard::upgrade(open);
        *open = Some(self.connect()?);
        Ok(RwLockWriteGuard::downgrade(open))
    }

    /// Runs what uses redb, and makes one of our errors of all that can come of it.
    fn guarded<T>(&self, act: impl FnOnce() -> Result<T, Stop>) -> Result<T, RegistryError> {
        match catch_unwind(AssertUnwindSafe(act)) {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(stop)) => Err(self.error(stop)),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                let text = text.unwrap_or("no reason given");
                Err(self.corrupt(format!("reading it failed: {text}")))
            }
        }
    }

    /// What redb says, in our words.
    pub(super) fn error(&self, stop: Stop) -> RegistryError {
        let path = self.path.clone();
        match stop {
            Stop::Refused(error) => error,
            Stop::Record(what) => self.corrupt(what),
            Stop::Newer(found) => RegistryError::NewerFormat {
                path,
                found,
                known: FORMAT,
            },
            Stop::Redb(redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch) => {
                RegistryError::InUse {
                    path: self.directory.clone(),
                }
            }
            Stop::Redb(
                redb::Error::PreviousIo
                | redb::Error::DatabaseClosed
                | redb::Error::LockPoisoned(_)
                | redb::Error::TransactionPoisoned,
            ) => RegistryError::Closed { path },
            Stop::Redb(redb::Error::Io(error)) => match error.kind() {
                // redb's words for a file that is no database, and for one that was cut.
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    self.corrupt(error.to_string())
                }
                _ => RegistryError::io("read or write", &path, error),
            },
            Stop::Redb(error) => self.corrupt(error.to_string()),
        }
    }

    fn corrupt(&self, what: String) -> RegistryError {
        RegistryError::Corrupt {
            path: self.path.clone(),
            what,
            remedy: REMEDY,
        }
    }
}

/// An empty file that nobody else can read: values that are configured are in what becomes of it.
fn make_private(path: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path).map(drop)
}

/// Takes the right to read it away from others, who may have had it by how it was made.
#[cfg(unix)]
fn keep_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut permissions = fs::metadata(path)?.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(0o600);
        fs::set_permissions(path, permissions)?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn keep_private(_: &Path) -> io::Result<()> {
    Ok(())
}

fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder.set_check_integrity_on_open(true);
    builder
}

fn begin(database: &redb::Database) -> Result<WriteTransaction, Stop> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_two_phase_commit(true);
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// A value of a table, owned.
pub(super) fn text<'k, K: redb::Key + 'static>(
    table: &impl ReadableTable<K, &'static str>,
    key: K::SelfType<'k>,
) -> Result<Option<String>, Stop> {
    let found = table.get(key)?;
    Ok(found.map(|found| found.value().to_owned()))
}
