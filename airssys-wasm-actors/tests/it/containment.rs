//! Somebody is killed at every step of what is under way (HOSTILE J3, J5, J8).
//!
//! One thread, a clock that stands still, and a driver that is polled after each poll of any other task. For
//! each scenario, each kind of fault and k = 0, 1, 2, … the scenario runs for k steps, the fault happens,
//! and it runs to its end; until it ends before step k. After each: everyone waiting has one answer, the
//! accounting is exact, the budgets are back to zero, nobody but who was killed has ended, incarnations have
//! not overlapped, everyone who should be there answers, and nothing is left in the runtime or the pool.

mod scenarios;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use airssys_wasm::{CacheLocation, Engine, EngineConfig};
use airssys_wasm_actors::{
    ActorRef, CallError, CallOptions, ChildSpec, Event, Events, ExitReason, RestartIntensity,
    Supervisor, SupervisorSpec, System, SystemConfig,
};
use futures_util::FutureExt;
use tokio::task::JoinHandle;

use crate::guests::{address, is_counted};
use scenarios::{Act, Parts, SCENARIOS, Scenario};

/// No scenario takes as many steps; a run that does will never end.
const STEPS_MAX: usize = 2_000;
/// The clock stands still while the driver runs, and is moved by `TICK` so many steps.
const STEPS_PER_TICK: usize = 16;
const TICK: Duration = Duration::from_millis(1);
/// The most components in a scenario: an incarnation that outlives its exit leaves no room for its
/// successor, and one that is never dropped none for the next run.
const POOL: u32 = 2;

#[derive(Clone, Copy)]
enum Fault {
    Kill(&'static str),
    Stop(&'static str),
    KillSupervisor,
    StopSupervisor,
    /// Every task of the host that waits is dropped.
    Leave,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(who) => write!(f, "`{who}` is killed"),
            Self::Stop(who) => write!(f, "`{who}` is stopped"),
            Self::KillSupervisor => f.write_str("the supervisor is killed"),
            Self::StopSupervisor => f.write_str("the supervisor is stopped"),
            Self::Leave => f.write_str("the callers leave"),
        }
    }
}

/// A fault, and the step before which it happens.
type Plan = [(usize, Fault)];

struct World {
    system: System,
    supervisor: Supervisor,
    actors: BTreeMap<String, ActorRef>,
    late: Option<ChildSpec>,
    events: Events,
    waiting: Vec<JoinHandle<()>>,
    casts: u64,
    /// Who has been killed, or was under a supervisor that was.
    killed: BTreeSet<String>,
    /// Who has been asked to stop.
    stopped: BTreeSet<String>,
}

impl World {
    async fn start(engine: &Engine, parts: &Parts, scenario: &Scenario, short_road: bool) -> Self {
        let often = RestartIntensity {
            max: u32::MAX,
            within: Duration::from_secs(1),
        };
        let system = System::start(SystemConfig {
            root_intensity: often,
            short_road,
            ..SystemConfig::new(engine.clone())
        })
        .await
        .unwrap();
        let events = system.events();
        let supervisor = SupervisorSpec {
            intensity: often,
            children: (scenario.children)(parts),
            ..SupervisorSpec::new(address("app"))
        };
        let supervisor = system.supervise(supervisor).await.unwrap();
        let actors = supervisor
            .children()
            .into_iter()
            .map(|actor| (actor.address().to_string(), actor));
        Self {
            system,
            supervisor,
            actors: actors.collect(),
            late: scenario.late.map(|late| late(parts)),
            events,
            waiting: Vec::new(),
            casts: 0,
            killed: BTreeSet::new(),
            stopped: BTreeSet::new(),
        }
    }

