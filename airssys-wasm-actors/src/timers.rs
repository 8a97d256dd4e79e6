//! Messages sent at a later time.
//!
//! Owns [`Timers`] and the queue behind it: one ordered queue and one task for a whole system, which is there only
//! while a timer is. A timer is a cast that waits; when it is due it is sent like any other, and if the mailbox has no
//! room it is a dead letter. A timer whose target is gone is dropped silently, as OTP drops it, and a timer ends with
//! whoever set it. Times are tokio's, so that they stand still where tokio's do.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::{Args, CallRefused, ExportId, IntoArgs};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::address::{ActorAddress, ActorId};
use crate::call::refused;
use crate::deadline::after;
use crate::envelope::{CallContext, Envelope, Undelivered};
use crate::error::CallError;
use crate::reference::ActorFunction;
use crate::shared::Shared;
use crate::slot::Slot;
use crate::topics::Owner;

/// Timers fired in a row before the worker thread is given to others.
const FIRED_PER_YIELD: usize = 64;

/// The number of a timer, never used twice in a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerId(pub(crate) u64);

/// Why a timer was not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimerError {
    /// The actor has as many timers as one may have.
    #[error("actor `{address}` has {max} timers, and may have no more")]
    Quota {
        /// Whose timers they are.
        address: ActorAddress,
        /// The limit, `timers_per_actor_max`.
        max: u32,
    },
    /// What the actor's timers are to send has as many bytes as it may.
    #[error(
        "what actor `{address}` has timers for may have {max} bytes in all, and this would be more"
    )]
    Bytes {
        /// Whose timers they are.
        address: ActorAddress,
        /// The limit, `timer_bytes_per_actor_max`.
        max: u64,
    },
    /// The target's mailbox takes no message of that size.
    #[error("actor `{address}` takes no message of {bytes} bytes")]
    TooLarge {
        /// The target.
        address: ActorAddress,
        /// How large it would be.
        bytes: u64,
    },
    /// The arguments do not fit the function they are for.
    #[error("the function of actor `{address}` does not take what the timer is to send")]
    Refused {
        /// The target.
        address: ActorAddress,
        /// What does not fit.
        #[source]
        why: CallRefused,
    },
    /// The interval is shorter than allowed.
    #[error("an interval of {given:?} is too short; the shortest is {min:?}")]
    TooShort {
        /// The interval asked for.
        given: Duration,
        /// The limit, `interval_min`.
        min: Duration,
    },
    /// The actor has ended.
    #[error("actor `{address}` has ended")]
    Stopped {
        /// The target, or whose timers they are.
        address: ActorAddress,
    },
}

/// What a timer sends, and to whom.
pub(crate) struct Due {
    pub(crate) target: Arc<Slot>,
    pub(crate) export: ExportId,
    pub(crate) args: Args,
    pub(crate) sender: Option<ActorId>,
    /// Between one sending and the next; `None` for a single one.
    pub(crate) every: Option<Duration>,
}

/// Who sets a timer.
pub(crate) struct Setter<'a> {
    pub(crate) owner: Owner,
    pub(crate) slot: &'a Slot,
    /// Its instance does not serve yet: what the one that serves has does not count against it.
    pub(crate) aside: bool,
}

struct Timer {
    owner: Owner,
    due: Due,
    /// What it keeps.
    bytes: u64,
}

/// The timers of one actor, and what all of them keep.
#[derive(Default)]
struct Owned {
    ids: HashSet<u64>,
    bytes: u64,
}

/// All timers of a system.
#[derive(Default)]
pub(crate) struct TimerQueue {
    state: Mutex<State>,
    /// The first timer is another one now.
    changed: Notify,
}

#[derive(Default)]
struct State {
    next: u64,
    /// By time, and then in the order they were set.
    queue: BTreeMap<(Instant, u64), Timer>,
    times: HashMap<u64, Instant>,
    owned: HashMap<ActorId, Owned>,
    /// Whether the task is there.
    served: bool,
}

impl State {
    fn insert(&mut self, id: u64, at: Instant, timer: Timer) {
        let owned = self.owned.entry(timer.owner.actor).or_default();
        owned.ids.insert(id);
        owned.bytes += timer.bytes;
        self.times.insert(id, at);
        self.queue.insert((at, id), timer);
    }

    fn remove(&mut self, id: u64) -> Option<Timer> {
        let at = self.times.remove(&id)?;
        let timer = self.queue.remove(&(at, id))?;
        if let Some(owned) = self.owned.get_mut(&timer.owner.actor) {
            owned.ids.remove(&id);
            owned.bytes -= timer.bytes;
            if owned.ids.is_empty() {
                self.owned.remove(&timer.owner.actor);
            }
        }
        Some(timer)
    }

