//! What travels between a client and a host: paths, header, and the types of every request and answer.
//!
//! Owns the words of version 1. Client and server share these types, so neither can mean something else by a
//! field. A request with a field that the host does not know is refused: a condition that is silently ignored
//! could throw away too much. An answer may have fields that a client does not know, so that a later host can
//! say more. Times are milliseconds, and say so in their names.

mod actors;
mod configuration;
mod crashes;
mod dead_letters;
mod deployments;
mod registry;
mod status;
mod tree;

use serde::{Deserialize, Serialize};

pub use actors::{ActorRequest, KillAnswer, RestartAnswer, StopAnswer};
pub use configuration::{ConfigKeyView, ConfigList, ConfigQuery, ConfigRequest, ConfigView};
pub use crashes::{
    CrashDetail, CrashList, CrashQuery, CrashView, FrameView, MessageView, SpentView,
};
pub use dead_letters::{
    DeadLetterDetail, DeadLetterList, DeadLetterQuery, DeadLetterView, PurgeAnswer, PurgeRequest,
    RefusedLetter, ReplayAnswer, ReplayRequest, Selection,
};
pub use deployments::{
    ArmView, ArmsView, CancelRequest, CurrentDeployment, DeployAnswer, DeployPhase, DeployRequest,
    DeploymentList, DeploymentView, EndView, HistoryQuery, JournalView, NoteView, RollbackRequest,
    RolloutView, RolloutWords, ScaleRequest, StepView, WaitingView,
};
pub(crate) use registry::STATES;
pub use registry::{
    DependencyView, GcAnswer, InterfaceView, RevisionDetail, RevisionList, RevisionQuery,
    RevisionView,
};
pub use status::{ActorView, AutoscaleView, CounterView, Phase, Status, StatusQuery};
pub use tree::{ChildNode, SupervisorNode, Tree};

/// The version of the API, as it stands in the paths. A change that would break a client makes another.
pub const API_MAJOR: u32 = 1;

/// Grows when something is added.
pub const API_MINOR: u32 = 7;

/// The header of every answer, with the version of the API: `1.7`.
pub const VERSION_HEADER: &str = "airssys-api";

/// The version as the header has it.
#[must_use]
pub fn api_version() -> String {
    format!("{API_MAJOR}.{API_MINOR}")
}

/// The paths of version 1.
pub mod path {
    /// `GET`: [`Version`](super::Version).
    pub const VERSION: &str = "/v1/version";
    /// `GET` with [`StatusQuery`](super::StatusQuery): [`Status`](super::Status).
    pub const STATUS: &str = "/v1/status";
    /// `GET`: [`Tree`](super::Tree).
    pub const TREE: &str = "/v1/tree";
    /// `GET` with [`DeadLetterQuery`](super::DeadLetterQuery): [`DeadLetterList`](super::DeadLetterList). With
    /// `/N` behind it: [`DeadLetterDetail`](super::DeadLetterDetail).
    pub const DEAD_LETTERS: &str = "/v1/dead-letters";
    /// `POST` [`ReplayRequest`](super::ReplayRequest): [`ReplayAnswer`](super::ReplayAnswer).
    pub const REPLAY: &str = "/v1/dead-letters/replay";
    /// `POST` [`PurgeRequest`](super::PurgeRequest): [`PurgeAnswer`](super::PurgeAnswer).
    pub const PURGE: &str = "/v1/dead-letters/purge";
    /// `GET` with [`CrashQuery`](super::CrashQuery): [`CrashList`](super::CrashList). With `/N` behind it:
    /// [`CrashDetail`](super::CrashDetail).
    pub const CRASHES: &str = "/v1/crashes";
    /// `POST` [`ActorRequest`](super::ActorRequest): [`KillAnswer`](super::KillAnswer).
    pub const KILL: &str = "/v1/actors/kill";
    /// `POST` [`ActorRequest`](super::ActorRequest): [`RestartAnswer`](super::RestartAnswer).
    pub const RESTART: &str = "/v1/actors/restart";
    /// `POST` [`ActorRequest`](super::ActorRequest): [`StopAnswer`](super::StopAnswer).
    pub const STOP: &str = "/v1/actors/stop";
    /// `GET` with [`HistoryQuery`](super::HistoryQuery): [`DeploymentList`](super::DeploymentList). `POST`
    /// [`DeployRequest`](super::DeployRequest): [`DeployAnswer`](super::DeployAnswer).
    pub const DEPLOYMENTS: &str = "/v1/deployments";
    /// `GET` with `/N` behind it: [`DeployAnswer`](super::DeployAnswer), what has become of a request.
    pub const DEPLOY_REQUESTS: &str = "/v1/deployments/requests";
    /// `GET`: [`CurrentDeployment`](super::CurrentDeployment).
    pub const CURRENT: &str = "/v1/deployments/current";
    /// `POST`: [`CurrentDeployment`](super::CurrentDeployment).
    pub const PROMOTE: &str = "/v1/deployments/current/promote";
    /// `POST`: [`CurrentDeployment`](super::CurrentDeployment).
    pub const PAUSE: &str = "/v1/deployments/current/pause";
    /// `POST`: [`CurrentDeployment`](super::CurrentDeployment).
    pub const RESUME: &str = "/v1/deployments/current/resume";
    /// `POST` [`RollbackRequest`](super::RollbackRequest): [`DeployAnswer`](super::DeployAnswer).
    pub const ROLLBACK: &str = "/v1/deployments/current/rollback";
    /// `POST` [`CancelRequest`](super::CancelRequest): [`WaitingView`](super::WaitingView).
    pub const CANCEL: &str = "/v1/deployments/waiting/cancel";
    /// `POST` [`ScaleRequest`](super::ScaleRequest): [`DeployAnswer`](super::DeployAnswer).
    pub const SCALE: &str = "/v1/deployments/scale";
    /// `GET` with [`ConfigQuery`](super::ConfigQuery): [`ConfigList`](super::ConfigList). `POST`
    /// [`ConfigRequest`](super::ConfigRequest): [`DeployAnswer`](super::DeployAnswer).
    pub const CONFIG: &str = "/v1/config";
    /// `GET` with [`RevisionQuery`](super::RevisionQuery): [`RevisionList`](super::RevisionList). With
    /// `/COMPONENT/REVISION` behind it: [`RevisionDetail`](super::RevisionDetail).
    pub const REGISTRY: &str = "/v1/registry";
    /// `POST`: [`GcAnswer`](super::GcAnswer).
    pub const GC: &str = "/v1/registry/gc";
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Version {
    /// The version of the API, as in the header.
    pub api: String,
    /// The version of the host.
    pub airssys: String,
    /// The application it runs.
    pub application: String,
    /// Its process.
    pub pid: u32,
}

impl Version {
    pub(crate) fn of(application: &str) -> Self {
        Self {
            api: api_version(),
            airssys: env!("CARGO_PKG_VERSION").to_owned(),
            application: application.to_owned(),
            pid: std::process::id(),
        }
    }
}

/// The body of every answer whose status is not 200.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorReport,
}

/// What went wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// A stable kebab-case name.
    pub kind: String,
    /// For people.
    pub message: String,
    /// What to do about it, where something can be done.
    pub hint: Option<String>,
    /// Everything that is wrong, where it is more than that: the faults of a manifest, what stands in the way of a plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<FindingView>,
}

/// One of several things that are wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingView {
    /// A stable kebab-case name.
    pub kind: String,
    /// The manifest, where it is one's.
    pub file: Option<String>,
    /// The line, from 1, where it is at one place.
    pub line: Option<usize>,
    /// The character in the line, from 1.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}
