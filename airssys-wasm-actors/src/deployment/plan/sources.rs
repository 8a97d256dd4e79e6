//! What becomes of sources.
//!
//! Owns when each is changed: after the components where what feeds now fits what they become, before them where what is to
//! feed fits what they are, and at the very end where it is gone and fits until then. What fits neither way is refused.

use super::{Action, PlanOptions, PlanRefusal, Step, part};
use crate::deployment::outline::{ApplicationOutline, ComponentOutline, SourceOutline};

/// The steps of sources, by when.
#[derive(Default)]
pub(super) struct SourceSteps {
    /// Before any component is touched.
    pub(super) first: Vec<Step>,
    /// When every component serves as it is to be.
    pub(super) after: Vec<Step>,
    /// When nothing is undone any more.
    pub(super) last: Vec<Step>,
}

/// What says that another input is read.
const INPUT: [&str; 3] = ["file", "format", "items"];

pub(super) fn steps(
    current: &ApplicationOutline,
    new: &ApplicationOutline,
    options: &PlanOptions,
    refused: &mut Vec<PlanRefusal>,
) -> SourceSteps {
    let mut steps = SourceSteps::default();
    let step = |source: &SourceOutline, action| Step::of(part(&source.name, action, Vec::new()));
    for one in &new.sources {
        let Some(old) = current.sources.iter().find(|old| old.name == one.name) else {
            steps.after.push(step(one, Action::StartSource));
            continue;
        };
        let keys = old.differing(one);
        if keys.is_empty() {
            continue;
        }
        let refusal = |why, kept| PlanRefusal::Source {
            source_name: one.name.clone(),
            to: old.to.clone(),
            why,
            kept,
        };
        let unfit = unfit_for(old, new.component(&old.to));
        if options.keep_sources {
            let gone = "there is no such component".to_owned();
            let gone = new.component(&old.to).is_none().then_some(gone);
            refused.extend(gone.or(unfit).map(|why| refusal(why, true)));
            continue;
        }
        let anew = keys.iter().any(|key| INPUT.contains(key));
        let action = Action::ReplaceSource { keys, anew };
        match unfit {
            None => steps.after.push(step(one, action)),
            Some(why) => match current.component(&one.to) {
                Some(to) if unfit_for(one, Some(to)).is_none() => {
                    steps.first.push(step(one, action));
                }
                _ => refused.push(refusal(why, false)),
            },
        }
    }
    for old in &current.sources {
        if new.sources.iter().any(|one| one.name == old.name) {
            continue;
        }
        // What it feeds is stopped after it, if that is gone too.
        let early = unfit_for(old, new.component(&old.to)).is_some();
        let steps = if early {
            &mut steps.first
        } else {
            &mut steps.last
        };
        steps.push(step(old, Action::StopSource { early }));
    }
    steps
}

/// Why a source does not fit one of the revisions that a component may be of.
fn unfit_for(source: &SourceOutline, component: Option<&ComponentOutline>) -> Option<String> {
    let mut revisions = component.into_iter().flat_map(ComponentOutline::revisions);
    revisions.find_map(|revision| source.unfit(revision))
}
