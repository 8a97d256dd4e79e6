//! The mailbox: what outlives an actor.
//!
//! Owns the data queue behind its [`Budget`], and who drains it: the [`Lane`] of the slot that has it, and a [`Crew`]. The
//! queue is crossbeam's unbounded list (blocks of 31 slots made lazily; `bounded` would write a
//! stamp into every slot at creation) and is bounded by the budget's permits; its blocking
//! operations are never used. It is made with the first message: very many actors are idle, or are only ever
//! called in their callers' own tasks. An enqueue wakes at most one idle lane. A push that is accepted is
//! handled, failed with a reason, or a dead letter; a mailbox never decides on restarts.

mod budget;
mod crew;
mod lane;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use airssys_wasm::Args;

pub(crate) use budget::{BYTES_LIMIT, Budget, DEPTH_LIMIT, NoRoom, UNIT_BYTES, units_of};
pub(crate) use crew::{Crew, Member, Members};
pub(crate) use lane::{Control, Lane};

use crate::envelope::{ENVELOPE_BYTES, Envelope};
use crate::error::CallError;
use crate::sync::{AtomicBool, Mutex, Ordering, Receiver, Sender, fence, lazy, unbounded};

/// What happens to a message for which a mailbox has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum BackpressureStrategy {
    /// The sender gets `mailbox-full`, and the message back.
    #[default]
    Error,
    /// The sender waits for room, as long as its own deadline allows. Those that wait get it in the order they came in.
    Block,
    /// The new message is dropped and its sender told: a cast becomes a dead letter, and it and a call fail with
    /// `evicted`.
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
    /// No room, and the newest is to be dropped, which this is.
    Newest(Box<Envelope>),
}

/// Room for a message that is to be pushed at once: whoever closes the mailbox waits for it. It is given back if it is not
/// used.
pub(crate) struct Room<'a> {
    mailbox: &'a Mailbox,
    /// 0 once it is used.
    units: u32,
}

impl<'a> Room<'a> {
    fn new(mailbox: &'a Mailbox, units: u32) -> Self {
        Self { mailbox, units }
    }

    /// Puts the message there.
    pub(crate) fn push(mut self, envelope: Box<Envelope>) {
        let units = std::mem::take(&mut self.units);
        self.mailbox.enqueue(envelope, units);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.units > 0 {
            self.mailbox.budget.release(self.units);
            self.mailbox.budget.pushed();
        }
    }
}

/// One mailbox and the lanes that drain it.
pub(crate) struct Mailbox {
    budget: Budget,
    config: MailboxConfig,
    queue: OnceLock<Queue>,
    /// Of the slot that has it.
    own: Arc<Lane>,
    crew: Crew,
    spared: Spared,
}

/// The data queue.
struct Queue {
    tx: Sender<Box<Envelope>>,
    rx: Receiver<Box<Envelope>>,
}

impl Queue {
    fn new() -> Self {
        let (tx, rx) = unbounded(); // unbounded: every push holds a permit of the budget, or a signal's own
        Self { tx, rx }
    }
}

/// What was the oldest in the queue and is not to be lost: what had to stay when something there was dropped, and
/// messages that a replica had taken and not begun. Next in turn.
#[derive(Default)]
struct Spared {
    any: AtomicBool,
    first: Mutex<VecDeque<Box<Envelope>>>,
}

impl Mailbox {
    /// A mailbox drained by whoever has `own`, until there is a crew.
    pub(crate) fn new(config: MailboxConfig, own: Arc<Lane>) -> Self {
        Self {
            budget: Budget::new(config.depth_max, config.bytes_max),
            config,
            queue: lazy(Queue::new),
            own,
            crew: Crew::default(),
            spared: Spared::default(),
        }
    }

    pub(crate) fn config(&self) -> &MailboxConfig {
        &self.config
    }

    /// Accepts a message, or says why not.
    pub(crate) fn push(&self, envelope: Box<Envelope>) -> Result<(), Refusal> {
        let (envelope, units) = self.measure(envelope)?;
        if self.is_behind_others() {
            return Err(Refusal::Full(envelope));
        }
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

    /// Room for a message with these arguments, which is made only then, waiting for it as long as it takes: whoever waits
    /// no longer leaves nothing behind.
    pub(crate) async fn room_blocked(&self, args: &Args) -> Result<Room<'_>, NoRoom> {
        let units = self.units(args).map_err(|_| NoRoom::Full)?;
        self.budget.reserve(units).await?;
        Ok(Room::new(self, units))
    }

