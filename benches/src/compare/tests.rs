//! Comparisons of reports made up.

use super::*;
use crate::rows::Stat;

fn row(name: &str, ratio: Option<(f64, f64, f64)>) -> Row {
    made_up_row(name, ratio, None)
}

/// With its ratio and interval, and its bar and whether it is met.
pub(crate) fn made_up_row(
    name: &str,
    ratio: Option<(f64, f64, f64)>,
    bar: Option<(f64, bool)>,
) -> Row {
    Row {
        name: name.to_owned(),
        group: "call".to_owned(),
        median: 100.0,
        p99: Some(200.0),
        n: 10,
        unit: Unit::Nanoseconds,
        threads: 1,
        stat: Stat::P50,
        rounds: 15,
        baseline: ratio.map(|_| "raw.call".to_owned()),
        ratio: ratio.map(|(middle, ..)| middle),
        ratio_min: None,
        ratio_max: None,
        ratio_interval: ratio.map(|(_, low, high)| (low, high)),
        beyond: None,
        bar: bar.map(|(bar, _)| bar),
        bar_on: bar.map(|_| "ratio".to_owned()),
        bar_is_least: false,
        met: bar.map(|(_, met)| met),
        page_tables_kib: None,
        skipped: None,
    }
}

fn report(rows: Vec<Row>) -> AnyReport {
    AnyReport::Rows(Report {
        machine: Machine::here(),
        complete: true,
        rows,
    })
}

fn verdict(before: Row, after: Row) -> Verdict {
    let compared = compare(report(vec![before]), report(vec![after])).unwrap();
    compared.changes[0].verdict
}

#[test]
fn a_change_is_one_where_the_intervals_do_not_touch() {
    let before = || row("a", Some((1.0, 0.9, 1.1)));
    for (after, expected) in [
        ((0.8, 0.7, 0.89), Verdict::Better),
        ((0.95, 0.8, 1.0), Verdict::WithinNoise),
        ((1.3, 1.2, 1.4), Verdict::Worse),
    ] {
        assert_eq!(verdict(before(), row("a", Some(after))), expected);
    }
    // Of a rate more is better.
    let rate = |ratio| Row {
        unit: Unit::PerSecond,
        ..row("a", Some(ratio))
    };
    assert_eq!(
        verdict(rate((1.0, 0.9, 1.1)), rate((1.3, 1.2, 1.4))),
        Verdict::Better
    );
    // A time alone is not judged.
    assert_eq!(verdict(row("a", None), row("a", None)), Verdict::Unknown);
}

#[test]
fn what_only_one_has_is_listed_and_skipped_rows_are_not_compared() {
    let skipped = Row {
        skipped: Some("no room".to_owned()),
        ..row("d", None)
    };
    let before = report(vec![row("a", None), row("b", None), skipped]);
    let after = report(vec![row("a", None), row("c", None), row("d", None)]);
    let compared = compare(before, after).unwrap();
    assert_eq!(compared.changes.len(), 1);
    assert_eq!(
        compared.only_in_one,
        [
            "b on 1: in the first only",
            "d on 1: skipped in one of them",
            "c on 1: in the second only"
        ]
    );
    let text = compared.to_string();
    assert!(text.contains("c on 1: in the second only"), "{text}");
    assert!(text.contains("+0.0 %"), "{text}");
}

#[test]
fn another_machine_is_said() {
    let AnyReport::Rows(mut before) = report(vec![row("a", None)]) else {
        unreachable!()
    };
    before.machine.model = "another".to_owned();
    let after = report(vec![row("a", None)]);
    let compared = compare(AnyReport::Rows(before), after).unwrap();
    assert!(
        compared.differences[0].starts_with("model: another / "),
        "{:?}",
        compared.differences
    );
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let nothing = compare(report(vec![row("a", None)]), report(vec![row("b", None)]));
    assert!(matches!(nothing, Err(CompareError::NothingInCommon { .. })));
    assert!(matches!(
        AnyReport::parse("{\"kind\": \"load\"}"),
        Err(CompareError::NotAReport(_))
    ));
    assert!(matches!(
        AnyReport::parse("hello"),
        Err(CompareError::NotAReport(_))
    ));
}

#[test]
fn a_change_from_nothing_has_no_percentage() {
    let of = |median| Row {
        median,
        ..row("upgrade.lost", None)
    };
    let text = |before, after| {
        let compared = compare(report(vec![of(before)]), report(vec![of(after)])).unwrap();
        compared.to_string()
    };
    assert!(!text(0.0, 100.0).contains('%'), "{}", text(0.0, 100.0));
    assert!(text(0.0, 0.0).contains("+0.0 %"));
    assert!(text(100.0, 50.0).contains("-50.0 %"));
}

#[test]
fn another_build_is_said() {
    let AnyReport::Rows(mut before) = report(vec![row("a", None)]) else {
        unreachable!()
    };
    before.machine.opt_level = "s".to_owned();
    before.machine.target = "another".to_owned();
    let after = report(vec![row("a", None)]);
    let compared = compare(AnyReport::Rows(before), after).unwrap();
    for what in ["optimisation: s / ", "target: another / "] {
        assert!(
            compared
                .differences
                .iter()
                .any(|said| said.starts_with(what)),
            "{:?}",
            compared.differences
        );
    }
}
