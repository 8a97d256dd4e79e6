//! A trap, until the actor has answered again.

use std::time::Instant;

use airssys_wasm::FromArgs;
use airssys_wasm_actors::{ActorFunction, ChildSpec, System};

use super::expect;
use super::raw::RESTART;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Bar, RowSpec, latency, made};
use crate::workbench::{Workbench, address};

pub(crate) const ROWS: &[RowSpec] = &[latency("restart.first-reply", RESTART, 1_000, |bench| {
    made(FirstReply::new(bench))
})
.against(&["raw.trap"])
.bar(Bar::Ratio(2.5))];

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
