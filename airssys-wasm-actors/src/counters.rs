//! What is counted of every actor.
//!
//! Owns the counters of one slot and their sum over a system. The accounting that must hold
//! whenever nothing is under way: `calls = replies + call_errors + calls_abandoned`, and
//! `casts = casts_handled + dead_letters` (a cast that was refused is an error of its sender and
//! not counted; a dead letter that is sent again is one more cast). Each count is one relaxed atomic increment.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::error::CallError;

/// Counts of one actor, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// Calls made to it, refused ones included.
    pub calls: u64,
    /// Calls that ended in a reply.
    pub replies: u64,
    /// Calls that ended in a typed error.
    pub call_errors: u64,
    /// Those of them that are their caller's own doing: too large, in a circle, too deep, or late before they were made.
    pub caller_errors: u64,
    /// Calls whose caller stopped waiting because it ended itself.
    pub calls_abandoned: u64,
    /// Casts accepted.
    pub casts: u64,
    /// Casts handled without error.
    pub casts_handled: u64,
    /// Casts that became dead letters.
    pub dead_letters: u64,
    /// Incarnations started after the first.
    pub restarts: u64,
    /// Those of them that followed a trap or an exceeded limit.
    pub trap_restarts: u64,
    /// Incarnations whose instance trapped or exceeded a limit, whether or not another followed.
    pub traps: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.replies += other.replies;
        self.call_errors += other.call_errors;
        self.caller_errors += other.caller_errors;
        self.calls_abandoned += other.calls_abandoned;
        self.casts += other.casts;
        self.casts_handled += other.casts_handled;
        self.dead_letters += other.dead_letters;
        self.restarts += other.restarts;
        self.trap_restarts += other.trap_restarts;
        self.traps += other.traps;
    }
}

impl Counters {
    /// Messages that have ended, well or not; calls whose caller has left are not among them.
    pub(crate) fn ended(&self) -> u64 {
        self.replies + self.call_errors + self.casts_handled + self.dead_letters
    }

    /// Messages that have begun and not ended.
    pub(crate) fn under_way(&self) -> u64 {
        let begun = self.calls + self.casts;
        begun.saturating_sub(self.ended() + self.calls_abandoned)
    }
}

/// The live counters of one slot.
#[derive(Default)]
pub(crate) struct SlotCounters {
    calls: AtomicU64,
    replies: AtomicU64,
    call_errors: AtomicU64,
    caller_errors: AtomicU64,
    calls_abandoned: AtomicU64,
    /// Calls answered in their caller's own task: made and replied to.
    direct: AtomicU64,
    casts: AtomicU64,
    casts_handled: AtomicU64,
    dead_letters: AtomicU64,
    restarts: AtomicU64,
    trap_restarts: AtomicU64,
    traps: AtomicU64,
}

/// How a call has ended for its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallEnd {
    Replied,
    /// In an error that speaks against the callee.
    Failed,
    /// In one that does not.
    CallersFault,
}

impl CallEnd {
    pub(crate) fn of(why: &CallError) -> Self {
        if why.is_callees() {
            Self::Failed
        } else {
            Self::CallersFault
        }
    }
}

fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl SlotCounters {
    pub(crate) fn call(&self) {
        add_one(&self.calls);
    }

    /// A call that was counted here goes to another actor, and is counted there.
    pub(crate) fn call_goes_elsewhere(&self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }

    /// A call was made and replied to on the short road. Whoever has an actor `alone` in hand is the only
    /// one to write this count, and needs no locked increment; those of several replicas do.
    pub(crate) fn direct(&self, alone: bool) {
        if alone {
            let before = self.direct.load(Ordering::Relaxed);
            self.direct.store(before + 1, Ordering::Relaxed);
        } else {
            add_one(&self.direct);
        }
    }

    /// A call has ended for its caller.
    pub(crate) fn ended(&self, end: CallEnd) {
        match end {
            CallEnd::Replied => add_one(&self.replies),
            CallEnd::Failed => add_one(&self.call_errors),
            CallEnd::CallersFault => {
                add_one(&self.call_errors);
                add_one(&self.caller_errors);
            }
        }
    }

    pub(crate) fn abandoned(&self) {
        add_one(&self.calls_abandoned);
    }

    pub(crate) fn cast(&self) {
        add_one(&self.casts);
    }

    pub(crate) fn cast_handled(&self) {
        add_one(&self.casts_handled);
    }

    pub(crate) fn dead_letter(&self) {
        add_one(&self.dead_letters);
    }

    /// An incarnation after the first begins; the one before may have trapped.
    pub(crate) fn restart(&self, after_trap: bool) {
        add_one(&self.restarts);
        if after_trap {
            add_one(&self.trap_restarts);
        }
    }

    /// An instance trapped or exceeded a limit.
    pub(crate) fn trap(&self) {
        add_one(&self.traps);
    }

    pub(crate) fn read(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let direct = read(&self.direct);
        // Before the restarts and the errors, of which they are a part.
        let trap_restarts = read(&self.trap_restarts);
        let caller_errors = read(&self.caller_errors);
        Counters {
            calls: read(&self.calls) + direct,
            replies: read(&self.replies) + direct,
            call_errors: read(&self.call_errors),
            caller_errors,
            calls_abandoned: read(&self.calls_abandoned),
            casts: read(&self.casts),
            casts_handled: read(&self.casts_handled),
            dead_letters: read(&self.dead_letters),
            restarts: read(&self.restarts),
            trap_restarts,
            traps: read(&self.traps),
        }
    }
}
