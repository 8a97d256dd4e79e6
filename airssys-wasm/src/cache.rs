//! The compile cache: authenticated native code on disk, by digest of its source.
//!
//! Deserializing native code is running it (`artifact.rs`), so an entry is believed only if its keyed BLAKE3 over the source's
//! digest, wasmtime's version, the engine's configuration and every byte of the code matches. The key is 32
//! random bytes in a file only its owner can read; whoever can write there can already run code as that user.
//! Anything else found (flipped, cut, swapped, older) is refused, counted, audited, and compiled again.
//! A hit costs one read, one hash and wasmtime's own mapping of the code. Not here: eviction; files are named
//! by digest, and a directory may be deleted at any time.

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use wasmtime::component::Component;

use crate::artifact::Artifact;
use crate::component::{Digest, REEXPORT_REVISION};

mod entry;
mod key;

use entry::{Entry, Subject};
use key::Key;

/// Why a directory cannot serve as the compile cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// It cannot be made or read.
    #[error("cannot use {} for compiled components", .path.display())]
    Io {
        /// The directory, or the key in it.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Somebody else could have written what is there.
    #[error("{} is not safe for compiled components: {why}; {remedy}", .path.display())]
    Unsafe {
        /// The directory, or the key in it.
        path: PathBuf,
        /// What is wrong.
        why: String,
        /// What to do.
        remedy: String,
    },
}

/// What the cache has for a component.
pub(crate) enum Lookup {
    Hit {
        raw: Component,
        /// Whether it was compiled with what it exports again (`component/reexport.rs`).
        reexports: bool,
    },
    Miss,
    /// There was an entry, and it was not believed.
    Rejected {
        reason: String,
    },
}

/// The compile cache of one engine.
pub(crate) struct Cache {
    directory: PathBuf,
    key: Key,
    configuration: [u8; 32],
}

impl Cache {
    pub(crate) fn open(directory: &Path, engine: &wasmtime::Engine) -> Result<Self, CacheError> {
        key::make_private_directory(directory)?;
        let key = Key::load_or_create(directory)?;
        let mut hasher = Blake3Hasher(blake3::Hasher::new());
        // Entries of another format have other names: they are not there, rather than refused.
        hasher.write(&entry::VERSION.to_le_bytes());
        hasher.write(&configuration_of(engine));
        let configuration = *hasher.0.finalize().as_bytes();
        Ok(Self {
            directory: directory.to_owned(),
            key,
            configuration,
        })
    }

    /// Looks a component up by the digest of its source.
    pub(crate) fn get(&self, engine: &wasmtime::Engine, source: Digest) -> Lookup {
        let bytes = match std::fs::read(self.path(source)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Lookup::Miss,
            Err(error) => {
                return Lookup::Rejected {
                    reason: format!("cannot be read: {error}"),
                };
            }
        };
        let (artifact, reexports) = match entry::open(&bytes, &self.key, &self.subject(source)) {
            Ok(opened) => opened,
            Err(refused) => {
                return Lookup::Rejected {
                    reason: refused.to_string(),
                };
            }
        };
        match artifact.load(engine) {
            Ok(raw) => Lookup::Hit { raw, reexports },
            Err(error) => Lookup::Rejected {
                reason: format!("wasmtime refuses it: {error}"),
            },
        }
    }

    /// Keeps a compiled component. A failure costs the next start a compilation and nothing else.
    pub(crate) fn put(
        &self,
        source: Digest,
        artifact: &Artifact<'_>,
        reexports: bool,
    ) -> std::io::Result<()> {
        let entry = Entry::seal(artifact, reexports, &self.key, &self.subject(source))
            .map_err(std::io::Error::other)?;
        key::write_atomically(&self.path(source), &[&entry, artifact.bytes()])
    }

    fn subject(&self, source: Digest) -> Subject {
        Subject {
            source: source.bytes(),
            configuration: self.configuration,
        }
    }

    fn path(&self, source: Digest) -> PathBuf {
        // The name tells profiles apart so that they do not overwrite each other; the hash inside decides.
        let [a, b, c, d, ..] = self.configuration;
        self.directory
            .join(format!("{}-{a:02x}{b:02x}{c:02x}{d:02x}.bin", source.hex()))
    }
}

/// Of what compiled code depends on: the engine's settings, wasmtime's version, and what is made of a component first.
pub(crate) fn configuration_of(engine: &wasmtime::Engine) -> [u8; 32] {
    let mut hasher = Blake3Hasher(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    REEXPORT_REVISION.hash(&mut hasher);
    hasher.write(entry::wasmtime_version().as_bytes());
    *hasher.0.finalize().as_bytes()
}

/// Feeds what `Hash` writes to BLAKE3: the 64 bits of std's own hasher are too few to authenticate with.
struct Blake3Hasher(blake3::Hasher);

impl Hasher for Blake3Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}
