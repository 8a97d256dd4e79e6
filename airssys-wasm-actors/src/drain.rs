//! The loop that empties a mailbox.
//!
//! Owns the life of one incarnation: it takes what is next, has the [`Behaviour`] handle it, and
//! goes on until it is asked to stop, is killed, or the behaviour ends. One long-lived future per
//! incarnation, woken by the mailbox; ractor dispatches once, to start it. Kill acts at every await:
//! the future that holds the Store is dropped first, then the message in hand is answered, and then
//! the [`ExitGuard`] tells the supervisor. What restarts is not decided here.

use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;

use crate::envelope::Envelope;
use crate::exit::ExitReason;
use crate::health::ChildHealth;
use crate::mailbox::{Control, Next};
use crate::resting::{Reclaimed, Resting, Step};
use crate::signal::Signal;
use crate::slot::Slot;
use crate::supervisor::ExitSink;
use crate::upgrade::{NotReplaced, Replacement};

/// Messages handled in a row before the worker thread is given to others: a yield budget, as
/// messages that find a ready callee never wait on anything tokio would count.
pub(crate) const MESSAGES_PER_YIELD: u32 = 64;

/// What handles messages: a component instance or a native actor. It is moved into each step and
/// comes back, or the incarnation has ended.
pub(crate) trait Behaviour: Sized + Send + 'static {
    /// Handles one message and answers it.
    fn deliver(
        self,
        envelope: Box<Envelope>,
    ) -> impl Future<Output = Result<Self, ExitReason>> + Send;

    /// Where it lies while there is nothing to do, if callers may find it there; else it stays with the
    /// drain.
    fn place(_slot: &Slot) -> Option<&Resting<Self>> {
        None
    }

    /// Is told of another actor's end.
    fn signal(self, signal: Signal) -> impl Future<Output = Result<Self, ExitReason>> + Send;

    /// Destroys the resources nobody holds any more.
    fn release(self) -> impl Future<Output = Result<Self, ExitReason>> + Send {
        async { Ok(self) }
    }

    /// Gives up what it can make again.
    fn passivate(self) -> impl Future<Output = Result<Self, ExitReason>> + Send {
        std::future::ready(Ok(self))
    }

    /// Whether callers may find it at its place. Not without an instance: what wakes it has to be able to go
    /// back to the mailbox.
    fn rests(&self) -> bool {
        true
    }

    /// How many calls it has taken and still owes answers to.
    fn owes(&self) -> usize {
        0
    }

    /// Has another revision take its place, if it can.
    #[expect(clippy::boxed_local, reason = "whoever can be replaced passes it on")]
    fn replace(
        self,
        replacement: Box<Replacement>,
    ) -> impl Future<Output = Result<Self, ExitReason>> + Send {
        replacement.refuse(NotReplaced::NotComponent);
        std::future::ready(Ok(self))
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
        let dropped = self.reason.is_none() && !self.slot.lane().killed();
        let reason = self.reason.take().unwrap_or(ExitReason::Killed);
        let reason = self.slot.ended(reason);
        self.sink
            .exited(&self.slot, self.incarnation, reason, dropped);
    }
}

/// What an incarnation of `B` still has to answer for: dropped last, whichever way it ends.
pub(crate) struct Lease<B: Behaviour> {
    slot: Arc<Slot>,
    guard: Option<ExitGuard>,
    of: PhantomData<fn() -> B>,
}

impl<B: Behaviour> Drop for Lease<B> {
    fn drop(&mut self) {
        if let Some(guard) = self.guard.take()
            && let Some(place) = B::place(&self.slot)
        {
            place.leave(guard);
        }
    }
}

impl<B: Behaviour> Lease<B> {
    pub(crate) fn new(guard: ExitGuard) -> Self {
        Self {
            slot: Arc::clone(&guard.slot),
            guard: Some(guard),
            of: PhantomData,
        }
    }
}

/// Lays `behaviour` down where callers find it, with its lane idle, or gives it back to stay with the drain.
pub(crate) fn park<B: Behaviour>(behaviour: B, slot: &Slot) -> Option<B> {
    match B::place(slot) {
        Some(place) if slot.rests() && behaviour.rests() => {
            place.park(behaviour, slot.lane());
            None
        }
        _ => Some(behaviour),
    }
}

/// Drains the mailbox of `slot` until the incarnation ends. Without `held`, the behaviour has been
/// parked before.
pub(crate) async fn drain<B: Behaviour>(held: Option<B>, slot: Arc<Slot>, mut lease: Lease<B>) {
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
                let reclaim = |place: &Resting<B>| place.reclaim(slot.lane());
                match B::place(slot).map_or(Reclaimed::Away, reclaim) {
                    Reclaimed::Whole(behaviour) => behaviour,
                    Reclaimed::Running(step) => return Poll::Ready(Turn::Adopt(step)),
                    Reclaimed::Ended(reason) => return Poll::Ready(Turn::Ended(reason)),
                    Reclaimed::Away => return Poll::Pending,
                }
            }
        };
        if let Some(next) = slot.take_next() {
            return Poll::Ready(Turn::Next(behaviour, next));
        }
        slot.lane().watch(cx);
        *held = park(behaviour, slot);
        if held.is_some() {
            slot.lane().idle();
        }
        if slot.settle() {
            return Poll::Pending;
        }
    }
}

