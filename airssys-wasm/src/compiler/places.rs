//! How many compilers run at once: who finds no place waits until one is given back.
//!
//! The wait is bounded by the wall clocks of those that run, and by how many threads may call.

use std::sync::{Condvar, Mutex, PoisonError};

pub(super) struct Places {
    free: Mutex<usize>,
    given_back: Condvar,
}

/// A place, until it is dropped.
pub(super) struct Place<'a>(&'a Places);

impl Places {
    /// One at least.
    pub(super) fn new(max: usize) -> Self {
        Self {
            free: Mutex::new(max.max(1)),
            given_back: Condvar::new(),
        }
    }

    pub(super) fn take(&self) -> Place<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self
            .given_back
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Place(self)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.given_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_more_at_once_than_there_may_be_and_all_come_to_their_turn() {
        for max in [0, 1, 3] {
            let (places, now) = (Places::new(max), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                for _ in 0..16 {
                    scope.spawn(|| {
                        for _ in 0..50 {
                            let _place = places.take();
                            assert!(now.fetch_add(1, Ordering::SeqCst) < max.max(1));
                            std::thread::yield_now();
                            now.fetch_sub(1, Ordering::SeqCst);
                        }
                    });
                }
            });
            assert_eq!(*places.free.lock().unwrap(), max.max(1));
        }
    }
}
