//! One subscriber of a topic, and what it may hold.
//!
//! Owns the bound of one subscription. Where the newest is refused, dropped or made to wait, a budget like a mailbox's
//! is charged for every publication until it is finished. Where the oldest is dropped, publications wait in a ring here
//! and the mailbox holds one empty envelope for each, which takes the oldest when its turn comes: room is made by
//! replacing what waits longest, without touching the mailbox. What the rings of one actor hold together is bounded by what
//! its mailbox may hold.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use airssys_wasm::{Args, ExportId, Value, WitType};
use parking_lot::Mutex;

use super::{List, SubscribeError, SubscribeOptions};
use crate::address::ActorId;
use crate::call::refused;
use crate::envelope::{CallContext, ENVELOPE_BYTES, Envelope, Undelivered};
use crate::error::CallError;
use crate::mailbox::{BackpressureStrategy, Budget, NoRoom, Refusal, Room, units_of};
use crate::reference::ActorFunction;
use crate::slot::Slot;
use crate::trace::TraceContext;

/// What is published, as every subscriber shares it.
pub(crate) struct Publication {
    /// Bytes, so that a clone copies nothing.
    pub(crate) payload: Value,
    /// Whom it goes to, and under which topic.
    pub(crate) list: List,
    pub(crate) sender: Option<ActorId>,
    pub(crate) trace: Option<TraceContext>,
}

/// What became of a publication at one subscriber.
pub(crate) enum Offered {
    Sent,
    /// A dead letter now.
    Dropped,
    Refused,
    /// No room, and the publisher is asked to wait.
    Wait,
}

/// A publication in the ring.
struct Held {
    args: Args,
    units: u32,
    sender: Option<ActorId>,
    trace: Option<TraceContext>,
}

#[derive(Default)]
struct Ring {
    held: VecDeque<Held>,
    units: u64,
    /// Empty envelopes on their way: as many as are held at least, and no more than were ever held at once.
    envelopes: usize,
}

/// What became of a publication that was to go into the ring.
enum Entered<'a> {
    /// It is there; with the room of its envelope, unless there is one to spare.
    In(Option<Room<'a>>),
    /// It comes back, and nothing has changed: its envelope has no room in the mailbox.
    NoRoom(Held, NoRoom),
    Refused,
}

/// What the rings of all subscriptions of one actor hold, in units.
#[derive(Default)]
pub(crate) struct RingUnits(AtomicU64);

impl RingUnits {
    fn used(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes so many, unless there would be more than `max`.
    fn take(&self, units: u32, max: u64) -> bool {
        let more = |used: u64| Some(used + u64::from(units)).filter(|used| *used <= max);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok()
    }

    fn give_back(&self, units: u32) {
        self.0.fetch_sub(u64::from(units), Ordering::Relaxed);
    }
}

/// One subscription.
pub(crate) struct Subscription {
    target: Arc<Slot>,
    export: ExportId,
    /// Whether the function takes the payload alone.
    plain: bool,
    options: SubscribeOptions,
    /// Charged unless the oldest is dropped.
    budget: Budget,
    ring: Mutex<Ring>,
}

impl Subscription {
    /// The function it sends to.
    pub(super) fn function(&self) -> ExportId {
        self.export
    }

    pub(super) fn options(&self) -> SubscribeOptions {
        self.options
    }

    pub(super) fn new(
        function: &ActorFunction,
        options: SubscribeOptions,
    ) -> Result<Self, SubscribeError> {
        let slot = function.slot();
        let plain = slot.handler() != Some(function.export());
        let is_bytes =
            |ty: &WitType| matches!(ty, WitType::List(element) if **element == WitType::U8);
        let takes_bytes = function
            .ty()
            .is_some_and(|ty| matches!(&*ty.params, [(_, only)] if is_bytes(only)));
        if plain && !takes_bytes {
            return Err(SubscribeError::Signature {
                signature: function
                    .ty()
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            });
        }
        Ok(Self {
            target: Arc::clone(slot),
            export: function.export(),
            plain,
            options,
            budget: Budget::new(options.depth_max, options.bytes_max),
            ring: Mutex::default(),
        })
    }

    pub(crate) fn target(&self) -> &Arc<Slot> {
        &self.target
    }

    fn drops_oldest(&self) -> bool {
        self.options.overflow == BackpressureStrategy::DropOldest
    }

    fn args(&self, publication: &Publication) -> Args {
        let mut args = Args::new();
        args.push(publication.payload.clone());
        if !self.plain {
            args.push(Value::Bytes(publication.list.topic.clone()));
        }
        args
    }

    fn units(args: &Args) -> u32 {
        let payload = u64::try_from(args.payload_bytes()).unwrap_or(u64::MAX);
        units_of(payload.saturating_add(ENVELOPE_BYTES))
    }

