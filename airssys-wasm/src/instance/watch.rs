//! Watching a running guest: wall clock, kills, panics of host functions.
//!
//! Wraps the future of a call without allocating. The road on which the guest answers at its first poll does
//! nothing but one look at the kill flag; the timer is armed when the first poll was pending, so it measures
//! waiting. (What a guest computes before that is bounded by its CPU limit.) Every poll is inside a
//! `catch_unwind`, and so is the drop of an unfinished call, because both run host functions' code.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::engine::ticker::TickCount;
use crate::host::control::Control;

pub(super) enum Ended<T> {
    Returned(T),
    Timeout,
    Killed,
    Panicked(String),
}

pub(super) struct Watch<'a> {
    pub(super) control: &'a Control,
    pub(super) ticks: &'a TickCount,
    pub(super) wall: Duration,
}

/// An unfinished call whose drop cannot panic.
struct Quiet<'a, F>(Pin<&'a mut Option<F>>);

impl<F> Quiet<'_, F> {
    /// Drops the call; returns what its host functions' drops panicked with.
    fn end(&mut self) -> Result<(), String> {
        catch_unwind(AssertUnwindSafe(|| self.0.set(None))).map_err(|payload| panic_text(&*payload))
    }
}

impl<F> Drop for Quiet<'_, F> {
    fn drop(&mut self) {
        if self.0.is_some()
            && let Err(message) = self.end()
        {
            tracing::error!(%message, "a host function panicked while its call was dropped");
        }
    }
}

impl Watch<'_> {
    pub(super) async fn run<F: Future>(
        &self,
        call: F,
        timer: &mut Option<Pin<Box<Sleep>>>,
    ) -> Ended<F::Output> {
        let call = pin!(Some(call));
        let mut call = Quiet(call);
        if self.control.is_killed() {
            return Ended::Killed;
        }
        let mut waited = false;
        poll_fn(|cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| {
                self.poll(&mut call, cx, timer, &mut waited)
            }));
            let ended = match polled {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(ended)) => ended,
                Err(payload) => Ended::Panicked(panic_text(&*payload)),
            };
            // A suspended fiber is unwound here, before the Store is looked at again.
            Poll::Ready(match call.end() {
                Ok(()) => ended,
                Err(message) => Ended::Panicked(message),
            })
        })
        .await
    }

    fn poll<F: Future>(
        &self,
        call: &mut Quiet<'_, F>,
        cx: &mut Context<'_>,
        timer: &mut Option<Pin<Box<Sleep>>>,
        waited: &mut bool,
    ) -> Poll<Ended<F::Output>> {
        if *waited {
            if self.control.is_killed() {
                return Poll::Ready(Ended::Killed);
            }
            // The ticks that passed while the guest waited are not its own.
            self.control.resume(self.ticks.now());
        }
        let Some(running) = call.0.as_mut().as_pin_mut() else {
            return Poll::Ready(Ended::Killed);
        };
        if let Poll::Ready(output) = running.poll(cx) {
            return Poll::Ready(Ended::Returned(output));
        }
        self.control.wait(cx.waker());
        if self.control.is_killed() {
            return Poll::Ready(Ended::Killed);
        }
        let timer = match timer {
            Some(timer) => {
                if !*waited {
                    let now = Instant::now();
                    timer
                        .as_mut()
                        .reset(now.checked_add(self.wall).unwrap_or(now));
                }
                timer
            }
            None => timer.insert(Box::pin(sleep(self.wall))),
        };
        *waited = true;
        timer.as_mut().poll(cx).map(|()| Ended::Timeout)
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
