//! Links that stop calling a callee that fails, and try it again later.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use airssys_wasm::{FromArgs, IntoArgs, Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorRef, Application, ApplicationSpec, Breaker, CallOptions, ChildSpec, Context, Event,
    Events, Finding, FindingKind, Link, Message, ResolveOptions, Retry, System,
};
use tokio::sync::Notify;

use crate::guests::{DRIVER, address, engine, system, template};

/// What the callee does, and how often it was asked.
#[derive(Default)]
struct Mood {
    dies: AtomicBool,
    holds: AtomicBool,
    errs: AtomicBool,
    /// Before its next answer is heard, so much time passes.
    passes_ms: AtomicU64,
    asked: AtomicU32,
    held: Notify,
    open: Notify,
}

impl Mood {
    fn dies(&self, dies: bool) {
        self.dies.store(dies, Ordering::Relaxed);
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

struct Callee(Arc<Mood>);

impl Actor for Callee {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:t;
             interface order { put: func(sender: u32, sequence: u32) -> result<u32, string>; }",
        )
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        _: &mut Context,
    ) -> Result<(), Self::Error> {
        let mood = &self.0;
        mood.asked.fetch_add(1, Ordering::Relaxed);
        if mood.holds.load(Ordering::Relaxed) {
            mood.held.notify_one();
            mood.open.notified().await;
        }
        assert!(!mood.dies.load(Ordering::Relaxed), "on purpose");
        let (_, sequence): (u32, u32) = message.args()?;
        let answer = if mood.errs.load(Ordering::Relaxed) {
            Err("no".to_owned())
        } else {
            Ok(sequence + 1)
        };
        message.reply((answer,));
        let passes = mood.passes_ms.swap(0, Ordering::Relaxed);
        if passes > 0 {
            tokio::time::advance(Duration::from_millis(passes)).await;
        }
        Ok(())
    }
}

const RULE: Breaker = Breaker {
    failures: 3,
    window: 3,
    open_for: Duration::from_secs(10),
    trial: 1,
};

struct Linked {
    system: System,
    events: Events,
    mood: Arc<Mood>,
    callee: ActorRef,
    caller: ActorRef,
}

async fn linked(breaker: Breaker, retry: Option<Retry>) -> Linked {
    let system = system(&engine()).await;
    let events = system.events();
    let mood = Arc::<Mood>::default();
    let callee = ChildSpec::native(address("callee"), {
        let mood = Arc::clone(&mood);
        move || Callee(Arc::clone(&mood))
    });
    let link = Link {
        breaker: Some(breaker),
        retry,
        reply_within: Duration::from_secs(1),
        ..Link::new("test:t/order", address("callee"))
    };
    let driver = template(system.engine(), DRIVER, &["test:t/order"]);
    let caller = ChildSpec::component(address("caller"), driver).link(link);
    let refs = system
        .supervisor()
        .start(vec![callee, caller])
        .await
        .unwrap();
    Linked {
        system,
        events,
        mood,
        callee: refs[0].clone(),
        caller: refs[1].clone(),
    }
}

impl Linked {
    /// Has the guest make so many calls: how many it was answered, and how many it was told had failed.
    async fn calls(&self, count: u32) -> (u32, u32) {
        let results = self.caller.call("run", (1_u32, 0_u32, count)).await;
        let (packed,) = <(u64,)>::from_args(results.unwrap()).unwrap();
        let half = |half: u64| u32::try_from(half).unwrap();
        (half(packed >> 32), half(packed & 0xffff_ffff))
    }

