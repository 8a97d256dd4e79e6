//! Subscriptions that change hands.

use std::sync::atomic::{AtomicUsize, Ordering};

use airssys_wasm::Args;

use super::*;
use crate::mailbox::{MailboxConfig, Next};
use crate::messaging::Holdings;
use crate::slot::Slot;
use crate::slot::testing::slot_of;

const WIT: &str =
    "package test:test; interface test { f: func(p: list<u8>); g: func(p: list<u8>); }";

struct Actor {
    slot: Arc<Slot>,
    topics: TopicTable,
}

impl Actor {
    fn new() -> Self {
        Self {
            slot: slot_of(WIT, MailboxConfig::default()),
            topics: TopicTable::default(),
        }
    }

    fn owner(&self, tenure: u64) -> Owner {
        Owner {
            actor: self.slot.id(),
            tenure: Some(tenure),
        }
    }

    fn add(&self, pattern: &str, function: &str, tenure: u64, aside: bool, max: u32) -> bool {
        let options = SubscribeOptions::default();
        self.add_with(options, pattern, function, tenure, aside, max)
    }

    fn add_with(
        &self,
        options: SubscribeOptions,
        pattern: &str,
        function: &str,
        tenure: u64,
        aside: bool,
        max: u32,
    ) -> bool {
        let export = self.slot.surface().export(function).unwrap();
        let function = ActorFunction::new(Arc::clone(&self.slot), export);
        let pattern = pattern.parse().unwrap();
        let owner = self.owner(tenure);
        let added = if aside {
            let topics = &self.topics;
            topics.subscribe_aside(&pattern, &function, options, owner, max)
        } else {
            self.topics
                .subscribe(&pattern, &function, options, owner, max)
        };
        added.is_ok()
    }

    fn matched(&self, topic: &str) -> usize {
        let published = self.topics.publish(topic, Bytes::new(), None, None);
        published.unwrap().matched
    }
}

#[test]
fn what_a_new_instance_subscribes_counts_from_the_moment_that_the_old_ones_do_not() {
    let actor = Actor::new();
    assert!(actor.add("t/a", "f", 1, false, 2) && actor.add("t/b", "f", 1, false, 2));
    // Beside the old one's, which do not count against it, and neither does it against the old one.
    assert!(actor.add("t/a", "f", 2, true, 2) && actor.add("t/c", "f", 2, true, 2));
    assert!(!actor.add("t/d", "f", 2, true, 2));
    assert!(!actor.add("t/d", "f", 1, false, 2) && actor.add("t/d", "f", 1, false, 3));
    let matched = |actor: &Actor| ["t/a", "t/b", "t/c"].map(|topic| actor.matched(topic));
    assert_eq!(matched(&actor), [1, 1, 0]);
    actor.topics.take_over(Some(actor.owner(1)), actor.owner(2));
    assert_eq!(matched(&actor), [1, 0, 1]);
    // It has two, and may have no more.
    assert!(!actor.add("t/d", "f", 2, false, 2) && actor.topics.len() == 2);
    actor.topics.release(actor.owner(1));
    assert_eq!(matched(&actor), [1, 0, 1]);
    actor.topics.release(actor.owner(2));
    assert_eq!(matched(&actor), [0, 0, 0]);
}

#[test]
fn what_is_inherited_goes_on_and_is_there_once() {
    let actor = Actor::new();
    assert!(actor.add("t/a", "f", 1, false, 9) && actor.add("t/b", "f", 1, false, 9));
    // The new one subscribes the same again, the same pattern by another function, and something new.
    assert!(actor.add("t/a", "f", 2, true, 9));
    assert!(actor.add("t/b", "g", 2, true, 9) && actor.add("t/c", "f", 2, true, 9));
    actor.topics.inherit(actor.owner(1), actor.owner(2));
    let matched = ["t/a", "t/b", "t/c"].map(|topic| actor.matched(topic));
    assert_eq!(matched, [1, 2, 1]);
    // All of it is the new one's.
    actor.topics.release(actor.owner(1));
    assert_eq!(actor.topics.len(), 4);
    actor.topics.release(actor.owner(2));
    assert_eq!(actor.topics.len(), 0);
}

