//! The mailbox alone: back-pressure, wake-ups, closing.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use airssys_wasm::{ExportId, IntoArgs, Value};

use super::*;
use crate::address::ActorId;
use crate::envelope::CallContext;
use crate::exit::ExitReason;
use crate::reply::ReplyCell;
use crate::signal::{Exit, Posted, Signal, SignalPermit};
use crate::slot::{Slot, testing};

fn export(slot: &Slot) -> ExportId {
    slot.surface().export("f").unwrap()
}

fn cast(slot: &Arc<Slot>, n: u32) -> Box<Envelope> {
    Envelope::cast(
        Arc::clone(slot),
        None,
        export(slot),
        (n,).into_args(),
        CallContext::default(),
    )
}

/// A signal that carries this number, unless there are as many under way as there may be.
fn signal(slot: &Arc<Slot>, n: u32) -> Option<Box<Envelope>> {
    let posted = Posted {
        signal: Signal::Exit(Exit {
            from: slot.address().clone(),
            incarnation: n.into(),
            reason: ExitReason::Shutdown,
        }),
        subject: slot.id(),
        permit: SignalPermit::link(slot).ok()?,
    };
    Some(Envelope::signal(Arc::clone(slot), Box::new(posted)))
}

/// What it carries, of a message or a signal, which is then over.
fn take_number(mut envelope: Box<Envelope>) -> u32 {
    let n = match envelope.take_posted().map(|posted| posted.signal) {
        Some(Signal::Exit(exit)) => u32::try_from(exit.incarnation).unwrap(),
        Some(other) => panic!("{other:?}"),
        None => number(&envelope),
    };
    envelope.finish(Ok(Args::new()));
    n
}

fn number(envelope: &Envelope) -> u32 {
    match envelope.args.values() {
        [Value::U32(n)] => *n,
        other => panic!("{other:?}"),
    }
}

/// What a drain does: take what is next, or fall asleep.
fn poll_next(mailbox: &Mailbox, lane: &Lane, cx: &mut Context<'_>) -> Poll<Next> {
    loop {
        lane.busy();
        if let Some(next) = mailbox.take_next(lane) {
            return Poll::Ready(next);
        }
        lane.watch(cx);
        lane.idle();
        if lane.settle(|| mailbox.has_queued()) {
            return Poll::Pending;
        }
    }
}

/// Takes what is queued, without waiting.
fn take_all(slot: &Slot) -> Vec<u32> {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut taken = Vec::new();
    while let Poll::Ready(Next::Message(envelope)) = poll_next(slot.mailbox(), slot.lane(), &mut cx)
    {
        taken.push(number(&envelope));
        envelope.finish(Ok(airssys_wasm::Args::new()));
    }
    taken
}

fn config(depth_max: u32, strategy: BackpressureStrategy) -> MailboxConfig {
    MailboxConfig {
        depth_max,
        strategy,
        ..MailboxConfig::default()
    }
}

#[test]
fn error_hands_the_message_back() {
    let slot = testing::slot(config(2, BackpressureStrategy::Error));
    slot.mailbox().push(cast(&slot, 0)).ok().unwrap();
    slot.mailbox().push(cast(&slot, 1)).ok().unwrap();
    match slot.mailbox().push(cast(&slot, 2)) {
        Err(Refusal::Full(envelope)) => assert_eq!(envelope.recall(), (2_u32,).into_args()),
        _ => panic!("a third message was accepted"),
    }
    assert_eq!(take_all(&slot), [0, 1]);
    assert_eq!(slot.mailbox().usage(), (0, 0));
    assert_eq!(slot.counters().read().dead_letters, 0);
}

