//! Links of a child to actors that were forgotten and made again: another actor has the name by then.
//!
//! Owns who a child that is started calls. It costs a look at each of its links; messages cost nothing.

use std::sync::Arc;

use super::child::{PreparedActor, PreparedChild};
use super::errors::StartError;
use super::prepare::found;
use super::record::Record;
use crate::link::LinkTargets;

impl PreparedActor {
    /// The same actor, its links resolved anew.
    fn relinked(&self) -> Result<Self, StartError> {
        let slot = &self.slot;
        let find = found(slot.shared());
        let targets = LinkTargets::resolve(slot.address(), &slot.surface(), &self.spec, find)?;
        Ok(Self {
            spec: self.spec.clone(),
            slot: Arc::clone(slot),
            targets,
            hooks: self.hooks,
            standing: Arc::clone(&self.standing),
            follows: self.follows,
            tuned_from: self.tuned_from,
            kept: self.kept.clone(),
        })
    }
}

impl Record {
    /// What is begun of this child, whose links lead to those who have the names by now. Those of one of which somebody has
    /// none stay as they are: its calls fail.
    pub(super) fn relink(&self, actor: Arc<PreparedActor>) -> Arc<PreparedActor> {
        if !actor.targets.have_gone() {
            return actor;
        }
        let again = match actor.relinked() {
            Ok(again) => Arc::new(again),
            Err(why) => {
                let address = actor.slot.address();
                tracing::debug!(%address, %why, "its links lead where they led");
                return actor;
            }
        };
        let mut children = self.children.lock();
        match children.get_mut(&again.slot.id()) {
            // It may be supervised otherwise by now.
            Some(PreparedChild::Actor(now)) if Arc::ptr_eq(now, &actor) => {
                *now = Arc::clone(&again);
                again
            }
            Some(PreparedChild::Actor(now)) => Arc::clone(now),
            _ => actor,
        }
    }
}
