//! While time passes: the intervals of a step or of the soak, and the clock that can be stopped.
//!
//! Owns what follows from an interval. The time of a stage is cut into equal intervals of about the gate's length,
//! each judged by itself, so that a bad revision goes when the first of them says so and a bad hour is not thinned
//! by a good day. An interval that says nothing is gone on with: what was counted stays counted.
//!
//! Where nothing is waited for that would come by itself (while paused, before a promotion, in the soak), a quiet
//! interval is no failure.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{DeploymentState, Output, Phase, RolloutMachine, Seen, StepId, Then, Way};
use crate::deployment::gate::{Judge, Verdict, judge};

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
    /// The steps that are looked at, with their gates.
    judges: Vec<(StepId, Judge)>,
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
    /// The answers that are waited for, and their number.
    awaited: BTreeSet<StepId>,
    round: u64,
    /// Of the answers so far, whether one has held.
    held: bool,
}

impl RolloutMachine {
    pub(super) fn watch(&mut self, stage: Stage, pause: Option<Duration>, now: Duration) {
        let watched: Vec<StepId> = match stage {
            Stage::Canary(step, _) | Stage::Shadow(step) => vec![step],
            Stage::Soak => (0..self.steps.len()).map(StepId).collect(),
        };
        let judges: Vec<_> = watched
            .into_iter()
            .filter_map(|id| {
                let step = self.steps.get(id.0)?;
                let gate = step.gate.clone().filter(|_| step.way != Way::Last)?;
                Some((id, Judge::new(gate)))
            })
            .collect();
        let intervals = judges.iter().map(|(_, judge)| judge.gate().interval);
        let interval = intervals
            .min()
            .unwrap_or(pause.unwrap_or(INTERVAL_DEFAULT))
            .max(Duration::from_millis(1));
        let count = pause.map(|pause| {
            let count = pause.as_nanos() / interval.as_nanos().max(1);
            u32::try_from(count).unwrap_or(u32::MAX).max(1)
        });
        let slice = match (pause, count) {
            (Some(pause), Some(count)) => pause / count,
            _ => interval,
        };
        let mut watching = Box::new(Watching {
            stage,
            judges,
            slice,
            slices_left: count,
            until: now,
            stopped: self.paused.then_some(slice),
            resumed: None,
            awaited: BTreeSet::new(),
            round: 0,
            held: false,
        });
        watching.begin(now, slice, true, &mut self.outputs);
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
        if !watching.awaited.is_empty() || now < watching.until {
            return;
        }
        if watching.judges.is_empty() {
            self.interval_over(now);
            return;
        }
        self.round += 1;
        watching.round = self.round;
        watching.held = false;
        for (step, _) in &watching.judges {
            watching.awaited.insert(*step);
            self.outputs.push(Output::Measure(*step, self.round));
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
        if round != watching.round || !watching.awaited.remove(&step) {
            return;
        }
        let counts = watching.counts_holds();
        let judges = watching.judges.iter_mut();
        let Some((_, gate)) = judges.into_iter().find(|(id, _)| *id == step) else {
            return;
        };
        let verdict = if counts {
            gate.judge(stable, candidate)
        } else {
            judge(gate.gate(), stable, candidate)
        };
        match verdict {
            Verdict::Fail(why) => {
                let why = self.at(step, &why.to_string());
                self.undo(why);
                return;
            }
            Verdict::Hold(_) => watching.held = true,
            Verdict::Pass => {}
        }
        if watching.awaited.is_empty() {
            self.interval_over(now);
        }
    }

    /// Nothing speaks against the new revisions.
    fn interval_over(&mut self, now: Duration) {
        let Phase::Watching(watching) = &mut self.phase else {
            return;
        };
        let held = watching.held;
        // What was measured is of the time that the clock stood still.
        if let Some(left) = watching.resumed.take() {
            watching.begin(now, left, !held, &mut self.outputs);
            return;
        }
        let passed = watching.stopped.is_none() && (!held || watching.stage == Stage::Soak);
        if passed && let Some(left) = &mut watching.slices_left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.stage_over(now);
                return;
            }
        }
        let slice = watching.slice;
        watching.begin(now, slice, !held, &mut self.outputs);
    }

    pub(super) fn stop_clock(&mut self, now: Duration) {
        if let Phase::Watching(watching) = &mut self.phase {
            let left = watching.until.saturating_sub(now);
            watching.stopped = Some(watching.resumed.take().unwrap_or(left));
            if watching.awaited.is_empty() {
                let slice = watching.slice;
                watching.begin(now, slice, false, &mut self.outputs);
            }
        }
    }

    pub(super) fn start_clock(&mut self, now: Duration) {
        if let Phase::Watching(watching) = &mut self.phase
            && let Some(left) = watching.stopped.take()
        {
            if watching.awaited.is_empty() {
                watching.begin(now, left, false, &mut self.outputs);
            } else {
                watching.resumed = Some(left);
            }
        }
    }
}

impl Watching {
    /// Whether an interval that says nothing is one of those that are too many in a row.
    fn counts_holds(&self) -> bool {
        self.stage != Stage::Soak
            && self.slices_left.is_some()
            && self.stopped.is_none()
            && self.resumed.is_none()
    }

    /// The next interval, or more of the one that said nothing.
    fn begin(&mut self, now: Duration, time: Duration, anew: bool, outputs: &mut Vec<Output>) {
        if anew {
            let steps = self.judges.iter().map(|(step, _)| *step);
            outputs.extend(steps.map(Output::BeginInterval));
        }
        // Nobody is looked at, and the clock stands still.
        if self.judges.is_empty() && self.stopped.is_some() {
            self.until = Duration::MAX;
            return;
        }
        self.until = now.saturating_add(time);
        outputs.push(Output::Wait(self.until));
    }
}
