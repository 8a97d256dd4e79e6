//! The task of one rollout.
//!
//! Owns the way between the machine and the world. What takes time runs in tasks of its own, one at a time for a step
//! and in the order the machine gave; each answers with an input. Commands are answered at once.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::bounds;
use super::hanging::watched;
use super::journal::{self, Journal, unix_ms};
use super::parts::{Ground, StepParts, feeding};
use super::{
    DeployOptions, Deployer, Rollout, RolloutNote, RolloutOutcome, RolloutStatus, StepState,
    StepStatus, Turn,
};
use crate::address::ActorAddress;
use crate::application::feeding::FeedingHeld;
use crate::autoscaling::Held;
use crate::deployment::machine::{
    Command, CommandRefused, Input, Output, RolloutEnd, RolloutMachine, Seen, Side, StepId,
};
use crate::deployment::plan::Plan;
use crate::events::{Event, Events};
use crate::exit::ExitReason;
use crate::registry::DeploymentState;
use crate::source::{SourceError, SourceRun};

/// Notes that are kept.
const NOTES_KEPT: usize = 256;

/// Longest a clock is set for at once.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

type Reply = oneshot::Sender<Result<(), CommandRefused>>;

pub(super) struct Driver {
    deployer: Deployer,
    /// Whether it is to become something that does not run already.
    differs: bool,
    plan: Arc<Plan>,
    ground: Ground,
    options: DeployOptions,
    machine: RolloutMachine,
    /// Work that is done in order.
    work: mpsc::UnboundedSender<Work>,
    inputs: mpsc::UnboundedReceiver<Input>,
    tell: mpsc::UnboundedSender<Input>,
    commands: mpsc::Receiver<(Command, Reply)>,
    journal: Option<Journal>,
    status: watch::Sender<RolloutStatus>,
    began: Instant,
    /// When the machine is to be told the time.
    tick: Option<Duration>,
    /// Until the end, nobody else deploys.
    turn: Turn,
    /// What happens to the instances.
    events: Events,
    /// Whether the application is being stopped, which waits for this to be dropped.
    stopping: Option<watch::Receiver<bool>>,
}

/// What takes time.
enum Work {
    Warm(StepId),
    SetWeight(StepId, crate::deployment::Share),
    Shadow(StepId, crate::deployment::Share),
    BeginInterval(StepId),
    Measure(StepId, u64),
    Switch(StepId),
    SwitchBack(StepId),
    Release(StepId, Side),
    /// Everything before is done.
    Finish(oneshot::Sender<()>),
}

impl Driver {
    pub(super) fn new(
        deployer: Deployer,
        plan: Arc<Plan>,
        ground: Ground,
        steps: Vec<StepParts>,
        options: DeployOptions,
        (turn, stopping): (Turn, watch::Receiver<bool>),
        differs: bool,
    ) -> (Rollout, Self) {
        let statuses = plan.steps.iter().map(|step| StepStatus {
            parts: step.parts.iter().map(|part| part.name.clone()).collect(),
            state: StepState::Waiting,
            weight: None,
            arms: None,
        });
        let status = RolloutStatus {
            application: plan.application.to_string(),
            number: None,
            by: options.by.clone(),
            why: options.why.clone(),
            began_unix_ms: unix_ms(),
            state: None,
            paused: false,
            held: None,
            steps: statuses.collect(),
            end: None,
            log: VecDeque::new(),
        };
        let (status, watching) = watch::channel(status);
        let (say, commands) = mpsc::channel(16);
        // unbounded: as many as the machine has asked questions.
        let (tell, inputs) = mpsc::unbounded_channel();
        let steps: Vec<_> = steps
            .into_iter()
            .map(|step| Arc::new(Mutex::new(step)))
            .collect();
        let held = (bounds::hold(&plan, &ground), feeding::hold(&plan, &ground));
        let work = workers(&steps, &ground, held, &tell, &status);
        let rollout = Rollout {
            plan: Arc::clone(&plan),
            status: watching,
            commands: say,
        };
        let driver = Self {
            events: ground.system.events(),
            deployer,
            differs,
            machine: RolloutMachine::of(&plan),
            plan,
            ground,
            options,
            work,
            inputs,
            tell,
            commands,
            journal: None,
            status,
            began: Instant::now(),
            tick: None,
            turn,
            stopping: Some(stopping),
        };
        (rollout, driver)
    }

