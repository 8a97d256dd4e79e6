//! What of an application is compared when another one is to take its place.
//!
//! Owns [`ApplicationOutline`]: plain data, made of a resolved application or by hand, so that a plan needs neither
//! files nor an engine. Two outlines that are equal are the same application, whatever their files are called.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::{CapabilityManifest, Component, Digest, ErrorCarry, Limits, Surface};
use semver::Version;

use super::autoscale::Autoscale;
use super::strategy::{Nature, RolloutPolicy};
use crate::address::ActorAddress;
use crate::application::sources::error_cases;
use crate::health::HealthCheck;
use crate::link::Retry;
use crate::mailbox::MailboxConfig;
use crate::passivation::Passivation;
use crate::source::{Shape, SourcePlan};
use crate::supervisor::{
    AutoShutdown, Backoff, ChildSpec, RestartIntensity, RestartPolicy, ShutdownPolicy, Start,
    Strategy, SupervisorSpec,
};

/// An application as a plan sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ApplicationOutline {
    /// Its name.
    pub name: ActorAddress,
    /// Its components, in start order.
    pub components: Vec<ComponentOutline>,
    /// Those that others start.
    pub spawned: Vec<ComponentOutline>,
    /// Its supervisors, its own first and each before those below it.
    pub supervisors: Vec<SupervisorOutline>,
    /// What feeds it.
    pub sources: Vec<SourceOutline>,
    /// What it is asked at the end, in any form that differs when that does.
    pub report: String,
}

/// A component as a plan sees it.
#[derive(Clone, PartialEq)]
pub struct ComponentOutline {
    /// Its name in the manifest.
    pub name: String,
    /// Its bytes.
    pub digest: Digest,
    /// The version it has for people, if it says one.
    pub version: Option<Version>,
    /// What it imports and exports.
    pub surface: Arc<Surface>,
    /// What it is granted.
    pub capabilities: CapabilityManifest,
    /// What an instance may consume.
    pub limits: Limits,
    /// What it is configured with.
    pub config: Vec<(String, String)>,
    /// Where its imports lead.
    pub links: Vec<LinkOutline>,
    /// Whose ends it is told.
    pub monitors: Vec<ActorAddress>,
    /// When it gives up its instance.
    pub passivation: Option<Passivation>,
    /// The limits of its mailbox.
    pub mailbox: MailboxConfig,
    /// How many of it drain the mailbox, as it says.
    pub replicas: u32,
    /// How many there are, of an application that runs; as many as it says if that is not known. A change that did not come
    /// to its end, somebody's hand, and what they had to do make it another number.
    pub running: Option<u32>,
    /// Between which bounds their number follows what they have to do.
    pub autoscale: Option<Autoscale>,
    /// What only its supervisor knows.
    pub tuning: Tuning,
    /// How it is replaced.
    pub rollout: RolloutPolicy,
    /// It holds what must not be lost.
    pub stateful: bool,
    /// A new instance of it is as good as the one before.
    pub stateless: bool,
    /// Other revisions that a part of its instances may be of, of an application that runs: those of deployments that failed
    /// and could not put this one back.
    pub mixed: Vec<ComponentOutline>,
    /// What its supervisor may know otherwise, for the same reason, by the manifest's keys.
    pub unsettled: Vec<&'static str>,
}

/// No values of its configuration and its environment, which can be secrets.
impl fmt::Debug for ComponentOutline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.config.iter().map(|(key, _)| key).collect();
        f.debug_struct("ComponentOutline")
            .field("name", &self.name)
            .field("digest", &self.digest)
            .field("version", &self.version)
            .field("limits", &self.limits)
            .field("config", &keys)
            .field("links", &self.links)
            .field("replicas", &self.replicas)
            .field("running", &self.running)
            .field("tuning", &self.tuning)
            .field("rollout", &self.rollout)
            .field("mixed", &self.mixed)
            .finish_non_exhaustive()
    }
}

