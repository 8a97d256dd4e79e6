//! How a component or a supervisor is supervised, as a rollout changes it.
//!
//! Owns what of that is changed: what the plan names, of what there is at that moment, and nothing else. What somebody has
//! changed by hand stays where the plan says nothing of it, and comes back with the rollout where it does.

use super::{Done, Ground};
use crate::address::ActorAddress;
use crate::deployment::rollout::children::supervisor;
use crate::exit::with_sources;
use crate::supervisor::{Altered, ChildSpec, SupervisorFlags, SupervisorSpec, Tuning};

/// One component, of which its supervisor is to know otherwise.
pub(super) struct Retune {
    address: ActorAddress,
    keys: Vec<&'static str>,
    to: Tuning,
    done: Option<Altered<Tuning>>,
}

impl Retune {
    /// What the manifest calls so is as in `new`.
    pub(super) fn to(new: &ChildSpec, keys: &[&'static str]) -> Self {
        Self {
            address: new.address.clone(),
            keys: keys.to_vec(),
            to: Tuning::of(new),
            done: None,
        }
    }

    pub(super) fn switch(&mut self, ground: &Ground) -> Done {
        let (keys, to) = (&self.keys, self.to);
        let done = tune(ground, &self.address, |now| now.taking(keys, to))?;
        self.done = self.done.or(done);
        Ok(())
    }

    /// It is as before, but for what has been changed since.
    pub(super) fn switch_back(&mut self, ground: &Ground) -> Done {
        if let Some(done) = self.done {
            tune(ground, &self.address, |now| done.undone(now))?;
            self.done = None;
        }
        Ok(())
    }
}

fn tune(
    ground: &Ground,
    address: &ActorAddress,
    tune: impl Fn(Tuning) -> Tuning,
) -> Result<Option<Altered<Tuning>>, String> {
    // Of one that was stopped for good nobody knows anything that could change.
    if ground.system.whereis(address).is_none() {
        return Ok(None);
    }
    let tuned = ground.system.retune_by(address, tune);
    tuned.map(Some).map_err(|why| with_sources(&why))
}

/// One supervisor that has other flags.
pub(super) struct Reflag {
    address: ActorAddress,
    keys: Vec<&'static str>,
    to: SupervisorFlags,
    done: Option<Altered<SupervisorFlags>>,
}

impl Reflag {
    /// What the manifest calls so is as in `new`.
    pub(super) fn to(new: &SupervisorSpec, keys: &[&'static str]) -> Self {
        Self {
            address: new.address.clone(),
            keys: keys.to_vec(),
            to: SupervisorFlags::of(new),
            done: None,
        }
    }

    pub(super) async fn switch(&mut self, ground: &Ground) -> Done {
        let (keys, to) = (self.keys.clone(), self.to);
        let supervisor = supervisor(ground, &self.address)?;
        let done = supervisor.reflag(move |now| now.taking(&keys, to)).await;
        let done = done.map_err(|why| with_sources(&why))?;
        self.done.get_or_insert(done);
        Ok(())
    }

    /// They are as before, but for what has been changed since.
    pub(super) async fn switch_back(&mut self, ground: &Ground) -> Done {
        if let Some(done) = self.done {
            let supervisor = supervisor(ground, &self.address)?;
            let undone = supervisor.reflag(move |now| done.undone(now)).await;
            undone.map_err(|why| with_sources(&why))?;
            self.done = None;
        }
        Ok(())
    }
}
