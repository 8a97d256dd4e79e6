//! A timer that is cheap where deadlines are almost never reached.
//!
//! Owns [`ReplyBy`], which becomes a moment only when a call has to wait, and [`LazyTimer`]: one tokio
//! timer per caller, armed for the first deadline and left armed when the call ends early. It is moved
//! only when it fires too early or a deadline comes before it, and polled only when another task than
//! before waits on it, so a call that ends in time neither reads a clock nor touches the timer wheel.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep_until};

/// Stands for waits too long to be added to a clock: 30 years, as tokio has it.
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);

/// The moment `wait` after `now`, or one far away.
pub(crate) fn after(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or(now + FAR)
}

/// When a caller stops waiting.
///
/// A call that has not had to wait yet only knows for how long it may: the time is counted from its first
/// wait. That is at most one time slice after it was made, because a guest that computes gives way at
/// every tick, and giving way is waiting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ReplyBy {
    /// Nobody waits, or for as long as it takes.
    #[default]
    Never,
    /// So long after the first wait.
    Within(Duration),
    At(Instant),
}

impl ReplyBy {
    /// For a call made now in the one that this is the end of; `None` if that is over.
    pub(crate) fn nested(self, within: Duration) -> Option<Self> {
        if within.is_zero() {
            return None;
        }
        match self {
            Self::Never => Some(Self::Within(within)),
            Self::Within(outer) => Some(Self::Within(outer.min(within))),
            Self::At(at) => {
                let now = Instant::now();
                (at > now).then(|| Self::At(at.min(after(now, within))))
            }
        }
    }

    /// The moment, if it is first waited now.
    pub(crate) fn moment(self) -> Instant {
        match self {
            Self::Never => after(Instant::now(), FAR),
            Self::Within(within) => after(Instant::now(), within),
            Self::At(at) => at,
        }
    }
}

/// A timer kept over many deadlines.
#[derive(Default)]
pub(crate) struct LazyTimer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whom it wakes.
    waker: Option<Waker>,
}

impl LazyTimer {
    /// Whether `at` has been reached; if not, the task is woken then, or earlier for nothing.
    pub(crate) fn poll_reached(&mut self, at: Instant, cx: &mut Context<'_>) -> bool {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        } else if !sleep.is_elapsed()
            && matches!(&self.waker, Some(known) if known.will_wake(cx.waker()))
        {
            return false;
        }
        loop {
            // A timer that is polled without budget does not take the waker.
            let taken = coop::has_budget_remaining();
            if sleep.as_mut().poll(cx).is_pending() {
                self.waker = taken.then(|| cx.waker().clone());
                return false;
            }
            if Instant::now() >= at {
                self.waker = None;
                return true;
            }
            // It fired for an earlier deadline.
            sleep.as_mut().reset(at);
        }
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

    #[tokio::test(start_paused = true)]
    async fn another_task_that_waits_is_the_one_woken() {
        let mut timer = LazyTimer::default();
        let at = Instant::now() + Duration::from_secs(3);
        let first = poll_fn(|cx| Poll::Ready(timer.poll_reached(at, cx)));
        assert!(!first.await);
        let other = tokio::spawn(async move {
            wait(&mut timer, at).await;
            Instant::now()
        });
        assert_eq!(other.await.unwrap(), at);
    }

    #[tokio::test(start_paused = true)]
    async fn a_nested_call_ends_no_later_than_the_one_it_is_made_in() {
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(9));
        assert_eq!(ReplyBy::Never.nested(short), Some(ReplyBy::Within(short)));
        assert_eq!(ReplyBy::Never.nested(Duration::ZERO), None);
        assert_eq!(
            ReplyBy::Within(short).nested(long),
            Some(ReplyBy::Within(short))
        );
        let at = ReplyBy::At(Instant::now() + short);
        assert_eq!(at.nested(long), Some(at));
        tokio::time::advance(short).await;
        assert_eq!(at.nested(long), None);
        assert_eq!(ReplyBy::Within(short).moment(), Instant::now() + short);
    }
}
