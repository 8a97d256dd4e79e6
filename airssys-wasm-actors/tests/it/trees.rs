//! Trees of native actors: the scenarios of OTP's supervisor by number, each where a random one would not say why.
//!
//! The table in `docs/supervision.md` says what each number stands for, and which tests there are of it.

mod changes;
mod races;
mod recovery;
mod scale;
mod stops;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use airssys_wasm::{Engine, Surface, WitError};
use airssys_wasm_actors::{
    Actor, AutoShutdown, CallError, ChildHealth, ChildSpec, ChildState, Context, Event, Events,
    ExitReason, HealthCheck, Message, SpecError, StartError, Started, StopError, Strategy,
    Supervisor, SupervisorSpec, System, SystemConfig,
};
use tokio::sync::Notify;

use crate::guests::{address, engine, exited, started};

/// What the next starts and answers of a [`Kid`] are.
#[derive(Default)]
struct Script {
    /// How many starts fail from now on.
    fails: AtomicU32,
    /// Whether a start is declined.
    declines: AtomicU32,
    /// Whether a start panics.
    panics: AtomicU32,
    /// How many starts stop at the gate from now on.
    slow: AtomicU32,
    /// How many incarnations from now on are killed right after their start, by a task that has given way so often.
    cursed: AtomicU32,
    fuse: AtomicU32,
    /// Whether it says that it has failed.
    ill: AtomicU32,
    /// How many there are.
    alive: AtomicU32,
    /// Somebody stands at the gate.
    held: Notify,
    gate: Notify,
}

impl Script {
    async fn at_the_gate(&self) {
        self.held.notify_one();
        self.gate.notified().await;
    }
}

/// Takes one off, if there is one.
fn take_one(of: &AtomicU32) -> bool {
    let left = of.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
    left.is_ok()
}

#[derive(Debug, thiserror::Error)]
#[error("on purpose")]
struct Scripted;

struct Kid(Arc<Script>);

impl Actor for Kid {
    type Error = Scripted;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:kid;
             interface kid {
                 fail: func(); leave: func(); shut: func(); panic: func(); hold: func(); echo: func();
             }",
        )
    }

    async fn pre_start(&mut self, ctx: &mut Context) -> Result<(), Scripted> {
        if self.0.declines.load(Ordering::Relaxed) > 0 {
            ctx.decline();
        }
        assert!(
            self.0.panics.load(Ordering::Relaxed) == 0,
            "a panic at the start"
        );
        if take_one(&self.0.slow) {
            self.0.at_the_gate().await;
        }
        if take_one(&self.0.cursed) {
            let (fuse, own) = (
                self.0.fuse.load(Ordering::Relaxed),
                ctx.whereis(ctx.address()),
            );
            tokio::spawn(async move {
                for _ in 0..fuse {
                    tokio::task::yield_now().await;
                }
                own.unwrap().kill();
            });
        }
        match take_one(&self.0.fails) {
            true => Err(Scripted),
            false => Ok(()),
        }
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> Result<(), Scripted> {
        match message.function() {
            "fail" => return Err(Scripted),
            "leave" => ctx.stop(),
            "shut" => ctx.exit(ExitReason::Shutdown),
            "panic" => panic!("on purpose"),
            "hold" => self.0.at_the_gate().await,
            _ => {}
        }
        message.reply(());
        Ok(())
    }

    async fn health(&mut self) -> ChildHealth {
        match self.0.ill.load(Ordering::Relaxed) {
            0 => ChildHealth::Healthy,
            _ => ChildHealth::Failed("ill".to_owned()),
        }
    }
}

impl Drop for Kid {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::Relaxed);
        assert!(
            self.0.ill.load(Ordering::Relaxed) != 7,
            "a panic in the drop of a state"
        );
    }
}

fn kid(name: &str, script: &Arc<Script>) -> ChildSpec {
    let script = Arc::clone(script);
    ChildSpec::native(address(name), move || {
        script.alive.fetch_add(1, Ordering::Relaxed);
        Kid(Arc::clone(&script))
    })
}

fn calm() -> Arc<Script> {
    Arc::default()
}

async fn system() -> System {
    system_on(&engine()).await
}

