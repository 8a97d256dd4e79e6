//! The engine: one wasmtime engine, its ticker, its compile cache and its audit trail.
//!
//! An [`Engine`] is cheap to clone and is shared by every component made from it; its threads end with the
//! last clone, component, template or instance. Making one costs a pool's reservations (25–50 ms for the
//! default 10,240 instances, most of it for the guard pages of stacks); loading a component costs its compilation, or a read from the cache.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(crate) mod pool;
pub(crate) mod profile;
pub(crate) mod ticker;

pub use pool::Allocation;
pub use profile::Profile;
use ticker::{TickCount, Ticker};

use crate::audit::{Audit, AuditConfig, AuditError};
use crate::cache::{Cache, CacheError};
use crate::capacity::{Admission, CapacityConfig};
use crate::compiler::{self, Compilation, Compiler};
use crate::component::{Component, ComponentRef, LoadError};
use crate::provided::Provided;

/// How an engine is set up.
#[derive(Debug)]
pub struct EngineConfig {
    /// Which wasm is accepted and how it is isolated.
    pub profile: Profile,
    /// The epoch's period and the unit of CPU limits (default 1 ms: a kill takes about 0.1 ms more).
    pub tick: Duration,
    /// Instances the pool has room for (default 10,240). Cut to what the machine has room for.
    pub pool_instances_max: u32,
    /// What its instances may take of the machine, and what they leave.
    pub capacity: CapacityConfig,
    /// Where compiled components are kept.
    pub cache: CacheLocation,
    /// Where components are compiled that are not kept yet (default: in this process).
    pub compiler: Compiler,
    /// How the audit trail is kept.
    pub audit: AuditConfig,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            profile: Profile::Strict,
            tick: Duration::from_millis(1),
            // 10,000 actors and some to spare while they are replaced; 52 TiB of address space.
            pool_instances_max: 10_240,
            capacity: CapacityConfig::default(),
            cache: CacheLocation::UserDirectory,
            compiler: Compiler::InProcess,
            audit: AuditConfig::default(),
        }
    }
}

/// Where compiled components are kept between runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CacheLocation {
    /// `airssys-wasm` in the user's cache directory (`$XDG_CACHE_HOME`, else `~/.cache`). If that cannot be
    /// used, there is no cache, and a warning.
    #[default]
    UserDirectory,
    /// This directory; it is an error if it cannot be used.
    Directory(PathBuf),
    /// Nowhere.
    Off,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// wasmtime refuses the configuration on this machine.
    #[error("the engine cannot be made on this machine: {0}")]
    Engine(String),
    /// The tick is zero or longer than a second.
    #[error("the tick must be between 100 µs and 1 s, not {0:?}")]
    Tick(Duration),
    /// The ticker's thread cannot be started.
    #[error("cannot start the epoch ticker's thread")]
    Ticker(#[source] std::io::Error),
    /// The directory given for the compile cache cannot be used.
    #[error("the compile cache cannot be used")]
    Cache(#[source] CacheError),
    /// This process was started to compile for another one, and would start one in its turn.
    #[error(
        "this process was started as a compiler, and has not called `serve_compiler`: call it first thing in `main`, when the \
         program is started with the arguments of its `CompilerProcess`"
    )]
    InCompiler,
    /// The audit trail cannot be kept.
    #[error("the audit trail cannot be kept")]
    Audit(#[source] AuditError),
}

