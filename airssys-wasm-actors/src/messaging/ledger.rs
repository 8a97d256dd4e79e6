//! The calls a component has been given and has not answered.
//!
//! Owns [`Ledger`], which an incarnation's plane and its behaviour share: the plane answers from it while the guest runs,
//! the behaviour settles it when the guest has returned or died. A number means nothing outside its incarnation, so a
//! guest that makes one up answers at most one of its own calls. What is owed keeps its room in the mailbox for as long as
//! its caller waits: a component that never answers does not fill a mailbox with calls that nobody waits for.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::envelope::Envelope;
use crate::error::CallError;
use crate::exit::ExitReason;
use crate::reply::Answer;

/// The calls of one incarnation.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Calls>);

#[derive(Default)]
struct Calls {
    last: u64,
    owed: BTreeMap<u64, Box<Envelope>>,
}

impl Ledger {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Writes a call down, or gives it back if there are `max` already that somebody still waits for.
    pub(crate) fn enter(&self, envelope: Box<Envelope>, max: u32) -> Result<u64, Box<Envelope>> {
        let mut calls = self.0.lock();
        let mut left = Vec::new();
        if full(&calls, max) {
            // Callers that have left make room.
            let expired: Vec<_> = calls
                .owed
                .iter()
                .filter(|(_, envelope)| envelope.is_expired())
                .map(|(call, _)| *call)
                .collect();
            left.extend(expired.iter().filter_map(|call| calls.owed.remove(call)));
        }
        if full(&calls, max) {
            return Err(envelope);
        }
        calls.last += 1;
        let call = calls.last;
        calls.owed.insert(call, envelope);
        drop(calls);
        for envelope in left {
            let address = envelope.target.address().clone();
            envelope.finish(Err(CallError::NoReply { address }));
        }
        Ok(call)
    }

    /// The handler has returned and kept the call: its room in the mailbox is given back as soon as its caller leaves.
    /// It stays in the ledger, so that an answer after that is no error.
    pub(crate) fn keep(self: &Arc<Self>, call: u64) {
        let ledger = Arc::downgrade(self);
        let left = move || {
            if let Some(ledger) = ledger.upgrade()
                && let Some(envelope) = ledger.0.lock().owed.get_mut(&call)
            {
                envelope.release();
            }
        };
        let mut calls = self.0.lock();
        // Answered while it was handled, if it is not there.
        if let Some(envelope) = calls.owed.get_mut(&call)
            && !envelope.when_left(left)
        {
            envelope.release();
        }
    }

    /// How many calls are to be answered that somebody still waits for.
    pub(crate) fn owed(&self) -> usize {
        let calls = self.0.lock();
        calls
            .owed
            .values()
            .filter(|envelope| !envelope.is_expired())
            .count()
    }

    /// Answers a call; `false` if there is none of that number.
    pub(crate) fn answer(&self, call: u64, answer: Answer) -> bool {
        let envelope = self.0.lock().owed.remove(&call);
        envelope.map(|envelope| envelope.finish(answer)).is_some()
    }

    /// The incarnation is over: whoever still waits is told why.
    pub(crate) fn settle(&self, reason: &ExitReason) {
        let owed = std::mem::take(&mut self.0.lock().owed);
        for (_, envelope) in owed {
            let address = envelope.target.address().clone();
            let reason = reason.clone();
            envelope.finish(Err(CallError::CalleeDied { address, reason }));
        }
    }
}

fn full(calls: &Calls, max: u32) -> bool {
    u32::try_from(calls.owed.len()).unwrap_or(u32::MAX) >= max
}
