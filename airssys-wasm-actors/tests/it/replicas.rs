//! Several replicas that drain one queue.

mod retuned;

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_wasm::{FromArgs, IntoArgs, ResourceHandle, Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorRef, ActorState, CallError, CallOptions, ChildHealth, ChildSpec, Context, Event,
    Events, HealthCheck, Link, MailboxConfig, Message, REPLICAS_MAX, RestartPolicy, StartError,
    StopError, SupervisorSpec, System,
};
use tokio::sync::{Barrier, Notify};

use crate::guests::{
    RELAY, SEQUENCER, WORKER, address, engine, started, system, system_with, template,
};

/// What the replicas of a [`Server`] share with their test.
pub(crate) struct Outside {
    /// Passed once so many are inside at the same time.
    barrier: Barrier,
    pub(crate) held: Notify,
    pub(crate) open: Notify,
    pub(crate) handled: AtomicU32,
}

impl Outside {
    pub(crate) fn new(meeting: usize) -> Arc<Self> {
        Arc::new(Self {
            barrier: Barrier::new(meeting),
            held: Notify::new(),
            open: Notify::new(),
            handled: AtomicU32::new(0),
        })
    }
}

struct Server(Arc<Outside>);

impl Actor for Server {
    type Error = CallError;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:t;
             interface work { work: func(n: u32) -> u32; }
             interface serve {
                 who: func() -> string;
                 meet: func() -> string;
                 hold: func() -> string;
                 ask: func(whom: string, next: string);
                 panic: func();
             }",
        )
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> Result<(), CallError> {
        self.0.handled.fetch_add(1, Ordering::Relaxed);
        match message.function() {
            "meet" => {
                self.0.barrier.wait().await;
            }
            "hold" => {
                self.0.held.notify_one();
                self.0.open.notified().await;
            }
            "ask" => {
                let (whom, next): (String, String) = message.args().unwrap();
                let args = (next.as_str(), whom.as_str());
                ctx.call_by_name(&address(&whom), "ask", args).await?;
                message.reply(());
                return Ok(());
            }
            "work" => {
                let (n,): (u32,) = message.args().unwrap();
                message.reply((n + 1,));
                return Ok(());
            }
            "panic" => panic!("on purpose"),
            _ => {}
        }
        message.reply((ctx.address().as_str(),));
        Ok(())
    }

    async fn health(&mut self) -> ChildHealth {
        ChildHealth::Degraded("after a while".to_owned())
    }

    fn on_error(&mut self, _: &CallError) -> airssys_wasm_actors::ErrorAction {
        airssys_wasm_actors::ErrorAction::Resume
    }
}

pub(crate) fn servers(name: &str, replicas: u32, outside: &Arc<Outside>) -> ChildSpec {
    let outside = Arc::clone(outside);
    ChildSpec {
        replicas,
        ..ChildSpec::native(address(name), move || Server(Arc::clone(&outside)))
    }
}

pub(crate) fn patient() -> CallOptions {
    CallOptions {
        within: Duration::from_secs(600),
        ..CallOptions::default()
    }
}

pub(crate) async fn text(actor: &ActorRef, function: &str) -> Result<String, CallError> {
    let function = actor.function(function)?;
    let results = function.call_with((), patient()).await?;
    Ok(<(String,)>::from_args(results).unwrap().0)
}

/// A server that says of itself what it is told to, by address.
struct Moody {
    ill: Arc<Mutex<HashSet<String>>>,
    me: String,
}

impl Actor for Moody {
    type Error = CallError;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit("package test:moody; interface moody { who: func() -> string; }")
    }

    async fn pre_start(&mut self, ctx: &mut Context) -> Result<(), CallError> {
        self.me = ctx.address().to_string();
        Ok(())
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        _: &mut Context,
    ) -> Result<(), CallError> {
        message.reply((self.me.as_str(),));
        Ok(())
    }

    async fn health(&mut self) -> ChildHealth {
        if self.ill.lock().unwrap().contains(&self.me) {
            ChildHealth::Failed("ill".to_owned())
        } else {
            ChildHealth::Healthy
        }
    }
}

