//! What a deployment is, which states it goes through, and what its journal says.
//!
//! Owns the plain data of the journal and its one rule, [`DeploymentState::may_become`]. Nothing here reads or writes.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::fault::{self, CommitSteps};
use crate::address::ActorAddress;
use crate::configuration::ConfigSettings;

/// How far a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentState {
    /// It has been checked and recorded, and nothing has been done yet.
    Prepared,
    /// The new revisions are ready. No message has gone to them.
    Warmed,
    /// Messages are being led to new revisions, one component after the other.
    Switching,
    /// Messages go to the new revision of the component that was switched last; the old one is kept warm.
    Soaking,
    /// It is what the application boots from now on. Final.
    Permanent,
    /// Messages have been led back to the old revisions, or are being led back.
    RollingBack,
    /// The old revisions serve again. Final.
    RolledBack,
    /// It ended without having switched anything, or without old revisions to go back to. Final.
    Failed,
}

impl DeploymentState {
    /// Every state, in the order of a deployment's life.
    pub const ALL: [Self; 8] = [
        Self::Prepared,
        Self::Warmed,
        Self::Switching,
        Self::Soaking,
        Self::Permanent,
        Self::RollingBack,
        Self::RolledBack,
        Self::Failed,
    ];

    /// Whether a deployment in this state can be in that one next.
    ///
    /// A deployment switches its components one after the other: it is `Switching` again for the next, with a soak
    /// between them or without. `RollingBack` follows itself for the same reason.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Prepared => matches!(next, Self::Warmed | Self::Failed),
            Self::Warmed => matches!(next, Self::Switching | Self::Failed),
            Self::Switching => matches!(
                next,
                Self::Switching | Self::Soaking | Self::RollingBack | Self::Failed
            ),
            Self::Soaking => matches!(
                next,
                Self::Switching | Self::Permanent | Self::RollingBack | Self::Failed
            ),
            Self::RollingBack => {
                matches!(next, Self::RollingBack | Self::RolledBack | Self::Failed)
            }
            Self::Permanent | Self::RolledBack | Self::Failed => false,
        }
    }

    /// Whether nothing can follow.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Permanent | Self::RolledBack | Self::Failed)
    }

    /// The states that follow when the host has ended in this one: what boots then is the permanent deployment, so
    /// whatever had been switched has been switched back, if there is one.
    pub(super) fn after_the_host(self, has_permanent: bool) -> &'static [Self] {
        match self {
            Self::Prepared | Self::Warmed => &[Self::Failed],
            Self::Switching | Self::Soaking if has_permanent => {
                &[Self::RollingBack, Self::RolledBack]
            }
            Self::RollingBack if has_permanent => &[Self::RolledBack],
            Self::Switching | Self::Soaking | Self::RollingBack => &[Self::Failed],
            Self::Permanent | Self::RolledBack | Self::Failed => &[],
        }
    }

    /// The steps of the transaction that records it.
    pub(super) fn commit_steps(self) -> CommitSteps {
        match self {
            Self::Prepared => fault::PREPARED,
            Self::Warmed => fault::WARMED,
            Self::Switching => fault::SWITCHING,
            Self::Soaking => fault::SOAKING,
            Self::Permanent => fault::PERMANENT,
            Self::RollingBack => fault::ROLLING_BACK,
            Self::RolledBack => fault::ROLLED_BACK,
            Self::Failed => fault::FAILED,
        }
    }

    /// The name as it stands in the journal, kebab-case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Warmed => "warmed",
            Self::Switching => "switching",
            Self::Soaking => "soaking",
            Self::Permanent => "permanent",
            Self::RollingBack => "rolling-back",
            Self::RolledBack => "rolled-back",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for DeploymentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is to be deployed: one application, whole.
#[derive(Clone, PartialEq, Eq)]
pub struct NewDeployment {
    /// The manifest, as it was read.
    pub manifest: String,
    /// All its components by address, those that do not change included.
    pub components: BTreeMap<ActorAddress, DeployedComponent>,
    /// Values of configurations that were set above all that the manifest says.
    pub settings: ConfigSettings,
    /// Who deploys.
    pub by: String,
    /// Why, in their words; may be empty.
    pub why: String,
    /// When, in milliseconds since 1970 (UTC).
    pub at_unix_ms: u64,
}

/// Of whom something was set, and no values, which can be secrets: nor the manifest, which has some.
impl fmt::Debug for NewDeployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewDeployment")
            .field("components", &self.components)
            .field("settings", &self.settings.keys())
            .field("by", &self.by)
            .field("why", &self.why)
            .field("at_unix_ms", &self.at_unix_ms)
            .finish_non_exhaustive()
    }
}

