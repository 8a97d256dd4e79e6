//! The traffic of one actor, split between it and a candidate.

mod known;
mod shadow;
mod storm;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_wasm::{FromArgs, IntoArgs, ResourceHandle, Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorRef, BackpressureStrategy, CallError, CallOptions, ChildSpec, Context, Link,
    MailboxConfig, Message, RestartPolicy, Split, SplitMode, SplitRefused, SplitSpec,
    SubscribeOptions, System, Weight,
};
use tokio::sync::Notify;

use crate::guests::{
    RELAY, SEQUENCER, WORKER, address, engine, started, system, system_with, template,
};

/// Who has handled which sequence of which sender, in which order.
#[derive(Default)]
struct Log {
    handled: Mutex<Vec<(String, u32, u32)>>,
    held: Notify,
    open: Notify,
}

/// Notes what it is sent.
struct Receiver(Arc<Log>);

impl Actor for Receiver {
    type Error = CallError;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:t;
             interface order {
                 put: func(sender: u32, sequence: u32) -> u32;
                 named: func(key: string) -> string;
                 hold: func();
                 decline: func() -> result<u32, string>;
                 fail: func();
                 panic: func();
             }",
        )?
        .with_message_handler()
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> Result<(), CallError> {
        match message.function() {
            "put" => {
                let (sender, sequence): (u32, u32) = message.args().unwrap();
                let me = ctx.address().to_string();
                let mut handled = self.0.handled.lock().unwrap();
                handled.push((me, sender, sequence));
                drop(handled);
                message.reply((sequence + 1,));
            }
            "handle-message" => {
                let me = ctx.address().to_string();
                self.0.handled.lock().unwrap().push((me, 0, 0));
                message.reply((Vec::<u8>::new(),));
            }
            "named" => message.reply((ctx.address().as_str(),)),
            "hold" => {
                self.0.held.notify_one();
                self.0.open.notified().await;
                message.reply(());
            }
            "decline" => message.reply((Err::<u32, String>("no".to_owned()),)),
            "fail" => return Err(CallError::Cycle { path: Vec::new() }),
            _ => panic!("on purpose"),
        }
        Ok(())
    }

    fn on_error(&mut self, _: &CallError) -> airssys_wasm_actors::ErrorAction {
        airssys_wasm_actors::ErrorAction::Resume
    }
}

fn receiver(name: &str, log: &Arc<Log>) -> ChildSpec {
    let log = Arc::clone(log);
    ChildSpec::native(address(name), move || Receiver(Arc::clone(&log)))
}

/// Two receivers with one log.
async fn receivers(system: &System) -> (ActorRef, ActorRef, Arc<Log>) {
    let log = Arc::<Log>::default();
    let specs = vec![receiver("stable", &log), receiver("next", &log)];
    let refs = system.supervisor().start(specs).await.unwrap();
    (refs[0].clone(), refs[1].clone(), log)
}

fn weighted(parts: u16) -> SplitSpec {
    SplitSpec {
        weight: weight(parts),
        ..SplitSpec::default()
    }
}

fn weight(parts: u16) -> Weight {
    Weight::new(parts).unwrap()
}

fn patient() -> CallOptions {
    CallOptions {
        within: Duration::from_secs(600),
        ..CallOptions::default()
    }
}

/// Whether every call and every cast has had its end.
fn is_balanced(actor: &ActorRef) -> bool {
    let counters = actor.counters();
    counters.calls == counters.replies + counters.call_errors + counters.calls_abandoned
        && counters.casts == counters.casts_handled + counters.dead_letters
}

async fn until(is: impl Fn() -> bool) {
    while !is() {
        tokio::task::yield_now().await;
    }
}

