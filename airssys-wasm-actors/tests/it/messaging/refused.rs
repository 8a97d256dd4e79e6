//! What a guest is told of messages that their receivers do not take.

use std::sync::Arc;

use airssys_wasm_actors::{BackpressureStrategy, SubscribeOptions};
use tokio::sync::Semaphore;

use super::*;

/// Handles a message for each permit there is.
struct Slow(Arc<Semaphore>);

impl Actor for Slow {
    type Error = AnyError;

    fn surface() -> Result<Surface, WitError> {
        Surface::default().with_message_handler()
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        _: &mut Context,
    ) -> Result<(), AnyError> {
        self.0.acquire().await?.forget();
        message.reply(());
        Ok(())
    }
}

/// Has a handler of another type.
struct Strange;

impl Actor for Strange {
    type Error = AnyError;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package airssys:messaging@0.1.0; interface handler { handle-message: func(n: u32); }",
        )
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        _: &mut Context,
    ) -> Result<(), AnyError> {
        let (_,): (u32,) = message.args()?;
        message.reply(());
        Ok(())
    }
}

#[tokio::test]
async fn what_a_mailbox_drops_as_the_newest_is_not_told_as_sent() {
    let system = system(&engine()).await;
    let one = probe(&system, "a/one").await;
    let permits = Arc::new(Semaphore::new(0));
    let given = Arc::clone(&permits);
    let slow = ChildSpec {
        mailbox: MailboxConfig {
            depth_max: 1,
            strategy: BackpressureStrategy::DropNewest,
            ..MailboxConfig::default()
        },
        ..ChildSpec::native(address("a/slow"), move || Slow(Arc::clone(&given)))
    };
    let slow = system.spawn(slow).await.unwrap();
    let handler = slow.function("handle-message").unwrap();
    let topics = system.topics();
    for (pattern, overflow) in [
        ("t/error", BackpressureStrategy::Error),
        ("t/oldest", BackpressureStrategy::DropOldest),
    ] {
        let options = SubscribeOptions {
            overflow,
            ..SubscribeOptions::default()
        };
        let pattern = pattern.parse().unwrap();
        topics.subscribe(&pattern, &handler, options).unwrap();
    }
    // It has this one in hand, or is about to, until there is a permit.
    assert_eq!(ask(&one, "cast", ("a/slow", bytes("1"))).await, "ok");
    let said = ask(&one, "cast", ("a/slow", bytes("2"))).await;
    assert_eq!(said, "!mailbox-full");
    for topic in ["t/error", "t/oldest"] {
        // How many were sent.
        let said = ask(&one, "publish", (topic, bytes("3"))).await;
        assert_eq!(said, "0", "{topic}");
        let report = topics.publish(topic, "4").unwrap();
        assert_eq!((report.matched, report.sent), (1, 0), "{topic}");
        assert_eq!((report.refused, report.dropped), (0, 1), "{topic}");
    }
    let letters = system.dead_letters().list(&DeadLetterFilter::default());
    let kinds: Vec<_> = letters.iter().map(|letter| letter.why.kind()).collect();
    assert_eq!(kinds, ["evicted"; 5]);
    permits.add_permits(3);
    slow.emptied().await;
    // Its room is back, and that of its subscriptions.
    assert_eq!(ask(&one, "publish", ("t/error", bytes("5"))).await, "1");
    slow.emptied().await;
    // The host may send what a message is while it travels, and nothing else that the handler does not take.
    let refused = slow.cast("handle-message", ("text",)).unwrap_err();
    assert_eq!(refused.why.kind(), "refused");
    slow.cast("handle-message", (bytes("6"),)).unwrap();
    slow.emptied().await;
    balanced(&system);
}

#[tokio::test]
async fn one_whose_handler_takes_something_else_takes_no_messages() {
    let system = system(&engine()).await;
    let one = probe(&system, "a/one").await;
    let strange = ChildSpec::native(address("a/strange"), || Strange);
    let strange = system.spawn(strange).await.unwrap();
    let to = || ("a/strange", bytes("1"));
    assert_eq!(ask(&one, "cast", to()).await, "!no-handler");
    let call = ("a/strange", bytes("1"), 1_000_u64);
    assert_eq!(ask(&one, "call", call).await, "!no-handler");
    // It is a function like any other.
    let refused = strange.cast("handle-message", (bytes("1"),)).unwrap_err();
    assert_eq!(refused.why.kind(), "refused");
    assert_eq!(
        strange.call("handle-message", (1_u32,)).await.unwrap(),
        ().into_args()
    );
    assert!(
        system
            .dead_letters()
            .list(&DeadLetterFilter::default())
            .is_empty()
    );
    balanced(&system);
}
