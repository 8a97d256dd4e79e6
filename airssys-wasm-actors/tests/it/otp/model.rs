//! OTP's supervisor as a model: processes that start and end at once, in an order that can be read off.
//!
//! Written from OTP's documentation and source and what OTP 25 was seen to do, not from our supervisor. It holds the
//! processes and their ends; what a supervisor decides is in [`decision`], what it answers in [`answer`]. Every
//! supervisor has a mailbox, because what happens while it starts a child is heard of afterwards. Time does not
//! pass: the period is endless, a stubborn worker is killed at once.

mod answer;
mod decision;

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::scenario::{
    Ask, AutoShutdown, Body, DefId, End, HookAction, Outcome, Restart, Scenario, Shutdown,
    ShutdownAnswer, Strategy, SupervisorDef,
};
use super::trace::{Answer, Event};
use super::tree::Tree;

/// An index into [`Model::processes`]; one process runs one attempt of one path.
type Pid = usize;

struct Process {
    path: String,
    attempt: u32,
    alive: bool,
    parent: Option<Pid>,
    /// Of a supervisor: its start has been told.
    up: bool,
    mailbox: VecDeque<Message>,
    worker: Option<ShutdownAnswer>,
}

enum Message {
    Exit(Pid, End),
    /// With the process that the id of a dynamic child meant when it was sent.
    Ask(Ask, Option<Pid>),
    /// A start has failed during a restart: now the other messages have had their turn.
    TryAgain(Which),
}

/// The child to try again.
#[derive(Clone, PartialEq)]
enum Which {
    Id(String),
    /// By the process whose exit began it.
    Dynamic(Pid),
}

#[derive(Clone)]
struct Child {
    id: String,
    /// How it is started.
    def: DefId,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Running(Pid),
    /// A start failed; the process whose exit began it is kept by dynamic supervisors only.
    Restarting(Pid),
    Stopped,
}

struct Supervisor {
    /// As it was started, whatever has changed since.
    def: DefId,
    strategy: Strategy,
    max: u32,
    auto: AutoShutdown,
    /// In start order; of a dynamic supervisor, its instances.
    children: Vec<Child>,
    /// Of a dynamic supervisor.
    template: Option<DefId>,
    restarts: u32,
    /// How many dynamic children are `restarting`, as OTP counts them: one that is terminated meanwhile
    /// stays counted.
    restarting: i64,
}

/// What has come of a start.
enum Started {
    Process(Pid),
    Ignored,
    Failed,
}

pub(crate) struct Model<'a> {
    scenario: &'a Scenario,
    processes: Vec<Process>,
    /// Those that live and do nothing just now.
    supervisors: BTreeMap<Pid, Supervisor>,
    /// The last process of each path.
    last: HashMap<String, Pid>,
    attempts: HashMap<String, u32>,
    /// Live changes, by path and the definition it was started with.
    changes: HashMap<(String, DefId), DefId>,
    events: Vec<Event>,
}

impl<'a> Model<'a> {
    pub(crate) fn new(scenario: &'a Scenario) -> Self {
        Self {
            scenario,
            processes: Vec::new(),
            supervisors: BTreeMap::new(),
            last: HashMap::new(),
            attempts: HashMap::new(),
            changes: HashMap::new(),
            events: Vec::new(),
        }
    }

    fn alive(&self, path: &str) -> Option<Pid> {
        let pid = *self.last.get(path)?;
        self.processes[pid].alive.then_some(pid)
    }

    fn is_temporary(&self, def: DefId) -> bool {
        self.scenario.defs[def].restart == Restart::Temporary
    }

    fn path_below(&self, parent: Pid, id: &str) -> String {
        format!("{}/{id}", self.processes[parent].path)
    }

    /// An attempt to start a child, hooks included.
    fn start(&mut self, parent: Pid, def: DefId, id: &str) -> Started {
        let path = self.path_below(parent, id);
        let attempts = self.attempts.entry(path.clone()).or_default();
        *attempts += 1;
        let attempt = *attempts;
        if self.processes[parent].up {
            let hooks = &self.scenario.hooks;
            for hook in hooks
                .iter()
                .filter(|h| h.def == def && h.attempt == attempt)
            {
                self.hook(parent, id, &hook.action);
            }
        }
        let starts = &self.scenario.defs[def].starts;
        let outcome = starts.get(attempt as usize - 1).copied();
        match outcome.unwrap_or(Outcome::Started) {
            Outcome::Started => self.start_body(Some(parent), path, attempt, def),
            Outcome::Ignored => {
                self.tell_start(path, attempt, Outcome::Ignored);
                Started::Ignored
            }
            Outcome::Failed => {
                self.tell_start(path, attempt, Outcome::Failed);
                Started::Failed
            }
        }
    }

