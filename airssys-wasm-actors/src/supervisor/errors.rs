//! Why children were not started, stopped or changed.

use std::sync::Arc;

use airssys_wasm::WitError;

use super::spec::SpecError;
use crate::address::{ActorAddress, AddressError};
use crate::exit::ExitReason;
use crate::link::LinkRefused;
use crate::system::OWN_SUPERVISOR;

/// Why children were not started.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The name is taken, or two of the children have it.
    #[error("the address `{0}` is taken; give the actor another name, or stop the one that has it")]
    AddressTaken(ActorAddress),
    /// A child of that name runs.
    #[error("`{0}` is already started")]
    AlreadyStarted(ActorAddress),
    /// A child of that name is stopped, and its spec is kept: it can be restarted, or forgotten.
    #[error("`{0}` is already present, and stopped; restart it, or delete it first")]
    AlreadyPresent(ActorAddress),
    /// The spec makes no sense. Nothing was started.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The WIT that says what a native actor exports is not valid. Nothing was started.
    #[error("the surface of actor `{address}` is not valid WIT: {why}")]
    Surface {
        /// The actor.
        address: ActorAddress,
        /// What is wrong.
        why: Arc<WitError>,
    },
    /// There cannot be so many replicas. Nothing was started.
    #[error("`{address}` cannot have {replicas} replicas; use 1 to {max}")]
    Replicas {
        /// The actor.
        address: ActorAddress,
        /// What was asked.
        replicas: u32,
        /// [`REPLICAS_MAX`](crate::REPLICAS_MAX).
        max: u32,
    },
    /// The address of a replica would not be one. Nothing was started.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A link cannot be made. Nothing was started.
    #[error(transparent)]
    Link(#[from] LinkRefused),
    /// An actor is to be passivated, and nobody knows how. Nothing was started.
    #[error(
        "actor `{0}` is to give up its instance when idle, but its component does not export \
         `airssys:actor/state`; let it, or declare it stateless"
    )]
    Passivation(ActorAddress),
    /// An actor with replicas is to be passivated: which of them is idle cannot be told by their common queue.
    #[error(
        "actor `{0}` has replicas, which do not give up their instances; use one, or leave out its passivation"
    )]
    PassiveReplicas(ActorAddress),
    /// An actor of the messaging plane is to be passivated: its subscriptions, timers, children and the calls it owes answers to
    /// would end with its instance.
    #[error(
        "actor `{0}` takes part in the messaging plane, or spawns, and keeps its instance; leave out its passivation"
    )]
    PassiveMessages(ActorAddress),
    /// A child did not start; those started before it have been stopped again, in reverse.
    #[error("actor `{address}` did not start: {reason}")]
    Child {
        /// The child; of a supervisor the child of it that did not start.
        address: ActorAddress,
        /// Why not.
        reason: ExitReason,
    },
    /// The only child that was asked for has declined to start.
    #[error("`{0}` declined to start")]
    Declined(ActorAddress),
    /// The supervisor has ended, or was killed before it answered.
    #[error("{}", has_ended(.0))]
    SupervisorEnded(ActorAddress),
}

/// That a supervisor has ended, and what to do then.
fn has_ended(supervisor: &ActorAddress) -> String {
    let remedy = match supervisor.as_str() {
        OWN_SUPERVISOR => "its system starts nothing any more: start another one",
        _ => "have it started by the supervisor that it is under, or start its application anew",
    };
    format!("the supervisor `{supervisor}` has ended; {remedy}")
}

impl StartError {
    pub(crate) fn child(address: ActorAddress, reason: ExitReason) -> Self {
        match reason {
            ExitReason::ChildNotStarted(child) => Self::Child {
                address: child.from.clone(),
                reason: child.reason.clone(),
            },
            reason => Self::Child { address, reason },
        }
    }
}

/// Why a child was not stopped, restarted or forgotten.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// It is not a child of this supervisor.
    #[error("`{supervisor}` has no child `{child}`")]
    NotFound {
        /// The supervisor asked.
        supervisor: ActorAddress,
        /// The child asked for.
        child: ActorAddress,
    },
    /// A restart was asked of a child that is never started again.
    #[error("`{0}` is temporary: it is not started again once it has ended")]
    Temporary(ActorAddress),
    /// It runs; only what is stopped can be forgotten, or started.
    #[error("`{0}` runs; stop it first")]
    Running(ActorAddress),
    /// It waits for its next try to start.
    #[error("`{0}` is being restarted; stop it first")]
    Restarting(ActorAddress),
    /// It was to start again, and did not. It stays stopped.
    #[error("`{address}` did not start: {reason}")]
    NotStarted {
        /// The child.
        address: ActorAddress,
        /// Why not.
        reason: ExitReason,
    },
    /// Its supervisor is simple-one-for-one, which keeps no specs.
    #[error("`{0}` is simple-one-for-one: a child of it that has ended is forgotten")]
    Simple(ActorAddress),
    /// The supervisor has ended.
    #[error("{}", has_ended(.0))]
    SupervisorEnded(ActorAddress),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_a_supervisor_has_ended_is_said_with_what_to_do() {
        let said = |name: &str| {
            let address: ActorAddress = name.parse().unwrap();
            let start = StartError::SupervisorEnded(address.clone()).to_string();
            assert_eq!(start, StopError::SupervisorEnded(address).to_string());
            start
        };
        let system = said(OWN_SUPERVISOR);
        assert!(
            system.ends_with("has ended; its system starts nothing any more: start another one")
        );
        let other = said("app/below");
        assert!(
            other.contains("`app/below` has ended; have it started"),
            "{other}"
        );
        let crashed = ExitReason::CrashLoop.to_string();
        assert!(
            crashed.starts_with("crash-loop: ") && crashed.contains("allow more"),
            "{crashed}"
        );
    }
}
