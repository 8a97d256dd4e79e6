//! Corners: callers that have their answer, other runtimes, kills at a bad moment, sums, very long waits.

use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::{IntoArgs, Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorRef, CallOptions, ChildSpec, Context, Link, Message, ShutdownPolicy,
    SupervisorSpec, System,
};
use tokio::sync::Semaphore;

use crate::guests::{RELAY, WORKER, address, engine, exited, system, template};

/// Two of these know one another.
struct Peer {
    other: &'static str,
    begun: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Actor for Peer {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:t; interface peer { hold: func(); quick: func(); ask: func(); }
             interface work { work: func(n: u32) -> u32; }",
        )
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> Result<(), Self::Error> {
        match message.function() {
            "hold" => {
                self.begun.add_permits(1);
                self.open.acquire().await?.forget();
                message.reply(());
            }
            "work" => {
                self.begun.add_permits(1);
                self.open.acquire().await?.forget();
                message.reply((7_u32,));
            }
            "quick" => message.reply(()),
            _ => {
                let other = ctx.whereis(&address(self.other)).unwrap();
                ctx.call(&other.function("quick").unwrap(), ()).await?;
                message.reply(());
            }
        }
        Ok(())
    }
}

struct Gate {
    begun: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

fn peer(name: &str, other: &'static str) -> (ChildSpec, Gate) {
    let (begun, open) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let gate = Gate {
        begun: Arc::clone(&begun),
        open: Arc::clone(&open),
    };
    let child = ChildSpec::native(address(name), move || Peer {
        other,
        begun: Arc::clone(&begun),
        open: Arc::clone(&open),
    });
    (child, gate)
}

/// b has its answer from a; a calls b in its next message. Nobody waits for ever.
#[tokio::test]
async fn a_caller_that_has_its_answer_waits_for_nobody() {
    let engine = engine();
    let system = system(&engine).await;
    let (a, gate) = peer("a", "b");
    let (b, _) = peer("b", "a");
    let refs = system.supervisor().start(vec![a, b]).await.unwrap();
    let call = |actor: &ActorRef, function: &str| {
        let function = actor.function(function).unwrap();
        tokio::spawn(async move { function.call(()).await })
    };
    let hold = call(&refs[0], "hold");
    gate.begun.acquire().await.unwrap().forget();
    let b_asks_a = call(&refs[1], "ask");
    while refs[0].status().queued < 2 {
        tokio::task::yield_now().await;
    }
    let a_asks_b = call(&refs[0], "ask");
    while refs[0].status().queued < 3 {
        tokio::task::yield_now().await;
    }
    gate.open.add_permits(1);
    hold.await.unwrap().unwrap();
    b_asks_a.await.unwrap().unwrap();
    a_asks_b.await.unwrap().unwrap();
}

async fn relay_to_gate(system: &System, within: Duration) -> (ActorRef, Gate) {
    let (gate_child, gate) = peer("gate", "gate");
    let relay = template(system.engine(), RELAY, &["test:t/work"]);
    let link = Link {
        reply_within: within,
        ..Link::new("test:t/work", address("gate"))
    };
    let relay = ChildSpec::component(address("relay"), relay).link(link);
    let refs = system
        .supervisor()
        .start(vec![gate_child, relay])
        .await
        .unwrap();
    (refs[1].clone(), gate)
}

fn foreign() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}

/// A caller from another runtime leaves, and its runtime with it: the callee lives on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_whose_runtime_ends_does_not_touch_the_callee() {
    let engine = engine();
    let system = system(&engine).await;
    let (relay, gate) = relay_to_gate(&system, Duration::from_secs(5)).await;
    let work = relay.function("work").unwrap();
    tokio::task::spawn_blocking(move || {
        let runtime = foreign();
        // It leaves; the call itself could have waited for longer.
        let waited = Duration::from_millis(50);
        let left =
            runtime.block_on(async { tokio::time::timeout(waited, work.call((1_u32,))).await });
        assert!(left.is_err());
        drop(runtime);
    })
    .await
    .unwrap();
    gate.begun.acquire().await.unwrap().forget();
    gate.open.add_permits(1);
    relay.call("count", ()).await.unwrap();
    // The next call has to wait, on the timers it kept.
    let work = relay.function("work").unwrap();
    let next = tokio::spawn(async move { work.call((1_u32,)).await });
    gate.open.add_permits(1);
    assert_eq!(next.await.unwrap().unwrap(), (7_u32,).into_args());
    assert_eq!(relay.status().incarnation, 1);
}

#[tokio::test]
async fn stopping_a_supervisor_that_was_just_killed_ends() {
    let engine = engine();
    let system = system(&engine).await;
    let supervisor = system
        .supervise(SupervisorSpec::new(address("app")))
        .await
        .unwrap();
    let worker = ChildSpec::component(address("w"), template(&engine, WORKER, &[]));
    supervisor.start(vec![worker]).await.unwrap();
    supervisor.kill();
    let stopping = tokio::time::timeout(Duration::from_secs(3), supervisor.stop());
    stopping.await.expect("`stop` never returned");
    assert!(system.whereis(&address("w")).is_none());
}

