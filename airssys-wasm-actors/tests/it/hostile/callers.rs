//! Callers of who ends, calls that come back, and host code that panics: C15, J1, J8.

use airssys_wasm::{CapabilityManifest, Limits, Surface, WitError};
use airssys_wasm_actors::{Actor, CallError, ChildSpec, Context, Link, Message};

use super::{Case, Trail, engine_of};
use crate::guests::{RELAY, WORKER, address, started, system, template};

/// `spin` for the one in hand, `fine` for those behind it.
const SPINNER: &str = r#"(component
  (core module $m
    (func (export "fine") (result i32) (i32.const 7))
    (func (export "spin") (loop (br 0))))
  (core instance $i (instantiate $m))
  (func (export "fine") (result u32) (canon lift (core func $i "fine")))
  (func (export "spin") (canon lift (core func $i "spin"))))"#;

const CALLERS: usize = 1_000;

#[tokio::test]
async fn j8_an_instance_ends_while_a_thousand_wait() {
    let nothing = CapabilityManifest::default();
    for stopped in [false, true] {
        let mut case = Case::new(SPINNER, Limits::default(), &nothing).await;
        let mut calls = Vec::new();
        for caller in 0..CALLERS {
            let path = if caller == 0 { "spin" } else { "fine" };
            let function = case.villain.function(path).unwrap();
            calls.push(tokio::spawn(async move { function.call(()).await }));
            // The first has to be the one in hand.
            while caller == 0 && case.villain.status().queued == 0 {
                tokio::task::yield_now().await;
            }
        }
        while (case.villain.status().queued as usize) < CALLERS {
            tokio::task::yield_now().await;
        }
        if stopped {
            let who = address("villain");
            case.system.supervisor().stop_child(&who).await.unwrap();
        } else {
            case.villain.kill();
        }
        let (mut answers, mut died, mut ended) = (0, 0, 0);
        for call in calls {
            match call.await.unwrap() {
                Ok(_) => answers += 1,
                Err(CallError::CalleeDied { .. }) => died += 1,
                Err(CallError::Stopped { .. }) => ended += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(answers + died + ended, CALLERS);
        case.neighbour_answers().await;
        let counters = case.system.counters();
        assert_eq!(counters.calls, counters.replies + counters.call_errors);
        if stopped {
            assert_eq!(answers, 0);
            case.system.shutdown().await;
            assert_eq!(case.engine.instances(), 0);
        } else {
            // Only the message in hand is lost.
            assert_eq!((answers, died), (CALLERS - 1, 1));
            case.restarted(2).await;
            case.over("killed", 1).await;
        }
    }
}

#[tokio::test]
async fn c15_who_calls_itself_through_a_link_is_refused_and_is_used_again() {
    let trail = Trail::default();
    let engine = engine_of(3, &trail);
    let system = system(&engine).await;
    let mut events = system.events();
    let relay = template(&engine, RELAY, &["test:t/work"]);
    let link = |to: &str| Link::new("test:t/work", address(to));
    let children = vec![
        ChildSpec::component(address("neighbour"), template(&engine, WORKER, &[])),
        ChildSpec::component(address("a"), relay.clone()).link(link("b")),
        ChildSpec::component(address("b"), relay).link(link("a")),
    ];
    let actors = system.supervisor().start(children).await.unwrap();
    for round in 1..=3 {
        let error = actors[1].call("work", (1_u32,)).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`b` → `a` → `b`"), "{text}");
        for actor in [&actors[1], &actors[2]] {
            if actor.status().incarnation == round {
                started(&mut events, actor.address(), round).await;
            }
            actor.call("count", ()).await.unwrap();
        }
        actors[0].call("work", (1_u32,)).await.unwrap();
        assert_eq!(actors[0].status().incarnation, 1);
    }
    engine.audit().flush();
    assert_eq!(trail.deaths().len(), 6);
    system.shutdown().await;
    assert_eq!(engine.instances(), 0);
}

/// Host code behind an import: panics at once, or after it has given way.
struct Panics {
    waits: bool,
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in drop");
        }
    }
}

impl Actor for Panics {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit("package test:t; interface work { work: func(n: u32) -> u32; }")
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        _: &mut Context,
    ) -> Result<(), Self::Error> {
        let (n,) = message.args::<(u32,)>()?;
        let bomb = (n > 0).then(|| Bomb);
        if self.waits {
            tokio::task::yield_now().await;
        }
        match n {
            0 => {
                message.reply((7_u32,));
                Ok(())
            }
            1 => panic!("a bug"),
            _ => {
                drop(bomb);
                Ok(())
            }
        }
    }
}

#[tokio::test]
async fn j1_host_code_that_panics_fails_its_own_actor_only() {
    for waits in [false, true] {
        let trail = Trail::default();
        let engine = engine_of(2, &trail);
        let system = system(&engine).await;
        let mut events = system.events();
        let relay = template(&engine, RELAY, &["test:t/work"]);
        let children = vec![
            ChildSpec::native(address("host"), move || Panics { waits }),
            ChildSpec::component(address("neighbour"), template(&engine, WORKER, &[])),
            ChildSpec::component(address("relay"), relay)
                .link(Link::new("test:t/work", address("host"))),
        ];
        let actors = system.supervisor().start(children).await.unwrap();
        for (round, n) in [(1, 1_u32), (2, 2)] {
            let error = actors[0].call("work", (n,)).await.unwrap_err();
            assert_eq!(error.kind(), "callee-died", "{error}");
            if actors[0].status().incarnation == round {
                started(&mut events, actors[0].address(), round).await;
            }
            let reply = actors[2].call("work", (0_u32,)).await.unwrap();
            assert_eq!(reply.into_typed::<(u32,)>().unwrap(), (7,));
            actors[1].call("work", (1_u32,)).await.unwrap();
        }
        assert_eq!(actors[1].status().incarnation, 1);
        assert_eq!(actors[2].status().incarnation, 1);
        system.shutdown().await;
        assert_eq!(engine.instances(), 0);
    }
}
