//! The short road: where a resting actor's instance lies, for whoever comes first.
//!
//! Owns [`Resting`], one per slot. When a component actor has nothing to do, its drain parks the behaviour
//! here and sleeps. A caller that wins the idle → busy edge may take it and run one message in its own task,
//! which saves the two scheduler hops that cost more than the message. The rules that keep every promise:
//!
//! - Taking is the same move the drain makes, so there is one owner at a time; order is the mailbox's,
//!   because only an idle actor with an empty queue is taken from. Where a behaviour lies and whether its lane is idle
//!   change together, under one lock: a lane whose behaviour somebody has is never idle.
//! - The call is polled once. If it has to wait, or the guest's time slice is over, the *running* call is
//!   handed to the callee's own actor, which adopts it and polls it at once. The caller then waits as for
//!   any message, and whatever becomes of the caller does not touch the callee.
//! - The callee's drain stays the owner of record: it is not over before what was taken is back, so its exit
//!   event still comes after the Store is gone. If the drain itself is dropped meanwhile, its exit guard is
//!   left here for the taker to drop last.
//! - A caller's own budget with the scheduler bounds how often in a row it may take this road.
//!
//! Native actors do not rest here: their handlers are foreign code that may block.

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use airssys_wasm::{Args, ExportId};
use tokio::task::coop;
use tokio::time::Instant;

use crate::crashes::Given;
use crate::deadline::ReplyBy;
use crate::drain::{Behaviour, ExitGuard};
use crate::envelope::{CallContext, Envelope};
use crate::error::CallError;
use crate::exit::ExitReason;
use crate::mailbox::{Lane, Members};
use crate::reply::{Answer, InPlace, ReplyCell};
use crate::slot::Slot;
use crate::sync::{AtomicBool, Mutex, Ordering};

/// Calls taken inside one another on one thread: each is on a fiber's stack of its own, but the polls of
/// their hosts are nested.
const NESTED_MAX: u32 = 8;

/// What a caller may find at rest and run.
pub(crate) trait AtRest: Behaviour {
    /// Runs one call: the answer, and what is left.
    fn call(
        self,
        export: ExportId,
        args: Args,
        context: CallContext,
        given: Given,
    ) -> impl Future<Output = (Answer, Result<Self, ExitReason>)> + Send;
}

/// A call that its caller has begun.
type Running<B> = Pin<Box<dyn Future<Output = (Answer, Result<B, ExitReason>)> + Send>>;

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
enum State<B> {
    /// The drain has it, or nobody drains.
    #[default]
    Empty,
    Parked(B),
    Taken,
    Running(Step<B>),
    Ended(ExitReason),
    /// Taken, and the drain is gone: its guard is dropped when the behaviour is.
    Orphaned(ExitGuard),
}

/// The place of one slot.
pub(crate) struct Resting<B> {
    state: Mutex<State<B>>,
    /// Until when the caller of the message in hand waits, if that was found out after it had begun.
    reply_by: Mutex<Option<Instant>>,
    reply_by_known: AtomicBool,
}

impl<B> Default for Resting<B> {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            reply_by: Mutex::default(),
            reply_by_known: AtomicBool::new(false),
        }
    }
}

impl<B> Resting<B> {
    /// The message in hand has to wait, and its caller waits until `at`: what the guest calls from now on
    /// inherits that.
    fn waited_for_until(&self, at: Instant) {
        *self.reply_by.lock() = Some(at);
        self.reply_by_known.store(true, Ordering::Release);
    }

    /// Until when the caller of the message in hand waits: as its context said when it `began`, or as was
    /// found out since.
    pub(crate) fn reply_by(&self, began: ReplyBy) -> ReplyBy {
        match began {
            ReplyBy::Within(_) if self.reply_by_known.load(Ordering::Acquire) => {
                self.reply_by.lock().map_or(began, ReplyBy::At)
            }
            began => began,
        }
    }

    /// The next message is in hand.
    pub(crate) fn begin(&self) {
        if self.reply_by_known.load(Ordering::Relaxed) {
            self.reply_by_known.store(false, Ordering::Relaxed);
        }
    }
}

