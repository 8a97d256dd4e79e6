//! Monitors and links: what actors are told of one another's ends, besides messages.
//!
//! Owns [`Signal`] and its two kinds ([`Down`] for monitors, [`Exit`] for links), the limits on both, and what
//! travels in a mailbox for them ([`Posted`]). A signal takes its place in the data queue, behind all that its
//! subject had sent, and is never refused there: what bounds it is a permit, taken when the monitor or the link
//! is made and held until the signal is received. Who is bound to whom is kept in the slots (`slot/bonds.rs`).
//! Nothing here is touched by actors that use neither.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::address::{ActorAddress, ActorId};
use crate::exit::ExitReason;
use crate::slot::Slot;

/// Most monitors one actor has at a time, those whose [`Down`] waits in its mailbox included (HOSTILE: monitors).
pub const MONITORS_MAX: u32 = 1_024;

/// Most links one actor has at a time, whoever made them, those whose [`Exit`] waits in its mailbox included.
pub const LINKS_MAX: u32 = 1_024;

/// The number of one monitor, never used twice in a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MonitorId(pub(crate) u64);

impl fmt::Display for MonitorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What an actor is told of others beside its messages.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Signal {
    /// An actor it monitors has ended.
    Down(Down),
    /// An actor it is linked to has ended, and it traps exits.
    Exit(Exit),
}

/// The end of an incarnation that was monitored. Each monitor is told once.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Down {
    /// The monitor it belongs to.
    pub monitor: MonitorId,
    /// The actor that was monitored.
    pub address: ActorAddress,
    /// Which incarnation of it has ended; of one that was not there, the newest, and 0 if there was none.
    pub incarnation: u64,
    /// How it ended; [`ExitReason::NoSuchActor`] if it was gone before it was monitored.
    pub reason: ExitReason,
}

/// The end of an incarnation that was linked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Exit {
    /// The actor that was linked.
    pub from: ActorAddress,
    /// Which incarnation of it has ended.
    pub incarnation: u64,
    /// How it ended; [`ExitReason::NoSuchActor`] if it was gone before it was linked.
    pub reason: ExitReason,
}

/// Why no monitor or link was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignalRefused {
    /// The actor has as many monitors as it may.
    #[error("actor `{address}` has {max} monitors, the most there may be; take one back first")]
    TooManyMonitors {
        /// The actor that would watch.
        address: ActorAddress,
        /// [`MONITORS_MAX`].
        max: u32,
    },
    /// One of the two actors has as many links as it may.
    #[error("actor `{address}` has {max} links, the most there may be; take one back first")]
    TooManyLinks {
        /// The one that has them.
        address: ActorAddress,
        /// [`LINKS_MAX`].
        max: u32,
    },
}

/// The permits of one actor that are taken. They outlive its incarnations, as its mailbox does.
#[derive(Default)]
pub(crate) struct SignalBudget {
    monitors: AtomicU32,
    links: AtomicU32,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Monitor,
    Link,
}

impl SignalBudget {
    fn of(&self, kind: Kind) -> (&AtomicU32, u32) {
        match kind {
            Kind::Monitor => (&self.monitors, MONITORS_MAX),
            Kind::Link => (&self.links, LINKS_MAX),
        }
    }

    /// Monitors and links held now.
    pub(crate) fn used(&self) -> (u32, u32) {
        (
            self.monitors.load(Ordering::Relaxed),
            self.links.load(Ordering::Relaxed),
        )
    }
}

/// Room for one signal in the mailbox of its holder.
pub(crate) struct SignalPermit {
    holder: Arc<Slot>,
    kind: Kind,
}

impl SignalPermit {
    pub(crate) fn monitor(holder: &Arc<Slot>) -> Result<Self, SignalRefused> {
        Self::take(holder, Kind::Monitor).map_err(|max| SignalRefused::TooManyMonitors {
            address: holder.address().clone(),
            max,
        })
    }

    pub(crate) fn link(holder: &Arc<Slot>) -> Result<Self, SignalRefused> {
        Self::take(holder, Kind::Link).map_err(|max| SignalRefused::TooManyLinks {
            address: holder.address().clone(),
            max,
        })
    }

    fn take(holder: &Arc<Slot>, kind: Kind) -> Result<Self, u32> {
        let (used, max) = holder.signal_budget().of(kind);
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
            (n < max).then_some(n + 1)
        })
        .map_err(|_| max)?;
        Ok(Self {
            holder: Arc::clone(holder),
            kind,
        })
    }

    pub(crate) fn holder(&self) -> &Arc<Slot> {
        &self.holder
    }
}

impl Drop for SignalPermit {
    fn drop(&mut self) {
        let (used, _) = self.holder.signal_budget().of(self.kind);
        used.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A signal in a mailbox. Whether it still means anything is decided when it is taken.
pub(crate) struct Posted {
    pub(crate) signal: Signal,
    /// The registration it is about.
    pub(crate) subject: ActorId,
    pub(crate) permit: SignalPermit,
}
