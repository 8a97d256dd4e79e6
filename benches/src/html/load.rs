//! The page of a driven scenario.

use std::fmt::Write as _;

use super::chart::{Axis, Line, draw};
use super::{Cells, escaped, machine, note, table, warning};
use crate::load::nanoseconds;
use crate::load::{LoadReport, Series};
use crate::report::human;
use crate::rows::Unit;

pub(super) fn body(report: &LoadReport) -> String {
    let mut html = format!(
        "<p class=\"muted\">{}</p>\n",
        escaped(&report.plan.to_string())
    );
    html.push_str(&warning(&report.machine));
    if !report.complete {
        html.push_str(&note("Stopped before its end: this is what there was."));
    }
    for series in &report.series {
        for error in &series.errors {
            html.push_str(&note(&format!(
                "{}: {} operations ended in {}. They are not in the latencies.",
                series.name, error.count, error.kind
            )));
        }
        if let Some(behind) = series.behind(report.plan.rate) {
            html.push_str(&note(&format!(
                "{}: it did not keep up: {behind}. The latencies are of those that were sent.",
                series.name
            )));
        }
    }
    html.push_str("<h2>Latency and throughput</h2>\n");
    html.push_str(&summary(&report.series));
    if report.plan.rate.is_some() {
        html.push_str(
            "<p class=\"muted\">Latency counts from the time at which an operation was due. “From when it was sent” leaves out \
             what it waited behind others, and is shown to compare only.</p>\n",
        );
    }
    html.push_str("<h2>Latency by percentile</h2>\n");
    let mut lines = Vec::new();
    for (colour, series) in report.series.iter().enumerate() {
        lines.push(curve(series.name.clone(), colour, false, series));
        if let Some(uncorrected) = &series.uncorrected {
            let sent = Line {
                points: points(&uncorrected.curve),
                ..curve(
                    format!("{}, from when it was sent", series.name),
                    colour,
                    true,
                    series,
                )
            };
            lines.push(sent);
        }
    }
    html.push_str(&curves(
        "Latency by percentile",
        &lines,
        most(&report.series),
    ));
    html.push_str(
        "<h2>Over the run</h2>\n<p class=\"muted\">Each point is a twentieth of the run.</p>\n",
    );
    html.push_str(&over_time(report));
    html.push_str("<h2>Machine and build</h2>\n");
    html.push_str(&machine(&report.machine));
    html
}

fn summary(series: &[Series]) -> String {
    use Cells::{Figures, Text};
    let heads = [
        ("series", Text),
        ("operations/s", Figures),
        ("messages/s", Figures),
        ("p50", Figures),
        ("p90", Figures),
        ("p99", Figures),
        ("p99.9", Figures),
        ("longest", Figures),
        ("operations", Figures),
        ("errors", Figures),
    ];
    let mut lines = Vec::new();
    for series in series {
        let rate = |rate| human(rate, Unit::PerSecond);
        let all = [
            rate(series.throughput),
            rate(series.throughput * f64::from(series.messages_per_operation)),
            series.operations.to_string(),
            series.failed().to_string(),
        ];
        let [throughput, messages, operations, errors] = all;
        let times = |spread: &crate::load::Spread| {
            [spread.p50, spread.p90, spread.p99, spread.p999, spread.max].map(nanoseconds)
        };
        let mut line = vec![series.name.clone(), throughput, messages];
        line.extend(times(&series.latency));
        line.extend([operations, errors]);
        lines.push(line);
        if let Some(uncorrected) = &series.uncorrected {
            let name = "↳ from when it was sent".to_owned();
            let mut line = vec![name, String::new(), String::new()];
            line.extend(times(uncorrected));
            line.extend([String::new(), String::new()]);
            lines.push(line);
        }
    }
    table(&heads, &lines)
}

/// The most operations of a series: how rare the rarest is.
pub(super) fn most<'a>(series: impl IntoIterator<Item = &'a Series>) -> u64 {
    series
        .into_iter()
        .map(|series| series.operations)
        .max()
        .unwrap_or(0)
}

