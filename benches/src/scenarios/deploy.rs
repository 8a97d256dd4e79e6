//! Deployments to an application that runs under a steady load: until the new revision serves, and back.
//!
//! Syncs are timed where the registry says that one begins and has ended; what a disk takes is no work of ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use airssys_wasm::{CacheLocation, Engine, Policy};
use airssys_wasm_actors::deployment::{
    DeployOptions, Deployer, Rollout, RolloutOutcome, StepState, register_first,
};
use airssys_wasm_actors::{
    ActorFunction, Application, ApplicationSpec, DeploymentState, Registry, RegistryOptions,
    ResolveOptions, Retention, RunningApplication, System,
};
use parking_lot::Mutex;

use super::expect;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Bar, Group, Make, RowSpec, Unit, latency, made};
use crate::workbench::callers::{Callers, Rate};
use crate::workbench::scratch::Scratch;
use crate::workbench::{ADDER, Workbench, engine, revision, start_system};

const DEPLOY: Group = Group::new("deploy.time");

const fn deploy(name: &'static str, per_round: u64, make: Make) -> RowSpec {
    latency(name, DEPLOY, per_round, make)
        .unit(Unit::Milliseconds)
        .on_two()
}

pub(crate) const ROWS: &[RowSpec] = &[
    deploy("deploy.warm", 20, |bench| {
        made(Deploys::new(bench, What::Warm))
    })
    .bar(Bar::Median(20.0)),
    deploy("deploy.syncs", 20, |bench| {
        made(Deploys::new(bench, What::Syncs))
    }),
    deploy("deploy.beyond", 20, |bench| {
        made(Deploys::new(bench, What::Beyond))
    })
    .bar(Bar::Median(5.0)),
    deploy("deploy.cold", 5, |bench| {
        made(Deploys::new(bench, What::Cold))
    }),
    deploy("rollback", 50, |bench| {
        made(Deploys::new(bench, What::Back))
    })
    .p99()
    .bar(Bar::Median(10.0)),
];

/// The registry's directory.
const STATE: &str = "state";
/// Room in the pool.
const INSTANCES: u32 = 16;

/// What is recorded of a deployment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// All of it, the artifact in the cache.
    Warm,
    /// The time of its syncs.
    Syncs,
    /// The rest.
    Beyond,
    /// All of it, with compilation.
    Cold,
    /// From the decision to roll back until the old revision, kept warm, has everything.
    Back,
}

/// How long the registry has waited for the disk.
#[derive(Default)]
struct Syncs {
    began: Option<Instant>,
    total: Duration,
}

impl Syncs {
    fn at(&mut self, step: &str) {
        if step.ends_with(".before-commit") || step == "artifact.sync" {
            self.began = Some(Instant::now());
        } else if (step.ends_with(".after-commit") || step == "artifact.rename")
            && let Some(began) = self.began.take()
        {
            self.total += began.elapsed();
        }
    }
}

/// An application of one component, with a registry.
pub(super) struct Deploys {
    scratch: Scratch,
    system: System,
    running: RunningApplication,
    deployer: Deployer,
    add: ActorFunction,
    syncs: Arc<Mutex<Syncs>>,
    what: What,
    /// The number of the revision that comes next.
    next: u32,
}

impl Deploys {
    async fn new(_: &Workbench, what: What) -> Result<Self, BenchError> {
        Self::keeping(what, Retention::default()).await
    }

    /// With a registry whose collection keeps so much.
    pub(super) async fn keeping(what: What, retention: Retention) -> Result<Self, BenchError> {
        let scratch = Scratch::new()?;
        let cache = CacheLocation::Directory(scratch.path().join("cache"));
        let system = start_system(engine(INSTANCES, cache)?, true).await?;
        // Both of those that take turns are in the cache.
        for number in [1, 0] {
            write(&scratch, number)?;
            resolve(&scratch, system.engine(), number, what)?;
        }
        let application = resolve(&scratch, system.engine(), 0, what)?;
        let running = application.clone().start(&system).await;
        let running = running.or_failed("starting an application")?;
        let syncs = Arc::<Mutex<Syncs>>::default();
        let told = Arc::clone(&syncs);
        let options = RegistryOptions {
            fault: Some(Arc::new(move |step| {
                told.lock().at(step);
                Ok(())
            })),
            retention,
        };
        let directory = scratch.path().join(STATE);
        let registering = tokio::task::spawn_blocking(move || {
            let registry = Registry::open(&directory, options).or_failed("opening a registry")?;
            let first = register_first(&registry, &application, &DeployOptions::default());
            let first = first.or_failed("registering an application")?;
            Ok::<_, BenchError>((registry, first, application))
        });
        let registering = registering.await.or_failed("registering an application")?;
        let (registry, first, application) = registering?;
        let actor = running.actor("adder");
        let actor = actor.ok_or_else(|| BenchError::failed("deploy", "no adder"))?;
        Ok(Self {
            add: actor.function("add").or_failed("resolving add")?,
            deployer: Deployer::new(&running, application, Some((registry, first))),
            scratch,
            system,
            running,
            syncs,
            what,
            // What compiles has never been seen.
            next: if what == What::Cold { 2 } else { 1 },
        })
    }

