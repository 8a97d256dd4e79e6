//! What a mailbox may hold: depth and bytes, the pushes under way, and whether it is closed.
//!
//! Owns one atomic word. That closing and pushing share it is the point: once the closed bit is
//! set and the count of pushes is zero, nothing more can arrive, and a sweep finds everything.
//! Reserving and releasing cost one compare-and-swap each and never block; a sender that wants to
//! wait for room does so in [`Budget::reserve`]. Such senders stand in line: the first alone waits for a release, the others
//! for their turn, so that a release wakes one, and one that needs much room is not overtaken by those that need little.

use std::sync::OnceLock;

use tokio::sync::{Notify, Semaphore};

use crate::sync::{AtomicU64, Ordering, spin_loop, yield_now};

/// Bytes are counted in units of this many, rounded up.
pub(crate) const UNIT_BYTES: u64 = 64;

// The word, from the top: closed (1 bit), blocked senders (1), pushes under way (14), messages
// (20), units of bytes (28).
const CLOSED: u64 = 1 << 63;
const BLOCKED: u64 = 1 << 62;
const PUSH: u64 = 1 << 48;
const PUSHES: u64 = ((1 << 14) - 1) << 48;
const MESSAGE: u64 = 1 << 28;
const MESSAGES_SHIFT: u32 = 28;
const MESSAGES: u64 = ((1 << 20) - 1) << MESSAGES_SHIFT;
const UNITS: u64 = (1 << 28) - 1;

/// Most messages a budget can count.
pub(crate) const DEPTH_LIMIT: u32 = (1 << 20) - 1;
/// Most bytes a budget can count: 16 GiB less one unit.
pub(crate) const BYTES_LIMIT: u64 = UNITS * UNIT_BYTES;

/// Why nothing was reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    Full,
    Closed,
}

/// The budget of one mailbox.
pub(crate) struct Budget {
    word: AtomicU64,
    messages_max: u64,
    units_max: u64,
    /// The first blocked sender waits here, and whoever waits for the last message.
    room: Notify,
    /// Where blocked senders stand in line; made with the first. Its only permit is the first sender's.
    turn: OnceLock<Box<Semaphore>>,
}

/// Units charged for a message of `bytes`.
pub(crate) fn units_of(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES).min(UNITS)).unwrap_or(u32::MAX)
}

impl Budget {
    /// A budget of `depth_max` messages and `bytes_max` bytes, each cut to what can be counted.
    pub(crate) fn new(depth_max: u32, bytes_max: u64) -> Self {
        Self {
            word: AtomicU64::new(0),
            messages_max: u64::from(depth_max.min(DEPTH_LIMIT)),
            units_max: bytes_max.min(BYTES_LIMIT).div_ceil(UNIT_BYTES).max(1),
            room: Notify::new(),
            turn: OnceLock::new(),
        }
    }

    /// Whether a message of `units` would fit an empty mailbox.
    pub(crate) fn could_hold(&self, units: u32) -> bool {
        self.messages_max > 0 && u64::from(units) <= self.units_max
    }

