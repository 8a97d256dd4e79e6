//! Dead letters: sent again, counted, poison, filtered, thrown away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use airssys_wasm::{IntoArgs, Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorAddress, ActorRef, ChildSpec, Context, DeadLetterFilter, DeadLetterLimits,
    DeadLetterSelection, ErrorAction, Event, Events, MailboxConfig, Message, PurgeReport,
    ReplayRefused, RestartIntensity, System, SystemConfig,
};

use tokio::sync::Notify;

use crate::guests::{WORKER, address, engine, started, system, template};

fn everything() -> DeadLetterSelection {
    DeadLetterFilter::default().into()
}

fn sequences(system: &System, filter: &DeadLetterFilter) -> Vec<u64> {
    let letters = system.dead_letters().list(filter);
    letters.iter().map(|letter| letter.sequence).collect()
}

/// Waits until a replay has been handled.
async fn handled(events: &mut Events) -> (ActorAddress, u64) {
    loop {
        match events.recv().await {
            Some(Event::DeadLetterHandled { address, sequence }) => return (address, sequence),
            Some(_) => {}
            None => panic!("the system is gone"),
        }
    }
}

/// Waits until a cast has become a dead letter, and until its actor is up again if it was ended.
async fn died(events: &mut Events, who: &ActorRef) {
    let before = who.status().incarnation;
    loop {
        match events.recv().await {
            Some(Event::DeadLetter { .. }) => break,
            Some(_) => {}
            None => panic!("the system is gone"),
        }
    }
    started(events, who.address(), before).await;
}

fn balances(system: &System) {
    let counters = system.counters();
    assert_eq!(
        counters.casts,
        counters.casts_handled + counters.dead_letters,
        "{counters:?}"
    );
    assert_eq!(counters.dead_letters, system.dead_letters().total());
}

/// Has the worker's `trap`, and does not die of it.
struct Cured {
    handled: Arc<AtomicU32>,
}

impl Actor for Cured {
    type Error = std::fmt::Error;

    fn surface() -> Result<Surface, WitError> {
        surface()
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        _: &mut Context,
    ) -> Result<(), Self::Error> {
        self.handled.fetch_add(1, Ordering::Relaxed);
        message.args::<()>().map_err(|_| std::fmt::Error)
    }
}

fn surface() -> Result<Surface, WitError> {
    Surface::from_wit("package test:t; interface work { trap: func(); }")
}

#[tokio::test]
async fn a_replay_reaches_the_restarted_actor_and_whoever_has_the_address() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    let worker = system.spawn(worker).await.unwrap();
    worker.cast("trap", ()).unwrap();
    died(&mut events, &worker).await;
    let letters = system.dead_letters();
    let report = letters.replay(&0.into(), false);
    assert_eq!((report.accepted, report.refused.len()), (vec![0], 0));
    died(&mut events, &worker).await;
    let letter = letters.get(0).unwrap();
    assert_eq!((letter.attempts, letter.deaths), (2, 2));
    assert!(!letter.under_way && !letter.poison);
    assert_eq!(worker.counters().casts, 2);
    assert_eq!(
        worker.call("work", (1_u32,)).await.unwrap(),
        (2_u32,).into_args()
    );
    balances(&system);

    // Nobody has the address: that is the reason from now on.
    system.supervisor().stop().await;
    let report = letters.replay(&everything(), false);
    assert!(report.accepted.is_empty());
    assert_eq!(report.refused[0].kind(), "no-such-actor");
    let letter = letters.get(0).unwrap();
    assert_eq!((letter.why.kind(), letter.attempts), ("no-such-actor", 2));
    balances(&system);
}

