//! The load: the earthquakes of one week, again and again, and what became of each.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use airssys_wasm::Value;
use airssys_wasm_actors::{ActorFunction, ActorRef};
use serde_json::value::RawValue;
use tokio::task::JoinSet;

/// Events under way at once.
const IN_FLIGHT: usize = 64;

/// Events by what became of them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fed {
    pub(crate) sent: u64,
    pub(crate) counted: u64,
    /// The application says that they are bad.
    pub(crate) rejected: u64,
    /// A component died with them, or did not answer.
    pub(crate) failed: u64,
    /// The application itself did not answer.
    pub(crate) errors: u64,
}

#[derive(Default)]
struct Counts {
    next: AtomicU32,
    counted: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    errors: AtomicU64,
    stop: AtomicBool,
    /// Nanoseconds since the feed began, when the last event was answered.
    last: AtomicU64,
    gap: AtomicU64,
}

/// A feed that runs until it is ended.
pub(crate) struct Feed {
    counts: Arc<Counts>,
    feeders: JoinSet<()>,
}

#[derive(serde::Deserialize)]
struct Week<'a> {
    #[serde(borrow)]
    features: Vec<&'a RawValue>,
}

impl Feed {
    /// Feeds `intake` with the events of a file.
    pub(crate) fn start(intake: &ActorRef, file: &Path) -> Result<Self, Box<dyn Error>> {
        let text = std::fs::read_to_string(file)?;
        let week: Week<'_> = serde_json::from_str(&text)?;
        let events: Arc<[String]> = week
            .features
            .iter()
            .map(|one| one.get().to_owned())
            .collect();
        let feed = intake.function("feed")?;
        let counts = Arc::<Counts>::default();
        let began = Instant::now();
        let mut feeders = JoinSet::new();
        for _ in 0..IN_FLIGHT {
            let (events, counts) = (Arc::clone(&events), Arc::clone(&counts));
            feeders.spawn(one(feed.clone(), events, counts, began));
        }
        Ok(Self { counts, feeders })
    }

    pub(crate) fn so_far(&self) -> Fed {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Fed {
            sent: self.counts.next.load(Ordering::Relaxed).into(),
            counted: read(&self.counts.counted),
            rejected: read(&self.counts.rejected),
            failed: read(&self.counts.failed),
            errors: read(&self.counts.errors),
        }
    }

    /// The longest time without an answer since it was last asked.
    pub(crate) fn take_gap(&self) -> Duration {
        Duration::from_nanos(self.counts.gap.swap(0, Ordering::Relaxed))
    }

    /// Ends it; every event that was sent has its end then.
    pub(crate) async fn end(mut self) -> Result<Fed, Box<dyn Error>> {
        self.counts.stop.store(true, Ordering::Relaxed);
        while let Some(feeder) = self.feeders.join_next().await {
            feeder?;
        }
        Ok(self.so_far())
    }
}

async fn one(feed: ActorFunction, events: Arc<[String]>, counts: Arc<Counts>, began: Instant) {
    let add = |count: &AtomicU64| count.fetch_add(1, Ordering::Relaxed);
    while !counts.stop.load(Ordering::Relaxed) {
        let number = counts.next.fetch_add(1, Ordering::Relaxed);
        let at = usize::try_from(number).unwrap_or_default() % events.len().max(1);
        let Some(event) = events.get(at) else { return };
        // The number of an event is its place in the week: a bad release is bad about the same ones each time.
        let place = u32::try_from(at).unwrap_or_default();
        match feed.call((place, event.as_str())).await {
            Ok(reply) => match reply.into_values().next() {
                Some(Value::Result(Ok(_))) => add(&counts.counted),
                Some(Value::Result(Err(Some(why)))) if matches!(*why, Value::Variant(0, _)) => {
                    add(&counts.rejected)
                }
                _ => add(&counts.failed),
            },
            Err(_) => add(&counts.errors),
        };
        let now = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let before = counts.last.fetch_max(now, Ordering::Relaxed);
        counts
            .gap
            .fetch_max(now.saturating_sub(before), Ordering::Relaxed);
    }
}
