//! Whether a new revision does as well as the one it is to follow: a pure function of what both did meanwhile.
//!
//! Owns [`Gate`] (what is asked), [`Interval`] (what was seen), [`judge`], and the count of intervals that said
//! nothing ([`Judge`]). Both sides are measured over the same time, so that a bad minute of the machine, or of
//! something both call, is not taken for the new revision's fault.
//!
//! What is counted is compared with a statistical guard: a rate counts as too high when that is more than 99 % sure
//! of so many requests, and a rate that is too high without being sure is waited for. A trap, a restart or what is held
//! of memory is no rate and needs none. More errors, traps, time or memory never make a better verdict (a property test
//! says so).
//!
//! Deliberately absent: who measures, and what happens then.

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Serialize;

use super::share::Share;

/// One-sided 99 %: a healthy revision is taken for a bad one once in a hundred intervals at most, by one rate.
const SURE: f64 = 2.326;

/// Below so many samples a 99th percentile is its largest few: it says something about them, not about the revision.
const TAIL_SAMPLES_MIN: u64 = 1_000;

/// Less than this between two latencies is the scheduler's doing, whatever the ratio.
const LATENCY_NOISE: Duration = Duration::from_micros(20);

/// A baseline below this counts as this: a page more of a small memory is no leak.
const MEMORY_BASE_BYTES: u64 = 1 << 20;

/// What a new revision has to keep to, to get more traffic or to stay.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Gate {
    /// The most errors among its requests.
    pub error_rate_max: Share,
    /// The most errors beyond those of the old revision, as a part of the requests of each.
    pub error_excess_max: Share,
    /// How many times the old revision's latency its own may be, at the middle and at the 99th percentile.
    pub latency_ratio_max: f64,
    /// How many of its instances may trap in an interval.
    pub traps_max: u64,
    /// How many restarts it may need in an interval, those after a trap left out.
    pub restarts_max: u64,
    /// How many times the old revision's memory, per instance, its own may be.
    pub memory_ratio_max: f64,
    /// How many answers to copies of requests may differ from the old revision's; shadow traffic only.
    pub mismatches_max: Share,
    /// Fewer requests than this say nothing.
    pub samples_min: u64,
    /// How long it is looked at before it is judged.
    #[serde(serialize_with = "crate::manifest::serialize_duration")]
    pub interval: Duration,
    /// How many intervals in a row may say nothing; one more, and it has failed.
    pub holds_max: u32,
}

impl Default for Gate {
    /// 1 % of errors and half a percent more than before, one and a half times the latency, twice the memory, no trap
    /// and no restart; 100 requests, looked at every 10 s, and three times nothing.
    fn default() -> Self {
        Self {
            error_rate_max: Share::percent(1),
            error_excess_max: Share::from_ten_thousandths(50),
            latency_ratio_max: 1.5,
            traps_max: 0,
            restarts_max: 0,
            memory_ratio_max: 2.0,
            mismatches_max: Share::NONE,
            samples_min: 100,
            interval: Duration::from_secs(10),
            holds_max: 3,
        }
    }
}

/// How long answers took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    /// Half of them took no longer.
    pub p50: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
    /// On average.
    pub mean: Duration,
    /// How many were timed.
    pub samples: u64,
}

/// What one revision did in a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interval {
    /// Messages that ended, well or not.
    pub requests: u64,
    /// Messages that had begun and not ended when it was over.
    pub unanswered: u64,
    /// Those that ended in an error; never more than `requests`.
    pub errors: u64,
    /// How long they took.
    pub latency: Latency,
    /// Instances that trapped or exceeded a limit.
    pub traps: u64,
    /// Restarts by its supervisor that followed no trap: it was killed, or not well.
    pub restarts: u64,
    /// Linear memory of its largest instance at the end of the interval; 0 if it is not known.
    pub memory_bytes: u64,
    /// Answers to copies that were compared with the old revision's.
    pub compared: u64,
    /// Those that differed; never more than `compared`.
    pub mismatched: u64,
    /// Nothing of it was there when the interval was over, and something was when it began.
    pub down: bool,
}

