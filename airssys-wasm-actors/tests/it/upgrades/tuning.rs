//! How an actor is supervised, changed before, between and after its upgrades: each stays where the other says nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use airssys_wasm::Configuration;
use airssys_wasm_actors::{
    ActorRef, AutoShutdown, Backoff, ChildInfo, ChildSpec, ConfigWay, Event, RestartPolicy,
    ScaleOptions, ShutdownPolicy, SupervisorSpec, System, UpgradeError, UpgradeOptions,
};
use tokio::task::JoinHandle;

use super::{V1, V2, number, spec};
use crate::guests::{address, engine, exited, started, system_with};

/// Each actor at `one`, as its supervisor knows it.
fn known(system: &System) -> Vec<ChildInfo> {
    let children = system.supervisor().which_children().into_iter();
    let at_one = |info: &ChildInfo| info.address.as_str().starts_with("one");
    children.filter(at_one).collect()
}

fn tuning(system: &System) -> (RestartPolicy, ShutdownPolicy) {
    let known = known(system);
    let all: Vec<_> = known
        .iter()
        .map(|one| (one.restart, one.shutdown))
        .collect();
    assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
    all[0]
}

fn seconds(n: u64) -> ShutdownPolicy {
    ShutdownPolicy::Timeout(Duration::from_secs(n))
}

/// It ends, and its supervisor does what it says by now.
async fn is_gone_with_its_end(system: &System, actor: &ActorRef) {
    let mut events = system.events();
    let before = actor.status().incarnation;
    actor.kill();
    exited(&mut events, actor.address()).await;
    while system.whereis(actor.address()).is_some() {
        assert_eq!(actor.status().incarnation, before, "it is started again");
        tokio::task::yield_now().await;
    }
}

/// Retunes again and again, and looks whether each order holds that is answered well.
fn tuner(system: &System, spec: &ChildSpec, stop: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let (system, spec, stop) = (system.clone(), spec.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let root = system.supervisor();
        let mut orders = 0;
        while !stop.load(Ordering::Acquire) {
            orders += 1;
            let tuned = spec.clone().shutdown_graceful(Duration::from_secs(orders));
            system.retune(tuned).unwrap();
            assert_eq!(tuning(&system).1, seconds(orders));
            // No more than the supervisor hears of.
            root.stop_child(&address("nobody")).await.unwrap_err();
        }
        orders
    })
}

#[tokio::test]
async fn what_is_retuned_after_an_upgrade_stays_when_that_is_taken_back() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let actor = system.spawn(spec(&engine, &V1.stateless())).await.unwrap();
    let before = tuning(&system);
    // The upgrade changes how it is stopped; what follows, when it is restarted.
    let next = spec(&engine, &V2.stateless()).shutdown_graceful(Duration::from_secs(7));
    let upgraded = {
        let upgrade = system.upgrade(next.clone(), UpgradeOptions::default());
        upgrade.unwrap().switch().await.unwrap()
    };
    assert_eq!(tuning(&system), (before.0, seconds(7)));
    system.retune(next.clone().restart_temporary()).unwrap();
    upgraded.roll_back().await.unwrap();
    assert_eq!(number(&actor, "version").await, 1);
    assert_eq!(tuning(&system), (RestartPolicy::Temporary, before.1));

    // What both have changed is the later one's.
    let next = next.restart_temporary();
    let upgraded = {
        let upgrade = system.upgrade(next.clone(), UpgradeOptions::default());
        upgrade.unwrap().switch().await.unwrap()
    };
    assert_eq!(tuning(&system), (RestartPolicy::Temporary, seconds(7)));
    let longer = next.shutdown_graceful(Duration::from_secs(9));
    system.retune(longer).unwrap();
    upgraded.roll_back().await.unwrap();
    assert_eq!(tuning(&system), (RestartPolicy::Temporary, seconds(9)));
    is_gone_with_its_end(&system, &actor).await;
    system.shutdown().await;
}

