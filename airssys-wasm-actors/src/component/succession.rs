//! How one instance takes the place of another of the same actor.
//!
//! Owns what changes hands: who serves, what the messaging plane holds, the last messages, the monitors that the new one
//! asks for. When it happens is decided by whoever upgrades (`crate::upgrade`).

use std::any::Any;
use std::sync::Arc;

use airssys_wasm::{IntoArgs, Value};

use super::LiveComponent;
use crate::address::ActorAddress;
use crate::envelope::CallContext;
use crate::link::{LinkTargets, LinkedOutbound};
use crate::mailbox::Control;
use crate::messaging::Plane;

/// `airssys:actor/shutdown`'s `reason`, when another revision takes the place.
const REASON_UPGRADE: u32 = 2;

impl LiveComponent {
    /// Is told what the incarnation is to be told of the ends of others, beside those in `watched` already.
    pub(super) fn watch_all(&self, watched: &[ActorAddress]) {
        if self.about.hooks.down.is_some() {
            let monitors = self.about.child.spec.monitors().iter();
            for address in monitors.filter(|address| !watched.contains(address)) {
                self.watch(address);
            }
        }
    }

    /// Whom it calls from now on.
    pub(crate) fn link(&mut self, targets: &Arc<LinkTargets>) {
        if let Some(outbound) = self.outbound_mut() {
            outbound.link(targets);
        }
    }

    fn outbound_mut(&mut self) -> Option<&mut LinkedOutbound> {
        let outbound: &mut dyn Any = self.instance.outbound_mut()?;
        outbound.downcast_mut::<LinkedOutbound>()
    }

    /// It serves from now on: in the place of `before`, whose last messages it has in mind, or where nobody serves.
    pub(crate) fn serve(&mut self, before: Option<&mut Self>) {
        self.about.aside = false;
        let owner = self.instance.resource_owner();
        let slot = &self.about.slot;
        // What was let go of while it was aside told nobody who could destroy it.
        let has_released = owner.as_ref().is_some_and(|owner| owner.has_released());
        slot.armed(Some(self.instance.kill_switch()), owner);
        if has_released {
            slot.lane().ask(Control::Release);
        }
        if slot.is_passive() {
            slot.set_passive(false);
        }
        let traps = self.about.hooks.exit.is_some();
        let Some(before) = before else {
            slot.trap_exits(traps);
            self.watch_all(&[]);
            return;
        };
        before.about.aside = true;
        self.about.recent = std::mem::take(&mut before.about.recent);
        if traps != before.about.hooks.exit.is_some() {
            slot.trap_exits(traps);
        }
        // The monitors are the incarnation's, and stay.
        let was = &before.about;
        let watched = match was.hooks.down {
            Some(_) => was.child.spec.monitors(),
            None => &[],
        };
        self.watch_all(watched);
    }

    /// Serves no longer; whatever becomes of it is not the incarnation's.
    pub(crate) fn step_aside(&mut self) {
        self.about.aside = true;
    }

    /// The plane of the incarnation, and the calls it owes answers to.
    pub(crate) fn plane_mut(&mut self) -> Option<&mut Plane> {
        self.outbound_mut()?.plane.as_deref_mut()
    }

    /// Takes over what `before` holds of the messaging plane, as if it had been its own from the beginning.
    pub(crate) fn inherit(&mut self, before: &mut Self) {
        if let Some(ledger) = &before.about.ledger {
            self.about.ledger = Some(Arc::clone(ledger));
        }
        match (self.plane_mut(), before.plane_mut()) {
            (Some(plane), Some(before)) => plane.inherit(before),
            (Some(plane), None) => plane.take_over(None),
            (None, Some(before)) => before.let_go(),
            (None, None) => {}
        }
    }

    /// Lets go of what it holds of the messaging plane; `successor` has what it wants of it in the same breath.
    pub(crate) fn hand_over_plane(&mut self, successor: &mut Self) {
        if let Some(plane) = successor.plane_mut() {
            plane.take_over(self.plane_mut());
        } else if let Some(plane) = self.plane_mut() {
            plane.let_go();
        }
    }

    /// How many calls it owes answers to that somebody still waits for.
    pub(crate) fn owes(&self) -> usize {
        self.about.ledger.as_ref().map_or(0, |ledger| ledger.owed())
    }

    /// Runs its shutdown hook, for one that is aside: another revision has its place. Whatever comes of it.
    pub(crate) async fn retire(mut self) {
        let Some(shutdown) = self.about.hooks.shutdown else {
            return;
        };
        self.about.aside = true;
        self.begin(CallContext::default());
        let args = (Value::Enum(REASON_UPGRADE),).into_args();
        drop(self.instance.call(shutdown, args).await);
    }
}