fn is_well(health: &ChildHealth) -> bool {
    matches!(health, ChildHealth::Healthy)
}

/// Waits until so many replicas have said that they are well, or not.
async fn moods(events: &mut Events, well: bool, count: usize) {
    let mut seen = 0;
    while seen < count {
        if let Event::Health { health, .. } = events.recv().await.unwrap() {
            seen += usize::from(is_well(&health) == well);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_not_well_takes_no_shared_message_until_it_is() {
    let system = system(&engine()).await;
    let ill = Arc::new(Mutex::new(HashSet::new()));
    let made = Arc::clone(&ill);
    let make = move || Moody {
        ill: Arc::clone(&made),
        me: String::new(),
    };
    let check = HealthCheck {
        out_of_rotation_after: Some(1),
        threshold: 1_000,
        ..HealthCheck::default()
    };
    let spec = ChildSpec {
        replicas: 2,
        ..ChildSpec::native(address("pool"), make).health(check)
    };
    let mut events = system.events();
    let pool = system.spawn(spec).await.unwrap();
    let replica = |at: usize| system.whereis(&address(&format!("pool/{at}"))).unwrap();
    let set =
        |who: &[&str]| *ill.lock().unwrap() = who.iter().map(|one| (*one).to_owned()).collect();

    set(&["pool/0"]);
    moods(&mut events, false, 1).await;
    assert_eq!(replica(0).status().state, ActorState::OutOfRotation);
    assert_eq!(pool.status().state, ActorState::Running);
    for _ in 0..20 {
        assert_eq!(text(&pool, "who").await.unwrap(), "pool/1");
    }
    assert_eq!(
        text(&replica(0), "who").await.unwrap(),
        "pool/0",
        "its own are its own"
    );

    // With all of them out a message waits, and who comes back first has it.
    set(&["pool/0", "pool/1"]);
    moods(&mut events, false, 1).await;
    assert_eq!(pool.status().state, ActorState::OutOfRotation);
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { text(&pool, "who").await }
    });
    while pool.status().queued == 0 {
        tokio::task::yield_now().await;
    }
    set(&["pool/1"]);
    moods(&mut events, true, 1).await;
    assert_eq!(waiting.await.unwrap().unwrap(), "pool/0");
    assert_eq!(replica(1).status().state, ActorState::OutOfRotation);

    // A restart begins anew.
    replica(1).kill();
    started(&mut events, &address("pool/1"), 1).await;
    assert_eq!(replica(1).status().state, ActorState::Running);
    system.shutdown().await;
}

/// What it is at is counted at the queue that it shares.
#[tokio::test(start_paused = true)]
async fn a_replica_that_is_busy_is_not_late_with_its_health() {
    for short_road in [true, false] {
        let system = system_with(&engine(), short_road).await;
        let outside = Outside::new(1);
        let ms = Duration::from_millis;
        let check = HealthCheck {
            interval: ms(10),
            timeout: ms(10),
            threshold: 1,
            out_of_rotation_after: Some(1),
        };
        let pool = servers("pool", 2, &outside).health(check);
        let pool = system.spawn(pool).await.unwrap();
        let holding = tokio::spawn({
            let pool = pool.clone();
            async move { text(&pool, "hold").await }
        });
        outside.held.notified().await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        for replica in pool.replicas() {
            let status = replica.status();
            assert_eq!(status.state, ActorState::Running, "{}", status.address);
            assert_eq!(status.incarnation, 1, "{}", status.address);
        }
        outside.open.notify_one();
        assert!(holding.await.unwrap().unwrap().starts_with("pool/"));
        system.shutdown().await;
    }
}

/// Promise 1: a team of which some are down is restarted as a whole, and nobody is there twice.
#[tokio::test(start_paused = true)]
async fn a_team_of_which_one_is_down_is_restarted_one_incarnation_at_a_time() {
    let system = system(&engine()).await;
    let outside = Outside::new(1);
    let app = SupervisorSpec::new(address("app")).with(servers("pool", 2, &outside));
    let app = system.supervise(app).await.unwrap();
    let mut events = system.events();
    app.terminate_child(&address("pool/0")).await.unwrap();
    app.restart_child(&address("pool")).await.unwrap();
    let (mut up, mut begun) = (HashSet::from(["pool/1".to_owned()]), 0);
    while begun < 2 {
        match events.recv().await.unwrap() {
            Event::Started { address, .. } => {
                assert!(up.insert(address.to_string()), "{address} is there twice");
                begun += 1;
            }
            Event::Exited { address, .. } => {
                up.remove(address.as_str());
            }
            _ => {}
        }
    }
    assert_eq!(up.len(), 2);
    let pool = system.whereis(&address("pool")).unwrap();
    assert!(text(&pool, "who").await.unwrap().starts_with("pool/"));
    let twice = app.start_stopped_child(&address("pool/1")).await;
    assert!(matches!(twice, Err(StopError::Running(_))), "{twice:?}");
    system.shutdown().await;
}

/// As many calls as there are replicas are inside at once: the barrier lets none out before all are in.
#[tokio::test]
async fn so_many_replicas_handle_so_many_calls_at_once() {
    let system = system(&engine()).await;
    let outside = Outside::new(4);
    let pool = system.spawn(servers("pool", 4, &outside)).await.unwrap();
    for _ in 0..3 {
        let meeting: Vec<_> = (0..4)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move { text(&pool, "meet").await.unwrap() })
            })
            .collect();
        let mut met = BTreeSet::new();
        for one in meeting {
            met.insert(one.await.unwrap());
        }
        let all: Vec<_> = (0..4).map(|n| format!("pool/{n}")).collect();
        assert_eq!(met.into_iter().collect::<Vec<_>>(), all);
    }
    // One address for callers; each replica by its own in events, listings and reports.
    assert_eq!(pool.address(), &address("pool"));
    let names = system.names();
    assert_eq!(names.len(), 5);
    assert!(names.contains(&address("pool")) && names.contains(&address("pool/3")));
    assert_eq!(pool.replicas().len(), 4);
    assert_eq!(pool.counters().replies, 12);
    // A message for one of them alone goes by its own queue.
    let second = system.whereis(&address("pool/1")).unwrap();
    assert_eq!(text(&second, "who").await.unwrap(), "pool/1");
    let health = pool.health(Duration::from_secs(60)).await.unwrap();
    assert_eq!(health, ChildHealth::Degraded("after a while".to_owned()));
}

