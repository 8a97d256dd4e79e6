//! What callers see of upgrades: the longest gap between two replies, beside that of the same load with nothing going on;
//! what becomes of a million requests; and what share a candidate gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use airssys_wasm::{ComponentRef, FromArgs};
use airssys_wasm_actors::{
    ActorFunction, ActorRef, ChildSpec, SplitSpec, StateTaken, System, UpgradeOptions, Weight,
};
use tokio::task::JoinSet;
use wasmtime::component::InstancePre;

use super::expect;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Bar, Group, Make, RowSpec, Unit, latency, made};
use crate::workbench::callers::{CALLERS, Callers, Rate};
use crate::workbench::raw::{RawInstance, RawState};
use crate::workbench::{ADDER, COUNTER, Workbench, address, revision, template};

const PAUSE: Group = Group::new("deploy.pause");
const LOST: Group = Group::new("deploy.lost");
const SHARE: Group = Group::new("deploy.share");

const fn pause(name: &'static str, make: Make) -> RowSpec {
    latency(name, PAUSE, 100, make)
        .unit(Unit::Milliseconds)
        .p99()
        .on_two()
}

pub(crate) const ROWS: &[RowSpec] = &[
    pause("upgrade.quiet", |bench| {
        made(Windows::new(bench, Guest::Adder, false))
    }),
    pause("upgrade.pause", |bench| {
        made(Windows::new(bench, Guest::Adder, true))
    })
    .against(&["upgrade.quiet"])
    .bar(Bar::Beyond(1.0)),
    pause("upgrade.quiet-stateful", |bench| {
        made(Windows::new(bench, Guest::Counter, false))
    }),
    pause("upgrade.state", |bench| made(async { State::new(bench) })),
    pause("upgrade.pause-stateful", |bench| {
        made(Windows::new(bench, Guest::Counter, true))
    })
    .against(&["upgrade.quiet-stateful", "upgrade.state"])
    .bar(Bar::Beyond(1.0)),
    latency("upgrade.lost", LOST, 1_000_000, |bench| {
        made(Lost::new(bench))
    })
    .unit(Unit::Count)
    .worst()
    .on_two()
    .bar(Bar::Median(0.0)),
    latency("canary.share", SHARE, 10_000, |bench| {
        made(Shares::new(bench))
    })
    .unit(Unit::Points)
    .worst()
    .on_two()
    .bar(Bar::Median(1.0)),
];

/// As long as a window lasts, whether or not there is an upgrade in it.
const WINDOW: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Guest {
    /// Begins afresh.
    Adder,
    /// Hands 64 KiB over.
    Counter,
}

/// An actor, and the revisions it is upgraded to in turn.
struct Upgraded {
    system: System,
    actor: ActorRef,
    guest: Guest,
    revisions: [ChildSpec; 2],
}

impl Upgraded {
    async fn new(bench: &Workbench, guest: Guest) -> Result<Self, BenchError> {
        let bytes = match guest {
            Guest::Adder => ADDER.to_vec(),
            Guest::Counter => wat::parse_bytes(COUNTER)
                .or_failed("reading the text of a guest")?
                .into_owned(),
        };
        let spec = |number| {
            let from = ComponentRef::Bytes(revision(&bytes, number).into());
            let component = bench.engine.load(&from).or_failed("loading a guest")?;
            let template = template(&component, "upgraded", &[])?;
            Ok::<_, BenchError>(ChildSpec::component(address("upgraded")?, template))
        };
        let revisions = [spec(1)?, spec(2)?];
        let system = bench.system().await?;
        let [first, _] = &revisions;
        let actor = system.spawn(first.clone()).await;
        Ok(Self {
            actor: actor.or_failed("spawning a guest")?,
            system,
            guest,
            revisions,
        })
    }

