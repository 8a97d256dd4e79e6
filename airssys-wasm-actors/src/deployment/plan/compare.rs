//! What is to be done about one component that is in both applications.
//!
//! Owns the comparison, row by row, and how what differs is written. Values of the configuration and of the
//! environment are compared and never written: they can be secrets.

use std::collections::BTreeMap;
use std::fmt::Display;

use airssys_wasm::{CapabilityManifest, Limits};

use super::beside;
use super::refusal::PlanRefusal;
use super::{
    Action, Because, ConfigChange, GrantsChange, LimitChange, PlanOptions, PlannedRevision,
    Replacement, Scale,
};
use crate::configuration::ConfigWay;
use crate::deployment::outline::{ApplicationOutline, ComponentOutline, add_unsettled};
use crate::deployment::strategy::{Nature, StateHandling};
use crate::mailbox::MailboxConfig;
use crate::manifest::duration_text;

/// What is to be done, if anything is. What stands in the way is added to `refused`.
pub(super) fn action(
    old: &ComponentOutline,
    new: &ComponentOutline,
    spawns: bool,
    options: &PlanOptions,
    refused: &mut Vec<PlanRefusal>,
) -> Option<Action> {
    let keys = mailbox(&old.mailbox, &new.mailbox);
    if !keys.is_empty() {
        let component = new.name.clone();
        refused.push(PlanRefusal::Mailbox { component, keys });
    }
    let because = because(old, new, spawns);
    let mut retuned = retuned(old, new);
    refused.extend(several(old, new));
    let asked = asked(old, new);
    let mut replicas = replicas(old, new);
    if let Some(refusal) = rescaled(old, new, replicas, because.is_empty(), options) {
        match asked {
            true => refused.push(refusal),
            false => replicas.to = replicas.from,
        }
    }
    if because.is_empty() {
        // With other bytes it is said in the first line.
        if old.version != new.version {
            retuned.push("version");
        }
        return match (replicas.from == replicas.to, retuned.is_empty()) {
            (true, true) => None,
            (true, false) => Some(Action::Retune { keys: retuned }),
            (false, _) => Some(Action::Scale { replicas, retuned }),
        };
    }
    if because == [Because::Config] && !(asked && replicas.from != replicas.to) {
        let config = config(&old.config, &new.config);
        let reads = &new.capabilities.config;
        if ConfigWay::of(&new.surface, reads, config.keys()) == ConfigWay::Hook {
            if old.version != new.version {
                retuned.push("version");
            }
            return Some(Action::Reconfigure { config, retuned });
        }
    }
    let strategy = match &options.strategy {
        None => new.rollout.strategy.clone(),
        Some(strategy) => match new.rollout.strategy.gate() {
            Some(gate) => strategy.clone().with_gate(gate),
            None => strategy.clone(),
        },
    };
    let natures = old.revisions().map(ComponentOutline::nature);
    for error in strategy.unfit(natures.fold(new.nature(), either)) {
        refused.push(PlanRefusal::Strategy {
            component: new.name.clone(),
            what: error.what,
            help: error.help,
        });
    }
    if strategy.is_gradual() {
        refused.extend(beside::unfit(&strategy, old, new));
    }
    let state = match state(old, new, options) {
        Ok(StateHandling::HandOver) if !asked => {
            replicas.to = replicas.from;
            StateHandling::HandOver
        }
        Ok(StateHandling::HandOver) if replicas.from != replicas.to => {
            refused.push(PlanRefusal::StateLost {
                component: new.name.clone(),
                why: "each replica has its own, and their number changes with them",
            });
            StateHandling::HandOver
        }
        Ok(state) => state,
        Err(why) => {
            let component = new.name.clone();
            refused.push(PlanRefusal::StateLost { component, why });
            StateHandling::HandOver
        }
    };
    let (before, after) = (PlannedRevision::of(old), PlannedRevision::of(new));
    Some(Action::Replace(Box::new(Replacement {
        version_goes_back: after.is_before(&before),
        mixed: mixed(old, &before),
        old: before,
        new: after,
        grants: grants(&old.capabilities, &new.capabilities),
        limits: limits(&old.limits, &new.limits),
        config: config(&old.config, &new.config),
        because,
        strategy,
        state,
        has_state: old.revisions().any(keeps),
        handles_within: new.rollout.handles_within,
        replicas,
        retuned,
    })))
}

