//! What a rollout acts on, as far as its machine can tell: who serves, what is on disk, what was dropped.
//!
//! Every output is checked when it comes: that nothing is done before its record, that no two switches are under way,
//! that nothing is dropped that serves.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::*;
use crate::deployment::gate::Latency;

/// Who serves a step's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serving {
    Old,
    /// Both, or nobody knows.
    Mixed,
    New,
}

/// A question that is to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pending {
    Prepare,
    Journal(DeploymentState),
    Warm(StepId),
    Switch(StepId),
    Back(StepId),
    Measure(StepId, u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    Failed,
}

pub(super) struct World {
    machine: RolloutMachine,
    pub(super) now: Duration,
    wait: Option<Duration>,
    pub(super) pending: VecDeque<Pending>,
    pub(super) serving: Vec<Serving>,
    /// What is on disk.
    pub(super) journal: Vec<DeploymentState>,
    pub(super) said: Vec<String>,
    pub(super) end: Option<RolloutEnd>,
    /// From this record on, the disk is full.
    pub(super) full_from: Option<DeploymentState>,
    full: bool,
    stuck: Vec<StepId>,
    dropped_new: Vec<StepId>,
}

pub(super) fn interval(requests: u64, errors: u64) -> Interval {
    Interval {
        requests,
        errors,
        latency: Latency {
            samples: requests,
            ..Latency::default()
        },
        ..Interval::default()
    }
}

pub(super) fn word(output: &Output) -> String {
    match output {
        Output::Prepare => "prepare".to_owned(),
        Output::Journal(state, _) => state.to_string(),
        Output::Warm(step) => format!("warm:{}", step.0),
        Output::SetWeight(step, share) => format!("weight:{}:{share}", step.0),
        Output::Shadow(step, share) => format!("shadow:{}:{share}", step.0),
        Output::BeginInterval(step) => format!("begin:{}", step.0),
        Output::Measure(step, _) => format!("measure:{}", step.0),
        Output::Switch(step) => format!("switch:{}", step.0),
        Output::SwitchBack(step) => format!("back:{}", step.0),
        Output::Release(step, Side::Old) => format!("drop-old:{}", step.0),
        Output::Release(step, Side::New) => format!("drop-new:{}", step.0),
        Output::Wait(until) => format!("wait:{until:?}"),
        Output::Finish(_) => "finish".to_owned(),
    }
}

impl World {
    pub(super) fn new(steps: Vec<RolloutStep>, soak: Duration) -> Self {
        let serving = vec![Serving::Old; steps.len()];
        let mut machine = RolloutMachine::new(steps, soak);
        machine.start();
        let mut world = Self {
            machine,
            now: Duration::ZERO,
            wait: None,
            pending: VecDeque::new(),
            serving,
            journal: Vec::new(),
            said: Vec::new(),
            end: None,
            full_from: None,
            full: false,
            stuck: Vec::new(),
            dropped_new: Vec::new(),
        };
        world.take();
        world
    }

    /// Takes what the machine puts out, and looks that it may.
    fn take(&mut self) {
        for output in self.machine.take_outputs() {
            assert_eq!(self.end, None, "after its end: {output:?}");
            self.said.push(word(&output));
            let on_disk = self.journal.last().copied();
            match output {
                Output::Prepare => self.pending.push_back(Pending::Prepare),
                Output::Journal(state, _) => self.pending.push_back(Pending::Journal(state)),
                Output::Warm(step) => {
                    assert_eq!(on_disk, Some(DeploymentState::Prepared));
                    self.pending.push_back(Pending::Warm(step));
                }
                Output::SetWeight(step, weight) => {
                    assert_eq!(on_disk, Some(DeploymentState::Switching));
                    assert!(!self.is_switching() && weight > Share::NONE);
                    self.serving[step.0] = Serving::Mixed;
                }
                // Who copies are sent to does not serve.
                Output::Shadow(..) => assert_eq!(on_disk, Some(DeploymentState::Switching)),
                Output::BeginInterval(_) | Output::Wait(_) => {}
                Output::Measure(step, round) => {
                    self.pending.push_back(Pending::Measure(step, round));
                }
                Output::Switch(step) => {
                    assert_eq!(on_disk, Some(DeploymentState::Switching));
                    assert!(!self.is_switching(), "two switches at a time");
                    self.serving[step.0] = Serving::Mixed;
                    self.pending.push_back(Pending::Switch(step));
                }
                Output::SwitchBack(step) => {
                    assert!(!self.is_switching(), "two switches at a time");
                    self.pending.push_back(Pending::Back(step));
                }
                Output::Release(step, Side::Old) => {
                    assert_eq!(on_disk, Some(DeploymentState::Permanent));
                    let last = self.machine.steps[step.0].way == Way::Last;
                    assert!(last || self.serving[step.0] == Serving::New);
                }
                Output::Release(step, Side::New) => {
                    assert_eq!(self.serving[step.0], Serving::Old, "what serves is dropped");
                    self.dropped_new.push(step);
                }
                Output::Finish(ref end) => self.finish(end),
            }
            if let Output::Wait(until) = output {
                self.wait = Some(until);
            }
        }
    }

