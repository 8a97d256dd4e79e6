//! What a supervisor does: a pure state machine.
//!
//! Owns the phase of every child, the operation under way and those that wait, and the restart window. It is told
//! what happened ([`Input`]) and when, and says what to do ([`Action`]); it starts nothing, waits for nothing and
//! reads no clock. The rules are OTP's `supervisor`, to the letter where it has one.
//!
//! Operations run one after the other, in the order they were asked for. Under one-for-one a child that ended is
//! restarted beside them, because its siblings are not concerned; a group restart is an operation of its own, and
//! exits that come meanwhile wait for their turn as they would in the mailbox of OTP's process. Ending overtakes
//! everything. What an exit costs is proportional to the children it concerns.

mod children;
mod operation;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::address::ActorId;
use crate::exit::ExitReason;
pub(super) use children::ChildPolicy;
use children::{Child, Children, Phase};
pub(super) use operation::Outcome;
use operation::{Kind, Operation};

use super::ShutdownPolicy;
use super::decide::{RestartIntensity, RestartPolicy, RestartWindow, restarts};
use super::spec::{AutoShutdown, Backoff, Strategy};

/// Whoever waits for an answer, as its driver knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Token(pub(super) u64);

/// What a supervisor is told.
#[derive(Debug, Clone)]
pub(super) enum Input {
    /// Start every child, in order.
    Boot,
    /// End every incarnation that is left of a predecessor, at once.
    CleanUp(ExitReason),
    /// Start these, which were inserted before, in order; all or none.
    Add(Vec<ActorId>, Token),
    /// Stop these. They are kept, unless they are to be forgotten or are never started again.
    Terminate {
        children: Vec<ActorId>,
        forget: bool,
        token: Token,
    },
    /// Start these, which are stopped; all or none.
    Revive(Vec<ActorId>, Token),
    /// End these and begin their successors.
    Renew(Vec<ActorId>, Token),
    /// An incarnation is up.
    Started(ActorId, u64),
    /// An incarnation could not be started.
    StartFailed(ActorId, u64, ExitReason),
    /// An incarnation has ended, and what it owned is gone.
    Exited(ActorId, u64, ExitReason),
    /// The time a child had to end is up.
    StopTimeout(ActorId, u64),
    /// The time to wait before the next try is over.
    Retry(ActorId, u64),
    /// A child is not well: end it as if it had ended so.
    Unhealthy(ActorId, u64, ExitReason),
    /// Stop every child, and end. With `keep`, its mailboxes wait for the next incarnation of the supervisor.
    End {
        reason: ExitReason,
        keep: bool,
        token: Option<Token>,
    },
}

/// What is to be done, in this order.
#[derive(Debug, Clone)]
pub(super) enum Action {
    /// Begin the next incarnation.
    Begin(ActorId),
    /// Ask an incarnation to end.
    Ask(ActorId),
    /// End an incarnation now.
    Kill(ActorId),
    /// Say [`Input::StopTimeout`] of these after so long.
    StopAfter(Duration, Vec<(ActorId, u64)>),
    /// Say [`Input::Retry`] after so long; now, behind what has come by then, if it is zero.
    RetryAfter(Duration, ActorId, u64),
    /// It is down and its spec is kept: its mailbox refuses until it is started again.
    Suspend(ActorId, ExitReason),
    /// It is forgotten: its name is free.
    Remove(ActorId, ExitReason),
    /// The supervisor begins to end.
    Ending,
    /// It ends because of this child.
    GaveUp(ActorId),
    /// Every child is started.
    Booted,
    /// This child of the first ones did not start: the supervisor ends.
    NotBooted(ActorId),
    /// What was asked for is done, or is not.
    Answer(Token, Outcome),
    /// The supervisor has ended.
    Ended(ExitReason),
}

/// What waits for the operation before it.
#[derive(Debug)]
enum Pending {
    Operation(Box<Operation>),
    /// A child's exit, if it has not been dealt with by then.
    Exit(ActorId, u64),
    Retry(ActorId, u64),
}

/// The flags of a supervisor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flags {
    pub(super) strategy: Strategy,
    pub(super) intensity: RestartIntensity,
    pub(super) auto_shutdown: AutoShutdown,
    /// Its parent starts it again when it gives up.
    pub(super) returns: bool,
    /// It never gives up, and forgets the child that was restarted too often: the root.
    pub(super) isolates: bool,
}

#[derive(Debug)]
pub(super) struct Machine {
    flags: Flags,
    children: Children,
    window: RestartWindow,
    current: Option<Operation>,
    queue: VecDeque<Pending>,
    ending: bool,
    /// It ends what is left of a predecessor: nobody has time for that.
    cleaning: bool,
    actions: Vec<Action>,
}