#[tokio::test]
async fn a_replica_that_dies_fails_its_message_alone_and_is_restarted_by_itself() {
    let system = system(&engine()).await;
    let mut events = system.events();
    let outside = Outside::new(1);
    let pool = system.spawn(servers("pool", 2, &outside)).await.unwrap();
    let holding: Vec<_> = (0..2)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { text(&pool, "hold").await })
        })
        .collect();
    outside.held.notified().await;
    while outside.handled.load(Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
    // Both are busy; this one waits for whoever is free first.
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { text(&pool, "who").await }
    });
    while pool.status().queued < 3 {
        tokio::task::yield_now().await;
    }
    let (first, second) = (
        system.whereis(&address("pool/0")).unwrap(),
        system.whereis(&address("pool/1")).unwrap(),
    );
    let monitor = first.monitor();
    first.kill();
    let down = monitor.await;
    assert_eq!((down.address.as_str(), down.incarnation), ("pool/0", 1));
    started(&mut events, &address("pool/0"), 1).await;
    assert_eq!(waiting.await.unwrap().unwrap(), "pool/0");
    assert_eq!(
        (first.status().incarnation, second.status().incarnation),
        (2, 1)
    );
    outside.open.notify_one();
    let ends: Vec<_> = futures_join(holding).await;
    let failed: Vec<_> = ends.iter().filter_map(|end| end.as_ref().err()).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].kind(), "callee-died");
    assert_eq!(pool.status().queued, 0);
}

