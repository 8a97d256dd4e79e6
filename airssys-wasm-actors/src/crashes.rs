//! Crash reports: what is known of an abnormal end, kept and logged.
//!
//! Owns [`CrashReport`] and the door to a system's store of them, [`Crashes`]. Every abnormal end of an incarnation, and
//! every start that failed, makes one report: `report` takes what it needs where the exit is told to the supervisor, from
//! the fault, and from what the dead one left of its last messages (`recent`). `store` keeps the newest by count and by
//! bytes, and has their words made when somebody reads them: a restart that nobody looks at does not pay for them. Nothing
//! of it is on the way of a message but the few stores of `recent`.
//!
//! **No secrets.** A report has headers of messages and never their arguments; it has nothing of a component's
//! configuration or environment, and where the text of a reason repeats a value of them, the value is left out. The
//! texts of a native actor's panics and errors are its author's words, and are kept as they are.

mod recent;
mod report;
mod store;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use airssys_wasm::{FaultClass, Frame, Spent};

pub(crate) use recent::{Given, Recent};
pub(crate) use report::{Ended, Left, record, without};
pub(crate) use store::CrashStore;

use crate::address::ActorAddress;
use crate::dead_letters::AddressPattern;
use crate::shared::Shared;

/// One abnormal end.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CrashReport {
    /// Number in this system, from 0, never used twice.
    pub sequence: u64,
    /// Who ended; of replicas, the one.
    pub address: ActorAddress,
    /// Which incarnation.
    pub incarnation: u64,
    /// When.
    pub at: SystemTime,
    /// How long the incarnation was there, its start included.
    pub up: Duration,
    /// It ended before it was up.
    pub starting: bool,
    /// The kind of its reason, as [`ExitReason::kind`](crate::ExitReason::kind).
    pub kind: &'static str,
    /// The reason in words, on one line of at most about 4 KiB. A value of its configuration or environment in it
    /// reads `[left out]`.
    pub reason: String,
    /// Why its instance died, if it had one and that was what ended it.
    pub fault: Option<FaultClass>,
    /// The guest's functions, innermost first; with source lines if the component has debug information.
    pub backtrace: Vec<Frame>,
    /// What its instance had used, and its limits.
    pub spent: Option<Spent>,
    /// The last messages it was given, the newest last: at most [`RECENT_MESSAGES`].
    pub recent: Vec<RecentMessage>,
    /// How often it had been started again, over all its incarnations.
    pub restarts: u64,
    /// Who supervises it.
    pub supervisor: ActorAddress,
    /// What the report is charged in the store: the most that it takes.
    pub bytes: usize,
}

/// Messages whose headers a report has.
pub const RECENT_MESSAGES: usize = recent::KEPT;

/// The header of a message that an actor was given. There are no arguments in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecentMessage {
    /// Who sent it.
    pub sender: MessageSender,
    /// The function, as `interface#function`.
    pub function: String,
    /// Whether nobody waited for an answer.
    pub cast: bool,
    /// The bytes its arguments were charged in the mailbox, rounded up to 64: numbers are none.
    pub bytes: u64,
    /// How long before the end it was begun, in whole ticks of the engine.
    pub before: Duration,
    /// What became of it.
    pub outcome: MessageOutcome,
}

/// Who sent a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageSender {
    /// A task of the host.
    Host,
    /// An actor.
    Actor(ActorAddress),
    /// An actor that has no name any more.
    Gone,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageOutcome {
    /// It was in hand when the actor ended.
    InHand,
    /// It was handled.
    Handled,
    /// It was answered with an error of the host's or of a native handler; an `err(…)` of the guest is an answer.
    Failed,
}

impl MessageOutcome {
    /// The outcome as a stable kebab-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InHand => "in-hand",
            Self::Handled => "handled",
            Self::Failed => "failed",
        }
    }
}

/// The bounds of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashLimits {
    /// Most reports kept. Default 200; 0 for none, and then they are only logged. Where there is no room, the oldest of whichever
    /// actor has the most there are forgotten.
    pub count_max: usize,
    /// Most bytes of reports kept. Default 1 MiB.
    pub bytes_max: usize,
}

impl Default for CrashLimits {
    fn default() -> Self {
        Self {
            count_max: 200,
            bytes_max: 1 << 20,
        }
    }
}

/// What a report has to be. Every condition that is given must hold; the default passes all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CrashFilter {
    /// Who ended.
    pub address: Option<AddressPattern>,
    /// Only reports of a higher number.
    pub after: Option<u64>,
    /// Most reports, the oldest first.
    pub limit: Option<usize>,
}

/// The crash reports of a system. A handle: clones see the same reports.
#[derive(Clone)]
pub struct Crashes {
    shared: Arc<Shared>,
}

impl Crashes {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn store(&self) -> &CrashStore {
        self.shared.crashes()
    }

    /// The reports that pass `filter`, oldest first. They are shared, not copied.
    #[must_use]
    pub fn list(&self, filter: &CrashFilter) -> Vec<Arc<CrashReport>> {
        self.store().list(filter)
    }

    /// One report.
    #[must_use]
    pub fn get(&self, sequence: u64) -> Option<Arc<CrashReport>> {
        self.store().get(sequence)
    }

    /// Reports kept now, and their bytes.
    #[must_use]
    pub fn kept(&self) -> (usize, usize) {
        self.store().kept()
    }

    /// Reports ever: those no longer kept included.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.store().total()
    }

    /// Reports that were forgotten for newer ones, or not kept for want of room. Those that were cleared are none.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.store().dropped()
    }

    /// Forgets all reports, and says how many there were.
    pub fn clear(&self) -> usize {
        self.store().clear()
    }
}
