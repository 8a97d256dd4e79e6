//! The built-in guests on a system of their own: pairs, chains, single ones.

use airssys_wasm::{
    CacheLocation, Component, ComponentRef, EngineConfig, InstanceTemplate, LimitClass,
};
use airssys_wasm_actors::{
    ActorAddress, ActorFunction, ActorRef, ChildSpec, Link, MailboxConfig, System,
};
use bytes::Bytes;

use crate::error::{BenchError, OrFailed};
use crate::workbench::{ADDER, CALLER, ECHO, MATH, address, engine, linked, start_system};

/// Calls what it is linked to and gives its answer back.
const RELAY: &[u8] = include_bytes!("relay.wat");

/// Room in a mailbox for what a scenario keeps in flight; a full mailbox would be measured instead.
const DEPTH: u32 = 100_000;

/// A system and what its actors are made of.
pub(super) struct Guests {
    pub(super) system: System,
    adder: InstanceTemplate,
    caller: Component,
    relay: Component,
    large: bool,
}

impl Guests {
    /// With room for so many instances, and for messages of 1 MiB if `large`.
    pub(super) async fn new(instances: u32, large: bool) -> Result<Self, BenchError> {
        let usual = EngineConfig::default().pool_instances_max;
        let engine = engine(instances.max(usual), CacheLocation::Off)?;
        let load = |bytes: Bytes| {
            engine
                .load(&ComponentRef::Bytes(bytes))
                .or_failed("loading a guest")
        };
        let relay = wat::parse_bytes(RELAY).or_failed("reading the text of a guest")?;
        let relay = load(Bytes::from(relay.into_owned()))?;
        let caller = load(Bytes::from_static(CALLER))?;
        let adder = load(Bytes::from_static(ADDER))?;
        let adder = template(&adder, "adder", &[], large)?;
        Ok(Self {
            system: start_system(engine, true).await?,
            adder,
            caller,
            relay,
            large,
        })
    }

    pub(super) fn adder_spec(&self, name: &str) -> Result<ChildSpec, BenchError> {
        let mut child = ChildSpec::component(address(name)?, self.adder.clone());
        child.mailbox = MailboxConfig {
            depth_max: DEPTH,
            ..MailboxConfig::default()
        };
        Ok(child)
    }

    pub(super) async fn adder(&self, name: &str) -> Result<ActorRef, BenchError> {
        self.spawn(self.adder_spec(name)?).await
    }

    /// A caller, linked to an adder of its own.
    pub(super) async fn pair(&self, number: usize) -> Result<ActorRef, BenchError> {
        let callee = self.adder(&format!("callee/{number}")).await?;
        let template = template(&self.caller, "caller", &[MATH, ECHO], self.large)?;
        let child = ChildSpec::component(address(&format!("caller/{number}"))?, template)
            .link(Link::new(MATH, callee.address().clone()))
            .link(Link::new(ECHO, callee.address().clone()));
        self.spawn(child).await
    }

    /// A chain of so many components; the last one adds, the others ask the next one.
    pub(super) async fn chain(&self, number: usize, stages: u32) -> Result<ActorRef, BenchError> {
        let mut next = self.adder(&format!("chain/{number}/1")).await?;
        for stage in 2..=stages {
            let template = template(&self.relay, "relay", &[MATH], false)?;
            let name = format!("chain/{number}/{stage}");
            let child = ChildSpec::component(address(&name)?, template)
                .link(Link::new(MATH, next.address().clone()));
            next = self.spawn(child).await?;
        }
        Ok(next)
    }

    async fn spawn(&self, child: ChildSpec) -> Result<ActorRef, BenchError> {
        self.system
            .spawn(child)
            .await
            .or_failed("spawning an actor")
    }

    pub(super) async fn stop(&self, address: &ActorAddress) -> Result<(), BenchError> {
        let stopped = self.system.supervisor().stop_child(address).await;
        stopped.or_failed("stopping an actor")?;
        Ok(())
    }
}

/// A function of an actor.
pub(super) fn function(actor: &ActorRef, name: &str) -> Result<ActorFunction, BenchError> {
    actor.function(name).or_failed("finding a function")
}

fn template(
    component: &Component,
    name: &str,
    links: &[&str],
    large: bool,
) -> Result<InstanceTemplate, BenchError> {
    let limits = if large {
        LimitClass::Large
    } else {
        LimitClass::Standard
    };
    let spec = linked(
        name,
        links,
        airssys_wasm::Grants::default(),
        limits.limits(),
    );
    InstanceTemplate::link(component, spec).or_failed("linking a guest")
}
