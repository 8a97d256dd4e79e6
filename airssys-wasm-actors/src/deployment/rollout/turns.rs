//! Whose turn it is to deploy, and who waits for it.
//!
//! Owns the one [`Turn`] there is and the line for it: who comes first is served first, what waits can be listed, and be
//! cancelled. An order leaves the line once, under one lock, and whoever takes it out of there decides what becomes of it: it
//! has its turn, it is cancelled, or whoever waited has left. Whoever has the turn still reads and compiles, perhaps: until
//! the deployment begins, which is decided under the same lock, it is cancelled too, and the next one has the turn. That holds
//! whether it had to wait or found the turn free. One that has begun is not cancelled, but rolled back.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::journal::{NOTE_BYTES_MAX, unix_ms};
use super::{DeployError, DeployOptions, Deployer};

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

impl OrderNote {
    fn check(&self) -> Result<(), DeployError> {
        let Self { what, by, why } = self;
        match too_long(&[("what", what), ("by", by), ("why", why)]) {
            Some((what, bytes)) => Err(DeployError::TooLong { what, bytes }),
            None => Ok(()),
        }
    }
}

/// An order that waits for its turn, or has it and has not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitingOrder {
    /// Its number: of those who took a place in line, or the turn with a note, from 1 since the host began.
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
    /// Its deployment has begun.
    #[error("order {0} does not wait any more: it is under way; roll it back, or pause it")]
    UnderWay(u64),
    /// It had its turn, or was cancelled, or whoever waited has left.
    #[error("order {0} does not wait any more: it has had its turn, or was cancelled before")]
    Gone(u64),
    /// Nobody has given an order under this number yet.
    #[error("there is no order {0}")]
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
    /// Who has the turn.
    holder: Option<Holder>,
    /// The last number given to a turn.
    turns: u64,
    /// The last number given to an order.
    last: u64,
    /// First come, first served. Nobody waits while the turn is free. As many as there are futures that wait: each takes its
    /// entry along when it is dropped.
    waiting: VecDeque<Waiter>,
}

struct Holder {
    turn: u64,
    /// The order that has it, if one was given.
    order: Option<WaitingOrder>,
    /// Its deployment has begun.
    begun: bool,
    cancelled: Arc<OnceLock<Cancelled>>,
}

struct Waiter {
    order: WaitingOrder,
    verdict: oneshot::Sender<Verdict>,
}

/// What becomes of an order that waited.
type Verdict = Result<Turn, Cancelled>;

/// Who took an order out of the line, or its turn from it.
#[derive(Debug, Clone)]
struct Cancelled {
    by: String,
    why: String,
}

/// The right to deploy next, given back when it is dropped: see [`Deployer::turn`]. It is taken away
/// when its order is cancelled before the deployment has begun.
pub struct Turn {
    turns: Turns,
    number: u64,
    order: Option<u64>,
    cancelled: Arc<OnceLock<Cancelled>>,
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").finish_non_exhaustive()
    }
}

impl Turn {
    /// The number of the order that has it, which cancels it until its deployment begins; `None` of one that was taken without
    /// a note.
    #[must_use]
    pub fn order(&self) -> Option<u64> {
        self.order
    }

    /// The deployment begins: from now on the order is not cancelled any more.
    pub(super) fn begin(&self) -> Result<(), DeployError> {
        let mut line = self.turns.0.lock();
        let holder = line.holder.as_mut();
        if let Some(holder) = holder.filter(|holder| holder.turn == self.number) {
            holder.begun = true;
            return Ok(());
        }
        drop(line);
        self.is_kept()
    }

    fn is_kept(&self) -> Result<(), DeployError> {
        match self.cancelled.get() {
            Some(cancelled) => Err(cancelled.clone().into()),
            None => Ok(()),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.give_back(self.number);
    }
}

impl From<Cancelled> for DeployError {
    fn from(cancelled: Cancelled) -> Self {
        let Cancelled { by, why } = cancelled;
        Self::Cancelled { by, why }
    }
}

/// A place in line, of an order that waits or has its turn already: see [`Deployer::queue`]. Dropped,
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
            Ok(Ok(turn)) => turn.is_kept().map(|()| turn),
            Ok(Err(cancelled)) => Err(cancelled.into()),
            // It is in line for as long as this is there.
            Err(_) => Err(DeployError::GoingDown),
        }
    }
}