/// What an interval says of a new revision.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It keeps to the gate.
    Pass,
    /// Nothing can be said yet.
    Hold(Why),
    /// It does not.
    Fail(Why),
}

/// What a verdict is founded on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// Too few requests.
    #[error("{requests} requests are too few to say anything, {wanted} are needed")]
    TooFew {
        /// How many there were.
        requests: u64,
        /// How many are needed.
        wanted: u64,
    },
    /// Nothing of it is there.
    #[error("it does not run any more: it was stopped, or its supervisor is not there to start it")]
    Down,
    /// It could not be judged, again and again.
    #[error("not to be judged {times} times in a row, at last because {last}")]
    NeverJudged {
        /// How often.
        times: u32,
        /// Why not, the last time.
        last: Box<Self>,
    },
    /// Instances trapped.
    #[error("{traps} traps, at most {max} are allowed")]
    Traps {
        /// How many.
        traps: u64,
        /// How many may.
        max: u64,
    },
    /// Its supervisor had to restart it.
    #[error("{restarts} restarts, at most {max} are allowed")]
    Restarts {
        /// How many.
        restarts: u64,
        /// How many may be.
        max: u64,
    },
    /// Too many of its requests failed.
    #[error("{errors} of {requests} requests failed, at most {max} may")]
    ErrorRate {
        /// How many failed.
        errors: u64,
        /// Of how many.
        requests: u64,
        /// How many may.
        max: Share,
    },
    /// More of its requests failed than of the old revision's.
    #[error(
        "{errors} of {requests} requests failed, of the old revision's {stable_errors} of {stable_requests}: more \
         than {max} beyond it"
    )]
    ErrorExcess {
        /// How many failed.
        errors: u64,
        /// Of how many.
        requests: u64,
        /// How many of the old one's failed.
        stable_errors: u64,
        /// Of how many.
        stable_requests: u64,
        /// How many more may.
        max: Share,
    },
    /// More of its requests are not answered yet than the old revision's.
    #[error(
        "{unanswered} of {requests} requests are not answered yet, of the old revision's {stable_unanswered} of \
         {stable_requests}"
    )]
    Unanswered {
        /// How many are not.
        unanswered: u64,
        /// Of how many.
        requests: u64,
        /// How many of the old one's are not.
        stable_unanswered: u64,
        /// Of how many.
        stable_requests: u64,
    },
    /// It is slower.
    #[error("{at} is {found:?}, of the old revision {stable:?}: more than {max} times as long")]
    Latency {
        /// Which percentile.
        at: &'static str,
        /// How long.
        found: Duration,
        /// How long the old one took.
        stable: Duration,
        /// How many times as long it may take.
        max: f64,
    },
    /// It needs more memory.
    #[error("{found} bytes of memory, of the old revision {stable}: more than {max} times as much")]
    Memory {
        /// How much.
        found: u64,
        /// How much the old one has.
        stable: u64,
        /// How many times as much it may have.
        max: f64,
    },
    /// It answers otherwise than the old revision.
    #[error("{mismatched} of {compared} answers differ from the old revision's, at most {max} may")]
    Mismatches {
        /// How many differ.
        mismatched: u64,
        /// Of how many.
        compared: u64,
        /// How many may.
        max: Share,
    },
}

/// Judges a new revision by what it and the old one did in the same interval.
///
/// What is no rate comes first: traps, restarts and memory fail at once, however few requests there were. Then there
/// have to be [`Gate::samples_min`] requests. Where the old revision has had fewer, as it has at the end of a canary,
/// nothing is compared with it.
#[must_use]
pub fn judge(gate: &Gate, stable: &Interval, candidate: &Interval) -> Verdict {
    if let Some(why) = ends(gate, candidate) {
        return Verdict::Fail(why);
    }
    if let failed @ Verdict::Fail(_) = memory(gate, stable, candidate) {
        return failed;
    }
    match rates(gate, stable, candidate) {
        failed @ Verdict::Fail(_) => failed,
        _ if candidate.down => Verdict::Hold(Why::Down),
        verdict => verdict,
    }
}

