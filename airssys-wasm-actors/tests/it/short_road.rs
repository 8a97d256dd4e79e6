//! Calls that the caller's own task runs, and what becomes of them when they cannot end there.

use std::sync::Arc;

use airssys_wasm::{IntoArgs, Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorRef, CallError, ChildSpec, Context, ExitReason, Link, Message, System, SystemConfig,
};
use tokio::sync::Semaphore;

use crate::guests::{RELAY, WORKER, address, engine, exited, started, system, template};

/// Answers `work` when it is let through, and says when it has begun.
struct Gate {
    begun: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Actor for Gate {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit("package test:t; interface work { work: func(n: u32) -> u32; }")
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        _ctx: &mut Context,
    ) -> Result<(), Self::Error> {
        let (n,): (u32,) = message.args()?;
        self.begun.add_permits(1);
        self.open.acquire().await?.forget();
        message.reply((n + 1,));
        Ok(())
    }
}

/// front → middle → gate, all in `system`.
struct Line {
    front: ActorRef,
    middle: ActorRef,
    begun: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

async fn line(system: &System) -> Line {
    let (begun, open) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let gate = ChildSpec::native(address("gate"), {
        let (begun, open) = (Arc::clone(&begun), Arc::clone(&open));
        move || Gate {
            begun: Arc::clone(&begun),
            open: Arc::clone(&open),
        }
    });
    let relay = template(system.engine(), RELAY, &["test:t/work"]);
    let linked = |name: &str, to: &str| {
        let link = Link::new("test:t/work", address(to));
        ChildSpec::component(address(name), relay.clone()).link(link)
    };
    let children = vec![gate, linked("middle", "gate"), linked("front", "middle")];
    let refs = system.supervisor().start(children).await.unwrap();
    Line {
        front: refs[2].clone(),
        middle: refs[1].clone(),
        begun,
        open,
    }
}

async fn begun(line: &Line) {
    line.begun.acquire().await.unwrap().forget();
}

#[tokio::test]
async fn a_call_that_has_to_wait_is_finished_by_the_callees_own_actor() {
    let engine = engine();
    let system = system(&engine).await;
    let line = line(&system).await;
    let work = line.front.function("work").unwrap();
    let calling = tokio::spawn(async move { work.call((1_u32,)).await });
    begun(&line).await;
    line.open.add_permits(1);
    assert_eq!(calling.await.unwrap().unwrap(), (2_u32,).into_args());
    let count = line.middle.call("count", ()).await.unwrap();
    assert_eq!(count, (1_u32,).into_args());
}

#[tokio::test]
async fn killing_the_caller_in_the_middle_does_not_touch_the_callee() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let line = line(&system).await;
    for round in 1..=20_u64 {
        let work = line.front.function("work").unwrap();
        let calling = tokio::spawn(async move { work.call((1_u32,)).await });
        begun(&line).await;
        line.front.kill();
        match calling.await.unwrap() {
            Err(CallError::CalleeDied {
                reason: ExitReason::Killed,
                ..
            }) => {}
            other => panic!("{other:?}"),
        }
        started(&mut events, &address("front"), round).await;
        line.open.add_permits(1);
        // The middle has gone on with the message, and is asked behind it.
        let count = line.middle.call("count", ()).await.unwrap();
        assert_eq!(count, (u32::try_from(round).unwrap(),).into_args());
    }
    assert_eq!(line.middle.status().incarnation, 1);
    assert_eq!(line.middle.status().queued, 0);
    let counters = line.middle.counters();
    assert_eq!(counters.calls_abandoned, 20);
    assert_eq!(counters.calls, counters.replies + counters.calls_abandoned);
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_touch_the_callee() {
    let engine = engine();
    let system = system(&engine).await;
    let line = line(&system).await;
    let work = line.middle.function("work").unwrap();
    let calling = tokio::spawn(async move { work.call((1_u32,)).await });
    begun(&line).await;
    calling.abort();
    assert!(calling.await.unwrap_err().is_cancelled());
    line.open.add_permits(1);
    assert_eq!(
        line.middle.call("count", ()).await.unwrap(),
        (1_u32,).into_args()
    );
    assert_eq!(line.middle.status().incarnation, 1);
}

#[tokio::test]
async fn killing_the_callee_of_a_handed_over_call_answers_its_caller() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let line = line(&system).await;
    let work = line.middle.function("work").unwrap();
    let calling = tokio::spawn(async move { work.call((1_u32,)).await });
    begun(&line).await;
    line.middle.kill();
    match calling.await.unwrap() {
        Err(CallError::CalleeDied {
            reason: ExitReason::Killed,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        exited(&mut events, &address("middle")).await,
        ExitReason::Killed
    ));
    started(&mut events, &address("middle"), 1).await;
    line.open.add_permits(2);
    assert_eq!(
        line.middle.call("work", (5_u32,)).await.unwrap(),
        (6_u32,).into_args()
    );
}

#[tokio::test]
async fn a_trap_on_the_short_road_is_the_callees_exit_and_nobody_elses() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    let worker = system.spawn(worker).await.unwrap();
    for incarnation in 1..=50 {
        worker.call("trap", ()).await.unwrap_err();
        assert_eq!(
            exited(&mut events, &address("worker")).await.kind(),
            "unreachable"
        );
        started(&mut events, &address("worker"), incarnation).await;
    }
    assert_eq!(worker.counters().restarts, 50);
}

/// A caller's call never overtakes its own cast, on either road and any number of threads.
#[test]
fn order_is_kept_for_each_sender() {
    for short_road in [true, false] {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let config = SystemConfig {
                short_road,
                ..SystemConfig::new(engine())
            };
            let system = System::start(config).await.unwrap();
            let template = template(system.engine(), WORKER, &[]);
            let senders = (0..4).map(|n| {
                let system = system.clone();
                let child = ChildSpec::component(address(&format!("w{n}")), template.clone());
                tokio::spawn(async move {
                    let worker = system.spawn(child).await.unwrap();
                    let (work, count) = (
                        worker.function("work").unwrap(),
                        worker.function("count").unwrap(),
                    );
                    for sent in 1..=500_u32 {
                        work.cast((0_u32,)).unwrap();
                        assert_eq!(count.call(()).await.unwrap(), (sent,).into_args());
                    }
                })
            });
            for sender in senders.collect::<Vec<_>>() {
                sender.await.unwrap();
            }
        });
    }
}
