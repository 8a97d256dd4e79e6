//! Deployments: asked for, followed, commanded, listed.

use std::collections::BTreeMap;

use airssys_wasm_actors::deployment::{ArmCounts, RolloutOutcome, RolloutStatus, WaitingOrder};
use airssys_wasm_actors::{Deployment, JournalEntry};
use serde::{Deserialize, Serialize};

use super::ErrorReport;

/// How carefully, in the words of a command line; only what is said is there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutWords {
    /// `recreate`, `rolling`, `blue-green`, `canary` or `shadow`, for everything that is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// Canary: `5%:30s,50%:1min`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<String>,
    /// How long the old revision is kept: `1min`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<String>,
    /// Rolling: how many replicas more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<u32>,
    /// Rolling: how many replicas fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<u32>,
    /// Shadow: what part is copied, `10%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<String>,
    /// Shadow: for how long, `1min`.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub pause: Option<String>,
    /// Canary: the parameter whose value decides who serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<String>,
    /// What becomes of state: `hand-over` or `discard`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Sources that differ go on as they are.
    #[serde(default)]
    pub keep_sources: bool,
}

/// What is to be deployed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    /// The absolute path of the manifest, or of a directory that holds an `airssys.toml`, as the host finds it.
    pub manifest: String,
    /// How carefully, instead of what the manifest says.
    #[serde(default)]
    pub rollout: RolloutWords,
    /// Who deploys.
    #[serde(default)]
    pub by: String,
    /// Why.
    #[serde(default)]
    pub why: String,
    /// Whether it waits its turn while another deployment is under way.
    #[serde(default)]
    pub queue: bool,
    /// Only the plan is wanted; nothing is changed.
    #[serde(default)]
    pub plan_only: bool,
}

/// What is to be gone back to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The number of a deployment. Without it, what is under way is rolled back; if nothing is, the deployment that was
    /// permanent before is deployed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// How carefully; blue-green without a soak if nothing is said.
    #[serde(default)]
    pub rollout: RolloutWords,
    /// Who goes back.
    #[serde(default)]
    pub by: String,
    /// Why.
    #[serde(default)]
    pub why: String,
    /// Whether it waits its turn while another deployment is under way.
    #[serde(default)]
    pub queue: bool,
    /// Whether only the plan to the earlier deployment is wanted. Since 1.6; a host that does not know it refuses the request.
    #[serde(default, skip_serializing_if = "is_false")]
    pub plan_only: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_false(said: &bool) -> bool {
    !said
}

/// How many of a component there are to be: a deployment of what runs, with that number.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    /// The component, by its name in the manifest or its address.
    pub component: String,
    /// How many replicas: 1 to 64.
    pub replicas: u32,
    /// Whether what an instance holds in memory may be lost: that of one that goes, and of one that becomes several.
    #[serde(default)]
    pub discard_state: bool,
    /// Who scales.
    #[serde(default)]
    pub by: String,
    /// Why.
    #[serde(default)]
    pub why: String,
    /// Whether it waits its turn while another deployment is under way.
    #[serde(default)]
    pub queue: bool,
    /// Only the plan is wanted; nothing is changed.
    #[serde(default)]
    pub plan_only: bool,
}

/// Which order is not to be carried out: one that waits, or has its turn and has not begun.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Its number, as `waiting` and `preparing` list it.
    pub order: u64,
    /// Who cancels it.
    #[serde(default)]
    pub by: String,
    /// Why.
    #[serde(default)]
    pub why: String,
}

/// How far a request to deploy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DeployPhase {
    /// The manifest is read, its components are compiled, and the plan is made.
    Checking,
    /// The plan is there, and nothing else was wanted.
    Planned,
    /// Another deployment is under way, and this one waits for its end.
    Waiting,
    /// It is rolled out.
    RollingOut,
    /// The rollout has ended.
    Over,
    /// Nothing was changed.
    Refused,
}

impl DeployPhase {
    /// Whether nothing follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Planned | Self::Over | Self::Refused)
    }
}

/// A request to deploy, and what has become of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeployAnswer {
    /// Its number in this host, to ask for it again.
    pub request: u64,
    /// How far it is.
    pub phase: DeployPhase,
    /// What leads from what ran to what is wanted, as it was when the request came.
    pub plan: Option<serde_json::Value>,
    /// The plan for people.
    pub text: Option<String>,
    /// Why nothing was changed, if it turned out late.
    pub refusal: Option<ErrorReport>,
    /// Where the rollout stands, once it has begun.
    pub rollout: Option<RolloutView>,
    /// The number of its order while it waits for its turn: what cancels it. Since 1.5.
    #[serde(default)]
    pub waiting: Option<u64>,
    /// The same number for as long as it cancels the order: from when it waits, or has its turn, until the deployment begins.
    /// Since 1.7.
    #[serde(default)]
    pub order: Option<u64>,
}

