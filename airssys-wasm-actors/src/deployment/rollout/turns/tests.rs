//! One turn, whoever waits, leaves or is cancelled, at any moment.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::FutureExt as _;
use tokio::task::JoinSet;

use super::*;

fn note(what: &str) -> OrderNote {
    OrderNote {
        what: what.to_owned(),
        ..OrderNote::default()
    }
}

fn ids(turns: &Turns) -> Vec<u64> {
    turns.waiting().iter().map(|order| order.id).collect()
}

#[tokio::test]
async fn first_come_first_served_and_each_can_be_taken_out() {
    let turns = Turns::default();
    let turn = turns.try_take().unwrap();
    assert!(turns.try_take().is_none());
    let waiting: Vec<_> = (1..=4).map(|n| turns.queue(note(&n.to_string()))).collect();
    let [one, two, three, four] = waiting.try_into().unwrap();
    assert_eq!((ids(&turns), two.waits()), (vec![1, 2, 3, 4], true));
    let cancelled = turns.cancel(2, "ann", "not today").unwrap();
    assert_eq!((cancelled.id, cancelled.note.what.as_str()), (2, "2"));
    assert_eq!((ids(&turns), two.waits()), (vec![1, 3, 4], false));
    let error = two.turn().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cancelled before it began, by `ann`: not today"
    );
    assert_eq!(turns.cancel(2, "", "").unwrap_err(), CancelRefused::Gone(2));
    for unknown in [0, 5] {
        let refused = turns.cancel(unknown, "", "").unwrap_err();
        assert_eq!(refused, CancelRefused::NoSuchOrder(unknown));
    }

    // One that leaves is not in line any more, and the others keep their order.
    drop(three);
    assert_eq!(ids(&turns), [1, 4]);
    drop(turn);
    let turn = one.turn().await.unwrap();
    turn.begin().unwrap();
    assert_eq!(
        turns.cancel(1, "", "").unwrap_err(),
        CancelRefused::UnderWay(1)
    );
    let mut four = Box::pin(four.turn());
    assert!((&mut four).now_or_never().is_none());
    drop(turn);
    assert_eq!(turns.cancel(1, "", "").unwrap_err(), CancelRefused::Gone(1));
    drop(four.await.unwrap());
    // It is free: who queues has it at once.
    let free = turns.queue(note("at once"));
    assert!(!free.waits() && turns.try_take().is_none());
    drop(free);
    assert!(turns.try_take().is_some());
}

#[tokio::test]
async fn a_turn_that_nobody_takes_goes_to_the_next() {
    let turns = Turns::default();
    let turn = turns.try_take().unwrap();
    let (one, two) = (turns.queue(note("one")), turns.queue(note("two")));
    drop(turn);
    // It was given to the first, which has not looked yet.
    assert_eq!(ids(&turns), [2]);
    drop(one);
    assert!(ids(&turns).is_empty());
    drop(two.turn().await.unwrap());
    assert!(turns.try_take().is_some());
}

/// Until it begins, an order that has its turn loses it when it is cancelled, and nobody waits for what it prepares.
#[tokio::test]
async fn a_turn_is_taken_away_until_its_order_begins() {
    let turns = Turns::default();
    let one = turns.queue(note("one")).turn().await.unwrap();
    let (two, three) = (turns.queue(note("two")), turns.queue(note("three")));
    let cancelled = turns.cancel(1, "ann", "not today").unwrap();
    assert_eq!((cancelled.id, cancelled.note.what.as_str()), (1, "one"));
    let said = "cancelled before it began, by `ann`: not today";
    assert_eq!(one.begin().unwrap_err().to_string(), said);
    assert_eq!(turns.cancel(1, "", "").unwrap_err(), CancelRefused::Gone(1));
    // The next one has the turn, and keeps it when the first lets go of what is not its own any more.
    assert_eq!(ids(&turns), [3]);
    drop(one);
    assert_eq!(ids(&turns), [3]);
    // It is cancelled before it has looked: it has no turn.
    turns.cancel(2, "ben", "").unwrap();
    let error = two.turn().await.unwrap_err();
    assert_eq!(error.to_string(), "cancelled before it began, by `ben`");
    let three = three.turn().await.unwrap();
    three.begin().unwrap();
    let refused = turns.cancel(3, "", "").unwrap_err();
    assert_eq!(refused, CancelRefused::UnderWay(3));
    three.begin().unwrap();
    drop(three);
    assert!(turns.try_take().is_some());
}