/// `.` and `/` separate alike, and `>` is `**`.
#[test]
fn a_pattern_that_is_written_in_another_way_is_the_same_one() {
    let actor = Actor::new();
    assert!(actor.add("t.a.**", "f", 1, false, 9) && actor.add("t/a/>", "f", 2, true, 9));
    actor.topics.inherit(actor.owner(1), actor.owner(2));
    assert_eq!(actor.matched("t/a/b"), 1);
    let end = |pattern: &str| {
        let pattern = pattern.parse().unwrap();
        actor.topics.unsubscribe_pattern(&pattern, actor.owner(2))
    };
    assert_eq!((end("t.a.*"), end("t.a/**"), end("t.a/**")), (0, 1, 0));
}

/// One that holds a single publication, and says what becomes of the next.
fn narrow(overflow: BackpressureStrategy) -> SubscribeOptions {
    SubscribeOptions {
        depth_max: 1,
        overflow,
        ..SubscribeOptions::default()
    }
}

#[test]
fn what_is_inherited_has_the_options_of_whoever_inherits_it() {
    let actor = Actor::new();
    let (old, new) = (
        BackpressureStrategy::Error,
        BackpressureStrategy::DropNewest,
    );
    assert!(actor.add_with(narrow(old), "t/a", "f", 1, false, 9));
    assert!(actor.add_with(narrow(new), "t/a", "f", 2, true, 9));
    let publish = || {
        let report = actor.topics.publish("t/a", Bytes::new(), None, None);
        let PublishReport {
            matched,
            sent,
            refused,
            dropped,
        } = report.unwrap();
        assert_eq!(matched, 1);
        (sent, refused, dropped)
    };
    assert_eq!([publish(), publish()], [(1, 0, 0), (0, 1, 0)]);
    actor.topics.inherit(actor.owner(1), actor.owner(2));
    assert_eq!([publish(), publish()], [(1, 0, 0), (0, 0, 1)]);
    // What is put aside does not count against it.
    assert!(actor.add("t/b", "f", 2, false, 2) && !actor.add("t/c", "f", 2, false, 2));
    // And back: what was sent before is not finished, and still has its room.
    actor.topics.inherit(actor.owner(2), actor.owner(1));
    assert_eq!(publish(), (0, 1, 0));
    actor.topics.release(actor.owner(2));
    assert_eq!((publish(), actor.topics.len()), ((0, 1, 0), 2));
    actor.topics.release(actor.owner(1));
    assert_eq!(actor.topics.len(), 0);
}

#[test]
fn what_was_put_aside_ends_with_whoever_had_it() {
    let actor = Actor::new();
    let [mut before, mut after] = [(), ()].map(|()| Holdings::new(&actor.slot));
    let topics = actor.slot.shared().topics();
    let pattern = "t/a".parse().unwrap();
    let export = actor.slot.surface().export("f").unwrap();
    let function = ActorFunction::new(Arc::clone(&actor.slot), export);
    let (old, new) = (BackpressureStrategy::Error, BackpressureStrategy::Block);
    let owner = before.used();
    topics
        .subscribe(&pattern, &function, narrow(old), owner, 9)
        .unwrap();
    let owner = after.used();
    topics
        .subscribe_aside(&pattern, &function, narrow(new), owner, 9)
        .unwrap();
    after.inherit(&mut before);
    assert_eq!(topics.len(), 2);
    drop(before);
    assert_eq!(topics.len(), 1);
    drop(after);
    assert_eq!(topics.len(), 0);
}