/// The bar of a canary: its share is within one of ten thousand requests, whichever way they are made.
#[tokio::test]
async fn the_candidates_share_is_exact_on_every_road() {
    let engine = engine();
    for short_road in [true, false] {
        let system = system_with(&engine, short_road).await;
        let worker = |name| ChildSpec::component(address(name), template(&engine, WORKER, &[]));
        let relay =
            ChildSpec::component(address("relay"), template(&engine, RELAY, &["test:t/work"]))
                .link(Link::new("test:t/work", address("stable")));
        let specs = vec![worker("stable"), worker("next"), relay];
        let refs = system.supervisor().start(specs).await.unwrap();
        let [stable, next, relay] = <[ActorRef; 3]>::try_from(refs).unwrap();
        let split = stable.split(&next, weighted(1_234)).unwrap();
        let work = stable.function("work").unwrap();
        let share = || {
            let (kept, given) = split.stats();
            (kept.requests, given.requests)
        };

        for n in 0..2_000_u32 {
            assert_eq!(work.call((n,)).await.unwrap(), (n + 1,).into_args());
        }
        assert_eq!(share(), (1_754, 246), "calls of the host");
        for n in 0..2_000_u32 {
            let answer = relay.call("work", (n,)).await.unwrap();
            assert_eq!(answer, (n + 1,).into_args());
        }
        assert_eq!(share(), (3_507, 493), "calls over a link");
        for _ in 0..20 {
            let batch = (0..100_u32).map(|n| (n,));
            let answers = work.call_batch(batch, CallOptions::default()).await;
            for (n, answer) in (0..100_u32).zip(answers) {
                assert_eq!(answer.unwrap(), (n + 1,).into_args());
            }
        }
        assert_eq!(share(), (5_260, 740), "batches");
        for n in 0..4_000_u32 {
            work.cast((n,)).unwrap();
            if n % 500 == 499 {
                stable.emptied().await;
                next.emptied().await;
            }
        }
        assert_eq!(share(), (8_766, 1_234), "casts");
        // What was counted at the choice is what has arrived.
        for (actor, requests) in [(&stable, 8_766), (&next, 1_234)] {
            let counters = actor.counters();
            assert_eq!(counters.replies + counters.casts_handled, requests);
            assert!(is_balanced(actor));
        }
        let (kept, given) = split.stats();
        assert_eq!((kept.errors, given.errors), (0, 0));
        // One call of eight was timed; casts end with their push.
        for (arm, calls) in [(&kept, 5_260), (&given, 740)] {
            let timed = arm.latencies.timed();
            assert!(timed.abs_diff(calls / 8) < calls / 20, "{timed} of {calls}");
            assert!(arm.latencies.p50().unwrap() <= arm.latencies.p99().unwrap());
        }
        system.shutdown().await;
    }
}

#[tokio::test]
async fn a_weight_of_nothing_and_of_all_leave_the_other_arm_alone() {
    let system = system(&engine()).await;
    let (stable, next, _) = receivers(&system).await;
    let split = stable.split(&next, weighted(0)).unwrap();
    let put = stable.function("put").unwrap();
    for n in 0..100_u32 {
        put.call((0_u32, n)).await.unwrap();
    }
    assert_eq!((stable.counters().calls, next.counters().calls), (100, 0));
    split.set_weight(Weight::ALL, "operator: all of it");
    for n in 0..100_u32 {
        put.call((0_u32, n)).await.unwrap();
    }
    assert_eq!((stable.counters().calls, next.counters().calls), (100, 100));
    assert!(split.remove("operator: enough"));
    assert!(!split.remove("again"));
    put.call((0_u32, 0_u32)).await.unwrap();
    assert_eq!((stable.counters().calls, next.counters().calls), (101, 100));
    let history: Vec<_> = split
        .history()
        .into_iter()
        .map(|change| (change.weight, change.why.to_string()))
        .collect();
    assert_eq!(
        history,
        [
            (Some(Weight::NONE), String::new()),
            (Some(Weight::ALL), "operator: all of it".to_owned()),
            (None, "operator: enough".to_owned()),
        ]
    );
}

#[tokio::test]
async fn a_key_stays_with_its_arm_and_more_weight_moves_keys_one_way() {
    let system = system(&engine()).await;
    let (stable, next, _) = receivers(&system).await;
    let spec = SplitSpec {
        sticky: Some("key".to_owned()),
        ..weighted(0)
    };
    let nobody_has_it = SplitSpec {
        sticky: Some("kay".to_owned()),
        ..spec.clone()
    };
    let refused = stable.split(&next, nobody_has_it).map(drop).unwrap_err();
    assert!(
        refused.to_string().contains("has a parameter `kay`"),
        "{refused}"
    );
    let split = stable.split(&next, spec).unwrap();
    let named = stable.function("named").unwrap();
    let keys: Vec<_> = (0..200_u32).map(|n| format!("user-{n}")).collect();
    let mut before = BTreeSet::new();
    for parts in [0, 500, 2_500, 5_000, 9_000, 10_000] {
        split.set_weight(weight(parts), "a step");
        let mut moved = BTreeSet::new();
        for key in &keys {
            let mut arms = BTreeSet::new();
            for _ in 0..3 {
                let answer = named.call((key.as_str(),)).await.unwrap();
                arms.insert(<(String,)>::from_args(answer).unwrap().0);
            }
            assert_eq!(arms.len(), 1, "{key} has two arms");
            if arms.contains("next") {
                moved.insert(key.clone());
            }
        }
        assert!(before.is_subset(&moved), "a key moved back at {parts}");
        let fair = usize::from(parts) * keys.len() / 10_000;
        // Five standard deviations of the worst weight, a half.
        assert!(moved.len().abs_diff(fair) <= 35, "{} {fair}", moved.len());
        before = moved;
    }
    assert_eq!(before.len(), keys.len());
    // Without the parameter they take turns.
    split.set_weight(weight(5_000), "half");
    let before = next.counters().calls;
    for _ in 0..10 {
        stable.call("fail", ()).await.unwrap_err();
    }
    assert_eq!(next.counters().calls - before, 5);
}

