//! A timer that is cheap where deadlines are almost never reached.
//!
//! Owns [`LazyTimer`]: one tokio timer per caller, armed for the first deadline and left armed when
//! the call ends early. It is moved only when it fires too early or a deadline comes before it, so
//! a call that ends in time neither enters nor leaves the timer wheel.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Stands for waits too long to be added to a clock: 30 years, as tokio has it.
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);

/// The moment `wait` after `now`, or one far away.
pub(crate) fn after(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or(now + FAR)
}

/// A timer kept over many deadlines.
#[derive(Default)]
pub(crate) struct LazyTimer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl LazyTimer {
    /// Whether `at` has been reached; if not, the task is woken then, or earlier for nothing.
    pub(crate) fn poll_reached(&mut self, at: Instant, cx: &mut Context<'_>) -> bool {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                return true;
            }
            // It fired for an earlier deadline.
            sleep.as_mut().reset(at);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;

    async fn wait(timer: &mut LazyTimer, at: Instant) {
        poll_fn(|cx| {
            if timer.poll_reached(at, cx) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_timer_serves_deadlines_in_any_order() {
        let start = Instant::now();
        let mut timer = LazyTimer::default();
        for seconds in [5, 9, 7, 8, 20, 1] {
            let at = start + Duration::from_secs(seconds);
            wait(&mut timer, at).await;
            assert!(Instant::now() >= at);
        }
        assert_eq!(Instant::now() - start, Duration::from_secs(20));
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_deadline_moves_a_timer_that_is_armed() {
        let start = Instant::now();
        let mut timer = LazyTimer::default();
        let far = start + Duration::from_secs(50);
        let near = start + Duration::from_secs(2);
        assert!(!poll_fn(|cx| Poll::Ready(timer.poll_reached(far, cx))).await);
        wait(&mut timer, near).await;
        assert_eq!(Instant::now(), near);
    }
}