    fn begin(&mut self, act: Act) {
        let actor = |name: &str| self.actors[name].clone();
        let call = |name: &str, path: &'static str, within: Duration| {
            let actor = actor(name);
            tokio::spawn(async move {
                let function = actor.function(path).unwrap();
                let options = CallOptions {
                    within,
                    ..CallOptions::default()
                };
                let ended = match path {
                    "work" => function.call_with((1_u32,), options).await,
                    _ => function.call_with((), options).await,
                };
                expected(ended.map(|_| ()));
            })
        };
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        let task = match act {
            Act::Call(name) => call(name, "work", hour),
            Act::CallWithin(name, ms) => call(name, "work", Duration::from_millis(ms)),
            Act::Trap(name) => call(name, "trap", hour),
            Act::Cast(name) => {
                let sent = actor(name).cast("work", (1_u32,));
                self.casts += u64::from(is_counted(&sent));
                return expected(sent.map_err(|error| *error.why));
            }
            Act::Health(name) => {
                let actor = actor(name);
                tokio::spawn(async move { expected(actor.health(second).await.map(|_| ())) })
            }
            Act::Stop(name) => return self.stop(name),
            Act::Start => {
                let (supervisor, late) = (self.supervisor.clone(), self.late.clone());
                // Refused if it is killed before it is up, or its supervisor ends.
                tokio::spawn(
                    async move { drop(supervisor.start(late.into_iter().collect()).await) },
                )
            }
        };
        self.waiting.push(task);
    }

    fn stop(&mut self, name: &str) {
        let (supervisor, name) = (self.supervisor.clone(), address(name));
        self.stopped.insert(name.to_string());
        self.waiting.push(tokio::spawn(async move {
            // Refused if the supervisor ends, or is killed, or it has gone already.
            let _ = supervisor.stop_child(&name).await;
        }));
    }

    /// Looks whether the child that is started late is there.
    fn look(&mut self) {
        if let Some(late) = &self.late
            && let Some(actor) = self.system.whereis(&late.address)
        {
            self.actors.insert(late.address.to_string(), actor);
        }
    }

    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(name) => {
                if let Some(actor) = self.actors.get(name) {
                    self.killed.insert(name.to_owned());
                    actor.kill();
                }
            }
            Fault::Stop(name) => self.stop(name),
            Fault::KillSupervisor => {
                self.killed.extend(self.actors.keys().cloned());
                self.supervisor.kill();
            }
            Fault::StopSupervisor => {
                self.stopped.extend(self.actors.keys().cloned());
                let late = self.late.as_ref().map(|late| late.address.to_string());
                self.stopped.extend(late);
                let supervisor = self.supervisor.clone();
                self.waiting.push(tokio::spawn(async move {
                    supervisor.stop().await;
                }));
            }
            Fault::Leave => self.waiting.iter().for_each(JoinHandle::abort),
        }
    }

    fn is_over(&self) -> bool {
        let idle = |actor: &ActorRef| actor.status().queued == 0;
        self.waiting.iter().all(JoinHandle::is_finished) && self.actors.values().all(idle)
    }

    /// Whether it may be gone by now.
    fn may_be_gone(&self, name: &str) -> bool {
        let late = self
            .late
            .as_ref()
            .is_some_and(|late| late.address == address(name));
        // A first start that fails is not tried again.
        self.stopped.contains(name) || (late && self.killed.contains(name))
    }
}

/// Whatever happens to a message, its sender is told in one of these ways.
fn expected(ended: Result<(), CallError>) {
    match ended {
        Ok(())
        | Err(
            CallError::CalleeDied { .. }
            | CallError::Stopped { .. }
            | CallError::Deadline { .. }
            | CallError::MailboxFull { .. }
            | CallError::Evicted { .. },
        ) => {}
        Err(other) => panic!("{other}"),
    }
}

/// Runs `scenario` once; returns whether the last fault came before its end.
async fn run(engine: &Engine, parts: &Parts, scenario: &Scenario, road: bool, plan: &Plan) -> bool {
    let mut world = World::start(engine, parts, scenario, road).await;
    for act in scenario.acts {
        world.begin(*act);
    }
    let mut plan = plan.iter();
    let mut next = plan.next();
    let mut step = 0;
    let in_time = loop {
        world.look();
        if world.is_over() {
            break false;
        }
        while let Some((_, fault)) = next.filter(|(at, _)| *at == step) {
            world.strike(*fault);
            next = plan.next();
        }
        if next.is_none() {
            break true;
        }
        assert!(step < STEPS_MAX, "it does not end");
        tokio::task::yield_now().await;
        step += 1;
        if step % STEPS_PER_TICK == 0 {
            tokio::time::advance(TICK).await;
        }
    };
    check(&mut world, scenario).await;
    in_time
}

