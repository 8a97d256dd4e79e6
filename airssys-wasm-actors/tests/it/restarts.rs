//! A child restarted by choice: its mailbox stays, nobody's call fails, and the intensity does not count it.

use std::time::Duration;

use airssys_wasm::IntoArgs;
use airssys_wasm_actors::{
    ActorState, ChildSpec, RestartPolicy, ShutdownPolicy, StopError, SupervisorSpec,
};

use crate::guests::{WORKER, address, engine, started, system, template};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_its_callee_is_restarted_again_and_again() {
    const RESTARTS: u64 = 20;
    const CALLERS: u32 = 8;
    let engine = engine();
    let system = system(&engine).await;
    // OTP's default intensity: a second restart within 5 s would end it, if these were counted.
    let app = SupervisorSpec::new(address("app"));
    let app = system.supervise(app).await.unwrap();
    let worker = ChildSpec::component(address("app/worker"), template(&engine, WORKER, &[]));
    let worker = app.start(vec![worker]).await.unwrap().remove(0);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let work = worker.function("work").unwrap();
            let stopped = stopped.clone();
            tokio::spawn(async move {
                let mut calls = 0_u64;
                while !*stopped.borrow() {
                    assert_eq!(work.call((7_u32,)).await.unwrap(), (8_u32,).into_args());
                    calls += 1;
                    tokio::task::yield_now().await;
                }
                calls
            })
        })
        .collect();
    let mut events = system.events();
    for restart in 1..=RESTARTS {
        let report = app.restart_child(worker.address()).await.unwrap();
        assert_eq!(report.killed, []);
        started(&mut events, worker.address(), restart).await;
    }
    stop.send(true).unwrap();
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.unwrap();
    }
    let counters = worker.counters();
    assert_eq!((counters.calls, counters.replies), (calls, calls));
    assert_eq!(counters.restarts, RESTARTS);
    let status = worker.status();
    assert_eq!(
        (status.incarnation, status.state),
        (RESTARTS + 1, ActorState::Running)
    );
    assert!(!app.has_ended());
}

#[tokio::test]
async fn what_does_not_end_in_time_is_killed_and_what_is_queued_is_handled_by_the_successor() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let worker = ChildSpec {
        shutdown: ShutdownPolicy::Brutal,
        ..ChildSpec::component(address("worker"), template(&engine, WORKER, &[]))
    };
    let worker = system.spawn(worker).await.unwrap();
    worker.cast("spin", ()).unwrap();
    worker.cast("work", (1_u32,)).unwrap();
    worker.cast("work", (2_u32,)).unwrap();
    let report = system
        .supervisor()
        .restart_child(worker.address())
        .await
        .unwrap();
    assert_eq!(report.killed, [address("worker")]);
    started(&mut events, worker.address(), 1).await;
    // Behind the two in the mailbox, and the last message of the first incarnation is a dead letter.
    assert_eq!(
        worker.call("count", ()).await.unwrap(),
        (2_u32,).into_args()
    );
    let counters = worker.counters();
    assert_eq!(
        (
            counters.casts,
            counters.casts_handled,
            counters.dead_letters
        ),
        (3, 2, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn only_children_that_may_start_again_are_restarted() {
    let engine = engine();
    let system = system(&engine).await;
    let own = system.supervisor();
    let temporary = ChildSpec {
        restart: RestartPolicy::Temporary,
        ..ChildSpec::component(address("once"), template(&engine, WORKER, &[]))
    };
    let temporary = system.spawn(temporary).await.unwrap();
    assert!(matches!(
        own.restart_child(&address("once")).await,
        Err(StopError::Temporary(who)) if who == address("once")
    ));
    assert_eq!(temporary.status().state, ActorState::Running);
    assert!(matches!(
        own.restart_child(&address("nobody")).await,
        Err(StopError::NotFound { .. })
    ));
    let info = own.which_children();
    assert_eq!(info.len(), 1);
    assert!(info[0].is_component && info[0].restart == RestartPolicy::Temporary);
    own.stop().await;
    assert!(own.has_ended());
    assert!(matches!(
        own.restart_child(&address("once")).await,
        Err(StopError::SupervisorEnded(who)) if who == address("system")
    ));
    assert!(system.supervisors().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_stops_overtakes_a_restart() {
    let engine = engine();
    let system = system(&engine).await;
    let own = system.supervisor().clone();
    let worker = ChildSpec {
        shutdown: ShutdownPolicy::Timeout(Duration::from_secs(60)),
        ..ChildSpec::component(address("worker"), template(&engine, WORKER, &[]))
    };
    let worker = system.spawn(worker).await.unwrap();
    worker.cast("spin", ()).unwrap();
    let restart = own.restart_child(worker.address());
    let stop = async {
        tokio::task::yield_now().await;
        own.stop().await
    };
    let (restarted, _) = tokio::join!(restart, stop);
    assert!(matches!(
        restarted,
        Err(StopError::SupervisorEnded(who)) if who == address("system")
    ));
    assert_eq!(worker.status().state, ActorState::Down);
}
