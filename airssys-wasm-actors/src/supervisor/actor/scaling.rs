//! More replicas of a child, or fewer, while it runs.
//!
//! Owns the supervisor's part: new replicas are children like any other once all of them are up, and none of them is before;
//! those that are to go take nothing more from then on, and are forgotten when whoever scales says that they have nothing
//! left to do. Which of it holds is known to the record, so that a supervisor that was killed and made again has one number
//! of them: what had not joined never was, and what was leaving is gone.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Reply, State, StopReply};
use crate::address::{ActorAddress, ActorId};
use crate::events::Event;
use crate::exit::ExitReason;
use crate::supervisor::child::{PreparedActor, PreparedChild, Scaling};
use crate::supervisor::machine::{Input, Outcome};
use crate::supervisor::prepare::more_replicas;
use crate::supervisor::{StartError, StopReport};

/// There are as many as was asked, once these have gone.
#[derive(Default)]
pub(crate) struct Rescaled {
    /// How many there were.
    pub(crate) from: u32,
    pub(crate) leaving: Vec<Arc<PreparedActor>>,
    /// There are as many as before: each of the new ones has declined to start. They are what leaves.
    pub(crate) declined: Option<StartError>,
}

pub(crate) type ScaleReply = oneshot::Sender<Result<Rescaled, StartError>>;

/// New replicas that are being started.
pub(super) struct Growth {
    address: ActorAddress,
    from: u32,
    to: u32,
    reply: ScaleReply,
}

/// Who drains a queue.
pub(crate) struct Team {
    /// The actor that has the queue, if it drains it itself.
    pub(crate) own: Option<Arc<PreparedActor>>,
    /// By their numbers.
    pub(crate) replicas: Vec<(u32, Arc<PreparedActor>)>,
}

impl Team {
    /// Of these actors, those that are there for good.
    pub(crate) fn of(actors: Vec<Arc<PreparedActor>>) -> Self {
        let (mut own, mut replicas) = (None, Vec::new());
        for actor in actors {
            if *actor.standing.scaling.lock() != Scaling::Settled {
                continue;
            }
            match actor.slot.front() {
                None => own = Some(actor),
                Some(_) => {
                    let address = actor.slot.address().as_str();
                    let number = address.rsplit('/').next().and_then(|at| at.parse().ok());
                    replicas.push((number.unwrap_or(u32::MAX), actor));
                }
            }
        }
        replicas.sort_by_key(|(number, _)| *number);
        Self { own, replicas }
    }

    pub(crate) fn len(&self) -> u32 {
        let len = self.replicas.len() + usize::from(self.own.is_some());
        u32::try_from(len).unwrap_or(u32::MAX)
    }

    pub(crate) fn any(&self) -> Option<&Arc<PreparedActor>> {
        let replica = self.replicas.first().map(|(_, actor)| actor);
        self.own.as_ref().or(replica)
    }
}

impl State {
    /// Begins to have `to` replicas of a child.
    pub(super) fn scale(&mut self, address: ActorAddress, to: u32, reply: ScaleReply) {
        let team = Team::of(self.record.actors_at(&address));
        let from = team.len();
        let Some(like) = team.any().filter(|_| !self.machine.is_ending()) else {
            let supervisor = self.record.address().clone();
            // The asker may have left, here and below.
            let _ = reply.send(Err(StartError::SupervisorEnded(supervisor)));
            return;
        };
        if to < from || to == 0 {
            let _ = reply.send(Ok(self.shrink(&address, &team, to.max(1))));
            return;
        }
        if to == from {
            let _ = reply.send(Ok(Rescaled {
                from,
                ..Rescaled::default()
            }));
            return;
        }
        match self.grow(like, &team, to) {
            Err(why) => drop(reply.send(Err(why))),
            Ok(ids) => {
                let token = self.token(Reply::Scale(Growth {
                    address,
                    from,
                    to,
                    reply,
                }));
                self.tell(Input::Add(ids, token));
            }
        }
    }

    /// Makes the replicas that are missing, in the places that are free.
    fn grow(
        &mut self,
        like: &PreparedActor,
        team: &Team,
        to: u32,
    ) -> Result<Vec<ActorId>, StartError> {
        let taken: HashSet<_> = team.replicas.iter().map(|(number, _)| *number).collect();
        let missing = usize::try_from(to).unwrap_or(usize::MAX) - taken.len();
        let numbers = (0..=u32::MAX).filter(|number| !taken.contains(number));
        let new = more_replicas(like, numbers.take(missing))?;
        let mut ids = Vec::with_capacity(new.len());
        for child in self.record.add_like(like, new) {
            let (id, policy) = (child.id(), self.policy(&child));
            let backoff = child.spec().backoff;
            self.machine.insert(id, policy, backoff, 0);
            ids.push(id);
        }
        let order: Vec<_> = self
            .record
            .in_order()
            .iter()
            .map(PreparedChild::id)
            .collect();
        self.machine.reorder(&order);
        Ok(ids)
    }