/// What follows from requests.
fn rates(gate: &Gate, stable: &Interval, candidate: &Interval) -> Verdict {
    if candidate.requests < gate.samples_min.max(1) {
        return Verdict::Hold(Why::TooFew {
            requests: candidate.requests,
            wanted: gate.samples_min.max(1),
        });
    }
    let verdicts = [
        error_rate(gate, candidate),
        error_excess(gate, stable, candidate),
        mismatches(gate, candidate),
        latency(gate, stable, candidate),
        unanswered(gate, stable, candidate),
    ];
    let mut verdict = Verdict::Pass;
    for next in verdicts {
        match (&verdict, &next) {
            (_, Verdict::Fail(_)) => return next,
            (Verdict::Pass, Verdict::Hold(_)) => verdict = next,
            _ => {}
        }
    }
    verdict
}

/// Whether a new revision has ended too often: more of the interval does not make that better.
pub(crate) fn ends(gate: &Gate, candidate: &Interval) -> Option<Why> {
    let (traps, restarts) = (candidate.traps, candidate.restarts);
    if traps > gate.traps_max {
        let max = gate.traps_max;
        return Some(Why::Traps { traps, max });
    }
    let max = gate.restarts_max;
    (restarts > max).then_some(Why::Restarts { restarts, max })
}

fn error_rate(gate: &Gate, candidate: &Interval) -> Verdict {
    let (errors, requests, max) = (candidate.errors, candidate.requests, gate.error_rate_max);
    at_most(errors, requests, max, || Why::ErrorRate {
        errors,
        requests,
        max,
    })
}

fn mismatches(gate: &Gate, candidate: &Interval) -> Verdict {
    let (mismatched, compared, max) = (
        candidate.mismatched,
        candidate.compared,
        gate.mismatches_max,
    );
    at_most(mismatched, compared, max, || Why::Mismatches {
        mismatched,
        compared,
        max,
    })
}

/// Whether so many of so many are at most `max` of them: surely not, perhaps not, or yes.
fn at_most(count: u64, of: u64, max: Share, why: impl Fn() -> Why) -> Verdict {
    if of == 0 || ratio(count, of) <= max.fraction() {
        Verdict::Pass
    } else if max == Share::NONE || surely_at_least(count, of) > max.fraction() {
        Verdict::Fail(why())
    } else {
        Verdict::Hold(why())
    }
}

/// More errors than the old revision has, by more than is allowed.
fn error_excess(gate: &Gate, stable: &Interval, candidate: &Interval) -> Verdict {
    if stable.requests < gate.samples_min.max(1) {
        return Verdict::Pass;
    }
    let excess = surely_more(
        (candidate.errors, candidate.requests),
        (stable.errors, stable.requests),
    );
    if excess <= gate.error_excess_max.fraction() {
        return Verdict::Pass;
    }
    Verdict::Fail(Why::ErrorExcess {
        errors: candidate.errors,
        requests: candidate.requests,
        stable_errors: stable.errors,
        stable_requests: stable.requests,
        max: gate.error_excess_max,
    })
}

/// What takes longer than the interval has no latency yet: it is seen by how much is under way. That is as many times
/// the old revision's as its latency is.
fn unanswered(gate: &Gate, stable: &Interval, candidate: &Interval) -> Verdict {
    if stable.requests < gate.samples_min.max(1) {
        return Verdict::Pass;
    }
    let begun = |one: &Interval| one.requests + one.unanswered;
    let usual = ratio(stable.unanswered, begun(stable)) * gate.latency_ratio_max;
    let found = surely_at_least(candidate.unanswered, begun(candidate).max(1));
    if found <= usual + gate.error_excess_max.fraction() {
        return Verdict::Pass;
    }
    Verdict::Hold(Why::Unanswered {
        unanswered: candidate.unanswered,
        requests: begun(candidate),
        stable_unanswered: stable.unanswered,
        stable_requests: begun(stable),
    })
}

