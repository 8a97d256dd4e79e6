//! Supervision: who starts children again, and when it gives up.
//!
//! Owns the [`Supervisor`] handle, what is kept of a supervisor in the registry ([`Record`]), and
//! the way exit events take to whoever supervises now ([`ExitSink`]). Decisions are pure
//! ([`decide`]); starting runs in tasks of its own; the supervisor's actor only carries messages
//! between them and never waits on a child. The record outlives the actor: a supervisor that is
//! killed is made again from it, after every incarnation of the old tree is gone.

mod actor;
mod child;
mod decide;

use std::collections::BTreeMap;
use std::sync::Arc;

use airssys_wasm::WitError;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

pub(crate) use actor::{SupervisorActor, SupervisorMessage};
pub(crate) use child::PreparedChild;
pub use child::{ChildSpec, NativeStart, ShutdownPolicy, Start};
pub use decide::{RestartIntensity, RestartPolicy, RestartWindow, Verdict, decide};

use crate::address::{ActorAddress, ActorId};
use crate::events::Event;
use crate::exit::ExitReason;
use crate::link::LinkRefused;
use crate::reference::ActorRef;
use crate::shared::Shared;
use crate::slot::Slot;

/// Which children are restarted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Strategy {
    /// Only the child that ended.
    #[default]
    OneForOne,
}

/// A supervisor: its name and its limits.
#[derive(Debug, Clone)]
pub struct SupervisorSpec {
    /// Its name, for events and reports.
    pub address: ActorAddress,
    /// Which children are restarted together.
    pub strategy: Strategy,
    /// How many restarts, of all its children, it allows before it gives up.
    pub intensity: RestartIntensity,
}

impl SupervisorSpec {
    /// One for one, with OTP's default intensity.
    #[must_use]
    pub fn new(address: ActorAddress) -> Self {
        Self {
            address,
            strategy: Strategy::default(),
            intensity: RestartIntensity::default(),
        }
    }
}

/// Why children were not started.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The name is taken, or two of the children have it.
    #[error("the address `{0}` is taken; give the actor another name, or stop the one that has it")]
    AddressTaken(ActorAddress),
    /// The WIT that says what a native actor exports is not valid. Nothing was started.
    #[error("the surface of actor `{address}` is not valid WIT: {why}")]
    Surface {
        /// The actor.
        address: ActorAddress,
        /// What is wrong.
        why: Arc<WitError>,
    },
    /// A link cannot be made. Nothing was started.
    #[error(transparent)]
    Link(#[from] LinkRefused),
    /// A child did not start; those started before it have been stopped again, in reverse.
    #[error("actor `{address}` did not start: {reason}")]
    Child {
        /// The child.
        address: ActorAddress,
        /// Why not.
        reason: ExitReason,
    },
    /// The supervisor has ended, or was killed before it answered.
    #[error("the supervisor `{0}` has ended")]
    SupervisorEnded(ActorAddress),
}

/// Why a child was not stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// It is not a child of this supervisor.
    #[error("`{supervisor}` has no child `{child}`")]
    NotFound {
        /// The supervisor asked.
        supervisor: ActorAddress,
        /// The child asked for.
        child: ActorAddress,
    },
    /// The supervisor has ended.
    #[error("the supervisor `{0}` has ended")]
    SupervisorEnded(ActorAddress),
}

/// What came of stopping.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct StopReport {
    /// Actors that ended when asked, in the order they ended.
    pub stopped: Vec<ActorAddress>,
    /// Actors that had to be killed: brutal ones, and those whose time was up.
    pub killed: Vec<ActorAddress>,
}

impl StopReport {
    pub(crate) fn append(&mut self, mut other: Self) {
        self.stopped.append(&mut other.stopped);
        self.killed.append(&mut other.killed);
    }
}

/// What is kept of a supervisor whether or not its actor lives.
pub(crate) struct Record {
    pub(crate) spec: SupervisorSpec,
    pub(crate) shared: Arc<Shared>,
    /// In start order: ids are given in that order.
    pub(crate) children: Mutex<BTreeMap<ActorId, Arc<PreparedChild>>>,
    /// The actor that supervises now.
    actor: watch::Sender<Option<ractor::ActorRef<SupervisorMessage>>>,
    ended: watch::Sender<Option<ExitReason>>,
}

impl Record {
    pub(crate) fn new(spec: SupervisorSpec, shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            spec,
            shared,
            children: Mutex::default(),
            actor: watch::Sender::new(None),
            ended: watch::Sender::new(None),
        })
    }

    pub(crate) fn serve(&self, actor: ractor::ActorRef<SupervisorMessage>) {
        self.actor.send_replace(Some(actor));
    }

    pub(crate) fn actor(&self) -> Option<ractor::ActorRef<SupervisorMessage>> {
        self.actor.borrow().clone()
    }

    /// Sends to the actor that supervises now; `false` if there is none. A message to one that has
    /// just been killed is lost, and its successor looks at the slots themselves.
    pub(crate) fn tell(&self, message: SupervisorMessage) -> bool {
        let actor = self.actor();
        actor.is_some_and(|actor| actor.send_message(message).is_ok())
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// The supervisor has ended for good.
    pub(crate) fn end(&self, reason: &ExitReason) {
        self.actor.send_replace(None);
        let first = self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(reason.clone());
            }
            first
        });
        if first {
            let address = self.spec.address.clone();
            self.shared.emit(Event::SupervisorEnded {
                address,
                reason: reason.clone(),
            });
        }
    }

    /// Kills what is left of the children and ends their registrations: for a supervisor that will
    /// not be made again.
    pub(crate) fn abandon(&self, reason: &ExitReason) {
        let children = std::mem::take(&mut *self.children.lock());
        for child in children.values().rev() {
            child.slot.kill();
            child.slot.retire(reason);
        }
        self.end(reason);
    }
}

