//! What scenarios stand on: the guests, a raw engine and ours, set up alike.
//!
//! Both sides run the same two components in pools of the same size. Ours is the engine as its users get it;
//! the raw one is configured as our strict profile is, without anything of ours around it.

pub(crate) mod raw;

use std::ffi::OsString;
use std::path::PathBuf;

use airssys_wasm::{
    CacheLocation, Component, ComponentRef, Engine, EngineConfig, Grants, InstanceTemplate,
    LimitClass, LinkedImport, TemplateSpec,
};
use airssys_wasm_actors::{ActorAddress, ChildSpec, Link, RestartIntensity, System, SystemConfig};
use bytes::Bytes;

use crate::error::{BenchError, OrFailed};
use raw::RawHost;

/// adder.wasm: adds, echoes, traps; imports nothing.
pub(crate) const ADDER: &[u8] = include_bytes!("../guests/components/adder.wasm");
/// caller.wasm: calls what it is linked to.
pub(crate) const CALLER: &[u8] = include_bytes!("../guests/components/caller.wasm");

/// The interfaces of both.
pub(crate) const MATH: &str = "bench:guests/math@0.1.0";
pub(crate) const ECHO: &str = "bench:guests/echo@0.1.0";
pub(crate) const FAULT: &str = "bench:guests/fault@0.1.0";
pub(crate) const DRIVE: &str = "bench:guests/drive@0.1.0";

/// What `payload.64k` and its baseline carry.
pub(crate) const PAYLOAD_BYTES: usize = 64 * 1024;

/// Room in each pool: the most that any scenario has alive, and as many being taken down.
const POOL_INSTANCES: u32 = 64;

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
    pub(crate) raw: RawHost,
    pub(crate) engine: Engine,
    pub(crate) adder: Component,
    pub(crate) caller: Component,
    pub(crate) child: Option<ChildCommand>,
    pub(crate) quick: bool,
}

impl Workbench {
    /// Makes both engines and compiles both guests for each (about 30 ms).
    ///
    /// # Errors
    /// If this machine refuses an engine.
    pub fn new(child: Option<ChildCommand>, quick: bool) -> Result<Self, BenchError> {
        let raw = RawHost::new(POOL_INSTANCES)?;
        let engine = engine(POOL_INSTANCES, CacheLocation::Off)?;
        let load = |bytes: &'static [u8]| {
            let from = ComponentRef::Bytes(Bytes::from_static(bytes));
            engine.load(&from).or_failed("loading a guest")
        };
        let (adder, caller) = (load(ADDER)?, load(CALLER)?);
        Ok(Self {
            raw,
            engine,
            adder,
            caller,
            child,
            quick,
        })
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

    /// Starts an adder, and a caller linked to it; the caller is returned.
    pub(crate) async fn linked_pair(
        &self,
        system: &System,
    ) -> Result<airssys_wasm_actors::ActorRef, BenchError> {
        let callee = address("callee")?;
        let adder = ChildSpec::component(callee.clone(), self.adder_template()?);
        system.spawn(adder).await.or_failed("spawning the callee")?;
        let caller = template(&self.caller, "caller", &[MATH, ECHO])?;
        let caller = ChildSpec::component(address("caller")?, caller)
            .link(Link::new(MATH, callee.clone()))
            .link(Link::new(ECHO, callee));
        system.spawn(caller).await.or_failed("spawning the caller")
    }
}

/// Our engine, as its users get it but for the size of the pool and the cache.
pub(crate) fn engine(instances: u32, cache: CacheLocation) -> Result<Engine, BenchError> {
    let config = EngineConfig {
        pool_instances_max: instances,
        cache,
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
        within: std::time::Duration::from_millis(1),
    };
    System::start(config).await.or_failed("starting a system")
}

/// A template with the standard limits, nothing granted, and these imports linked.
pub(crate) fn template(
    component: &Component,
    name: &str,
    links: &[&str],
) -> Result<InstanceTemplate, BenchError> {
    let links = links
        .iter()
        .map(|interface| LinkedImport {
            interface: (*interface).to_owned(),
            error_as: None,
        })
        .collect();
    let spec = TemplateSpec {
        name: name.to_owned(),
        grants: Grants::default(),
        limits: LimitClass::Standard.limits(),
        links,
    };
    InstanceTemplate::link(component, spec).or_failed("linking a guest")
}

pub(crate) fn address(text: &str) -> Result<ActorAddress, BenchError> {
    text.parse().or_failed("an address")
}
