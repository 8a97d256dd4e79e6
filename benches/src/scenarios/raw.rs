//! Raw wasmtime: what no host can be faster than.

use std::time::Instant;

use wasmtime::component::{Func, InstancePre, TypedFunc, Val};

use super::expect;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::workbench::raw::{RawInstance, RawState};
use crate::workbench::{ECHO, FAULT, MATH, PAYLOAD_BYTES, Workbench};

/// Calls timed together: reading the clock takes a tenth of one of them.
const BATCH: u64 = 100;

type Add = TypedFunc<(u32, u32), (u32,)>;

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

/// `raw.echo.64k`: `&[u8]` in, `Vec<u8>` out, synchronously.
pub(super) struct Echo {
    guest: RawInstance,
    payload: Vec<u8>,
}

impl Echo {
    pub(super) async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let guest = bench.raw.adder().await.or_failed("instantiating")?;
        Ok(Self {
            guest,
            payload: vec![0x5a; PAYLOAD_BYTES],
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
                let (back,) = called.or_failed("raw.echo.64k")?;
                expect("raw.echo.64k", back.len(), PAYLOAD_BYTES)?;
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
