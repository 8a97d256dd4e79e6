//! Starts, stops, and what is known of the children in between: S1, S3, S8 to S11.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use airssys_wasm_actors::{
    Backoff, ChildSpec, ChildState, Event, Events, ExitReason, StartError, StopReport, Strategy,
    Supervisor, SupervisorSpec, System, SystemConfig,
};
use tokio::time::Instant;

use super::{Script, calm, happened, kid, often, state_of, system};
use crate::guests::{address, engine, exited};

/// Has a child take a message that it does not come to the end of before its gate is opened.
async fn hold(system: &System, name: &str, script: &Script) {
    let actor = system.whereis(&address(name)).unwrap();
    actor.cast("hold", ()).unwrap();
    script.held.notified().await;
}

/// A stop that has begun: whatever is asked of the supervisor from now on is refused.
async fn stopping(app: &Supervisor) -> tokio::task::JoinHandle<StopReport> {
    let task = tokio::spawn({
        let app = app.clone();
        async move { app.stop().await }
    });
    tokio::task::yield_now().await;
    let late = app.start_child(kid("late", &calm())).await;
    assert!(matches!(late, Err(StartError::SupervisorEnded(_))));
    task
}

/// The next ends of actors, in order, and how; nothing may be started meanwhile.
async fn ends(events: &mut Events, count: usize) -> Vec<(String, &'static str)> {
    let mut ends = Vec::new();
    while ends.len() < count {
        match events.recv().await.unwrap() {
            Event::Exited {
                address, reason, ..
            } => ends.push((address.to_string(), reason.kind())),
            Event::Started { address, .. } => panic!("`{address}` was started"),
            _ => {}
        }
    }
    ends
}

#[tokio::test(start_paused = true)]
async fn s01_what_is_started_in_order_answers_and_is_stopped_in_reverse() {
    let system = system().await;
    let mut events = system.events();
    let script = calm();
    let below = often("team")
        .with(kid("c", &script))
        .with(kid("d", &script));
    let spec = often("app")
        .with(kid("a", &script))
        .with(kid("b", &script))
        .with(ChildSpec::supervisor(below))
        .with(kid("e", &script));
    let app = system.supervise(spec).await.unwrap();
    assert_eq!(
        happened(&mut events, 5).await,
        ["+a", "+b", "+c", "+d", "+e"]
    );
    for name in ["a", "b", "c", "d", "e"] {
        let actor = system.whereis(&address(name)).unwrap();
        actor.call("echo", ()).await.unwrap();
    }
    let report = app.stop().await;
    assert_eq!(
        happened(&mut events, 5).await,
        ["-e", "-d", "-c", "-b", "-a"]
    );
    let stopped = ["e", "team", "b", "a"].map(address);
    assert_eq!(
        (&report.stopped[..], &report.killed[..]),
        (&stopped[..], &[][..])
    );
    assert!(app.has_ended() && matches!(app.ended().await, ExitReason::Shutdown));
    assert_eq!(script.alive.load(Ordering::Relaxed), 0);
    assert!(system.actors().is_empty());
    // Once more there is nothing to stop, and nobody waits.
    assert!(app.stop().await.stopped.is_empty());
}

#[tokio::test(start_paused = true)]
async fn s03_an_error_or_a_panic_at_the_start_reaches_the_starter_and_nothing_else() {
    let system = system().await;
    let spec = often("app").with(kid("well", &calm()));
    let app = system.supervise(spec).await.unwrap();
    for panics in [false, true] {
        let script = calm();
        match panics {
            true => script.panics.store(1, Ordering::Relaxed),
            false => script.fails.store(1, Ordering::Relaxed),
        }
        let kind = if panics { "panicked" } else { "start-failed" };
        match app.start_child(kid("a", &script)).await {
            Err(StartError::Child {
                address: who,
                reason,
            }) => assert_eq!((who, reason.kind()), (address("a"), kind)),
            other => panic!("{other:?}"),
        }
        // As one of the first children it is the end of its supervisor, whose starter is told.
        script.fails.store(u32::from(!panics), Ordering::Relaxed);
        let other = often("other")
            .with(kid("b", &calm()))
            .with(kid("c", &script));
        match system.supervise(other).await {
            Err(StartError::Child { address: who, .. }) => assert_eq!(who, address("c")),
            other => panic!("{other:?}"),
        }
        assert_eq!(script.alive.load(Ordering::Relaxed), 0);
        for name in ["a", "b", "c"] {
            assert!(system.whereis(&address(name)).is_none(), "{name}");
        }
    }
    let well = system.whereis(&address("well")).unwrap();
    well.call("echo", ()).await.unwrap();
    assert_eq!(well.status().incarnation, 1);
    assert!(!app.has_ended());
}

fn counted(app: &Supervisor) -> (usize, usize, usize, usize) {
    let count = app.count_children();
    (count.specs, count.active, count.supervisors, count.workers)
}

