//! 64 callers, each with a callee of its own, on two workers: asks in a second, all together.
//!
//! Every caller is a component. Its callee is another component actor, or for the baseline a bare ractor actor.
//! Each caller has a task of the host that calls its loop of asks again and again; a round is timed as a whole.

use std::time::Instant;

use airssys_wasm::{FromArgs, LimitClass};
use airssys_wasm_actors::{ActorFunction, System};
use tokio::task::JoinSet;

use super::expect;
use super::ractor::{ASKED, ASKS, Guest};
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Bar, Group, RowSpec, latency, made};
use crate::workbench::Workbench;

/// Many callers.
const MANY: Group = Group::new("many");
const PAIRS: usize = 64;

pub(crate) const ROWS: &[RowSpec] = &[
    latency("ractor.64x64", MANY, 262_144, |bench| {
        made(Bare::new(bench))
    })
    .rate()
    .on_two(),
    latency("ask.64x64", MANY, 262_144, |bench| made(Actors::new(bench)))
        .rate()
        .on_two()
        .against(&["ractor.64x64"])
        .bar(Bar::RatioAtLeast(1.3)),
];

/// How often each caller's loop is called in a round of so many asks.
fn calls_each(operations: u64) -> u64 {
    operations.div_ceil(PAIRS as u64 * u64::from(ASKS))
}

/// `ask.64x64`.
struct Actors {
    system: System,
    callers: Vec<ActorFunction>,
}

impl Actors {
    async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let system = bench.system().await?;
        let mut callers = Vec::with_capacity(PAIRS);
        for pair in 0..PAIRS {
            let name = format!("/{pair}");
            let limits = LimitClass::Standard.limits();
            let caller = bench.pair(&system, &name, limits).await?;
            let ask_many = caller
                .function("ask-many")
                .or_failed("resolving ask-many")?;
            callers.push(ask_many);
        }
        Ok(Self { system, callers })
    }
}

impl Scenario for Actors {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            let calls = calls_each(operations);
            let mut tasks = JoinSet::new();
            let began = Instant::now();
            for caller in &self.callers {
                let ask_many = caller.clone();
                tasks.spawn(async move {
                    for _ in 0..calls {
                        let reply = ask_many.call((ASKS,)).await;
                        let sum = <(u64,)>::from_args(reply.or_failed("ask.64x64")?);
                        expect("ask.64x64", sum, Ok((ASKED,)))?;
                    }
                    Ok::<(), BenchError>(())
                });
            }
            while let Some(done) = tasks.join_next().await {
                done.or_failed("a caller panicked")??;
            }
            let asks = calls * u64::from(ASKS) * PAIRS as u64;
            samples.record(began.elapsed(), asks);
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

/// `ractor.64x64`.
struct Bare {
    /// Empty only while a round has them.
    callers: Vec<Guest>,
}

impl Bare {
    async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let mut callers = Vec::with_capacity(PAIRS);
        for _ in 0..PAIRS {
            callers.push(Guest::new(bench).await?);
        }
        Ok(Self { callers })
    }
}

impl Scenario for Bare {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            let calls = calls_each(operations);
            let mut tasks = JoinSet::new();
            let began = Instant::now();
            for mut caller in self.callers.drain(..) {
                tasks.spawn(async move {
                    for _ in 0..calls {
                        caller.ask().await?;
                    }
                    Ok::<Guest, BenchError>(caller)
                });
            }
            let mut back = Vec::with_capacity(PAIRS);
            while let Some(done) = tasks.join_next().await {
                back.push(done.or_failed("a caller panicked")??);
            }
            let asks = calls * u64::from(ASKS) * PAIRS as u64;
            samples.record(began.elapsed(), asks);
            self.callers = back;
            Ok(())
        })
    }

    fn finish(self: Box<Self>) -> Work<'static> {
        Box::pin(async move {
            for caller in self.callers {
                Box::new(caller).finish().await?;
            }
            Ok(())
        })
    }
}
