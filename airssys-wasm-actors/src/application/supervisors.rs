//! The tree of supervisors that a manifest declares.
//!
//! Owns who is under whom, and the order in which the children of each supervisor start: as the file says, but for
//! `after`. What starts after something under another supervisor is, seen from the supervisor they have in common, one
//! child of it after another.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;

use super::options::escaped;
use super::order::start_order;
use super::resolving::Resolving;
use crate::address::ActorAddress;
use crate::manifest::{
    BackoffSpec, FindingKind, RestartsSpec, SupervisionSpec, SupervisorTable, suggest,
};
use crate::supervisor::{
    AutoShutdown, Backoff, ChildSpec, RestartIntensity, RestartPolicy, Strategy, SupervisorSpec,
};

/// A manifest's default restart intensity: 5 in 30 s. OTP's own, 1 in 5 s, is for code one has tested oneself.
const RESTARTS_DEFAULT: RestartIntensity = RestartIntensity {
    max: 5,
    within: Duration::from_secs(30),
};

/// A name that is under a supervisor.
struct Entry<'a> {
    name: &'a Spanned<String>,
    under: Option<&'a Spanned<String>>,
    after: &'a [Spanned<String>],
    significant: Option<&'a Spanned<bool>>,
    restart: RestartPolicy,
    /// Its table, if it is a supervisor.
    supervisor: Option<&'a SupervisorTable>,
}

impl Entry<'_> {
    fn name(&self) -> &str {
        self.name.get_ref()
    }
}

/// Who is under whom, in start order.
pub(super) struct Tree<'a> {
    entries: Vec<Entry<'a>>,
    /// The supervisor of each entry; `None` for the application's own.
    parents: Vec<Option<usize>>,
    /// The children of each supervisor, in start order.
    children: BTreeMap<Option<usize>, Vec<usize>>,
}

/// Finds out who is under whom, and everything that is wrong with it.
pub(super) fn resolve<'a>(resolving: &mut Resolving<'a>) -> Tree<'a> {
    let mut tree = Tree {
        entries: entries(resolving),
        parents: Vec::new(),
        children: BTreeMap::new(),
    };
    tree.find_parents(resolving);
    tree.find_empty(resolving);
    tree.break_circles(resolving);
    tree.find_significant(resolving);
    for table in resolving.spec.tables.supervisors.values() {
        check_backoff(resolving, table.backoff.as_ref());
    }
    tree.sort(resolving);
    tree
}

/// Components and supervisors in the order of the file.
fn entries<'a>(resolving: &Resolving<'a>) -> Vec<Entry<'a>> {
    let tables = &resolving.spec.tables;
    let started = tables.components.iter().filter(|(_, spec)| !spec.spawned);
    let components = started.map(|(name, spec)| Entry {
        name,
        under: spec.under.as_ref(),
        after: &spec.after,
        significant: spec.significant.as_ref(),
        restart: spec.restart.unwrap_or_default(),
        supervisor: None,
    });
    let supervisors = tables.supervisors.iter().map(|(name, spec)| Entry {
        name,
        under: spec.under.as_ref(),
        after: &spec.after,
        significant: spec.significant.as_ref(),
        restart: spec.restart.unwrap_or_default(),
        supervisor: Some(spec),
    });
    let mut entries: Vec<_> = components.chain(supervisors).collect();
    entries.sort_by_key(|entry| entry.name.span().start);
    entries
}

