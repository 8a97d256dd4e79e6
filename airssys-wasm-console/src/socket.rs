//! The socket file of a host: made, locked, taken over from the dead, removed.
//!
//! Owns [`ControlSocket`]. Beside the socket lies a lock file, held for the life of the host's process by the
//! kernel: two hosts cannot serve one path, and a socket whose lock can be had belongs to a host that was killed, and
//! is taken over. What is not a socket, and a socket that somebody without the lock answers on, is never touched.
//! The socket's mode is 0600; its directory, where it is made here, 0700.

mod directory;
mod lock;

use std::fs;
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

pub use directory::{FoundSocket, SocketDirectory};

use lock::{Lock, LockError};

/// Longest path of a socket in bytes: `sun_path` has 108, and the last is a NUL.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// How long a socket that is in the way is asked whether anybody listens: a listener whose queue is full makes a
/// caller wait.
const PROBE_WITHIN: Duration = Duration::from_secs(1);

/// Why a host cannot be reached at a path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The path does not fit an address of a socket.
    #[error(
        "the path of the control socket has {bytes} bytes, and a socket's can have {SOCKET_PATH_BYTES_MAX}: {path}"
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// Another host serves it.
    #[error("another host{} serves {path}", .pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Live {
        /// The path.
        path: PathBuf,
        /// Its process, where it says so.
        pid: Option<u32>,
    },
    /// Somebody who does not hold the lock listens there.
    #[error("a program that is no airssys host listens at {0}")]
    Foreign(PathBuf),
    /// A file is in the way.
    #[error("{0} is there already, and is not a socket")]
    NotASocket(PathBuf),
    /// The directory belongs to somebody else, or is no directory.
    #[error("{path} cannot hold a control socket: {why}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The machine refuses.
    #[error("cannot {what} {path}: {why}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        #[source]
        why: io::Error,
    },
}

impl SocketError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |why| Self::Io { what, path, why }
    }
}

/// A listening socket that is this process's alone. Dropping it removes the file.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file that was made here.
    made: (u64, u64),
    // Released after the socket is removed: fields are dropped after `drop`.
    _lock: Lock,
}

impl ControlSocket {
    /// Listens at `path`. A missing directory is made, with mode 0700.
    ///
    /// # Errors
    /// [`SocketError`]; nothing was changed then but for directories that were missing.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let bytes = path.as_os_str().len();
        if bytes > SOCKET_PATH_BYTES_MAX {
            let path = path.to_owned();
            return Err(SocketError::TooLong { path, bytes });
        }
        if let Some(directory) = path.parent().filter(|path| !path.as_os_str().is_empty()) {
            let mut builder = fs::DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .map_err(SocketError::io("make the directory", directory))?;
        }
        let lock = Lock::take(&lock_path(path)).map_err(|error| match error {
            LockError::Held { pid } => SocketError::Live {
                path: path.to_owned(),
                pid,
            },
            LockError::Io(why) => SocketError::io("lock", &lock_path(path))(why),
        })?;
        clear(path)?;
        let listener = UnixListener::bind(path).map_err(SocketError::io("listen at", path))?;
        let made = made_at(path).unwrap_or_default();
        let socket = Self {
            listener,
            path: path.to_owned(),
            made,
            _lock: lock,
        };
        // Until here the umask's mode; whoever connects is asked for its user all the same.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .map_err(SocketError::io("set the mode of", path))?;
        socket
            .listener
            .set_nonblocking(true)
            .map_err(SocketError::io("listen at", path))?;
        Ok(socket)
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The listener, to be accepted on; the file stays this one's.
    pub(crate) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Only the file that was made here: somebody may have put another in its place.
        if made_at(&self.path).is_some_and(|there| there == self.made)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the control socket was not removed");
        }
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn made_at(path: &Path) -> Option<(u64, u64)> {
    let file = fs::symlink_metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

/// Removes the socket of a host that was killed. The lock is held.
fn clear(path: &Path) -> Result<(), SocketError> {
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SocketError::io("look at", path)(error)),
    };
    if !file.file_type().is_socket() {
        return Err(SocketError::NotASocket(path.to_owned()));
    }
    if answers(path) {
        return Err(SocketError::Foreign(path.to_owned()));
    }
    tracing::debug!(path = %path.display(), "taking over the socket of a host that is gone");
    fs::remove_file(path).map_err(SocketError::io("remove", path))
}

/// Whether anybody listens. A socket nobody listens on refuses; anything else may be somebody.
fn answers(path: &Path) -> bool {
    let (tell, told) = mpsc::sync_channel(1);
    let path = path.to_owned();
    let probe = std::thread::Builder::new().name("airssys-probe".to_owned());
    let probing = probe.spawn(move || {
        let refused = UnixStream::connect(&path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        // Nobody listens any more if this took too long.
        let _ = tell.send(refused);
    });
    let refused = probing.is_ok() && told.recv_timeout(PROBE_WITHIN).unwrap_or(false);
    !refused
}
