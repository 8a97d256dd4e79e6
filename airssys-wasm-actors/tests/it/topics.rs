//! Publish and subscribe between native actors.

mod waiting;

use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::{Surface, TopicPattern, Value, WitError};
use airssys_wasm_actors::{
    Actor, ActorRef, BackpressureStrategy, ChildSpec, Context, Counters, DeadLetterFilter, Event,
    Message, PublishReport, SubscribeError, SubscribeOptions, System, SystemConfig,
};

use tokio::sync::Notify;

use crate::guests::{address, engine, started, system};

/// Keeps what it hears, and says things.
#[derive(Default)]
struct Listener {
    heard: Vec<String>,
    /// Told when it has something in hand that it keeps.
    holds: Arc<Notify>,
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

impl Actor for Listener {
    type Error = AnyError;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:topics;
             interface listener {
                 line: func(line: list<u8>);
                 heard: func() -> list<string>;
                 listen: func(pattern: string);
                 say: func(topic: string, text: string);
                 fall: func();
                 hold: func();
                 other: func(n: u32);
             }",
        )?
        .with_message_handler()
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> Result<(), AnyError> {
        match message.function() {
            "line" | "handle-message" => {
                let heard = message.envelope()?;
                let sender = heard
                    .sender
                    .map_or("-".to_owned(), |sender| sender.to_string());
                let topic = heard.topic.unwrap_or_else(|| "-".into());
                let text = String::from_utf8(heard.payload.to_vec())?;
                self.heard.push(format!("{sender} {topic} {text}"));
                message.reply(());
            }
            "heard" => {
                let heard = self.heard.iter().map(|text| text.as_str().into()).collect();
                message.reply((Value::List(heard),));
            }
            "listen" => {
                let (pattern,): (String,) = message.args()?;
                let own = ctx.function("handle-message")?;
                ctx.subscribe(&pattern.parse()?, &own, SubscribeOptions::default())?;
                message.reply(());
            }
            "say" => {
                let (topic, text): (String, String) = message.args()?;
                ctx.publish(&topic, text)?;
                message.reply(());
            }
            "hold" => {
                self.holds.notify_one();
                std::future::pending().await
            }
            _ => return Err("fallen".into()),
        }
        Ok(())
    }
}

async fn listener(system: &System, name: &str) -> ActorRef {
    system
        .spawn(ChildSpec::native(address(name), Listener::default))
        .await
        .unwrap()
}

async fn heard(actor: &ActorRef) -> Vec<String> {
    let results = actor.call("heard", ()).await.unwrap();
    let (heard,): (Vec<String>,) = results.into_typed().unwrap();
    heard
}

fn pattern(text: &str) -> TopicPattern {
    text.parse().unwrap()
}

fn subscribe(system: &System, to: &str, actor: &ActorRef, function: &str) {
    let function = actor.function(function).unwrap();
    let topics = system.topics();
    topics
        .subscribe(&pattern(to), &function, SubscribeOptions::default())
        .unwrap();
}

fn balanced(counters: Counters) {
    balanced_but(counters, 0);
}

/// So many casts are still in hand.
fn balanced_but(counters: Counters, held: u64) {
    assert_eq!(
        counters.casts,
        counters.casts_handled + counters.dead_letters + held
    );
}

#[tokio::test]
async fn a_publication_reaches_whoever_its_topic_matches_in_order() {
    let system = system(&engine()).await;
    let (a, b, c) = (
        listener(&system, "a").await,
        listener(&system, "b").await,
        listener(&system, "c").await,
    );
    subscribe(&system, "rooms/tea/said", &a, "handle-message");
    subscribe(&system, "rooms.*.said", &b, "line");
    c.call("listen", ("rooms.>",)).await.unwrap();
    let topics = system.topics();
    let all = topics.publish("rooms.tea.said", "hello").unwrap();
    assert_eq!((all.matched, all.sent), (3, 3));
    assert_eq!(topics.publish("rooms/tea", "door").unwrap().matched, 1);
    assert_eq!(
        topics.publish("rooms", "nobody").unwrap(),
        PublishReport::default()
    );
    a.call("say", ("rooms/coffee/said", "ho")).await.unwrap();
    assert!(topics.publish("rooms/*", "no").is_err());

    assert_eq!(heard(&a).await, ["- rooms.tea.said hello"]);
    assert_eq!(heard(&b).await, ["- - hello", "a - ho"]);
    assert_eq!(
        heard(&c).await,
        [
            "- rooms.tea.said hello",
            "- rooms/tea door",
            "a rooms/coffee/said ho"
        ]
    );

    // A list that is kept knows of those who come and go.
    let id = topics
        .subscribe(
            &pattern("**"),
            &a.function("line").unwrap(),
            SubscribeOptions::default(),
        )
        .unwrap();
    assert_eq!(topics.publish("rooms/tea", "again").unwrap().matched, 2);
    assert!(topics.unsubscribe(id));
    assert!(!topics.unsubscribe(id));
    assert_eq!(topics.publish("rooms/tea", "again").unwrap().matched, 1);
    for actor in [&a, &b, &c] {
        heard(actor).await;
    }
    balanced(system.counters());
}