impl Machine {
    pub(super) fn new(flags: Flags) -> Self {
        Self {
            flags,
            children: Children::default(),
            window: RestartWindow::default(),
            current: None,
            queue: VecDeque::new(),
            ending: false,
            cleaning: false,
            actions: Vec::new(),
        }
    }

    /// A child that is not started. `incarnation` is its newest so far.
    pub(super) fn insert(
        &mut self,
        id: ActorId,
        policy: ChildPolicy,
        backoff: Option<Backoff>,
        incarnation: u64,
    ) {
        let child = Child::new(policy, backoff, incarnation);
        self.children.insert(id, child);
    }

    /// A child that a predecessor of this supervisor has left running.
    pub(super) fn insert_running(&mut self, id: ActorId, policy: ChildPolicy, incarnation: u64) {
        self.insert(id, policy, None, incarnation);
        self.children.set(id, Phase::Running);
    }

    /// Changes the flags; what was counted stays counted.
    pub(super) fn set_flags(&mut self, flags: Flags) {
        self.flags = flags;
    }

    /// Changes what is done about a child from now on.
    pub(super) fn set_policy(&mut self, id: ActorId, mut policy: ChildPolicy) {
        if self.cleaning {
            policy.shutdown = ShutdownPolicy::Brutal;
        }
        self.children.set_policy(id, policy);
    }

    /// Changes how long its restarts wait; ends in a row stay counted.
    pub(super) fn set_backoff(&mut self, id: ActorId, backoff: Option<Backoff>) {
        self.children.set_backoff(id, backoff);
    }

    /// Puts these first, in this order.
    pub(super) fn reorder(&mut self, first: &[ActorId]) {
        self.children.reorder(first);
    }

