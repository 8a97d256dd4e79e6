//! Our own tree as a runner: every worker is a native actor that does what its definition says.
//!
//! What cannot be said of a tree of ours is taken out of a scenario first ([`fit`]), for every runner alike: hooks,
//! because a supervisor of ours answers while a child starts and OTP's does not; outcomes of a supervisor's own start
//! other than those of its children; and a worker that ends with `normal` when it is asked to stop, because then it
//! ends with the reason it was given; terms beside `shutdown`; and faulty specs, which we refuse for the whole tree before
//! anything of it starts.
//!
//! Time is paused: it moves on when everything has come to rest, which is what settling waits for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_wasm::{Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorAddress, ActorRef, ChildSpec, ChildState as OurState, Context, Event as OurEvent,
    Events, ExitReason, Message, RestartIntensity, StartError, Started, StopError,
    Strategy as OurStrategy, Supervisor, SupervisorSpec, System,
};

use super::scenario::{
    Ask, AutoShutdown, Body, Def, DefId, End, Outcome, Restart, Scenario, Shutdown, ShutdownAnswer,
    Step, Strategy,
};
use super::trace::{Answer, ChildState, Event};
use super::tree::Tree;

/// Longer than any time a scenario gives a stubborn worker, shorter than what it gives the others.
const SETTLED: Duration = Duration::from_secs(1);

/// Takes out what is not for a tree of ours.
pub(crate) fn fit(scenario: &mut Scenario) {
    scenario.hooks.clear();
    let mut kinds = Kinds(HashMap::new());
    kinds.add(&scenario.defs, "r", 0);
    let defs = &scenario.defs;
    scenario.steps.retain(|step| match step {
        Step::Change(path, def) => kinds.add(defs, path, *def),
        Step::Ask(path, Ask::Start(def)) => {
            kinds.add(defs, &format!("{path}/{}", defs[*def].id), *def);
            true
        }
        _ => true,
    });
    for step in &mut scenario.steps {
        if let Step::Exit(_, end) = step
            && *end == End::ShutdownTerm
        {
            *end = End::Shutdown;
        }
    }
    let mut may_be_significant = vec![false; scenario.defs.len()];
    for def in 0..scenario.defs.len() {
        let defs = scenario.defs.clone();
        if let Body::Supervisor(sup) = &mut scenario.defs[def].body {
            let mut ids = std::collections::HashSet::new();
            sup.children.retain(|child| ids.insert(&defs[*child].id));
            for child in &sup.children {
                may_be_significant[*child] = sup.auto != AutoShutdown::Never;
            }
        }
    }
    for (def, may) in scenario.defs.iter_mut().zip(may_be_significant) {
        def.significant &= may && def.restart != Restart::Permanent;
        match &mut def.body {
            Body::Supervisor(_) => def.starts.clear(),
            Body::Worker(answer) if *answer == ShutdownAnswer::Normal => {
                *answer = ShutdownAnswer::Obeys;
            }
            Body::Worker(_) => {}
        }
    }
}

/// Whether nothing of a scenario is to be taken out.
pub(crate) fn fits(scenario: &Scenario) -> bool {
    let mut fitted = scenario.clone();
    fit(&mut fitted);
    fitted.to_string() == scenario.to_string()
}

/// Whether each path has workers only, or supervisors only, also where a live change names another child: a child of ours
/// stays of its kind as long as it has its name.
struct Kinds(HashMap<String, bool>);

impl Kinds {
    /// Adds what may be at the path and below it; `false` if that is of another kind than what may be there already.
    fn add(&mut self, defs: &[Def], path: &str, def: DefId) -> bool {
        let sup = match &defs[def].body {
            Body::Supervisor(sup) => Some(sup),
            Body::Worker(_) => None,
        };
        let kind = *self.0.entry(path.to_owned()).or_insert(sup.is_some());
        let below = sup.into_iter().flat_map(|sup| &sup.children);
        let mut agree = kind == sup.is_some();
        for child in below {
            agree &= self.add(defs, &format!("{path}/{}", defs[*child].id), *child);
        }
        agree
    }
}