/// Whose registration has ended loses nothing: what was to be its own goes to the stable one.
#[tokio::test]
async fn a_candidate_that_is_gone_is_answered_for() {
    let system = system(&engine()).await;
    let (stable, next, log) = receivers(&system).await;
    let split = stable.split(&next, weighted(5_000)).unwrap();
    let put = stable.function("put").unwrap();
    for n in 0..10_u32 {
        put.call((0_u32, n)).await.unwrap();
    }
    let stop = address("next");
    system.supervisor().stop_child(&stop).await.unwrap();
    for n in 10..20_u32 {
        put.call((0_u32, n)).await.unwrap();
    }
    for n in 20..30_u32 {
        put.cast((0_u32, n)).unwrap();
    }
    let batch = (30..40_u32).map(|n| (0_u32, n));
    for answer in put.call_batch(batch, CallOptions::default()).await {
        answer.unwrap();
    }
    stable.emptied().await;
    let handled = log.handled.lock().unwrap();
    let all: BTreeSet<_> = handled.iter().map(|(_, _, n)| *n).collect();
    assert_eq!((handled.len(), all.len()), (40, 40));
    let counters = next.counters();
    assert_eq!(
        (counters.calls, counters.replies, counters.casts),
        (5, 5, 0)
    );
    assert!(is_balanced(&next) && is_balanced(&stable));
    let (kept, given) = split.stats();
    assert_eq!((kept.requests, given.requests), (35, 5));
    assert_eq!((kept.errors, given.errors), (0, 0));
}

/// Who waits for room at the candidate's goes to the stable one when the candidate ends. The end of the message in hand
/// makes room for one more, which fails as any message does whose actor ends.
#[tokio::test]
async fn a_call_that_waits_for_room_is_not_lost_with_the_candidate() {
    let system = system(&engine()).await;
    let log = Arc::<Log>::default();
    let small = ChildSpec {
        mailbox: MailboxConfig {
            depth_max: 1,
            strategy: BackpressureStrategy::Block,
            ..MailboxConfig::default()
        },
        restart: RestartPolicy::Temporary,
        ..receiver("next", &log)
    };
    let specs = vec![receiver("stable", &log), small];
    let refs = system.supervisor().start(specs).await.unwrap();
    let (stable, next) = (refs[0].clone(), refs[1].clone());
    let split = stable.split(&next, weighted(10_000)).unwrap();
    let hold = stable.function("hold").unwrap();
    let held = tokio::spawn(async move { hold.call_with((), patient()).await });
    log.held.notified().await;
    let put = stable.function("put").unwrap();
    let waiting: Vec<_> = (0..5_u32)
        .map(|n| {
            let put = put.clone();
            tokio::spawn(async move { put.call_with((1_u32, n), patient()).await })
        })
        .collect();
    until(|| next.counters().calls == 6).await;
    next.kill();
    assert_eq!(held.await.unwrap().unwrap_err().kind(), "callee-died");
    let mut stopped = 0;
    for one in waiting {
        if let Err(why) = one.await.unwrap() {
            assert_eq!(why.kind(), "stopped");
            stopped += 1;
        }
    }
    assert!(stopped <= 1, "{stopped}");
    let handled = log.handled.lock().unwrap();
    assert_eq!(handled.len() as u64, 5 - stopped);
    assert!(handled.iter().all(|(who, ..)| who == "stable"));
    assert!(is_balanced(&next) && is_balanced(&stable));
    let calls = (next.counters().calls, stable.counters().calls);
    assert_eq!(calls, (1 + stopped, 5 - stopped));
    let (kept, given) = split.stats();
    assert_eq!((kept.requests, kept.errors), (5 - stopped, 0));
    assert_eq!((given.requests, given.errors), (1 + stopped, 1 + stopped));
}

