//! The table of rows: what is measured, against what, and how good it has to be.
//!
//! Owns what a row is, and the list of tables. **A new row is one entry in the table `ROWS` of a file in
//! `scenarios/`, whose last argument makes its scenario, and one line in `docs/benchmarks.md`; a new file is its
//! `mod` line in `scenarios.rs` and its line in [`TABLES`].** Names are stable, because reports of different days
//! are compared by them. How a row is measured is in its file; what it means is in `docs/benchmarks.md`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::harness::Scenario;
use crate::scenarios;
use crate::workbench::Workbench;

/// What a row's figures are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Nanoseconds for one operation.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// KiB for one actor.
    #[serde(rename = "KiB")]
    Kibibytes,
    /// Bytes for one operation.
    #[serde(rename = "B")]
    Bytes,
    /// Operations in a second.
    #[serde(rename = "1/s")]
    PerSecond,
    /// Milliseconds for one operation.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Percentage points between what was to be and what was.
    #[serde(rename = "points")]
    Points,
    /// How many there were, of all the operations of a round.
    #[serde(rename = "count")]
    Count,
}

/// What a row's `median` is taken over, in each round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stat {
    /// The round's p50 of many samples.
    #[serde(rename = "p50")]
    P50,
    /// The round's p99 of many samples.
    #[serde(rename = "p99")]
    P99,
    /// The round's one sample.
    #[serde(rename = "median")]
    Median,
    /// The round's operations ÷ the time it took.
    #[serde(rename = "rate")]
    Rate,
    /// The largest sample of all rounds: one bad round is not made good by others.
    #[serde(rename = "worst")]
    Worst,
}

/// How good a row has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    /// The most that its ratio to its baseline may be.
    Ratio(f64),
    /// The least that its ratio to its baseline may be.
    RatioAtLeast(f64),
    /// The interval that its ratio to its baseline is in has to reach down to 1, or to end at most here: it costs
    /// nothing that can be seen, or little.
    RatioInterval(f64),
    /// The most that its median may be, in its unit.
    Median(f64),
    /// The most, in its unit, by which it may be above its baseline: the median over the rounds of what is between them.
    Beyond(f64),
}

/// A scenario being made.
pub type Making<'a> =
    Pin<Box<dyn Future<Output = Result<Box<dyn Scenario>, BenchError>> + Send + 'a>>;

/// Makes a row's scenario, on the runtime that its rounds will run on.
pub type Make = for<'a> fn(&'a Workbench) -> Making<'a>;

/// What a row's table holds as its last argument: the scenario that `making` will be.
pub(crate) fn made<'a, S: Scenario + 'static>(
    making: impl Future<Output = Result<S, BenchError>> + Send + 'a,
) -> Making<'a> {
    Box::pin(async { Ok(Box::new(making.await?) as Box<dyn Scenario>) })
}

/// Where a row's figures come from.
#[derive(Clone, Copy)]
pub enum Measure {
    /// A scenario of its own.
    Scenario(Make),
    /// What another row of the group has measured: this one only compares it with something else.
    As(&'static str),
}

impl fmt::Debug for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scenario(_) => f.write_str("Scenario"),
            Self::As(row) => f.debug_tuple("As").field(row).finish(),
        }
    }
}

/// One row of the report.
#[derive(Debug)]
pub struct RowSpec {
    /// Its name.
    pub name: &'static str,
    /// The rows that are measured interleaved with it.
    pub group: Group,
    /// What it is counted in.
    pub unit: Unit,
    /// What its median is taken over.
    pub stat: Stat,
    /// The rows of the same group whose sum it is compared with.
    pub baseline: &'static [&'static str],
    /// How good it has to be.
    pub bar: Option<Bar>,
    /// Operations in one round.
    pub per_round: u64,
    /// The least rounds that say something, where whoever runs it does not say how many.
    pub rounds_least: u32,
    /// The numbers of worker threads it is measured on.
    pub threads: &'static [usize],
    /// Where its figures come from.
    pub measure: Measure,
}

/// Rows that are measured together, so that a slow minute slows all of them. A group is made by naming it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Group(&'static str);

impl Group {
    /// The group of that name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// Returns the group's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

const ONE: &[usize] = &[1];
const TWO: &[usize] = &[2];
const BOTH: &[usize] = &[1, 2];

/// A row of latencies, on one worker and on two, without baseline and bar.
pub(crate) const fn latency(
    name: &'static str,
    group: Group,
    per_round: u64,
    make: Make,
) -> RowSpec {
    RowSpec {
        name,
        group,
        unit: Unit::Nanoseconds,
        stat: Stat::P50,
        baseline: &[],
        bar: None,
        per_round,
        rounds_least: 1,
        threads: BOTH,
        measure: Measure::Scenario(make),
    }
}

/// A row of memory for one actor, measured in a child process.
pub(crate) const fn memory(name: &'static str, group: Group, actors: u64, make: Make) -> RowSpec {
    RowSpec {
        unit: Unit::Kibibytes,
        stat: Stat::Median,
        threads: ONE,
        ..latency(name, group, actors, make)
    }
}

impl RowSpec {
    /// Compares it with the sum of these rows of its group.
    pub(crate) const fn against(mut self, baseline: &'static [&'static str]) -> Self {
        self.baseline = baseline;
        self
    }

    /// How good it has to be.
    pub(crate) const fn bar(mut self, bar: Bar) -> Self {
        self.bar = Some(bar);
        self
    }

