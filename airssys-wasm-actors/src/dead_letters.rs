//! Casts that could not be delivered: kept, listed, sent again, thrown away.
//!
//! Owns [`DeadLetter`] and the door to a system's store of them, [`DeadLetters`]. A dead letter has freed its permit
//! in the mailbox and is charged to the store instead, which keeps the newest by count and by bytes. Nothing here is
//! on the way of a message that is delivered, and nothing is sent again unless somebody asks.
//!
//! **Replay** sends the cast again, to whoever has the address now, under the name of its first sender. The letter
//! stays in the store until the cast has been handled, and stays for good with the new reason if it fails again. In
//! the accounting a replayed cast that is accepted is one more cast, and the old dead letter stays counted:
//! `casts = casts_handled + dead_letters` holds with every replay. A letter is under way at most once at a time.
//!
//! **Poison**: a letter counts how often it has ended the actor that handled it. From
//! [`DeadLetterLimits::poison_after`] on it is not sent again unless that is forced.

mod filter;
mod store;

use std::sync::Arc;
use std::time::SystemTime;

use airssys_wasm::{Args, Value};

pub use filter::{AddressPattern, DeadLetterFilter, DeadLetterSelection, PatternError};
pub(crate) use store::{DeadLetterStore, Failed, Replay};

use crate::address::{ActorAddress, ActorId};
use crate::call::refused;
use crate::envelope::Envelope;
use crate::error::CallError;
use crate::messaging::{HANDLE_MESSAGE, as_handled};
use crate::shared::Shared;

/// A cast nobody handled.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Number in this system, from 0, never used twice. A letter that fails again keeps it.
    pub sequence: u64,
    /// Whom it is for.
    pub target: ActorAddress,
    /// The function, as `interface#function`.
    pub function: String,
    /// The actor that sent it, where it still had a name; `None` for a task of the host.
    pub sender: Option<ActorAddress>,
    pub(crate) sender_id: Option<ActorId>,
    /// The arguments.
    pub args: Arc<Args>,
    /// Their size in bytes, as charged to the store.
    pub bytes: usize,
    /// Why it was not handled, the last time.
    pub why: CallError,
    /// When it became a dead letter, the first time.
    pub at: SystemTime,
    /// How often it has been sent, the first time included.
    pub attempts: u32,
    /// How often it has ended the actor that handled it. Somebody's kill does not count.
    pub deaths: u32,
    /// Whether it has done so too often to be sent again.
    pub poison: bool,
    /// Whether it has been sent again and is not handled yet.
    pub under_way: bool,
}

impl DeadLetter {
    /// The `message` that whoever handles it is given, if it is one of the messaging plane: such a message travels without
    /// its record, and so it lies in `args`.
    #[must_use]
    pub fn message(&self) -> Option<Value> {
        let is_message = HANDLE_MESSAGE.is_at(&self.function);
        is_message
            .then(|| as_handled(&self.args, self.sender.as_ref()))
            .flatten()
    }
}

/// The bounds of the store. Where there is no room, the oldest letters of whichever sender has the most there are forgotten: one
/// that floods the store pushes out its own. What is sent from outside counts as one sender's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetterLimits {
    /// Most letters kept. Default 1,000; 0 for none.
    pub count_max: usize,
    /// Most bytes of arguments kept. Default 16 MiB.
    pub bytes_max: usize,
    /// After ending its actor so often a letter is poison. Default 3; 0 for never.
    pub poison_after: u32,
}

impl Default for DeadLetterLimits {
    fn default() -> Self {
        Self {
            count_max: 1_000,
            bytes_max: 16 << 20,
            poison_after: 3,
        }
    }
}

/// Why a letter was not sent again. It is kept.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayRefused {
    /// Handled, purged, forgotten for newer ones, or never there.
    #[error("there is no dead letter {sequence}")]
    NoSuchLetter {
        /// The number asked for.
        sequence: u64,
    },
    /// It has been sent again already.
    #[error("dead letter {sequence} is under way already")]
    UnderWay {
        /// The letter.
        sequence: u64,
    },
    /// It has ended its actor too often.
    #[error(
        "dead letter {sequence} has ended its actor {deaths} times; it is sent again only if forced"
    )]
    Poison {
        /// The letter.
        sequence: u64,
        /// How often it has ended its actor.
        deaths: u32,
    },
    /// Nobody has the address, or whoever has it does not take the message.
    #[error("dead letter {sequence} was not accepted: {why}")]
    NotAccepted {
        /// The letter.
        sequence: u64,
        /// Why not; this is the letter's reason from now on.
        #[source]
        why: Box<CallError>,
    },
}

