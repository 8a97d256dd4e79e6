//! More replicas of an actor, or fewer, while it runs.
//!
//! Owns [`System::scale`]: what is checked before, who may alter a team at a time ([`Alterations`]), and how those that are
//! one too many come to their end. New replicas take nothing before all of them are up. One that is to go takes nothing
//! more, finishes the message in hand, what was sent to it alone and the calls it owes answers to, and is stopped then;
//! what it still has not begun goes to the others. Nothing that has been accepted is lost, handled twice or failed by it.
//! Once begun it goes on whether or not anybody waits for it. How many there should be is not decided here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use crate::address::{ActorAddress, ActorId};
use crate::deadline::after;
use crate::mailbox::Control;
use crate::shared::Shared;
use crate::slot::Slot;
use crate::supervisor::{PreparedActor, REPLICAS_MAX, Record, StartError, SupervisorMessage, Team};
use crate::system::System;

/// From one look at a replica that is to go to the next.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// How long an answer is waited for before it is looked whether there is anybody to give it.
const ASK_FOR: Duration = Duration::from_millis(100);

/// How the number of replicas is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScaleOptions {
    /// How long one that is to go has for what it has in hand, for what was sent to it alone, for the calls it owes answers
    /// to, and for its resources that others hold. After that it is stopped as its spec says. Default 30 s.
    pub wait_max: Duration,
    /// What an instance holds in memory may be lost: that of one that goes, and of one that becomes several. Default: it
    /// may not.
    pub discard_state: bool,
}

impl Default for ScaleOptions {
    fn default() -> Self {
        Self {
            wait_max: Duration::from_secs(30),
            discard_state: false,
        }
    }
}

/// There is another number of replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scaled {
    /// How many there were.
    pub from: u32,
    /// How many there are.
    pub to: u32,
}

/// Why there are as many replicas as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScaleError {
    /// Nobody has the address, or a supervisor.
    #[error("there is no actor `{0}` to scale")]
    NoSuchActor(ActorAddress),
    /// It is one of several.
    #[error("`{address}` is a replica; scale `{front}`")]
    Replica {
        /// What was to be scaled.
        address: ActorAddress,
        /// The name it shares with the others.
        front: ActorAddress,
    },
    /// There cannot be so many.
    #[error("`{address}` cannot have {replicas} replicas; use 1 to {REPLICAS_MAX}")]
    Count {
        /// The actor.
        address: ActorAddress,
        /// How many were asked for.
        replicas: u32,
    },
    /// It is stopped.
    #[error("`{0}` is stopped; start it first")]
    Stopped(ActorAddress),
    /// It gives up its instance, which replicas do not.
    #[error(
        "`{0}` gives up its instance when it is idle, which replicas do not: deploy it without `passivate-after` first"
    )]
    Passivates(ActorAddress),
    /// It would lose what it holds in memory.
    #[error(
        "`{0}` exports `airssys:actor/state`, and what its instance holds would be lost: each replica has its own. Discard it \
         by choice, or start it with several `replicas`"
    )]
    Stateful(ActorAddress),
    /// What others hold of it would dangle.
    #[error(
        "`{0}` owns resources that others may hold, which end with its instance: start it with several `replicas` instead"
    )]
    Resources(ActorAddress),
    /// It is being scaled or upgraded.
    #[error("`{0}` is being scaled or upgraded; wait for that first")]
    UnderWay(ActorAddress),
    /// A new replica cannot be started; none of the new ones is kept.
    #[error("`{address}` has as many replicas as before: a new one did not start")]
    NotStarted {
        /// The actor.
        address: ActorAddress,
        /// What is wrong with it.
        #[source]
        why: Box<StartError>,
    },
    /// Its supervisor ends, or was killed while it started the new replicas: they are gone with it.
    #[error("`{0}` is not scaled: its supervisor has ended meanwhile")]
    SupervisorEnded(ActorAddress),
}

/// Which actors have their replicas altered: by one that changes their number, or by any that change what they are.
#[derive(Default)]
pub(crate) struct Alterations(Mutex<HashMap<ActorId, u32>>);

/// Whoever changes their number is alone.
const ALONE: u32 = u32::MAX;

/// Nobody alters them in the other way while this is kept.
pub(crate) struct Alteration {
    shared: Arc<Shared>,
    id: ActorId,
}

impl Alteration {
    /// To change their number.
    fn number(slot: &Slot) -> Option<Self> {
        Self::begin(slot, |others| (others == 0).then_some(ALONE))
    }

