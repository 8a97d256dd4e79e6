//! One request on its way through a split.
//!
//! Owns what is remembered of it between the choice of its arm and its end: [`Leg`] while its caller's own task is at
//! it, borrowed and without a count of references, and [`Tally`] for a call that has to wait. Whoever keeps one for the
//! candidate keeps the split from being settled. A cast ends when it has been pushed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use airssys_wasm::{Args, ExportId};
use arc_swap::Guard;

use crate::address::ActorId;
use crate::envelope::{CallContext, Envelope};
use crate::mailbox::Refusal;
use crate::reply::Answer;
use crate::route::shadow::Pair;
use crate::route::{Live, Split};
use crate::slot::Slot;

/// Where a request goes.
pub(crate) enum Routed {
    /// To the slot it was made for.
    Own,
    /// To another one alone: a replica, or whoever owns a resource.
    Other(Arc<Slot>),
    Split(Leg),
}

impl Routed {
    /// The slot it goes to; `own` is the one it was made for.
    pub(crate) fn target<'a>(&'a self, own: &'a Arc<Slot>) -> &'a Arc<Slot> {
        match self {
            Self::Own => own,
            Self::Other(slot) => slot,
            Self::Split(leg) => leg.target(own),
        }
    }

    /// The request has ended in its caller's own task.
    pub(crate) fn ended(self, answer: &Answer) {
        if let Self::Split(leg) = self
            && let Some(live) = leg.live.as_ref()
        {
            leg.note.ended(&live.split, answer);
        }
    }

    /// The request is a call that has to wait.
    pub(crate) fn wait(self, own: &Arc<Slot>) -> Option<Box<Tally>> {
        match self {
            Self::Split(leg) => leg.wait(own),
            Self::Own | Self::Other(_) => None,
        }
    }
}

/// What the end of a request has to know of its beginning.
struct Note {
    to_candidate: bool,
    /// If it is timed.
    began: Option<Instant>,
    /// Where its answer goes besides, if it has a shadow.
    pair: Option<Pair>,
}

impl Note {
    fn ended(self, split: &Split, answer: &Answer) {
        let arm = split.arm(self.to_candidate);
        arm.ended(answer, self.began, split.err_is_error);
        if let Some(pair) = self.pair {
            pair.answered(answer);
        }
    }
}

/// A request whose arm has just been chosen.
pub(crate) struct Leg {
    /// Not empty.
    live: Guard<Option<Arc<Live>>>,
    note: Note,
}

impl Leg {
    pub(super) fn new(
        live: Guard<Option<Arc<Live>>>,
        to_candidate: bool,
        began: Option<Instant>,
        pair: Option<Pair>,
    ) -> Self {
        let note = Note {
            to_candidate,
            began,
            pair,
        };
        Self { live, note }
    }

    fn target<'a>(&'a self, own: &'a Arc<Slot>) -> &'a Arc<Slot> {
        match &*self.live {
            Some(live) if self.note.to_candidate => &live.split.candidate,
            _ => own,
        }
    }

    fn wait(self, own: &Arc<Slot>) -> Option<Box<Tally>> {
        let live = self.live.as_ref()?;
        let hold = if self.note.to_candidate {
            Hold::Candidate {
                live: Arc::clone(live),
                stable: Arc::clone(own),
            }
        } else {
            Hold::Stable(Arc::clone(&live.split))
        };
        Some(Box::new(Tally {
            hold,
            note: self.note,
        }))
    }
}

/// A call through a split that waits for its end.
pub(crate) struct Tally {
    hold: Hold,
    note: Note,
}

enum Hold {
    Stable(Arc<Split>),
    Candidate { live: Arc<Live>, stable: Arc<Slot> },
}

impl Tally {
    fn split(&self) -> &Arc<Split> {
        match &self.hold {
            Hold::Stable(split) => split,
            Hold::Candidate { live, .. } => &live.split,
        }
    }

    /// Whether it is the candidate's and has no business there any more.
    pub(crate) fn is_over(&self) -> bool {
        match &self.hold {
            Hold::Stable(_) => false,
            Hold::Candidate { live, .. } => live.split.removed.load(Ordering::Acquire),
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
        let split = Arc::clone(self.split());
        split.diverted();
        self.note.to_candidate = false;
        self.hold = Hold::Stable(split);
    }

    /// The call has ended.
    pub(crate) fn ended(self, answer: &Answer) {
        let split = Arc::clone(self.split());
        self.note.ended(&split, answer);
    }
}

impl Split {
    /// A request of the candidate's goes to the stable arm after all.
    fn diverted(&self) {
        self.candidate_arm.gone_elsewhere();
        // Not timed: it has waited at the candidate's.
        self.stable_arm.request(self.sampling);
    }
}

/// Pushes a cast to wherever it goes, and counts it there; or says who refused it.
pub(crate) fn push_cast(
    own: &Arc<Slot>,
    sender: Option<ActorId>,
    export: ExportId,
    args: Args,
    context: CallContext,
) -> Result<(), (Arc<Slot>, Refusal)> {
    let routed = own.route(export, &args);
    let target = routed.target(own);
    let envelope = Envelope::cast(Arc::clone(target), sender, export, args, context);
    let refusal = match target.mailbox().push(envelope) {
        Ok(()) => {
            target.counters().cast();
            return Ok(());
        }
        Err(refusal) => refusal,
    };
    let Routed::Split(leg) = &routed else {
        return Err((Arc::clone(target), refusal));
    };
    leg.refused(own, refusal)
}

impl Leg {
    /// A cast was not accepted. One that the candidate takes no more goes to the stable arm.
    #[cold]
    fn refused(&self, own: &Arc<Slot>, refusal: Refusal) -> Result<(), (Arc<Slot>, Refusal)> {
        let Some(live) = &*self.live else {
            return Err((Arc::clone(own), refusal));
        };
        let split = &live.split;
        match refusal {
            Refusal::Closed(mut envelope) if self.note.to_candidate => {
                split.diverted();
                envelope.target = Arc::clone(own);
                match own.mailbox().push(envelope) {
                    Ok(()) => {
                        own.counters().cast();
                        Ok(())
                    }
                    Err(refusal) => {
                        split.stable_arm.refused(&refusal);
                        Err((Arc::clone(own), refusal))
                    }
                }
            }
            refusal => {
                let target = self.target(own);
                split.arm(self.note.to_candidate).refused(&refusal);
                Err((Arc::clone(target), refusal))
            }
        }
    }
}
