//! What a supervisor does, as its machine says: begins, asks, kills, answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};

use super::alarms::Alarms;
use super::{Mode, Reply, State, SupervisorMessage, Timer, clean_up, spawn};
use crate::address::{ActorAddress, ActorId};
use crate::exit::{ExitReason, bounded};
use crate::ids::IdMap;
use crate::mailbox::Control;
use crate::reference::{ActorRef, ActorState};
use crate::supervisor::child::{self, PreparedActor, PreparedChild};
use crate::supervisor::health;
use crate::supervisor::machine::{Action, Outcome, Token};
use crate::supervisor::record::{ExitSink, Record};
use crate::supervisor::{
    ShutdownPolicy, Start, StartError, Started, StopError, StopReport, Supervisor,
};

impl State {
    pub(super) fn act(&mut self) {
        for action in self.machine.take_actions() {
            self.do_one(action);
        }
        if self.machine.is_idle() {
            self.gone = IdMap::default();
        }
    }

    pub(super) fn do_one(&mut self, action: Action) {
        match action {
            Action::Begin(id) => self.begin(id),
            Action::Ask(id) => self.ask(id),
            Action::Kill(id) => self.kill(id),
            Action::StopAfter(time, children) => {
                let only = match children.as_slice() {
                    [(id, _)] => Some(*id),
                    _ => None,
                };
                let message = SupervisorMessage::StopTimeout(children);
                self.alarms.set(only, time, message, &self.myself);
            }
            Action::RetryAfter(time, child, incarnation) => {
                let retry = SupervisorMessage::Retry { child, incarnation };
                self.mark_restarting(child, true);
                if time.is_zero() {
                    // Fails only if this actor ends, and then nobody tries again.
                    let _ = self.myself.send_message(retry);
                } else {
                    self.alarms.set(Some(child), time, retry, &self.myself);
                }
            }
            Action::Suspend(id, reason) => {
                self.alarms.cancel(id);
                let child = self.child(id);
                if let Some(child) = &child {
                    child.standing().restarting.store(false, Ordering::Relaxed);
                }
                match child {
                    Some(child) if child.standing().is_first() || !self.machine.is_ending() => {
                        child.suspend(&reason);
                    }
                    // Added later: gone with its supervisor.
                    _ => self.remove(id, &reason),
                }
            }
            Action::Remove(id, reason) => self.remove(id, &reason),
            Action::Ending => self.record.begin_to_end(),
            Action::GaveUp(id) => {
                self.mark_restarting(id, false);
                if let Some(child) = self.child(id) {
                    child.standing().blamed.fetch_add(1, Ordering::Relaxed);
                }
            }
            Action::Booted => self.record.booted(),
            Action::NotBooted(id) => self.not_booted = Some(id),
            Action::Answer(token, outcome) => self.answer(token, outcome),
            Action::Ended(reason) => self.ended(reason),
        }
    }

    /// Asks an incarnation how it is, for as long as it is there.
    pub(super) fn watch_health(&mut self, id: ActorId, incarnation: u64) {
        let Some(PreparedChild::Actor(actor)) = self.child(id) else {
            return;
        };
        let Some(check) = actor.spec.health else {
            // Nobody asks any more who could take it back into rotation.
            actor.slot.lane().rotate(false);
            return;
        };
        let (myself, actor) = (self.myself.clone(), ActorRef::new(Arc::clone(&actor.slot)));
        let (record, interval) = (Arc::downgrade(&self.record), check.interval);
        let asking = tokio::spawn(async move {
            let check = || record.upgrade()?.child(id)?.spec().health;
            let text = health::until_failed(&actor, interval, check).await;
            // An error means that the supervisor is gone, and the child with it.
            let _ = myself.send_message(SupervisorMessage::Unhealthy {
                child: id,
                incarnation,
                reason: ExitReason::Unhealthy(bounded(&text)),
            });
        });
        let timer = Timer(asking.abort_handle());
        self.health.insert(id, (interval, timer));
    }

