//! Load: a scenario, driven at a pace for a while, and what it took.
//!
//! Owns [`LoadPlan`] (what to do) and [`run_load`]. Unlike the rows, which compare the host with what it is made of, this
//! measures a system as its user has it: the built-in guests, or an application and a function of the user's own.
//! An operation is measured from the outside, by a task of the same runtime. A closed loop sends the next
//! operation when the last one has ended; an open loop sends at a rate, and counts from the time at which an operation
//! was to be sent, so that what waits behind a slow one is not left out (coordinated omission).

mod drive;
mod operations;
mod record;
mod report;
mod scenario;

use std::time::Duration;

use airssys_wasm::{Args, Engine};
use airssys_wasm_actors::Application;

pub(crate) use report::nanoseconds;
pub use report::{ErrorCount, LoadReport, PlanFacts, Series, Slice, Spread};
pub use scenario::{LoadScenario, Sizes};

use crate::error::BenchError;
use crate::harness::runtime;
use crate::machine::Machine;
use crate::stop::Stop;
use crate::workbench::scratch;
use operations::Prepared;

/// How operations follow one another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many at a time, each following the last one's end.
    Closed {
        /// Operations at a time.
        concurrency: usize,
    },
    /// So many in a second, whether or not the last ones have ended.
    Open {
        /// Operations in a second.
        rate: f64,
        /// The most at a time; later ones wait, and the wait counts.
        concurrency: usize,
    },
}

impl Pace {
    /// Operations at a time, at most.
    #[must_use]
    pub const fn concurrency(self) -> usize {
        match self {
            Self::Closed { concurrency } | Self::Open { concurrency, .. } => concurrency,
        }
    }
}

/// When it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// After this time.
    Time(Duration),
    /// After so many operations.
    Count(u64),
}

/// A function of the user's own.
#[derive(Clone)]
pub struct OwnFunction {
    /// Its application.
    pub application: Application,
    /// The engine the application was resolved on.
    pub engine: Engine,
    /// The actor's name in the manifest.
    pub actor: String,
    /// The function, as `interface#function` or by its name.
    pub function: String,
    /// Its arguments, the same for every call.
    pub args: Args,
    /// The longest wait for a reply.
    pub within: Duration,
}

/// What is driven.
#[derive(Clone)]
pub enum Target {
    /// A scenario of the built-in guests.
    BuiltIn(LoadScenario, Sizes),
    /// Calls of one function.
    Own(Box<OwnFunction>),
}

/// What to do.
#[derive(Clone)]
pub struct LoadPlan {
    /// What is driven.
    pub target: Target,
    /// How operations follow one another.
    pub pace: Pace,
    /// When it ends.
    pub length: Length,
    /// Driven before, and not counted.
    pub warm_up: Duration,
    /// Worker threads of the runtime, which the driving tasks share with the actors.
    pub threads: usize,
    /// Whether other ways to do the same are measured too, where the scenario has any.
    pub rivals: bool,
    /// Ends it early, with a report of what there is.
    pub stop: Stop,
}

/// Drives it. Blocks until it is done; must not be called from an async runtime. `told` hears of each series.
///
/// # Errors
/// [`BenchError`] if actors do not start, or a guest answers something else than it has to.
pub fn run_load(plan: &LoadPlan, told: &mut dyn FnMut(&str)) -> Result<LoadReport, BenchError> {
    scratch::remove_left();
    let machine = Machine::here();
    let runtime = runtime(plan.threads)?;
    let mut series = Vec::new();
    for part in scenario::parts(plan) {
        if plan.stop.is_asked() {
            break;
        }
        told(&part.name);
        let measured = runtime.block_on(async {
            // What is being prepared when it is asked to stop ends with the runtime.
            let Prepared { operation, system } = tokio::select! {
                prepared = part.prepare(plan) => prepared?,
                () = plan.stop.asked() => return Ok(None),
            };
            let driven = drive::drive(plan, operation).await;
            if let Some(system) = system {
                system.shutdown().await;
            }
            driven.map(Some)
        })?;
        // Stopped before it has measured anything: figures of nothing would be taken for some.
        let Some(measured) =
            measured.filter(|measured| !(plan.stop.is_asked() && measured.all.is_empty()))
        else {
            break;
        };
        let rate = match plan.pace {
            Pace::Open { rate, .. } => Some(rate),
            Pace::Closed { .. } => None,
        };
        series.push(Series::of(part.name, &measured, rate));
    }
    let complete = !plan.stop.is_asked();
    Ok(LoadReport::new(machine, plan, complete, series))
}

#[cfg(test)]
mod tests;