    /// How many timers there are already of whoever sets one, and what they keep.
    fn held_by(&self, setter: &Setter<'_>) -> (usize, u64) {
        let Some(owned) = self.owned.get(&setter.owner.actor) else {
            return (0, 0);
        };
        if !setter.aside {
            return (owned.ids.len(), owned.bytes);
        }
        let timers = owned.ids.iter().filter_map(|id| {
            let at = self.times.get(id)?;
            self.queue.get(&(*at, *id))
        });
        let own = timers.filter(|timer| timer.owner == setter.owner);
        own.fold((0, 0), |(count, bytes), timer| {
            (count + 1, bytes + timer.bytes)
        })
    }

    /// Takes what is due first, and puts back what is due again.
    fn pop(&mut self, now: Instant) -> Result<Due, Option<Instant>> {
        let Some((&(at, id), _)) = self.queue.first_key_value() else {
            return Err(None);
        };
        if at > now {
            return Err(Some(at));
        }
        let timer = self.remove(id).ok_or(None)?;
        let due = timer.due;
        if let Some(every) = due.every {
            // Sendings that were missed are left out; the others stay where they were.
            let next = after(at, every);
            let next = if next <= now { after(now, every) } else { next };
            let again = Due {
                target: Arc::clone(&due.target),
                export: due.export,
                args: due.args.clone(),
                sender: due.sender,
                every: due.every,
            };
            if due.target.exit_reason().is_none() {
                let again = Timer {
                    due: again,
                    owner: timer.owner,
                    bytes: timer.bytes,
                };
                self.insert(id, next, again);
            }
        }
        Ok(due)
    }
}

impl TimerQueue {
    /// Lets go of every timer. The task that serves them is gone already.
    pub(crate) fn forget_all(&self) {
        let state = std::mem::take(&mut *self.state.lock());
        drop(state);
    }

    /// Sets a timer.
    pub(crate) fn set(
        self: &Arc<Self>,
        shared: &Shared,
        setter: Setter<'_>,
        delay: Duration,
        due: Due,
    ) -> Result<TimerId, TimerError> {
        let (owner, own) = (setter.owner, setter.slot);
        let limits = shared.messaging();
        if due.every.is_some_and(|every| every < limits.interval_min) {
            return Err(TimerError::TooShort {
                given: due.every.unwrap_or_default(),
                min: limits.interval_min,
            });
        }
        let bytes = u64::try_from(due.args.payload_bytes()).unwrap_or(u64::MAX);
        if due.target.mailbox().is_too_large(&due.args) {
            return Err(TimerError::TooLarge {
                address: due.target.address().clone(),
                bytes,
            });
        }
        let at = after(Instant::now(), delay);
        let mut state = self.state.lock();
        let (count, kept) = state.held_by(&setter);
        if u32::try_from(count).unwrap_or(u32::MAX) >= limits.timers_per_actor_max {
            return Err(TimerError::Quota {
                address: own.address().clone(),
                max: limits.timers_per_actor_max,
            });
        }
        if kept.saturating_add(bytes) > limits.timer_bytes_per_actor_max {
            return Err(TimerError::Bytes {
                address: own.address().clone(),
                max: limits.timer_bytes_per_actor_max,
            });
        }
        // Looked at under the lock: a retirement after this finds the timer.
        for slot in [own, &*due.target] {
            if slot.exit_reason().is_some() {
                return Err(TimerError::Stopped {
                    address: slot.address().clone(),
                });
            }
        }
        state.next += 1;
        let id = state.next;
        state.insert(id, at, Timer { owner, due, bytes });
        let first = state.queue.first_key_value().map(|(key, _)| *key) == Some((at, id));
        let serve = !std::mem::replace(&mut state.served, true);
        drop(state);
        if serve {
            shared.spawn(serve_timers(Arc::clone(self)));
        } else if first {
            self.changed.notify_one();
        }
        Ok(TimerId(id))
    }

    /// Takes a timer back; whether it was still to come. With `owner`, only one of its own.
    pub(crate) fn cancel(&self, id: TimerId, owner: Option<Owner>) -> bool {
        let mut state = self.state.lock();
        if let Some(owner) = owner {
            let at = state.times.get(&id.0).copied();
            let timer = at.and_then(|at| state.queue.get(&(at, id.0)));
            if timer.is_none_or(|timer| timer.owner != owner) {
                return false;
            }
        }
        let removed = state.remove(id.0);
        let empty = state.queue.is_empty();
        drop(state);
        if empty {
            self.changed.notify_one();
        }
        removed.is_some()
    }

    /// What is to come of `from` is `to`'s from now on.
    pub(crate) fn hand_over(&self, from: Owner, to: Owner) {
        let mut state = self.state.lock();
        let owned = state.owned.get(&from.actor);
        let ids: Vec<_> = owned.map_or_else(Vec::new, |owned| owned.ids.iter().copied().collect());
        for id in ids {
            let at = state.times.get(&id).copied();
            if let Some(timer) = at.and_then(|at| state.queue.get_mut(&(at, id)))
                && timer.owner == from
            {
                timer.owner = to;
            }
        }
    }