    /// Where the registry is.
    pub(super) fn state(&self) -> PathBuf {
        self.scratch.path().join(STATE)
    }

    /// The load beside it.
    pub(super) fn callers(&self) -> Callers {
        Callers::start(&self.add, Rate::Steady, 1, |caller, number| caller + number)
    }

    /// One deployment that is rolled back, and one that stays.
    pub(super) async fn there_and_back(&mut self, samples: &mut Samples) -> Result<(), BenchError> {
        self.what = What::Back;
        self.back(samples).await?;
        self.what = What::Warm;
        self.forth(samples).await
    }

    /// Waits until what was replaced is gone.
    pub(super) async fn settled(&self) {
        while self.system.engine().instances() != 1 {
            tokio::task::yield_now().await;
        }
    }

    /// Removes what the registry does not need.
    pub(super) async fn collect(&self, now_unix_ms: u64) -> Result<(), BenchError> {
        let Some(registry) = self.deployer.registry().cloned() else {
            return Ok(());
        };
        let collecting = tokio::task::spawn_blocking(move || registry.gc(now_unix_ms));
        let collected = collecting.await.or_failed("collecting")?;
        collected.map(drop).or_failed("collecting")
    }

    /// Deploys the next revision; `condition` is what ends the time.
    async fn deploy(
        &self,
        condition: impl Fn(DeploymentState, StepState) -> bool,
    ) -> Result<Rollout, BenchError> {
        let directory = self.scratch.path().to_owned();
        let (engine, number, what) = (self.system.engine().clone(), self.next, self.what);
        let resolving =
            tokio::task::spawn_blocking(move || resolve_in(&directory, &engine, number, what));
        let new = resolving.await.or_failed("resolving an application")??;
        let rollout = self.deployer.deploy(new, DeployOptions::default()).await;
        let rollout = rollout.or_failed("deploying")?;
        let reached = rollout.until(|status| {
            let step = status.steps.first().map(|step| step.state);
            status
                .state
                .zip(step)
                .is_some_and(|(state, step)| condition(state, step))
        });
        let _ = reached.await;
        Ok(rollout)
    }

    async fn forth(&mut self, samples: &mut Samples) -> Result<(), BenchError> {
        if self.what == What::Cold {
            write(&self.scratch, self.next)?;
        }
        *self.syncs.lock() = Syncs::default();
        let began = Instant::now();
        let rollout = self.deploy(|_, step| step == StepState::Switched).await?;
        let took = began.elapsed();
        let synced = self.syncs.lock().total;
        let recorded = match self.what {
            What::Syncs => synced,
            What::Beyond => took.saturating_sub(synced),
            What::Warm | What::Cold | What::Back => took,
        };
        samples.record(recorded, 1);
        let end = rollout.finished().await;
        expect("a deployment", end, RolloutOutcome::Permanent)?;
        self.next = match self.what {
            What::Cold => self.next + 1,
            _ => 1 - self.next,
        };
        Ok(())
    }

    async fn back(&mut self, samples: &mut Samples) -> Result<(), BenchError> {
        let rollout = self
            .deploy(|state, _| state == DeploymentState::Soaking)
            .await?;
        let began = Instant::now();
        rollout.roll_back("measured").await.or_failed("rollback")?;
        let back = rollout.until(|status| {
            let step = status.steps.first().map(|step| step.state);
            step == Some(StepState::SwitchedBack)
        });
        let _ = back.await;
        samples.record(began.elapsed(), 1);
        let reason = "measured".to_owned();
        let end = rollout.finished().await;
        expect("rollback", end, RolloutOutcome::RolledBack { reason })
    }
}

fn file(number: u32) -> String {
    format!("adder-{number}.wasm")
}

fn write(scratch: &Scratch, number: u32) -> Result<(), BenchError> {
    let path = scratch.path().join(file(number));
    fs::write(path, revision(ADDER, number)).or_failed("writing a component")
}

fn resolve(
    scratch: &Scratch,
    engine: &Engine,
    number: u32,
    what: What,
) -> Result<Application, BenchError> {
    resolve_in(scratch.path(), engine, number, what)
}

fn resolve_in(
    directory: &Path,
    engine: &Engine,
    number: u32,
    what: What,
) -> Result<Application, BenchError> {
    let strategy = match what {
        What::Back => r#"rollout = { strategy = "blue-green", soak = "1h" }"#,
        _ => "",
    };
    let manifest = format!(
        "[application]\nname = \"app\"\n[components.adder]\nfile = \"{}\"\n{strategy}\n",
        file(number)
    );
    let spec = ApplicationSpec::parse(directory.join("airssys.toml"), manifest);
    let options = ResolveOptions {
        policy: Policy::permissive(),
        ..ResolveOptions::default()
    };
    spec.or_failed("a manifest")?
        .resolve(engine, &options)
        .or_failed("resolving an application")
}

impl Scenario for Deploys {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            let callers = self.callers();
            for _ in 0..operations {
                if self.what == What::Back {
                    self.back(samples).await?;
                } else {
                    self.forth(samples).await?;
                }
            }
            callers.end().await
        })
    }

    fn finish(self: Box<Self>) -> Work<'static> {
        Box::pin(async move {
            self.running.stop().await;
            self.system.shutdown().await;
            Ok(())
        })
    }
}
