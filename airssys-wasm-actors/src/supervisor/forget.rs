//! Children that a supervisor is not to start with any more, whether or not it is there to be told.
//!
//! Owns how such a child goes: by its supervisor where that is up, by whoever asks where it is down, and by its next incarnation
//! where neither has come to it by then.

use super::child::PreparedChild;
use super::errors::StopError;
use super::record::Record;
use super::{StopReport, Supervisor};
use crate::address::{ActorAddress, ActorId};
use crate::exit::ExitReason;

impl Supervisor {
    /// It does not start with this child any more, and has none of that name when this returns: one that runs is stopped, and
    /// its name is free. Nobody else is waited for than who is about to be up, or to have ended.
    ///
    /// # Errors
    /// [`StopError`]: it has none of that name.
    pub(crate) async fn forget_child(&self, child: &ActorAddress) -> Result<StopReport, StopError> {
        self.forget_first(child);
        let mut life = self.record.life();
        loop {
            life.borrow_and_update();
            match self.stop_child(child).await {
                Err(StopError::SupervisorEnded(_)) => {}
                stopped => return stopped,
            }
            if self.record.forget_while_down(child) {
                return Ok(StopReport::default());
            }
            // An error means that it is gone, and its children with it.
            if life.changed().await.is_err() {
                return Ok(StopReport::default());
            }
        }
    }

    /// It does not start with this child any more.
    fn forget_first(&self, child: &ActorAddress) {
        // Whoever edits what it starts with has them locked.
        let _children = self.record.children.lock();
        self.record
            .edit_first(|first| first.retain(|spec| spec.address != *child));
    }
}

impl Record {
    /// Forgets a child, unless its supervisor is there or about to be. Says whether it is down.
    fn forget_while_down(&self, address: &ActorAddress) -> bool {
        let mut children = self.children.lock();
        // It is active before it looks at them.
        if self.is_active() {
            return false;
        }
        let is_it = |child: &PreparedChild| child.shared_address() == *address;
        let (gone, kept) = std::mem::take(&mut *children)
            .into_iter()
            .partition(|(_, child)| is_it(child));
        *children = kept;
        drop(children);
        for child in gone.values().rev() {
            child.retire(&ExitReason::Shutdown);
        }
        true
    }

    /// Those of its children that it does not start with any more; for one that is being made, which has no others.
    pub(super) fn forgotten(&self) -> Vec<ActorId> {
        let children = self.children.lock();
        let first = self.first.lock();
        let named: std::collections::HashSet<_> = first.iter().map(|spec| &spec.address).collect();
        let forgotten = children
            .iter()
            .filter(|(_, child)| !named.contains(&child.shared_address()));
        forgotten.map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use airssys_wasm::{Engine, EngineConfig, Surface, WitError};

    use super::*;
    use crate::native::{Actor, Context, Message};
    use crate::supervisor::{ChildSpec, SupervisorSpec};
    use crate::system::{System, SystemConfig};

    struct Idle;

    impl Actor for Idle {
        type Error = Infallible;

        fn surface() -> Result<Surface, WitError> {
            Surface::from_wit("package test:t; interface idle { f: func(); }")
        }

        async fn handle_message(
            &mut self,
            _: &mut Message,
            _: &mut Context,
        ) -> Result<(), Infallible> {
            Ok(())
        }
    }

    /// Whoever was to stop it may have left in the middle.
    #[tokio::test]
    async fn one_that_is_made_again_has_none_that_it_does_not_start_with_any_more() {
        let engine = Engine::new(EngineConfig::default()).unwrap();
        let system = System::start(SystemConfig::new(engine)).await.unwrap();
        let [one, two, team, above] =
            ["one", "two", "team", "above"].map(|name| name.parse::<ActorAddress>().unwrap());
        let idle = |address: &ActorAddress| ChildSpec::native(address.clone(), || Idle);
        let team = SupervisorSpec::new(team).with(idle(&one)).with(idle(&two));
        let above = SupervisorSpec::new(above).with(ChildSpec::supervisor(team));
        let above = system.supervise(above).await.unwrap();
        let team = above.supervisors().remove(0);
        team.forget_first(&one);
        assert_eq!(team.children_now(), 2);
        above.restart_child(team.address()).await.unwrap();
        team.settled().await;
        assert_eq!(team.children_now(), 1);
        assert!(system.whereis(&one).is_none() && system.whereis(&two).is_some());
        system.shutdown().await;
    }
}