    /// The instance, or the actor, is over.
    pub(crate) fn release(&self, owner: Owner) {
        let mut state = self.state.lock();
        let Some(owned) = state.owned.get(&owner.actor) else {
            return;
        };
        let ids: Vec<_> = owned.ids.iter().copied().collect();
        let mut removed = Vec::new();
        for id in ids {
            let at = state.times.get(&id).copied();
            let timer = at.and_then(|at| state.queue.get(&(at, id)));
            // An actor that is gone takes the timers of all its incarnations with it.
            if timer.is_some_and(|timer| owner.tenure.is_none() || timer.owner == owner) {
                removed.extend(state.remove(id));
            }
        }
        let empty = state.queue.is_empty();
        drop(state);
        if empty {
            self.changed.notify_one();
        }
        // Slots may be dropped here, and they take locks of their own.
        drop(removed);
    }

    fn len(&self) -> usize {
        self.state.lock().queue.len()
    }

    /// The next timer that is due; or when that will be, or that there is none and the task ends.
    fn pop(&self) -> Result<Due, Option<Instant>> {
        let mut state = self.state.lock();
        let popped = state.pop(Instant::now());
        if matches!(popped, Err(None)) {
            state.served = false;
        }
        popped
    }
}

/// Sends timers when they are due, until there are none.
async fn serve_timers(queue: Arc<TimerQueue>) {
    let mut fired = 0;
    loop {
        match queue.pop() {
            Ok(due) => fire(due),
            Err(Some(at)) => {
                tokio::select! {
                    () = sleep_until(at) => {}
                    () = queue.changed.notified() => {}
                }
                continue;
            }
            Err(None) => return,
        }
        fired += 1;
        if fired % FIRED_PER_YIELD == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// What a timer is to send fits its function, as a cast does.
pub(crate) fn fitting(function: &ActorFunction, args: &Args) -> Result<(), TimerError> {
    function.accepts(args).map_err(|why| TimerError::Refused {
        address: function.slot().address().clone(),
        why,
    })
}

fn fire(due: Due) {
    let Due {
        target,
        export,
        args,
        sender,
        every: _,
    } = due;
    let context = CallContext::default();
    let envelope = Envelope::cast(Arc::clone(&target), sender, export, args, context);
    match target.mailbox().push(envelope) {
        Ok(()) => target.counters().cast(),
        Err(refusal) => {
            let (why, args) = refused(&target, refusal);
            let is_gone = matches!(
                why,
                CallError::Stopped { .. } | CallError::NoSuchActor { .. }
            );
            let Some(args) = args.filter(|_| !is_gone) else {
                return;
            };
            target.counters().cast();
            target.dead_letter(Undelivered {
                sender,
                export,
                args,
                why,
                fatal: false,
                replay: None,
            });
        }
    }
}

/// The timers of a system, for the host. A native actor sets its own by its [`Context`](crate::Context).
#[derive(Clone)]
pub struct Timers {
    shared: Arc<Shared>,
}

impl Timers {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn set(
        &self,
        delay: Duration,
        function: &ActorFunction,
        args: Args,
        every: Option<Duration>,
    ) -> Result<TimerId, TimerError> {
        let target = function.slot();
        fitting(function, &args)?;
        let owner = Owner {
            actor: target.id(),
            tenure: None,
        };
        let due = Due {
            target: Arc::clone(target),
            export: function.export(),
            args,
            sender: None,
            every,
        };
        let setter = Setter {
            owner,
            slot: target,
            aside: false,
        };
        self.shared.timers().set(&self.shared, setter, delay, due)
    }

    /// Sends a message nobody waits for after `delay`. It counts among the timers of the target, and ends with it.
    ///
    /// # Errors
    /// [`TimerError`].
    pub fn send_after(
        &self,
        delay: Duration,
        function: &ActorFunction,
        args: impl IntoArgs,
    ) -> Result<TimerId, TimerError> {
        self.set(delay, function, args.into_args(), None)
    }

    /// Sends the same message again and again, the first time after `every`. A sending that could not take place in
    /// time is left out.
    ///
    /// # Errors
    /// [`TimerError`].
    pub fn interval(
        &self,
        every: Duration,
        function: &ActorFunction,
        args: impl IntoArgs,
    ) -> Result<TimerId, TimerError> {
        self.set(every, function, args.into_args(), Some(every))
    }

    /// Takes a timer back; whether it was still to come.
    pub fn cancel(&self, id: TimerId) -> bool {
        self.shared.timers().cancel(id, None)
    }

    /// How many timers there are.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.shared.timers().len()
    }
}