/// A split that is removed is drained when the candidate has finished what it has, and not before.
#[tokio::test(start_paused = true)]
async fn a_removed_split_is_drained_when_the_candidate_has_finished() {
    let system = system(&engine()).await;
    let (stable, next, log) = receivers(&system).await;
    let split = stable.split(&next, weighted(10_000)).unwrap();
    let hold = stable.function("hold").unwrap();
    let held = tokio::spawn(async move { hold.call_with((), patient()).await });
    log.held.notified().await;
    let put = stable.function("put").unwrap();
    put.cast((7_u32, 7_u32)).unwrap();
    assert!(split.remove("operator: back"));
    // From now on it is the stable one's, and what the candidate has taken stays with it.
    put.call((8_u32, 8_u32)).await.unwrap();
    let mut drained = tokio::spawn({
        let split = Arc::clone(&split);
        async move { split.drained().await }
    });
    let early = tokio::time::timeout(Duration::from_secs(60), &mut drained).await;
    assert!(early.is_err(), "the candidate has two messages");
    log.open.notify_one();
    held.await.unwrap().unwrap();
    drained.await.unwrap();
    let expected = [("stable", 8), ("next", 7)].map(|(who, n)| (who.to_owned(), n, n));
    assert_eq!(*log.handled.lock().unwrap(), expected);
    // A candidate can be tried again.
    let again = stable.split(&next, weighted(10_000)).unwrap();
    put.call((9_u32, 9_u32)).await.unwrap();
    assert_eq!(again.stats().1.requests, 1);
    assert_eq!(split.stats().1.requests, 2);
}

/// A batch that does not fit is sent one by one. What has not been sent when the split is removed is the stable one's.
#[tokio::test]
async fn what_a_batch_has_not_sent_does_not_go_to_a_candidate_that_is_not_one() {
    let system = system(&engine()).await;
    let log = Arc::<Log>::default();
    let small = ChildSpec {
        mailbox: MailboxConfig {
            depth_max: 2,
            ..MailboxConfig::default()
        },
        ..receiver("next", &log)
    };
    let specs = vec![receiver("stable", &log), small];
    let refs = system.supervisor().start(specs).await.unwrap();
    let (stable, next) = (refs[0].clone(), refs[1].clone());
    let split = stable.split(&next, weighted(10_000)).unwrap();
    let (hold, put) = (
        stable.function("hold").unwrap(),
        stable.function("put").unwrap(),
    );
    hold.cast(()).unwrap();
    log.held.notified().await;
    let batch = tokio::spawn(async move {
        let requests = (0..10_u32).map(|n| (0_u32, n));
        put.call_batch(requests, patient()).await
    });
    // The first of them waits in the mailbox, and the others for its answer.
    until(|| next.status().queued == 2).await;
    split.remove("operator: back");
    log.open.notify_one();
    for answer in batch.await.unwrap() {
        answer.unwrap();
    }
    split.drained().await;
    let handled = log.handled.lock().unwrap();
    let who: Vec<_> = handled
        .iter()
        .map(|(who, _, n)| (who.as_str(), *n))
        .collect();
    let expected: Vec<_> = (0..10)
        .map(|n| (if n == 0 { "next" } else { "stable" }, n))
        .collect();
    assert_eq!(who, expected);
    assert!(is_balanced(&next) && is_balanced(&stable));
}

/// Killed again and again, the candidate fails only what is in its hands.
#[test]
fn a_candidate_that_is_killed_fails_the_message_in_hand_alone() {
    for short_road in [true, false] {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(killed(short_road));
    }
}

