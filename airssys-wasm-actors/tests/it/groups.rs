//! Groups: who is in them, who is picked, and what they never hold up.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use airssys_wasm::{FromArgs, Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorRef, BackpressureStrategy, ChildSpec, Context, Event, GROUP_MEMBERS_MAX,
    GROUPS_MAX, Group, GroupError, MailboxConfig, Message, Pick, RestartPolicy, System,
};
use tokio::sync::Notify;

use crate::guests::{WORKER, address, engine, started, system, template};

/// Says its name, or holds a message until it is let go.
struct Member(Arc<Notify>);

impl Actor for Member {
    type Error = std::convert::Infallible;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:t; interface member { name: func() -> string; hold: func(); }",
        )
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> Result<(), Self::Error> {
        match message.function() {
            "name" => message.reply((ctx.address().as_str(),)),
            _ => {
                self.0.notified().await;
                message.reply(());
            }
        }
        Ok(())
    }
}

async fn member(system: &System, name: &str, mailbox: MailboxConfig) -> (ActorRef, Arc<Notify>) {
    let notify = Arc::<Notify>::default();
    let inside = Arc::clone(&notify);
    let spec = ChildSpec {
        mailbox,
        restart: RestartPolicy::Transient,
        ..ChildSpec::native(address(name), move || Member(Arc::clone(&inside)))
    };
    (system.spawn(spec).await.unwrap(), notify)
}

async fn group_of(system: &System, members: usize) -> (Group, Vec<ActorRef>) {
    let group = system.group(&address("pool"));
    let mut refs = Vec::new();
    for n in 0..members {
        let (actor, _) = member(system, &format!("m{n}"), MailboxConfig::default()).await;
        assert!(group.join(&actor).unwrap());
        refs.push(actor);
    }
    (group, refs)
}

async fn named(group: &Group, how: Pick<'_>) -> String {
    let results = group.call(how, "name", ()).await.unwrap();
    <(String,)>::from_args(results).unwrap().0
}

#[tokio::test]
async fn members_join_once_leave_once_and_leave_with_their_registration() {
    let engine = engine();
    let system = system(&engine).await;
    let (mut events, mut told) = (system.events(), system.events());
    let (group, members) = group_of(&system, 2).await;
    assert!(!group.join(&members[0]).unwrap());
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    let worker = system.spawn(worker).await.unwrap();
    assert!(group.join(&worker).unwrap());
    let status = system.groups();
    assert_eq!(status.len(), 1);
    assert_eq!(
        status[0].members,
        [address("m0"), address("m1"), address("worker")]
    );

    // A restart does not change who is a member.
    worker.kill();
    started(&mut events, &address("worker"), 1).await;
    assert_eq!(group.members().len(), 3);

    assert!(group.leave(&members[0]));
    assert!(!group.leave(&members[0]));
    for name in ["worker", "m1"] {
        let supervisor = system.supervisor();
        supervisor.stop_child(&address(name)).await.unwrap();
    }
    assert!(group.members().is_empty());
    assert!(system.groups().is_empty());
    assert_eq!(
        group.join(&worker),
        Err(GroupError::Gone(address("worker")))
    );
    assert_eq!(
        group
            .call(Pick::RoundRobin, "name", ())
            .await
            .unwrap_err()
            .kind(),
        "empty-group"
    );
    let refused = group.cast(Pick::Random, "hold", ()).unwrap_err();
    assert_eq!(refused.why.kind(), "empty-group");
    assert!(refused.args.is_some());

    let (mut joined, mut left) = (0, 0);
    while left < 3 {
        match told.recv().await.unwrap() {
            Event::Joined { group, .. } if group == address("pool") => joined += 1,
            Event::Left { group, .. } if group == address("pool") => left += 1,
            _ => {}
        }
    }
    assert_eq!(joined, 3);
    assert_eq!(system.names(), [address("m0")]);
}

