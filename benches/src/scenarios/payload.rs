//! 64 KiB from one component to another and back, over a link.

use std::time::Instant;

use airssys_wasm::FromArgs;
use airssys_wasm_actors::{ActorFunction, System};
use bytes::Bytes;

use super::expect;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::workbench::{PAYLOAD_BYTES, Workbench};

/// `payload.64k`: the host hands the caller 64 KiB, which it sends on over its link and gets back.
pub(super) struct Linked {
    system: System,
    echo_through: ActorFunction,
    payload: Bytes,
}

impl Linked {
    pub(super) async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let system = bench.system().await?;
        let caller = bench.linked_pair(&system).await?;
        let echo_through = caller
            .function("echo-through")
            .or_failed("resolving echo-through")?;
        Ok(Self {
            system,
            echo_through,
            payload: Bytes::from(vec![0x5a; PAYLOAD_BYTES]),
        })
    }
}

impl Scenario for Linked {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations {
                let payload = self.payload.clone();
                let began = Instant::now();
                let reply = self.echo_through.call((payload,)).await;
                samples.record(began.elapsed(), 1);
                let back = <(u64,)>::from_args(reply.or_failed("payload.64k")?);
                expect("payload.64k", back, Ok((PAYLOAD_BYTES as u64,)))?;
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
