//! How ends are told: their reasons, along links, within limits, and at any moment of a kill.

use airssys_wasm::{Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorRef, ChildSpec, Context, ExitReason, LINKS_MAX, MONITORS_MAX, Message,
    RestartPolicy, SignalRefused, System,
};
use tokio::sync::mpsc;

use super::{ProbeError, Seen, next_signal, probe};
use crate::guests::{WORKER, address, engine, exited, started, system, template};

#[tokio::test]
async fn every_way_to_end_carries_its_reason() {
    let engine = engine();
    let system = system(&engine).await;
    let reasons = [
        ("panic", "panicked"),
        ("fail", "error"),
        ("stop", "normal"),
        ("kill", "killed"),
        ("shutdown", "shutdown"),
    ];
    for (how, kind) in reasons {
        let dying = probe(&system, "dying", RestartPolicy::Temporary).await;
        let monitor = dying.actor.monitor();
        match how {
            "kill" => dying.actor.kill(),
            "shutdown" => {
                let dying = address("dying");
                system.supervisor().stop_child(&dying).await.unwrap();
            }
            function => drop(dying.actor.call(function, ()).await),
        }
        assert_eq!(monitor.await.reason.kind(), kind, "{how}");
    }
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    let worker = system.spawn(worker).await.unwrap();
    for incarnation in 1..=3 {
        let monitor = worker.monitor();
        assert!(worker.call("trap", ()).await.is_err());
        let down = monitor.await;
        assert_eq!(down.reason.kind(), "unreachable");
        assert_eq!(down.incarnation, incarnation);
    }
    // A crash loop is its last incarnation's own end to whoever watched that.
    let monitor = worker.monitor();
    worker.kill();
    assert_eq!(monitor.await.reason.kind(), "killed");
}

#[tokio::test]
async fn exits_pass_along_links_and_stop_at_those_that_trap_them() {
    let system = system(&engine()).await;
    let mut events = system.events();
    // a – b – c – d, of which d traps.
    for name in ["a", "b", "c"] {
        probe(&system, name, RestartPolicy::Temporary).await;
    }
    let mut last = probe(&system, "d", RestartPolicy::Temporary).await;
    last.actor.call("trap", (true,)).await.unwrap();
    for (from, to) in [("a", "b"), ("b", "c"), ("c", "d")] {
        let from = system.whereis(&address(from)).unwrap();
        from.call("bind", (to,)).await.unwrap();
    }
    let (a, b) = (
        system.whereis(&address("a")).unwrap(),
        system.whereis(&address("b")).unwrap(),
    );
    let monitor = b.monitor();
    assert!(a.call("panic", ()).await.is_err());
    let reason = monitor.await.reason;
    let ExitReason::Linked(exit) = &reason else {
        panic!("{reason:?}")
    };
    assert_eq!((exit.from.as_str(), exit.reason.kind()), ("a", "panicked"));
    assert!(!reason.is_normal());
    // Told of the first, not of the one in between.
    let reason = exited(&mut events, &address("c")).await;
    assert!(matches!(&reason, ExitReason::Linked(exit) if exit.from == address("a")));
    match next_signal(&mut last).await {
        Seen::Exit(exit) => {
            assert_eq!(exit.from, address("c"));
            assert_eq!(exit.reason.kind(), "linked");
        }
        other => panic!("{other:?}"),
    }
    assert!(last.settle().await.is_empty());
}

