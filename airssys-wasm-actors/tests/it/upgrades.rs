//! Upgrades: another revision takes the place of the one that runs, and nobody notices but by what it answers.

mod children;
mod comings;
mod ends;
mod large;
mod revision;
mod second;
mod tuning;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use airssys_wasm::{CallRefused, Engine, Value};
use airssys_wasm_actors::{
    ActorFunction, ActorRef, CallError, ChildSpec, Event, Link, NotReplaced, Passivation,
    StateTaken, SupervisorSpec, UpgradeError, UpgradeOptions, UpgradeOrder, UpgradeState,
};
use tokio::task::JoinSet;

pub(crate) use revision::{Revision, V1, V2};

use crate::guests::{RELAY, address, engine, started, system_with, template};

fn spec(engine: &Engine, wat: &str) -> ChildSpec {
    ChildSpec::component(address("one"), template(engine, wat, &[]))
}

pub(crate) async fn number(actor: &ActorRef, function: &str) -> u32 {
    number_of(&actor.function(function).unwrap()).await.unwrap()
}

async fn number_of(function: &ActorFunction) -> Result<u32, CallError> {
    first(function.call(()).await?)
}

pub(crate) async fn add(actor: &ActorRef, n: u32) -> Result<u32, CallError> {
    first(actor.call("add", (n,)).await?)
}

fn first(reply: airssys_wasm::Args) -> Result<u32, CallError> {
    match reply.into_values().next() {
        Some(Value::U32(number)) => Ok(number),
        other => panic!("{other:?}"),
    }
}

fn why(error: UpgradeError) -> NotReplaced {
    match error {
        UpgradeError::NotReplaced { why, left, .. } => {
            assert!(left.is_empty());
            why
        }
        other => panic!("{other}"),
    }
}

/// Calls `add(1)` from several tasks until it is told to stop: replies, errors, and whether a sender ever saw the sum
/// go down.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<(u64, u64, bool)>,
}

