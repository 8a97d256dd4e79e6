//! Links with a name that several replicas share.

use std::time::Duration;

use airssys_wasm_actors::{
    ActorRef, ChildSpec, Event, Events, ExitReason, RestartPolicy, ScaleOptions, System,
};
use tokio::time::timeout;

use super::{Probed, probe};
use crate::guests::{WORKER, address, all_exited, engine, system, template};

/// In paused time nothing is left to happen by then.
const AGES: Duration = Duration::from_secs(600);

async fn pool(system: &System, engine: &airssys_wasm::Engine, replicas: u32) -> ActorRef {
    let spec = ChildSpec {
        replicas,
        ..ChildSpec::component(address("pool"), template(engine, WORKER, &[]))
    };
    system.spawn(spec).await.unwrap()
}

async fn linker(system: &System, name: &str) -> Probed {
    let linker = probe(system, name, RestartPolicy::Temporary).await;
    linker.tell("bind", "pool").await;
    linker
}

/// The linker panics: every replica ends for that, and is there again.
async fn ends_all(events: &mut Events, linker: &Probed, first: &str, linked: [&str; 2]) {
    linker.actor.cast("panic", ()).unwrap();
    let reasons = timeout(AGES, all_exited(events, linked)).await.unwrap();
    for reason in reasons {
        match reason {
            ExitReason::Linked(exit) => {
                assert_eq!(exit.from, address(first));
                assert_eq!(exit.reason.kind(), "panicked");
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn up(system: &System, events: &mut Events, incarnation: u64) {
    for name in ["pool/0", "pool/1"] {
        let replica = system.whereis(&address(name)).unwrap();
        while replica.status().incarnation < incarnation {
            timeout(AGES, events.recv()).await.unwrap().unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_exit_ends_every_replica_of_a_linked_team_each_time() {
    let engine = engine();
    let system = system(&engine).await;
    let pool = pool(&system, &engine, 2).await;
    for round in 1..=2_u64 {
        let name = format!("linker-{round}");
        let linker = linker(&system, &name).await;
        assert_eq!(pool.status().links, 1);
        let mut events = system.events();
        ends_all(&mut events, &linker, &name, ["pool/0", "pool/1"]).await;
        up(&system, &mut events, round + 1).await;
        assert_eq!(pool.status().links, 0);
    }
    pool.call("work", (1_u32,)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_link_with_one_that_was_alone_is_one_with_its_replicas() {
    let engine = engine();
    let system = system(&engine).await;
    let pool = pool(&system, &engine, 1).await;
    let linker = linker(&system, "linker").await;
    let options = ScaleOptions {
        discard_state: true,
        ..ScaleOptions::default()
    };
    system.scale(&address("pool"), 2, options).await.unwrap();
    assert_eq!(pool.status().links, 1);
    let mut events = system.events();
    ends_all(&mut events, &linker, "linker", ["pool/0", "pool/1"]).await;
    up(&system, &mut events, 2).await;
}

/// A normal end is no reason to end, and one replica's is none for who is linked with all.
#[tokio::test(start_paused = true)]
async fn a_team_and_who_is_linked_with_it_outlive_a_normal_end_and_a_replica() {
    let engine = engine();
    let system = system(&engine).await;
    let pool = pool(&system, &engine, 2).await;
    let (leaves, stays) = (
        linker(&system, "leaves").await,
        linker(&system, "stays").await,
    );
    let left = leaves.actor.monitor();
    leaves.actor.cast("stop", ()).unwrap();
    assert_eq!(left.await.reason.kind(), "normal");
    let mut events = system.events();
    pool.replicas()[0].kill();
    while !matches!(
        timeout(AGES, events.recv()).await.unwrap(),
        Some(Event::Started { .. })
    ) {}
    assert_eq!(pool.replicas()[1].status().incarnation, 1);
    assert_eq!((pool.status().links, stays.actor.status().links), (1, 1));
    // The end of the whole is one.
    let ended = stays.actor.monitor();
    system
        .supervisor()
        .stop_child(&address("pool"))
        .await
        .unwrap();
    assert_eq!(timeout(AGES, ended).await.unwrap().reason.kind(), "linked");
}

/// Replicas that trap exits are told instead, each of them.
#[tokio::test(start_paused = true)]
async fn replicas_that_trap_exits_are_each_told() {
    let engine = engine();
    let system = system(&engine).await;
    let traps = super::told::told("airssys:signals/exits@0.1.0", "handle-exit");
    let spec = ChildSpec {
        replicas: 2,
        ..ChildSpec::component(address("pool"), template(&engine, &traps, &[]))
    };
    let pool = system.spawn(spec).await.unwrap();
    for round in 1..=2_u32 {
        let linker = linker(&system, &format!("linker-{round}")).await;
        let ended = linker.actor.monitor();
        // A normal end is told, too.
        let how = if round == 1 { "panic" } else { "stop" };
        linker.actor.cast(how, ()).unwrap();
        ended.await;
        for replica in pool.replicas() {
            assert_eq!(super::told::count(&replica).await, round);
            let status = replica.status();
            assert_eq!((status.incarnation, status.links), (1, 0));
        }
    }
}
