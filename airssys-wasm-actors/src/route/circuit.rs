//! The breaker of one link, while calls go through it.
//!
//! Owns [`LinkCircuit`], shared by the functions of one link of one actor: the machine behind a lock, and in front of it
//! one word by which a link that is well is told apart without it. A call through such a link reads that word when it
//! begins and when it succeeds, and reads no clock. Whoever is let through for a trial holds a [`Pass`], which gives its
//! place back however the call ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::address::ActorAddress;
use crate::error::CallError;
use crate::events::Event;
use crate::reply::Ending;
use crate::route::breaker::{Breaker, Change, End, Machine};
use crate::slot::Slot;

/// Set in the word while calls have to ask the machine; above it is the epoch.
const ASK: u64 = 1;

/// The breaker of one link of one actor.
pub(crate) struct LinkCircuit {
    word: AtomicU64,
    machine: Mutex<Machine>,
    /// What is linked, and where it leads, for events.
    import: Arc<str>,
    to: ActorAddress,
}

/// A call that was let through.
#[derive(Default)]
pub(crate) enum Pass {
    /// There is no breaker, or the end has been told.
    #[default]
    None,
    /// In this epoch of a closed one.
    Closed(u64),
    Trial(Trial),
}

/// A place among the calls that are let through by a breaker that is half-open.
pub(crate) struct Trial {
    circuit: Arc<LinkCircuit>,
    epoch: u64,
    told: bool,
}

impl Drop for Trial {
    fn drop(&mut self) {
        if !self.told {
            // It changes nothing but the number of places.
            let mut machine = self.circuit.machine.lock();
            machine.ended(self.epoch, End::Neither, Instant::now());
        }
    }
}

impl LinkCircuit {
    pub(crate) fn new(rule: Breaker, import: &str, to: ActorAddress) -> Arc<Self> {
        Arc::new(Self {
            word: AtomicU64::new(0),
            machine: Mutex::new(Machine::new(rule)),
            import: import.into(),
            to,
        })
    }

    /// Lets a call of `caller` through, or says why not.
    pub(crate) fn admit(self: &Arc<Self>, caller: &Slot) -> Result<Pass, CallError> {
        let word = self.word.load(Ordering::Relaxed);
        if word & ASK == 0 {
            return Ok(Pass::Closed(word >> 1));
        }
        self.ask(caller).map_err(|retry_in| CallError::CircuitOpen {
            address: self.to.clone(),
            retry_in,
        })
    }

    #[cold]
    fn ask(self: &Arc<Self>, caller: &Slot) -> Result<Pass, Duration> {
        let mut machine = self.machine.lock();
        let (admitted, change) = machine.admit(Instant::now());
        let (epoch, is_trying) = (machine.epoch(), machine.is_trying());
        self.publish(&machine);
        drop(machine);
        self.tell(caller, change);
        admitted.map(|()| {
            if is_trying {
                Pass::Trial(Trial {
                    circuit: Arc::clone(self),
                    epoch,
                    told: false,
                })
            } else {
                Pass::Closed(epoch)
            }
        })
    }

    /// A call that was let through has ended.
    pub(crate) fn ended(&self, pass: Pass, answer: Ending<'_>, caller: &Slot) {
        let epoch = match pass {
            Pass::None => return,
            Pass::Closed(epoch) => {
                if answer.is_ok() && self.word.load(Ordering::Relaxed) & ASK == 0 {
                    return;
                }
                epoch
            }
            Pass::Trial(mut trial) => {
                trial.told = true;
                trial.epoch
            }
        };
        self.note(epoch, end_of(answer), caller);
    }

    #[cold]
    fn note(&self, epoch: u64, end: End, caller: &Slot) {
        let mut machine = self.machine.lock();
        let change = machine.ended(epoch, end, Instant::now());
        self.publish(&machine);
        drop(machine);
        self.tell(caller, change);
    }

    fn publish(&self, machine: &Machine) {
        let ask = if machine.is_healthy() { 0 } else { ASK };
        self.word
            .store(machine.epoch() << 1 | ask, Ordering::Relaxed);
    }

    fn tell(&self, caller: &Slot, change: Option<Change>) {
        let (from, to) = (caller.address().clone(), self.to.clone());
        let import = Arc::clone(&self.import);
        caller.shared().emit(match change {
            None => return,
            Some(Change::Opened) => Event::CircuitOpened { from, to, import },
            Some(Change::HalfOpened) => Event::CircuitHalfOpened { from, to, import },
            Some(Change::Closed) => Event::CircuitClosed { from, to, import },
        });
    }
}

/// What the end of a call says of its callee. One that has answered is there, whatever it has answered.
fn end_of(answer: Ending<'_>) -> End {
    match answer {
        Ok(_)
        | Err(
            CallError::Refused(_)
            | CallError::NoReply { .. }
            | CallError::WrongReply { .. }
            | CallError::Native { .. },
        ) => End::Success,
        Err(
            CallError::CalleeDied { .. }
            | CallError::Deadline { .. }
            | CallError::MailboxFull { .. }
            | CallError::Evicted { .. }
            | CallError::Stopped { .. }
            | CallError::NoSuchActor { .. },
        ) => End::Failure,
        Err(
            CallError::EmptyGroup { .. }
            | CallError::TooLarge { .. }
            | CallError::Cycle { .. }
            | CallError::CallDepth { .. }
            | CallError::NoSuchFunction(_)
            | CallError::PendingReplies { .. }
            | CallError::CircuitOpen { .. },
        ) => End::Neither,
    }
}
