//! From measurements to the report: medians, ratios, bars; as JSON and as a table.
//!
//! A ratio is the median of the rounds' own ratios: row and baseline of one round were measured within the
//! same second, so what slowed one slowed the other. How sure it is, is said by an interval of order statistics,
//! which assumes nothing of how the rounds are distributed.

mod table;

pub(crate) use table::{bar, human};

use serde::{Deserialize, Serialize};

use crate::harness::Measured;
use crate::machine::Machine;
use crate::rows::{Bar, Measure, RowSpec, Stat, Unit};
use crate::statistics::{interval95, median, rounded};

/// All that a run has to say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// What it ran on.
    pub machine: Machine,
    /// Whether it ran to its end; if not, rows are missing, or have fewer rounds.
    pub complete: bool,
    /// One row for each comparison.
    pub rows: Vec<Row>,
}

/// One row: a name on a number of threads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// What it was measured with.
    pub group: String,
    /// Median over the rounds of each round's `stat`.
    pub median: f64,
    /// 99th percentile over the samples of all rounds; a rate has none.
    pub p99: Option<f64>,
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
    /// The row it is compared with; several are added up.
    pub baseline: Option<String>,
    /// Median over the rounds of row ÷ baseline of the same round.
    pub ratio: Option<f64>,
    /// The rounds' lowest ratio.
    pub ratio_min: Option<f64>,
    /// The rounds' highest ratio.
    pub ratio_max: Option<f64>,
    /// The median ratio is between these with 95 % confidence; of fewer than 6 rounds nothing can be said.
    pub ratio_interval: Option<(f64, f64)>,
    /// Median over the rounds of row − baseline of the same round, where the bar is for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beyond: Option<f64>,
    /// The most, or the least, that is allowed.
    pub bar: Option<f64>,
    /// What the bar is for: `ratio`, `interval` (of the ratio), `median` or `beyond`.
    pub bar_on: Option<String>,
    /// Whether the bar is the least that is allowed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bar_is_least: bool,
    /// Whether the bar is met.
    pub met: Option<bool>,
    /// Page tables for one actor, in KiB; not part of the median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_tables_kib: Option<f64>,
    /// Why there are no figures, where this machine cannot measure it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

/// The rows of one group and number of threads.
pub(crate) fn rows(specs: &[&'static RowSpec], measured: &[Measured]) -> Vec<Row> {
    let of = |name: &str| measured.iter().find(|other| other.spec.name == name);
    specs
        .iter()
        .filter_map(|spec| {
            let own = match spec.measure {
                Measure::Scenario(_) => spec.name,
                Measure::As(other) => other,
            };
            let baseline: Option<Vec<&Measured>> =
                spec.baseline.iter().map(|name| of(name)).collect();
            let own = of(own)?;
            // Stopped before it had a whole round: a median of nothing would be taken for one.
            if own.rounds.is_empty() && own.skipped.is_none() {
                return None;
            }
            Some(summarize(spec, own, &baseline.unwrap_or_default()))
        })
        .collect()
}

/// Each round's ratio to the sum of its baselines.
fn ratios(row: &Measured, baseline: &[&Measured]) -> Vec<f64> {
    let pairs = pairs(row, baseline).into_iter();
    let some = pairs.filter(|(_, sum)| *sum > 0.0);
    some.map(|(value, sum)| value / sum).collect()
}

/// Each round's value and the sum of its baselines.
fn pairs(row: &Measured, baseline: &[&Measured]) -> Vec<(f64, f64)> {
    if baseline.is_empty() {
        return Vec::new();
    }
    let mut pairs = Vec::with_capacity(row.rounds.len());
    for (round, value) in row.rounds.iter().enumerate() {
        let sum: Option<f64> = baseline
            .iter()
            .map(|baseline| baseline.rounds.get(round))
            .sum();
        if let Some(sum) = sum {
            pairs.push((*value, sum));
        }
    }
    pairs
}

fn summarize(spec: &RowSpec, row: &Measured, baseline: &[&Measured]) -> Row {
    let ratios = ratios(row, baseline);
    let some = |value: f64| (!ratios.is_empty()).then_some(rounded(value, 3));
    let ratio = some(median(&ratios));
    let middle = match spec.stat {
        Stat::Worst => row.rounds.iter().copied().fold(0.0, f64::max),
        _ => median(&row.rounds),
    };
    let digits = if spec.unit == Unit::Milliseconds {
        4
    } else {
        2
    };
    let middle = rounded(middle, digits);
    let between = pairs(row, baseline).into_iter();
    let between: Vec<f64> = between.map(|(value, sum)| value - sum).collect();
    let beyond = matches!(spec.bar, Some(Bar::Beyond(_))) && !between.is_empty();
    let beyond = beyond.then(|| rounded(median(&between), digits));
    let has_figures = !row.rounds.is_empty();
    let interval = interval95(&ratios);
    let (bar, bar_on, met) = match spec.bar {
        Some(Bar::Ratio(bar)) => (Some(bar), Some("ratio"), ratio.map(|ratio| ratio <= bar)),
        Some(Bar::RatioAtLeast(bar)) => (Some(bar), Some("ratio"), ratio.map(|ratio| ratio >= bar)),
        Some(Bar::RatioInterval(bar)) => {
            // Of too few rounds there is no interval, and the ratio has to do.
            let met = match interval {
                Some((low, high)) => Some(low <= 1.0 || high <= bar),
                None => ratio.map(|ratio| ratio <= bar),
            };
            (Some(bar), Some("interval"), met)
        }
        Some(Bar::Median(bar)) => (
            Some(bar),
            Some("median"),
            has_figures.then_some(middle <= bar),
        ),
        Some(Bar::Beyond(bar)) => (
            Some(bar),
            Some("beyond"),
            beyond.map(|beyond| beyond <= bar),
        ),
        None => (None, None, None),
    };
    Row {
        name: spec.name.to_owned(),
        group: spec.group.as_str().to_owned(),
        median: middle,
        p99: row.p99.map(|p99| rounded(p99, digits)),
        n: row.n,
        unit: spec.unit,
        threads: row.threads,
        stat: spec.stat,
        rounds: row.rounds.len(),
        baseline: (!spec.baseline.is_empty()).then(|| spec.baseline.join(" + ")),
        ratio,
        ratio_min: some(ratios.iter().copied().fold(f64::INFINITY, f64::min)),
        ratio_max: some(ratios.iter().copied().fold(0.0, f64::max)),
        ratio_interval: interval.map(|(low, high)| (rounded(low, 3), rounded(high, 3))),
        beyond,
        bar,
        bar_on: bar_on.map(str::to_owned),
        bar_is_least: matches!(spec.bar, Some(Bar::RatioAtLeast(_))),
        met,
        page_tables_kib: (!row.page_tables_kib.is_empty())
            .then(|| rounded(median(&row.page_tables_kib), 2)),
        skipped: row.skipped.clone(),
    }
}

impl Row {
    /// Whether its bar is for its ratio, or for where that is.
    pub(crate) fn is_judged_by_ratio(&self) -> bool {
        matches!(self.bar_on.as_deref(), Some("ratio" | "interval"))
    }
}

impl Report {
    /// Whether every bar is met.
    #[must_use]
    pub fn all_met(&self) -> bool {
        self.rows.iter().all(|row| row.met != Some(false))
    }
}

#[cfg(test)]
mod tests;
