//! The page on the benchmarks has every row, with its baseline and its bar.

use std::path::Path;

use airssys_wasm_benches::{Bar, RowSpec, Unit, rows};

/// The line of the table that begins with the row, or names it second.
fn line<'a>(page: &'a str, row: &RowSpec) -> &'a str {
    let name = format!("`{}`", row.name);
    page.lines()
        .find(|line| {
            let mut cells = line.split('|');
            cells.next() == Some("") && cells.next().is_some_and(|cell| cell.contains(&name))
        })
        .unwrap_or_else(|| panic!("no row {name} in docs/benchmarks.md"))
}

#[test]
fn every_row_is_documented_with_what_it_is_compared_with() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks.md");
    let page = std::fs::read_to_string(path).unwrap();
    for row in rows() {
        let line = line(&page, row);
        if !row.baseline.is_empty() {
            let baseline = row.baseline.join("` + `");
            assert!(line.contains(&format!("| `{baseline}` |")), "{line}");
        }
        let bar = match row.bar {
            None => continue,
            // As the table writes it: a twentieth is easier to read than 0.05.
            Some(Bar::Ratio(0.05)) => "≤ 1/20".to_owned(),
            Some(Bar::Ratio(most) | Bar::RatioInterval(most)) => format!("≤ {most}"),
            Some(Bar::RatioAtLeast(least)) if (least * 3.0 - 1.0).abs() < f64::EPSILON => {
                "≥ 1/3".to_owned()
            }
            Some(Bar::RatioAtLeast(least)) => format!("≥ {least}"),
            Some(Bar::Median(most)) if row.unit == Unit::Nanoseconds => {
                format!("≤ {} ms", most / 1e6)
            }
            Some(Bar::Median(most) | Bar::Beyond(most)) => match row.unit {
                Unit::Milliseconds => format!("≤ {most} ms"),
                Unit::Points => format!("≤ {most} point"),
                Unit::Count => format!("≤ {most}"),
                Unit::Bytes => format!("≤ {most} B"),
                _ => format!("≤ {most} KiB"),
            },
        };
        assert!(line.contains(&bar), "{bar}: {line}");
    }
}