#[tokio::test]
async fn what_is_retuned_while_an_upgrade_is_prepared_stays() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let v1 = spec(&engine, &V1.stateless());
    let actor = system.spawn(v1.clone()).await.unwrap();
    let next = spec(&engine, &V2.stateless()).shutdown_graceful(Duration::from_secs(7));
    let mut upgrade = system.upgrade(next, UpgradeOptions::default()).unwrap();
    upgrade.warm().await.unwrap();
    system.retune(v1.restart_temporary()).unwrap();
    let upgraded = upgrade.switch().await.unwrap();
    assert_eq!(tuning(&system), (RestartPolicy::Temporary, seconds(7)));
    assert_eq!(number(&actor, "version").await, 2);
    upgraded.release().await;
    is_gone_with_its_end(&system, &actor).await;
    system.shutdown().await;
}

#[tokio::test]
async fn every_replica_is_retuned_by_the_name_they_share_and_by_no_other() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let three = ChildSpec {
        replicas: 3,
        ..spec(&engine, &V1.stateless())
    };
    system.spawn(three.clone()).await.unwrap();
    let of_one = ChildSpec {
        address: address("one/0"),
        ..three.clone()
    };
    for spec in [
        of_one,
        ChildSpec {
            address: address("two"),
            ..three.clone()
        },
    ] {
        let name = spec.address.clone();
        let refused = system.retune(spec.restart_temporary()).unwrap_err();
        assert!(matches!(refused, UpgradeError::NoSuchActor(who) if who == name));
    }
    assert_eq!(tuning(&system).0, RestartPolicy::Permanent);
    system.retune(three.restart_temporary()).unwrap();
    assert_eq!(known(&system).len(), 3);
    assert_eq!(tuning(&system).0, RestartPolicy::Temporary);
    system.shutdown().await;
}

/// What no start would take is no order either, and it is said in the same words.
#[tokio::test]
async fn what_no_child_is_started_with_is_refused_and_changes_nothing() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let v1 = spec(&engine, &V1.stateless());
    let actor = system.spawn(v1.clone()).await.unwrap();
    let before = tuning(&system);
    let steep = Backoff {
        factor: 0.5,
        ..Backoff::default()
    };
    let root = SupervisorSpec::new(system.supervisor().address().clone());
    for faulty in [
        v1.clone().significant(),
        v1.clone().restart_temporary().significant(),
        v1.clone().backoff(steep),
    ] {
        let faulty = faulty.shutdown_graceful(Duration::from_secs(7));
        let said = root.clone().with(faulty.clone()).check().unwrap_err();
        match system.retune(faulty.clone()).unwrap_err() {
            UpgradeError::Tuning { address, why } => {
                assert_eq!((&address, &why), (actor.address(), &said));
            }
            other => panic!("{other:?}"),
        }
        // No upgrade makes it so, either.
        let next = spec(&engine, &V2.stateless());
        let next = ChildSpec {
            restart: faulty.restart,
            significant: faulty.significant,
            backoff: faulty.backoff,
            ..next
        };
        let upgrade = system.upgrade(next, UpgradeOptions::default());
        match upgrade.unwrap_err() {
            UpgradeError::Tuning { address, why } => {
                assert_eq!((&address, why), (actor.address(), said.clone()));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(tuning(&system), before);
    }
    // Nor does its supervisor know anything of it.
    let mut events = system.events();
    actor.kill();
    started(&mut events, actor.address(), 1).await;
    system.retune(v1.restart_temporary()).unwrap();
    is_gone_with_its_end(&system, &actor).await;
    system.shutdown().await;
}

/// What fitted when it was prepared does not fit any more when it is switched.
#[tokio::test]
async fn an_upgrade_to_what_its_supervisor_asks_no_more_about_changes_nothing() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let v1 = spec(&engine, &V1.stateless()).restart_temporary();
    let above = SupervisorSpec {
        auto_shutdown: AutoShutdown::AnySignificant,
        ..SupervisorSpec::new(address("above"))
    };
    let above = system.supervise(above.with(v1)).await.unwrap();
    let next = spec(&engine, &V2.stateless()).restart_temporary();
    let upgrade = system.upgrade(next.significant(), UpgradeOptions::default());
    let mut upgrade = upgrade.unwrap();
    upgrade.warm().await.unwrap();
    above
        .change(SupervisorSpec::new(address("above")))
        .await
        .unwrap();
    let refused = upgrade.switch().await.unwrap_err();
    assert!(
        matches!(refused, UpgradeError::Tuning { .. }),
        "{refused:?}"
    );
    let actor = system.whereis(&address("one")).unwrap();
    assert_eq!(number(&actor, "version").await, 1);
    assert!(!above.which_children()[0].significant);
    system.shutdown().await;
}