#[tokio::test]
async fn a_subscription_ends_with_its_incarnation_or_its_actor() {
    let system = system(&engine()).await;
    let mut events = system.events();
    let a = listener(&system, "a").await;
    a.call("listen", ("t",)).await.unwrap();
    subscribe(&system, "t", &a, "line");
    let topics = system.topics();
    assert_eq!(topics.publish("t", "x").unwrap().sent, 2);
    a.call("fall", ()).await.unwrap_err();
    started(&mut events, &address("a"), 1).await;
    // What the host subscribed stays over a restart.
    assert_eq!(topics.publish("t", "y").unwrap().sent, 1);
    assert_eq!(heard(&a).await, ["- - y"]);
    system.supervisor().stop_child(&address("a")).await.unwrap();
    assert_eq!(topics.publish("t", "z").unwrap(), PublishReport::default());
    assert_eq!(topics.subscriptions(), 0);
    assert!(matches!(
        topics.subscribe(
            &pattern("t"),
            &a.function("line").unwrap(),
            SubscribeOptions::default()
        ),
        Err(SubscribeError::Stopped { .. })
    ));
}

#[tokio::test]
async fn subscriptions_are_limited_and_typed() {
    let config = SystemConfig {
        messaging: airssys_wasm_actors::MessagingLimits {
            subscriptions_per_actor_max: 2,
            ..Default::default()
        },
        ..SystemConfig::new(engine())
    };
    let system = System::start(config).await.unwrap();
    let a = listener(&system, "a").await;
    let topics = system.topics();
    let options = SubscribeOptions::default();
    let other = a.function("other").unwrap();
    assert!(matches!(
        topics.subscribe(&pattern("t"), &other, options),
        Err(SubscribeError::Signature { .. })
    ));
    subscribe(&system, "t", &a, "line");
    subscribe(&system, "u", &a, "line");
    let line = a.function("line").unwrap();
    assert!(matches!(
        topics.subscribe(&pattern("v"), &line, options),
        Err(SubscribeError::Quota { max: 2, .. })
    ));
}

