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
    /// Whether an instance of the new revision was there.
    up: bool,
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
            up: false,
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
            up: actor.is_some_and(is_up),
        }
    }

    /// Of two revisions that share the traffic.
    pub(super) fn of_split(split: &Split, stable: Option<&ActorRef>, candidate: &ActorRef) -> Self {
        let memory = Memory {
            stable: stable.map_or(0, memory),
            candidate: memory(candidate),
        };
        let up = is_up(candidate);
        let (stable, candidate) = split.stats();
        Self {
            counted: Counted::Split {
                stable: Box::new(stable),
                candidate: Box::new(candidate),
                shadow: split.shadow_stats(),
            },
            memory,
            up,
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
        candidate.down = earlier.up && !self.up;
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
                    requests: now.ended().saturating_sub(before.ended()),
                    unanswered: now.under_way(),
                    errors: errors(now).saturating_sub(errors(before)),
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
                let under_way = |arm: &ArmStats| arm.requests.saturating_sub(arm.ended);
                let unanswered = under_way(candidate);
                let mut candidate = interval(&candidate.since(candidate_before), unanswered);
                candidate.compared = (shadow.same + shadow.different).saturating_sub(compared);
                candidate.mismatched = shadow.different.saturating_sub(different);
                let unanswered = under_way(stable);
                let stable = interval(&stable.since(stable_before), unanswered);
                (stable, candidate)
            }
            (Self::Alone(_), Self::Split { .. }) => (Interval::default(), Interval::default()),
        }
    }
}

/// Those that are not the callers' own doing.
fn errors(counters: &Counters) -> u64 {
    counters.call_errors.saturating_sub(counters.caller_errors)
}

/// Of a difference of two readings, the later one of which found so many under way.
fn interval(stats: &ArmStats, unanswered: u64) -> Interval {
    let latencies = &stats.latencies;
    Interval {
        requests: stats.ended,
        unanswered,
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

fn is_up(actor: &ActorRef) -> bool {
    let replicas = actor.replicas();
    actor.slot().is_active() || replicas.iter().any(|one| one.slot().is_active())
}

/// Several components of a step are looked at as one.
pub(super) fn add(sum: &mut Interval, one: Interval) {
    sum.requests += one.requests;
    sum.unanswered += one.unanswered;
    sum.errors += one.errors;
    sum.traps += one.traps;
    sum.restarts += one.restarts;
    sum.memory_bytes += one.memory_bytes;
    sum.compared += one.compared;
    sum.mismatched += one.mismatched;
    sum.down |= one.down;
    // The slower one decides.
    if one.latency.p50 > sum.latency.p50 {
        sum.latency = one.latency;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(counters: Counters) -> Reading {
        Reading {
            counted: Counted::Alone(counters),
            memory: Memory::default(),
            up: true,
        }
    }

    #[test]
    fn of_one_that_serves_alone_only_what_has_ended_counts_and_not_what_callers_did() {
        let before = Counters {
            calls: 100,
            replies: 90,
            call_errors: 6,
            caller_errors: 4,
            ..Counters::default()
        };
        let now = Counters {
            calls: 400,
            replies: 300,
            call_errors: 30,
            caller_errors: 24,
            calls_abandoned: 5,
            casts: 50,
            casts_handled: 40,
            dead_letters: 3,
            ..before
        };
        let (stable, candidate) = alone(now).since(&alone(before));
        assert_eq!(stable, Interval::default());
        assert_eq!(
            candidate,
            Interval {
                requests: 300 + 30 + 40 + 3 - 96,
                errors: 4,
                unanswered: 65 + 7,
                ..Interval::default()
            }
        );
    }
}
