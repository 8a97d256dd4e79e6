//! What follows the end of a child: S13, S15, S17, S18 and S20.

use std::sync::atomic::Ordering;
use std::time::Duration;

use airssys_wasm::Engine;
use airssys_wasm_actors::{
    AutoShutdown, Backoff, ChildHealth, ChildSpec, ChildState, Event, ExitReason, HealthCheck,
    RestartPolicy, StartError, Strategy, Supervisor, SupervisorSpec, System,
};

use super::{calm, happened, kid, often, state_of, system, system_on};
use crate::guests::{address, engine, exited, started};

const POLICIES: [RestartPolicy; 3] = [
    RestartPolicy::Permanent,
    RestartPolicy::Transient,
    RestartPolicy::Temporary,
];

/// Has a child end by itself.
fn ends(system: &System, name: &str, how: &str) {
    let actor = system.whereis(&address(name)).unwrap();
    match how {
        "kill" => actor.kill(),
        how => actor.cast(how, ()).unwrap(),
    }
}

/// Answered behind all that its children have told it before.
async fn has_decided(app: &Supervisor) {
    let unknown = app.terminate_child(&address("nobody")).await;
    assert!(unknown.is_err());
}

/// The same, and whether the supervisor goes on; if not, it has ended when this returns.
async fn goes_on(app: &Supervisor) -> bool {
    match app.start_child(kid("probe", &calm())).await {
        Ok(_) => {
            app.stop_child(&address("probe")).await.unwrap();
            true
        }
        Err(StartError::SupervisorEnded(_)) => {
            app.ended().await;
            false
        }
        Err(other) => panic!("{other}"),
    }
}

/// Three restart policies and five ways to end.
#[tokio::test(start_paused = true)]
async fn s13_each_restart_policy_with_each_way_to_end() {
    let engine = engine();
    for restart in POLICIES {
        for (how, kind, is_normal) in [
            ("leave", "normal", true),
            ("shut", "shutdown", true),
            ("kill", "killed", false),
            ("fail", "error", false),
            ("panic", "panicked", false),
        ] {
            let system = system_on(&engine).await;
            let spec = ChildSpec {
                restart,
                ..kid("a", &calm())
            };
            let app = system.supervise(often("app").with(spec)).await.unwrap();
            let mut events = system.events();
            ends(&system, "a", how);
            assert_eq!(exited(&mut events, &address("a")).await.kind(), kind);
            let comes_back = match restart {
                RestartPolicy::Permanent => true,
                RestartPolicy::Transient => !is_normal,
                RestartPolicy::Temporary => false,
            };
            if comes_back {
                started(&mut events, &address("a"), 1).await;
            }
            has_decided(&app).await;
            // The spec of a temporary one goes with it.
            let wanted = match (comes_back, restart) {
                (true, _) => Some(ChildState::Running),
                (false, RestartPolicy::Temporary) => None,
                (false, _) => Some(ChildState::Stopped),
            };
            assert_eq!(state_of(&app, "a"), wanted, "{restart:?} {how}");
            assert!(!app.has_ended());
            app.stop().await;
        }
    }
}

/// A supervisor of one child that allows three restarts within ten seconds.
async fn three_within_ten() -> (System, Supervisor) {
    let system = system().await;
    let spec = SupervisorSpec::new(address("app"))
        .intensity(3, Duration::from_secs(10))
        .with(kid("a", &calm()));
    let app = system.supervise(spec).await.unwrap();
    (system, app)
}

/// Kills the child at each of these milliseconds; whether the supervisor is left.
async fn survives(at: &[u64]) -> bool {
    let (system, app) = three_within_ten().await;
    let mut events = system.events();
    let began = tokio::time::Instant::now();
    for (time, incarnation) in at.iter().zip(1_u64..) {
        tokio::time::sleep_until(began + Duration::from_millis(*time)).await;
        system.whereis(&address("a")).unwrap().kill();
        exited(&mut events, &address("a")).await;
        if !goes_on(&app).await {
            assert!(matches!(app.ended().await, ExitReason::CrashLoop));
            return false;
        }
        started(&mut events, &address("a"), incarnation).await;
    }
    true
}

