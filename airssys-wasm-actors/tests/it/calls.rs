//! Calls, casts and links: what arrives, and what a caller is told.

use std::time::Duration;

use airssys_wasm::{CallRefused, IntoArgs, Limits, Surface, WitError};
use airssys_wasm_actors::{
    Actor, BackpressureStrategy, CallError, CallOptions, ChildSpec, Context, DeadLetterFilter,
    DeadLetterSelection, Link, LinkRefused, MailboxConfig, Message, SpecError, StartError,
    StopError, Strategy, SupervisorSpec, UpgradeError, UpgradeOptions,
};

use crate::guests::{
    RELAY, WORKER, address, engine, exited, started, system, template, template_with,
};

#[tokio::test]
async fn a_call_gets_its_reply_and_is_counted() {
    let engine = engine();
    let system = system(&engine).await;
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    let worker = system.spawn(worker).await.unwrap();
    let work = worker.function("work").unwrap();
    assert_eq!(work.call((41_u32,)).await.unwrap(), (42_u32,).into_args());
    let counters = worker.counters();
    assert_eq!(
        (counters.calls, counters.replies, counters.call_errors),
        (1, 1, 0)
    );
    assert_eq!(worker.status().queued, 0);
    assert!(worker.call("nothing-like-it", ()).await.is_err());
}

#[tokio::test]
async fn a_linked_call_goes_through_any_number_of_actors() {
    let engine = engine();
    let system = system(&engine).await;
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    let relay = template(&engine, RELAY, &["test:t/work"]);
    let mut children = vec![worker];
    for (at, to) in [("r1", "r2"), ("r2", "r3"), ("r3", "worker")] {
        let link = Link::new("test:t/work", address(to));
        children.push(ChildSpec::component(address(at), relay.clone()).link(link));
    }
    let refs = system.supervisor().start(children).await.unwrap();
    let first = refs[1].function("work").unwrap();
    for n in 0..100_u32 {
        assert_eq!(first.call((n,)).await.unwrap(), (n + 1,).into_args());
    }
    let total = system.counters();
    assert_eq!(total.calls, 400);
    assert_eq!(total.replies, 400);
}

