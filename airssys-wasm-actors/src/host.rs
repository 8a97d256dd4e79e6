//! The ractor actor around an incarnation.
//!
//! Owns the adapter: one ractor actor per incarnation, whose only message starts the drain loop.
//! From then on the mailbox wakes it, because a ractor dispatch per message costs more than the
//! message (see docs/design). ractor's kill remains the last resort: it drops the drain future at
//! its next await, and the exit guard in it tells the supervisor.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::drain::{Behaviour, ExitGuard, Lease, drain, park};
use crate::exit::ExitReason;
use crate::slot::Slot;

struct Host<B>(PhantomData<fn() -> B>);

/// The one message of a [`Host`].
enum HostMessage {
    /// Start to drain.
    Run,
}

struct Ready<B: Behaviour> {
    // In this order: an incarnation that never ran drops its Store before its guard.
    held: Option<B>,
    slot: Arc<Slot>,
    lease: Lease<B>,
}

impl<B: Behaviour> ractor::Actor for Host<B> {
    type Msg = HostMessage;
    type State = Option<Ready<B>>;
    type Arguments = Ready<B>;

    async fn pre_start(
        &self,
        _myself: ractor::ActorRef<Self::Msg>,
        ready: Self::Arguments,
    ) -> Result<Self::State, ractor::ActorProcessingErr> {
        Ok(Some(ready))
    }

    async fn handle(
        &self,
        myself: ractor::ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ractor::ActorProcessingErr> {
        match message {
            HostMessage::Run => {
                if let Some(Ready { held, slot, lease }) = state.take() {
                    drain(held, slot, lease).await;
                }
                myself.stop(None);
                Ok(())
            }
        }
    }
}

/// Gives `behaviour` an actor of its own. `announce` is called once the actor is there and before
/// it takes its first message.
pub(crate) async fn spawn<B: Behaviour>(
    behaviour: B,
    slot: Arc<Slot>,
    guard: ExitGuard,
    announce: impl FnOnce(&Arc<Slot>),
) -> Result<(), ExitReason> {
    let announced = Arc::clone(&slot);
    let lease = Lease::new(guard);
    // It rests before its actor has run for the first time: the first call need not wait for that.
    let held = park(behaviour, &slot);
    let ready = Ready { held, slot, lease };
    let spawned = <Host<B> as ractor::Actor>::spawn(None, Host(PhantomData), ready).await;
    let (actor, _join) = spawned.map_err(|error| ExitReason::start_failed(&error.to_string()))?;
    announce(&announced);
    actor
        .send_message(HostMessage::Run)
        .map_err(|error| ExitReason::start_failed(&error.to_string()))
}