impl<'a> Tree<'a> {
    /// The names of the components, in the order they start.
    pub(super) fn component_order(&self) -> Vec<&'a str> {
        let mut order = Vec::with_capacity(self.entries.len());
        self.walk(None, &mut |entry: &Entry<'a>| {
            if entry.supervisor.is_none() {
                order.push(entry.name.get_ref().as_str());
            }
        });
        order
    }

    fn walk(&self, supervisor: Option<usize>, visit: &mut impl FnMut(&Entry<'a>)) {
        for child in self.children.get(&supervisor).into_iter().flatten() {
            if let Some(entry) = self.entries.get(*child) {
                visit(entry);
                self.walk(Some(*child), visit);
            }
        }
    }

    /// The application's supervisor with everything below it. `components` are the children by name; one that could
    /// not be resolved is left out, and there is a finding about it.
    pub(super) fn supervision(
        &self,
        application: &ActorAddress,
        spec: &SupervisionSpec,
        components: &BTreeMap<&str, ChildSpec>,
    ) -> SupervisorSpec {
        SupervisorSpec {
            strategy: spec.strategy,
            intensity: intensity(spec.restarts.as_ref()),
            auto_shutdown: spec.auto_shutdown,
            quarantine_after: spec.quarantine_after,
            children: self.specs(None, application, components),
            ..SupervisorSpec::new(application.clone())
        }
    }

    fn specs(
        &self,
        supervisor: Option<usize>,
        application: &ActorAddress,
        components: &BTreeMap<&str, ChildSpec>,
    ) -> Vec<ChildSpec> {
        let children = self.children.get(&supervisor).into_iter().flatten();
        let mut specs = Vec::new();
        for child in children {
            let Some(entry) = self.entries.get(*child) else {
                continue;
            };
            if entry.supervisor.is_none() {
                let component = components.get(entry.name());
                // Before it: what it spawns in its first message has where to be.
                let spawning = component.and_then(|child| child.spawns());
                specs.extend(spawning.map(|spawning| family(spawning.supervisor())));
                specs.extend(component.cloned());
                continue;
            }
            specs.extend(self.supervisor_spec(*child, application, components));
        }
        specs
    }

    fn supervisor_spec(
        &self,
        child: usize,
        application: &ActorAddress,
        components: &BTreeMap<&str, ChildSpec>,
    ) -> Option<ChildSpec> {
        let entry = self.entries.get(child)?;
        let table = entry.supervisor?;
        // A name that is no address has a finding.
        let address = application.join(entry.name()).ok()?;
        let spec = SupervisorSpec {
            strategy: table.strategy,
            intensity: intensity(table.restarts.as_ref()),
            auto_shutdown: table.auto_shutdown,
            quarantine_after: table.quarantine_after,
            children: self.specs(Some(child), application, components),
            ..SupervisorSpec::new(address)
        };
        let mut child = ChildSpec::supervisor(spec);
        child.restart = entry.restart;
        child.shutdown = table.shutdown.unwrap_or(child.shutdown);
        child.significant = entry.significant.is_some_and(|flag| *flag.get_ref());
        child.backoff = table.backoff.as_ref().map(|spec| backoff(spec.get_ref()));
        Some(child)
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.name() == name)
    }

    fn supervisor_names(&self) -> impl Iterator<Item = &str> + Clone {
        let supervisors = self.entries.iter().filter(|one| one.supervisor.is_some());
        supervisors.map(Entry::name)
    }

    /// Entry and supervisors above it, the nearest first.
    fn chain(&self, entry: usize) -> Vec<usize> {
        let mut chain = vec![entry];
        while let Some(Some(parent)) = chain.last().and_then(|last| self.parents.get(*last)) {
            if chain.contains(parent) {
                break;
            }
            chain.push(*parent);
        }
        chain
    }

    fn find_parents(&mut self, resolving: &mut Resolving<'_>) {
        let mut parents = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let parent = entry.under.and_then(|under| {
                let found = self.entries.iter().position(|entry| {
                    entry.supervisor.is_some() && entry.name() == under.get_ref()
                });
                if found.is_none() {
                    let (name, whom) = (entry.name(), escaped(under.get_ref()));
                    let what = if self.place(under.get_ref()).is_some() {
                        format!("`{name}` is under `{whom}`, which is a component")
                    } else {
                        format!("`{name}` is under `{whom}`, and there is no such supervisor")
                    };
                    let help = suggest(under.get_ref(), "supervisors", self.supervisor_names());
                    resolving.find_at(under, FindingKind::UnknownActor, what, Some(help));
                }
                found
            });
            parents.push(parent);
        }
        self.parents = parents;
    }

    /// Each supervisor that is above itself is said once a circle, and taken to be at the top.
    fn break_circles(&mut self, resolving: &mut Resolving<'_>) {
        for entry in 0..self.entries.len() {
            let chain = self.chain(entry);
            let above = chain.last().and_then(|last| self.parents.get(*last));
            if above != Some(&Some(entry)) {
                continue;
            }
            let names = chain.iter().chain([&entry]);
            let names: Vec<_> = names
                .filter_map(|place| Some(self.entries.get(*place)?.name()))
                .collect();
            let what = format!(
                "supervisors go round in a circle: `{}`",
                names.join("` under `")
            );
            let help = "take one of them out of it: without `under` it is the application's own";
            let under = self.entries.get(entry).and_then(|entry| entry.under);
            if let Some(under) = under {
                let help = Some(help.to_owned());
                resolving.find_at(under, FindingKind::BadValue, what, help);
            }
            if let Some(parent) = self.parents.get_mut(entry) {
                *parent = None;
            }
        }
    }

    fn find_empty(&self, resolving: &mut Resolving<'_>) {
        for (place, entry) in self.entries.iter().enumerate() {
            if entry.supervisor.is_some() && !self.parents.contains(&Some(place)) {
                let what = format!("nothing is under the supervisor `{}`", entry.name());
                let help = format!(
                    "say `under = \"{}\"` of a component, or take it out",
                    entry.name()
                );
                resolving.find_at(entry.name, FindingKind::BadValue, what, Some(help));
            }
        }
    }

    fn find_significant(&self, resolving: &mut Resolving<'_>) {
        for (entry, parent) in self.entries.iter().zip(&self.parents) {
            let Some(at) = entry.significant.filter(|flag| *flag.get_ref()) else {
                continue;
            };
            let name = entry.name();
            if entry.restart == RestartPolicy::Permanent {
                let what = format!(
                    "`{name}` is significant and permanent: its end would both end its supervisor and be followed by a restart"
                );
                let help = "say `restart = \"transient\"` or `\"temporary\"` of it".to_owned();
                resolving.find_at(at, FindingKind::BadValue, what, Some(help));
            }
            let above = parent.and_then(|place| self.entries.get(place));
            let auto_shutdown = match above.and_then(|entry| entry.supervisor) {
                Some(table) => table.auto_shutdown,
                None => resolving.spec.tables.supervision.auto_shutdown,
            };
            if auto_shutdown == AutoShutdown::Never {
                let table = above.map_or_else(
                    || "[supervision]".to_owned(),
                    |entry| format!("[supervisors.{}]", entry.name()),
                );
                let what = format!(
                    "`{name}` is significant, and its supervisor never ends with its children"
                );
                let help = format!("say `auto-shutdown = \"any-significant\"` in `{table}`");
                resolving.find_at(at, FindingKind::BadValue, what, Some(help));
            }
        }
    }

    fn sort(&mut self, resolving: &mut Resolving<'_>) {
        let mut waits: BTreeMap<usize, Vec<(usize, &Spanned<String>)>> = BTreeMap::new();
        for (place, entry) in self.entries.iter().enumerate() {
            for after in entry.after {
                if let Some((waiting, awaited)) = self.lift(resolving, place, after) {
                    waits.entry(waiting).or_default().push((awaited, after));
                }
            }
        }
        let mut groups: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for (place, parent) in self.parents.iter().enumerate() {
            groups.entry(*parent).or_default().push(place);
        }
        for group in groups.values_mut() {
            let waits_for = |item: usize| {
                let waits = group.get(item).and_then(|place| waits.get(place));
                let waits = waits.into_iter().flatten();
                waits
                    .filter_map(|(awaited, _)| group.iter().position(|other| other == awaited))
                    .collect()
            };
            match start_order(group.len(), waits_for) {
                Ok(order) => {
                    *group = order
                        .iter()
                        .filter_map(|item| group.get(*item).copied())
                        .collect();
                }
                Err(circle) => {
                    let circle: Vec<_> = circle
                        .iter()
                        .filter_map(|item| group.get(*item).copied())
                        .collect();
                    self.find_circle(resolving, &circle, &waits);
                }
            }
        }
        self.children = groups;
    }

    /// What `entry` being started after that one is to the supervisor they have in common: which of its children
    /// waits for which.
    fn lift(
        &self,
        resolving: &mut Resolving<'_>,
        entry: usize,
        after: &Spanned<String>,
    ) -> Option<(usize, usize)> {
        let name = self.entries.get(entry)?.name();
        let whom = escaped(after.get_ref());
        let Some(awaited) = self.place(after.get_ref()) else {
            let what = format!("`{name}` starts after `{whom}`, and there is no such component");
            let names = self.entries.iter().map(Entry::name);
            let help = suggest(after.get_ref(), "components", names);
            resolving.find_at(after, FindingKind::UnknownActor, what, Some(help));
            return None;
        };
        let (own, other) = (self.chain(entry), self.chain(awaited));
        let is_above = own.iter().skip(1).any(|place| *place == awaited);
        if is_above || other.iter().skip(1).any(|place| *place == entry) {
            let what = if is_above {
                format!("`{name}` starts after `{whom}`, which it is under")
            } else {
                format!("`{name}` starts after `{whom}`, which is under it")
            };
            let help = "a supervisor is up when what is under it is: take it out of `after`";
            let help = Some(help.to_owned());
            resolving.find_at(after, FindingKind::CircularStart, what, help);
            return None;
        }
        // The last two that differ, from the top.
        let mut pairs = own.iter().rev().zip(other.iter().rev());
        let (waiting, awaited) = pairs
            .find(|(one, another)| one != another)
            .unwrap_or((&entry, &awaited));
        Some((*waiting, *awaited))
    }

    fn find_circle(
        &self,
        resolving: &mut Resolving<'_>,
        circle: &[usize],
        waits: &BTreeMap<usize, Vec<(usize, &Spanned<String>)>>,
    ) {
        let names: Vec<_> = circle
            .iter()
            .chain(circle.first())
            .filter_map(|place| Some(self.entries.get(*place)?.name()))
            .collect();
        let what = format!("the start order is circular: `{}`", names.join("` after `"));
        let help = "take one of them out of `after`; links may be circular, `after` may not; what is under a \
                    supervisor starts with it";
        let first = circle.first().and_then(|place| waits.get(place));
        let next = circle.get(1).or(circle.first());
        let at = first.and_then(|waits| {
            let (_, after) = waits.iter().find(|(awaited, _)| Some(awaited) == next)?;
            Some(*after)
        });
        let help = Some(help.to_owned());
        match at {
            Some(after) => resolving.find_at(after, FindingKind::CircularStart, what, help),
            None => resolving.find(FindingKind::CircularStart, what, help),
        }
    }
}

