//! What a supervisor does one at a time: stop some children, then start some.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::children::Phase;
use super::{Action, Machine, Pending, Token};
use crate::address::ActorId;
use crate::exit::ExitReason;
use crate::ids::IdSet;
use crate::supervisor::decide::RestartPolicy;
use crate::supervisor::spec::Strategy;

/// What an operation is for.
#[derive(Debug)]
pub(super) enum Kind {
    Boot,
    Add(Token),
    /// An [`Kind::Add`] has failed at this child.
    Undo(Token, ActorId, ExitReason),
    /// And forget them.
    Terminate(Token, bool),
    Revive(Token),
    Renew(Token),
    Group,
    /// The supervisor ends.
    End {
        reason: ExitReason,
        /// What is queued waits for its next incarnation.
        keep: bool,
        tokens: Vec<Token>,
    },
}

#[derive(Debug)]
pub(super) struct Operation {
    pub(super) kind: Kind,
    /// In start order: the last is stopped first.
    pub(super) stop: Vec<ActorId>,
    pub(super) stopping: IdSet,
    /// The next is first.
    pub(super) start: VecDeque<ActorId>,
    pub(super) starting: Option<ActorId>,
    pub(super) started: Vec<ActorId>,
    stopped: Vec<ActorId>,
    killed: Vec<ActorId>,
    /// Something that was to be started was up already.
    is_up: bool,
}

/// What came of what was asked.
#[derive(Debug, Clone)]
pub(in crate::supervisor) enum Outcome {
    /// These are up, in this order; others have declined to start.
    Started(Vec<ActorId>),
    /// What was to be started was up already when its turn came.
    Running,
    /// This one did not start, and none of the others is kept.
    NotStarted(ActorId, ExitReason),
    /// These have ended when they were asked, in this order, and these had to be killed.
    Stopped(Vec<ActorId>, Vec<ActorId>),
    /// The supervisor ends before it was done.
    SupervisorEnded,
}

impl Operation {
    fn new(kind: Kind, stop: Vec<ActorId>, start: VecDeque<ActorId>) -> Self {
        Self {
            kind,
            stop,
            stopping: IdSet::default(),
            start,
            starting: None,
            started: Vec::new(),
            stopped: Vec::new(),
            killed: Vec::new(),
            is_up: false,
        }
    }

    pub(super) fn start(kind: Kind, start: Vec<ActorId>) -> Self {
        Self::new(kind, Vec::new(), start.into())
    }

    pub(super) fn stop(kind: Kind, stop: Vec<ActorId>) -> Self {
        Self::new(kind, stop, VecDeque::new())
    }

    /// Whether a child that it stops, and that is started again by this policy, is started again.
    pub(super) fn will_return(&self, restart: Option<RestartPolicy>) -> bool {
        match self.kind {
            Kind::Group => restart.is_some_and(|restart| restart != RestartPolicy::Temporary),
            Kind::Renew(_) => restart.is_some(),
            Kind::End { keep, .. } => keep,
            _ => false,
        }
    }

    /// A child that was asked to end has ended.
    pub(super) fn report(&mut self, id: ActorId, reason: &ExitReason) {
        match reason {
            ExitReason::Killed => self.killed.push(id),
            _ => self.stopped.push(id),
        }
    }
}

impl Machine {
    /// Goes on with the operation under way, as far as it can go without waiting.
    pub(super) fn step(&mut self) {
        if !self.stopped_all() {
            return;
        }
        loop {
            let Some(operation) = &mut self.current else {
                return;
            };
            if operation.starting.is_some() {
                return;
            }
            let Some(id) = operation.start.pop_front() else {
                break;
            };
            let Some(policy) = self.children.policy(id) else {
                continue;
            };
            // What was asked before this has started it since it was found down: there is one incarnation at a time.
            if let Some(Phase::Starting | Phase::Running | Phase::Stopping) =
                self.children.phase(id)
            {
                operation.is_up = true;
                continue;
            }
            match operation.kind {
                // It goes on by itself, like any restart.
                Kind::Renew(_) => self.begin(id),
                Kind::Boot if policy.quarantined => {
                    self.actions
                        .push(Action::Suspend(id, ExitReason::Quarantined));
                }
                _ => {
                    operation.starting = Some(id);
                    self.begin(id);
                }
            }
        }
        if let Some(operation) = self.current.take() {
            self.finish(operation);
        }
    }