/// One component of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DeployedComponent {
    /// The number of its revision.
    pub revision: u64,
    /// Where its imports lead.
    pub links: Vec<DeployedLink>,
    /// How it is rolled out, in the manifest's words.
    pub strategy: String,
}

/// An import, and the actor whose export answers it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DeployedLink {
    /// The imported interface, with its version.
    pub import: String,
    /// The actor.
    pub to: ActorAddress,
}

/// A deployment as it is recorded, with its journal.
#[derive(Clone, PartialEq)]
pub struct Deployment {
    /// The application.
    pub application: ActorAddress,
    /// Its number among the application's deployments: 1, 2, 3 and so on, never given twice.
    pub number: u64,
    /// The manifest, as it was read.
    pub manifest: String,
    /// All its components by address.
    pub components: BTreeMap<ActorAddress, DeployedComponent>,
    /// Values of configurations that were set above all that the manifest says.
    pub settings: ConfigSettings,
    /// Who deployed.
    pub by: String,
    /// Why, in their words.
    pub why: String,
    /// When it began, in milliseconds since 1970 (UTC).
    pub at_unix_ms: u64,
    /// How far it is: the state of the last transition.
    pub state: DeploymentState,
    /// What has happened, oldest first. The first is the transition to `Prepared`.
    pub journal: Vec<JournalRecord>,
}

/// As of a [`NewDeployment`].
impl fmt::Debug for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployment")
            .field("application", &self.application)
            .field("number", &self.number)
            .field("components", &self.components)
            .field("settings", &self.settings.keys())
            .field("by", &self.by)
            .field("why", &self.why)
            .field("at_unix_ms", &self.at_unix_ms)
            .field("state", &self.state)
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}

impl Deployment {
    /// The name in the manifest of one of its components.
    pub(crate) fn name_of<'a>(&self, component: &'a ActorAddress) -> &'a str {
        let text = component.as_str();
        let below = text.strip_prefix(self.application.as_str());
        below
            .and_then(|rest| rest.strip_prefix('/'))
            .unwrap_or(text)
    }
}

/// A change of state to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The next state.
    pub to: DeploymentState,
    /// The component it is about, if it is about one.
    pub component: Option<ActorAddress>,
    /// What a reader of the history should know, such as why it failed; may be empty.
    pub note: String,
    /// When, in milliseconds since 1970 (UTC).
    pub at_unix_ms: u64,
}

/// Something that happened between two transitions, such as a weight that was set.
#[derive(Debug, Clone, PartialEq)]
pub struct DeploymentStep {
    /// What happened, as `switched` or `weight`.
    pub name: String,
    /// The component it is about, if it is about one.
    pub component: Option<ActorAddress>,
    /// What belongs to it.
    pub value: serde_json::Value,
    /// When, in milliseconds since 1970 (UTC).
    pub at_unix_ms: u64,
}

/// One record of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct JournalRecord {
    /// Its place in the deployment's journal, from 1.
    pub seq: u64,
    /// When, in milliseconds since 1970 (UTC).
    pub at_unix_ms: u64,
    /// The component it is about, if it is about one.
    pub component: Option<ActorAddress>,
    /// What happened.
    pub entry: JournalEntry,
}

/// What a record of a journal says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum JournalEntry {
    /// The deployment is in another state.
    Transition {
        /// The state.
        to: DeploymentState,
        /// What a reader should know.
        note: String,
    },
    /// Something happened in the state it is in.
    Step {
        /// What.
        name: String,
        /// What belongs to it.
        value: serde_json::Value,
    },
}

/// Which deployments of an application are which. Each is a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DeploymentPointers {
    /// What the application boots.
    pub permanent: Option<u64>,
    /// The one that has not ended. A host that ends forgets it.
    pub trial: Option<u64>,
    /// What was permanent before, to go back to.
    pub rollback_target: Option<u64>,
}

impl DeploymentPointers {
    /// The pointers when a deployment is in a state that it was not in before.
    pub(super) fn after(self, number: u64, state: DeploymentState) -> Self {
        match state {
            DeploymentState::Permanent => Self {
                permanent: Some(number),
                trial: None,
                rollback_target: self.permanent,
            },
            DeploymentState::RolledBack | DeploymentState::Failed => Self {
                trial: None,
                ..self
            },
            DeploymentState::Prepared
            | DeploymentState::Warmed
            | DeploymentState::Switching
            | DeploymentState::Soaking
            | DeploymentState::RollingBack => Self {
                trial: Some(number),
                ..self
            },
        }
    }
}
