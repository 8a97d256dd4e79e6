//! A loaded component: verified to be one, compiled, with its surface and its digest.
//!
//! Loading is the first stage and the only one that sees a stranger's bytes. What the bytes are is decided
//! before any of them is parsed as wasm (`component/refuse.rs`), then they are walked once against the artifact
//! limits, and only then compiled, by whom `compiler.rs` says. A component already in the authenticated cache skips the
//! walk and the compiler. Files are read whole; text is never parsed; a precompiled artifact is never accepted as input.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use semver::Version;

use crate::artifact::Artifact;
use crate::audit::{AuditAction, AuditEvent};
use crate::cache::Lookup;
use crate::compiler::Compiled;
use crate::engine::Engine;
use crate::limits::ArtifactLimits;
use crate::surface::Surface;

mod digest;
mod lines;
mod reexport;
mod refuse;
mod version;
mod walk;

pub use digest::{Digest, DigestError};
pub(crate) use lines::SourceLines;
pub(crate) use reexport::{REVISION as REEXPORT_REVISION, Reexport};
pub(crate) use refuse::refused_by_wasmtime;
pub use refuse::{Finding, LoadError, LoadErrorKind};

/// Where a component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComponentRef {
    /// A file.
    File(PathBuf),
    /// Bytes in memory.
    Bytes(Bytes),
}

impl fmt::Display for ComponentRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Bytes(bytes) => write!(f, "{} bytes in memory", bytes.len()),
        }
    }
}

/// How a component was loaded, and how long it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// Compiled now.
    Compiled {
        /// From reading to ready.
        took: Duration,
    },
    /// Taken from the compile cache.
    Cached {
        /// From reading to ready.
        took: Duration,
    },
}

/// A compiled component. Clones share it.
#[derive(Clone)]
pub struct Component {
    shared: Arc<Shared>,
}

struct Shared {
    raw: wasmtime::component::Component,
    engine: Engine,
    surface: Arc<Surface>,
    lines: Arc<SourceLines>,
    reexports: bool,
    version: Option<Version>,
    digest: Digest,
    size_bytes: u64,
    loaded: Loaded,
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component")
            .field("digest", &self.shared.digest)
            .field("size_bytes", &self.shared.size_bytes)
            .finish_non_exhaustive()
    }
}

impl Component {
    pub(crate) fn load(engine: &Engine, from: &ComponentRef) -> Result<Self, LoadError> {
        let refused = |kind| LoadError {
            from: from.to_string(),
            kind,
        };
        let started = Instant::now();
        let limits = &ArtifactLimits::DEFAULT;
        let bytes = read(from, limits).map_err(refused)?;
        refuse::refuse_what_is_no_component(&bytes).map_err(refused)?;
        let digest = Digest::of(&bytes);
        let (raw, reexports, cached) = match lookup(engine, digest) {
            // It was a component when it was compiled.
            Some((raw, reexports)) => (raw, reexports, true),
            None => {
                let compiled = compile(engine, &bytes, digest, limits).map_err(refused)?;
                (compiled.raw, compiled.reexports, false)
            }
        };
        let surface = Arc::new(Surface::of(&raw));
        let lines = Arc::new(SourceLines::of(&bytes));
        let version = version::of(&bytes);
        let took = started.elapsed();
        let loaded = if cached {
            Loaded::Cached { took }
        } else {
            Loaded::Compiled { took }
        };
        let size_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let shared = Shared {
            raw,
            engine: engine.clone(),
            surface,
            lines,
            reexports,
            version,
            digest,
            size_bytes,
            loaded,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Returns what the component imports and exports.
    #[must_use]
    pub fn surface(&self) -> &Arc<Surface> {
        &self.shared.surface
    }

    /// Returns the version it carries for people, in the custom section `version` that `wasm-tools metadata add
    /// --version` writes; `None` if it carries none that is a semantic version.
    #[must_use]
    pub fn version(&self) -> Option<&Version> {
        self.shared.version.as_ref()
    }

    /// Returns the digest of its bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.shared.digest
    }

    /// Returns the size of its bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.shared.size_bytes
    }

    /// Returns how it was loaded.
    #[must_use]
    pub fn loaded(&self) -> Loaded {
        self.shared.loaded
    }

    /// Returns the engine it was compiled for.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    pub(crate) fn lines(&self) -> &Arc<SourceLines> {
        &self.shared.lines
    }

    /// Returns how many core instances it has beyond its own: they are the host's, and do not count against its limits.
    pub(crate) fn core_instances_added(&self) -> u32 {
        u32::from(self.shared.reexports)
    }

    pub(crate) fn raw(&self) -> &wasmtime::component::Component {
        &self.shared.raw
    }
}

fn read(from: &ComponentRef, limits: &ArtifactLimits) -> Result<Bytes, LoadErrorKind> {
    let bytes = match from {
        ComponentRef::Bytes(bytes) => bytes.clone(),
        ComponentRef::File(path) => read_file(path, limits.bytes_max)
            .map_err(LoadErrorKind::Read)?
            .into(),
    };
    let found = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if found > limits.bytes_max {
        return Err(LoadErrorKind::TooLarge {
            bytes_max: limits.bytes_max,
        });
    }
    Ok(bytes)
}

/// Reads at most one byte more than allowed: a size told by the file system is not believed.
fn read_file(path: &Path, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let file = crate::open_regular(path)?;
    let size = file.metadata()?.len().min(bytes_max).saturating_add(1);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Looks it up in the cache, and whether it was compiled with what it exports again.
fn lookup(engine: &Engine, digest: Digest) -> Option<(wasmtime::component::Component, bool)> {
    match engine.cache()?.get(engine.raw(), digest) {
        Lookup::Hit { raw, reexports } => Some((raw, reexports)),
        Lookup::Miss => None,
        Lookup::Rejected { reason } => {
            tracing::warn!(%digest, %reason, "an entry of the compile cache was refused; compiling again");
            let action = AuditAction::CacheRejected {
                digest: digest.to_string(),
                reason,
            };
            engine
                .audit()
                .record(AuditEvent::of_component(Arc::from(""), action));
            None
        }
    }
}

/// Compiles a component, and keeps it.
fn compile(
    engine: &Engine,
    bytes: &Bytes,
    digest: Digest,
    limits: &ArtifactLimits,
) -> Result<Compiled, LoadErrorKind> {
    // Before anything else looks at bytes that nobody has checked.
    walk::check(bytes, limits)?;
    let compiled = engine.compilation().compile(engine.raw(), bytes)?;
    if let Some(cache) = engine.cache() {
        let keep = |artifact: &Artifact<'_>| cache.put(digest, artifact, compiled.reexports);
        if let Err(error) = compiled.serialized(keep) {
            tracing::warn!(%digest, %error, "the compiled component was not kept; it is compiled again next time");
        }
    }
    Ok(compiled)
}