/// What changes without touching an instance, by the manifest's keys.
fn retuned(old: &ComponentOutline, new: &ComponentOutline) -> Vec<&'static str> {
    let mut retuned = old.tuning.differing(&new.tuning);
    let differing = [
        ("rollout", old.rollout != new.rollout),
        ("stateful", old.stateful != new.stateful),
        ("autoscale", old.autoscale != new.autoscale),
    ];
    let differing = differing.into_iter().filter(|(_, differs)| *differs);
    retuned.extend(differing.map(|(key, _)| key));
    // Some replicas may be supervised as one of these was to be.
    for mixed in &old.mixed {
        add_unsettled(&mut retuned, &mixed.tuning.differing(&new.tuning));
    }
    add_unsettled(&mut retuned, &old.unsettled);
    retuned
}

/// What instances may be of that are not of the old revision, as far as that shows in what it is.
fn mixed(old: &ComponentOutline, before: &PlannedRevision) -> Vec<PlannedRevision> {
    let mut mixed: Vec<PlannedRevision> = Vec::new();
    for one in old.mixed.iter().map(PlannedRevision::of) {
        if one != *before && !mixed.contains(&one) {
            mixed.push(one);
        }
    }
    mixed
}

/// How many there are, and should be.
fn replicas(old: &ComponentOutline, new: &ComponentOutline) -> Scale {
    let from = old.running.unwrap_or(old.replicas);
    // Where it follows what they have to do, what it says is what it starts with.
    let to = new.autoscale.map_or(new.replicas, |_| from);
    Scale { from, to }
}

/// Whether another number of replicas is asked for than was. Otherwise what runs in another number than it says is put
/// right where nothing stands in the way, and left as it is where something does.
fn asked(old: &ComponentOutline, new: &ComponentOutline) -> bool {
    let no_more = old.autoscale.is_some() && new.autoscale.is_none();
    old.replicas != new.replicas || no_more
}

/// Why their number cannot begin to follow what they have to do, if it is to.
fn several(old: &ComponentOutline, new: &ComponentOutline) -> Option<PlanRefusal> {
    let from = old.running.unwrap_or(old.replicas);
    let bounds = new.autoscale.filter(|bounds| bounds.max > 1)?;
    let is_alone = from == 1 && old.autoscale.is_none();
    let owns = |one: &ComponentOutline| one.nature().owns_resources;
    (is_alone && old.revisions().any(owns)).then(|| PlanRefusal::Replicas {
        component: new.name.clone(),
        from,
        to: bounds.max,
        why: OWNS,
        help: "stop the application and start it with several replicas",
    })
}

const OWNS: &str = "others may hold resources of the one there is, which end with it";

/// Whether its instances hold something in memory that is more than a copy.
fn keeps(old: &ComponentOutline) -> bool {
    old.stateful || (old.nature().has_state && !old.stateless)
}

/// Why there cannot be another number of replicas, if there is to be one. What becomes of the state is looked at where
/// that is `all` that changes; a replacement does so itself.
fn rescaled(
    old: &ComponentOutline,
    new: &ComponentOutline,
    Scale { from, to }: Scale,
    all: bool,
    options: &PlanOptions,
) -> Option<PlanRefusal> {
    let refused = |why, help| {
        Some(PlanRefusal::Replicas {
            component: new.name.clone(),
            from,
            to,
            why,
            help,
        })
    };
    if from == to {
        return None;
    }
    // What is alone ends when it becomes several, and so does each that is one too many.
    let ends = from == 1 || to < from;
    let discards = options.state.or(new.rollout.state) == Some(StateHandling::Discard);
    let owns = |one: &ComponentOutline| one.nature().owns_resources;
    if from == 1 && old.revisions().any(owns) {
        return refused(
            OWNS,
            "stop the application and start it with that many replicas",
        );
    }
    if from == 1 && old.passivation.is_some() {
        return refused(
            "it gives up its instance while it is idle, which replicas do not",
            "deploy it without `passivate-after` first, and with more replicas then",
        );
    }
    if all && ends && keeps(old) && !discards {
        return refused(
            "what an instance holds in memory would end with it",
            "if that may be, say so: `--discard-state` to `airssys scale`, `--state discard` to `deploy` and `rollback`, or \
             `state = \"discard\"` in its `rollout` table; or leave `replicas` as it is",
        );
    }
    None
}

