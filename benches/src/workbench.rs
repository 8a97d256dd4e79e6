//! What scenarios stand on: the guests, a raw engine and ours, set up alike.
//!
//! Both sides run the same two components in pools of the same size. Ours is the engine as its users get it;
//! the raw one is configured as our strict profile is, without anything of ours around it.

pub(crate) mod callers;
pub(crate) mod echo;
pub(crate) mod raw;
pub(crate) mod scratch;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::{
    CacheLocation, CapabilityManifest, Component, ComponentRef, Engine, EngineConfig, Grants,
    InstanceTemplate, LimitClass, Limits, LinkedImport, Policy, TemplateSpec, grant,
};
use airssys_wasm_actors::{
    ActorAddress, ActorRef, ChildSpec, Link, RestartIntensity, System, SystemConfig,
};
use bytes::Bytes;

use crate::error::{BenchError, OrFailed};
use raw::RawHost;

/// adder.wasm: adds, echoes, traps; imports nothing.
pub(crate) const ADDER: &[u8] = include_bytes!("../guests/components/adder.wasm");
/// caller.wasm: calls what it is linked to.
pub(crate) const CALLER: &[u8] = include_bytes!("../guests/components/caller.wasm");

/// Both of them in one component: the caller's imports are the adder's exports.
pub(crate) const COMPOSED: &[u8] = include_bytes!("../guests/components/composed.wasm");
/// A caller that reads the clock after every ask, as text.
pub(crate) const ASKER: &[u8] = include_bytes!("workbench/asker.wat");
/// Counts what it is sent, and hands its state over.
pub(crate) const COUNTER: &[u8] = include_bytes!("workbench/counter.wat");

/// The interfaces of both.
pub(crate) const MATH: &str = "bench:guests/math@0.1.0";
pub(crate) const ECHO: &str = "bench:guests/echo@0.1.0";
pub(crate) const FAULT: &str = "bench:guests/fault@0.1.0";
pub(crate) const DRIVE: &str = "bench:guests/drive@0.1.0";

/// Room in each pool: the most that the scenarios of a group have alive together, and as many being taken down.
const POOL_INSTANCES: u32 = 1_024;

/// A program that runs [`rss_child`](crate::rss_child) with the number of actors, and whether to call them,
/// as its last two arguments.
#[derive(Clone, Debug)]
pub struct ChildCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments before ours.
    pub args: Vec<OsString>,
}

/// What scenarios are made from.
pub struct Workbench {
    pub(crate) raw: Arc<RawHost>,
    pub(crate) engine: Engine,
    pub(crate) adder: Component,
    pub(crate) caller: Component,
    pub(crate) asker: Component,
    pub(crate) child: Option<ChildCommand>,
    pub(crate) quick: bool,
}

impl Workbench {
    /// Makes both engines and compiles both guests for each (about 30 ms).
    ///
    /// # Errors
    /// If this machine refuses an engine.
    pub fn new(child: Option<ChildCommand>, quick: bool) -> Result<Self, BenchError> {
        Self::with_instances(child, quick, POOL_INSTANCES)
    }

    /// The same with room for so many instances in each pool: rows of many actors do not fit into a small one.
    ///
    /// # Errors
    /// If this machine refuses an engine.
    pub fn with_instances(
        child: Option<ChildCommand>,
        quick: bool,
        instances: u32,
    ) -> Result<Self, BenchError> {
        let asker = wat::parse_bytes(ASKER).or_failed("reading the text of a guest")?;
        let raw = Arc::new(RawHost::new(instances, &asker)?);
        let engine = engine(instances, CacheLocation::Off)?;
        Self::with(raw, engine, &asker, child, quick)
    }

    /// The same guests on another engine of ours.
    pub(crate) fn on(&self, engine: Engine) -> Result<Self, BenchError> {
        let asker = wat::parse_bytes(ASKER).or_failed("reading the text of a guest")?;
        let raw = Arc::clone(&self.raw);
        Self::with(raw, engine, &asker, self.child.clone(), self.quick)
    }

    fn with(
        raw: Arc<RawHost>,
        engine: Engine,
        asker: &[u8],
        child: Option<ChildCommand>,
        quick: bool,
    ) -> Result<Self, BenchError> {
        let load = |bytes: Bytes| {
            engine
                .load(&ComponentRef::Bytes(bytes))
                .or_failed("loading a guest")
        };
        Ok(Self {
            adder: load(Bytes::from_static(ADDER))?,
            caller: load(Bytes::from_static(CALLER))?,
            asker: load(Bytes::copy_from_slice(asker))?,
            raw,
            engine,
            child,
            quick,
        })
    }

    /// So many, or a hundredth of them in a quick run.
    pub(crate) fn fewer(&self, many: u64) -> u64 {
        if self.quick { many.div_ceil(100) } else { many }
    }

    /// A system of our actors on the current runtime.
    pub(crate) async fn system(&self) -> Result<System, BenchError> {
        start_system(self.engine.clone(), true).await
    }