    /// The same, if there is room now.
    pub(crate) fn room(&self, args: &Args) -> Result<Room<'_>, NoRoom> {
        let units = self.units(args).map_err(|_| NoRoom::Full)?;
        if self.is_behind_others() {
            return Err(NoRoom::Full);
        }
        self.budget.try_reserve(units)?;
        Ok(Room::new(self, units))
    }

    /// The same in a mailbox that drops the oldest, of which as many are dropped as it takes.
    pub(crate) fn room_of_oldest(&self, args: &Args) -> Result<Room<'_>, NoRoom> {
        let units = self.units(args).map_err(|_| NoRoom::Full)?;
        self.reserve_dropping(units)?;
        Ok(Room::new(self, units))
    }

    /// Accepts all of these, with one reservation and one wake-up, or gives them all back.
    #[expect(
        clippy::vec_box,
        reason = "an envelope moves through the queue as its box"
    )]
    pub(crate) fn push_all(&self, envelopes: Vec<Box<Envelope>>) -> Result<(), Vec<Box<Envelope>>> {
        if envelopes.is_empty() {
            return Ok(());
        }
        let mut each = Vec::with_capacity(envelopes.len());
        for envelope in &envelopes {
            match self.units(&envelope.args) {
                Ok(units) => each.push(units),
                Err(_) => return Err(envelopes),
            }
        }
        if self.is_behind_others() || self.budget.try_reserve_all(&each).is_err() {
            return Err(envelopes);
        }
        let messages = each.len();
        for (mut envelope, units) in envelopes.into_iter().zip(each) {
            envelope.permitted(units);
            self.send(envelope);
        }
        self.budget.pushed();
        self.wake(messages);
        Ok(())
    }

    /// Whether senders wait for room already, and are before whoever comes.
    fn is_behind_others(&self) -> bool {
        self.config.strategy == BackpressureStrategy::Block
            && self.budget.has_blocked()
            // Nobody is to come: they are told, and so is whoever comes.
            && !self.budget.is_closed()
    }

    fn measure(&self, envelope: Box<Envelope>) -> Result<(Box<Envelope>, u32), Refusal> {
        match self.units(&envelope.args) {
            Ok(units) => Ok((envelope, units)),
            Err(payload) => Err(Refusal::TooLarge(envelope, payload)),
        }
    }

    /// The units a message is charged, or its bytes if it is too large.
    fn units(&self, args: &Args) -> Result<u32, u64> {
        let payload = u64::try_from(args.payload_bytes()).unwrap_or(u64::MAX);
        let units = units_of(payload.saturating_add(ENVELOPE_BYTES));
        if payload > self.config.message_bytes_max || !self.budget.could_hold(units) {
            return Err(payload);
        }
        Ok(units)
    }

    fn enqueue(&self, mut envelope: Box<Envelope>, units: u32) {
        envelope.permitted(units);
        self.send(envelope);
        self.budget.pushed();
        self.wake_one();
    }

    fn send(&self, envelope: Box<Envelope>) {
        // The receiver lives in `self`: the channel cannot be disconnected.
        let sent = self.queue.get_or_init(Queue::new).tx.try_send(envelope);
        debug_assert!(sent.is_ok());
    }

    /// Whether it refuses whatever comes.
    pub(crate) fn is_closed(&self) -> bool {
        self.budget.is_closed()
    }

    /// Takes a signal, whatever room there is: its permit is its holder's. Once the mailbox is closed it is
    /// dropped, because nobody is left to receive it.
    pub(crate) fn push_signal(&self, envelope: Box<Envelope>) {
        if !self.budget.announce() {
            return;
        }
        self.send(envelope);
        self.budget.pushed();
        self.wake_one();
    }

    fn push_full(&self, envelope: Box<Envelope>, units: u32) -> Result<(), Refusal> {
        match self.config.strategy {
            BackpressureStrategy::Error | BackpressureStrategy::Block => {
                Err(Refusal::Full(envelope))
            }
            BackpressureStrategy::DropNewest => Err(Refusal::Newest(envelope)),
            BackpressureStrategy::DropOldest => self.push_dropping(envelope, units),
        }
    }

    fn push_dropping(&self, envelope: Box<Envelope>, units: u32) -> Result<(), Refusal> {
        match self.reserve_dropping(units) {
            Ok(()) => {
                self.enqueue(envelope, units);
                Ok(())
            }
            Err(NoRoom::Closed) => Err(Refusal::Closed(envelope)),
            Err(NoRoom::Full) => Err(Refusal::Full(envelope)),
        }
    }

    /// Drops the oldest queued messages until one of so many units fits, and none if it would not fit even so: the rest of
    /// the room is taken by messages being handled.
    fn reserve_dropping(&self, units: u32) -> Result<(), NoRoom> {
        loop {
            for dropped in self.drop_until_fits(units).ok_or(NoRoom::Full)? {
                let why = self.evicted(&dropped);
                dropped.fail(why);
            }
            match self.budget.try_reserve(units) {
                // Another sender was faster.
                Err(NoRoom::Full) => {}
                done => return done,
            }
        }
    }

    /// Takes out the oldest messages that make room for one of so many units; `None` if all of them would not, and all
    /// stay. Whatever stays, stays in its order: it goes from the front of the queue to the back of what was spared, under the
    /// lock that whoever takes from such a mailbox holds.
    #[expect(
        clippy::vec_box,
        reason = "an envelope moves through the queue as its box"
    )]
    fn drop_until_fits(&self, units: u32) -> Option<Vec<Box<Envelope>>> {
        let mut first = self.spared.first.lock();
        // Before anything leaves the queue: whoever finds it empty after that looks here.
        self.spared.any.store(true, Ordering::Release);
        let (mut seen, mut dropped, mut freed) = (0, 0_u32, 0_u64);
        let fits = loop {
            if self.budget.would_fit(units, dropped, freed) {
                break true;
            }
            if seen == first.len() {
                first.extend(self.take_queued());
            }
            let Some(next) = first.get(seen) else {
                break false;
            };
            seen += 1;
            if !next.is_signal() {
                dropped += 1;
                freed += u64::from(next.units());
            }
        };
        let mut oldest = Vec::new();
        if fits {
            let signals = first.drain(..seen).filter_map(|envelope| {
                if envelope.is_signal() {
                    return Some(envelope);
                }
                oldest.push(envelope);
                None
            });
            let signals: Vec<_> = signals.collect();
            for signal in signals.into_iter().rev() {
                first.push_front(signal);
            }
        }
        self.spared.any.store(!first.is_empty(), Ordering::Release);
        fits.then_some(oldest)
    }

    /// Keeps what a replica has taken and not begun.
    pub(crate) fn spare(&self, envelope: Box<Envelope>) {
        {
            let mut first = self.spared.first.lock();
            first.push_back(envelope);
            self.spared.any.store(true, Ordering::Release);
        }
        // The drain may have found the queue empty in between.
        self.wake_one();
        if self.budget.is_closed() {
            // The sweep may have been before: nobody else comes for it.
            while let Some(envelope) = self.take_spared() {
                drop(envelope);
            }
        }
    }

    fn take_spared(&self) -> Option<Box<Envelope>> {
        if !self.spared.any.load(Ordering::Acquire) {
            return None;
        }
        let mut first = self.spared.first.lock();
        let next = first.pop_front();
        self.spared.any.store(!first.is_empty(), Ordering::Release);
        next
    }

    /// What comes first, where senders may take from the front of the queue too.
    fn take_in_order(&self) -> Option<Box<Envelope>> {
        let mut first = self.spared.first.lock();
        match first.pop_front() {
            Some(next) => {
                self.spared.any.store(!first.is_empty(), Ordering::Release);
                Some(next)
            }
            None => self.take_queued(),
        }
    }

    pub(crate) fn evicted(&self, envelope: &Envelope) -> CallError {
        CallError::Evicted {
            address: envelope.target.address().clone(),
            strategy: self.config.strategy.as_str(),
        }
    }

    /// Wakes one idle drain, if there is one.
    fn wake_one(&self) {
        self.wake(1);
    }

    /// Wakes so many idle drains, if there are as many: of those that take what is in the queue. One that is out of
    /// rotation, or leaves, takes only what is meant for it alone.
    fn wake(&self, mut messages: usize) {
        if self.own.is_leaving() {
            // As in `wake_if_idle`, which is not called: who joins after this looks at the queue itself.
            fence(Ordering::SeqCst);
        } else if self.own.wake_if_idle() {
            messages -= 1;
        }
        if messages == 0 {
            return;
        }
        let Some(members) = self.crew.members() else {
            return;
        };
        for member in members.iter() {
            if !member.lane.is_out() && member.lane.wake_if_idle() {
                messages -= 1;
                if messages == 0 {
                    return;
                }
            }
        }
    }

    /// What the drain of `lane` does next, if there is anything: kill, then control, then a message
    /// put back, then data.
    pub(crate) fn take_next(&self, lane: &Lane) -> Option<Next> {
        lane.take_next()
            .or_else(|| self.take_shared().map(Next::Message))
    }

    /// The next message that is nobody's yet.
    pub(crate) fn take_shared(&self) -> Option<Box<Envelope>> {
        if self.config.strategy == BackpressureStrategy::DropOldest {
            return self.take_in_order();
        }
        self.take_spared().or_else(|| self.take_queued())
    }

    fn take_queued(&self) -> Option<Box<Envelope>> {
        let queue = self.queue.get()?;
        // To find it empty by receiving costs a fence; whoever settles looks again behind one.
        #[expect(
            clippy::len_zero,
            reason = "a model breaks the second look, which asks `is_empty`, and not this one"
        )]
        if queue.rx.len() == 0 {
            return None;
        }
        queue.rx.try_recv().ok()
    }

    /// A replica was woken and has taken nothing of what is queued: another one is, if there is one.
    pub(crate) fn pass_on(&self) {
        if self.has_queued() {
            self.wake_one();
        }
    }

    /// Messages that wait and that nobody has taken, signals included.
    pub(crate) fn queued(&self) -> u64 {
        let waiting = self.queue.get().map_or(0, |queue| queue.rx.len());
        let spared = match self.spared.any.load(Ordering::Acquire) {
            true => self.spared.first.lock().len(),
            false => 0,
        };
        u64::try_from(waiting.saturating_add(spared)).unwrap_or(u64::MAX)
    }

    /// Who drains it, too.
    pub(crate) fn crew(&self) -> &Crew {
        &self.crew
    }

    /// Whether a message waits in the data queue.
    pub(crate) fn has_queued(&self) -> bool {
        // Not by the permits: a signal holds none.
        self.queue.get().is_some_and(|queue| !queue.rx.is_empty())
            // A sender may be looking through it, which ends with the lock.
            || (self.spared.any.load(Ordering::Acquire) && !self.spared.first.lock().is_empty())
    }

    /// Whether a message with these arguments would be refused for its size.
    pub(crate) fn is_too_large(&self, args: &Args) -> bool {
        self.units(args).is_err()
    }

    /// What a message with these arguments is charged if its caller's own task runs it; `None` if it would
    /// be refused.
    pub(crate) fn would_take(&self, args: &Args) -> Option<u32> {
        let units = self.units(args).ok()?;
        (!self.budget.is_closed()).then_some(units)
    }

    /// Charges a message that its caller has begun and the actor goes on with.
    pub(crate) fn charge(&self, units: u32) -> Option<u32> {
        self.budget.charge(units)
    }

    /// Whether everybody who drains it is busy, so that a message would wait.
    pub(crate) fn is_busy(&self) -> bool {
        let is_idle = |members: Members| members.iter().any(|member| member.lane.is_idle());
        !(self.own.is_idle() || self.crew.members().is_some_and(is_idle))
    }

    /// A message is done.
    pub(crate) fn release(&self, units: u32) {
        self.budget.release(units);
    }

    /// Refuses everything from now on and fails what is queued, each with `why`.
    pub(crate) fn close(&self, why: impl Fn() -> CallError) {
        self.close_to(|envelope| envelope.fail(why()));
    }

    /// Refuses everything from now on and does this with what is queued.
    pub(crate) fn close_to(&self, each: impl Fn(Box<Envelope>)) {
        self.budget.close();
        self.own.take_retry().into_iter().for_each(&each);
        if let Some(members) = self.crew.members() {
            let taken = members.iter().filter_map(|member| member.lane.take_retry());
            taken.for_each(&each);
        }
        while let Some(envelope) = self.take_shared() {
            each(envelope);
        }
    }

    /// Accepts messages again, after [`Mailbox::close`] has returned.
    pub(crate) fn reopen(&self) {
        self.budget.reopen();
    }

    /// Messages accepted and not finished, and their bytes, rounded up.
    pub(crate) fn usage(&self) -> (u32, u64) {
        self.budget.usage()
    }

    /// Waits until it holds no message, the one in hand included.
    pub(crate) async fn emptied(&self) {
        self.budget.emptied().await;
    }
}
