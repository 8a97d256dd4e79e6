//! A report as a table for a terminal.

use std::fmt::{self, Write};

use super::{Report, Row};
use crate::rows::Unit;

const HEADS: [&str; 8] = ["row", "threads", "median", "p99", "n", "ratio", "of", "bar"];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        if !self.complete {
            writeln!(
                f,
                "stopped before its end: rows are missing, or have fewer rounds"
            )?;
        }
        let lines: Vec<[String; 8]> = self.rows.iter().map(cells).collect();
        let heads = HEADS.map(str::to_owned);
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
    let figure = |text: String| match row.skipped {
        Some(_) => String::new(),
        None => text,
    };
    let ratio = |ratio: f64| {
        let digits = if ratio < 0.1 { 3 } else { 2 };
        format!("{ratio:.digits$}")
    };
    let remarks: Vec<String> = [
        bar(row),
        row.page_tables_kib
            .map(|kib| format!("+ {kib} KiB of page tables")),
        row.skipped.as_ref().map(|why| format!("skipped: {why}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    [
        row.name.clone(),
        row.threads.to_string(),
        figure(human(row.median, row.unit)),
        row.p99.map_or_else(String::new, |p99| human(p99, row.unit)),
        figure(row.n.to_string()),
        match (row.ratio, row.ratio_interval) {
            (Some(middle), Some((low, high))) => {
                format!("{} [{}–{}]", ratio(middle), ratio(low), ratio(high))
            }
            (Some(middle), None) => ratio(middle),
            (None, _) => String::new(),
        },
        row.baseline.clone().unwrap_or_default(),
        remarks.join("  "),
    ]
}

/// `≤ 0.8 met`, `≤ 0.8 MISSED`; with a remark where the interval holds the bar, so that the next run may say
/// the opposite.
pub(crate) fn bar(row: &Row) -> Option<String> {
    let (bar, met) = (row.bar?, row.met?);
    let on_ratio = row.is_judged_by_ratio();
    let on_interval = row.bar_on.as_deref() == Some("interval");
    let text = match row.unit {
        Unit::Nanoseconds if !on_ratio && bar >= 1e6 => format!("{} ms", bar / 1e6),
        Unit::Nanoseconds if !on_ratio => format!("{bar} ns"),
        Unit::Bytes if !on_ratio => format!("{bar} B"),
        Unit::Kibibytes if !on_ratio => format!("{bar} KiB"),
        Unit::Milliseconds if !on_ratio => format!("{bar} ms"),
        Unit::Points if !on_ratio => format!("{bar} points"),
        Unit::PerSecond if !on_ratio => format!("{bar}/s"),
        _ if (bar * 3.0 - 1.0).abs() < f64::EPSILON => "1/3".to_owned(),
        _ => bar.to_string(),
    };
    let sign = if row.bar_is_least { '≥' } else { '≤' };
    let verdict = if met { "met" } else { "MISSED" };
    if let Some(beyond) = row.beyond {
        let by = human(beyond, row.unit);
        return Some(format!("≤ {text} above it: {by}, {verdict}"));
    }
    let close = match row.ratio_interval {
        Some((low, _)) if on_interval && met && low <= 1.0 => ", 1 is in the interval",
        Some((low, high)) if on_ratio && !on_interval && low <= bar && bar <= high => {
            ", within noise"
        }
        _ => "",
    };
    Some(format!("{sign} {text} {verdict}{close}"))
}

fn write_line(f: &mut fmt::Formatter<'_>, line: &[String; 8], widths: &[usize; 8]) -> fmt::Result {
    let mut text = String::new();
    for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
        // Names and remarks to the left, figures to the right.
        if matches!(column, 0 | 5 | 6 | 7) {
            write!(text, "{cell:<width$}  ")?;
        } else {
            write!(text, "{cell:>width$}  ")?;
        }
    }
    writeln!(f, "{}", text.trim_end())
}

/// Three or four digits and a unit.
pub(crate) fn human(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Kibibytes => format!("{value:.1} KiB"),
        Unit::Bytes => format!("{value:.0} B"),
        Unit::Nanoseconds if value < 10_000.0 => format!("{value:.0} ns"),
        Unit::Nanoseconds if value < 10_000_000.0 => format!("{:.1} µs", value / 1e3),
        Unit::Nanoseconds => format!("{:.1} ms", value / 1e6),
        Unit::Milliseconds => format!("{value:.3} ms"),
        Unit::Points => format!("{value:.3} points"),
        Unit::Count => format!("{value}"),
        Unit::PerSecond if value < 10_000.0 => format!("{value:.0}/s"),
        Unit::PerSecond if value < 10_000_000.0 => format!("{:.1} k/s", value / 1e3),
        Unit::PerSecond => format!("{:.1} M/s", value / 1e6),
    }
}