pub(crate) async fn futures_join<T>(tasks: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    all
}

/// A replica that is woken for a message and killed before it takes it leaves it to another that is idle, also
/// when it never comes back.
#[tokio::test]
async fn a_message_of_a_replica_that_never_comes_back_is_handled_by_another() {
    let system = system(&engine()).await;
    let outside = Outside::new(1);
    let pool = ChildSpec {
        restart: RestartPolicy::Temporary,
        ..servers("pool", 3, &outside)
    };
    let pool = system.spawn(pool).await.unwrap();
    for (at, left) in [("pool/0", 2), ("pool/1", 1)] {
        let replica = system.whereis(&address(at)).unwrap();
        // On one thread nothing runs in between: it is woken, and killed.
        pool.cast("who", ()).unwrap();
        replica.kill();
        replica.monitor().await;
        while pool.status().queued > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.replicas().len(), left);
    }
    let counters = pool.counters();
    assert_eq!((counters.casts, counters.casts_handled), (2, 2));
    // The last takes the shared name along, and whoever watched the pool is told then.
    let monitor = pool.monitor();
    system.whereis(&address("pool/2")).unwrap().kill();
    assert_eq!(monitor.await.reason.kind(), "killed");
    assert!(system.names().is_empty());
    assert_eq!(text(&pool, "who").await.unwrap_err().kind(), "stopped");
}

#[tokio::test]
async fn with_all_replicas_dead_the_queue_waits_for_their_successors() {
    let system = system(&engine()).await;
    let outside = Outside::new(1);
    let pool = system.spawn(servers("pool", 3, &outside)).await.unwrap();
    for round in 0..20_u32 {
        pool.kill();
        let calls: Vec<_> = (0..10_u32)
            .map(|n| {
                let pool = pool.clone();
                tokio::spawn(async move { pool.call("work", (n,)).await.unwrap() })
            })
            .collect();
        for (n, results) in (0_u32..).zip(futures_join(calls).await) {
            assert_eq!(results, (n + 1,).into_args());
        }
        assert_eq!(pool.counters().calls, u64::from((round + 1) * 10));
    }
    assert_eq!(pool.status().queued, 0);
}

#[tokio::test]
async fn replicas_are_stopped_last_first_and_the_queue_closes_with_the_last() {
    let system = system(&engine()).await;
    let mut events = system.events();
    let outside = Outside::new(1);
    let pool = system.spawn(servers("pool", 3, &outside)).await.unwrap();
    let report = system
        .supervisor()
        .stop_child(&address("pool"))
        .await
        .unwrap();
    let stopped: Vec<_> = report
        .stopped
        .iter()
        .map(|address| address.as_str())
        .collect();
    assert_eq!(stopped, ["pool/2", "pool/1", "pool/0"]);
    let mut gone = Vec::new();
    while gone.len() < 4 {
        if let Event::Gone { address, .. } = events.recv().await.unwrap() {
            gone.push(address.to_string());
        }
    }
    assert_eq!(gone, ["pool/2", "pool/1", "pool/0", "pool"]);
    assert_eq!(text(&pool, "who").await.unwrap_err().kind(), "stopped");
    // The names can be taken again.
    system.spawn(servers("pool", 2, &outside)).await.unwrap();
    let report = system.shutdown().await;
    assert_eq!(report.stopped.len(), 2);
}

#[tokio::test]
async fn a_killed_supervisor_brings_the_replicas_back_to_their_queue() {
    let system = system(&engine()).await;
    let outside = Outside::new(1);
    let spec = SupervisorSpec::new(address("app")).with(servers("pool", 2, &outside));
    let app = system.supervise(spec).await.unwrap();
    let pool = system.whereis(&address("pool")).unwrap();
    let monitor = system.whereis(&address("pool/1")).unwrap().monitor();
    app.kill();
    monitor.await;
    assert!(text(&pool, "who").await.unwrap().starts_with("pool/"));
}