    /// Stops what is to be stopped; `true` once all of it is down.
    fn stopped_all(&mut self) -> bool {
        let at_once = self.flags.strategy == Strategy::SimpleOneForOne;
        let mut timers = BTreeMap::<Duration, Vec<(ActorId, u64)>>::new();
        loop {
            let Some(operation) = &mut self.current else {
                return false;
            };
            let ends = matches!(operation.kind, Kind::End { .. });
            let one_by_one = !(at_once && ends);
            if one_by_one && !operation.stopping.is_empty() {
                return false;
            }
            let Some(id) = operation.stop.pop() else {
                break;
            };
            match self.children.phase(id) {
                None => {}
                Some(Phase::Starting | Phase::Running) => {
                    operation.stopping.insert(id);
                    self.ask(id);
                    // One timer for all that have the same time.
                    if at_once
                        && ends
                        && let Some(Action::StopAfter(time, of)) = self.actions.last_mut()
                        && of.first().is_some_and(|(first, _)| *first == id)
                    {
                        timers.entry(*time).or_default().append(of);
                        self.actions.pop();
                    }
                }
                // Asked by an operation that this one has overtaken, or because it was not well.
                Some(Phase::Stopping) => {
                    operation.stopping.insert(id);
                    self.children.take_verdict(id);
                }
                Some(Phase::Exited(_) | Phase::Restarting { .. } | Phase::Stopped) => {
                    self.found_down(id);
                }
            }
        }
        for (time, children) in timers {
            self.actions.push(Action::StopAfter(time, children));
        }
        self.current
            .as_ref()
            .is_some_and(|operation| operation.stopping.is_empty())
    }

    /// A child that was to be stopped is down already.
    pub(super) fn found_down(&mut self, id: ActorId) {
        let exited = matches!(self.children.phase(id), Some(Phase::Exited(_)));
        self.children.set(id, Phase::Stopped);
        if exited && let Some(operation) = &mut self.current {
            operation.stopped.push(id);
        }
        self.after_stop(id);
    }

    /// A child of the operation under way is down.
    pub(super) fn after_stop(&mut self, id: ActorId) {
        let Some(operation) = &self.current else {
            return;
        };
        let temporary = self.children.restart(id) == Some(RestartPolicy::Temporary);
        let simple = self.flags.strategy == Strategy::SimpleOneForOne;
        let shutdown = ExitReason::Shutdown;
        let (forgotten, reason) = match &operation.kind {
            Kind::Undo(..) => (true, shutdown),
            Kind::Terminate(_, forget) => {
                if !(*forget || temporary || simple) {
                    self.actions.push(Action::Suspend(id, shutdown));
                    return;
                }
                (true, shutdown)
            }
            Kind::Group => (temporary, shutdown),
            Kind::End { reason, keep, .. } => {
                if !keep {
                    self.actions.push(Action::Suspend(id, reason.clone()));
                }
                return;
            }
            Kind::Boot | Kind::Add(_) | Kind::Revive(_) | Kind::Renew(_) => return,
        };
        if forgotten {
            self.children.remove(id);
            self.actions.push(Action::Remove(id, reason));
        }
    }

    /// The child that the operation under way starts did not start, or has declined to.
    pub(super) fn operation_start_failed(&mut self, id: ActorId, reason: ExitReason) {
        let Some(mut operation) = self.current.take() else {
            return;
        };
        operation.starting = None;
        if matches!(reason, ExitReason::Declined) {
            self.current = Some(operation);
            self.stay_down(id, &reason);
            self.step();
            return;
        }
        let n = self.children.incarnation(id);
        self.children.set(id, Phase::Stopped);
        match operation.kind {
            Kind::Boot => {
                self.actions.push(Action::NotBooted(id));
                // Whoever made it may make it again, and its children have mail; else it is removed, and they with it.
                self.end(reason, true, None);
            }
            Kind::Add(token) => {
                // What has started, last first; then what never started, which only has a name to give up.
                let mut stop: Vec<_> = operation.start.into_iter().collect();
                stop.push(id);
                stop.extend(operation.started);
                self.current = Some(Operation::stop(Kind::Undo(token, id, reason), stop));
                self.step();
            }
            Kind::Revive(token) => {
                self.actions.push(Action::Suspend(id, reason.clone()));
                self.actions
                    .push(Action::Answer(token, Outcome::NotStarted(id, reason)));
            }
            // The children after it stay down until it is up.
            Kind::Group => self.try_again(id, n),
            Kind::Renew(_) | Kind::Undo(..) | Kind::Terminate(..) | Kind::End { .. } => {}
        }
    }