pub(super) fn curve(label: String, colour: usize, dashed: bool, series: &Series) -> Line {
    Line {
        label,
        colour,
        dashed,
        points: points(&series.latency.curve),
    }
}

/// The last point is the longest of all, at a share of 1, which is nowhere on a scale of how rare a time is.
fn points(curve: &[(f64, u64)]) -> Vec<(f64, f64)> {
    #[expect(clippy::cast_precision_loss, reason = "a place on a page")]
    let point = |(share, time): &(f64, u64)| (*share, *time as f64);
    curve
        .iter()
        .filter(|(share, _)| *share < 1.0)
        .map(point)
        .collect()
}

pub(super) fn curves(title: &str, lines: &[Line], operations: u64) -> String {
    let times: Vec<f64> = lines
        .iter()
        .flat_map(|line| line.points.iter().map(|(_, time)| *time))
        .collect();
    let y = Axis::log("latency", &times, short_time);
    draw(title, &Axis::percentiles(operations), &y, lines)
}

/// A round figure: `2 µs`, `500 ns`.
pub(super) fn short_time(nanoseconds: f64) -> String {
    let (value, unit) = match nanoseconds {
        n if n >= 0.999e9 => (n / 1e9, "s"),
        n if n >= 0.999e6 => (n / 1e6, "ms"),
        n if n >= 0.999e3 => (n / 1e3, "µs"),
        n => (n, "ns"),
    };
    // Rounded, so that 0.1 + 0.2 is not seen.
    format!("{} {unit}", (value * 100.0).round() / 100.0)
}

fn over_time(report: &LoadReport) -> String {
    let mut html = String::new();
    let share = |at: usize| {
        #[expect(clippy::cast_precision_loss, reason = "below 20")]
        let at = at as f64;
        (at + 0.5) * 5.0
    };
    let x = || Axis {
        label: "share of the run".to_owned(),
        scale: super::chart::Scale::Linear,
        low: 0.0,
        high: 100.0,
        ticks: (0..=5)
            .map(|fifth| f64::from(fifth * 20))
            .map(|percent| (percent, format!("{percent} %")))
            .collect(),
    };
    let line = |colour: usize, series: &Series, figure: fn(&crate::load::Slice) -> f64| Line {
        label: series.name.clone(),
        colour,
        dashed: false,
        points: series
            .slices
            .iter()
            .enumerate()
            .filter(|(_, slice)| slice.operations > 0)
            .map(|(at, slice)| (share(at), figure(slice)))
            .collect(),
    };
    let lines = |figure| -> Vec<Line> {
        let numbered = report.series.iter().enumerate();
        numbered
            .map(|(colour, series)| line(colour, series, figure))
            .collect()
    };
    let values = |lines: &[Line]| -> Vec<f64> {
        lines
            .iter()
            .flat_map(|line| line.points.iter().map(|(_, y)| *y))
            .collect()
    };
    let throughput = lines(|slice| slice.throughput);
    let found = values(&throughput);
    let (low, high) = (
        found.iter().copied().fold(f64::INFINITY, f64::min),
        found.iter().copied().fold(0.0, f64::max),
    );
    let write = |value: f64| human(value, Unit::PerSecond);
    // Series of very different speeds do not share an even axis.
    let y = if high > 20.0 * low {
        Axis::log("operations in a second", &found, write)
    } else {
        Axis::from_zero("operations in a second", high, write)
    };
    html.push_str(&draw("Throughput over the run", &x(), &y, &throughput));
    #[expect(clippy::cast_precision_loss, reason = "a place on a page")]
    let p99 = lines(|slice| slice.p99 as f64);
    let y = Axis::log("p99 of the latency", &values(&p99), short_time);
    let _ = write!(html, "{}", draw("p99 over the run", &x(), &y, &p99));
    html
}
