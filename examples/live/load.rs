//! Who feeds, and what became of each item.
//!
//! As the manifest's own source does it: an item has a number and goes to `feed` of `intake`, and an error that is not
//! `rejected` means that a component failed it. Each item is noted once, with the stage in which it was sent and the
//! one in which its answer came.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use airssys_wasm::{Args, Value};
use airssys_wasm_actors::{ActorFunction, ActorRef, CallError, CallOptions};
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::task::{JoinError, JoinHandle};

/// Items under way at once, each in a task of its own.
pub(crate) const IN_FLIGHT: usize = 64;
/// Longer than anything takes: what is not answered by then is an error of what is shown here.
const WITHIN: Duration = Duration::from_secs(60);
/// The place of `rejected` among the cases of `feed-error`.
const REJECTED: u32 = 0;

/// The items of the feed, in their order, as they stand in it.
pub(crate) fn items(file: &Path) -> Result<Vec<Box<str>>, Box<dyn Error>> {
    #[derive(serde::Deserialize)]
    struct Feed {
        features: Vec<Box<RawValue>>,
    }
    let feed: Feed = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let items = feed.features.into_iter().map(Box::<str>::from);
    Ok(items.collect())
}

/// An item that failed.
pub(crate) struct Failure {
    /// The stage in which it was sent.
    pub(crate) sent_in: usize,
    /// The stage in which the answer came.
    pub(crate) answered_in: usize,
    pub(crate) why: String,
}

/// What became of the items.
#[derive(Default)]
pub(crate) struct Account {
    pub(crate) replies: u64,
    pub(crate) rejected: u64,
    pub(crate) failures: Vec<Failure>,
    /// The newest reply, and its stage.
    newest: Option<(Instant, usize)>,
    /// The longest time between two replies, of each stage.
    gaps: BTreeMap<usize, Duration>,
}

impl Account {
    /// The longest time between two replies that reached into a stage.
    pub(crate) fn gap(&self, stage: usize) -> Duration {
        self.gaps.get(&stage).copied().unwrap_or_default()
    }

    fn reply(&mut self, stage: usize) {
        self.replies += 1;
        let now = Instant::now();
        if let Some((before, began_in)) = self.newest.replace((now, stage)) {
            for reached in began_in..=stage {
                let gap = self.gaps.entry(reached).or_default();
                *gap = (*gap).max(now - before);
            }
        }
    }
}

struct Shared {
    feed: ActorFunction,
    items: Vec<Box<str>>,
    /// The number of the next item.
    next: AtomicU32,
    stage: AtomicUsize,
    stop: AtomicBool,
    account: Mutex<Account>,
}

/// The load.
pub(crate) struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(intake: &ActorRef, items: Vec<Box<str>>) -> Result<Self, Box<dyn Error>> {
        let shared = Arc::new(Shared {
            feed: intake.function("feed")?,
            items,
            next: AtomicU32::new(0),
            stage: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            account: Mutex::default(),
        });
        let tasks = (0..IN_FLIGHT).map(|_| tokio::spawn(feed(Arc::clone(&shared))));
        Ok(Self {
            tasks: tasks.collect(),
            shared,
        })
    }

    /// What is sent from now on belongs to the next stage; returns its number.
    pub(crate) fn next_stage(&self) -> usize {
        self.shared.stage.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Sends nothing more and waits for every answer: how many were sent, and what became of them.
    pub(crate) async fn end(self) -> Result<(u64, Account), JoinError> {
        self.shared.stop.store(true, Ordering::Release);
        for task in self.tasks {
            task.await?;
        }
        let sent = u64::from(self.shared.next.load(Ordering::Acquire));
        let account = std::mem::take(&mut *self.shared.account.lock());
        Ok((sent, account))
    }
}

async fn feed(shared: Arc<Shared>) {
    while !shared.stop.load(Ordering::Acquire) {
        let number = shared.next.fetch_add(1, Ordering::AcqRel);
        let sent_in = shared.stage.load(Ordering::Acquire);
        let at = usize::try_from(number).unwrap_or_default() % shared.items.len().max(1);
        let item = shared.items.get(at).cloned().unwrap_or_default();
        let options = CallOptions {
            within: WITHIN,
            ..CallOptions::default()
        };
        let args: Args = [Value::U32(number), Value::String(item)]
            .into_iter()
            .collect();
        let answer = shared.feed.call_with(args, options).await;
        let mut account = shared.account.lock();
        let answered_in = shared.stage.load(Ordering::Acquire);
        match outcome(answer) {
            Outcome::Ok => account.reply(answered_in),
            Outcome::Rejected => account.rejected += 1,
            Outcome::Failed(why) => account.failures.push(Failure {
                sent_in,
                answered_in,
                why,
            }),
        }
    }
}

enum Outcome {
    Ok,
    Rejected,
    Failed(String),
}

fn outcome(answer: Result<Args, CallError>) -> Outcome {
    let value = match answer {
        Ok(results) => results.into_values().next(),
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let Some(Value::Result(Err(error))) = value else {
        return Outcome::Ok;
    };
    match error.map(|boxed| *boxed) {
        Some(Value::Variant(REJECTED, _)) => Outcome::Rejected,
        Some(Value::Variant(_, Some(why))) => match *why {
            Value::String(text) => Outcome::Failed(text.into()),
            other => Outcome::Failed(format!("{other:?}")),
        },
        other => Outcome::Failed(format!("{other:?}")),
    }
}
