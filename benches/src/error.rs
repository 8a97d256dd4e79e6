//! Why there is no report.

use std::fmt::Display;

use crate::rows::{self, Group};

/// Why the benchmarks did not run to their end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// No row is called that.
    #[error(
        "no row or group begins with `{which}`; the groups are {}, the rows {}",
        names(rows::groups().into_iter().map(Group::as_str)),
        names(rows::rows().map(|row| row.name))
    )]
    UnknownRow {
        /// What was asked for.
        which: String,
    },
    /// Something could not be prepared or did not answer as it has to. A figure of it would mean nothing.
    #[error("{what}: {why}")]
    Failed {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// An actor of the user's own application did not start.
    #[error("the application did not start: {why}")]
    NotStarted {
        /// Which, and why not.
        why: String,
    },
    /// This machine cannot measure it. The row stands in the report without figures.
    #[error("skipped: {why}")]
    Skipped {
        /// Why not, and what would let it.
        why: String,
    },
}

impl BenchError {
    /// What a scenario ends with that this machine has no room for.
    #[must_use]
    pub fn skipped(why: impl Display) -> Self {
        Self::Skipped {
            why: why.to_string(),
        }
    }

    pub(crate) fn failed(what: &'static str, why: impl Display) -> Self {
        Self::Failed {
            what,
            why: why.to_string(),
        }
    }
}

/// `result.or_failed("what")?`, for the errors of five libraries.
pub(crate) trait OrFailed<T> {
    fn or_failed(self, what: &'static str) -> Result<T, BenchError>;
}

impl<T, E: Display> OrFailed<T> for Result<T, E> {
    fn or_failed(self, what: &'static str) -> Result<T, BenchError> {
        // `{:#}`: wasmtime's errors tell their sources that way.
        self.map_err(|why| BenchError::Failed {
            what,
            why: format!("{why:#}"),
        })
    }
}

fn names(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
