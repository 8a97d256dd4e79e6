//! What operations took: a histogram of all, and of each twentieth of the run, so that its spread can be told.
//!
//! Every driving task records into histograms of its own and hands them over when a slice ends, so that no task
//! waits for another to record.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::error::{BenchError, OrFailed};

/// Slices of a run: enough for an interval of the median over them, and points of a line.
pub(super) const SLICES: usize = 20;

/// Three significant digits.
const DIGITS: u8 = 3;

/// Grows as far as what it has to hold.
fn histogram() -> Result<Histogram<u64>, BenchError> {
    Histogram::new(DIGITS).or_failed("making a histogram")
}

/// One slice, or all of them.
#[derive(Clone)]
pub(super) struct Totals {
    /// From the time an operation was to be sent, in nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// From the time it was sent.
    pub(super) service: Histogram<u64>,
    /// Operations that ended in a typed error, by its kind. They are in no histogram.
    pub(super) errors: BTreeMap<&'static str, u64>,
    /// When the last operation of it ended, from the beginning of the run.
    pub(super) last: Duration,
    /// When the last operation of it was sent.
    pub(super) sent: Duration,
}

impl Totals {
    pub(super) fn new() -> Result<Self, BenchError> {
        Ok(Self {
            latency: histogram()?,
            service: histogram()?,
            errors: BTreeMap::new(),
            last: Duration::ZERO,
            sent: Duration::ZERO,
        })
    }

    fn add(&mut self, other: &Self) -> Result<(), BenchError> {
        self.latency
            .add(&other.latency)
            .or_failed("adding histograms")?;
        self.service
            .add(&other.service)
            .or_failed("adding histograms")?;
        for (kind, count) in &other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        self.last = self.last.max(other.last);
        self.sent = self.sent.max(other.sent);
        Ok(())
    }

    /// Operations that were sent and have ended.
    pub(super) fn operations(&self) -> u64 {
        let failed = self.errors.values().copied();
        failed.fold(self.latency.len(), u64::saturating_add)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.latency.is_empty() && self.errors.is_empty()
    }
}

/// Where all tasks of a run hand over what they have.
pub(super) struct Slices(Vec<Mutex<Totals>>);

impl Slices {
    pub(super) fn new() -> Result<Self, BenchError> {
        let slices = (0..SLICES).map(|_| Totals::new().map(Mutex::new));
        Ok(Self(slices.collect::<Result<_, _>>()?))
    }

    fn add(&self, slice: usize, totals: &Totals) -> Result<(), BenchError> {
        match self.0.get(slice) {
            Some(slice) => slice.lock().add(totals),
            None => Ok(()),
        }
    }

    pub(super) fn into_measured(
        self,
        messages: u32,
        unsent: u64,
        took: Duration,
    ) -> Result<Measured, BenchError> {
        let slices: Vec<_> = self.0.into_iter().map(Mutex::into_inner).collect();
        let mut all = Totals::new()?;
        for slice in &slices {
            all.add(slice)?;
        }
        Ok(Measured {
            all,
            slices,
            messages,
            unsent,
            took,
        })
    }
}

/// One series.
pub(super) struct Measured {
    pub(super) all: Totals,
    pub(super) slices: Vec<Totals>,
    /// Messages that one operation consists of.
    pub(super) messages: u32,
    /// Operations of an open loop that were due and never sent.
    pub(super) unsent: u64,
    /// From the beginning to the end of the last operation.
    pub(super) took: Duration,
}

/// What one task records into.
pub(super) struct Recorder<'a> {
    to: &'a Slices,
    slice: usize,
    own: Totals,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(to: &'a Slices) -> Result<Self, BenchError> {
        let own = Totals::new()?;
        Ok(Self { to, slice: 0, own })
    }

    /// What is recorded next belongs to this slice.
    pub(super) fn at(&mut self, slice: usize) -> Result<(), BenchError> {
        let slice = slice.min(SLICES - 1);
        if slice != self.slice {
            self.hand_over()?;
            self.slice = slice;
        }
        Ok(())
    }

    /// An operation that was to be sent at `due`, was sent at `sent` and ended at `ended`, all from the beginning
    /// of the run.
    pub(super) fn done(
        &mut self,
        due: Duration,
        sent: Duration,
        ended: Duration,
    ) -> Result<(), BenchError> {
        let nanoseconds = |from: Duration| {
            u64::try_from(ended.saturating_sub(from).as_nanos()).unwrap_or(u64::MAX)
        };
        // Not `saturating_record`: that one cuts instead of growing.
        self.own
            .latency
            .record(nanoseconds(due))
            .or_failed("recording")?;
        self.own
            .service
            .record(nanoseconds(sent))
            .or_failed("recording")?;
        self.own.last = ended;
        self.own.sent = sent;
        Ok(())
    }

    /// An operation that was sent at `sent` and ended in this error.
    pub(super) fn failed(&mut self, kind: &'static str, sent: Duration, ended: Duration) {
        *self.own.errors.entry(kind).or_default() += 1;
        self.own.last = ended;
        self.own.sent = sent;
    }

    pub(super) fn hand_over(&mut self) -> Result<(), BenchError> {
        if self.own.is_empty() {
            return Ok(());
        }
        self.to.add(self.slice, &self.own)?;
        self.own.latency.reset();
        self.own.service.reset();
        self.own.errors.clear();
        Ok(())
    }
}

/// A task that is given up in the middle of an operation hands over what it has.
impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        // Histograms of the same digits can be added; there is nobody to tell.
        let _ = self.hand_over();
    }
}
