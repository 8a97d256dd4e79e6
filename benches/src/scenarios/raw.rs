//! Raw wasmtime: what no host can be faster than.

use std::time::Instant;

use wasmtime::component::{Func, InstancePre, TypedFunc, Val};

use super::expect;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Group, RowSpec, latency, made};
use crate::workbench::raw::{RawInstance, RawState};
use crate::workbench::{ECHO, FAULT, MATH, Workbench};

/// Calls timed together: reading the clock takes a tenth of one of them.
const BATCH: u64 = 100;

type Add = TypedFunc<(u32, u32), (u32,)>;

/// The host calls.
pub(crate) const CALL: Group = Group::new("call");
/// Payloads there and back.
pub(crate) const PAYLOAD: Group = Group::new("payload");
/// Making an actor.
pub(crate) const SPAWN: Group = Group::new("spawn");
/// Trap, and again.
pub(crate) const RESTART: Group = Group::new("supervision.restart");

/// What ours is compared with.
pub(crate) const ROWS: &[RowSpec] = &[
    latency("raw.call", CALL, 200_000, |bench| made(Call::new(bench))),
    latency("raw.call-val", CALL, 100_000, |bench| {
        made(CallVal::new(bench))
    })
    .on_one()
    .against(&["raw.call"]),
    latency("raw.call-async", CALL, 100_000, |bench| {
        made(CallAsync::new(bench))
    })
    .against(&["raw.call"]),
    latency("raw.echo.64k", PAYLOAD, 2_000, |bench| {
        made(Echo::new(bench, 64 * 1024))
    }),
    latency("raw.echo.1m", PAYLOAD, 160, |bench| {
        made(Echo::new(bench, 1024 * 1024))
    }),
    latency("raw.cycle", SPAWN, 2_000, |bench| {
        made(async { Ok(Cycle::new(bench)) })
    }),
    latency("raw.trap", RESTART, 1_000, |bench| {
        made(async { Ok(Trap::new(bench)) })
    }),
    latency("raw.instance", RESTART, 2_000, |bench| {
        made(async { Ok(Half::new(bench, false)) })
    }),
    latency("raw.drop", RESTART, 2_000, |bench| {
        made(async { Ok(Half::new(bench, true)) })
    }),
];

/// `raw.call`: a typed, synchronous call of `add`.
pub(super) struct Call {
    guest: RawInstance,
    add: Add,
}

impl Call {
    pub(super) async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let mut guest = bench.raw.adder().await.or_failed("instantiating")?;
        let add = guest.function(MATH, "add")?;
        Ok(Self { guest, add })
    }
}

impl Scenario for Call {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations.div_ceil(BATCH) {
                let mut sum = 0;
                let began = Instant::now();
                for _ in 0..BATCH {
                    (sum,) = self
                        .add
                        .call(&mut self.guest.store, (sum, 1))
                        .or_failed("raw.call")?;
                }
                samples.record(began.elapsed(), BATCH);
                expect("raw.call", u64::from(sum), BATCH)?;
            }
            Ok(())
        })
    }
}

/// `raw.call-val`: a dynamic, synchronous call of `add`.
pub(super) struct CallVal {
    guest: RawInstance,
    add: Func,
}

impl CallVal {
    pub(super) async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let mut guest = bench.raw.adder().await.or_failed("instantiating")?;
        let add = guest.dynamic(MATH, "add")?;
        Ok(Self { guest, add })
    }
}

impl Scenario for CallVal {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations.div_ceil(BATCH) {
                let mut results = [Val::U32(0)];
                let began = Instant::now();
                for _ in 0..BATCH {
                    let [sum] = &results;
                    let args = [sum.clone(), Val::U32(1)];
                    self.add
                        .call(&mut self.guest.store, &args, &mut results)
                        .or_failed("raw.call-val")?;
                }
                samples.record(began.elapsed(), BATCH);
                expect("raw.call-val", results, [Val::U32(100)])?;
            }
            Ok(())
        })
    }
}