/// Publishes 5 publications at once to a subscription that holds 2.
async fn overflow(
    strategy: BackpressureStrategy,
) -> (Vec<PublishReport>, Vec<String>, Vec<String>) {
    let system = system(&engine()).await;
    let a = listener(&system, "a").await;
    let topics = system.topics();
    let options = SubscribeOptions {
        depth_max: 2,
        overflow: strategy,
        ..SubscribeOptions::default()
    };
    let line = a.function("line").unwrap();
    topics.subscribe(&pattern("t"), &line, options).unwrap();
    // On one thread nothing is handled before this test waits.
    let reports = (0..5_u32)
        .map(|n| topics.publish("t", n.to_string()).unwrap())
        .collect();
    let heard = heard(&a).await;
    let letters = system.dead_letters().list(&DeadLetterFilter::default());
    let letters = letters
        .iter()
        .map(|letter| match letter.args.values() {
            [Value::Bytes(payload)] => String::from_utf8(payload.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    balanced(system.counters());
    // Its room is back.
    assert_eq!(topics.publish("t", "6").unwrap().sent, 1);
    assert_eq!(a.call("heard", ()).await.map(|_| ()).ok(), Some(()));
    assert_eq!(a.status().queued, 0);
    (reports, heard, letters)
}

#[tokio::test]
async fn a_subscriber_that_is_behind_has_its_own_bound() {
    let said =
        |numbers: &[u32]| -> Vec<String> { numbers.iter().map(|n| format!("- - {n}")).collect() };
    let (reports, heard, letters) = overflow(BackpressureStrategy::Error).await;
    assert_eq!(
        reports.iter().filter(|report| report.refused == 1).count(),
        3
    );
    assert_eq!(heard, said(&[0, 1]));
    assert!(letters.is_empty());

    let (reports, heard, letters) = overflow(BackpressureStrategy::DropNewest).await;
    assert_eq!(
        reports.iter().filter(|report| report.dropped == 1).count(),
        3
    );
    assert_eq!(heard, said(&[0, 1]));
    assert_eq!(letters, ["2", "3", "4"]);

    let (reports, heard, letters) = overflow(BackpressureStrategy::DropOldest).await;
    assert_eq!(reports.iter().filter(|report| report.sent == 1).count(), 5);
    assert_eq!(heard, said(&[3, 4]));
    assert_eq!(letters, ["0", "1", "2"]);

    let (reports, heard, _) = overflow(BackpressureStrategy::Block).await;
    assert_eq!(
        reports.iter().filter(|report| report.refused == 1).count(),
        3
    );
    assert_eq!(heard, said(&[0, 1]));
}

/// A large publication takes the place of many small ones: those that come then use the envelopes of these.
#[tokio::test]
async fn what_was_dropped_leaves_no_empty_envelopes_behind() {
    let system = system(&engine()).await;
    let a = listener(&system, "a").await;
    let topics = system.topics();
    let options = SubscribeOptions {
        depth_max: 16,
        bytes_max: 64 << 10,
        overflow: BackpressureStrategy::DropOldest,
    };
    let line = a.function("line").unwrap();
    topics.subscribe(&pattern("t"), &line, options).unwrap();
    // On one thread nothing is handled before this test waits.
    for _ in 0..100 {
        for _ in 0..15 {
            assert_eq!(topics.publish("t", "small").unwrap().sent, 1);
        }
        assert_eq!(topics.publish("t", "l".repeat(60 << 10)).unwrap().sent, 1);
        assert!(a.status().queued <= 16, "{}", a.status().queued);
    }
    topics.publish("t", "last").unwrap();
    let heard = heard(&a).await;
    assert_eq!(heard.last().map(String::as_str), Some("- - last"));
    assert!(heard.len() <= 16);
    // What comes after all that is handled has envelopes of its own.
    for n in 0..3_u32 {
        topics.publish("t", n.to_string()).unwrap();
    }
    let after = self::heard(&a).await;
    assert_eq!(after[heard.len()..], ["- - 0", "- - 1", "- - 2"]);
    balanced(system.counters());
}

/// Many rings of one actor hold together what its mailbox may hold: one of them takes no more for it, and makes room for
/// what is new in itself alone.
#[tokio::test]
async fn all_rings_of_an_actor_are_bounded_together() {
    let system = system(&engine()).await;
    let mut child = ChildSpec::native(address("a"), Listener::default);
    child.mailbox.bytes_max = 100 << 10;
    let a = system.spawn(child).await.unwrap();
    let topics = system.topics();
    let options = SubscribeOptions {
        overflow: BackpressureStrategy::DropOldest,
        ..SubscribeOptions::default()
    };
    let line = a.function("line").unwrap();
    let subscribe = |topic: &str| topics.subscribe(&pattern(topic), &line, options).unwrap();
    let ids = ["t/0", "t/1", "t/2", "t/3"].map(subscribe);
    let payload = |n: u32| format!("{n}{}", "x".repeat(30 << 10));
    let publish = |topic: &str, n| topics.publish(topic, payload(n)).unwrap();
    // On one thread nothing is handled before this test waits.
    for topic in ["t/0", "t/1", "t/2"] {
        assert_eq!(publish(topic, 0).sent, 1);
    }
    for n in 1..20 {
        assert_eq!(publish("t/3", n).refused, 1);
        assert_eq!(publish("t/0", n).sent, 1);
    }
    let first = |heard: Vec<String>| -> Vec<String> {
        let numbers = heard.iter().map(|said| said.trim_matches(['x', '-', ' ']));
        numbers.map(str::to_owned).collect()
    };
    assert_eq!(first(heard(&a).await), ["19", "0", "0"]);
    assert_eq!(a.status().queued, 0);
    // What was handled has left room, and so has what ends before it is.
    for topic in ["t/1", "t/2", "t/3"] {
        assert_eq!(publish(topic, 7).sent, 1);
    }
    assert_eq!(publish("t/0", 7).refused, 1);
    topics.unsubscribe(ids[3]);
    a.kill();
    while a.status().queued > 0 {
        tokio::task::yield_now().await;
    }
    for topic in ["t/0", "t/1", "t/2"] {
        assert_eq!(publish(topic, 8).sent, 1);
    }
    heard(&a).await;
    balanced(system.counters());
}

#[tokio::test]
async fn what_the_mailbox_would_refuse_does_not_come_in_by_a_subscription() {
    for overflow in [
        BackpressureStrategy::DropOldest,
        BackpressureStrategy::Error,
    ] {
        let system = system(&engine()).await;
        let mut child = ChildSpec::native(address("a"), Listener::default);
        child.mailbox.message_bytes_max = 100;
        let a = system.spawn(child).await.unwrap();
        let options = SubscribeOptions {
            overflow,
            ..SubscribeOptions::default()
        };
        let line = a.function("line").unwrap();
        let topics = system.topics();
        topics.subscribe(&pattern("t"), &line, options).unwrap();
        assert_eq!(topics.publish("t", "x".repeat(101)).unwrap().refused, 1);
        assert_eq!(topics.publish("t", "x".repeat(100)).unwrap().sent, 1);
        assert_eq!(heard(&a).await.len(), 1);
        balanced(system.counters());
    }
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_is_ready_to_wait_waits_for_room() {
    let system = system(&engine()).await;
    let a = listener(&system, "a").await;
    let topics = system.topics();
    let options = SubscribeOptions {
        depth_max: 1,
        overflow: BackpressureStrategy::Block,
        ..SubscribeOptions::default()
    };
    let line = a.function("line").unwrap();
    topics.subscribe(&pattern("t"), &line, options).unwrap();
    let within = Duration::from_secs(1);
    for n in 0..5_u32 {
        let report = topics
            .publish_within("t", n.to_string(), within)
            .await
            .unwrap();
        assert_eq!((report.sent, report.refused), (1, 0));
    }
    assert_eq!(heard(&a).await.len(), 5);
    balanced(system.counters());
}

/// A subscription has room, and the mailbox behind it has none.
#[tokio::test(start_paused = true)]
async fn a_publisher_that_is_ready_to_wait_waits_for_room_in_the_mailbox_too() {
    for overflow in [
        BackpressureStrategy::Error,
        BackpressureStrategy::Block,
        BackpressureStrategy::DropNewest,
        BackpressureStrategy::DropOldest,
    ] {
        let system = system(&engine()).await;
        let topics = system.topics();
        let mut actors = Vec::new();
        for name in ["a", "b"] {
            let mut child = ChildSpec::native(address(name), Listener::default);
            child.mailbox.depth_max = 1;
            child.mailbox.strategy = BackpressureStrategy::Block;
            let actor = system.spawn(child).await.unwrap();
            let options = SubscribeOptions {
                overflow,
                ..SubscribeOptions::default()
            };
            let line = actor.function("line").unwrap();
            topics.subscribe(&pattern("t"), &line, options).unwrap();
            actors.push(actor);
        }
        let within = Duration::from_secs(1);
        for n in 0..5_u32 {
            let report = topics.publish_within("t", n.to_string(), within).await;
            let report = report.unwrap();
            assert_eq!((report.sent, report.refused), (2, 0));
        }
        for actor in &actors {
            assert_eq!(heard(actor).await.len(), 5);
            // It keeps its room from now on.
            actor.cast("hold", ()).unwrap();
        }
        // One deadline for both; whoever is ready to wait no longer leaves nothing behind.
        let published = topics.publish_within("t", "late", within);
        let report = tokio::time::timeout(within * 3 / 2, published).await;
        let report = report.unwrap().unwrap();
        assert_eq!((report.sent, report.refused), (0, 2));
        assert_eq!(topics.publish("t", "now").unwrap().refused, 2);
        let letters = system.dead_letters().list(&DeadLetterFilter::default());
        assert!(letters.is_empty(), "{letters:?}");
        balanced_but(system.counters(), 2);
        for actor in &actors {
            assert_eq!(actor.status().queued, 1);
        }
    }
}

#[tokio::test]
async fn a_full_mailbox_loses_no_count_and_a_stop_leaves_dead_letters() {
    for strategy in [
        BackpressureStrategy::DropOldest,
        BackpressureStrategy::Error,
    ] {
        let system = system(&engine()).await;
        let mut events = system.events();
        let mut child = ChildSpec::native(address("a"), Listener::default);
        child.mailbox.depth_max = 3;
        let a = system.spawn(child).await.unwrap();
        let topics = system.topics();
        let options = SubscribeOptions {
            depth_max: 5,
            overflow: strategy,
            ..SubscribeOptions::default()
        };
        let line = a.function("line").unwrap();
        topics.subscribe(&pattern("t"), &line, options).unwrap();
        for n in 0..10_u32 {
            topics.publish("t", n.to_string()).unwrap();
        }
        a.kill();
        started(&mut events, &address("a"), 1).await;
        assert_eq!(heard(&a).await, ["- - 0", "- - 1", "- - 2"]);
        for n in 0..3_u32 {
            topics.publish("t", n.to_string()).unwrap();
        }
        system.supervisor().stop_child(&address("a")).await.unwrap();
        balanced(system.counters());
        assert_eq!(a.status().queued, 0);
        while let Some(event) = events.recv().await {
            if matches!(event, Event::Gone { .. }) {
                break;
            }
        }
    }
}
