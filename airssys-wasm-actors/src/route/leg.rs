//! One request on its way through a split.
//!
//! Owns what is remembered of it between the choice of its arm and its end: [`Routed`] while its caller's own task is at
//! it, borrowed and without a count of references, and [`Tally`] for a call that has to wait. Whoever keeps one for the
//! candidate keeps the split from being settled. A cast ends when it has been pushed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use airssys_wasm::{Args, ExportId};

use crate::address::ActorId;
use crate::call::refused;
use crate::envelope::{CallContext, Envelope};
use crate::error::SendError;
use crate::mailbox::Refusal;
use crate::reply::Ending;
use crate::route::arm::{Arm, Began};
use crate::route::said::Said;
use crate::route::shadow::Pair;
use crate::route::way::{Known, Lease};
use crate::route::{Split, Switch};
use crate::slot::Slot;

/// Where a request goes.
pub(crate) enum Routed {
    /// To the slot it was made for, and nobody counts.
    Own,
    /// To another one alone: a replica, or whoever owns a resource.
    Other(Arc<Slot>),
    /// To the slot it was made for, which is the stable arm.
    Stable(Note),
    Candidate(Leg),
}

impl Routed {
    /// The slot it goes to; `own` is the one it was made for.
    pub(crate) fn target<'a>(&'a self, own: &'a Arc<Slot>) -> &'a Arc<Slot> {
        match self {
            Self::Own | Self::Stable(_) => own,
            Self::Other(slot) => slot,
            Self::Candidate(leg) => leg.split().map_or(own, |split| &split.candidate),
        }
    }

    /// The request has ended in its caller's own task, who knows the split from now on.
    pub(crate) fn ended(self, own: &Arc<Slot>, answer: Ending<'_>, known: &mut Known) {
        match self {
            Self::Own | Self::Other(_) => {}
            Self::Stable(note) => {
                if let Some(switch) = own.junction().switch() {
                    note.ended(&switch.stable, answer);
                }
            }
            Self::Candidate(Leg { lease, note }) => {
                if let Some(split) = lease.split() {
                    note.ended(&split.candidate_arm, answer);
                }
                lease.end(known);
            }
        }
    }

    /// The request is a call that has to wait.
    pub(crate) fn wait(self, own: &Arc<Slot>) -> Option<Box<Tally>> {
        let (hold, note) = match self {
            Self::Own | Self::Other(_) => return None,
            Self::Stable(note) => (Hold::Stable(Arc::clone(own.junction().switch()?)), note),
            Self::Candidate(Leg { lease, note }) => {
                let stable = Arc::clone(own);
                (Hold::Candidate { lease, stable }, note)
            }
        };
        Some(Box::new(Tally { hold, note }))
    }
}

/// What the end of a request has to know of its beginning.
///
/// Every request carries one, also where no traffic is split: what few need is elsewhere.
pub(crate) struct Note {
    err_is_error: bool,
    more: Option<Box<More>>,
}

#[derive(Default)]
struct More {
    /// If it is timed.
    began: Option<Began>,
    /// Where its answer goes besides, if it has a shadow.
    pair: Option<Pair>,
}

impl Note {
    pub(super) fn new(err_is_error: bool) -> Self {
        Self {
            err_is_error,
            more: None,
        }
    }

    pub(super) fn began(&mut self, began: Option<Began>) {
        if began.is_some() {
            self.more().began = began;
        }
    }

    pub(super) fn pair(&mut self, pair: Option<Pair>) {
        if pair.is_some() {
            self.more().pair = pair;
        }
    }

    #[cold]
    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    fn ended(self, arm: &Arm, answer: Ending<'_>) {
        if self.more.is_some() || self.err_is_error || answer.is_err() {
            self.tell(arm, answer);
        }
    }

    #[cold]
    fn tell(self, arm: &Arm, answer: Ending<'_>) {
        let More { began, pair } = self.more.map(|more| *more).unwrap_or_default();
        arm.ended(answer, began, self.err_is_error);
        if let Some(pair) = pair {
            pair.answered(answer);
        }
    }
}

/// A request for the candidate, in its caller's own task.
pub(crate) struct Leg {
    lease: Lease,
    note: Note,
}

impl Leg {
    /// A request sets out to the candidate; `None` once the split is removed.
    pub(super) fn begin(split: Arc<Split>, said: Said) -> Option<Self> {
        let (lease, nth) = Lease::begin(split)?;
        let mut note = Note::new(said.err_is_error());
        if let Some(split) = lease.split() {
            note.began(split.candidate_arm.times(nth, said.sampling()));
        }
        Some(Self { lease, note })
    }