    /// Measures it on one worker only.
    #[must_use]
    pub const fn on_one(mut self) -> Self {
        self.threads = ONE;
        self
    }

    /// Measures it on two workers only.
    #[must_use]
    pub const fn on_two(mut self) -> Self {
        self.threads = TWO;
        self
    }

    /// A round is one sample, as cold as any other: nothing warms up.
    #[must_use]
    pub const fn single(mut self) -> Self {
        self.stat = Stat::Median;
        self
    }

    /// Takes each round's p99 instead of its p50.
    #[must_use]
    pub const fn p99(mut self) -> Self {
        self.stat = Stat::P99;
        self
    }

    /// Takes each round's operations in a second.
    #[must_use]
    pub const fn rate(mut self) -> Self {
        self.stat = Stat::Rate;
        self.unit = Unit::PerSecond;
        self
    }

    /// Measures at least so many rounds.
    #[must_use]
    pub const fn at_least_rounds(mut self, rounds: u32) -> Self {
        self.rounds_least = rounds;
        self
    }

    /// Takes the largest sample of all rounds.
    #[must_use]
    pub const fn worst(mut self) -> Self {
        self.stat = Stat::Worst;
        self
    }

    /// Counts in another unit.
    #[must_use]
    pub const fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// Compares what another row has measured, in place of a scenario of its own.
    pub(crate) const fn compares(mut self, row: &'static str) -> Self {
        self.measure = Measure::As(row);
        self
    }

    /// Whether `which` (the beginning of a group's or a row's name) asks for it.
    #[must_use]
    pub fn is_asked_for(&self, which: &str) -> bool {
        which == "all" || self.name.starts_with(which) || self.group.as_str().starts_with(which)
    }

    /// The rows it cannot be without: its baseline, and the one that it compares.
    pub(crate) fn needs(&self) -> impl Iterator<Item = &'static str> {
        let compared = match self.measure {
            Measure::As(row) => Some(row),
            Measure::Scenario(_) => None,
        };
        self.baseline.iter().copied().chain(compared)
    }
}

/// Every table; groups are measured in the order in which they first appear, and so are their rows.
const TABLES: &[&[RowSpec]] = &[
    scenarios::raw::ROWS,
    scenarios::ractor::ROWS,
    scenarios::closure::ROWS,
    #[cfg(feature = "rivals")]
    scenarios::kameo::ROWS,
    scenarios::composed::ROWS,
    scenarios::call::ROWS,
    scenarios::cast::ROWS,
    scenarios::ask::ROWS,
    scenarios::many::ROWS,
    scenarios::payload::ROWS,
    scenarios::spawn::ROWS,
    scenarios::restart::ROWS,
    scenarios::children::ROWS,
    scenarios::storm::ROWS,
    scenarios::supervised::ROWS,
    scenarios::route::ROWS,
    scenarios::upgrade::ROWS,
    scenarios::deploy::ROWS,
    scenarios::cycles::ROWS,
    scenarios::boot::ROWS,
    scenarios::kill::ROWS,
    scenarios::topic::ROWS,
    scenarios::rss::ROWS,
    scenarios::load::ROWS,
    scenarios::density::ROWS,
];

/// Every row.
pub fn rows() -> impl Iterator<Item = &'static RowSpec> + Clone {
    TABLES.iter().copied().flatten()
}

/// Every group, in the order they are measured.
#[must_use]
pub fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    for row in rows() {
        if !groups.contains(&row.group) {
            groups.push(row.group);
        }
    }
    groups
}

/// Finds a row by its name.
#[must_use]
pub fn row(name: &str) -> Option<&'static RowSpec> {
    rows().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_what_a_row_needs_is_measured_with_it() {
        for (at, spec) in rows().enumerate() {
            assert!(
                rows().take(at).all(|other| other.name != spec.name),
                "{} twice",
                spec.name
            );
            for needed in spec.needs() {
                let needed = row(needed).unwrap();
                assert_eq!(needed.group, spec.group, "{}", spec.name);
                assert_eq!(needed.unit, spec.unit, "{}", spec.name);
                assert!(
                    spec.threads
                        .iter()
                        .all(|threads| needed.threads.contains(threads)),
                    "{}",
                    spec.name
                );
                assert!(
                    matches!(needed.measure, Measure::Scenario(_)),
                    "{} needs {}, which measures nothing",
                    spec.name,
                    needed.name
                );
            }
        }
    }

    #[test]
    fn a_ratio_has_a_bar_only_where_there_is_a_baseline() {
        for spec in rows() {
            if let Some(
                Bar::Ratio(_) | Bar::RatioAtLeast(_) | Bar::RatioInterval(_) | Bar::Beyond(_),
            ) = spec.bar
            {
                assert!(!spec.baseline.is_empty(), "{}", spec.name);
            }
        }
    }

    #[test]
    fn which_names_rows_and_groups_by_their_beginning() {
        let asked = |which: &str| -> Vec<_> {
            rows()
                .filter(|row| row.is_asked_for(which))
                .map(|row| row.name)
                .collect()
        };
        assert_eq!(asked("load"), ["load.compile", "load.cached"]);
        assert_eq!(asked("raw.echo.6"), ["raw.echo.64k"]);
        assert_eq!(asked("all").len(), rows().count());
        assert!(asked("nothing").is_empty());
        assert!(groups().contains(&Group::new("ask")));
    }
}
