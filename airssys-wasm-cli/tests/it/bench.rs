//! `airssys bench`: that the command measures and writes its report, never how fast.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, Output, Stdio};

use serde_json::Value;

use crate::fixture::{ADDER, App, Ran, SINK, airssys, run, with_init};

#[test]
fn a_quick_run_writes_the_report() {
    let app = App::new();
    let (file, page) = (app.at("report.json"), app.at("report.html"));
    let ran = run(&[
        "bench",
        "rows",
        "rss.called",
        "--quick",
        "--rounds",
        "1",
        "--json",
        &file,
        "--html",
        &page,
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
    assert_eq!(json(&file), printed);
    let page = std::fs::read_to_string(&page).unwrap();
    assert!(page.contains("rss.called.1k"), "{page}");
}

fn json(file: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn the_table_says_what_a_row_is_compared_with() {
    let ran = run(&["bench", "rows", "raw.call-val", "--quick"]);
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
fn the_rows_about_supervision_are_one_run() {
    let words = ["bench", "supervision", "--quick", "--rounds", "1"];
    let printed = run(&[&words[..], &["--format", "json"]].concat()).json();
    let rows = printed["rows"].as_array().unwrap();
    let names: Vec<_> = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    for name in [
        "restart.floor",
        "restart.group.linear",
        "children.100k.stop",
        "decide.10k",
        "exits.storm",
        "supervised.overhead",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert!(!names.contains(&"call.actor"), "{names:?}");
    run(&["bench", "supervision", "--rounds", "0"]).fails(2, &["--rounds"]);
}

#[test]
fn the_rows_about_deployments_are_one_run() {
    let words = ["bench", "deploy", "--quick", "--rounds", "1"];
    let printed = run(&[&words[..], &["--format", "json"]].concat()).json();
    let rows = printed["rows"].as_array().unwrap();
    let is_there = |name: &str| rows.iter().any(|row| row["name"] == name);
    for name in ["route.direct", "route.overhead", "route.stable"] {
        assert!(is_there(name), "{name}: {rows:?}");
    }
    assert!(!is_there("call.actor"));
}

#[test]
fn an_unknown_row_is_met_with_those_there_are() {
    run(&["bench", "rows", "fast"]).fails(2, &["`fast`", "ask.idle", "payload"]);
    run(&["bench", "rows"]).fails(2, &["WHICH"]);
    run(&["bench", "--rounds", "0"]).fails(2, &["--rounds"]);
}

#[test]
fn an_unknown_scenario_is_met_with_those_there_are() {
    run(&["bench", "fast"]).fails(2, &["`fast`", "fan-in", "rows NAME"]);
    // A row is not a scenario, but it is known.
    run(&["bench", "ask.idle"]).fails(2, &["`ask.idle`", "bench rows ask.idle"]);
}

#[test]
fn a_scenario_is_driven_and_two_runs_are_compared() {
    let app = App::new();
    let (before, after) = (app.at("before.json"), app.at("after.json"));
    let page = app.at("compare.html");
    for file in [&before, &after] {
        let ran = run(&[
            "bench",
            "ask",
            "--count",
            "400",
            "--warm-up",
            "0s",
            "-c",
            "2",
            "--json",
            file,
        ]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains("closed loop, 2 at a time"), "{ran:?}");
    }
    assert_eq!(json(&before)["series"][0]["operations"], 400);
    let ran = run(&["bench", "compare", &before, &after, "--html", &page]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for what in ["ask, throughput", "ask, p50", "ask, p99"] {
        assert!(ran.stdout.contains(what), "{ran:?}");
    }
    assert!(
        std::fs::read_to_string(&page)
            .unwrap()
            .contains("ask, after")
    );
}

#[test]
fn an_open_loop_says_when_it_does_not_keep_up() {
    // One at a time, a restart each, a million times a second: nothing can.
    let ran = run(&[
        "bench",
        "restart",
        "--rate",
        "1000000",
        "-c",
        "1",
        "--duration",
        "50ms",
        "--warm-up",
        "0s",
        "--threads",
        "1",
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("did not keep up"), "{ran:?}");
    assert!(ran.stdout.contains("from when it was sent"), "{ran:?}");
    // Nothing is left unsent where a number of operations ends it.
    let words = ["bench", "restart", "--rate", "1000000", "-c", "1"];
    let ends = ["--count", "100", "--warm-up", "0s"];
    let ran = run(&[&words[..], &ends].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    let says = "operations/s were sent of 1000000 asked for";
    assert!(ran.stdout.contains(says), "{ran:?}");
}

#[test]
fn a_function_of_ones_own_is_driven() {
    let app = App::of("adder", ADDER);
    let of = |function: &str, args: &[&str]| {
        let manifest = app.path().to_owned();
        let mut words = vec![
            "bench",
            "call",
            "--count",
            "50",
            "--warm-up",
            "0s",
            "--format",
            "json",
            "--manifest",
            &manifest,
            "--function",
            function,
        ];
        if !args.is_empty() {
            words.push("--args");
            words.extend(args);
        }
        run(&words)
    };
    let report = of("adder#test:app/add#add", &["2", "3"]).json();
    let series = &report["series"][0];
    assert_eq!(series["name"], "adder#test:app/add#add");
    assert_eq!(series["operations"], 50);
    // What ends in a typed error is counted, and not timed.
    let report = of("adder#trap", &[]).json();
    let series = &report["series"][0];
    assert_eq!(series["errors"][0]["kind"], "callee-died", "{series}");

    for (function, args, says) in [
        ("adder", &[][..], "names no actor"),
        ("other#add", &["2", "3"][..], "no actor `other`"),
        ("adder#ad", &["2", "3"][..], "add"),
        ("adder#add", &["2"][..], "add"),
        ("adder#add", &["2", "x"][..], "u32"),
    ] {
        let failed = of(function, args);
        assert_eq!(failed.code, 2, "{failed:?}");
        let error = failed.error().to_string();
        assert!(error.contains(says), "{function}: {error}");
    }
}

#[test]
fn options_that_mean_nothing_are_refused() {
    let app = App::of("adder", ADDER);
    let manifest = app.path();
    let both = app.at("both");
    for (words, says) in [
        (&["call", "--size", "64"][..], "--size"),
        (&["payload", "--size", "2MiB"], "1MiB"),
        (&["ask", "--stages", "3"], "bench pipeline"),
        (&["pipeline", "--stages", "31"], "--stages"),
        (&["call", "--rate", "0"], "from 0.01"),
        (&["call", "--duration", "0s"], "--duration"),
        (&["call", "--duration", "1s", "--count", "5"], "--count"),
        (&["call", "-c", "0"], "--concurrency"),
        (&["call", "--function", "a#b"], "--manifest"),
        (&["call", "--manifest", manifest], "--function"),
        (
            &["ask", "--manifest", manifest, "--function", "adder#add"],
            "bench call --manifest",
        ),
        (&["call", "--within", "1s"], "--manifest"),
        (&["rows", ""], "WHICH"),
        (&["call", "--json", &both, "--html", &both], "the same file"),
    ] {
        let mut all = vec!["bench"];
        all.extend(words);
        run(&all).fails(2, &[says]);
    }
    let nowhere = app.at("no/such/directory/r.json");
    run(&["bench", "call", "--json", &nowhere]).fails(6, &["cannot write"]);
    run(&["bench", "all", "--html", &nowhere]).fails(6, &["cannot write"]);
    run(&["bench", "compare", &nowhere, &nowhere]).fails(6, &["cannot read"]);
    let file = app.at("airssys.toml");
    let failed = run(&["bench", "compare", &file, &file]);
    failed.fails(2, &["not a report", "--json FILE"]);
    assert_eq!(failed.stderr.matches("at line 1").count(), 1, "{failed:?}");
}

/// `airssys bench call` of one's own function, 50 times.
fn own(app: &App, function: &str, more: &[&str]) -> Ran {
    let words = [
        "bench",
        "call",
        "--count",
        "50",
        "--warm-up",
        "0s",
        "--manifest",
        app.path(),
        "--function",
        function,
    ];
    run(&[&words[..], more].concat())
}

#[test]
fn a_function_that_answers_err_is_counted_and_not_timed() {
    let app = App::of("sink", SINK);
    let of = |item| {
        let more = ["--format", "json", "--args", "1", item];
        own(&app, "sink#put", &more).json()["series"][0].clone()
    };
    let refused = of("\"e\"");
    assert_eq!(refused["operations"], 0, "{refused}");
    assert_eq!(refused["errors"][0]["kind"], "err", "{refused}");
    assert_eq!(refused["errors"][0]["count"], 50, "{refused}");
    assert_eq!(of("\"a\"")["operations"], 50);
}

#[test]
fn an_application_that_does_not_start_is_told_as_up_tells_it() {
    let wat = with_init("", "", "", "unreachable");
    let app = App::of("starting", &wat);
    let failed = own(&app, "starting#init", &["--args", "[]"]);
    failed.fails(1, &["did not start"]);
}

#[test]
fn no_file_is_left_where_nothing_was_measured() {
    let app = App::of("adder", ADDER);
    let (json, page) = (app.at("report.json"), app.at("report.html"));
    let files = ["--json", &json, "--html", &page];
    own(&app, "adder#nothing", &files).fails(2, &["nothing"]);
    run(&[&["bench", "rows", "fast"][..], &files].concat()).fails(2, &["`fast`"]);
    for file in [&json, &page] {
        assert!(!std::path::Path::new(file).exists(), "{file}");
    }
    // What was there is not touched either.
    let app = app.file("report.json", "of yesterday");
    own(&app, "adder#nothing", &files).fails(2, &["nothing"]);
    assert_eq!(std::fs::read_to_string(&json).unwrap(), "of yesterday");
}

#[test]
fn a_report_that_cannot_be_written_is_printed_all_the_same() {
    // A device that can be opened, and takes nothing.
    let app = App::new();
    let page = app.at("report.html");
    let words = ["bench", "call", "--count", "50", "--warm-up", "0s"];
    let files = ["--json", "/dev/full", "--html", &page];
    let ran = run(&[&words[..], &files].concat());
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(ran.stdout.contains("closed loop, 1 at a time"), "{ran:?}");
    assert!(ran.stderr.contains("cannot write /dev/full"), "{ran:?}");
    assert!(!ran.stderr.contains("nothing was measured"), "{ran:?}");
    assert!(std::fs::read_to_string(&page).unwrap().contains("</html>"));
}

#[test]
fn a_comparison_says_what_failed_and_what_was_not_finished() {
    let app = App::new();
    let (before, after, page) = (
        app.at("before.json"),
        app.at("after.json"),
        app.at("compare.html"),
    );
    let words = ["bench", "call", "--count", "40", "--warm-up", "0s"];
    let ran = run(&[&words[..], &["--json", &before]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    let mut report = json(&before);
    report["complete"] = false.into();
    report["series"][0]["unsent"] = 3.into();
    report["series"][0]["errors"] = serde_json::json!([{ "kind": "mailbox-full", "count": 7 }]);
    std::fs::write(&after, report.to_string()).unwrap();
    let ran = run(&["bench", "compare", &before, &after, "--html", &page]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let page = std::fs::read_to_string(&page).unwrap();
    for says in [
        "the second was stopped before its end",
        "call: 0 of 40 operations failed before, 7 of 47 after",
        "call: 0 operations were due and never sent before, 3 after",
    ] {
        assert!(ran.stdout.contains(says), "{says}: {}", ran.stdout);
        assert!(page.contains(says), "{says}");
    }
    // A report may be anybody's.
    let mut report = json(&before);
    report["machine"]["model"] = "\u{1b}[2Jgone".into();
    std::fs::write(&after, report.to_string()).unwrap();
    let ran = run(&["bench", "compare", &before, &after]);
    assert!(ran.stdout.contains("gone"), "{ran:?}");
    assert!(!ran.stdout.contains('\u{1b}'), "{ran:?}");
    let same = run(&["bench", "compare", &before, &before]);
    for word in ["failed", "never sent", "stopped"] {
        assert!(!same.stdout.contains(word), "{same:?}");
    }
}

#[test]
fn what_a_terminal_sends_all_its_processes_ends_no_child_that_measures() {
    let app = App::new();
    let file = app.at("report.json");
    let mut command = airssys();
    command
        .args([
            "bench",
            "rows",
            "rss.called.1k",
            "--quick",
            "--rounds",
            "100",
        ])
        .args(["--json", &file])
        .env("AIRSSYS_LOG", "info")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // A group of its own, as a shell gives it.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn().unwrap();
    let mut stderr = until_said(&mut child, "measuring memory");
    interrupt(&format!("-{}", child.id()));
    // Until its end: nothing of it is left that writes.
    std::io::copy(&mut stderr, &mut std::io::sink()).unwrap();
    let out = child.wait_with_output().unwrap();
    is_stopped_report(&out, &file);
}

#[test]
fn a_signal_ends_it_with_the_results_so_far() {
    let app = App::new();
    let file = app.at("report.json");
    let mut child = airssys()
        .args(["bench", "call", "--duration", "600s", "--warm-up", "0s"])
        .args(["--json", &file, "--log", "info"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Its first line of log: signals are listened to, and it drives.
    let _stderr = until_said(&mut child, "driving");
    interrupt(&child.id().to_string());
    let out = child.wait_with_output().unwrap();
    is_stopped_report(&out, &file);
}

/// Waits until it has logged a line with this.
fn until_said(child: &mut Child, what: &str) -> BufReader<ChildStderr> {
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    while !said.contains(what) {
        said.clear();
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "it ended");
    }
    stderr
}

/// What Ctrl-C sends, to a process, or to a group of them where it begins with `-`.
fn interrupt(whom: &str) {
    let kill = std::process::Command::new("kill")
        .args(["-INT", "--", whom])
        .status();
    assert!(kill.unwrap().success());
}

/// It was interrupted, and has said what it had measured by then.
fn is_stopped_report(out: &Output, file: &str) {
    assert_eq!(out.status.code(), Some(130), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stdout).contains("stopped before its end"));
    assert_eq!(json(file)["complete"], false);
}