/// A wait is refused only if every replica waits for the caller; with one free there is somebody to answer.
#[tokio::test]
async fn a_circular_wait_is_refused_once_every_replica_is_in_it() {
    let system = system(&engine()).await;
    let outside = Outside::new(1);
    // `ask` calls the pool itself, and that call does the same: each takes one more replica.
    let pool = system.spawn(servers("pool", 3, &outside)).await.unwrap();
    let why = pool
        .call("ask", ("pool", "pool"))
        .await
        .unwrap_err()
        .to_string();
    assert!(why.contains("wait for ever"), "{why}");
    assert_eq!(outside.handled.load(Ordering::Relaxed), 3);
    // By way of another actor. A replica that is free helps nobody who waits for one that is not: pool → other →
    // pool → other is refused, with the third replica idle.
    let single = Outside::new(1);
    system.spawn(servers("other", 1, &single)).await.unwrap();
    let why = pool
        .call("ask", ("other", "pool"))
        .await
        .unwrap_err()
        .to_string();
    assert!(why.contains("wait for ever"), "{why}");
    assert_eq!(outside.handled.load(Ordering::Relaxed), 5);
    assert_eq!(pool.status().queued, 0);
    // Everything is usable afterwards.
    assert!(text(&pool, "who").await.is_ok());
}

#[tokio::test]
async fn a_spec_that_cannot_be_is_refused_whole() {
    let system = system(&engine()).await;
    let outside = Outside::new(1);
    for replicas in [0, REPLICAS_MAX + 1] {
        let refused = system.spawn(servers("pool", replicas, &outside)).await;
        assert!(
            matches!(refused, Err(StartError::Replicas { .. })),
            "{refused:?}"
        );
    }
    system.spawn(servers("pool/1", 1, &outside)).await.unwrap();
    match system.spawn(servers("pool", 2, &outside)).await {
        Err(StartError::AddressTaken(taken)) => assert_eq!(taken, address("pool/1")),
        other => panic!("{other:?}"),
    }
    let long = "a".repeat(254);
    let refused = system.spawn(servers(&long, 2, &outside)).await;
    assert!(
        matches!(refused, Err(StartError::Address(_))),
        "{refused:?}"
    );
    assert_eq!(system.names(), [address("pool/1")]);
}

#[tokio::test]
async fn components_are_replicated_and_linked_to_like_one() {
    for short_road in [true, false] {
        let engine = engine();
        let system = system_with(&engine, short_road).await;
        let workers = ChildSpec {
            replicas: 3,
            ..ChildSpec::component(address("worker"), template(&engine, WORKER, &[]))
        };
        let workers = system.spawn(workers).await.unwrap();
        let relay =
            ChildSpec::component(address("relay"), template(&engine, RELAY, &["test:t/work"]))
                .link(Link::new("test:t/work", address("worker")));
        let relay = system.spawn(relay).await.unwrap();
        for n in 0..100_u32 {
            let results = relay.call("work", (n,)).await.unwrap();
            assert_eq!(results, (n + 1,).into_args());
        }
        assert_eq!(workers.counters().replies, 100);
        // A guest's trap is one replica's; the next call finds another.
        let why = workers.call("trap", ()).await.unwrap_err();
        assert_eq!(why.kind(), "callee-died");
        assert_eq!(
            relay.call("work", (1_u32,)).await.unwrap(),
            (2_u32,).into_args()
        );
        assert_eq!(workers.status().queued, 0);
    }
}

