//! The search for calls that would wait for ever.
//!
//! Owns the rule: a waiting actor publishes one edge, to the callee it waits for, and then looks;
//! of two callers that close a cycle at the same time, the one that publishes last sees it. Along
//! one chain of nested calls or across several (X → A → B while Y → B → A) makes no difference. An
//! edge is exact, because an actor waits for one call at a time, and the answer takes it back.
//! Edges are walked only where the callee is busy, at most [`STEPS_MAX`] steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::address::{ActorAddress, ActorId};
use crate::error::CallError;
use crate::slot::Slot;

/// Most edges followed: as many as calls can be nested.
const STEPS_MAX: u32 = crate::envelope::CALL_DEPTH_MAX;

/// No actor: ids begin at 1.
const NOBODY: u64 = 0;

/// Whom one actor waits for. Clones are the same edge.
#[derive(Clone, Default)]
pub(crate) struct Edge(Arc<AtomicU64>);

impl Edge {
    fn point_at(&self, target: ActorId) {
        self.0.store(target.0, Ordering::SeqCst);
    }

    /// It waits no longer.
    pub(crate) fn clear(&self) {
        self.0.store(NOBODY, Ordering::SeqCst);
    }

    fn target(&self) -> Option<ActorId> {
        match self.0.load(Ordering::SeqCst) {
            NOBODY => None,
            id => Some(ActorId(id)),
        }
    }
}

/// Publishes that `caller` waits for `target`, unless that would close a cycle.
pub(crate) fn check(caller: &Arc<Slot>, target: &Arc<Slot>) -> Result<(), CallError> {
    if target.id() == caller.id() {
        return Err(cycle(vec![
            caller.address().clone(),
            caller.address().clone(),
        ]));
    }
    caller.edge().point_at(target.id());
    if target.mailbox().is_busy()
        && let Some(path) = walk(caller, target)
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

fn cycle(path: Vec<ActorAddress>) -> CallError {
    CallError::Cycle { path }
}
