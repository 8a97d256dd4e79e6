//! Messages without our actors: bare ractor, bare tokio, and a guest that calls a bare ractor actor.

use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, rpc::CallResult};
use tokio::sync::{mpsc, oneshot};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, TypedFunc};

use super::ask::record_readings;
use super::expect;
use super::raw::{CALL, RESTART};
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Group, RowSpec, latency, made};
use crate::workbench::raw::{RawInstance, RawState};
use crate::workbench::{DRIVE, MATH, Workbench};

/// A guest calls.
pub(crate) const ASK: Group = Group::new("ask");

/// What ours is compared with.
pub(crate) const ROWS: &[RowSpec] = &[
    latency("tokio.ping", CALL, 50_000, |_| {
        made(async { Ok(TokioPing::new()) })
    }),
    latency("ractor.call.host", CALL, 50_000, |_| made(Host::new())).against(&["tokio.ping"]),
    latency("ractor.call.guest", ASK, 64_000, |bench| {
        made(Guest::new(bench))
    }),
    latency("ractor.call.guest.inside", ASK, 64_000, |bench| {
        made(GuestInside::new(bench))
    })
    .against(&["ractor.call.guest"]),
    latency("ractor.call.guest.p99", ASK, 64_000, |bench| {
        made(GuestTimed::new(bench))
    })
    .p99(),
    latency("ractor.spawn", RESTART, 2_000, |_| {
        made(async { Ok(Life { stops: false }) })
    }),
    latency("ractor.stop", RESTART, 2_000, |_| {
        made(async { Ok(Life { stops: true }) })
    }),
];

/// An actor that adds.
struct Adder;

pub(crate) struct Add {
    a: u32,
    b: u32,
    reply: RpcReplyPort<u32>,
}

impl Actor for Adder {
    type Msg = Add;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Add>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Add>,
        add: Add,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        // The caller may have left.
        let _ = add.reply.send(add.a.wrapping_add(add.b));
        Ok(())
    }
}

pub(crate) async fn spawn_adder() -> Result<ActorRef<Add>, BenchError> {
    let (actor, _) = Actor::spawn(None, Adder, ())
        .await
        .or_failed("spawning a ractor actor")?;
    Ok(actor)
}

/// No time-out: with one, ractor arms a timer for every call.
pub(crate) async fn add(actor: &ActorRef<Add>, a: u32, b: u32) -> Result<u32, BenchError> {
    match actor.call(|reply| Add { a, b, reply }, None).await {
        Ok(CallResult::Success(sum)) => Ok(sum),
        Ok(_) => Err(BenchError::failed("a ractor call", "no reply")),
        Err(why) => Err(BenchError::failed("a ractor call", why)),
    }
}

/// `ractor.call.host`: a task calls a bare actor and awaits its reply.
pub(super) struct Host {
    actor: ActorRef<Add>,
}

impl Host {
    pub(super) async fn new() -> Result<Self, BenchError> {
        Ok(Self {
            actor: spawn_adder().await?,
        })
    }
}

impl Scenario for Host {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations {
                let began = Instant::now();
                let sum = add(&self.actor, 2, 3).await?;
                samples.record(began.elapsed(), 1);
                expect("ractor.call.host", sum, 5)?;
            }
            Ok(())
        })
    }

    fn finish(self: Box<Self>) -> Work<'static> {
        Box::pin(async move { stop(self.actor).await })
    }
}

async fn stop(actor: ActorRef<Add>) -> Result<(), BenchError> {
    actor
        .stop_and_wait(None, None)
        .await
        .or_failed("stopping a ractor actor")
}

/// `tokio.ping`: mpsc there, oneshot back.
pub(crate) struct TokioPing {
    there: mpsc::Sender<(u32, u32, oneshot::Sender<u32>)>,
}

impl TokioPing {
    pub(crate) fn new() -> Self {
        let (there, mut pings) = mpsc::channel::<(u32, u32, oneshot::Sender<u32>)>(64);
        // It ends when the scenario drops its sender.
        tokio::spawn(async move {
            while let Some((a, b, back)) = pings.recv().await {
                let _ = back.send(a.wrapping_add(b));
            }
        });
        Self { there }
    }

    pub(crate) async fn ping(&self) -> Result<u32, BenchError> {
        let (back, pong) = oneshot::channel();
        let sent = self.there.send((2, 3, back)).await;
        sent.or_failed("tokio.ping")?;
        pong.await.or_failed("tokio.ping")
    }
}

impl Scenario for TokioPing {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations {
                let began = Instant::now();
                let sum = self.ping().await?;
                samples.record(began.elapsed(), 1);
                expect("tokio.ping", sum, 5)?;
            }
            Ok(())
        })
    }
}

/// `ractor.spawn`: a bare actor, until it is there; `ractor.stop`: asked to stop, until it has.
struct Life {
    stops: bool,
}

impl Scenario for Life {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations {
                let began = Instant::now();
                let actor = spawn_adder().await?;
                let spawned_after = began.elapsed();
                expect("ractor.spawn", add(&actor, 2, 3).await?, 5)?;
                let began = Instant::now();
                stop(actor).await?;
                let stopped_after = began.elapsed();
                let took = if self.stops {
                    stopped_after
                } else {
                    spawned_after
                };
                samples.record(took, 1);
            }
            Ok(())
        })
    }
}