/// One of many systems in a test, which share what is dear to make.
async fn system_on(engine: &Engine) -> System {
    System::start(SystemConfig::new(engine.clone()))
        .await
        .unwrap()
}

fn often(name: &str) -> SupervisorSpec {
    SupervisorSpec::new(address(name)).intensity(1_000, Duration::from_secs(1))
}

fn state_of(supervisor: &Supervisor, child: &str) -> Option<ChildState> {
    let children = supervisor.which_children();
    let found = children
        .into_iter()
        .find(|info| info.address == address(child));
    found.map(|info| info.state)
}

/// The next starts and ends of these actors, in order.
async fn happened(events: &mut Events, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.len() < count {
        match events.recv().await.unwrap() {
            Event::Started { address, .. } => lines.push(format!("+{address}")),
            Event::Exited { address, .. } => lines.push(format!("-{address}")),
            _ => {}
        }
    }
    lines
}

#[tokio::test(start_paused = true)]
async fn s02_a_child_that_declines_is_kept_if_it_is_not_temporary() {
    let system = system().await;
    let app = system.supervise(often("app")).await.unwrap();
    let script = calm();
    script.declines.store(1, Ordering::Relaxed);
    let declined = app.start_child(kid("a", &script)).await;
    assert!(matches!(declined, Err(StartError::Declined(_))));
    assert_eq!(state_of(&app, "a"), Some(ChildState::Stopped));
    let temporary = kid("b", &script).restart_temporary();
    let declined = app.start_child(temporary).await;
    assert!(matches!(declined, Err(StartError::Declined(_))));
    assert_eq!(state_of(&app, "b"), None);
    // What is kept can be started once it wants to.
    script.declines.store(0, Ordering::Relaxed);
    app.start_stopped_child(&address("a")).await.unwrap();
    assert_eq!(state_of(&app, "a"), Some(ChildState::Running));
}

#[tokio::test(start_paused = true)]
async fn s04_a_start_that_fails_reaches_the_starter_and_a_spec_is_kept_only_if_it_was_known() {
    let system = system().await;
    let app = system.supervise(often("app")).await.unwrap();
    let script = calm();
    script.fails.store(1, Ordering::Relaxed);
    let failed = app.start_child(kid("a", &script)).await;
    assert!(matches!(failed, Err(StartError::Child { .. })));
    assert_eq!(app.count_children().specs, 0);
    // A restart that fails keeps the spec, stopped.
    app.start_child(kid("a", &script)).await.unwrap();
    app.terminate_child(&address("a")).await.unwrap();
    script.fails.store(1, Ordering::Relaxed);
    let failed = app.start_stopped_child(&address("a")).await;
    assert!(matches!(failed, Err(StopError::NotStarted { .. })));
    assert_eq!(state_of(&app, "a"), Some(ChildState::Stopped));
    assert!(!app.has_ended());
}

#[tokio::test(start_paused = true)]
async fn s05_a_faulty_spec_is_refused_whole() {
    let system = system().await;
    let script = calm();
    let refused = |spec: SupervisorSpec| {
        let system = system.clone();
        async move {
            match system.supervise(spec).await {
                Err(StartError::Spec(why)) => why,
                other => panic!("{other:?}"),
            }
        }
    };
    let twice = often("app").with(kid("a", &script)).with(kid("a", &script));
    assert!(matches!(refused(twice).await, SpecError::Duplicate { .. }));
    let permanent = often("app").with(kid("a", &script).significant());
    assert!(matches!(
        refused(permanent).await,
        SpecError::SignificantPermanent(_)
    ));
    let never = often("app").with(kid("a", &script).restart_transient().significant());
    assert!(matches!(
        refused(never).await,
        SpecError::SignificantNever { .. }
    ));
    let simple = often("app")
        .strategy(Strategy::SimpleOneForOne)
        .with(kid("a", &script));
    assert!(matches!(
        refused(simple).await,
        SpecError::SimpleChildren(_)
    ));
    let backoff = airssys_wasm_actors::Backoff {
        factor: 0.5,
        ..airssys_wasm_actors::Backoff::default()
    };
    let shrinking = often("app").with(kid("a", &script).backoff(backoff));
    assert!(matches!(refused(shrinking).await, SpecError::Backoff(_)));
    assert!(system.actors().is_empty() && system.whereis(&address("a")).is_none());
}