#[tokio::test]
async fn a_replay_is_handled_by_a_successor_with_the_same_name() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let first = supervised(&system, "first").await;
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    let worker = first.start(vec![worker]).await.unwrap().remove(0);
    worker.cast("trap", ()).unwrap();
    died(&mut events, &worker).await;
    first.stop().await;
    let seen = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&seen);
    let cured = ChildSpec::native(address("worker"), move || Cured {
        handled: Arc::clone(&count),
    });
    system.spawn(cured).await.unwrap();
    let letters = system.dead_letters();
    assert_eq!(letters.replay(&everything(), false).accepted, [0]);
    assert_eq!(handled(&mut events).await, (address("worker"), 0));
    assert_eq!(seen.load(Ordering::Relaxed), 1);
    assert_eq!(letters.kept(), (0, 0));
    assert!(matches!(
        letters.replay(&0.into(), true).refused[..],
        [ReplayRefused::NoSuchLetter { sequence: 0 }]
    ));
    balances(&system);
}

async fn supervised(system: &System, name: &str) -> airssys_wasm_actors::Supervisor {
    system
        .supervise(airssys_wasm_actors::SupervisorSpec {
            intensity: RestartIntensity {
                max: 100,
                within: std::time::Duration::from_secs(1),
            },
            ..airssys_wasm_actors::SupervisorSpec::new(address(name))
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn what_ends_its_actor_three_times_is_poison_and_goes_round_no_more() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    let worker = system.spawn(worker).await.unwrap();
    worker.cast("trap", ()).unwrap();
    died(&mut events, &worker).await;
    let letters = system.dead_letters();
    for _ in 0..2 {
        assert_eq!(letters.replay(&everything(), false).accepted, [0]);
        died(&mut events, &worker).await;
    }
    let report = letters.replay(&everything(), false);
    assert!(report.accepted.is_empty());
    assert!(matches!(
        report.refused[..],
        [ReplayRefused::Poison {
            sequence: 0,
            deaths: 3
        }]
    ));
    let poison = DeadLetterFilter {
        poison: Some(true),
        ..DeadLetterFilter::default()
    };
    assert_eq!(sequences(&system, &poison), [0]);
    assert_eq!(letters.replay(&0.into(), true).accepted, [0]);
    died(&mut events, &worker).await;
    assert_eq!(letters.get(0).unwrap().deaths, 4);
    balances(&system);
}

/// Fails every message; ends of it or not.
struct Failing(ErrorAction);

impl Actor for Failing {
    type Error = std::fmt::Error;

    fn surface() -> Result<Surface, WitError> {
        surface()
    }

    async fn handle_message(
        &mut self,
        _: &mut Message,
        _: &mut Context,
    ) -> Result<(), Self::Error> {
        Err(std::fmt::Error)
    }

    fn on_error(&mut self, _: &Self::Error) -> ErrorAction {
        self.0
    }
}

/// Says that it has begun, and never ends.
struct Stuck {
    begun: Arc<Notify>,
}

impl Actor for Stuck {
    type Error = std::fmt::Error;

    fn surface() -> Result<Surface, WitError> {
        surface()
    }

    async fn handle_message(
        &mut self,
        _: &mut Message,
        _: &mut Context,
    ) -> Result<(), Self::Error> {
        self.begun.notify_one();
        std::future::pending().await
    }
}

#[tokio::test]
async fn an_error_that_a_native_actor_survives_is_no_death_and_a_kill_is_not_the_messages_doing() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    for (name, action) in [("exits", ErrorAction::Exit), ("stays", ErrorAction::Resume)] {
        let child = ChildSpec::native(address(name), move || Failing(action));
        let actor = system.spawn(child).await.unwrap();
        actor.cast("trap", ()).unwrap();
        loop {
            if let Some(Event::DeadLetter { .. }) = events.recv().await {
                break;
            }
        }
    }
    let letters = system.dead_letters();
    let deaths: Vec<_> = [0, 1]
        .map(|at| letters.get(at).unwrap())
        .iter()
        .map(|letter| (letter.why.kind(), letter.deaths))
        .collect();
    assert_eq!(deaths, [("native", 1), ("native", 0)]);

    let begun = Arc::new(Notify::new());
    let told = Arc::clone(&begun);
    let stuck = ChildSpec::native(address("stuck"), move || Stuck {
        begun: Arc::clone(&told),
    });
    let stuck = system.spawn(stuck).await.unwrap();
    let mut events = system.events();
    stuck.cast("trap", ()).unwrap();
    begun.notified().await;
    stuck.kill();
    died(&mut events, &stuck).await;
    let letter = letters.get(2).unwrap();
    assert_eq!((letter.why.kind(), letter.deaths), ("callee-died", 0));
    balances(&system);
}

#[tokio::test]
async fn a_filter_chooses_what_is_sent_again_and_what_is_thrown_away() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let mut actors = Vec::new();
    for name in ["a/one", "a/two", "b"] {
        let child = ChildSpec::component(address(name), template(&engine, WORKER, &[]));
        let actor = system.spawn(child).await.unwrap();
        actor.cast("trap", ()).unwrap();
        died(&mut events, &actor).await;
        actors.push(actor);
    }
    let of = |target: &str| DeadLetterFilter {
        target: Some(target.parse().unwrap()),
        ..DeadLetterFilter::default()
    };
    assert_eq!(sequences(&system, &of("a")), [0, 1]);
    assert_eq!(sequences(&system, &of("*/two")), [1]);
    let letters = system.dead_letters();
    assert_eq!(letters.replay(&of("b").into(), false).accepted, [2]);
    died(&mut events, &actors[2]).await;
    let report = letters.purge(&of("a/*").into());
    assert_eq!(
        report,
        PurgeReport {
            purged: 2,
            under_way: 0
        }
    );
    assert_eq!(sequences(&system, &DeadLetterFilter::default()), [2]);
    assert_eq!(letters.total(), 4);
    balances(&system);
}