/// What workers share: the scenario, and how often each path was tried.
struct Board {
    scenario: Scenario,
    attempts: Mutex<HashMap<String, u32>>,
}

impl Board {
    fn begin(&self, path: &str) -> u32 {
        let mut attempts = self.attempts.lock().unwrap();
        let attempt = attempts.entry(path.to_owned()).or_default();
        *attempt += 1;
        *attempt
    }
}

#[derive(Debug, thiserror::Error)]
#[error("as the scenario says")]
struct Scripted;

struct Worker {
    board: Arc<Board>,
    path: String,
    def: DefId,
}

impl Actor for Worker {
    type Error = Scripted;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit("package test:otp; interface ends { end: func(how: u32); }")
    }

    async fn pre_start(&mut self, ctx: &mut Context) -> Result<(), Scripted> {
        let attempt = self.board.begin(&self.path);
        let starts = &self.board.scenario.defs[self.def].starts;
        match starts.get(attempt as usize - 1) {
            Some(Outcome::Failed) => return Err(Scripted),
            Some(Outcome::Ignored) => ctx.decline(),
            _ => {}
        }
        Ok(())
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> Result<(), Scripted> {
        let (how,): (u32,) = message.args().unwrap();
        match how {
            0 => ctx.exit(ExitReason::Normal),
            1 => ctx.exit(ExitReason::Shutdown),
            _ => return Err(Scripted),
        }
        Ok(())
    }

    async fn post_stop(&mut self, reason: &ExitReason) {
        let Body::Worker(answer) = &self.board.scenario.defs[self.def].body else {
            return;
        };
        // Called too when it ends by itself with these reasons; a scripted end is not asked for.
        let asked = matches!(reason, ExitReason::Shutdown) && !self.board.is_ending(&self.path);
        match answer {
            ShutdownAnswer::Stubborn if asked => std::future::pending().await,
            ShutdownAnswer::Crash if asked => std::panic::panic_any("as the scenario says"),
            _ => {}
        }
    }
}

impl Board {
    /// Whether the runner has told the worker to end by itself.
    fn is_ending(&self, path: &str) -> bool {
        let mut attempts = self.attempts.lock().unwrap();
        attempts.remove(&format!("{path}!")).is_some()
    }

    fn mark_ending(&self, path: &str) {
        let mut attempts = self.attempts.lock().unwrap();
        attempts.insert(format!("{path}!"), 1);
    }
}

pub(crate) struct Ours {
    board: Arc<Board>,
    system: System,
    events: Events,
    /// How often each path was tried, and whether it is up, as far as events have told.
    told: HashMap<String, (u32, bool)>,
    pending: Vec<Event>,
    /// What supervisors are made of.
    defs: HashMap<String, DefId>,
    /// The last dynamic child of each path.
    spawned: HashMap<String, Started>,
}

/// `#` is not for addresses.
fn address(path: &str) -> ActorAddress {
    path.replace('#', "n").parse().unwrap()
}

fn path(address: &ActorAddress) -> String {
    address.as_str().replace("/n", "/#")
}

impl Board {
    fn spec(self: &Arc<Self>, path: &str, def: DefId) -> ChildSpec {
        let what = &self.scenario.defs[def];
        let child = match &what.body {
            Body::Worker(_) => {
                let (board, own) = (Arc::clone(self), path.to_owned());
                ChildSpec::native(address(path), move || Worker {
                    board: Arc::clone(&board),
                    path: own.clone(),
                    def,
                })
            }
            Body::Supervisor(_) => ChildSpec::supervisor(self.supervisor(path, def)),
        };
        let child = match what.restart {
            Restart::Permanent => child.restart_permanent(),
            Restart::Transient => child.restart_transient(),
            Restart::Temporary => child.restart_temporary(),
        };
        let mut child = match what.shutdown {
            Shutdown::Brutal => child.shutdown_brutal(),
            Shutdown::Infinity => child.shutdown_infinity(),
            Shutdown::Milliseconds(ms) => {
                child.shutdown_graceful(Duration::from_millis(u64::from(ms)))
            }
        };
        child.significant = what.significant;
        child
    }