#[tokio::test(start_paused = true)]
async fn s08_children_are_shown_and_counted_right_at_every_step() {
    let system = system().await;
    let script = calm();
    let waits = Backoff {
        initial: Duration::from_secs(3_600),
        max: Duration::from_secs(3_600),
        ..Backoff::default()
    };
    let app = system.supervise(often("app")).await.unwrap();
    assert_eq!(counted(&app), (0, 0, 0, 0));
    app.start_child(kid("a", &script).backoff(waits))
        .await
        .unwrap();
    assert_eq!(counted(&app), (1, 1, 0, 1));
    app.start_child(kid("b", &calm()).restart_temporary())
        .await
        .unwrap();
    let team = often("team").with(kid("c", &calm()));
    app.start_child(ChildSpec::supervisor(team)).await.unwrap();
    // The children of a child are its own affair.
    assert_eq!(counted(&app), (3, 3, 1, 2));
    let order: Vec<_> = app
        .which_children()
        .iter()
        .map(|info| info.address.to_string())
        .collect();
    assert_eq!(order, ["a", "b", "team"]);

    app.terminate_child(&address("team")).await.unwrap();
    assert_eq!(counted(&app), (3, 2, 1, 2));
    assert_eq!(state_of(&app, "team"), Some(ChildState::Stopped));
    app.terminate_child(&address("b")).await.unwrap();
    assert_eq!(counted(&app), (2, 1, 1, 1));
    assert_eq!(state_of(&app, "b"), None);
    app.start_stopped_child(&address("team")).await.unwrap();
    assert_eq!(counted(&app), (2, 2, 1, 1));

    let mut events = system.events();
    system.whereis(&address("a")).unwrap().kill();
    exited(&mut events, &address("a")).await;
    // OTP counts one that waits to be tried again as active.
    app.start_child(kid("d", &calm())).await.unwrap();
    assert_eq!(state_of(&app, "a"), Some(ChildState::Restarting));
    assert_eq!(counted(&app), (3, 3, 1, 2));
    app.terminate_child(&address("a")).await.unwrap();
    assert_eq!(state_of(&app, "a"), Some(ChildState::Stopped));
    assert_eq!(counted(&app), (3, 2, 1, 2));
    app.delete_child(&address("a")).await.unwrap();
    assert_eq!(counted(&app), (2, 2, 1, 1));
    app.stop().await;
    assert_eq!(app.count_children().active, 0);
}