#[tokio::test]
async fn turns_are_even_random_is_repeatable_and_a_key_stays_with_its_member() {
    let system = system(&engine()).await;
    let (group, members) = group_of(&system, 5).await;
    let mut turns = Vec::new();
    for _ in 0..10 {
        turns.push(named(&group, Pick::RoundRobin).await);
    }
    let in_turn: Vec<_> = (0..10).map(|n| format!("m{}", n % 5)).collect();
    assert_eq!(turns, in_turn);

    let picks = |seed: u64| {
        let group = group.seeded(seed);
        let pick = move || group.pick(Pick::Random).unwrap().address().to_string();
        (0..1_000).map(|_| pick()).collect::<Vec<_>>()
    };
    assert_eq!(picks(7), picks(7));
    assert_ne!(picks(7), picks(8));
    let mut counts = BTreeMap::new();
    for name in picks(7) {
        *counts.entry(name).or_insert(0_u32) += 1;
    }
    assert_eq!(counts.len(), 5);
    assert!(
        counts.values().all(|count| (140..260).contains(count)),
        "{counts:?}"
    );

    // Whoever leaves takes its own keys along, and no other key moves.
    let keys: Vec<_> = (0..1_000).map(|n| format!("key-{n}")).collect();
    let owners = || -> HashMap<String, String> {
        let owner = |key: &String| group.pick(Pick::Key(key.as_bytes())).unwrap();
        keys.iter()
            .map(|key| (key.clone(), owner(key).address().to_string()))
            .collect()
    };
    let before = owners();
    let of = |name: &str| before.values().filter(|owner| *owner == name).count();
    assert!((0..5).all(|n| (140..260).contains(&of(&format!("m{n}")))));
    group.leave(&members[2]);
    let after = owners();
    for key in &keys {
        match before[key].as_str() {
            "m2" => assert_ne!(after[key], "m2"),
            owner => assert_eq!(after[key], owner),
        }
    }
    group.join(&members[2]).unwrap();
    assert_eq!(owners(), before);
    assert_eq!(named(&group, Pick::Key(b"key-1")).await, before["key-1"]);
}

#[tokio::test]
async fn one_that_is_stopped_stays_a_member_and_is_sent_nothing_meanwhile() {
    let system = system(&engine()).await;
    let (group, members) = group_of(&system, 4).await;
    let supervisor = system.supervisor();
    for name in ["m1", "m2"] {
        supervisor.terminate_child(&address(name)).await.unwrap();
    }
    assert_eq!(group.members().len(), 4);
    let mut turns = Vec::new();
    for _ in 0..6 {
        turns.push(named(&group, Pick::RoundRobin).await);
    }
    assert_eq!(turns, ["m0", "m3", "m0", "m3", "m0", "m3"]);
    let random = group.seeded(7);
    let mut others = HashSet::new();
    for n in 0..100_u32 {
        others.insert(named(&random, Pick::Random).await);
        others.insert(named(&group, Pick::Key(&n.to_le_bytes())).await);
    }
    assert_eq!(others, HashSet::from(["m0".to_owned(), "m3".to_owned()]));
    let sent = group.broadcast("name", ());
    assert_eq!((sent.accepted, sent.refused.len()), (2, 0));

    supervisor
        .start_stopped_child(&address("m1"))
        .await
        .unwrap();
    let turns: Vec<_> = (0..6).map(|_| group.pick(Pick::RoundRobin)).collect();
    let on_m1 = |turn: &&Option<ActorRef>| {
        let turn = turn.as_ref();
        turn.is_some_and(|actor| *actor.address() == address("m1"))
    };
    assert_eq!(turns.iter().filter(on_m1).count(), 2);

    // It may join while it is stopped, and is in none once its name is free.
    let other = system.group(&address("other"));
    assert!(other.join(&members[2]).unwrap());
    let nobody = other.call(Pick::Random, "name", ()).await.unwrap_err();
    assert_eq!(nobody.kind(), "empty-group");
    for how in [Pick::RoundRobin, Pick::Random, Pick::Key(b"key")] {
        assert!(other.pick(how).is_none());
    }
    supervisor.delete_child(&address("m2")).await.unwrap();
    assert!(other.members().is_empty());
    assert_eq!(group.members().len(), 3);
}