    fn finish(&mut self, end: &RolloutEnd) {
        let prepares = self.pending.contains(&Pending::Prepare);
        assert!(!prepares, "a first record may follow that nobody ends");
        let steps = self.machine.steps.iter().zip(&self.serving);
        for (at, (step, serving)) in steps.enumerate() {
            let id = StepId(at);
            match end {
                _ if step.way == Way::Last => {}
                RolloutEnd::Permanent => assert_eq!(*serving, Serving::New),
                RolloutEnd::RolledBack { .. } => assert_eq!(*serving, Serving::Old),
                RolloutEnd::Failed { stuck, .. } => {
                    let is_stuck = stuck.iter().any(|(step, _)| *step == id);
                    assert_eq!(is_stuck, self.stuck.contains(&id));
                    assert!(is_stuck || *serving == Serving::Old);
                }
            }
            let was_warmed = self.said.contains(&format!("warm:{at}"));
            let undone = !matches!(end, RolloutEnd::Permanent);
            if undone && was_warmed && !self.stuck.contains(&id) {
                assert!(self.dropped_new.contains(&id), "{at} is kept for ever");
            }
        }
        let last = self.journal.last().copied();
        match end {
            RolloutEnd::Permanent => assert_eq!(last, Some(DeploymentState::Permanent)),
            RolloutEnd::RolledBack { unjournaled, .. } => {
                assert!(unjournaled.is_some() || last == Some(DeploymentState::RolledBack));
            }
            RolloutEnd::Failed { unjournaled, .. } => {
                let said = last.is_none() || last == Some(DeploymentState::Failed);
                assert!(unjournaled.is_some() || said);
            }
        }
        self.end = Some(end.clone());
    }

    fn is_switching(&self) -> bool {
        let switches = |pending: &Pending| matches!(pending, Pending::Switch(_) | Pending::Back(_));
        self.pending.iter().any(switches)
    }

    pub(super) fn is_being_made_permanent(&self) -> bool {
        self.pending
            .contains(&Pending::Journal(DeploymentState::Permanent))
    }

    pub(super) fn tell(&mut self, input: Input) {
        self.machine.handle(input, self.now);
        self.take();
    }

    pub(super) fn command(&mut self, command: Command) -> Result<(), CommandRefused> {
        let answer = self.machine.command(command, self.now);
        self.take();
        answer
    }

    /// Lets the time pass that is waited for.
    pub(super) fn tick(&mut self) {
        if let Some(until) = self.wait.take() {
            self.now = self.now.max(until);
        }
        self.tell(Input::Tick);
    }

    pub(super) fn answer_first(&mut self, answer: Answer) {
        let first = self.pending.front().cloned().unwrap();
        self.answer(&first, answer);
    }

    /// Answers a question. Records are answered in their order.
    pub(super) fn answer(&mut self, pending: &Pending, answer: Answer) {
        let asked = match pending {
            Pending::Journal(_) => {
                let is_record = |pending: &Pending| matches!(pending, Pending::Journal(_));
                self.pending.iter().position(is_record).unwrap()
            }
            other => self.pending.iter().position(|one| one == other).unwrap(),
        };
        let pending = self.pending.remove(asked).unwrap();
        let (ok, why) = (answer == Answer::Done, || "it broke".to_owned());
        let input = match pending {
            Pending::Prepare if ok => Input::Prepared,
            Pending::Prepare => Input::PrepareFailed(why()),
            Pending::Journal(state) => {
                self.full |= self.full_from == Some(state);
                // There is no deployment that could have failed.
                let nothing = state == DeploymentState::Failed && self.journal.is_empty();
                if ok && !self.full && !nothing {
                    let first = state == DeploymentState::Prepared;
                    let before = self.journal.last().copied();
                    assert!(
                        before.map_or(first, |before| before.may_become(state)),
                        "{state} after {:?}",
                        self.journal
                    );
                    self.journal.push(state);
                    Input::Journaled
                } else {
                    Input::JournalFailed(why())
                }
            }
            Pending::Warm(step) if ok => Input::Warmed(step),
            Pending::Warm(step) => Input::WarmFailed(step, why()),
            Pending::Switch(step) if ok => {
                self.serving[step.0] = Serving::New;
                Input::Switched(step)
            }
            Pending::Switch(step) => Input::SwitchFailed(step, why()),
            Pending::Back(step) if ok => {
                self.serving[step.0] = Serving::Old;
                Input::SwitchedBack(step)
            }
            Pending::Back(step) => {
                self.stuck.push(step);
                Input::SwitchBackFailed(step, why())
            }
            Pending::Measure(step, round) => {
                let errors = if ok { 0 } else { 900 };
                return self.over(step, round, interval(1_000, errors));
            }
        };
        self.tell(input);
    }

    /// Answers what is being measured.
    pub(super) fn measured(&mut self, step: usize, candidate: Interval) {
        let is_measured =
            |pending: &Pending| matches!(pending, Pending::Measure(id, _) if id.0 == step);
        let at = self.pending.iter().position(is_measured).unwrap();
        if let Some(Pending::Measure(step, round)) = self.pending.remove(at) {
            self.over(step, round, candidate);
        }
    }

    fn over(&mut self, step: StepId, round: u64, candidate: Interval) {
        self.tell(Input::IntervalOver {
            step,
            round,
            seen: Box::new(Seen {
                stable: interval(1_000, 0),
                candidate,
            }),
        });
    }

    /// One step of the way where nothing fails; `None` if there is none.
    pub(super) fn step(&mut self) -> Option<()> {
        if self.end.is_some() {
            return None;
        }
        if !self.pending.is_empty() {
            self.answer_first(Answer::Done);
        } else if self.wait.is_some() {
            self.tick();
        } else {
            return None;
        }
        Some(())
    }

    pub(super) fn run(&mut self) {
        for _ in 0..1_000 {
            if self.step().is_none() {
                return;
            }
        }
        panic!("it does not end: {:?}", self.said);
    }

    /// Goes on until this was put out last.
    pub(super) fn run_to(&mut self, output: &Output) {
        while self.said.last() != Some(&word(output)) {
            self.step().unwrap();
        }
    }

    /// The last outputs.
    pub(super) fn last(&self, count: usize) -> String {
        self.said[self.said.len() - count..].join(" ")
    }
}
