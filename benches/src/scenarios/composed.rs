//! The same two guests as one component, composed when they were built: no actors, no isolation from one another.

use std::time::Instant;

use wasmtime::component::TypedFunc;

use super::expect;
use super::payload::{BYTES_64K, ECHOES_LARGE};
use super::ractor::{ASK, ASKED, ASKS};
use super::raw::PAYLOAD;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{RowSpec, latency, made};
use crate::workbench::raw::RawInstance;
use crate::workbench::{DRIVE, Workbench};

pub(crate) const ROWS: &[RowSpec] = &[
    latency("composed.ask", ASK, 64_000, |bench| made(Ask::new(bench)))
        .against(&["ractor.call.guest"]),
    latency("composed.echo.64k", PAYLOAD, 160, |bench| {
        made(Echo::new(bench))
    }),
];

/// `composed.ask`: the guest's loop of asks, each a call inside the component.
struct Ask {
    guest: RawInstance,
    ask_many: TypedFunc<(u32,), (u64,)>,
}

impl Ask {
    async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let mut guest = bench.raw.composed().await.or_failed("instantiating")?;
        let ask_many = guest.function(DRIVE, "ask-many")?;
        Ok(Self { guest, ask_many })
    }
}

impl Scenario for Ask {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations.div_ceil(ASKS.into()) {
                let began = Instant::now();
                let called = self
                    .ask_many
                    .call_async(&mut self.guest.store, (ASKS,))
                    .await;
                samples.record(began.elapsed(), ASKS.into());
                expect("composed.ask", called.or_failed("composed.ask")?, (ASKED,))?;
            }
            Ok(())
        })
    }
}

/// `composed.echo.64k`: the guest's loop of echoes.
struct Echo {
    guest: RawInstance,
    echo_many: TypedFunc<(u32, u32), (u64,)>,
}

impl Echo {
    async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let mut guest = bench.raw.composed().await.or_failed("instantiating")?;
        let echo_many = guest.function(DRIVE, "echo-many")?;
        Ok(Self { guest, echo_many })
    }
}

impl Scenario for Echo {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations.div_ceil(ECHOES_LARGE.into()) {
                let args = (BYTES_64K, ECHOES_LARGE);
                let began = Instant::now();
                let called = self.echo_many.call_async(&mut self.guest.store, args).await;
                samples.record(began.elapsed(), ECHOES_LARGE.into());
                let (bytes,) = called.or_failed("composed.echo.64k")?;
                let expected = u64::from(BYTES_64K) * u64::from(ECHOES_LARGE);
                expect("composed.echo.64k", bytes, expected)?;
            }
            Ok(())
        })
    }
}
