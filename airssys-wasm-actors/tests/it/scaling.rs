//! The number of replicas changes while they run: nothing is lost, doubled or failed by it.

mod late;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use airssys_wasm::{Engine, IntoArgs};
use airssys_wasm_actors::{
    ActorRef, ActorState, ChildSpec, Counters, DeadLetterFilter, Event, Link, MailboxConfig,
    Passivation, REPLICAS_MAX, RestartIntensity, ScaleError, ScaleOptions, Scaled, StartError,
    SupervisorSpec, System, SystemConfig, UpgradeError, UpgradeOptions,
};
use tokio::task::JoinHandle;

use crate::guests::{RELAY, SEQUENCER, WORKER, address, engine, system, system_with, template};
use crate::replicas::{Outside, futures_join, patient, servers, text};
use crate::upgrades::{Load, V1, V2, number};

async fn scale(system: &System, name: &str, replicas: u32) -> Result<Scaled, ScaleError> {
    let options = ScaleOptions::default();
    system.scale(&address(name), replicas, options).await
}

fn worker(engine: &Engine) -> ChildSpec {
    ChildSpec::component(address("pool"), template(engine, WORKER, &[]))
}

/// The addresses below `pool`.
fn below(system: &System) -> Vec<String> {
    let names = system.names().into_iter().map(|name| name.to_string());
    names.filter(|name| name.starts_with("pool/")).collect()
}

async fn balanced(system: &System, actor: &ActorRef) {
    actor.emptied().await;
    // A message has given its room back just before it is counted.
    let ends = |of: &Counters| of.casts_handled + of.dead_letters;
    while ends(&system.counters()) < system.counters().casts {
        tokio::task::yield_now().await;
    }
    let counters = system.counters();
    assert_eq!(ends(&counters), counters.casts);
    assert_eq!(
        counters.calls,
        counters.replies + counters.call_errors + counters.calls_abandoned
    );
}

/// Calls and casts by a link, by tasks and by an actor, while one becomes several and one again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_becomes_several_and_one_again_under_load() {
    for short_road in [true, false] {
        let engine = engine();
        let system = system_with(&engine, short_road).await;
        let pool = system.spawn(worker(&engine)).await.unwrap();
        let relay =
            ChildSpec::component(address("relay"), template(&engine, RELAY, &["test:t/work"]))
                .link(Link::new("test:t/work", address("pool")));
        let relay = system.spawn(relay).await.unwrap();
        let mut down = std::pin::pin!(pool.monitor());
        let stop = Arc::<AtomicBool>::default();
        let loads: Vec<JoinHandle<(u64, u64)>> = [&pool, &pool, &pool, &relay]
            .into_iter()
            .map(|target| {
                let (work, stop) = (target.function("work").unwrap(), Arc::clone(&stop));
                tokio::spawn(async move {
                    let (mut calls, mut casts) = (0, 0);
                    while !stop.load(Ordering::Acquire) {
                        let reply = work.call_with((7_u32,), patient()).await.unwrap();
                        assert_eq!(reply, (8_u32,).into_args());
                        calls += 1;
                        casts += u64::from(work.cast((1_u32,)).is_ok());
                        tokio::task::yield_now().await;
                    }
                    (calls, casts)
                })
            })
            .collect();
        let mut from = 1;
        for to in [4, 2, 1, 8, 3, 1, 2, 5, 1, 16, 1] {
            let before = pool.counters().calls;
            let scaled = scale(&system, "pool", to).await.unwrap();
            assert_eq!(scaled, Scaled { from, to });
            assert_eq!(system.replicas(&address("pool")), Some(to));
            assert_eq!(below(&system).len(), to as usize);
            assert_eq!(engine.instances(), u64::from(to) + 1);
            assert_eq!(pool.replicas().len(), to as usize);
            while pool.counters().calls < before + 100 {
                tokio::task::yield_now().await;
            }
            from = to;
        }
        assert_eq!(below(&system), ["pool/0"]);
        stop.store(true, Ordering::Release);
        let (mut calls, mut casts) = (0, 0);
        for (one, another) in futures_join(loads).await {
            (calls, casts) = (calls + one, casts + another);
        }
        assert!(calls > 100 && casts > 100);
        relay.emptied().await;
        balanced(&system, &pool).await;
        let counters = system.counters();
        assert_eq!((counters.call_errors, counters.dead_letters), (0, 0));
        assert_eq!((counters.restarts, counters.calls_abandoned), (0, 0));
        // Nobody who watches the name has heard of an end, and it still ends.
        assert!(futures_util::poll!(&mut down).is_pending());
        system
            .supervisor()
            .stop_child(pool.address())
            .await
            .unwrap();
        assert_eq!(down.await.address, address("pool"));
        assert_eq!(system.names(), [address("relay")]);
    }
}