impl Line {
    /// Gives the turn, which is free, to this order.
    fn give(&mut self, turns: &Turns, order: Option<WaitingOrder>) -> Turn {
        self.turns += 1;
        let (number, cancelled) = (self.turns, Arc::default());
        let id = order.as_ref().map(|order| order.id);
        self.holder = Some(Holder {
            turn: number,
            order,
            begun: false,
            cancelled: Arc::clone(&cancelled),
        });
        Turn {
            turns: turns.clone(),
            number,
            order: id,
            cancelled,
        }
    }

    /// An order of the next number.
    fn order(&mut self, note: OrderNote) -> WaitingOrder {
        self.last += 1;
        WaitingOrder {
            id: self.last,
            note,
            since_unix_ms: unix_ms(),
        }
    }
}

impl Turns {
    /// The turn, if nobody has it.
    pub(super) fn try_take(&self) -> Option<Turn> {
        let mut line = self.0.lock();
        line.holder.is_none().then(|| line.give(self, None))
    }

    /// The turn under the next number, if nobody has it. Otherwise no number is given.
    pub(super) fn try_take_as(&self, note: OrderNote) -> Option<Turn> {
        let mut line = self.0.lock();
        if line.holder.is_some() {
            return None;
        }
        let order = line.order(note);
        Some(line.give(self, Some(order)))
    }

