//! Very many children of one supervisor: what it costs to start and stop them, and what one exit among them costs.
//!
//! The children are native actors, of which a machine holds 100,000 as it is; as many instances of components need
//! more mappings than Linux gives a process unless it is told to (`density.100k` is skipped for that).

use std::time::{Duration, Instant};

use airssys_wasm_actors::{
    ActorFunction, ActorRef, ChildSpec, Strategy, Supervisor, SupervisorSpec, System,
};

use super::expect;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Bar, Group, RowSpec, latency, made};
use crate::workbench::echo::{add_one, ask, echoes};
use crate::workbench::{Workbench, address};

/// Children that come and go.
const CHILDREN: Group = Group::new("supervision.children");
/// One exit among many children.
const DECIDE: Group = Group::new("supervision.decide");

pub(crate) const ROWS: &[RowSpec] = &[
    latency("children.1k.start", CHILDREN, 100_000, |bench| {
        made(ComeAndGo::new(bench, 1_000, Timed::Start))
    }),
    latency("children.1k.stop", CHILDREN, 100_000, |bench| {
        made(ComeAndGo::new(bench, 1_000, Timed::Stop))
    }),
    latency("children.100k.start", CHILDREN, 100_000, |bench| {
        made(ComeAndGo::new(bench, 100_000, Timed::Start))
    })
    .against(&["children.1k.start"])
    .bar(Bar::Ratio(1.3)),
    latency("children.100k.stop", CHILDREN, 100_000, |bench| {
        made(ComeAndGo::new(bench, 100_000, Timed::Stop))
    })
    .against(&["children.1k.stop"])
    .bar(Bar::Ratio(1.3)),
    latency("decide.100", DECIDE, 2_000, |bench| {
        made(OneExit::new(bench, 100, Strategy::OneForOne))
    }),
    latency("decide.10k", DECIDE, 2_000, |bench| {
        made(OneExit::new(bench, 10_000, Strategy::OneForOne))
    })
    .against(&["decide.100"])
    .bar(Bar::Ratio(1.3)),
    latency("decide.rest.100", DECIDE, 2_000, |bench| {
        made(OneExit::new(bench, 100, Strategy::RestForOne))
    }),
    latency("decide.rest.10k", DECIDE, 2_000, |bench| {
        made(OneExit::new(bench, 10_000, Strategy::RestForOne))
    })
    .against(&["decide.rest.100"])
    .bar(Bar::Ratio(1.3)),
];

/// Children of one message to their supervisor.
const STARTED_TOGETHER: usize = 1_000;

/// Longer than the slowest machine takes to stop all of them.
const STOPPED_WITHIN: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Timed {
    Start,
    Stop,
}

/// `children.*`: a simple-one-for-one supervisor, children started a thousand at a time, and then stopped with it, all
/// at once. One part of it is timed.
struct ComeAndGo {
    system: System,
    children: Vec<ChildSpec>,
    timed: Timed,
}

impl ComeAndGo {
    async fn new(bench: &Workbench, many: u64, timed: Timed) -> Result<Self, BenchError> {
        let children = echoes("child", bench.fewer(many))?;
        Ok(Self {
            system: bench.system().await?,
            children: children
                .into_iter()
                .map(|child| child.shutdown_graceful(STOPPED_WITHIN))
                .collect(),
            timed,
        })
    }

    async fn start(&self) -> Result<(Supervisor, Duration), BenchError> {
        let spec = SupervisorSpec::new(address("children")?).strategy(Strategy::SimpleOneForOne);
        let supervisor = self.system.supervise(spec).await;
        let supervisor = supervisor.or_failed("supervising")?;
        let batches = self.children.chunks(STARTED_TOGETHER).map(<[_]>::to_vec);
        let batches: Vec<_> = batches.collect();
        let began = Instant::now();
        for batch in batches {
            let started = supervisor.start(batch).await;
            drop(started.or_failed("starting children")?);
        }
        let took = began.elapsed();
        let active = supervisor.count_children().active;
        expect("children.start", active, self.children.len())?;
        Ok((supervisor, took))
    }
}

impl Scenario for ComeAndGo {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            let many = u64::try_from(self.children.len()).unwrap_or(1).max(1);
            let times = operations.div_ceil(many);
            let mut took = Duration::ZERO;
            for _ in 0..times {
                let (supervisor, starts) = self.start().await?;
                let began = Instant::now();
                let report = supervisor.stop().await;
                let stops = began.elapsed();
                expect("children.stop", report.stopped.len(), self.children.len())?;
                took += match self.timed {
                    Timed::Start => starts,
                    Timed::Stop => stops,
                };
            }
            // One sample, as long as the other row's: what else runs on the machine slows both alike.
            samples.record(took, times * many);
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

/// `decide.*`: one of so many children is killed, and the call behind the kill is answered by its successor. Under
/// rest-for-one it is the last, so that the kill concerns it alone.
struct OneExit {
    system: System,
    child: ActorRef,
    add_one: ActorFunction,
}

impl OneExit {
    async fn new(bench: &Workbench, many: u64, strategy: Strategy) -> Result<Self, BenchError> {
        let system = bench.system().await?;
        let mut spec = SupervisorSpec::new(address("many")?)
            .strategy(strategy)
            .intensity(u32::MAX, Duration::from_millis(1));
        spec.children = echoes("many", bench.fewer(many))?;
        let supervisor = system.supervise(spec).await.or_failed("supervising")?;
        let mut children = supervisor.children();
        let child = match strategy {
            Strategy::RestForOne => children.pop(),
            _ => children.get(children.len() / 2).cloned(),
        };
        let child = child.ok_or_else(|| BenchError::failed("decide", "no children"))?;
        let add_one = add_one(&child)?;
        Ok(Self {
            system,
            child,
            add_one,
        })
    }
}

impl Scenario for OneExit {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            let before = self.system.counters().restarts;
            for _ in 0..operations {
                let began = Instant::now();
                self.child.kill();
                let asked = ask(&self.add_one).await;
                samples.record(began.elapsed(), 1);
                asked?;
            }
            let restarts = self.system.counters().restarts - before;
            expect("decide", restarts, operations)
        })
    }

    fn finish(self: Box<Self>) -> Work<'static> {
        Box::pin(async move {
            self.system.shutdown().await;
            Ok(())
        })
    }
}
