//! What an application is doing: its phase, its sums, and its actors one by one.

use airssys_wasm_actors::{ActorRef, AutoscaleStatus, Counters};
use serde::{Deserialize, Serialize};

use super::CurrentDeployment;

/// Where a host is with its application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Phase {
    /// Components are being loaded; there are no actors yet.
    Loading,
    /// Actors are being started.
    Starting,
    /// All have started.
    Running,
    /// Every source has ended and every mailbox was empty; it stays up because it was told to.
    Finished,
    /// It is being stopped.
    Stopping,
}

impl Phase {
    /// The name in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Stopping => "stopping",
        }
    }
}

/// Which actors are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusQuery {
    /// Those that this pattern of addresses stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Those whose address comes after this one: the last of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Most actors in the answer: 1,000 if not said, 10,000 at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// An application and its actors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// Its name.
    pub application: String,
    /// Where the host is with it.
    pub phase: Phase,
    /// The host's process.
    pub pid: u32,
    /// The version of the host.
    pub airssys: String,
    /// When the host began, in milliseconds since 1970 UTC.
    pub started_unix_ms: u64,
    /// How long ago that was.
    pub uptime_ms: u64,
    /// Counted of all actors, those that are gone included.
    pub counters: CounterView,
    /// Dead letters kept.
    pub dead_letters_kept: usize,
    /// The bytes of their arguments.
    pub dead_letters_bytes: usize,
    /// Registered actors, wanted or not.
    pub actors_total: usize,
    /// Those wanted, by address.
    pub actors: Vec<ActorView>,
    /// Whether there are more than the limit.
    pub more: bool,
    /// What is deployed, without the log; `null` where nothing can be deployed yet.
    #[serde(default)]
    pub deployment: Option<CurrentDeployment>,
}

/// One actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ActorView {
    /// Its address.
    pub address: String,
    /// `starting`, `running` or `down`.
    pub state: String,
    /// Number of this registration of the address.
    pub generation: u64,
    /// Number of its newest incarnation, from 1.
    pub incarnation: u64,
    /// Messages accepted and not finished, the one in hand included.
    pub queued: u32,
    /// Their bytes, rounded up.
    pub queued_bytes: u64,
    /// Linear memory its instance holds, in bytes, as its limit counts it; of replicas, all together. 0 without an
    /// instance, and of a native actor. Since 1.3.
    #[serde(default)]
    pub memory_bytes: u64,
    /// Elements of its tables, in the same way. Since 1.3.
    #[serde(default)]
    pub table_elements: u64,
    /// How it stands, if the number of its replicas follows what they have to do. Since 1.4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscale: Option<AutoscaleView>,
    /// What was counted of it.
    pub counters: CounterView,
}

impl From<&ActorRef> for ActorView {
    fn from(actor: &ActorRef) -> Self {
        let status = actor.status();
        Self {
            address: status.address,
            state: status.state.as_str().to_owned(),
            generation: status.generation,
            incarnation: status.incarnation,
            queued: status.queued,
            queued_bytes: status.queued_bytes,
            memory_bytes: status.memory_bytes,
            table_elements: status.table_elements,
            autoscale: status.autoscale.map(AutoscaleView::from),
            counters: actor.counters().into(),
        }
    }
}

/// An actor whose number of replicas follows what they have to do. Since 1.4.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AutoscaleView {
    /// How many there are.
    pub replicas: u32,
    /// The fewest.
    pub min: u32,
    /// The most.
    pub max: u32,
    /// A deployment has it in hand: the number stays what it is.
    pub paused: bool,
    /// What was done last, or could not be, and for which load: `from 1 to 2: queue 450, busy 93 %`.
    pub last: Option<String>,
}

impl From<AutoscaleStatus> for AutoscaleView {
    fn from(status: AutoscaleStatus) -> Self {
        Self {
            replicas: status.replicas,
            min: status.min,
            max: status.max,
            paused: status.paused,
            last: status.last,
        }
    }
}

/// Counts. When nothing is under way, `calls` is `replies` and `call_errors` and `calls_abandoned`, and `casts` is
/// `casts_handled` and `dead_letters`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CounterView {
    /// Calls made, refused ones included.
    pub calls: u64,
    /// Calls that ended in a reply.
    pub replies: u64,
    /// Calls that ended in a typed error.
    pub call_errors: u64,
    /// Those of them that are their caller's own doing: too large, in a circle, too deep, or late before they were made. Since 1.7.
    pub caller_errors: u64,
    /// Calls whose caller stopped waiting because it ended itself.
    pub calls_abandoned: u64,
    /// Casts accepted.
    pub casts: u64,
    /// Casts handled without error.
    pub casts_handled: u64,
    /// Casts that became dead letters.
    pub dead_letters: u64,
    /// Incarnations started after the first.
    pub restarts: u64,
    /// Incarnations whose instance trapped or exceeded a limit. Since 1.3.
    pub traps: u64,
}

impl From<Counters> for CounterView {
    fn from(counters: Counters) -> Self {
        Self {
            calls: counters.calls,
            replies: counters.replies,
            call_errors: counters.call_errors,
            caller_errors: counters.caller_errors,
            calls_abandoned: counters.calls_abandoned,
            casts: counters.casts,
            casts_handled: counters.casts_handled,
            dead_letters: counters.dead_letters,
            restarts: counters.restarts,
            traps: counters.traps,
        }
    }
}