#[tokio::test(start_paused = true)]
async fn s08_two_thousand_children_are_shown_and_counted_while_some_restart() {
    const CHILDREN: usize = 2_000;
    for strategy in [Strategy::OneForOne, Strategy::SimpleOneForOne] {
        let config = SystemConfig {
            events_capacity: 1 << 14,
            ..SystemConfig::new(engine())
        };
        let system = System::start(config).await.unwrap();
        let spec = SupervisorSpec::new(address("app")).strategy(strategy);
        let spec = spec.intensity(u32::MAX, Duration::from_secs(1));
        let app = system.supervise(spec).await.unwrap();
        let waits = Backoff {
            initial: Duration::from_secs(3_600),
            max: Duration::from_secs(3_600),
            ..Backoff::default()
        };
        let name = |n: usize| format!("kid-{n}");
        let one = kid("kid", &calm()).backoff(waits);
        let specs = (0..CHILDREN).map(|n| ChildSpec {
            address: address(&name(n)),
            ..one.clone()
        });
        let kids = app.start(specs.collect()).await.unwrap();
        assert_eq!(counted(&app), (CHILDREN, CHILDREN, 0, CHILDREN));
        let mut events = system.events();
        for actor in kids.iter().skip(1).step_by(2) {
            actor.kill();
        }
        for _ in 0..CHILDREN / 2 {
            while !matches!(events.recv().await.unwrap(), Event::Exited { .. }) {}
        }
        // Answered behind the last of these ends.
        app.start_child(kid("last", &calm())).await.unwrap();
        let shown = app.which_children();
        assert_eq!(shown.len(), CHILDREN + 1);
        for (n, info) in shown.iter().take(CHILDREN).enumerate() {
            assert_eq!(info.address.as_str(), name(n));
            let wanted = match n % 2 {
                0 => ChildState::Running,
                _ => ChildState::Restarting,
            };
            assert_eq!(info.state, wanted, "{}", info.address);
        }
        assert_eq!(counted(&app), (CHILDREN + 1, CHILDREN + 1, 0, CHILDREN + 1));
        // Running ones and restarting ones alike, each step seen.
        let forgets = usize::from(strategy == Strategy::SimpleOneForOne);
        for n in 1..=100 {
            app.terminate_child(&address(&name(n))).await.unwrap();
            let specs = CHILDREN + 1 - n * forgets;
            assert_eq!(counted(&app), (specs, CHILDREN + 1 - n, 0, specs));
        }
        assert_eq!(state_of(&app, "kid-0"), Some(ChildState::Running));
        assert_eq!(state_of(&app, "kid-101"), Some(ChildState::Restarting));
        app.stop().await;
        assert_eq!(app.count_children().active, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn s09_a_child_has_as_long_to_end_as_its_policy_says() {
    const HOUR: Duration = Duration::from_secs(3_600);
    type Policy = fn(ChildSpec) -> ChildSpec;
    let cases: [(Policy, bool, u64, &str); 4] = [
        // It needs an hour, and has it.
        (ChildSpec::shutdown_infinity, true, 3_600, "shutdown"),
        (
            |spec| spec.shutdown_graceful(Duration::from_secs(7_200)),
            true,
            3_600,
            "shutdown",
        ),
        (
            |spec| spec.shutdown_graceful(Duration::from_secs(60)),
            false,
            60,
            "killed",
        ),
        (ChildSpec::shutdown_brutal, false, 0, "killed"),
    ];
    for (policy, opens, seconds, ends) in cases {
        let system = system().await;
        let script = calm();
        let spec = often("app").with(policy(kid("a", &script)));
        let app = system.supervise(spec).await.unwrap();
        hold(&system, "a", &script).await;
        let mut events = system.events();
        let began = Instant::now();
        let opening = Arc::clone(&script);
        let opener = tokio::spawn(async move {
            if opens {
                tokio::time::sleep(HOUR).await;
                opening.gate.notify_one();
            }
        });
        let report = app.stop().await;
        assert_eq!(began.elapsed().as_secs(), seconds);
        opener.await.unwrap();
        assert_eq!(exited(&mut events, &address("a")).await.kind(), ends);
        let a = [address("a")];
        let (stopped, killed) = match ends {
            "killed" => (&[][..], &a[..]),
            _ => (&a[..], &[][..]),
        };
        assert_eq!((&report.stopped[..], &report.killed[..]), (stopped, killed));
        assert_eq!(script.alive.load(Ordering::Relaxed), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn s10_children_that_end_by_themselves_during_a_shutdown_keep_their_reasons_and_stay_down() {
    for strategy in [
        Strategy::OneForOne,
        Strategy::OneForAll,
        Strategy::RestForOne,
    ] {
        let system = system().await;
        let last = calm();
        let spec = often("app")
            .strategy(strategy)
            .with(kid("fails", &calm()))
            .with(kid("killed", &calm()))
            .with(kid("leaves", &calm()).restart_transient())
            .with(kid("panics", &calm()).restart_temporary())
            .with(kid("last", &last).shutdown_infinity());
        let app = system.supervise(spec).await.unwrap();
        // The last is asked first, and takes its time.
        hold(&system, "last", &last).await;
        let mut events = system.events();
        let stop = stopping(&app).await;
        let actor = |name: &str| system.whereis(&address(name)).unwrap();
        actor("fails").cast("fail", ()).unwrap();
        actor("leaves").cast("leave", ()).unwrap();
        actor("panics").cast("panic", ()).unwrap();
        actor("killed").kill();
        let mut ended = ends(&mut events, 4).await;
        ended.sort();
        let wanted = [
            ("fails", "error"),
            ("killed", "killed"),
            ("leaves", "normal"),
            ("panics", "panicked"),
        ];
        assert_eq!(ended, wanted.map(|(name, kind)| (name.to_owned(), kind)));
        assert!(!stop.is_finished());
        last.gate.notify_one();
        let report = stop.await.unwrap();
        // They needed no killing by their supervisor.
        assert_eq!((report.stopped.len(), report.killed.len()), (5, 0));
        assert_eq!(
            ends(&mut events, 1).await,
            [("last".to_owned(), "shutdown")]
        );
        assert!(matches!(app.ended().await, ExitReason::Shutdown));
        assert!(system.actors().is_empty());
    }
}

/// Children that do not end when they are asked, each killed when its own time is up.
async fn stubborn(strategy: Strategy, seconds: &[u64]) -> (Duration, StopReport) {
    let system = system().await;
    let app = system
        .supervise(often("app").strategy(strategy))
        .await
        .unwrap();
    for (n, time) in seconds.iter().enumerate() {
        let (name, script) = (format!("kid-{n}"), calm());
        let spec = kid(&name, &script).shutdown_graceful(Duration::from_secs(*time));
        app.start_child(spec).await.unwrap();
        hold(&system, &name, &script).await;
    }
    let began = Instant::now();
    let report = app.stop().await;
    (began.elapsed(), report)
}

#[tokio::test(start_paused = true)]
async fn s11_a_dynamic_shutdown_takes_the_longest_time_and_not_the_sum() {
    let seconds = [3, 60, 7, 20, 60, 1];
    let (took, report) = stubborn(Strategy::SimpleOneForOne, &seconds).await;
    assert_eq!(took.as_secs(), 60);
    assert_eq!(
        (report.stopped.len(), report.killed.len()),
        (0, seconds.len())
    );
    // Static children are stopped one after the other.
    let (took, report) = stubborn(Strategy::OneForOne, &seconds).await;
    assert_eq!(took.as_secs(), seconds.iter().sum::<u64>());
    assert_eq!(
        (report.stopped.len(), report.killed.len()),
        (0, seconds.len())
    );
}