    /// The other revision takes the place of the one that runs.
    async fn upgrade(&mut self) -> Result<(), BenchError> {
        self.revisions.reverse();
        let [next, _] = &self.revisions;
        let upgrade = self.system.upgrade(next.clone(), UpgradeOptions::default());
        let mut upgrade = upgrade.or_failed("an upgrade")?;
        upgrade.warm().await.or_failed("an upgrade")?;
        let upgraded = upgrade.switch().await.or_failed("an upgrade")?;
        let handed_over = upgraded
            .states()
            .iter()
            .any(|state| matches!(state, StateTaken::HandedOver { .. }));
        upgraded.release().await;
        let stateful = self.guest == Guest::Counter;
        expect("whether state was handed over", handed_over, stateful)
    }

    fn function(&self, name: &str) -> Result<ActorFunction, BenchError> {
        self.actor.function(name).or_failed("resolving a function")
    }
}

/// `upgrade.quiet`, `upgrade.pause` and those of the stateful guest: the longest gap of each window.
struct Windows {
    upgraded: Upgraded,
    upgrades: bool,
    /// The number of the next caller: the counter knows each by its own.
    caller: u32,
}

impl Windows {
    async fn new(bench: &Workbench, guest: Guest, upgrades: bool) -> Result<Self, BenchError> {
        let upgraded = Upgraded::new(bench, guest).await?;
        Ok(Self {
            upgraded,
            upgrades,
            caller: 1,
        })
    }
}

impl Scenario for Windows {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            let (name, reply): (_, fn(u32, u32) -> u32) = match self.upgraded.guest {
                Guest::Adder => ("add", |caller, number| caller + number),
                Guest::Counter => ("put", |_, _| 0),
            };
            let function = self.upgraded.function(name)?;
            let callers = Callers::start(&function, Rate::Full, self.caller, reply);
            self.caller += CALLERS;
            tokio::time::sleep(WINDOW).await;
            callers.longest_gap();
            for _ in 0..operations {
                let ends = Instant::now() + WINDOW;
                if self.upgrades {
                    self.upgraded.upgrade().await?;
                }
                tokio::time::sleep_until(ends.into()).await;
                samples.record(callers.longest_gap(), 1);
            }
            callers.end().await
        })
    }

    fn finish(self: Box<Self>) -> Work<'static> {
        Box::pin(async move {
            self.upgraded.system.shutdown().await;
            Ok(())
        })
    }
}

/// `upgrade.state`: `snapshot` of one raw instance and `restore` of another, which is new.
struct State {
    pre: InstancePre<RawState>,
}

type Snapshot = (Result<Vec<u8>, String>,);
type Restored = (Result<(), String>,);

const STATE: &str = "airssys:actor/state@0.1.0";

impl State {
    fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let bytes = wat::parse_bytes(COUNTER).or_failed("reading the text of a guest")?;
        Ok(Self {
            pre: bench.raw.load(&bytes)?,
        })
    }
}

impl Scenario for State {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            let instance = async || RawInstance::of(&self.pre).await.or_failed("upgrade.state");
            let mut old = instance().await?;
            let snapshot = old.function::<(), Snapshot>(STATE, "snapshot")?;
            for _ in 0..operations {
                let mut new = instance().await?;
                let restore = new.function::<(&str, &[u8]), Restored>(STATE, "restore")?;
                let began = Instant::now();
                let taken = snapshot.call_async(&mut old.store, ()).await;
                let (taken,) = taken.or_failed("snapshot")?;
                let taken = taken.or_failed("snapshot")?;
                let restored = restore.call_async(&mut new.store, ("0", &taken)).await;
                samples.record(began.elapsed(), 1);
                expect("restore", restored.or_failed("restore")?, (Ok(()),))?;
                expect("the bytes of a state", taken.len(), 65_536)?;
            }
            Ok(())
        })
    }
}

/// `upgrade.lost`: each sender casts some and calls behind them, while upgrades go on without an end.
struct Lost {
    upgraded: Upgraded,
    sender: u32,
}

/// Casts, and the call behind them.
const BATCH: u32 = 16;

impl Lost {
    async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let upgraded = Upgraded::new(bench, Guest::Counter).await?;
        Ok(Self {
            upgraded,
            sender: 1,
        })
    }
}

