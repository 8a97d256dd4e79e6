//! What a driven plan has to say: as JSON, as a table; the page is in `html.rs`.

use std::fmt;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::drive::{TIMER_LATE, time_of};
use super::record::{Measured, Totals};
use super::{Length, LoadPlan, Pace, Target};
use crate::machine::Machine;
use crate::report::human;
use crate::rows::Unit;
use crate::statistics::{interval95, median, rounded};

/// What the file begins with, so that a reader knows it from the report of the rows.
pub(crate) const KIND: &str = "load";

/// Points of the curve between one percentile and the one twice as rare.
const POINTS: u32 = 8;

/// All that a driven plan has to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// `load`.
    pub kind: String,
    /// What it ran on.
    pub machine: Machine,
    /// Whether it ran to its end.
    pub complete: bool,
    /// What was driven, and how.
    pub plan: PlanFacts,
    /// What it took.
    pub series: Vec<Series>,
}

/// A plan, as far as a reader of its report needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanFacts {
    /// The scenario, or the function of the user's own.
    pub scenario: String,
    /// `closed` or `open`.
    pub pace: String,
    /// Operations at a time, at most.
    pub concurrency: usize,
    /// Operations in a second, of an open loop.
    pub rate: Option<f64>,
    /// Seconds, unless it is a number of operations.
    pub seconds: Option<f64>,
    /// Operations, unless it is a time.
    pub count: Option<u64>,
    /// Seconds that were driven before and not counted.
    pub warm_up_seconds: f64,
    /// Worker threads.
    pub threads: usize,
}

/// One series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Operations that were answered.
    pub operations: u64,
    /// Messages that one operation consists of.
    pub messages_per_operation: u32,
    /// Operations that ended in a typed error; they are not in the latencies.
    pub errors: Vec<ErrorCount>,
    /// Operations of an open loop that were due and never sent.
    pub unsent: u64,
    /// Operations of an open loop that were sent in a second, from the first to the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_rate: Option<f64>,
    /// Whether an open loop sent what was due, and at the rate that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_up: Option<bool>,
    /// From the beginning to the end of the last operation.
    pub seconds: f64,
    /// Answered operations in a second.
    pub throughput: f64,
    /// From the time an operation was to be sent; of a closed loop, was sent.
    pub latency: Spread,
    /// From the time it was sent; of an open loop only, where that leaves out the wait.
    pub uncorrected: Option<Spread>,
    /// The run's twentieths.
    pub slices: Vec<Slice>,
}

/// So many operations ended in this error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCount {
    /// The error's kind.
    pub kind: String,
    /// How many.
    pub count: u64,
}

/// How a time is distributed, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Shortest.
    pub min: u64,
    /// Mean.
    pub mean: f64,
    /// 50th percentile.
    pub p50: u64,
    /// 90th.
    pub p90: u64,
    /// 99th.
    pub p99: u64,
    /// 99.9th.
    pub p999: u64,
    /// 99.99th.
    pub p9999: u64,
    /// Longest.
    pub max: u64,
    /// The whole curve: a share of the operations, and the time within which they were answered.
    pub curve: Vec<(f64, u64)>,
}

/// A twentieth of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// Answered operations.
    pub operations: u64,
    /// Answered operations in a second.
    pub throughput: f64,
    /// 50th percentile of its latencies, in nanoseconds.
    pub p50: u64,
    /// 99th.
    pub p99: u64,
}

impl Spread {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        let curve = histogram
            .iter_quantiles(POINTS)
            .map(|point| (point.quantile_iterated_to(), point.value_iterated_to()))
            .collect();
        Self {
            min: histogram.min(),
            mean: rounded(histogram.mean(), 1),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: histogram.max(),
            curve,
        }
    }
}

impl Series {
    /// `rate` is that of an open loop.
    pub(super) fn of(name: String, measured: &Measured, rate: Option<f64>) -> Self {
        let all = &measured.all;
        let seconds = measured.took.as_secs_f64();
        let operations = all.latency.len();
        let errors = all.errors.iter().map(|(kind, count)| ErrorCount {
            kind: (*kind).to_owned(),
            count: *count,
        });
        Self {
            name,
            operations,
            messages_per_operation: measured.messages,
            errors: errors.collect(),
            unsent: measured.unsent,
            sent_rate: rate.map(|rate| rounded(sent_rate(all, rate), 1)),
            kept_up: rate.map(|rate| measured.unsent == 0 && is_in_time(all, rate)),
            seconds: rounded(seconds, 4),
            throughput: per_second(operations, seconds),
            latency: Spread::of(&all.latency),
            uncorrected: rate.map(|_| Spread::of(&all.service)),
            slices: slices(&measured.slices),
        }
    }

