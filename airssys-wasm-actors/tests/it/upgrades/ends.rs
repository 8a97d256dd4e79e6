//! Incarnations that end while they are upgraded, and after.

use std::time::Duration;

use airssys_wasm::{Engine, IntoArgs};
use airssys_wasm_actors::{
    ActorRef, Backoff, ChildSpec, Event, Link, NotReplaced, Passivation, StateTaken,
    SupervisorSpec, UpgradeError, UpgradeOptions, UpgradeState,
};
use tokio::time::Instant;

use super::revision::{Revision, V1, V2};
use super::{Load, add, number, number_of, spec};
use crate::guests::{RELAY, address, engine, exited, started, system_with, template};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_moment_leaves_one_revision_or_the_other() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let actor = system.spawn(spec(&engine, &V1.stateful())).await.unwrap();
    let load = Load::start(&actor, 4);
    let mut version = 1;
    let mut switched = 0;
    let specs = [V1, V2].map(|revision| spec(&engine, &revision.stateful()));
    for round in 0..200_u32 {
        let revision = Revision {
            version: 3 - version,
            ..V1
        };
        let options = UpgradeOptions {
            instead: round % 4 == 3,
            state: if round % 2 == 0 {
                UpgradeState::default()
            } else {
                UpgradeState::Discard
            },
            ..UpgradeOptions::default()
        };
        let next = specs[revision.version as usize - 1].clone();
        let mut upgrade = system.upgrade(next, options).unwrap();
        upgrade.warm().await.unwrap();
        let switching = tokio::spawn(upgrade.switch());
        for _ in 0..round % 23 {
            tokio::task::yield_now().await;
        }
        actor.kill();
        if round % 5 == 0 {
            // Whoever asked goes away as well.
            switching.abort();
        }
        match switching.await {
            Ok(Ok(upgraded)) => {
                version = revision.version;
                switched += 1;
                upgraded.release().await;
            }
            // Killed while it said what it held.
            Ok(Err(UpgradeError::NotReplaced {
                why: NotReplaced::Ended,
                ..
            })) => version = until_answered(&actor).await,
            Ok(Err(error)) => panic!("{error}"),
            // It took place or it did not.
            Err(_) => version = until_answered(&actor).await,
        }
        assert_eq!(until_answered(&actor).await, version, "round {round}");
    }
    assert!(switched > 100, "{switched}");
    let (_, errors, _) = load.end().await;
    assert!(errors > 0, "the kills were meant to hit messages");
    assert_eq!(engine.instances(), 1);
    let counters = system.counters();
    assert_eq!(
        counters.calls,
        counters.replies + counters.call_errors + counters.calls_abandoned
    );
    system.shutdown().await;
}

/// What `version` answers, once something does: a kill fails the message in hand.
async fn until_answered(actor: &ActorRef) -> u32 {
    let version = actor.function("version").unwrap();
    loop {
        if let Ok(version) = number_of(&version).await {
            return version;
        }
    }
}

/// Going back never makes less of the state than what was kept of it at the switch.
#[tokio::test]
async fn who_goes_back_from_one_that_ends_goes_on_with_what_it_had() {
    for snapshot in [3, 5] {
        for short_road in [true, false] {
            let engine = engine();
            let system = system_with(&engine, short_road).await;
            let actor = system.spawn(spec(&engine, &V1.stateful())).await.unwrap();
            assert_eq!(add(&actor, 5).await.unwrap(), 5);
            let next = spec(&engine, &Revision { snapshot, ..V2 }.stateful());
            let upgrade = system.upgrade(next, UpgradeOptions::default()).unwrap();
            let upgraded = upgrade.switch().await.unwrap();
            assert_eq!(add(&actor, 1).await.unwrap(), 6);
            assert_eq!(upgraded.roll_back().await.unwrap(), [StateTaken::AsItWas]);
            assert_eq!(number(&actor, "version").await, 1);
            assert_eq!(add(&actor, 0).await.unwrap(), 5);
            assert_eq!((actor.status().incarnation, engine.instances()), (1, 1));
            system.shutdown().await;
        }
    }
}

