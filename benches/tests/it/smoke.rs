//! A quick run of everything. The rows of memory run this very test as their child.

use std::env;
use std::process::Command;

use airssys_wasm_benches::{
    CYCLES_MODE, ChildCommand, Options, Row, Stat, Stop, Unit, cycles_child, groups, rows,
    rss_child, run,
};

/// Set for the child, whose arguments a test harness would take for itself.
const CHILD: &str = "AIRSSYS_BENCH_TEST_CHILD";

/// `sh -c` puts the child's arguments where this test finds them.
fn child() -> ChildCommand {
    let this = env::current_exe().unwrap();
    let script = format!(
        "{CHILD}=\"$1 $2\" exec \"$0\" --exact --nocapture smoke::the_child_that_measures_memory"
    );
    ChildCommand {
        program: "sh".into(),
        args: vec!["-c".into(), script.into(), this.into()],
    }
}

#[test]
fn the_child_that_measures_memory() {
    let Ok(arguments) = env::var(CHILD) else {
        // Run as a test of its own: it is a child's child.
        let out = Command::new("sh")
            .args(child().args)
            .args(["3", "called"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(text.contains("rss-child {\"actors\":3,"), "{text}");
        return;
    };
    let (actors, mode) = arguments.split_once(' ').unwrap();
    // The harness has begun a line.
    println!();
    let number = actors.parse().unwrap();
    if mode == CYCLES_MODE {
        cycles_child(number).unwrap();
    } else {
        rss_child(number, mode == "called").unwrap();
    }
}

#[test]
fn every_row_is_there_and_has_measured_something() {
    let options = Options {
        which: "all".to_owned(),
        rounds: None,
        quick: true,
        child: Some(child()),
        stop: Stop::default(),
    };
    let mut told = Vec::new();
    let report = run(&options, &mut |progress| told.push(progress.group)).unwrap();
    told.dedup();
    assert_eq!(told, groups());
    assert!(report.complete);

    let expected: Vec<_> = groups()
        .iter()
        .flat_map(|group| [1, 2].map(|threads| (group, threads)))
        .flat_map(|(group, threads)| {
            rows()
                .filter(move |row| row.group == *group && row.threads.contains(&threads))
                .map(move |row| (row.name, threads))
        })
        .collect();
    let found: Vec<_> = report
        .rows
        .iter()
        .map(|row| (row.name.as_str(), row.threads))
        .collect();
    assert_eq!(found, expected);
    for row in &report.rows {
        check(row);
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["rows"].as_array().unwrap().len(), found.len());
    assert_eq!(
        report.to_string().lines().count() - 2 - usize::from(cfg!(debug_assertions)),
        found.len() + 1
    );
}

fn check(row: &Row) {
    if row.skipped.is_some() {
        assert_eq!((row.n, row.rounds), (0, 0), "{row:?}");
        return;
    }
    assert!(row.n > 0, "{row:?}");
    assert_eq!(row.rounds, 2, "{row:?}");
    assert_eq!(row.p99.is_none(), row.stat == Stat::Rate, "{row:?}");
    assert!(row.median.is_finite(), "{row:?}");
    // What goes well is lost by none and shared exactly.
    if !matches!(
        row.unit,
        Unit::Kibibytes | Unit::Bytes | Unit::Points | Unit::Count
    ) {
        assert!(row.median > 0.0, "{row:?}");
    }
    assert_eq!(row.baseline.is_some(), row.ratio.is_some(), "{row:?}");
    assert_eq!(
        row.bar_on.as_deref() == Some("beyond"),
        row.beyond.is_some(),
        "{row:?}"
    );
    assert_eq!(row.bar.is_some(), row.met.is_some(), "{row:?}");
    assert_eq!(
        row.page_tables_kib.is_some(),
        row.unit == Unit::Kibibytes,
        "{row:?}"
    );
}

#[test]
fn a_run_that_is_stopped_reports_what_it_has() {
    let stop = Stop::default();
    let options = Options {
        which: "call".to_owned(),
        rounds: Some(3),
        quick: true,
        child: None,
        stop: stop.clone(),
    };
    let report = run(&options, &mut |progress| {
        if progress.round == 2 {
            stop.ask();
        }
    })
    .unwrap();
    assert!(!report.complete);
    // The round under way was finished; the group on two workers was not begun.
    assert!(
        report
            .rows
            .iter()
            .all(|row| (row.rounds, row.threads) == (2, 1))
    );
    assert!(!report.rows.is_empty());
}

#[test]
fn a_row_without_a_whole_round_is_missing() {
    let stop = Stop::default();
    let options = Options {
        which: "tokio.ping".to_owned(),
        rounds: Some(3),
        quick: true,
        child: None,
        stop: stop.clone(),
    };
    // While it warms up.
    let report = run(&options, &mut |_| stop.ask()).unwrap();
    assert!(!report.complete);
    assert_eq!(report.rows, []);
}
