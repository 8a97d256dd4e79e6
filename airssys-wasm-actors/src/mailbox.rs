//! The mailbox: what outlives an actor.
//!
//! Owns the data queue behind its [`Budget`], and the [`Lane`] of each replica that drains it. The
//! queue is crossbeam's unbounded list (blocks of 31 slots made lazily; `bounded` would write a
//! stamp into every slot at creation) and is bounded by the budget's permits; its blocking
//! operations are never used. An enqueue wakes at most one idle lane. A push that is accepted is
//! handled, failed with a reason, or a dead letter; a mailbox never decides on restarts.

mod budget;
mod lane;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};

pub(crate) use budget::{BYTES_LIMIT, Budget, DEPTH_LIMIT, NoRoom, units_of};
pub(crate) use lane::{Control, Lane};

use crate::envelope::{ENVELOPE_BYTES, Envelope};
use crate::error::CallError;

/// What happens to a message for which a mailbox has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum BackpressureStrategy {
    /// The sender gets `mailbox-full`, and the message back.
    #[default]
    Error,
    /// The sender waits for room, as long as its own deadline allows.
    Block,
    /// The new message is dropped: a cast becomes a dead letter, a call fails with `evicted`.
    DropNewest,
    /// The oldest queued messages are dropped until the new one fits.
    DropOldest,
}

impl BackpressureStrategy {
    /// The name in manifests and errors.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Block => "block",
            Self::DropNewest => "drop-newest",
            Self::DropOldest => "drop-oldest",
        }
    }
}

/// The limits of one mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxConfig {
    /// Most messages accepted and not finished, the one being handled included. Default 1,000.
    pub depth_max: u32,
    /// Most bytes of such messages. Default 16 MiB.
    pub bytes_max: u64,
    /// Largest single message, in bytes of its arguments. Default 1 MiB.
    pub message_bytes_max: u64,
    /// What happens when there is no room.
    pub strategy: BackpressureStrategy,
}

impl Default for MailboxConfig {
    fn default() -> Self {
        Self {
            depth_max: 1_000,
            bytes_max: 16 << 20,
            message_bytes_max: 1 << 20,
            strategy: BackpressureStrategy::Error,
        }
    }
}

impl MailboxConfig {
    /// The largest `depth_max` a mailbox can count.
    pub const DEPTH_LIMIT: u32 = DEPTH_LIMIT;
    /// The largest `bytes_max` a mailbox can count.
    pub const BYTES_LIMIT: u64 = BYTES_LIMIT;
}

/// What a drain does next.
pub(crate) enum Next {
    /// End now.
    Killed,
    /// Something asked on the control lane.
    Control(Control),
    /// A message.
    Message(Box<Envelope>),
}

/// Why a push was not accepted.
pub(crate) enum Refusal {
    /// No room, and the strategy is not to drop. With [`BackpressureStrategy::Block`] the sender
    /// may wait in [`Mailbox::push_blocked`].
    Full(Box<Envelope>),
    TooLarge(Box<Envelope>, u64),
    Closed(Box<Envelope>),
}

/// One mailbox and the lanes that drain it.
pub(crate) struct Mailbox {
    budget: Budget,
    config: MailboxConfig,
    tx: Sender<Box<Envelope>>,
    rx: Receiver<Box<Envelope>>,
    lanes: Box<[Arc<Lane>]>,
}

impl Mailbox {
    /// A mailbox drained by one replica for each of `lanes`.
    pub(crate) fn new(config: MailboxConfig, lanes: Box<[Arc<Lane>]>) -> Self {
        let (tx, rx) = unbounded(); // unbounded: every push holds a permit of the budget
        Self {
            budget: Budget::new(config.depth_max, config.bytes_max),
            config,
            tx,
            rx,
            lanes,
        }
    }

    pub(crate) fn config(&self) -> &MailboxConfig {
        &self.config
    }

    /// Accepts a message, or says why not.
    pub(crate) fn push(&self, envelope: Box<Envelope>) -> Result<(), Refusal> {
        let (envelope, units) = self.measure(envelope)?;
        match self.budget.try_reserve(units) {
            Ok(()) => {
                self.enqueue(envelope, units);
                Ok(())
            }
            Err(NoRoom::Closed) => Err(Refusal::Closed(envelope)),
            Err(NoRoom::Full) => self.push_full(envelope, units),
        }
    }

    /// Accepts a message, waiting for room as long as it takes: the caller holds the deadline.
    pub(crate) async fn push_blocked(&self, envelope: Box<Envelope>) -> Result<(), Refusal> {
        let (envelope, units) = self.measure(envelope)?;
        match self.budget.reserve(units).await {
            Ok(()) => {
                self.enqueue(envelope, units);
                Ok(())
            }
            Err(NoRoom::Closed) => Err(Refusal::Closed(envelope)),
            Err(NoRoom::Full) => Err(Refusal::Full(envelope)),
        }
    }