    pub(super) fn mark_restarting(&self, id: ActorId, restarting: bool) {
        if let Some(child) = self.child(id) {
            let standing = child.standing();
            standing.restarting.store(restarting, Ordering::Relaxed);
            if restarting && let PreparedChild::Supervisor(one) = &child {
                one.record.waits();
            }
        }
    }

    /// Begins an incarnation in a task of its own.
    pub(super) fn begin(&mut self, id: ActorId) {
        self.alarms.cancel(id);
        match self.child(id) {
            Some(PreparedChild::Actor(actor)) => {
                actor.standing.restarting.store(false, Ordering::Relaxed);
                if actor.slot.incarnation() > 0 {
                    actor.slot.count_restart();
                }
                self.begin_actor(self.record.relink(actor));
            }
            Some(PreparedChild::Supervisor(one)) => {
                one.standing.restarting.store(false, Ordering::Relaxed);
                if one.record.incarnation() > 0 {
                    one.record.count_restart();
                }
                self.begin_supervisor(&one.record);
            }
            None => {}
        }
    }

    pub(super) fn begin_actor(&self, actor: Arc<PreparedActor>) {
        if let Some(front) = actor.slot.front()
            && front.exit_reason().is_some()
        {
            front.begin();
            front.running();
        }
        let incarnation = actor.slot.begin();
        let sink = ExitSink::new(Arc::clone(&self.record));
        // A component without `init` is usually made at the first poll, which is bounded by its time
        // slice. Whatever has to wait, and all code of others, goes on in a task of its own.
        let at_once = matches!(actor.spec.start, Start::Component(_)) && !actor.hooks.has_init();
        let mut start = Box::pin(child::start(actor, incarnation, sink));
        let mut cx = Context::from_waker(Waker::noop());
        if !at_once || start.as_mut().poll(&mut cx).is_pending() {
            tokio::spawn(start);
        }
    }

    pub(super) fn begin_supervisor(&self, record: &Arc<Record>) {
        record.begin();
        let record = Arc::clone(record);
        let parent = self.myself.get_cell();
        tokio::spawn(async move {
            let arguments = (Arc::clone(&record), Mode::Supervise);
            // An error means that it is being cleaned up already, or that its parent is gone and will be.
            let _ = spawn(arguments, Some(parent)).await;
        });
    }

    pub(super) fn ask(&self, id: ActorId) {
        match self.child(id) {
            Some(PreparedChild::Actor(actor)) => actor.slot.lane().ask(Control::Stop),
            Some(PreparedChild::Supervisor(one)) => {
                one.record.ask_to_stop(self.machine.will_return(id));
            }
            None => {}
        }
    }

    pub(super) fn kill(&self, id: ActorId) {
        match self.child(id) {
            Some(PreparedChild::Actor(actor)) => {
                let brutal = actor.spec.shutdown == ShutdownPolicy::Brutal;
                // Not of one whose time is up: that is worth a report.
                if brutal || actor.slot.state() == ActorState::Starting {
                    actor.slot.leave_in_order();
                }
                actor.slot.kill_own();
            }
            Some(PreparedChild::Supervisor(one)) => {
                self.clean_up_after(&one.record, ExitReason::Killed);
            }
            None => {}
        }
    }

    pub(super) fn clean_up_after(&self, record: &Arc<Record>, reason: ExitReason) {
        let parent = Some(self.myself.get_cell());
        tokio::spawn(clean_up(Arc::clone(record), reason, parent));
    }

    /// The actor of a supervisor below has died, and not by an end of its own.
    pub(super) fn supervisor_died(&self, id: ractor::ActorId, reason: ExitReason) {
        if let Some(record) = self.record.served_below(id)
            && record.is_active()
        {
            tracing::warn!(supervisor = %record.address(), %reason, "a supervisor was killed");
            self.clean_up_after(&record, reason);
        }
    }