    /// To change what they are.
    pub(crate) fn revision(slot: &Slot) -> Option<Self> {
        Self::begin(slot, |others| (others < ALONE - 1).then_some(others + 1))
    }

    fn begin(slot: &Slot, next: impl Fn(u32) -> Option<u32>) -> Option<Self> {
        let mut known = slot.shared().alterations().0.lock();
        let others = known.get(&slot.id()).copied().unwrap_or(0);
        known.insert(slot.id(), next(others)?);
        Some(Self {
            shared: Arc::clone(slot.shared()),
            id: slot.id(),
        })
    }
}

impl Drop for Alteration {
    fn drop(&mut self) {
        let mut known = self.shared.alterations().0.lock();
        match known.remove(&self.id) {
            None | Some(0 | 1 | ALONE) => {}
            Some(several) => drop(known.insert(self.id, several - 1)),
        }
    }
}

impl System {
    /// How many replicas an actor has, those that are to go not counted: 1 for one that is not one of several. `None` for
    /// an address that nobody has, and for a supervisor's.
    #[must_use]
    pub fn replicas(&self, address: &ActorAddress) -> Option<u32> {
        self.whereis(address)?;
        replicas_of(self.shared(), address)
    }

    /// Has `replicas` of an actor drain its mailbox, 1 to [`REPLICAS_MAX`], while it runs. Its name, its mailbox and
    /// everybody linked to it stay. An actor that was alone becomes a team of `address/0` and so on; what its own instance
    /// held is gone, and that of every replica that goes. Returns once those are gone. It goes on when this is dropped.
    ///
    /// # Errors
    /// [`ScaleError`], with as many replicas as before.
    pub async fn scale(
        &self,
        address: &ActorAddress,
        replicas: u32,
        options: ScaleOptions,
    ) -> Result<Scaled, ScaleError> {
        let Some(actor) = self.whereis(address) else {
            return Err(ScaleError::NoSuchActor(address.clone()));
        };
        scale_slot(Arc::clone(actor.slot()), replicas, options).await
    }
}

/// As [`System::scale`], of the actor that has this slot.
pub(crate) async fn scale_slot(
    slot: Arc<Slot>,
    replicas: u32,
    options: ScaleOptions,
) -> Result<Scaled, ScaleError> {
    let address = slot.address().clone();
    // What is true before can be another when its turn has come.
    let turn = Alteration::number(&slot);
    let record = check(&slot, replicas, options)?;
    let Some(alone) = turn else {
        return Err(ScaleError::UnderWay(address));
    };
    let (done, answer) = oneshot::channel();
    let shared = Arc::clone(slot.shared());
    shared.spawn(async move {
        let scaled = scale(&slot, &record, replicas, options.wait_max).await;
        drop(alone);
        // Whoever asked may have left.
        let _ = done.send(scaled);
    });
    let scaled = answer.await;
    scaled.unwrap_or(Err(ScaleError::SupervisorEnded(address)))
}

/// How many replicas there are at an address, those that are to go not counted.
pub(crate) fn replicas_of(shared: &Shared, address: &ActorAddress) -> Option<u32> {
    let (_, team) = team_of(shared, address)?;
    Some(team.len())
}

/// The team at an address, and who supervises it.
fn team_of(shared: &Shared, address: &ActorAddress) -> Option<(Arc<Record>, Team)> {
    let teams = shared.records().into_iter().map(|record| {
        let team = Team::of(record.actors_at(address));
        (record, team)
    });
    teams.into_iter().find(|(_, team)| team.len() > 0)
}

/// Whether it can be, before anything is done; and who is to do it.
fn check(slot: &Slot, replicas: u32, options: ScaleOptions) -> Result<Arc<Record>, ScaleError> {
    let address = || slot.address().clone();
    if let Some(front) = slot.front() {
        return Err(ScaleError::Replica {
            address: address(),
            front: front.address().clone(),
        });
    }
    if replicas == 0 || replicas > REPLICAS_MAX {
        return Err(ScaleError::Count {
            address: address(),
            replicas,
        });
    }
    let Some((record, team)) = team_of(slot.shared(), slot.address()) else {
        return Err(ScaleError::NoSuchActor(address()));
    };
    if slot.exit_reason().is_some() {
        return Err(ScaleError::Stopped(address()));
    }
    let (now, Some(any)) = (team.len(), team.any()) else {
        return Err(ScaleError::NoSuchActor(address()));
    };
    if replicas == now {
        return Ok(record);
    }
    let loses = team.own.is_some() || replicas < now;
    check_team(slot, any, team.own.is_some(), loses, options)?;
    Ok(record)
}

