//! Two reports of the same kind, and what changed between them.
//!
//! A change is called one only where the two runs' intervals do not touch. For rows the interval is that of the ratio,
//! which pairs the rounds of one run, so that a slower machine does not look like a slower host. For a load there is
//! no baseline: its interval is over the twentieths of the run, and it holds what one run's noise is, not what
//! the machine did differently an hour later.

mod table;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::load::{LoadReport, Series, Slice};
use crate::machine::Machine;
use crate::report::{Report, Row};
use crate::rows::Unit;
use crate::statistics::rounded;

/// A report of either kind.
#[derive(Clone, Debug)]
pub enum AnyReport {
    /// Of `airssys bench all`, or of some rows.
    Rows(Report),
    /// Of a scenario.
    Load(LoadReport),
}

/// Why two reports cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// It is not JSON, or not of a report.
    #[error("not a report of `airssys bench`: {0}")]
    NotAReport(#[source] serde_json::Error),
    /// One is of rows, the other of a load.
    #[error("one is a report of rows, the other of a scenario")]
    OtherKind,
    /// They have nothing in common.
    #[error("the two reports have no row and no series in common: {first} is not {second}")]
    NothingInCommon {
        /// What the first is of.
        first: String,
        /// What the second is of.
        second: String,
    },
}

/// How two figures stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The second is better, and the intervals do not touch.
    Better,
    /// The second is worse, and the intervals do not touch.
    Worse,
    /// The intervals touch.
    WithinNoise,
    /// There is no interval to judge by.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::WithinNoise => "within noise",
            Self::Unknown => "not known",
        })
    }
}

/// A figure with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The figure.
    pub value: f64,
    /// Where it is with 95 % confidence.
    pub interval: Option<(f64, f64)>,
}

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Row ÷ baseline.
    Ratio,
    /// In this unit.
    Of(Unit),
}

/// One figure of both reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The row or series, and what of it.
    pub name: String,
    /// What it is counted in.
    pub measure: Measure,
    /// In the first.
    pub before: Figure,
    /// In the second.
    pub after: Figure,
    /// After ÷ before − 1, in percent; none where it was nothing before and is something now.
    pub percent: Option<f64>,
    /// Whether that is a change.
    pub verdict: Verdict,
}

/// Two reports.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// What the first ran on.
    pub before: Machine,
    /// What the second ran on.
    pub after: Machine,
    /// What is different about machine, build or plan: then a change may be that.
    pub differences: Vec<String>,
    /// What the figures leave out: operations that failed, or were due and never sent; a run that was stopped.
    pub remarks: Vec<String>,
    /// What both have.
    pub changes: Vec<Change>,
    /// Rows and series that one of them lacks.
    pub only_in_one: Vec<String>,
    /// Both, where they are of loads: for the page's curves.
    #[serde(skip)]
    pub(crate) loads: Option<(LoadReport, LoadReport)>,
}

impl AnyReport {
    /// Reads a report.
    ///
    /// # Errors
    /// [`CompareError::NotAReport`].
    pub fn parse(text: &str) -> Result<Self, CompareError> {
        #[derive(Deserialize)]
        struct Kind {
            kind: Option<String>,
        }
        let kind: Kind = serde_json::from_str(text).map_err(CompareError::NotAReport)?;
        match kind.kind {
            Some(_) => serde_json::from_str(text).map(Self::Load),
            None => serde_json::from_str(text).map(Self::Rows),
        }
        .map_err(CompareError::NotAReport)
    }

    fn is_complete(&self) -> bool {
        match self {
            Self::Rows(report) => report.complete,
            Self::Load(report) => report.complete,
        }
    }

    fn machine(&self) -> &Machine {
        match self {
            Self::Rows(report) => &report.machine,
            Self::Load(report) => &report.machine,
        }
    }
}