    fn split(&self) -> Option<&Arc<Split>> {
        self.lease.split()
    }
}

/// A call through a split that waits for its end.
pub(crate) struct Tally {
    hold: Hold,
    note: Note,
}

enum Hold {
    Stable(Arc<Switch>),
    Candidate { lease: Lease, stable: Arc<Slot> },
}

impl Tally {
    /// Whether it is the candidate's and has no business there any more.
    pub(crate) fn is_over(&self) -> bool {
        match &self.hold {
            Hold::Stable(_) => false,
            Hold::Candidate { lease, .. } => lease
                .split()
                .is_none_or(|split| split.removed.load(Ordering::Acquire)),
        }
    }

    /// Who takes it if the candidate does not; `None` if it is not the candidate's.
    pub(crate) fn instead(&self) -> Option<Arc<Slot>> {
        match &self.hold {
            Hold::Stable(_) => None,
            Hold::Candidate { stable, .. } => Some(Arc::clone(stable)),
        }
    }

    /// It is the stable arm's from now on.
    pub(crate) fn divert(&mut self) {
        let Hold::Candidate { lease, .. } = &self.hold else {
            return;
        };
        let Some(switch) = lease.split().map(|split| Arc::clone(&split.switch)) else {
            return;
        };
        // It has waited at the candidate's.
        if let Some(more) = &mut self.note.more {
            more.began = None;
        }
        let hold = std::mem::replace(&mut self.hold, Hold::Stable(switch));
        if let Hold::Candidate { lease, .. } = hold {
            lease.divert();
        }
    }

    /// The call has ended.
    pub(crate) fn ended(self, answer: Ending<'_>) {
        match &self.hold {
            Hold::Stable(switch) => self.note.ended(&switch.stable, answer),
            Hold::Candidate { lease, .. } => {
                if let Some(split) = lease.split() {
                    self.note.ended(&split.candidate_arm, answer);
                }
            }
        }
    }
}

impl Lease {
    /// A request of the candidate's goes to the stable arm after all.
    fn divert(self) {
        if let Some(split) = self.split() {
            split.switch.requests.fetch_add(1, Ordering::Relaxed);
        }
        self.turn_back();
    }
}

/// A cast that was not accepted.
pub(crate) struct NotSent {
    /// Who would not have it.
    pub(crate) target: Arc<Slot>,
    pub(crate) error: SendError,
}

impl NotSent {
    fn new(target: &Arc<Slot>, refusal: Refusal) -> Self {
        let (why, args) = refused(target, refusal);
        Self {
            target: Arc::clone(target),
            error: SendError {
                why: Box::new(why),
                args: args.map(Box::new),
            },
        }
    }
}

/// Pushes a cast to wherever it goes, and counts it there; or says who refused it.
pub(crate) fn push_cast(
    own: &Arc<Slot>,
    sender: Option<ActorId>,
    export: ExportId,
    args: Args,
    context: CallContext,
) -> Result<(), NotSent> {
    let routed = own.route(export, &args, &mut Known::default());
    let target = routed.target(own);
    let envelope = Envelope::cast(Arc::clone(target), sender, export, args, context);
    let refusal = match target.mailbox().push(envelope) {
        Ok(()) => {
            target.counters().cast();
            return Ok(());
        }
        Err(refusal) => refusal,
    };
    match routed {
        Routed::Candidate(leg) => leg.refused(own, refusal),
        Routed::Stable(_) => {
            if let Some(switch) = own.junction().switch() {
                switch.stable.refused(&refusal);
            }
            Err(NotSent::new(own, refusal))
        }
        Routed::Own => Err(NotSent::new(own, refusal)),
        Routed::Other(slot) => Err(NotSent::new(&slot, refusal)),
    }
}

impl Leg {
    /// A cast was not accepted. One that the candidate takes no more goes to the stable arm.
    #[cold]
    fn refused(self, own: &Arc<Slot>, refusal: Refusal) -> Result<(), NotSent> {
        let Some(split) = self.split().map(Arc::clone) else {
            return Err(NotSent::new(own, refusal));
        };
        let Refusal::Closed(mut envelope) = refusal else {
            split.candidate_arm.refused(&refusal);
            // One that is dropped is counted there, before the candidate is left.
            return Err(NotSent::new(&split.candidate, refusal));
        };
        self.lease.divert();
        envelope.target = Arc::clone(own);
        match own.mailbox().push(envelope) {
            Ok(()) => {
                own.counters().cast();
                Ok(())
            }
            Err(refusal) => {
                split.switch.stable.refused(&refusal);
                Err(NotSent::new(own, refusal))
            }
        }
    }
}