async fn check(world: &mut World, scenario: &Scenario) {
    // Time moves by itself when there is nothing else to do: a call that hangs meets its deadline of an hour.
    let waiting = std::mem::take(&mut world.waiting);
    let began = tokio::time::Instant::now();
    for task in waiting {
        match task.await {
            Ok(()) => {}
            Err(error) if error.is_cancelled() => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "somebody waited for ever"
    );
    // The clock moves when nobody has anything to do: afterwards, everyone has done it.
    tokio::time::sleep(TICK * 100).await;
    for (name, actor) in &world.actors {
        let status = actor.status();
        assert_eq!(
            (status.queued, status.queued_bytes),
            (0, 0),
            "the budget of `{name}`"
        );
        assert!(
            status.running || world.may_be_gone(name),
            "`{name}` is not back"
        );
    }
    accounts(world);
    for (name, actor) in &world.actors {
        match actor.call("work", (1_u32,)).await {
            Ok(_) => {}
            Err(CallError::Stopped { .. }) if world.may_be_gone(name) => {}
            Err(error) => panic!("the next call of `{name}`: {error}"),
        }
    }
    accounts(world);
    world.system.shutdown().await;
    lives(world, scenario);
    world.actors.clear();
    let metrics = tokio::runtime::Handle::current().metrics();
    for _ in 0..100 {
        if metrics.num_alive_tasks() == 0 {
            return;
        }
        tokio::time::sleep(TICK).await;
    }
    panic!("{} tasks are left", metrics.num_alive_tasks());
}

/// Calls sent = replies + typed errors + callers that left; casts sent = handled + dead letters.
fn accounts(world: &World) {
    for (name, actor) in &world.actors {
        let counted = actor.counters();
        let ends = counted.replies + counted.call_errors + counted.calls_abandoned;
        assert_eq!(counted.calls, ends, "the calls of `{name}`");
        let ends = counted.casts_handled + counted.dead_letters;
        assert_eq!(counted.casts, ends, "the casts of `{name}`");
    }
    let total = world.system.counters();
    assert_eq!(total.casts, world.casts);
    assert_eq!(
        total.dead_letters,
        world.system.dead_letters().list(&Default::default()).len() as u64
    );
}

/// Each incarnation ended once and before its successor began, and for a reason there was.
fn lives(world: &mut World, scenario: &Scenario) {
    let mut up: BTreeMap<String, (u64, bool)> = BTreeMap::new();
    while let Some(Some(event)) = world.events.recv().now_or_never() {
        match event {
            // Forgotten; whoever comes after begins anew.
            Event::Gone { address, .. } => drop(up.remove(address.as_str())),
            Event::Started {
                address,
                incarnation,
            } => {
                let before = up.insert(address.to_string(), (incarnation, true));
                let overlaps = before.is_some_and(|(number, up)| up || number >= incarnation);
                assert!(!overlaps, "`{address}` {incarnation} after {before:?}");
            }
            Event::Exited {
                address,
                incarnation,
                reason,
            } => {
                let name = address.to_string();
                let before = up.insert(name.clone(), (incarnation, false));
                assert_eq!(before, Some((incarnation, true)), "`{address}` ends");
                let allowed = match reason {
                    ExitReason::Shutdown => true,
                    // What is stopped while it is being started is killed.
                    ExitReason::Killed => {
                        let late = world.late.as_ref();
                        let late = late.is_some_and(|late| late.address == address);
                        world.killed.contains(&name) || late && world.stopped.contains(&name)
                    }
                    _ => scenario.mortal.contains(&name.as_str()),
                };
                assert!(allowed, "`{address}` ended: {reason}");
            }
            Event::StartFailed {
                address, reason, ..
            } => {
                let name = address.to_string();
                let ended = world.killed.contains(&name) || world.stopped.contains(&name);
                assert!(ended, "`{address}`: {reason}");
            }
            Event::Lagged(lost) => panic!("{lost} events are lost"),
            _ => {}
        }
    }
    for (name, (_, up)) in up {
        assert!(!up, "`{name}` is still up");
    }
}

/// Says which run it was that failed.
struct Says<'a>(&'a str, bool, &'a Plan);

impl Drop for Says<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(name, road, plan) = self;
            let plan: Vec<_> = plan
                .iter()
                .map(|(at, fault)| format!("step {at}: {fault}"))
                .collect();
            eprintln!("{name}, short road {road}, {}", plan.join(", "));
        }
    }
}

