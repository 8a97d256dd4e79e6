//! Where the sockets of a user's hosts lie.
//!
//! Owns [`SocketDirectory`]: `$XDG_RUNTIME_DIR/airssys`, or where there is none `airssys-UID` in the directory for
//! temporary files, which anybody may write to: it is used only if it is the user's own. A socket has the name of its
//! application, so that it can be found without being told where.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use super::SocketError;

/// What a socket's name ends with.
const SUFFIX: &str = ".sock";

/// Stands for the `/` of an address in a file's name; addresses have none.
const SLASH: char = '+';

/// Most sockets looked at; nobody runs as many hosts.
const SOCKETS_MAX: usize = 1_000;

/// A directory of control sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketDirectory(PathBuf);

/// The socket of one application. Its host may be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSocket {
    /// The application, by the file's name.
    pub application: String,
    /// The socket.
    pub path: PathBuf,
}

impl SocketDirectory {
    /// The directory of the user who runs this process.
    #[must_use]
    pub fn of_user() -> Self {
        let user = rustix::process::geteuid().as_raw();
        Self::from(
            std::env::var_os("XDG_RUNTIME_DIR"),
            std::env::temp_dir(),
            user,
        )
    }

    /// Any directory.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The XDG base directory specification wants absolute paths, and others ignored.
    fn from(runtime: Option<OsString>, temporary: PathBuf, user: u32) -> Self {
        match runtime.map(PathBuf::from).filter(|path| path.is_absolute()) {
            Some(runtime) => Self(runtime.join("airssys")),
            None => Self(temporary.join(format!("airssys-{user}"))),
        }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the socket of an application lies, or would lie.
    #[must_use]
    pub fn socket_of(&self, application: &str) -> PathBuf {
        let name: String = application
            .chars()
            .map(|c| if c == '/' { SLASH } else { c })
            .collect();
        self.0.join(name + SUFFIX)
    }

    /// Makes the directory, with mode 0700, or checks that it is the user's own and nobody else's.
    ///
    /// # Errors
    /// [`SocketError`] when it cannot be made, or belongs to somebody else.
    pub fn prepare(&self) -> Result<(), SocketError> {
        let path = &self.0;
        let wrong = |why| SocketError::Directory {
            path: path.clone(),
            why,
        };
        let mut builder = fs::DirBuilder::new();
        match builder.recursive(false).mode(0o700).create(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(SocketError::io("make the directory", path)(error)),
        }
        let found =
            fs::symlink_metadata(path).map_err(SocketError::io("look at the directory", path))?;
        if !found.is_dir() {
            return Err(wrong("it is not a directory"));
        }
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(wrong("it belongs to another user"));
        }
        if found.mode() & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))
                .map_err(SocketError::io("set the mode of", path))?;
        }
        Ok(())
    }

    /// The sockets in it, by application. There are none where there is no directory.
    ///
    /// # Errors
    /// [`SocketError`] when it cannot be read.
    pub fn sockets(&self) -> Result<Vec<FoundSocket>, SocketError> {
        let read = SocketError::io("read the directory", &self.0);
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(read(error)),
        };
        let mut found = Vec::new();
        for entry in entries.flatten().take(SOCKETS_MAX) {
            let is_socket = entry.file_type().is_ok_and(|kind| kind.is_socket());
            let name = entry.file_name();
            let application = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            if let (true, Some(application)) = (is_socket, application) {
                found.push(FoundSocket {
                    application: application.replace(SLASH, "/"),
                    path: entry.path(),
                });
            }
        }
        found.sort_by(|a, b| a.application.cmp(&b.application));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_directory_is_used_only_if_it_is_absolute() {
        for (runtime, path) in [
            (Some("/run/user/7"), "/run/user/7/airssys"),
            (Some("run"), "/tmp/airssys-7"),
            (Some(""), "/tmp/airssys-7"),
            (None, "/tmp/airssys-7"),
        ] {
            let directory = SocketDirectory::from(runtime.map(OsString::from), "/tmp".into(), 7);
            assert_eq!(directory.path(), Path::new(path));
        }
    }

    #[test]
    fn an_application_has_one_file_whatever_its_name() {
        let directory = SocketDirectory::at("/d");
        assert_eq!(directory.socket_of("quakes"), Path::new("/d/quakes.sock"));
        assert_eq!(
            directory.socket_of("eu/quakes"),
            Path::new("/d/eu+quakes.sock")
        );
    }
}