/// What the next incarnation began with is not what was handed over.
#[tokio::test]
async fn who_goes_back_from_one_that_has_been_restarted_goes_on_with_what_it_had() {
    for short_road in [true, false] {
        let engine = engine();
        let system = system_with(&engine, short_road).await;
        let mut events = system.events();
        let actor = system.spawn(spec(&engine, &V1.stateful())).await.unwrap();
        assert_eq!(add(&actor, 5).await.unwrap(), 5);
        let next = spec(&engine, &V2.stateful());
        let upgrade = system.upgrade(next, UpgradeOptions::default()).unwrap();
        let upgraded = upgrade.switch().await.unwrap();
        assert!(actor.call("trap", ()).await.is_err());
        exited(&mut events, actor.address()).await;
        started(&mut events, actor.address(), 1).await;
        assert_eq!(add(&actor, 1).await.unwrap(), 1);
        assert_eq!(upgraded.roll_back().await.unwrap(), [StateTaken::AsItWas]);
        assert_eq!(number(&actor, "version").await, 1);
        assert_eq!(add(&actor, 0).await.unwrap(), 5);
        assert_eq!(engine.instances(), 1);
        system.shutdown().await;
    }
}

/// The instance that is kept is what starts next, and nobody waits for that to be due.
#[tokio::test(start_paused = true)]
async fn who_goes_back_from_one_that_waits_for_its_next_try_goes_on_with_what_it_had() {
    let engine = engine();
    for (stateful, short_road) in [(true, true), (true, false), (false, true)] {
        let system = system_with(&engine, short_road).await;
        let mut events = system.events();
        let [v1, v2] = [V1, V2].map(|revision| match stateful {
            true => waiting(spec(&engine, &revision.stateful())),
            false => waiting(spec(&engine, &revision.stateless())),
        });
        let actor = system.spawn(v1).await.unwrap();
        assert_eq!(add(&actor, 5).await.unwrap(), 5);
        let upgrade = system.upgrade(v2, UpgradeOptions::default());
        let upgraded = upgrade.unwrap().switch().await.unwrap();
        actor.kill();
        exited(&mut events, actor.address()).await;
        let began = Instant::now();
        let states = upgraded.roll_back().await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        let expected = match stateful {
            true => StateTaken::AsItWas,
            false => StateTaken::None,
        };
        assert_eq!(states, [expected]);
        started(&mut events, actor.address(), 1).await;
        assert_eq!(number(&actor, "version").await, 1);
        assert_eq!(add(&actor, 0).await.unwrap(), 5);
        assert_eq!((actor.status().incarnation, engine.instances()), (2, 1));
        // Once: the one after it begins as any other.
        actor.kill();
        exited(&mut events, actor.address()).await;
        started(&mut events, actor.address(), 2).await;
        assert_eq!(number(&actor, "version").await, 1);
        assert_eq!(add(&actor, 0).await.unwrap(), 0);
        assert_eq!(engine.instances(), 1);
        system.shutdown().await;
    }
}

/// Without an instance, it has its state from the snapshot that was kept.
#[tokio::test(start_paused = true)]
async fn who_goes_back_to_one_without_an_instance_from_one_that_waits_has_its_snapshot() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let mut events = system.events();
    let [v1, v2] = [V1, V2].map(|revision| {
        let spec = waiting(spec(&engine, &revision.stateful()));
        spec.passivate(Passivation::new(Duration::from_secs(60)))
    });
    let actor = system.spawn(v1).await.unwrap();
    assert_eq!(add(&actor, 5).await.unwrap(), 5);
    while !matches!(events.recv().await.unwrap(), Event::Passivated { .. }) {}
    let upgrade = system.upgrade(v2, UpgradeOptions::default());
    let upgraded = upgrade.unwrap().switch().await.unwrap();
    actor.kill();
    exited(&mut events, actor.address()).await;
    assert_eq!(engine.instances(), 0);
    assert_eq!(upgraded.roll_back().await.unwrap(), [StateTaken::AsItWas]);
    started(&mut events, actor.address(), 1).await;
    assert_eq!(number(&actor, "version").await, 1);
    assert_eq!(add(&actor, 0).await.unwrap(), 5);
    assert_eq!(engine.instances(), 1);
    system.shutdown().await;
}