    /// A system in which every call goes through its callee's mailbox.
    pub(crate) async fn queueing_system(&self) -> Result<System, BenchError> {
        start_system(self.engine.clone(), false).await
    }

    pub(crate) fn adder_template(&self) -> Result<InstanceTemplate, BenchError> {
        template(&self.adder, "adder", &[])
    }

    /// Starts an adder, and a caller linked to it, with these limits and addresses that end in `name`; the caller
    /// is returned.
    pub(crate) async fn pair(
        &self,
        system: &System,
        name: &str,
        limits: Limits,
    ) -> Result<ActorRef, BenchError> {
        self.pair_by(system, name, limits, |link| link).await
    }

    /// The same, with links that are changed before they are made.
    pub(crate) async fn pair_by(
        &self,
        system: &System,
        name: &str,
        limits: Limits,
        changed: impl Fn(Link) -> Link + Send,
    ) -> Result<ActorRef, BenchError> {
        let callee = self.callee(system, name, limits.clone()).await?;
        let spec = linked("caller", &[MATH, ECHO], Grants::default(), limits);
        let caller = InstanceTemplate::link(&self.caller, spec).or_failed("linking a guest")?;
        let caller = ChildSpec::component(address(&format!("caller{name}"))?, caller)
            .link(changed(Link::new(MATH, callee.clone())))
            .link(changed(Link::new(ECHO, callee)));
        system.spawn(caller).await.or_failed("spawning the caller")
    }

    /// Starts an adder, and an asker linked to it; the asker is returned.
    pub(crate) async fn asking_pair(&self, system: &System) -> Result<ActorRef, BenchError> {
        let limits = LimitClass::Standard.limits();
        let callee = self.callee(system, "", limits.clone()).await?;
        let clocks = CapabilityManifest {
            clocks: true,
            ..CapabilityManifest::default()
        };
        let grants = grant(&clocks, &Policy::permissive()).or_failed("granting a clock")?;
        let spec = linked("asker", &[MATH], grants, limits);
        let asker = InstanceTemplate::link(&self.asker, spec).or_failed("linking the asker")?;
        let asker = ChildSpec::component(address("asker")?, asker).link(Link::new(MATH, callee));
        system.spawn(asker).await.or_failed("spawning the asker")
    }

    /// Starts an adder, with an address that ends in `name`.
    pub(crate) async fn callee(
        &self,
        system: &System,
        name: &str,
        limits: Limits,
    ) -> Result<ActorAddress, BenchError> {
        let callee = address(&format!("callee{name}"))?;
        let spec = linked("adder", &[], Grants::default(), limits);
        let adder = InstanceTemplate::link(&self.adder, spec).or_failed("linking a guest")?;
        let adder = ChildSpec::component(callee.clone(), adder);
        system.spawn(adder).await.or_failed("spawning the callee")?;
        Ok(callee)
    }
}

/// Our engine, as its users get it but for the size of the pool and the cache.
pub(crate) fn engine(instances: u32, cache: CacheLocation) -> Result<Engine, BenchError> {
    engine_with(instances, cache, EngineConfig::default().tick)
}

/// The same with another tick.
pub(crate) fn engine_with(
    instances: u32,
    cache: CacheLocation,
    tick: Duration,
) -> Result<Engine, BenchError> {
    let config = EngineConfig {
        pool_instances_max: instances,
        cache,
        tick,
        ..EngineConfig::default()
    };
    Engine::new(config).or_failed("making an engine")
}

/// A system whose actors may be restarted as often as a benchmark makes them trap.
pub(crate) async fn start_system(engine: Engine, short_road: bool) -> Result<System, BenchError> {
    let mut config = SystemConfig::new(engine);
    config.short_road = short_road;
    config.intensity = RestartIntensity {
        max: 1_000_000,
        within: Duration::from_millis(1),
    };
    System::start(config).await.or_failed("starting a system")
}

/// A template with the standard limits, nothing granted, and these imports linked.
pub(crate) fn template(
    component: &Component,
    name: &str,
    links: &[&str],
) -> Result<InstanceTemplate, BenchError> {
    let spec = linked(
        name,
        links,
        Grants::default(),
        LimitClass::Standard.limits(),
    );
    InstanceTemplate::link(component, spec).or_failed("linking a guest")
}

pub(crate) fn linked(name: &str, links: &[&str], grants: Grants, limits: Limits) -> TemplateSpec {
    let links = links
        .iter()
        .map(|interface| LinkedImport {
            interface: (*interface).to_owned(),
            error_as: None,
        })
        .collect();
    TemplateSpec {
        name: name.to_owned(),
        grants,
        limits,
        links,
    }
}

/// Another revision of a component: the same bytes, and a section that says which.
pub(crate) fn revision(component: &[u8], number: u32) -> Vec<u8> {
    let mut bytes = component.to_vec();
    // A custom section of ten bytes, with its name.
    bytes.extend_from_slice(b"\0\x0a\x05bench");
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes
}

pub(crate) fn address(text: &str) -> Result<ActorAddress, BenchError> {
    text.parse().or_failed("an address")
}