#[tokio::test]
async fn arguments_that_do_not_fit_disturb_nobody() {
    let engine = engine();
    let system = system(&engine).await;
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    let worker = system.spawn(worker).await.unwrap();
    for args in [
        ("text",).into_args(),
        ().into_args(),
        (1_u32, 2_u32).into_args(),
    ] {
        match worker.call("work", args).await {
            Err(CallError::Refused(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        worker.call("work", (1_u32,)).await.unwrap(),
        (2_u32,).into_args()
    );
    assert_eq!(worker.status().incarnation, 1);
}

#[tokio::test]
async fn a_link_to_nobody_or_to_another_type_is_refused_and_nothing_starts() {
    let engine = engine();
    let system = system(&engine).await;
    let relay = template(&engine, RELAY, &["test:t/work"]);
    let child = |to: &str| {
        let link = Link::new("test:t/work", address(to));
        ChildSpec::component(address("relay"), relay.clone()).link(link)
    };
    match system.spawn(child("nobody")).await {
        Err(StartError::Link(LinkRefused::NoSuchActor { to, .. })) => {
            assert_eq!(to, address("nobody"));
        }
        other => panic!("{other:?}"),
    }
    let other = WORKER.replace(
        r#"(param "n" u32) (result u32)"#,
        r#"(param "n" s32) (result u32)"#,
    );
    let other = ChildSpec::component(address("other"), template(&engine, &other, &[]));
    system.spawn(other).await.unwrap();
    match system.spawn(child("other")).await {
        Err(StartError::Link(LinkRefused::Mismatch { why, .. })) => {
            let text = why.to_string();
            assert!(text.contains("work"), "{text}");
            assert!(text.contains("u32") && text.contains("s32"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert!(system.whereis(&address("relay")).is_none());
}

/// Of an import that is answered by calls to nobody the first call could only fail.
#[tokio::test]
async fn an_import_without_a_link_is_refused_however_its_component_is_started() {
    let engine = engine();
    let system = system(&engine).await;
    let relay = template(&engine, RELAY, &["test:t/work"]);
    let unlinked = |name: &str| ChildSpec::component(address(name), relay.clone());
    let linked = || unlinked("linked").link(Link::new("test:t/work", address("worker")));
    let told = |why: &StartError, who: &str| match why {
        StartError::Link(why @ LinkRefused::NoLink { from, import }) => {
            assert_eq!((from.as_str(), import.as_str()), (who, "test:t/work"));
            let text = why.to_string();
            for word in [who, "test:t/work", "ChildSpec::link", "TemplateSpec::links"] {
                assert!(text.contains(word), "{text}");
            }
        }
        other => panic!("{other:?}"),
    };
    told(&system.spawn(unlinked("relay")).await.unwrap_err(), "relay");
    let all = ChildSpec {
        replicas: 2,
        ..unlinked("all")
    };
    told(&system.spawn(all).await.unwrap_err(), "all/0");
    let above = || SupervisorSpec::new(address("above"));
    let first = above().with(unlinked("relay"));
    let below = SupervisorSpec::new(address("top")).with(ChildSpec::supervisor(first.clone()));
    for tree in [first, below] {
        told(&system.supervise(tree).await.unwrap_err(), "relay");
    }
    assert_eq!(system.names().len(), 0, "nothing of them is left");
    assert!(system.find_supervisor(&address("above")).is_none());

    let simple = SupervisorSpec::new(address("simple")).strategy(Strategy::SimpleOneForOne);
    let simple = system.supervise(simple).await.unwrap();
    let refused = simple.start_child(unlinked("relay")).await.unwrap_err();
    told(&refused, "relay");
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    system.spawn(worker).await.unwrap();
    let tree = system.supervise(above().with(linked())).await.unwrap();
    let upgrade = system.upgrade(unlinked("linked"), UpgradeOptions::default());
    match upgrade.unwrap_err() {
        UpgradeError::Spec { why, .. } => told(&why, "linked"),
        other => panic!("{other:?}"),
    }
    let changed = above().with(linked()).with(unlinked("relay"));
    told(&tree.change(changed).await.unwrap_err(), "relay");
    let going_on = system.whereis(&address("linked")).unwrap();
    let answer = going_on.call("work", (1_u32,)).await.unwrap();
    assert_eq!(answer, (2_u32,).into_args());
}

#[tokio::test]
async fn a_name_can_be_taken_once() {
    let engine = engine();
    let system = system(&engine).await;
    let template = template(&engine, WORKER, &[]);
    let child = || ChildSpec::component(address("worker"), template.clone());
    system.spawn(child()).await.unwrap();
    assert!(matches!(
        system.spawn(child()).await,
        Err(StartError::AlreadyStarted(_))
    ));
    let two = vec![
        ChildSpec::component(address("a"), template.clone()),
        ChildSpec::component(address("a"), template.clone()),
    ];
    let refused = system.supervisor().start(two).await;
    assert!(matches!(
        refused,
        Err(StartError::Spec(SpecError::Duplicate { .. }))
    ));
    assert!(system.whereis(&address("a")).is_none());
    system
        .supervisor()
        .stop_child(&address("worker"))
        .await
        .unwrap();
    let again = system.spawn(child()).await.unwrap();
    assert_eq!(
        again.call("work", (1_u32,)).await.unwrap(),
        (2_u32,).into_args()
    );
    let unknown = system.supervisor().stop_child(&address("nobody")).await;
    assert!(matches!(unknown, Err(StopError::NotFound { .. })));
}

#[tokio::test]
async fn calls_through_a_reference_that_has_ended_fail_at_once() {
    let engine = engine();
    let system = system(&engine).await;
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    let worker = system.spawn(worker).await.unwrap();
    system
        .supervisor()
        .stop_child(&address("worker"))
        .await
        .unwrap();
    assert!(matches!(
        worker.call("work", (1_u32,)).await,
        Err(CallError::Stopped { .. })
    ));
    let refused = worker.cast("work", (7_u32,)).unwrap_err();
    assert_eq!(refused.args.as_deref(), Some(&(7_u32,).into_args()));
}

/// A caller's deadline ends the caller's wait and nothing else: the callee goes on, its late reply
/// is discarded, and an expired message that is still queued is skipped.
#[tokio::test]
async fn a_deadline_ends_only_the_wait() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let limits = Limits {
        cpu_per_call: Duration::from_millis(200),
        ..Limits::default()
    };
    let worker = template_with(&engine, WORKER, &[], limits);
    let worker = system
        .spawn(ChildSpec::component(address("worker"), worker))
        .await
        .unwrap();
    let within = |millis| CallOptions {
        within: Duration::from_millis(millis),
        ..CallOptions::default()
    };
    let spin = worker.function("spin").unwrap();
    let work = worker.function("work").unwrap();
    let (spun, queued) = tokio::join!(
        spin.call_with((), within(20)),
        work.call_with((1_u32,), within(10))
    );
    assert!(matches!(spun, Err(CallError::Deadline { .. })), "{spun:?}");
    assert!(
        matches!(queued, Err(CallError::Deadline { .. })),
        "{queued:?}"
    );
    // Its own limit ends it.
    assert_eq!(
        exited(&mut events, &address("worker")).await.kind(),
        "cpu-deadline"
    );
    started(&mut events, &address("worker"), 1).await;
    assert_eq!(
        worker.call("count", ()).await.unwrap(),
        (0_u32,).into_args()
    );
    let counters = worker.counters();
    assert_eq!(
        (counters.calls, counters.replies, counters.call_errors),
        (3, 1, 2)
    );
}

#[tokio::test]
async fn a_full_mailbox_refuses_or_blocks_as_it_was_told() {
    let engine = engine();
    let system = system(&engine).await;
    let limits = Limits {
        cpu_per_call: Duration::from_millis(100),
        ..Limits::default()
    };
    let template = template_with(&engine, WORKER, &[], limits);
    let child = |name: &str, strategy| ChildSpec {
        mailbox: MailboxConfig {
            depth_max: 1,
            strategy,
            ..MailboxConfig::default()
        },
        ..ChildSpec::component(address(name), template.clone())
    };
    let refusing = system
        .spawn(child("refusing", BackpressureStrategy::Error))
        .await
        .unwrap();
    refusing.cast("spin", ()).unwrap();
    match refusing.call("work", (1_u32,)).await {
        Err(CallError::MailboxFull { queued: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
    let refused = refusing.cast("work", (9_u32,)).unwrap_err();
    assert_eq!(refused.args.as_deref(), Some(&(9_u32,).into_args()));

    let blocking = system
        .spawn(child("blocking", BackpressureStrategy::Block))
        .await
        .unwrap();
    blocking.cast("spin", ()).unwrap();
    // Gets in when the spinning message has been ended by its limit.
    assert_eq!(
        blocking.call("work", (1_u32,)).await.unwrap(),
        (2_u32,).into_args()
    );
}

#[tokio::test]
async fn a_cast_that_dies_with_its_actor_is_a_dead_letter() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    let worker = system.spawn(worker).await.unwrap();
    worker.cast("work", (1_u32,)).unwrap();
    worker.cast("trap", ()).unwrap();
    worker.cast("work", (2_u32,)).unwrap();
    started(&mut events, &address("worker"), 1).await;
    assert_eq!(
        worker.call("count", ()).await.unwrap(),
        (1_u32,).into_args()
    );
    let letters = system.dead_letters().list(&DeadLetterFilter::default());
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].function, "test:t/work#trap");
    assert_eq!(letters[0].why.kind(), "callee-died");
    let counters = worker.counters();
    assert_eq!(
        (
            counters.casts,
            counters.casts_handled,
            counters.dead_letters
        ),
        (3, 2, 1)
    );
}

/// Takes what comes.
struct Patient;

impl Actor for Patient {
    type Error = std::convert::Infallible;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit("package test:t; interface patient { take: func(n: u32); }")
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        _: &mut Context,
    ) -> Result<(), Self::Error> {
        message.reply(());
        Ok(())
    }
}

/// What an actor is sent is compared with what it takes before it is sent, and what its successor does not take is found there.
#[tokio::test]
async fn a_cast_that_does_not_fit_is_refused_to_its_sender() {
    let engine = engine();
    let system = system(&engine).await;
    let component = |wat: &str| ChildSpec::component(address("one"), template(&engine, wat, &[]));
    let worker = system.spawn(component(WORKER)).await.unwrap();
    let native = ChildSpec::native(address("native"), || Patient);
    let native = system.spawn(native).await.unwrap();
    for (actor, function) in [(&worker, "work"), (&native, "take")] {
        for args in [
            ().into_args(),
            ("text",).into_args(),
            (1_u64,).into_args(),
            (1_u32, 2_u32).into_args(),
        ] {
            let refused = actor.cast(function, args.clone()).unwrap_err();
            assert_eq!(refused.args.as_deref(), Some(&args));
            let CallError::Refused(why) = *refused.why else {
                panic!("{refused:?}");
            };
            let is_count = matches!(why, CallRefused::Count { expected: 1, .. });
            assert_eq!(is_count, args.values().len() != 1, "{why}");
        }
        actor.cast(function, (1_u32,)).unwrap();
        actor.emptied().await;
        let counters = actor.counters();
        assert_eq!((counters.casts, counters.dead_letters), (1, 0));
    }
    let before = worker.function("work").unwrap();
    let signed = WORKER.replace(
        r#"(param "n" u32) (result u32)"#,
        r#"(param "n" s32) (result s32)"#,
    );
    let upgrade = system.upgrade(component(&signed), UpgradeOptions::default());
    upgrade.unwrap().switch().await.unwrap().release().await;
    assert!(worker.cast("work", (1_u32,)).is_err());
    worker.cast("work", (1_i32,)).unwrap();
    // Whoever resolved the function before knows of its type what was true then.
    before.cast((1_u32,)).unwrap();
    worker.emptied().await;
    let letters = system.dead_letters().list(&DeadLetterFilter::default());
    let kinds: Vec<_> = letters.iter().map(|letter| letter.why.kind()).collect();
    assert_eq!(kinds, ["refused"]);
}

/// Whoever casts is told what has become of it, and the dead letter is there all the same.
#[tokio::test]
async fn a_cast_that_is_dropped_as_the_newest_is_told_to_its_sender() {
    let system = system(&engine()).await;
    let child = ChildSpec {
        mailbox: MailboxConfig {
            depth_max: 1,
            strategy: BackpressureStrategy::DropNewest,
            ..MailboxConfig::default()
        },
        ..ChildSpec::native(address("one"), || Patient)
    };
    let one = system.spawn(child).await.unwrap();
    // On one thread nothing is handled before this test waits.
    one.cast("take", (1_u32,)).unwrap();
    let refused = one.cast("take", (2_u32,)).unwrap_err();
    assert_eq!((refused.why.kind(), refused.args), ("evicted", None));
    let dead = system.dead_letters();
    let letter = |system_letters: Vec<airssys_wasm_actors::DeadLetter>| {
        let [letter] = &system_letters[..] else {
            panic!("{system_letters:?}");
        };
        assert_eq!(letter.why.kind(), "evicted");
        assert_eq!(*letter.args, (2_u32,).into_args());
        letter.clone()
    };
    let first = letter(dead.list(&DeadLetterFilter::default()));
    // One that is sent again stays the letter that it is.
    let which = DeadLetterSelection::Sequences(vec![first.sequence]);
    let replayed = dead.replay(&which, false);
    assert_eq!((replayed.accepted.len(), replayed.refused.len()), (0, 1));
    let again = letter(dead.list(&DeadLetterFilter::default()));
    assert_eq!((again.sequence, again.attempts), (first.sequence, 1));
    one.emptied().await;
    assert_eq!(dead.replay(&which, false).accepted, [first.sequence]);
    one.emptied().await;
    assert!(dead.list(&DeadLetterFilter::default()).is_empty());
    let counters = one.counters();
    assert_eq!(
        (
            counters.casts,
            counters.casts_handled,
            counters.dead_letters
        ),
        (3, 2, 1)
    );
}
