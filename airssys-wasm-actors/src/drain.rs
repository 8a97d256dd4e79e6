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
use std::task::{Context, Poll};

use futures_util::FutureExt;

use crate::envelope::Envelope;
use crate::exit::ExitReason;
use crate::health::ChildHealth;
use crate::mailbox::{Control, Next};
use crate::resting::{Reclaimed, Step};
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

    /// Lies down where callers find it, while there is nothing to do; or stays with the drain.
    fn park(self, _slot: &Slot) -> Option<Self> {
        Some(self)
    }

    /// Gets up again. Only asked after [`Behaviour::park`] took it.
    fn reclaim(_slot: &Slot) -> Reclaimed<Self> {
        Reclaimed::Away
    }

    /// Says how it is.
    fn health(self) -> impl Future<Output = Result<(Self, ChildHealth), ExitReason>> + Send;

    /// Runs its shutdown hook and ends; says with which reason, `reason` unless the hook failed.
    fn stop(self, reason: ExitReason) -> impl Future<Output = ExitReason> + Send;
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

/// What an incarnation still has to answer for: dropped last, whichever way it ends.
pub(crate) struct Lease {
    slot: Arc<Slot>,
    guard: Option<ExitGuard>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(guard) = self.guard.take() {
            self.slot.resting().leave(guard);
        }
    }
}

impl Lease {
    pub(crate) fn new(guard: ExitGuard) -> Self {
        Self {
            slot: Arc::clone(&guard.slot),
            guard: Some(guard),
        }
    }
}

/// Drains the mailbox of `slot` until the incarnation ends. Without `held`, the behaviour has been
/// parked before.
pub(crate) async fn drain<B: Behaviour>(held: Option<B>, slot: Arc<Slot>, mut lease: Lease) {
    let run = AssertUnwindSafe(run(held, &slot)).catch_unwind();
    let reason = match run.await {
        Ok(reason) => reason,
        Err(panic) => ExitReason::panicked(&*panic),
    };
    if let Some(guard) = &mut lease.guard {
        guard.reason = Some(reason);
    }
}

/// What comes next for a drain that has its behaviour in hand.
enum Turn<B> {
    Next(B, Next),
    /// A caller began this message; it is to be polled on, at once.
    Adopt(Step<B>),
    Ended(ExitReason),
}

fn poll_turn<B: Behaviour>(
    held: &mut Option<B>,
    slot: &Slot,
    cx: &mut Context<'_>,
) -> Poll<Turn<B>> {
    loop {
        slot.lane().busy();
        let behaviour = match held.take() {
            Some(behaviour) => behaviour,
            None => {
                // Registered first: whoever puts it back afterwards finds whom to wake.
                slot.lane().watch(cx);
                match B::reclaim(slot) {
                    Reclaimed::Whole(behaviour) => {
                        // Whoever put it back may have made the lane idle since.
                        slot.lane().busy();
                        behaviour
                    }
                    Reclaimed::Running(step) => return Poll::Ready(Turn::Adopt(step)),
                    Reclaimed::Ended(reason) => return Poll::Ready(Turn::Ended(reason)),
                    Reclaimed::Away => return Poll::Pending,
                }
            }
        };
        if let Some(next) = slot.mailbox().take_next(slot.lane()) {
            return Poll::Ready(Turn::Next(behaviour, next));
        }
        slot.lane().watch(cx);
        *held = behaviour.park(slot);
        if slot.mailbox().settle(slot.lane()) {
            return Poll::Pending;
        }
    }
}

async fn run<B: Behaviour>(mut held: Option<B>, slot: &Arc<Slot>) -> ExitReason {
    let mut handled = 0_u32;
    loop {
        let step = match poll_fn(|cx| poll_turn(&mut held, slot, cx)).await {
            Turn::Ended(reason) => return reason,
            Turn::Adopt(step) => or_killed(slot, step).await,
            Turn::Next(_, Next::Killed) => return ExitReason::Killed,
            Turn::Next(behaviour, Next::Control(Control::Stop)) => {
                let stopping = behaviour.stop(ExitReason::Shutdown);
                return or_killed(slot, stopping)
                    .await
                    .unwrap_or(ExitReason::Killed);
            }
            Turn::Next(behaviour, Next::Control(Control::Health(answer))) => {
                let asked = or_killed(slot, behaviour.health()).await;
                asked.map(|asked| {
                    asked.map(|(behaviour, health)| {
                        // The asker may have left.
                        let _ = answer.send(health);
                        behaviour
                    })
                })
            }
            Turn::Next(behaviour, Next::Message(envelope)) => {
                if slot.lane().killed() {
                    put_back(slot, envelope);
                    return ExitReason::Killed;
                }
                if envelope.is_expired() {
                    expire(slot, envelope);
                    held = Some(behaviour);
                    continue;
                }
                or_killed(slot, behaviour.deliver(envelope)).await
            }
        };
        match step {
            Some(Ok(behaviour)) => held = Some(behaviour),
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
