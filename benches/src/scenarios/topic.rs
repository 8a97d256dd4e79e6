//! One publication to many subscribers, beside as many casts.
//!
//! The subscribers are components, whose `echo` takes the payload. What is timed is the publisher's part: of a batch of
//! publications, and of the same casts to each of as many actors in turn, with the same payload. A sample is the mean for
//! one subscriber, so that a cost that is linear in their number is the same sample whatever the number. Everything sent
//! has been handled before the next batch, outside the timed part.

use std::time::Instant;

use airssys_wasm_actors::{ActorFunction, ChildSpec, SendError, SubscribeOptions, System};
use bytes::Bytes;

use super::expect;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Bar, Group, Making, RowSpec, latency, made};
use crate::workbench::{Workbench, address};

/// One to many.
const TOPIC: Group = Group::new("topic");

/// Publications timed together: a subscription holds 256 that are not finished.
const BATCH: u64 = 16;

const PAYLOAD: &[u8] = &[0x5a; 64];

const NAME: &str = "bench/topic";

pub(crate) const ROWS: &[RowSpec] = &[
    latency("cast.to-1", TOPIC, 16_000, |bench| casts(bench, 1)),
    latency("cast.to-10", TOPIC, 32_000, |bench| casts(bench, 10)),
    latency("cast.to-100", TOPIC, 160_000, |bench| casts(bench, 100)),
    latency("topic.publish.1", TOPIC, 16_000, |bench| {
        publishes(bench, 1)
    })
    .against(&["cast.to-1"])
    .bar(Bar::Ratio(1.2)),
    latency("topic.publish.10", TOPIC, 32_000, |bench| {
        publishes(bench, 10)
    })
    .against(&["cast.to-10"])
    .bar(Bar::Ratio(1.2)),
    latency("topic.publish", TOPIC, 160_000, |bench| {
        publishes(bench, 100)
    })
    .against(&["cast.to-100"])
    .bar(Bar::Ratio(1.2)),
    latency("topic.linear", TOPIC, 160_000, |bench| {
        publishes(bench, 100)
    })
    .compares("topic.publish")
    .against(&["topic.publish.10"])
    .bar(Bar::Ratio(1.2)),
];

fn casts(bench: &Workbench, receivers: u64) -> Making<'_> {
    made(OneToMany::new(bench, receivers, false))
}

fn publishes(bench: &Workbench, receivers: u64) -> Making<'_> {
    made(OneToMany::new(bench, receivers, true))
}

struct OneToMany {
    system: System,
    receivers: Vec<ActorFunction>,
    publishes: bool,
}

impl OneToMany {
    async fn new(bench: &Workbench, receivers: u64, publishes: bool) -> Result<Self, BenchError> {
        let system = bench.system().await?;
        let template = bench.adder_template()?;
        let mut functions = Vec::new();
        for number in 0..receivers {
            let name = address(&format!("receiver/{number}"))?;
            let receiver = ChildSpec::component(name, template.clone());
            let receiver = system.spawn(receiver).await.or_failed("spawning")?;
            let echo = receiver.function("echo").or_failed("resolving echo")?;
            if publishes {
                let pattern = NAME.parse().or_failed("a topic")?;
                system
                    .topics()
                    .subscribe(&pattern, &echo, SubscribeOptions::default())
                    .or_failed("subscribing")?;
            }
            functions.push(echo);
        }
        Ok(Self {
            system,
            receivers: functions,
            publishes,
        })
    }

    /// One publication, or one cast to each.
    fn send(&self, payload: &Bytes) -> Result<(), BenchError> {
        if self.publishes {
            let report = self.system.topics().publish(NAME, payload.clone());
            let report = report.or_failed("publishing")?;
            return expect("topic.publish", report.sent, self.receivers.len());
        }
        for receiver in &self.receivers {
            receiver
                .cast((payload.clone(),))
                .map_err(|error: SendError| error.why)
                .or_failed("casting")?;
        }
        Ok(())
    }
}

impl Scenario for OneToMany {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            let payload = Bytes::from_static(PAYLOAD);
            let receivers = u64::try_from(self.receivers.len()).unwrap_or(u64::MAX);
            for _ in 0..operations.div_ceil(BATCH * receivers) {
                let began = Instant::now();
                for _ in 0..BATCH {
                    self.send(&payload)?;
                }
                samples.record(began.elapsed(), BATCH * receivers);
                for receiver in &self.receivers {
                    receiver.actor().emptied().await;
                }
            }
            let counters = self.system.counters();
            expect("what was sent", counters.casts_handled, counters.casts)
        })
    }

    fn finish(self: Box<Self>) -> Work<'static> {
        Box::pin(async move {
            self.system.shutdown().await;
            Ok(())
        })
    }
}
