//! What a gate is told: what the revisions of a component did between two looks at them.
//!
//! Owns [`Reading`], what has been counted at one moment, and the difference of two. While the traffic is split both
//! revisions are seen; once one of them serves alone, of the other only its memory is remembered.

use crate::counters::Counters;
use crate::deployment::gate::{Interval, Latency};
use crate::reference::ActorRef;
use crate::route::{ArmStats, ShadowStats, Split};

/// What has been counted at one moment, and what is held.
pub(super) struct Reading {
    counted: Counted,
    /// Of the largest instance of each revision, in bytes; 0 if it is not known.
    memory: Memory,
}

enum Counted {
    /// One revision serves.
    Alone(Counters),
    Split {
        stable: Box<ArmStats>,
        candidate: Box<ArmStats>,
        shadow: ShadowStats,
    },
}

#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    stable: u64,
    candidate: u64,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            counted: Counted::Alone(Counters::default()),
            memory: Memory::default(),
        }
    }
}

impl Reading {
    /// Of an actor that has one revision, which took the place of one that had so much memory.
    pub(super) fn alone(actor: Option<&ActorRef>, before: u64) -> Self {
        Self {
            counted: Counted::Alone(actor.map(ActorRef::counters).unwrap_or_default()),
            memory: Memory {
                stable: before,
                candidate: actor.map_or(0, memory),
            },
        }
    }

    /// Of two revisions that share the traffic.
    pub(super) fn of_split(split: &Split, stable: Option<&ActorRef>, candidate: &ActorRef) -> Self {
        let memory = Memory {
            stable: stable.map_or(0, memory),
            candidate: memory(candidate),
        };
        let (stable, candidate) = split.stats();
        Self {
            counted: Counted::Split {
                stable: Box::new(stable),
                candidate: Box::new(candidate),
                shadow: split.shadow_stats(),
            },
            memory,
        }
    }

    /// What came after `earlier`: of the stable arm, and of the new revision.
    pub(super) fn since(&self, earlier: &Self) -> (Interval, Interval) {
        let (mut stable, mut candidate) = self.counted.since(&earlier.counted);
        // Only where both are known: several components of a step are summed, and must be of both sides.
        if self.memory.stable > 0 {
            stable.memory_bytes = self.memory.stable;
            candidate.memory_bytes = self.memory.candidate;
        }
        (stable, candidate)
    }
}

impl Counted {
    fn since(&self, earlier: &Self) -> (Interval, Interval) {
        match (self, earlier) {
            (Self::Alone(now), Self::Alone(before)) => {
                let restarts = now.restarts.saturating_sub(before.restarts);
                let after_traps = now.trap_restarts.saturating_sub(before.trap_restarts);
                let interval = Interval {
                    requests: (now.calls + now.casts).saturating_sub(before.calls + before.casts),
                    errors: now.call_errors.saturating_sub(before.call_errors),
                    traps: now.traps.saturating_sub(before.traps),
                    restarts: restarts.saturating_sub(after_traps),
                    ..Interval::default()
                };
                (Interval::default(), interval)
            }
            (
                Self::Split {
                    stable,
                    candidate,
                    shadow,
                },
                earlier,
            ) => {
                let nothing = ArmStats::default();
                let (stable_before, candidate_before, compared, different) = match earlier {
                    Self::Split {
                        stable,
                        candidate,
                        shadow,
                    } => (
                        &**stable,
                        &**candidate,
                        shadow.same + shadow.different,
                        shadow.different,
                    ),
                    Self::Alone(_) => (&nothing, &nothing, 0, 0),
                };
                let mut candidate = interval(&candidate.since(candidate_before));
                candidate.compared = (shadow.same + shadow.different).saturating_sub(compared);
                candidate.mismatched = shadow.different.saturating_sub(different);
                (interval(&stable.since(stable_before)), candidate)
            }
            (Self::Alone(_), Self::Split { .. }) => (Interval::default(), Interval::default()),
        }
    }
}

fn interval(stats: &ArmStats) -> Interval {
    let latencies = &stats.latencies;
    Interval {
        requests: stats.requests,
        errors: stats.errors,
        latency: Latency {
            p50: latencies.p50().unwrap_or_default(),
            p99: latencies.p99().unwrap_or_default(),
            mean: latencies.mean().unwrap_or_default(),
            samples: latencies.timed(),
        },
        traps: stats.traps,
        restarts: stats.restarts.saturating_sub(stats.trap_restarts),
        ..Interval::default()
    }
}

/// Linear memory of the largest instance an actor has now, in bytes.
pub(super) fn memory(actor: &ActorRef) -> u64 {
    let replicas = actor.replicas();
    let of = |one: &ActorRef| one.slot().usage().memory_bytes;
    replicas.iter().map(of).max().unwrap_or_else(|| of(actor))
}

/// Several components of a step are looked at as one.
pub(super) fn add(sum: &mut Interval, one: Interval) {
    sum.requests += one.requests;
    sum.errors += one.errors;
    sum.traps += one.traps;
    sum.restarts += one.restarts;
    sum.memory_bytes += one.memory_bytes;
    sum.compared += one.compared;
    sum.mismatched += one.mismatched;
    // The slower one decides.
    if one.latency.p50 > sum.latency.p50 {
        sum.latency = one.latency;
    }
}