/// Another supervisor starts it, which has resolved its links again: it calls whoever is there now.
#[tokio::test(start_paused = true)]
async fn what_was_kept_is_started_also_by_a_supervisor_that_was_made_again() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let mut events = system.events();
    let callee = ChildSpec {
        address: address("tree/callee"),
        ..spec(&engine, &V1.stateless()).restart_temporary()
    };
    let relay = |revision: Revision| {
        let wat = RELAY.replace(
            "(local.get 0)))",
            &format!("(i32.const {})))", revision.version),
        );
        ChildSpec {
            address: address("tree/relay"),
            ..waiting(spec_with(&engine, &wat))
        }
        .link(Link::new("test:t/work", address("tree/callee")))
    };
    let tree = SupervisorSpec {
        children: vec![callee, relay(V1)],
        ..SupervisorSpec::new(address("tree"))
    };
    let top = SupervisorSpec {
        children: vec![ChildSpec::supervisor(tree)],
        ..SupervisorSpec::new(address("top"))
    };
    let top = system.supervise(top).await.unwrap();
    let [tree] = &top.supervisors()[..] else {
        panic!()
    };
    let [callee, relay_actor] =
        ["tree/callee", "tree/relay"].map(|name| system.whereis(&address(name)).unwrap());
    assert!(relay_actor.call("work", (0_u32,)).await.is_ok());
    let upgrade = system.upgrade(relay(V2), UpgradeOptions::default());
    let upgraded = upgrade.unwrap().switch().await.unwrap();
    relay_actor.kill();
    exited(&mut events, relay_actor.address()).await;
    callee.kill();
    exited(&mut events, callee.address()).await;
    upgraded.roll_back().await.unwrap();
    tree.kill();
    started(&mut events, relay_actor.address(), 1).await;
    let relay_actor = system.whereis(&address("tree/relay")).unwrap();
    // As many calls as were counted before, and one that reaches the callee that was made again.
    assert_eq!(number(&relay_actor, "count").await, 1);
    assert!(relay_actor.call("work", (0_u32,)).await.is_ok());
    assert_eq!(number(&relay_actor, "count").await, 2);
    system.shutdown().await;
}

fn spec_with(engine: &Engine, wat: &str) -> ChildSpec {
    ChildSpec::component(address("one"), template(engine, wat, &["test:t/work"]))
}

/// What was stopped has ended, and so has what was kept of it: nothing of it is there until somebody starts it.
#[tokio::test]
async fn who_goes_back_from_one_that_was_stopped_has_nothing_until_it_is_started() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let tree = system.supervisor();
    let actor = system.spawn(spec(&engine, &V1.stateful())).await.unwrap();
    assert_eq!(add(&actor, 5).await.unwrap(), 5);
    let upgrade = system.upgrade(spec(&engine, &V2.stateful()), UpgradeOptions::default());
    let upgraded = upgrade.unwrap().switch().await.unwrap();
    tree.terminate_child(actor.address()).await.unwrap();
    assert_eq!(engine.instances(), 1);
    assert_eq!(upgraded.roll_back().await.unwrap(), [StateTaken::None]);
    assert_eq!(engine.instances(), 0);
    tree.restart_child(actor.address()).await.unwrap();
    assert_eq!(number(&actor, "version").await, 1);
    assert_eq!(add(&actor, 0).await.unwrap(), 0);
    assert_eq!(engine.instances(), 1);
    system.shutdown().await;
}

/// A child that is started again after a minute.
fn waiting(spec: ChildSpec) -> ChildSpec {
    spec.backoff(Backoff {
        initial: Duration::from_secs(60),
        max: Duration::from_secs(60),
        ..Backoff::default()
    })
}

/// The instance that is kept is not with the incarnation that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_back_and_is_killed_meanwhile_goes_on_with_what_it_had() {
    for round in 0..20 {
        let engine = engine();
        let system = system_with(&engine, round % 2 == 0).await;
        let actor = system.spawn(spec(&engine, &V1.stateful())).await.unwrap();
        assert_eq!(add(&actor, 5).await.unwrap(), 5);
        // It says what it holds for so long that the kill comes first.
        let slow = Revision { snapshot: 3, ..V2 };
        let upgrade = system.upgrade(spec(&engine, &slow.stateful()), UpgradeOptions::default());
        let upgraded = upgrade.unwrap().switch().await.unwrap();
        let back = tokio::spawn(upgraded.roll_back());
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        actor.kill();
        let states = back.await.unwrap().unwrap();
        assert_eq!(states, [StateTaken::AsItWas], "round {round}");
        assert_eq!(until_answered(&actor).await, 1);
        assert_eq!(add(&actor, 0).await.unwrap(), 5, "round {round}");
        system.shutdown().await;
    }
}

