//! Many senders, one receiver, no replies: what one message costs until it has been handled.
//!
//! Eight tasks of the host cast 64 messages each, and a call behind them is answered when all have been handled. A
//! sample is the mean over the 512, so that it holds the sending and the handling, and a 512th of the call.

use std::future::Future;
use std::time::Instant;

use airssys_wasm::FromArgs;
use airssys_wasm_actors::{ActorFunction, ActorRef as OurActor, ChildSpec, SendError, System};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, rpc::CallResult};
use tokio::task::JoinSet;

use super::expect;
use super::raw::CALL;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Bar, RowSpec, latency, made};
use crate::workbench::{Workbench, address};

const SENDERS: u64 = 8;
/// Of each sender in a batch. All of a batch fit into a mailbox of 1,000.
const CASTS: u64 = 64;
const BATCH: u64 = SENDERS * CASTS;

pub(crate) const ROWS: &[RowSpec] = &[
    latency("ractor.cast", CALL, 51_200, |_| made(Bare::new())),
    latency("cast.fan-in", CALL, 51_200, |bench| made(FanIn::new(bench)))
        .against(&["ractor.cast", "raw.call-async"])
        .bar(Bar::Ratio(1.1)),
];

/// Runs `send` in as many tasks as there are senders, until all have sent.
async fn send_all<F>(send: impl Fn() -> F) -> Result<(), BenchError>
where
    F: Future<Output = Result<(), BenchError>> + Send + 'static,
{
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        senders.spawn(send());
    }
    while let Some(sent) = senders.join_next().await {
        sent.or_failed("a sender panicked")??;
    }
    Ok(())
}

/// A bare actor that adds, and counts how often.
struct Counting;

enum Message {
    Add(u32, u32),
    Handled(RpcReplyPort<u64>),
}

impl Actor for Counting {
    type Msg = Message;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        handled: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Add(a, b) => *handled += u64::from(std::hint::black_box(a + b) / 5),
            // The caller may have left.
            Message::Handled(reply) => drop(reply.send(*handled)),
        }
        Ok(())
    }
}

/// `ractor.cast`.
struct Bare {
    actor: ActorRef<Message>,
    sent: u64,
}

impl Bare {
    async fn new() -> Result<Self, BenchError> {
        let spawned = Actor::spawn(None, Counting, ()).await;
        let (actor, _) = spawned.or_failed("spawning a ractor actor")?;
        Ok(Self { actor, sent: 0 })
    }
}

impl Scenario for Bare {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations.div_ceil(BATCH) {
                let began = Instant::now();
                send_all(|| {
                    let actor = self.actor.clone();
                    async move {
                        for _ in 0..CASTS {
                            actor
                                .cast(Message::Add(2, 3))
                                .or_failed("casting to a ractor actor")?;
                        }
                        Ok(())
                    }
                })
                .await?;
                let handled = self.actor.call(Message::Handled, None).await;
                samples.record(began.elapsed(), BATCH);
                self.sent += BATCH;
                match handled.or_failed("a ractor call")? {
                    CallResult::Success(handled) => expect("ractor.cast", handled, self.sent)?,
                    _ => return Err(BenchError::failed("a ractor call", "no reply")),
                }
            }
            Ok(())
        })
    }

    fn finish(self: Box<Self>) -> Work<'static> {
        Box::pin(async move {
            let stopped = self.actor.stop_and_wait(None, None).await;
            stopped.or_failed("stopping a ractor actor")
        })
    }
}

/// `cast.fan-in`.
struct FanIn {
    system: System,
    actor: OurActor,
    add: ActorFunction,
    sent: u64,
}

impl FanIn {
    async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let system = bench.system().await?;
        let adder = ChildSpec::component(address("adder")?, bench.adder_template()?);
        let actor = system.spawn(adder).await.or_failed("spawning the adder")?;
        let add = actor.function("add").or_failed("resolving add")?;
        Ok(Self {
            system,
            actor,
            add,
            sent: 0,
        })
    }
}

impl Scenario for FanIn {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations.div_ceil(BATCH) {
                let began = Instant::now();
                send_all(|| {
                    let add = self.add.clone();
                    async move {
                        for _ in 0..CASTS {
                            add.cast((2_u32, 3_u32))
                                .map_err(|error: SendError| error.why)
                                .or_failed("casting")?;
                        }
                        Ok(())
                    }
                })
                .await?;
                let reply = self.add.call((2_u32, 3_u32)).await;
                samples.record(began.elapsed(), BATCH);
                self.sent += BATCH;
                let sum = <(u32,)>::from_args(reply.or_failed("cast.fan-in")?);
                expect("cast.fan-in", sum, Ok((5,)))?;
                expect(
                    "cast.fan-in",
                    self.actor.counters().casts_handled,
                    self.sent,
                )?;
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
