//! The way of one deployment: a pure state machine.
//!
//! Owns where a rollout stands, what is done next, and what is undone when something fails. It is told what happened
//! ([`Input`]) and when, and says what to do ([`Output`]), in order; it does nothing itself and reads no clock.
//! Time is how long the rollout has been under way.
//!
//! ```text
//! prepare ─ Prepared ─ warm all ─ Warmed ─ for each step: Switching ─ (weights, copies) ─ switch ─ Soaking ─ Permanent
//!    │                    │                        │                                            │
//!    └────────────────────┴─ Failed                └── switch back what was touched, in reverse ┴─ RollingBack ─ RolledBack
//! ```
//!
//! - The words with a capital are records of the journal. Each is written, and its writing waited for, before what
//!   it names is done; a rollback is the exception: it switches first, because a crash in it boots the old
//!   revisions anyway.
//! - All soaks are one, after the last switch, as long as the longest. What is gone is stopped after that: until
//!   then everything can be undone.
//! - A step whose switch has failed, or whose traffic was split, counts as touched: it is switched back too. To switch
//!   back is to put the old revision in charge, whatever had been done.
//! - A switch back that fails is reported, and the others go on.
//! - What could not even be prepared leaves no record: there is no deployment of it.
//!
//! Deliberately absent: how any of it is done, and what the gate says of an interval.

mod steps;
#[cfg(test)]
mod tests;
mod undo;
mod watch;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

pub(crate) use steps::{RolloutStep, Way};

use super::gate::Interval;
use super::share::Share;
use crate::registry::DeploymentState;
use undo::Undoing;
use watch::{Stage, Watching};

/// The place of a step in its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StepId(pub(crate) usize);

/// What a rollout is told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Input {
    /// Everything is loaded, and fits.
    Prepared,
    /// It is not, or does not.
    PrepareFailed(String),
    /// The new revisions of a step are warm.
    Warmed(StepId),
    /// They do not start, or are not well.
    WarmFailed(StepId, String),
    /// The new revisions of a step serve, alone.
    Switched(StepId),
    /// They do not.
    SwitchFailed(StepId, String),
    /// The old revisions of a step serve again, alone.
    SwitchedBack(StepId),
    /// They do not.
    SwitchBackFailed(StepId, String),
    /// The oldest record that was not confirmed yet is on disk.
    Journaled,
    /// It is not; of [`DeploymentState::Permanent`] that is certain, because what it says cannot be undone.
    JournalFailed(String),
    /// What both revisions did since the interval began.
    IntervalOver {
        /// The step that was measured.
        step: StepId,
        /// The number that the question had.
        round: u64,
        /// What both did.
        seen: Box<Seen>,
    },
    /// An instance of a step has ended, or been started again.
    Ended(StepId),
    /// A new revision cannot be kept up.
    CandidateDied(StepId, String),
    /// Time has passed.
    Tick,
}

/// What the two revisions of a step did in the same interval.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    /// The old one; nothing, once it does not serve any more.
    pub(crate) stable: Interval,
    /// The new one.
    pub(crate) candidate: Interval,
}

/// What an operator may say meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// What is left of the step's time, or of the soak, is skipped; a pause ends.
    Promote,
    /// The clocks of steps and soak stand still, and no further step begins. The new revision is looked at as before.
    Pause,
    /// They go on.
    Resume,
    /// The old revisions are put back.
    RollBack {
        /// Why, for the journal.
        why: String,
    },
}

impl std::fmt::Display for Command {
    /// What has been done, once it is.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Promote => f.write_str("promoted"),
            Self::Pause => f.write_str("paused"),
            Self::Resume => f.write_str("resumed"),
            Self::RollBack { why } => write!(f, "to be rolled back: {why}"),
        }
    }
}

/// A command that says nothing to a rollout as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandRefused {
    /// It is over, or cannot be undone any more.
    #[error("the rollout is over, or cannot be undone any more")]
    Over,
    /// It is being rolled back.
    #[error("the rollout is being rolled back already")]
    RollingBack,
    /// No time is being waited for.
    #[error("nothing is being waited for that could be skipped")]
    NothingToSkip,
    /// It is paused.
    #[error("the rollout is paused already")]
    Paused,
    /// It is not paused.
    #[error("the rollout is not paused")]
    NotPaused,
}

