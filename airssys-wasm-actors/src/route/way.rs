//! Who is on the way to a candidate.
//!
//! Owns the count of the requests that have chosen it and of those that have ended: when a split is removed its way is
//! closed, nobody sets out any more, and it is left once the two counts are equal. Also [`Known`], the split that a caller
//! asked last: whoever asks again has neither to look for it nor to count a reference of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::route::Split;

/// Nobody sets out any more.
const CLOSED: u64 = 1 << 63;

/// The way to one candidate.
///
/// All of it is in one order, so that of those who end and whoever closes it the last one sees that it is left.
#[derive(Default)]
pub(super) struct Way {
    /// Requests that have set out, and [`CLOSED`].
    begun: AtomicU64,
    ended: AtomicU64,
    leaving: Notify,
}

impl Way {
    /// A request sets out, numbered from 0. `None` once it is closed.
    pub(super) fn begin(&self) -> Option<u64> {
        let nth = self.begun.fetch_add(1, Ordering::SeqCst);
        if nth & CLOSED != 0 {
            self.turn_back();
            return None;
        }
        Some(nth)
    }

    /// A request that has set out has ended.
    pub(super) fn end(&self) {
        self.ended.fetch_add(1, Ordering::SeqCst);
        if self.begun.load(Ordering::SeqCst) & CLOSED != 0 {
            self.look();
        }
    }

    /// A request that has set out goes elsewhere, and was never here.
    #[cold]
    pub(super) fn turn_back(&self) {
        self.begun.fetch_sub(1, Ordering::SeqCst);
        self.look();
    }

    pub(super) fn close(&self) {
        self.begun.fetch_or(CLOSED, Ordering::SeqCst);
        self.look();
    }

    /// Requests so far.
    pub(super) fn requests(&self) -> u64 {
        self.begun.load(Ordering::SeqCst) & !CLOSED
    }

    /// Waits until it is closed and nobody is on it.
    pub(super) async fn left(&self) {
        loop {
            let leaving = self.leaving.notified();
            if self.is_left() {
                return;
            }
            leaving.await;
        }
    }

    #[cold]
    fn look(&self) {
        if self.is_left() {
            self.leaving.notify_waiters();
        }
    }

    fn is_left(&self) -> bool {
        // In this order: what has ended by then has begun by the time of the second.
        let ended = self.ended.load(Ordering::SeqCst);
        self.begun.load(Ordering::SeqCst) == CLOSED | ended
    }
}

/// One request on the way to a candidate, until it is dropped.
pub(super) struct Lease(Option<Arc<Split>>);

impl Lease {
    /// A request of the candidate's sets out. Returns its number, too; `None` once the split is removed.
    pub(super) fn begin(split: Arc<Split>) -> Option<(Self, u64)> {
        let nth = split.way.begin()?;
        Some((Self(Some(split)), nth))
    }

    pub(super) fn split(&self) -> Option<&Arc<Split>> {
        self.0.as_ref()
    }

    /// The request has ended.
    pub(super) fn end(mut self, known: &mut Known) {
        if let Some(split) = self.0.take() {
            split.way.end();
            known.0 = Some(split);
        }
    }

    /// The request goes elsewhere.
    pub(super) fn turn_back(mut self) {
        if let Some(split) = self.0.take() {
            split.way.turn_back();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(split) = &self.0 {
            split.way.end();
        }
    }
}

/// The split that a caller's last request went through to a candidate.
#[derive(Default)]
pub(crate) struct Known(pub(super) Option<Arc<Split>>);

impl Known {
    /// There is no split any more where it was.
    pub(super) fn forget(&mut self) {
        if self.0.is_some() {
            self.drop_it();
        }
    }

    #[cold]
    fn drop_it(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn it_is_left_once_it_is_closed_and_all_have_ended_or_turned_back() {
        let way = Way::default();
        assert_eq!((way.begin(), way.begin()), (Some(0), Some(1)));
        assert!(!way.is_left());
        way.close();
        assert_eq!(way.begin(), None);
        let mut left = Box::pin(way.left());
        assert!(left.as_mut().now_or_never().is_none());
        way.end();
        assert!(left.as_mut().now_or_never().is_none());
        way.turn_back();
        assert!(left.now_or_never().is_some());
        assert_eq!((way.requests(), way.begin()), (1, None));
        assert!(way.is_left());
    }

    #[test]
    fn nobody_is_on_it_once_it_is_left_whoever_sets_out_meanwhile() {
        let rounds = if cfg!(miri) { 4 } else { 200 };
        for _ in 0..rounds {
            let (way, over) = (Way::default(), AtomicBool::new(false));
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        while way.begin().is_some() {
                            assert!(!over.load(Ordering::SeqCst));
                            way.end();
                        }
                    });
                }
                scope.spawn(|| {
                    while way.requests() < 10 {
                        std::thread::yield_now();
                    }
                    way.close();
                    wait_for(way.left());
                    over.store(true, Ordering::SeqCst);
                });
            });
            assert_eq!(way.requests(), way.ended.load(Ordering::SeqCst));
        }
    }

    fn wait_for<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(future)
    }
}