/// A strategy has to suit both revisions: each of them is one of two.
fn either(old: Nature, new: Nature) -> Nature {
    Nature {
        has_state: old.has_state || new.has_state,
        messages: old.messages || new.messages,
        owns_resources: old.owns_resources || new.owns_resources,
        has_links: old.has_links || new.has_links,
    }
}

fn because(old: &ComponentOutline, new: &ComponentOutline, spawns: bool) -> Vec<Because> {
    let because = [
        (Because::Bytes, old.digest != new.digest),
        (Because::Grants, old.capabilities != new.capabilities),
        (Because::Limits, old.limits != new.limits),
        (Because::Config, sorted(&old.config) != sorted(&new.config)),
        (Because::Links, old.links != new.links),
        (Because::Monitors, old.monitors != new.monitors),
        (
            Because::Passivation,
            old.passivation != new.passivation || old.stateless != new.stateless,
        ),
        (Because::Spawns, spawns),
        (Because::Mixed, !old.mixed.is_empty()),
    ];
    let because = because.into_iter().filter(|(_, differs)| *differs);
    because.map(|(because, _)| because).collect()
}

/// Whether what it can spawn has changed. What has been spawned ends with who has spawned it.
pub(super) fn spawns(
    current: &ApplicationOutline,
    old: &ComponentOutline,
    new_application: &ApplicationOutline,
    new: &ComponentOutline,
) -> bool {
    let (Some(old), Some(new)) = (&old.capabilities.spawn, &new.capabilities.spawn) else {
        return false;
    };
    let find = |application: &ApplicationOutline, name: &str| {
        let spawned = application.spawned.iter();
        spawned.into_iter().find(|one| one.name == name).cloned()
    };
    let both = old
        .components
        .iter()
        .filter(|name| new.components.contains(name));
    let mut both = both.map(|name| (find(current, name), find(new_application, name)));
    both.any(|(old, new)| old != new)
}

/// What becomes of the state, or why it would be lost without anybody having said so.
fn state(
    old: &ComponentOutline,
    new: &ComponentOutline,
    options: &PlanOptions,
) -> Result<StateHandling, &'static str> {
    let said = options.state.or(new.rollout.state);
    let has_state = |one: &ComponentOutline| one.nature().has_state;
    let (before, after) = (old.revisions().all(has_state), has_state(new));
    let keeps = old.revisions().any(keeps);
    match said {
        Some(StateHandling::Discard) => Ok(StateHandling::Discard),
        None if !keeps => Ok(StateHandling::Discard),
        _ if before && after => Ok(StateHandling::HandOver),
        _ if !keeps => Ok(StateHandling::Discard),
        _ if before => Err("the new revision does not export `airssys:actor/state`"),
        _ if old.revisions().any(has_state) => Err(
            "not every revision of it that runs exports `airssys:actor/state`, since a deployment could not be undone",
        ),
        _ => Err("the revision that runs does not export `airssys:actor/state`"),
    }
}

fn mailbox(old: &MailboxConfig, new: &MailboxConfig) -> Vec<&'static str> {
    let differing = [
        ("depth", old.depth_max != new.depth_max),
        ("bytes", old.bytes_max != new.bytes_max),
        (
            "message-bytes",
            old.message_bytes_max != new.message_bytes_max,
        ),
        ("strategy", old.strategy != new.strategy),
    ];
    let differing = differing.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(key, _)| key).collect()
}

fn sorted(config: &[(String, String)]) -> BTreeMap<String, String> {
    config.iter().cloned().collect()
}

fn config(old: &[(String, String)], new: &[(String, String)]) -> ConfigChange {
    let [added, removed, changed] = difference(&sorted(old), &sorted(new));
    ConfigChange {
        added,
        removed,
        changed,
    }
}

fn grants(old: &CapabilityManifest, new: &CapabilityManifest) -> GrantsChange {
    let [added, removed, changed] = difference(&granted(old), &granted(new));
    GrantsChange {
        added,
        removed,
        changed,
    }
}