fn try_plan(engine: &Engine, parts: &Parts, scenario: &Scenario, road: bool, plan: &Plan) -> bool {
    let _says = Says(scenario.name, road, plan);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        // The driver has its turn after each poll of another task.
        .event_interval(1)
        .build()
        .unwrap();
    runtime.block_on(run(engine, parts, scenario, road, plan))
}

/// What one run is: which road, and what happens when.
type Trial = (bool, Vec<(usize, Fault)>);

/// Every step of every scenario, with the trials that `faults` makes of the step and a scenario's actors.
fn at_every_step(faults: impl Fn(usize, &[&'static str]) -> Vec<Trial>) {
    let engine = Engine::new(EngineConfig {
        cache: CacheLocation::Off,
        pool_instances_max: POOL,
        // The epochs of a real clock would be steps of their own.
        tick: Duration::from_secs(1),
        ..EngineConfig::default()
    })
    .unwrap();
    let parts = Parts::new(&engine);
    let name = |child: &ChildSpec| {
        let mut names = ["leaf", "slow", "middle", "front"].into_iter();
        names.find(|name| child.address == address(name)).unwrap()
    };
    let mut runs = 0;
    for scenario in SCENARIOS {
        let late = scenario.late.map(|late| late(&parts));
        let children = (scenario.children)(&parts);
        let names: Vec<_> = children.iter().chain(&late).map(name).collect();
        let mut step = 0;
        loop {
            let mut in_time = false;
            for (road, plan) in faults(step, &names) {
                in_time |= try_plan(&engine, &parts, scenario, road, &plan);
                runs += 1;
            }
            if !in_time {
                break;
            }
            step += 1;
        }
        assert!(step > 2, "{} was over after {step} steps", scenario.name);
    }
    println!("{runs} runs");
}

fn one_fault(road: bool, step: usize, names: &[&'static str]) -> Vec<Trial> {
    let kills = names.iter().map(|name| Fault::Kill(name));
    let others = [Fault::KillSupervisor, Fault::StopSupervisor, Fault::Leave];
    let faults = kills.chain(others);
    faults.map(|fault| (road, vec![(step, fault)])).collect()
}

/// The second one comes some steps after the first: at once, or while the first is being dealt with. The
/// roads take turns.
fn two_faults(step: usize, names: &[&'static str]) -> Vec<Trial> {
    let mut pairs = vec![
        (Fault::KillSupervisor, Fault::KillSupervisor),
        (Fault::KillSupervisor, Fault::StopSupervisor),
        (Fault::StopSupervisor, Fault::KillSupervisor),
    ];
    for &name in names {
        let kill = Fault::Kill(name);
        pairs.extend([
            (Fault::KillSupervisor, kill),
            (kill, Fault::KillSupervisor),
            (Fault::Stop(name), kill),
            (Fault::Stop(name), Fault::KillSupervisor),
            (Fault::Leave, kill),
        ]);
        pairs.extend(names.iter().map(|other| (kill, Fault::Kill(other))));
    }
    let trials = pairs.into_iter().zip(step..);
    let trial = |((first, second), n): ((Fault, Fault), usize)| {
        (n % 2 == 0, vec![(step, first), (step + n % 5, second)])
    };
    trials.map(trial).collect()
}

#[test]
fn one_fault_at_every_step_of_the_short_road() {
    at_every_step(|step, names| one_fault(true, step, names));
}

#[test]
fn one_fault_at_every_step_of_the_queue() {
    at_every_step(|step, names| one_fault(false, step, names));
}

#[test]
fn two_faults_from_every_step_on() {
    at_every_step(two_faults);
}
