//! Between which bounds a component has replicas, as a rollout changes it.
//!
//! Owns when: they hold from the moment that the component is switched, and those before from when it is switched back.

use super::parts::Ground;
use crate::address::ActorAddress;
use crate::application::Application;
use crate::autoscaling::{Autoscales, Held};
use crate::deployment::Autoscale;
use crate::deployment::plan::{Action, Part, Plan};

pub(super) struct Bounds {
    address: ActorAddress,
    old: Option<Autoscale>,
    new: Option<Autoscale>,
}

impl Bounds {
    /// `None` where they stay what they are.
    pub(super) fn of(part: &Part, ground: &Ground) -> Option<Self> {
        let of = |application: &Application| {
            let mut components = application.components().iter();
            components
                .find(|one| one.name == part.name)?
                .outline
                .autoscale
        };
        let (old, new) = (of(&ground.old), of(&ground.new));
        let address = ground.new.name().join(&part.name).ok()?;
        (old != new).then_some(Self { address, old, new })
    }

    pub(super) fn switch(&self, ground: &Ground) {
        self.set(ground, self.new);
    }

    pub(super) fn switch_back(&self, ground: &Ground) {
        self.set(ground, self.old);
    }

    fn set(&self, ground: &Ground, config: Option<Autoscale>) {
        // An application that has ended is autoscaled no more.
        if let Some(application) = ground.system.find_supervisor(ground.new.name()) {
            Autoscales::set(ground.system.shared(), &self.address, config, &application);
        }
    }
}

/// Until these are dropped, nobody else changes how many there are of what instances come or go of, or are told.
pub(super) fn hold(plan: &Plan, ground: &Ground) -> Vec<Held> {
    let is_touched = |part: &&Part| {
        matches!(
            part.action,
            Action::Start { .. }
                | Action::Replace(_)
                | Action::Reconfigure { .. }
                | Action::Scale { .. }
                | Action::Stop { .. }
        )
    };
    let names = plan.parts().filter(is_touched).map(|part| &part.name);
    let addresses = names.filter_map(|name| plan.application.join(name).ok());
    let held = addresses.map(|address| Held::new(ground.system.shared(), address));
    held.collect()
}