/// A link as a plan sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkOutline {
    /// The imported interface.
    pub import: String,
    /// The component it leads to, by its name.
    pub to: String,
    /// How long a call waits.
    pub reply_within: Duration,
    /// Whether a failed call is sent again.
    pub retry: Option<Retry>,
    /// How a failed call reaches the guest.
    pub error_as: Option<ErrorCarry>,
}

/// What a supervisor knows of a child beside what the child is: changed without touching an instance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// When it is restarted.
    pub restart: RestartPolicy,
    /// How it is asked to end.
    pub shutdown: ShutdownPolicy,
    /// Whether its end may end its supervisor.
    pub significant: bool,
    /// How long its restarts wait.
    pub backoff: Option<Backoff>,
    /// How it is asked how it is.
    pub health: Option<HealthCheck>,
    /// How long it may take to start.
    pub start_within: Duration,
}

/// A supervisor as a plan sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct SupervisorOutline {
    /// Its address.
    pub address: ActorAddress,
    /// Which of its children restart together.
    pub strategy: Strategy,
    /// How many restarts it allows.
    pub intensity: RestartIntensity,
    /// Whether it ends with its significant children.
    pub auto_shutdown: AutoShutdown,
    /// How often a child may be its end.
    pub quarantine_after: Option<u32>,
    /// What its own supervisor knows of it; `None` for the application's.
    pub tuning: Option<Tuning>,
    /// Its children, in start order.
    pub children: Vec<ActorAddress>,
    /// What it may do otherwise, of an application that runs, by the manifest's keys: a deployment that failed could not put
    /// it back.
    pub unsettled: Vec<&'static str>,
}

/// A source as a plan sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceOutline {
    /// Its name in the manifest.
    pub name: String,
    /// The component it feeds, by its name.
    pub to: String,
    /// What it calls there, if that is known.
    pub calls: Option<FedFunction>,
    /// Everything else of it, by the manifest's keys.
    pub words: Vec<(&'static str, String)>,
}

/// A function that a source calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FedFunction {
    /// Where it is.
    pub path: String,
    /// Whether it takes an item's number too.
    pub numbered: bool,
    /// The cases of its error type.
    pub error_cases: Vec<Box<str>>,
}

impl ApplicationOutline {
    /// An application of which nothing runs.
    #[must_use]
    pub fn nothing(name: ActorAddress) -> Self {
        Self {
            name,
            components: Vec::new(),
            spawned: Vec::new(),
            supervisors: Vec::new(),
            sources: Vec::new(),
            report: String::new(),
        }
    }

    pub(crate) fn new(
        supervision: &SupervisorSpec,
        components: Vec<ComponentOutline>,
        spawned: Vec<ComponentOutline>,
        sources: &[Arc<SourcePlan>],
        report: String,
    ) -> Self {
        let mut supervisors = Vec::new();
        add_supervisors(&mut supervisors, supervision, None);
        Self {
            name: supervision.address.clone(),
            components,
            spawned,
            supervisors,
            sources: sources.iter().map(|plan| SourceOutline::of(plan)).collect(),
            report,
        }
    }

    /// The component of this name.
    #[must_use]
    pub fn component(&self, name: &str) -> Option<&ComponentOutline> {
        self.components.iter().find(|one| one.name == name)
    }

    /// The supervisor that a child is under.
    pub(crate) fn parent(&self, child: &str) -> Option<&ActorAddress> {
        let address = self.name.join(child).ok()?;
        let parent = self
            .supervisors
            .iter()
            .find(|one| one.children.contains(&address));
        parent.map(|one| &one.address)
    }

    /// The components and sources that call this one, in order.
    pub(crate) fn callers(&self, of: &str) -> Vec<String> {
        let linked = self.components.iter().filter(|one| {
            let mut links = one.links.iter();
            one.name != of && links.any(|link| link.to == of)
        });
        let linked = linked.map(|one| one.name.clone());
        let fed = self.sources.iter().filter(|source| source.to == of);
        linked
            .chain(fed.map(|source| source.name.clone()))
            .collect()
    }
}