/// It was told of an order when it was killed, and that is lost with it.
#[tokio::test]
async fn a_supervisor_that_is_killed_before_it_has_heard_hears_of_the_next_order() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let v1 = spec(&engine, &V1.stateless());
    let above = SupervisorSpec::new(address("above")).with(v1.clone());
    let above = system.supervise(above).await.unwrap();
    let mut events = system.events();
    let longer = v1.clone().shutdown_graceful(Duration::from_secs(9));
    system.retune(longer).unwrap();
    above.kill();
    while !matches!(events.recv().await, Some(Event::SupervisorStarted { .. })) {}
    assert_eq!(above.incarnation(), 2);
    assert_eq!(above.which_children()[0].shutdown, seconds(9));
    system.retune(v1.restart_temporary()).unwrap();
    let actor = system.whereis(&address("one")).unwrap();
    is_gone_with_its_end(&system, &actor).await;
    system.shutdown().await;
}

/// A replica that comes meanwhile is supervised like the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_supervised_alike_whenever_they_come() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let v1 = spec(&engine, &V1.stateless());
    let actor = system.spawn(v1.clone()).await.unwrap();
    let stop = Arc::<AtomicBool>::default();
    let tuner = tuner(&system, &v1, &stop);
    for round in 0..100 {
        let replicas = 2 + 6 * (round % 2);
        let options = ScaleOptions::default();
        system
            .scale(actor.address(), replicas, options)
            .await
            .unwrap();
    }
    stop.store(true, Ordering::Release);
    assert!(tuner.await.unwrap() > 0);
    system.shutdown().await;
}

/// Whoever has begun an upgrade may leave in the middle of it.
#[tokio::test]
async fn a_supervisor_knows_of_an_upgrade_that_nobody_waits_for() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let actor = system.spawn(spec(&engine, &V1.stateless())).await.unwrap();
    let next = spec(&engine, &V2.stateless()).restart_temporary();
    let upgrade = system.upgrade(next, UpgradeOptions::default()).unwrap();
    let mut events = system.events();
    {
        let upgraded =
            async { while !matches!(events.recv().await, Some(Event::Upgraded { .. })) {} };
        let switch = std::pin::pin!(upgrade.switch());
        tokio::select! {
            biased;
            () = upgraded => {}
            done = switch => panic!("it has been waited for: {done:?}"),
        }
    }
    assert_eq!(number(&actor, "version").await, 2);
    is_gone_with_its_end(&system, &actor).await;
    system.shutdown().await;
}

/// An order that is answered well holds, whatever takes the place of what runs at that moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_to_retune_holds_whatever_is_exchanged_meanwhile() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let v1 = spec(&engine, &V1.stateless());
    let actor = system.spawn(v1.clone()).await.unwrap();
    let stop = Arc::<AtomicBool>::default();
    let tuner = tuner(&system, &v1, &stop);
    for round in 0..200_u64 {
        let config = Configuration::new(round + 2, [("round", round.to_string())]);
        let options = UpgradeOptions::default();
        let done = system.reconfigure(actor.address(), config, options).await;
        assert_eq!(done.unwrap(), ConfigWay::Instances);
        assert_eq!(number(&actor, "version").await, 1);
    }
    stop.store(true, Ordering::Release);
    assert!(tuner.await.unwrap() > 0);
    system.shutdown().await;
}