    fn supervisor(self: &Arc<Self>, path: &str, def: DefId) -> SupervisorSpec {
        let sup = self.scenario.supervisor(def).unwrap();
        let strategy = match sup.strategy {
            Strategy::OneForOne => OurStrategy::OneForOne,
            Strategy::OneForAll => OurStrategy::OneForAll,
            Strategy::RestForOne => OurStrategy::RestForOne,
            Strategy::SimpleOneForOne => OurStrategy::SimpleOneForOne,
        };
        let children = match sup.strategy {
            // The one it has is the template.
            Strategy::SimpleOneForOne => Vec::new(),
            _ => sup
                .children
                .iter()
                .copied()
                .map(|child| {
                    let id = &self.scenario.defs[child].id;
                    self.spec(&format!("{path}/{id}"), child)
                })
                .collect(),
        };
        SupervisorSpec {
            strategy,
            intensity: RestartIntensity {
                max: sup.max,
                within: Duration::from_secs(1_000_000_000),
            },
            auto_shutdown: match sup.auto {
                AutoShutdown::Never => airssys_wasm_actors::AutoShutdown::Never,
                AutoShutdown::AnySignificant => airssys_wasm_actors::AutoShutdown::AnySignificant,
                AutoShutdown::AllSignificant => airssys_wasm_actors::AutoShutdown::AllSignificant,
            },
            children,
            ..SupervisorSpec::new(address(path))
        }
    }
}

impl Ours {
    pub(crate) async fn new(system: System, scenario: &Scenario) -> Self {
        Self {
            board: Arc::new(Board {
                scenario: scenario.clone(),
                attempts: Mutex::default(),
            }),
            events: system.events(),
            system,
            told: HashMap::new(),
            pending: Vec::new(),
            defs: HashMap::new(),
            spawned: HashMap::new(),
        }
    }

    fn running(&self, path: &str) -> Option<ActorRef> {
        let actor = self.system.whereis(&address(path))?;
        actor.status().running.then_some(actor)
    }

    fn supervisor(&self, path: &str) -> Option<Supervisor> {
        let supervisor = self.system.find_supervisor(&address(path))?;
        self.is_up(path).then_some(supervisor)
    }

    fn attempt(&self, path: &str) -> u32 {
        self.told.get(path).map_or(0, |(attempt, _)| *attempt)
    }

    fn is_up(&self, path: &str) -> bool {
        self.told.get(path).is_some_and(|(_, up)| *up)
    }

    /// A child by this definition is at the path from now on.
    fn adopt(&mut self, path: &str, def: DefId) {
        let Some(sup) = self.board.scenario.supervisor(def).cloned() else {
            return;
        };
        self.defs.insert(path.to_owned(), def);
        if sup.strategy != Strategy::SimpleOneForOne {
            for child in sup.children {
                let id = self.board.scenario.defs[child].id.clone();
                self.adopt(&format!("{path}/{id}"), child);
            }
        }
    }

    /// The one child of a dynamic supervisor; none only in a scenario that is being shrunk.
    fn template(&self, path: &str) -> Option<DefId> {
        let sup = self.board.scenario.supervisor(*self.defs.get(path)?)?;
        sup.children.first().copied()
    }

    /// Takes what has been told by now. Nothing is awaited: a task that has received very much would be told to give way,
    /// as if there were no more.
    fn take(&mut self) {
        while let Some(event) = self.events.try_recv() {
            self.translate(event);
        }
    }

    fn translate(&mut self, event: OurEvent) {
        match event {
            OurEvent::Started { address, .. } => self.begun(&address, Outcome::Started),
            OurEvent::SupervisorStarted { address, .. } => {
                // A worker may have the path another time.
                self.board.begin(&path(&address));
                self.begun(&address, Outcome::Started);
            }
            OurEvent::StartFailed {
                address, reason, ..
            } => self.begun(
                &address,
                match reason {
                    ExitReason::Declined => Outcome::Ignored,
                    _ => Outcome::Failed,
                },
            ),
            OurEvent::Exited {
                address, reason, ..
            } => self.over(&address, &reason),
            OurEvent::SupervisorExited {
                address, reason, ..
            } => {
                if self.is_up(&path(&address)) {
                    self.over(&address, &reason);
                } else {
                    self.board.begin(&path(&address));
                    self.begun(&address, Outcome::Failed);
                }
            }
            OurEvent::Lagged(lost) => panic!("{lost} events are lost"),
            _ => {}
        }
    }

