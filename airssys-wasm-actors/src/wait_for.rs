//! The search for calls that would wait for ever.
//!
//! Owns the rule: a waiting actor publishes one edge, to the callee it waits for, and then looks;
//! of two callers that close a cycle at the same time, the one that publishes last sees it. Along
//! one chain of nested calls or across several (X → A → B while Y → B → A) makes no difference. An
//! edge is exact, because an actor waits for one call at a time, and the answer takes it back.
//! Edges are walked only where the callee is busy, at most [`STEPS_MAX`] steps.

use std::sync::Arc;

use crate::address::{ActorAddress, ActorId};
use crate::error::CallError;
use crate::slot::Slot;
use crate::sync::{AtomicU64, Ordering, publish};

/// Most edges followed: as many as calls can be nested.
const STEPS_MAX: u32 = crate::envelope::CALL_DEPTH_MAX;

/// Most slots looked at where replicas are on the way.
const SEARCH_MAX: usize = 256;

/// No actor: ids begin at 1.
const NOBODY: u64 = 0;

/// Whom one actor waits for. Clones are the same edge.
#[derive(Clone, Default)]
pub(crate) struct Edge(Arc<AtomicU64>);

impl Edge {
    pub(crate) fn point_at(&self, target: ActorId) {
        self.0.store(target.0, Ordering::Release);
    }

    /// It waits no longer.
    pub(crate) fn clear(&self) {
        self.0.store(NOBODY, Ordering::Release);
    }

    /// What it waits for has moved, if it still waits for `from`.
    pub(crate) fn moved(&self, from: ActorId, to: ActorId) {
        // Where it waits for somebody else by now there is nothing to correct.
        let _ = self
            .0
            .compare_exchange(from.0, to.0, Ordering::SeqCst, Ordering::SeqCst);
    }

    fn target(&self) -> Option<ActorId> {
        match self.0.load(Ordering::SeqCst) {
            NOBODY => None,
            id => Some(ActorId(id)),
        }
    }
}

/// Notes that `caller` calls `target`, unless that is itself. While a caller runs the call in its own task
/// it waits for nobody, and need not [`check`]: should the callee wait, it publishes before it does.
pub(crate) fn note(caller: &Arc<Slot>, target: &Arc<Slot>) -> Result<(), CallError> {
    if target.id() == caller.id() {
        return Err(cycle(vec![
            caller.address().clone(),
            caller.address().clone(),
        ]));
    }
    caller.edge().point_at(target.id());
    Ok(())
}

/// Publishes that `caller` waits for `target`, unless that would close a cycle.
pub(crate) fn check(caller: &Arc<Slot>, target: &Arc<Slot>) -> Result<(), CallError> {
    // Of two that close a cycle, the one that publishes later sees the other's edge, and those of every caller
    // whose call it was run in: they were noted on this thread before.
    publish(&caller.edge().0, target.id().0);
    if target.mailbox().is_busy()
        && let Some(path) = walk(caller, target)
        // Edges are read one after the other: those of a circle stay, others may never have held together.
        && walk(caller, target).is_some_and(|again| again == path)
    {
        caller.edge().clear();
        return Err(cycle(path));
    }
    Ok(())
}

/// Follows the edges from `target`; the path if they lead to `caller`.
fn walk(caller: &Arc<Slot>, target: &Arc<Slot>) -> Option<Vec<ActorAddress>> {
    let mut path = vec![caller.address().clone(), target.address().clone()];
    let mut at = Arc::clone(target);
    for _ in 0..STEPS_MAX {
        if at.replicas().is_some() {
            path.push(caller.address().clone());
            return Search::new(caller).all_wait(&at).then_some(path);
        }
        let next = at.edge().target()?;
        if next == caller.id() {
            path.push(caller.address().clone());
            return Some(path);
        }
        at = caller.shared().by_id(next)?;
        path.push(at.address().clone());
    }
    None
}

/// The search where replicas are on the way: whoever waits for them waits until any of them is free, so it
/// waits for ever only if every one of them does, whichever way.
struct Search<'a> {
    caller: &'a Arc<Slot>,
    /// Slots looked at, or being looked at: what comes back to them has found nobody free.
    seen: Vec<ActorId>,
}

impl<'a> Search<'a> {
    fn new(caller: &'a Arc<Slot>) -> Self {
        Self {
            caller,
            seen: vec![caller.id()],
        }
    }

    /// Whether every replica of `front` waits for the caller in the end.
    fn all_wait(&mut self, front: &Arc<Slot>) -> bool {
        let Some(replicas) = front.replicas() else {
            return false;
        };
        // One that is gone takes nothing.
        replicas.slots().all(|replica| self.waits(&replica))
            && (front.is_vacant() || self.waits_itself(front))
    }

    /// Whether one that drains its own queue waits, whoever else drains it.
    fn waits_itself(&mut self, slot: &Arc<Slot>) -> bool {
        if slot.lane().is_idle() {
            return false;
        }
        let next = slot.edge().target();
        let next = next.and_then(|next| self.caller.shared().by_id(next));
        next.is_some_and(|next| self.waits(&next))
    }

    fn waits(&mut self, slot: &Arc<Slot>) -> bool {
        if self.seen.contains(&slot.id()) {
            return true;
        }
        if self.seen.len() >= SEARCH_MAX {
            return false;
        }
        self.seen.push(slot.id());
        if slot.replicas().is_some() {
            return self.all_wait(slot);
        }
        self.waits_itself(slot)
    }
}

fn cycle(path: Vec<ActorAddress>) -> CallError {
    CallError::Cycle { path }
}
