//! What stands in the way of a plan, and what to do about it.
//!
//! Owns the refusals that need no order: what cannot be changed while it runs, and callers that would not fit.

use std::fmt;

use airssys_wasm::check_link;
use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::address::ActorAddress;
use crate::deployment::outline::{ApplicationOutline, ComponentOutline};
use crate::manifest::name_shown;

/// One thing that stands in the way of a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanRefusal {
    /// It is not the application that runs.
    #[error("`{current}` runs, and this is `{new}`")]
    OtherApplication {
        /// What runs.
        current: ActorAddress,
        /// What is to run.
        new: ActorAddress,
    },
    /// The tree of supervisors is another one.
    #[error("the supervisor `{supervisor}` {what}")]
    Tree {
        /// Which.
        supervisor: ActorAddress,
        /// What would become of it.
        what: &'static str,
    },
    /// A child is under another supervisor.
    #[error("`{child}` moves from under `{from}` to under `{to}`")]
    Moved {
        /// A component or a supervisor.
        child: String,
        /// Where it is.
        from: ActorAddress,
        /// Where it is to be.
        to: ActorAddress,
    },
    /// A name is a component's in one and a source's in the other.
    #[error("`{name}` is a {was} of what runs, and `[{is}s.{name}]` would make it a {is}")]
    Kind {
        /// The name.
        name: String,
        /// What it is.
        was: &'static str,
        /// What it is to be.
        is: &'static str,
    },
    /// A mailbox has other limits.
    #[error("the mailbox of `{component}` changes: {}", keys.join(", "))]
    Mailbox {
        /// Whose.
        component: String,
        /// The manifest's keys.
        keys: Vec<&'static str>,
    },
    /// A source would feed what has not what it calls.
    #[error("the source `{source_name}` as it is would not fit `{to}` any more: {why}")]
    Source {
        /// Which.
        source_name: String,
        /// What it feeds.
        to: String,
        /// What does not fit.
        why: String,
        /// Whether it is to be kept as it is.
        kept: bool,
    },
    /// State would be lost.
    #[error("the state of `{component}` would be lost: {why}")]
    StateLost {
        /// Whose.
        component: String,
        /// Why it cannot be handed over.
        why: &'static str,
    },
    /// There cannot be another number of replicas of it.
    #[error("`{component}` is to have {to} {} instead of {from}, and {why}", if *to == 1 { "replica" } else { "replicas" })]
    Replicas {
        /// Whose.
        component: String,
        /// How many there are.
        from: u32,
        /// How many there would be.
        to: u32,
        /// Why not.
        why: &'static str,
        /// What to do.
        help: &'static str,
    },
    /// The strategy cannot be this component's.
    #[error("`{component}`: {what}")]
    Strategy {
        /// Whose.
        component: String,
        /// What is wrong.
        what: String,
        /// What to do.
        help: String,
    },
    /// A caller would call what is not there, or of another type.
    #[error(
        "`{caller}` would not fit `{callee}` any more, which it imports `{}` from: {why}",
        name_shown(import)
    )]
    Breaks {
        /// Who calls.
        caller: String,
        /// Whom.
        callee: String,
        /// The import.
        import: String,
        /// What does not fit.
        why: String,
        /// The caller is stopped, but not before.
        goes: bool,
    },
    /// Components fit each other before and after, not in between, and are to be replaced gradually.
    #[error("{} have to be switched together, and {} would be replaced gradually: {}", quoted(components), quoted(gradual), why.join("; "))]
    Together {
        /// All of them.
        components: Vec<String>,
        /// Those that stand in the way.
        gradual: Vec<String>,
        /// What does not fit in between.
        why: Vec<String>,
    },
}

impl PlanRefusal {
    /// The kind as a stable word, for scripts.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::OtherApplication { .. } => "other-application",
            Self::Tree { .. } => "tree",
            Self::Moved { .. } => "moved",
            Self::Kind { .. } => "kind",
            Self::Mailbox { .. } => "mailbox",
            Self::Source { .. } => "source",
            Self::StateLost { .. } => "state-lost",
            Self::Replicas { .. } => "replicas",
            Self::Strategy { .. } => "strategy",
            Self::Breaks { .. } => "breaks",
            Self::Together { .. } => "together",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::OtherApplication { current, .. } => {
                format!("name the manifest of `{current}`, or start the other one with `airssys up`")
            }
            Self::Tree { .. } | Self::Moved { .. } => {
                "the tree of supervisors is fixed while an application runs: stop it and start it again, or leave the tree \
                 as it is"
                    .to_owned()
            }
            Self::Kind { was, is, .. } => format!(
                "give the {is} another name: the {was} is stopped and the {is} started. Or take the {was} out in a deployment of \
                 its own first"
            ),
            Self::Mailbox { .. } => {
                "give it another name: the old one is stopped and the new one started".to_owned()
            }
            Self::Source { kept: true, to, .. } => format!(
                "deploy without `--keep-sources`, or keep what it calls of `{to}`"
            ),
            Self::Source { to, .. } => format!(
                "change the interface of `{to}` in two deployments: first add, and let the source call that, then remove"
            ),
            Self::StateLost { component, .. } => format!(
                "let both revisions export `airssys:actor/state`, or, if it may be lost, deploy with `--state discard`, or say \
                 `state = \"discard\"` in `[components.{component}.rollout]`"
            ),
            Self::Replicas { help, .. } => (*help).to_owned(),
            Self::Strategy { help, .. } => help.clone(),
            Self::Breaks {
                goes: true, caller, ..
            } => format!(
                "`{caller}` is stopped at the end: take it out in a deployment of its own first"
            ),
            Self::Breaks { caller, .. } => format!(
                "keep what `{caller}` imports, or deploy a `{caller}` that fits in the same deployment"
            ),
            Self::Together { .. } => {
                "use `recreate`, `rolling` or `blue-green` for all of them, or change the interface in two deployments: \
                 first add, then remove"
                    .to_owned()
            }
        }
    }
}

