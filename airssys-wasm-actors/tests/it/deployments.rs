//! Deployments to an application that runs: what serves afterwards, what is undone, and what the registry says.

mod answers;
mod arms;
mod autoscaling;
mod by_hand;
mod canaries;
mod cycles;
mod ended;
mod families;
mod feeding;
mod files;
mod first;
mod gates;
mod hanging;
mod kills;
mod linked;
mod mixed;
mod scaling;
mod stopped;
mod tuned;
mod turns;
mod unended;
mod waiting;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use airssys_wasm::Policy;
use airssys_wasm_actors::deployment::{
    CommandRefused, DeployError, DeployOptions, Deployer, Rollout, RolloutOutcome, StepState,
    artifacts_of, register_first,
};
use airssys_wasm_actors::{
    ActorRef, Application, ApplicationSpec, DeploymentState, Registry, RegistryOptions,
    ResolveOptions, RunningApplication, System,
};

use crate::application::Directory;
use crate::guests::{RELAY, address, engine, system_with};
use crate::spawning::SPAWNER;
use crate::upgrades::{Load, Revision, V1, V2, add, number};

/// An application with deployments, in a directory of its own.
struct Host {
    directory: Directory,
    system: System,
    running: RunningApplication,
    deployer: Deployer,
}

/// `work` traps on every request but the first hundred.
fn bad() -> String {
    V2.stateless().replace(
        r#"(func (export "work") (param i32) (result i32) (i32.const 2))"#,
        r#"(func (export "work") (param i32) (result i32)
             (if (i32.gt_u (local.get 0) (i32.const 100)) (then unreachable)) (i32.const 2))"#,
    )
}

const ONE: &str = "[components.one]\nfile = \"v1.wasm\"\n";

impl Host {
    async fn new(tables: &str) -> Self {
        Self::with(tables, RegistryOptions::default()).await
    }

    async fn with(tables: &str, options: RegistryOptions) -> Self {
        Self::in_directory(Directory::new(""), tables, options).await
    }

    async fn in_directory(directory: Directory, tables: &str, options: RegistryOptions) -> Self {
        let system = system_with(&engine(), true).await;
        Self::in_system(directory, system, tables, options).await
    }

    async fn in_system(
        directory: Directory,
        system: System,
        tables: &str,
        options: RegistryOptions,
    ) -> Self {
        let bad_init = Revision { init: 1, ..V2 };
        for (file, wat) in [
            ("v1.wasm", V1.stateless()),
            ("v2.wasm", V2.stateless()),
            ("s1.wasm", V1.stateful()),
            ("s2.wasm", V2.stateful()),
            ("bad.wasm", bad()),
            ("no-init.wasm", bad_init.stateless()),
            ("relay.wasm", RELAY.to_owned()),
        ] {
            std::fs::write(directory.0.join(file), wat::parse_str(wat).unwrap()).unwrap();
        }
        std::fs::write(directory.0.join("spawner.wasm"), SPAWNER).unwrap();
        let application = resolve(&directory, &system, tables);
        let running = application.clone().start(&system).await.unwrap();
        let registry = Registry::open(&directory.0.join("state"), options).unwrap();
        let first = register_first(&registry, &application, &by("first")).unwrap();
        let deployer = Deployer::new(&running, application, Some((registry, first)));
        Self {
            directory,
            system,
            running,
            deployer,
        }
    }

    fn resolve(&self, tables: &str) -> Application {
        resolve(&self.directory, &self.system, tables)
    }

    async fn deploy(&self, tables: &str) -> Rollout {
        let new = self.resolve(tables);
        self.deployer.deploy(new, by("test")).await.unwrap()
    }

    fn actor(&self, name: &str) -> ActorRef {
        self.system
            .whereis(&address(&format!("app/{name}")))
            .unwrap()
    }

    fn states(&self, number: u64) -> DeploymentState {
        let registry = self.deployer.registry().unwrap();
        registry.deployment(&address("app"), number).unwrap().state
    }

