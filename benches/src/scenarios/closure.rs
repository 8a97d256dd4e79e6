//! A task that owns a Store and runs the closures it is sent: the smallest actor around a component.
//!
//! It has no supervision, no deadline, no limit on its queue, no names: what is left when all of that is left out.
//! Hosts of editor extensions are known to be built so.

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use wasmtime::StoreContextMut;
use wasmtime::component::TypedFunc;

use super::expect;
use super::ractor::{ASK, ASKED, ASKS};
use super::raw::CALL;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{RowSpec, latency, made};
use crate::workbench::raw::{RawInstance, RawState};
use crate::workbench::{DRIVE, MATH, Workbench};

pub(crate) const ROWS: &[RowSpec] = &[
    latency("closure.call", CALL, 50_000, |bench| made(Host::new(bench)))
        .against(&["ractor.call.host"]),
    latency("closure.ask", ASK, 64_000, |bench| made(Guest::new(bench)))
        .against(&["ractor.call.guest"]),
];

type Running<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
type Closure = Box<dyn for<'a> FnOnce(&'a mut Adder) -> Running<'a> + Send>;

/// What the task owns.
struct Adder {
    guest: RawInstance,
    add: TypedFunc<(u32, u32), (u32,)>,
}

/// The way to the task, which ends with the last of these.
#[derive(Clone)]
pub(crate) struct Mailbox(mpsc::UnboundedSender<Closure>);

impl Mailbox {
    pub(crate) async fn start(bench: &Workbench) -> Result<Self, BenchError> {
        let mut guest = bench.raw.adder().await.or_failed("instantiating")?;
        let add = guest.function(MATH, "add")?;
        let mut adder = Adder { guest, add };
        // unbounded: as it is done there; each caller waits for its answer, so one is queued.
        let (closures, mut queue) = mpsc::unbounded_channel::<Closure>();
        tokio::spawn(async move {
            while let Some(closure) = queue.recv().await {
                closure(&mut adder).await;
            }
        });
        Ok(Self(closures))
    }

    pub(crate) async fn add(&self, a: u32, b: u32) -> Result<u32, BenchError> {
        let (reply, answer) = oneshot::channel();
        let closure: Closure = Box::new(move |adder| {
            Box::pin(async move {
                let sum = adder.add.call_async(&mut adder.guest.store, (a, b)).await;
                // The caller may have left.
                let _ = reply.send(sum);
            })
        });
        self.0.send(closure).or_failed("a closure's mailbox")?;
        let sum = answer.await.or_failed("a closure's answer")?;
        let (sum,) = sum.or_failed("a closure's call")?;
        Ok(sum)
    }
}

/// `closure.call`: a task of the host sends a closure that calls `add`, and has its result.
struct Host(Mailbox);

impl Host {
    async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        Ok(Self(Mailbox::start(bench).await?))
    }
}

impl Scenario for Host {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations {
                let began = Instant::now();
                let sum = self.0.add(2, 3).await?;
                samples.record(began.elapsed(), 1);
                expect("closure.call", sum, 5)?;
            }
            Ok(())
        })
    }
}

/// `closure.ask`: a guest's import sends the closure.
struct Guest {
    guest: RawInstance,
    ask_many: TypedFunc<(u32,), (u64,)>,
}

impl Guest {
    async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let mailbox = Mailbox::start(bench).await?;
        let pre = bench.raw.link_caller(|linker| {
            linker.instance(MATH)?.func_wrap_async(
                "add",
                move |_: StoreContextMut<'_, RawState>, (a, b): (u32, u32)| {
                    let mailbox = mailbox.clone();
                    Box::new(async move { Ok((mailbox.add(a, b).await?,)) })
                },
            )
        })?;
        let mut guest = RawInstance::of(&pre).await.or_failed("instantiating")?;
        let ask_many = guest.function(DRIVE, "ask-many")?;
        Ok(Self { guest, ask_many })
    }
}

impl Scenario for Guest {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations.div_ceil(ASKS.into()) {
                let began = Instant::now();
                let called = self
                    .ask_many
                    .call_async(&mut self.guest.store, (ASKS,))
                    .await;
                samples.record(began.elapsed(), ASKS.into());
                expect("closure.ask", called.or_failed("closure.ask")?, (ASKED,))?;
            }
            Ok(())
        })
    }
}