/// `raw.call-async`: a typed call of `add` on a fiber.
pub(super) struct CallAsync {
    guest: RawInstance,
    add: Add,
}

impl CallAsync {
    pub(super) async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let mut guest = bench.raw.adder().await.or_failed("instantiating")?;
        let add = guest.function(MATH, "add")?;
        Ok(Self { guest, add })
    }
}

impl Scenario for CallAsync {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations.div_ceil(BATCH) {
                let mut sum = 0;
                let began = Instant::now();
                for _ in 0..BATCH {
                    let called = self.add.call_async(&mut self.guest.store, (sum, 1)).await;
                    (sum,) = called.or_failed("raw.call-async")?;
                }
                samples.record(began.elapsed(), BATCH);
                expect("raw.call-async", u64::from(sum), BATCH)?;
            }
            Ok(())
        })
    }
}

/// `raw.echo.64k`, `raw.echo.1m`: `&[u8]` in, `Vec<u8>` out, synchronously.
pub(super) struct Echo {
    guest: RawInstance,
    payload: Vec<u8>,
}

impl Echo {
    pub(super) async fn new(bench: &Workbench, bytes: usize) -> Result<Self, BenchError> {
        let guest = bench.raw.adder().await.or_failed("instantiating")?;
        Ok(Self {
            guest,
            payload: vec![0x5a; bytes],
        })
    }
}

impl Scenario for Echo {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            // A borrowed parameter is part of the function's type.
            let echo: TypedFunc<(&[u8],), (Vec<u8>,)> = self.guest.function(ECHO, "echo")?;
            for _ in 0..operations {
                let began = Instant::now();
                let called = echo.call(&mut self.guest.store, (&self.payload,));
                samples.record(began.elapsed(), 1);
                let (back,) = called.or_failed("raw.echo")?;
                expect("raw.echo", back.len(), self.payload.len())?;
            }
            Ok(())
        })
    }
}

/// `raw.cycle`: a Store with a WASI context, an instance, and both dropped.
pub(super) struct Cycle {
    pre: InstancePre<RawState>,
}

impl Cycle {
    pub(super) fn new(bench: &Workbench) -> Self {
        Self {
            pre: bench.raw.adder_pre(),
        }
    }
}

impl Scenario for Cycle {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations {
                let began = Instant::now();
                let made = RawInstance::of(&self.pre).await;
                drop(made.or_failed("raw.cycle")?);
                samples.record(began.elapsed(), 1);
            }
            Ok(())
        })
    }
}

/// `raw.instance`: a Store with a WASI context and an instance of the adder in it; `raw.drop`: both dropped again.
pub(super) struct Half {
    pre: InstancePre<RawState>,
    drops: bool,
}

impl Half {
    pub(super) fn new(bench: &Workbench, drops: bool) -> Self {
        Self {
            pre: bench.raw.adder_pre(),
            drops,
        }
    }
}

impl Scenario for Half {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations {
                let began = Instant::now();
                let made = RawInstance::of(&self.pre).await;
                let made_after = began.elapsed();
                let made = made.or_failed("raw.instance")?;
                let began = Instant::now();
                drop(made);
                let dropped_after = began.elapsed();
                let took = if self.drops {
                    dropped_after
                } else {
                    made_after
                };
                samples.record(took, 1);
            }
            Ok(())
        })
    }
}

/// `raw.trap`: from calling `trap` to its error. Making and dropping the instance is not timed.
pub(super) struct Trap {
    pre: InstancePre<RawState>,
}

impl Trap {
    pub(super) fn new(bench: &Workbench) -> Self {
        Self {
            pre: bench.raw.adder_pre(),
        }
    }
}

impl Scenario for Trap {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations {
                let mut guest = RawInstance::of(&self.pre).await.or_failed("raw.trap")?;
                let trap: TypedFunc<(), ()> = guest.function(FAULT, "trap")?;
                let began = Instant::now();
                let called = trap.call_async(&mut guest.store, ()).await;
                samples.record(began.elapsed(), 1);
                expect("raw.trap", called.is_err(), true)?;
            }
            Ok(())
        })
    }
}
