//! Why there is no report.

use std::fmt::Display;

use crate::rows::{Group, ROWS};

/// Why the benchmarks did not run to their end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// No row is called that.
    #[error(
        "no row or group begins with `{which}`; the groups are {}, the rows {}",
        groups(),
        names()
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
}

impl BenchError {
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

fn groups() -> String {
    Group::ALL.map(Group::as_str).join(", ")
}

fn names() -> String {
    ROWS.iter()
        .map(|row| row.name)
        .collect::<Vec<_>>()
        .join(", ")
}