/// An order that waits for its turn, or has it and has not begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WaitingView {
    /// Its number: what cancels it.
    pub order: u64,
    /// What is to be done, in a few words: `scale classify to 4`.
    pub what: String,
    /// Who wants it.
    pub by: String,
    /// Why.
    pub why: String,
    /// Since when, in milliseconds since 1970 UTC.
    pub since_unix_ms: u64,
}

impl From<WaitingOrder> for WaitingView {
    fn from(order: WaitingOrder) -> Self {
        Self {
            order: order.id,
            what: order.note.what,
            by: order.note.by,
            why: order.note.why,
            since_unix_ms: order.since_unix_ms,
        }
    }
}

/// Where a rollout stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RolloutView {
    /// The number of the deployment, if there is a registry and it has come so far.
    pub number: Option<u64>,
    /// Who deployed.
    pub by: String,
    /// Why.
    pub why: String,
    /// When it began, in milliseconds since 1970 UTC.
    pub began_unix_ms: u64,
    /// The newest record: `prepared`, `warmed`, `switching`, `soaking`, `permanent`, `rolling-back`, `rolled-back` or
    /// `failed`.
    pub state: Option<String>,
    /// Whether its clocks stand still.
    pub paused: bool,
    /// What holds it up that no command ends, and whoever waits for the turn with it. Since 1.7.
    #[serde(default)]
    pub held: Option<String>,
    /// Each step of its plan.
    pub steps: Vec<StepView>,
    /// How it ended, if it has.
    pub end: Option<EndView>,
    /// What has happened, oldest first; the last 256.
    pub log: Vec<NoteView>,
}

/// Where one step of a rollout stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepView {
    /// What it changes.
    pub parts: Vec<String>,
    /// `waiting`, `warm`, `trial`, `switching`, `switched`, `switching-back` or `switched-back`.
    pub state: String,
    /// The new revision's share of the traffic in ten thousandths, while it is split.
    pub weight: Option<u16>,
    /// What each revision did while it is split, or copied, as it was when the last interval ended. Since 1.7.
    #[serde(default)]
    pub arms: Option<ArmsView>,
}

/// The two revisions of a step. Since 1.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ArmsView {
    /// The one that was there before.
    pub stable: ArmView,
    /// The new one.
    pub candidate: ArmView,
}

/// What one revision did since the traffic is split. Since 1.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ArmView {
    /// Calls and casts that went to it.
    pub requests: u64,
    /// Those that have ended, well or not.
    pub ended: u64,
    /// Those that ended in an error that is its own.
    pub errors: u64,
    /// Its incarnations started after the first.
    pub restarts: u64,
    /// Its incarnations that ended by a trap or an exceeded limit.
    pub traps: u64,
    /// Casts to it that became dead letters.
    pub dead_letters: u64,
}

impl From<ArmCounts> for ArmView {
    fn from(counts: ArmCounts) -> Self {
        Self {
            requests: counts.requests,
            ended: counts.ended,
            errors: counts.errors,
            restarts: counts.restarts,
            traps: counts.traps,
            dead_letters: counts.dead_letters,
        }
    }
}

/// How a rollout ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EndView {
    /// `permanent`, `rolled-back` or `failed`.
    pub outcome: String,
    /// What made it so, unless it is permanent.
    pub reason: Option<String>,
    /// What could not be switched back, and why not.
    pub stuck: Vec<String>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NoteView {
    /// When, in milliseconds since 1970 UTC.
    pub at_unix_ms: u64,
    /// What.
    pub what: String,
}

/// The name that an enum has in JSON.
fn word(value: &impl Serialize) -> String {
    let json = serde_json::to_value(value).unwrap_or_default();
    json.as_str().unwrap_or_default().to_owned()
}

impl From<RolloutStatus> for RolloutView {
    fn from(status: RolloutStatus) -> Self {
        let steps = status.steps.iter().map(|step| StepView {
            parts: step.parts.clone(),
            state: word(&step.state),
            weight: step.weight,
            arms: step.arms.map(|arms| ArmsView {
                stable: arms.stable.into(),
                candidate: arms.candidate.into(),
            }),
        });
        let log = status.log.iter().map(|note| NoteView {
            at_unix_ms: note.at_unix_ms,
            what: note.what.clone(),
        });
        Self {
            number: status.number,
            state: status.state.map(|state| state.name().to_owned()),
            paused: status.paused,
            held: status.held,
            steps: steps.collect(),
            end: status.end.as_ref().map(EndView::of),
            log: log.collect(),
            by: status.by,
            why: status.why,
            began_unix_ms: status.began_unix_ms,
        }
    }
}