#[tokio::test(start_paused = true)]
async fn s15_exactly_so_many_restarts_are_allowed_within_a_window_that_slides() {
    assert!(survives(&[0, 0, 0]).await);
    assert!(!survives(&[0, 0, 0, 0]).await);
    // The first of four is forgotten once it is older than the period, and not before.
    assert!(!survives(&[0, 4_000, 8_000, 9_990]).await);
    assert!(survives(&[0, 4_000, 8_000, 10_010]).await);
    // It slides: no multiple of the period begins anew.
    assert!(survives(&[0, 4_000, 8_000, 10_010, 14_010, 18_010]).await);
    assert!(!survives(&[9_000, 9_500, 10_500, 11_000]).await);
    // One that is forgotten makes room for one only.
    assert!(!survives(&[0, 8_000, 8_500, 11_000, 11_500]).await);
}

#[tokio::test(start_paused = true)]
async fn s15_spaced_restarts_never_end_the_supervisor() {
    let spaced: Vec<_> = (0..500).map(|n| n * 3_340).collect();
    assert!(survives(&spaced).await);
}

/// The window is the supervisor's, not the child's.
#[tokio::test(start_paused = true)]
async fn s15_the_restarts_of_all_children_are_counted_together() {
    let system = system().await;
    let names = ["a", "b", "c"];
    let spec = SupervisorSpec::new(address("app")).intensity(2, Duration::from_secs(10));
    let spec = names
        .iter()
        .fold(spec, |spec, name| spec.with(kid(name, &calm())));
    let app = system.supervise(spec).await.unwrap();
    let mut events = system.events();
    for name in ["a", "b"] {
        ends(&system, name, "kill");
        started(&mut events, &address(name), 1).await;
    }
    ends(&system, "c", "kill");
    assert!(matches!(app.ended().await, ExitReason::CrashLoop));
}

/// One that ends between the stop of the group and its own restart is nothing new; one that ends when it has been
/// restarted, and others have not, is: its group is restarted once more, when all are up.
#[tokio::test(start_paused = true)]
async fn s17_another_child_ends_during_a_group_restart() {
    for (strategy, first, again) in [
        (
            Strategy::OneForAll,
            vec!["-d", "-a", "+a", "+b"],
            vec!["-d", "-c", "-a", "+a", "+b", "+c", "+d"],
        ),
        (
            Strategy::RestForOne,
            vec!["-d", "+b"],
            vec!["-d", "-c", "+b", "+c", "+d"],
        ),
    ] {
        let system = system().await;
        let (slow, stubborn) = (calm(), calm());
        let spec = often("app")
            .strategy(strategy)
            .with(kid("a", &calm()))
            .with(kid("b", &calm()))
            .with(kid("c", &slow))
            .with(kid("d", &stubborn).shutdown_infinity());
        let app = system.supervise(spec).await.unwrap();
        let mut events = system.events();
        let d = system.whereis(&address("d")).unwrap();
        d.cast("hold", ()).unwrap();
        stubborn.held.notified().await;
        slow.slow.store(1, Ordering::Relaxed);
        // The group is being stopped: `d` is asked first, and `c` ends while it is waited for.
        ends(&system, "b", "kill");
        assert_eq!(happened(&mut events, 1).await, ["-b"]);
        ends(&system, "c", "fail");
        assert_eq!(happened(&mut events, 1).await, ["-c"]);
        stubborn.gate.notify_one();
        assert_eq!(happened(&mut events, first.len()).await, first);
        // The group is being started: `c` stands at the gate, and `b`, which is up again, ends.
        slow.held.notified().await;
        ends(&system, "b", "kill");
        assert_eq!(happened(&mut events, 1).await, ["-b"]);
        // The group waits for `c`, and `b` for the group.
        has_decided(&app).await;
        assert_eq!(state_of(&app, "b"), Some(ChildState::Restarting));
        assert_eq!(state_of(&app, "c"), Some(ChildState::Starting));
        slow.gate.notify_one();
        assert_eq!(happened(&mut events, 2).await, ["+c", "+d"]);
        assert_eq!(happened(&mut events, again.len()).await, again);
        assert!(!app.has_ended());
        app.stop().await;
    }
}