    /// Whether a message of `units` would fit once so many messages of `freed` units in all are done.
    pub(crate) fn would_fit(&self, units: u32, messages: u32, freed: u64) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        let held = ((word & MESSAGES) >> MESSAGES_SHIFT).saturating_sub(u64::from(messages));
        let held_units = (word & UNITS).saturating_sub(freed);
        held < self.messages_max && held_units + u64::from(units) <= self.units_max
    }

    /// Reserves room for one message and announces its push; [`Budget::pushed`] must follow.
    pub(crate) fn try_reserve(&self, units: u32) -> Result<(), NoRoom> {
        self.reserve_or(units, PUSH, false)
    }

    /// Reserves room for a message of each of `units` and announces one push for all of them; one [`Budget::pushed`]
    /// must follow.
    pub(crate) fn try_reserve_all(&self, units: &[u32]) -> Result<(), NoRoom> {
        let messages = u64::try_from(units.len()).unwrap_or(u64::MAX);
        let sum = units
            .iter()
            .fold(0_u64, |sum, units| sum.saturating_add(u64::from(*units)));
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & CLOSED != 0 {
                return Err(NoRoom::Closed);
            }
            let messages_now = (word & MESSAGES) >> MESSAGES_SHIFT;
            if messages > self.messages_max.saturating_sub(messages_now)
                || sum > self.units_max.saturating_sub(word & UNITS)
                || word & PUSHES == PUSHES
            {
                return Err(NoRoom::Full);
            }
            let next = word + messages * MESSAGE + sum + PUSH;
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Charges a message that has begun without a reservation; returns the units to release, or `None` if it
    /// cannot be counted. This may exceed the budget by what is in hand: a message that has begun is not refused.
    pub(crate) fn charge(&self, units: u32) -> Option<u32> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let units = u64::from(units).min(UNITS - (word & UNITS));
            if word & MESSAGES == MESSAGES || units == 0 {
                return None;
            }
            let next = word + MESSAGE + units;
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return Some(u32::try_from(units).unwrap_or(u32::MAX)),
                Err(now) => word = now,
            }
        }
    }

    /// Reserves room for a message that is not pushed but handled at once.
    pub(crate) fn try_reserve_now(&self, units: u32) -> Result<(), NoRoom> {
        self.reserve_or(units, 0, false)
    }

    /// Whether nothing is accepted any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.word.load(Ordering::Acquire) & CLOSED != 0
    }

    fn reserve_or(&self, units: u32, push: u64, mark_blocked: bool) -> Result<(), NoRoom> {
        let units = u64::from(units);
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & CLOSED != 0 {
                return Err(NoRoom::Closed);
            }
            let fits = ((word & MESSAGES) >> MESSAGES_SHIFT) < self.messages_max
                && (word & UNITS) + units <= self.units_max
                && word & PUSHES != PUSHES;
            let next = match (fits, mark_blocked) {
                (true, _) => word + MESSAGE + units + push,
                (false, true) => word | BLOCKED,
                (false, false) => return Err(NoRoom::Full),
            };
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) if fits => return Ok(()),
                Ok(_) => return Err(NoRoom::Full),
                Err(now) => word = now,
            }
        }
    }

    /// Announces a push that takes no room: a signal's. [`Budget::pushed`] must follow. Returns whether it may
    /// be pushed: not once the mailbox is closed.
    pub(crate) fn announce(&self) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & CLOSED != 0 {
                return false;
            }
            // The count of pushes is full: one of them is over after a few instructions.
            if word & PUSHES == PUSHES {
                yield_now();
                word = self.word.load(Ordering::Relaxed);
                continue;
            }
            match self.word.compare_exchange_weak(
                word,
                word + PUSH,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Whether a sender waits for room: whoever comes now is not before it.
    pub(crate) fn has_blocked(&self) -> bool {
        self.turn
            .get()
            .is_some_and(|turn| turn.available_permits() == 0)
    }

    /// Reserves, waiting for room as long as it takes, and for those that waited before.
    pub(crate) async fn reserve(&self, units: u32) -> Result<(), NoRoom> {
        let turn = self.turn.get_or_init(|| Box::new(Semaphore::new(1)));
        // Never closed: with the mailbox closed each has its turn, and is told.
        let _first = turn.acquire().await;
        loop {
            let notified = self.room.notified();
            tokio::pin!(notified);
            // Registered before the blocked bit is set: the release that clears it finds us.
            notified.as_mut().enable();
            match self.reserve_or(units, PUSH, true) {
                Err(NoRoom::Full) => notified.await,
                done => return done,
            }
        }
    }

    /// The announced push is in the queue.
    pub(crate) fn pushed(&self) {
        self.word.fetch_sub(PUSH, Ordering::AcqRel);
    }

    /// A message is done.
    pub(crate) fn release(&self, units: u32) {
        let before = self
            .word
            .fetch_sub(MESSAGE + u64::from(units), Ordering::AcqRel);
        if before & BLOCKED != 0 {
            self.word.fetch_and(!BLOCKED, Ordering::AcqRel);
            self.room.notify_waiters();
        }
    }

    /// Waits until no message is accepted and unfinished. It waits as a blocked sender does, so that a release looks
    /// for no more than it does for them.
    pub(crate) async fn emptied(&self) {
        loop {
            let notified = self.room.notified();
            tokio::pin!(notified);
            // Registered before the bit is set, as above. A bit that is left set costs one release one look.
            notified.as_mut().enable();
            if self.word.fetch_or(BLOCKED, Ordering::AcqRel) & MESSAGES == 0 {
                return;
            }
            notified.await;
        }
    }

    /// Closes: no reservation succeeds any more, blocked senders fail, and on return every push
    /// that had been announced is in the queue. Returns whether this call closed it.
    pub(crate) fn close(&self) -> bool {
        let before = self.word.fetch_or(CLOSED, Ordering::AcqRel);
        self.room.notify_waiters();
        // A push is a few instructions between two atomics, with no await in between.
        let mut spins = 0_u32;
        while self.word.load(Ordering::Acquire) & PUSHES != 0 {
            spins += 1;
            if spins < 64 {
                spin_loop();
            } else {
                yield_now();
            }
        }
        before & CLOSED == 0
    }

    /// Accepts again. Nobody is closing it meanwhile.
    pub(crate) fn reopen(&self) {
        self.word.fetch_and(!CLOSED, Ordering::AcqRel);
    }

    /// Messages accepted and not finished, and their bytes, rounded up.
    pub(crate) fn usage(&self) -> (u32, u64) {
        let word = self.word.load(Ordering::Relaxed);
        let messages = u32::try_from((word & MESSAGES) >> MESSAGES_SHIFT).unwrap_or(u32::MAX);
        (messages, (word & UNITS) * UNIT_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn depth_and_bytes_are_both_limits() {
        let budget = Budget::new(2, 10 * UNIT_BYTES);
        assert_eq!(budget.try_reserve(4), Ok(()));
        assert_eq!(budget.try_reserve(7), Err(NoRoom::Full));
        assert_eq!(budget.try_reserve(6), Ok(()));
        assert_eq!(budget.try_reserve(0), Err(NoRoom::Full));
        assert_eq!(budget.usage(), (2, 640));
        budget.pushed();
        budget.pushed();
        budget.release(4);
        budget.release(6);
        assert_eq!(budget.usage(), (0, 0));
        assert!(!budget.could_hold(11));
        assert!(budget.could_hold(10));
    }

    #[test]
    fn what_has_begun_is_charged_also_when_there_is_no_room() {
        let budget = Budget::new(1, 10 * UNIT_BYTES);
        assert_eq!(budget.try_reserve(10), Ok(()));
        budget.pushed();
        assert_eq!(budget.charge(7), Some(7));
        assert_eq!(budget.usage(), (2, 17 * UNIT_BYTES));
        assert_eq!(budget.try_reserve(1), Err(NoRoom::Full));
        budget.release(7);
        budget.release(10);
        assert_eq!(budget.usage(), (0, 0));
        // Neither field runs over into the next.
        let full = Budget::new(DEPTH_LIMIT, BYTES_LIMIT);
        full.word
            .store(MESSAGES - MESSAGE + UNITS - 1, Ordering::Relaxed);
        assert_eq!(full.charge(7), Some(1));
        assert_eq!(full.charge(7), None);
        assert_eq!(full.usage(), (DEPTH_LIMIT, BYTES_LIMIT));
    }

    #[test]
    fn a_message_larger_than_can_be_counted_is_charged_the_most() {
        assert_eq!(u64::from(units_of(u64::MAX)), UNITS);
        assert!(!Budget::new(1, 1 << 20).could_hold(units_of(u64::MAX)));
    }

    #[tokio::test]
    async fn a_blocked_sender_gets_room_when_a_message_is_done() {
        let budget = Arc::new(Budget::new(1, 1024));
        budget.try_reserve(1).unwrap();
        budget.pushed();
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.reserve(1).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        budget.release(1);
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    /// Counts how often a task is woken.
    #[derive(Default)]
    struct Woken(std::sync::atomic::AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[test]
    fn blocked_senders_get_room_in_their_order_and_a_release_wakes_one() {
        const SENDERS: usize = 50;
        let budget = Budget::new(100, 10 * UNIT_BYTES);
        budget.try_reserve(10).unwrap();
        budget.pushed();
        assert!(!budget.has_blocked());
        // The first needs all the room there is; the others would fit before.
        let units = |at: usize| if at == 0 { 10 } else { 1 };
        let mut waiting: Vec<_> = (0..SENDERS)
            .map(|at| (Box::pin(budget.reserve(units(at))), Arc::<Woken>::default()))
            .collect();
        let woken = |waiting: &[(_, Arc<Woken>)]| {
            let each = waiting.iter().map(|(_, woken): &(_, Arc<Woken>)| {
                woken.0.load(std::sync::atomic::Ordering::Relaxed)
            });
            each.sum::<usize>()
        };
        for (reserve, woken) in &mut waiting {
            let waker = std::task::Waker::from(Arc::clone(woken));
            let mut cx = std::task::Context::from_waker(&waker);
            assert!(reserve.as_mut().poll(&mut cx).is_pending());
        }
        assert!(budget.has_blocked());
        assert_eq!(woken(&waiting), 0);
        let mut held = vec![10];
        for at in 0..SENDERS {
            // Whoever is not first gets nothing, however often it looks.
            while budget.usage().1 > (10 - u64::from(units(at))) * UNIT_BYTES {
                let before = woken(&waiting);
                budget.release(held.remove(0));
                assert!(woken(&waiting) <= before + 1);
            }
            for (reserve, _) in &mut waiting[at + 1..] {
                let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                assert!(reserve.as_mut().poll(&mut cx).is_pending());
            }
            let (reserve, woken) = &mut waiting[at];
            let waker = std::task::Waker::from(Arc::clone(woken));
            let mut cx = std::task::Context::from_waker(&waker);
            assert_eq!(
                reserve.as_mut().poll(&mut cx),
                std::task::Poll::Ready(Ok(()))
            );
            budget.pushed();
            held.push(units(at));
        }
        drop(waiting);
        assert!(!budget.has_blocked());
        for units in held {
            budget.release(units);
        }
        assert_eq!(budget.usage(), (0, 0));
    }

    #[tokio::test]
    async fn a_blocked_sender_that_leaves_gives_its_turn_to_the_next() {
        let budget = Arc::new(Budget::new(1, 1024));
        budget.try_reserve(1).unwrap();
        budget.pushed();
        let wait = || {
            let budget = Arc::clone(&budget);
            tokio::spawn(async move { budget.reserve(1).await })
        };
        let (first, second, third) = (wait(), wait(), wait());
        tokio::task::yield_now().await;
        // One that waits in the line, and the first of it.
        second.abort();
        first.abort();
        budget.release(1);
        assert_eq!(third.await.unwrap(), Ok(()));
        assert!(!budget.has_blocked());
    }

    #[tokio::test]
    async fn whoever_waits_for_the_last_message_hears_of_it_and_of_no_other() {
        let budget = Arc::new(Budget::new(10, 1 << 20));
        budget.emptied().await;
        for _ in 0..3 {
            budget.try_reserve(1).unwrap();
            budget.pushed();
        }
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.emptied().await }
        });
        for _ in 0..2 {
            tokio::task::yield_now().await;
            budget.release(1);
        }
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        budget.release(1);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn closing_fails_blocked_senders_and_is_done_once() {
        let budget = Arc::new(Budget::new(1, 1024));
        budget.try_reserve(1).unwrap();
        budget.pushed();
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.reserve(1).await }
        });
        tokio::task::yield_now().await;
        assert!(budget.close());
        assert!(!budget.close());
        assert_eq!(waiting.await.unwrap(), Err(NoRoom::Closed));
        assert_eq!(budget.try_reserve(1), Err(NoRoom::Closed));
    }

    #[test]
    fn close_waits_for_pushes_under_way() {
        for _ in 0..200 {
            let budget = Arc::new(Budget::new(100, 1 << 20));
            let (tx, rx) = crossbeam_channel::unbounded(); // unbounded: a test's own record
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    let (budget, tx) = (Arc::clone(&budget), tx.clone());
                    scope.spawn(move || {
                        while budget.try_reserve(1).is_ok() {
                            tx.send(()).unwrap();
                            budget.pushed();
                        }
                    });
                }
                budget.close();
                let swept = rx.len();
                assert_eq!(budget.usage().0 as usize, swept);
            });
        }
    }
}