/// Where an incarnation reports its start and its end: to whoever supervises it by then.
#[derive(Clone)]
pub(crate) struct ExitSink(Arc<Record>);

impl ExitSink {
    pub(crate) fn new(record: Arc<Record>) -> Self {
        Self(record)
    }

    pub(crate) fn started(&self, slot: &Slot, incarnation: u64) {
        self.0.shared.emit(Event::Started {
            address: slot.address().clone(),
            incarnation,
        });
        self.0.tell(SupervisorMessage::Started {
            child: slot.id(),
            incarnation,
        });
    }

    pub(crate) fn start_failed(&self, slot: &Slot, incarnation: u64, reason: ExitReason) {
        let address = slot.address().clone();
        self.0.shared.emit(Event::StartFailed {
            address,
            incarnation,
            reason: reason.clone(),
        });
        self.0.tell(SupervisorMessage::StartFailed {
            child: slot.id(),
            incarnation,
            reason,
        });
    }

    pub(crate) fn exited(&self, slot: &Slot, incarnation: u64, reason: ExitReason) {
        let address = slot.address().clone();
        self.0.shared.emit(Event::Exited {
            address,
            incarnation,
            reason: reason.clone(),
        });
        self.0.tell(SupervisorMessage::Exited {
            child: slot.id(),
            incarnation,
            reason,
        });
    }
}

/// A handle on a supervisor. Dropping it stops nothing.
#[derive(Clone)]
pub struct Supervisor {
    record: Arc<Record>,
}

impl Supervisor {
    pub(crate) fn new(record: Arc<Record>) -> Self {
        Self { record }
    }

    /// Its name.
    #[must_use]
    pub fn address(&self) -> &ActorAddress {
        &self.record.spec.address
    }

    /// Starts children, in order, each after the one before it is up. All names are reserved and
    /// all links checked before the first starts; links may be circular.
    ///
    /// # Errors
    /// [`StartError`]. If a child does not start, those started before it are stopped again, in
    /// reverse, and none is kept.
    pub async fn start(&self, children: Vec<ChildSpec>) -> Result<Vec<ActorRef>, StartError> {
        let (reply, answer) = oneshot::channel();
        let ended = || StartError::SupervisorEnded(self.address().clone());
        if !self
            .record
            .tell(SupervisorMessage::Start { children, reply })
        {
            return Err(ended());
        }
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Stops one child and forgets it. Its mailbox closes: what is queued fails, or becomes a dead
    /// letter.
    ///
    /// # Errors
    /// [`StopError`].
    pub async fn stop_child(&self, child: &ActorAddress) -> Result<StopReport, StopError> {
        let (reply, answer) = oneshot::channel();
        let ended = || StopError::SupervisorEnded(self.address().clone());
        let child = child.clone();
        if !self
            .record
            .tell(SupervisorMessage::StopChild { child, reply })
        {
            return Err(ended());
        }
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Stops every child, in reverse start order and one after the other, and ends. Does nothing
    /// if it has ended.
    pub async fn stop(&self) -> StopReport {
        let mut actors = self.record.actor.subscribe();
        while !self.record.has_ended() {
            actors.mark_unchanged();
            let (reply, answer) = oneshot::channel();
            if self.record.tell(SupervisorMessage::Stop { reply })
                && let Ok(report) = answer.await
            {
                self.ended().await;
                return report;
            }
            // It was killed before it answered. It is made again, or has ended for good.
            tokio::select! {
                _ = actors.changed() => {}
                _ = self.ended() => {}
            }
        }
        StopReport::default()
    }

    /// Kills the supervisor itself, as a fault would: its parent stops what is left of its
    /// children and makes it again with them.
    pub fn kill(&self) {
        if let Some(actor) = self.record.actor() {
            actor.kill();
        }
    }

    /// Its children, in start order.
    #[must_use]
    pub fn children(&self) -> Vec<ActorRef> {
        let children = self.record.children.lock();
        children
            .values()
            .map(|child| ActorRef::new(Arc::clone(&child.slot)))
            .collect()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.record.has_ended()
    }

    /// Resolves when it has ended for good, with the reason.
    pub async fn ended(&self) -> ExitReason {
        let mut ended = self.record.ended.subscribe();
        match ended.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(ExitReason::Shutdown),
            Err(_) => ExitReason::Shutdown,
        }
    }
}