async fn killed(short_road: bool) {
    const KILLS: u32 = 30;
    const SENDERS: u32 = 4;
    const EACH: u32 = 3_000;
    let engine = engine();
    let system = system_with(&engine, short_road).await;
    let mut events = system.events();
    let spec = |name| ChildSpec::component(address(name), template(&engine, SEQUENCER, &[]));
    let specs = vec![spec("stable"), spec("next")];
    let refs = system.supervisor().start(specs).await.unwrap();
    let (stable, next) = (refs[0].clone(), refs[1].clone());
    let split = stable.split(&next, weighted(5_000)).unwrap();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let put = stable.function("put").unwrap();
            tokio::spawn(async move {
                let mut failed = 0;
                for n in 0..EACH {
                    match put.call_with((sender, n), patient()).await {
                        Ok(answer) => {
                            let ok: (Result<u32, String>,) = FromArgs::from_args(answer).unwrap();
                            assert_eq!(ok.0, Ok(n + 1), "out of order");
                        }
                        Err(why) => {
                            assert_eq!(why.kind(), "callee-died");
                            assert!(why.to_string().contains("`next`"), "{why}");
                            failed += 1;
                        }
                    }
                }
                failed
            })
        })
        .collect();
    let mut incarnation = 1;
    for kill in 1..=u64::from(KILLS) {
        let at = kill * u64::from(SENDERS * EACH) / 2 / u64::from(KILLS + 1);
        until(|| next.counters().calls >= at).await;
        next.kill();
        incarnation = started(&mut events, &address("next"), incarnation).await;
    }
    let mut failed = 0;
    for sender in senders {
        failed += sender.await.unwrap();
    }
    assert!(failed <= u64::from(KILLS), "{failed}");
    let (kept, given) = split.stats();
    assert_eq!((kept.errors, given.errors), (0, failed));
    assert_eq!((kept.restarts, given.restarts), (0, u64::from(KILLS)));
    assert_eq!(kept.requests + given.requests, u64::from(SENDERS * EACH));
    assert_eq!(kept.requests, stable.counters().replies);
    assert_eq!(given.requests, next.counters().calls);
    assert_eq!(next.counters().call_errors, failed);
    assert!(is_balanced(&next) && is_balanced(&stable));
    system.shutdown().await;
}

/// A resource has one owner, whichever arm made it, also when the weight has changed since.
#[tokio::test]
async fn a_method_goes_to_whoever_owns_the_resource() {
    const COUNTERS: &str = include_str!("../../../airssys-wasm/tests/it/resources/counters.wat");
    let engine = engine();
    let system = system(&engine).await;
    let spec = |name| ChildSpec::component(address(name), template(&engine, COUNTERS, &[]));
    // A candidate of several replicas: the handle leads to one of them.
    let team = ChildSpec {
        replicas: 2,
        ..spec("next")
    };
    let refs = system
        .supervisor()
        .start(vec![spec("stable"), team])
        .await
        .unwrap();
    let stable = refs[0].clone();
    let next = system.whereis(&address("next")).unwrap();
    let split = stable.split(&next, weighted(5_000)).unwrap();
    let make = stable.function("[constructor]counter").unwrap();
    let add = stable.function("[method]counter.add").unwrap();
    let mut counters = Vec::new();
    for n in 0..10_u32 {
        let made = make.call((n,)).await.unwrap();
        let (counter,): (ResourceHandle,) = FromArgs::from_args(made).unwrap();
        counters.push((counter, n));
    }
    let owners = |counters: &[(ResourceHandle, u32)]| {
        let mut owners = BTreeMap::new();
        for (counter, _) in counters {
            let owner = counter.owner().unwrap().address.to_string();
            let arm = owner.split('/').next().unwrap().to_owned();
            *owners.entry(arm).or_insert(0) += 1;
        }
        owners
    };
    let expected = [("next".to_owned(), 5), ("stable".to_owned(), 5)];
    assert_eq!(owners(&counters), BTreeMap::from(expected));
    let requests = split.stats();
    for parts in [5_000, 0, 10_000] {
        split.set_weight(weight(parts), "a step");
        for (counter, n) in &mut counters {
            let sum = add.call((counter.lend(), 1_u32)).await.unwrap();
            *n += 1;
            assert_eq!(sum, (*n,).into_args());
        }
    }
    // They took no part in the choice.
    let after = split.stats();
    assert_eq!(after.0.requests, requests.0.requests);
    assert_eq!(after.1.requests, requests.1.requests);
}

