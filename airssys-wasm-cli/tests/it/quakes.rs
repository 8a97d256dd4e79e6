//! The example, as the README runs it.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::fixture::{App, Ran, airssys, quakes, run};

fn count(report: &Value, key: &str) -> u64 {
    report[key]
        .as_u64()
        .unwrap_or_else(|| panic!("no {key} in {report}"))
}

/// Sums a column of the first table.
fn column(report: &Value, name: &str) -> u64 {
    let rows = report["tables"][0]["rows"].as_array().unwrap();
    rows.iter().map(|row| row[name].as_u64().unwrap()).sum()
}

#[test]
fn every_event_is_counted() {
    let ran = run(&["up", &quakes(), "--format", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let report = ran.json();
    for (key, value) in [
        ("events_in", 1707),
        ("counted", 1707),
        ("rejected", 0),
        ("failed", 0),
        ("restarts", 0),
        ("dead_letters", 0),
    ] {
        assert_eq!(count(&report, key), value, "{key}");
    }
    assert_eq!(report["accounted"], true);
    assert_eq!(column(&report, "events"), 1707);
    let alaska = report["tables"][0]["rows"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["region"] == "Alaska");
    assert_eq!(alaska.unwrap()["events"], 305);
}

#[test]
fn deaths_and_grants_are_audited_in_a_file() {
    let app = App::new();
    let file = app.at("audit.jsonl");
    let ran = run(&["up", &quakes(), "--poison", "3", "--audit", &file]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let trail = std::fs::read_to_string(&file).unwrap();
    let events: Vec<Value> = trail
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |event: &str| {
        events
            .iter()
            .filter(|entry| entry["event"] == event)
            .count()
    };
    assert_eq!(of("granted"), 5, "{trail}");
    assert_eq!(of("died"), 3, "{trail}");
    let died = events
        .iter()
        .find(|entry| entry["event"] == "died")
        .unwrap();
    assert_eq!(died["address"], "quakes/classify", "{died}");
}

#[test]
fn the_summary_is_readable() {
    let ran = run(&["up", &quakes()]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("region ") && line.ends_with("strongest")),
        "{}",
        ran.stdout
    );
    let taiwan = lines
        .iter()
        .find(|line| line.starts_with("Taiwan"))
        .unwrap();
    assert!(
        taiwan.contains("3.86e14") && taiwan.ends_with("6.40"),
        "{taiwan}"
    );
    // How wide the numbers are depends on how long it took.
    for (name, number) in [("events in", 1707), ("counted", 1707), ("dead letters", 0)] {
        let says = |line: &&str| {
            let value = line.strip_prefix(name).map(str::trim);
            value.and_then(|value| value.parse().ok()) == Some(number)
        };
        assert!(lines.iter().any(says), "no {name} in {}", ran.stdout);
    }
}

#[test]
fn poisoned_events_and_only_those_fail() {
    for poison in [1, 25, 400] {
        let ran = run(&[
            "up",
            &quakes(),
            "--poison",
            &poison.to_string(),
            "--format",
            "json",
        ]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let report = ran.json();
        assert_eq!(count(&report, "events_in"), 1707);
        assert_eq!(count(&report, "failed"), poison);
        assert_eq!(count(&report, "counted"), 1707 - poison);
        assert!(count(&report, "restarts") >= 1, "{report}");
        // The tally was not touched by another component's crash: it has every event that was counted.
        assert_eq!(column(&report, "events"), 1707 - poison);
        assert_eq!(
            report["restarted"]
                .as_object()
                .unwrap()
                .keys()
                .collect::<Vec<_>>(),
            ["quakes/classify"]
        );
        let message = report["failures"][0]["messages"][0]["message"]
            .as_str()
            .unwrap();
        assert!(
            message.contains("classify") && message.contains("unreachable"),
            "{message}"
        );
    }
}

#[test]
fn failures_are_told_by_reason() {
    let ran = run(&["up", &quakes(), "--poison", "25"]);
    assert!(
        ran.stdout
            .contains("quakes/classify was restarted 25 times"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("25 failed (failed):"), "{}", ran.stdout);
}

fn piped(input: &str) -> Ran {
    let mut child = airssys()
        .args(["up", &quakes(), "--input", "-", "--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

const GOOD: &str = r#"{"type":"Feature","id":"a","properties":{"mag":2,"place":"x","time":1,"type":"earthquake","tsunami":0},"geometry":{"type":"Point","coordinates":[-118.6,34.4,2.0]}}"#;

#[test]
fn bad_events_from_a_pipe_are_rejected_and_counted() {
    let ran = piped(&format!(
        r#"{{"features": [{GOOD}, {{"id": 7}}, 17, "text", {GOOD}]}}"#
    ));
    assert_eq!(ran.code, 0, "{ran:?}");
    let report = ran.json();
    assert_eq!(count(&report, "events_in"), 5);
    assert_eq!(
        (
            count(&report, "counted"),
            count(&report, "rejected"),
            count(&report, "failed")
        ),
        (2, 3, 0)
    );
    assert_eq!(report["rejections"][0]["kind"], "rejected");
}

#[test]
fn an_input_cut_off_keeps_the_account_of_what_was_sent() {
    let ran = piped(&format!(r#"{{"features": [{GOOD}, {GOOD}, {{"id""#));
    assert_eq!(ran.code, 1, "{ran:?}");
    let report = ran.json();
    assert_eq!(
        (count(&report, "events_in"), count(&report, "counted")),
        (2, 2)
    );
    let error = ran.error();
    assert_eq!(error["kind"], "application");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("quakes/feed")
            && message.contains("line 1")
            && message.contains("after item 2"),
        "{message}"
    );
}

#[test]
fn an_input_without_the_array_says_which() {
    let ran = piped("{}");
    assert_eq!(ran.code, 1);
    assert!(
        ran.error()["message"]
            .as_str()
            .unwrap()
            .contains("no `/features`"),
        "{ran:?}"
    );
}

#[test]
fn another_file_is_read_in_place_of_the_manifests() {
    let app = App::new().file("two.json", format!(r#"{{"features": [{GOOD}, {GOOD}]}}"#));
    for input in [app.at("two.json"), format!("feed={}", app.at("two.json"))] {
        let ran = run(&["up", &quakes(), "--input", &input, "--format", "json"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(count(&ran.json(), "counted"), 2);
    }
}

#[test]
fn the_manifest_checks() {
    let ran = run(&["check", &quakes(), "--format", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let report = ran.json();
    assert_eq!(report["ok"], true);
    let components = report["components"].as_array().unwrap();
    assert_eq!(components.len(), 5);
    assert!(
        components
            .iter()
            .all(|component| component["digest"].as_str().unwrap().starts_with("sha256:"))
    );
    assert!(
        run(&["check", &quakes()])
            .stdout
            .contains("quakes:app/parse → quakes/parse")
    );
}