    /// Sends a publication if there is room, or does what the subscription says.
    pub(super) fn offer(self: &Arc<Self>, publication: &Publication) -> Offered {
        let args = self.args(publication);
        let units = Self::units(&args);
        if self.drops_oldest() {
            return self.offer_ring(publication, args, units, None);
        }
        match self.budget.try_reserve_now(units) {
            Ok(()) => self.push(publication, args, units),
            Err(why) => self.overflow(why, publication, args, units),
        }
    }

    /// What becomes of a publication that the subscription has no room for.
    fn overflow(&self, why: NoRoom, publication: &Publication, args: Args, units: u32) -> Offered {
        match (why, self.options.overflow) {
            (NoRoom::Full, BackpressureStrategy::Block) if self.budget.could_hold(units) => {
                Offered::Wait
            }
            (NoRoom::Full, BackpressureStrategy::DropNewest) => self.evict(publication, args),
            _ => Offered::Refused,
        }
    }

    /// Sends a publication once there is room, here and in the mailbox, as far as each asks publishers to wait; what else
    /// they say of it holds as it does at once. Whoever waits no longer leaves nothing behind.
    pub(super) async fn offer_blocked(self: &Arc<Self>, publication: &Publication) -> Offered {
        let args = self.args(publication);
        let units = Self::units(&args);
        let mailbox = self.target.mailbox();
        if self.drops_oldest() {
            return match mailbox.room_blocked(&Args::new()).await {
                Ok(room) => self.offer_ring(publication, args, units, Some(room)),
                Err(_) => Offered::Refused,
            };
        }
        if self.options.overflow == BackpressureStrategy::Block {
            if self.budget.reserve(units).await.is_err() {
                return Offered::Refused;
            }
            self.budget.pushed();
        } else if let Err(why) = self.budget.try_reserve_now(units) {
            return self.overflow(why, publication, args, units);
        }
        if !self.mailbox_blocks() {
            return self.push(publication, args, units);
        }
        let reserved = Reserved(self, units);
        let Ok(room) = mailbox.room_blocked(&args).await else {
            return Offered::Refused;
        };
        let mut envelope = self.envelope(publication, args);
        envelope.published(Arc::clone(self), reserved.keep());
        room.push(envelope);
        self.target.counters().cast();
        Offered::Sent
    }

    /// Pushes what the budget has been charged for.
    fn push(self: &Arc<Self>, publication: &Publication, args: Args, units: u32) -> Offered {
        let mut envelope = self.envelope(publication, args);
        envelope.published(Arc::clone(self), units);
        let refusal = match self.target.mailbox().push(envelope) {
            Ok(()) => {
                self.target.counters().cast();
                return Offered::Sent;
            }
            Err(refusal) => refusal,
        };
        let waits = matches!(refusal, Refusal::Full(_)) && self.mailbox_blocks();
        // Recalling the message gives its room back.
        match refused(&self.target, refusal) {
            (_, None) => Offered::Dropped,
            (_, Some(_)) if waits => Offered::Wait,
            (_, Some(_)) => Offered::Refused,
        }
    }

    /// Whether the mailbox asks senders to wait for room.
    fn mailbox_blocks(&self) -> bool {
        self.target.mailbox().config().strategy == BackpressureStrategy::Block
    }

    fn envelope(&self, publication: &Publication, args: Args) -> Box<Envelope> {
        let context = CallContext {
            trace: publication.trace,
            ..CallContext::default()
        };
        Envelope::cast(
            Arc::clone(&self.target),
            publication.sender,
            self.export,
            args,
            context,
        )
    }

    /// Puts a publication into the ring; `room` is the publisher's in the mailbox, if it has waited for it.
    fn offer_ring(
        self: &Arc<Self>,
        publication: &Publication,
        args: Args,
        units: u32,
        room: Option<Room<'_>>,
    ) -> Offered {
        // What the mailbox would refuse does not come in past it.
        if !self.budget.could_hold(units) || self.target.mailbox().is_too_large(&args) {
            return Offered::Refused;
        }
        let held = Held {
            args,
            units,
            sender: publication.sender,
            trace: publication.trace,
        };
        let mut evicted = Vec::new();
        let offered = self.enter_ring(publication, held, room, &mut evicted);
        for oldest in evicted {
            // It had been accepted and counted.
            let why = self.evicted(BackpressureStrategy::DropOldest);
            self.dead(oldest.sender, oldest.args, why);
        }
        offered
    }