/// Which revision of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// The one that was there before; of what is gone, all there is.
    Old,
    /// The one that was to follow.
    New,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Output {
    /// Load everything, and check what can be checked without starting it.
    Prepare,
    /// Write a record, and say [`Input::Journaled`] when it is on disk.
    Journal(DeploymentState, String),
    /// Start the new revisions of a step beside the old ones.
    Warm(StepId),
    /// Give the new revision so much of the traffic.
    SetWeight(StepId, Share),
    /// Give the new revision copies of so much of the traffic; none ends it.
    Shadow(StepId, Share),
    /// Count anew what the two revisions of a step do.
    BeginInterval(StepId),
    /// Say what they did since, with this number.
    Measure(StepId, u64),
    /// Put the new revisions of a step in charge.
    Switch(StepId),
    /// Put the old revisions of a step in charge, whatever was done.
    SwitchBack(StepId),
    /// Drop what is kept of a step.
    Release(StepId, Side),
    /// Say [`Input::Tick`] at this time; it takes the place of the one before.
    Wait(Duration),
    /// It is over.
    Finish(RolloutEnd),
}

/// How a rollout ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RolloutEnd {
    /// The new revisions serve.
    Permanent,
    /// The old revisions serve again.
    RolledBack {
        /// What made it so.
        why: String,
        /// Why the journal does not say so, if it does not.
        unjournaled: Option<String>,
    },
    /// Nothing was switched, or something could not be switched back.
    Failed {
        /// What made it so.
        why: String,
        /// The steps whose old revisions could not be put back, and why not.
        stuck: Vec<(StepId, String)>,
        /// Why the journal does not say so, if it does not.
        unjournaled: Option<String>,
    },
}

impl RolloutEnd {
    /// Whether the journal does not say so.
    pub(crate) fn is_unjournaled(&self) -> bool {
        match self {
            Self::Permanent => false,
            Self::RolledBack { unjournaled, .. } | Self::Failed { unjournaled, .. } => {
                unjournaled.is_some()
            }
        }
    }
}

/// What follows once a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Warm,
    /// The steps from this one on.
    Steps(usize),
    /// This step, which the record is about; `None` where there is none.
    Act(Option<StepId>),
    Soak,
    Release,
}

#[derive(Debug)]
enum Phase {
    New,
    /// With why it is given up as soon as it is known whether there is a record to end.
    Preparing(Option<String>),
    Journaling(Then),
    Warming(BTreeSet<StepId>),
    /// Paused before this.
    Parked(Then),
    /// With what is to be undone as soon as this is over.
    Switching(StepId, Option<String>),
    Watching(Box<Watching>),
    Undoing(Box<Undoing>),
    /// The last record is being written.
    Closing(RolloutEnd),
    Ended,
}

/// One rollout.
#[derive(Debug)]
pub(crate) struct RolloutMachine {
    steps: Vec<RolloutStep>,
    soak: Duration,
    phase: Phase,
    paused: bool,
    /// Steps whose new revisions are warm, or are being warmed.
    warmed: BTreeSet<StepId>,
    /// Steps that have been touched, in order.
    touched: Vec<StepId>,
    /// Records that are being written, oldest first.
    writing: VecDeque<DeploymentState>,
    /// The newest record that is on disk.
    state: Option<DeploymentState>,
    /// Numbers the questions.
    round: u64,
    outputs: Vec<Output>,
}

impl RolloutMachine {
    /// A rollout of these steps, after whose last one the old revisions are kept for `soak`.
    #[must_use]
    pub(crate) fn new(steps: Vec<RolloutStep>, soak: Duration) -> Self {
        Self {
            steps,
            soak,
            phase: Phase::New,
            paused: false,
            warmed: BTreeSet::new(),
            touched: Vec::new(),
            writing: VecDeque::new(),
            state: None,
            round: 0,
            outputs: Vec::new(),
        }
    }

    /// A rollout of a plan.
    #[must_use]
    pub(crate) fn of(plan: &super::Plan) -> Self {
        let steps = plan.steps.iter().map(RolloutStep::of).collect();
        Self::new(steps, plan.soak())
    }

    /// Begins.
    pub(crate) fn start(&mut self) {
        if matches!(self.phase, Phase::New) {
            self.phase = Phase::Preparing(None);
            self.outputs.push(Output::Prepare);
        }
    }

    /// What is to be done since it was last asked.
    pub(crate) fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// The newest record that is on disk.
    #[must_use]
    pub(crate) fn state(&self) -> Option<DeploymentState> {
        self.state
    }

