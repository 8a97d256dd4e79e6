//! What must hold in every interleaving.

use std::future::Future;
use std::pin::pin;
use std::task::Waker;

use tokio::sync::oneshot;

use super::*;
use crate::mailbox::Control;
use crate::wait_for;

/// Two senders and a drain: each message is handled once and each sender is woken, by the queue alone.
fn queue() {
    let scene = Scene::new(false);
    let drain = scene.drain();
    let other = {
        let scene = scene.clone();
        spawn(move || answered(1)(scene.ask(1)))
    };
    answered(2)(scene.ask(2));
    other.join().unwrap();
    scene.slot.kill();
    drain.join().unwrap();
    let mut handled = scene.handled();
    handled.sort_unstable();
    assert_eq!(handled, [1, 2]);
    scene.is_over(1);
}

#[test]
fn no_wake_up_of_the_queue_is_lost() {
    explore(1, queue);
}

#[test]
fn without_its_fences_the_queue_loses_wake_ups() {
    fails_without(Broken::Fence, "no_wake_up_of_the_queue_is_lost", "deadlock");
}

#[test]
fn without_the_second_look_the_queue_loses_wake_ups() {
    fails_without(
        Broken::SecondLook,
        "no_wake_up_of_the_queue_is_lost",
        "deadlock",
    );
}

#[test]
fn without_wakers_nobody_is_woken() {
    fails_without(Broken::Wake, "no_wake_up_of_the_queue_is_lost", "deadlock");
}

/// Two callers of a resting actor, one of whose calls has to be handed over.
fn short_road() {
    let scene = Scene::new(true);
    let drain = scene.drain();
    let other = {
        let scene = scene.clone();
        spawn(move || answered(WAITS)(scene.ask(WAITS)))
    };
    answered(2)(scene.ask(2));
    other.join().unwrap();
    scene.slot.kill();
    drain.join().unwrap();
    let mut handled = scene.handled();
    handled.sort_unstable();
    assert_eq!(handled, [2, WAITS]);
    scene.is_over(1);
}

#[test]
fn the_short_road_has_one_owner_at_a_time_and_loses_nobody() {
    explore(1, short_road);
}

#[test]
fn without_the_second_look_the_short_road_loses_wake_ups() {
    fails_without(
        Broken::SecondLook,
        "the_short_road_has_one_owner_at_a_time_and_loses_nobody",
        "deadlock",
    );
}

#[test]
fn without_wakers_a_call_that_was_handed_over_is_lost() {
    fails_without(
        Broken::Wake,
        "the_short_road_has_one_owner_at_a_time_and_loses_nobody",
        "deadlock",
    );
}

/// A kill comes at any moment of a call, whichever road it takes; then the registration ends.
fn killed(n: u32) {
    let scene = Scene::new(true);
    let drain = scene.drain();
    let caller = {
        let scene = scene.clone();
        spawn(move || match scene.ask(n) {
            Ok(_) | Err(CallError::CalleeDied { .. } | CallError::Stopped { .. }) => {}
            Err(other) => panic!("{other}"),
        })
    };
    scene.slot.kill();
    drain.join().unwrap();
    scene.slot.retire(&ExitReason::Killed);
    caller.join().unwrap();
    assert!(scene.handled().len() <= 1);
    scene.is_over(1);
}

#[test]
fn a_kill_at_any_moment_answers_the_caller() {
    explore(2, || killed(1));
}

#[test]
fn a_kill_at_any_moment_of_a_hand_over_answers_the_caller() {
    explore(2, || killed(WAITS));
}

/// The drain's future is dropped from outside, as ractor's kill does, while a caller may have what rests.
fn orphaned(n: u32) {
    let scene = Scene::new(true);
    let drain = {
        let incarnation = scene.incarnation();
        spawn(move || {
            let mut incarnation = Box::pin(incarnation);
            let polled = incarnation
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
        })
    };
    let caller = {
        let scene = scene.clone();
        spawn(move || match scene.ask(n) {
            Ok(_) | Err(CallError::CalleeDied { .. } | CallError::Stopped { .. }) => {}
            Err(other) => panic!("{other}"),
        })
    };
    drain.join().unwrap();
    scene.slot.retire(&ExitReason::Killed);
    caller.join().unwrap();
    scene.is_over(1);
}