    /// The next change of the link's breaker.
    async fn change(&mut self) -> &'static str {
        loop {
            let (name, from, to, import) = match self.events.recv().await.unwrap() {
                Event::CircuitOpened { from, to, import } => ("opened", from, to, import),
                Event::CircuitHalfOpened { from, to, import } => ("half-opened", from, to, import),
                Event::CircuitClosed { from, to, import } => ("closed", from, to, import),
                _ => continue,
            };
            assert_eq!((from.as_str(), to.as_str()), ("caller", "callee"));
            assert_eq!(&*import, "test:t/order");
            return name;
        }
    }

    /// No change has come that nobody has asked for.
    fn no_change(&mut self) {
        while let Some(event) = self.events.try_recv() {
            let text = format!("{event:?}");
            assert!(!text.contains("Circuit"), "{text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_fails_is_left_alone_and_tried_again() {
    let mut linked = linked(RULE, None).await;
    assert_eq!(linked.calls(20).await, (20, 0));
    linked.no_change();
    linked.mood.dies(true);
    // Three reach the callee; the others are told at once, and are no calls of its own.
    assert_eq!(linked.calls(20).await, (0, 20));
    assert_eq!(linked.change().await, "opened");
    assert_eq!(linked.mood.asked(), 23);
    let counters = linked.callee.counters();
    assert_eq!((counters.calls, counters.call_errors), (23, 3));
    assert_eq!(linked.calls(5).await, (0, 5));
    assert_eq!(linked.mood.asked(), 23);

    // After its time one call tries it, and with its failure the time begins again.
    tokio::time::advance(RULE.open_for).await;
    assert_eq!(linked.calls(5).await, (0, 5));
    assert_eq!(linked.mood.asked(), 24);
    assert_eq!(linked.change().await, "half-opened");
    assert_eq!(linked.change().await, "opened");
    linked.mood.dies(false);
    assert_eq!(linked.calls(5).await, (0, 5));
    tokio::time::advance(RULE.open_for).await;
    assert_eq!(linked.calls(5).await, (5, 0));
    assert_eq!(linked.change().await, "half-opened");
    assert_eq!(linked.change().await, "closed");
    assert_eq!(linked.calls(20).await, (20, 0));
    linked.no_change();
    linked.system.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn failures_among_successes_open_it_by_their_rate() {
    let rule = Breaker { window: 8, ..RULE };
    let mut linked = linked(rule, None).await;
    // Of the last eight two have failed, again and again.
    for _ in 0..5 {
        linked.mood.dies(true);
        assert_eq!(linked.calls(2).await, (0, 2));
        linked.mood.dies(false);
        assert_eq!(linked.calls(7).await, (7, 0));
    }
    linked.no_change();
    for _ in 0..2 {
        linked.mood.dies(true);
        assert_eq!(linked.calls(1).await, (0, 1));
        linked.mood.dies(false);
        assert_eq!(linked.calls(2).await, (2, 0));
    }
    linked.mood.dies(true);
    assert_eq!(linked.calls(2).await, (0, 2));
    assert_eq!(linked.change().await, "opened");
    linked.system.shutdown().await;
}

/// What a callee answers is an answer, and a call that the caller itself makes impossible says nothing of it.
#[tokio::test]
async fn answers_are_no_failures_whatever_they_say() {
    let mut linked = linked(RULE, None).await;
    linked.mood.errs.store(true, Ordering::Relaxed);
    assert_eq!(linked.calls(50).await, (0, 50));
    assert_eq!(linked.mood.asked(), 50);
    linked.no_change();
    linked.system.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_callee_that_does_not_answer_in_time_fails_too_and_a_stopped_one() {
    let mut linked = linked(RULE, None).await;
    linked.mood.holds.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!(linked.calls(1).await, (0, 1));
        linked.mood.open.notify_one();
    }
    assert_eq!(linked.change().await, "opened");
    linked.mood.holds.store(false, Ordering::Relaxed);
    linked.mood.open.notify_one();
    tokio::time::advance(RULE.open_for).await;
    assert_eq!(linked.calls(1).await, (1, 0));
    let stop = address("callee");
    linked.system.supervisor().stop_child(&stop).await.unwrap();
    assert_eq!(linked.calls(4).await, (0, 4));
    for change in ["half-opened", "closed", "opened"] {
        assert_eq!(linked.change().await, change);
    }
    linked.system.shutdown().await;
}

/// A call that is made when its caller is waited for no longer asks nobody, and says nothing of whom it was for.
#[tokio::test(start_paused = true)]
async fn calls_that_are_made_too_late_are_no_failures_of_the_callee() {
    let rule = Breaker { trial: 2, ..RULE };
    let mut linked = linked(rule, None).await;
    // The first is answered, and the time of who has asked for all of them is over then.
    let late = async |linked: &Linked| {
        linked.mood.passes_ms.store(400, Ordering::Relaxed);
        let within = CallOptions {
            within: Duration::from_millis(300),
            ..CallOptions::default()
        };
        let run = linked.caller.function("run").unwrap();
        let results = run.call_with((1_u32, 0_u32, 20_u32), within).await;
        // It is there when that is noticed.
        let (packed,) = <(u64,)>::from_args(results.unwrap()).unwrap();
        assert_eq!(packed, 1 << 32 | 19);
    };
    late(&linked).await;
    assert_eq!(linked.mood.asked(), 1);
    linked.no_change();
    assert_eq!(linked.calls(3).await, (3, 0));
    // The same of a link that is tried.
    linked.mood.dies(true);
    assert_eq!(linked.calls(3).await, (0, 3));
    assert_eq!(linked.change().await, "opened");
    linked.mood.dies(false);
    tokio::time::advance(RULE.open_for).await;
    let before = linked.mood.asked();
    late(&linked).await;
    assert_eq!(linked.mood.asked(), before + 1);
    assert_eq!(linked.change().await, "half-opened");
    linked.no_change();
    assert_eq!(linked.calls(1).await, (1, 0));
    assert_eq!(linked.change().await, "closed");
    linked.system.shutdown().await;
}

/// A caller that is killed while it tries the link gives its place to the next.
#[tokio::test(start_paused = true)]
async fn a_trial_that_is_never_ended_does_not_keep_the_link_closed_off() {
    let mut linked = linked(RULE, None).await;
    linked.mood.dies(true);
    assert_eq!(linked.calls(3).await, (0, 3));
    assert_eq!(linked.change().await, "opened");
    linked.mood.dies(false);
    tokio::time::advance(RULE.open_for).await;
    linked.mood.holds.store(true, Ordering::Relaxed);
    let caller = linked.caller.clone();
    let trial = tokio::spawn(async move { caller.call("run", (1_u32, 0_u32, 1_u32)).await });
    linked.mood.held.notified().await;
    assert_eq!(linked.change().await, "half-opened");
    linked.caller.kill();
    assert_eq!(trial.await.unwrap().unwrap_err().kind(), "callee-died");
    linked.mood.holds.store(false, Ordering::Relaxed);
    linked.mood.open.notify_one();
    assert_eq!(linked.calls(3).await, (3, 0));
    assert_eq!(linked.change().await, "closed");
    linked.system.shutdown().await;
}

/// Each attempt is a call for the breaker; one that it refuses is not tried again.
#[tokio::test]
async fn retries_do_not_go_round_it() {
    let retry = Retry {
        times: 9,
        backoff: Duration::from_millis(1),
    };
    let mut linked = linked(RULE, Some(retry)).await;
    linked.mood.dies(true);
    assert_eq!(linked.calls(1).await, (0, 1));
    assert_eq!(linked.mood.asked(), 3);
    assert_eq!(linked.change().await, "opened");
    linked.system.shutdown().await;
}

/// The guest is told what has happened in words, where its function can say them; another one ends.
#[tokio::test]
async fn a_refused_call_is_a_failed_link() {
    let system = system(&engine()).await;
    let mood = Arc::<Mood>::default();
    let callee = ChildSpec::native(address("worker"), {
        let mood = Arc::clone(&mood);
        move || crate::circuits::Dying(Arc::clone(&mood))
    });
    let link = Link {
        breaker: Some(Breaker {
            failures: 1,
            window: 1,
            ..Breaker::default()
        }),
        ..Link::new("test:t/work", address("worker"))
    };
    let relay = template(system.engine(), crate::guests::RELAY, &["test:t/work"]);
    let relay = ChildSpec::component(address("relay"), relay).link(link);
    let refs = system
        .supervisor()
        .start(vec![callee, relay])
        .await
        .unwrap();
    let why = refs[1]
        .call("work", (1_u32,))
        .await
        .unwrap_err()
        .to_string();
    assert!(why.contains("callee-died"), "{why}");
    let why = refs[1]
        .call("work", (1_u32,))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        why.contains("circuit-open") && why.contains("`worker`"),
        "{why}"
    );
    assert_eq!(mood.asked(), 1);
    system.shutdown().await;
}

/// Dies with every message.
struct Dying(Arc<Mood>);

impl Actor for Dying {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit("package test:t; interface work { work: func(n: u32) -> u32; }")
    }

    async fn handle_message(
        &mut self,
        _: &mut Message,
        _: &mut Context,
    ) -> Result<(), Self::Error> {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        panic!("on purpose")
    }
}

/// Two components in files, the first linked to the second with `breaker`.
fn resolved(breaker: &str, name: &str) -> Result<Application, Vec<Finding>> {
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("circuits-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    for (file, wat) in [
        ("relay.wasm", crate::guests::RELAY),
        ("worker.wasm", crate::guests::WORKER),
    ] {
        std::fs::write(directory.join(file), wat::parse_str(wat).unwrap()).unwrap();
    }
    let text = format!(
        "[application]\nname = \"app\"\n[components.relay]\nfile = \"relay.wasm\"\n\
         links = [ {{ import = \"test:t/work\", to = \"worker\", breaker = {breaker} }} ]\n\
         [components.worker]\nfile = \"worker.wasm\"\nrestart = \"temporary\"\n"
    );
    let spec = ApplicationSpec::parse(directory.join("airssys.toml"), text).unwrap();
    let application = spec.resolve(&engine(), &ResolveOptions::default());
    std::fs::remove_dir_all(directory).unwrap();
    application.map_err(|errors| errors.findings)
}

#[tokio::test]
async fn a_manifest_gives_a_link_its_breaker() {
    let breaker = r#"{ failures = 2, open-for = "1s" }"#;
    let application = resolved(breaker, "good").unwrap();
    let system = system(&engine()).await;
    let running = application.start(&system).await.unwrap();
    let (relay, worker) = (
        running.actor("relay").unwrap().clone(),
        running.actor("worker").unwrap().clone(),
    );
    let answer = relay.call("work", (1_u32,)).await.unwrap();
    assert_eq!(answer, (2_u32,).into_args());
    // It is temporary, and nobody answers any more.
    worker.kill();
    worker.monitor().await;
    for kind in ["stopped", "stopped", "circuit-open", "circuit-open"] {
        let why = relay.call("work", (1_u32,)).await.unwrap_err().to_string();
        assert!(why.contains(kind), "{why}");
    }
    running.stop().await;
    system.shutdown().await;
}

#[test]
fn a_breaker_that_cannot_be_is_found() {
    for (breaker, wanted) in [
        ("{ failures = 0 }", "`failures` of 0"),
        ("{ failures = 129 }", "`failures` of 129"),
        ("{ failures = 5, window = 4 }", "`window` of 4"),
        ("{ window = 200 }", "`window` of 200"),
        ("{ trial = 0 }", "`trial` of 0"),
    ] {
        let findings = resolved(breaker, "bad").map(|_| ()).unwrap_err();
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].kind, FindingKind::BadValue);
        assert!(findings[0].what.contains(wanted), "{findings:?}");
        assert_eq!(findings[0].at.unwrap().line, 5);
    }
}