    /// Whether its clocks stand still.
    #[must_use]
    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether it is over.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Takes what happened at `now`. What does not belong to where it stands is late, and says nothing.
    pub(crate) fn handle(&mut self, input: Input, now: Duration) {
        match input {
            Input::Prepared => {
                if let Phase::Preparing(doomed) = &mut self.phase {
                    let doomed = doomed.take();
                    self.journal(DeploymentState::Prepared, "", Then::Warm);
                    if let Some(why) = doomed {
                        self.undo(why);
                    }
                }
            }
            Input::PrepareFailed(why) => {
                if let Phase::Preparing(doomed) = &mut self.phase {
                    let why = doomed.take().unwrap_or(why);
                    self.undo(why);
                }
            }
            Input::Warmed(step) => self.warmed(step),
            Input::WarmFailed(step, why) => {
                if matches!(self.phase, Phase::Warming(_)) {
                    let why = self.at(step, &why);
                    self.undo(why);
                }
            }
            Input::Switched(step) => self.switched(step, now),
            Input::SwitchFailed(step, why) => {
                if self.is_switching(step) {
                    let why = self.at(step, &why);
                    self.undo(why);
                }
            }
            Input::SwitchedBack(step) => self.switched_back(step, None),
            Input::SwitchBackFailed(step, why) => self.switched_back(step, Some(why)),
            Input::Journaled => self.journaled(now),
            Input::JournalFailed(why) => self.journal_failed(why),
            Input::IntervalOver { step, round, seen } => self.measured(step, round, &seen, now),
            Input::Ended(step) => self.look(step),
            Input::CandidateDied(step, why) => {
                let why = self.at(step, &why);
                self.doom(why);
            }
            Input::Tick => self.tick(now),
        }
    }

    /// Takes what an operator says at `now`.
    ///
    /// # Errors
    /// [`CommandRefused`] when it says nothing to the rollout as it is.
    pub(crate) fn command(
        &mut self,
        command: Command,
        now: Duration,
    ) -> Result<(), CommandRefused> {
        match &self.phase {
            Phase::Undoing(_) => return Err(CommandRefused::RollingBack),
            Phase::Closing(_) | Phase::Ended | Phase::Journaling(Then::Release) => {
                return Err(CommandRefused::Over);
            }
            _ => {}
        }
        match command {
            Command::Promote => self.promote(now),
            Command::Pause if self.paused => Err(CommandRefused::Paused),
            Command::Pause => {
                self.paused = true;
                self.stop_clock(now);
                Ok(())
            }
            Command::Resume if !self.paused => Err(CommandRefused::NotPaused),
            Command::Resume => {
                self.paused = false;
                self.start_clock(now);
                self.unpark(now);
                Ok(())
            }
            Command::RollBack { why } => {
                self.doom(why);
                Ok(())
            }
        }
    }

    fn promote(&mut self, now: Duration) -> Result<(), CommandRefused> {
        match self.phase {
            Phase::Watching(_) => {
                self.paused = false;
                self.stage_over(now);
            }
            Phase::Parked(_) => {
                self.paused = false;
                self.unpark(now);
            }
            _ => return Err(CommandRefused::NothingToSkip),
        }
        Ok(())
    }

    fn unpark(&mut self, now: Duration) {
        if let Phase::Parked(then) = self.phase {
            self.go_on(then, now);
        }
    }

    fn journal(&mut self, state: DeploymentState, note: &str, then: Then) {
        self.write(state, note);
        self.phase = Phase::Journaling(then);
    }

    fn write(&mut self, state: DeploymentState, note: &str) {
        self.writing.push_back(state);
        self.outputs.push(Output::Journal(state, note.to_owned()));
    }

    fn journaled(&mut self, now: Duration) {
        let Some(written) = self.writing.pop_front() else {
            return;
        };
        self.state = Some(written);
        // One that was begun before what is being done now says nothing to it.
        if !self.writing.is_empty() {
            return;
        }
        match &self.phase {
            Phase::Journaling(then) => {
                let then = *then;
                self.go_on(then, now);
            }
            Phase::Undoing(_) => self.undone(),
            Phase::Closing(_) => self.finish(None),
            _ => {}
        }
    }

    fn journal_failed(&mut self, why: String) {
        let Some(lost) = self.writing.pop_front() else {
            return;
        };
        match &mut self.phase {
            Phase::Journaling(_) => {
                let why = format!("the record `{lost}` could not be written: {why}");
                self.undo(why);
            }
            Phase::Undoing(undoing) => {
                if lost == DeploymentState::RollingBack {
                    undoing.unjournaled = Some(why);
                }
                self.undone();
            }
            Phase::Closing(_) if self.writing.is_empty() => self.finish(Some(why)),
            _ => {}
        }
    }

