//! A message from one component to another, over a link.

use std::time::{Duration, Instant};

use airssys_wasm::{CacheLocation, FromArgs, LimitClass};
use airssys_wasm_actors::{ActorFunction, ActorRef, System};

use super::expect;
use super::ractor::{ASK, ASKED, ASKS};
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Bar, RowSpec, latency, made};
use crate::workbench::{self, Workbench};

pub(crate) const ROWS: &[RowSpec] = &[
    latency("ask.idle", ASK, 64_000, |bench| made(Link::idle(bench)))
        .against(&["ractor.call.guest"])
        .bar(Bar::Ratio(0.8)),
    latency("ask.idle.p99", ASK, 64_000, |bench| made(Timed::new(bench)))
        .p99()
        .against(&["ractor.call.guest.p99"])
        .bar(Bar::Ratio(1.0)),
    latency("ask.queued", ASK, 64_000, |bench| made(Link::queued(bench)))
        .against(&["ractor.call.guest"])
        .bar(Bar::Ratio(1.3)),
    latency("ask.bare", ASK, 64_000, |bench| made(Link::bare(bench)))
        .against(&["ractor.call.guest"]),
    latency("features.on", ASK, 64_000, |bench| made(Link::idle(bench)))
        .compares("ask.idle")
        .against(&["ask.bare"])
        .bar(Bar::Ratio(1.15)),
];

/// `ask.idle`, `ask.queued` and `ask.bare`: the guest of `ractor.call.guest`, its import linked to a component
/// actor that is idle each time; the mean of a batch, in the guest's loop.
pub(super) struct Link {
    system: System,
    ask_many: ActorFunction,
}

impl Link {
    /// As a system is: the idle callee is called on its caller's task.
    pub(super) async fn idle(bench: &Workbench) -> Result<Self, BenchError> {
        let limits = LimitClass::Standard.limits();
        Self::new(bench, bench.system().await?, limits).await
    }

    /// Through the callee's mailbox.
    async fn queued(bench: &Workbench) -> Result<Self, BenchError> {
        let limits = LimitClass::Standard.limits();
        Self::new(bench, bench.queueing_system().await?, limits).await
    }

    /// Everything off that can be: the epoch hardly ticks, and the limits are those of trusted code. There is no
    /// switch for counters, deadline, chain and cycle search.
    async fn bare(bench: &Workbench) -> Result<Self, BenchError> {
        let engine = workbench::engine_with(8, CacheLocation::Off, Duration::from_secs(1))?;
        let bench = bench.on(engine)?;
        let system = bench.system().await?;
        Self::new(&bench, system, LimitClass::Trusted.limits()).await
    }

    async fn new(
        bench: &Workbench,
        system: System,
        limits: airssys_wasm::Limits,
    ) -> Result<Self, BenchError> {
        let caller = bench.pair(&system, "", limits).await?;
        Self::from(system, &caller)
    }

    /// By a caller that has been started.
    pub(super) fn from(system: System, caller: &ActorRef) -> Result<Self, BenchError> {
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

/// `ask.idle.p99`: each ask by itself, between two readings of the clock by the guest.
struct Timed {
    system: System,
    ask_timed: ActorFunction,
}

impl Timed {
    async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let system = bench.system().await?;
        let asker = bench.asking_pair(&system).await?;
        let ask_timed = asker
            .function("ask-timed")
            .or_failed("resolving ask-timed")?;
        Ok(Self { system, ask_timed })
    }
}

impl Scenario for Timed {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations.div_ceil(ASKS.into()) {
                let reply = self.ask_timed.call((ASKS,)).await;
                let readings = <(Vec<u64>,)>::from_args(reply.or_failed("a linked call")?);
                let (readings,) = readings.or_failed("a linked call")?;
                record_readings(&readings, samples)?;
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

/// What the asker read of the clock, in nanoseconds: before the first ask, and after each.
pub(super) fn record_readings(readings: &[u64], samples: &mut Samples) -> Result<(), BenchError> {
    expect("the asker's readings", readings.len(), ASKS as usize + 1)?;
    for (before, after) in readings.iter().zip(readings.iter().skip(1)) {
        samples.record(Duration::from_nanos(after.saturating_sub(*before)), 1);
    }
    Ok(())
}