/// Sends so many batches; how many requests failed or found others out of order before them.
async fn send(put: ActorFunction, sender: u32, batches: u32) -> u64 {
    let mut bad = 0;
    for batch in 0..batches {
        let first = batch * BATCH + 1;
        for sequence in first..first + BATCH - 1 {
            bad += u64::from(put.cast((sender, sequence)).is_err());
        }
        let replied = put.call((sender, first + BATCH - 1)).await;
        let found = replied.ok().and_then(|args| <(u32,)>::from_args(args).ok());
        bad += found.map_or(1, |(disordered,)| u64::from(disordered));
        tokio::task::yield_now().await;
    }
    bad
}

impl Scenario for Lost {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            let each = operations.div_ceil(u64::from(CALLERS * BATCH));
            let batches = u32::try_from(each).unwrap_or(u32::MAX / BATCH);
            let put = self.upgraded.function("put")?;
            let senders = self.sender..self.sender + CALLERS;
            self.sender += CALLERS;
            let over = Arc::<AtomicBool>::default();
            let all = {
                let (over, senders) = (Arc::clone(&over), senders.clone());
                tokio::spawn(async move {
                    let mut tasks = JoinSet::new();
                    for sender in senders {
                        tasks.spawn(send(put.clone(), sender, batches));
                    }
                    let bad = tasks.join_all().await.into_iter().sum::<u64>();
                    over.store(true, Ordering::Release);
                    bad
                })
            };
            let mut upgrades = 0_u64;
            while !over.load(Ordering::Acquire) {
                self.upgraded.upgrade().await?;
                upgrades += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let mut bad = all.await.or_failed("a sender panicked")?;
            let count = self.upgraded.function("count")?;
            for sender in senders {
                let counted = count.call((sender,)).await.or_failed("counting")?;
                let (counted,) = <(u32,)>::from_args(counted).or_failed("counting")?;
                bad += u64::from(counted.abs_diff(batches * BATCH));
            }
            expect("whether there were upgrades", upgrades > 0, true)?;
            samples.record_number(bad);
            Ok(())
        })
    }

    fn finish(self: Box<Self>) -> Work<'static> {
        Box::pin(async move {
            self.upgraded.system.shutdown().await;
            Ok(())
        })
    }
}

/// `canary.share`: so many requests at each of some weights.
struct Shares {
    system: System,
    stable: ActorRef,
    candidate: ActorRef,
}

/// In ten thousandths.
const WEIGHTS: [u16; 6] = [100, 500, 2_000, 3_333, 5_000, 9_000];

impl Shares {
    async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let system = bench.system().await?;
        let template = bench.adder_template()?;
        let spawn = async |name| {
            let spec = ChildSpec::component(address(name)?, template.clone());
            system.spawn(spec).await.or_failed("spawning the adder")
        };
        let (stable, candidate) = (spawn("stable").await?, spawn("candidate").await?);
        Ok(Self {
            system,
            stable,
            candidate,
        })
    }
}

impl Scenario for Shares {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            let each = operations.div_ceil(u64::from(CALLERS));
            for weight in WEIGHTS {
                let spec = SplitSpec {
                    weight: Weight::new(weight).unwrap_or_default(),
                    ..SplitSpec::default()
                };
                let split = self.stable.split(&self.candidate, spec);
                let split = split.or_failed("splitting the traffic")?;
                let add = self.stable.function("add").or_failed("resolving add")?;
                let mut tasks = JoinSet::new();
                for _ in 0..CALLERS {
                    let add = add.clone();
                    tasks.spawn(async move {
                        for _ in 0..each {
                            add.call((2_u32, 3_u32)).await.or_failed("canary.share")?;
                            tokio::task::yield_now().await;
                        }
                        Ok::<_, BenchError>(())
                    });
                }
                while let Some(ended) = tasks.join_next().await {
                    ended.or_failed("a caller panicked")??;
                }
                let (stable, candidate) = split.stats();
                let requests = stable.requests + candidate.requests;
                expect("canary.share", requests, each * u64::from(CALLERS))?;
                // In thousandths of a percentage point; a weight is in hundredths.
                let share = candidate.requests * 100_000 / requests.max(1);
                samples.record_number(share.abs_diff(u64::from(weight) * 10));
                split.remove("measured");
                split.drained().await;
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
