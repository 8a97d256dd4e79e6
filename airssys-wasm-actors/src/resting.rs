//! The short road: where a resting actor's instance lies, for whoever comes first.
//!
//! Owns [`Resting`], one per slot. When a component actor has nothing to do, its drain parks the behaviour
//! here and sleeps. A caller that wins the idle → busy edge may take it and run one message in its own task,
//! which saves the two scheduler hops that cost more than the message. The rules that keep every promise:
//!
//! - Taking is the same move the drain makes, so there is one owner at a time; order is the mailbox's,
//!   because only an idle actor with an empty queue is taken from.
//! - The call is polled once. If it has to wait, or the guest's time slice is over, the *running* call is
//!   handed to the callee's own actor, which adopts it and polls it at once. The caller then waits as for
//!   any message, and whatever becomes of the caller does not touch the callee.
//! - The callee's drain stays the owner of record: it is not over before what was taken is back, so its exit
//!   event still comes after the Store is gone. If the drain itself is dropped meanwhile, its exit guard is
//!   left here for the taker to drop last.
//! - A caller's own budget with the scheduler bounds how often in a row it may take this road.
//!
//! Native actors do not rest here: their handlers are foreign code that may block.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::task::coop;

use crate::component::ComponentBehaviour;
use crate::drain::{Behaviour, ExitGuard};
use crate::envelope::Envelope;
use crate::exit::ExitReason;
use crate::mailbox::Lane;
use crate::slot::Slot;

/// Calls taken inside one another on one thread: each is on a fiber's stack of its own, but the polls of
/// their hosts are nested.
const NESTED_MAX: u32 = 8;

/// A call that has begun and has to be polled on.
pub(crate) type Step<B> = Pin<Box<dyn Future<Output = Result<B, ExitReason>> + Send>>;

/// What a drain finds when it looks for its behaviour.
pub(crate) enum Reclaimed<B> {
    /// It is back, or was never away.
    Whole(B),
    /// A call in it is under way, and is the drain's from now on.
    Running(Step<B>),
    /// It has ended in the hands of a caller.
    Ended(ExitReason),
    /// A caller has it; whoever puts it back wakes the drain if there is something to do.
    Away,
}

#[derive(Default)]
enum State {
    /// The drain has it, or nobody drains.
    #[default]
    Empty,
    Parked(ComponentBehaviour),
    Taken,
    Running(Step<ComponentBehaviour>),
    Ended(ExitReason),
    /// Taken, and the drain is gone: its guard is dropped when the behaviour is.
    Orphaned(ExitGuard),
}

/// The place of one slot.
#[derive(Default)]
pub(crate) struct Resting(Mutex<State>);

impl Resting {
    /// The drain lies down.
    pub(crate) fn park(&self, behaviour: ComponentBehaviour) {
        *self.0.lock() = State::Parked(behaviour);
    }

    /// The drain looks for what it parked.
    pub(crate) fn reclaim(&self) -> Reclaimed<ComponentBehaviour> {
        let mut state = self.0.lock();
        match std::mem::take(&mut *state) {
            State::Parked(behaviour) => Reclaimed::Whole(behaviour),
            State::Running(step) => Reclaimed::Running(step),
            State::Ended(reason) => Reclaimed::Ended(reason),
            away @ (State::Taken | State::Empty | State::Orphaned(_)) => {
                *state = away;
                Reclaimed::Away
            }
        }
    }

    /// The drain is over, whichever way: what rests here is dropped, and then its guard.
    pub(crate) fn leave(&self, guard: ExitGuard) {
        let left = {
            let mut state = self.0.lock();
            if matches!(*state, State::Taken) {
                *state = State::Orphaned(guard);
                return;
            }
            std::mem::take(&mut *state)
        };
        drop(left);
        drop(guard);
    }

    fn take(&self) -> Option<ComponentBehaviour> {
        let mut state = self.0.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Parked(behaviour) => Some(behaviour),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Puts back what was taken, in whichever condition. A behaviour that is whole makes its lane
    /// idle in the same breath, so that a drain that takes it up at once is not seen as idle.
    fn put_back(&self, back: State, lane: &Lane) {
        let (dropped, guard) = {
            let mut state = self.0.lock();
            match std::mem::take(&mut *state) {
                State::Orphaned(guard) => (Some(back), Some(guard)),
                _ => {
                    if matches!(back, State::Parked(_)) {
                        lane.idle();
                    }
                    *state = back;
                    (None, None)
                }
            }
        };
        drop(dropped);
        drop(guard);
    }
}

thread_local! {
    static NESTED: Cell<u32> = const { Cell::new(0) };
}

/// One level of nesting.
struct Nested;

impl Nested {
    fn enter() -> Option<Self> {
        NESTED.with(|nested| {
            let level = nested.get();
            (level < NESTED_MAX).then(|| {
                nested.set(level + 1);
                Self
            })
        })
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        NESTED.with(|nested| nested.set(nested.get().saturating_sub(1)));
    }
}

/// Has the target handle `envelope` now, in this task, if it rests; gives the envelope back otherwise.
pub(crate) fn run_now(
    target: &Arc<Slot>,
    envelope: Box<Envelope>,
    cx: &mut Context<'_>,
) -> Result<(), Box<Envelope>> {
    if !target.rests() || !target.lane().is_idle() {
        return Err(envelope);
    }
    let Some(_nested) = Nested::enter() else {
        return Err(envelope);
    };
    // Without budget this task has run for long enough: by the mailbox, others get their turn.
    if !coop::has_budget_remaining() {
        return Err(envelope);
    }
    let mut envelope = target.mailbox().permit_now(envelope)?;
    if !target.lane().win() {
        envelope.release();
        return Err(envelope);
    }
    // What is queued came first, perhaps from this very caller.
    if target.lane().has_own_work() || target.mailbox().has_queued() {
        target.lane().wake();
        envelope.release();
        return Err(envelope);
    }
    let Some(behaviour) = target.resting().take() else {
        // It woke by itself in between; it looks at its mailbox before it lies down again.
        target.lane().wake();
        envelope.release();
        return Err(envelope);
    };
    if let Poll::Ready(spent) = coop::poll_proceed(cx) {
        spent.made_progress();
    }
    let mut step: Step<ComponentBehaviour> = Box::pin(behaviour.deliver(envelope));
    match catch_unwind(AssertUnwindSafe(|| step.as_mut().poll(cx))) {
        Ok(Poll::Ready(Ok(behaviour))) => {
            target
                .resting()
                .put_back(State::Parked(behaviour), target.lane());
            target.mailbox().settle_for(target.lane());
        }
        Ok(Poll::Ready(Err(reason))) => {
            target
                .resting()
                .put_back(State::Ended(reason), target.lane());
            target.lane().wake();
        }
        Ok(Poll::Pending) => {
            target
                .resting()
                .put_back(State::Running(step), target.lane());
            target.lane().wake();
        }
        Err(panic) => {
            let reason = ExitReason::panicked(&*panic);
            // What is left of the call is foreign code too.
            if catch_unwind(AssertUnwindSafe(|| drop(step))).is_err() {
                tracing::error!(address = %target.address(), "a call panicked while it was dropped");
            }
            target
                .resting()
                .put_back(State::Ended(reason), target.lane());
            target.lane().wake();
        }
    }
    Ok(())
}
