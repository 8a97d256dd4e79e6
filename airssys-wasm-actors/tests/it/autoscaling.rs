//! The number of replicas follows what they have to do: within its bounds, losing nothing, and not where it cannot.

mod declared;
mod obstacles;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use airssys_wasm::{IntoArgs, Surface, WitError};
use airssys_wasm_actors::deployment::{Autoscale, Load};
use airssys_wasm_actors::{
    Actor, ActorAddress, ActorRef, CallError, ChildSpec, Context, Event, Events, Link, Message,
    ScaleOptions, System,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::guests::{RELAY, address, engine, system, system_with, template};
use crate::replicas::{futures_join, patient};

/// How long one message takes that a [`Backend`] answers.
const TAKES: Duration = Duration::from_millis(100);

/// Answers each message after a while, however many there are.
struct Backend;

impl Actor for Backend {
    type Error = CallError;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit("package test:t; interface work { work: func(n: u32) -> u32; }")
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        _: &mut Context,
    ) -> Result<(), CallError> {
        let (n,): (u32,) = message.args().unwrap();
        let reply = message.defer().unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(TAKES).await;
            reply.send((n + 1,));
        });
        Ok(())
    }
}

/// A guest that has a message in hand for as long as the backend takes.
async fn pool(system: &System) -> ActorRef {
    pool_of(system, 1).await
}

async fn pool_of(system: &System, replicas: u32) -> ActorRef {
    let backend = ChildSpec::native(address("backend"), || Backend);
    system.spawn(backend).await.unwrap();
    let pool = ChildSpec {
        replicas,
        ..pool_spec(system)
    };
    system.spawn(pool).await.unwrap()
}

fn pool_spec(system: &System) -> ChildSpec {
    let template = template(system.engine(), RELAY, &["test:t/work"]);
    ChildSpec::component(address("pool"), template)
        .link(Link::new("test:t/work", address("backend")))
}

fn config(min: u32, max: u32) -> Autoscale {
    Autoscale {
        min,
        max,
        queue_per_replica: 10,
        up_cooldown: Duration::from_secs(2),
        down_cooldown: Duration::from_secs(10),
        ..Autoscale::default()
    }
}

/// Callers that call one after the other until they are told to stop; each counts its replies.
struct Callers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<u64>>,
}

impl Callers {
    fn start(actor: &ActorRef, count: usize) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let tasks = (0..count).map(|_| {
            let (work, stop) = (actor.function("work").unwrap(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut replies = 0;
                while !stop.load(Ordering::Acquire) {
                    let reply = work.call_with((7_u32,), patient()).await.unwrap();
                    assert_eq!(reply, (8_u32,).into_args());
                    replies += 1;
                    tokio::task::yield_now().await;
                }
                replies
            })
        });
        let tasks = tasks.collect();
        Self { stop, tasks }
    }

    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        futures_join(self.tasks).await.into_iter().sum()
    }
}

/// The next change of a number; that there should be one and cannot be is a fault.
async fn next(events: &mut Events) -> (u32, u32, Load) {
    loop {
        match events.recv().await {
            Some(Event::Autoscaled { from, to, load, .. }) => return (from, to, load),
            Some(Event::NotAutoscaled { why, .. }) => panic!("{why}"),
            Some(_) => {}
            None => panic!("the system is gone"),
        }
    }
}

/// The next that should be and cannot: from, to, and why not.
async fn refused(events: &mut Events) -> (u32, u32, String) {
    loop {
        match events.recv().await {
            Some(Event::NotAutoscaled { from, to, why, .. }) => return (from, to, why.to_string()),
            Some(Event::Autoscaled { from, to, .. }) => panic!("from {from} to {to}"),
            Some(_) => {}
            None => panic!("the system is gone"),
        }
    }
}

/// Whether nothing is changed for five minutes.
async fn stays(events: &mut Events, system: &System, replicas: u32) {
    let quiet = tokio::time::timeout(Duration::from_secs(300), next(events));
    assert!(quiet.await.is_err());
    assert_eq!(system.replicas(&address("pool")), Some(replicas));
}

fn last(actor: &ActorRef) -> String {
    actor.status().autoscale.unwrap().last.unwrap()
}

#[tokio::test(start_paused = true)]
async fn load_comes_and_goes_and_nothing_is_lost_or_done_twice() {
    for short_road in [true, false] {
        let system = system_with(&engine(), short_road).await;
        let pool = pool(&system).await;
        let mut events = system.events();
        let options = ScaleOptions::default();
        let kept = system
            .autoscale(pool.address(), config(1, 4), options)
            .unwrap();
        assert_eq!(system.autoscaled(pool.address()), Some(config(1, 4)));
        let callers = Callers::start(&pool, 60);
        let (from, to, load) = next(&mut events).await;
        assert_eq!((from, to), (1, 2));
        assert!(load.queued > 10 && load.utilisation > 0.9, "{load}");
        assert_eq!(last(&pool), format!("from 1 to 2: {load}"));
        let (from, to, _) = next(&mut events).await;
        assert_eq!((from, to), (2, 4));
        let status = pool.status().autoscale.unwrap();
        assert_eq!((status.replicas, status.min, status.max), (4, 1, 4));
        // As many as there may be, whatever waits.
        let quiet = tokio::time::timeout(Duration::from_secs(30), next(&mut events));
        assert!(quiet.await.is_err());
        let replies = callers.end().await;
        let mut before = Instant::now();
        for (from, to) in [(4, 3), (3, 2), (2, 1)] {
            let (was, is, load) = next(&mut events).await;
            assert_eq!((was, is, load.queued), (from, to, 0));
            // A lull is not an end.
            assert!(before.elapsed() >= Duration::from_secs(10));
            before = Instant::now();
        }
        stays(&mut events, &system, 1).await;
        let (counters, backend) = (
            pool.counters(),
            system.whereis(&address("backend")).unwrap().counters(),
        );
        assert_eq!((counters.calls, counters.replies), (replies, replies));
        assert_eq!((backend.calls, backend.replies), (replies, replies));
        assert_eq!((system.counters().call_errors, counters.restarts), (0, 0));
        drop(kept);
        system.shutdown().await;
    }
}

