//! A service answers while others of its supervisor's children end, ten thousand in a second.
//!
//! The service is a native actor, so every call of it passes its mailbox and its own task: nothing of what is timed can
//! leave the exits' work out. The exits are as even as the timer allows: those that are due are made when it is late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use airssys_wasm_actors::{ActorFunction, ActorRef, SupervisorSpec, System};
use tokio::task::JoinHandle;

use super::expect;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Bar, Group, RowSpec, latency, made};
use crate::workbench::echo::{add_one, ask, echoes};
use crate::workbench::{Workbench, address};

/// A service beside exits.
const STORM: Group = Group::new("supervision.storm");

pub(crate) const ROWS: &[RowSpec] = &[
    latency("exits.quiet", STORM, 100_000, |bench| {
        made(Service::new(bench, false))
    })
    .p99(),
    latency("exits.storm", STORM, 100_000, |bench| {
        made(Service::new(bench, true))
    })
    .p99()
    .against(&["exits.quiet"])
    .bar(Bar::Ratio(2.0)),
];

/// Between two exits: 10,000 in a second.
const PERIOD: Duration = Duration::from_micros(100);
/// A wait of the timer is late by up to so much.
const TIMER: Duration = Duration::from_millis(1);
/// Of ten exits, so many have to be made.
const LEAST_TENTHS: u128 = 8;
/// Children that end in turn.
const CHILDREN: u64 = 1_000;

/// `exits.quiet` and `exits.storm`: the same service among the same children.
struct Service {
    system: System,
    service: ActorFunction,
    children: Vec<ActorRef>,
    storms: bool,
    quick: bool,
}

impl Service {
    async fn new(bench: &Workbench, storms: bool) -> Result<Self, BenchError> {
        let system = bench.system().await?;
        let mut spec = SupervisorSpec::new(address("storm")?);
        spec = spec.intensity(u32::MAX, Duration::from_millis(1));
        spec.children = echoes("storm", CHILDREN + 1)?;
        let supervisor = system.supervise(spec).await.or_failed("supervising")?;
        let mut children = supervisor.children();
        let service = children.pop();
        let service = service.ok_or_else(|| BenchError::failed("exits", "no children"))?;
        Ok(Self {
            system,
            service: add_one(&service)?,
            children,
            storms,
            quick: bench.quick,
        })
    }

    fn storm(&self) -> Storm {
        let (over, made) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let task = tokio::spawn(kill(
            self.children.clone(),
            Arc::clone(&over),
            Arc::clone(&made),
        ));
        Storm { over, made, task }
    }
}

/// What makes the exits.
struct Storm {
    over: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    task: JoinHandle<Duration>,
}

impl Storm {
    /// Ends it; how many exits there were, and in which time.
    async fn end(self) -> Result<(u64, Duration), BenchError> {
        self.over.store(true, Ordering::Relaxed);
        let took = self.task.await.or_failed("making exits")?;
        Ok((self.made.load(Ordering::Relaxed), took))
    }
}

async fn kill(children: Vec<ActorRef>, over: Arc<AtomicBool>, made: Arc<AtomicU64>) -> Duration {
    let began = Instant::now();
    let mut due = PERIOD;
    for child in children.iter().cycle() {
        while began.elapsed() < due {
            if over.load(Ordering::Relaxed) {
                return began.elapsed();
            }
            tokio::time::sleep(TIMER).await;
        }
        child.kill();
        made.fetch_add(1, Ordering::Relaxed);
        due += PERIOD;
    }
    began.elapsed()
}

impl Scenario for Service {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            let before = self.system.counters().restarts;
            let storm = self.storms.then(|| self.storm());
            for _ in 0..operations {
                let began = Instant::now();
                let asked = ask(&self.service).await;
                samples.record(began.elapsed(), 1);
                asked?;
            }
            let Some(storm) = storm else { return Ok(()) };
            let (exits, took) = storm.end().await?;
            // Those that end last are still being started again.
            for child in &self.children {
                ask(&add_one(child)?).await?;
            }
            let restarts = self.system.counters().restarts - before;
            expect("exits.storm", restarts > 0 && restarts <= exits, true)?;
            let due = took.as_nanos() / PERIOD.as_nanos();
            if !self.quick && u128::from(restarts) * 10 < due * LEAST_TENTHS {
                // A child that is killed again before it is up ends once: then this was no storm of that size.
                return Err(BenchError::skipped(format!(
                    "this machine made {restarts} of {due} exits in their time"
                )));
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