    /// Does what follows, unless it is to wait.
    fn go_on(&mut self, then: Then, now: Duration) {
        let waits = matches!(then, Then::Steps(_) | Then::Act(_));
        if self.paused && waits {
            self.phase = Phase::Parked(then);
            return;
        }
        match then {
            Then::Warm => self.warm(),
            Then::Steps(from) => self.next_step(from),
            Then::Act(None) => self.next_step(self.steps.len()),
            Then::Act(Some(step)) => self.act(step, now),
            Then::Soak => self.begin_soak(now),
            Then::Release => self.release(),
        }
    }

    fn warm(&mut self) {
        let steps = self.steps.iter().enumerate();
        let steps = steps.filter(|(_, step)| step.warm);
        let steps: BTreeSet<_> = steps.map(|(at, _)| StepId(at)).collect();
        self.outputs.extend(steps.iter().copied().map(Output::Warm));
        self.warmed.clone_from(&steps);
        if steps.is_empty() {
            self.journal(DeploymentState::Warmed, "", Then::Steps(0));
        } else {
            self.phase = Phase::Warming(steps);
        }
    }

    fn warmed(&mut self, step: StepId) {
        let Phase::Warming(left) = &mut self.phase else {
            return;
        };
        left.remove(&step);
        if left.is_empty() {
            self.journal(DeploymentState::Warmed, "", Then::Steps(0));
        }
    }

    /// Goes to the first step from `from` on that is not left for the end.
    fn next_step(&mut self, from: usize) {
        let mut steps = self.steps.iter().enumerate().skip(from);
        let next = steps.find(|(_, step)| step.way != Way::Last);
        match next.map(|(at, step)| (StepId(at), step.label.clone())) {
            Some((step, label)) => {
                self.journal(DeploymentState::Switching, &label, Then::Act(Some(step)));
            }
            None if self.state == Some(DeploymentState::Warmed) => {
                let note = "nothing is switched";
                self.journal(DeploymentState::Switching, note, Then::Act(None));
            }
            None => self.journal(DeploymentState::Soaking, "", Then::Soak),
        }
    }

    fn act(&mut self, step: StepId, now: Duration) {
        let Some(RolloutStep { way, .. }) = self.steps.get(step.0) else {
            return;
        };
        match way {
            Way::AtOnce | Way::Last => self.switch(step),
            Way::Canary(_) => self.begin_weight(step, 0, now),
            Way::Shadow { share, pause } => {
                let (share, pause) = (*share, *pause);
                self.touch(step);
                self.outputs.push(Output::Shadow(step, share));
                self.watch(Stage::Shadow(step), Some(pause), now);
            }
        }
    }

    fn begin_weight(&mut self, step: StepId, at: usize, now: Duration) {
        let next = self.steps.get(step.0).and_then(|step| match &step.way {
            Way::Canary(steps) => steps.get(at).copied(),
            _ => None,
        });
        match next {
            Some(next) => {
                self.touch(step);
                self.outputs.push(Output::SetWeight(step, next.weight));
                self.watch(Stage::Canary(step, at), next.pause, now);
            }
            None => self.switch(step),
        }
    }

    fn switch(&mut self, step: StepId) {
        self.touch(step);
        self.outputs.push(Output::Switch(step));
        self.phase = Phase::Switching(step, None);
    }

    fn touch(&mut self, step: StepId) {
        if !self.touched.contains(&step) {
            self.touched.push(step);
        }
    }

    fn is_switching(&self, step: StepId) -> bool {
        matches!(&self.phase, Phase::Switching(under_way, _) if *under_way == step)
    }

    fn switched(&mut self, step: StepId, now: Duration) {
        let Phase::Switching(under_way, doomed) = &mut self.phase else {
            return;
        };
        if *under_way != step {
            return;
        }
        match doomed.take() {
            Some(why) => self.undo(why),
            None => self.go_on(Then::Steps(step.0 + 1), now),
        }
    }

    /// Nothing is undone any more: what is kept goes, and then what is gone.
    fn release(&mut self) {
        for last in [false, true] {
            let steps = self.steps.iter().enumerate();
            let steps = steps.filter(|(_, step)| (step.way == Way::Last) == last);
            let released = steps.map(|(at, _)| Output::Release(StepId(at), Side::Old));
            self.outputs.extend(released);
        }
        self.outputs.push(Output::Finish(RolloutEnd::Permanent));
        self.phase = Phase::Ended;
    }

    /// Why, with the step it happened at.
    fn at(&self, step: StepId, why: &str) -> String {
        match self.steps.get(step.0) {
            Some(step) => format!("{}: {why}", step.label),
            None => why.to_owned(),
        }
    }
}