/// One message at a time, none of which waits: only how busy they are says that there is too little.
#[tokio::test(start_paused = true)]
async fn who_is_busy_without_a_queue_is_scaled_by_it() {
    let system = system(&engine()).await;
    let pool = pool(&system).await;
    let mut events = system.events();
    let kept = system.autoscale(pool.address(), config(1, 8), ScaleOptions::default());
    let callers = Callers::start(&pool, 1);
    let (from, to, load) = next(&mut events).await;
    assert_eq!((from, to, load.queued), (1, 2, 0));
    assert!(load.utilisation > 0.9, "{load}");
    // Each is busy for half of its time, which is less than it may be and not as little as one fewer would take.
    stays(&mut events, &system, 2).await;
    callers.end().await;
    let (from, to, load) = next(&mut events).await;
    assert_eq!(
        (from, to, load.to_string()),
        (2, 1, "queue 0, busy 0 %".to_owned())
    );
    drop(kept);
}

/// The same with a guest that never waits, in the time of the machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_computes_all_the_time_is_scaled_by_it() {
    const BURN: &str = r#"(component
      (core module $m
        (func (export "work") (param i32) (result i32)
          (local $left i32)
          (local.set $left (i32.const 20000000))
          (loop $again
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $again (local.get $left)))
          (i32.add (local.get 0) (i32.const 1))))
      (core instance $i (instantiate $m))
      (func $work (param "n" u32) (result u32) (canon lift (core func $i "work")))
      (instance (export "test:t/work") (export "work" (func $work))))"#;
    let system = system(&engine()).await;
    let spec = ChildSpec::component(address("pool"), template(system.engine(), BURN, &[]));
    let pool = system.spawn(spec).await.unwrap();
    let mut events = system.events();
    let kept = system.autoscale(pool.address(), config(1, 2), ScaleOptions::default());
    let callers = Callers::start(&pool, 1);
    let (from, to, load) = next(&mut events).await;
    assert_eq!((from, to), (1, 2));
    assert!(load.utilisation > 0.7, "{load}");
    let replies = callers.end().await;
    assert_eq!(pool.counters().replies, replies);
    drop(kept);
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_its_handle_and_follows_what_is_set() {
    let system = system(&engine()).await;
    let pool = pool(&system).await;
    let mut events = system.events();
    let options = ScaleOptions::default();
    let kept = system
        .autoscale(pool.address(), config(3, 4), options)
        .unwrap();
    assert_eq!(kept.address(), pool.address());
    let (from, to, _) = next(&mut events).await;
    assert_eq!((from, to), (1, 3));
    kept.set(config(1, 2)).unwrap();
    let (from, to, _) = next(&mut events).await;
    assert_eq!((from, to), (3, 2));
    assert!(kept.set(config(0, 2)).is_err());
    assert_eq!(system.autoscaled(pool.address()), Some(config(1, 2)));
    drop(kept);
    assert_eq!(system.autoscaled(pool.address()), None);
    assert_eq!(pool.status().autoscale, None);
    stays(&mut events, &system, 2).await;
    // And by somebody else, from then on.
    let kept = system
        .autoscale(pool.address(), config(4, 4), options)
        .unwrap();
    assert_eq!(next(&mut events).await.1, 4);
    drop(kept);
}

/// While the numbers go up and down under load, replicas die: what fails is what they had in hand, and nothing else.
#[tokio::test(start_paused = true)]
async fn kills_while_it_scales_cost_what_was_in_hand() {
    let system = system(&engine()).await;
    let pool = pool(&system).await;
    let kept = system
        .autoscale(pool.address(), config(1, 6), ScaleOptions::default())
        .unwrap();
    let mut events = system.events();
    let work = pool.function("work").unwrap();
    let (mut replies, mut died) = (0_u64, 0_u64);
    let mut numbers = Vec::new();
    for round in 0..12_usize {
        let count = if round % 2 == 0 { 100 } else { 1 };
        let calls = (0..count).map(|_| {
            let work = work.clone();
            tokio::spawn(async move { work.call_with((7_u32,), patient()).await })
        });
        let calls: Vec<_> = calls.collect();
        let (_, to, _) = next(&mut events).await;
        numbers.push(to);
        if let Some(one) = pool.replicas().get(round % 3) {
            one.kill();
        }
        for result in futures_join(calls).await {
            match result {
                Ok(_) => replies += 1,
                Err(why) => {
                    assert_eq!(why.kind(), "callee-died");
                    died += 1;
                }
            }
        }
    }
    assert!(numbers.contains(&6) && !numbers.is_sorted(), "{numbers:?}");
    let counters = pool.counters();
    assert_eq!((counters.replies, counters.call_errors), (replies, died));
    assert_eq!(counters.calls, replies + died);
    assert!(died <= 12, "{died}");
    drop(kept);
}

fn app() -> ActorAddress {
    address("app")
}