/// The middle decides at once. The tail is of few requests, and one interval of it is waited for.
fn latency(gate: &Gate, stable: &Interval, candidate: &Interval) -> Verdict {
    let (old, new) = (stable.latency, candidate.latency);
    let samples = old.samples.min(new.samples);
    let max = gate.latency_ratio_max;
    let slower = |found: Duration, stable: Duration| {
        found.saturating_sub(stable) > LATENCY_NOISE
            && found.as_secs_f64() > stable.as_secs_f64() * max
    };
    let why = |at, found, stable| Why::Latency {
        at,
        found,
        stable,
        max,
    };
    if samples < gate.samples_min.max(1) {
        Verdict::Pass
    } else if slower(new.p50, old.p50) {
        Verdict::Fail(why("the median latency", new.p50, old.p50))
    } else if samples >= TAIL_SAMPLES_MIN && slower(new.p99, old.p99) {
        Verdict::Hold(why("the 99th percentile of latency", new.p99, old.p99))
    } else {
        Verdict::Pass
    }
}

fn memory(gate: &Gate, stable: &Interval, candidate: &Interval) -> Verdict {
    let (found, stable) = (candidate.memory_bytes, stable.memory_bytes);
    let max = gate.memory_ratio_max;
    if stable == 0 || float(found) <= float(stable.max(MEMORY_BASE_BYTES)) * max {
        return Verdict::Pass;
    }
    Verdict::Fail(Why::Memory { found, stable, max })
}

/// The lower end of Wilson's interval: so much of the whole it surely is, or more.
fn surely_at_least(count: u64, of: u64) -> f64 {
    let (n, p) = (float(of), ratio(count, of));
    let z2 = SURE * SURE;
    let centre = p + z2 / (2.0 * n);
    let spread = SURE * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    ((centre - spread) / (1.0 + z2 / n)).max(0.0)
}

/// The lower end of Agresti and Caffo's interval for the difference of two rates: so much more the first surely is.
fn surely_more(first: (u64, u64), second: (u64, u64)) -> f64 {
    let shrunk = |(count, of): (u64, u64)| {
        let n = float(of) + 2.0;
        let p = (float(count.min(of)) + 1.0) / n;
        (p, p * (1.0 - p) / n)
    };
    let ((p, p_variance), (q, q_variance)) = (shrunk(first), shrunk(second));
    p - q - SURE * (p_variance + q_variance).sqrt()
}

fn ratio(count: u64, of: u64) -> f64 {
    float(count.min(of)) / float(of.max(1))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of one interval are far below 2^53, and a ratio needs no more"
)]
fn float(count: u64) -> f64 {
    count as f64
}

/// A gate, and how often in a row it could not be passed or failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Judge {
    gate: Gate,
    holds: u32,
}

impl Judge {
    /// It has judged nothing yet.
    #[must_use]
    pub fn new(gate: Gate) -> Self {
        Self { gate, holds: 0 }
    }

    /// What it judges by.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Judges an interval; one hold too many in a row is a failure.
    pub fn judge(&mut self, stable: &Interval, candidate: &Interval) -> Verdict {
        match judge(&self.gate, stable, candidate) {
            Verdict::Hold(why) if self.holds >= self.gate.holds_max => {
                Verdict::Fail(Why::NeverJudged {
                    times: self.holds.saturating_add(1),
                    last: Box::new(why),
                })
            }
            Verdict::Hold(why) => {
                self.holds += 1;
                Verdict::Hold(why)
            }
            Verdict::Pass => {
                self.holds = 0;
                Verdict::Pass
            }
            Verdict::Fail(why) => Verdict::Fail(why),
        }
    }
}
