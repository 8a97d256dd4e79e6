//! An application that runs until it is told to stop.

use std::io::{BufRead, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use crate::fixture::{ADDER, App, SINK, airssys, ran};

/// Starts `up`, and waits until it says that it runs.
fn start(app: &App, args: &[&str]) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut child = airssys()
        .args(["up", app.path(), "--log", "info"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    says(&mut stderr, "running");
    (child, stderr)
}

/// Waits for a line with a word.
fn says(stderr: &mut impl BufRead, word: &str) {
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        let read = stderr.read_line(&mut line).unwrap();
        assert_ne!(read, 0, "it ended before it said {word}");
    }
}

fn signal(child: &Child, name: &str) {
    assert!(
        Command::new("kill")
            .args([name, &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn without_sources_it_runs_until_a_signal() {
    for name in ["-TERM", "-INT"] {
        let app = App::of("adder", ADDER);
        let (mut child, _stderr) = start(&app, &[]);
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}");
    }
}

#[test]
fn a_source_that_is_interrupted_says_how_far_it_came() {
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let app = App::of("sink", SINK).manifest(
            "[components.sink]\nfile = \"sink.wasm\"\n\
             [sources.feed]\nfile = \"sink.wasm\"\nformat = \"lines\"\nto = \"sink\"\nfunction = \"put\"\n",
        );
        // Its input is a pipe that nobody writes to or closes.
        let (mut child, mut stderr) = start(&app, &["--input", "-"]);
        let _open = child.stdin.take().unwrap();
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{name}");
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        assert!(
            rest.contains("stopped by a signal after 0 events"),
            "{rest}"
        );
    }
}

#[test]
fn the_second_signal_does_not_wait() {
    // The item never ends, and nobody would kill its actor: the limits and the patience are far away.
    let app = App::of("sink", SINK).file("in.txt", "l\n").manifest(
        "[components.sink]\nfile = \"sink.wasm\"\nshutdown = \"infinity\"\nlimits = { cpu-per-call = \"1h\", wall-per-call = \"1h\" }\n\
         [sources.feed]\nfile = \"in.txt\"\nformat = \"lines\"\nto = \"sink\"\nfunction = \"put\"\n",
    );
    let (mut child, mut stderr) = start(&app, &[]);
    signal(&child, "-INT");
    says(&mut stderr, "stopping");
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn the_log_says_as_much_as_is_asked_for() {
    let app = App::of("sink", SINK).file("in.txt", "a\nt\nb\n").manifest(
        "[components.sink]\nfile = \"sink.wasm\"\n\
         [sources.feed]\nfile = \"in.txt\"\nformat = \"lines\"\nto = \"sink\"\nfunction = \"put\"\n",
    );
    let log = |level: &str| {
        let ran = ran(airssys()
            .args(["up", app.path(), "--quiet"])
            .env("AIRSSYS_LOG", level));
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stderr
    };
    assert_eq!(log("error"), "");
    let warn = log("warn");
    assert_eq!(warn.lines().count(), 1, "{warn}");
    assert!(
        warn.contains("an actor has crashed crash=0 address=app/sink"),
        "{warn}"
    );
    let info = log("info");
    assert!(info.contains("an actor ended address=app/sink"), "{info}");
    assert!(!info.contains("DEBUG"), "{info}");
    let debug = log("debug");
    for line in [
        "loading component=\"sink\" file=sink.wasm",
        "to be started address=app/sink",
        "started address=app/sink incarnation=2",
        "ended address=app/sink incarnation=1 reason=\"unreachable\"",
        "fed source=app/feed items=3 ok=2 rejected=0 failed=1",
    ] {
        assert!(debug.contains(line), "no `{line}` in {debug}");
    }
    let trace = log("airssys_wasm_actors::source=trace");
    assert_eq!(trace.matches("answered item=").count(), 3, "{trace}");
    assert!(
        trace.contains("answered item=1 outcome=\"callee-died\""),
        "{trace}"
    );
}
