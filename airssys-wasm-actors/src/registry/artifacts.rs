//! The files of components, named by the digest of their bytes.
//!
//! Owns the directory `artifacts/` and what may lie in it. A file appears with its name only when all of it is on disk;
//! what is read is compared with its name. Costs a hash a read, and two syncs for each new file. Which files are still
//! wanted is not known here.

use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::BuildHasher;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use airssys_wasm::Digest;

use super::error::RegistryError;
use super::fault::{self, Faults};

/// What the name of a file begins with while it is being written.
pub(super) const TEMPORARY: &str = ".new-";

/// The artifacts of one registry.
pub(super) struct Artifacts {
    directory: PathBuf,
    faults: Faults,
}

/// Files that were removed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Removed {
    pub(super) files: usize,
    pub(super) bytes: u64,
}

impl Artifacts {
    /// Makes the directory if it is not there.
    pub(super) fn open(directory: PathBuf, faults: Faults) -> Result<Self, RegistryError> {
        make_directory(&directory)?;
        Ok(Self { directory, faults })
    }

    pub(super) fn path(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        let shard = hex.get(..2).unwrap_or_default();
        self.directory.join(shard).join(&hex)
    }

    pub(super) fn has(&self, digest: Digest) -> Result<bool, RegistryError> {
        let path = self.path(digest);
        let found = path.try_exists();
        found.map_err(|error| RegistryError::io("look at", &path, error))
    }

    /// The bytes, if they are still the ones that were put.
    pub(super) fn read(&self, digest: Digest) -> Result<Vec<u8>, RegistryError> {
        let path = self.path(digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(RegistryError::NoSuchArtifact { path, digest });
            }
            Err(error) => return Err(RegistryError::io("read", &path, error)),
        };
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(RegistryError::Corrupt {
                path,
                what: format!("its bytes are {found}"),
                remedy: "put a file with the right bytes there, or, while the host runs, deploy the component again",
            });
        }
        Ok(bytes)
    }

    /// Writes a file, if it is not there. A damaged one is written anew.
    pub(super) fn put(&self, digest: Digest, bytes: &[u8]) -> Result<(), RegistryError> {
        let path = self.path(digest);
        let shard = path.parent().unwrap_or(&self.directory);
        if fs::read(&path).is_ok_and(|found| found == bytes) {
            // Whoever put it may have been told that this failed.
            return sync_directory(shard);
        }
        if make_directory(shard)? {
            sync_directory(&self.directory)?;
        }
        let unique = RandomState::new().hash_one(digest.bytes());
        let temporary = shard.join(format!("{TEMPORARY}{unique:016x}"));
        let written = self.write(&temporary, &path, bytes);
        if written.is_err() {
            let _leftover_is_removed_at_the_next_open = fs::remove_file(&temporary);
        }
        written.map_err(|error| RegistryError::io("write", &path, error))?;
        self.step(fault::ARTIFACT_DIRECTORY, &path)?;
        sync_directory(shard)
    }

    fn write(&self, temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.faults.at(fault::ARTIFACT_CREATE)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let mut file = options.open(temporary)?;
        let (first, second) = bytes.split_at(bytes.len() / 2);
        file.write_all(first)?;
        self.faults.at(fault::ARTIFACT_WRITE)?;
        file.write_all(second)?;
        self.faults.at(fault::ARTIFACT_SYNC)?;
        file.sync_all()?;
        self.faults.at(fault::ARTIFACT_RENAME)?;
        fs::rename(temporary, path)
    }

    /// Removes files that were being written when a host ended.
    pub(super) fn remove_temporaries(&self) -> Result<(), RegistryError> {
        self.each_file(|path, name| {
            if name.starts_with(TEMPORARY) {
                let removed = fs::remove_file(path);
                removed.map_err(|error| RegistryError::io("remove", path, error))?;
            }
            Ok(())
        })
    }

    /// Removes the artifacts that nobody wants. What has no digest for a name is not ours, and stays.
    pub(super) fn remove_unless(
        &self,
        wanted: impl Fn(Digest) -> bool,
    ) -> Result<Removed, RegistryError> {
        let mut removed = Removed::default();
        self.each_file(|path, name| {
            let Ok(digest) = name.parse::<Digest>() else {
                return Ok(());
            };
            if wanted(digest) {
                return Ok(());
            }
            self.step(fault::GC_UNLINK, path)?;
            let bytes = fs::metadata(path).map(|metadata| metadata.len());
            let bytes = bytes.map_err(|error| RegistryError::io("look at", path, error))?;
            fs::remove_file(path).map_err(|error| RegistryError::io("remove", path, error))?;
            removed.files += 1;
            removed.bytes += bytes;
            Ok(())
        })?;
        Ok(removed)
    }

    fn step(&self, step: &'static str, path: &Path) -> Result<(), RegistryError> {
        let passed = self.faults.at(step);
        passed.map_err(|error| RegistryError::io("write", path, error))
    }

    fn each_file(
        &self,
        mut each: impl FnMut(&Path, &str) -> Result<(), RegistryError>,
    ) -> Result<(), RegistryError> {
        for shard in list(&self.directory)? {
            if !shard.is_dir() {
                continue;
            }
            for path in list(&shard)? {
                let name = path.file_name().map(|name| name.to_string_lossy());
                each(&path, &name.unwrap_or_default())?;
            }
        }
        Ok(())
    }
}

/// The entries of a directory, in the order of their names.
pub(super) fn list(directory: &Path) -> Result<Vec<PathBuf>, RegistryError> {
    let entries = fs::read_dir(directory).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()
    });
    let mut entries =
        entries.map_err(|error| RegistryError::io("read the directory", directory, error))?;
    entries.sort();
    Ok(entries)
}

/// Makes a directory for its owner alone, and says whether it was not there.
pub(super) fn make_directory(directory: &Path) -> Result<bool, RegistryError> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    match builder.create(directory) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(RegistryError::io("make the directory", directory, error)),
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), RegistryError> {
    // Elsewhere a directory cannot be opened as a file, and its names are durable without.
    if cfg!(unix) {
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| RegistryError::io("sync the directory", directory, error))?;
    }
    Ok(())
}
