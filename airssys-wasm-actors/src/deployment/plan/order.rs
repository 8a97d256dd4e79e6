//! The order in which components are changed, so that who calls whom fits at every moment.
//!
//! Owns the constraints between two components, and the sorting. Where links leave a choice, the start order holds.
//! What goes round in a circle is one step. A pair of components costs a comparison of their links' types.

use std::collections::{BTreeMap, BTreeSet};

use super::refusal::{PlanRefusal, mismatch};
use super::{Action, AutoscaleChange, Part, Step};
use crate::deployment::outline::{ApplicationOutline, ComponentOutline};
use crate::manifest::name_shown;

/// What becomes of one component of the new application.
pub(super) struct Change<'a> {
    /// As it is, if it is there.
    pub(super) old: Option<&'a ComponentOutline>,
    /// As it is to be.
    pub(super) new: &'a ComponentOutline,
    /// `None` if it stays as it is.
    pub(super) action: Option<Action>,
}

impl Change<'_> {
    /// Whether instances come or go.
    pub(super) fn is_touched(&self) -> bool {
        !matches!(self.action, None | Some(Action::Retune { .. }))
    }

    /// What else changes of what is touched, by the manifest's keys.
    pub(super) fn retuned(&self) -> &[&'static str] {
        match &self.action {
            Some(Action::Replace(replacement)) => &replacement.retuned,
            Some(Action::Reconfigure { retuned, .. } | Action::Scale { retuned, .. }) => retuned,
            _ => &[],
        }
    }

    /// What is done, if anything is.
    pub(super) fn part(&self, callers: Vec<String>) -> Option<Part> {
        let from = self.old.and_then(|old| old.autoscale);
        let to = self.new.autoscale;
        Some(Part {
            name: self.new.name.clone(),
            action: self.action.clone()?,
            autoscale: (from != to).then_some(AutoscaleChange { from, to }),
            callers,
        })
    }

    /// Whether another surface than before is behind its name afterwards.
    fn is_switched(&self) -> bool {
        matches!(
            self.action,
            Some(Action::Start { .. } | Action::Replace { .. })
        )
    }

    fn is_gradual(&self) -> bool {
        match &self.action {
            Some(Action::Replace(replacement)) => replacement.strategy.is_gradual(),
            _ => false,
        }
    }
}

/// Who has to come before whom, by places, and why the other way round does not fit.
type Constraints = BTreeMap<(usize, usize), String>;

/// Makes steps of changes, which are given in start order.
pub(super) fn steps(
    changes: &[&Change<'_>],
    new: &ApplicationOutline,
    refused: &mut Vec<PlanRefusal>,
) -> Vec<Step> {
    let constraints = constraints(changes);
    let groups = sort(changes.len(), &constraints);
    let mut steps = Vec::with_capacity(groups.len());
    for group in groups {
        let members: Vec<_> = group
            .iter()
            .filter_map(|place| changes.get(*place).copied())
            .collect();
        let inside = constraints
            .iter()
            .filter(|((before, after), _)| group.contains(before) && group.contains(after));
        let together: Vec<_> = inside
            .map(|(_, why)| why.clone())
            .filter(|why| !why.is_empty())
            .collect();
        let names = |of: &mut dyn Iterator<Item = &&Change<'_>>| {
            of.map(|one| one.new.name.clone()).collect::<Vec<_>>()
        };
        let gradual = names(&mut members.iter().filter(|one| one.is_gradual()));
        if members.len() > 1 && !gradual.is_empty() {
            refused.push(PlanRefusal::Together {
                components: names(&mut members.iter()),
                gradual,
                why: together.clone(),
            });
        }
        let parts = members.iter();
        let parts = parts.filter_map(|one| one.part(new.callers(&one.new.name)));
        steps.push(Step {
            parts: parts.collect(),
            together,
        });
    }
    steps
}

/// What is not there any more, in the order it is stopped: in reverse start order, but callers before those they call.
pub(super) fn gone<'a>(
    current: &'a ApplicationOutline,
    new: &ApplicationOutline,
) -> impl Iterator<Item = &'a ComponentOutline> {
    let gone = current.components.iter().rev();
    let gone: Vec<_> = gone
        .filter(|one| new.component(&one.name).is_none())
        .collect();
    let places = gone.iter().enumerate();
    let places: BTreeMap<&str, usize> = places.map(|(at, one)| (one.name.as_str(), at)).collect();
    let mut constraints = Constraints::new();
    for (at, caller) in gone.iter().enumerate() {
        for link in &caller.links {
            if let Some(callee) = places.get(link.to.as_str()).filter(|callee| **callee != at) {
                constraints.entry((at, *callee)).or_default();
            }
        }
    }
    let order = sort(gone.len(), &constraints).into_iter().flatten();
    order.filter_map(move |place| gone.get(place).copied())
}