/// Keys that are new, gone, and of another value.
fn difference(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> [Vec<String>; 3] {
    let without = |of: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
        let keys = of.keys().filter(|key| !other.contains_key(*key));
        keys.cloned().collect::<Vec<_>>()
    };
    let changed = old
        .iter()
        .filter(|(key, value)| new.get(*key).is_some_and(|other| other != *value));
    let changed = changed.map(|(key, _)| key.clone()).collect();
    [without(new, old), without(old, new), changed]
}

/// What is granted, as a manifest writes it.
pub(super) fn grant_names(capabilities: &CapabilityManifest) -> Vec<String> {
    granted(capabilities).into_keys().collect()
}

/// What is granted, one entry for each thing, with its value where it has one.
fn granted(capabilities: &CapabilityManifest) -> BTreeMap<String, String> {
    let mut granted = BTreeMap::new();
    for (name, is_granted) in [
        ("log", capabilities.log),
        ("stdio", capabilities.stdio),
        ("clocks", capabilities.clocks),
        ("random", capabilities.random),
    ] {
        if is_granted {
            granted.insert(name.to_owned(), String::new());
        }
    }
    if !capabilities.args.is_empty() {
        granted.insert("args".to_owned(), capabilities.args.join("\0"));
    }
    for (name, value) in &capabilities.env {
        granted.insert(format!("env.{}", name.escape_debug()), value.clone());
    }
    if let Some(messaging) = &capabilities.messaging {
        granted.insert("messaging".to_owned(), String::new());
        let send = messaging.send.iter().map(|to| ("send", to.to_string()));
        let publish = messaging.publish.iter();
        let publish = publish.map(|topic| ("publish", topic.to_string()));
        let subscribe = messaging.subscribe.iter();
        let subscribe = subscribe.map(|topic| ("subscribe", topic.to_string()));
        for (what, pattern) in send.chain(publish).chain(subscribe) {
            granted.insert(format!("messaging.{what} {pattern}"), String::new());
        }
        if messaging.timers {
            granted.insert("messaging.timers".to_owned(), String::new());
        }
    }
    for pattern in &capabilities.config {
        granted.insert(format!("config {pattern}"), String::new());
    }
    if let Some(spawn) = &capabilities.spawn {
        for name in &spawn.components {
            granted.insert(format!("spawn {}", name.escape_debug()), String::new());
        }
        granted.insert("spawn.children".to_owned(), spawn.children.to_string());
        granted.insert("spawn.depth".to_owned(), spawn.depth.to_string());
    }
    granted
}

fn limits(old: &Limits, new: &Limits) -> Vec<LimitChange> {
    let rows = rows(old).into_iter().zip(rows(new));
    let rows = rows.filter(|((_, old), (_, new))| old != new);
    rows.map(|((limit, old), (_, new))| LimitChange { limit, old, new })
        .collect()
}

/// The rows of a table of limits, by the manifest's keys.
fn rows(limits: &Limits) -> [(&'static str, String); 13] {
    let Limits {
        cpu_per_call,
        wall_per_call,
        memory_bytes_max,
        memories_max,
        tables_max,
        core_instances_max,
        table_elements_max,
        hostcall_bytes_max,
        handles_max,
        resources_max,
        random_bytes_max,
        log_bytes_per_second,
        log_line_bytes_max,
    } = limits;
    [
        ("cpu-per-call", duration_text(*cpu_per_call)),
        ("wall-per-call", duration_text(*wall_per_call)),
        ("memory", size(*memory_bytes_max)),
        ("memories", text(memories_max)),
        ("tables", text(tables_max)),
        ("core-instances", text(core_instances_max)),
        ("table-elements", text(table_elements_max)),
        ("hostcall-bytes", size(*hostcall_bytes_max)),
        ("handles", text(handles_max)),
        ("resources", text(resources_max)),
        ("random-bytes", size(*random_bytes_max)),
        ("log-bytes-per-second", size((*log_bytes_per_second).into())),
        ("log-line-bytes", size((*log_line_bytes_max).into())),
    ]
}

fn text(count: impl Display) -> String {
    count.to_string()
}

/// A size as a manifest writes it.
fn size(bytes: u64) -> String {
    for (unit, scale) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes > 0 && bytes.is_multiple_of(scale) {
            return format!("{}{unit}", bytes / scale);
        }
    }
    format!("{bytes}B")
}
