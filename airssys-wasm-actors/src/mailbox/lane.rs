//! The private side of a mailbox: what is meant for one replica alone.
//!
//! Owns the control lane (never refused, taken before data), the one-envelope retry cell, the kill
//! flag, and the busy/idle flag with the waker of whoever drains. The flag lives here and not in
//! the actor, so that it outlives every incarnation: a new one starts busy, publishes its waker,
//! drains, sets idle, fences and looks again; a sender reads the waker only after it has won the
//! idle → busy edge. No wake-up is lost and none is sent twice.

use std::collections::VecDeque;
use std::sync::atomic;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::envelope::Envelope;
use crate::health::ChildHealth;
use crate::mailbox::Next;
use crate::sync::{AtomicBool, AtomicWaker, Mutex, Ordering, fence};
use crate::upgrade::Replacement;

/// What is asked of an actor beside its messages, between two of them.
pub(crate) enum Control {
    /// Run the shutdown hook and end.
    Stop,
    /// Say how you are.
    Health(oneshot::Sender<ChildHealth>),
    /// Destroy the resources nobody holds any more.
    Release,
    /// Give up the instance, if nothing speaks against it.
    Passivate,
    /// Let another revision take the place of the instance.
    Replace(Box<Replacement>),
    /// Say how many calls you still owe answers to.
    Owes(oneshot::Sender<usize>),
}

impl Control {
    /// Whether it is a question that nobody waits for any more.
    fn is_left(&self) -> bool {
        match self {
            Self::Health(answer) => answer.is_closed(),
            Self::Owes(answer) => answer.is_closed(),
            Self::Replace(replacement) => replacement.claim.is_withdrawn(),
            Self::Stop | Self::Release | Self::Passivate => false,
        }
    }
}

/// Takes out what nobody waits for any more, if there is something.
fn take_left(asked: &mut VecDeque<Control>) -> VecDeque<Control> {
    if !asked.iter().any(Control::is_left) {
        return VecDeque::new();
    }
    let (left, kept) = std::mem::take(asked)
        .into_iter()
        .partition(Control::is_left);
    *asked = kept;
    left
}

/// One replica's lane.
#[derive(Default)]
pub(crate) struct Lane {
    /// Set while the drain waits for work. False also while nobody drains.
    idle: AtomicBool,
    kill: AtomicBool,
    control_pending: AtomicBool,
    retry_pending: AtomicBool,
    /// It takes nothing of what replicas share.
    out: AtomicBool,
    /// The same, for as long as another revision takes its place.
    held: AtomicBool,
    /// The same, for good: whoever drains it is to be gone. Not modelled: it is set once, by who then asks for something.
    leaving: atomic::AtomicBool,
    /// Its drain is in what says how it is. Not modelled: nobody is woken for it.
    asked: atomic::AtomicBool,
    waker: AtomicWaker,
    control: Mutex<VecDeque<Control>>,
    retry: Mutex<Option<Box<Envelope>>>,
}

impl Lane {
    /// Wakes the drain if it waits. Returns whether it did.
    pub(crate) fn wake_if_idle(&self) -> bool {
        // Pairs with the fence in `settle`: either the drain sees what was pushed before this, or
        // we see that it is idle.
        fence(Ordering::SeqCst);
        let won = self.idle.load(Ordering::Relaxed) && self.idle.swap(false, Ordering::AcqRel);
        if won {
            self.waker.wake();
        }
        won
    }

    /// Wins the idle → busy edge without waking the drain: the winner has its work to itself.
    pub(crate) fn win(&self) -> bool {
        self.idle.swap(false, Ordering::AcqRel)
    }

    /// Wakes the drain, for whoever has won the edge.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Marks the drain idle; [`Lane::settle`] must follow, or [`Lane::settle_for`] if it is not the drain who does so.
    pub(crate) fn idle(&self) {
        self.idle.store(true, Ordering::Relaxed);
    }

    /// The winner of the edge is done and has made it idle again: whatever has come wakes the drain.
    pub(crate) fn settle_for(&self, more: impl FnOnce() -> bool) {
        fence(Ordering::SeqCst);
        if (self.has_own_work() || more()) && self.idle.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Whether there is something for the drain that is not in the data queue.
    pub(crate) fn has_own_work(&self) -> bool {
        self.killed()
            || self.control_pending.load(Ordering::Acquire)
            || self.retry_pending.load(Ordering::Acquire)
    }

    /// Takes a replica out of rotation, or back into it.
    pub(crate) fn rotate(&self, out: bool) {
        self.out.store(out, Ordering::Release);
        if !out {
            // Behind the fence in it, either the drain sees the change as it settles, or we see that it is idle.
            self.wake_if_idle();
        }
    }

    /// Whether it takes nothing of what replicas share.
    pub(crate) fn is_out(&self) -> bool {
        self.out.load(Ordering::Acquire) || self.held.load(Ordering::Acquire) || self.is_leaving()
    }

    /// Keeps whoever drains it from what is shared, in every incarnation from now on.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, atomic::Ordering::SeqCst);
    }