#[tokio::test]
async fn a_shutdown_ends_though_a_supervisor_was_just_killed() {
    let engine = engine();
    let system = system(&engine).await;
    let worker = ChildSpec::component(address("w"), template(&engine, WORKER, &[]));
    system.spawn(worker).await.unwrap();
    system.supervisor().kill();
    let stopping = tokio::time::timeout(Duration::from_secs(3), system.shutdown());
    stopping.await.expect("`shutdown` never returned");
    assert!(system.whereis(&address("w")).is_none());
}

#[tokio::test]
async fn what_a_stop_fails_is_in_the_sum_of_the_system() {
    let engine = engine();
    let system = system(&engine).await;
    let (child, gate) = peer("a", "a");
    let actor = system
        .spawn(ChildSpec {
            shutdown: ShutdownPolicy::Brutal,
            ..child
        })
        .await
        .unwrap();
    let hold = actor.function("hold").unwrap();
    let held = tokio::spawn({
        let hold = hold.clone();
        async move { hold.call(()).await }
    });
    gate.begun.acquire().await.unwrap().forget();
    let queued = tokio::spawn({
        let hold = hold.clone();
        async move { hold.call(()).await }
    });
    while actor.status().queued < 2 {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        hold.cast(()).unwrap();
    }
    system.supervisor().stop_child(&address("a")).await.unwrap();
    held.await.unwrap().unwrap_err();
    queued.await.unwrap().unwrap_err();
    let of_actor = actor.counters();
    assert_eq!(
        of_actor.casts,
        of_actor.casts_handled + of_actor.dead_letters
    );
    let total = system.counters();
    assert_eq!(total, of_actor, "system | actor");
}

#[tokio::test]
async fn the_longest_of_waits_is_long_and_not_a_panic() {
    let engine = engine();
    let system = system(&engine).await;
    let worker = ChildSpec::component(address("w"), template(&engine, WORKER, &[]));
    let worker = system.spawn(worker).await.unwrap();
    let work = worker.function("work").unwrap();
    let options = CallOptions {
        within: Duration::MAX,
        ..CallOptions::default()
    };
    let called = tokio::spawn(async move { work.call_with((1_u32,), options).await });
    assert_eq!(called.await.unwrap().unwrap(), (2_u32,).into_args());
}

/// The hook spins until it is killed: it had to be killed, and the report says so.
#[tokio::test]
async fn a_shutdown_hook_that_had_to_be_killed_is_reported_as_killed() {
    let engine = engine();
    let system = system(&engine).await;
    let hook = r#"(component
      (core module $m (func (export "shutdown") (param i32) (loop (br 0))))
      (core instance $i (instantiate $m))
      (type $reason (enum "normal" "shutdown" "upgrade"))
      (func $shutdown (param "why" $reason) (canon lift (core func $i "shutdown")))
      (component $shim
        (type $reason0 (enum "normal" "shutdown" "upgrade"))
        (import "import-type-reason" (type $reason (eq $reason0)))
        (import "import-func-shutdown" (func $f (param "why" $reason)))
        (export $reason1 "reason" (type $reason))
        (export "shutdown" (func $f) (func (param "why" $reason1))))
      (instance $hooks (instantiate $shim
        (with "import-func-shutdown" (func $shutdown))
        (with "import-type-reason" (type $reason))))
      (export "airssys:actor/shutdown" (instance $hooks)))"#;
    let child = ChildSpec {
        shutdown: ShutdownPolicy::Timeout(Duration::from_millis(50)),
        ..ChildSpec::component(address("w"), template(&engine, hook, &[]))
    };
    system.spawn(child).await.unwrap();
    let report = system.supervisor().stop_child(&address("w")).await.unwrap();
    assert_eq!(report.killed, [address("w")], "{report:?}");
}

/// Answers first, and then calls whoever had asked.
struct Early;

impl Actor for Early {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit("package test:t; interface peer { quick: func(); }")
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> Result<(), Self::Error> {
        message.reply(());
        let other = ctx.whereis(&address("b")).unwrap();
        ctx.call(&other.function("quick").unwrap(), ()).await?;
        Ok(())
    }
}

#[tokio::test]
async fn who_has_answered_may_call_back() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let early = ChildSpec::native(address("early"), || Early);
    let (b, _) = peer("b", "early");
    let refs = system.supervisor().start(vec![early, b]).await.unwrap();
    refs[1].call("ask", ()).await.unwrap();
    // Not a deadlock: b is free, and answers. If it was refused, `early` exits with the error.
    let who = address("early");
    let died = exited(&mut events, &who);
    let died = tokio::time::timeout(Duration::from_millis(500), died).await;
    assert!(died.is_err(), "{:?}", died.unwrap().to_string());
}
