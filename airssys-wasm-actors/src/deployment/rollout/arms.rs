//! What the two revisions of a step did while its traffic is split, for whoever looks.
//!
//! Owns [`StepArms`]: counts as they were when the last interval ended. They decide nothing: the gate has its own reading.

use serde::Serialize;

use crate::route::ArmStats;

/// What each revision of a step did since its traffic is split, or copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct StepArms {
    /// The one that was there before.
    pub stable: ArmCounts,
    /// The new one.
    pub candidate: ArmCounts,
}

/// What one revision did: the counts of [`ArmStats`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct ArmCounts {
    /// Calls and casts that went to it.
    pub requests: u64,
    /// Those that have ended, well or not.
    pub ended: u64,
    /// Those that ended in an error that is its own.
    pub errors: u64,
    /// Its incarnations started after the first.
    pub restarts: u64,
    /// Its incarnations that ended by a trap or an exceeded limit.
    pub traps: u64,
    /// Casts to it that became dead letters.
    pub dead_letters: u64,
}

impl StepArms {
    pub(super) fn of((stable, candidate): (ArmStats, ArmStats)) -> Self {
        Self {
            stable: (&stable).into(),
            candidate: (&candidate).into(),
        }
    }
}

impl From<&ArmStats> for ArmCounts {
    fn from(stats: &ArmStats) -> Self {
        Self {
            requests: stats.requests,
            ended: stats.ended,
            errors: stats.errors,
            restarts: stats.restarts,
            traps: stats.traps,
            dead_letters: stats.dead_letters,
        }
    }
}