/// An instance that has a message in hand finishes it before it goes, whoever it was.
#[tokio::test(start_paused = true)]
async fn a_message_in_hand_is_finished_by_who_has_it() {
    let system = system(&engine()).await;
    let outside = Outside::new(1);
    let pool = system.spawn(servers("pool", 1, &outside)).await.unwrap();
    let held = |pool: &ActorRef| {
        let pool = pool.clone();
        tokio::spawn(async move { text(&pool, "hold").await })
    };
    let first = held(&pool);
    outside.held.notified().await;
    let scaling = {
        let system = system.clone();
        tokio::spawn(async move { scale(&system, "pool", 2).await })
    };
    // The others are up and take what comes, while the one that was alone is still at it.
    while !below(&system).iter().any(|name| name == "pool/1") {
        tokio::task::yield_now().await;
    }
    assert!(text(&pool, "who").await.unwrap().starts_with("pool/"));
    assert!(!first.is_finished() && !scaling.is_finished());
    assert_eq!(pool.status().state, ActorState::Running);
    outside.open.notify_one();
    assert_eq!(first.await.unwrap().unwrap(), "pool");
    assert_eq!(scaling.await.unwrap().unwrap(), Scaled { from: 1, to: 2 });

    // The same of a replica that goes; what was sent to it alone it handles, too.
    let last = system.whereis(&address("pool/1")).unwrap();
    let second = held(&last);
    outside.held.notified().await;
    let own = {
        let last = last.clone();
        tokio::spawn(async move { text(&last, "who").await })
    };
    while last.status().queued < 2 {
        tokio::task::yield_now().await;
    }
    let scaling = {
        let system = system.clone();
        tokio::spawn(async move { scale(&system, "pool", 1).await })
    };
    for _ in 0..20 {
        assert_eq!(text(&pool, "who").await.unwrap(), "pool/0");
    }
    assert!(!scaling.is_finished());
    outside.open.notify_one();
    assert_eq!(second.await.unwrap().unwrap(), "pool/1");
    assert_eq!(own.await.unwrap().unwrap(), "pool/1");
    assert_eq!(scaling.await.unwrap().unwrap(), Scaled { from: 2, to: 1 });
    assert_eq!(text(&last, "who").await.unwrap_err().kind(), "stopped");
    assert_eq!(below(&system), ["pool/0"]);
    balanced(&system, &pool).await;
}

/// What is stopped stays so, whoever was still about to go.
#[tokio::test(start_paused = true)]
async fn one_that_is_stopped_while_it_is_scaled_is_stopped() {
    let system = system(&engine()).await;
    let outside = Outside::new(1);
    let app = SupervisorSpec::new(address("app")).with(servers("pool", 1, &outside));
    let app = system.supervise(app).await.unwrap();
    let pool = system.whereis(&address("pool")).unwrap();
    let held = {
        let pool = pool.clone();
        tokio::spawn(async move { text(&pool, "hold").await })
    };
    outside.held.notified().await;
    let scaling = {
        let system = system.clone();
        tokio::spawn(async move { scale(&system, "pool", 2).await })
    };
    while !below(&system).iter().any(|name| name == "pool/1") {
        tokio::task::yield_now().await;
    }
    text(&pool, "who").await.unwrap();
    app.stop_child(&address("pool")).await.unwrap();
    held.await.unwrap().unwrap_err();
    // Whoever scales goes on to the end, and opens nothing again.
    let _ = scaling.await.unwrap();
    assert_eq!(text(&pool, "who").await.unwrap_err().kind(), "stopped");
    assert!(pool.cast("who", ()).is_err());
    assert_eq!(system.counters().dead_letters, 0);
    system.shutdown().await;
}