    /// The median over the slices of `figure`, and where it is with 95 % confidence.
    pub(crate) fn over_slices(&self, figure: fn(&Slice) -> f64) -> (f64, Option<(f64, f64)>) {
        let answered = self.slices.iter().filter(|slice| slice.operations > 0);
        let values: Vec<f64> = answered.map(figure).collect();
        (median(&values), interval95(&values))
    }

    /// How far an open loop fell behind the rate that was asked for, if it did.
    pub(crate) fn behind(&self, rate: Option<f64>) -> Option<String> {
        let mut behind = Vec::new();
        if let (Some(false), Some(sent), Some(rate)) = (self.kept_up, self.sent_rate, rate) {
            behind.push(format!("{sent} operations/s were sent of {rate} asked for"));
        }
        if self.unsent > 0 {
            behind.push(format!(
                "{} operations were due and never sent",
                self.unsent
            ));
        }
        (!behind.is_empty()).then(|| behind.join(", "))
    }

    pub(crate) fn failed(&self) -> u64 {
        let counts = self.errors.iter().map(|error| error.count);
        counts.fold(0, u64::saturating_add)
    }
}

/// The share of the rate that was asked for at which an open loop keeps up with it.
const KEPT_UP: f64 = 0.95;

/// Operations sent in a second, where each is given the time between two of them.
fn sent_rate(all: &Totals, rate: f64) -> f64 {
    let seconds = all.sent.as_secs_f64() + 1.0 / rate;
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
    let operations = all.operations() as f64;
    operations / seconds
}

/// Whether the last operation was sent about when it was due: later by what a timer is late, or by a small share of
/// the whole.
fn is_in_time(all: &Totals, rate: f64) -> bool {
    let due = time_of(all.operations().saturating_sub(1), rate);
    all.sent.saturating_sub(due) <= TIMER_LATE || sent_rate(all, rate) >= rate * KEPT_UP
}

/// A slice's time is from the last operation before it to its own last one.
fn slices(totals: &[Totals]) -> Vec<Slice> {
    let mut began = std::time::Duration::ZERO;
    let mut slices = Vec::with_capacity(totals.len());
    for slice in totals {
        let seconds = slice.last.saturating_sub(began).as_secs_f64();
        began = began.max(slice.last);
        let operations = slice.latency.len();
        slices.push(Slice {
            operations,
            throughput: per_second(operations, seconds),
            p50: slice.latency.value_at_quantile(0.5),
            p99: slice.latency.value_at_quantile(0.99),
        });
    }
    slices
}

fn per_second(operations: u64, seconds: f64) -> f64 {
    if seconds <= 0.0 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
    let operations = operations as f64;
    rounded(operations / seconds, 1)
}

impl LoadReport {
    pub(super) fn new(
        machine: Machine,
        plan: &LoadPlan,
        complete: bool,
        series: Vec<Series>,
    ) -> Self {
        let scenario = match &plan.target {
            Target::BuiltIn(scenario, _) => scenario.as_str().to_owned(),
            Target::Own(own) => format!("{}#{}", own.actor, own.function),
        };
        let (pace, rate) = match plan.pace {
            Pace::Closed { .. } => ("closed", None),
            Pace::Open { rate, .. } => ("open", Some(rate)),
        };
        let (seconds, count) = match plan.length {
            Length::Time(time) => (Some(time.as_secs_f64()), None),
            Length::Count(count) => (None, Some(count)),
        };
        Self {
            kind: KIND.to_owned(),
            machine,
            complete,
            plan: PlanFacts {
                scenario,
                pace: pace.to_owned(),
                concurrency: plan.pace.concurrency(),
                rate,
                seconds,
                count,
                warm_up_seconds: plan.warm_up.as_secs_f64(),
                threads: plan.threads,
            },
            series,
        }
    }
}

impl fmt::Display for PlanFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.scenario)?;
        match self.rate {
            Some(rate) => write!(
                f,
                "open loop, {rate} operations/s, at most {} at a time",
                self.concurrency
            )?,
            None => write!(f, "closed loop, {} at a time", self.concurrency)?,
        }
        if let Some(seconds) = self.seconds {
            write!(f, ", {seconds} s")?;
        }
        if let Some(count) = self.count {
            write!(f, ", {count} operations")?;
        }
        let s = if self.threads == 1 { "" } else { "s" };
        write!(
            f,
            " after {} s of warm-up; {} worker thread{s}",
            self.warm_up_seconds, self.threads
        )
    }
}

