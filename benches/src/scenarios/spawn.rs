//! Making actors: one until it has answered, and many at once.

use std::time::Instant;

use airssys_wasm::{FromArgs, InstanceTemplate};
use airssys_wasm_actors::{ActorAddress, ActorRef, ChildSpec, System};

use super::expect;
use super::raw::{Cycle, SPAWN};
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Bar, RowSpec, latency, made};
use crate::workbench::{Workbench, address};

pub(crate) const ROWS: &[RowSpec] = &[
    latency("spawn.ready", SPAWN, 2_000, |bench| made(Ready::new(bench)))
        .against(&["raw.cycle"])
        .bar(Bar::Ratio(4.0)),
    latency("raw.cycle.rate", SPAWN, 10_000, |bench| {
        made(async { Ok(Cycle::new(bench)) })
    })
    .rate(),
    latency("spawn.rate", SPAWN, 10_000, |bench| {
        made(Many::new(bench, false))
    })
    .rate()
    .against(&["raw.cycle.rate"])
    .bar(Bar::RatioAtLeast(1.0 / 3.0)),
    latency("spawn.rate.stopped", SPAWN, 10_000, |bench| {
        made(Many::new(bench, true))
    })
    .rate()
    .against(&["raw.cycle.rate"]),
];

/// Children of one message to their supervisor.
const STARTED_TOGETHER: u64 = 100;

/// `spawn.ready`: spawn a child from a template, resolve `add`, call it, have the reply. Stopping it again is
/// not timed.
pub(super) struct Ready {
    system: System,
    template: InstanceTemplate,
    address: ActorAddress,
}

impl Ready {
    pub(super) async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let system = bench.system().await?;
        Ok(Self {
            system,
            template: bench.adder_template()?,
            address: address("spawned")?,
        })
    }

    async fn spawn(&self) -> Result<(u32,), BenchError> {
        let child = ChildSpec::component(self.address.clone(), self.template.clone());
        let actor: ActorRef = self.system.spawn(child).await.or_failed("spawning")?;
        let reply = actor
            .call("add", (2_u32, 3_u32))
            .await
            .or_failed("the first call")?;
        FromArgs::from_args(reply).or_failed("the first reply")
    }
}

impl Scenario for Ready {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations {
                let began = Instant::now();
                let sum = self.spawn().await;
                samples.record(began.elapsed(), 1);
                expect("spawn.ready", sum?, (5,))?;
                let stopped = self.system.supervisor().stop_child(&self.address).await;
                stopped.or_failed("stopping the child")?;
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

/// `spawn.rate`: children from one template, started a hundred at a time. `spawn.rate.stopped`: the same, stopped
/// again within the time.
struct Many {
    system: System,
    template: InstanceTemplate,
    stops_timed: bool,
}

impl Many {
    async fn new(bench: &Workbench, stops_timed: bool) -> Result<Self, BenchError> {
        Ok(Self {
            system: bench.system().await?,
            template: bench.adder_template()?,
            stops_timed,
        })
    }

    async fn stop(&self, actors: &[ActorRef]) -> Result<(), BenchError> {
        for actor in actors {
            let stopped = self.system.supervisor().stop_child(actor.address()).await;
            stopped.or_failed("stopping a child")?;
        }
        Ok(())
    }
}

impl Scenario for Many {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations.div_ceil(STARTED_TOGETHER) {
                let began = Instant::now();
                let mut children = Vec::new();
                for number in 0..STARTED_TOGETHER {
                    let name = address(&format!("spawned/{number}"))?;
                    children.push(ChildSpec::component(name, self.template.clone()));
                }
                let started = self.system.supervisor().start(children).await;
                let started = started.or_failed("starting children")?;
                let mut took = began.elapsed();
                expect(
                    "spawn.rate",
                    started
                        .iter()
                        .filter(|actor| actor.status().running)
                        .count(),
                    started.len(),
                )?;
                self.stop(&started).await?;
                if self.stops_timed {
                    took = began.elapsed();
                }
                samples.record(took, STARTED_TOGETHER);
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
