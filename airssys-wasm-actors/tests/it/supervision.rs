//! Restarts, intensities, stops, and what a mailbox keeps meanwhile (races a and g).

use std::time::Duration;

use airssys_wasm::IntoArgs;
use airssys_wasm_actors::{
    ActorRef, CallError, ChildSpec, Event, ExitReason, Link, RestartIntensity, RestartPolicy,
    ShutdownPolicy, StartError, SupervisorSpec,
};

use crate::guests::{RELAY, WORKER, address, engine, exited, started, system, template};

#[tokio::test]
async fn a_trap_fails_the_message_in_hand_and_the_next_are_handled() {
    let engine = engine();
    let system = system(&engine).await;
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    let worker = system.spawn(worker).await.unwrap();
    let (trap, work) = (
        worker.function("trap").unwrap(),
        worker.function("work").unwrap(),
    );
    let (first, second, third) =
        tokio::join!(trap.call(()), work.call((1_u32,)), work.call((2_u32,)));
    match first {
        Err(CallError::CalleeDied { reason, .. }) => assert_eq!(reason.kind(), "unreachable"),
        other => panic!("{other:?}"),
    }
    assert_eq!(second.unwrap(), (2_u32,).into_args());
    assert_eq!(third.unwrap(), (3_u32,).into_args());
    assert_eq!(worker.status().incarnation, 2);
    assert_eq!(worker.counters().restarts, 1);
}