/// A resource lives in one replica: whoever holds a handle to it reaches that one, by the name they share.
#[tokio::test]
async fn a_call_on_a_resource_goes_to_the_replica_that_owns_it() {
    const COUNTERS: &str = include_str!("../../../airssys-wasm/tests/it/resources/counters.wat");
    for short_road in [true, false] {
        let engine = engine();
        let system = system_with(&engine, short_road).await;
        let spec = ChildSpec {
            replicas: 3,
            ..ChildSpec::component(address("pool"), template(&engine, COUNTERS, &[]))
        };
        let pool = system.spawn(spec).await.unwrap();
        let mut counters = Vec::new();
        for (at, replica) in (0_u32..).zip(pool.replicas()) {
            let made = replica.call("[constructor]counter", (at * 100,)).await;
            let (counter,) = <(ResourceHandle,)>::from_args(made.unwrap()).unwrap();
            counters.push(counter);
        }
        for round in 1..=5_u32 {
            for (at, counter) in (0_u32..).zip(&counters) {
                let args = (counter.lend(), 1_u32);
                let sum = pool.call("[method]counter.add", args).await.unwrap();
                assert_eq!(sum, (at * 100 + round,).into_args());
            }
        }
        assert_eq!(pool.status().resources, 3);
        drop(counters);
        for replica in pool.replicas() {
            let live = replica.call("live", ()).await.unwrap();
            assert_eq!(live, (0_u32,).into_args());
        }
        assert_eq!(pool.status().resources, 0);
    }
}

/// Callers, kills of single replicas and of all, on both roads: every call ends once, every cast is handled or
/// a dead letter, and nothing is left.
#[test]
fn storm() {
    for short_road in [true, false] {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(storm_of(short_road));
    }
}

const CALLERS: u32 = 16;
const CALLS_EACH: u32 = 2_000;

async fn storm_of(short_road: bool) {
    let engine = engine();
    let system = system_with(&engine, short_road).await;
    let spec = ChildSpec {
        replicas: 4,
        mailbox: MailboxConfig {
            depth_max: 64,
            ..MailboxConfig::default()
        },
        ..ChildSpec::component(address("pool"), template(&engine, SEQUENCER, &[]))
    };
    let pool = system.spawn(spec).await.unwrap();
    let put = pool.function("put").unwrap();
    let calling: Vec<_> = (0..CALLERS)
        .map(|sender| {
            let put = put.clone();
            tokio::spawn(async move {
                let (mut oks, mut errors, mut casts) = (0_u64, 0_u64, 0_u64);
                for n in 0..CALLS_EACH {
                    match put.call_with((sender, n), patient()).await {
                        Ok(_) => oks += 1,
                        Err(_) => errors += 1,
                    }
                    if put.cast((sender, n)).is_ok() {
                        casts += 1;
                    }
                }
                (oks, errors, casts)
            })
        })
        .collect();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut kills = 0;
    while pool.counters().calls < u64::from(CALLERS * CALLS_EACH) * 9 / 10 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        match random % 9 {
            0 => pool.kill(),
            n if n < 5 => {
                let replica = pool.replicas().into_iter().nth(n as usize - 1);
                replica.unwrap().kill();
            }
            _ => {}
        }
        kills += 1;
        let until = pool.counters().calls + 50;
        while pool.counters().calls < until && !calling.iter().all(|task| task.is_finished()) {
            tokio::task::yield_now().await;
        }
    }
    assert!(kills > 10);
    let (mut oks, mut errors, mut casts) = (0, 0, 0);
    for ends in futures_join(calling).await {
        oks += ends.0;
        errors += ends.1;
        casts += ends.2;
    }
    while pool.status().queued > 0 {
        tokio::task::yield_now().await;
    }
    let counters = pool.counters();
    assert_eq!(oks + errors, u64::from(CALLERS * CALLS_EACH));
    assert_eq!(counters.calls, oks + errors);
    assert_eq!((counters.replies, counters.call_errors), (oks, errors));
    assert_eq!(counters.casts, casts);
    assert_eq!(
        counters.casts,
        counters.casts_handled + counters.dead_letters
    );
    assert_eq!(pool.replicas().len(), 4);
    settled(&system).await;
}

/// Whatever was killed last is back, and answers.
async fn settled(system: &System) {
    for n in 0..4 {
        let replica = system.whereis(&address(&format!("pool/{n}"))).unwrap();
        replica.call("put", (0_u32, 0_u32)).await.unwrap();
    }
}
