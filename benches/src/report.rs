//! From measurements to the report: medians, ratios, bars; as JSON and as a table.
//!
//! A ratio is the median of the rounds' own ratios: row and baseline of one round were measured within the
//! same second, so what slowed one slowed the other.

use std::fmt::{self, Write};

use serde::Serialize;

use crate::harness::Measured;
use crate::machine::Machine;
use crate::rows::{Bar, Group, Stat, Unit};

/// All that a run has to say.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What it ran on.
    pub machine: Machine,
    /// One row for each comparison.
    pub rows: Vec<Row>,
}

/// One row: a name on a number of threads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: &'static str,
    /// What it was measured with.
    pub group: Group,
    /// Median over the rounds of each round's `stat`.
    pub median: f64,
    /// 99th percentile over the samples of all rounds.
    pub p99: f64,
    /// Samples in all; for memory, actors in each process.
    pub n: u64,
    /// Unit of `median` and `p99`.
    pub unit: Unit,
    /// Worker threads.
    pub threads: usize,
    /// What each round contributes.
    pub stat: Stat,
    /// Rounds.
    pub rounds: usize,
    /// The row it is compared with.
    pub baseline: Option<&'static str>,
    /// Median over the rounds of row ÷ baseline of the same round.
    pub ratio: Option<f64>,
    /// The rounds' lowest ratio.
    pub ratio_min: Option<f64>,
    /// The rounds' highest ratio.
    pub ratio_max: Option<f64>,
    /// The most that is allowed.
    pub bar: Option<f64>,
    /// What the bar is for: `ratio` or `median`.
    pub bar_on: Option<&'static str>,
    /// Whether the bar is met.
    pub met: Option<bool>,
    /// Page tables for one actor, in KiB; not part of the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_tables_kib: Option<f64>,
}

/// The median; of an even number of values, the mean of the two in the middle. 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match (
        sorted.get(half),
        half.checked_sub(1).and_then(|below| sorted.get(below)),
    ) {
        (Some(above), Some(below)) if sorted.len().is_multiple_of(2) => {
            f64::midpoint(*above, *below)
        }
        (Some(middle), _) => *middle,
        (None, _) => 0.0,
    }
}

/// The rows of one group and number of threads.
pub(crate) fn rows(measured: &[Measured]) -> Vec<Row> {
    measured
        .iter()
        .map(|row| summarize(row, measured))
        .collect()
}

fn summarize(row: &Measured, all: &[Measured]) -> Row {
    let spec = row.spec;
    let baseline = spec
        .baseline
        .and_then(|name| all.iter().find(|other| other.spec.name == name));
    let ratios: Vec<f64> = baseline
        .into_iter()
        .flat_map(|baseline| row.rounds.iter().zip(&baseline.rounds))
        .filter(|(_, base)| **base > 0.0)
        .map(|(value, base)| value / base)
        .collect();
    let some = |value: f64| (!ratios.is_empty()).then_some(value);
    let ratio = some(rounded(median(&ratios), 3));
    let middle = rounded(median(&row.rounds), 2);
    let (bar, bar_on, met) = match spec.bar {
        Some(Bar::Ratio(bar)) => (Some(bar), Some("ratio"), ratio.map(|ratio| ratio <= bar)),
        Some(Bar::Median(bar)) => (Some(bar), Some("median"), Some(middle <= bar)),
        None => (None, None, None),
    };
    Row {
        name: spec.name,
        group: spec.group,
        median: middle,
        p99: rounded(row.p99, 2),
        n: row.n,
        unit: spec.unit,
        threads: row.threads,
        stat: spec.stat,
        rounds: row.rounds.len(),
        baseline: spec.baseline,
        ratio,
        ratio_min: some(rounded(
            ratios.iter().copied().fold(f64::INFINITY, f64::min),
            3,
        )),
        ratio_max: some(rounded(ratios.iter().copied().fold(0.0, f64::max), 3)),
        bar,
        bar_on,
        met,
        page_tables_kib: (!row.page_tables_kib.is_empty())
            .then(|| rounded(median(&row.page_tables_kib), 2)),
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

impl Report {
    /// Whether every bar is met.
    #[must_use]
    pub fn all_met(&self) -> bool {
        self.rows.iter().all(|row| row.met != Some(false))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(
            f,
            "{} × {}, Linux {}; {}, wasmtime {}, ractor {}, tokio {}; {} build; load {:.2}",
            machine.cpus,
            machine.model,
            machine.kernel,
            machine.rustc,
            machine.wasmtime,
            machine.ractor,
            machine.tokio,
            machine.profile,
            machine.load_average,
        )?;
        if machine.debug_assertions {
            writeln!(
                f,
                "warning: a build without optimisation: the figures are meaningless"
            )?;
        }
        let lines: Vec<[String; 8]> = self.rows.iter().map(cells).collect();
        let heads =
            ["row", "threads", "median", "p99", "n", "ratio", "of", "bar"].map(str::to_owned);
        let mut widths = [0; 8];
        for line in std::iter::once(&heads).chain(&lines) {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        writeln!(f)?;
        write_line(f, &heads, &widths)?;
        lines
            .iter()
            .try_for_each(|line| write_line(f, line, &widths))
    }
}

fn cells(row: &Row) -> [String; 8] {
    let bar = match (row.bar, row.met) {
        (Some(bar), Some(met)) => {
            let unit = if row.bar_on == Some("median") {
                unit(row.unit)
            } else {
                ""
            };
            format!("≤ {bar}{unit} {}", if met { "met" } else { "MISSED" })
        }
        _ => String::new(),
    };
    let bar = match row.page_tables_kib {
        Some(kib) => format!(
            "{bar}{}+ {kib} KiB of page tables",
            if bar.is_empty() { "" } else { "  " }
        ),
        None => bar,
    };
    [
        row.name.to_owned(),
        row.threads.to_string(),
        human(row.median, row.unit),
        human(row.p99, row.unit),
        row.n.to_string(),
        row.ratio.map_or_else(String::new, |ratio| {
            let digits = if ratio < 0.1 { 3 } else { 2 };
            format!("{ratio:.digits$}")
        }),
        row.baseline.unwrap_or_default().to_owned(),
        bar,
    ]
}

fn write_line(f: &mut fmt::Formatter<'_>, line: &[String; 8], widths: &[usize; 8]) -> fmt::Result {
    let mut text = String::new();
    for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
        // Names and remarks to the left, figures to the right.
        if matches!(column, 0 | 6 | 7) {
            write!(text, "{cell:<width$}  ")?;
        } else {
            write!(text, "{cell:>width$}  ")?;
        }
    }
    writeln!(f, "{}", text.trim_end())
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Nanoseconds => " ns",
        Unit::Kibibytes => " KiB",
    }
}

/// Three or four digits and a unit.
fn human(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Kibibytes => format!("{value:.1} KiB"),
        Unit::Nanoseconds if value < 10_000.0 => format!("{value:.0} ns"),
        Unit::Nanoseconds if value < 10_000_000.0 => format!("{:.1} µs", value / 1e3),
        Unit::Nanoseconds => format!("{:.1} ms", value / 1e6),
    }
}

#[cfg(test)]
mod tests;
