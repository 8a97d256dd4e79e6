//! Sources that are deployed to a host that runs.

use serde_json::Value;

use crate::fixture::{App, SINK, runtime_directory};
use crate::running_host::{Up, start};

const SINKS: &str = "[application]\nname = \"app\"\n[components.sink]\nfile = \"sink.wasm\"\n";

fn feed(name: &str, file: &str) -> String {
    format!(
        "[sources.{name}]\nfile = \"{file}\"\nformat = \"lines\"\nto = \"sink\"\nfunction = \"put\"\n"
    )
}

fn app() -> App {
    App::of("sink", SINK)
        .file("in.txt", "a\nb\n")
        .file("given.txt", "c\n")
        .file("more.txt", "a\nb\nc\n")
        .file("airssys.toml", format!("{SINKS}{}", feed("feed", "in.txt")))
}

fn write(app: &App, tables: &str) {
    std::fs::write(app.at("airssys.toml"), format!("{SINKS}{tables}")).unwrap();
}

/// Asks for the status until the application is finished.
fn finished(up: &Up) {
    while up.ask(&["status", "--json"]).json()["phase"] != "finished" {}
}

#[test]
fn a_host_that_stays_up_is_fed_again_and_boots_what_was_deployed() {
    let (app, runtime) = (app(), runtime_directory());
    let state = app.at("state");
    let given = app.at("given.txt");
    let args = [
        &["--keep", "--format", "json"],
        &["--state", &*state, "--input", &*given][..],
    ]
    .concat();
    let mut up = start(&app, &runtime, &args, "finished; stays up");
    // What was given is for the source that there was.
    write(&app, &feed("more", "more.txt"));
    let planned = up.ask(&["plan", app.path()]);
    assert_eq!(planned.code, 0, "{planned:?}");
    let expected =
        "  1. start source `more`\n  2. stop source `feed`, when nothing is undone any more\n";
    assert!(planned.stdout.contains(expected), "{planned:?}");
    let deployed = up.ask(&["deploy", app.path()]);
    assert_eq!(deployed.code, 0, "{deployed:?}");
    up.says("is fed again");
    up.says("finished; stays up");
    // One that reads another file begins with it, and what it had sent stays counted.
    write(&app, &feed("more", "in.txt"));
    let planned = up.ask(&["deploy", app.path(), "--plan", "--json"]).json();
    let part = &planned["plan"]["steps"][0]["parts"][0];
    assert_eq!(
        (&part["action"], &part["keys"][0], &part["anew"]),
        (
            &Value::from("replace-source"),
            &Value::from("file"),
            &Value::from(true)
        ),
        "{planned}"
    );
    let kept = up.ask(&["plan", app.path(), "--keep-sources"]);
    assert!(kept.stdout.contains("nothing changes"), "{kept:?}");
    assert_eq!(up.ask(&["deploy", app.path()]).code, 0);
    up.says("finished; stays up");
    finished(&up);
    // Gone back to, it has read all of that.
    assert_eq!(up.ask(&["rollback"]).code, 0);
    up.says("finished; stays up");
    finished(&up);
    up.signal("-INT");
    let (code, out) = up.end();
    assert_eq!(code, Some(0), "{out}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let counts = (&report["events_in"], &report["counted"]);
    assert_eq!(counts, (&Value::from(6), &Value::from(6)), "{out}");
    // What boots is what was deployed last, from its beginning.
    let args = ["--state", &*state, "--format", "json"];
    let mut up = start(&app, &runtime, &args, "running");
    let (code, out) = up.end();
    assert_eq!(code, Some(0), "{out}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["sources"].as_object().unwrap().len(), 1, "{out}");
    assert_eq!(report["sources"]["app/more"]["ok"], 3, "{out}");
}
