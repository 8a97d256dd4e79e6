//! Many children: S22 and S24.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use airssys_wasm_actors::{
    ActorRef, ChildSpec, Event, Strategy, Supervisor, SupervisorSpec, System, SystemConfig,
};

use super::{Script, calm, kid};
use crate::guests::{address, engine};

async fn tree(strategy: Strategy) -> (System, Supervisor) {
    let config = SystemConfig {
        events_capacity: 1 << 18,
        ..SystemConfig::new(engine())
    };
    let system = System::start(config).await.unwrap();
    let spec = SupervisorSpec::new(address("app")).strategy(strategy);
    let spec = spec.intensity(u32::MAX, Duration::from_secs(1));
    let app = system.supervise(spec).await.unwrap();
    (system, app)
}

async fn many(app: &Supervisor, script: &Arc<Script>, count: usize) -> Vec<ActorRef> {
    let one = kid("kid", script);
    let specs = (0..count).map(|n| ChildSpec {
        address: address(&format!("kid-{n}")),
        ..one.clone()
    });
    app.start(specs.collect()).await.unwrap()
}

/// The work of a start and a stop as events: one of each for each child, in order and in reverse. That the machine
/// does no more for each of a hundred thousand than of a thousand is a test of its own.
#[tokio::test(start_paused = true)]
async fn s22_as_much_happens_for_each_child_of_many_as_of_few() {
    for (strategy, counts) in [
        (Strategy::OneForOne, [1_000, 20_000]),
        (Strategy::SimpleOneForOne, [1_000, 5_000]),
    ] {
        for count in counts {
            let (system, app) = tree(strategy).await;
            let mut events = system.events();
            let script = calm();
            let kids = many(&app, &script, count).await;
            assert_eq!(app.count_children().active, count);
            let report = app.stop().await;
            assert_eq!((report.stopped.len(), report.killed.len()), (count, 0));
            assert_eq!(script.alive.load(Ordering::Relaxed), 0);
            drop(kids);
            let (mut starts, mut ends, mut all) = (0, 0, 0);
            loop {
                match events.recv().await.unwrap() {
                    Event::SupervisorEnded { .. } => break,
                    Event::Started { address, .. } => {
                        assert_eq!(address.as_str(), format!("kid-{starts}"));
                        starts += 1;
                    }
                    Event::Exited { address, .. } => {
                        ends += 1;
                        // Dynamic ones are asked all at once.
                        let last = format!("kid-{}", count - ends);
                        assert!(strategy != Strategy::OneForOne || address.as_str() == last);
                    }
                    _ => {}
                }
                all += 1;
            }
            assert_eq!((starts, ends), (count, count));
            // A child's start, its end, and the end of its name; of the supervisor, its own end.
            assert_eq!(all, 3 * count + 1);
        }
    }
}

/// A group of very many supervisors: each is stopped and started once, in order, and nobody is told that one is gone
/// for good. That whether one returns is asked without a look at the others is in a test of the machine.
#[tokio::test(start_paused = true)]
async fn s22_a_group_of_many_supervisors_is_restarted_one_by_one() {
    const SUPERVISORS: usize = 5_000;
    let (system, _) = tree(Strategy::OneForOne).await;
    let below = (0..SUPERVISORS).map(|n| SupervisorSpec::new(address(&format!("below-{n}"))));
    let mut spec = SupervisorSpec::new(address("group"))
        .strategy(Strategy::OneForAll)
        .intensity(u32::MAX, Duration::from_secs(1));
    spec.children = below.map(ChildSpec::supervisor).collect();
    let group = system
        .supervise(spec.with(kid("kid", &calm())))
        .await
        .unwrap();
    let mut events = system.events();
    system.whereis(&address("kid")).unwrap().kill();
    let (mut starts, mut ends) = (0, 0);
    loop {
        match events.recv().await.unwrap() {
            Event::SupervisorStarted {
                address,
                incarnation,
            } => {
                assert_eq!(address.as_str(), format!("below-{starts}"));
                assert_eq!((ends, incarnation), (SUPERVISORS, 2));
                starts += 1;
            }
            Event::SupervisorExited { address, .. } => {
                ends += 1;
                let last = format!("below-{}", SUPERVISORS - ends);
                assert_eq!(address.as_str(), last);
            }
            Event::Started { .. } => break,
            // Nobody was told that one of them is gone for good.
            event => assert!(!matches!(event, Event::SupervisorEnded { .. }), "{event:?}"),
        }
    }
    assert_eq!((starts, ends), (SUPERVISORS, SUPERVISORS));
    assert_eq!(group.count_children().active, SUPERVISORS + 1);
    system.shutdown().await;
}

/// Ten thousand exits, five hundred at a time, of a service's siblings. Whoever asks the service meanwhile is
/// answered, and also before the last of them is up again.
#[tokio::test(start_paused = true)]
async fn s24_messages_flow_while_ten_thousand_children_exit() {
    const CHILDREN: usize = 500;
    const ROUNDS: u64 = 20;
    let (system, app) = tree(Strategy::OneForOne).await;
    let service = app.start_child(kid("service", &calm())).await.unwrap();
    let service = service.actor().unwrap();
    let kids = many(&app, &calm(), CHILDREN).await;
    let all = CHILDREN as u64 * ROUNDS;
    let over = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn({
        let (service, over) = (service.clone(), Arc::clone(&over));
        let system = system.clone();
        async move {
            let (mut asked, mut meanwhile) = (0_u64, 0_u64);
            let echo = service.function("echo").unwrap();
            while !over.load(Ordering::Relaxed) {
                let due = system.counters().restarts;
                echo.call(()).await.unwrap();
                asked += 1;
                // Answered while restarts were under way.
                meanwhile += u64::from(due % CHILDREN as u64 != 0);
                tokio::task::yield_now().await;
            }
            (asked, meanwhile)
        }
    });
    let mut events = system.events();
    for _ in 0..ROUNDS {
        for actor in &kids {
            actor.kill();
        }
        // The supervisor answers, too.
        assert!(app.terminate_child(&address("nobody")).await.is_err());
        let mut up = 0;
        while up < CHILDREN {
            up += usize::from(matches!(
                events.recv().await.unwrap(),
                Event::Started { .. }
            ));
        }
    }
    over.store(true, Ordering::Relaxed);
    let (asked, meanwhile) = asking.await.unwrap();
    assert_eq!(system.counters().restarts, all);
    assert_eq!(
        (service.counters().calls, service.counters().replies),
        (asked, asked)
    );
    assert!(
        asked > 0 && meanwhile > 0,
        "{asked} asked, {meanwhile} meanwhile"
    );
    assert_eq!(service.status().incarnation, 1);
}