impl ComponentOutline {
    /// What can be read off the component and the actor it becomes; the rest is as if the manifest said nothing.
    pub(crate) fn of(
        name: &str,
        component: &Component,
        limits: &Limits,
        child: &ChildSpec,
        carries: &[Option<ErrorCarry>],
    ) -> Self {
        let (config, monitors) = match &child.start {
            Start::Component(start) => {
                let config = start.config.iter();
                let config = config.map(|(key, value)| (key.to_owned(), value.to_owned()));
                (config.collect(), start.monitors.clone())
            }
            _ => (Vec::new(), Vec::new()),
        };
        let carries = carries.iter().cloned().chain(std::iter::repeat(None));
        let links = child.links().iter().zip(carries);
        Self {
            name: name.to_owned(),
            digest: component.digest(),
            version: component.version().cloned(),
            surface: Arc::clone(component.surface()),
            capabilities: CapabilityManifest::default(),
            limits: limits.clone(),
            config,
            links: links
                .map(|(link, error_as)| LinkOutline {
                    import: link.import.clone(),
                    to: last(&link.to),
                    reply_within: link.reply_within,
                    retry: link.retry,
                    error_as,
                })
                .collect(),
            monitors,
            passivation: child.passivation(),
            mailbox: child.mailbox,
            replicas: child.replicas,
            running: None,
            autoscale: None,
            tuning: Tuning::of(child),
            rollout: RolloutPolicy::default(),
            stateful: false,
            stateless: false,
            mixed: Vec::new(),
            unsettled: Vec::new(),
        }
    }

    /// Every revision that instances of it may be of: this one first.
    pub(crate) fn revisions(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.mixed)
    }

    /// What decides how it can be replaced.
    pub(crate) fn nature(&self) -> Nature {
        Nature::of(&self.surface, !self.links.is_empty())
    }
}

impl Tuning {
    pub(crate) fn of(child: &ChildSpec) -> Self {
        Self {
            restart: child.restart,
            shutdown: child.shutdown,
            significant: child.significant,
            backoff: child.backoff,
            health: child.health,
            start_within: child.start_within,
        }
    }

    /// The manifest's keys that differ.
    pub(crate) fn differing(&self, other: &Self) -> Vec<&'static str> {
        let differing = [
            ("restart", self.restart != other.restart),
            ("shutdown", self.shutdown != other.shutdown),
            ("significant", self.significant != other.significant),
            ("backoff", self.backoff != other.backoff),
            ("health", self.health != other.health),
            ("start-within", self.start_within != other.start_within),
        ];
        named(&differing)
    }
}

impl SupervisorOutline {
    /// The manifest's keys that differ, and the order of the children that both have.
    pub(crate) fn differing(&self, other: &Self) -> Vec<&'static str> {
        let common = |of: &Self, and: &Self| -> Vec<ActorAddress> {
            let children = of.children.iter();
            let common = children.filter(|child| and.children.contains(child));
            common.cloned().collect()
        };
        let mut differing = named(&[
            ("strategy", self.strategy != other.strategy),
            ("restarts", self.intensity != other.intensity),
            ("auto-shutdown", self.auto_shutdown != other.auto_shutdown),
            (
                "quarantine-after",
                self.quarantine_after != other.quarantine_after,
            ),
            ("after", common(self, other) != common(other, self)),
        ]);
        if let (Some(one), Some(another)) = (&self.tuning, &other.tuning) {
            differing.extend(one.differing(another));
        }
        add_unsettled(&mut differing, &self.unsettled);
        differing
    }
}