/// When its time is up, one that goes is stopped with its message; what it has not begun is handled by the others.
#[tokio::test(start_paused = true)]
async fn what_one_that_goes_has_not_begun_is_handled_by_the_others() {
    let system = system(&engine()).await;
    let outside = Outside::new(1);
    let pool = system.spawn(servers("pool", 3, &outside)).await.unwrap();
    let last = system.whereis(&address("pool/2")).unwrap();
    let ask = |function: &'static str| {
        let last = last.clone();
        tokio::spawn(async move { text(&last, function).await })
    };
    let held = ask("hold");
    outside.held.notified().await;
    let waiting: Vec<_> = (0..5).map(|_| ask("who")).collect();
    while last.status().queued < 6 {
        tokio::task::yield_now().await;
    }
    let options = ScaleOptions {
        wait_max: Duration::from_secs(10),
        ..ScaleOptions::default()
    };
    let scaled = system.scale(pool.address(), 2, options).await.unwrap();
    assert_eq!(scaled, Scaled { from: 3, to: 2 });
    assert_eq!(held.await.unwrap().unwrap_err().kind(), "callee-died");
    for answer in futures_join(waiting).await {
        let who = answer.unwrap();
        assert!(who == "pool/0" || who == "pool/1", "{who}");
    }
    balanced(&system, &pool).await;
    assert_eq!(last.status().queued, 0);
}

/// A wait beyond all clocks is far, not an overflow.
#[tokio::test]
async fn what_goes_may_have_all_the_time_there_is() {
    let system = system(&engine()).await;
    let outside = Outside::new(1);
    let pool = system.spawn(servers("pool", 3, &outside)).await.unwrap();
    let options = ScaleOptions {
        wait_max: Duration::MAX,
        ..ScaleOptions::default()
    };
    let scaled = system.scale(pool.address(), 2, options).await.unwrap();
    assert_eq!(scaled, Scaled { from: 3, to: 2 });
    balanced(&system, &pool).await;
}

/// Callers and kills, of one replica or of all, while the number changes: what fails is what was in the hands of who was
/// killed, each message ends once, and the number is in the end what was asked last.
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

fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

async fn kill_at_random(pool: ActorRef, stop: Arc<AtomicBool>) {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    while !stop.load(Ordering::Acquire) {
        let chosen = next(&mut random);
        match pool.replicas().get(usize::try_from(chosen % 8).unwrap()) {
            Some(replica) => replica.kill(),
            None if chosen.is_multiple_of(5) => pool.kill(),
            None => {}
        }
        let until = pool.counters().calls + chosen % 20;
        while pool.counters().calls < until && !stop.load(Ordering::Acquire) {
            tokio::task::yield_now().await;
        }
    }
}