    fn begun(&mut self, address: &ActorAddress, outcome: Outcome) {
        let path = path(address);
        let told = self.told.entry(path.clone()).or_default();
        told.0 += 1;
        told.1 = outcome == Outcome::Started;
        let attempt = told.0;
        self.pending.push(Event::Start {
            path,
            attempt,
            outcome,
        });
    }

    fn over(&mut self, address: &ActorAddress, reason: &ExitReason) {
        let path = path(address);
        let told = self.told.entry(path.clone()).or_default();
        told.1 = false;
        let attempt = told.0;
        let end = match reason {
            ExitReason::Normal => End::Normal,
            ExitReason::Shutdown | ExitReason::CrashLoop => End::Shutdown,
            ExitReason::Killed => End::Killed,
            _ => End::Crash,
        };
        self.pending.push(Event::Stop { path, attempt, end });
    }

    fn of_started(&self, path: &str, started: Result<Started, StartError>) -> Answer {
        match started {
            Ok(_) => Answer::Child(Some(self.attempt(path))),
            Err(StartError::Declined(_)) => Answer::Child(None),
            Err(StartError::AlreadyStarted(_)) => Answer::AlreadyStarted(self.attempt(path)),
            Err(StartError::AlreadyPresent(_)) => Answer::AlreadyPresent,
            Err(StartError::Spec(_)) => Answer::Refused,
            Err(StartError::Child { .. }) => Answer::Error,
            Err(StartError::SupervisorEnded(_)) => Answer::NoProcess,
            Err(other) => panic!("{path}: {other}"),
        }
    }

    fn of_stopped(&self, stopped: Result<(), StopError>) -> Answer {
        match stopped {
            Ok(()) => Answer::Ok,
            Err(StopError::NotFound { .. }) => Answer::NotFound,
            Err(StopError::Running(_)) => Answer::Running,
            Err(StopError::Restarting(_)) => Answer::Restarting,
            Err(StopError::NotStarted { .. }) => Answer::Error,
            Err(StopError::Simple(_)) => Answer::SimpleOneForOne,
            Err(StopError::SupervisorEnded(_)) => Answer::NoProcess,
            Err(other) => panic!("{other}"),
        }
    }

    fn which(&self, supervisor: &Supervisor) -> Answer {
        let dynamic = supervisor.strategy() == OurStrategy::SimpleOneForOne;
        let mut children = Vec::new();
        for info in supervisor.which_children() {
            let path = path(&info.address);
            let state = match info.state {
                OurState::Running => ChildState::Running(self.attempt(&path)),
                OurState::Restarting => ChildState::Restarting,
                _ => ChildState::Undefined,
            };
            let id = path.rsplit('/').next().unwrap().to_owned();
            let id = match state {
                ChildState::Restarting if dynamic => String::new(),
                _ => id,
            };
            children.push((id, state));
        }
        children.reverse();
        if dynamic {
            children.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        Answer::Which(children)
    }
}

impl Tree for Ours {
    async fn boot(&mut self) -> Answer {
        self.adopt("r", 0);
        let root = self.board.spec("r", 0).restart_temporary();
        let booted = match self.system.supervisor().start_child(root).await {
            Ok(_) => Answer::Child(Some(1)),
            // Refused before there was a supervisor; in OTP it is the supervisor that refuses.
            Err(StartError::Spec(_)) => {
                self.begun(&address("r"), Outcome::Failed);
                Answer::Error
            }
            Err(_) => Answer::Error,
        };
        self.take();
        booted
    }

    async fn exit(&mut self, path: &str, end: End) -> Answer {
        if let Some(supervisor) = self.supervisor(path) {
            // OTP's heeds no other exit of a stranger; ours cannot be sent one.
            if end == End::Killed {
                supervisor.kill();
            }
            return Answer::Ok;
        }
        let Some(actor) = self.running(path) else {
            return Answer::Nobody;
        };
        let how = match end {
            End::Killed => {
                actor.kill();
                return Answer::Ok;
            }
            End::Normal => 0_u32,
            End::Shutdown | End::ShutdownTerm => 1,
            End::Crash | End::Orphaned => 2,
        };
        if how == 1 {
            self.board.mark_ending(path);
        }
        actor.cast("end", (how,)).unwrap();
        Answer::Ok
    }

