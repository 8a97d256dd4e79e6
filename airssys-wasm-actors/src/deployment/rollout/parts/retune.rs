//! How a component or a supervisor is supervised, as a rollout changes it.
//!
//! Owns what of that is changed: what the plan names, of what there is at that moment, and nothing else. What somebody has
//! changed by hand stays where the plan says nothing of it, and comes back with the rollout where it does.

use super::{Done, Ground};
use crate::address::ActorAddress;
use crate::application::Application;
use crate::deployment::rollout::children::{child, find, supervisor};
use crate::exit::with_sources;
use crate::supervisor::{
    Altered, AutoShutdown, ChildSpec, SupervisorFlags, SupervisorSpec, Tuning,
};

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
    let system = &ground.system;
    if system.whereis(address).is_none() && system.find_supervisor(address).is_none() {
        return Ok(None);
    }
    let tuned = system.retune_by(address, tune);
    tuned.map(Some).map_err(|why| with_sources(&why))
}

/// One supervisor that has other flags, another order of its children, or that its own supervisor is to know otherwise.
pub(super) struct Reflag {
    address: ActorAddress,
    keys: Vec<&'static str>,
    to: SupervisorFlags,
    done: Option<Altered<SupervisorFlags>>,
    /// What its own supervisor knows of it.
    own: Option<Retune>,
    /// Children that are stopped in the end, and which it asks no more about before that.
    ceasing: Vec<Retune>,
    /// The order of its children, if that is to be another.
    order: Option<Vec<ActorAddress>>,
    reordered: Option<Altered<Vec<ActorAddress>>>,
}

impl Reflag {
    /// What the manifest calls so is as in the new application.
    pub(super) fn to(
        address: &str,
        keys: &[&'static str],
        ground: &Ground,
    ) -> Result<Self, String> {
        let new = supervisor_of(&ground.new, address)?;
        let old = supervisor_of(&ground.old, address)?;
        let own = keys.iter().any(|key| Tuning::has(key));
        let own = own.then(|| child(&ground.new, &new.address)).transpose()?;
        let asks_no_more =
            keys.contains(&"auto-shutdown") && new.auto_shutdown == AutoShutdown::Never;
        let goes = |one: &&ChildSpec| {
            let mut stay = new.children.iter();
            one.significant && !stay.any(|other| other.address == one.address)
        };
        let ceasing = old.children.iter().filter(|_| asks_no_more).filter(goes);
        let ceasing = ceasing.map(|one| {
            let ceases = ChildSpec {
                significant: false,
                ..one.clone()
            };
            Retune::to(&ceases, &["significant"])
        });
        let order = new.children.iter().map(|one| one.address.clone());
        Ok(Self {
            keys: keys.to_vec(),
            to: SupervisorFlags::of(&new),
            done: None,
            own: own.map(|(spec, _)| Retune::to(&spec, keys)),
            ceasing: ceasing.collect(),
            order: keys.contains(&"after").then(|| order.collect()),
            reordered: None,
            address: new.address,
        })
    }

    pub(super) async fn switch(&mut self, ground: &Ground) -> Done {
        for one in self.own.iter_mut().chain(&mut self.ceasing) {
            one.switch(ground)?;
        }
        let (keys, to) = (self.keys.clone(), self.to);
        let supervisor = supervisor(ground, &self.address)?;
        let done = supervisor.reflag(move |now| now.taking(&keys, to)).await;
        let done = done.map_err(|why| with_sources(&why))?;
        self.done.get_or_insert(done);
        if let Some(order) = &self.order {
            let reordered = supervisor.reorder(order.clone(), None).await;
            let reordered = reordered.map_err(|why| with_sources(&why))?;
            self.reordered.get_or_insert(reordered);
        }
        Ok(())
    }

    /// It is as before, but for what has been changed since.
    pub(super) async fn switch_back(&mut self, ground: &Ground) -> Done {
        if let Some(Altered { before, now }) = self.reordered.clone() {
            let supervisor = supervisor(ground, &self.address)?;
            let undone = supervisor.reorder(before, Some(now)).await;
            undone.map_err(|why| with_sources(&why))?;
            self.reordered = None;
        }
        if let Some(done) = self.done {
            let supervisor = supervisor(ground, &self.address)?;
            let undone = supervisor.reflag(move |now| done.undone(now)).await;
            undone.map_err(|why| with_sources(&why))?;
            self.done = None;
        }
        for one in self.ceasing.iter_mut().chain(&mut self.own) {
            one.switch_back(ground)?;
        }
        Ok(())
    }
}

fn supervisor_of(application: &Application, address: &str) -> Result<SupervisorSpec, String> {
    let this = |spec: &SupervisorSpec| (spec.address.as_str() == address).then(|| spec.clone());
    let none = || format!("there is no supervisor `{address}`");
    find(application.supervision(), &this).ok_or_else(none)
}