    fn hook(&mut self, parent: Pid, own: &str, action: &HookAction) {
        match action {
            HookAction::Exit(id, end) => {
                let found = self.alive(&self.path_below(parent, id));
                if let Some(pid) = found.filter(|pid| self.processes[*pid].worker.is_some()) {
                    self.end(pid, *end);
                    self.processes[parent]
                        .mailbox
                        .push_back(Message::Exit(pid, *end));
                }
            }
            HookAction::Ask(ask) => {
                let named = |id: &String| {
                    if id == "." {
                        own.to_owned()
                    } else {
                        id.clone()
                    }
                };
                let ask = match ask {
                    Ask::Terminate(id) => Ask::Terminate(named(id)),
                    Ask::Restart(id) => Ask::Restart(named(id)),
                    Ask::Delete(id) => Ask::Delete(named(id)),
                    ask => ask.clone(),
                };
                let meant = self.meant(parent, &ask);
                self.processes[parent]
                    .mailbox
                    .push_back(Message::Ask(ask, meant));
            }
        }
    }

    /// The process that an id means to a dynamic supervisor: the last that ran.
    fn meant(&self, parent: Pid, ask: &Ask) -> Option<Pid> {
        match ask {
            Ask::Terminate(id) => self.last.get(&self.path_below(parent, id)).copied(),
            _ => None,
        }
    }

    fn start_body(
        &mut self,
        parent: Option<Pid>,
        path: String,
        attempt: u32,
        def: DefId,
    ) -> Started {
        let scenario = self.scenario;
        let worker = match &scenario.defs[def].body {
            Body::Worker(answer) => Some(*answer),
            Body::Supervisor(_) => None,
        };
        let pid = self.processes.len();
        self.last.insert(path.clone(), pid);
        self.processes.push(Process {
            path: path.clone(),
            attempt,
            alive: true,
            parent,
            up: false,
            mailbox: VecDeque::new(),
            worker,
        });
        if worker.is_some() {
            self.tell_start(path, attempt, Outcome::Started);
            return Started::Process(pid);
        }
        match self.init(pid, def) {
            Some(supervisor) => {
                self.supervisors.insert(pid, supervisor);
                self.processes[pid].up = true;
                self.tell_start(path, attempt, Outcome::Started);
                Started::Process(pid)
            }
            None => {
                self.processes[pid].alive = false;
                self.tell_start(path, attempt, Outcome::Failed);
                Started::Failed
            }
        }
    }

    /// The supervisor with its children, or none: those that had started have been stopped again.
    fn init(&mut self, pid: Pid, def: DefId) -> Option<Supervisor> {
        let scenario = self.scenario;
        let key = (self.processes[pid].path.clone(), def);
        let now = self.changes.get(&key).copied().unwrap_or(def);
        let sup = scenario.supervisor(now)?;
        if !valid(scenario, sup) {
            return None;
        }
        let is_dynamic = sup.strategy == Strategy::SimpleOneForOne;
        let mut supervisor = Supervisor {
            def,
            strategy: sup.strategy,
            max: sup.max,
            auto: sup.auto,
            children: Vec::new(),
            template: sup.children.first().copied().filter(|_| is_dynamic),
            restarts: 0,
            restarting: 0,
        };
        if is_dynamic {
            return Some(supervisor);
        }
        for &child in &sup.children {
            let (id, is_temporary) = (&scenario.defs[child].id, self.is_temporary(child));
            let state = match self.start(pid, child, id) {
                Started::Process(pid) => State::Running(pid),
                Started::Ignored if is_temporary => continue,
                Started::Ignored => State::Stopped,
                Started::Failed => {
                    self.stop_children(pid, &mut supervisor);
                    return None;
                }
            };
            supervisor.children.push(Child {
                id: id.clone(),
                def: child,
                state,
            });
        }
        Some(supervisor)
    }

    fn tell_start(&mut self, path: String, attempt: u32, outcome: Outcome) {
        self.events.push(Event::Start {
            path,
            attempt,
            outcome,
        });
    }

    /// A process ends, and its descendants if it was a supervisor that did not stop them.
    fn end(&mut self, pid: Pid, end: End) {
        let process = &mut self.processes[pid];
        process.alive = false;
        process.mailbox.clear();
        let (path, attempt) = (process.path.clone(), process.attempt);
        self.events.push(Event::Stop { path, attempt, end });
        if self.supervisors.remove(&pid).is_some() {
            for orphan in 0..self.processes.len() {
                if self.processes[orphan].alive && self.processes[orphan].parent == Some(pid) {
                    self.end(orphan, End::Orphaned);
                }
            }
        }
    }

    /// A supervisor stops a child, as the child's specification says.
    fn stop_child(&mut self, owner: Pid, pid: Pid, shutdown: Shutdown) {
        // Its exit, if it has ended by itself meanwhile, is not heard any more.
        self.processes[owner]
            .mailbox
            .retain(|message| !matches!(message, Message::Exit(ended, _) if *ended == pid));
        if !self.processes[pid].alive {
            return;
        }
        let end = match (shutdown, self.processes[pid].worker) {
            (Shutdown::Brutal, _) | (_, Some(ShutdownAnswer::Stubborn)) => End::Killed,
            (_, Some(ShutdownAnswer::Obeys)) => End::Shutdown,
            (_, Some(ShutdownAnswer::Crash)) => End::Crash,
            (_, Some(ShutdownAnswer::Normal)) => End::Normal,
            (_, None) => {
                if let Some(mut supervisor) = self.supervisors.remove(&pid) {
                    self.stop_children(pid, &mut supervisor);
                }
                End::Shutdown
            }
        };
        self.end(pid, end);
    }