#[tokio::test(start_paused = true)]
async fn s06_the_admin_matrix() {
    let system = system().await;
    let app = system.supervise(often("app")).await.unwrap();
    let (a, script) = (address("a"), calm());
    app.start_child(kid("a", &script)).await.unwrap();
    let again = app.start_child(kid("a", &script)).await;
    assert!(matches!(again, Err(StartError::AlreadyStarted(_))));
    assert!(matches!(
        app.delete_child(&a).await,
        Err(StopError::Running(_))
    ));
    assert!(matches!(
        app.start_stopped_child(&a).await,
        Err(StopError::Running(_))
    ));
    assert!(matches!(
        app.terminate_child(&address("x")).await,
        Err(StopError::NotFound { .. })
    ));
    let actor = system.whereis(&a).unwrap();
    app.terminate_child(&a).await.unwrap();
    app.terminate_child(&a).await.unwrap();
    // Whoever calls what is stopped is told at once, and its name stays taken.
    assert!(matches!(
        actor.call("leave", ()).await,
        Err(CallError::Stopped { .. })
    ));
    let again = app.start_child(kid("a", &script)).await;
    assert!(matches!(again, Err(StartError::AlreadyPresent(_))));
    app.start_stopped_child(&a).await.unwrap();
    actor.call("leave", ()).await.unwrap();
    app.terminate_child(&a).await.unwrap();
    app.delete_child(&a).await.unwrap();
    assert!(matches!(
        app.start_stopped_child(&a).await,
        Err(StopError::NotFound { .. })
    ));
    app.stop().await;
    assert!(matches!(
        app.terminate_child(&a).await,
        Err(StopError::SupervisorEnded(_))
    ));
    assert!(matches!(
        app.start_child(kid("a", &script)).await,
        Err(StartError::SupervisorEnded(_))
    ));
    let ended = |answer| matches!(answer, Err(StopError::SupervisorEnded(_)));
    assert!(ended(app.delete_child(&a).await));
    assert!(ended(app.start_stopped_child(&a).await));
    assert!(ended(app.restart_child(&a).await.map(|_| ())));
    assert!(matches!(
        app.change(often("app")).await,
        Err(StartError::SupervisorEnded(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn s07_dynamic_children_are_terminated_by_their_handle() {
    let system = system().await;
    let simple = |name| often(name).strategy(Strategy::SimpleOneForOne);
    let app = system.supervise(simple("app")).await.unwrap();
    let other = system.supervise(simple("other")).await.unwrap();
    let own = app.start_child(kid("a", &calm())).await.unwrap();
    let foreign = other.start_child(kid("b", &calm())).await.unwrap();
    assert!(matches!(
        app.terminate(&foreign).await,
        Err(StopError::NotFound { .. })
    ));
    assert!(foreign.actor().unwrap().status().running);
    app.terminate(&own).await.unwrap();
    app.terminate(&own).await.unwrap();
    assert_eq!(app.count_children().specs, 0);
}

#[tokio::test(start_paused = true)]
async fn s12_s14_groups_are_stopped_in_reverse_and_started_in_order() {
    for (strategy, after) in [
        (Strategy::OneForOne, vec!["-b", "+b"]),
        (
            Strategy::OneForAll,
            vec!["-b", "-c", "-a", "+a", "+b", "+c"],
        ),
        (Strategy::RestForOne, vec!["-b", "-c", "+b", "+c"]),
    ] {
        let system = system().await;
        let spec = ["a", "b", "c"]
            .iter()
            .fold(often("app").strategy(strategy), |spec, name| {
                spec.with(kid(name, &calm()))
            });
        system.supervise(spec).await.unwrap();
        let mut events = system.events();
        let b = system.whereis(&address("b")).unwrap();
        b.kill();
        assert_eq!(happened(&mut events, after.len()).await, after);
        system.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn s16_a_supervisor_that_gives_up_is_its_parents_to_restart_up_to_the_top() {
    let system = system().await;
    let once =
        |name: &str| SupervisorSpec::new(address(name)).intensity(1, Duration::from_secs(60));
    let low = once("low").with(kid("a", &calm()));
    let middle = once("middle").with(ChildSpec::supervisor(low));
    let top = once("top").with(ChildSpec::supervisor(middle));
    let top = system.supervise(top).await.unwrap();
    let mut events = system.events();
    let a = system.whereis(&address("a")).unwrap();
    // Each level allows one: of `low`'s two restarts the second ends it, and so on upwards.
    for incarnation in 1..8 {
        a.kill();
        started(&mut events, &address("a"), incarnation).await;
    }
    assert!(!top.has_ended());
    assert_eq!(top.supervisors()[0].restarts(), 1);
    a.kill();
    assert!(matches!(top.ended().await, ExitReason::CrashLoop));
    assert!(system.whereis(&address("a")).is_none());
}

#[tokio::test(start_paused = true)]
async fn s18_a_start_that_keeps_failing_is_shown_and_can_be_stopped() {
    let system = system().await;
    let script = calm();
    let waits = airssys_wasm_actors::Backoff::default();
    let spec = often("app").with(kid("a", &script).backoff(waits));
    let app = system.supervise(spec).await.unwrap();
    let mut events = system.events();
    script.fails.store(u32::MAX, Ordering::Relaxed);
    system.whereis(&address("a")).unwrap().kill();
    exited(&mut events, &address("a")).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(state_of(&app, "a"), Some(ChildState::Restarting));
    assert!(matches!(
        app.delete_child(&address("a")).await,
        Err(StopError::Restarting(_))
    ));
    app.terminate_child(&address("a")).await.unwrap();
    let tried = script.fails.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(script.fails.load(Ordering::Relaxed), tried);
    assert_eq!(state_of(&app, "a"), Some(ChildState::Stopped));
    app.stop().await;
}

#[tokio::test(start_paused = true)]
async fn s19_a_killed_supervisor_comes_back_with_its_first_children_only() {
    let system = system().await;
    let team = often("team").with(kid("first", &calm()));
    let app = often("app").with(ChildSpec::supervisor(team));
    let app = system.supervise(app).await.unwrap();
    let team = app.supervisors().remove(0);
    let late = team.start_child(kid("late", &calm())).await.unwrap();
    let first = system.whereis(&address("first")).unwrap();
    let mut events = system.events();
    team.kill();
    started(&mut events, &address("first"), 1).await;
    team.settled().await;
    assert_eq!(team.incarnation(), 2);
    // The same handle and mailbox; what was added is gone, and was not left behind.
    first.call("leave", ()).await.unwrap();
    let late = late.actor().unwrap();
    assert!(!late.is_registered() && !late.status().running);
}

#[tokio::test(start_paused = true)]
async fn s20_significant_children_end_their_supervisor_by_their_own_end_only() {
    let system = system().await;
    let child = |name: &str| kid(name, &calm()).restart_transient().significant();
    let spec = often("app")
        .auto_shutdown(AutoShutdown::AllSignificant)
        .with(child("a"))
        .with(child("b"));
    let app = system.supervise(spec).await.unwrap();
    let (a, b) = (address("a"), address("b"));
    // Stopped by request is not its own end.
    app.terminate_child(&b).await.unwrap();
    app.start_stopped_child(&b).await.unwrap();
    let leave = async |name| {
        system
            .whereis(name)
            .unwrap()
            .call("leave", ())
            .await
            .unwrap()
    };
    leave(&a).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!app.has_ended());
    leave(&b).await;
    assert!(matches!(app.ended().await, ExitReason::Shutdown));
}

#[tokio::test(start_paused = true)]
async fn s21_flags_and_specs_change_live() {
    let system = system().await;
    let spec = often("app").with(kid("a", &calm())).with(kid("b", &calm()));
    let app = system.supervise(spec).await.unwrap();
    let changed = often("app")
        .strategy(Strategy::RestForOne)
        .with(kid("c", &calm()))
        .with(kid("b", &calm()).restart_temporary());
    app.change(changed).await.unwrap();
    assert_eq!(app.strategy(), Strategy::RestForOne);
    // New ones are not started, those that are not named keep running, and the order is the new one.
    let states: Vec<_> = app
        .which_children()
        .iter()
        .map(|info| (info.address.to_string(), info.state))
        .collect();
    assert_eq!(
        states,
        [
            ("c".to_owned(), ChildState::Stopped),
            ("b".to_owned(), ChildState::Running),
            ("a".to_owned(), ChildState::Running),
        ]
    );
    let mut events = system.events();
    system.whereis(&address("b")).unwrap().kill();
    exited(&mut events, &address("b")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(state_of(&app, "b"), None);
    // A faulty one changes nothing.
    let faulty = often("app").with(kid("x", &calm())).with(kid("x", &calm()));
    assert!(app.change(faulty).await.is_err());
    assert_eq!(app.strategy(), Strategy::RestForOne);
    let simple = often("app").strategy(Strategy::SimpleOneForOne);
    assert!(matches!(
        app.change(simple).await,
        Err(StartError::Spec(SpecError::SimpleChange(_)))
    ));
}

#[tokio::test(start_paused = true)]
async fn s25_a_panic_in_the_drop_of_a_state_is_an_end_like_any_other() {
    let system = system().await;
    let script = calm();
    let app = system
        .supervise(often("app").with(kid("a", &script)))
        .await
        .unwrap();
    let mut events = system.events();
    script.ill.store(7, Ordering::Relaxed);
    system
        .whereis(&address("a"))
        .unwrap()
        .cast("leave", ())
        .unwrap();
    exited(&mut events, &address("a")).await;
    script.ill.store(0, Ordering::Relaxed);
    started(&mut events, &address("a"), 1).await;
    assert_eq!(state_of(&app, "a"), Some(ChildState::Running));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_not_well_is_restarted_after_as_many_answers_as_it_takes() {
    let system = system().await;
    let script = calm();
    let check = HealthCheck::default();
    let app = system
        .supervise(often("app").with(kid("a", &script).health(check)))
        .await
        .unwrap();
    let mut events = system.events();
    tokio::time::sleep(check.interval * 10).await;
    let a = system.whereis(&address("a")).unwrap();
    assert_eq!(a.status().incarnation, 1);
    script.ill.store(1, Ordering::Relaxed);
    let before = tokio::time::Instant::now();
    loop {
        if let Event::Health { health, .. } = events.recv().await.unwrap() {
            assert_eq!(health, ChildHealth::Failed("ill".to_owned()));
            break;
        }
    }
    exited(&mut events, &address("a")).await;
    assert!(before.elapsed() >= check.interval * (check.threshold - 1));
    script.ill.store(0, Ordering::Relaxed);
    started(&mut events, &address("a"), 1).await;
    assert!(!app.has_ended());
}

#[tokio::test(start_paused = true)]
async fn what_makes_its_supervisor_give_up_again_and_again_is_quarantined() {
    let system = system().await;
    let low = SupervisorSpec {
        quarantine_after: Some(2),
        ..SupervisorSpec::new(address("low")).intensity(0, Duration::from_secs(60))
    };
    let low = low.with(kid("good", &calm())).with(kid("bad", &calm()));
    let app = system
        .supervise(often("app").with(ChildSpec::supervisor(low)))
        .await
        .unwrap();
    let low = app.supervisors().remove(0);
    let mut events = system.events();
    let bad = system.whereis(&address("bad")).unwrap();
    bad.kill();
    started(&mut events, &address("bad"), 1).await;
    low.settled().await;
    bad.kill();
    started(&mut events, &address("good"), 2).await;
    low.settled().await;
    assert_eq!(state_of(&low, "bad"), Some(ChildState::Stopped));
    match bad.call("leave", ()).await {
        Err(CallError::Stopped { reason, .. }) => assert_eq!(reason.kind(), "quarantined"),
        other => panic!("{other:?}"),
    }
    // Asked for by name, it is started.
    low.restart_child(&address("bad")).await.unwrap();
    assert_eq!(state_of(&low, "bad"), Some(ChildState::Running));
    let started = Started::Supervisor(low);
    assert!(started.supervisor().is_some());
}