/// Whether it can have any number between these, one after the other.
pub(crate) fn check_bounds(
    slot: &Slot,
    min: u32,
    max: u32,
    options: ScaleOptions,
) -> Result<(), ScaleError> {
    let address = || slot.address().clone();
    if let Some(front) = slot.front() {
        return Err(ScaleError::Replica {
            address: address(),
            front: front.address().clone(),
        });
    }
    let Some((_, team)) = team_of(slot.shared(), slot.address()) else {
        return Err(ScaleError::NoSuchActor(address()));
    };
    match team.any() {
        Some(any) if (min, max) != (team.len(), team.len()) => {
            check_team(slot, any, team.own.is_some(), true, options)
        }
        _ => Ok(()),
    }
}

/// Whether those who drain a queue can be more or fewer: one that is `alone` and becomes several, or ones of which one
/// goes and `loses` what it holds.
fn check_team(
    slot: &Slot,
    any: &PreparedActor,
    alone: bool,
    loses: bool,
    options: ScaleOptions,
) -> Result<(), ScaleError> {
    let address = || slot.address().clone();
    if any.spec.passivation().is_some() {
        return Err(ScaleError::Passivates(address()));
    }
    if alone && slot.surface().owns_resources() {
        return Err(ScaleError::Resources(address()));
    }
    if loses && any.hooks.snapshots() && !options.discard_state {
        return Err(ScaleError::Stateful(address()));
    }
    Ok(())
}

async fn scale(
    slot: &Arc<Slot>,
    record: &Arc<Record>,
    replicas: u32,
    wait_max: Duration,
) -> Result<Scaled, ScaleError> {
    let address = || slot.address().clone();
    let (reply, answer) = oneshot::channel();
    let told = record.tell(SupervisorMessage::Scale {
        child: address(),
        replicas,
        reply,
    });
    let answer = match answer.await {
        Ok(answer) if told => answer,
        _ => return Err(ScaleError::SupervisorEnded(address())),
    };
    let not_started = |why| ScaleError::NotStarted {
        address: address(),
        why: Box::new(why),
    };
    let rescaled = answer.map_err(|why| match why {
        StartError::SupervisorEnded(_) => ScaleError::SupervisorEnded(address()),
        why => not_started(why),
    })?;
    let until = after(Instant::now(), wait_max);
    let leaving = rescaled.leaving.iter();
    join_all(leaving.map(|one| let_go(record, one, until))).await;
    if let Some(why) = rescaled.declined {
        return Err(not_started(why));
    }
    Ok(Scaled {
        from: rescaled.from,
        to: replicas,
    })
}

/// Waits until one that takes nothing more has nothing left to do, and has it stopped and forgotten.
async fn let_go(record: &Arc<Record>, leaving: &PreparedActor, until: Instant) {
    let slot = &leaving.slot;
    let is_there = || record.child(slot.id()).is_some() && slot.is_active();
    while is_there() && Instant::now() < until && !is_done(slot, until, is_there).await {
        sleep(LOOK_AGAIN).await;
    }
    // A supervisor that was killed forgets it by itself when it is made again, and one that has ended did so.
    while record.child(slot.id()).is_some() && record.ended().is_none() {
        let (reply, answer) = oneshot::channel();
        let child = slot.id();
        let told = record.tell(SupervisorMessage::LetGo { child, reply });
        // One that is ending answers, and does not do it.
        if !told || !matches!(answer.await, Ok(Ok(_))) {
            sleep(LOOK_AGAIN).await;
        }
    }
}

/// Whether it has nothing in hand, owes nothing, and nothing waits for it alone.
async fn is_done(slot: &Slot, until: Instant, is_there: impl Fn() -> bool) -> bool {
    let (ask, mut answer) = oneshot::channel();
    slot.lane().ask(Control::Owes(ask));
    // Answered between two messages; not at all by one that has ended meanwhile, and with it whatever it had in hand.
    let owes = loop {
        let next = until.min(Instant::now() + ASK_FOR);
        match timeout_at(next, &mut answer).await {
            Ok(Ok(owes)) => break owes,
            Ok(Err(_)) => break 0,
            Err(_) if Instant::now() >= until || !is_there() => break 0,
            Err(_) => {}
        }
    };
    // The queue of one that has no other is that of the others now.
    let alone = slot.front().is_some().then(|| slot.mailbox().usage().0);
    owes == 0 && alone.unwrap_or(0) == 0 && slot.resources_held() == 0
}
