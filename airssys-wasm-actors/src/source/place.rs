//! How far a source has come in what it reads.
//!
//! Owns, for one name and as long as the application runs, the number of the next item of every input it has read, so that
//! no item is sent twice and none left out, whichever deployment has the source go on. While a deployment can be undone, the
//! open input is kept too: a pipe cannot be read again. Later a regular file is opened anew, and read over up to there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::SourcePlan;
use super::input::{self, Input, Reading, SourceError};
use crate::manifest::SourceFormat;

/// Most inputs of one source whose places are known. Each deployment may name another file.
const INPUTS_MAX: usize = 4_096;

/// An input that is being read.
pub(crate) struct Reader {
    pub(super) items: mpsc::Receiver<Reading>,
    /// Taken before, and not sent; in order.
    pub(super) held: VecDeque<(u32, Box<str>)>,
    /// How the input ended, if it has.
    pub(super) end: Option<Result<(), SourceError>>,
    item_bytes_max: u64,
}

/// What makes an input the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct What {
    input: Input,
    format: SourceFormat,
    items: String,
}

struct Place {
    what: What,
    next: Arc<AtomicU64>,
    reader: Option<Reader>,
}

/// Every place of one source.
#[derive(Default)]
pub(crate) struct Places(Mutex<Vec<Place>>);

impl std::fmt::Debug for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Places").field(&self.0.lock().len()).finish()
    }
}

impl What {
    fn of(plan: &SourcePlan) -> Self {
        Self {
            input: plan.input.clone(),
            format: plan.cutting.format,
            items: plan.cutting.items.clone(),
        }
    }
}

impl Places {
    /// The input where it was left, and where the number of the next item is kept.
    pub(super) fn open(&self, plan: &SourcePlan) -> Result<(Arc<AtomicU64>, Reader), SourceError> {
        let what = What::of(plan);
        let mut places = self.0.lock();
        let count = places.len();
        let (next, kept) = match places.iter_mut().find(|place| place.what == what) {
            Some(place) => {
                let kept = place.reader.take();
                let fits = |kept: &Reader| {
                    kept.item_bytes_max == plan.cutting.item_bytes_max || kept.end.is_some()
                };
                let from = place.next.load(Ordering::Acquire);
                match kept.filter(fits) {
                    Some(reader) => (Arc::clone(&place.next), Some(reader)),
                    None if plan.input.is_rereadable() => (Arc::clone(&place.next), None),
                    None => {
                        let input = plan.input.clone();
                        return Err(SourceError::NotAgain { input, from });
                    }
                }
            }
            None if count >= INPUTS_MAX => {
                return Err(SourceError::TooManyInputs {
                    inputs_max: INPUTS_MAX,
                });
            }
            None => {
                let next = Arc::<AtomicU64>::default();
                places.push(Place {
                    what,
                    next: Arc::clone(&next),
                    reader: None,
                });
                (next, None)
            }
        };
        let reader = match kept {
            Some(reader) => reader,
            None => Reader {
                items: input::start(
                    plan.input.clone(),
                    plan.cutting.clone(),
                    next.load(Ordering::Acquire),
                )?,
                held: VecDeque::new(),
                end: None,
                item_bytes_max: plan.cutting.item_bytes_max,
            },
        };
        Ok((next, reader))
    }

    /// Keeps an input for whoever goes on with it. `end` is how feeding it ended.
    pub(super) fn put_back(
        &self,
        plan: &SourcePlan,
        mut reader: Reader,
        end: &Result<(), SourceError>,
    ) {
        match end {
            Err(SourceError::Stopped) => {}
            // What is appended to a file is found by who reads it again; a pipe has ended for good.
            Ok(()) if !plan.input.is_rereadable() => reader.end = Some(Ok(())),
            Ok(()) | Err(_) => return,
        }
        let what = What::of(plan);
        let mut places = self.0.lock();
        if let Some(place) = places.iter_mut().find(|place| place.what == what) {
            place.reader = Some(reader);
        }
    }

    /// Why a source cannot go on as `plan` says, where `running` is what it is doing now.
    pub(crate) fn refuses(
        &self,
        plan: &SourcePlan,
        running: Option<&SourcePlan>,
    ) -> Option<SourceError> {
        let what = What::of(plan);
        let places = self.0.lock();
        let Some(place) = places.iter().find(|place| place.what == what) else {
            return (places.len() >= INPUTS_MAX).then_some(SourceError::TooManyInputs {
                inputs_max: INPUTS_MAX,
            });
        };
        let bytes = plan.cutting.item_bytes_max;
        let is_kept = |reader: &Reader| reader.item_bytes_max == bytes || reader.end.is_some();
        let is_running = |running: &SourcePlan| {
            What::of(running) == what && running.cutting.item_bytes_max == bytes
        };
        let goes_on = running.is_some_and(is_running)
            || place.reader.as_ref().is_some_and(is_kept)
            || plan.input.is_rereadable();
        (!goes_on).then(|| SourceError::NotAgain {
            input: plan.input.clone(),
            from: place.next.load(Ordering::Acquire),
        })
    }

    /// Closes every input that nobody reads from now. Where each was left stays known.
    pub(crate) fn close(&self) {
        self.close_those(|_| true);
    }

    /// The same, but for what could not be read again.
    pub(crate) fn close_rereadable(&self) {
        self.close_those(Input::is_rereadable);
    }

    fn close_those(&self, closes: impl Fn(&Input) -> bool) {
        let mut places = self.0.lock();
        for place in places.iter_mut().filter(|place| closes(&place.what.input)) {
            let over = place.reader.take();
            // Of one that has ended nothing is open, and that it has is worth knowing.
            place.reader = over.filter(|reader| reader.end.is_some() && reader.held.is_empty());
        }
    }
}
