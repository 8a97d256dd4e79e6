//! How each row is measured: one small file for each group of them, with its part of the table.
//!
//! A scenario owns what it calls, does so many operations a round, and records what each took. What is timed is
//! between two `Instant`s around the operation itself; preparing and taking down is outside. A row that cannot be
//! measured on this machine is made an error of, [`BenchError::skipped`], and stands in the report with the reason.

pub(crate) mod ask;
pub(crate) mod boot;
pub(crate) mod call;
pub(crate) mod cast;
pub(crate) mod children;
pub(crate) mod closure;
pub(crate) mod composed;
pub(crate) mod cycles;
pub(crate) mod density;
pub(crate) mod deploy;
#[cfg(feature = "rivals")]
pub(crate) mod kameo;
pub(crate) mod kill;
pub(crate) mod load;
pub(crate) mod many;
pub(crate) mod payload;
pub(crate) mod ractor;
pub(crate) mod raw;
pub(crate) mod restart;
pub(crate) mod route;
pub(crate) mod rss;
pub(crate) mod spawn;
pub(crate) mod storm;
pub(crate) mod supervised;
pub(crate) mod topic;
pub(crate) mod upgrade;

use crate::error::BenchError;
use crate::harness::Scenario;
use crate::rows::{Measure, row};
use crate::workbench::Workbench;

/// Makes the scenario of a row, on the runtime that its rounds will run on.
///
/// # Errors
/// [`BenchError`] if there is no such row or it has no scenario of its own, or its actors do not start.
pub async fn scenario(name: &str, bench: &Workbench) -> Result<Box<dyn Scenario>, BenchError> {
    match row(name).map(|row| row.measure) {
        Some(Measure::Scenario(make)) => make(bench).await,
        _ => Err(BenchError::UnknownRow {
            which: name.to_owned(),
        }),
    }
}

/// What a guest returned is looked at: a wrong answer measured fast is worth nothing.
pub(crate) fn expect<T: PartialEq + std::fmt::Debug>(
    what: &'static str,
    found: T,
    expected: T,
) -> Result<(), BenchError> {
    if found == expected {
        Ok(())
    } else {
        Err(BenchError::failed(
            what,
            format_args!("expected {expected:?}, found {found:?}"),
        ))
    }
}