#[test]
fn a_drain_that_is_dropped_leaves_its_guard_to_the_taker() {
    explore(2, || orphaned(1));
}

#[test]
fn a_drain_that_is_dropped_leaves_its_guard_to_the_taker_of_a_call_that_waits() {
    explore(2, || orphaned(WAITS));
}

/// A message that was taken and not begun is its successor's first; one that was in hand fails.
#[test]
fn a_successor_finds_what_its_predecessor_left() {
    explore(2, || {
        let scene = Scene::new(false);
        let over = Arc::new(loom::sync::atomic::AtomicBool::new(false));
        let lives = {
            let (scene, over) = (scene.clone(), Arc::clone(&over));
            spawn(move || {
                loop {
                    let incarnation = scene.incarnation();
                    if over.load(loom::sync::atomic::Ordering::SeqCst) {
                        break;
                    }
                    block_on(incarnation);
                }
            })
        };
        let killer = {
            let scene = scene.clone();
            spawn(move || scene.slot.kill())
        };
        match scene.ask(1) {
            Ok(_) => assert_eq!(scene.handled(), [1]),
            Err(CallError::CalleeDied { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        killer.join().unwrap();
        over.store(true, loom::sync::atomic::Ordering::SeqCst);
        scene.slot.kill();
        lives.join().unwrap();
        assert!(scene.handled().len() <= 1);
        assert_eq!(scene.slot.mailbox().usage(), (0, 0));
    });
}

/// Pushes and a close: whatever was accepted is answered, whatever comes later is refused, nothing is left.
#[test]
fn nothing_is_left_behind_by_a_close() {
    explore(2, || {
        let scene = Scene::new(false);
        let pushers = [1, 2].map(|n| {
            let scene = scene.clone();
            spawn(move || match scene.ask(n) {
                Err(CallError::Stopped { .. }) => {}
                other => panic!("{other:?}"),
            })
        });
        scene.slot.retire(&ExitReason::Shutdown);
        for pusher in pushers {
            pusher.join().unwrap();
        }
        scene.is_over(0);
    });
}

/// A sender's call does not overtake its cast, whichever of them finds the actor at rest.
#[test]
fn the_short_road_does_not_overtake_the_queue() {
    explore(1, || {
        let scene = Scene::new(true);
        let drain = scene.drain();
        let other = {
            let scene = scene.clone();
            spawn(move || answered(3)(scene.ask(3)))
        };
        scene.cast(1);
        answered(2)(scene.ask(2));
        other.join().unwrap();
        scene.slot.kill();
        drain.join().unwrap();
        let mut handled = scene.handled();
        handled.retain(|n| *n != 3);
        assert_eq!(handled, [1, 2]);
        scene.is_over(1);
    });
}

/// What is asked on the control lane is answered while a caller has what rests, or the drain does.
#[test]
fn a_question_between_messages_is_answered() {
    explore(1, || {
        let scene = Scene::new(true);
        let drain = scene.drain();
        let other = {
            let scene = scene.clone();
            spawn(move || answered(1)(scene.ask(1)))
        };
        let (tx, rx) = oneshot::channel();
        scene.slot.lane().ask(Control::Health(tx));
        assert_eq!(block_on(rx).unwrap(), ChildHealth::Healthy);
        other.join().unwrap();
        scene.slot.kill();
        drain.join().unwrap();
        scene.is_over(1);
    });
}

#[test]
fn a_stop_ends_the_drain_and_answers_who_comes_too_late() {
    explore(2, || {
        let scene = Scene::new(true);
        let drain = scene.drain();
        let other = {
            let scene = scene.clone();
            spawn(move || match scene.ask(1) {
                Ok(_) | Err(CallError::Stopped { .. }) => {}
                Err(other) => panic!("{other}"),
            })
        };
        scene.slot.lane().ask(Control::Stop);
        drain.join().unwrap();
        scene.slot.retire(&ExitReason::Shutdown);
        other.join().unwrap();
        scene.is_over(1);
    });
}

/// An answer that comes when its caller leaves is not taken for the answer to the next call.
#[test]
fn a_late_answer_is_nobodys() {
    explore(3, || {
        let cell = Arc::<ReplyCell>::default();
        let late = cell.open();
        let answering = spawn(move || {
            late.send(Ok((1_u32,).into_args()));
        });
        let mut cx = Context::from_waker(Waker::noop());
        let first = cell.poll(&mut cx);
        cell.abandon();
        let next = cell.open();
        let then = spawn(move || assert!(next.send(Ok((2_u32,).into_args()))));
        if let Poll::Ready(answer) = first {
            answered(1)(answer);
        }
        answered(2)(block_on(poll_fn(|cx| cell.poll(cx))));
        answering.join().unwrap();
        then.join().unwrap();
        assert!(pin!(poll_fn(|cx| cell.poll(cx))).poll(&mut cx).is_pending());
    });
}

/// Two that call each other at once: one of them at least is told.
fn circle() {
    let shared = shared();
    let (a, b) = (slot(&shared, "a", true), slot(&shared, "b", true));
    b.lane().idle();
    let other = {
        let (a, b) = (Arc::clone(&a), Arc::clone(&b));
        let refused = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&refused);
        let thread = spawn(move || {
            // It is won over by a message, in which it calls.
            assert!(b.lane().win());
            counted.store(
                usize::from(wait_for::check(&b, &a).is_err()),
                Ordering::Relaxed,
            );
        });
        (thread, refused)
    };
    let refused = usize::from(wait_for::check(&a, &b).is_err());
    other.0.join().unwrap();
    assert_ne!(
        refused + other.1.load(Ordering::Relaxed),
        0,
        "both wait for ever"
    );
}

#[test]
fn a_circle_is_seen_by_whoever_closes_it() {
    explore(3, circle);
}

#[test]
fn without_its_fence_a_circle_is_not_seen() {
    fails_without(
        Broken::Fence,
        "a_circle_is_seen_by_whoever_closes_it",
        "both wait for ever",
    );
}

/// `a` has stopped waiting for `b` before `b` calls `x`: edges that never held together are no circle.
#[test]
fn edges_that_never_held_together_are_no_circle() {
    explore(3, || {
        let shared = shared();
        let [x, a, b] = ["x", "a", "b"].map(|name| slot(&shared, name, true));
        wait_for::check(&a, &b).unwrap();
        let other = {
            let (x, a, b) = (Arc::clone(&x), Arc::clone(&a), Arc::clone(&b));
            spawn(move || {
                a.edge().clear();
                wait_for::check(&b, &x).unwrap();
            })
        };
        wait_for::check(&x, &a).unwrap();
        other.join().unwrap();
    });
}

/// The same where one of the callers runs its callee's call itself: it has noted that, and the callee publishes.
#[test]
fn a_circle_through_a_call_that_its_caller_runs_is_seen() {
    explore(3, || {
        let shared = shared();
        let [x, a, b] = ["x", "a", "b"].map(|name| slot(&shared, name, true));
        let refused = Arc::new(AtomicUsize::new(0));
        let other = {
            let (x, b, refused) = (Arc::clone(&x), Arc::clone(&b), Arc::clone(&refused));
            spawn(move || {
                let told = wait_for::check(&b, &x).is_err();
                refused.fetch_add(usize::from(told), Ordering::Relaxed);
            })
        };
        wait_for::note(&x, &a).unwrap();
        let told = wait_for::check(&a, &b).is_err();
        refused.fetch_add(usize::from(told), Ordering::Relaxed);
        other.join().unwrap();
        assert_ne!(
            refused.load(Ordering::Relaxed),
            0,
            "all three wait for ever"
        );
    });
}
