//! What is undone, and how a rollout ends that did not succeed.
//!
//! Owns the way back: every step that was touched, the last one first and one at a time, without waiting for the
//! journal; the record that says so is written meanwhile.

use super::{DeploymentState, Output, Phase, RolloutEnd, RolloutMachine, Side, StepId, Then};

/// Where the way back stands.
#[derive(Debug)]
pub(super) struct Undoing {
    why: String,
    /// Still to be switched back, the next one last.
    left: Vec<StepId>,
    /// Being switched back.
    under_way: Option<StepId>,
    /// Could not be.
    stuck: Vec<(StepId, String)>,
    /// Why the journal does not say that it is being rolled back.
    pub(super) unjournaled: Option<String>,
}

impl RolloutMachine {
    /// Undoes, now or as soon as what is under way is over; nothing that cannot be undone any more.
    pub(super) fn doom(&mut self, why: String) {
        match &mut self.phase {
            Phase::Undoing(_)
            | Phase::Closing(_)
            | Phase::Ended
            | Phase::Journaling(Then::Release) => {}
            // Two switches of one step at a time would be a race between them. What is being prepared may have its
            // first record any moment, which has to be followed by its last.
            Phase::Switching(_, doomed) | Phase::Preparing(doomed) => {
                doomed.get_or_insert(why);
            }
            _ => self.undo(why),
        }
    }

    pub(super) fn undo(&mut self, why: String) {
        if self.touched.is_empty() {
            self.release_new(&[]);
            let has_record = self.state.is_some() || !self.writing.is_empty();
            if has_record {
                self.write(DeploymentState::Failed, &why);
            }
            self.phase = Phase::Closing(RolloutEnd::Failed {
                why,
                stuck: Vec::new(),
                unjournaled: None,
            });
            if !has_record {
                self.finish(None);
            }
            return;
        }
        let mut undoing = Box::new(Undoing {
            why,
            left: self.touched.clone(),
            under_way: None,
            stuck: Vec::new(),
            unjournaled: None,
        });
        undoing.next(&mut self.outputs);
        self.write(DeploymentState::RollingBack, &undoing.why);
        self.phase = Phase::Undoing(undoing);
    }

    pub(super) fn switched_back(&mut self, step: StepId, failed: Option<String>) {
        let Phase::Undoing(undoing) = &mut self.phase else {
            return;
        };
        if undoing.under_way != Some(step) {
            return;
        }
        undoing.stuck.extend(failed.map(|why| (step, why)));
        undoing.next(&mut self.outputs);
        self.undone();
    }

    /// Ends, if everything is switched back and the journal has been told that it is being done.
    pub(super) fn undone(&mut self) {
        let Phase::Undoing(undoing) = &mut self.phase else {
            return;
        };
        if undoing.under_way.is_some() || !self.writing.is_empty() {
            return;
        }
        let why = std::mem::take(&mut undoing.why);
        let stuck = std::mem::take(&mut undoing.stuck);
        let unjournaled = undoing.unjournaled.take();
        // What could not be switched back goes on with the new revision.
        let serving: Vec<_> = stuck.iter().map(|(step, _)| *step).collect();
        self.release_new(&serving);
        let (state, end) = if stuck.is_empty() {
            let note = why.clone();
            let end = RolloutEnd::RolledBack {
                why: note,
                unjournaled: unjournaled.clone(),
            };
            (DeploymentState::RolledBack, end)
        } else {
            let end = RolloutEnd::Failed {
                why: why.clone(),
                stuck,
                unjournaled: unjournaled.clone(),
            };
            (DeploymentState::Failed, end)
        };
        self.phase = Phase::Closing(end);
        // A journal that has lost one record is not given the next, which could not follow.
        match unjournaled {
            Some(lost) => self.finish(Some(lost)),
            None => self.write(state, &why),
        }
    }

    pub(super) fn finish(&mut self, lost: Option<String>) {
        let Phase::Closing(mut end) = std::mem::replace(&mut self.phase, Phase::Ended) else {
            return;
        };
        match &mut end {
            RolloutEnd::RolledBack { unjournaled, .. } | RolloutEnd::Failed { unjournaled, .. } => {
                *unjournaled = lost
            }
            RolloutEnd::Permanent => {}
        }
        self.outputs.push(Output::Finish(end));
    }

    /// Drops every new revision but these.
    fn release_new(&mut self, but: &[StepId]) {
        let warmed = self.warmed.iter().chain(&self.touched);
        let mut steps: Vec<_> = warmed.copied().filter(|step| !but.contains(step)).collect();
        steps.sort_unstable();
        steps.dedup();
        let released = steps.into_iter().rev();
        self.outputs
            .extend(released.map(|step| Output::Release(step, Side::New)));
    }
}

impl Undoing {
    fn next(&mut self, outputs: &mut Vec<Output>) {
        self.under_way = self.left.pop();
        outputs.extend(self.under_way.map(Output::SwitchBack));
    }
}
