//! A guest that spins is killed, until its supervisor has acted on it.
//!
//! The supervisor's own proof that it knows is the successor, which only it starts: what is timed ends with the event that
//! the next incarnation has started, and so contains one instantiation too. The kill finds the guest at any point of a tick.

use std::time::{Duration, Instant};

use airssys_wasm_actors::{ActorFunction, ActorRef, ChildSpec, Event, Events, SendError, System};

use super::expect;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Bar, Group, RowSpec, latency, made};
use crate::workbench::{Workbench, address};

/// What interrupts a guest.
const KILL: Group = Group::new("kill");

/// Two ticks of 1 ms, and 1 ms for the rest.
const MOST_NS: f64 = 3_000_000.0;

/// How long the guest spins at least, and up to two ticks more: by then it has long begun.
const SPINS_AT_LEAST: Duration = Duration::from_millis(1);

pub(crate) const ROWS: &[RowSpec] =
    &[
        latency("kill.spin", KILL, 50, |bench| made(Spinning::new(bench)))
            .p99()
            .bar(Bar::Median(MOST_NS)),
    ];

/// `kill.spin`.
struct Spinning {
    system: System,
    actor: ActorRef,
    spin: ActorFunction,
    events: Events,
    killed: u64,
}

impl Spinning {
    async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let system = bench.system().await?;
        let events = system.events();
        let adder = ChildSpec::component(address("spinner")?, bench.adder_template()?);
        let actor = system.spawn(adder).await.or_failed("spawning the adder")?;
        let spin = actor.function("spin").or_failed("resolving spin")?;
        let mut spinning = Self {
            system,
            actor,
            spin,
            events,
            killed: 0,
        };
        spinning.started().await?;
        Ok(spinning)
    }

    async fn started(&mut self) -> Result<(), BenchError> {
        loop {
            match self.events.recv().await {
                Some(Event::Started { .. }) => return Ok(()),
                Some(Event::StartFailed { reason, .. }) => {
                    return Err(BenchError::failed("starting the next one", reason));
                }
                Some(_) => {}
                None => return Err(BenchError::failed("waiting for an event", "no system")),
            }
        }
    }

    /// Lets the guest spin. Giving way is what puts it on the only worker, where there is one.
    async fn spin(&self) {
        let spread = Duration::from_micros(self.killed.wrapping_mul(619) % 2_000);
        let began = Instant::now();
        while began.elapsed() < SPINS_AT_LEAST + spread {
            tokio::task::yield_now().await;
        }
    }

    /// Kills whatever runs; how long that took to have a successor.
    async fn kill(&mut self) -> Result<Duration, BenchError> {
        self.killed += 1;
        let began = Instant::now();
        self.actor.kill();
        self.started().await?;
        Ok(began.elapsed())
    }
}

impl Scenario for Spinning {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations {
                self.spin
                    .cast(())
                    .map_err(|error: SendError| error.why)
                    .or_failed("casting")?;
                loop {
                    self.spin().await;
                    let took = self.kill().await?;
                    // A message that has not been begun is the successor's: then nothing was spinning.
                    if self.actor.status().queued == 0 {
                        samples.record(took, 1);
                        break;
                    }
                }
            }
            let counters = self.actor.counters();
            expect("kill.spin", counters.dead_letters, counters.casts)
        })
    }

    fn finish(self: Box<Self>) -> Work<'static> {
        Box::pin(async move {
            self.system.shutdown().await;
            Ok(())
        })
    }
}
