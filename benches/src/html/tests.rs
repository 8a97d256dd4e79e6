//! Pages of reports made up: that they are whole, safe, and say what they have to.

use super::*;
use crate::compare::{AnyReport, compare};
use crate::load::{ErrorCount, PlanFacts, Series, Slice, Spread};

fn series(name: &str, factor: u64) -> Series {
    let curve = (0..10)
        .map(|step| {
            (
                1.0 - 0.5_f64.powi(step),
                1_000 * factor * (1 + u64::try_from(step).unwrap()),
            )
        })
        .collect();
    let latency = Spread {
        min: 900,
        mean: 1_100.0,
        p50: 1_000 * factor,
        p90: 2_000 * factor,
        p99: 4_000 * factor,
        p999: 8_000 * factor,
        p9999: 9_000 * factor,
        max: 10_000 * factor,
        curve,
    };
    let slice = |number: u64| Slice {
        operations: 50,
        throughput: 1_000.0 + f64::from(u32::try_from(number).unwrap()),
        p50: 1_000 * factor + number,
        p99: 4_000 * factor + number,
    };
    Series {
        name: name.to_owned(),
        operations: 1_000,
        messages_per_operation: 2,
        errors: Vec::new(),
        unsent: 0,
        sent_rate: Some(1_000.0),
        kept_up: Some(true),
        seconds: 1.0,
        throughput: 1_000.0,
        uncorrected: Some(latency.clone()),
        latency,
        slices: (0..20).map(slice).collect(),
    }
}

fn report(series: Vec<Series>) -> LoadReport {
    LoadReport {
        kind: "load".to_owned(),
        machine: Machine::here(),
        complete: true,
        plan: PlanFacts {
            scenario: "<script>alert(1)</script>".to_owned(),
            pace: "open".to_owned(),
            concurrency: 4,
            rate: Some(1_000.0),
            seconds: Some(1.0),
            count: None,
            warm_up_seconds: 0.0,
            threads: 2,
        },
        series,
    }
}

/// Every element that is opened is closed, in order; and there is nothing that fetches or runs.
fn is_whole(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    for tag in html.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        if tag.starts_with('!') || tag.ends_with('/') || tag.starts_with("meta") {
            continue;
        }
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{tag}"),
            None => open.push(tag.split(' ').next().unwrap()),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    for foreign in ["<script", "http:", "https:", "url(", "NaN", "inf"] {
        assert!(!html.contains(foreign), "{foreign}");
    }
}

#[test]
fn a_load_is_a_whole_page_and_names_are_text() {
    let mut failing = series("a & b", 3);
    failing.errors.push(ErrorCount {
        kind: "mailbox-full".to_owned(),
        count: 7,
    });
    failing.unsent = 9;
    (failing.sent_rate, failing.kept_up) = (Some(12.5), Some(false));
    let html = report(vec![series("ask", 1), failing]).to_html();
    is_whole(&html);
    for text in [
        "&lt;script&gt;alert(1)",
        "a &amp; b",
        "7 operations ended in mailbox-full",
        "it did not keep up: 12.5 operations/s were sent of 1000 asked for, 9 operations were due and never sent",
        "99.9 %",
        "from when it was sent",
        "wasmtime",
    ] {
        assert!(html.contains(text), "{text}");
    }
}

#[test]
fn a_load_without_operations_is_a_page_too() {
    let empty = Series {
        operations: 0,
        throughput: 0.0,
        uncorrected: None,
        slices: Vec::new(),
        latency: Spread {
            min: 0,
            mean: 0.0,
            p50: 0,
            p90: 0,
            p99: 0,
            p999: 0,
            p9999: 0,
            max: 0,
            curve: Vec::new(),
        },
        ..series("nothing", 1)
    };
    is_whole(&report(vec![empty]).to_html());
    is_whole(&report(Vec::new()).to_html());
}

#[test]
fn a_comparison_shows_both_curves_and_the_verdict() {
    let before = AnyReport::Load(report(vec![series("ask", 1)]));
    let after = AnyReport::Load(report(vec![series("ask", 2)]));
    let compared = compare(before, after).unwrap();
    let html = compared.to_html();
    is_whole(&html);
    assert!(html.contains("ask, before") && html.contains("ask, after"));
    assert!(html.contains("<strong class=\"bad\">worse</strong>"));
    assert!(html.contains("+99."), "{}", compared);
}

#[test]
fn rows_are_a_page_with_a_mark_for_each_bar() {
    let rows = Report {
        machine: Machine::here(),
        complete: false,
        rows: vec![
            crate::compare::made_up_row("call.actor", Some((1.5, 1.4, 1.6)), Some((2.0, true))),
            crate::compare::made_up_row("ask.idle", Some((0.9, 0.85, 0.95)), Some((0.8, false))),
        ],
    };
    let html = rows.to_html();
    is_whole(&html);
    assert!(html.contains("1 of 2 bars are met"));
    assert!(html.contains("<circle class=\"f-good\"") && html.contains("<rect class=\"f-bad\""));
    assert!(html.contains("Stopped before its end"));
}
