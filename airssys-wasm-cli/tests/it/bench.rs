//! `airssys bench`: that the command measures and writes its report, never how fast.

use crate::fixture::{App, run};

#[test]
fn a_quick_run_writes_the_report() {
    let app = App::new();
    let file = app.at("report.json");
    let ran = run(&[
        "bench",
        "rss.called",
        "--quick",
        "--rounds",
        "1",
        "--json",
        &file,
        "--format",
        "json",
    ]);
    let printed = ran.json();
    let rows = printed["rows"].as_array().unwrap();
    let names: Vec<_> = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["rss.called.1k", "rss.called"]);
    for row in rows {
        assert_eq!(
            (row["unit"].as_str(), row["rounds"].as_u64()),
            (Some("KiB"), Some(1))
        );
        assert!(row["n"].as_u64().unwrap() > 0, "{row}");
    }
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&written).unwrap(),
        printed
    );
}

#[test]
fn the_table_says_what_a_row_is_compared_with() {
    let ran = run(&["bench", "raw.call-val", "--quick"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let line = ran
        .stdout
        .lines()
        .find(|line| line.starts_with("raw.call-val"))
        .unwrap();
    assert!(line.ends_with("raw.call"), "{line}");
    assert_eq!(ran.stdout.contains("meaningless"), cfg!(debug_assertions));
}

#[test]
fn an_unknown_row_is_met_with_those_there_are() {
    run(&["bench", "fast"]).fails(2, &["`fast`", "ask.idle", "payload"]);
    run(&["bench", "--rounds", "0"]).fails(2, &["--rounds"]);
}
