//! What the instance of an actor holds, as it is seen from outside.

use std::time::Duration;

use airssys_wasm_actors::{ActorRef, ChildSpec, Event, Passivation, UpgradeOptions};

use crate::guests::{address, engine, exited, started, system, template};

/// Exports `test:t/work`: `grow()`, which grows its memory of `pages` by one page, and `trap()`, which does so and traps.
fn grower(pages: u32) -> String {
    format!(
        r#"(component
  (core module $m
    (memory {pages}) (table 7 funcref)
    (func (export "grow") (drop (memory.grow (i32.const 1))))
    (func (export "trap") (drop (memory.grow (i32.const 1))) unreachable))
  (core instance $i (instantiate $m))
  (func $grow (canon lift (core func $i "grow")))
  (func $trap (canon lift (core func $i "trap")))
  (instance (export "test:t/work") (export "grow" (func $grow)) (export "trap" (func $trap))))"#
    )
}

/// Pages of memory, and elements of tables.
fn held(actor: &ActorRef) -> (u64, u64) {
    let status = actor.status();
    assert_eq!(status.memory_bytes % 65_536, 0);
    (status.memory_bytes / 65_536, status.table_elements)
}

#[tokio::test(start_paused = true)]
async fn an_actor_holds_what_the_instance_it_has_now_holds() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let who = address("grower");
    let one = template(&engine, &grower(1), &[]);
    let spec = ChildSpec::component(who.clone(), one).passivate(Passivation {
        stateless: true,
        ..Passivation::new(Duration::from_secs(60))
    });
    let actor = system.spawn(spec.clone()).await.unwrap();
    assert_eq!(held(&actor), (1, 7));
    actor.call("grow", ()).await.unwrap();
    actor.call("grow", ()).await.unwrap();
    assert_eq!(held(&actor), (3, 7));

    // A trap and a kill: the successor begins anew.
    actor.call("trap", ()).await.unwrap_err();
    started(&mut events, &who, 1).await;
    assert_eq!(held(&actor), (1, 7));
    actor.kill();
    exited(&mut events, &who).await;
    started(&mut events, &who, 2).await;
    assert_eq!(held(&actor), (1, 7));

    // Without an instance it holds nothing.
    loop {
        if let Event::Passivated { .. } = events.recv().await.unwrap() {
            break;
        }
    }
    assert_eq!(held(&actor), (0, 0));
    actor.call("grow", ()).await.unwrap();
    assert_eq!(held(&actor), (2, 7));

    // Of another revision, what that holds; the one put aside is not counted, and is when it comes back.
    let mut second = spec;
    if let airssys_wasm_actors::Start::Component(start) = &mut second.start {
        start.template = template(&engine, &grower(5), &[]);
    }
    let mut upgrade = system.upgrade(second, UpgradeOptions::default()).unwrap();
    upgrade.warm().await.unwrap();
    assert_eq!(held(&actor), (2, 7), "the new one waits");
    let upgraded = upgrade.switch().await.unwrap();
    assert_eq!(held(&actor), (5, 7));
    upgraded.roll_back().await.unwrap();
    assert_eq!(held(&actor), (2, 7));

    system.supervisor().stop_child(&who).await.unwrap();
    assert_eq!(held(&actor), (0, 0));
}

#[tokio::test]
async fn replicas_hold_together_what_each_holds() {
    let engine = engine();
    let system = system(&engine).await;
    let spec = ChildSpec {
        replicas: 3,
        ..ChildSpec::component(address("team"), template(&engine, &grower(2), &[]))
    };
    let team = system.spawn(spec).await.unwrap();
    assert_eq!(held(&team), (6, 21));
    // One of them alone.
    team.replicas()[1].call("grow", ()).await.unwrap();
    assert_eq!(held(&team), (7, 21));
    let each: Vec<_> = team.replicas().iter().map(held).collect();
    assert_eq!(each, [(2, 7), (3, 7), (2, 7)]);
}

#[tokio::test]
async fn a_trap_is_counted_as_one_and_a_kill_as_a_restart() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    for replicas in [1, 2] {
        let who = address(&format!("of-{replicas}"));
        let spec = ChildSpec {
            replicas,
            ..ChildSpec::component(who.clone(), template(&engine, &grower(1), &[]))
        };
        let actor = system.spawn(spec).await.unwrap();
        let one = actor.replicas().first().unwrap_or(&actor).clone();
        let count = || {
            let counters = actor.counters();
            (counters.restarts, counters.trap_restarts, counters.traps)
        };
        one.call("trap", ()).await.unwrap_err();
        started(&mut events, one.address(), 1).await;
        assert_eq!(count(), (1, 1, 1));
        one.kill();
        started(&mut events, one.address(), 2).await;
        assert_eq!(count(), (2, 1, 1));
        one.call("trap", ()).await.unwrap_err();
        started(&mut events, one.address(), 3).await;
        assert_eq!(count(), (3, 2, 2));
    }
    assert_eq!(system.counters().traps, 4);

    // One that is not started again has trapped all the same.
    let who = address("once");
    let once = ChildSpec::component(who.clone(), template(&engine, &grower(1), &[]));
    let once = system.spawn(once.restart_temporary()).await.unwrap();
    once.call("trap", ()).await.unwrap_err();
    exited(&mut events, &who).await;
    let counters = once.counters();
    assert_eq!((counters.restarts, counters.traps), (0, 1));
}
