//! A message to a component actor, from a task of the host.

use std::time::Instant;

use airssys_wasm::FromArgs;
use airssys_wasm_actors::{ActorFunction, ChildSpec, System};

use super::expect;
use super::raw::CALL;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Bar, RowSpec, latency, made};
use crate::workbench::{Workbench, address};

pub(crate) const ROWS: &[RowSpec] = &[
    latency("call.actor", CALL, 50_000, |bench| made(Actor::new(bench)))
        .against(&["ractor.call.host"])
        .bar(Bar::Ratio(2.0)),
    latency("call.overhead", CALL, 50_000, |bench| {
        made(Actor::new(bench))
    })
    .compares("call.actor")
    .against(&["raw.call-async", "tokio.ping"])
    .bar(Bar::Ratio(1.2)),
];

/// `call.actor`: call `add`, await the reply. Everything a default system has is on: deadline, chain, counters.
pub(super) struct Actor {
    system: System,
    add: ActorFunction,
}

impl Actor {
    pub(super) async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let system = bench.system().await?;
        let adder = ChildSpec::component(address("adder")?, bench.adder_template()?);
        let actor = system.spawn(adder).await.or_failed("spawning the adder")?;
        let add = actor.function("add").or_failed("resolving add")?;
        Ok(Self { system, add })
    }
}

impl Scenario for Actor {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations {
                let began = Instant::now();
                let reply = self.add.call((2_u32, 3_u32)).await;
                samples.record(began.elapsed(), 1);
                let sum = <(u32,)>::from_args(reply.or_failed("call.actor")?);
                expect("call.actor", sum, Ok((5,)))?;
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
