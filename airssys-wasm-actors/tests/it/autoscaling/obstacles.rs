//! What stands in the way: somebody else's turn, starts that fail, ends of all sorts, and what cannot be at all.

use airssys_wasm_actors::deployment::AutoscaleError;
use airssys_wasm_actors::{
    AutoscaleRefused, Passivation, RestartIntensity, ScaleError, SupervisorSpec, SystemConfig,
    UpgradeOptions,
};

use super::*;
use crate::guests::WORKER;
use crate::replicas::{Outside, servers};
use crate::upgrades::V1;

/// It is decided again each second, and done as soon as it can be: nothing has failed.
#[tokio::test(start_paused = true)]
async fn whoever_has_it_in_hand_is_waited_for() {
    let system = system(&engine()).await;
    let pool = pool(&system).await;
    let mut upgrade = system
        .upgrade(pool_spec(&system), UpgradeOptions::default())
        .unwrap();
    upgrade.warm().await.unwrap();
    let upgraded = upgrade.switch().await.unwrap();
    let kept = system
        .autoscale(pool.address(), config(3, 4), ScaleOptions::default())
        .unwrap();
    let mut events = system.events();
    stays(&mut events, &system, 1).await;
    let before = Instant::now();
    upgraded.release().await;
    assert_eq!(next(&mut events).await.1, 3);
    // Not later than if it had been the first try.
    assert!(before.elapsed() <= Duration::from_secs(2));
    drop(kept);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_start_is_told_and_tried_again_for_longer_and_longer() {
    let system = system(&engine()).await;
    let outside = Outside::new(1);
    let pool = pool(&system).await;
    // Its address is the second replica's.
    let squatter = servers("pool/1", 1, &outside);
    system.spawn(squatter).await.unwrap();
    let mut events = system.events();
    let kept = system
        .autoscale(pool.address(), config(2, 4), ScaleOptions::default())
        .unwrap();
    let (mut last, mut waits) = (Instant::now(), Vec::new());
    for _ in 0..6 {
        let (from, to, why) = refused(&mut events).await;
        assert_eq!((from, to), (1, 2));
        assert!(why.contains("pool/1"), "{why}");
        waits.push(last.elapsed().as_secs());
        last = Instant::now();
    }
    assert!(waits.is_sorted() && waits[5] >= 32, "{waits:?}");
    assert_eq!(system.replicas(pool.address()), Some(1));
    let status = pool.status().autoscale.unwrap();
    assert!(status.last.unwrap().starts_with("not from 1 to 2: queue 0"));
    pool.call("work", (1_u32,)).await.unwrap();
    system
        .supervisor()
        .stop_child(&address("pool/1"))
        .await
        .unwrap();
    assert_eq!(next(&mut events).await.1, 2);
    drop(kept);
}

/// No room for one more instance.
#[tokio::test(start_paused = true)]
async fn without_capacity_there_are_as_many_as_before() {
    let engine = engine();
    let system = system(&engine).await;
    let pool = pool_of(&system, 2).await;
    let fill = ChildSpec {
        replicas: 50,
        ..ChildSpec::component(address("fill"), template(&engine, WORKER, &[]))
    };
    system.spawn(fill).await.unwrap();
    let mut events = system.events();
    let kept = system
        .autoscale(pool.address(), config(60, 64), ScaleOptions::default())
        .unwrap();
    let (from, to, why) = refused(&mut events).await;
    assert_eq!((from, to, engine.instances()), (2, 60, 52), "{why}");
    let callers = Callers::start(&pool, 4);
    refused(&mut events).await;
    assert!(callers.end().await > 0);
    // There is room for as many.
    kept.set(config(3, 40)).unwrap();
    assert_eq!(next(&mut events).await.1, 3);
    assert_eq!(system.counters().call_errors, 0);
    drop(kept);
}

#[tokio::test(start_paused = true)]
async fn what_is_stopped_is_left_alone_and_followed_again_when_it_is_back() {
    let system = system(&engine()).await;
    let backend = ChildSpec::native(address("backend"), || Backend);
    system.spawn(backend).await.unwrap();
    let spec = SupervisorSpec::new(app()).with(pool_spec(&system));
    let app = system.supervise(spec).await.unwrap();
    let kept = system
        .autoscale(&address("pool"), config(2, 4), ScaleOptions::default())
        .unwrap();
    let mut events = system.events();
    app.terminate_child(&address("pool")).await.unwrap();
    let quiet = tokio::time::timeout(Duration::from_secs(300), next(&mut events));
    assert!(quiet.await.is_err());
    assert!(
        system
            .whereis(&address("pool"))
            .unwrap()
            .status()
            .state
            .as_str()
            == "down"
    );
    app.start_stopped_child(&address("pool")).await.unwrap();
    assert_eq!(next(&mut events).await.1, 2);
    // Gone for good, and another one of that name.
    app.stop_child(&address("pool")).await.unwrap();
    let quiet = tokio::time::timeout(Duration::from_secs(300), next(&mut events));
    assert!(quiet.await.is_err());
    system.spawn(pool_spec(&system)).await.unwrap();
    assert_eq!(next(&mut events).await.1, 2);
    drop(kept);
}

/// Whoever is killed and made again has as many as it had, and they go on to follow what they have to do.
#[tokio::test(start_paused = true)]
async fn a_killed_supervisor_does_no_harm() {
    let often = RestartIntensity {
        max: u32::MAX,
        within: Duration::from_secs(1),
    };
    let config_of = SystemConfig {
        root_intensity: often,
        events_capacity: 1 << 16,
        ..SystemConfig::new(engine())
    };
    let system = System::start(config_of).await.unwrap();
    let backend = ChildSpec::native(address("backend"), || Backend);
    system.spawn(backend).await.unwrap();
    let spec = SupervisorSpec {
        intensity: often,
        ..SupervisorSpec::new(app()).with(pool_spec(&system))
    };
    let app = system.supervise(spec).await.unwrap();
    let pool = system.whereis(&address("pool")).unwrap();
    let kept = system
        .autoscale(pool.address(), config(1, 4), ScaleOptions::default())
        .unwrap();
    let mut events = system.events();
    let work = pool.function("work").unwrap();
    for round in 0..20_u32 {
        let calls = (0..60).map(|_| {
            let work = work.clone();
            tokio::spawn(async move { work.call_with((7_u32,), patient()).await })
        });
        let calls: Vec<_> = calls.collect();
        // At any moment of a second.
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 57)).await;
        app.kill();
        for result in futures_join(calls).await {
            if let Err(why) = result {
                assert_eq!(why.kind(), "callee-died");
            }
        }
        let now = system.replicas(pool.address()).unwrap();
        assert!((1..=4).contains(&now), "{round}: {now}");
    }
    // What is begun comes to its end, and then there are as many as are needed.
    let idle = async { while next(&mut events).await.1 != 1 {} };
    let idle = tokio::time::timeout(Duration::from_secs(600), idle).await;
    assert!(idle.is_ok() || system.replicas(pool.address()) == Some(1));
    let callers = Callers::start(&pool, 60);
    while next(&mut events).await.1 != 4 {}
    callers.end().await;
    drop(kept);
    app.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_what_to_do() {
    const COUNTERS: &str = include_str!("../../../../airssys-wasm/tests/it/resources/counters.wat");
    let engine = engine();
    let system = system(&engine).await;
    let spawn = async |name: &str, wat: &str, change: fn(ChildSpec) -> ChildSpec| {
        let spec = ChildSpec::component(address(name), template(&engine, wat, &[]));
        system.spawn(change(spec)).await.unwrap();
    };
    let several = |spec: ChildSpec| ChildSpec {
        replicas: 2,
        ..spec
    };
    spawn("pool", WORKER, several).await;
    spawn("lazy", WORKER, |spec| {
        spec.passivate(Passivation {
            stateless: true,
            ..Passivation::new(Duration::from_secs(9))
        })
    })
    .await;
    spawn("owner", COUNTERS, |spec| spec).await;
    spawn("owners", COUNTERS, several).await;
    spawn("state", &V1.stateful(), several).await;
    let options = ScaleOptions::default();
    let kept = system
        .autoscale(&address("pool"), config(1, 4), options)
        .unwrap();
    for (name, (min, max), text) in [
        ("nobody", (1, 2), "no actor `nobody`"),
        ("system", (1, 2), "no actor `system`"),
        ("pool/1", (1, 2), "scale `pool`"),
        ("pool", (1, 4), "autoscaled already"),
        ("pool", (0, 4), "1 to 64"),
        ("pool", (5, 4), "1 to 64"),
        ("pool", (1, 65), "1 to 64"),
        ("lazy", (1, 2), "without `passivate-after`"),
        ("owner", (1, 2), "owns resources"),
        ("state", (1, 4), "`airssys:actor/state`"),
    ] {
        let refused = system.autoscale(&address(name), config(min, max), options);
        let why = refused.unwrap_err().to_string();
        assert!(why.contains(text), "{name} {min} {max}: {why}");
    }
    let aim = Autoscale {
        queue_per_replica: 0,
        ..config(1, 2)
    };
    assert!(matches!(
        system.autoscale(&address("pool"), aim, options),
        Err(AutoscaleRefused::Config(AutoscaleError::Aim))
    ));
    assert!(matches!(
        system.autoscale(&address("lazy"), config(1, 2), options),
        Err(AutoscaleRefused::Scale(ScaleError::Passivates(_)))
    ));
    // One that never is another number; several that own; and state that may be lost.
    drop(
        system
            .autoscale(&address("lazy"), config(1, 1), options)
            .unwrap(),
    );
    drop(
        system
            .autoscale(&address("owners"), config(1, 4), options)
            .unwrap(),
    );
    let discard = ScaleOptions {
        discard_state: true,
        ..options
    };
    drop(
        system
            .autoscale(&address("state"), config(1, 4), discard)
            .unwrap(),
    );
    drop(kept);
}