#[tokio::test]
async fn a_broadcast_reaches_all_and_says_who_refused_it() {
    let system = system(&engine()).await;
    let (group, members) = group_of(&system, 3).await;
    let narrow = MailboxConfig {
        depth_max: 1,
        ..MailboxConfig::default()
    };
    let (full, open) = member(&system, "full", narrow).await;
    group.join(&full).unwrap();
    full.cast("hold", ()).unwrap();
    let sent = group.broadcast("name", ());
    assert_eq!(sent.accepted, 3);
    assert_eq!(sent.refused.len(), 1);
    assert_eq!(sent.refused[0].0, address("full"));
    assert_eq!(sent.refused[0].1.why.kind(), "mailbox-full");
    open.notify_one();
    for member in &members {
        member.call("name", ()).await.unwrap();
        assert_eq!(member.counters().casts_handled, 1);
    }
}

#[tokio::test]
async fn a_member_without_room_holds_up_nobody_who_joins_or_leaves() {
    let system = system(&engine()).await;
    let (group, members) = group_of(&system, 1).await;
    let narrow = MailboxConfig {
        depth_max: 1,
        strategy: BackpressureStrategy::Block,
        ..MailboxConfig::default()
    };
    let (full, open) = member(&system, "full", narrow).await;
    group.leave(&members[0]);
    group.join(&full).unwrap();
    full.cast("hold", ()).unwrap();
    let blocked = tokio::spawn({
        let group = group.clone();
        async move { named(&group, Pick::RoundRobin).await }
    });
    while full.counters().calls == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!blocked.is_finished());
    assert!(group.join(&members[0]).unwrap());
    assert!(group.leave(&full));
    open.notify_one();
    assert_eq!(blocked.await.unwrap(), "full");
}

#[tokio::test]
async fn groups_and_members_are_bounded_by_typed_errors() {
    let system = system(&engine()).await;
    let specs = (0..=GROUP_MEMBERS_MAX)
        .map(|n| ChildSpec::native(address(&format!("n{n}")), || Member(Arc::default())));
    let actors = system.supervisor().start(specs.collect()).await.unwrap();
    let group = system.group(&address("large"));
    let (last, others) = actors.split_last().unwrap();
    for actor in others {
        group.join(actor).unwrap();
    }
    assert!(matches!(
        group.join(last),
        Err(GroupError::TooManyMembers { .. })
    ));
    for n in 1..GROUPS_MAX {
        system.group(&address(&format!("g{n}"))).join(last).unwrap();
    }
    let one_more = system.group(&address("one-more"));
    assert!(matches!(
        one_more.join(last),
        Err(GroupError::TooManyGroups { .. })
    ));
    system
        .supervisor()
        .stop_child(last.address())
        .await
        .unwrap();
    assert_eq!(system.groups().len(), 1);
    one_more.join(&actors[0]).unwrap();
}

/// Whichever comes first, an actor that has ended is in no group.
#[test]
fn nobody_joins_while_it_ends_and_stays() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let system = system(&engine()).await;
        let group = system.group(&address("pool"));
        for n in 0..200 {
            let name = format!("m{n}");
            let (actor, _) = member(&system, &name, MailboxConfig::default()).await;
            let ended = Arc::new(AtomicBool::new(false));
            let joining = tokio::task::spawn_blocking({
                let (group, ended) = (group.clone(), Arc::clone(&ended));
                move || {
                    while !ended.load(Ordering::Acquire) {
                        let _ = group.join(&actor);
                        group.leave(&actor);
                        let _ = group.join(&actor);
                    }
                }
            });
            system
                .supervisor()
                .stop_child(&address(&name))
                .await
                .unwrap();
            ended.store(true, Ordering::Release);
            joining.await.unwrap();
            assert!(group.members().is_empty());
        }
        assert!(system.groups().is_empty());
    });
}