impl Serialize for PlanRefusal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut refusal = serializer.serialize_struct("PlanRefusal", 3)?;
        refusal.serialize_field("kind", self.kind())?;
        refusal.serialize_field("what", &self.to_string())?;
        refusal.serialize_field("help", &self.help())?;
        refusal.end()
    }
}

/// Everything that stands in the way of a plan. Nothing has been changed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PlanRefused {
    /// What it is; at least one.
    pub refusals: Vec<PlanRefusal>,
}

impl fmt::Display for PlanRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, refusal) in self.refusals.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{refusal}\n  help: {}", refusal.help())?;
        }
        Ok(())
    }
}

impl std::error::Error for PlanRefused {}

fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// What cannot be changed while the application runs.
pub(super) fn shape(
    current: &ApplicationOutline,
    new: &ApplicationOutline,
    refused: &mut Vec<PlanRefusal>,
) {
    // Of nothing, and into nothing, all supervisors come and go with the application.
    if current.components.is_empty() || new.components.is_empty() {
        return;
    }
    for (one, other, what) in [
        (current, new, "would be gone"),
        (new, current, "would be new"),
    ] {
        for supervisor in &one.supervisors {
            let mut others = other.supervisors.iter();
            if !others.any(|other| other.address == supervisor.address) {
                let supervisor = supervisor.address.clone();
                refused.push(PlanRefusal::Tree { supervisor, what });
            }
        }
    }
    let supervisors = new.supervisors.iter().filter_map(|one| {
        let name = one.address.as_str().strip_prefix(new.name.as_str())?;
        name.strip_prefix('/')
    });
    let components = new.components.iter().map(|one| one.name.as_str());
    // Of a supervisor that comes or goes, its children have been said with it.
    let stays = |supervisor: &ActorAddress| {
        let has = |of: &ApplicationOutline| {
            let mut supervisors = of.supervisors.iter();
            supervisors.any(|one| one.address == *supervisor)
        };
        has(current) && has(new)
    };
    for child in supervisors.chain(components) {
        if let (Some(from), Some(to)) = (current.parent(child), new.parent(child))
            && from != to
            && stays(from)
            && stays(to)
        {
            refused.push(PlanRefusal::Moved {
                child: child.to_owned(),
                from: from.clone(),
                to: to.clone(),
            });
        }
    }
    for (of, other, was, is) in [
        (current, new, "component", "source"),
        (new, current, "source", "component"),
    ] {
        for name in of.components.iter().map(|one| &one.name) {
            if other.sources.iter().any(|source| source.name == *name) {
                let name = name.clone();
                refused.push(PlanRefusal::Kind { name, was, is });
            }
        }
    }
}

/// Callers that would not fit: those of the new application at the end, and those that are stopped until they are.
pub(super) fn breaks(
    current: &ApplicationOutline,
    new: &ApplicationOutline,
    refused: &mut Vec<PlanRefusal>,
) {
    let gone = current.components.iter();
    let gone = gone.filter(|one| new.component(&one.name).is_none());
    let callers = new.components.iter().map(|one| (one, false));
    for (caller, goes) in callers.chain(gone.map(|one| (one, true))) {
        for link in &caller.links {
            // What a caller that goes has called so far is there until both are gone.
            let callee = match new.component(&link.to) {
                Some(callee) => callee,
                None if goes => continue,
                None => {
                    refused.push(PlanRefusal::Breaks {
                        caller: caller.name.clone(),
                        callee: link.to.clone(),
                        import: link.import.clone(),
                        why: "there is no such component".to_owned(),
                        goes,
                    });
                    continue;
                }
            };
            if let Some(why) = mismatch(caller, &link.import, callee) {
                refused.push(PlanRefusal::Breaks {
                    caller: caller.name.clone(),
                    callee: callee.name.clone(),
                    import: link.import.clone(),
                    why,
                    goes,
                });
            }
        }
    }
}

/// Why a link would not fit.
pub(super) fn mismatch(
    caller: &ComponentOutline,
    import: &str,
    callee: &ComponentOutline,
) -> Option<String> {
    let checked = check_link(&caller.surface, import, &callee.surface);
    checked.err().map(|why| why.to_string())
}
