//! Sources that are deployed to a host that runs.

use serde_json::Value;

use crate::fixture::{ADDER, App, SINK, runtime_directory};
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

/// What is deployed: other sources, and a component beside them that can be taken back for an hour.
const SECOND: &str = "[application]\nname = \"app\"\n[components.sink]\nfile = \"sink.wasm\"\n\
    [components.adder]\nfile = \"adder.wasm\"\nrollout = { strategy = \"blue-green\", soak = \"1h\" }\n";

/// Boots what the registry says, to its end, and says what each source has had answered without an error.
fn booted(app: &App, state: &str, says: &str) -> Vec<(String, u64)> {
    let args = ["--state", state, "--format", "json"];
    let mut up = start(app, &runtime_directory(), &args, says);
    let (code, out) = up.end();
    assert_eq!(code, Some(0), "{out}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["accounted"], Value::from(true), "{out}");
    let sources = report["sources"].as_object().unwrap().iter();
    let sources = sources.map(|(name, counts)| {
        assert_eq!(counts["events_in"], counts["ok"], "{out}");
        (name.clone(), counts["ok"].as_u64().unwrap())
    });
    sources.collect()
}

#[test]
fn a_host_that_is_killed_while_its_sources_change_boots_those_of_the_permanent_deployment() {
    let app = app().component("adder", ADDER);
    let (state, runtime) = (app.at("state"), runtime_directory());
    let adder = "[components.adder]\nfile = \"adder.wasm\"\n";
    let first = [adder, &feed("feed", "in.txt"), &feed("gone", "given.txt")].concat();
    write(&app, &first);
    let args = ["--keep", "--state", &*state];
    let mut up = start(&app, &runtime, &args, "finished; stays up");
    let other = App::of("adder", &ADDER.replace("i32.add", "i32.sub"));
    std::fs::copy(other.at("adder.wasm"), app.at("adder.wasm")).unwrap();
    let second = [feed("feed", "more.txt"), feed("new", "in.txt")].concat();
    std::fs::write(app.at("airssys.toml"), format!("{SECOND}{second}")).unwrap();
    let deployed = up.ask(&["deploy", app.path(), "--detach"]);
    assert_eq!(deployed.code, 0, "{deployed:?}");
    // The new ones feed, and can be undone. The journal is what outlives the host.
    loop {
        let history = up.ask(&["history", "--limit", "1", "--json"]).json();
        if history["deployments"][0]["state"] == "soaking" {
            break;
        }
    }
    up.signal("-KILL");
    assert_eq!(up.end().0, None);
    let fed = |name: &str, items| (format!("app/{name}"), items);
    let says = "deployment 2 was soaking when the host ended";
    let boots = booted(&app, &state, says);
    assert_eq!(boots, [fed("feed", 2), fed("gone", 1)]);

    // Once it is permanent it boots, and killed after that it boots again.
    let mut up = start(&app, &runtime, &args, "finished; stays up");
    let deployed = up.ask(&["deploy", app.path(), "--strategy", "rolling"]);
    assert_eq!(deployed.code, 0, "{deployed:?}");
    up.signal("-KILL");
    assert_eq!(up.end().0, None);
    for _ in 0..2 {
        let boots = booted(&app, &state, "running");
        assert_eq!(boots, [fed("feed", 3), fed("new", 2)]);
    }
}
