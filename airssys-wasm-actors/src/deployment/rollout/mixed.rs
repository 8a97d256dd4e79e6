//! What runs beside what was deployed last: parts that a failed deployment could not put back.
//!
//! Owns, from such an end to the next deployment that is permanent, which components may be of which other revisions, and
//! what of supervisors may be otherwise. Plans are made from it, so whatever is deployed next replaces what is mixed, the same
//! manifest included. It is of one host: a host that is started again boots one revision of each component.

use std::collections::BTreeMap;

use crate::deployment::machine::StepId;
use crate::deployment::outline::{ApplicationOutline, ComponentOutline, add_unsettled};
use crate::deployment::plan::{Action, Plan};

/// Most other revisions of one component that are known: one for each deployment in a row that failed so. Of more, the newest
/// are; it is replaced all the same.
const REVISIONS_MAX: usize = 16;

/// What is mixed. Empty as long as every deployment could be undone.
#[derive(Debug, Clone, Default)]
pub(super) struct Mixed {
    /// The other revisions of components whose instances were not put back, oldest first.
    components: BTreeMap<String, Vec<ComponentOutline>>,
    /// What supervisors were not told back, of components by name and of supervisors by address.
    keys: BTreeMap<String, Vec<&'static str>>,
}

impl Mixed {
    /// These steps of a plan that led to `new` could not be switched back.
    pub(super) fn add(&mut self, plan: &Plan, stuck: &[StepId], new: &ApplicationOutline) {
        let steps = stuck.iter().filter_map(|step| plan.steps.get(step.0));
        for part in steps.flat_map(|step| &step.parts) {
            let keys: &[&'static str] = match &part.action {
                Action::Replace(_) | Action::Reconfigure { .. } => {
                    self.add_revision(new.component(&part.name));
                    continue;
                }
                Action::Retune { keys } | Action::RetuneSupervisor { keys } => keys,
                Action::Scale { retuned, .. } => retuned,
                // What has started or is to be stopped is not switched, and the report is always put back.
                _ => continue,
            };
            let all = self.keys.entry(part.name.clone()).or_default();
            add_unsettled(all, keys);
        }
    }

    fn add_revision(&mut self, revision: Option<&ComponentOutline>) {
        let Some(revision) = revision else {
            return;
        };
        let known = self.components.entry(revision.name.clone()).or_default();
        if known.contains(revision) {
            return;
        }
        if known.len() >= REVISIONS_MAX {
            known.remove(0);
        }
        known.push(revision.clone());
    }

    /// Says it in the outline of what was deployed last.
    pub(super) fn put_into(&self, outline: &mut ApplicationOutline) {
        for component in &mut outline.components {
            let mixed = self.components.get(&component.name);
            component.mixed = mixed.cloned().unwrap_or_default();
            let keys = self.keys.get(&component.name);
            component.unsettled = keys.cloned().unwrap_or_default();
        }
        for supervisor in &mut outline.supervisors {
            let keys = self.keys.get(supervisor.address.as_str());
            supervisor.unsettled = keys.cloned().unwrap_or_default();
        }
    }
}
