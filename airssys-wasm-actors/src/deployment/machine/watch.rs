//! While time passes: the intervals of a step or of the soak, and the clock that can be stopped.
//!
//! Owns what follows from an interval. The time of a stage is cut into equal intervals of about the gate's length,
//! each judged by itself, so that a bad revision goes when the first of them says so and a bad hour is not thinned
//! by a good day. How often the new revision has ended is looked at whenever it does: a supervisor has patience for a few
//! restarts only. An interval that says nothing is gone on with: what was counted stays counted. Of several steps in
//! one soak each has its own intervals ([`Lane`]); the soak is over when all of them have passed.
//!
//! Where nothing is waited for that would come by itself (while paused, before a promotion), an interval that says
//! nothing is no failure. In the soak a quiet one has passed; one that looks bad without being sure is gone on with, as
//! in a canary, and the soak takes longer by it.

use std::time::Duration;

use super::{DeploymentState, Output, Phase, RolloutMachine, Seen, StepId, Then, Way};
use crate::deployment::gate::{Judge, Verdict, Why, ends, judge};

/// How often a soak is looked at where no gate says so.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(10);

/// What is being watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// A weight of a canary, by its place.
    Canary(StepId, usize),
    Shadow(StepId),
    Soak,
}

/// Where a stage stands.
#[derive(Debug)]
pub(super) struct Watching {
    stage: Stage,
    /// Not empty.
    lanes: Vec<Lane>,
}

/// The intervals of one step that is looked at; or of none, where only time has to pass.
#[derive(Debug)]
struct Lane {
    judged: Option<(StepId, Judge)>,
    /// How long an interval is.
    slice: Duration,
    /// How many have to be passed; `None`: it ends when it is promoted.
    slices_left: Option<u32>,
    /// When the interval is over.
    until: Duration,
    /// What was left of the interval when the clock was stopped.
    stopped: Option<Duration>,
    /// What was left of it when the clock went on while an answer was waited for.
    resumed: Option<Duration>,
    /// The number of the answer that is waited for.
    awaited: Option<u64>,
    /// It was asked for before the interval is over.
    early: bool,
}

/// What an interval has come to, if it is no failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// It says nothing, and need not.
    Quiet,
    Held,
}

impl RolloutMachine {
    pub(super) fn watch(&mut self, stage: Stage, pause: Option<Duration>, now: Duration) {
        let watched = match stage {
            Stage::Canary(step, _) | Stage::Shadow(step) => step.0..step.0 + 1,
            Stage::Soak => 0..self.steps.len(),
        };
        let judged = watched.filter_map(|at| {
            let step = self.steps.get(at)?;
            let gate = step.gate.clone().filter(|_| step.way != Way::Last)?;
            Some((StepId(at), Judge::new(gate)))
        });
        let lane = |judged| Lane::new(judged, pause, self.paused);
        let mut lanes: Vec<_> = judged.map(Some).map(lane).collect();
        if lanes.is_empty() {
            lanes.push(lane(None));
        }
        for lane in &mut lanes {
            lane.begin(now, lane.slice, true, &mut self.outputs);
        }
        let watching = Box::new(Watching { stage, lanes });
        watching.wait(&mut self.outputs);
        self.phase = Phase::Watching(watching);
    }

    pub(super) fn begin_soak(&mut self, now: Duration) {
        if self.soak.is_zero() {
            self.end_soak();
        } else {
            self.watch(Stage::Soak, Some(self.soak), now);
        }
    }

    fn end_soak(&mut self) {
        self.journal(DeploymentState::Permanent, "", Then::Release);
    }

    /// What was waited for has come, or is not waited for any more.
    pub(super) fn stage_over(&mut self, now: Duration) {
        let Phase::Watching(watching) = &self.phase else {
            return;
        };
        match watching.stage {
            Stage::Canary(step, at) => self.begin_weight(step, at + 1, now),
            Stage::Shadow(step) => {
                self.outputs
                    .push(Output::Shadow(step, crate::deployment::Share::NONE));
                self.switch(step);
            }
            Stage::Soak => self.end_soak(),
        }
    }

    pub(super) fn tick(&mut self, now: Duration) {
        let Phase::Watching(watching) = &mut self.phase else {
            return;
        };
        let mut waited = Vec::new();
        for (at, lane) in watching.lanes.iter_mut().enumerate() {
            if lane.awaited.is_some() || now < lane.until {
                continue;
            }
            match &lane.judged {
                Some((step, _)) => {
                    self.round += 1;
                    lane.awaited = Some(self.round);
                    self.outputs.push(Output::Measure(*step, self.round));
                }
                None => waited.push(at),
            }
        }
        if waited.is_empty() {
            watching.wait(&mut self.outputs);
        }
        for at in waited {
            self.interval_over(at, Outcome::Passed, now);
        }
    }

    /// An instance has ended: what it says may be enough already.
    pub(super) fn look(&mut self, step: StepId) {
        let Phase::Watching(watching) = &mut self.phase else {
            return;
        };
        let mut lanes = watching.lanes.iter_mut();
        if let Some(lane) = lanes.find(|lane| lane.awaited.is_none() && lane.is_of(step)) {
            self.round += 1;
            lane.awaited = Some(self.round);
            lane.early = true;
            self.outputs.push(Output::Measure(step, self.round));
        }
    }