    fn shrink(&self, address: &ActorAddress, team: &Team, to: u32) -> Rescaled {
        let keep = usize::try_from(to).unwrap_or(usize::MAX);
        let replicas = team.replicas.iter().rev();
        let mut leaving: Vec<_> = replicas.map(|(_, actor)| Arc::clone(actor)).collect();
        // Those that are stopped first, then from the last one on.
        leaving.sort_by_key(|actor| actor.slot.exit_reason().is_none());
        leaving.truncate(team.replicas.len().saturating_sub(keep));
        leaving.iter().for_each(leaves);
        let from = team.len();
        self.settle(address, from, to);
        Rescaled {
            from,
            leaving,
            declined: None,
        }
    }

    /// The new replicas are up, or are not and gone.
    pub(super) fn grown(&self, growth: Growth, outcome: Outcome) {
        let Growth {
            address,
            from,
            to,
            reply,
        } = growth;
        let supervisor = self.record.address().clone();
        let grown = match outcome {
            Outcome::NotStarted(id, reason) => Err(StartError::child(self.address(id), reason)),
            Outcome::Stopped(..) | Outcome::Running | Outcome::SupervisorEnded => {
                Err(StartError::SupervisorEnded(supervisor))
            }
            Outcome::Started(_) => {
                let actors = self.record.actors_at(&address);
                let joins =
                    |one: &&Arc<PreparedActor>| *one.standing.scaling.lock() == Scaling::Joining;
                let joined = actors.iter().filter(joins).cloned().collect();
                Ok(self.joined(&address, (from, to), joined, Team::of(actors).own))
            }
        };
        let _ = reply.send(grown);
    }

    /// New replicas take the place of the one that was alone, if there was one; unless nobody would serve then.
    fn joined(
        &self,
        address: &ActorAddress,
        (from, to): (u32, u32),
        joined: Vec<Arc<PreparedActor>>,
        own: Option<Arc<PreparedActor>>,
    ) -> Rescaled {
        let is_up = |one: &Arc<PreparedActor>| one.slot.exit_reason().is_none();
        let declined = joined.first().and_then(|one| {
            let why = one.slot.exit_reason()?;
            Some(StartError::child(one.slot.address().clone(), why))
        });
        if own.is_some() && !joined.iter().any(is_up) {
            joined.iter().for_each(leaves);
            // Those that are forgotten as they decline are not there to be asked.
            let forgotten = || StartError::child(address.clone(), ExitReason::Declined);
            return Rescaled {
                from,
                leaving: joined,
                declined: Some(declined.unwrap_or_else(forgotten)),
            };
        }
        own.iter().for_each(leaves);
        for one in &joined {
            *one.standing.scaling.lock() = Scaling::Settled;
            one.slot.lane().hold(false);
        }
        self.settle(address, from, to);
        Rescaled {
            from,
            leaving: own.into_iter().collect(),
            declined: None,
        }
    }

    /// From now on, also for who makes this supervisor again.
    fn settle(&self, address: &ActorAddress, from: u32, to: u32) {
        self.record.edit_first(|first| {
            if let Some(spec) = first.iter_mut().find(|spec| spec.address == *address) {
                spec.replicas = to;
            }
        });
        let address = address.clone();
        self.record.shared.emit(Event::Scaled { address, from, to });
    }

    /// Stops a child that was leaving, and forgets it.
    pub(super) fn let_go(&mut self, child: ActorId, reply: StopReply) {
        let Some(leaving) = self.child(child) else {
            let _ = reply.send(Ok(StopReport::default()));
            return;
        };
        let token = self.token(Reply::Stop(reply, leaving.spec().address.clone()));
        self.tell(Input::Terminate {
            children: vec![child],
            forget: true,
            token,
        });
    }

    /// What its predecessor had begun and not ended: nothing of it runs.
    pub(super) fn finish_scaling(&self) {
        let unsettled: Vec<_> = {
            let children = self.record.children.lock();
            let actors = children.values().filter_map(|child| match child {
                PreparedChild::Actor(actor) => Some(actor),
                PreparedChild::Supervisor(_) => None,
            });
            let unsettled = actors.filter(|one| *one.standing.scaling.lock() != Scaling::Settled);
            unsettled.map(|actor| actor.slot.id()).collect()
        };
        for id in unsettled {
            let child = self.record.children.lock().remove(&id);
            if let Some(child) = child {
                child.retire(&ExitReason::Shutdown);
            }
        }
    }
}

/// It takes nothing of what is shared from now on.
fn leaves(actor: &Arc<PreparedActor>) {
    *actor.standing.scaling.lock() = Scaling::Leaving;
    actor.slot.lane().leave();
}