    /// Whether [`Lane::leave`] was called.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(atomic::Ordering::Acquire)
    }

    /// Keeps a replica from what replicas share for a moment, or lets it go on.
    pub(crate) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Release);
        if !held {
            // As in `rotate`.
            self.wake_if_idle();
        }
    }

    /// Registers whom to wake.
    pub(crate) fn watch(&self, cx: &mut Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// Whether the drain waits for work.
    pub(crate) fn is_idle(&self) -> bool {
        // Read after an edge was published, and before edges are walked: see `wait_for`.
        self.idle.load(Ordering::SeqCst)
    }

    /// Asks for something between two messages. Questions whose askers have left make way: an actor that is busy for
    /// long may be asked often.
    pub(crate) fn ask(&self, control: Control) {
        let left = {
            let mut asked = self.control.lock();
            let left = take_left(&mut asked);
            asked.push_back(control);
            self.control_pending.store(true, Ordering::Release);
            left
        };
        // Not under the lock: it may hold an instance.
        drop(left);
        self.wake_if_idle();
    }

    /// Lets go of what was asked by who has left.
    pub(crate) fn forget_left(&self) {
        let left = take_left(&mut self.control.lock());
        drop(left);
    }

    /// The drain asks how it is, or has the answer.
    pub(crate) fn asks(&self, asked: bool) {
        self.asked.store(asked, atomic::Ordering::Release);
    }

    /// Whether the drain is at work on something else than how it is, and will come to that.
    pub(crate) fn is_busy_otherwise(&self) -> bool {
        !self.is_idle() && !self.asked.load(atomic::Ordering::Acquire)
    }

    /// Asks the drain to end now, also in the middle of a message.
    pub(crate) fn kill(&self) {
        self.kill.store(true, Ordering::SeqCst);
        self.idle.store(false, Ordering::Release);
        self.waker.wake();
    }

    /// Whether [`Lane::kill`] was called since the incarnation began.
    pub(crate) fn killed(&self) -> bool {
        self.kill.load(Ordering::Acquire)
    }

    /// Resolves when the drain is killed, and keeps the waker fresh while a message runs.
    pub(crate) fn poll_killed(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.killed() {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        if self.killed() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// A new incarnation takes the lane: busy, not killed. Its mail is as its predecessor left it;
    /// what was asked of the predecessor alone is gone.
    pub(crate) fn begin(&self) {
        self.idle.store(false, Ordering::Release);
        self.kill.store(false, Ordering::Release);
        self.out.store(false, Ordering::Release);
        self.asks(false);
        self.forget_control();
    }

    /// The incarnation has ended; nobody drains.
    pub(crate) fn end(&self) {
        self.idle.store(false, Ordering::Release);
        self.waker.take();
        self.forget_control();
    }

    fn forget_control(&self) {
        let asked = {
            let mut control = self.control.lock();
            // Under the lock, as in `ask`: what is asked after this stays pending.
            self.control_pending.store(false, Ordering::Release);
            std::mem::take(&mut *control)
        };
        drop(asked);
    }

    /// Marks the drain busy.
    pub(crate) fn busy(&self) {
        self.idle.store(false, Ordering::Release);
    }

    /// The drain is marked idle: `true` if it may sleep, `false` if it must look again.
    /// The waker has been registered before.
    pub(crate) fn settle(&self, more: impl FnOnce() -> bool) -> bool {
        fence(Ordering::SeqCst);
        !(self.has_own_work() || more())
    }

    /// What its drain does next of what is meant for it alone: kill, then control, then a message put back.
    pub(crate) fn take_next(&self) -> Option<Next> {
        if self.killed() {
            return Some(Next::Killed);
        }
        if let Some(control) = self.take_control() {
            return Some(Next::Control(control));
        }
        self.take_retry().map(Next::Message)
    }

    /// The next thing asked.
    pub(crate) fn take_control(&self) -> Option<Control> {
        if !self.control_pending.load(Ordering::Acquire) {
            return None;
        }
        let mut control = self.control.lock();
        let next = control.pop_front();
        self.control_pending
            .store(!control.is_empty(), Ordering::Release);
        next
    }

    /// Puts back a message that was taken but not begun: the next incarnation has it first.
    /// Whatever is there already is returned.
    pub(crate) fn put_back(&self, envelope: Box<Envelope>) -> Option<Box<Envelope>> {
        let mut retry = self.retry.lock();
        let before = retry.replace(envelope);
        self.retry_pending.store(true, Ordering::Release);
        drop(retry);
        before
    }

    /// The message put back, if any.
    pub(crate) fn take_retry(&self) -> Option<Box<Envelope>> {
        if !self.retry_pending.load(Ordering::Acquire) {
            return None;
        }
        // Under the lock: what is put back right after it is not overlooked.
        let mut retry = self.retry.lock();
        let taken = retry.take();
        self.retry_pending.store(false, Ordering::Release);
        drop(retry);
        taken
    }
}
