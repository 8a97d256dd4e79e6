//! Where the answer to one call arrives.
//!
//! Owns [`ReplyCell`] (the caller's end, reused by an actor for each of its calls, one at a time)
//! and [`ReplyPort`] (the callee's end, travels in the envelope). A port answers exactly once: by
//! [`ReplyPort::send`], or when it is dropped. An answer that comes after the caller has left is
//! discarded: the cell's sequence number has moved on. Whoever keeps a call for later is told when its caller
//! leaves ([`ReplyPort::when_left`]). Costs two uncontended locks a call and no allocation for a cell that is
//! reused; it does not know of deadlines.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use airssys_wasm::Args;

use crate::address::ActorId;
use crate::error::CallError;
use crate::sync::Mutex;
use crate::wait_for::Edge;

/// The end of a call.
pub(crate) type Answer = Result<Args, CallError>;

/// The end of a call in its caller's own task: the results are where its arguments were, and nothing is moved.
pub(crate) type InPlace = Result<(), Box<CallError>>;

/// The end of a call, looked at.
pub(crate) type Ending<'a> = Result<&'a Args, &'a CallError>;

/// The caller's end. At most one call is open at a time.
#[derive(Default)]
pub(crate) struct ReplyCell {
    state: Mutex<State>,
    /// Whom the calling actor waits for; taken back by the answer itself, because the caller may be
    /// polled long after it.
    edge: Edge,
}

#[derive(Default)]
struct State {
    /// Number of the open call; a port with another number is late.
    sequence: u64,
    answer: Option<Answer>,
    waker: Option<Waker>,
    /// Told when the caller leaves the open call.
    left: Option<Left>,
}

/// What whoever keeps a call wants to be told; called once, without a lock held here.
type Left = Box<dyn FnOnce() + Send>;

impl ReplyCell {
    /// A cell whose answers take `edge` back.
    pub(crate) fn with_edge(edge: Edge) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            edge,
        })
    }

    /// Opens the next call. A call that was still open is abandoned.
    pub(crate) fn open(self: &Arc<Self>) -> ReplyPort {
        let mut state = self.state.lock();
        state.sequence += 1;
        state.answer = None;
        let left = state.left.take();
        let sequence = state.sequence;
        drop(state);
        tell(left);
        ReplyPort {
            sequence,
            cell: Some(Arc::clone(self)),
        }
    }

    /// Whom the calling actor waits for.
    pub(crate) fn edge(&self) -> &Edge {
        &self.edge
    }

    /// The answer, if it is there; otherwise the task is woken when it comes.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut state = self.state.lock();
        if let Some(answer) = state.answer.take() {
            return Poll::Ready(answer);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Leaves the open call: whatever comes is discarded.
    pub(crate) fn abandon(&self) {
        let (late, left) = {
            let mut state = self.state.lock();
            state.sequence += 1;
            (state.answer.take(), state.left.take())
        };
        drop(late);
        tell(left);
    }
}

fn tell(left: Option<Left>) {
    if let Some(left) = left {
        left();
    }
}

/// The callee's end of a call.
pub(crate) struct ReplyPort {
    sequence: u64,
    /// `None` once answered.
    cell: Option<Arc<ReplyCell>>,
}

impl ReplyPort {
    /// Whether the caller has left.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.cell
            .as_ref()
            .is_none_or(|cell| cell.state.lock().sequence != self.sequence)
    }

    /// The call is kept for later: `left` is called once its caller leaves it, unless it is answered first. `false`
    /// if the caller has left already, and nothing is called.
    pub(crate) fn when_left(&self, left: impl FnOnce() + Send + 'static) -> bool {
        let Some(cell) = &self.cell else {
            return false;
        };
        let mut state = cell.state.lock();
        let is_open = state.sequence == self.sequence;
        if is_open {
            state.left = Some(Box::new(left));
        }
        is_open
    }

    /// The message is in the hands of `to` now, and was in those of `from`: the caller waits for `to`.
    pub(crate) fn moved(&self, from: ActorId, to: ActorId) {
        if let Some(cell) = &self.cell {
            let state = cell.state.lock();
            // A caller that has left may wait for the same actor again, in another call.
            if state.sequence == self.sequence {
                cell.edge.moved(from, to);
            }
        }
    }

    /// Answers. Returns whether the caller was still there.
    pub(crate) fn send(mut self, answer: Answer) -> bool {
        let Some(cell) = self.cell.take() else {
            return false;
        };
        let (waker, left) = {
            let mut state = cell.state.lock();
            if state.sequence != self.sequence {
                return false;
            }
            state.answer = Some(answer);
            cell.edge.clear();
            (state.waker.take(), state.left.take())
        };
        drop(left);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn an_answer_wakes_the_caller_once_and_is_taken_once() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let cell = Arc::new(ReplyCell::default());
        let port = cell.open();
        assert!(cell.poll(&mut cx).is_pending());
        assert!(port.send(Ok(Args::new())));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(cell.poll(&mut cx).is_ready());
        assert!(cell.poll(&mut cx).is_pending());
    }

    #[test]
    fn a_late_answer_is_discarded_and_does_not_reach_the_next_call() {
        let waker = Waker::noop();
        let mut cx = Context::from_waker(waker);
        let cell = Arc::new(ReplyCell::default());
        let late = cell.open();
        cell.abandon();
        assert!(late.is_abandoned());
        let next = cell.open();
        assert!(!late.send(Ok(Args::new())));
        assert!(cell.poll(&mut cx).is_pending());
        assert!(next.send(Ok(Args::new())));
        assert!(cell.poll(&mut cx).is_ready());
    }

    #[test]
    fn whoever_keeps_a_call_is_told_once_that_its_caller_has_left() {
        let told = Arc::new(AtomicUsize::new(0));
        let tell = || {
            let told = Arc::clone(&told);
            move || {
                told.fetch_add(1, Ordering::Relaxed);
            }
        };
        let cell = Arc::new(ReplyCell::default());
        // Left, and kept by somebody then.
        let port = cell.open();
        assert!(port.when_left(tell()));
        assert_eq!(told.load(Ordering::Relaxed), 0);
        cell.abandon();
        cell.abandon();
        assert_eq!(told.load(Ordering::Relaxed), 1);
        // Left before anybody kept it.
        assert!(!port.when_left(tell()));
        // Answered: nobody has left.
        let port = cell.open();
        assert!(port.when_left(tell()));
        assert!(port.send(Ok(Args::new())));
        cell.abandon();
        assert_eq!(told.load(Ordering::Relaxed), 1);
        // Left for the next call.
        assert!(cell.open().when_left(tell()));
        let _next = cell.open();
        assert_eq!(told.load(Ordering::Relaxed), 2);
        assert_eq!(Arc::strong_count(&told), 1);
    }
}
