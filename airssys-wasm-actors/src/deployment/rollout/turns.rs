//! Whose turn it is to deploy, and who waits for it.
//!
//! Owns the one [`Turn`] there is and the line for it: who comes first is served first, what waits can be listed, and be
//! cancelled. An order leaves the line once, under one lock, and whoever takes it out of there decides what becomes of it: it
//! has its turn, it is cancelled, or whoever waited has left. A deployment that has begun is not cancelled, but rolled back.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::DeployError;
use super::journal::{NOTE_BYTES_MAX, unix_ms};

/// What is said of an order, for whoever looks while it waits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrderNote {
    /// What is to be done, in a few words: `scale classify to 4`.
    pub what: String,
    /// Who wants it.
    pub by: String,
    /// Why.
    pub why: String,
}

/// An order that waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitingOrder {
    /// Its number: of those who took their place in line, from 1 since the host began.
    pub id: u64,
    /// What it is.
    pub note: OrderNote,
    /// Since when, in milliseconds since 1970.
    pub since_unix_ms: u64,
}

/// Why an order is not cancelled. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CancelRefused {
    /// It has its turn.
    #[error("order {0} does not wait any more: it is under way; roll it back, or pause it")]
    UnderWay(u64),
    /// It had its turn, or was cancelled, or whoever waited has left.
    #[error("order {0} does not wait any more: it has had its turn, or was cancelled before")]
    Gone(u64),
    /// Nobody has taken a place in line under this number yet.
    #[error("there is no order {0}; list those that wait")]
    NoSuchOrder(u64),
    /// Who cancels, or why, is told at too great a length.
    #[error("`{what}` has {bytes} bytes; use {NOTE_BYTES_MAX} at most")]
    TooLong {
        /// `by` or `why`.
        what: &'static str,
        /// How long it is.
        bytes: usize,
    },
}

/// The turn, and the line for it. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<Mutex<Line>>);

#[derive(Default)]
struct Line {
    /// Somebody has the turn.
    taken: bool,
    /// The order that has it, if it came by the line.
    now: Option<u64>,
    /// The last number given.
    last: u64,
    /// First come, first served. Nobody waits while the turn is free. As many as there are futures that wait: each takes its
    /// entry along when it is dropped.
    waiting: VecDeque<Waiter>,
}

struct Waiter {
    order: WaitingOrder,
    verdict: oneshot::Sender<Verdict>,
}

/// What becomes of an order that waited.
type Verdict = Result<Turn, Cancelled>;

/// Who took an order out of the line.
#[derive(Debug)]
struct Cancelled {
    by: String,
    why: String,
}

/// The right to deploy next, given back when it is dropped: see [`Deployer::turn`](super::Deployer::turn).
pub struct Turn(Option<Turns>);

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").finish_non_exhaustive()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

/// A place in line, of an order that waits or has its turn already: see [`Deployer::queue`](super::Deployer::queue). Dropped,
/// it is given up.
pub struct Waiting {
    place: Place,
    verdict: oneshot::Receiver<Verdict>,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

struct Place {
    turns: Turns,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut line = self.turns.0.lock();
        line.waiting.retain(|waiter| waiter.order.id != self.id);
    }
}

impl Waiting {
    /// The number of the order: what cancels it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.place.id
    }

    /// Whether it still waits.
    #[must_use]
    pub fn waits(&self) -> bool {
        let line = self.place.turns.0.lock();
        let mut waiting = line.waiting.iter();
        waiting.any(|waiter| waiter.order.id == self.place.id)
    }

    /// Waits for the turn.
    ///
    /// # Errors
    /// [`DeployError::Cancelled`] if somebody has cancelled the order meanwhile.
    pub async fn turn(mut self) -> Result<Turn, DeployError> {
        match (&mut self.verdict).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(Cancelled { by, why })) => Err(DeployError::Cancelled { by, why }),
            // It is in line for as long as this is there.
            Err(_) => Err(DeployError::GoingDown),
        }
    }
}

impl Turns {
    /// The turn, if nobody has it.
    pub(super) fn try_take(&self) -> Option<Turn> {
        let mut line = self.0.lock();
        if line.taken {
            return None;
        }
        line.taken = true;
        line.now = None;
        Some(Turn(Some(self.clone())))
    }

    /// The turn, or a place behind all who wait for it.
    pub(super) fn queue(&self, note: OrderNote) -> Waiting {
        let (verdict, waiting) = oneshot::channel();
        let mut line = self.0.lock();
        line.last += 1;
        let id = line.last;
        if line.taken {
            let since_unix_ms = unix_ms();
            let order = WaitingOrder {
                id,
                note,
                since_unix_ms,
            };
            line.waiting.push_back(Waiter { order, verdict });
        } else {
            line.taken = true;
            line.now = Some(id);
            // The other end is kept below.
            let _ = verdict.send(Ok(Turn(Some(self.clone()))));
        }
        drop(line);
        let turns = self.clone();
        Waiting {
            place: Place { turns, id },
            verdict: waiting,
        }
    }

    /// Those who wait, the next one first.
    pub(super) fn waiting(&self) -> Vec<WaitingOrder> {
        let line = self.0.lock();
        let waiting = line.waiting.iter();
        waiting.map(|waiter| waiter.order.clone()).collect()
    }

    /// Takes one that waits out of the line.
    pub(super) fn cancel(
        &self,
        id: u64,
        by: &str,
        why: &str,
    ) -> Result<WaitingOrder, CancelRefused> {
        if let Some((what, bytes)) = too_long(&[("by", by), ("why", why)]) {
            return Err(CancelRefused::TooLong { what, bytes });
        }
        let waiter = {
            let mut line = self.0.lock();
            let mut waiting = line.waiting.iter();
            let place = waiting.position(|waiter| waiter.order.id == id);
            let waiter = place.and_then(|place| line.waiting.remove(place));
            let refused = if line.now == Some(id) {
                CancelRefused::UnderWay(id)
            } else if (1..=line.last).contains(&id) {
                CancelRefused::Gone(id)
            } else {
                CancelRefused::NoSuchOrder(id)
            };
            waiter.ok_or(refused)?
        };
        let (by, why) = (by.to_owned(), why.to_owned());
        // Whoever waited may be leaving at this moment.
        let _ = waiter.verdict.send(Err(Cancelled { by, why }));
        Ok(waiter.order)
    }

    /// Whoever is the next has the turn.
    fn pass_on(self) {
        loop {
            let waiter = {
                let mut line = self.0.lock();
                let next = line.waiting.pop_front();
                line.now = next.as_ref().map(|waiter| waiter.order.id);
                line.taken = next.is_some();
                next
            };
            let Some(waiter) = waiter else {
                return;
            };
            match waiter.verdict.send(Ok(Turn(Some(self.clone())))) {
                Ok(()) => return,
                // Whoever waited has left since: the turn is the next one's, and is not given back by being dropped.
                Err(Ok(mut turn)) => turn.0 = None,
                Err(Err(_)) => {}
            }
        }
    }
}

/// What is told at too great a length, and how long it is.
pub(super) fn too_long(notes: &[(&'static str, &str)]) -> Option<(&'static str, usize)> {
    let mut notes = notes.iter().map(|(what, text)| (*what, text.len()));
    notes.find(|(_, bytes)| *bytes > NOTE_BYTES_MAX)
}

#[cfg(test)]
mod tests;