    pub(super) fn remove(&mut self, id: ActorId, reason: &ExitReason) {
        self.alarms.cancel(id);
        let child = self.record.children.lock().remove(&id);
        if let Some(child) = child {
            self.gone.insert(id, child.spec().address.clone());
            child.retire(reason);
        }
    }

    /// The address of a child, also when it has just been forgotten.
    pub(super) fn address(&self, id: ActorId) -> ActorAddress {
        match self.child(id) {
            Some(child) => child.spec().address.clone(),
            None => self.gone.get(&id).unwrap_or(self.record.address()).clone(),
        }
    }

    pub(super) fn report(&self, stopped: &[ActorId], killed: &[ActorId]) -> StopReport {
        let addresses = |ids: &[ActorId]| ids.iter().map(|id| self.address(*id)).collect();
        StopReport {
            stopped: addresses(stopped),
            killed: addresses(killed),
        }
    }

    /// Handles on these. The replicas of one spec are one actor to callers.
    pub(super) fn started(&self, ids: &[ActorId]) -> Vec<Started> {
        let mut last = None;
        let mut started = Vec::with_capacity(ids.len());
        for child in ids.iter().filter_map(|id| self.child(*id)) {
            match child {
                PreparedChild::Actor(actor) => {
                    let slot = actor.slot.front().unwrap_or(&actor.slot);
                    if last.replace(slot.id()) != Some(slot.id()) {
                        started.push(Started::Actor(ActorRef::new(Arc::clone(slot))));
                    }
                }
                PreparedChild::Supervisor(one) => {
                    let supervisor = Supervisor::new(Arc::clone(&one.record));
                    started.push(Started::Supervisor(supervisor));
                }
            }
        }
        started
    }

    pub(super) fn answer(&mut self, token: Token, outcome: Outcome) {
        let supervisor = self.record.address().clone();
        // Whoever asked may have left; what was done is done.
        match self.replies.remove(&token) {
            None => {}
            Some(Reply::Start(reply)) => drop(reply.send(match outcome {
                Outcome::Started(ids) => Ok(self.started(&ids)),
                Outcome::NotStarted(id, reason) => {
                    let address = self.address(id);
                    Err(StartError::child(address, reason))
                }
                Outcome::Stopped(..) | Outcome::Running | Outcome::SupervisorEnded => {
                    Err(StartError::SupervisorEnded(supervisor))
                }
            })),
            Some(Reply::Stop(reply, address)) => drop(reply.send(match outcome {
                Outcome::Stopped(stopped, killed) => Ok(self.report(&stopped, &killed)),
                Outcome::Started(_) => Ok(StopReport::default()),
                Outcome::NotStarted(_, reason) => Err(StopError::NotStarted { address, reason }),
                Outcome::Running => Err(StopError::Running(address)),
                Outcome::SupervisorEnded => Err(StopError::SupervisorEnded(supervisor)),
            })),
            Some(Reply::Scale(growth)) => self.grown(growth, outcome),
            Some(Reply::End(reply)) => drop(reply.send(match outcome {
                Outcome::Stopped(stopped, killed) => self.report(&stopped, &killed),
                _ => StopReport::default(),
            })),
        }
    }

    pub(super) fn ended(&mut self, reason: ExitReason) {
        let reason = match self.not_booted {
            Some(id) => ExitReason::child_not_started(&self.address(id), &reason),
            None => reason,
        };
        // Children that were added later are gone with it, whatever becomes of the others.
        let added: Vec<_> = {
            let children = self.record.children.lock();
            let added = children
                .iter()
                .filter(|(_, child)| !child.standing().is_first());
            added.map(|(id, _)| *id).collect()
        };
        for id in added.into_iter().rev() {
            self.remove(id, &reason);
        }
        self.alarms = Alarms::default();
        self.health.clear();
        self.record.exited(reason);
        self.myself.stop(None);
    }
}