/// A wasm engine with everything that belongs to it. Clones share it.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    // The ticker holds the engine, not the other way round; it is dropped, and so joined, first.
    ticker: Ticker,
    raw: wasmtime::Engine,
    allocation: Allocation,
    admission: Arc<Admission>,
    profile: Profile,
    tick: Duration,
    cache: Option<Cache>,
    compilation: Compilation,
    audit: Audit,
    provided: Provided,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("profile", &self.shared.profile)
            .field("allocation", &self.shared.allocation)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Makes an engine: probes the pool, opens the cache and the audit trail, starts the ticker.
    ///
    /// # Errors
    /// If wasmtime does not support this machine, a thread cannot be started, or a directory or file named in
    /// the configuration cannot be used.
    pub fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let EngineConfig {
            profile,
            tick,
            pool_instances_max,
            capacity,
            cache,
            compiler,
            audit,
        } = config;
        if compiler != Compiler::InProcess && compiler::is_child() {
            return Err(EngineError::InCompiler);
        }
        if tick < Duration::from_micros(100) || tick > Duration::from_secs(1) {
            return Err(EngineError::Tick(tick));
        }
        let (raw, allocation) = pool::probe(profile, pool_instances_max)
            .map_err(|error| EngineError::Engine(format!("{error:#}")))?;
        let provided =
            Provided::new(&raw).map_err(|error| EngineError::Engine(format!("{error:#}")))?;
        let cache = open_cache(cache, &raw)?;
        let compilation = Compilation::new(compiler, profile, &raw);
        let audit = Audit::start(audit).map_err(EngineError::Audit)?;
        let ticker = Ticker::start(raw.clone(), tick).map_err(EngineError::Ticker)?;
        let pool = match allocation {
            Allocation::Pooled { instances } => Some(instances),
            Allocation::OnDemand { .. } => None,
        };
        let admission = Admission::new(capacity, pool, ticker.count().clone(), tick);
        let shared = Shared {
            ticker,
            raw,
            allocation,
            admission,
            profile,
            tick,
            cache,
            compilation,
            audit,
            provided,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Loads a component: checks what it is, then takes it from the cache, or has it compiled where
    /// [`EngineConfig::compiler`] says. Blocks the thread, for as long as compiling takes.
    ///
    /// # Errors
    /// Says what the bytes are, if they are not a component this engine accepts, and what to do; or why they were not
    /// compiled.
    pub fn load(&self, from: &ComponentRef) -> Result<Component, LoadError> {
        Component::load(self, from)
    }

    /// Returns the audit trail.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        &self.shared.audit
    }

    /// Returns how instances are allocated, and if not from a pool, why.
    #[must_use]
    pub fn allocation(&self) -> &Allocation {
        &self.shared.allocation
    }

    /// Returns the profile.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.shared.profile
    }

    /// Returns how many instances there are, those that are being made included.
    #[must_use]
    pub fn instances(&self) -> u64 {
        self.shared.admission.instances()
    }

    /// Returns how many ticks there have been: a clock that costs one load. It goes slower than time where the machine
    /// is too busy for the ticker.
    #[must_use]
    pub fn ticks_now(&self) -> u64 {
        self.ticks().now()
    }

    /// Returns the length of a tick.
    #[must_use]
    pub fn tick(&self) -> Duration {
        self.shared.tick
    }

    pub(crate) fn admission(&self) -> &Arc<Admission> {
        &self.shared.admission
    }

    pub(crate) fn raw(&self) -> &wasmtime::Engine {
        &self.shared.raw
    }

    pub(crate) fn ticks(&self) -> &TickCount {
        self.shared.ticker.count()
    }

    pub(crate) fn provided(&self) -> &Provided {
        &self.shared.provided
    }

    pub(crate) fn compilation(&self) -> &Compilation {
        &self.shared.compilation
    }

    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.shared.cache.as_ref()
    }
}

fn open_cache(
    location: CacheLocation,
    raw: &wasmtime::Engine,
) -> Result<Option<Cache>, EngineError> {
    let (directory, required) = match location {
        CacheLocation::Off => return Ok(None),
        CacheLocation::Directory(directory) => (directory, true),
        CacheLocation::UserDirectory => match user_cache_directory() {
            Some(directory) => (directory, false),
            None => {
                tracing::warn!(
                    "neither XDG_CACHE_HOME nor HOME is set: compiled components are not kept"
                );
                return Ok(None);
            }
        },
    };
    match Cache::open(&directory, raw) {
        Ok(cache) => Ok(Some(cache)),
        Err(error) if required => Err(EngineError::Cache(error)),
        Err(error) => {
            tracing::warn!(%error, "compiled components are not kept");
            Ok(None)
        }
    }
}

/// `$XDG_CACHE_HOME`, which the XDG base directory specification wants absolute, else `~/.cache`.
fn user_cache_directory() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base =
        absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("airssys-wasm"))
}
