//! What there will be by the time that an upgrade takes place.
//!
//! Owns the difference between what runs when an upgrade is prepared and what will run when it is switched, where others
//! are replaced and started in between. Functions keep their numbers from revision to revision, so what another one will
//! offer is known before it offers it, and a link to it can be resolved; whether it has come so is looked at again.

use std::sync::Arc;

use airssys_wasm::Surface;

use super::UpgradeError;
use crate::address::ActorAddress;
use crate::link::LinkRefused;
use crate::shared::Shared;
use crate::slot::Slot;
use crate::supervisor::{ChildSpec, StartError};

/// What others are by then that they are not yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ahead {
    /// Who is of another revision, and what that exports.
    replaced: Vec<(ActorAddress, Arc<Surface>)>,
    /// Who was not there.
    started: Vec<ActorAddress>,
}

impl Ahead {
    /// Nothing is done in between.
    pub(crate) const NOTHING: Self = Self {
        replaced: Vec::new(),
        started: Vec::new(),
    };

    /// This one is replaced before, by what exports this.
    pub(crate) fn replaces(&mut self, address: ActorAddress, surface: Arc<Surface>) {
        self.replaced.push((address, surface));
    }

    /// This one is started before.
    pub(crate) fn starts(&mut self, address: ActorAddress) {
        self.started.push(address);
    }

    pub(crate) fn is_replaced(&self, address: &ActorAddress) -> bool {
        self.replaced.iter().any(|(one, _)| one == address)
    }

    /// Whether a link leads to what changes in between.
    pub(crate) fn concerns(&self, spec: &ChildSpec) -> bool {
        let mut links = spec.links().iter();
        links.any(|link| self.is_replaced(&link.to) || self.started.contains(&link.to))
    }

    /// Whether an upgrade cannot be prepared because it is linked to what is not there yet.
    pub(crate) fn awaits(&self, why: &UpgradeError) -> bool {
        match why {
            UpgradeError::Spec { why, .. } => match &**why {
                StartError::Link(LinkRefused::NoSuchActor { to, .. }) => self.started.contains(to),
                _ => false,
            },
            _ => false,
        }
    }
}

/// What callees offer by then, numbered after what they offer now.
#[derive(Default)]
pub(crate) struct Presumed(Vec<(Arc<Slot>, Arc<Surface>)>);

impl Presumed {
    /// What the links of `spec` lead to that is not there yet.
    pub(crate) fn of(shared: &Shared, spec: &ChildSpec, ahead: &Ahead) -> Self {
        let mut presumed = Self::default();
        for link in spec.links() {
            let mut replaced = ahead.replaced.iter();
            if let Some((_, next)) = replaced.find(|(one, _)| *one == link.to)
                && let Some(slot) = shared.whereis(&link.to)
            {
                let next = next.numbered_after(&slot.surface());
                presumed.0.push((slot, Arc::new(next)));
            }
        }
        presumed
    }

    /// What this one offers by then.
    pub(crate) fn surface(&self, slot: &Slot) -> Arc<Surface> {
        let mut presumed = self.0.iter();
        let found = presumed.find(|(one, _)| one.id() == slot.id());
        found.map_or_else(|| slot.surface(), |(_, surface)| Arc::clone(surface))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all of it has come so.
    pub(crate) fn holds(&self) -> bool {
        let mut presumed = self.0.iter();
        presumed.all(|(slot, surface)| *slot.surface() == **surface)
    }
}