fn constraints(changes: &[&Change<'_>]) -> Constraints {
    let mut constraints = Constraints::new();
    let places: BTreeMap<&str, usize> = changes
        .iter()
        .enumerate()
        .filter(|(_, change)| change.is_switched())
        .map(|(place, change)| (change.new.name.as_str(), place))
        .collect();
    for (at, caller) in changes.iter().enumerate() {
        if !caller.is_switched() {
            continue;
        }
        let old = caller.old.into_iter().flat_map(ComponentOutline::revisions);
        let old = old.flat_map(|old| &old.links);
        let links = old.chain(&caller.new.links);
        let callees: BTreeSet<usize> = links
            .filter_map(|link| places.get(link.to.as_str()).copied())
            .filter(|place| *place != at)
            .collect();
        for place in callees {
            let Some(callee) = changes.get(place) else {
                continue;
            };
            pair(caller, at, callee, place, &mut constraints);
        }
    }
    // What is new is started in start order.
    let started = changes.iter().enumerate();
    let started: Vec<_> = started
        .filter(|(_, change)| change.old.is_none())
        .map(|(place, _)| place)
        .collect();
    for pair in started.windows(2) {
        if let [before, after] = pair {
            constraints.entry((*before, *after)).or_default();
        }
    }
    constraints
}

/// What a caller and its callee, which both change, demand of their order.
fn pair(
    caller: &Change<'_>,
    at: usize,
    callee: &Change<'_>,
    place: usize,
    constraints: &mut Constraints,
) {
    let (from, to) = (&caller.new.name, &callee.new.name);
    // The callee is the first: what calls it then is the old caller.
    let mut old = caller.old.into_iter().flat_map(ComponentOutline::revisions);
    if let Some((import, why)) = old.find_map(|old| unfit(old, callee.new)) {
        let import = name_shown(&import);
        let why = format!("`{from}` as it is does not fit the new `{to}` by `{import}`: {why}");
        constraints.insert((at, place), why);
    }
    // The caller is the first: whom it calls then is the old callee.
    let unfit = match callee.old {
        Some(old) => {
            let mut old = old.revisions();
            let unfit = old.find_map(|old| unfit(caller.new, old));
            unfit.map(|(import, why)| {
                let import = name_shown(&import);
                format!("the new `{from}` does not fit `{to}` as it is by `{import}`: {why}")
            })
        }
        None => links_to(caller.new, to)
            .next()
            .map(|_| format!("the new `{from}` calls `{to}`, which is not there before")),
    };
    if let Some(why) = unfit {
        constraints.insert((place, at), why);
    }
}

fn links_to<'a>(caller: &'a ComponentOutline, callee: &str) -> impl Iterator<Item = &'a str> {
    let links = caller.links.iter();
    let links = links.filter(move |link| link.to == callee);
    links.map(|link| link.import.as_str())
}

/// The first link of a caller that a callee does not fit.
fn unfit(caller: &ComponentOutline, callee: &ComponentOutline) -> Option<(String, String)> {
    links_to(caller, &callee.name).find_map(|import| {
        let why = mismatch(caller, import, callee)?;
        Some((import.to_owned(), why))
    })
}

/// Sorts `0..count` into groups: each constraint's first before its second, or both in one group; the lowest first
/// where there is a choice.
fn sort(count: usize, constraints: &Constraints) -> Vec<Vec<usize>> {
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (first, second) in constraints.keys() {
        if let (Some(after), Some(before)) = (after.get_mut(*first), before.get_mut(*second)) {
            after.push(*second);
            before.push(*first);
        }
    }
    // Two are in one group if each comes before the other.
    let mut group_of: Vec<Option<usize>> = vec![None; count];
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for place in 0..count {
        if group_of.get(place).copied().flatten().is_some() {
            continue;
        }
        let (down, up) = (reached(place, &after), reached(place, &before));
        let group: Vec<usize> = down.intersection(&up).copied().collect();
        for member in &group {
            if let Some(entry) = group_of.get_mut(*member) {
                *entry = Some(groups.len());
            }
        }
        groups.push(group);
    }
    let group = |place: usize| group_of.get(place).copied().flatten();
    let mut waits: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); groups.len()];
    for (first, second) in constraints.keys() {
        if let (Some(first), Some(second)) = (group(*first), group(*second))
            && first != second
            && let Some(waits) = waits.get_mut(second)
        {
            waits.insert(first);
        }
    }
    // Groups are numbered by their first members.
    let mut left: BTreeSet<usize> = (0..groups.len()).collect();
    let mut sorted = Vec::with_capacity(groups.len());
    let free = |left: &BTreeSet<usize>| {
        left.iter().copied().find(|group| {
            let waits = waits.get(*group);
            waits.is_none_or(|waits| waits.is_disjoint(left))
        })
    };
    while let Some(next) = free(&left) {
        left.remove(&next);
        sorted.extend(groups.get(next).cloned());
    }
    sorted
}

/// Everything that is reached from a place, with itself.
fn reached(from: usize, edges: &[Vec<usize>]) -> BTreeSet<usize> {
    let mut reached = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(place) = open.pop() {
        for next in edges.get(place).into_iter().flatten() {
            if reached.insert(*next) {
                open.push(*next);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(count: usize, pairs: &[(usize, usize)]) -> Vec<Vec<usize>> {
        let pairs = pairs.iter().map(|pair| (*pair, String::new()));
        sort(count, &pairs.collect())
    }

    #[test]
    fn constraints_hold_and_circles_are_groups() {
        assert_eq!(sorted(3, &[]), [vec![0], vec![1], vec![2]]);
        assert_eq!(sorted(3, &[(2, 0)]), [vec![1], vec![2], vec![0]]);
        assert_eq!(sorted(3, &[(0, 2), (2, 0)]), [vec![0, 2], vec![1]]);
        assert_eq!(
            sorted(4, &[(3, 1), (1, 2), (2, 1)]),
            [vec![0], vec![3], vec![1, 2]]
        );
        assert_eq!(sorted(0, &[]), Vec::<Vec<usize>>::new());
    }
}
