//! The bounded store of crash reports: the newest, by count and by bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{CrashFilter, CrashLimits, CrashReport};

pub(crate) struct CrashStore {
    limits: CrashLimits,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By sequence, ascending.
    reports: VecDeque<Arc<CrashReport>>,
    bytes: usize,
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

    /// Numbers a report and keeps it; the oldest are forgotten where there is no room.
    pub(crate) fn keep(&self, mut report: CrashReport) -> Arc<CrashReport> {
        // Freed after the lock.
        let mut forgotten = Vec::new();
        let mut kept = self.kept.lock();
        report.sequence = kept.next;
        kept.next += 1;
        let report = Arc::new(report);
        if self.limits.count_max == 0 || report.bytes > self.limits.bytes_max {
            kept.dropped += 1;
            return report;
        }
        while kept.reports.len() >= self.limits.count_max
            || kept.bytes + report.bytes > self.limits.bytes_max
        {
            let Some(oldest) = kept.reports.pop_front() else {
                break;
            };
            kept.bytes -= oldest.bytes;
            kept.dropped += 1;
            forgotten.push(oldest);
        }
        kept.bytes += report.bytes;
        kept.reports.push_back(Arc::clone(&report));
        drop(kept);
        report
    }

    pub(crate) fn list(&self, filter: &CrashFilter) -> Vec<Arc<CrashReport>> {
        let kept = self.kept.lock();
        let passing = kept.reports.iter().filter(|report| {
            filter.after.is_none_or(|after| report.sequence > after)
                && filter
                    .address
                    .as_ref()
                    .is_none_or(|pattern| pattern.matches(&report.address))
        });
        passing
            .take(filter.limit.unwrap_or(usize::MAX))
            .cloned()
            .collect()
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<Arc<CrashReport>> {
        let kept = self.kept.lock();
        let at = kept
            .reports
            .binary_search_by_key(&sequence, |report| report.sequence)
            .ok()?;
        kept.reports.get(at).cloned()
    }

    /// Reports kept, and their bytes.
    pub(crate) fn kept(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.reports.len(), kept.bytes)
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
            kept.bytes = 0;
            std::mem::take(&mut kept.reports)
        };
        cleared.len()
    }
}
