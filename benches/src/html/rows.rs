//! The page of the rows: every ratio with its interval beside its bar, and the whole table.

use std::fmt::Write as _;

use super::{Cells, escaped, machine, note, table, warning};
use crate::report::{Report, Row, bar, human};

/// The chart's own units.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 250.0;
const RIGHT: f64 = 36.0;
const LINE: f64 = 26.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 52.0;

pub(super) fn body(report: &Report) -> String {
    use Cells::{Figures, Text};
    let mut html = warning(&report.machine);
    if !report.complete {
        html.push_str(&note(
            "Stopped before its end: rows are missing, or have fewer rounds.",
        ));
    }
    let judged = report.rows.iter().filter(|row| row.met.is_some()).count();
    let met = report
        .rows
        .iter()
        .filter(|row| row.met == Some(true))
        .count();
    let _ = writeln!(html, "<p>{met} of {judged} bars are met.</p>");
    html.push_str("<h2>Ratios that have a bar</h2>\n");
    let barred: Vec<&Row> = report
        .rows
        .iter()
        .filter(|row| row.is_judged_by_ratio() && row.ratio.is_some())
        .collect();
    html.push_str(&ratios(&barred));
    html.push_str("<h2>All rows</h2>\n");
    let heads = [
        ("row", Text),
        ("threads", Figures),
        ("median", Figures),
        ("p99", Figures),
        ("ratio", Figures),
        ("95 %", Text),
        ("of", Text),
        ("bar", Text),
    ];
    let lines: Vec<_> = report.rows.iter().map(line).collect();
    html.push_str(&table(&heads, &lines));
    html.push_str("<h2>Machine and build</h2>\n");
    html.push_str(&machine(&report.machine));
    html
}

fn line(row: &Row) -> Vec<String> {
    let figure = |text: String| match row.skipped {
        Some(_) => "–".to_owned(),
        None => text,
    };
    let remark = match &row.skipped {
        Some(why) => format!("skipped: {why}"),
        None => bar(row).unwrap_or_default(),
    };
    vec![
        row.name.clone(),
        row.threads.to_string(),
        figure(human(row.median, row.unit)),
        row.p99.map_or_else(String::new, |p99| human(p99, row.unit)),
        row.ratio
            .map_or_else(String::new, |ratio| format!("{ratio:.3}")),
        row.ratio_interval
            .map_or_else(String::new, |(low, high)| format!("{low:.3}–{high:.3}")),
        row.baseline.clone().unwrap_or_default(),
        remark,
    ]
}

/// A dot for each ratio, a line for its interval, a stroke for its bar, on a logarithmic axis.
fn ratios(rows: &[&Row]) -> String {
    let all = rows.iter().flat_map(|row| {
        let (low, high) = row.ratio_interval.unwrap_or_default();
        [row.ratio.unwrap_or(1.0), row.bar.unwrap_or(1.0), low, high]
    });
    let positive: Vec<f64> = all.filter(|value| *value > 0.0).collect();
    let low = positive.iter().copied().fold(1.0, f64::min) / 1.2;
    let high = positive.iter().copied().fold(1.0, f64::max) * 1.2;
    let at = |value: f64| {
        let share = (value.max(low).ln() - low.ln()) / (high.ln() - low.ln());
        LEFT + share * (WIDTH - LEFT - RIGHT)
    };
    #[expect(clippy::cast_precision_loss, reason = "dozens of rows")]
    let line_at = |number: usize| TOP + LINE * (number as f64 + 0.5);
    let bottom = line_at(rows.len()) - LINE / 2.0;
    let height = bottom + BOTTOM;
    let mut svg = format!(
        "<figure>\n<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Ratios and their bars\">\n\
         <title>Ratios and their bars</title>\n"
    );
    for tick in [
        0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0,
    ] {
        if tick < low || tick > high {
            continue;
        }
        let x = at(tick);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/>\
             <text class=\"axis\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>",
            bottom + 18.0
        );
    }
    for (number, row) in rows.iter().enumerate() {
        let y = line_at(number);
        let middle = at(row.ratio.unwrap_or(1.0));
        let (from, to) = row
            .ratio_interval
            .map_or((middle, middle), |(low, high)| (at(low), at(high)));
        let class = match row.met {
            Some(true) => "f-good",
            Some(false) => "f-bad",
            None => "f-none",
        };
        let bar = at(row.bar.unwrap_or(1.0));
        let sign = if row.bar_is_least { "≥" } else { "≤" };
        let verdict = if row.met == Some(true) {
            "met"
        } else {
            "missed"
        };
        let s = if row.threads == 1 { "" } else { "s" };
        let _ = writeln!(
            svg,
            "<g><title>{name}: {ratio}, bar {sign} {most}, {verdict}</title>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}, {} thread{s}</text>\
             <line class=\"bar\" x1=\"{bar:.1}\" x2=\"{bar:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\
             <line class=\"{class}\" stroke-width=\"3\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             {mark}</g>",
            LEFT - 12.0,
            y + 4.5,
            row.threads,
            y - 9.0,
            y + 9.0,
            name = escaped(&row.name),
            ratio = row.ratio.unwrap_or(0.0),
            most = row.bar.unwrap_or(0.0),
            mark = mark(class, row.met == Some(true), middle, y),
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">ratio to the baseline of the same run</text>\n</svg>\n\
         <figcaption><span>● met</span><span>■ missed</span><span>❙ the bar</span><span>— 95 % interval</span></figcaption>\n</figure>",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        bottom + 42.0
    );
    svg
}

/// Round if the bar is met, square if not: not by colour alone.
fn mark(class: &str, met: bool, x: f64, y: f64) -> String {
    if met {
        format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5.5\"/>")
    } else {
        format!(
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"11\" height=\"11\"/>",
            x - 5.5,
            y - 5.5
        )
    }
}