    /// The same, until there is room for its envelope or the mailbox says what becomes of it.
    fn enter_ring<'a>(
        self: &'a Arc<Self>,
        publication: &Publication,
        mut held: Held,
        mut room: Option<Room<'a>>,
        evicted: &mut Vec<Held>,
    ) -> Offered {
        let mailbox = self.target.mailbox();
        loop {
            let entered = self.enter(&mut self.ring.lock(), held, room.take(), evicted);
            let (back, why) = match entered {
                Entered::In(room) => {
                    self.target.counters().cast();
                    if let Some(room) = room {
                        let mut envelope = self.envelope(publication, Args::new());
                        envelope.published(Arc::clone(self), 0);
                        room.push(envelope);
                    }
                    return Offered::Sent;
                }
                Entered::NoRoom(back, why) => (back, why),
                Entered::Refused => return Offered::Refused,
            };
            match (why, mailbox.config().strategy) {
                (NoRoom::Full, BackpressureStrategy::DropOldest) => {
                    let Ok(made) = mailbox.room_of_oldest(&Args::new()) else {
                        return Offered::Refused;
                    };
                    (held, room) = (back, Some(made));
                }
                (NoRoom::Full, BackpressureStrategy::DropNewest) => {
                    return self.evict(publication, back.args);
                }
                (NoRoom::Full, BackpressureStrategy::Block) => return Offered::Wait,
                _ => return Offered::Refused,
            }
        }
    }

    /// Puts a publication into the ring, in the place of the oldest if need be. An envelope that is to come for it has its
    /// room before: what is in the ring is never taken back, so that no publisher is told what became of another's.
    fn enter<'a>(
        &'a self,
        ring: &mut Ring,
        held: Held,
        mut room: Option<Room<'a>>,
        evicted: &mut Vec<Held>,
    ) -> Entered<'a> {
        let units = u64::from(held.units);
        let units_max = u64::from(units_of(self.options.bytes_max));
        let depth_max = usize::try_from(self.options.depth_max).unwrap_or(usize::MAX);
        let (all, all_max) = self.rings();
        // What the other rings hold is not dropped for this one.
        let others = all.used().saturating_sub(ring.units);
        if others + units > all_max {
            return Entered::Refused;
        }
        loop {
            if ring.held.len() < depth_max && ring.units + units <= units_max {
                if ring.envelopes > ring.held.len() {
                    // The envelope of what was dropped is in the mailbox already.
                    room = None;
                } else if room.is_none() {
                    match self.target.mailbox().room(&Args::new()) {
                        Ok(now) => room = Some(now),
                        Err(why) => return Entered::NoRoom(held, why),
                    }
                }
                if all.take(held.units, all_max) {
                    ring.units += units;
                    ring.envelopes += usize::from(room.is_some());
                    ring.held.push_back(held);
                    return Entered::In(room);
                }
            }
            match self.take_from(ring) {
                Some(oldest) => evicted.push(oldest),
                // Another ring was faster.
                None => return Entered::Refused,
            }
        }
    }

    /// What the rings of its actor hold, and how much they may.
    fn rings(&self) -> (&RingUnits, u64) {
        let max = units_of(self.target.mailbox().config().bytes_max);
        (self.target.rings(), u64::from(max))
    }

    /// Takes the oldest out of the ring.
    fn take_from(&self, ring: &mut Ring) -> Option<Held> {
        let held = ring.held.pop_front()?;
        ring.units -= u64::from(held.units);
        self.rings().0.give_back(held.units);
        Some(held)
    }

    /// The turn of an empty envelope has come: the oldest in the ring is its message. `None` where messages travel in
    /// their envelopes; `Some(None)` where there is nothing left for it.
    #[expect(
        clippy::type_complexity,
        reason = "three answers that only the envelope takes apart"
    )]
    pub(crate) fn claim(&self) -> Option<Option<(Args, Option<ActorId>, Option<TraceContext>)>> {
        if !self.drops_oldest() {
            return None;
        }
        let mut ring = self.ring.lock();
        ring.envelopes = ring.envelopes.saturating_sub(1);
        let oldest = self.take_from(&mut ring);
        Some(oldest.map(|held| (held.args, held.sender, held.trace)))
    }

    /// A publication is finished. One that was in the ring has given its room back when it was taken from there.
    pub(crate) fn release(&self, units: u32) {
        if !self.drops_oldest() {
            self.budget.release(units);
        }
    }

    /// Drops what is new.
    fn evict(&self, publication: &Publication, args: Args) -> Offered {
        self.target.counters().cast();
        let why = self.evicted(BackpressureStrategy::DropNewest);
        self.dead(publication.sender, args, why);
        Offered::Dropped
    }

    fn evicted(&self, strategy: BackpressureStrategy) -> CallError {
        CallError::Evicted {
            address: self.target.address().clone(),
            strategy: strategy.as_str(),
        }
    }

    fn dead(&self, sender: Option<ActorId>, args: Args, why: CallError) {
        self.target.dead_letter(Undelivered {
            sender,
            export: self.export,
            args,
            why,
            fatal: false,
            replay: None,
        });
    }
}

/// Room in a subscription's budget that no envelope holds yet.
struct Reserved<'a>(&'a Subscription, u32);

impl Reserved<'_> {
    /// An envelope holds it from now on.
    fn keep(mut self) -> u32 {
        std::mem::take(&mut self.1)
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if self.1 > 0 {
            self.0.budget.release(self.1);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // Whatever is still held has no envelope to come for it.
        let units: u64 = self.ring.get_mut().units;
        self.target.rings().0.fetch_sub(units, Ordering::Relaxed);
    }
}
