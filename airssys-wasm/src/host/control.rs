//! What the outside may do with an instance while its owner is calling it: kill it, and see what it holds.
//!
//! The one part of an instance that others hold. The flag is read by the epoch callback while the guest
//! computes and by the call's own future while the guest waits. What it holds is written when a memory or a table
//! grows and when the Store goes, never for a call.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use crate::instance::Usage;

#[derive(Debug, Default)]
pub(crate) struct Control {
    killed: AtomicBool,
    /// The tick at which the call was last polled again after it had to wait.
    resumed_at: AtomicU64,
    /// Who to wake when a waiting call is killed. A mutex, because the killer is on another thread and a waker
    /// is two words; held to swap it, never while waking.
    waiting: Mutex<Option<Waker>>,
    /// What its Store holds; nothing before there is one, and after. Two words that are not read as one: whoever looks
    /// from outside sees a moment of each.
    memory_bytes: AtomicU64,
    table_elements: AtomicU64,
}

impl Control {
    #[inline]
    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    pub(crate) fn resumed_at(&self) -> u64 {
        self.resumed_at.load(Ordering::Relaxed)
    }

    pub(crate) fn resume(&self, tick: u64) {
        self.resumed_at.store(tick, Ordering::Relaxed);
    }

    /// Registers the waker of a waiting call. Look at [`Self::is_killed`] afterwards, not before.
    pub(crate) fn wait(&self, waker: &Waker) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *waiting {
            Some(known) => known.clone_from(waker),
            None => *waiting = Some(waker.clone()),
        }
    }

    pub(crate) fn holds_memory(&self, bytes: u64) {
        self.memory_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn holds_tables(&self, elements: u64) {
        self.table_elements.store(elements, Ordering::Relaxed);
    }

    fn usage(&self) -> Usage {
        Usage {
            memory_bytes: self.memory_bytes.load(Ordering::Relaxed),
            table_elements: self.table_elements.load(Ordering::Relaxed),
        }
    }

    fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        let waiting = self
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

/// Ends an instance from outside, whatever it is doing, and knows what it holds meanwhile. Clones are of the same
/// instance; none keeps it.
#[derive(Clone)]
pub struct KillSwitch {
    pub(crate) control: Arc<Control>,
    pub(crate) engine: wasmtime::Engine,
}

impl KillSwitch {
    /// Ends the running call with [`FaultClass::Killed`](crate::FaultClass); if none is running, the next one.
    ///
    /// Takes effect when the guest next looks up (about 0.1 ms) or waits; it does not interrupt a host
    /// function that computes. Harmless when repeated or late.
    pub fn kill(&self) {
        self.control.kill();
        self.engine.increment_epoch();
    }

    /// Returns whether it was used.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.control.is_killed()
    }

    /// Returns what the instance holds now, also in the middle of a call; nothing once it is gone.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.control.usage()
    }
}

impl std::fmt::Debug for KillSwitch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KillSwitch")
            .field("killed", &self.is_killed())
            .finish_non_exhaustive()
    }
}