/// One that found the turn free has a number as one that waited has, and is cancelled by it.
#[tokio::test]
async fn a_turn_that_was_free_is_an_orders_too() {
    let turns = Turns::default();
    assert_eq!(turns.preparing(), None);
    let one = turns.try_take_as(note("one")).unwrap();
    assert_eq!((one.order(), ids(&turns)), (Some(1), Vec::new()));
    let preparing = turns.preparing().unwrap();
    assert_eq!((preparing.id, preparing.note.what.as_str()), (1, "one"));
    // Who is refused has no number.
    assert!(turns.try_take_as(note("none")).is_none());
    let two = turns.queue(note("two"));
    assert_eq!((two.id(), turns.preparing().unwrap().id), (2, 1));
    let cancelled = turns.cancel(1, "ann", "not today").unwrap();
    assert_eq!(cancelled, preparing);
    let said = "cancelled before it began, by `ann`: not today";
    assert_eq!(one.begin().unwrap_err().to_string(), said);
    // The one that waited is at its turn, and is seen there until it begins.
    assert_eq!(turns.preparing().unwrap().id, 2);
    let two = two.turn().await.unwrap();
    assert_eq!(two.order(), Some(2));
    two.begin().unwrap();
    assert_eq!(turns.preparing(), None);
    let refused = turns.cancel(2, "", "").unwrap_err();
    assert_eq!(refused, CancelRefused::UnderWay(2));
    drop((one, two));
    // And one without a note has none.
    let turn = turns.try_take().unwrap();
    assert_eq!((turn.order(), turns.preparing()), (None, None));
    let refused = turns.cancel(3, "", "").unwrap_err();
    assert_eq!(refused, CancelRefused::NoSuchOrder(3));
}

#[test]
fn who_cancels_and_why_is_told_in_full_or_not_at_all() {
    let turns = Turns::default();
    let _turn = turns.try_take().unwrap();
    let _waiting = turns.queue(note("one"));
    let long = "w".repeat(5_000);
    for (by, why, what) in [(&*long, "", "by"), ("", &*long, "why")] {
        let refused = turns.cancel(1, by, why).unwrap_err();
        assert_eq!(refused, CancelRefused::TooLong { what, bytes: 5_000 });
    }
    assert_eq!(ids(&turns), [1]);
}

/// Of a turn that comes, somebody who cancels and whoever waits and leaves, exactly one has the order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_order_is_run_or_cancelled_or_left_and_never_two_of_them() {
    const ORDERS: u64 = 2_000;
    let (turns, busy) = (Turns::default(), Arc::<AtomicBool>::default());
    let [run, cancelled, left] = std::array::from_fn(|_| Arc::<AtomicU64>::default());
    let first = turns.try_take().unwrap();
    let mut waiters = JoinSet::new();
    for n in 1..=ORDERS {
        let waiting = turns.queue(note("any"));
        let (busy, run) = (Arc::clone(&busy), Arc::clone(&run));
        let (cancelled, left) = (Arc::clone(&cancelled), Arc::clone(&left));
        waiters.spawn(async move {
            if n % 7 == 0 {
                for _ in 0..n % 64 {
                    tokio::task::yield_now().await;
                }
                // Its turn may have come just now, and is given back.
                left.fetch_add(1, Ordering::Relaxed);
                return;
            }
            match waiting.turn().await {
                Ok(turn) => {
                    tokio::task::yield_now().await;
                    if turn.begin().is_err() {
                        cancelled.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    assert!(!busy.swap(true, Ordering::AcqRel), "two at a time");
                    tokio::task::yield_now().await;
                    run.fetch_add(1, Ordering::Relaxed);
                    busy.store(false, Ordering::Release);
                    drop(turn);
                }
                Err(DeployError::Cancelled { .. }) => {
                    cancelled.fetch_add(1, Ordering::Relaxed);
                }
                Err(other) => panic!("{other}"),
            }
        });
    }
    let cancelling = {
        let turns = turns.clone();
        tokio::spawn(async move {
            let mut cancelled = 0;
            for id in (1..=ORDERS).rev() {
                if id % 3 == 0 {
                    cancelled += u64::from(turns.cancel(id, "", "").is_ok());
                }
                tokio::task::yield_now().await;
            }
            cancelled
        })
    };
    drop(first);
    while let Some(done) = waiters.join_next().await {
        done.unwrap();
    }
    let taken_out = cancelling.await.unwrap();
    let [run, cancelled, left] = [run, cancelled, left].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(run + cancelled + left, ORDERS);
    // One that was leaving can have been cancelled as well, and nobody is told.
    assert!((cancelled..=cancelled + left).contains(&taken_out));
    assert!(run > 0);
    assert!(turns.waiting().is_empty() && turns.try_take().is_some());
}
