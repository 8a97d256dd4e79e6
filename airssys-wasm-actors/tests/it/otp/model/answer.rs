//! What a supervisor of the model answers.

use super::super::scenario::{Ask, Body, DefId};
use super::super::trace::{Answer, ChildState};
use super::{Child, Model, Pid, Started, State, Supervisor, is_allowed};

impl Model<'_> {
    pub(super) fn answer(
        &mut self,
        pid: Pid,
        supervisor: &mut Supervisor,
        ask: &Ask,
        meant: Option<Pid>,
    ) -> Answer {
        let is_dynamic = supervisor.template.is_some();
        match ask {
            Ask::Which => self.which(supervisor),
            Ask::Count => self.count(supervisor),
            Ask::Start(def) => self.start_child(pid, supervisor, *def),
            Ask::Spawn(id) => self.spawn(pid, supervisor, id),
            Ask::Terminate(_) if is_dynamic => self.terminate_dynamic(pid, supervisor, meant),
            Ask::Restart(_) | Ask::Delete(_) if is_dynamic => Answer::SimpleOneForOne,
            Ask::Terminate(id) | Ask::Restart(id) | Ask::Delete(id) => {
                match supervisor.children.iter().position(|child| child.id == *id) {
                    None => Answer::NotFound,
                    Some(at) => self.administer(pid, supervisor, at, ask),
                }
            }
        }
    }

    fn which(&self, supervisor: &Supervisor) -> Answer {
        let is_dynamic = supervisor.template.is_some();
        let children = supervisor
            .children
            .iter()
            .rev()
            .map(|child| match child.state {
                State::Running(pid) => {
                    let attempt = self.processes[pid].attempt;
                    (child.id.clone(), ChildState::Running(attempt))
                }
                // A dynamic child has no id; the others are named by their processes.
                State::Restarting(_) if is_dynamic => (String::new(), ChildState::Restarting),
                State::Restarting(_) => (child.id.clone(), ChildState::Restarting),
                State::Stopped => (child.id.clone(), ChildState::Undefined),
            });
        let mut children: Vec<_> = children.collect();
        if is_dynamic {
            let word = |(id, state): &(String, ChildState)| match id.as_str() {
                "" => state.to_string(),
                id => format!("{id}={state}"),
            };
            children.sort_by_key(word);
        }
        Answer::Which(children)
    }

    fn count(&self, supervisor: &Supervisor) -> Answer {
        let is_supervisor =
            |def: DefId| matches!(self.scenario.defs[def].body, Body::Supervisor(_));
        let size = supervisor.children.len();
        let of_supervisors = |child: &&Child| is_supervisor(supervisor.policy(child));
        let supervisors = supervisor.children.iter().filter(of_supervisors).count();
        let (specs, active) = if supervisor.template.is_some() {
            // Processes are not looked at.
            (1, i64::try_from(size).unwrap() - supervisor.restarting)
        } else {
            let lives = |child: &&Child| match child.state {
                State::Running(pid) => self.processes[pid].alive,
                State::Restarting(_) | State::Stopped => false,
            };
            let active = supervisor.children.iter().filter(lives).count();
            (size, i64::try_from(active).unwrap())
        };
        Answer::Count {
            specs,
            active,
            supervisors,
            workers: size - supervisors,
        }
    }

    fn start_child(&mut self, pid: Pid, supervisor: &mut Supervisor, def: DefId) -> Answer {
        if !is_allowed(self.scenario, def, supervisor.auto) {
            return Answer::Refused;
        }
        let id = self.scenario.defs[def].id.clone();
        let present = supervisor.children.iter().find(|child| child.id == id);
        match present.map(|child| child.state) {
            Some(State::Running(running)) => {
                return Answer::AlreadyStarted(self.processes[running].attempt);
            }
            Some(State::Restarting(_) | State::Stopped) => return Answer::AlreadyPresent,
            None => {}
        }
        let state = match self.start(pid, def, &id) {
            Started::Process(started) => State::Running(started),
            Started::Ignored if self.is_temporary(def) => return Answer::Child(None),
            Started::Ignored => State::Stopped,
            Started::Failed => return Answer::Error,
        };
        supervisor.children.push(Child { id, def, state });
        self.started(state)
    }

    fn spawn(&mut self, pid: Pid, supervisor: &mut Supervisor, id: &str) -> Answer {
        let Some(def) = supervisor.template else {
            return Answer::Refused;
        };
        match self.start(pid, def, id) {
            Started::Failed => Answer::Error,
            Started::Ignored => Answer::Child(None),
            Started::Process(started) => {
                let (id, state) = (id.to_owned(), State::Running(started));
                supervisor.children.push(Child { id, def, state });
                self.started(state)
            }
        }
    }

    fn started(&self, state: State) -> Answer {
        Answer::Child(match state {
            State::Running(pid) => Some(self.processes[pid].attempt),
            State::Restarting(_) | State::Stopped => None,
        })
    }

    /// By process: one that is no child is refused while it lives.
    fn terminate_dynamic(
        &mut self,
        pid: Pid,
        supervisor: &mut Supervisor,
        meant: Option<Pid>,
    ) -> Answer {
        let Some(meant) = meant else {
            return Answer::NotFound;
        };
        let is_meant = |child: &Child| {
            [State::Running(meant), State::Restarting(meant)].contains(&child.state)
        };
        match supervisor.children.iter().position(is_meant) {
            Some(at) => self.terminate(pid, supervisor, at),
            None if self.processes[meant].alive => Answer::NotFound,
            None => Answer::Ok,
        }
    }

    fn terminate(&mut self, pid: Pid, supervisor: &mut Supervisor, at: usize) -> Answer {
        let child = &supervisor.children[at];
        if let State::Running(running) = child.state {
            let shutdown = self.scenario.defs[supervisor.policy(child)].shutdown;
            self.stop_child(pid, running, shutdown);
        }
        self.put_down(supervisor, at);
        Answer::Ok
    }

    fn administer(
        &mut self,
        pid: Pid,
        supervisor: &mut Supervisor,
        at: usize,
        ask: &Ask,
    ) -> Answer {
        if let Ask::Terminate(_) = ask {
            return self.terminate(pid, supervisor, at);
        }
        let child = &supervisor.children[at];
        match child.state {
            State::Running(_) => return Answer::Running,
            State::Restarting(_) => return Answer::Restarting,
            State::Stopped => {}
        }
        if let Ask::Delete(_) = ask {
            supervisor.children.remove(at);
            return Answer::Ok;
        }
        let (id, def) = (child.id.clone(), child.def);
        let state = match self.start(pid, def, &id) {
            Started::Process(started) => State::Running(started),
            Started::Ignored => State::Stopped,
            Started::Failed => return Answer::Error,
        };
        supervisor.children[at].state = state;
        self.started(state)
    }
}