    /// The children in start order.
    pub(super) fn in_order(&self) -> impl Iterator<Item = ActorId> + '_ {
        self.children.in_order()
    }

    /// Forgets a child that is stopped.
    ///
    /// # Errors
    /// Its phase, if it is not.
    pub(super) fn delete(&mut self, id: ActorId) -> Result<(), NotStopped> {
        match self.children.phase(id) {
            Some(Phase::Stopped) => {
                self.children.remove(id);
                self.actions.push(Action::Remove(id, ExitReason::Shutdown));
                Ok(())
            }
            Some(Phase::Restarting { .. }) => Err(NotStopped::Restarting),
            _ => Err(NotStopped::Running),
        }
    }

    /// Whether a child is neither up nor about to be.
    pub(super) fn stopped(&self, id: ActorId) -> Result<(), NotStopped> {
        match self.children.phase(id) {
            Some(Phase::Stopped) | None => Ok(()),
            Some(Phase::Restarting { .. }) => Err(NotStopped::Restarting),
            _ => Err(NotStopped::Running),
        }
    }

    /// Whether no operation is under way or waits.
    pub(super) fn is_idle(&self) -> bool {
        self.current.is_none() && self.queue.is_empty()
    }

    /// Whether a child that is asked to end will be started again. Asked of each child of a group, so it looks at none
    /// of the others.
    pub(super) fn will_return(&self, id: ActorId) -> bool {
        let operation = self.current.as_ref();
        let restart = self.children.restart(id);
        let returns = operation.is_some_and(|operation| operation.will_return(restart));
        returns || self.children.has_verdict(id)
    }

    /// Whether a child that is down is started without being asked for.
    pub(super) fn is_started_next(&self, id: ActorId) -> bool {
        let n = self.children.incarnation(id);
        match self.children.phase_of(id, n) {
            None | Some(Phase::Stopped) => false,
            Some(Phase::Stopping) => self.will_return(id),
            Some(_) => true,
        }
    }

    /// Whether this incarnation was asked to end, and has not.
    pub(super) fn is_stopping(&self, id: ActorId, n: u64) -> bool {
        self.children.is(id, n, &Phase::Stopping)
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending
    }

    /// What is to be done since it was last asked.
    pub(super) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Takes what happened.
    pub(super) fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Boot => {
                let start = self.children.in_order().collect();
                self.submit(Operation::start(Kind::Boot, start));
            }
            Input::CleanUp(reason) => self.clean_up(reason),
            Input::Add(children, token) => {
                self.submit(Operation::start(Kind::Add(token), children));
            }
            Input::Terminate {
                children,
                forget,
                token,
            } => self.submit(Operation::stop(Kind::Terminate(token, forget), children)),
            Input::Revive(children, token) => {
                self.submit(Operation::start(Kind::Revive(token), children));
            }
            Input::Renew(children, token) => {
                let start = children.iter().copied().collect();
                let mut renew = Operation::stop(Kind::Renew(token), children);
                renew.start = start;
                self.submit(renew);
            }
            Input::Started(id, n) => self.started(id, n, now),
            Input::StartFailed(id, n, reason) => self.start_failed(id, n, reason, now),
            Input::Exited(id, n, reason) => self.exited(id, n, reason, now),
            Input::StopTimeout(id, n) => {
                if self.children.is(id, n, &Phase::Stopping) {
                    self.actions.push(Action::Kill(id));
                }
            }
            Input::Retry(id, n) => self.retry(id, n, now),
            Input::Unhealthy(id, n, reason) => self.unhealthy(id, n, reason),
            Input::End {
                reason,
                keep,
                token,
            } => self.end(reason, keep, token),
        }
        self.advance(now);
    }

    fn submit(&mut self, operation: Operation) {
        if self.ending {
            self.refuse(operation);
            return;
        }
        self.queue
            .push_back(Pending::Operation(Box::new(operation)));
    }

    fn advance(&mut self, now: Instant) {
        while self.current.is_none() {
            match self.queue.pop_front() {
                None => return,
                Some(Pending::Operation(operation)) => {
                    self.current = Some(*operation);
                    self.step();
                }
                Some(Pending::Exit(id, n)) => self.handle_exit(id, n, now),
                Some(Pending::Retry(id, n)) => self.handle_retry(id, n, now),
            }
        }
    }

    /// Whether what becomes of a child waits for the operation under way.
    fn waits(&self) -> bool {
        self.flags.strategy.is_group() && self.current.is_some()
    }

    fn started(&mut self, id: ActorId, n: u64, now: Instant) {
        if !self.children.is(id, n, &Phase::Starting) {
            return;
        }
        self.children.set(id, Phase::Running);
        self.children.up_since(id, now);
        if let Some(operation) = &mut self.current
            && operation.starting == Some(id)
        {
            operation.starting = None;
            operation.started.push(id);
            self.step();
        }
    }

    fn start_failed(&mut self, id: ActorId, n: u64, reason: ExitReason, now: Instant) {
        if !self.children.is(id, n, &Phase::Starting) {
            // Killed while it was being started.
            self.exited(id, n, reason, now);
            return;
        }
        let declined = matches!(reason, ExitReason::Declined);
        let in_operation = self
            .current
            .as_ref()
            .is_some_and(|operation| operation.starting == Some(id));
        if in_operation {
            self.operation_start_failed(id, reason);
        } else if declined {
            self.stay_down(id, &ExitReason::Declined);
        } else {
            self.try_again(id, n);
        }
    }

    /// Its start has failed as part of a restart: it is tried again, and everything else goes on in between.
    fn try_again(&mut self, id: ActorId, n: u64) {
        if self.ending {
            self.children.set(id, Phase::Stopped);
            return;
        }
        self.children.set(id, Phase::Restarting { counted: false });
        let delay = self.children.next_delay(id);
        self.actions.push(Action::RetryAfter(delay, id, n));
    }

    fn exited(&mut self, id: ActorId, n: u64, reason: ExitReason, now: Instant) {
        let Some(phase) = self.children.phase_of(id, n) else {
            return;
        };
        match phase {
            Phase::Stopping => {
                let forced = self.children.take_verdict(id);
                if let Some(reason) = forced {
                    // It was stopped because it was not well.
                    self.ended_by_itself(id, n, reason, now);
                    return;
                }
                self.children.set(id, Phase::Stopped);
                let Some(operation) = &mut self.current else {
                    return;
                };
                if operation.stopping.remove(&id) {
                    operation.report(id, &reason);
                    self.after_stop(id);
                    self.step();
                }
            }
            Phase::Starting | Phase::Running => {
                let starts = self
                    .current
                    .as_ref()
                    .is_some_and(|operation| operation.starting == Some(id));
                if starts {
                    self.operation_start_failed(id, reason);
                } else {
                    self.ended_by_itself(id, n, reason, now);
                }
            }
            Phase::Stopped | Phase::Exited(_) | Phase::Restarting { .. } => {}
        }
    }

    fn ended_by_itself(&mut self, id: ActorId, n: u64, reason: ExitReason, now: Instant) {
        self.children.set(id, Phase::Exited(reason));
        if self.ending {
            // A stop finds it so. It is waited for no longer.
            if let Some(operation) = &mut self.current
                && operation.stopping.remove(&id)
            {
                self.found_down(id);
                self.step();
            }
        } else if self.waits() {
            self.queue.push_back(Pending::Exit(id, n));
        } else {
            self.handle_exit(id, n, now);
        }
    }

    /// A child has ended by itself: what follows.
    fn handle_exit(&mut self, id: ActorId, n: u64, now: Instant) {
        let Some(Phase::Exited(reason)) = self.children.phase_of(id, n) else {
            return;
        };
        let Some(policy) = self.children.policy(id) else {
            return;
        };
        self.children.count_streak(id, now);
        if restarts(policy.restart, &reason) {
            self.restart(id, n, now);
            return;
        }
        self.stay_down(id, &reason);
        let ends = policy.significant
            && match self.flags.auto_shutdown {
                AutoShutdown::Never => false,
                AutoShutdown::AnySignificant => true,
                AutoShutdown::AllSignificant => self.children.significant_up() == 0,
            };
        if ends {
            self.end(ExitReason::Shutdown, false, None);
        }
    }

    /// It is down, and nobody starts it again by itself.
    fn stay_down(&mut self, id: ActorId, reason: &ExitReason) {
        let forgotten = self.flags.strategy == Strategy::SimpleOneForOne
            || self.children.restart(id) == Some(RestartPolicy::Temporary);
        if forgotten {
            self.children.remove(id);
            self.actions.push(Action::Remove(id, reason.clone()));
        } else {
            self.children.set(id, Phase::Stopped);
            self.actions.push(Action::Suspend(id, reason.clone()));
        }
    }

    /// Counts a restart, and restarts or gives up.
    fn restart(&mut self, id: ActorId, n: u64, now: Instant) {
        if !self.window.admit(self.flags.intensity, now) {
            self.give_up(id);
            return;
        }
        let delay = self.children.next_delay(id);
        if delay.is_zero() {
            self.restart_now(id);
        } else {
            self.children.set(id, Phase::Restarting { counted: true });
            self.actions.push(Action::RetryAfter(delay, id, n));
        }
    }

    fn restart_now(&mut self, id: ActorId) {
        if !self.flags.strategy.is_group() {
            self.begin(id);
            return;
        }
        let concerned: Vec<_> = match self.flags.strategy {
            Strategy::RestForOne => self.children.from(id).collect(),
            _ => self.children.in_order().collect(),
        };
        // Temporary ones are stopped with the others and forgotten, by what their policy is then.
        let start = concerned.iter().copied().collect();
        let mut operation = Operation::stop(Kind::Group, concerned);
        operation.start = start;
        self.children.set(id, Phase::Stopped);
        self.current = Some(operation);
        self.step();
    }

    fn retry(&mut self, id: ActorId, n: u64, now: Instant) {
        if self.ending {
            return;
        }
        if self.waits() {
            self.queue.push_back(Pending::Retry(id, n));
        } else {
            self.handle_retry(id, n, now);
        }
    }

    fn handle_retry(&mut self, id: ActorId, n: u64, now: Instant) {
        let Some(Phase::Restarting { counted }) = self.children.phase_of(id, n) else {
            return;
        };
        if counted {
            self.restart_now(id);
            return;
        }
        if self.window.admit(self.flags.intensity, now) {
            self.restart_now(id);
        } else {
            self.give_up(id);
        }
    }

    /// One restart too many.
    fn give_up(&mut self, id: ActorId) {
        if self.flags.isolates {
            self.children.remove(id);
            self.actions.push(Action::Remove(id, ExitReason::CrashLoop));
            return;
        }
        self.children.set(id, Phase::Stopped);
        self.actions.push(Action::GaveUp(id));
        if !self.flags.returns {
            // It will not start again: nobody is to wait for its siblings to hear that.
            self.actions.push(Action::Ending);
            self.actions
                .push(Action::Suspend(id, ExitReason::CrashLoop));
        }
        self.end(ExitReason::CrashLoop, self.flags.returns, None);
    }

    /// Whether this incarnation is up, and nobody has asked it to end.
    pub(super) fn is_running(&self, id: ActorId, n: u64) -> bool {
        !self.ending && self.children.is(id, n, &Phase::Running)
    }

    fn unhealthy(&mut self, id: ActorId, n: u64, reason: ExitReason) {
        if !self.is_running(id, n) {
            return;
        }
        self.children.give_verdict(id, reason);
        self.ask(id);
    }

    fn begin(&mut self, id: ActorId) {
        self.children.begin(id);
        self.actions.push(Action::Begin(id));
    }

    /// Asks a child to end, by its policy.
    fn ask(&mut self, id: ActorId) {
        let Some(policy) = self.children.policy(id) else {
            return;
        };
        let n = self.children.incarnation(id);
        let starting = self.children.is(id, n, &Phase::Starting);
        self.children.set(id, Phase::Stopping);
        match policy.shutdown {
            // What is still being started has no messages to finish. A supervisor has children to stop.
            _ if starting && !policy.is_supervisor => self.actions.push(Action::Kill(id)),
            ShutdownPolicy::Brutal => self.actions.push(Action::Kill(id)),
            ShutdownPolicy::Infinity => self.actions.push(Action::Ask(id)),
            ShutdownPolicy::Timeout(time) => {
                self.actions.push(Action::Ask(id));
                self.actions.push(Action::StopAfter(time, vec![(id, n)]));
            }
        }
    }
}

/// Why a child cannot be forgotten, or started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotStopped {
    Running,
    Restarting,
}
