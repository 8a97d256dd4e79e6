//! The loop that empties a mailbox.
//!
//! Owns the life of one incarnation: it takes what is next, has the [`Behaviour`] handle it, and
//! goes on until it is asked to stop, is killed, or the behaviour ends. One long-lived future per
//! incarnation, woken by the mailbox; ractor dispatches once, to start it. Kill acts at every await:
//! the future that holds the Store is dropped first, then the message in hand is answered, and then
//! the [`ExitGuard`] tells the supervisor. What restarts is not decided here.

use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::FutureExt;

use crate::envelope::Envelope;
use crate::exit::ExitReason;
use crate::health::ChildHealth;
use crate::mailbox::{Control, Next};
use crate::slot::Slot;
use crate::supervisor::ExitSink;

/// Messages handled in a row before the worker thread is given to others: a yield budget, as
/// messages that find a ready callee never wait on anything tokio would count.
const MESSAGES_PER_YIELD: u32 = 64;

/// What handles messages: a component instance or a native actor. It is moved into each step and
/// comes back, or the incarnation has ended.
pub(crate) trait Behaviour: Sized + Send + 'static {
    /// Handles one message and answers it.
    fn deliver(
        self,
        envelope: Box<Envelope>,
    ) -> impl Future<Output = Result<Self, ExitReason>> + Send;

    /// Says how it is.
    fn health(self) -> impl Future<Output = Result<(Self, ChildHealth), ExitReason>> + Send;

    /// Runs its shutdown hook and ends.
    fn stop(self, reason: ExitReason) -> impl Future<Output = ()> + Send;
}

/// Sends the exit event when the incarnation is gone, however it went. It must be the last thing
/// of an incarnation to be dropped.
pub(crate) struct ExitGuard {
    slot: Arc<Slot>,
    incarnation: u64,
    sink: ExitSink,
    reason: Option<ExitReason>,
}

impl ExitGuard {
    pub(crate) fn new(slot: Arc<Slot>, incarnation: u64, sink: ExitSink) -> Self {
        Self {
            slot,
            incarnation,
            sink,
            reason: None,
        }
    }
}

impl Drop for ExitGuard {
    fn drop(&mut self) {
        // Without a reason the future was dropped from outside: ractor's kill, or the runtime's
        // end.
        let reason = self.reason.take().unwrap_or(ExitReason::Killed);
        self.slot.ended();
        self.sink.exited(&self.slot, self.incarnation, reason);
    }
}

/// Drains the mailbox of `slot` until the incarnation ends.
pub(crate) async fn drain<B: Behaviour>(behaviour: B, slot: Arc<Slot>, mut guard: ExitGuard) {
    let run = AssertUnwindSafe(run(behaviour, &slot)).catch_unwind();
    let reason = match run.await {
        Ok(reason) => reason,
        Err(panic) => ExitReason::panicked(&*panic),
    };
    guard.reason = Some(reason);
}

async fn run<B: Behaviour>(mut behaviour: B, slot: &Arc<Slot>) -> ExitReason {
    let mut handled = 0_u32;
    loop {
        match poll_fn(|cx| slot.mailbox().poll_next(slot.lane(), cx)).await {
            Next::Killed => return ExitReason::Killed,
            Next::Control(Control::Stop) => {
                let stopping = behaviour.stop(ExitReason::Shutdown);
                return match or_killed(slot, stopping).await {
                    Some(()) => ExitReason::Shutdown,
                    None => ExitReason::Killed,
                };
            }
            Next::Control(Control::Health(answer)) => {
                match or_killed(slot, behaviour.health()).await {
                    Some(Ok((back, health))) => {
                        behaviour = back;
                        // The asker may have left.
                        let _ = answer.send(health);
                    }
                    Some(Err(reason)) => return reason,
                    None => return ExitReason::Killed,
                }
            }
            Next::Message(envelope) => {
                if slot.lane().killed() {
                    put_back(slot, envelope);
                    return ExitReason::Killed;
                }
                if envelope.is_expired() {
                    expire(slot, envelope);
                    continue;
                }
                match or_killed(slot, behaviour.deliver(envelope)).await {
                    Some(Ok(back)) => behaviour = back,
                    Some(Err(reason)) => return reason,
                    None => return ExitReason::Killed,
                }
                handled += 1;
                if handled >= MESSAGES_PER_YIELD {
                    handled = 0;
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

/// Runs `step` to its end, or drops it when the lane is killed.
pub(crate) async fn or_killed<T>(slot: &Slot, step: impl Future<Output = T>) -> Option<T> {
    let mut step = pin!(step);
    poll_fn(|cx| {
        // The step first: on the usual way it is ready at once and the lane is not touched.
        if let Poll::Ready(done) = step.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        slot.lane().poll_killed(cx).map(|()| None)
    })
    .await
}

/// Taken but not begun: the next incarnation has it first.
fn put_back(slot: &Slot, envelope: Box<Envelope>) {
    if let Some(other) = slot.lane().put_back(envelope) {
        // One drain takes one message at a time, so the cell was empty.
        drop(other);
    }
}

/// Nobody waits for it any more.
fn expire(slot: &Slot, envelope: Box<Envelope>) {
    let address = slot.address().clone();
    envelope.fail(crate::error::CallError::Deadline {
        address,
        within: std::time::Duration::ZERO,
    });
}
