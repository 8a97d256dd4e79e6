//! What a supervisor of the model does about an exit, a failed start, and a live change.

use super::super::scenario::{AutoShutdown, DefId, End, Restart, Strategy};
use super::super::trace::Answer;
use super::{Child, Message, Model, Pid, Started, State, Supervisor, Which, valid};

/// Whether the supervisor goes on.
type GoesOn = bool;

impl Supervisor {
    /// The definition whose restart, shutdown and significance hold for a child.
    pub(super) fn policy(&self, child: &Child) -> DefId {
        self.template.unwrap_or(child.def)
    }
}

impl Model<'_> {
    pub(super) fn exited(
        &mut self,
        pid: Pid,
        supervisor: &mut Supervisor,
        child: Pid,
        end: End,
    ) -> GoesOn {
        let of_child = |c: &Child| c.state == State::Running(child);
        let Some(at) = supervisor.children.iter().position(of_child) else {
            return true;
        };
        let policy = &self.scenario.defs[supervisor.policy(&supervisor.children[at])];
        let is_normal = matches!(end, End::Normal | End::Shutdown | End::ShutdownTerm);
        match policy.restart {
            Restart::Permanent => self.restart(pid, supervisor, at),
            Restart::Transient if !is_normal => self.restart(pid, supervisor, at),
            Restart::Transient | Restart::Temporary => {
                self.put_down(supervisor, at);
                !policy.significant || !self.is_over(supervisor)
            }
        }
    }

    /// Its specification stays, unless the child is temporary or dynamic.
    pub(super) fn put_down(&self, supervisor: &mut Supervisor, at: usize) {
        let child = &mut supervisor.children[at];
        if supervisor.template.is_some() || self.is_temporary(child.def) {
            supervisor.children.remove(at);
        } else {
            child.state = State::Stopped;
        }
    }

    /// A significant child has ended by itself: is that the end of the supervisor?
    fn is_over(&self, supervisor: &Supervisor) -> bool {
        match supervisor.auto {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => !supervisor.children.iter().any(|child| {
                let policy = &self.scenario.defs[supervisor.policy(child)];
                policy.significant && child.state != State::Stopped
            }),
        }
    }

    fn restart(&mut self, pid: Pid, supervisor: &mut Supervisor, at: usize) -> GoesOn {
        if supervisor.restarts >= supervisor.max {
            self.put_down(supervisor, at);
            return false;
        }
        supervisor.restarts += 1;
        match supervisor.strategy {
            Strategy::OneForOne => self.restart_one(pid, supervisor, at),
            Strategy::RestForOne => self.restart_from(pid, supervisor, at, at),
            Strategy::OneForAll => self.restart_from(pid, supervisor, at, 0),
            Strategy::SimpleOneForOne => self.restart_dynamic(pid, supervisor, at),
        }
        true
    }

    fn restart_one(&mut self, pid: Pid, supervisor: &mut Supervisor, at: usize) {
        let Child { id, def, state } = supervisor.children[at].clone();
        let state = match self.start(pid, def, &id) {
            Started::Process(started) => State::Running(started),
            Started::Ignored => State::Stopped,
            Started::Failed => {
                self.try_later(pid, Which::Id(id));
                restarting(state)
            }
        };
        supervisor.children[at].state = state;
    }

    /// Stops and starts the children from `from` on; the one that has ended, or whose start failed, is
    /// at `at`.
    fn restart_from(&mut self, pid: Pid, supervisor: &mut Supervisor, at: usize, from: usize) {
        supervisor.children[at].state = State::Stopped;
        let mut affected = supervisor.children.split_off(from);
        for child in affected.iter().rev() {
            if let State::Running(running) = child.state {
                self.stop_child(pid, running, self.scenario.defs[child.def].shutdown);
            }
        }
        affected.retain(|child| !self.is_temporary(child.def));
        // Those that were stopped before all this are started too.
        for child in &mut affected {
            child.state = State::Stopped;
        }
        for child in &mut affected {
            match self.start(pid, child.def, &child.id) {
                Started::Process(started) => child.state = State::Running(started),
                Started::Ignored => {}
                Started::Failed => {
                    child.state = State::Restarting(pid);
                    self.try_later(pid, Which::Id(child.id.clone()));
                    break;
                }
            }
        }
        supervisor.children.append(&mut affected);
    }

    fn restart_dynamic(&mut self, pid: Pid, supervisor: &mut Supervisor, at: usize) {
        let Child { id, def, state } = supervisor.children.remove(at);
        if let State::Restarting(_) = state {
            supervisor.restarting -= 1;
        }
        let state = match self.start(pid, def, &id) {
            Started::Process(started) => State::Running(started),
            // OTP keeps a child that is no process, and fails over it later; no scenario does that.
            Started::Ignored => return,
            Started::Failed => {
                supervisor.restarting += 1;
                let state = restarting(state);
                if let State::Restarting(first) = state {
                    self.try_later(pid, Which::Dynamic(first));
                }
                state
            }
        };
        supervisor.children.push(Child { id, def, state });
    }

    fn try_later(&mut self, pid: Pid, which: Which) {
        let mailbox = &mut self.processes[pid].mailbox;
        mailbox.push_back(Message::TryAgain(which));
    }

    pub(super) fn try_again(
        &mut self,
        pid: Pid,
        supervisor: &mut Supervisor,
        which: &Which,
    ) -> GoesOn {
        let found = supervisor.children.iter().position(|child| match which {
            Which::Id(id) => child.id == *id && matches!(child.state, State::Restarting(_)),
            Which::Dynamic(first) => child.state == State::Restarting(*first),
        });
        found.is_none_or(|at| self.restart(pid, supervisor, at))
    }

    /// Flags and specifications change; processes do not.
    pub(super) fn changed(&self, supervisor: &mut Supervisor, def: DefId) -> Answer {
        let Some(sup) = self.scenario.supervisor(def) else {
            return Answer::Refused;
        };
        if !valid(self.scenario, sup) {
            return Answer::Refused;
        }
        (supervisor.strategy, supervisor.max, supervisor.auto) = (sup.strategy, sup.max, sup.auto);
        let mut old = std::mem::take(&mut supervisor.children);
        for &child in &sup.children {
            let id = self.scenario.defs[child].id.clone();
            let before = old.iter().position(|other| other.id == id);
            let state = before.map_or(State::Stopped, |at| old.remove(at).state);
            let def = child;
            supervisor.children.push(Child { id, def, state });
        }
        // What the new specifications do not name stays as it is, after them.
        supervisor.children.append(&mut old);
        Answer::Ok
    }
}

fn restarting(before: State) -> State {
    match before {
        State::Running(pid) | State::Restarting(pid) => State::Restarting(pid),
        State::Stopped => State::Stopped,
    }
}