/// Asks that one call of `ask-many` makes, and that are timed together. Enough that what it costs to call the
/// asking guest itself is a hundredth of the whole.
pub(super) const ASKS: u32 = 64;

/// What `ask-many` adds up: each ask adds 1 to its number.
pub(super) const ASKED: u64 = (ASKS as u64) * (ASKS as u64 + 1) / 2;

/// `ractor.call.guest`: a guest's import calls a bare actor; the mean of a batch, in the guest's loop.
pub(super) struct Guest {
    guest: RawInstance,
    ask_many: TypedFunc<(u32,), (u64,)>,
    actor: ActorRef<Add>,
}

impl Guest {
    pub(super) async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let actor = spawn_adder().await?;
        let called = actor.clone();
        let pre = bench.raw.link_caller(|linker| define_add(linker, called))?;
        let mut guest = RawInstance::of(&pre).await.or_failed("instantiating")?;
        let ask_many = guest.function(DRIVE, "ask-many")?;
        Ok(Self {
            guest,
            ask_many,
            actor,
        })
    }

    /// Asks so many times, and looks at the sum.
    pub(super) async fn ask(&mut self) -> Result<(), BenchError> {
        let called = self
            .ask_many
            .call_async(&mut self.guest.store, (ASKS,))
            .await;
        let sum = called.or_failed("ractor.call.guest")?;
        expect("ractor.call.guest", sum, (ASKED,))
    }
}

/// The import `add` is a call of a bare actor.
fn define_add(linker: &mut Linker<RawState>, actor: ActorRef<Add>) -> wasmtime::Result<()> {
    linker.instance(MATH)?.func_wrap_async(
        "add",
        move |_: StoreContextMut<'_, RawState>, (a, b): (u32, u32)| {
            let actor = actor.clone();
            Box::new(async move { Ok((add(&actor, a, b).await?,)) })
        },
    )
}

impl Scenario for Guest {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations.div_ceil(ASKS.into()) {
                let began = Instant::now();
                self.ask().await?;
                samples.record(began.elapsed(), ASKS.into());
            }
            Ok(())
        })
    }

    fn finish(self: Box<Self>) -> Work<'static> {
        Box::pin(async move { stop(self.actor).await })
    }
}

/// `ractor.call.guest.inside`: the same, each call timed in the host function.
pub(super) struct GuestInside {
    guest: RawInstance,
    ask_many: TypedFunc<(u32,), (u64,)>,
    actor: ActorRef<Add>,
    took: mpsc::Receiver<Duration>,
}

impl GuestInside {
    pub(super) async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let actor = spawn_adder().await?;
        let called = actor.clone();
        let (tell, took) = mpsc::channel(2 * usize::try_from(ASKS).unwrap_or(64));
        let pre = bench.raw.link_caller(|linker| {
            linker.instance(MATH)?.func_wrap_async(
                "add",
                move |_: StoreContextMut<'_, RawState>, (a, b): (u32, u32)| {
                    let (actor, tell) = (called.clone(), tell.clone());
                    Box::new(async move {
                        let began = Instant::now();
                        let sum = add(&actor, a, b).await?;
                        let took = began.elapsed();
                        tell.try_send(took)?;
                        Ok((sum,))
                    })
                },
            )
        })?;
        let mut guest = RawInstance::of(&pre).await.or_failed("instantiating")?;
        let ask_many = guest.function(DRIVE, "ask-many")?;
        Ok(Self {
            guest,
            ask_many,
            actor,
            took,
        })
    }
}

impl Scenario for GuestInside {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations.div_ceil(ASKS.into()) {
                let called = self
                    .ask_many
                    .call_async(&mut self.guest.store, (ASKS,))
                    .await;
                expect(
                    "ractor.call.guest.inside",
                    called.or_failed("a guest")?,
                    (ASKED,),
                )?;
                while let Ok(took) = self.took.try_recv() {
                    samples.record(took, 1);
                }
            }
            Ok(())
        })
    }

    fn finish(self: Box<Self>) -> Work<'static> {
        Box::pin(async move { stop(self.actor).await })
    }
}

/// `ractor.call.guest.p99`: each call by itself, between two readings of the clock by the guest.
struct GuestTimed {
    guest: RawInstance,
    ask_timed: TypedFunc<(u32,), (Vec<u64>,)>,
    actor: ActorRef<Add>,
}

impl GuestTimed {
    async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let actor = spawn_adder().await?;
        let called = actor.clone();
        let pre = bench.raw.link_asker(|linker| define_add(linker, called))?;
        let mut guest = RawInstance::of(&pre).await.or_failed("instantiating")?;
        let ask_timed = guest.at_root("ask-timed")?;
        Ok(Self {
            guest,
            ask_timed,
            actor,
        })
    }
}

impl Scenario for GuestTimed {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations.div_ceil(ASKS.into()) {
                let called = self
                    .ask_timed
                    .call_async(&mut self.guest.store, (ASKS,))
                    .await;
                let (readings,) = called.or_failed("ractor.call.guest.p99")?;
                record_readings(&readings, samples)?;
            }
            Ok(())
        })
    }

    fn finish(self: Box<Self>) -> Work<'static> {
        Box::pin(async move { stop(self.actor).await })
    }
}