impl Load {
    pub(crate) fn start(actor: &ActorRef, callers: usize) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let mut tasks = JoinSet::new();
        for _ in 0..callers {
            let (stop, actor) = (Arc::clone(&stop), actor.clone());
            tasks.spawn(async move {
                let (mut replies, mut errors, mut last, mut down) = (0, 0, 0, false);
                while !stop.load(Ordering::Acquire) {
                    match add(&actor, 1).await {
                        Ok(sum) => {
                            down |= sum <= last;
                            last = sum;
                            replies += 1;
                        }
                        Err(_) => errors += 1,
                    }
                    tokio::task::yield_now().await;
                }
                (replies, errors, down)
            });
        }
        Self { stop, tasks }
    }

    pub(crate) async fn end(mut self) -> (u64, u64, bool) {
        self.stop.store(true, Ordering::Release);
        let mut all = (0, 0, false);
        while let Some(one) = self.tasks.join_next().await {
            let (replies, errors, down) = one.unwrap();
            all = (all.0 + replies, all.1 + errors, all.2 || down);
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_order_and_every_message_survive_upgrades_under_load() {
    for short_road in [true, false] {
        let engine = engine();
        let system = system_with(&engine, short_road).await;
        let actor = system.spawn(spec(&engine, &V1.stateful())).await.unwrap();
        let load = Load::start(&actor, 8);
        let mut kept = None;
        let specs = [V2, V1].map(|revision| spec(&engine, &revision.stateful()));
        for round in 0..20_u32 {
            let (revision, next) = match round % 2 {
                0 => (V2, specs[0].clone()),
                _ => (V1, specs[1].clone()),
            };
            let mut upgrade = system.upgrade(next, UpgradeOptions::default()).unwrap();
            assert!(upgrade.hands_over());
            upgrade.warm().await.unwrap();
            let upgraded = upgrade.switch().await.unwrap();
            assert_eq!(upgraded.states(), [StateTaken::HandedOver { bytes: 4 }]);
            assert_eq!(number(&actor, "version").await, revision.version);
            match round % 3 {
                // Back and forth: the state goes along both ways.
                0 => {
                    let states = upgraded.roll_back().await.unwrap();
                    assert_eq!(states, [StateTaken::HandedOver { bytes: 4 }]);
                    assert_ne!(number(&actor, "version").await, revision.version);
                }
                1 => upgraded.release().await,
                _ => kept = Some(upgraded),
            }
        }
        drop(kept);
        let (replies, errors, down) = load.end().await;
        assert_eq!((errors, down), (0, false));
        let sum = add(&actor, 0).await.unwrap();
        assert_eq!(
            u64::from(sum),
            replies,
            "no message is lost and none handled twice"
        );
        let status = actor.status();
        assert_eq!((status.incarnation, actor.counters().restarts), (1, 0));
        assert_eq!(engine.instances(), 1);
        system.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_replicas_that_switch_together_none_begins_a_message_of_the_old_revision_after_the_first_of_the_new()
 {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let mut first = spec(&engine, &V1.stateless());
    first.replicas = 4;
    let actor = system.spawn(first).await.unwrap();
    // The highest version anybody has seen an answer of.
    let seen = Arc::new(AtomicU32::new(1));
    let (stop, calls) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (seen, stop, calls) = (Arc::clone(&seen), Arc::clone(&stop), Arc::clone(&calls));
        let version = actor.function("version").unwrap();
        tasks.spawn(async move {
            while !stop.load(Ordering::Acquire) {
                let before = seen.load(Ordering::SeqCst);
                let version = number_of(&version).await.unwrap();
                assert!(version >= before, "{version} after {before}");
                seen.fetch_max(version, Ordering::SeqCst);
                calls.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
    }
    for round in 2..10 {
        let revision = Revision {
            version: round,
            ..V1
        };
        let mut next = spec(&engine, &revision.stateless());
        next.replicas = 4;
        let options = UpgradeOptions {
            order: UpgradeOrder::Together,
            ..UpgradeOptions::default()
        };
        let mut upgrade = system.upgrade(next, options).unwrap();
        upgrade.warm().await.unwrap();
        let upgraded = upgrade.switch().await.unwrap();
        let before = calls.load(Ordering::Relaxed);
        while calls.load(Ordering::Relaxed) < before + 100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(seen.load(Ordering::SeqCst), round);
        upgraded.release().await;
    }
    stop.store(true, Ordering::Release);
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    system.shutdown().await;
}

#[tokio::test]
async fn rolling_goes_through_the_replicas_and_takes_those_back_that_were_done_if_one_fails() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let spec_of = |revision: Revision| {
        let mut spec = spec(&engine, &revision.stateless());
        spec.replicas = 3;
        spec
    };
    let actor = system.spawn(spec_of(V1)).await.unwrap();
    // A wait beyond all clocks is far, not an overflow.
    let patient = UpgradeOptions {
        wait_max: Duration::MAX,
        ..UpgradeOptions::default()
    };
    let upgrade = system.upgrade(spec_of(V2), patient).unwrap();
    let upgraded = upgrade.switch().await.unwrap();
    assert_eq!(upgraded.states(), [StateTaken::None; 3]);
    upgraded.roll_back().await.unwrap();
    let upgrade = system.upgrade(spec_of(V2), patient).unwrap();
    let upgraded = upgrade.switch().await.unwrap();
    assert_eq!(upgraded.states(), [StateTaken::None; 3]);
    for _ in 0..6 {
        assert_eq!(number(&actor, "version").await, 2);
    }
    // The last one has a message in hand that does not end in time: the others come back.
    let last = actor.replicas().pop().unwrap();
    let spin = last.function("spin").unwrap();
    let spinning = tokio::spawn(async move { spin.call(()).await });
    while last.status().queued == 0 {
        tokio::task::yield_now().await;
    }
    let options = UpgradeOptions {
        wait_max: Duration::ZERO,
        ..UpgradeOptions::default()
    };
    let revision = Revision { version: 3, ..V1 };
    let failed = system
        .upgrade(spec_of(revision), options)
        .unwrap()
        .switch()
        .await;
    match failed.unwrap_err() {
        UpgradeError::NotReplaced { address, why, left } => {
            assert_eq!(address.as_str(), "one/2");
            assert!(matches!(why, NotReplaced::Busy), "{why}");
            assert!(left.is_empty());
        }
        other => panic!("{other}"),
    }
    for _ in 0..6 {
        assert_eq!(number(&actor, "version").await, 2);
    }
    // It is ended by its own limit, and comes back as the revision that it was.
    assert!(spinning.await.unwrap().is_err());
    for _ in 0..6 {
        assert_eq!(number(&actor, "version").await, 2);
    }
    let mut other = spec_of(V1);
    other.replicas = 2;
    let error = system
        .upgrade(other, UpgradeOptions::default())
        .unwrap_err();
    assert!(
        matches!(error, UpgradeError::Replicas { now: 3, new: 2, .. }),
        "{error}"
    );
    system.shutdown().await;
}

#[tokio::test]
async fn whatever_fails_before_the_switch_leaves_the_old_revision_with_its_state() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let actor = system.spawn(spec(&engine, &V1.stateful())).await.unwrap();
    let mut sum = 0;
    let discard = UpgradeOptions {
        state: UpgradeState::Discard,
        ..UpgradeOptions::default()
    };
    let small = UpgradeOptions {
        state: UpgradeState::HandOver { bytes_max: 3 },
        ..UpgradeOptions::default()
    };
    let hand_over = UpgradeOptions::default();
    let cases: [(Revision, UpgradeOptions, &str); 7] = [
        (Revision { init: 1, ..V2 }, discard, "`init` failed"),
        (Revision { init: 2, ..V2 }, discard, "`init` failed"),
        (Revision { health: 2, ..V2 }, discard, "not well: will not"),
        (
            Revision { restore: 1, ..V2 },
            hand_over,
            "`restore` refused: will not",
        ),
        (Revision { restore: 3, ..V2 }, hand_over, "`restore` failed"),
        (Revision { restore: 5, ..V2 }, hand_over, "`restore` failed"),
        (V2, small, "more than the limit"),
    ];
    for (revision, options, expected) in cases {
        let bad = spec(&engine, &revision.stateful());
        sum += 1;
        assert_eq!(add(&actor, 1).await.unwrap(), sum);
        let mut upgrade = system.upgrade(bad.clone(), options).unwrap();
        let failed = match upgrade.warm().await {
            Ok(()) => upgrade.switch().await.map(|_| ()),
            Err(error) => Err(error),
        };
        let why = why(failed.unwrap_err()).to_string();
        assert!(why.contains(expected), "{why}");
        assert_eq!(number(&actor, "version").await, 1);
        assert_eq!(add(&actor, 0).await.unwrap(), sum, "{expected}");
        // Without having been warm: it is made and refused in the pause.
        let why = self::why(
            system
                .upgrade(bad.clone(), options)
                .unwrap()
                .switch()
                .await
                .unwrap_err(),
        );
        assert!(why.to_string().contains(expected), "{why}");
        assert_eq!(add(&actor, 0).await.unwrap(), sum, "{expected}");
    }
    assert_eq!((actor.status().incarnation, engine.instances()), (1, 1));
    assert!(system.crashes().list(&Default::default()).is_empty());
    system.shutdown().await;
}

#[tokio::test]
async fn a_revision_that_dies_of_its_own_snapshot_comes_back_as_itself() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    for (how, snapshot) in [("refused", 1), ("spins", 3), ("traps", 5)] {
        let revision = Revision { snapshot, ..V1 };
        let actor = system
            .spawn(spec(&engine, &revision.stateful()))
            .await
            .unwrap();
        assert_eq!(add(&actor, 7).await.unwrap(), 7);
        let upgrade = system
            .upgrade(spec(&engine, &V2.stateful()), UpgradeOptions::default())
            .unwrap();
        let why = why(upgrade.switch().await.unwrap_err());
        let died = how != "refused";
        match why {
            NotReplaced::Snapshot(text) if !died => assert!(text.contains("will not"), "{text}"),
            NotReplaced::Ended if died => {}
            why => panic!("{how}: {why}"),
        }
        assert_eq!(number(&actor, "version").await, 1, "{how}");
        let sum = if died { 0 } else { 7 };
        assert_eq!(add(&actor, 0).await.unwrap(), sum, "{how}");
        system
            .supervisor()
            .stop_child(actor.address())
            .await
            .unwrap();
    }
    system.shutdown().await;
}

#[tokio::test]
async fn a_rollback_takes_the_state_back_or_goes_on_with_what_it_was() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let actor = system.spawn(spec(&engine, &V1.stateful())).await.unwrap();
    assert_eq!(add(&actor, 5).await.unwrap(), 5);
    // The new revision says nothing of its state: the old one is as it was at the switch.
    let silent = Revision { snapshot: 1, ..V2 };
    let upgrade = system
        .upgrade(spec(&engine, &silent.stateful()), UpgradeOptions::default())
        .unwrap();
    let upgraded = upgrade.switch().await.unwrap();
    assert_eq!(add(&actor, 1).await.unwrap(), 6);
    assert_eq!(upgraded.roll_back().await.unwrap(), [StateTaken::AsItWas]);
    assert_eq!(
        (
            number(&actor, "version").await,
            add(&actor, 0).await.unwrap()
        ),
        (1, 5)
    );
    // The old one is afresh if nothing was handed over, and its instance was kept.
    let options = UpgradeOptions {
        state: UpgradeState::Discard,
        ..UpgradeOptions::default()
    };
    let upgrade = system
        .upgrade(spec(&engine, &V2.stateful()), options)
        .unwrap();
    let upgraded = upgrade.switch().await.unwrap();
    assert_eq!(add(&actor, 1).await.unwrap(), 1);
    assert_eq!(engine.instances(), 2);
    assert_eq!(upgraded.roll_back().await.unwrap(), [StateTaken::None]);
    assert_eq!(add(&actor, 0).await.unwrap(), 5);
    // One that has died since is not there to be asked for its state.
    let upgrade = system
        .upgrade(spec(&engine, &V2.stateful()), UpgradeOptions::default())
        .unwrap();
    let upgraded = upgrade.switch().await.unwrap();
    let mut events = system.events();
    actor.kill();
    started(&mut events, actor.address(), 1).await;
    assert_eq!(
        number(&actor, "version").await,
        2,
        "it is started as what it is now"
    );
    upgraded.roll_back().await.unwrap();
    assert_eq!(number(&actor, "version").await, 1);
    assert_eq!(engine.instances(), 1);
    system.shutdown().await;
}

#[tokio::test]
async fn who_holds_a_function_goes_on_with_it() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let callee = spec(&engine, &V1.stateless());
    let relay = ChildSpec::component(address("relay"), template(&engine, RELAY, &["test:t/work"]))
        .link(Link::new("test:t/work", address("one")));
    let actors = system
        .supervisor()
        .start(vec![callee, relay])
        .await
        .unwrap();
    let [one, relay] = &actors[..] else { panic!() };
    let (version, work) = (
        one.function("version").unwrap(),
        relay.function("work").unwrap(),
    );
    let through = async || first(work.call((0_u32,)).await.unwrap()).unwrap();
    assert_eq!(
        (number_of(&version).await.unwrap(), through().await),
        (1, 1)
    );
    assert!(one.function("more").is_err());
    // Its functions are in another order, and it has one more.
    let upgrade = system
        .upgrade(spec(&engine, &V2.stateless()), UpgradeOptions::default())
        .unwrap();
    let upgraded = upgrade.switch().await.unwrap();
    assert_eq!(
        (number_of(&version).await.unwrap(), through().await),
        (2, 2)
    );
    let more = one.function("more").unwrap();
    assert_eq!(number_of(&more).await.unwrap(), 42);
    // Rolled back, the function is gone, and its number is nobody else's.
    upgraded.roll_back().await.unwrap();
    assert_eq!(
        (number_of(&version).await.unwrap(), through().await),
        (1, 1)
    );
    let gone = number_of(&more).await.unwrap_err();
    assert!(
        matches!(gone, CallError::Refused(CallRefused::NoSuchFunction(_))),
        "{gone}"
    );
    assert!(more.ty().is_none() && one.function("more").is_err());
    // A revision that takes away what somebody is linked to is refused, and says what and whose.
    let without = V2
        .stateless()
        .replace(r#"(export "work" (func $work))"#, "");
    let error = system
        .upgrade(spec(&engine, &without), UpgradeOptions::default())
        .unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, UpgradeError::Breaks { .. }), "{text}");
    assert!(
        text.contains("`relay` is linked to `test:t/work#work` of `one`"),
        "{text}"
    );
    // What nobody is linked to may go.
    let without = V2
        .stateless()
        .replace(r#"(export "version" (func $version))"#, "");
    let upgrade = system
        .upgrade(spec(&engine, &without), UpgradeOptions::default())
        .unwrap();
    upgrade.switch().await.unwrap().release().await;
    assert_eq!(through().await, 2);
    assert!(number_of(&version).await.is_err());
    system.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_upgraded_is_refused_before_anything_changes() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let next = spec(&engine, &V2.stateless());
    let error = system
        .upgrade(next.clone(), UpgradeOptions::default())
        .unwrap_err();
    assert!(matches!(error, UpgradeError::NoSuchActor(_)), "{error}");
    let actor = system.spawn(spec(&engine, &V1.stateless())).await.unwrap();
    let relay = ChildSpec::component(address("one"), template(&engine, RELAY, &["test:t/work"]))
        .link(Link::new("test:t/work", address("nobody")));
    let error = system
        .upgrade(relay, UpgradeOptions::default())
        .unwrap_err();
    assert!(matches!(error, UpgradeError::Spec { .. }), "{error}");
    let supervisor = ChildSpec::supervisor(SupervisorSpec::new(address("one")));
    let error = system
        .upgrade(supervisor, UpgradeOptions::default())
        .unwrap_err();
    assert!(matches!(error, UpgradeError::NotComponent(_)), "{error}");
    assert_eq!(number(&actor, "version").await, 1);
    // Stopped and forgotten meanwhile.
    let upgrade = system.upgrade(next, UpgradeOptions::default()).unwrap();
    system
        .supervisor()
        .stop_child(actor.address())
        .await
        .unwrap();
    let why = why(upgrade.switch().await.unwrap_err());
    assert!(matches!(why, NotReplaced::Gone), "{why}");
    assert_eq!(engine.instances(), 0);
    system.shutdown().await;
}

#[tokio::test]
async fn a_supervisor_that_is_made_again_starts_what_was_upgraded() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let spec_of = |revision: Revision| ChildSpec {
        address: address("tree/one"),
        ..spec(&engine, &revision.stateless())
    };
    let tree = SupervisorSpec {
        children: vec![spec_of(V1)],
        ..SupervisorSpec::new(address("tree"))
    };
    let top = SupervisorSpec {
        children: vec![ChildSpec::supervisor(tree)],
        ..SupervisorSpec::new(address("top"))
    };
    let top = system.supervise(top).await.unwrap();
    let [tree] = &top.supervisors()[..] else {
        panic!()
    };
    let upgrade = system
        .upgrade(spec_of(V2), UpgradeOptions::default())
        .unwrap();
    upgrade.switch().await.unwrap().release().await;
    let mut events = system.events();
    tree.kill();
    started(&mut events, &address("tree/one"), 1).await;
    let actor = system.whereis(&address("tree/one")).unwrap();
    assert_eq!(number(&actor, "version").await, 2);
    // One that is stopped and kept is upgraded where it lies.
    tree.terminate_child(actor.address()).await.unwrap();
    let revision = Revision { version: 3, ..V1 };
    let upgrade = system
        .upgrade(spec_of(revision), UpgradeOptions::default())
        .unwrap();
    upgrade.switch().await.unwrap();
    tree.start_stopped_child(&address("tree/one"))
        .await
        .unwrap();
    assert_eq!(number(&actor, "version").await, 3);
    system.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn one_without_an_instance_is_upgraded_with_its_snapshot() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let passive = |revision: Revision| {
        spec(&engine, &revision.stateful()).passivate(Passivation::new(Duration::from_secs(60)))
    };
    let actor = system.spawn(passive(V1)).await.unwrap();
    assert_eq!(add(&actor, 9).await.unwrap(), 9);
    let mut events = system.events();
    let asleep = async |events: &mut airssys_wasm_actors::Events| {
        while !matches!(events.recv().await.unwrap(), Event::Passivated { .. }) {}
    };
    asleep(&mut events).await;
    assert_eq!(engine.instances(), 0);
    let upgrade = system
        .upgrade(passive(V2), UpgradeOptions::default())
        .unwrap();
    let upgraded = upgrade.switch().await.unwrap();
    assert_eq!(upgraded.states(), [StateTaken::HandedOver { bytes: 4 }]);
    assert_eq!(
        (
            number(&actor, "version").await,
            add(&actor, 1).await.unwrap()
        ),
        (2, 10)
    );
    upgraded.release().await;
    // And falls asleep as the new one, to wake up as it.
    asleep(&mut events).await;
    assert_eq!(
        (
            number(&actor, "version").await,
            add(&actor, 0).await.unwrap()
        ),
        (2, 10)
    );
    assert_eq!(actor.status().incarnation, 1);
    system.shutdown().await;
}