    pub(super) async fn run(mut self) {
        for what in std::mem::take(&mut self.options.notes) {
            self.note(what);
        }
        self.machine.start();
        loop {
            for output in self.machine.take_outputs() {
                if let Output::Finish(end) = output {
                    self.finish(end).await;
                    return;
                }
                self.act(output);
            }
            self.publish();
            let tick = self.tick.map(|tick| self.alarm(tick));
            let waiting = async move {
                match tick {
                    Some(tick) => sleep_until(tick).await,
                    None => std::future::pending().await,
                }
            };
            let stopping = self.stopping.clone();
            let stopped = async move {
                let Some(mut stopping) = stopping else {
                    return std::future::pending().await;
                };
                // The other end is kept by what this works with.
                let _ = stopping.wait_for(|stopping| *stopping).await;
            };
            tokio::select! {
                biased;
                () = stopped => return self.stop().await,
                Some((command, reply)) = self.commands.recv() => {
                    let now = self.began.elapsed();
                    let what = command.to_string();
                    let answer = self.machine.command(command, now);
                    if answer.is_ok() {
                        self.note(what);
                    }
                    // Whoever asked may have left.
                    let _ = reply.send(answer);
                }
                Some(input) = self.inputs.recv() => self.take(input),
                Some(event) = self.events.recv() => self.hear(&event),
                () = waiting => {
                    let now = self.began.elapsed();
                    // A clock that was set for less than was asked for is set again.
                    if self.tick.is_some_and(|tick| tick <= now) {
                        self.tick = None;
                        self.machine.handle(Input::Tick, now);
                    }
                }
            }
        }
    }

    /// When to look at the clock again, if `tick` is waited for.
    fn alarm(&self, tick: Duration) -> Instant {
        let latest = Instant::now() + WAIT_MAX;
        let at = self.began.checked_add(tick);
        at.map_or(latest, |at| at.min(latest))
    }

