//! The bounded store of crash reports: the newest, by count and by bytes, those of whoever ended most often forgotten for them. An end is kept as it was told, and becomes a
//! report when somebody asks for it.

use std::sync::Arc;

use parking_lot::Mutex;

use super::report::Known;
use super::{CrashFilter, CrashLimits, CrashReport};
use crate::address::ActorAddress;
use crate::fair::Fair;

/// One end, whose report is made when it is asked for, and only once.
pub(super) struct Entry {
    sequence: u64,
    address: ActorAddress,
    bytes: usize,
    form: Mutex<Form>,
}

/// Never both: what an end takes is counted once.
enum Form {
    Known(Known),
    Report(Arc<CrashReport>),
}

impl Entry {
    pub(super) fn report(&self) -> Arc<CrashReport> {
        let mut form = self.form.lock();
        match &*form {
            Form::Report(report) => Arc::clone(report),
            Form::Known(known) => {
                let report = Arc::new(known.report(self.sequence, self.bytes));
                *form = Form::Report(Arc::clone(&report));
                report
            }
        }
    }
}

pub(crate) struct CrashStore {
    limits: CrashLimits,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By sequence, and by who ended.
    ends: Fair<ActorAddress, Arc<Entry>>,
    next: u64,
    dropped: u64,
}

impl CrashStore {
    pub(crate) fn new(limits: CrashLimits) -> Self {
        Self {
            limits,
            kept: Mutex::default(),
        }
    }

    /// Numbers an end and keeps it. Where there is no room, the oldest of whoever has most there are forgotten.
    pub(super) fn keep(&self, known: Known) -> Arc<Entry> {
        let mut entry = Entry {
            sequence: 0,
            address: known.address.clone(),
            bytes: known.bytes(),
            form: Mutex::new(Form::Known(known)),
        };
        let mut kept = self.kept.lock();
        entry.sequence = kept.next;
        kept.next += 1;
        let entry = Arc::new(entry);
        if self.limits.count_max == 0 || entry.bytes > self.limits.bytes_max {
            kept.dropped += 1;
            return entry;
        }
        let bounds = (self.limits.count_max, self.limits.bytes_max);
        let sized = (entry.bytes, Arc::clone(&entry));
        let address = entry.address.clone();
        let forgotten = kept.ends.keep(entry.sequence, address, sized, bounds);
        kept.dropped += u64::try_from(forgotten.len()).unwrap_or(u64::MAX);
        drop(kept);
        // Freed after the lock.
        drop(forgotten);
        entry
    }

    pub(crate) fn list(&self, filter: &CrashFilter) -> Vec<Arc<CrashReport>> {
        let passing: Vec<_> = {
            let kept = self.kept.lock();
            let passing = kept.ends.values().filter(|entry| {
                filter.after.is_none_or(|after| entry.sequence > after)
                    && filter
                        .address
                        .as_ref()
                        .is_none_or(|pattern| pattern.matches(&entry.address))
            });
            let most = filter.limit.unwrap_or(usize::MAX);
            passing.take(most).cloned().collect()
        };
        // Words are made outside the lock: whatever ends meanwhile does not wait for them.
        passing.iter().map(|entry| entry.report()).collect()
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<Arc<CrashReport>> {
        let entry = {
            let kept = self.kept.lock();
            Arc::clone(kept.ends.get(sequence)?)
        };
        Some(entry.report())
    }

    /// Reports kept, and their bytes.
    pub(crate) fn kept(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.ends.len(), kept.ends.bytes())
    }

    /// Reports ever.
    pub(crate) fn total(&self) -> u64 {
        self.kept.lock().next
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.kept.lock().dropped
    }

    pub(crate) fn clear(&self) -> usize {
        let cleared = {
            let mut kept = self.kept.lock();
            std::mem::take(&mut kept.ends)
        };
        cleared.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ExitReason;

    #[test]
    fn words_are_made_for_whoever_reads_and_once() {
        let store = CrashStore::new(CrashLimits::default());
        let entry = store.keep(Known::of(ExitReason::Panicked("at the disco".into())));
        let other = store.keep(Known::of(ExitReason::Killed));
        let is_known = |entry: &Entry| matches!(*entry.form.lock(), Form::Known(_));
        assert!(is_known(&entry) && is_known(&other));
        let (_, bytes) = store.kept();
        let after = CrashFilter {
            limit: Some(1),
            ..CrashFilter::default()
        };
        let listed = store.list(&after);
        assert_eq!(
            (listed[0].sequence, listed[0].reason.as_str()),
            (0, "panicked: at the disco")
        );
        assert!(!is_known(&entry) && is_known(&other));
        assert!(Arc::ptr_eq(&listed[0], &store.get(0).unwrap()));
        // What it is charged does not depend on whether it was read.
        assert_eq!(store.kept(), (2, bytes));
        let sum: usize = [0, 1].map(|one| store.get(one).unwrap().bytes).iter().sum();
        assert_eq!(sum, bytes);
    }
    #[test]
    fn one_that_ends_again_and_again_leaves_what_is_known_of_others() {
        let store = CrashStore::new(CrashLimits {
            count_max: 3,
            ..CrashLimits::default()
        });
        let of = |address: &str| {
            let mut known = Known::of(ExitReason::Killed);
            known.address = address.parse().unwrap();
            known
        };
        store.keep(of("app/one"));
        for _ in 0..10 {
            store.keep(of("app/other"));
        }
        let listed = store.list(&CrashFilter::default());
        let sequences: Vec<_> = listed.iter().map(|report| report.sequence).collect();
        assert_eq!(sequences, [0, 9, 10]);
        assert_eq!((store.total(), store.dropped()), (11, 8));
    }
}