/// The supervisor of what a component spawns.
fn family(address: &ActorAddress) -> ChildSpec {
    ChildSpec::supervisor(SupervisorSpec {
        strategy: Strategy::SimpleOneForOne,
        intensity: RESTARTS_DEFAULT,
        ..SupervisorSpec::new(address.clone())
    })
}

fn intensity(restarts: Option<&RestartsSpec>) -> RestartIntensity {
    restarts.map_or(RESTARTS_DEFAULT, |restarts| RestartIntensity {
        max: restarts.max,
        within: restarts.within.0,
    })
}

/// What a manifest says of how long restarts wait.
pub(super) fn backoff(spec: &BackoffSpec) -> Backoff {
    let default = Backoff::default();
    let time = |text: &Option<crate::manifest::DurationText>, other| {
        text.as_ref().map_or(other, |text| text.0)
    };
    Backoff {
        initial: time(&spec.initial, default.initial),
        factor: spec.factor.unwrap_or(default.factor),
        max: time(&spec.max, default.max),
        jitter: spec.jitter.unwrap_or(default.jitter),
        reset_after: time(&spec.reset_after, default.reset_after),
    }
}

/// Whether it comes to an end, and does not go down.
pub(super) fn check_backoff(resolving: &mut Resolving<'_>, spec: Option<&Spanned<BackoffSpec>>) {
    let Some(at) = spec else { return };
    if !backoff(at.get_ref()).is_sound() {
        let what = "this `backoff` cannot be".to_owned();
        let help = "it needs a `factor` of at least 1, a `jitter` between 0 and 1, and an `initial` of at most `max`";
        let help = Some(help.to_owned());
        resolving.find_at(at, FindingKind::BadValue, what, help);
    }
}