impl EndView {
    fn of(outcome: &RolloutOutcome) -> Self {
        let (outcome, reason, stuck) = match outcome {
            RolloutOutcome::Permanent => ("permanent", None, Vec::new()),
            RolloutOutcome::RolledBack { reason } => ("rolled-back", Some(reason), Vec::new()),
            RolloutOutcome::Failed { reason, stuck } => ("failed", Some(reason), stuck.clone()),
            // A later one has no word here yet.
            _ => ("unknown", None, Vec::new()),
        };
        Self {
            outcome: outcome.to_owned(),
            reason: reason.cloned(),
            stuck,
        }
    }
}

/// What runs, and the newest rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CurrentDeployment {
    /// The number of the deployment that runs, if there is a registry.
    pub number: Option<u64>,
    /// Whether deployments are recorded in a registry.
    pub registry: bool,
    /// The rollout that was begun last since the host began.
    pub rollout: Option<RolloutView>,
    /// The order that has its turn, and whose deployment has not begun: it can still be cancelled. Since 1.7.
    #[serde(default)]
    pub preparing: Option<WaitingView>,
    /// The orders that wait for their turn, the next one first. Since 1.5.
    #[serde(default)]
    pub waiting: Vec<WaitingView>,
}

/// Which deployments are listed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// Most deployments, the newest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// The deployments of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeploymentList {
    /// The application.
    pub application: String,
    /// Whether they are recorded; without a registry these are the rollouts that the host remembers.
    pub registry: bool,
    /// What the application boots.
    pub permanent: Option<u64>,
    /// The one that has not ended.
    pub trial: Option<u64>,
    /// What was permanent before.
    pub rollback_target: Option<u64>,
    /// Newest first.
    pub deployments: Vec<DeploymentView>,
}

/// One deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeploymentView {
    /// Its number; `null` without a registry.
    pub number: Option<u64>,
    /// Who deployed.
    pub by: String,
    /// Why.
    pub why: String,
    /// When, in milliseconds since 1970 UTC.
    pub at_unix_ms: u64,
    /// How far it is.
    pub state: String,
    /// The number of each component's revision, by address.
    pub components: BTreeMap<String, u64>,
    /// The versions that those revisions have for people, where they say one. Since 1.3.
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
    /// What has happened, oldest first.
    pub journal: Vec<JournalView>,
}

/// One record of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JournalView {
    /// When, in milliseconds since 1970 UTC.
    pub at_unix_ms: u64,
    /// The component it is about, if it is about one.
    pub component: Option<String>,
    /// The state that began, if one did.
    pub state: Option<String>,
    /// What a reader should know.
    pub note: String,
}

impl From<Deployment> for DeploymentView {
    fn from(deployment: Deployment) -> Self {
        let components = deployment.components.iter();
        let journal = deployment.journal.into_iter().map(|record| {
            let (state, note) = match record.entry {
                JournalEntry::Transition { to, note } => (Some(to.name().to_owned()), note),
                JournalEntry::Step { name, value } => (None, format!("{name}: {value}")),
            };
            JournalView {
                at_unix_ms: record.at_unix_ms,
                component: record.component.map(|component| component.to_string()),
                state,
                note,
            }
        });
        Self {
            number: Some(deployment.number),
            components: components
                .map(|(address, deployed)| (address.to_string(), deployed.revision))
                .collect(),
            versions: BTreeMap::new(),
            journal: journal.collect(),
            by: deployment.by,
            why: deployment.why,
            at_unix_ms: deployment.at_unix_ms,
            state: deployment.state.name().to_owned(),
        }
    }
}

impl From<RolloutStatus> for DeploymentView {
    fn from(status: RolloutStatus) -> Self {
        let journal = status.log.iter().map(|note| JournalView {
            at_unix_ms: note.at_unix_ms,
            component: None,
            state: None,
            note: note.what.clone(),
        });
        Self {
            number: status.number,
            state: status
                .state
                .map_or_else(String::new, |state| state.name().to_owned()),
            components: BTreeMap::new(),
            versions: BTreeMap::new(),
            journal: journal.collect(),
            by: status.by,
            why: status.why,
            at_unix_ms: status.began_unix_ms,
        }
    }
}