#[test]
fn drop_newest_makes_a_dead_letter_of_the_new_cast() {
    let slot = testing::slot(config(1, BackpressureStrategy::DropNewest));
    slot.mailbox().push(cast(&slot, 0)).ok().unwrap();
    for n in 1..3 {
        let Err(refusal) = slot.mailbox().push(cast(&slot, n)) else {
            panic!("{n} was accepted");
        };
        let (why, args) = crate::call::refused(&slot, refusal);
        assert_eq!((why.kind(), args), ("evicted", None));
    }
    assert_eq!(take_all(&slot), [0]);
    let letters = slot
        .shared()
        .dead_letters()
        .list(&Default::default(), std::time::SystemTime::now());
    let kinds: Vec<_> = letters.iter().map(|letter| letter.why.kind()).collect();
    assert_eq!(kinds, ["evicted", "evicted"]);
    assert_eq!(*letters[0].args, (1_u32,).into_args());
}

#[test]
fn drop_oldest_makes_room_and_fails_an_evicted_call() {
    let slot = testing::slot(config(2, BackpressureStrategy::DropOldest));
    let cell = Arc::new(ReplyCell::default());
    let call = Envelope::call(
        Arc::clone(&slot),
        None,
        export(&slot),
        (0_u32,).into_args(),
        CallContext::default(),
        cell.open(),
    );
    slot.mailbox().push(call).ok().unwrap();
    slot.mailbox().push(cast(&slot, 1)).ok().unwrap();
    slot.mailbox().push(cast(&slot, 2)).ok().unwrap();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    match cell.poll(&mut cx) {
        Poll::Ready(Err(why)) => assert_eq!(why.kind(), "evicted"),
        _ => panic!("the evicted call was not answered"),
    }
    assert_eq!(take_all(&slot), [1, 2]);
}

#[test]
fn drop_oldest_drops_nothing_where_that_would_not_make_room() {
    let slot = testing::slot(MailboxConfig {
        bytes_max: 100_000,
        ..config(100, BackpressureStrategy::DropOldest)
    });
    let large = |bytes: usize| {
        let args = (vec![0_u8; bytes],).into_args();
        let context = CallContext::default();
        Envelope::cast(Arc::clone(&slot), None, export(&slot), args, context)
    };
    slot.mailbox().push(large(80_000)).ok().unwrap();
    let Some(Next::Message(in_hand)) = slot.mailbox().take_next(slot.lane()) else {
        panic!("the message was not there");
    };
    for n in 0..3 {
        slot.mailbox().push(cast(&slot, n)).ok().unwrap();
    }
    let Err(Refusal::Full(refused)) = slot.mailbox().push(large(40_000)) else {
        panic!("it cannot fit while the other is being handled");
    };
    refused.recall();
    assert_eq!(slot.counters().read().dead_letters, 0);
    in_hand.finish(Ok(Args::new()));
    assert_eq!(take_all(&slot), [0, 1, 2]);
    assert_eq!(slot.mailbox().usage(), (0, 0));
}

/// Promise 2, where senders look through the queue: signals and messages stay in the order they came in, whether
/// something was dropped or nothing could be.
#[test]
fn what_drop_oldest_leaves_stays_in_its_order() {
    let slot = testing::slot(MailboxConfig {
        bytes_max: 100_000,
        ..config(4, BackpressureStrategy::DropOldest)
    });
    let large = |bytes: usize| {
        let args = (vec![0_u8; bytes],).into_args();
        let context = CallContext::default();
        Envelope::cast(Arc::clone(&slot), None, export(&slot), args, context)
    };
    let all = || {
        let left = std::iter::from_fn(|| slot.mailbox().take_shared());
        left.map(take_number).collect::<Vec<_>>()
    };
    slot.mailbox().push(large(80_000)).ok().unwrap();
    let in_hand = slot.mailbox().take_shared().unwrap();
    let fill = || {
        for n in [0, 2, 4] {
            slot.mailbox().push(cast(&slot, n)).ok().unwrap();
            slot.mailbox().push_signal(signal(&slot, n + 1).unwrap());
        }
    };
    fill();
    for _ in 0..2 {
        let Err(Refusal::Full(refused)) = slot.mailbox().push(large(40_000)) else {
            panic!("it cannot fit while the other is being handled");
        };
        refused.recall();
        assert_eq!(slot.mailbox().queued(), 6);
    }
    assert_eq!(all(), [0, 1, 2, 3, 4, 5]);
    assert!(!slot.mailbox().has_queued());
    // Two of them are dropped, and the signals beside them are not.
    fill();
    for n in [6, 7] {
        slot.mailbox().push(cast(&slot, n)).ok().unwrap();
    }
    assert_eq!(all(), [1, 3, 4, 5, 6, 7]);
    assert_eq!(slot.counters().read().dead_letters, 2);
    in_hand.finish(Ok(Args::new()));
    assert_eq!(slot.mailbox().usage(), (0, 0));
}

