//! A message from one component to another, over a link.

use std::time::Instant;

use airssys_wasm::FromArgs;
use airssys_wasm_actors::{ActorFunction, System};

use super::expect;
use super::ractor::{ASKED, ASKS};
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::workbench::Workbench;

/// `ask.idle` and `ask.queued`: the guest of `ractor.call.guest`, its import linked to a component actor that is
/// idle each time; the mean of a batch, in the guest's loop.
pub(super) struct Link {
    system: System,
    ask_many: ActorFunction,
}

impl Link {
    /// As a system is: the idle callee is called on its caller's task.
    pub(super) async fn idle(bench: &Workbench) -> Result<Self, BenchError> {
        Self::new(bench, bench.system().await?).await
    }

    /// Through the callee's mailbox.
    pub(super) async fn queued(bench: &Workbench) -> Result<Self, BenchError> {
        Self::new(bench, bench.queueing_system().await?).await
    }

    async fn new(bench: &Workbench, system: System) -> Result<Self, BenchError> {
        let caller = bench.linked_pair(&system).await?;
        let ask_many = caller
            .function("ask-many")
            .or_failed("resolving ask-many")?;
        Ok(Self { system, ask_many })
    }
}

impl Scenario for Link {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations.div_ceil(ASKS.into()) {
                let began = Instant::now();
                let reply = self.ask_many.call((ASKS,)).await;
                samples.record(began.elapsed(), ASKS.into());
                let sum = <(u64,)>::from_args(reply.or_failed("a linked call")?);
                expect("a linked call", sum, Ok((ASKED,)))?;
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