/// Compares the second with the first.
///
/// # Errors
/// [`CompareError`] when they have nothing that could be compared.
pub fn compare(before: AnyReport, after: AnyReport) -> Result<Comparison, CompareError> {
    let machines = (before.machine().clone(), after.machine().clone());
    let mut differences = of_machines(&machines.0, &machines.1);
    let mut remarks: Vec<_> = [("first", &before), ("second", &after)]
        .into_iter()
        .filter(|(_, report)| !report.is_complete())
        .map(|(which, _)| format!("the {which} was stopped before its end"))
        .collect();
    let (changes, only_in_one, loads) = match (before, after) {
        (AnyReport::Rows(before), AnyReport::Rows(after)) => {
            let (changes, only) = rows(&before.rows, &after.rows);
            (changes, only, None)
        }
        (AnyReport::Load(before), AnyReport::Load(after)) => {
            let (changes, only) = series(&before.series, &after.series);
            if changes.is_empty() {
                return Err(CompareError::NothingInCommon {
                    first: before.plan.scenario,
                    second: after.plan.scenario,
                });
            }
            remarks.extend(left_out(&before.series, &after.series));
            if before.plan != after.plan {
                differences.push(format!("the plan: {} / {}", before.plan, after.plan));
            }
            (changes, only, Some((before, after)))
        }
        _ => return Err(CompareError::OtherKind),
    };
    if changes.is_empty() {
        return Err(CompareError::NothingInCommon {
            first: "what the first measured".to_owned(),
            second: "what the second did".to_owned(),
        });
    }
    Ok(Comparison {
        before: machines.0,
        after: machines.1,
        differences,
        remarks,
        changes,
        only_in_one,
        loads,
    })
}

fn of_machines(before: &Machine, after: &Machine) -> Vec<String> {
    let cpus = (before.cpus.to_string(), after.cpus.to_string());
    [
        ("processors", &cpus.0, &cpus.1),
        ("model", &before.model, &after.model),
        ("kernel", &before.kernel, &after.kernel),
        ("compiler", &before.rustc, &after.rustc),
        ("wasmtime", &before.wasmtime, &after.wasmtime),
        ("ractor", &before.ractor, &after.ractor),
        ("tokio", &before.tokio, &after.tokio),
        ("target", &before.target, &after.target),
        ("build", &before.profile, &after.profile),
        ("optimisation", &before.opt_level, &after.opt_level),
    ]
    .into_iter()
    .filter(|(_, before, after)| before != after)
    .map(|(what, before, after)| format!("{what}: {before} / {after}"))
    .collect()
}

/// Whether less of a figure is better.
#[derive(Clone, Copy)]
enum Good {
    Less,
    More,
}

fn judge(good: Good, before: Figure, after: Figure) -> Verdict {
    let (Some(before), Some(after)) = (before.interval, after.interval) else {
        return Verdict::Unknown;
    };
    let (less, more) = match good {
        Good::Less => (Verdict::Better, Verdict::Worse),
        Good::More => (Verdict::Worse, Verdict::Better),
    };
    if after.1 < before.0 {
        less
    } else if after.0 > before.1 {
        more
    } else {
        Verdict::WithinNoise
    }
}

fn change(name: String, measure: Measure, good: Good, before: Figure, after: Figure) -> Change {
    let percent = if before.value > 0.0 {
        Some(rounded((after.value / before.value - 1.0) * 100.0, 1))
    } else {
        (after.value <= 0.0).then_some(0.0)
    };
    Change {
        name,
        measure,
        before,
        after,
        percent,
        verdict: judge(good, before, after),
    }
}