    /// The turn, or a place behind all who wait for it.
    pub(super) fn queue(&self, note: OrderNote) -> Waiting {
        let (verdict, waiting) = oneshot::channel();
        let mut line = self.0.lock();
        let order = line.order(note);
        let id = order.id;
        if line.holder.is_some() {
            line.waiting.push_back(Waiter { order, verdict });
        } else {
            // The other end is kept below.
            let _ = verdict.send(Ok(line.give(self, Some(order))));
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

    /// The order that has the turn and has not begun.
    pub(super) fn preparing(&self) -> Option<WaitingOrder> {
        let line = self.0.lock();
        let holder = line.holder.as_ref().filter(|holder| !holder.begun);
        holder.and_then(|holder| holder.order.clone())
    }

    /// Takes one that waits out of the line, or the turn from one that has not begun.
    pub(super) fn cancel(
        &self,
        id: u64,
        by: &str,
        why: &str,
    ) -> Result<WaitingOrder, CancelRefused> {
        if let Some((what, bytes)) = too_long(&[("by", by), ("why", why)]) {
            return Err(CancelRefused::TooLong { what, bytes });
        }
        let (by, why) = (by.to_owned(), why.to_owned());
        let cancelled = Cancelled { by, why };
        let mut line = self.0.lock();
        let mut waiting = line.waiting.iter();
        let place = waiting.position(|waiter| waiter.order.id == id);
        if let Some(waiter) = place.and_then(|place| line.waiting.remove(place)) {
            drop(line);
            // Whoever waited may be leaving at this moment.
            let _ = waiter.verdict.send(Err(cancelled));
            return Ok(waiter.order);
        }
        let has_turn = |holder: &Holder| holder.order.as_ref().is_some_and(|one| one.id == id);
        match line
            .holder
            .take_if(|holder| has_turn(holder) && !holder.begun)
        {
            Some(Holder {
                order: Some(order),
                cancelled: told,
                ..
            }) => {
                // Nobody else takes the turn from it.
                let _ = told.set(cancelled);
                self.pass_on(line);
                Ok(order)
            }
            _ if line.holder.as_ref().is_some_and(has_turn) => Err(CancelRefused::UnderWay(id)),
            _ if (1..=line.last).contains(&id) => Err(CancelRefused::Gone(id)),
            _ => Err(CancelRefused::NoSuchOrder(id)),
        }
    }

    /// Whoever has this turn has it no longer.
    fn give_back(&self, number: u64) {
        let mut line = self.0.lock();
        let given = line.holder.take_if(|holder| holder.turn == number);
        // It may have been taken away before.
        if given.is_some() {
            self.pass_on(line);
        }
    }

    /// The turn is free: whoever is the next has it.
    fn pass_on(&self, mut line: MutexGuard<'_, Line>) {
        let Some(Waiter { order, verdict }) = line.waiting.pop_front() else {
            return;
        };
        let turn = line.give(self, Some(order));
        drop(line);
        // Where whoever waited has left since, the turn is dropped here, and with that is the next one's.
        drop(verdict.send(Ok(turn)));
    }
}

impl Deployer {
    /// Takes the turn to deploy: for who has to know what runs by then. While it is kept nobody else deploys, and
    /// [`Deployer::current`] stays what it is.
    ///
    /// # Errors
    /// [`DeployError::UnderWay`] if somebody else has it.
    pub fn turn(&self) -> Result<Turn, DeployError> {
        self.inner.turns.try_take().ok_or(DeployError::UnderWay)
    }

    /// Takes the turn to deploy, as [`Deployer::turn`], for an order that has a number: until its deployment begins it is what
    /// [`Deployer::preparing`] says, and can be cancelled.
    ///
    /// # Errors
    /// [`DeployError::UnderWay`] if somebody else has it, and then no number is given; [`DeployError::TooLong`] if the note has
    /// more than 4 KiB anywhere.
    pub fn turn_for(&self, note: OrderNote) -> Result<Turn, DeployError> {
        note.check()?;
        let turn = self.inner.turns.try_take_as(note);
        turn.ok_or(DeployError::UnderWay)
    }

    /// Takes the turn to deploy, or a place in the line of those who wait for it. The order is listed until its turn comes,
    /// and can be cancelled until its deployment begins.
    ///
    /// # Errors
    /// [`DeployError::TooLong`] if the note has more than 4 KiB anywhere.
    pub fn queue(&self, note: OrderNote) -> Result<Waiting, DeployError> {
        note.check()?;
        Ok(self.inner.turns.queue(note))
    }

    /// The order that has its turn, and whose deployment has not begun: what it deploys is still read, or compiled.
    #[must_use]
    pub fn preparing(&self) -> Option<WaitingOrder> {
        self.inner.turns.preparing()
    }

    /// The orders that wait for their turn, the next one first.
    #[must_use]
    pub fn waiting(&self) -> Vec<WaitingOrder> {
        self.inner.turns.waiting()
    }

    /// Cancels an order that waits, or has its turn and has not begun: whoever waits for its turn, or deploys in it, is told
    /// by whom and why, and the others keep their order. Nothing had begun, so nothing is recorded.
    ///
    /// # Errors
    /// [`CancelRefused`], with nothing changed.
    pub fn cancel(&self, id: u64, by: &str, why: &str) -> Result<WaitingOrder, CancelRefused> {
        let order = self.inner.turns.cancel(id, by, why)?;
        let application = self.current().name().clone();
        let what = order.note.what.as_str();
        tracing::info!(%application, id, what, by, why, "an order is cancelled");
        Ok(order)
    }

    /// The turn, waited for if that is wanted.
    pub(super) async fn turn_of(
        &self,
        options: &DeployOptions,
        what: String,
    ) -> Result<Turn, DeployError> {
        if !options.queue {
            return self.turn();
        }
        let (by, why) = (options.by.clone(), options.why.clone());
        self.queue(OrderNote { what, by, why })?.turn().await
    }
}

/// What is told at too great a length, and how long it is.
pub(super) fn too_long(notes: &[(&'static str, &str)]) -> Option<(&'static str, usize)> {
    let mut notes = notes.iter().map(|(what, text)| (*what, text.len()));
    notes.find(|(_, bytes)| *bytes > NOTE_BYTES_MAX)
}

#[cfg(test)]
mod tests;
