//! The page of a comparison.

use super::load::{curve, curves, most};
use super::{Cells, escaped, machine, note, table, warning};
use crate::compare::Comparison;

pub(super) fn body(comparison: &Comparison) -> String {
    use Cells::{Figures, Text};
    let mut html = warning(&comparison.before);
    if html.is_empty() {
        html = warning(&comparison.after);
    }
    for difference in &comparison.differences {
        html.push_str(&note(&format!("Not the same in both runs: {difference}")));
    }
    for remark in &comparison.remarks {
        html.push_str(&note(remark));
    }
    html.push_str(
        "<p class=\"muted\">In brackets is where a figure is with 95 % confidence. A change is called better or worse where the \
         two intervals do not touch.</p>\n<h2>What changed</h2>\n",
    );
    let heads = [
        ("", Text),
        ("before", Figures),
        ("after", Figures),
        ("change", Figures),
        ("verdict", Text),
    ];
    let lines: Vec<_> = comparison
        .changes
        .iter()
        .map(|change| {
            vec![
                change.name.clone(),
                change.measure.write_figure(change.before),
                change.measure.write_figure(change.after),
                change.write_percent(),
                change.verdict.to_string(),
            ]
        })
        .collect();
    html.push_str(&table(&heads, &lines));
    for only in &comparison.only_in_one {
        html.push_str(&format!("<p class=\"muted\">{}</p>\n", escaped(only)));
    }
    if let Some((before, after)) = &comparison.loads {
        let mut lines = Vec::new();
        for (colour, series) in before.series.iter().enumerate() {
            let Some(other) = after.series.iter().find(|other| other.name == series.name) else {
                continue;
            };
            lines.push(curve(
                format!("{}, before", series.name),
                colour,
                true,
                series,
            ));
            lines.push(curve(
                format!("{}, after", series.name),
                colour,
                false,
                other,
            ));
        }
        html.push_str("<h2>Latency by percentile</h2>\n");
        let operations = most(before.series.iter().chain(&after.series));
        html.push_str(&curves(
            "Latency by percentile, before and after",
            &lines,
            operations,
        ));
    }
    html.push_str("<h2>Machine and build, before</h2>\n");
    html.push_str(&machine(&comparison.before));
    html.push_str("<h2>Machine and build, after</h2>\n");
    html.push_str(&machine(&comparison.after));
    html
}
