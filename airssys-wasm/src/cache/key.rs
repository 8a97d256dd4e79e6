//! The cache's secret and the rules for the files around it.
//!
//! A directory or key that somebody else could have written is refused, never repaired: its contents may
//! already be theirs.

use std::io::{Read, Write};
use std::path::Path;

use super::CacheError;

const KEY_BYTES: usize = 32;
const KEY_FILE: &str = "key";

/// The key of the keyed hash.
pub(super) struct Key([u8; KEY_BYTES]);

impl Key {
    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    #[cfg(test)]
    pub(super) fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Reads the directory's key; makes one, once, if there is none.
    pub(super) fn load_or_create(directory: &Path) -> Result<Self, CacheError> {
        let path = directory.join(KEY_FILE);
        let io = |source| CacheError::Io {
            path: path.clone(),
            source,
        };
        if !path.try_exists().map_err(io)? {
            let fresh = random_key().map_err(io)?;
            let temporary = write_temporary(directory, &[&fresh]).map_err(io)?;
            // A link, unlike a rename, does not replace the key another process made in the meantime.
            let linked = std::fs::hard_link(&temporary, &path);
            let _leftover_is_harmless = std::fs::remove_file(&temporary);
            match linked {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(io(error));
                }
                _ => {}
            }
        }
        let mut file = open_no_follow(&path).map_err(io)?;
        check_private(&path, &file.metadata().map_err(io)?, 0o077)?;
        let mut bytes = [0; KEY_BYTES];
        file.read_exact(&mut bytes).map_err(io)?;
        if bytes == [0; KEY_BYTES] {
            let why = "the key is all zeroes".to_owned();
            return Err(CacheError::Unsafe {
                path,
                why,
                remedy: "delete the directory".to_owned(),
            });
        }
        Ok(Self(bytes))
    }
}

/// The kernel's generator, read as a file: no dependency for 32 bytes once.
fn random_key() -> std::io::Result<[u8; KEY_BYTES]> {
    let mut bytes = [0; KEY_BYTES];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Makes the directory, private to its owner, or checks that it is.
pub(super) fn make_private_directory(directory: &Path) -> Result<(), CacheError> {
    let io = |source| CacheError::Io {
        path: directory.to_owned(),
        source,
    };
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(directory).map_err(io)?;
    let metadata = std::fs::metadata(directory).map_err(io)?;
    check_private(directory, &metadata, 0o022)
}

/// Refuses what belongs to somebody else, or grants others a bit of `forbidden`.
#[cfg(unix)]
fn check_private(
    path: &Path,
    metadata: &std::fs::Metadata,
    forbidden: u32,
) -> Result<(), CacheError> {
    use std::os::unix::fs::MetadataExt;
    let us = rustix::process::geteuid().as_raw();
    let refuse = |why, remedy: &str| {
        Err(CacheError::Unsafe {
            path: path.to_owned(),
            why,
            remedy: remedy.to_owned(),
        })
    };
    if metadata.uid() != us {
        let why = format!("it belongs to user {}, not to user {us}", metadata.uid());
        return refuse(why, "choose another directory, or turn the cache off");
    }
    let mode = metadata.mode() & 0o777;
    if mode & forbidden != 0 {
        let why = format!("its mode is {mode:o}, so others may use it");
        return refuse(why, "delete it, and a private one is made");
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_private(_: &Path, _: &std::fs::Metadata, _: u32) -> Result<(), CacheError> {
    Ok(())
}

#[cfg(unix)]
fn open_no_follow(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags =
        i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).map_err(std::io::Error::other)?;
    std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
}

#[cfg(not(unix))]
fn open_no_follow(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::File::open(path)
}

/// Writes a file so that readers see all of it or none.
pub(super) fn write_atomically(path: &Path, parts: &[&[u8]]) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let temporary = write_temporary(directory, parts)?;
    std::fs::rename(&temporary, path).inspect_err(|_| {
        let _leftover_is_harmless = std::fs::remove_file(&temporary);
    })
}

fn write_temporary(directory: &Path, parts: &[&[u8]]) -> std::io::Result<std::path::PathBuf> {
    // Random, because process numbers repeat: after a restart, and in containers that share a cache.
    let mut random = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    let path = directory.join(format!(".new-{:032x}", u128::from_ne_bytes(random)));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(&path)?;
    let written = parts.iter().try_for_each(|part| file.write_all(part));
    match written {
        Ok(()) => Ok(path),
        Err(error) => {
            let _leftover_is_harmless = std::fs::remove_file(&path);
            Err(error)
        }
    }
}
