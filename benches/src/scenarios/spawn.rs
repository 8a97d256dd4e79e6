//! Making an actor, until it has answered.

use std::time::Instant;

use airssys_wasm::{FromArgs, InstanceTemplate};
use airssys_wasm_actors::{ActorAddress, ActorRef, ChildSpec, System};

use super::expect;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::workbench::{Workbench, address};

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