    async fn change(&mut self, path: &str, def: DefId) -> Answer {
        let Some(supervisor) = self.supervisor(path) else {
            return Answer::NoProcess;
        };
        match supervisor.change(self.board.supervisor(path, def)).await {
            Ok(()) => Answer::Ok,
            Err(StartError::Spec(_)) => Answer::Refused,
            Err(other) => panic!("{path}: {other}"),
        }
    }

    async fn ask(&mut self, path: &str, ask: &Ask) -> Answer {
        let Some(supervisor) = self.supervisor(path) else {
            return Answer::NoProcess;
        };
        let child = |id: &String| format!("{path}/{id}");
        match ask {
            Ask::Which => self.which(&supervisor),
            Ask::Count => {
                let count = supervisor.count_children();
                Answer::Count {
                    // Its children have a spec each; OTP's have one for all.
                    specs: match supervisor.strategy() {
                        OurStrategy::SimpleOneForOne => 1,
                        _ => count.specs,
                    },
                    active: i64::try_from(count.active).unwrap(),
                    supervisors: count.supervisors,
                    workers: count.workers,
                }
            }
            Ask::Start(def) => {
                let child = child(&self.board.scenario.defs[*def].id);
                let started = supervisor.start_child(self.board.spec(&child, *def)).await;
                if started.is_ok() {
                    self.adopt(&child, *def);
                }
                self.take();
                self.of_started(&child, started)
            }
            Ask::Spawn(id) => {
                let child = child(id);
                // Arguments for a template are no specification to the others.
                let dynamic = supervisor.strategy() == OurStrategy::SimpleOneForOne;
                let Some(template) = self.template(path).filter(|_| dynamic) else {
                    return Answer::Refused;
                };
                let started = supervisor
                    .start_child(self.board.spec(&child, template))
                    .await;
                if let Ok(started) = &started {
                    self.spawned.insert(child.clone(), started.clone());
                    self.adopt(&child, template);
                }
                self.take();
                self.of_started(&child, started)
            }
            Ask::Terminate(id) if supervisor.strategy() == OurStrategy::SimpleOneForOne => {
                let Some(spawned) = self.spawned.get(&child(id)) else {
                    // There is no handle on one that did not start. OTP's runner knows the process of a
                    // supervisor that was about to, which is dead.
                    let template = self.template(path);
                    let tried = self.attempt(&child(id)) > 0;
                    let sup = template.and_then(|def| self.board.scenario.supervisor(def));
                    return match tried && sup.is_some() {
                        true => Answer::Ok,
                        false => Answer::NotFound,
                    };
                };
                let stopped = supervisor.terminate(spawned).await;
                self.of_stopped(stopped.map(|_| ()))
            }
            Ask::Terminate(id) => {
                let stopped = supervisor.terminate_child(&address(&child(id))).await;
                self.of_stopped(stopped.map(|_| ()))
            }
            Ask::Restart(id) => {
                let child = child(id);
                match supervisor.start_stopped_child(&address(&child)).await {
                    Ok(()) => {
                        self.take();
                        let attempt = self.is_up(&child).then(|| self.attempt(&child));
                        Answer::Child(attempt)
                    }
                    other => self.of_stopped(other),
                }
            }
            Ask::Delete(id) => {
                let deleted = supervisor.delete_child(&address(&child(id))).await;
                self.of_stopped(deleted)
            }
        }
    }

    async fn stop(&mut self) -> Answer {
        let root = address("r");
        let stopped = self.system.supervisor().stop_child(&root).await;
        match stopped {
            Ok(_) => Answer::Ok,
            Err(_) => Answer::Nobody,
        }
    }

    async fn settled(&mut self) -> Vec<Event> {
        tokio::time::sleep(SETTLED).await;
        self.take();
        std::mem::take(&mut self.pending)
    }
}