    fn finish(&mut self, operation: Operation) {
        let Operation {
            kind,
            started,
            stopped,
            killed,
            is_up,
            ..
        } = operation;
        let answer = match kind {
            Kind::Boot => Action::Booted,
            Kind::Group => return,
            Kind::Revive(token) if is_up && started.is_empty() => {
                Action::Answer(token, Outcome::Running)
            }
            Kind::Add(token) | Kind::Revive(token) => {
                Action::Answer(token, Outcome::Started(started))
            }
            Kind::Undo(token, id, reason) => Action::Answer(token, Outcome::NotStarted(id, reason)),
            Kind::Terminate(token, _) | Kind::Renew(token) => {
                Action::Answer(token, Outcome::Stopped(stopped, killed))
            }
            Kind::End { reason, tokens, .. } => {
                for token in tokens {
                    let report = Outcome::Stopped(stopped.clone(), killed.clone());
                    self.actions.push(Action::Answer(token, report));
                }
                Action::Ended(reason)
            }
        };
        self.actions.push(answer);
    }

    /// Ends the supervisor: whatever else was asked of it is refused.
    pub(super) fn end(&mut self, reason: ExitReason, keep: bool, token: Option<Token>) {
        if self.ending {
            if let (Some(token), Some(operation)) = (token, &mut self.current)
                && let Kind::End { tokens, .. } = &mut operation.kind
            {
                tokens.push(token);
            }
            return;
        }
        self.ending = true;
        self.actions.push(Action::Ending);
        let current = self.current.take();
        let (mut stopped, mut killed) = (Vec::new(), Vec::new());
        if let Some(mut operation) = current {
            stopped.append(&mut operation.stopped);
            killed.append(&mut operation.killed);
            self.refuse(operation);
        }
        for pending in std::mem::take(&mut self.queue) {
            if let Pending::Operation(operation) = pending {
                self.refuse(*operation);
            }
        }
        let stop = self.children.in_order().collect();
        let kind = Kind::End {
            reason,
            keep,
            tokens: token.into_iter().collect(),
        };
        let mut operation = Operation::stop(kind, stop);
        operation.stopped = stopped;
        operation.killed = killed;
        self.current = Some(operation);
        self.step();
    }

    /// The incarnations a predecessor has left: each is killed, and then the supervisor has ended.
    pub(super) fn clean_up(&mut self, reason: ExitReason) {
        self.cleaning = true;
        let all: Vec<_> = self.children.in_order().collect();
        for id in all {
            if let Some(policy) = self.children.policy(id) {
                self.set_policy(id, policy);
            }
        }
        self.end(reason, true, None);
    }

    /// The supervisor ends before this was done.
    pub(super) fn refuse(&mut self, operation: Operation) {
        let answer = match operation.kind {
            Kind::Undo(token, id, reason) => Some((token, Outcome::NotStarted(id, reason))),
            Kind::Add(token)
            | Kind::Terminate(token, _)
            | Kind::Revive(token)
            | Kind::Renew(token) => Some((token, Outcome::SupervisorEnded)),
            Kind::End { tokens, .. } => {
                for token in tokens {
                    self.actions
                        .push(Action::Answer(token, Outcome::SupervisorEnded));
                }
                None
            }
            Kind::Boot | Kind::Group => None,
        };
        if let Some((token, outcome)) = answer {
            self.actions.push(Action::Answer(token, outcome));
        }
    }
}
