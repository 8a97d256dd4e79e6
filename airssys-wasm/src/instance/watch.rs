//! Watching a running guest: wall clock, kills, panics of host functions.
//!
//! Wraps the future of a call without allocating. The road on which the guest answers at its first poll does
//! nothing but one look at the kill flag; the timer is armed when the first poll was pending, so it measures
//! waiting. (What a guest computes before that is bounded by its CPU limit.) Every poll is inside a
//! `catch_unwind`, and so is the drop of an unfinished call, because both run host functions' code.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::wall::WallTimer;
use crate::engine::ticker::TickCount;
use crate::host::control::Control;

pub(super) enum Ended<T> {
    Returned(T),
    Timeout,
    Killed,
    Panicked(String),
}

/// A call under watch. Borrows the call from its caller's frame: a call's future is some hundred bytes, and
/// moving it shows in the time of a small call.
pub(super) struct Watch<'a, F> {
    pub(super) call: Pin<&'a mut Option<F>>,
    pub(super) control: &'a Control,
    pub(super) ticks: &'a TickCount,
    pub(super) tick: Duration,
    pub(super) wall: Duration,
    pub(super) timer: &'a mut WallTimer,
    /// The tick at which the call first had to wait.
    pub(super) waits_since: Option<u64>,
}

impl<F: Future> Future for Watch<'_, F> {
    type Output = Ended<F::Output>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let ended = match catch_unwind(AssertUnwindSafe(|| this.poll_call(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(ended)) => ended,
            Err(payload) => Ended::Panicked(panic_text(&*payload)),
        };
        // A suspended fiber is unwound here, before the Store is looked at again.
        Poll::Ready(match this.end() {
            Ok(()) => ended,
            Err(message) => Ended::Panicked(message),
        })
    }
}

impl<F: Future> Watch<'_, F> {
    #[inline]
    fn poll_call(&mut self, cx: &mut Context<'_>) -> Poll<Ended<F::Output>> {
        if self.control.is_killed() {
            return Poll::Ready(Ended::Killed);
        }
        if self.waits_since.is_some() {
            // The ticks that passed while the guest waited are not its own.
            self.control.resume(self.ticks.now());
        }
        let Some(running) = self.call.as_mut().as_pin_mut() else {
            return Poll::Ready(Ended::Killed);
        };
        match running.poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ended::Returned(output)),
            Poll::Pending => self.wait(cx),
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Ended<F::Output>> {
        self.control.wait(cx.waker());
        if self.control.is_killed() {
            return Poll::Ready(Ended::Killed);
        }
        let (ticks, tick) = (self.ticks, self.tick);
        let since = *self.waits_since.get_or_insert_with(|| ticks.now());
        let waited = || {
            let ticks = ticks.now().saturating_sub(since);
            tick.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
        };
        if self.timer.poll_over(self.wall, waited, cx) {
            Poll::Ready(Ended::Timeout)
        } else {
            Poll::Pending
        }
    }
}

impl<F> Watch<'_, F> {
    /// Drops the call; returns what its host functions' drops panicked with.
    #[inline]
    fn end(&mut self) -> Result<(), String> {
        catch_unwind(AssertUnwindSafe(|| self.call.set(None)))
            .map_err(|payload| panic_text(&*payload))
    }
}

impl<F> Drop for Watch<'_, F> {
    fn drop(&mut self) {
        if self.call.is_some()
            && let Err(message) = self.end()
        {
            tracing::error!(%message, "a host function panicked while its call was dropped");
        }
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