/// Race a: the successor starts only after the exit event, which is sent after the Store is gone.
/// An engine with room for one instance would refuse an overlapping successor.
#[tokio::test]
async fn incarnations_never_overlap() {
    let engine = airssys_wasm::Engine::new(airssys_wasm::EngineConfig {
        cache: airssys_wasm::CacheLocation::Off,
        pool_instances_max: 1,
        capacity: airssys_wasm::CapacityConfig {
            instances_max: Some(1),
            ..airssys_wasm::CapacityConfig::default()
        },
        ..airssys_wasm::EngineConfig::default()
    })
    .unwrap();
    let system = system(&engine).await;
    let mut events = system.events();
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    let worker = system.spawn(worker).await.unwrap();
    for round in 1..=200_u64 {
        if round % 2 == 0 {
            worker.kill();
        } else {
            worker.cast("trap", ()).unwrap();
        }
        loop {
            match events.recv().await.unwrap() {
                Event::Started { incarnation, .. } if incarnation == round => {}
                Event::Exited { incarnation, .. } => {
                    assert_eq!(incarnation, round);
                    break;
                }
                Event::DeadLetter { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        loop {
            match events.recv().await.unwrap() {
                Event::Started { incarnation, .. } => {
                    assert_eq!(incarnation, round + 1);
                    break;
                }
                Event::DeadLetter { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn killing_a_spinning_guest_answers_its_caller() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    let worker = system.spawn(worker).await.unwrap();
    let spin = worker.function("spin").unwrap();
    let calling = tokio::spawn(async move { spin.call(()).await });
    while worker.status().queued == 0 {
        tokio::task::yield_now().await;
    }
    worker.kill();
    match calling.await.unwrap() {
        Err(CallError::CalleeDied {
            reason: ExitReason::Killed,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    started(&mut events, &address("worker"), 1).await;
    assert_eq!(
        worker.call("work", (1_u32,)).await.unwrap(),
        (2_u32,).into_args()
    );
}

#[tokio::test]
async fn one_restart_too_many_ends_the_supervisor_and_answers_everyone() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let intensity = RestartIntensity {
        max: 2,
        within: Duration::from_secs(60),
    };
    let spec = SupervisorSpec {
        intensity,
        ..SupervisorSpec::new(address("app"))
    };
    let supervisor = system.supervise(spec).await.unwrap();
    let template = template(&engine, WORKER, &[]);
    let refs = supervisor
        .start(vec![
            ChildSpec::component(address("bystander"), template.clone()),
            ChildSpec::component(address("worker"), template),
        ])
        .await
        .unwrap();
    let trap = refs[1].function("trap").unwrap();
    let (a, b, c, d) = tokio::join!(trap.call(()), trap.call(()), trap.call(()), trap.call(()));
    for died in [a, b, c] {
        assert!(
            matches!(died, Err(CallError::CalleeDied { .. })),
            "{died:?}"
        );
    }
    // The fourth was still queued when the supervisor gave up.
    match d {
        Err(CallError::Stopped {
            reason: ExitReason::CrashLoop,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    assert!(matches!(supervisor.ended().await, ExitReason::CrashLoop));
    assert!(system.whereis(&address("bystander")).is_none());
    assert!(matches!(
        supervisor.start(Vec::new()).await,
        Err(StartError::SupervisorEnded(_))
    ));
    loop {
        if let Event::SupervisorEnded {
            address: who,
            reason,
        } = events.recv().await.unwrap()
        {
            assert_eq!(who, address("app"));
            assert_eq!(reason.kind(), "crash-loop");
            break;
        }
    }
}

#[tokio::test]
async fn temporary_and_transient_children_stay_down_when_they_should() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let template = template(&engine, WORKER, &[]);
    let child = |name: &str, restart| ChildSpec {
        restart,
        ..ChildSpec::component(address(name), template.clone())
    };
    let temporary = system
        .spawn(child("temporary", RestartPolicy::Temporary))
        .await
        .unwrap();
    temporary.kill();
    exited(&mut events, &address("temporary")).await;
    let transient = system
        .spawn(child("transient", RestartPolicy::Transient))
        .await
        .unwrap();
    transient.kill();
    started(&mut events, &address("transient"), 1).await;
    assert!(matches!(
        temporary.call("work", (1_u32,)).await,
        Err(CallError::Stopped {
            reason: ExitReason::Killed,
            ..
        })
    ));
    assert_eq!(
        transient.call("work", (1_u32,)).await.unwrap(),
        (2_u32,).into_args()
    );
}

#[tokio::test]
async fn children_stop_in_reverse_and_what_does_not_end_is_killed() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let supervisor = system
        .supervise(SupervisorSpec::new(address("app")))
        .await
        .unwrap();
    let template = template(&engine, WORKER, &[]);
    let child = |name: &str| ChildSpec {
        shutdown: ShutdownPolicy::Timeout(Duration::from_millis(50)),
        ..ChildSpec::component(address(name), template.clone())
    };
    let refs = supervisor
        .start(vec![child("a"), child("b"), child("c")])
        .await
        .unwrap();
    refs[1].cast("spin", ()).unwrap();
    while refs[1].status().queued == 0 {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    let report = supervisor.stop().await;
    assert_eq!(report.stopped, [address("c"), address("a")]);
    assert_eq!(report.killed, [address("b")]);
    let mut order = Vec::new();
    while order.len() < 3 {
        if let Event::Exited { address, .. } = events.recv().await.unwrap() {
            order.push(address);
        }
    }
    assert_eq!(order, [address("c"), address("b"), address("a")]);
}

/// Race g: the killed supervisor's children are ended before their successors start, mailboxes are
/// kept, and nobody's call is lost.
#[tokio::test]
async fn a_killed_supervisor_is_made_again_with_its_children() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let template = template(&engine, WORKER, &[]);
    let names = ["a", "b", "c"];
    let children = names.map(|name| ChildSpec::component(address(name), template.clone()));
    let spec = SupervisorSpec {
        children: children.to_vec(),
        ..SupervisorSpec::new(address("app"))
    };
    let supervisor = system.supervise(spec).await.unwrap();
    let refs = supervisor.children();
    supervisor.kill();
    let mut up = std::collections::HashMap::new();
    while up.values().filter(|n| **n == 2_u64).count() < 3 {
        match events.recv().await.unwrap() {
            Event::Started {
                address,
                incarnation,
            } => {
                assert!(
                    up.insert(address, incarnation)
                        .is_none_or(|before| before == 0)
                );
            }
            Event::Exited {
                address,
                incarnation,
                ..
            } => {
                assert_eq!(up.insert(address, 0), Some(incarnation));
            }
            _ => {}
        }
    }
    for actor in &refs {
        assert_eq!(
            actor.call("work", (1_u32,)).await.unwrap(),
            (2_u32,).into_args()
        );
        assert_eq!(actor.status().incarnation, 2);
    }
    // It supervises as before.
    refs[0].kill();
    started(&mut events, &address("a"), 2).await;
    supervisor.stop().await;
    assert!(system.whereis(&address("a")).is_none());
}

#[tokio::test]
async fn a_start_that_fails_takes_the_earlier_ones_back() {
    let engine = engine();
    let system = system(&engine).await;
    let good = template(&engine, WORKER, &[]);
    let trapping = WORKER.replace(
        r#"(export "spin") (loop (br 0)))"#,
        r#"(export "spin")) (func $s unreachable) (start $s)"#,
    );
    let bad = template(&engine, &trapping, &[]);
    let supervisor = system
        .supervise(SupervisorSpec::new(address("app")))
        .await
        .unwrap();
    let refused = supervisor
        .start(vec![
            ChildSpec::component(address("good"), good.clone()),
            ChildSpec::component(address("bad"), bad),
            ChildSpec::component(address("late"), good.clone()),
        ])
        .await;
    match refused {
        Err(StartError::Child {
            address: who,
            reason,
        }) => {
            assert_eq!(who, address("bad"));
            assert!(reason.to_string().contains("unreachable"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert!(supervisor.children().is_empty());
    let again = supervisor
        .start(vec![ChildSpec::component(address("good"), good)])
        .await;
    assert_eq!(again.unwrap().len(), 1);
}

/// It is forgotten with its end and made again with its supervisor, as another actor of its name: whoever is linked to it
/// calls that one from its next start on, whichever supervisor it is under.
#[tokio::test]
async fn a_link_to_a_child_that_was_forgotten_leads_to_the_one_that_is_made_again() {
    let engine = engine();
    let system = system(&engine).await;
    let callee = ChildSpec::component(address("callee"), template(&engine, WORKER, &[]));
    let team = SupervisorSpec::new(address("team")).with(callee.restart_temporary());
    let relay = template(&engine, RELAY, &["test:t/work"]);
    let caller = |name: &str| {
        let caller = ChildSpec::component(address(name), relay.clone());
        caller.link(Link::new("test:t/work", address("callee")))
    };
    let (one, two) = (caller("one"), caller("two"));
    let above = SupervisorSpec::new(address("above"))
        .intensity(100, Duration::from_secs(1))
        .with(ChildSpec::supervisor(team))
        .with(one)
        .with(two);
    let above = system.supervise(above).await.unwrap();
    let team = above.supervisors().remove(0);
    let [one, two] = ["one", "two"].map(|name| system.whereis(&address(name)).unwrap());
    let work = async |actor: &ActorRef| actor.call("work", (4_u32,)).await;
    let five = (5_u32,).into_args();
    assert_eq!(work(&one).await.unwrap(), five);
    let mut events = system.events();
    team.stop_child(&address("callee")).await.unwrap();
    // There is nobody to call, however often it is started.
    assert!(work(&one).await.is_err());
    started(&mut events, one.address(), 1).await;
    above.restart_child(team.address()).await.unwrap();
    started(&mut events, &address("callee"), 0).await;
    // Who has not called meanwhile finds that out by its next call, and whoever is started again is not to.
    assert!(work(&two).await.is_err());
    assert_eq!(work(&two).await.unwrap(), five);
    above.restart_child(one.address()).await.unwrap();
    assert_eq!(work(&one).await.unwrap(), five);
    system.shutdown().await;
}