/// A start that fails within the restart of a group is tried again with its group, and each try counts.
#[tokio::test(start_paused = true)]
async fn s17_a_start_that_fails_during_a_group_restart_counts() {
    for (fails, survives) in [(2, true), (3, false)] {
        let system = system().await;
        let script = calm();
        let spec = SupervisorSpec::new(address("app"))
            .strategy(Strategy::OneForAll)
            .intensity(3, Duration::from_secs(10))
            .with(kid("a", &calm()))
            .with(kid("b", &script))
            .with(kid("c", &calm()));
        let app = system.supervise(spec).await.unwrap();
        let mut events = system.events();
        script.fails.store(fails, Ordering::Relaxed);
        ends(&system, "c", "kill");
        if survives {
            // One restart and two tries; `a` is stopped and started with each.
            let first = ["-c", "-b", "-a", "+a", "-a", "+a", "-a", "+a", "+b", "+c"];
            assert_eq!(happened(&mut events, first.len()).await, first);
            has_decided(&app).await;
            assert!(!app.has_ended());
        } else {
            assert!(matches!(app.ended().await, ExitReason::CrashLoop));
            assert_eq!(script.alive.load(Ordering::Relaxed), 0);
        }
    }
}

/// A loop of starts that fail at once, without any wait, holds up neither requests nor the end.
#[tokio::test(start_paused = true)]
async fn s18_a_stop_does_not_hang_while_a_start_keeps_failing() {
    for waits in [None, Some(Backoff::default())] {
        let system = system().await;
        let script = calm();
        let spec = ChildSpec {
            backoff: waits,
            ..kid("a", &script)
        };
        let app = SupervisorSpec::new(address("app")).intensity(u32::MAX, Duration::from_secs(1));
        let app = system.supervise(app.with(spec)).await.unwrap();
        let mut events = system.events();
        script.fails.store(u32::MAX, Ordering::Relaxed);
        ends(&system, "a", "kill");
        exited(&mut events, &address("a")).await;
        app.start_child(kid("b", &calm())).await.unwrap();
        app.terminate_child(&address("b")).await.unwrap();
        assert!(script.fails.load(Ordering::Relaxed) < u32::MAX || waits.is_some());
        app.stop().await;
        assert!(matches!(app.ended().await, ExitReason::Shutdown));
        let tried = script.fails.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(script.fails.load(Ordering::Relaxed), tried);
        assert!(system.whereis(&address("a")).is_none());
    }
}

/// Two significant children and one that is not; the first to end does so in one way, and then the second leaves.
/// Whether the supervisor goes on after the first, and after both.
async fn goes_on_after(
    engine: &Engine,
    auto: AutoShutdown,
    restart: RestartPolicy,
    how: &str,
) -> [bool; 2] {
    let system = system_on(engine).await;
    let child = |name| ChildSpec {
        restart,
        ..kid(name, &calm()).significant()
    };
    let spec = often("app")
        .auto_shutdown(auto)
        .with(child("a"))
        .with(kid("other", &calm()))
        .with(child("b"));
    let app = system.supervise(spec).await.unwrap();
    let mut events = system.events();
    // One that is not significant says nothing, whatever its end.
    ends(&system, "other", "leave");
    started(&mut events, &address("other"), 1).await;
    if how == "request" {
        app.terminate_child(&address("a")).await.unwrap();
    } else {
        ends(&system, "a", how);
        exited(&mut events, &address("a")).await;
    }
    let after_first = goes_on(&app).await;
    if after_first {
        ends(&system, "b", "leave");
        exited(&mut events, &address("b")).await;
    }
    let after_both = goes_on(&app).await;
    if !after_both {
        assert!(matches!(app.ended().await, ExitReason::Shutdown));
        assert!(system.actors().is_empty());
    }
    [after_first, after_both]
}

#[tokio::test(start_paused = true)]
async fn s20_significant_children_by_rule_restart_policy_and_way_to_end() {
    use AutoShutdown::{AllSignificant, AnySignificant};
    use RestartPolicy::{Temporary, Transient};
    let engine = engine();
    for (auto, restart, how, wanted) in [
        // The first final end of its own is enough.
        (AnySignificant, Transient, "leave", [false, false]),
        (AnySignificant, Transient, "shut", [false, false]),
        (AnySignificant, Temporary, "leave", [false, false]),
        (AnySignificant, Temporary, "kill", [false, false]),
        (AnySignificant, Temporary, "fail", [false, false]),
        // An end that is followed by a restart is not final, and one by request is not its own.
        (AnySignificant, Transient, "kill", [true, false]),
        (AnySignificant, Transient, "fail", [true, false]),
        (AnySignificant, Transient, "request", [true, false]),
        (AnySignificant, Temporary, "request", [true, false]),
        // The last one is waited for.
        (AllSignificant, Transient, "leave", [true, false]),
        (AllSignificant, Transient, "shut", [true, false]),
        (AllSignificant, Temporary, "leave", [true, false]),
        (AllSignificant, Temporary, "kill", [true, false]),
        // It is up again when the other leaves.
        (AllSignificant, Transient, "kill", [true, true]),
        (AllSignificant, Transient, "fail", [true, true]),
        // It is down when the other leaves, whoever has wanted that.
        (AllSignificant, Transient, "request", [true, false]),
        (AllSignificant, Temporary, "request", [true, false]),
    ] {
        let goes_on = goes_on_after(&engine, auto, restart, how).await;
        assert_eq!(goes_on, wanted, "{auto:?} {restart:?} {how}");
    }
}