async fn storm_of(short_road: bool) {
    let engine = engine();
    let system = system_with(&engine, short_road).await;
    let spec = ChildSpec {
        mailbox: MailboxConfig {
            depth_max: 64,
            ..MailboxConfig::default()
        },
        ..ChildSpec::component(address("pool"), template(&engine, SEQUENCER, &[]))
    };
    let pool = system.spawn(spec).await.unwrap();
    let put = pool.function("put").unwrap();
    let stop = Arc::<AtomicBool>::default();
    let calling: Vec<_> = (0..12_u32)
        .map(|sender| {
            let (put, stop) = (put.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut oks, mut errors, mut casts) = (0_u64, BTreeSet::new(), 0_u64);
                let mut failed = 0_u64;
                for n in 0_u32.. {
                    if stop.load(Ordering::Acquire) {
                        break;
                    }
                    match put.call_with((sender, n), patient()).await {
                        Ok(_) => oks += 1,
                        Err(why) => {
                            failed += 1;
                            errors.insert(why.kind());
                        }
                    }
                    casts += u64::from(put.cast((sender, n)).is_ok());
                    tokio::task::yield_now().await;
                }
                (oks, failed, errors, casts)
            })
        })
        .collect();
    let killing = tokio::spawn(kill_at_random(pool.clone(), Arc::clone(&stop)));
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut from = 1;
    for _ in 0..60 {
        let to = u32::try_from(next(&mut random) % 6).unwrap() + 1;
        match scale(&system, "pool", to).await {
            Ok(scaled) => {
                assert_eq!(scaled, Scaled { from, to });
                from = to;
            }
            // A kill has hit it in its start.
            Err(ScaleError::NotStarted { .. }) => {}
            Err(why) => panic!("{why}"),
        }
        assert_eq!(system.replicas(&address("pool")), Some(from));
        let until = pool.counters().calls + 50;
        while pool.counters().calls < until {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Release);
    killing.await.unwrap();
    let (mut oks, mut errors, mut casts) = (0, 0, 0);
    for (ok, failed, kinds, cast) in futures_join(calling).await {
        assert!(
            kinds
                .iter()
                .all(|kind| ["callee-died", "mailbox-full"].contains(kind)),
            "{kinds:?}"
        );
        (oks, errors, casts) = (oks + ok, errors + failed, casts + cast);
    }
    balanced(&system, &pool).await;
    let counters = system.counters();
    assert!(oks > 1_000);
    assert_eq!((counters.replies, counters.call_errors), (oks, errors));
    assert_eq!(counters.casts_handled + counters.dead_letters, casts);
    let all = system.dead_letters().list(&DeadLetterFilter::default());
    assert!(
        all.iter().all(|letter| letter.why.kind() == "callee-died"),
        "{all:?}"
    );
    // Whoever was killed last is back, and each answers.
    let last = scale(&system, "pool", 3).await.unwrap();
    assert_eq!(last.to, 3);
    let mut names: Vec<_> = below(&system);
    names.sort();
    assert_eq!(names, ["pool/0", "pool/1", "pool/2"]);
    for name in names {
        let replica = system.whereis(&address(&name)).unwrap();
        replica.call("put", (0_u32, 0_u32)).await.unwrap();
    }
}

