//! The lock file beside a socket.
//!
//! Owns [`Lock`]: an advisory lock that the kernel gives back when the process ends, however it ends. The file
//! holds the process id, for the error of whoever comes second. It is removed with the lock still held; a
//! newcomer that had opened it before sees that its file is no longer the one in the directory, and tries again.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Tries to lock a file that stays where it is.
const TRIES_MAX: u32 = 100;

/// Longest text read of a lock file: a process id.
const PID_BYTES_MAX: u64 = 32;

#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    // Closing it gives the lock back.
    _file: File,
}

pub(super) enum LockError {
    /// Another process has it.
    Held {
        pid: Option<u32>,
    },
    Io(io::Error),
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Lock {
    pub(super) fn take(path: &Path) -> Result<Self, LockError> {
        for _ in 0..TRIES_MAX {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                // A link there would lead the lock, and the process id, to somebody's file.
                .custom_flags(no_follow())
                .open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Held {
                        pid: pid_in(&mut file),
                    });
                }
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
            if is_at(&file, path)? {
                file.set_len(0)?;
                file.rewind()?;
                writeln!(file, "{}", std::process::id())?;
                return Ok(Self {
                    path: path.to_owned(),
                    _file: file,
                });
            }
        }
        Err(io::Error::other("it is replaced again and again").into())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked. One that is left lies there unlocked, and is taken by the next host.
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "the lock file was not removed");
        }
    }
}

fn no_follow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0)
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Whether an open file is the one that lies at a path now.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
