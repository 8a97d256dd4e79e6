//! The loops: tasks that take the next operation, wait for its time if it has one, run it, record it.
//!
//! Which operation comes next is one shared counter, so every number is driven once, whoever is free. The times
//! of an open loop are fixed before it begins: operation `n` is due at `n ÷ rate`, and its latency counts from
//! there, whether or not a task was free to send it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::operations::{Failed, Operation};
use super::record::{Measured, Recorder, SLICES, Slices};
use super::{Length, LoadPlan, Pace};
use crate::error::{BenchError, OrFailed};
use crate::stop::Stop;

/// A sleep may be late by the timer's granularity of 1 ms: so much before its time a task begins to yield instead.
pub(super) const TIMER_LATE: Duration = Duration::from_millis(2);

/// How long an open loop goes on with what was due in time, once its time is over.
const CATCH_UP: Duration = Duration::from_secs(5);

/// How long operations under way may take once it is asked to stop; then they are given up, and count for nothing.
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// Warms up, and measures.
pub(super) async fn drive(
    plan: &LoadPlan,
    operation: Arc<dyn Operation>,
) -> Result<Measured, BenchError> {
    if !plan.warm_up.is_zero() {
        phase(plan, &operation, Length::Time(plan.warm_up)).await?;
    }
    phase(plan, &operation, plan.length).await
}

/// What the tasks of a phase share.
struct Phase {
    operation: Arc<dyn Operation>,
    schedule: Schedule,
    next: AtomicU64,
    began: Instant,
    stop: Stop,
    slices: Slices,
}

async fn phase(
    plan: &LoadPlan,
    operation: &Arc<dyn Operation>,
    length: Length,
) -> Result<Measured, BenchError> {
    let phase = Arc::new(Phase {
        operation: Arc::clone(operation),
        schedule: Schedule::new(plan.pace, length),
        next: AtomicU64::new(0),
        began: Instant::now(),
        stop: plan.stop.clone(),
        slices: Slices::new()?,
    });
    let mut tasks = JoinSet::new();
    for worker in 0..plan.pace.concurrency() {
        tasks.spawn(work(Arc::clone(&phase), worker));
    }
    all_ended(&mut tasks, &phase.stop).await?;
    let took = phase.began.elapsed();
    let taken = phase.next.load(Ordering::Relaxed);
    let unsent = if phase.stop.is_asked() {
        0
    } else {
        let workers = u64::try_from(plan.pace.concurrency()).unwrap_or(u64::MAX);
        phase.schedule.unsent(taken, workers)
    };
    let messages = phase.operation.messages();
    let phase = Arc::into_inner(phase)
        .ok_or_else(|| BenchError::failed("driving", "a task has not ended"))?;
    phase.slices.into_measured(messages, unsent, took)
}

/// Waits for all driving tasks; when it is asked to stop, not for operations that do not end.
async fn all_ended(
    tasks: &mut JoinSet<Result<(), BenchError>>,
    stop: &Stop,
) -> Result<(), BenchError> {
    let given_up = async {
        stop.asked().await;
        tokio::time::sleep(STOP_WITHIN).await;
    };
    let mut given_up = std::pin::pin!(given_up);
    let mut waits = true;
    loop {
        let worked = tokio::select! {
            worked = tasks.join_next() => worked,
            () = &mut given_up, if waits => {
                waits = false;
                tasks.abort_all();
                continue;
            }
        };
        match worked {
            None => return Ok(()),
            Some(Err(error)) if error.is_cancelled() => {}
            Some(worked) => worked.or_failed("a driving task panicked")??,
        }
    }
}

async fn work(phase: Arc<Phase>, worker: usize) -> Result<(), BenchError> {
    let mut recorder = Recorder::new(&phase.slices)?;
    let since = || phase.began.elapsed();
    while !phase.stop.is_asked() {
        let number = phase.next.fetch_add(1, Ordering::Relaxed);
        let due = match phase.schedule.due(number, since()) {
            Next::Now => None,
            Next::At(due) => {
                if !wait_until(&phase, due).await {
                    break;
                }
                Some(due)
            }
            Next::End => break,
        };
        let sent = since();
        let outcome = phase.operation.run(worker, number).await;
        let ended = since();
        recorder.at(phase.schedule.slice(number, ended))?;
        match outcome {
            Ok(()) => recorder.done(due.unwrap_or(sent), sent, ended)?,
            Err(Failed::Wrong(error)) => return Err(error),
            Err(Failed::Typed(kind)) => {
                recorder.failed(kind, sent, ended);
                // What is refused at once must not keep the others from their thread.
                tokio::task::yield_now().await;
            }
        }
    }
    recorder.hand_over()
}

/// Whether it is time, and not the end.
async fn wait_until(phase: &Phase, due: Duration) -> bool {
    loop {
        let now = phase.began.elapsed();
        if phase.stop.is_asked() {
            return false;
        }
        let Some(left) = due.checked_sub(now).filter(|left| !left.is_zero()) else {
            return true;
        };
        if left > TIMER_LATE {
            // Looks at the stop flag now and then.
            let pause = (left - TIMER_LATE).min(Duration::from_millis(100));
            tokio::time::sleep(pause).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

/// What to do with an operation's number.
#[derive(Debug, PartialEq)]
enum Next {
    Now,
    At(Duration),
    End,
}

/// Which operations there are, and when each is due.
#[derive(Clone, Copy)]
struct Schedule {
    rate: Option<f64>,
    length: Length,
}

impl Schedule {
    fn new(pace: Pace, length: Length) -> Self {
        let rate = match pace {
            Pace::Closed { .. } => None,
            Pace::Open { rate, .. } => Some(rate),
        };
        Self { rate, length }
    }

    fn due(self, number: u64, now: Duration) -> Next {
        let at = self.rate.map(|rate| time_of(number, rate));
        let over = match self.length {
            Length::Count(count) => number >= count,
            Length::Time(length) => match at {
                Some(at) => at >= length || now >= length + CATCH_UP,
                None => now >= length,
            },
        };
        match (over, at) {
            (true, _) => Next::End,
            (false, Some(at)) => Next::At(at),
            (false, None) => Next::Now,
        }
    }

    /// Operations that were due and that nobody took, when numbers below `taken` were: each of the `workers` took
    /// one to see that it was over.
    fn unsent(self, taken: u64, workers: u64) -> u64 {
        let (Some(rate), Length::Time(length)) = (self.rate, self.length) else {
            return 0;
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of operations"
        )]
        let mut due = (rate * length.as_secs_f64()).ceil() as u64;
        // The product may be rounded up over a whole number, and down under one: when each is due decides.
        while due > 0 && time_of(due - 1, rate) >= length {
            due -= 1;
        }
        while time_of(due, rate) < length {
            due += 1;
        }
        due.saturating_sub(taken.saturating_sub(workers))
    }

    /// The slice of an operation that ended at `ended`.
    fn slice(self, number: u64, ended: Duration) -> usize {
        let share = match self.length {
            Length::Count(count) => ratio(number, count),
            Length::Time(length) => ended.as_secs_f64() / length.as_secs_f64(),
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "between 0 and 20, or cut to it"
        )]
        let slice = (share * SLICES as f64) as usize;
        slice.min(SLICES - 1)
    }
}

pub(super) fn time_of(number: u64, rate: f64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
    let seconds = number as f64 / rate;
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

fn ratio(number: u64, count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
    let ratio = number as f64 / count.max(1) as f64;
    ratio
}

#[cfg(test)]
mod tests;