impl ReplayRefused {
    /// The letter concerned.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        match self {
            Self::NoSuchLetter { sequence }
            | Self::UnderWay { sequence }
            | Self::Poison { sequence, .. }
            | Self::NotAccepted { sequence, .. } => *sequence,
        }
    }

    /// The kind as a stable kebab-case name; a letter that was not accepted gives its error's.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoSuchLetter { .. } => "no-such-letter",
            Self::UnderWay { .. } => "under-way",
            Self::Poison { .. } => "poison",
            Self::NotAccepted { why, .. } => why.kind(),
        }
    }
}

/// What became of a replay.
#[derive(Debug, Clone, Default)]
pub struct ReplayReport {
    /// Letters that were sent again, by sequence. Each leaves the store when it has been handled.
    pub accepted: Vec<u64>,
    /// Letters that were not.
    pub refused: Vec<ReplayRefused>,
}

/// What became of a purge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PurgeReport {
    /// Letters thrown away.
    pub purged: usize,
    /// Letters that were chosen and stay, because they are under way.
    pub under_way: usize,
}

/// The dead letters of a system. A handle: clones see the same letters.
#[derive(Clone)]
pub struct DeadLetters {
    shared: Arc<Shared>,
}

impl DeadLetters {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn store(&self) -> &DeadLetterStore {
        self.shared.dead_letters()
    }

    /// The letters that pass `filter`, oldest first. Their arguments are shared, not copied.
    #[must_use]
    pub fn list(&self, filter: &DeadLetterFilter) -> Vec<DeadLetter> {
        self.store().list(filter, SystemTime::now())
    }

    /// One letter.
    #[must_use]
    pub fn get(&self, sequence: u64) -> Option<DeadLetter> {
        self.store().get(sequence)
    }

    /// Letters kept now, and the bytes of their arguments.
    #[must_use]
    pub fn kept(&self) -> (usize, usize) {
        self.store().kept()
    }

    /// Dead letters ever: those no longer kept, and each failure of a replay, included.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.store().total()
    }

    /// Sends letters again, oldest first, each at most once; `force` sends poison too.
    ///
    /// It does not wait for them to be handled: [`Event::DeadLetterHandled`](crate::Event::DeadLetterHandled) tells.
    /// A mailbox that blocks its senders refuses with `mailbox-full`, as for every cast.
    #[must_use = "what was refused is only said here"]
    pub fn replay(&self, which: &DeadLetterSelection, force: bool) -> ReplayReport {
        let mut report = ReplayReport::default();
        for sequence in self.store().select(which, SystemTime::now()) {
            match self.replay_one(sequence, force) {
                Ok(()) => report.accepted.push(sequence),
                Err(why) => report.refused.push(why),
            }
        }
        report
    }

    fn replay_one(&self, sequence: u64, force: bool) -> Result<(), ReplayRefused> {
        let letter = self.store().begin_replay(sequence, force)?;
        self.send(&letter).map_err(|why| {
            self.store().not_accepted(sequence, why.clone());
            let why = Box::new(why);
            ReplayRefused::NotAccepted { sequence, why }
        })
    }

    fn send(&self, letter: &DeadLetter) -> Result<(), CallError> {
        let slot = self.shared.whereis(&letter.target).ok_or_else(|| {
            let address = letter.target.clone();
            CallError::NoSuchActor { address }
        })?;
        let export = slot.surface().export(&letter.function)?;
        let replay = Replay {
            sequence: letter.sequence,
            attempts: letter.attempts,
            deaths: letter.deaths,
            sender: letter.sender.clone(),
            at: letter.at,
        };
        let args = Args::clone(&letter.args);
        let envelope =
            Envelope::replayed(Arc::clone(&slot), letter.sender_id, export, args, replay);
        match slot.mailbox().push(envelope) {
            Ok(()) => {
                slot.counters().cast();
                Ok(())
            }
            Err(refusal) => Err(refused(&slot, refusal).0),
        }
    }

    /// Throws letters away. Those under way stay.
    pub fn purge(&self, which: &DeadLetterSelection) -> PurgeReport {
        self.store().purge(which, SystemTime::now())
    }
}