impl<B: Behaviour> Resting<B> {
    /// The drain lies down, and its lane is idle; [`Slot::settle`] must follow.
    pub(crate) fn park(&self, behaviour: B, lane: &Lane) {
        let mut state = self.state.lock();
        *state = State::Parked(behaviour);
        lane.idle();
    }

    /// The drain looks for what it parked.
    pub(crate) fn reclaim(&self, lane: &Lane) -> Reclaimed<B> {
        let mut state = self.state.lock();
        match std::mem::take(&mut *state) {
            State::Parked(behaviour) => {
                // Whoever put it back may have made the lane idle since the drain began to look.
                lane.busy();
                Reclaimed::Whole(behaviour)
            }
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
            let mut state = self.state.lock();
            if matches!(*state, State::Taken) {
                *state = State::Orphaned(guard);
                return;
            }
            std::mem::take(&mut *state)
        };
        drop(left);
        drop(guard);
    }

    fn take(&self, lane: &Lane) -> Option<B> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Parked(behaviour) => {
                // The drain may have lain down again since the edge was won.
                lane.busy();
                Some(behaviour)
            }
            other => {
                *state = other;
                None
            }
        }
    }

    /// Puts back what was taken, in whichever condition. A behaviour that is whole makes its lane
    /// idle in the same breath, so that a drain that takes it up at once is not seen as idle.
    fn put_back(&self, back: State<B>, lane: &Lane) {
        let (dropped, guard) = {
            let mut state = self.state.lock();
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

/// A call that its caller could not end, and where the answer goes. What runs is dropped before the message
/// is answered.
struct HandedOver<B> {
    running: Running<B>,
    envelope: Option<Box<Envelope>>,
}

impl<B> Future for HandedOver<B> {
    type Output = Result<B, ExitReason>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (answer, after) = ready!(self.running.as_mut().poll(cx));
        if let Some(envelope) = self.envelope.take() {
            envelope.finish(answer);
        }
        Poll::Ready(after)
    }
}

/// A call that may be run by its caller, all but its arguments.
pub(crate) struct Direct<'a> {
    pub(crate) target: &'a Arc<Slot>,
    /// The calling actor; `None` for a task of the host.
    pub(crate) caller: Option<&'a Arc<Slot>>,
    pub(crate) export: ExportId,
    pub(crate) context: CallContext,
    /// The caller's, if it has one for all its calls.
    pub(crate) cell: Option<&'a Arc<ReplyCell>>,
}

/// What became of it.
pub(crate) enum Tried {
    /// Not here and now: by the mailbox. The arguments are where they were.
    No,
    /// It has ended. A reply is counted, an error is not.
    Ended(InPlace),
    /// It has to wait, and is the callee's own from now on; the answer comes to the cell.
    HandedOver {
        cell: Arc<ReplyCell>,
        reply_by: Instant,
    },
}

/// Runs a call in this task, if its target rests, until it has to wait.
pub(crate) fn run_now(call: &Direct<'_>, args: &mut Args, cx: &mut Context<'_>) -> Tried {
    match call.target.replicas() {
        None => run_from(call.target.resting(), call, args, cx),
        Some(replicas) => run_by_any(&replicas, call, args, cx),
    }
}

/// The same by the first of these replicas that rests.
fn run_by_any(
    replicas: &Members,
    call: &Direct<'_>,
    args: &mut Args,
    cx: &mut Context<'_>,
) -> Tried {
    for member in replicas.iter() {
        if member.lane.is_idle()
            && !member.lane.is_out()
            && let Some(replica) = member.slot.upgrade()
        {
            match run_by(&replica, replica.resting(), call, args, cx) {
                Tried::No => {}
                tried => return tried,
            }
        }
    }
    Tried::No
}

/// The same for what lies in `place`.
pub(crate) fn run_from<B: AtRest>(
    place: &Resting<B>,
    call: &Direct<'_>,
    args: &mut Args,
    cx: &mut Context<'_>,
) -> Tried {
    run_by(call.target, place, call, args, cx)
}