    fn permanent(&self) -> Option<u64> {
        let registry = self.deployer.registry().unwrap();
        registry.pointers(&address("app")).unwrap().permanent
    }

    /// Nothing is left of what was tried, and the accounting is whole.
    async fn is_clean(&self, instances: u64) {
        while self.system.whereis(&address("app/one/next")).is_some() {
            tokio::task::yield_now().await;
        }
        while self.system.engine().instances() != instances {
            tokio::task::yield_now().await;
        }
        let counters = self.system.counters();
        assert_eq!(
            counters.calls,
            counters.replies + counters.call_errors + counters.calls_abandoned
        );
    }
}

fn by(why: &str) -> DeployOptions {
    DeployOptions {
        by: "somebody".to_owned(),
        why: why.to_owned(),
        ..DeployOptions::default()
    }
}

fn resolve(directory: &Directory, system: &System, tables: &str) -> Application {
    let text = format!("[application]\nname = \"app\"\n{tables}");
    let spec = ApplicationSpec::parse(directory.0.join("airssys.toml"), text).unwrap();
    let options = ResolveOptions {
        policy: Policy::permissive(),
        ..ResolveOptions::default()
    };
    spec.resolve(system.engine(), &options)
        .unwrap_or_else(|errors| panic!("{errors}"))
}

fn one(file: &str, rollout: &str) -> String {
    format!("[components.one]\nfile = \"{file}\"\nrollout = {{ {rollout} }}\n")
}

const CANARY: &str = r#"strategy = "canary", soak = "50ms",
    steps = [{ weight = "20%", for = "100ms" }, { weight = "50%", for = "100ms" }],
    gate = { interval = "50ms", samples-min = 20, holds-max = 1000, latency-ratio-max = 1000 }"#;

/// A table in one line, as an inline table has to be.
fn canary() -> String {
    CANARY.replace('\n', " ")
}

/// Calls `work(n)` with rising numbers: replies, errors.
struct Work {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<(u64, u64)>,
    calls: Arc<AtomicU64>,
}

