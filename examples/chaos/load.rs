//! Who sends, and who kills.
//!
//! A sender counts what it has sent to whom and how each call has ended; the numbers are compared with the system's own
//! in `checks.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use airssys_wasm_actors::CallOptions;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::MissedTickBehavior;

use crate::random::Random;
use crate::tree::Tree;

pub(crate) const SENDERS: u32 = 16;
/// Of how many kills one is a supervisor's.
const SUPERVISOR_OF: usize = 40;
/// How long a call is waited for: some are not answered in time.
const WITHIN: [Duration; 3] = [
    Duration::from_micros(500),
    Duration::from_millis(20),
    Duration::from_secs(60),
];

/// What was sent to one actor.
#[derive(Clone, Copy, Default)]
pub(crate) struct SentTo {
    pub(crate) calls: u64,
    pub(crate) replies: u64,
    pub(crate) call_errors: u64,
    /// Accepted ones.
    pub(crate) casts: u64,
}

/// What was sent, in all.
pub(crate) struct Sent {
    /// To each actor, in the order of the tree.
    pub(crate) to: Vec<SentTo>,
    /// How calls have failed.
    pub(crate) errors: BTreeMap<&'static str, u64>,
    /// Casts that were given back.
    pub(crate) refused: u64,
}

impl Sent {
    fn nothing(actors: usize) -> Self {
        Self {
            to: vec![SentTo::default(); actors],
            errors: BTreeMap::new(),
            refused: 0,
        }
    }

    fn sum(&self, of: impl Fn(&SentTo) -> u64) -> u64 {
        self.to.iter().map(of).sum()
    }

    pub(crate) fn calls(&self) -> u64 {
        self.sum(|to| to.calls)
    }

    pub(crate) fn replies(&self) -> u64 {
        self.sum(|to| to.replies)
    }

    pub(crate) fn call_errors(&self) -> u64 {
        self.sum(|to| to.call_errors)
    }

    pub(crate) fn casts(&self) -> u64 {
        self.sum(|to| to.casts)
    }

    fn add(&mut self, other: Self) {
        for (to, more) in self.to.iter_mut().zip(other.to) {
            to.calls += more.calls;
            to.replies += more.replies;
            to.call_errors += more.call_errors;
            to.casts += more.casts;
        }
        for (kind, many) in other.errors {
            *self.errors.entry(kind).or_default() += many;
        }
        self.refused += other.refused;
    }
}

/// The senders.
pub(crate) struct Load {
    senders: Vec<JoinHandle<Sent>>,
    actors: usize,
}

impl Load {
    pub(crate) fn start(tree: &Arc<Tree>, seed: u64, until: Instant) -> Self {
        let one = |sender| send(Arc::clone(tree), sender, Random::new(seed, sender), until);
        Self {
            senders: (0..SENDERS)
                .map(|sender| tokio::spawn(one(sender)))
                .collect(),
            actors: tree.actors.len(),
        }
    }

    /// Waits until every call has ended.
    pub(crate) async fn end(self) -> Result<Sent, JoinError> {
        let mut sent = Sent::nothing(self.actors);
        for sender in self.senders {
            sent.add(sender.await?);
        }
        Ok(sent)
    }
}

/// To a goal a sender goes either by itself or through a relay, never both: along one way messages keep their order, and
/// the goals trap where one does not.
async fn send(tree: Arc<Tree>, sender: u32, mut random: Random, until: Instant) -> Sent {
    let mut sent = Sent::nothing(tree.actors.len());
    let half = (tree.actors.len() / 2).max(1);
    let odd = usize::from(sender % 2 == 1);
    let mut sequence = 0_u32;
    while Instant::now() < until {
        let at = 2 * random.below(half) + odd;
        let (Some(put), Some(to)) = (tree.functions.get(at), sent.to.get_mut(at)) else {
            continue;
        };
        sequence += 1;
        if random.below(2) == 0 {
            match put.cast((sender, sequence)) {
                Ok(()) => to.casts += 1,
                Err(_) => sent.refused += 1,
            }
        } else {
            to.calls += 1;
            let options = CallOptions {
                within: *WITHIN.get(random.below(WITHIN.len())).unwrap_or(&WITHIN[0]),
                ..CallOptions::default()
            };
            match put.call_with((sender, sequence), options).await {
                Ok(_) => to.replies += 1,
                Err(error) => {
                    to.call_errors += 1;
                    *sent.errors.entry(error.kind()).or_default() += 1;
                }
            }
        }
        tokio::task::yield_now().await;
    }
    sent
}

/// What was killed.
#[derive(Default)]
pub(crate) struct Kills {
    pub(crate) actors: u64,
    pub(crate) supervisors: u64,
}

pub(crate) async fn kill(tree: &Tree, seed: u64, until: Instant, every: Duration) -> Kills {
    let mut random = Random::new(seed, SENDERS);
    let mut kills = Kills::default();
    let mut due = tokio::time::interval(every);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while Instant::now() < until {
        due.tick().await;
        if random.below(SUPERVISOR_OF) == 0 {
            if let Some(supervisor) = tree.supervisors.get(random.below(tree.supervisors.len())) {
                supervisor.kill();
                kills.supervisors += 1;
            }
        } else if let Some(actor) = tree.actors.get(random.below(tree.actors.len())) {
            actor.kill();
            kills.actors += 1;
        }
    }
    kills
}
