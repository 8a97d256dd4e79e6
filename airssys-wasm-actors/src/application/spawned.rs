//! Components that are started by others of their application.
//!
//! Owns what a manifest may not say of them, and which of them each component with the grant `spawn` can start.

use std::collections::BTreeMap;

use toml::Spanned;

use super::ResolvedComponent;
use super::components::Loaded;
use super::options::escaped;
use super::resolving::Resolving;
use crate::address::ActorAddress;
use crate::manifest::{FindingKind, in_order, suggest};
use crate::spawning::{Spawning, family_of};

/// Their names, in the order of the file. Finds what is said of them and would never be read.
pub(super) fn names<'a>(resolving: &mut Resolving<'a>) -> Vec<&'a str> {
    let tables = &resolving.spec.tables;
    let mut names = Vec::new();
    for (name, spec) in in_order(&tables.components) {
        if !spec.spawned {
            continue;
        }
        names.push(name.get_ref().as_str());
        let significant = spec.significant.as_ref().filter(|flag| *flag.get_ref());
        let several = spec.replicas.as_ref().filter(|some| *some.get_ref() > 1);
        let elsewhere = "it is under whoever starts it, whenever that is: leave it out";
        for (key, at, help) in [
            ("under", spec.under.as_ref().map(Spanned::span), elsewhere),
            ("after", spec.after.first().map(Spanned::span), elsewhere),
            (
                "significant",
                significant.map(Spanned::span),
                "nobody ends with what was spawned: leave it out",
            ),
            (
                "replicas",
                several.map(Spanned::span),
                "others start it as often as they need it, one instance at a time: leave it out",
            ),
        ] {
            let Some(at) = at.map(|span| Spanned::new(span, ())) else {
                continue;
            };
            let what = format!("`{}` is spawned, and says `{key}`", name.get_ref());
            let help = Some(help.to_owned());
            resolving.find_at(&at, FindingKind::BadValue, what, help);
        }
    }
    let links = tables.components.values().flat_map(|spec| &spec.links);
    let monitored = tables.components.values().flat_map(|spec| &spec.monitors);
    let addressed = links.map(|link| &link.to).chain(monitored);
    let addressed = addressed.chain(tables.sources.values().map(|source| &source.to));
    for to in addressed {
        if names.contains(&to.get_ref().as_str()) {
            not_there(resolving, to);
        }
    }
    names
}

/// Nobody can be addressed by the name of a component that is spawned.
pub(super) fn not_there(resolving: &mut Resolving<'_>, to: &Spanned<String>) {
    let what = format!(
        "`{}` is spawned: there is no actor of that address",
        escaped(to.get_ref())
    );
    let help = "lead to a component that is started with the application, or take out `spawned`";
    resolving.find_at(to, FindingKind::UnknownActor, what, Some(help.to_owned()));
}

/// Gives each component what it may start.
pub(super) fn resolve(
    resolving: &mut Resolving<'_>,
    application: Option<&ActorAddress>,
    loaded: &BTreeMap<&str, Option<Loaded<'_>>>,
    components: &mut [ResolvedComponent],
    spawned: &[ResolvedComponent],
) {
    for one in loaded.values().flatten() {
        find_unknown(resolving, one);
    }
    let children = spawned
        .iter()
        .map(|one| (one.name.clone(), one.child.clone()));
    let templates: BTreeMap<_, _> = children.collect();
    for component in components {
        let loaded = loaded.get(component.name.as_str()).and_then(Option::as_ref);
        let Some(asked) = loaded.and_then(|loaded| loaded.grants.spawn()) else {
            continue;
        };
        // A name that is no address, or too long for one, has a finding.
        let address = application.and_then(|address| address.join(&component.name).ok());
        let Some(family) = address.as_ref().and_then(family_of) else {
            continue;
        };
        let spawning = Spawning::new(family, templates.clone(), asked.children, asked.depth);
        component.child = component.child.clone().spawning(spawning);
    }
}

/// What it may start has to be there to be started.
fn find_unknown(resolving: &mut Resolving<'_>, one: &Loaded<'_>) {
    let (Some(at), Some(asked)) = (&one.spec.grants, one.grants.spawn()) else {
        return;
    };
    let tables = &resolving.spec.tables;
    for name in &asked.components {
        let known = tables
            .components
            .iter()
            .find(|(known, _)| known.get_ref() == name);
        let text = escaped(name);
        match known {
            Some((_, spec)) if spec.spawned => {}
            Some(_) => {
                let what =
                    format!("`{text}` is to be spawned, and is started with the application");
                let help = format!("say `spawned = true` in `[components.{text}]`");
                resolving.find_at(at, FindingKind::BadValue, what, Some(help));
            }
            None => {
                let what = format!("`{text}` is to be spawned, and there is no such component");
                let spawned = tables.components.iter().filter(|(_, spec)| spec.spawned);
                let names = spawned.map(|(known, _)| known.get_ref().as_str());
                let help = suggest(name, "spawned components", names);
                resolving.find_at(at, FindingKind::UnknownActor, what, Some(help));
            }
        }
    }
}
