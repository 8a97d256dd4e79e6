//! Starts and restarts that are refused because there is no room.

use airssys_wasm::{InstanceIdentity, IntoArgs, NoOutbound};
use airssys_wasm_actors::{ChildSpec, Event, StartError};

use crate::guests::{WORKER, address, engine_of, started, system, template};

#[tokio::test]
async fn a_spawn_without_room_is_refused_and_what_lives_goes_on() {
    let engine = engine_of(8);
    let system = system(&engine).await;
    let template = template(&engine, WORKER, &[]);
    let spec = |n: usize| ChildSpec::component(address(&format!("w/{n}")), template.clone());
    let mut live = Vec::new();
    let refused = loop {
        match system.spawn(spec(live.len())).await {
            Ok(actor) => live.push(actor),
            Err(refused) => break refused,
        }
    };
    assert_eq!(live.len(), 8);
    match refused {
        StartError::Child { address, reason } => {
            assert_eq!(address.to_string(), "w/8");
            assert_eq!(reason.kind(), "no-capacity");
            assert!(reason.to_string().contains("8 of 8 instances"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    for actor in &live {
        let reply = actor.call("work", (1_u32,)).await.unwrap();
        assert_eq!(reply, (2_u32,).into_args());
    }
    // The name of what was refused is free, and so are the places of what is stopped.
    for actor in live.drain(4..) {
        let stopped = system.supervisor().stop_child(actor.address()).await;
        assert_eq!(stopped.unwrap().stopped.len(), 1);
    }
    assert_eq!(engine.instances(), 4);
    for n in 8..12 {
        live.push(system.spawn(spec(n)).await.unwrap());
    }
    assert_eq!(engine.instances(), 8);
    system.shutdown().await;
    assert_eq!(engine.instances(), 0);
}

/// A restart that finds no room is a failed start: it counts, and is tried again.
#[tokio::test]
async fn a_restart_without_room_is_a_failed_start() {
    let engine = engine_of(1);
    let system = system(&engine).await;
    let template = template(&engine, WORKER, &[]);
    let mut events = system.events();
    let spec = ChildSpec::component(address("worker"), template.clone());
    let worker = system.spawn(spec).await.unwrap();
    // Its place is taken before its supervisor gets to it, sooner or later.
    let other = loop {
        worker.call("trap", ()).await.unwrap_err();
        let identity = InstanceIdentity {
            address: "other".into(),
            generation: 1,
        };
        match template.instantiate(identity, Box::new(NoOutbound)).await {
            Ok(other) => break other,
            Err(fault) => assert_eq!(fault.class.as_str(), "no-capacity"),
        }
    };
    worker.cast("work", (1_u32,)).unwrap();
    let reason = loop {
        match events.recv().await.unwrap() {
            Event::StartFailed { reason, .. } => break reason,
            Event::Started { .. } | Event::Exited { .. } => {}
            event => panic!("{event:?}"),
        }
    };
    assert_eq!(reason.kind(), "no-capacity");
    drop(other);
    started(&mut events, worker.address(), 2).await;
    let count = worker.call("count", ()).await.unwrap();
    assert_eq!(count, (1_u32,).into_args(), "the message was kept");
    assert!(worker.counters().restarts >= 2);
}
