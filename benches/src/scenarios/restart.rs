//! A trap, until the actor has answered again; and until all of a group have been stopped and started.

use std::time::{Duration, Instant};

use airssys_wasm::{CacheLocation, FromArgs};
use airssys_wasm_actors::{ActorFunction, ChildSpec, Strategy, SupervisorSpec, System};

use super::expect;
use super::raw::RESTART;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Bar, RowSpec, latency, made};
use crate::workbench::{Workbench, address, engine, start_system, template};

pub(crate) const ROWS: &[RowSpec] = &[
    latency("restart.first-reply", RESTART, 1_000, |bench| {
        made(FirstReply::new(bench))
    })
    .against(&["raw.trap"])
    .bar(Bar::Ratio(2.5)),
    latency("restart.floor", RESTART, 1_000, |bench| {
        made(FirstReply::new(bench))
    })
    .compares("restart.first-reply")
    .against(&["raw.trap", "raw.instance", "ractor.spawn"])
    .bar(Bar::Ratio(1.5)),
    latency("restart.group.100", RESTART, 2_000, |bench| {
        made(Group::new(bench, 100))
    })
    .against(&RAW_CYCLE),
    latency("restart.group", RESTART, 5_000, |bench| {
        made(Group::new(bench, 1_000))
    })
    .against(&RAW_CYCLE)
    .bar(Bar::Ratio(1.5)),
    latency("restart.group.linear", RESTART, 5_000, |bench| {
        made(Group::new(bench, 1_000))
    })
    .compares("restart.group")
    .against(&["restart.group.100"])
    .bar(Bar::Ratio(1.3)),
];

/// What it takes to stop one actor with an instance, and to start one.
const RAW_CYCLE: [&str; 4] = ["ractor.stop", "raw.drop", "raw.instance", "ractor.spawn"];

/// `restart.first-reply`: call `trap`, have its error, call `add`, have the reply of the next incarnation.
pub(super) struct FirstReply {
    system: System,
    trap: ActorFunction,
    add: ActorFunction,
}

impl FirstReply {
    pub(super) async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let system = bench.system().await?;
        let adder = ChildSpec::component(address("adder")?, bench.adder_template()?);
        let actor = system.spawn(adder).await.or_failed("spawning the adder")?;
        let trap = actor.function("trap").or_failed("resolving trap")?;
        let add = actor.function("add").or_failed("resolving add")?;
        Ok(Self { system, trap, add })
    }
}

impl Scenario for FirstReply {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations {
                let began = Instant::now();
                let trapped = self.trap.call(()).await;
                let reply = self.add.call((2_u32, 3_u32)).await;
                samples.record(began.elapsed(), 1);
                expect(
                    "trap",
                    trapped.err().map(|error| error.kind()),
                    Some("callee-died"),
                )?;
                let sum = <(u32,)>::from_args(reply.or_failed("restart.first-reply")?);
                expect("restart.first-reply", sum, Ok((5,)))?;
            }
            Ok(())
        })
    }

    fn finish(self: Box<Self>) -> Work<'static> {
        Box::pin(async move {
            self.system.shutdown().await;
            Ok(())
        })
    }
}

/// `restart.group`, `restart.group.100`: the last of so many children, one for all, traps: the others are stopped, last
/// first, and then all are started, first first, so that its own reply is that of the last one started.
struct Group {
    system: System,
    children: u64,
    trap: ActorFunction,
    add: ActorFunction,
}

impl Group {
    async fn new(bench: &Workbench, children: u64) -> Result<Self, BenchError> {
        let children = bench.fewer(children);
        let instances = u32::try_from(children).unwrap_or(u32::MAX);
        let engine = engine(instances.saturating_add(SPARE), CacheLocation::Off)?;
        let bench = bench.on(engine)?;
        let system = start_system(bench.engine.clone(), true).await?;
        let template = template(&bench.adder, "adder", &[])?;
        let mut spec = SupervisorSpec::new(address("group")?)
            .strategy(Strategy::OneForAll)
            .intensity(u32::MAX, Duration::from_millis(1));
        for number in 0..children {
            let name = address(&format!("group/{number}"))?;
            spec = spec.with(ChildSpec::component(name, template.clone()));
        }
        let group = system.supervise(spec).await.or_failed("supervising")?;
        let last = group.children().pop();
        let last = last.ok_or_else(|| BenchError::failed("restart.group", "no children"))?;
        let trap = last.function("trap").or_failed("resolving trap")?;
        let add = last.function("add").or_failed("resolving add")?;
        Ok(Self {
            system,
            children,
            trap,
            add,
        })
    }
}

/// Room in the pool beside the children.
const SPARE: u32 = 16;

impl Scenario for Group {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations.div_ceil(self.children) {
                let before = self.system.counters().restarts;
                let began = Instant::now();
                let trapped = self.trap.call(()).await;
                let reply = self.add.call((2_u32, 3_u32)).await;
                samples.record(began.elapsed(), self.children);
                let kind = trapped.err().map(|error| error.kind());
                expect("trap", kind, Some("callee-died"))?;
                let sum = <(u32,)>::from_args(reply.or_failed("restart.group")?);
                expect("restart.group", sum, Ok((5,)))?;
                let restarted = self.system.counters().restarts - before;
                expect("restart.group", restarted, self.children)?;
            }
            Ok(())
        })
    }

    fn finish(self: Box<Self>) -> Work<'static> {
        Box::pin(async move {
            self.system.shutdown().await;
            Ok(())
        })
    }
}
