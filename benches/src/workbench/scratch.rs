//! A directory of a scenario's own, for what lies on disk.
//!
//! It goes with its guard. A process that is ended at once, as by a second Ctrl-C, leaves it: then the next run removes
//! it ([`remove_left`]). Whose it is, is told by a lock in it and not by a number, which another process may have by now:
//! the kernel gives the lock back when its process has ended, however that was.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{BenchError, OrFailed};

/// What the directories' names begin with.
const PREFIX: &str = "airssys-bench-";

/// The file that is locked while the directory is in use. It gets its name when it is locked.
const LOCK: &str = ".in-use";

/// A directory that is removed when it is done with.
pub(crate) struct Scratch {
    path: PathBuf,
    /// Held, so that nobody else removes it.
    _lock: File,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self, BenchError> {
        Self::within(&std::env::temp_dir())
    }

    fn within(directory: &Path) -> Result<Self, BenchError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let what = "making a directory for what is measured";
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&path).or_failed(what)?;
        let lock = locked(&path).inspect_err(|_| remove(&path));
        Ok(Self {
            _lock: lock.or_failed(what)?,
            path,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// What cannot be removed is the system's to clean, as all of its temporary directory.
fn remove(directory: &Path) {
    let _ = fs::remove_dir_all(directory);
}

/// A file with the lock's name is locked from the first: whoever finds it unlocked finds nobody's.
fn locked(directory: &Path) -> io::Result<File> {
    let unnamed = directory.join(".lock");
    let lock = File::create_new(&unnamed)?;
    lock.lock()?;
    fs::rename(unnamed, directory.join(LOCK))?;
    Ok(lock)
}

/// Removes the directories that processes of this user have left behind.
pub(crate) fn remove_left() {
    remove_left_in(&std::env::temp_dir());
}

fn remove_left_in(directory: &Path) {
    let (Ok(entries), Ok(this)) = (fs::read_dir(directory), fs::metadata("/proc/self")) else {
        return;
    };
    for entry in entries.flatten() {
        let named = entry.file_name().to_string_lossy().starts_with(PREFIX);
        // Of the entry itself, not of what a link leads to.
        let data = named.then(|| entry.metadata().ok()).flatten();
        let is_own = data.is_some_and(|data| data.is_dir() && data.uid() == this.uid());
        if is_own && is_left(&entry.path()) {
            remove(&entry.path());
        }
    }
}

/// Whether nobody holds its lock. One without a lock is being made, or is nothing of ours.
fn is_left(directory: &Path) -> bool {
    let lock = File::open(directory.join(LOCK));
    lock.is_ok_and(|lock| lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_directory_goes_with_its_guard() {
        let scratch = Scratch::new().unwrap();
        let path = scratch.path().to_owned();
        assert!(path.is_dir());
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_process_left_is_removed_and_nothing_else() {
        let all = Scratch::new().unwrap();
        let at = |name: &str| all.path().join(name);
        let used = Scratch::within(all.path()).unwrap();
        // As it is when its process has ended: the lock is there, and nobody's.
        let left = at("airssys-bench-1-0");
        fs::create_dir_all(left.join("state")).unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        fs::write(left.join("state/file"), "x").unwrap();
        // Being made; somebody else's thing; a link to what is not to go.
        fs::create_dir(at("airssys-bench-2-0")).unwrap();
        fs::create_dir(at("other")).unwrap();
        fs::write(at("other").join(LOCK), "").unwrap();
        std::os::unix::fs::symlink(at("other"), at("airssys-bench-3-0")).unwrap();
        remove_left_in(all.path());
        assert!(!left.exists());
        assert!(used.path().is_dir());
        for kept in ["airssys-bench-2-0", "airssys-bench-3-0", "other/.in-use"] {
            assert!(at(kept).exists(), "{kept}");
        }
    }
}