impl Work {
    fn start(actor: &ActorRef) -> Self {
        let (stop, calls) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&calls));
        let work = actor.function("work").unwrap();
        let task = tokio::spawn(async move {
            let (mut replies, mut errors, mut n) = (0, 0, 0_u32);
            while !stopped.load(Ordering::Acquire) {
                match work.call((n,)).await {
                    Ok(_) => replies += 1,
                    Err(_) => errors += 1,
                }
                n += 1;
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
            (replies, errors)
        });
        Self { stop, task, calls }
    }

    async fn end(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Release);
        self.task.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_deployment_under_load_loses_nothing_and_is_permanent() {
    let host = Host::new("[components.one]\nfile = \"s1.wasm\"\n").await;
    let actor = host.actor("one");
    let load = Load::start(&actor, 4);
    for round in 0..6 {
        let file = if round % 2 == 0 { "s2.wasm" } else { "s1.wasm" };
        let tables = format!("[components.one]\nfile = \"{file}\"\n");
        let rollout = host.deploy(&tables).await;
        assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
        let status = rollout.status();
        assert_eq!(status.number, Some(round + 2));
        assert_eq!(status.state, Some(DeploymentState::Permanent));
        assert_eq!(status.steps[0].state, StepState::Switched);
        assert_eq!(u64::from(number(&actor, "version").await), 2 - round % 2);
        assert_eq!(host.permanent(), Some(round + 2));
        assert_eq!(host.deployer.current_number(), Some(round + 2));
        // The same again is nothing to do.
        let plan = host
            .deployer
            .plan(&host.resolve(&tables), &Default::default());
        assert!(plan.unwrap().is_empty());
    }
    let (replies, errors, down) = load.end().await;
    assert_eq!((errors, down), (0, false));
    assert_eq!(u64::from(add(&actor, 0).await.unwrap()), replies);
    host.is_clean(1).await;
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_does_well_is_promoted_by_itself() {
    let host = Host::new(ONE).await;
    let actor = host.actor("one");
    let work = Work::start(&actor);
    let rollout = host.deploy(&one("v2.wasm", &canary())).await;
    let trial = rollout
        .until(|status| status.steps[0].weight == Some(2_000))
        .await;
    assert_eq!((trial.steps[0].state, trial.end), (StepState::Trial, None));
    assert!(host.system.whereis(&address("app/one/next")).is_some());
    let trial = rollout
        .until(|status| status.steps[0].weight == Some(5_000))
        .await;
    assert_eq!(trial.end, None);
    assert_eq!(
        rollout.finished().await,
        RolloutOutcome::Permanent,
        "{:?}",
        rollout.status()
    );
    assert_eq!(number(&actor, "version").await, 2);
    let (replies, errors) = work.end().await;
    assert!(replies > 0);
    assert_eq!(errors, 0, "nobody notices a healthy canary");
    host.is_clean(1).await;
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_traps_is_rolled_back_by_itself_and_costs_what_it_was_given() {
    let host = Host::new(ONE).await;
    let actor = host.actor("one");
    let work = Work::start(&actor);
    let rollout = host.deploy(&one("bad.wasm", &canary())).await;
    match rollout.finished().await {
        RolloutOutcome::RolledBack { reason } => assert!(reason.contains("trap"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(number(&actor, "version").await, 1);
    let (replies, errors) = work.end().await;
    assert!(errors > 0 && errors < replies, "{errors} of {replies}");
    assert_eq!(
        (host.permanent(), host.states(2)),
        (Some(1), DeploymentState::RolledBack)
    );
    assert_eq!(host.deployer.current_number(), Some(1));
    host.is_clean(1).await;
    // And what comes next finds everything in order.
    let rollout = host.deploy("[components.one]\nfile = \"v2.wasm\"\n").await;
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_is_paused_promoted_and_rolled_back_by_command() {
    let host = Host::new(ONE).await;
    let actor = host.actor("one");
    let soak = r#"strategy = "blue-green", soak = "1h""#;
    let soaking = |status: &airssys_wasm_actors::deployment::RolloutStatus| {
        status.state == Some(DeploymentState::Soaking)
    };
    let rollout = host.deploy(&one("v2.wasm", soak)).await;
    rollout.until(soaking).await;
    assert_eq!(number(&actor, "version").await, 2);
    // A crash of the host now would boot the old revision.
    assert_eq!(
        (host.permanent(), host.deployer.current_number()),
        (Some(1), Some(1))
    );
    rollout.pause().await.unwrap();
    assert_eq!(rollout.pause().await, Err(CommandRefused::Paused));
    assert!(rollout.until(|status| status.paused).await.paused);
    rollout.resume().await.unwrap();
    assert_eq!(rollout.resume().await, Err(CommandRefused::NotPaused));
    // Nobody else deploys meanwhile, unless it waits.
    let refused = host.deployer.deploy(host.resolve(ONE), by("other")).await;
    assert!(matches!(refused, Err(DeployError::UnderWay)), "{refused:?}");
    rollout.roll_back("changed my mind").await.unwrap();
    let reason = "changed my mind".to_owned();
    assert_eq!(
        rollout.finished().await,
        RolloutOutcome::RolledBack { reason }
    );
    assert_eq!(rollout.promote().await, Err(CommandRefused::Over));
    assert_eq!(number(&actor, "version").await, 1);
    host.is_clean(1).await;
    let rollout = host.deploy(&one("v2.wasm", soak)).await;
    rollout.until(soaking).await;
    let queued = {
        let (deployer, new) = (host.deployer.clone(), host.resolve(ONE));
        let options = DeployOptions {
            queue: true,
            ..by("queued")
        };
        tokio::spawn(async move { deployer.deploy(new, options).await.unwrap() })
    };
    rollout.promote().await.unwrap();
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    assert_eq!(
        queued.await.unwrap().finished().await,
        RolloutOutcome::Permanent
    );
    assert_eq!(number(&actor, "version").await, 1);
    assert_eq!(host.permanent(), Some(4));
    host.is_clean(1).await;
    host.running.stop().await;
}

#[tokio::test]
async fn a_revision_that_does_not_start_changes_nothing() {
    let host = Host::new(ONE).await;
    for rollout in ["", r#"strategy = "blue-green""#, &canary()] {
        let rollout = host.deploy(&one("no-init.wasm", rollout)).await;
        match rollout.finished().await {
            RolloutOutcome::Failed { reason, stuck } => {
                assert!(reason.contains("`init` failed"), "{reason}");
                assert!(stuck.is_empty());
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(number(&host.actor("one"), "version").await, 1);
        let number = rollout.status().number.unwrap();
        assert_eq!(
            (host.permanent(), host.states(number)),
            (Some(1), DeploymentState::Failed)
        );
        host.is_clean(1).await;
    }
    // Of several components, those that come after one that fails are not touched, and those before come back.
    let two = format!("{ONE}[components.two]\nfile = \"v1.wasm\"\n");
    let rollout = host.deploy(&two).await;
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    let recreate = "[components.one]\nfile = \"v2.wasm\"\n[components.two]\nfile = \"no-init.wasm\"\n\
                    rollout = { strategy = \"recreate\" }\n";
    let rollout = host.deploy(recreate).await;
    match rollout.finished().await {
        RolloutOutcome::RolledBack { reason } => {
            assert!(reason.contains("`init` failed"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
    for name in ["one", "two"] {
        assert_eq!(number(&host.actor(name), "version").await, 1, "{name}");
    }
    host.is_clean(2).await;
    host.running.stop().await;
}

#[tokio::test]
async fn components_come_and_go_and_a_supervisor_that_is_made_again_knows() {
    let host = Host::new(ONE).await;
    let relay = "[components.relay]\nfile = \"relay.wasm\"\nlinks = [{ import = \"test:t/work\", to = \"one\" }]\n";
    let rollout = host.deploy(&format!("{ONE}{relay}")).await;
    assert_eq!(
        rollout.finished().await,
        RolloutOutcome::Permanent,
        "{:?}",
        rollout.status()
    );
    let reply = host.actor("relay").call("work", (5_u32,)).await.unwrap();
    assert_eq!(reply.len(), 1);
    // What is gone is gone, and what has come is there, also for a supervisor that is made again.
    let two = ONE.replace(".one", ".two");
    let rollout = host.deploy(&format!("{ONE}{two}")).await;
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    assert!(host.system.whereis(&address("app/relay")).is_none());
    let mut events = host.system.events();
    let before = host.actor("one").status().incarnation;
    host.running.supervisor().kill();
    crate::guests::started(&mut events, &address("app/one"), before).await;
    crate::guests::started(&mut events, &address("app/two"), 1).await;
    assert_eq!(number(&host.actor("two"), "version").await, 1);
    assert!(host.system.whereis(&address("app/relay")).is_none());
    host.running.stop().await;
}

#[tokio::test]
async fn what_only_supervisors_know_is_changed_without_touching_an_instance() {
    let host = Host::new(ONE).await;
    assert_eq!(add(&host.actor("one"), 3).await.unwrap(), 3);
    let tables = "[supervision]\nrestarts = { max = 7, within = \"1s\" }\n\
                  [components.one]\nfile = \"v1.wasm\"\nrestart = \"temporary\"\n";
    let rollout = host.deploy(tables).await;
    assert_eq!(
        rollout.finished().await,
        RolloutOutcome::Permanent,
        "{:?}",
        rollout.status()
    );
    assert_eq!(add(&host.actor("one"), 0).await.unwrap(), 3);
    let mut events = host.system.events();
    host.actor("one").kill();
    crate::guests::exited(&mut events, &address("app/one")).await;
    while host.system.whereis(&address("app/one")).is_some() {
        tokio::task::yield_now().await;
    }
    host.running.stop().await;
}

#[tokio::test]
async fn whatever_record_is_lost_the_old_revision_serves_or_the_new_one_is_permanent() {
    // The nth step of the disk fails from the moment that the deployment begins.
    for nth in 0.. {
        let armed = Arc::<AtomicBool>::default();
        let (on, count) = (Arc::clone(&armed), AtomicU64::new(0));
        let failed = Arc::<AtomicBool>::default();
        let has_failed = Arc::clone(&failed);
        let options = RegistryOptions {
            fault: Some(Arc::new(move |_| {
                if on.load(Ordering::Acquire) && count.fetch_add(1, Ordering::AcqRel) == nth {
                    has_failed.store(true, Ordering::Release);
                    return Err(io::Error::other("no space left"));
                }
                Ok(())
            })),
            ..RegistryOptions::default()
        };
        let host = Host::with(ONE, options).await;
        armed.store(true, Ordering::Release);
        let rollout = host.deploy("[components.one]\nfile = \"v2.wasm\"\n").await;
        let end = rollout.finished().await;
        let version = number(&host.actor("one"), "version").await;
        if end == RolloutOutcome::Permanent {
            assert_eq!(version, 2, "{nth}");
        } else {
            assert_eq!(version, 1, "{nth}: {end:?}");
            assert!(
                format!("{end:?}").contains("no space left"),
                "{nth}: {end:?}"
            );
        }
        host.is_clean(1).await;
        armed.store(false, Ordering::Release);
        // Whatever the disk says, what boots next is what it says is permanent, and it is one of the two.
        let registry = host.deployer.registry().unwrap();
        let recovered = registry.recover(&address("app"), 1).unwrap();
        let boot = recovered.boot.unwrap();
        assert_eq!(artifacts_of(registry, &boot).unwrap().len(), 1);
        assert_eq!(Some(boot.number), host.permanent());
        if end == RolloutOutcome::Permanent {
            assert_eq!(boot.number, 2);
        }
        host.running.stop().await;
        if !failed.load(Ordering::Acquire) {
            assert!(nth > 5, "the disk was asked for more than {nth} things");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shadow_copies_answer_nobody_and_a_difference_stops_the_deployment() {
    let host = Host::new(ONE).await;
    let actor = host.actor("one");
    let work = Work::start(&actor);
    let shadow = r#"strategy = "shadow", share = "100%", for = "100ms", soak = "10ms", gate = { interval = "50ms", samples-min = 5, holds-max = 1000, latency-ratio-max = 1000 }"#;
    let rollout = host.deploy(&one("v2.wasm", shadow)).await;
    match rollout.finished().await {
        // `work` answers the version, which differs.
        RolloutOutcome::RolledBack { reason } => assert!(reason.contains("answers"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let before = work.calls.load(Ordering::Relaxed);
    while work.calls.load(Ordering::Relaxed) < before + 50 {
        tokio::task::yield_now().await;
    }
    let (_, errors) = work.end().await;
    assert_eq!(errors, 0);
    assert_eq!(number(&actor, "version").await, 1);
    host.is_clean(1).await;
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_deployments_leave_nothing_behind() {
    let host = Host::new(ONE).await;
    let actor = host.actor("one");
    let load = Load::start(&actor, 2);
    for round in 0..30 {
        let file = match number(&actor, "version").await {
            1 => "v2.wasm",
            _ => "v1.wasm",
        };
        let soak = r#"strategy = "blue-green", soak = "1h""#;
        let rollout = host.deploy(&one(file, soak)).await;
        rollout
            .until(|status| status.state == Some(DeploymentState::Soaking))
            .await;
        if round % 3 == 0 {
            rollout.promote().await.unwrap();
        } else {
            rollout.roll_back("back").await.unwrap();
        }
        rollout.finished().await;
        host.is_clean_of_instances(1).await;
    }
    let (_, errors, _) = load.end().await;
    assert_eq!(errors, 0);
    assert_eq!(actor.status().incarnation, 1);
    host.is_clean(1).await;
    host.running.stop().await;
}

impl Host {
    async fn is_clean_of_instances(&self, instances: u64) {
        while self.system.engine().instances() != instances {
            tokio::task::yield_now().await;
        }
    }
}
