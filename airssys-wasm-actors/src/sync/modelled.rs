//! loom's primitives in the shapes of the real ones.
//!
//! The queue is no stronger than crossbeam's: whether it is empty is read from a count without the lock, so
//! that only the fences of the code under test order it against the idle flag.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::task::Waker;

pub(crate) use loom::hint::spin_loop;
use loom::sync::MutexGuard;
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
pub(crate) use loom::thread::yield_now;

/// std's shape. A store is a swap that orders nothing more: loom does not know that a swap follows at once
/// upon the value it has read, and would have a later store of another thread undone by it.
#[derive(Default)]
pub(crate) struct AtomicBool(loom::sync::atomic::AtomicBool);

impl AtomicBool {
    pub(crate) fn new(value: bool) -> Self {
        Self(loom::sync::atomic::AtomicBool::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> bool {
        self.0.load(order)
    }

    pub(crate) fn store(&self, value: bool, order: Ordering) {
        self.0.swap(value, order);
    }

    pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
        self.0.swap(value, order)
    }
}

/// parking_lot's shape: no poisoning.
#[derive(Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        match self.0.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

/// futures' shape.
#[derive(Default)]
pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

impl AtomicWaker {
    pub(crate) fn register(&self, waker: &Waker) {
        self.0.register_by_ref(waker);
    }

    pub(crate) fn wake(&self) {
        if !Broken::Wake.is() {
            self.0.wake();
        }
    }

    pub(crate) fn take(&self) -> Option<Waker> {
        self.0.take_waker()
    }
}

struct Queue<T> {
    items: Mutex<VecDeque<T>>,
    count: AtomicU64,
}

pub(crate) struct Sender<T>(Arc<Queue<T>>);

pub(crate) struct Receiver<T>(Arc<Queue<T>>);

/// Nothing to receive.
pub(crate) struct Empty;

pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    let queue = Arc::new(Queue {
        items: Mutex::default(),
        count: AtomicU64::new(0),
    });
    (Sender(Arc::clone(&queue)), Receiver(queue))
}

impl<T> Sender<T> {
    pub(crate) fn try_send(&self, item: T) -> Result<(), Empty> {
        let mut items = self.0.items.lock();
        items.push_back(item);
        self.0.count.store(items.len() as u64, Ordering::Release);
        Ok(())
    }
}

impl<T> Receiver<T> {
    pub(crate) fn try_recv(&self) -> Result<T, Empty> {
        if self.count() == 0 {
            return Err(Empty);
        }
        let mut items = self.0.items.lock();
        let item = items.pop_front().ok_or(Empty);
        self.0.count.store(items.len() as u64, Ordering::Release);
        item
    }

    pub(crate) fn is_empty(&self) -> bool {
        Broken::SecondLook.is() || self.count() == 0
    }

    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.count()).unwrap_or(usize::MAX)
    }

    fn count(&self) -> u64 {
        self.0.count.load(Ordering::Acquire)
    }
}

/// A part of the synchronisation that a model can do without, to show that it would be missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Fences do nothing.
    Fence,
    /// The second look at the queue sees nothing.
    SecondLook,
    /// Nobody is woken.
    Wake,
}

impl Broken {
    /// What this process does without, by the name that `AIRSSYS_MODEL_WITHOUT` gives.
    fn said() -> Option<Self> {
        static SAID: OnceLock<Option<Broken>> = OnceLock::new();
        *SAID.get_or_init(|| {
            let said = std::env::var(Self::VARIABLE).ok()?;
            [Self::Fence, Self::SecondLook, Self::Wake]
                .into_iter()
                .find(|broken| format!("{broken:?}") == said)
        })
    }

    /// The environment variable that takes a part out.
    pub(crate) const VARIABLE: &str = "AIRSSYS_MODEL_WITHOUT";

    fn is(self) -> bool {
        Self::said() == Some(self)
    }
}

pub(crate) fn fence(order: Ordering) {
    if !Broken::Fence.is() {
        loom::sync::atomic::fence(order);
    }
}
