//! The search for calls that would wait for ever.
//!
//! Owns the rule: a waiting actor publishes one edge, to the callee it waits for, and then looks;
//! of two callers that close a cycle at the same time, the one that publishes last sees it. A
//! chain of nested calls names its actors itself; the edges find the cycles across chains (X → A
//! → B while Y → B → A). Edges are walked only where the callee is busy, at most
//! [`STEPS_MAX`] steps.

use std::sync::Arc;

use crate::address::{ActorAddress, ActorId};
use crate::error::CallError;
use crate::slot::Slot;

/// Most edges followed: as many as calls can be nested.
const STEPS_MAX: usize = crate::envelope::CALL_DEPTH_MAX;

/// Publishes that `caller` waits for `target`, unless that would close a cycle.
pub(crate) fn check(
    caller: &Arc<Slot>,
    target: &Arc<Slot>,
    chain: &[ActorId],
) -> Result<(), CallError> {
    if target.id() == caller.id() {
        return Err(cycle(vec![
            caller.address().clone(),
            caller.address().clone(),
        ]));
    }
    if let Some(at) = chain.iter().position(|id| *id == target.id()) {
        let mut path: Vec<_> = chain
            .iter()
            .skip(at)
            .filter_map(|id| caller.shared().address_of(*id))
            .collect();
        path.push(caller.address().clone());
        path.push(target.address().clone());
        return Err(cycle(path));
    }
    caller.wait_for(target.id());
    if target.mailbox().is_busy()
        && let Some(path) = walk(caller, target)
    {
        caller.wait_no_more();
        return Err(cycle(path));
    }
    Ok(())
}

/// Follows the edges from `target`; the path if they lead to `caller`.
fn walk(caller: &Arc<Slot>, target: &Arc<Slot>) -> Option<Vec<ActorAddress>> {
    let mut path = vec![caller.address().clone(), target.address().clone()];
    let mut at = Arc::clone(target);
    for _ in 0..STEPS_MAX {
        let next = at.waits_for()?;
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