#[test]
fn what_is_unsubscribed_does_not_come_back_with_whoever_had_it_before() {
    let actor = Actor::new();
    let (old, new) = (BackpressureStrategy::Error, BackpressureStrategy::Block);
    for pattern in ["t/a", "t/b"] {
        assert!(actor.add_with(narrow(old), pattern, "f", 1, false, 9));
        assert!(actor.add_with(narrow(new), pattern, "f", 2, true, 9));
    }
    let end = |pattern: &str, tenure| {
        let (pattern, owner) = (pattern.parse().unwrap(), actor.owner(tenure));
        actor.topics.unsubscribe_pattern(&pattern, owner)
    };
    actor.topics.inherit(actor.owner(1), actor.owner(2));
    // One that is being made says nothing of what others have.
    assert!(actor.add_with(narrow(new), "t/b", "f", 3, true, 9));
    assert_eq!((end("t/a", 2), end("t/b", 3)), (1, 1));
    actor.topics.inherit(actor.owner(2), actor.owner(1));
    assert_eq!(["t/a", "t/b"].map(|topic| actor.matched(topic)), [0, 1]);
    actor.topics.release(actor.owner(2));
    assert_eq!(actor.topics.len(), 1);
}

/// Two publishers at one subscription whose mailbox is full again and again: what each is told is true of its own.
#[test]
fn what_is_told_of_a_publication_is_true_of_that_one() {
    const EACH: u32 = 20_000;
    let config = MailboxConfig {
        depth_max: 2,
        strategy: BackpressureStrategy::DropNewest,
        ..MailboxConfig::default()
    };
    let actor = Actor {
        slot: slot_of(WIT, config),
        topics: TopicTable::default(),
    };
    let options = SubscribeOptions {
        overflow: BackpressureStrategy::DropOldest,
        ..SubscribeOptions::default()
    };
    assert!(actor.add_with(options, "t", "f", 1, false, 9));
    let over = AtomicUsize::new(0);
    let publish = |publisher: u32| {
        let mut sent = Vec::new();
        for n in 0..EACH {
            let which = publisher * EACH + n;
            let payload = Bytes::copy_from_slice(&which.to_le_bytes());
            let report = actor.topics.publish("t", payload, None, None).unwrap();
            assert_eq!(report.sent + report.dropped, 1);
            if report.sent == 1 {
                sent.push(which);
            }
        }
        over.fetch_add(1, Ordering::Release);
        sent
    };
    let handle = || {
        let mut handled = Vec::new();
        loop {
            let is_over = over.load(Ordering::Acquire) == 2;
            match actor.slot.mailbox().take_next(actor.slot.lane()) {
                Some(Next::Message(mut envelope)) => {
                    if envelope.claim() {
                        let [Value::Bytes(which)] = envelope.args.values() else {
                            panic!("{:?}", envelope.args);
                        };
                        let which: [u8; 4] = which[..].try_into().unwrap();
                        handled.push(u32::from_le_bytes(which));
                        envelope.finish(Ok(Args::new()));
                    }
                }
                Some(_) => panic!("nobody controls it"),
                None if is_over => break handled,
                None => std::thread::yield_now(),
            }
        }
    };
    let (mut sent, mut handled) = std::thread::scope(|scope| {
        let publish = &publish;
        let publishers = [0, 1].map(|publisher| scope.spawn(move || publish(publisher)));
        let handled = handle();
        let sent = publishers.map(|publisher| publisher.join().unwrap());
        (sent.concat(), handled)
    });
    sent.sort_unstable();
    handled.sort_unstable();
    assert!(
        sent == handled,
        "{} sent, {} handled",
        sent.len(),
        handled.len()
    );
    assert_eq!(actor.slot.mailbox().usage(), (0, 0));
    let counters = actor.slot.counters().read();
    assert_eq!(counters.casts, u64::from(2 * EACH));
    assert_eq!(
        counters.casts,
        counters.casts_handled + counters.dead_letters
    );
}