/// The same with a drain that takes while senders drop.
#[test]
fn nothing_overtakes_while_the_oldest_is_dropped() {
    const EACH: u32 = 20_000;
    let slot = testing::slot(config(3, BackpressureStrategy::DropOldest));
    let done = std::sync::atomic::AtomicBool::new(false);
    let (mut seen, mut last) = (0, None);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..EACH {
                match signal(&slot, n).filter(|_| n % 3 == 0) {
                    Some(signal) => slot.mailbox().push_signal(signal),
                    None => slot.mailbox().push(cast(&slot, n)).ok().unwrap(),
                }
            }
            done.store(true, Ordering::Release);
        });
        loop {
            let is_done = done.load(Ordering::Acquire);
            match slot.mailbox().take_shared() {
                Some(envelope) => {
                    let n = take_number(envelope);
                    assert!(last < Some(n), "{n} after {last:?}");
                    (seen, last) = (seen + 1, Some(n));
                }
                None if is_done => break,
                None => std::hint::spin_loop(),
            }
        }
    });
    assert_eq!(last, Some(EACH - 1));
    assert!(!slot.mailbox().has_queued());
    assert_eq!(slot.mailbox().usage(), (0, 0));
    // Each was taken or is a dead letter.
    let letters = slot.counters().read().dead_letters;
    assert_eq!(seen + letters, u64::from(EACH));
}

#[test]
fn a_message_over_the_limit_is_refused_at_once_and_handed_back() {
    let limits = MailboxConfig {
        message_bytes_max: 1_000,
        ..MailboxConfig::default()
    };
    let slot = testing::slot(limits);
    let args = (Value::Bytes(vec![7; 2_000].into()),).into_args();
    let envelope = Envelope::cast(
        Arc::clone(&slot),
        None,
        export(&slot),
        args.clone(),
        CallContext::default(),
    );
    match slot.mailbox().push(envelope) {
        Err(Refusal::TooLarge(envelope, bytes)) => {
            assert!(bytes >= 2_000);
            assert_eq!(envelope.recall(), args);
        }
        _ => panic!("accepted"),
    }
}

#[test]
fn a_message_put_back_comes_first() {
    let slot = testing::slot(MailboxConfig::default());
    for n in 0..3 {
        slot.mailbox().push(cast(&slot, n)).ok().unwrap();
    }
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let Poll::Ready(Next::Message(first)) = poll_next(slot.mailbox(), slot.lane(), &mut cx) else {
        panic!("nothing queued");
    };
    assert!(slot.lane().put_back(first).is_none());
    slot.lane().end();
    slot.lane().begin();
    assert_eq!(take_all(&slot), [0, 1, 2]);
}

/// A signal holds no permit of the mailbox, and is found all the same by a drain that is about to sleep.
#[test]
fn a_signal_keeps_a_drain_awake() {
    let slot = testing::slot(config(1, BackpressureStrategy::Error));
    slot.lane().busy();
    assert!(slot.mailbox().take_next(slot.lane()).is_none());
    slot.mailbox().push_signal(signal(&slot, 1).unwrap());
    slot.lane().idle();
    assert!(!slot.settle());
    let next = slot.mailbox().take_next(slot.lane());
    assert!(matches!(next, Some(Next::Message(signal)) if signal.is_signal()));
}

