//! The wall-clock limit of an instance's calls.
//!
//! Owns one tokio timer per instance, made when a call first has to wait and left armed when the call ends:
//! it may stand for an earlier call than the one that waits, and then fires too early and is moved. How long
//! the present call has waited is told by the engine's ticks, so a wait reads no clock, and polls the timer
//! only if another task waits than before. After a call it may fire once, which wakes a task that has nothing
//! to do.

use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep};

/// The timer of one instance.
#[derive(Default)]
pub(super) struct WallTimer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whom it wakes.
    waker: Option<Waker>,
    /// It was armed for the call that runs now.
    own: bool,
}

impl WallTimer {
    /// The next call begins.
    pub(super) fn begin_call(&mut self) {
        self.own = false;
    }

    /// Whether the call that waits now has waited for `wall`, or for `waited` as told by ticks; if not, the
    /// task is woken then, or earlier for nothing.
    pub(super) fn poll_over(
        &mut self,
        wall: Duration,
        waited: impl Fn() -> Duration,
        cx: &mut Context<'_>,
    ) -> bool {
        loop {
            let sleep = match &mut self.sleep {
                Some(sleep) => sleep,
                none => {
                    self.own = true;
                    none.insert(Box::pin(sleep(wall)))
                }
            };
            if sleep.is_elapsed() {
                let left = wall.saturating_sub(waited());
                if self.own || left.is_zero() {
                    return true;
                }
                let now = Instant::now();
                sleep.as_mut().reset(now.checked_add(left).unwrap_or(now));
                self.own = true;
            } else if matches!(&self.waker, Some(known) if known.will_wake(cx.waker())) {
                return false;
            }
            // A timer that is polled without budget does not take the waker.
            let taken = coop::has_budget_remaining();
            if sleep.as_mut().poll(cx).is_pending() {
                self.waker = taken.then(|| cx.waker().clone());
                return false;
            }
            self.waker = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;

    const WALL: Duration = Duration::from_secs(10);

    async fn wait(timer: &mut WallTimer, waited: impl Fn() -> Duration) {
        poll_fn(|cx| {
            if timer.poll_over(WALL, &waited, cx) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_call_that_waits_ends_at_its_limit() {
        let start = Instant::now();
        wait(&mut WallTimer::default(), || Duration::ZERO).await;
        assert_eq!(Instant::now() - start, WALL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_call_is_not_ended_by_the_timer_of_an_earlier_one() {
        let mut timer = WallTimer::default();
        let first = poll_fn(|cx| Poll::Ready(timer.poll_over(WALL, || Duration::ZERO, cx)));
        assert!(!first.await);
        tokio::time::advance(Duration::from_secs(7)).await;
        timer.begin_call();
        let start = Instant::now();
        wait(&mut timer, || start.elapsed()).await;
        assert_eq!(start.elapsed(), WALL);
    }
}
