//! Publishers that wait for room in a subscriber's mailbox, and what ends their waiting.

use std::pin::pin;

use futures_util::poll;

use super::*;

const ALL: [BackpressureStrategy; 4] = [
    BackpressureStrategy::Error,
    BackpressureStrategy::Block,
    BackpressureStrategy::DropNewest,
    BackpressureStrategy::DropOldest,
];
const HOUR: Duration = Duration::from_secs(3_600);

/// One whose mailbox holds a single message, and which is subscribed to `t` with as much room.
async fn narrow(
    system: &System,
    strategy: BackpressureStrategy,
    overflow: BackpressureStrategy,
    holds: &Arc<Notify>,
) -> ActorRef {
    let holds = Arc::clone(holds);
    let listener = move || Listener {
        holds: Arc::clone(&holds),
        ..Listener::default()
    };
    let mut child = ChildSpec::native(address("a"), listener);
    child.mailbox.depth_max = 1;
    child.mailbox.strategy = strategy;
    let actor = system.spawn(child).await.unwrap();
    let options = SubscribeOptions {
        depth_max: 1,
        overflow,
        ..SubscribeOptions::default()
    };
    let line = actor.function("line").unwrap();
    let topics = system.topics();
    topics.subscribe(&pattern("t"), &line, options).unwrap();
    actor
}

fn letters(system: &System) -> Vec<&'static str> {
    let letters = system.dead_letters().list(&DeadLetterFilter::default());
    letters.iter().map(|letter| letter.why.kind()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_waits_hears_of_the_end_and_leaves_nothing_behind() {
    for overflow in ALL {
        let system = system(&engine()).await;
        let mut events = system.events();
        let holds = Arc::new(Notify::new());
        let a = narrow(&system, BackpressureStrategy::Block, overflow, &holds).await;
        let topics = system.topics();
        // It keeps its room until it is killed.
        a.cast("hold", ()).unwrap();
        holds.notified().await;
        let left = async {
            let mut leaving = pin!(topics.publish_within("t", "left", 24 * HOUR));
            assert!(poll!(&mut leaving).is_pending());
        };
        left.await;
        // A restart is no end: its room is there then, and that of whoever has left.
        let mut waiting = pin!(topics.publish_within("t", "restart", 24 * HOUR));
        assert!(poll!(&mut waiting).is_pending());
        a.kill();
        started(&mut events, &address("a"), 1).await;
        let report = tokio::time::timeout(HOUR, waiting).await.unwrap().unwrap();
        assert_eq!((report.sent, report.refused), (1, 0), "{overflow:?}");
        assert_eq!(heard(&a).await, ["- - restart"]);
        let report = topics.publish("t", "room").unwrap();
        assert_eq!((report.sent, report.refused), (1, 0), "{overflow:?}");
        assert_eq!(heard(&a).await, ["- - restart", "- - room"]);
        assert_eq!(letters(&system), ["callee-died"]);

        a.cast("hold", ()).unwrap();
        holds.notified().await;
        let mut waiting = pin!(topics.publish_within("t", "stop", 24 * HOUR));
        assert!(poll!(&mut waiting).is_pending());
        system.supervisor().stop_child(&address("a")).await.unwrap();
        let report = tokio::time::timeout(HOUR, waiting).await.unwrap().unwrap();
        assert_eq!((report.sent, report.refused), (0, 1), "{overflow:?}");
        assert_eq!(a.status().queued, 0);
        assert_eq!(letters(&system).len(), 2);
        balanced(system.counters());
    }
}

/// What a mailbox has no room for is what the mailbox says, whatever the subscription would do with more than it holds.
#[tokio::test]
async fn a_full_mailbox_says_what_becomes_of_a_publication() {
    for overflow in ALL {
        for (strategy, refused, kinds) in [
            (BackpressureStrategy::Error, 1, vec![]),
            (BackpressureStrategy::Block, 1, vec![]),
            (BackpressureStrategy::DropNewest, 0, vec!["evicted"]),
        ] {
            let system = system(&engine()).await;
            let a = narrow(&system, strategy, overflow, &Arc::default()).await;
            let topics = system.topics();
            // On one thread nothing is handled before this test waits.
            a.cast("line", (b"c".to_vec(),)).unwrap();
            let report = topics.publish("t", "x").unwrap();
            let said = (report.sent, report.refused, report.dropped);
            assert_eq!(said, (0, refused, 1 - refused), "{overflow:?} {strategy:?}");
            assert_eq!(letters(&system), kinds, "{overflow:?} {strategy:?}");
            a.emptied().await;
            assert_eq!(topics.publish("t", "y").unwrap().sent, 1);
            a.emptied().await;
            assert_eq!(heard(&a).await, ["- - c", "- - y"]);
            balanced(system.counters());
        }
        // One that drops the oldest makes room.
        let system = system(&engine()).await;
        let a = narrow(
            &system,
            BackpressureStrategy::DropOldest,
            overflow,
            &Arc::default(),
        )
        .await;
        a.cast("line", (b"c".to_vec(),)).unwrap();
        let report = system.topics().publish("t", "x").unwrap();
        assert_eq!((report.sent, letters(&system)), (1, vec!["evicted"]));
        a.emptied().await;
        assert_eq!(heard(&a).await, ["- - x"]);
        balanced(system.counters());
    }
}