#[test]
fn questions_that_nobody_waits_for_do_not_pile_up() {
    let lane = Lane::default();
    let ask = || {
        let (answer, asker) = tokio::sync::oneshot::channel();
        lane.ask(Control::Health(answer));
        asker
    };
    lane.ask(Control::Passivate);
    let first = ask();
    for _ in 0..100 {
        drop(ask());
    }
    let last = ask();
    let asked: Vec<_> = std::iter::from_fn(|| lane.take_control()).collect();
    assert!(matches!(
        *asked,
        [Control::Passivate, Control::Health(_), Control::Health(_)]
    ));
    drop((first, last));
}

/// Race b: with senders on other threads and two lanes, every message is taken, whichever moment a
/// lane chose to fall asleep.
#[test]
fn no_wake_up_is_lost() {
    const SENDERS: u32 = 3;
    const EACH: u32 = 5_000;
    let second = Arc::new(Lane::default());
    let slot = testing::slot(config(1 << 16, BackpressureStrategy::Error));
    slot.mailbox().crew().join(&[Member {
        id: ActorId::NOBODY,
        lane: Arc::clone(&second),
        slot: std::sync::Weak::new(),
    }]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let left = Arc::new(AtomicUsize::new((SENDERS * EACH) as usize));
    let drains: Vec<_> = (0..2)
        .map(|at| {
            let (slot, second, left) = (Arc::clone(&slot), Arc::clone(&second), Arc::clone(&left));
            runtime.spawn(async move {
                let lane = if at == 0 { slot.lane() } else { &*second };
                let other = if at == 0 { &*second } else { slot.lane() };
                loop {
                    match poll_fn(|cx| poll_next(slot.mailbox(), lane, cx)).await {
                        Next::Message(envelope) => {
                            envelope.finish(Ok(airssys_wasm::Args::new()));
                            if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                                other.kill();
                                return;
                            }
                        }
                        _ => return,
                    }
                }
            })
        })
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                for n in 0..EACH {
                    let mut envelope = cast(&slot, n);
                    while let Err(Refusal::Full(back)) = slot.mailbox().push(envelope) {
                        envelope = back;
                        std::thread::yield_now();
                    }
                }
            });
        }
    });
    runtime.block_on(async {
        for drain in drains {
            drain.await.unwrap();
        }
    });
    assert_eq!(left.load(Ordering::Acquire), 0);
    assert_eq!(slot.mailbox().usage(), (0, 0));
}

/// Race c: whatever was accepted before the close is swept, whatever comes after is refused.
#[test]
fn nothing_is_left_behind_by_a_close() {
    for _ in 0..50 {
        let slot = testing::slot(config(1 << 16, BackpressureStrategy::Error));
        let accepted = AtomicUsize::new(0);
        let refused = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for n in 0..500 {
                        match slot.mailbox().push(cast(&slot, n)) {
                            Ok(()) => accepted.fetch_add(1, Ordering::Relaxed),
                            Err(refusal) => {
                                crate::call::refused(&slot, refusal);
                                refused.fetch_add(1, Ordering::Relaxed)
                            }
                        };
                    }
                });
            }
            slot.retire(&crate::ExitReason::Shutdown);
        });
        assert_eq!(
            accepted.load(Ordering::Relaxed) + refused.load(Ordering::Relaxed),
            1_000
        );
        let letters = slot.counters().read().dead_letters;
        assert_eq!(letters as usize, accepted.load(Ordering::Relaxed));
        assert_eq!(slot.mailbox().usage(), (0, 0));
    }
}

#[tokio::test]
async fn closing_wakes_a_blocked_sender_with_an_error() {
    let slot = testing::slot(config(1, BackpressureStrategy::Block));
    slot.mailbox().push(cast(&slot, 0)).ok().unwrap();
    let blocked = tokio::spawn({
        let slot = Arc::clone(&slot);
        async move {
            match slot.mailbox().push_blocked(cast(&slot, 1)).await {
                Err(Refusal::Closed(envelope)) => number(&envelope),
                _ => panic!("not refused as closed"),
            }
        }
    });
    tokio::task::yield_now().await;
    slot.retire(&crate::ExitReason::Shutdown);
    assert_eq!(blocked.await.unwrap(), 1);
}
