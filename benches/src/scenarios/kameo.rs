//! A kameo actor that adds, called by a task of the host.

use std::convert::Infallible;
use std::time::Instant;

use kameo::Actor;
use kameo::actor::{ActorRef, Spawn as _};
use kameo::message::{Context, Message};

use super::expect;
use super::raw::CALL;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{RowSpec, latency, made};

pub(crate) const ROWS: &[RowSpec] = &[latency("kameo.call.host", CALL, 50_000, |_| {
    made(async { Ok(Host::new()) })
})
.against(&["ractor.call.host"])];

struct Adder;

struct Add {
    a: u32,
    b: u32,
}

impl Actor for Adder {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(adder: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(adder)
    }
}

impl Message<Add> for Adder {
    type Reply = u32;

    async fn handle(&mut self, add: Add, _: &mut Context<Self, u32>) -> u32 {
        add.a.wrapping_add(add.b)
    }
}

/// `kameo.call.host`: the default mailbox, which is bounded, and no time-out.
pub(crate) struct Host(ActorRef<Adder>);

impl Host {
    pub(crate) fn new() -> Self {
        Self(Adder::spawn(Adder))
    }

    pub(crate) async fn add(&self, a: u32, b: u32) -> Result<u32, BenchError> {
        self.0.ask(Add { a, b }).await.or_failed("kameo.call.host")
    }
}

impl Scenario for Host {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations {
                let began = Instant::now();
                let sum = self.add(2, 3).await?;
                samples.record(began.elapsed(), 1);
                expect("kameo.call.host", sum, 5)?;
            }
            Ok(())
        })
    }

    fn finish(self: Box<Self>) -> Work<'static> {
        Box::pin(async move {
            self.0.kill();
            self.0.wait_for_shutdown().await;
            Ok(())
        })
    }
}