fn rows(before: &[Row], after: &[Row]) -> (Vec<Change>, Vec<String>) {
    let title = |row: &Row| format!("{} on {}", row.name, row.threads);
    let find = |rows: &[Row], row: &Row| {
        rows.iter()
            .find(|other| other.name == row.name && other.threads == row.threads)
            .cloned()
    };
    let mut changes = Vec::new();
    let mut only = Vec::new();
    for row in before {
        let Some(other) = find(after, row) else {
            only.push(format!("{}: in the first only", title(row)));
            continue;
        };
        if row.skipped.is_some() || other.skipped.is_some() {
            only.push(format!("{}: skipped in one of them", title(row)));
            continue;
        }
        let good = match row.unit {
            Unit::PerSecond => Good::More,
            Unit::Nanoseconds
            | Unit::Kibibytes
            | Unit::Bytes
            | Unit::Milliseconds
            | Unit::Points
            | Unit::Count => Good::Less,
        };
        let (measure, figures) = match (row.ratio, other.ratio) {
            (Some(value), Some(after)) if row.baseline == other.baseline => (
                Measure::Ratio,
                (
                    Figure {
                        value,
                        interval: row.ratio_interval,
                    },
                    Figure {
                        value: after,
                        interval: other.ratio_interval,
                    },
                ),
            ),
            // A time by itself: of two runs it says as much about the machine as about the host.
            _ => (
                Measure::Of(row.unit),
                (
                    Figure {
                        value: row.median,
                        interval: None,
                    },
                    Figure {
                        value: other.median,
                        interval: None,
                    },
                ),
            ),
        };
        changes.push(change(title(row), measure, good, figures.0, figures.1));
    }
    for row in after {
        if find(before, row).is_none() {
            only.push(format!("{}: in the second only", title(row)));
        }
    }
    (changes, only)
}

/// One figure of a twentieth of a run.
type OfSlice = fn(&Slice) -> f64;

fn series(before: &[Series], after: &[Series]) -> (Vec<Change>, Vec<String>) {
    let mut changes = Vec::new();
    let mut only = Vec::new();
    for series in before {
        let Some(other) = after.iter().find(|other| other.name == series.name) else {
            only.push(format!("{}: in the first only", series.name));
            continue;
        };
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a latency")]
        let figures: [(&str, Unit, Good, OfSlice); 3] = [
            ("throughput", Unit::PerSecond, Good::More, |slice| {
                slice.throughput
            }),
            ("p50", Unit::Nanoseconds, Good::Less, |slice| {
                slice.p50 as f64
            }),
            ("p99", Unit::Nanoseconds, Good::Less, |slice| {
                slice.p99 as f64
            }),
        ];
        for (what, unit, good, figure) in figures {
            let name = format!("{}, {what}", series.name);
            let (before, after) = (of_slices(series, figure), of_slices(other, figure));
            changes.push(change(name, Measure::Of(unit), good, before, after));
        }
    }
    for series in after {
        if before.iter().all(|other| other.name != series.name) {
            only.push(format!("{}: in the second only", series.name));
        }
    }
    (changes, only)
}

/// What of the series that both have is in no latency: fast refusals look like fast answers.
fn left_out(before: &[Series], after: &[Series]) -> Vec<String> {
    let mut remarks = Vec::new();
    for series in before {
        let Some(other) = after.iter().find(|other| other.name == series.name) else {
            continue;
        };
        let name = &series.name;
        let failed = (series.failed(), other.failed());
        if failed != (0, 0) {
            remarks.push(format!(
                "{name}: {} of {} operations failed before, {} of {} after",
                failed.0,
                series.operations.saturating_add(failed.0),
                failed.1,
                other.operations.saturating_add(failed.1)
            ));
        }
        if (series.unsent, other.unsent) != (0, 0) {
            remarks.push(format!(
                "{name}: {} operations were due and never sent before, {} after",
                series.unsent, other.unsent
            ));
        }
        for (series, which) in [(series, "before"), (other, "after")] {
            if let (Some(false), Some(sent)) = (series.kept_up, series.sent_rate) {
                remarks.push(format!(
                    "{name}: it did not keep up {which}: {sent} operations/s were sent"
                ));
            }
        }
    }
    remarks
}

fn of_slices(series: &Series, figure: OfSlice) -> Figure {
    let (value, interval) = series.over_slices(figure);
    Figure { value, interval }
}

#[cfg(test)]
pub(crate) use tests::made_up_row;

#[cfg(test)]
mod tests;
