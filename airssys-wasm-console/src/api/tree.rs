//! The supervisors of a host and their children.

use airssys_wasm_actors::{
    ChildInfo, ChildState, RestartPolicy, ShutdownPolicy, Started, Supervisor,
};
use serde::{Deserialize, Serialize};

use super::status::{ActorView, AutoscaleView, Phase};

/// Every supervisor at the top that has not ended, in the order they were made, with what is below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tree {
    /// The application.
    pub application: String,
    /// Where the host is with it.
    pub phase: Phase,
    /// The supervisors.
    pub supervisors: Vec<SupervisorNode>,
}

/// One supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SupervisorNode {
    /// Its address.
    pub address: String,
    /// Which children are restarted together: `one-for-one`, `one-for-all`, `rest-for-one` or `simple-one-for-one`.
    pub strategy: String,
    /// Restarts it allows within the period…
    pub restarts_max: u32,
    /// … of this length.
    pub within_ms: u64,
    /// Number of its newest incarnation, from 1.
    pub incarnation: u64,
    /// How often it was started again.
    pub restarts: u32,
    /// Its children, in start order.
    pub children: Vec<ChildNode>,
}

/// One child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChildNode {
    /// `component`, `native` or `supervisor`.
    pub kind: String,
    /// Where it is: `running`, `starting`, `restarting` or `stopped`.
    pub state: String,
    /// Which exits are followed by a restart: `permanent`, `transient` or `temporary`.
    pub restart: String,
    /// How it is asked to end: `brutal`, `infinity`, or `timeout`.
    pub shutdown: String,
    /// With `timeout`: how long it has.
    pub shutdown_ms: Option<u64>,
    /// Whether its end by itself may end its supervisor.
    pub significant: bool,
    /// What it is doing, if it is an actor.
    pub actor: Option<ActorView>,
    /// How it stands, if the number of its replicas follows what they have to do; the same at each of them. Since 1.4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscale: Option<AutoscaleView>,
    /// What is below it, if it is a supervisor.
    pub supervisor: Option<SupervisorNode>,
}

impl From<&Supervisor> for SupervisorNode {
    fn from(supervisor: &Supervisor) -> Self {
        let intensity = supervisor.intensity();
        Self {
            address: supervisor.address().to_string(),
            strategy: supervisor.strategy().as_str().to_owned(),
            restarts_max: intensity.max,
            within_ms: millis(intensity.within),
            incarnation: supervisor.incarnation(),
            restarts: supervisor.restarts(),
            children: supervisor
                .which_children()
                .iter()
                .map(ChildNode::from)
                .collect(),
        }
    }
}

impl From<&ChildInfo> for ChildNode {
    fn from(child: &ChildInfo) -> Self {
        let (actor, supervisor) = match &child.child {
            Started::Actor(actor) => (Some(ActorView::from(actor)), None),
            Started::Supervisor(supervisor) => (None, Some(SupervisorNode::from(supervisor))),
        };
        let team = match &child.child {
            Started::Actor(one) => one.team(),
            Started::Supervisor(_) => None,
        };
        let autoscale = match (&team, &actor) {
            (Some(team), _) => team.status().autoscale.map(AutoscaleView::from),
            (None, Some(actor)) => actor.autoscale.clone(),
            (None, None) => None,
        };
        let kind = match (&supervisor, child.is_component) {
            (Some(_), _) => "supervisor",
            (None, true) => "component",
            (None, false) => "native",
        };
        let state = match child.state {
            ChildState::Running => "running",
            ChildState::Starting => "starting",
            ChildState::Restarting => "restarting",
            _ => "stopped",
        };
        let restart = match child.restart {
            RestartPolicy::Permanent => "permanent",
            RestartPolicy::Transient => "transient",
            RestartPolicy::Temporary => "temporary",
        };
        let (shutdown, shutdown_ms) = match child.shutdown {
            ShutdownPolicy::Timeout(time) => ("timeout", Some(millis(time))),
            ShutdownPolicy::Brutal => ("brutal", None),
            ShutdownPolicy::Infinity => ("infinity", None),
        };
        Self {
            kind: kind.to_owned(),
            state: state.to_owned(),
            restart: restart.to_owned(),
            shutdown: shutdown.to_owned(),
            shutdown_ms,
            significant: child.significant,
            actor,
            autoscale,
            supervisor,
        }
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