    /// All of them, the last started first.
    fn stop_children(&mut self, pid: Pid, supervisor: &mut Supervisor) {
        for child in std::mem::take(&mut supervisor.children).iter().rev() {
            if let State::Running(running) = child.state {
                let def = supervisor.template.unwrap_or(child.def);
                self.stop_child(pid, running, self.scenario.defs[def].shutdown);
            }
        }
    }

    /// A supervisor ends by itself: it gives up, or a significant child has ended.
    fn shut_down(&mut self, pid: Pid, mut supervisor: Supervisor) {
        self.stop_children(pid, &mut supervisor);
        self.end(pid, End::Shutdown);
        if let Some(parent) = self.processes[pid].parent {
            let exit = Message::Exit(pid, End::Shutdown);
            self.processes[parent].mailbox.push_back(exit);
        }
    }

    /// Each supervisor reads its messages until there are none.
    fn settle(&mut self) {
        while let Some((pid, message)) = self.next_message() {
            let Some(mut supervisor) = self.supervisors.remove(&pid) else {
                continue;
            };
            let goes_on = match message {
                Message::Exit(child, end) => self.exited(pid, &mut supervisor, child, end),
                Message::TryAgain(which) => self.try_again(pid, &mut supervisor, &which),
                Message::Ask(ask, meant) => {
                    let answer = self.answer(pid, &mut supervisor, &ask, meant);
                    let path = self.processes[pid].path.clone();
                    self.events.push(Event::Answer { path, answer });
                    true
                }
            };
            if goes_on {
                self.supervisors.insert(pid, supervisor);
            } else {
                self.shut_down(pid, supervisor);
            }
        }
    }

    fn next_message(&mut self) -> Option<(Pid, Message)> {
        let pids: Vec<_> = self.supervisors.keys().copied().collect();
        pids.into_iter()
            .find_map(|pid| Some((pid, self.processes[pid].mailbox.pop_front()?)))
    }
}

/// No id twice, and no child that is significant though permanent, or though nobody heeds it.
fn valid(scenario: &Scenario, sup: &SupervisorDef) -> bool {
    let id = |child: &DefId| &scenario.defs[*child].id;
    sup.children.iter().enumerate().all(|(at, child)| {
        is_allowed(scenario, *child, sup.auto)
            && !sup
                .children
                .iter()
                .take(at)
                .any(|other| id(other) == id(child))
    })
}

fn is_allowed(scenario: &Scenario, child: DefId, auto: AutoShutdown) -> bool {
    let child = &scenario.defs[child];
    !child.significant || (auto != AutoShutdown::Never && child.restart != Restart::Permanent)
}

impl Tree for Model<'_> {
    async fn boot(&mut self) -> Answer {
        match self.start_body(None, "r".to_owned(), 1, 0) {
            Started::Process(_) => Answer::Child(Some(1)),
            Started::Ignored | Started::Failed => Answer::Error,
        }
    }

    async fn exit(&mut self, path: &str, end: End) -> Answer {
        let Some(pid) = self.alive(path) else {
            return Answer::Nobody;
        };
        // A supervisor does not listen to anything but a kill.
        if end == End::Killed || self.processes[pid].worker.is_some() {
            self.end(pid, end);
            if let Some(parent) = self.processes[pid].parent {
                self.processes[parent]
                    .mailbox
                    .push_back(Message::Exit(pid, end));
            }
        }
        Answer::Ok
    }

    async fn change(&mut self, path: &str, def: DefId) -> Answer {
        let found = self
            .alive(path)
            .and_then(|pid| Some((pid, self.supervisors.remove(&pid)?)));
        let Some((pid, mut supervisor)) = found else {
            return Answer::NoProcess;
        };
        let answer = self.changed(&mut supervisor, def);
        if answer == Answer::Ok {
            self.changes.insert((path.to_owned(), supervisor.def), def);
        }
        self.supervisors.insert(pid, supervisor);
        answer
    }

    async fn ask(&mut self, path: &str, ask: &Ask) -> Answer {
        let found = self
            .alive(path)
            .and_then(|pid| Some((pid, self.supervisors.remove(&pid)?)));
        let Some((pid, mut supervisor)) = found else {
            return Answer::NoProcess;
        };
        let meant = self.meant(pid, ask);
        let answer = self.answer(pid, &mut supervisor, ask, meant);
        self.supervisors.insert(pid, supervisor);
        answer
    }

    async fn stop(&mut self) -> Answer {
        let found = self
            .alive("r")
            .and_then(|pid| Some((pid, self.supervisors.remove(&pid)?)));
        match found {
            Some((pid, supervisor)) => {
                self.shut_down(pid, supervisor);
                Answer::Ok
            }
            None => Answer::Nobody,
        }
    }

    async fn settled(&mut self) -> Vec<Event> {
        self.settle();
        std::mem::take(&mut self.events)
    }
}
