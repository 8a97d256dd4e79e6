//! The atomics, locks and queue that the message path is built of.
//!
//! Owns no state: names std's, parking_lot's, futures' and crossbeam's, or loom's in their place where the
//! private feature `model` is on, so that `model.rs` checks the very code that runs. Only what takes part in
//! the wake-up and hand-over comes from here; counters, the registry and the dead letters do not.

use std::sync::OnceLock;

#[cfg(not(feature = "model"))]
mod real {
    pub(crate) use std::hint::spin_loop;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
    pub(crate) use std::thread::yield_now;

    pub(crate) use crossbeam_channel::{Receiver, Sender, unbounded};
    pub(crate) use futures_util::task::AtomicWaker;
    pub(crate) use parking_lot::Mutex;
}

#[cfg(not(feature = "model"))]
pub(crate) use real::*;

#[cfg(feature = "model")]
mod modelled;

#[cfg(feature = "model")]
pub(crate) use modelled::*;

/// A cell for what is made when it is first needed. In a model it is made at once: loom does not see the order that
/// std's cell gives, which is that of a release and an acquire.
pub(crate) fn lazy<T>(make: impl FnOnce() -> T) -> OnceLock<T> {
    if cfg!(feature = "model") {
        OnceLock::from(make())
    } else {
        OnceLock::new()
    }
}

/// Stores `value` so that whatever this thread loads afterwards is loaded after others can see it.
pub(crate) fn publish(atomic: &AtomicU64, value: u64) {
    if cfg!(all(target_arch = "x86_64", not(feature = "model"))) {
        // The instruction is a full barrier, and cheaper than a fence.
        atomic.store(value, Ordering::SeqCst);
    } else {
        // Between sequentially consistent accesses alone, a relaxed or release store by the other side (its
        // idle flag) would not be ordered.
        atomic.store(value, Ordering::Release);
        fence(Ordering::SeqCst);
    }
}
