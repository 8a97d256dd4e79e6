//! Bytes from one component to another and back, over a link.

use std::time::Instant;

use airssys_wasm::{FromArgs, LimitClass};
use airssys_wasm_actors::{ActorFunction, System};

use super::ask::Link;
use super::expect;
use super::ractor::ASKS;
use super::raw::PAYLOAD;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Bar, RowSpec, latency, made};
use crate::workbench::Workbench;

const BYTES_1K: u32 = 1024;
pub(super) const BYTES_64K: u32 = 64 * 1024;
const BYTES_1M: u32 = 1024 * 1024;

/// Echoes that one call of `echo-many` makes, and that are timed together: of small payloads as many as asks…
const ECHOES: u32 = ASKS;
/// … and of large ones enough that making the payload, which is written once, is a small part.
pub(super) const ECHOES_LARGE: u32 = 8;

pub(crate) const ROWS: &[RowSpec] = &[
    latency("payload.ask", PAYLOAD, 32_000, |bench| {
        made(Link::idle(bench))
    }),
    latency("payload.1k", PAYLOAD, 32_000, |bench| {
        made(Echoes::new(bench, BYTES_1K, ECHOES))
    })
    .against(&["payload.ask"])
    .bar(Bar::Ratio(1.5)),
    latency("payload.64k", PAYLOAD, 2_000, |bench| {
        made(Echoes::new(bench, BYTES_64K, ECHOES_LARGE))
    })
    .against(&["raw.echo.64k"])
    .bar(Bar::Ratio(4.0)),
    latency("payload.vs-composed", PAYLOAD, 2_000, |bench| {
        made(Echoes::new(bench, BYTES_64K, ECHOES_LARGE))
    })
    .compares("payload.64k")
    .against(&["composed.echo.64k"])
    .bar(Bar::Ratio(0.1)),
    latency("payload.1m", PAYLOAD, 160, |bench| {
        made(Echoes::new(bench, BYTES_1M, ECHOES_LARGE))
    })
    .against(&["raw.echo.1m"])
    .bar(Bar::Ratio(4.0)),
];

/// A guest's loop of echoes through its link.
struct Echoes {
    system: System,
    echo_many: ActorFunction,
    bytes: u32,
    echoes: u32,
}

impl Echoes {
    async fn new(bench: &Workbench, bytes: u32, echoes: u32) -> Result<Self, BenchError> {
        let system = bench.system().await?;
        // A message of 1 MiB is more than the standard class lets a guest hand over at once: its length is
        // charged too.
        let limits = if bytes < BYTES_1M {
            LimitClass::Standard
        } else {
            LimitClass::Large
        };
        let caller = bench.pair(&system, "", limits.limits()).await?;
        let echo_many = caller
            .function("echo-many")
            .or_failed("resolving echo-many")?;
        Ok(Self {
            system,
            echo_many,
            bytes,
            echoes,
        })
    }
}

impl Scenario for Echoes {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            let expected = u64::from(self.bytes) * u64::from(self.echoes);
            for _ in 0..operations.div_ceil(self.echoes.into()) {
                let began = Instant::now();
                let reply = self.echo_many.call((self.bytes, self.echoes)).await;
                samples.record(began.elapsed(), self.echoes.into());
                let back = <(u64,)>::from_args(reply.or_failed("a linked echo")?);
                expect("a linked echo", back, Ok((expected,)))?;
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
