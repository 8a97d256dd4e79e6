//! A load of asks beside what is measured: a few tasks that call one function of two numbers, and look at every reply.
//!
//! Owns [`Callers`], and the longest gap between two replies that any of them has seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use airssys_wasm::FromArgs;
use airssys_wasm_actors::ActorFunction;
use tokio::task::JoinSet;

use crate::error::{BenchError, OrFailed};
use crate::scenarios::expect;

/// How many call at a time.
pub(crate) const CALLERS: u32 = 4;
/// Of a steady load, so many calls of each in a millisecond.
const STEADY: u32 = 16;

/// How often they call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rate {
    /// As soon as there is a reply.
    Full,
    /// [`STEADY`] in a millisecond: a part of what the actor could answer.
    Steady,
}

/// Tasks that call until they are told to end.
pub(crate) struct Callers {
    over: Arc<AtomicBool>,
    gap: Arc<AtomicU64>,
    tasks: JoinSet<Result<(), BenchError>>,
}

impl Callers {
    /// Caller `i` passes `first + i` and the number of its call, from 1; `reply` is what is answered.
    pub(crate) fn start(
        function: &ActorFunction,
        rate: Rate,
        first: u32,
        reply: fn(u32, u32) -> u32,
    ) -> Self {
        let (over, gap) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut tasks = JoinSet::new();
        for caller in first..first + CALLERS {
            let (function, over, gap) = (function.clone(), Arc::clone(&over), Arc::clone(&gap));
            tasks.spawn(async move {
                let mut last = Instant::now();
                let mut number = 0_u32;
                while !over.load(Ordering::Acquire) {
                    number += 1;
                    let replied = function.call((caller, number)).await;
                    let found = <(u32,)>::from_args(replied.or_failed("a call of the load")?);
                    let now = Instant::now();
                    gap.fetch_max(nanoseconds(now - last), Ordering::AcqRel);
                    last = now;
                    expect("a call of the load", found, Ok((reply(caller, number),)))?;
                    if rate == Rate::Steady && number.is_multiple_of(STEADY) {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    } else {
                        tokio::task::yield_now().await;
                    }
                }
                Ok(())
            });
        }
        Self { over, gap, tasks }
    }

    /// The longest gap between two replies to one caller that has ended since this was asked last.
    pub(crate) fn longest_gap(&self) -> Duration {
        Duration::from_nanos(self.gap.swap(0, Ordering::AcqRel))
    }

    /// Ends them.
    ///
    /// # Errors
    /// If a call has failed, or was answered wrongly.
    pub(crate) async fn end(mut self) -> Result<(), BenchError> {
        self.over.store(true, Ordering::Release);
        while let Some(ended) = self.tasks.join_next().await {
            ended.or_failed("a caller panicked")??;
        }
        Ok(())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