impl SourceOutline {
    pub(crate) fn of(plan: &SourcePlan) -> Self {
        let (cutting, feed) = (&plan.cutting, &plan.feed);
        Self {
            name: last(&plan.address),
            to: last(&plan.to),
            calls: Some(FedFunction {
                path: feed.function.clone(),
                numbered: feed.shape == Shape::Numbered,
                error_cases: feed.error_cases.clone(),
            }),
            words: vec![
                ("file", plan.input.to_string()),
                ("format", format!("{:?}", cutting.format)),
                ("items", cutting.items.clone()),
                ("item-bytes", cutting.item_bytes_max.to_string()),
                ("function", format!("{} {:?}", feed.function, feed.shape)),
                (
                    "rejected-case",
                    format!("{:?} of {:?}", feed.rejected_case, feed.error_cases),
                ),
                ("in-flight", feed.in_flight_max.to_string()),
                ("reply-within", format!("{:?}", feed.reply_within)),
            ],
        }
    }

    /// The manifest's keys that differ.
    pub(crate) fn differing(&self, other: &Self) -> Vec<&'static str> {
        let mut differing = named(&[("to", self.to != other.to)]);
        for (key, word) in &self.words {
            if !other.words.contains(&(key, word.clone())) {
                differing.push(key);
            }
        }
        differing
    }

    /// Why it cannot feed a component, if that has not what it calls. Where a component has error cases that the source does
    /// not know, or the other way round, those that both know have to be in the same places.
    pub(crate) fn unfit(&self, component: &ComponentOutline) -> Option<String> {
        let calls = self.calls.as_ref()?;
        let surface = &component.surface;
        let function = surface
            .export(&calls.path)
            .map(|export| surface.export_function(export));
        let function = match function {
            Ok(Some((_, function))) => function,
            Ok(None) => return Some(format!("there is no `{}`", calls.path)),
            Err(why) => return Some(why.to_string()),
        };
        let numbered = Shape::of(&function.ty).map(|shape| shape == Shape::Numbered);
        let cases = error_cases(&function.ty);
        let mut pairs = cases.iter().zip(&calls.error_cases);
        let fits = numbered == Some(calls.numbered) && pairs.all(|(one, other)| one == other);
        (!fits).then(|| format!("`{}` is {}", calls.path, function.ty))
    }
}

/// Keys that are set again, whether they differ or not.
pub(crate) fn add_unsettled(keys: &mut Vec<&'static str>, unsettled: &[&'static str]) {
    for key in unsettled {
        if !keys.contains(key) {
            keys.push(key);
        }
    }
}

fn named(differing: &[(&'static str, bool)]) -> Vec<&'static str> {
    let differing = differing.iter().filter(|(_, differs)| *differs);
    differing.map(|(key, _)| *key).collect()
}

/// The supervisors of what is spawned are left out: they are part of who spawns.
fn add_supervisors(
    all: &mut Vec<SupervisorOutline>,
    spec: &SupervisorSpec,
    tuning: Option<Tuning>,
) {
    let is_family = |child: &ChildSpec| {
        let below = child.as_supervisor();
        below.is_some_and(|below| below.strategy == Strategy::SimpleOneForOne)
    };
    let children = spec.children.iter().filter(|child| !is_family(child));
    all.push(SupervisorOutline {
        address: spec.address.clone(),
        strategy: spec.strategy,
        intensity: spec.intensity,
        auto_shutdown: spec.auto_shutdown,
        quarantine_after: spec.quarantine_after,
        tuning,
        children: children
            .clone()
            .map(|child| child.address.clone())
            .collect(),
        unsettled: Vec::new(),
    });
    for child in children {
        if let Some(below) = child.as_supervisor() {
            add_supervisors(all, below, Some(Tuning::of(child)));
        }
    }
}

/// The last part of an address: what a manifest calls it.
fn last(address: &ActorAddress) -> String {
    let text = address.as_str();
    text.rsplit_once('/')
        .map_or(text, |(_, name)| name)
        .to_owned()
}
