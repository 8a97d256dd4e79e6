//! The side of an upgrade that asks: one slot, until it is another revision or is known not to become one.
//!
//! Owns the way around everything that can happen to an actor meanwhile. It may have a message in hand for long, end and be
//! started again, wait for its next try, or be stopped; whichever it is, its spec changes once, at a moment when either a
//! drain is between two messages or nothing runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::kept::Kept;
use super::replacement::{
    Claim, Fresh, NotReplaced, Refused, Replaced, Replacement, StateTaken,
    become_revision_while_down,
};
use crate::mailbox::{Control, Lane};
use crate::supervisor::{PreparedActor, Record, SupervisorMessage, Whereabouts};

/// From one look at an obstacle to the next.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// One slot of an upgrade.
pub(super) struct Place<'a> {
    pub(super) record: &'a Arc<Record>,
    pub(super) successor: &'a Arc<PreparedActor>,
    /// Until when messages in hand, handles and calls are waited for.
    pub(super) until: Instant,
    /// Whether it is then done all the same.
    pub(super) regardless: bool,
}

impl Place<'_> {
    /// Has the successor take its place. `again` makes what is needed for another attempt.
    pub(super) async fn replace(
        &self,
        fresh: Fresh,
        again: impl Fn() -> Fresh,
    ) -> Result<Replaced, NotReplaced> {
        let mut fresh = Some(fresh);
        let mut regardless = false;
        loop {
            if self.record.child(self.successor.slot.id()).is_none() {
                return Err(NotReplaced::Gone);
            }
            let next = fresh.take().unwrap_or_else(&again);
            // What is kept is gone as soon as it is started.
            let state = self.state_of_next_start(&next);
            if !self.successor.slot.is_active() {
                let state = match self.respec().await? {
                    Whereabouts::Up => None,
                    Whereabouts::Down => Some(state),
                    Whereabouts::Stopped => Some(StateTaken::None),
                };
                if let Some(state) = state {
                    return Ok(Replaced { aside: None, state });
                }
            }
            let late = Instant::now() >= self.until;
            if !late && !self.successor.slot.is_active() {
                // Nobody would hear of it, if its supervisor is about to end.
                fresh = Some(next);
                sleep_until(Instant::now() + LOOK_AGAIN).await;
                continue;
            }
            let hands_over = matches!(next, Fresh::HandOver { .. });
            match self.ask(next, regardless).await {
                Asked::Done(replaced) => return Ok(*replaced),
                Asked::Refused(
                    why @ (NotReplaced::HandlesHeld(_) | NotReplaced::CallsOwed(_)),
                    kept,
                ) => {
                    if late && !self.regardless {
                        return Err(why);
                    }
                    regardless = late;
                    fresh = kept;
                }
                Asked::Refused(why, _) => return Err(why),
                // Its state is gone with it: what the next one holds is not that.
                Asked::Ended { begun: true } if hands_over => return Err(NotReplaced::Ended),
                // Its incarnation has ended; the next one is asked, or the supervisor if there is none.
                Asked::Ended { .. } if late => return Err(NotReplaced::Busy),
                Asked::Ended { .. } => {}
            }
            sleep_until(Instant::now() + LOOK_AGAIN).await;
        }
    }

    /// What one that is down has of its state when it is started.
    fn state_of_next_start(&self, fresh: &Fresh) -> StateTaken {
        let kept = self.successor.kept.as_ref();
        match fresh {
            Fresh::HandBack {
                bytes_max: Some(_), ..
            } if kept.is_some_and(Kept::is_there) => StateTaken::AsItWas,
            _ => StateTaken::None,
        }
    }

    /// Changes the spec of one that is down.
    async fn respec(&self) -> Result<Whereabouts, NotReplaced> {
        let (reply, answer) = oneshot::channel();
        let successor = Arc::clone(self.successor);
        let told = self
            .record
            .tell(SupervisorMessage::Respec { successor, reply });
        if told && let Ok(answer) = answer.await {
            return answer;
        }
        self.respec_while_down()
    }

    /// The same by whoever asks: its supervisor is not there to be asked, or has ended meanwhile.
    fn respec_while_down(&self) -> Result<Whereabouts, NotReplaced> {
        match become_revision_while_down(self.record, self.successor) {
            // It is about to be there, and is asked again.
            None => Ok(Whereabouts::Up),
            Some(done) => done.map(|()| match self.record.ended() {
                None => Whereabouts::Down,
                Some(_) => {
                    // Whoever starts it begins afresh, and it has no instance meanwhile.
                    drop(self.successor.kept.as_ref().and_then(Kept::take));
                    Whereabouts::Stopped
                }
            }),
        }
    }

    async fn ask(&self, fresh: Fresh, regardless: bool) -> Asked {
        let claim = Arc::<Claim>::default();
        let (answer, mut answered) = oneshot::channel();
        let replacement = Replacement {
            successor: Arc::clone(self.successor),
            record: Arc::clone(self.record),
            fresh,
            regardless,
            claim: Arc::clone(&claim),
            answer,
        };
        // Left in the middle of an await, it does not take place behind the back of whoever asked.
        let lane = self.successor.slot.lane();
        let withdrawal = Withdrawal(&claim, lane);
        lane.ask(Control::Replace(Box::new(replacement)));
        // At least one look, also of who is late.
        let until = self.until.max(Instant::now() + LOOK_AGAIN);
        let answered = match timeout_at(until, &mut answered).await {
            Ok(answered) => answered,
            Err(_) if claim.withdraw() => return Asked::Refused(NotReplaced::Busy, None),
            // It has begun: its own limits end it.
            Err(_) => answered.await,
        };
        drop(withdrawal);
        match answered {
            Ok(Ok(replaced)) => Asked::Done(Box::new(replaced)),
            Ok(Err(Refused { why, fresh })) => Asked::Refused(why, fresh),
            Err(_) => Asked::Ended {
                begun: claim.has_begun(),
            },
        }
    }
}

struct Withdrawal<'a>(&'a Claim, &'a Lane);

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        self.0.withdraw();
        // Its instance does not wait for an actor that is busy for long.
        self.1.forget_left();
    }
}

enum Asked {
    Done(Box<Replaced>),
    Refused(NotReplaced, Option<Fresh>),
    /// Nobody has answered.
    Ended {
        /// In the middle of it.
        begun: bool,
    },
}