/// The same by `runner`, which is the target or one of its replicas.
fn run_by<B: AtRest>(
    runner: &Slot,
    place: &Resting<B>,
    call: &Direct<'_>,
    args: &mut Args,
    cx: &mut Context<'_>,
) -> Tried {
    let target = call.target;
    if !runner.rests() || !runner.lane().is_idle() {
        return Tried::No;
    }
    let Some(_nested) = Nested::enter() else {
        return Tried::No;
    };
    // Without budget this task has run for long enough: by the mailbox, others get their turn.
    if !coop::has_budget_remaining() {
        return Tried::No;
    }
    let Some(units) = target.mailbox().would_take(args) else {
        return Tried::No;
    };
    if !runner.lane().win() {
        return Tried::No;
    }
    // What is queued came first, perhaps from this very caller.
    if runner.lane().has_own_work() || runner.has_queued() {
        runner.lane().wake();
        return Tried::No;
    }
    let Some(behaviour) = place.take(runner.lane()) else {
        // It woke by itself in between; it looks at its mailbox before it lies down again.
        runner.lane().wake();
        return Tried::No;
    };
    if let Poll::Ready(spent) = coop::poll_proceed(cx) {
        spent.made_progress();
    }
    let alone = runner.id() == target.id();
    if !alone && let Some(caller) = call.caller {
        caller.edge().point_at(runner.id());
    }
    let given = Given {
        sender: call.caller.map(|slot| slot.id()),
        cast: false,
        units,
    };
    let context = call.context.clone();
    let taken = std::mem::take(args);
    let mut running: Running<B> = Box::pin(behaviour.call(call.export, taken, context, given));
    let at = At { runner, place };
    match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx))) {
        Ok(Poll::Ready((Ok(results), Ok(behaviour)))) => {
            *args = results;
            target.counters().direct(alone);
            place.put_back(State::Parked(behaviour), runner.lane());
            runner.settle_for();
            Tried::Ended(Ok(()))
        }
        Ok(Poll::Ready((answer, left))) => at.ended_otherwise(answer, left, args),
        Ok(Poll::Pending) => at.handed_over(call, units, running),
        Err(panic) => at.panicked(call, running, &*panic),
    }
}

/// Where a call was run that did not simply return: what follows is rare, and not in the way of what is not.
struct At<'a, B> {
    runner: &'a Slot,
    place: &'a Resting<B>,
}

impl<B: AtRest> At<'_, B> {
    fn end(&self, back: State<B>) {
        self.place.put_back(back, self.runner.lane());
        self.runner.lane().wake();
    }

    /// The call failed, or the behaviour ended with it.
    #[cold]
    fn ended_otherwise(
        &self,
        answer: Answer,
        left: Result<B, ExitReason>,
        args: &mut Args,
    ) -> Tried {
        match left {
            Ok(behaviour) => {
                let back = State::Parked(behaviour);
                self.place.put_back(back, self.runner.lane());
                self.runner.settle_for();
            }
            Err(reason) => self.end(State::Ended(reason)),
        }
        Tried::Ended(answer.map(|results| *args = results).map_err(Box::new))
    }

    /// The call has to wait.
    #[cold]
    fn handed_over(&self, call: &Direct<'_>, units: u32, running: Running<B>) -> Tried {
        let target = call.target;
        let reply_by = call.context.reply_by.moment();
        let cell = call.cell.cloned().unwrap_or_default();
        let units = target.mailbox().charge(units);
        let port = cell.open();
        let sender = call.caller.map(|slot| slot.id());
        let envelope = Envelope::handed_over(Arc::clone(target), sender, call.export, port, units);
        self.place.waited_for_until(reply_by);
        self.end(State::Running(Box::pin(HandedOver {
            running,
            envelope: Some(envelope),
        })));
        Tried::HandedOver { cell, reply_by }
    }

    #[cold]
    fn panicked(&self, call: &Direct<'_>, running: Running<B>, panic: &(dyn Any + Send)) -> Tried {
        let reason = ExitReason::panicked(panic);
        // What is left of the call is foreign code too.
        if catch_unwind(AssertUnwindSafe(|| drop(running))).is_err() {
            tracing::error!(address = %self.runner.address(), "a call panicked while it was dropped");
        }
        self.end(State::Ended(reason.clone()));
        let address = call.target.address().clone();
        Tried::Ended(Err(Box::new(CallError::CalleeDied { address, reason })))
    }
}
