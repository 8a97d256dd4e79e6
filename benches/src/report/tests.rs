//! Reports of measurements made up.

use super::*;
use crate::rows::row;

fn measured(name: &str, rounds: &[f64]) -> Measured {
    Measured {
        spec: row(name).unwrap(),
        threads: 1,
        rounds: rounds.to_vec(),
        p99: 10.0,
        n: 7,
        page_tables_kib: Vec::new(),
    }
}

fn machine() -> Machine {
    Machine {
        debug_assertions: false,
        ..Machine::here()
    }
}

#[test]
fn medians_of_odd_even_and_none() {
    assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    assert_eq!(median(&[]), 0.0);
}

#[test]
fn a_ratio_pairs_the_rounds() {
    // The second round ran on a machine half as fast: the ratio does not see it.
    let rows = rows(&[
        measured("ractor.call.host", &[100.0, 200.0, 100.0]),
        measured("call.actor", &[150.0, 300.0, 160.0]),
    ]);
    let call = &rows[1];
    assert_eq!(call.ratio, Some(1.5));
    assert_eq!((call.ratio_min, call.ratio_max), (Some(1.5), Some(1.6)));
    assert_eq!(call.median, 160.0);
    assert_eq!(
        (call.bar, call.bar_on, call.met),
        (Some(2.0), Some("ratio"), Some(true))
    );
    // Its own baseline was not measured.
    assert_eq!(
        (rows[0].baseline, rows[0].ratio),
        (Some("tokio.ping"), None)
    );
}

#[test]
fn a_missed_bar_is_seen_in_the_table_and_in_the_verdict() {
    let rows = rows(&[
        measured("ractor.call.host", &[100.0]),
        measured("call.actor", &[201.0]),
        Measured {
            page_tables_kib: vec![4.0],
            ..measured("rss.called", &[31.5])
        },
    ]);
    assert_eq!(rows[2].met, Some(true));
    let report = Report {
        machine: machine(),
        rows,
    };
    assert!(!report.all_met());
    let table = report.to_string();
    assert!(table.contains("≤ 2 MISSED"), "{table}");
    assert!(table.contains("31.5 KiB"), "{table}");
    assert!(
        table.contains("≤ 32 KiB met  + 4 KiB of page tables"),
        "{table}"
    );
    assert!(!table.contains("warning"), "{table}");
}

#[test]
fn a_debug_build_says_so() {
    let machine = Machine {
        debug_assertions: true,
        ..machine()
    };
    let report = Report {
        machine,
        rows: Vec::new(),
    };
    assert!(report.to_string().contains("meaningless"));
}

#[test]
fn json_has_the_fields_reports_are_compared_by() {
    let rows = rows(&[
        measured("raw.call", &[300.0]),
        measured("raw.call-val", &[600.0]),
    ]);
    let json = serde_json::to_value(Report {
        machine: machine(),
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