    fn measure(&self, envelope: Box<Envelope>) -> Result<(Box<Envelope>, u32), Refusal> {
        let payload = u64::try_from(envelope.args.payload_bytes()).unwrap_or(u64::MAX);
        let units = units_of(payload.saturating_add(ENVELOPE_BYTES));
        if payload > self.config.message_bytes_max || !self.budget.could_hold(units) {
            return Err(Refusal::TooLarge(envelope, payload));
        }
        Ok((envelope, units))
    }

    fn enqueue(&self, mut envelope: Box<Envelope>, units: u32) {
        envelope.permitted(units);
        // The receiver lives in `self`: the channel cannot be disconnected.
        let sent = self.tx.try_send(envelope);
        debug_assert!(sent.is_ok());
        self.budget.pushed();
        self.wake_one();
    }

    fn push_full(&self, envelope: Box<Envelope>, units: u32) -> Result<(), Refusal> {
        match self.config.strategy {
            BackpressureStrategy::Error | BackpressureStrategy::Block => {
                Err(Refusal::Full(envelope))
            }
            BackpressureStrategy::DropNewest => {
                let why = self.evicted(&envelope);
                envelope.fail(why);
                Ok(())
            }
            BackpressureStrategy::DropOldest => loop {
                match self.rx.try_recv() {
                    Ok(oldest) => {
                        let why = self.evicted(&oldest);
                        oldest.fail(why);
                    }
                    // All the room is taken by messages being handled: nothing older to drop.
                    Err(_) => return Err(Refusal::Full(envelope)),
                }
                match self.budget.try_reserve(units) {
                    Ok(()) => {
                        self.enqueue(envelope, units);
                        return Ok(());
                    }
                    Err(NoRoom::Closed) => return Err(Refusal::Closed(envelope)),
                    Err(NoRoom::Full) => {}
                }
            },
        }
    }

    fn evicted(&self, envelope: &Envelope) -> CallError {
        CallError::Evicted {
            address: envelope.target.address().clone(),
            strategy: self.config.strategy.as_str(),
        }
    }

    /// Wakes one idle replica, if there is one.
    fn wake_one(&self) {
        for lane in &self.lanes {
            if lane.wake_if_idle() {
                return;
            }
        }
    }

    /// What the drain of `lane` does next, if there is anything: kill, then control, then a message
    /// put back, then data.
    pub(crate) fn take_next(&self, lane: &Lane) -> Option<Next> {
        if lane.killed() {
            return Some(Next::Killed);
        }
        if let Some(control) = lane.take_control() {
            return Some(Next::Control(control));
        }
        lane.take_retry()
            .or_else(|| self.rx.try_recv().ok())
            .map(Next::Message)
    }

    /// Marks the drain of `lane` idle; `true` if it may sleep, `false` if it must look again. Its
    /// waker has been registered before.
    pub(crate) fn settle(&self, lane: &Lane) -> bool {
        lane.settle(|| self.has_queued())
    }

    /// The same for a caller that had won the edge of `lane`: whatever has come wakes the drain.
    pub(crate) fn settle_for(&self, lane: &Lane) {
        lane.settle_for(|| self.has_queued());
    }

    /// Whether a message waits in the data queue.
    pub(crate) fn has_queued(&self) -> bool {
        !self.rx.is_empty()
    }

    /// Permits a message that will not be queued, or gives it back.
    pub(crate) fn permit_now(
        &self,
        envelope: Box<Envelope>,
    ) -> Result<Box<Envelope>, Box<Envelope>> {
        match self.measure(envelope) {
            Ok((mut envelope, units)) => match self.budget.try_reserve_now(units) {
                Ok(()) => {
                    envelope.permitted(units);
                    Ok(envelope)
                }
                Err(_) => Err(envelope),
            },
            Err(Refusal::Full(back) | Refusal::TooLarge(back, _) | Refusal::Closed(back)) => {
                Err(back)
            }
        }
    }

    /// Whether every replica is busy, so that a message would wait.
    pub(crate) fn is_busy(&self) -> bool {
        !self.lanes.iter().any(|lane| lane.is_idle())
    }

    /// A message is done.
    pub(crate) fn release(&self, units: u32) {
        self.budget.release(units);
    }

    /// Refuses everything from now on and fails what is queued, each with `why`.
    pub(crate) fn close(&self, why: impl Fn() -> CallError) {
        self.budget.close();
        for lane in &self.lanes {
            if let Some(envelope) = lane.take_retry() {
                envelope.fail(why());
            }
        }
        while let Ok(envelope) = self.rx.try_recv() {
            envelope.fail(why());
        }
    }

    /// Messages accepted and not finished, and their bytes, rounded up.
    pub(crate) fn usage(&self) -> (u32, u64) {
        self.budget.usage()
    }
}