const HEADS: [&str; 10] = [
    "series", "op/s", "p50", "p90", "p99", "p99.9", "max", "ops", "errors", "unsent",
];

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}", self.machine, self.plan)?;
        if !self.complete {
            writeln!(f, "stopped before its end")?;
        }
        writeln!(f)?;
        let mut lines = vec![HEADS.map(str::to_owned)];
        for series in &self.series {
            lines.push(cells(&series.name, series, &series.latency));
            if let Some(uncorrected) = &series.uncorrected {
                let mut line = cells("  from when it was sent", series, uncorrected);
                for cell in [1, 7, 8, 9] {
                    if let Some(cell) = line.get_mut(cell) {
                        cell.clear();
                    }
                }
                lines.push(line);
            }
        }
        let mut widths = [0; 10];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for line in &lines {
            let mut text = String::new();
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                if column == 0 {
                    text.push_str(&format!("{cell:<width$}"));
                } else {
                    text.push_str(&format!("  {cell:>width$}"));
                }
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        for series in &self.series {
            for error in &series.errors {
                writeln!(f, "{}: {} × {}", series.name, error.count, error.kind)?;
            }
            if let Some(behind) = series.behind(self.plan.rate) {
                writeln!(
                    f,
                    "{}: it did not keep up: {behind}; give a lower --rate or a higher --concurrency",
                    series.name
                )?;
            }
        }
        Ok(())
    }
}

fn cells(name: &str, series: &Series, spread: &Spread) -> [String; 10] {
    let time = nanoseconds;
    [
        name.to_owned(),
        human(series.throughput, Unit::PerSecond),
        time(spread.p50),
        time(spread.p90),
        time(spread.p99),
        time(spread.p999),
        time(spread.max),
        series.operations.to_string(),
        series.failed().to_string(),
        series.unsent.to_string(),
    ]
}

/// A time as people write it, with three digits or so.
pub(crate) fn nanoseconds(value: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let value = value as f64;
    let (value, unit) = match value {
        v if v < 1e3 => return format!("{v:.0} ns"),
        v if v < 1e6 => (v / 1e3, "µs"),
        v if v < 1e9 => (v / 1e6, "ms"),
        v => (v / 1e9, "s"),
    };
    let digits = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// `operations` at `rate`, the last of which was sent at so many milliseconds.
    fn open(operations: u64, rate: f64, sent_ms: u64, unsent: u64) -> Series {
        let mut all = Totals::new().unwrap();
        all.latency.record_n(1_000, operations).unwrap();
        all.service.record_n(1_000, operations).unwrap();
        all.sent = Duration::from_millis(sent_ms);
        let measured = Measured {
            all,
            slices: Vec::new(),
            messages: 1,
            unsent,
            took: Duration::from_secs(2),
        };
        Series::of("ask".to_owned(), &measured, Some(rate))
    }

    #[test]
    fn an_open_loop_keeps_up_as_far_as_a_timer_can() {
        for (operations, rate, sent_ms, unsent, kept_up) in [
            (1_000, 1_000.0, 999, 0, true),
            // Later by a share of the whole that is small.
            (1_000, 1_000.0, 1_040, 0, true),
            (1_000, 1_000.0, 1_100, 0, false),
            // By more than a small share, and not by more than a timer is.
            (10, 10_000.0, 2, 0, true),
            (10, 10_000.0, 5, 0, false),
            (1, 100.0, 1, 0, true),
            (0, 100.0, 0, 0, true),
            (1_000, 1_000.0, 999, 1, false),
        ] {
            let series = open(operations, rate, sent_ms, unsent);
            let why = format!("{operations} at {rate} in {sent_ms} ms");
            assert_eq!(series.kept_up, Some(kept_up), "{why}: {series:?}");
            assert_eq!(series.behind(Some(rate)).is_none(), kept_up, "{why}");
        }
        let series = open(1_000, 1_000.0, 1_999, 0);
        assert_eq!(series.sent_rate, Some(500.0));
        assert_eq!(
            series.behind(Some(1_000.0)).unwrap(),
            "500 operations/s were sent of 1000 asked for"
        );
    }

    #[test]
    fn times_have_three_digits() {
        for (value, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (7_311, "7.31 µs"),
            (75_700, "75.7 µs"),
            (134_400, "134 µs"),
            (1_080_300, "1.08 ms"),
            (1_392_500_000, "1.39 s"),
        ] {
            assert_eq!(nanoseconds(value), text);
        }
    }
}
