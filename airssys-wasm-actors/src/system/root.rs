//! The root actor: who supervises the supervisors.
//!
//! Owns the list of supervisors' actors. A supervisor that ended by itself is forgotten; one that
//! was killed is made again from its record, within an intensity of the root's own, and until it
//! is, its children go on with their mailboxes.

use std::collections::HashMap;
use std::sync::Arc;

use ractor::SupervisionEvent;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::exit::ExitReason;
use crate::supervisor::{
    Record, RestartIntensity, RestartPolicy, RestartWindow, StartError, SupervisorActor, Verdict,
    decide,
};

/// Everything the root is told.
pub(crate) enum RootMessage {
    /// Make the actor of a new supervisor.
    Supervise {
        record: Arc<Record>,
        reply: oneshot::Sender<Result<(), StartError>>,
    },
}

pub(crate) struct Root;

pub(crate) struct State {
    supervisors: HashMap<ractor::ActorId, Arc<Record>>,
    window: RestartWindow,
    intensity: RestartIntensity,
}

impl ractor::Actor for Root {
    type Msg = RootMessage;
    type State = State;
    type Arguments = RestartIntensity;

    async fn pre_start(
        &self,
        _myself: ractor::ActorRef<Self::Msg>,
        intensity: Self::Arguments,
    ) -> Result<Self::State, ractor::ActorProcessingErr> {
        Ok(State {
            supervisors: HashMap::new(),
            window: RestartWindow::default(),
            intensity,
        })
    }

    async fn handle(
        &self,
        myself: ractor::ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ractor::ActorProcessingErr> {
        match message {
            RootMessage::Supervise { record, reply } => {
                let address = &record.spec.address;
                let taken = state
                    .supervisors
                    .values()
                    .any(|other| other.spec.address == *address);
                let made = if taken {
                    Err(StartError::AddressTaken(address.clone()))
                } else {
                    state.make(&myself, &record).await
                };
                // The asker may have left; the supervisor without children is stopped with the
                // system.
                let _ = reply.send(made);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ractor::ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ractor::ActorProcessingErr> {
        let (id, reason) = match event {
            SupervisionEvent::ActorTerminated(cell, ..) => (cell.get_id(), ExitReason::Killed),
            SupervisionEvent::ActorFailed(cell, error) => (
                cell.get_id(),
                ExitReason::Panicked(error.to_string().into()),
            ),
            _ => return Ok(()),
        };
        let Some(record) = state.supervisors.remove(&id) else {
            return Ok(());
        };
        if record.has_ended() {
            return Ok(());
        }
        tracing::warn!(supervisor = %record.spec.address, %reason, "a supervisor is made again");
        let (policy, now) = (RestartPolicy::Permanent, Instant::now());
        let made = match decide(policy, &reason, &mut state.window, state.intensity, now) {
            Verdict::Restart => state.make(&myself, &record).await.is_ok(),
            Verdict::Remove | Verdict::GiveUp => false,
        };
        if !made {
            record.abandon(&ExitReason::CrashLoop);
        }
        Ok(())
    }
}

impl State {
    /// Makes the actor of a supervisor. Its `pre_start` does not wait, so this does not either.
    async fn make(
        &mut self,
        myself: &ractor::ActorRef<RootMessage>,
        record: &Arc<Record>,
    ) -> Result<(), StartError> {
        let arguments = Arc::clone(record);
        let spawned = <SupervisorActor as ractor::Actor>::spawn_linked(
            None,
            SupervisorActor,
            arguments,
            myself.get_cell(),
        );
        let (actor, _join) = spawned
            .await
            .map_err(|_| StartError::SupervisorEnded(record.spec.address.clone()))?;
        self.supervisors.insert(actor.get_id(), Arc::clone(record));
        Ok(())
    }
}