    /// Has a step looked at whose instance has ended, and once more when its restart is counted.
    fn hear(&mut self, event: &Event) {
        let who = match event {
            Event::Exited { address, .. } | Event::Started { address, .. } => Some(address),
            // Whoever it was.
            Event::Lagged(_) => None,
            _ => return,
        };
        let application = self.plan.application.as_str();
        let is_of = |name: &str| {
            let address = who.map(ActorAddress::as_str);
            address.is_none_or(|address| {
                let own = address.strip_prefix(application);
                let own = own.and_then(|own| own.strip_prefix('/'));
                let rest = own.and_then(|own| own.strip_prefix(name));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        let steps = self.plan.steps.iter().enumerate();
        let ended = steps.filter(|(_, step)| step.parts.iter().any(|part| is_of(&part.name)));
        let ended: Vec<_> = ended.map(|(at, _)| StepId(at)).collect();
        let now = self.began.elapsed();
        for step in ended {
            self.machine.handle(Input::Ended(step), now);
        }
    }

    fn take(&mut self, input: Input) {
        match &input {
            Input::Warmed(step) => self.mark(*step, StepState::Warm),
            Input::Switched(step) => self.mark(*step, StepState::Switched),
            Input::SwitchedBack(step) => self.mark(*step, StepState::SwitchedBack),
            Input::WarmFailed(step, why)
            | Input::SwitchFailed(step, why)
            | Input::SwitchBackFailed(step, why) => {
                let what = format!("{}: {why}", self.label(*step));
                self.note(what);
            }
            Input::PrepareFailed(why) | Input::JournalFailed(why) => self.note(why.clone()),
            _ => {}
        }
        let now = self.began.elapsed();
        self.machine.handle(input, now);
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::Prepare => {
                let (new, options) = (Arc::clone(&self.ground.new), self.options.clone());
                let (tell, status) = (self.tell.clone(), self.status.clone());
                let (deployer, differs) = (self.deployer.clone(), self.differs);
                let (number, journal) = oneshot::channel();
                let (notes, plan) = (self.status.clone(), Arc::clone(&self.plan));
                let say = move |what: String| note(&notes, &plan, what);
                let (status_held, plan_held) = (self.status.clone(), Arc::clone(&self.plan));
                let hold = move |why: Option<String>| held(&status_held, &plan_held, why);
                let later = Journal::later(journal, self.tell.clone(), hold.clone());
                self.journal = Some(later);
                tokio::spawn(async move {
                    let begun = journal::begin(deployer, differs, new, options, say, &hold);
                    let input = match begun.await {
                        Ok(deployed) => {
                            status.send_modify(|status| {
                                status.number = deployed.as_ref().map(|(.., number)| *number);
                            });
                            // The other end is kept by the journal's task.
                            let _ = number.send(deployed);
                            Input::Prepared
                        }
                        Err(why) => Input::PrepareFailed(why),
                    };
                    // It ends with the rollout.
                    let _ = tell.send(input);
                });
            }
            Output::Journal(state, note) => {
                self.note(match note.as_str() {
                    "" => state.to_string(),
                    note => format!("{state}: {note}"),
                });
                if let Some(journal) = &self.journal {
                    journal.write(state, note);
                }
            }
            Output::Warm(step) => self.do_later(Work::Warm(step)),
            Output::SetWeight(step, share) => {
                self.mark(step, StepState::Trial);
                self.note(format!("{}: {share} of the traffic", self.label(step)));
                self.do_later(Work::SetWeight(step, share));
            }
            Output::Shadow(step, share) => {
                self.mark(step, StepState::Trial);
                self.note(format!(
                    "{}: copies of {share} of the traffic",
                    self.label(step)
                ));
                self.do_later(Work::Shadow(step, share));
            }
            Output::BeginInterval(step) => self.do_later(Work::BeginInterval(step)),
            Output::Measure(step, round) => self.do_later(Work::Measure(step, round)),
            Output::Switch(step) => {
                self.mark(step, StepState::Switching);
                self.do_later(Work::Switch(step));
            }
            Output::SwitchBack(step) => {
                self.mark(step, StepState::SwitchingBack);
                self.do_later(Work::SwitchBack(step));
            }
            Output::Release(step, side) => self.do_later(Work::Release(step, side)),
            Output::Wait(until) => self.tick = Some(until),
            // Taken out before.
            Output::Finish(_) => {}
        }
    }

    fn do_later(&self, work: Work) {
        // The worker ends only with the rollout.
        let _ = self.work.send(work);
    }

    fn label(&self, step: StepId) -> String {
        let step = self.plan.steps.get(step.0);
        let names = step.map(|step| step.parts.iter().map(|part| part.name.as_str()));
        names.map_or_else(String::new, |names| names.collect::<Vec<_>>().join(", "))
    }

    fn mark(&self, step: StepId, state: StepState) {
        self.status.send_modify(|status| {
            if let Some(step) = status.steps.get_mut(step.0) {
                step.state = state;
            }
        });
    }

    fn note(&self, what: String) {
        note(&self.status, &self.plan, what);
    }

    fn publish(&self) {
        self.status.send_modify(|status| {
            status.state = self.machine.state();
            status.paused = self.machine.is_paused();
        });
    }

    /// The application is being stopped: nothing more is done, and what is recorded is ended. What is being written is
    /// written first, and may have been the last.
    async fn stop(mut self) {
        if let Some(journal) = self.journal.take() {
            journal.close().await;
        }
        while let Ok(input) = self.inputs.try_recv() {
            self.take(input);
        }
        let mut end = None;
        for output in self.machine.take_outputs() {
            match output {
                Output::Finish(over) => end = Some(over),
                output @ Output::Release(..) => self.act(output),
                _ => {}
            }
        }
        if let Some(end) = end {
            return self.finish(end).await;
        }
        self.publish();
        self.end_record(journal::was_stopped).await;
        let reason = match self.machine.state() {
            Some(state) => journal::was_stopped(state),
            None => "the host was stopped".to_owned(),
        };
        self.note(reason.clone());
        let stuck = Vec::new();
        let outcome = RolloutOutcome::Failed { reason, stuck };
        self.status.send_modify(|status| status.end = Some(outcome));
    }

    async fn finish(mut self, end: RolloutEnd) {
        if !end.is_unjournaled() {
            // Its end is on disk: the rest is nothing to wait for.
            self.stopping = None;
        }
        let (done, all_done) = oneshot::channel();
        self.do_later(Work::Finish(done));
        let _ = all_done.await;
        let number = self.status.borrow().number;
        let is_recorded = self.differs || number.is_some();
        match &end {
            RolloutEnd::Permanent if is_recorded => self.deployer.became(&self.ground.new, number),
            RolloutEnd::Failed { stuck, .. } if !stuck.is_empty() => {
                let stuck: Vec<_> = stuck.iter().map(|(step, _)| *step).collect();
                self.deployer.left(&self.plan, &stuck, &self.ground.new);
            }
            _ => {}
        }
        self.publish();
        if end.is_unjournaled() {
            self.end_record(journal::was_lost).await;
        } else if number.is_some() {
            self.deployer.inner.unended.store(false, Ordering::Release);
        }
        let outcome = RolloutOutcome::of(end, &self.plan);
        self.note(match &outcome {
            RolloutOutcome::Permanent if !is_recorded => {
                "it is what runs already: nothing is recorded".to_owned()
            }
            RolloutOutcome::Permanent => "the new revisions serve".to_owned(),
            RolloutOutcome::RolledBack { reason } => format!("rolled back: {reason}"),
            RolloutOutcome::Failed { reason, stuck } if stuck.is_empty() => {
                format!("failed, and nothing was switched: {reason}")
            }
            RolloutOutcome::Failed { reason, stuck } => {
                format!("failed: {reason}; not switched back: {}", stuck.join("; "))
            }
        });
        drop(self.turn);
        self.status.send_modify(|status| status.end = Some(outcome));
    }
}

impl Driver {
    /// There is no last record: what is recorded of this deployment is ended, so that it does not stand in the way of the
    /// next. Where that fails too, the next one does it, or the next start of the host.
    async fn end_record(&self, note: fn(DeploymentState) -> String) {
        let Some(registry) = self.deployer.registry().cloned() else {
            return;
        };
        let (deployer, asked) = (self.deployer.clone(), registry.clone());
        let ended = tokio::task::spawn_blocking(move || deployer.end_lost(&registry, note));
        let hold = |why: Option<String>| held(&self.status, &self.plan, why);
        let ended = watched(&asked, "record its end", ended, &hold, None).await;
        if let Ok(Err(why)) = ended {
            tracing::warn!(application = %self.plan.application, %why, "a deployment's end is not recorded yet");
        }
    }
}

/// Something has happened.
fn note(status: &watch::Sender<RolloutStatus>, plan: &Plan, what: String) {
    let application = &plan.application;
    tracing::info!(%application, %what, "deployment");
    status.send_modify(|status| {
        if status.log.len() >= NOTES_KEPT {
            status.log.pop_front();
        }
        let at_unix_ms = unix_ms();
        status.log.push_back(RolloutNote { at_unix_ms, what });
    });
}

/// Something holds it up, and whoever waits for the turn; or does not any more.
fn held(status: &watch::Sender<RolloutStatus>, plan: &Plan, why: Option<String>) {
    let application = &plan.application;
    match &why {
        Some(why) => {
            tracing::warn!(%application, %why, "a deployment is held up, and every other one with it");
            note(status, plan, why.clone());
        }
        None => tracing::info!(%application, "a deployment is not held up any more"),
    }
    status.send_modify(|status| status.held = why);
}

/// Does what takes time, in order.
fn workers(
    steps: &[Arc<Mutex<StepParts>>],
    ground: &Ground,
    held: (Vec<Held>, Option<FeedingHeld>),
    tell: &mpsc::UnboundedSender<Input>,
    status: &watch::Sender<RolloutStatus>,
) -> mpsc::UnboundedSender<Work> {
    // unbounded: as many as the machine has outputs, and it waits for what matters.
    let (work, mut queue) = mpsc::unbounded_channel::<Work>();
    let (steps, ground, tell) = (steps.to_vec(), ground.clone(), tell.clone());
    let status = status.clone();
    tokio::spawn(async move {
        join_all(held.0.iter().map(Held::settled)).await;
        while let Some(work) = queue.recv().await {
            if let Work::Finish(done) = work {
                // Before anybody hears of the end, or has the next turn.
                drop(held);
                // The driver may have been dropped with the runtime.
                let _ = done.send(());
                return;
            }
            // What is not begun is not done any more.
            if tell.is_closed() {
                break;
            }
            if let Some(input) = do_one(&steps, &ground, &status, work).await {
                if let Input::Switched(step) = &input
                    && let Some(parts) = steps.get(step.0)
                {
                    let begun = parts.lock().await.begun();
                    begun
                        .into_iter()
                        .for_each(|run| watch_source(*step, run, &tell));
                }
                // The driver may have stopped meanwhile.
                let _ = tell.send(input);
            }
        }
        // The application is stopped, and what is tried is no part of it.
        for step in &steps {
            step.lock().await.abandon().await;
        }
    });
    work
}

/// A source that fails undoes its deployment, as long as that can be undone.
fn watch_source(step: StepId, run: Arc<SourceRun>, tell: &mpsc::UnboundedSender<Input>) {
    let tell = tell.clone();
    tokio::spawn(async move {
        tokio::select! {
            ended = run.ended() => match ended {
                Err(why) if !matches!(*why, SourceError::Stopped) => {
                    // The driver may have stopped meanwhile.
                    let _ = tell.send(Input::CandidateDied(step, why.to_string()));
                }
                _ => {}
            },
            () = tell.closed() => {}
        }
    });
}

async fn do_one(
    steps: &[Arc<Mutex<StepParts>>],
    ground: &Ground,
    status: &watch::Sender<RolloutStatus>,
    work: Work,
) -> Option<Input> {
    let id = step_of(&work)?;
    let mut parts = steps.get(id.0)?.lock().await;
    let failed = if_it_panics(&work);
    let input = answered(id, failed, work_on(&mut parts, id, ground, work)).await;
    // Whoever waits for a weight waits for it to be set, and not for what happens next.
    let (weight, arms) = (parts.weight(), parts.arms());
    status.send_if_modified(|status| {
        let Some(step) = status.steps.get_mut(id.0) else {
            return false;
        };
        let changed = (step.weight, step.arms) != (weight, arms);
        (step.weight, step.arms) = (weight, arms);
        changed
    });
    input
}

/// Which step it is of; none where there is nothing to do but to say so.
fn step_of(work: &Work) -> Option<StepId> {
    match work {
        Work::Warm(step)
        | Work::SetWeight(step, _)
        | Work::Shadow(step, _)
        | Work::BeginInterval(step)
        | Work::Measure(step, _)
        | Work::Switch(step)
        | Work::SwitchBack(step)
        | Work::Release(step, _) => Some(*step),
        Work::Finish(_) => None,
    }
}

/// What is answered of what is being done, also if that panics: a rollout that was never answered would never end, and keep
/// the turn.
async fn answered(
    id: StepId,
    failed: Option<fn(StepId, String) -> Input>,
    working: impl Future<Output = Option<Input>>,
) -> Option<Input> {
    let working = AssertUnwindSafe(working).catch_unwind();
    working.await.unwrap_or_else(|panic| {
        failed.map(|failed| failed(id, ExitReason::panicked(&*panic).to_string()))
    })
}

/// What is answered when it panics.
fn if_it_panics(work: &Work) -> Option<fn(StepId, String) -> Input> {
    match work {
        Work::Warm(_) => Some(Input::WarmFailed),
        Work::Switch(_) => Some(Input::SwitchFailed),
        Work::SwitchBack(_) => Some(Input::SwitchBackFailed),
        Work::SetWeight(..) | Work::Shadow(..) | Work::BeginInterval(_) | Work::Measure(..) => {
            Some(Input::CandidateDied)
        }
        Work::Release(..) | Work::Finish(_) => None,
    }
}

async fn work_on(parts: &mut StepParts, id: StepId, ground: &Ground, work: Work) -> Option<Input> {
    match work {
        Work::Warm(_) => Some(match parts.warm(ground).await {
            Ok(()) => Input::Warmed(id),
            Err(why) => Input::WarmFailed(id, why),
        }),
        Work::SetWeight(_, share) => {
            let set = parts.set_weight(share, ground).await;
            set.err().map(|why| Input::CandidateDied(id, why))
        }
        Work::Shadow(_, share) => {
            let set = parts.shadow(share, ground).await;
            set.err().map(|why| Input::CandidateDied(id, why))
        }
        Work::BeginInterval(_) => {
            parts.begin_interval(ground);
            None
        }
        Work::Measure(_, round) => {
            let (stable, candidate) = parts.measure(ground);
            Some(Input::IntervalOver {
                step: id,
                round,
                seen: Box::new(Seen { stable, candidate }),
            })
        }
        Work::Switch(_) => Some(match parts.switch(ground).await {
            Ok(()) => Input::Switched(id),
            Err(why) => Input::SwitchFailed(id, why),
        }),
        Work::SwitchBack(_) => Some(match parts.switch_back(ground).await {
            Ok(()) => Input::SwitchedBack(id),
            Err(why) => Input::SwitchBackFailed(id, why),
        }),
        Work::Release(_, Side::Old) => {
            parts.release_old(ground).await;
            None
        }
        Work::Release(_, Side::New) => {
            parts.release_new(ground).await;
            None
        }
        Work::Finish(_) => None,
    }
}

#[cfg(test)]
mod tests;
