//! What supervision costs a message: the same component as a plain child, and deep in a tree, monitored and asked for
//! its health.
//!
//! There is no actor without a supervisor, so the plain one has the system's own, which has nothing to do for it.

use std::time::{Duration, Instant};

use airssys_wasm::FromArgs;
use airssys_wasm_actors::{
    ActorFunction, ChildSpec, Events, HealthCheck, Monitor, SupervisorSpec, System,
};

use super::expect;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Bar, Group, RowSpec, latency, made};
use crate::workbench::{Workbench, address};

/// A message to an actor that is looked after.
const SUPERVISED: Group = Group::new("supervision.overhead");

/// Rounds from which on an interval says something about a twentieth.
const ROUNDS: u32 = 31;

pub(crate) const ROWS: &[RowSpec] = &[
    latency("supervised.plain", SUPERVISED, 100_000, |bench| {
        made(Called::new(bench, false))
    })
    .at_least_rounds(ROUNDS),
    latency("supervised.overhead", SUPERVISED, 100_000, |bench| {
        made(Called::new(bench, true))
    })
    .at_least_rounds(ROUNDS)
    .against(&["supervised.plain"])
    .bar(Bar::RatioInterval(1.05)),
];

/// Calls that are timed together.
const BATCH: u64 = 100;

/// A thousand times as often as by default.
const CHECK: HealthCheck = HealthCheck {
    interval: Duration::from_millis(10),
    timeout: Duration::from_secs(1),
    threshold: 3,
    out_of_rotation_after: None,
};

/// `supervised.plain` and `supervised.overhead`.
struct Called {
    system: System,
    add: ActorFunction,
    /// Dropped, it would watch nothing.
    _monitors: Vec<Monitor>,
    _events: Option<Events>,
}

/// Monitors of the one actor.
const MONITORS: usize = 8;

impl Called {
    async fn new(bench: &Workbench, supervised: bool) -> Result<Self, BenchError> {
        let system = bench.system().await?;
        let adder = ChildSpec::component(address("adder")?, bench.adder_template()?);
        if !supervised {
            let actor = system.spawn(adder).await.or_failed("spawning the adder")?;
            return Ok(Self {
                add: actor.function("add").or_failed("resolving add")?,
                system,
                _monitors: Vec::new(),
                _events: None,
            });
        }
        let events = system.events();
        let lowest = SupervisorSpec::new(address("tree/low")?).with(adder.health(CHECK));
        let middle = SupervisorSpec::new(address("tree/middle")?);
        let middle = middle.with(ChildSpec::supervisor(lowest));
        let top = SupervisorSpec::new(address("tree")?).with(ChildSpec::supervisor(middle));
        system.supervise(top).await.or_failed("supervising")?;
        let actor = system.whereis(&address("adder")?);
        let actor = actor.ok_or_else(|| BenchError::failed("supervised", "no adder"))?;
        Ok(Self {
            add: actor.function("add").or_failed("resolving add")?,
            system,
            _monitors: (0..MONITORS).map(|_| actor.monitor()).collect(),
            _events: Some(events),
        })
    }
}

impl Scenario for Called {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations.div_ceil(BATCH) {
                let mut sum = 0_u32;
                let began = Instant::now();
                for _ in 0..BATCH {
                    let reply = self.add.call((sum, 1_u32)).await;
                    (sum,) = <(u32,)>::from_args(reply.or_failed("supervised")?)
                        .or_failed("supervised")?;
                }
                samples.record(began.elapsed(), BATCH);
                expect("supervised", u64::from(sum), BATCH)?;
                // Whoever looks after it has its turn, on one worker too.
                tokio::task::yield_now().await;
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
