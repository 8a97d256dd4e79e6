//! What became of a split's weight, and why.
//!
//! Owns a bounded record of changes in memory, oldest first; whoever needs it for longer writes it elsewhere.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use crate::exit::bounded;
use crate::route::Weight;

/// Most changes kept of one split: the steps of a long canary, many times over. Of more, the oldest are forgotten.
pub(super) const CHANGES_MAX: usize = 256;

/// One change of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteChange {
    /// When.
    pub at: SystemTime,
    /// The candidate's share from then on; `None` once the split is removed.
    pub weight: Option<Weight>,
    /// Who and why, as whoever changed it said; cut where it is long.
    pub why: Arc<str>,
}

/// The changes of one split.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<RouteChange>);

impl History {
    pub(super) fn note(&mut self, at: SystemTime, weight: Option<Weight>, why: &str) {
        if self.0.len() == CHANGES_MAX {
            self.0.pop_front();
        }
        let why = bounded(why);
        self.0.push_back(RouteChange { at, weight, why });
    }

    pub(super) fn read(&self) -> Vec<RouteChange> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_newest_changes_are_kept_in_order_and_texts_are_cut() {
        let mut history = History::default();
        let at = |n: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(n);
        for n in 0..300_u16 {
            history.note(at(u64::from(n)), Weight::new(n), &"x".repeat(1 << 20));
        }
        history.note(at(300), None, "operator: done");
        let changes = history.read();
        assert_eq!(changes.len(), CHANGES_MAX);
        assert_eq!(changes[0].weight, Weight::new(45));
        assert!(changes[0].why.len() < 10_000);
        let last = changes.last().unwrap();
        assert_eq!((last.at, last.weight), (at(300), None));
        assert_eq!(&*last.why, "operator: done");
    }
}