async fn run<B: Behaviour>(mut held: Option<B>, slot: &Arc<Slot>) -> ExitReason {
    let mut handled = 0_u32;
    loop {
        let turn = poll_fn(|cx| poll_turn(&mut held, slot, cx)).await;
        // In a box of its own, made when there is work: an idle actor, of which there are very many, is as
        // small as its wait. The box serves until the mailbox is empty. What is not a message has boxes of its own
        // in it, so that this one stays of a size that allocators have at hand.
        match Box::pin(work(turn, slot, &mut handled)).await {
            Ok(behaviour) => held = Some(behaviour),
            Err(reason) => return reason,
        }
    }
}

/// Runs a step to its end, or drops it when the lane is killed. A macro, because an `async fn` would have the step
/// twice: as its argument, and where it is pinned.
macro_rules! or_killed {
    ($slot:expr, $step:expr) => {{
        let mut step = pin!($step);
        poll_fn(|cx| poll_or_killed($slot, step.as_mut(), cx)).await
    }};
}

/// Does what has come, and what has come meanwhile, until there is nothing more.
async fn work<B: Behaviour>(
    mut turn: Turn<B>,
    slot: &Arc<Slot>,
    handled: &mut u32,
) -> Result<B, ExitReason> {
    loop {
        let step = match turn {
            Turn::Ended(reason) => return Err(reason),
            Turn::Adopt(step) => or_killed!(slot, step),
            Turn::Next(_, Next::Killed) => return Err(ExitReason::Killed),
            Turn::Next(behaviour, Next::Control(Control::Stop)) => {
                let stopping = Box::pin(behaviour.stop(ExitReason::Shutdown));
                return Err(or_killed!(slot, stopping).unwrap_or(ExitReason::Killed));
            }
            Turn::Next(behaviour, Next::Control(Control::Health(answer))) => {
                slot.lane().asks(true);
                let asked = or_killed!(slot, Box::pin(behaviour.health()));
                slot.lane().asks(false);
                asked.map(|asked| {
                    asked.map(|(behaviour, health)| {
                        // The asker may have left.
                        let _ = answer.send(health);
                        behaviour
                    })
                })
            }
            Turn::Next(behaviour, Next::Control(Control::Release)) => {
                or_killed!(slot, Box::pin(behaviour.release()))
            }
            Turn::Next(behaviour, Next::Control(Control::Passivate)) => {
                or_killed!(slot, Box::pin(behaviour.passivate()))
            }
            Turn::Next(behaviour, Next::Control(Control::Owes(answer))) => {
                // The asker may have left.
                let _ = answer.send(behaviour.owes());
                Some(Ok(behaviour))
            }
            Turn::Next(behaviour, Next::Control(Control::Replace(replacement))) => {
                or_killed!(slot, Box::pin(behaviour.replace(replacement)))
            }
            Turn::Next(behaviour, Next::Message(mut envelope)) => {
                if slot.lane().killed() {
                    slot.put_back(envelope);
                    return Err(ExitReason::Killed);
                }
                if !envelope.claim() || envelope.is_expired() {
                    expire(slot, envelope);
                    Some(Ok(behaviour))
                } else {
                    match envelope.take_posted() {
                        None => or_killed!(slot, behaviour.deliver(envelope)),
                        Some(posted) => match slot.receive(*posted) {
                            Some(signal) => or_killed!(slot, Box::pin(behaviour.signal(signal))),
                            None => Some(Ok(behaviour)),
                        },
                    }
                }
            }
        };
        let behaviour = step.unwrap_or(Err(ExitReason::Killed))?;
        *handled += 1;
        if *handled >= MESSAGES_PER_YIELD {
            *handled = 0;
            tokio::task::yield_now().await;
        }
        match slot.take_next() {
            Some(next) => turn = Turn::Next(behaviour, next),
            None => return Ok(behaviour),
        }
    }
}

/// Runs `step` to its end, or drops it when the lane is killed.
pub(crate) async fn or_killed<T>(slot: &Slot, step: impl Future<Output = T>) -> Option<T> {
    or_killed!(slot, step)
}

fn poll_or_killed<T>(
    slot: &Slot,
    step: Pin<&mut impl Future<Output = T>>,
    cx: &mut Context<'_>,
) -> Poll<Option<T>> {
    // The step first: on the usual way it is ready at once and the lane is not touched.
    if let Poll::Ready(done) = step.poll(cx) {
        return Poll::Ready(Some(done));
    }
    slot.lane().poll_killed(cx).map(|()| None)
}

/// Nobody waits for it any more.
fn expire(slot: &Slot, envelope: Box<Envelope>) {
    let address = slot.address().clone();
    envelope.fail(crate::error::CallError::Deadline {
        address,
        within: std::time::Duration::ZERO,
    });
}