    pub(super) fn measured(
        &mut self,
        step: StepId,
        round: u64,
        Seen { stable, candidate }: &Seen,
        now: Duration,
    ) {
        let Phase::Watching(watching) = &mut self.phase else {
            return;
        };
        let mut lanes = watching.lanes.iter_mut();
        let Some(at) = lanes.position(|lane| lane.awaited == Some(round) && lane.is_of(step))
        else {
            return;
        };
        let Some(lane) = watching.lanes.get_mut(at) else {
            return;
        };
        lane.awaited = None;
        let counts = lane.counts_holds();
        let Some((_, gate)) = &mut lane.judged else {
            return;
        };
        if std::mem::take(&mut lane.early) {
            match ends(gate.gate(), candidate) {
                Some(why) => {
                    let why = self.at(step, &why.to_string());
                    self.undo(why);
                }
                // The interval goes on, and may be over meanwhile.
                None => watching.wait(&mut self.outputs),
            }
            return;
        }
        let verdict = match judge(gate.gate(), stable, candidate) {
            // Nobody came: the soak does not wait for somebody.
            Verdict::Hold(Why::TooFew { .. }) if watching.stage == Stage::Soak => {
                self.interval_over(at, Outcome::Quiet, now);
                return;
            }
            _ if counts => gate.judge(stable, candidate),
            verdict => verdict,
        };
        match verdict {
            Verdict::Fail(why) => {
                let why = self.at(step, &why.to_string());
                self.undo(why);
            }
            Verdict::Hold(_) => self.interval_over(at, Outcome::Held, now),
            Verdict::Pass => self.interval_over(at, Outcome::Passed, now),
        }
    }

    /// Nothing speaks against the new revision of a lane.
    fn interval_over(&mut self, at: usize, outcome: Outcome, now: Duration) {
        let Phase::Watching(watching) = &mut self.phase else {
            return;
        };
        let Some(lane) = watching.lanes.get_mut(at) else {
            return;
        };
        let anew = outcome == Outcome::Passed;
        // What was measured is of the time that the clock stood still.
        if let Some(left) = lane.resumed.take() {
            lane.begin(now, left, anew, &mut self.outputs);
            watching.wait(&mut self.outputs);
            return;
        }
        if lane.stopped.is_none()
            && outcome != Outcome::Held
            && let Some(left) = &mut lane.slices_left
        {
            *left = left.saturating_sub(1);
            if watching.lanes.iter().all(Lane::is_over) {
                self.stage_over(now);
                return;
            }
        }
        // Also where it is over and another one is not: it is looked at as long as it can be undone.
        if let Some(lane) = watching.lanes.get_mut(at) {
            lane.begin(now, lane.slice, anew, &mut self.outputs);
        }
        watching.wait(&mut self.outputs);
    }

    pub(super) fn stop_clock(&mut self, now: Duration) {
        let Phase::Watching(watching) = &mut self.phase else {
            return;
        };
        for lane in &mut watching.lanes {
            let left = lane.until.saturating_sub(now);
            lane.stopped = Some(lane.resumed.take().unwrap_or(left));
            if lane.awaited.is_none() {
                lane.begin(now, lane.slice, false, &mut self.outputs);
            }
        }
        watching.wait(&mut self.outputs);
    }

    pub(super) fn start_clock(&mut self, now: Duration) {
        let Phase::Watching(watching) = &mut self.phase else {
            return;
        };
        for lane in &mut watching.lanes {
            let Some(left) = lane.stopped.take() else {
                continue;
            };
            if lane.awaited.is_none() {
                lane.begin(now, left, false, &mut self.outputs);
            } else {
                lane.resumed = Some(left);
            }
        }
        watching.wait(&mut self.outputs);
    }
}

impl Watching {
    /// Waits for the next interval to end, if there is one that ends by time.
    fn wait(&self, outputs: &mut Vec<Output>) {
        let waiting = self.lanes.iter().filter(|lane| lane.awaited.is_none());
        let next = waiting.map(|lane| lane.until).min();
        if let Some(next) = next.filter(|next| *next < Duration::MAX) {
            outputs.push(Output::Wait(next));
        }
    }
}

impl Lane {
    fn new(judged: Option<(StepId, Judge)>, pause: Option<Duration>, is_paused: bool) -> Self {
        let interval = judged
            .as_ref()
            .map_or(pause.unwrap_or(INTERVAL_DEFAULT), |(_, judge)| {
                judge.gate().interval
            })
            .max(Duration::from_millis(1));
        let count = pause.map(|pause| {
            let count = pause.as_nanos() / interval.as_nanos().max(1);
            u32::try_from(count).unwrap_or(u32::MAX).max(1)
        });
        let slice = match (pause, count) {
            (Some(pause), Some(count)) => pause / count,
            _ => interval,
        };
        Self {
            judged,
            slice,
            slices_left: count,
            until: Duration::ZERO,
            stopped: is_paused.then_some(slice),
            resumed: None,
            awaited: None,
            early: false,
        }
    }

    fn is_of(&self, step: StepId) -> bool {
        self.judged.as_ref().is_some_and(|(id, _)| *id == step)
    }

    fn is_over(&self) -> bool {
        self.slices_left == Some(0)
    }

    /// Whether an interval that says nothing is one of those that are too many in a row.
    fn counts_holds(&self) -> bool {
        self.slices_left.is_some() && self.stopped.is_none() && self.resumed.is_none()
    }

    /// The next interval, or more of the one that said nothing.
    fn begin(&mut self, now: Duration, time: Duration, anew: bool, outputs: &mut Vec<Output>) {
        let step = self.judged.as_ref().map(|(step, _)| *step);
        if anew {
            outputs.extend(step.map(Output::BeginInterval));
        }
        // Nobody is looked at, and the clock stands still.
        self.until = if step.is_none() && self.stopped.is_some() {
            Duration::MAX
        } else {
            now.saturating_add(time)
        };
    }
}