#[tokio::test]
async fn a_normal_end_leaves_linked_actors_alone_and_a_link_to_nobody_ends_the_one_that_makes_it() {
    let system = system(&engine()).await;
    let mut trapping = probe(&system, "trapping", RestartPolicy::Temporary).await;
    trapping.actor.call("trap", (true,)).await.unwrap();
    let stays = probe(&system, "stays", RestartPolicy::Temporary).await;
    let leaves = probe(&system, "leaves", RestartPolicy::Temporary).await;
    stays.tell("bind", "leaves").await;
    trapping.tell("bind", "leaves").await;
    let monitor = leaves.actor.monitor();
    leaves.actor.call("stop", ()).await.unwrap();
    assert_eq!(monitor.await.reason.kind(), "normal");
    stays.actor.call("ready", ()).await.unwrap();
    assert_eq!(stays.actor.status().links, 0);
    assert!(matches!(&trapping.settle().await[..], [Seen::Exit(exit)] if exit.reason.is_normal()));

    // A link to an actor that is gone, by a reference that was kept.
    struct Late(ActorRef);
    impl Actor for Late {
        type Error = SignalRefused;
        fn surface() -> Result<Surface, WitError> {
            Ok(Surface::default())
        }
        async fn pre_start(&mut self, ctx: &mut Context) -> Result<(), SignalRefused> {
            ctx.link(&self.0)
        }
        async fn handle_message(
            &mut self,
            _: &mut Message,
            _: &mut Context,
        ) -> Result<(), SignalRefused> {
            Ok(())
        }
    }
    let gone = leaves.actor.clone();
    let spec = ChildSpec::native(address("late"), move || Late(gone.clone()));
    let refused = system.spawn(ChildSpec {
        restart: RestartPolicy::Temporary,
        ..spec
    });
    // Ended while it starts: whoever starts it hears why.
    match refused.await {
        Err(airssys_wasm_actors::StartError::Child {
            reason: ExitReason::Linked(exit),
            ..
        }) => assert_eq!(exit.reason.kind(), "no-such-actor"),
        Ok(late) => assert_eq!(late.monitor().await.reason.kind(), "no-such-actor"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn monitors_and_links_of_an_incarnation_end_with_it() {
    let system = system(&engine()).await;
    let mut events = system.events();
    let mut watcher = probe(&system, "watcher", RestartPolicy::Permanent).await;
    let victim = probe(&system, "victim", RestartPolicy::Temporary).await;
    watcher.actor.call("trap", (true,)).await.unwrap();
    watcher.tell("watch", "victim").await;
    // One whose signal is in the mailbox when its receiver dies, and one that is still to come.
    let early = probe(&system, "early", RestartPolicy::Temporary).await;
    watcher.tell("watch", "early").await;
    watcher.hold().await;
    let monitor = early.actor.monitor();
    early.actor.kill();
    monitor.await;
    watcher.actor.kill();
    started(&mut events, &address("watcher"), 1).await;
    let monitor = victim.actor.monitor();
    victim.actor.kill();
    monitor.await;
    assert!(watcher.settle().await.is_empty());
    let status = watcher.actor.status();
    assert_eq!((status.monitors, status.links), (0, 0));
}

#[tokio::test]
async fn monitors_and_links_are_bounded_by_typed_errors() {
    let system = system(&engine()).await;
    let mut watcher = probe(&system, "watcher", RestartPolicy::Permanent).await;
    let watched = probe(&system, "watched", RestartPolicy::Permanent).await;
    for _ in 0..MONITORS_MAX {
        watcher.tell("watch", "watched").await;
    }
    let refused = watcher.actor.call("watch", ("watched",)).await.unwrap_err();
    assert!(refused.to_string().contains("1024 monitors"), "{refused}");
    assert_eq!(watcher.actor.status().monitors, MONITORS_MAX);
    // Of the dead too: a signal that waits is a signal held.
    watcher.tell("unwatch", "watched").await;
    assert_eq!(watcher.actor.status().monitors, 0);
    let monitor = watched.actor.monitor();
    watcher.tell("watch", "watched").await;
    watched.actor.kill();
    monitor.await;
    assert_eq!(watcher.settle().await.len(), 1);
    assert_eq!(watcher.actor.status().monitors, 0);

    // A link needs room on both sides.
    let hub = probe(&system, "hub", RestartPolicy::Permanent).await;
    let mut names = Vec::new();
    for n in 0..=LINKS_MAX {
        let name = format!("spoke-{n}");
        let spoke = probe(&system, &name, RestartPolicy::Temporary).await;
        let bound = spoke.actor.call("bind", ("hub",)).await;
        assert_eq!(bound.is_ok(), n < LINKS_MAX, "{n}: {bound:?}");
        names.push(spoke);
    }
    assert_eq!(hub.actor.status().links, LINKS_MAX);
    assert_eq!(names[LINKS_MAX as usize].actor.status().links, 0);
}

/// A kill before, during and between messages, and while it is being started: one end each.
#[tokio::test]
async fn a_kill_at_any_moment_is_told_once() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let mut watcher = probe(&system, "watcher", RestartPolicy::Permanent).await;
    let victim = probe(&system, "victim", RestartPolicy::Permanent).await;
    let at = address("victim");
    for (round, moment) in (1_u64..).zip(["in hand", "waiting", "idle", "queued", "yielding"]) {
        watcher.tell("watch", "victim").await;
        match moment {
            "in hand" => victim.hold().await,
            "queued" => {
                victim.hold().await;
                victim.actor.cast("ready", ()).unwrap();
            }
            // It waits for a reply of somebody else.
            "waiting" => {
                victim.actor.cast("ask", ("watcher",)).unwrap();
                watcher.gate.held.notified().await;
            }
            "yielding" => tokio::task::yield_now().await,
            _ => {}
        }
        victim.actor.kill();
        // Twice is once.
        victim.actor.kill();
        if moment == "waiting" {
            watcher.gate.open.notify_one();
        }
        match next_signal(&mut watcher).await {
            Seen::Down(down, _) => {
                assert_eq!(
                    (down.incarnation, down.reason.kind()),
                    (round, "killed"),
                    "{moment}"
                );
            }
            other => panic!("{moment}: {other:?}"),
        }
        started(&mut events, &at, round).await;
    }
    assert!(watcher.settle().await.is_empty());

    // While it is being started: `pre_start` waits for ever.
    struct Stuck(mpsc::UnboundedSender<()>);
    impl Actor for Stuck {
        type Error = ProbeError;
        fn surface() -> Result<Surface, WitError> {
            Ok(Surface::default())
        }
        async fn pre_start(&mut self, _: &mut Context) -> Result<(), ProbeError> {
            let _ = self.0.send(());
            std::future::pending().await
        }
        async fn handle_message(
            &mut self,
            _: &mut Message,
            _: &mut Context,
        ) -> Result<(), ProbeError> {
            Ok(())
        }
    }
    let (tx, mut begun) = mpsc::unbounded_channel(); // unbounded: a test's own record
    let starting = tokio::spawn({
        let system = system.clone();
        let spec = ChildSpec::native(address("stuck"), move || Stuck(tx.clone()));
        async move { system.spawn(spec).await }
    });
    begun.recv().await.unwrap();
    let stuck = system.whereis(&address("stuck")).unwrap();
    watcher.tell("watch", "stuck").await;
    let outside = stuck.monitor();
    stuck.kill();
    assert!(starting.await.unwrap().is_err());
    assert_eq!(outside.await.reason.kind(), "killed");
    assert!(
        matches!(next_signal(&mut watcher).await, Seen::Down(down, None) if down.incarnation == 1)
    );
    assert!(watcher.settle().await.is_empty());
}

#[tokio::test]
async fn a_supervisor_that_gives_up_or_is_killed_hides_no_end() {
    let engine = engine();
    let system = System::start(airssys_wasm_actors::SystemConfig::new(engine.clone()))
        .await
        .unwrap();
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    let spec = airssys_wasm_actors::SupervisorSpec::new(address("team")).with(worker);
    let team = system.supervise(spec).await.unwrap();
    let workers = team.children();
    // The supervisor itself is killed: the end is told when its successor starts the child again.
    let monitor = workers[0].monitor();
    team.kill();
    let down = monitor.await;
    assert_eq!((down.incarnation, down.reason.kind()), (1, "killed"));
    assert!(workers[0].status().incarnation > 1);
    // One restart within 5 s is allowed, so the second end is the registration's.
    for _ in 0..2 {
        let monitor = workers[0].monitor();
        workers[0].kill();
        assert_eq!(monitor.await.reason.kind(), "killed");
    }
    assert_eq!(team.ended().await.kind(), "crash-loop");
    assert!(system.whereis(&address("worker")).is_none());
}

#[tokio::test]
async fn a_monitor_of_the_host_that_is_dropped_leaves_nothing_behind() {
    let system = system(&engine()).await;
    let victim = probe(&system, "victim", RestartPolicy::Temporary).await;
    for _ in 0..10 {
        drop(victim.actor.monitor());
    }
    let kept = victim.actor.monitor();
    victim.actor.kill();
    let id = kept.id();
    let down = kept.await;
    assert_eq!((down.monitor, down.address.as_str()), (id, "victim"));
}
