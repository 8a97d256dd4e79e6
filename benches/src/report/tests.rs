//! Reports of measurements made up.

use super::*;
use crate::rows::row;

fn measured(name: &str, rounds: &[f64]) -> Measured {
    Measured {
        spec: row(name).unwrap(),
        threads: 1,
        rounds: rounds.to_vec(),
        p99: Some(10.0),
        n: 7,
        page_tables_kib: Vec::new(),
        skipped: None,
    }
}

/// The rows of what was measured.
fn rows_of(measured: &[Measured]) -> Vec<Row> {
    let specs: Vec<_> = measured.iter().map(|measured| measured.spec).collect();
    rows(&specs, measured)
}

fn machine() -> Machine {
    Machine {
        debug_assertions: false,
        ..Machine::here()
    }
}

#[test]
fn a_ratio_pairs_the_rounds() {
    // The second round ran on a machine half as fast: the ratio does not see it.
    let rows = rows_of(&[
        measured("ractor.call.host", &[100.0, 200.0, 100.0]),
        measured("call.actor", &[150.0, 300.0, 160.0]),
    ]);
    let call = &rows[1];
    assert_eq!(call.ratio, Some(1.5));
    assert_eq!((call.ratio_min, call.ratio_max), (Some(1.5), Some(1.6)));
    assert_eq!(call.median, 160.0);
    assert_eq!(
        (call.bar, call.bar_on.as_deref(), call.met),
        (Some(2.0), Some("ratio"), Some(true))
    );
    // Its own baseline was not measured.
    assert_eq!(
        (rows[0].baseline.as_deref(), rows[0].ratio),
        (Some("tokio.ping"), None)
    );
}

#[test]
fn a_missed_bar_is_seen_in_the_table_and_in_the_verdict() {
    let rows = rows_of(&[
        measured("ractor.call.host", &[100.0]),
        measured("call.actor", &[201.0]),
        Measured {
            page_tables_kib: vec![4.0],
            ..measured("rss.called", &[23.5])
        },
    ]);
    assert_eq!(rows[2].met, Some(true));
    let report = Report {
        machine: machine(),
        complete: true,
        rows,
    };
    assert!(!report.all_met());
    let table = report.to_string();
    assert!(table.contains("≤ 2 MISSED"), "{table}");
    assert!(table.contains("23.5 KiB"), "{table}");
    assert!(
        table.contains("≤ 24 KiB met  + 4 KiB of page tables"),
        "{table}"
    );
    assert!(!table.contains("warning"), "{table}");
}

#[test]
fn a_bar_on_the_interval_is_met_where_one_is_in_it_or_it_ends_below() {
    let judged = |ratios: &[f64]| {
        let rounds: Vec<_> = ratios.iter().map(|ratio| ratio * 100.0).collect();
        let rows = rows_of(&[
            measured("supervised.plain", &vec![100.0; rounds.len()]),
            measured("supervised.overhead", &rounds),
        ]);
        let report = Report {
            machine: machine(),
            complete: true,
            rows: rows.clone(),
        };
        (rows[1].met, report.to_string())
    };
    // Six rounds: the interval is from the lowest to the highest.
    let (met, table) = judged(&[0.99, 1.2, 1.2, 1.2, 1.2, 1.3]);
    assert_eq!(met, Some(true));
    assert!(
        table.contains("≤ 1.05 met, 1 is in the interval"),
        "{table}"
    );
    assert_eq!(judged(&[1.02, 1.03, 1.03, 1.03, 1.03, 1.05]).0, Some(true));
    let (met, table) = judged(&[1.02, 1.03, 1.03, 1.03, 1.03, 1.06]);
    assert_eq!(met, Some(false));
    assert!(table.contains("≤ 1.05 MISSED\n"), "{table}");
    // Of two there is none.
    assert_eq!(judged(&[1.0, 1.04]).0, Some(true));
    assert_eq!(judged(&[1.0, 1.2]).0, Some(false));
}

#[test]
fn a_debug_build_says_so() {
    let machine = Machine {
        debug_assertions: true,
        ..machine()
    };
    let report = Report {
        machine,
        complete: true,
        rows: Vec::new(),
    };
    assert!(report.to_string().contains("meaningless"));
}

#[test]
fn json_has_the_fields_reports_are_compared_by() {
    let rows = rows_of(&[
        measured("raw.call", &[300.0]),
        measured("raw.call-val", &[600.0]),
    ]);
    let json = serde_json::to_value(Report {
        machine: machine(),
        complete: true,
        rows,
    })
    .unwrap();
    for field in ["cpus", "model", "kernel", "rustc", "wasmtime", "profile"] {
        assert!(!json["machine"][field].is_null(), "{field}");
    }
    let row = &json["rows"][1];
    assert_eq!(row["name"], "raw.call-val");
    assert_eq!(row["median"], 600.0);
    assert_eq!(row["p99"], 10.0);
    assert_eq!(row["n"], 7);
    assert_eq!(row["unit"], "ns");
    assert_eq!(row["threads"], 1);
    assert_eq!(row["stat"], "p50");
    assert_eq!(row["baseline"], "raw.call");
    assert_eq!(row["ratio"], 2.0);
    assert!(json["rows"][0]["ratio"].is_null() && json["rows"][0]["baseline"].is_null());
}

#[test]
fn baselines_are_added_up_and_a_row_may_compare_what_another_measured() {
    let measured = [
        measured("raw.call-async", &[600.0; 6]),
        measured("tokio.ping", &[400.0; 6]),
        measured(
            "call.actor",
            &[1_100.0, 1_200.0, 1_300.0, 1_100.0, 1_200.0, 1_300.0],
        ),
    ];
    let found = rows(&[row("call.overhead").unwrap()], &measured);
    assert_eq!(
        found[0].baseline.as_deref(),
        Some("raw.call-async + tokio.ping")
    );
    assert_eq!((found[0].ratio, found[0].met), (Some(1.2), Some(true)));
    assert_eq!(found[0].ratio_interval, Some((1.1, 1.3)));
    let report = Report {
        machine: machine(),
        complete: false,
        rows: found,
    };
    let table = report.to_string();
    assert!(table.contains("1.20 [1.10–1.30]"), "{table}");
    assert!(table.contains("≤ 1.2 met, within noise"), "{table}");
    assert!(table.contains("stopped before its end"), "{table}");
    let json = serde_json::to_string(&report).unwrap();
    let back: Report = serde_json::from_str(&json).unwrap();
    assert_eq!(back.rows, report.rows);
}

#[test]
fn what_was_skipped_has_its_reason_and_no_figures() {
    let skipped = Measured {
        rounds: Vec::new(),
        p99: None,
        n: 0,
        skipped: Some("no room".to_owned()),
        ..measured("rss.called", &[])
    };
    let report = Report {
        machine: machine(),
        complete: true,
        rows: rows_of(&[skipped]),
    };
    assert_eq!(report.rows[0].met, None);
    let line = report.to_string();
    assert!(line.ends_with("skipped: no room\n"), "{line}");
    assert!(!line.contains("KiB"), "{line}");
}
