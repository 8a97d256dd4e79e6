//! An upgrade that has been done: kept to be taken back, or let go.
//!
//! Owns [`Upgraded`] and the way back of each actor of it.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::kept::Kept;
use super::replacement::{Fresh, NotReplaced, StateTaken};
use super::slots::Place;
use super::{UpgradeOptions, UpgradeState};
use crate::address::ActorAddress;
use crate::deadline::after;
use crate::passivation::ComponentBehaviour;
use crate::scaling::Alteration;
use crate::supervisor::{PreparedActor, Record, predecessor};

/// One actor that has been upgraded.
pub(super) struct Switched {
    pub(super) record: Arc<Record>,
    pub(super) before: Arc<PreparedActor>,
    pub(super) now: Arc<PreparedActor>,
    /// The instance goes on, and was told of its configuration.
    pub(super) by_hook: bool,
    pub(super) aside: Option<Kept>,
    pub(super) state: StateTaken,
}

/// An upgrade that has been done, and can be taken back for as long as this is kept: the instances of the old revision
/// are there, doing nothing. Dropped, they are dropped without their shutdown hook.
pub struct Upgraded {
    pub(super) address: ActorAddress,
    pub(super) options: UpgradeOptions,
    pub(super) switched: Vec<Switched>,
    /// Until it is let go of, there are as many replicas as it knows of.
    pub(super) _alteration: Alteration,
}

impl std::fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upgraded")
            .field("address", &self.address)
            .field("states", &self.states())
            .finish_non_exhaustive()
    }
}

/// Some replicas could not be switched back, and run the new revision.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{address}` is not switched back: {why}")]
#[non_exhaustive]
pub struct NotSwitchedBack {
    /// The first that could not be.
    pub address: ActorAddress,
    /// Why not.
    pub why: NotReplaced,
    /// All that could not be.
    pub left: Vec<ActorAddress>,
}

impl Upgraded {
    /// The actor.
    #[must_use]
    pub fn address(&self) -> &ActorAddress {
        &self.address
    }

    /// What became of the state of each replica.
    #[must_use]
    pub fn states(&self) -> Vec<StateTaken> {
        self.switched.iter().map(|one| one.state).collect()
    }

    /// Switches every replica back to the revision before, with the instances that were kept where they are. State that
    /// was handed over is handed back where the old revision understands it; otherwise its instance goes on with the state
    /// it had, which one that is down begins its next incarnation with. How the actor is supervised is as before, but for what has been changed since ([`System::retune`]). Returns
    /// what became of the state of each.
    ///
    /// [`System::retune`]: crate::System::retune
    ///
    /// # Errors
    /// [`NotSwitchedBack`]: the others have been.
    pub async fn roll_back(self) -> Result<Vec<StateTaken>, NotSwitchedBack> {
        let until = after(Instant::now(), self.options.wait_max);
        let bytes_max = match self.options.state {
            UpgradeState::HandOver { bytes_max } => bytes_max,
            UpgradeState::Discard => 0,
        };
        let each = self
            .switched
            .into_iter()
            .rev()
            .map(|switched| switch_back(switched, bytes_max, until));
        let mut states = Vec::new();
        let mut failed: Option<NotSwitchedBack> = None;
        for back in join_all(each).await {
            match back {
                Ok(state) => states.push(state),
                Err((address, why)) => {
                    let failed = failed.get_or_insert_with(|| NotSwitchedBack {
                        address: address.clone(),
                        why,
                        left: Vec::new(),
                    });
                    failed.left.push(address);
                }
            }
        }
        states.reverse();
        failed.map_or(Ok(states), Err)
    }

    /// Lets the old revision go: each of its instances runs its shutdown hook, with the reason `upgrade`.
    pub async fn release(self) {
        for switched in self.switched {
            let aside = switched.aside.and_then(|kept| kept.take());
            if let Some(ComponentBehaviour::Live(live)) = aside {
                live.retire().await;
            }
        }
    }
}

async fn switch_back(
    switched: Switched,
    bytes_max: u64,
    until: Instant,
) -> Result<StateTaken, (ActorAddress, NotReplaced)> {
    let Switched {
        record,
        before,
        now,
        by_hook,
        aside,
        state,
    } = switched;
    let address = before.slot.address().clone();
    let hands_back = matches!(state, StateTaken::HandedOver { .. });
    let mut again = predecessor(&now, &before);
    let messages = again.hooks.messages();
    // What takes part in the messaging plane holds nothing of it any more, unless it is handed back: it begins again.
    let aside = aside.filter(|_| hands_back || !messages);
    // If it is down, there is nobody who could hand anything back.
    again.kept = aside.clone().filter(|_| !messages);
    let again = Arc::new(again);
    let place = Place {
        record: &record,
        successor: &again,
        until,
        regardless: true,
    };
    if by_hook {
        let told_back = tell_back(&place, &now, bytes_max).await;
        return told_back.map_err(|why| (address, why));
    }
    let made = || match &aside {
        Some(kept) if kept.is_there() => Fresh::HandBack {
            kept: kept.clone(),
            bytes_max: hands_back.then_some(bytes_max),
        },
        _ if hands_back && now.hooks.snapshots() && again.hooks.restores() => {
            Fresh::HandOver { bytes_max }
        }
        _ => Fresh::Make,
    };
    match place.replace(made(), made).await {
        Ok(replaced) => Ok(replaced.state),
        Err(why) => Err((address, why)),
    }
}

/// Tells the instance that it has its old configuration again. One that does not take it knows only the new one any more:
/// another one takes its place, with its state if it can be had.
async fn tell_back(
    place: &Place<'_>,
    now: &PreparedActor,
    bytes_max: u64,
) -> Result<StateTaken, NotReplaced> {
    let mut told = place.replace(Fresh::Tell, || Fresh::Tell).await;
    if matches!(told, Err(NotReplaced::ConfigRefused(_)))
        && now.hooks.snapshots()
        && place.successor.hooks.restores()
    {
        let with_state = || Fresh::HandOver { bytes_max };
        told = place.replace(with_state(), with_state).await;
    }
    if !matches!(
        told,
        Ok(_) | Err(NotReplaced::Gone | NotReplaced::Superseded)
    ) {
        told = place.replace(Fresh::Make, || Fresh::Make).await;
    }
    // Its message in hand takes longer than anybody waits, and what it goes on with the others do not have: it is ended,
    // and the next incarnation begins with the old one.
    if matches!(told, Err(NotReplaced::Busy)) {
        place.record.respec(place.successor)?;
        place.successor.slot.kill_own();
        return Ok(StateTaken::None);
    }
    told.map(|replaced| replaced.state)
}