/// A significant child that is stopped with its group has not ended by itself.
#[tokio::test(start_paused = true)]
async fn s20_a_significant_child_may_be_stopped_with_its_group() {
    let system = system().await;
    let script = calm();
    let spec = often("app")
        .strategy(Strategy::OneForAll)
        .auto_shutdown(AutoShutdown::AnySignificant)
        .with(kid("a", &script).restart_transient().significant())
        .with(kid("b", &script));
    let app = system.supervise(spec).await.unwrap();
    let mut events = system.events();
    ends(&system, "b", "kill");
    assert_eq!(happened(&mut events, 4).await, ["-b", "-a", "+a", "+b"]);
    assert!(!app.has_ended());
    ends(&system, "a", "leave");
    assert!(matches!(app.ended().await, ExitReason::Shutdown));
}

/// Promise 2: a supervisor that is made again, and fails at that once, has thrown away no mail of its children.
#[tokio::test(start_paused = true)]
async fn a_boot_that_fails_once_keeps_the_mail_of_the_children() {
    let system = system().await;
    let (script, other) = (calm(), calm());
    let below = often("app/below")
        .with(kid("app/below/a", &script))
        .with(kid("app/below/b", &other));
    let app = often("app").with(ChildSpec::supervisor(below));
    let app = system.supervise(app).await.unwrap();
    let below = app.supervisors().remove(0);
    let a = system.whereis(&address("app/below/a")).unwrap();
    let hold = a.function("hold").unwrap();
    let held = tokio::spawn(async move { hold.call(()).await });
    script.held.notified().await;
    for _ in 0..3 {
        a.cast("echo", ()).unwrap();
    }
    // The second child's start fails once while the supervisor is made again.
    other.fails.store(1, Ordering::Relaxed);
    below.kill();
    assert_eq!(held.await.unwrap().unwrap_err().kind(), "callee-died");
    a.call("echo", ()).await.unwrap();
    let counted = system.counters();
    assert_eq!((counted.casts_handled, counted.dead_letters), (3, 0));
    assert_eq!(other.fails.load(Ordering::Relaxed), 0);
    system.shutdown().await;
}

/// It is asked once it is up, and one that does not come up has nobody left who would ask it.
#[tokio::test(start_paused = true)]
async fn a_child_that_gets_a_health_check_while_it_starts_is_asked_once_it_is_up() {
    let system = system().await;
    let app = system.supervise(often("app")).await.unwrap();
    let (a, script) = (address("a"), calm());
    app.start_child(kid("a", &script)).await.unwrap();
    app.terminate_child(&a).await.unwrap();
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let minute = async || tokio::time::sleep(Duration::from_secs(60)).await;
    minute().await;
    let before = alive();
    let mut events = system.events();
    for fails in [1, 0] {
        script.slow.store(1, Ordering::Relaxed);
        script.fails.store(fails, Ordering::Relaxed);
        let start = {
            let (app, a) = (app.clone(), a.clone());
            tokio::spawn(async move { app.start_stopped_child(&a).await })
        };
        script.held.notified().await;
        let check = HealthCheck {
            interval: Duration::from_secs(1 + u64::from(fails)),
            threshold: 1,
            ..HealthCheck::default()
        };
        system.retune(kid("a", &script).health(check)).unwrap();
        // Less than it has to start.
        tokio::time::sleep(Duration::from_secs(20)).await;
        script.gate.notify_one();
        assert_eq!(start.await.unwrap().is_ok(), fails == 0);
        if fails == 1 {
            minute().await;
            assert_eq!(alive(), before);
        }
    }
    script.ill.store(1, Ordering::Relaxed);
    let health = loop {
        if let Event::Health { health, .. } = events.recv().await.unwrap() {
            break health;
        }
    };
    assert!(matches!(health, ChildHealth::Failed(_)), "{health:?}");
    system.shutdown().await;
}