#[tokio::test]
async fn a_letter_under_way_stays_and_is_not_sent_twice() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let mut child = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    child.mailbox = MailboxConfig {
        depth_max: 2,
        ..MailboxConfig::default()
    };
    let worker = system.spawn(child).await.unwrap();
    worker.cast("trap", ()).unwrap();
    died(&mut events, &worker).await;
    let letters = system.dead_letters();
    // On this thread nothing is handled before the next await.
    worker.cast("work", (1_u32,)).unwrap();
    assert_eq!(letters.replay(&0.into(), false).accepted, [0]);
    assert!(letters.get(0).unwrap().under_way);
    let report = letters.replay(&everything(), true);
    assert!(matches!(
        report.refused[..],
        [ReplayRefused::UnderWay { sequence: 0 }]
    ));
    let purged = letters.purge(&everything());
    assert_eq!((purged.purged, purged.under_way), (0, 1));
    died(&mut events, &worker).await;

    // No room: it is kept with that reason, and nobody has sent a cast.
    let casts = system.counters().casts;
    worker.cast("work", (1_u32,)).unwrap();
    worker.cast("work", (1_u32,)).unwrap();
    let report = letters.replay(&0.into(), false);
    assert_eq!(report.refused[0].kind(), "mailbox-full");
    let letter = letters.get(0).unwrap();
    assert_eq!((letter.why.kind(), letter.attempts), ("mailbox-full", 2));
    assert_eq!(system.counters().casts, casts + 2);
}

#[tokio::test]
async fn the_store_is_bounded_and_forgets_the_oldest() {
    let engine = engine();
    let intensity = RestartIntensity {
        max: 1_000,
        within: std::time::Duration::from_secs(1),
    };
    let system = System::start(SystemConfig {
        dead_letters: DeadLetterLimits {
            count_max: 3,
            ..DeadLetterLimits::default()
        },
        intensity,
        ..SystemConfig::new(engine.clone())
    })
    .await
    .unwrap();
    let mut events = system.events();
    let child = ChildSpec::native(address("stays"), || Failing(ErrorAction::Resume));
    let actor = system.spawn(child).await.unwrap();
    for _ in 0..10 {
        actor.cast("trap", ()).unwrap();
    }
    for _ in 0..10 {
        while !matches!(events.recv().await, Some(Event::DeadLetter { .. })) {}
    }
    assert_eq!(sequences(&system, &DeadLetterFilter::default()), [7, 8, 9]);
    assert_eq!(system.dead_letters().total(), 10);
    balances(&system);
}