/// The old revision said what it held, and cannot be told it again.
#[tokio::test]
async fn who_goes_back_and_restores_nothing_goes_on_with_what_it_had() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let restore = r#"(export "restore" (func $restore))"#;
    let first = V1.stateful().replace(restore, "");
    let actor = system.spawn(spec(&engine, &first)).await.unwrap();
    assert_eq!(add(&actor, 5).await.unwrap(), 5);
    let next = spec(&engine, &V2.stateful());
    let upgrade = system.upgrade(next, UpgradeOptions::default()).unwrap();
    let upgraded = upgrade.switch().await.unwrap();
    assert_eq!(upgraded.states(), [StateTaken::HandedOver { bytes: 4 }]);
    assert_eq!(add(&actor, 1).await.unwrap(), 6);
    assert_eq!(upgraded.roll_back().await.unwrap(), [StateTaken::AsItWas]);
    assert_eq!(number(&actor, "version").await, 1);
    assert_eq!(add(&actor, 0).await.unwrap(), 5);
    assert_eq!(engine.instances(), 1);
    system.shutdown().await;
}

#[tokio::test]
async fn a_trap_after_the_switch_is_a_restart_as_the_new_revision() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let mut events = system.events();
    let actor = system.spawn(spec(&engine, &V1.stateless())).await.unwrap();
    let upgrade = system
        .upgrade(spec(&engine, &V2.stateless()), UpgradeOptions::default())
        .unwrap();
    let upgraded = upgrade.switch().await.unwrap();
    assert!(actor.call("trap", ()).await.is_err());
    exited(&mut events, actor.address()).await;
    assert_eq!(until_answered(&actor).await, 2);
    // The instance that was kept is as good as ever.
    upgraded.roll_back().await.unwrap();
    assert_eq!(number(&actor, "version").await, 1);
    assert_eq!(engine.instances(), 1);
    let args = (1_u32,).into_args();
    assert!(actor.call("add", args).await.is_ok());
    system.shutdown().await;
}

/// Nobody is there who could be asked, and nothing runs that could go on.
#[tokio::test]
async fn the_child_of_a_supervisor_that_has_ended_is_the_new_revision_when_that_is_started() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let team = SupervisorSpec::new(address("team")).with(spec(&engine, &V1.stateful()));
    let team = ChildSpec::supervisor(team).restart_transient();
    let above = SupervisorSpec::new(address("above")).with(team);
    let above = system.supervise(above).await.unwrap();
    let (team, actor) = (
        above.supervisors().remove(0),
        system.whereis(&address("one")).unwrap(),
    );
    assert_eq!(add(&actor, 5).await.unwrap(), 5);
    team.stop().await;
    assert!(team.has_ended());
    let start = async || above.start_stopped_child(team.address()).await.unwrap();
    let to_v2 = || system.upgrade(spec(&engine, &V2.stateful()), UpgradeOptions::default());
    let upgraded = to_v2().unwrap().switch().await.unwrap();
    assert_eq!(upgraded.states(), [StateTaken::None]);
    start().await;
    assert_eq!(number(&actor, "version").await, 2);
    assert_eq!(add(&actor, 3).await.unwrap(), 3);
    // It goes back likewise.
    team.stop().await;
    assert_eq!(upgraded.roll_back().await.unwrap(), [StateTaken::None]);
    start().await;
    assert_eq!(number(&actor, "version").await, 1);
    // What is kept of the one that ran when it went forth has ended with its supervisor.
    let upgraded = to_v2().unwrap().switch().await.unwrap();
    team.stop().await;
    assert_eq!(engine.instances(), 1);
    assert_eq!(upgraded.roll_back().await.unwrap(), [StateTaken::None]);
    assert_eq!(engine.instances(), 0);
    start().await;
    assert_eq!(number(&actor, "version").await, 1);
    assert_eq!(add(&actor, 0).await.unwrap(), 0);
    system.shutdown().await;
}