/// A supervisor that is killed while it scales is made again with one number, and what was queued is handled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_killed_at_any_moment_has_one_number_of_replicas() {
    let engine = engine();
    let often = RestartIntensity {
        max: u32::MAX,
        within: Duration::from_secs(1),
    };
    let config = SystemConfig {
        root_intensity: often,
        events_capacity: 1 << 16,
        ..SystemConfig::new(engine.clone())
    };
    let system = System::start(config).await.unwrap();
    for round in 0..60_u32 {
        let (before, after) = [(1, 3), (4, 2), (2, 5)][round as usize % 3];
        let child = ChildSpec {
            replicas: before,
            ..worker(&engine)
        };
        let spec = SupervisorSpec {
            intensity: often,
            ..SupervisorSpec::new(address("app")).with(child)
        };
        let app = system.supervise(spec).await.unwrap();
        let pool = system.whereis(&address("pool")).unwrap();
        let mut events = system.events();
        let scaling = {
            let system = system.clone();
            tokio::spawn(async move { scale(&system, "pool", after).await })
        };
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        app.kill();
        loop {
            match events.recv().await {
                Some(Event::SupervisorStarted { incarnation: 2, .. }) => break,
                Some(_) => {}
                None => panic!("the system is gone"),
            }
        }
        let scaled = scaling.await.unwrap();
        let now = system.replicas(&address("pool")).unwrap();
        match scaled {
            Ok(_) => assert_eq!(now, after, "{round}"),
            Err(ScaleError::SupervisorEnded(_)) => assert!(now == before || now == after),
            Err(why) => panic!("{round}: {why}"),
        }
        let alone = now == 1 && below(&system).is_empty();
        assert!(
            alone || below(&system).len() == now as usize,
            "{:?}",
            below(&system)
        );
        pool.call("work", (1_u32,)).await.unwrap();
        // And it can be scaled again.
        assert_eq!(scale(&system, "pool", 6).await.unwrap().from, now);
        pool.call("work", (1_u32,)).await.unwrap();
        app.stop().await;
        assert_eq!(below(&system), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_replica_that_does_not_start_leaves_as_many_as_there_were() {
    let engine = engine();
    let system = system(&engine).await;
    let outside = Outside::new(1);
    let pool = system.spawn(servers("pool", 2, &outside)).await.unwrap();
    system.spawn(servers("pool/3", 1, &outside)).await.unwrap();
    match scale(&system, "pool", 5).await {
        Err(ScaleError::NotStarted { why, .. }) => match *why {
            StartError::AddressTaken(taken) => assert_eq!(taken, address("pool/3")),
            other => panic!("{other}"),
        },
        other => panic!("{other:?}"),
    }
    assert_eq!(below(&system), ["pool/0", "pool/1", "pool/3"]);
    // More instances than there is room for, of one that was alone: it never noticed.
    let one = ChildSpec::component(address("one"), template(&engine, WORKER, &[]));
    let one = system.spawn(one).await.unwrap();
    let load = tokio::spawn({
        let one = one.clone();
        async move {
            for n in 0..500_u32 {
                one.call("work", (n,)).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let fill = ChildSpec {
        replicas: 60,
        ..ChildSpec::component(address("fill"), template(&engine, WORKER, &[]))
    };
    system.spawn(fill).await.unwrap();
    let refused = scale(&system, "one", 50).await.unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, ScaleError::NotStarted { .. }), "{text}");
    assert!(text.contains("as many replicas as before"), "{text}");
    load.await.unwrap();
    assert_eq!(system.replicas(&address("one")), Some(1));
    assert_eq!(one.replicas().len(), 0);
    assert_eq!(engine.instances(), 61);
    assert_eq!(one.counters().call_errors, 0);
    one.call("work", (1_u32,)).await.unwrap();
    assert_eq!(scale(&system, "one", 2).await.unwrap().from, 1);
    assert_eq!(system.replicas(&address("pool")), Some(2));
    drop(pool);
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_what_to_do() {
    const COUNTERS: &str = include_str!("../../../airssys-wasm/tests/it/resources/counters.wat");
    let engine = engine();
    let system = system(&engine).await;
    let spawn = async |name: &str, wat: &str, change: fn(ChildSpec) -> ChildSpec| {
        let spec = ChildSpec::component(address(name), template(&engine, wat, &[]));
        system.spawn(change(spec)).await.unwrap();
    };
    let lazily = |spec: ChildSpec| {
        spec.passivate(Passivation {
            stateless: true,
            ..Passivation::new(Duration::from_secs(9))
        })
    };
    spawn("pool", WORKER, |spec| ChildSpec {
        replicas: 2,
        ..spec
    })
    .await;
    spawn("lazy", WORKER, lazily).await;
    spawn("owner", COUNTERS, |spec| spec).await;
    spawn("state", &V1.stateful(), |spec| spec).await;
    spawn("states", &V1.stateful(), |spec| ChildSpec {
        replicas: 2,
        ..spec
    })
    .await;
    let app = SupervisorSpec::new(address("app"));
    let app = app.with(ChildSpec::component(
        address("stopped"),
        template(&engine, WORKER, &[]),
    ));
    let app = system.supervise(app).await.unwrap();
    app.terminate_child(&address("stopped")).await.unwrap();
    for (name, replicas, text) in [
        ("nobody", 2, "no actor `nobody`"),
        ("app", 2, "no actor `app`"),
        ("pool/1", 2, "scale `pool`"),
        ("pool", 0, "use 1 to 64"),
        ("pool", REPLICAS_MAX + 1, "use 1 to 64"),
        ("stopped", 2, "start it first"),
        ("lazy", 2, "without `passivate-after`"),
        ("owner", 2, "owns resources"),
        ("state", 2, "`airssys:actor/state`"),
        ("states", 1, "`airssys:actor/state`"),
    ] {
        let why = scale(&system, name, replicas)
            .await
            .unwrap_err()
            .to_string();
        assert!(why.contains(text), "{name} {replicas}: {why}");
    }
    // More of what has been declared to be several lose nothing; and whoever says so discards what is lost.
    assert_eq!(scale(&system, "states", 3).await.unwrap().to, 3);
    let discard = ScaleOptions {
        discard_state: true,
        ..ScaleOptions::default()
    };
    let scaled = system.scale(&address("state"), 2, discard).await.unwrap();
    assert_eq!(scaled, Scaled { from: 1, to: 2 });
    // As many as there are is no change.
    assert_eq!(scale(&system, "owner", 1).await.unwrap().from, 1);
}

/// Revisions and numbers change one after the other: a replica that comes later is of the revision that serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scaling_and_upgrading_take_turns() {
    let engine = engine();
    let system = system(&engine).await;
    let spec = |wat: &str, replicas| ChildSpec {
        replicas,
        ..ChildSpec::component(address("pool"), template(&engine, wat, &[]))
    };
    let pool = system.spawn(spec(&V1.stateless(), 1)).await.unwrap();
    let load = Load::start(&pool, 4);
    let options = UpgradeOptions::default();
    let stale = system.upgrade(spec(&V2.stateless(), 1), options).unwrap();
    scale(&system, "pool", 3).await.unwrap();
    match stale.switch().await {
        Err(UpgradeError::Replicas { now: 3, new: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(number(&pool, "version").await, 1);
    let mut upgrade = system.upgrade(spec(&V2.stateless(), 3), options).unwrap();
    upgrade.warm().await.unwrap();
    let upgraded = upgrade.switch().await.unwrap();
    // It can still be taken back.
    let refused = scale(&system, "pool", 4).await.unwrap_err();
    assert!(matches!(refused, ScaleError::UnderWay(_)), "{refused}");
    upgraded.release().await;
    scale(&system, "pool", 6).await.unwrap();
    for replica in pool.replicas() {
        assert_eq!(number(&replica, "version").await, 2);
    }
    let upgrade = system.upgrade(spec(&V1.stateless(), 6), options).unwrap();
    let kept = upgrade.switch().await.unwrap();
    kept.roll_back().await.unwrap();
    scale(&system, "pool", 1).await.unwrap();
    assert_eq!(number(&pool, "version").await, 2);
    let (replies, errors, _) = load.end().await;
    assert!(replies > 0);
    assert_eq!(errors, 0);
}

/// Two at once: one of them is refused, and what was begun goes on when nobody waits for it.
#[tokio::test(start_paused = true)]
async fn one_at_a_time_and_to_the_end() {
    let system = system(&engine()).await;
    let outside = Outside::new(1);
    let pool = system.spawn(servers("pool", 2, &outside)).await.unwrap();
    let last = system.whereis(&address("pool/1")).unwrap();
    let held = tokio::spawn(async move { text(&last, "hold").await });
    outside.held.notified().await;
    let mut events = system.events();
    let options = ScaleOptions::default();
    let given_up = tokio::time::timeout(
        Duration::from_secs(1),
        system.scale(pool.address(), 1, options),
    );
    assert!(given_up.await.is_err());
    let refused = scale(&system, "pool", 3).await.unwrap_err();
    assert!(matches!(refused, ScaleError::UnderWay(_)), "{refused}");
    outside.open.notify_one();
    assert_eq!(held.await.unwrap().unwrap(), "pool/1");
    loop {
        match events.recv().await {
            Some(Event::Gone { address, .. }) if address.as_str() == "pool/1" => break,
            Some(Event::Scaled { address, from, to }) => {
                assert_eq!((address.as_str(), from, to), ("pool", 2, 1));
            }
            Some(_) => {}
            None => panic!("the system is gone"),
        }
    }
    while let Err(ScaleError::UnderWay(_)) = scale(&system, "pool", 2).await {
        tokio::task::yield_now().await;
    }
    assert_eq!(system.replicas(pool.address()), Some(2));
}