/// What is meant for the name itself is the stable one's.
#[tokio::test(start_paused = true)]
async fn messages_of_the_plane_timers_and_publications_are_not_split() {
    let system = system(&engine()).await;
    let (stable, next, log) = receivers(&system).await;
    stable.split(&next, weighted(10_000)).unwrap();
    let put = stable.function("put").unwrap();
    let timers = system.timers();
    timers
        .send_after(Duration::from_secs(1), &put, (0_u32, 0_u32))
        .unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let handler = stable.function("handle-message").unwrap();
    let payload = || (b"hello".to_vec(),);
    handler.call(payload()).await.unwrap();
    handler.cast(payload()).unwrap();
    let topics = system.topics();
    let pattern = "news/*".parse().unwrap();
    let options = SubscribeOptions::default();
    topics.subscribe(&pattern, &handler, options).unwrap();
    let published = topics.publish("news/today", payload().0).unwrap();
    assert_eq!(published.sent, 1);
    until(|| log.handled.lock().unwrap().len() == 4).await;
    let handled = log.handled.lock().unwrap();
    assert!(handled.iter().all(|(who, ..)| who == "stable"));
    assert_eq!((next.counters().calls, next.counters().casts), (0, 0));
}

/// What a guest answers is an answer, unless the split is told otherwise; what an actor fails with is an error.
#[tokio::test]
async fn errors_are_counted_by_arm() {
    let system = system(&engine()).await;
    let (stable, next, _) = receivers(&system).await;
    let split = stable.split(&next, weighted(5_000)).unwrap();
    for _ in 0..10 {
        stable.call("fail", ()).await.unwrap_err();
    }
    let (kept, given) = split.stats();
    assert_eq!((kept.errors, given.errors), (5, 5));
    assert_eq!(given.error_rate(), Some(1.0));
    // A cast that ends its actor is no error of its sender's, and a dead letter of the arm's.
    split.set_weight(Weight::ALL, "all of it");
    stable.cast("panic", ()).unwrap();
    next.emptied().await;
    until(|| next.counters().restarts == 1).await;
    let interval = split.stats().1.since(&given);
    assert_eq!((interval.requests, interval.errors), (1, 0));
    assert_eq!((interval.restarts, interval.dead_letters), (1, 1));

    for (err_is_error, errors) in [(false, 0), (true, 2)] {
        split.remove("the next one");
        let spec = SplitSpec {
            err_is_error,
            ..weighted(10_000)
        };
        let split = stable.split(&next, spec).unwrap();
        for _ in 0..2 {
            stable.call("decline", ()).await.unwrap();
            stable.call("named", ("a",)).await.unwrap();
        }
        let given = split.stats().1;
        assert_eq!((given.requests, given.errors), (4, errors));
        split.remove("the next one");
    }
}

#[tokio::test]
async fn what_cannot_take_an_actors_place_is_refused() {
    let engine = engine();
    let system = system(&engine).await;
    let (stable, next, _) = receivers(&system).await;
    let other = ChildSpec::component(address("other"), template(&engine, WORKER, &[]));
    let other = system.spawn(other).await.unwrap();
    let refused = |candidate: &ActorRef| {
        let refused = stable.split(candidate, SplitSpec::default());
        refused.map(|_| ()).unwrap_err()
    };
    assert_eq!(
        refused(&stable),
        SplitRefused::Itself {
            stable: address("stable")
        }
    );
    let differs = refused(&other);
    let SplitRefused::OtherFunctions { function, .. } = &differs else {
        panic!("{differs}");
    };
    assert_eq!(function, "test:t/order#put");
    stable.split(&next, SplitSpec::default()).unwrap();
    assert_eq!(
        refused(&next),
        SplitRefused::AlreadySplit {
            stable: address("stable")
        }
    );
}

/// Of two actors that are each other's candidates none is asked for ever.
#[tokio::test]
async fn a_split_is_followed_once() {
    let system = system(&engine()).await;
    let (one, other, log) = receivers(&system).await;
    let to = one.split(&other, weighted(10_000)).unwrap();
    let shadow = SplitSpec {
        mode: SplitMode::Shadow,
        ..weighted(10_000)
    };
    let back: Arc<Split> = other.split(&one, shadow).unwrap();
    one.call("put", (0_u32, 0_u32)).await.unwrap();
    other.call("put", (1_u32, 1_u32)).await.unwrap();
    until(|| back.shadow_stats().same == 1).await;
    let handled = log.handled.lock().unwrap();
    let who: Vec<_> = handled
        .iter()
        .map(|(who, n, _)| (who.as_str(), *n))
        .collect();
    assert_eq!(who.len(), 3);
    assert_eq!(who[0], ("next", 0));
    assert!(who.contains(&("next", 1)) && who.contains(&("stable", 1)));
    assert_eq!(to.stats().1.requests, 1);
}
