//! A comparison as a table for a terminal.

use std::fmt;

use super::{Change, Comparison, Figure, Measure};
use crate::report::human;

impl Measure {
    /// The figure as people write it.
    pub(crate) fn write(self, value: f64) -> String {
        match self {
            Self::Ratio => format!("{value:.3}"),
            Self::Of(unit) => human(value, unit),
        }
    }

    /// The figure and its interval.
    pub(crate) fn write_figure(self, figure: Figure) -> String {
        let value = self.write(figure.value);
        match figure.interval {
            Some((low, high)) => format!("{value} [{}–{}]", self.write(low), self.write(high)),
            None => value,
        }
    }
}

impl Change {
    /// By how much, where that is a number.
    pub(crate) fn write_percent(&self) -> String {
        let percent = self.percent.map(|percent| format!("{percent:+.1} %"));
        percent.unwrap_or_else(|| "–".to_owned())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "before: {}\nafter:  {}", self.before, self.after)?;
        for difference in &self.differences {
            writeln!(f, "not the same: {difference}")?;
        }
        for remark in &self.remarks {
            writeln!(f, "note: {remark}")?;
        }
        writeln!(f)?;
        let heads = ["", "before", "after", "change", "verdict"].map(str::to_owned);
        let lines: Vec<_> = std::iter::once(heads)
            .chain(self.changes.iter().map(cells))
            .collect();
        let mut widths = [0; 5];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for line in &lines {
            let mut text = String::new();
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                if column == 3 {
                    text.push_str(&format!("{cell:>width$}  "));
                } else {
                    text.push_str(&format!("{cell:<width$}  "));
                }
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        for only in &self.only_in_one {
            writeln!(f, "{only}")?;
        }
        Ok(())
    }
}

fn cells(change: &Change) -> [String; 5] {
    [
        change.name.clone(),
        change.measure.write_figure(change.before),
        change.measure.write_figure(change.after),
        change.write_percent(),
        change.verdict.to_string(),
    ]
}
