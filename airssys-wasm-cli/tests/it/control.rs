//! Commands that ask a running host, and the socket it serves.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::bad_files::files;
use crate::fixture::{ADDER, App, SINK, airssys, fifo, ran, runtime_directory, with_init};
use crate::running_host::{Up, ask, start};

fn adder() -> App {
    App::of("adder", ADDER)
}

/// An adder of its own, and two under a supervisor.
fn adder_under(group: &str) -> App {
    let child =
        |name: &str| format!("[components.{name}]\nfile = \"adder.wasm\"\nunder = \"{group}\"\n");
    App::of("adder", ADDER).manifest(&format!(
        "[components.adder]\nfile = \"adder.wasm\"\n[supervisors.{group}]\nstrategy = \"one-for-all\"\n\
         restarts = {{ max = 7, within = \"1min\" }}\n{}{}",
        child("one"),
        child("two")
    ))
}

/// An application of another name beside `app`.
fn other() -> App {
    App::of("adder", ADDER).file(
        "airssys.toml",
        "[application]\nname = \"other\"\n[components.adder]\nfile = \"adder.wasm\"\n",
    )
}

fn fed(items: &str) -> App {
    App::of("sink", SINK).file("in.txt", items).manifest(
        "[components.sink]\nfile = \"sink.wasm\"\n\
         [sources.feed]\nfile = \"in.txt\"\nformat = \"lines\"\nto = \"sink\"\nfunction = \"put\"\n",
    )
}

#[test]
fn a_running_application_is_found_asked_and_leaves_no_socket() {
    let (app, runtime) = (adder(), runtime_directory());
    ask(&runtime, &["status"]).fails(7, &["no application is running", "--control"]);
    let mut up = start(&app, &runtime, &[], "running");
    let status = up.ask(&["status", "--json"]).json();
    assert_eq!(
        (&status["application"], &status["phase"], &status["pid"]),
        (
            &Value::from("app"),
            &Value::from("running"),
            &Value::from(up.child.id())
        )
    );
    assert_eq!(status["actors"][0]["address"], "app/adder");
    let text = up.ask(&["status", "--app", "app", "app/*"]).stdout;
    assert!(text.starts_with("app: running, up "), "{text}");
    assert!(text.contains("app/adder  running"), "{text}");
    let none = up.ask(&["status", "nobody/*"]).stdout;
    assert!(none.contains("no actor is listed"), "{none}");
    up.ask(&["status", "A"])
        .fails(2, &["`A` is not a pattern of addresses"]);
    up.ask(&["status", "--app", "ap"])
        .fails(7, &["no application `ap` is running; there is app"]);
    let error = up.ask(&["kill", "app/a", "--json"]).error();
    assert_eq!(
        (&error["kind"], &error["control"], &error["exit_code"]),
        (
            &Value::from("control"),
            &Value::from("no-such-actor"),
            &Value::from(7)
        )
    );
    up.signal("-TERM");
    assert_eq!(up.end().0, Some(0));
    assert!(up.sockets().is_empty());
    up.ask(&["status"]).fails(7, &["no application is running"]);
}

#[test]
fn the_tree_and_what_is_done_to_one_actor() {
    let (app, runtime) = (adder(), runtime_directory());
    let mut up = start(&app, &runtime, &[], "running");
    let tree = up.ask(&["tree"]).stdout;
    assert!(
        tree.contains("└─ app supervisor, one-for-one, 5 restarts within 30 s\n"),
        "{tree}"
    );
    assert!(
        tree.contains("   └─ app/adder running, component, permanent, memory: 64 KiB\n"),
        "{tree}"
    );
    let restarted = up.ask(&["restart", "app/adder"]).stdout;
    assert_eq!(restarted, "`app/adder`: incarnation 2 is running\n");
    let killed = up.ask(&["kill", "app/adder"]).stdout;
    assert_eq!(killed, "`app/adder`: incarnation 2 was killed\n");
    up.says("an actor ended");
    let restarted = up.ask(&["restart", "app/adder", "--json"]).json();
    assert!(
        restarted["incarnation"].as_u64().unwrap() >= 3,
        "{restarted}"
    );
    let tree = up.ask(&["tree", "--json"]).json();
    let child = &tree["supervisors"][1]["children"][0];
    assert_eq!(child["actor"]["address"], "app/adder", "{tree}");
    assert_eq!(child["actor"]["memory_bytes"], 65_536, "{tree}");
    let status = up.ask(&["status", "--json"]).json();
    assert_eq!(status["actors"][0]["memory_bytes"], 65_536, "{status}");
    let status = up.ask(&["status"]).stdout;
    assert!(
        status.contains("memory") && status.contains("64 KiB"),
        "{status}"
    );
    up.ask(&["kill", "app"])
        .fails(7, &["`app` is the supervisor", "kill "]);
    let stopped = up.ask(&["stop", "app/adder"]).stdout;
    assert_eq!(stopped, "`app/adder` has been stopped\n");
    up.ask(&["stop", "app/adder"])
        .fails(7, &["there is no actor `app/adder`"]);
    up.signal("-INT");
    assert_eq!(up.end().0, Some(0));
}

/// The node of a supervisor below the application's.
fn below(tree: &Value, address: &str) -> Value {
    let children = tree["supervisors"][1]["children"].as_array().unwrap();
    let found = children
        .iter()
        .find(|child| child["supervisor"]["address"] == address);
    found.unwrap_or_else(|| panic!("{tree}")).clone()
}

#[test]
fn what_is_done_to_a_supervisor_below_is_done_to_its_children() {
    let app = adder_under("group");
    let runtime = runtime_directory();
    let mut up = start(&app, &runtime, &[], "running");
    let text = up.ask(&["tree"]).stdout;
    let lines: Vec<_> = text.lines().map(str::trim_start).collect();
    let place = |name: &str| {
        let found = lines.iter().position(|line| line.contains(name));
        found.unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    assert!(
        place("app/group") < place("app/one") && place("app/one") < place("app/two"),
        "{text}"
    );
    let before = below(&up.ask(&["tree", "--json"]).json(), "app/group");
    assert_eq!(
        (
            &before["kind"],
            &before["state"],
            &before["restart"],
            &before["shutdown"]
        ),
        (
            &Value::from("supervisor"),
            &Value::from("running"),
            &Value::from("permanent"),
            &Value::from("infinity")
        )
    );
    let node = &before["supervisor"];
    assert_eq!(
        (
            &node["strategy"],
            &node["restarts_max"],
            &node["within_ms"],
            &node["incarnation"]
        ),
        (
            &Value::from("one-for-all"),
            &Value::from(7),
            &Value::from(60_000),
            &Value::from(1)
        )
    );
    assert_eq!(node["children"].as_array().unwrap().len(), 2);

    let restarted = up.ask(&["restart", "app/group", "--json"]).json();
    assert_eq!(restarted["address"], "app/group");
    let killed = loop {
        let killed = up.ask(&["kill", "app/group", "--json"]);
        if killed.code == 0 {
            break killed.json();
        }
        // It was still being restarted.
        assert_eq!(killed.error()["control"], "down");
    };
    assert_eq!(killed["incarnation"], 2);
    loop {
        let group = below(&up.ask(&["tree", "--json"]).json(), "app/group");
        if group["supervisor"]["incarnation"] == 3 && group["state"] == "running" {
            let children = group["supervisor"]["children"].as_array().unwrap();
            let states = children
                .iter()
                .map(|child| child["state"].as_str().unwrap());
            assert_eq!(states.collect::<Vec<_>>(), ["running", "running"]);
            break;
        }
    }
    let stopped = up.ask(&["stop", "app/group", "--json"]).json();
    assert_eq!(stopped["address"], "app/group");
    let status = up.ask(&["status", "--json"]).json();
    let actors = status["actors"].as_array().unwrap();
    let names: Vec<_> = actors
        .iter()
        .map(|actor| actor["address"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["app/adder"]);
    up.ask(&["restart", "app/group"])
        .fails(7, &["there is no actor `app/group`"]);
    up.signal("-TERM");
    assert_eq!(up.end().0, Some(0));
}

#[test]
fn two_hosts_do_not_serve_one_socket() {
    let (app, runtime) = (adder(), runtime_directory());
    let up = start(&app, &runtime, &[], "running");
    let second = ask(&runtime, &["up", app.path()]);
    second.fails(
        7,
        &[
            &format!("another host (process {})", up.child.id()),
            "airssys status",
            "--no-control",
        ],
    );
    // A mistake in the manifest would be found later: the refusal comes before anything is loaded.
    let broken = App::new().manifest("[components.a]\nfile = \"none.wasm\"\n");
    let second = ask(&runtime, &["up", broken.path()]);
    second.fails(7, &["another host"]);

    // Elsewhere, and nowhere.
    let path = runtime.join("second.sock");
    let second = start(
        &app,
        &runtime,
        &["--control", path.to_str().unwrap()],
        "running",
    );
    let status = up
        .ask(&["status", "--json", "--control", path.to_str().unwrap()])
        .json();
    assert_eq!(status["pid"], second.child.id());
    let mut third = start(&app, &runtime, &["--no-control"], "running");
    third.signal("-TERM");
    assert_eq!(third.end().0, Some(0));

    // Another application beside it: one has to be chosen.
    let other = other();
    let _fourth = start(&other, &runtime, &[], "running");
    up.ask(&["status"]).fails(
        7,
        &["more than one application is running: app, other", "--app"],
    );
    let status = up.ask(&["status", "--json", "--app", "other"]).json();
    assert_eq!(status["application"], "other");
    up.ask(&["status", "--app", "a", "--control", "b"])
        .fails(2, &["cannot be used with"]);
}

#[test]
fn a_host_that_was_killed_is_followed_by_the_next() {
    let (app, runtime) = (adder(), runtime_directory());
    for _ in 0..3 {
        let mut up = start(&app, &runtime, &[], "running");
        up.signal("-KILL");
        assert_eq!(up.end().0, None);
        assert_eq!(up.sockets().len(), 2, "the socket and the lock are left");
        up.ask(&["status"]).fails(7, &["no application is running"]);
    }
    let mut up = start(&app, &runtime, &[], "running");
    assert_eq!(up.ask(&["status", "--json"]).json()["pid"], up.child.id());
    up.signal("-TERM");
    assert_eq!(up.end().0, Some(0));
    assert!(up.sockets().is_empty());
}

#[test]
fn with_keep_it_stays_up_until_a_signal_and_then_reports() {
    let (app, runtime) = (fed("a\nb\ne\n"), runtime_directory());
    let args = ["--keep", "--format", "json"];
    let mut up = start(&app, &runtime, &args, "finished; stays up");
    assert_eq!(up.ask(&["status", "--json"]).json()["phase"], "finished");
    up.ask(&["restart", "app/feed"]).fails(7, &["is temporary"]);
    up.signal("-TERM");
    let (code, out) = up.end();
    assert_eq!(code, Some(0));
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&report["events_in"], &report["failed"]),
        (&Value::from(3), &Value::from(1))
    );
}

#[test]
fn a_hangup_is_a_termination_unless_it_is_ignored() {
    let (app, runtime) = (App::of("adder", ADDER), runtime_directory());
    let mut up = start(&app, &runtime, &[], "running");
    up.signal("-HUP");
    up.says("stopping");
    assert_eq!(up.end().0, Some(0));
    assert!(up.sockets().is_empty());

    let child = std::process::Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$0\" up \"$1\" --log info"])
        .args([env!("CARGO_BIN_EXE_airssys"), app.path()])
        .env("XDG_RUNTIME_DIR", &runtime)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let mut up = Up::of(child.unwrap(), &runtime);
    up.says("running");
    up.signal("-HUP");
    assert_eq!(up.ask(&["status"]).code, 0);
    up.signal("-TERM");
    assert_eq!(up.end().0, Some(0));
}

#[test]
fn a_start_that_is_told_to_stop_is_no_crash() {
    let endless = with_init("", "", "", "(loop (br 0))");
    let limits = "[components.sink]\nfile = \"sink.wasm\"\nstart-within = \"1h\"\n\
                  limits = { cpu-per-call = \"1h\", wall-per-call = \"1h\" }\n";
    let app = App::new().component("sink", &endless).manifest(limits);
    let runtime = runtime_directory();
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let mut up = start(&app, &runtime, &[], "");
        loop {
            let status = up.ask(&["status", "--json"]);
            if status.code == 0 && status.json()["actors"][0]["state"] == "starting" {
                break;
            }
        }
        up.signal(signal);
        let mut said = String::new();
        up.stderr.read_to_string(&mut said).unwrap();
        assert_eq!(up.end().0, Some(code), "{said}");
        assert!(
            said.contains("stopped while the application was starting"),
            "{said}"
        );
        assert!(!said.contains("crash"), "{said}");
    }
}

#[test]
fn with_keep_an_end_before_the_sources_is_an_interruption() {
    let (app, runtime) = (fed(""), runtime_directory());
    let mut up = start(&app, &runtime, &["--keep", "--input", "-"], "running");
    let mut input = up.child.stdin.take().unwrap();
    input.write_all(b"a\n").unwrap();
    up.signal("-INT");
    assert_eq!(up.end().0, Some(130));
    assert!(up.sockets().is_empty());
}

#[test]
fn what_does_not_stop_in_time_is_killed_and_named() {
    let app = App::of("sink", SINK).file("in.txt", "l\n").manifest(
        "[supervisors.group]\n\
         [components.sink]\nfile = \"sink.wasm\"\nunder = \"group\"\nshutdown = \"1ms\"\n\
         limits = { cpu-per-call = \"1h\", wall-per-call = \"1h\" }\n\
         [sources.feed]\nfile = \"in.txt\"\nformat = \"lines\"\nto = \"sink\"\nfunction = \"put\"\nreply-within = \"1ms\"\n",
    );
    let runtime = runtime_directory();
    let mut up = start(&app, &runtime, &["--format", "json"], "");
    // Until it has the line in hand that it does not come to the end of.
    loop {
        let status = up.ask(&["status", "--json", "app/sink"]);
        if status.code == 0 && status.json()["actors"][0]["queued"] == 1 {
            break;
        }
    }
    up.signal("-TERM");
    up.says("did not stop in time, and was killed");
    let mut rest = String::new();
    up.stderr.read_to_string(&mut rest).unwrap();
    let error: Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
    assert_eq!(
        error["error"]["overdue"],
        serde_json::json!(["app/sink"]),
        "{rest}"
    );
    assert_eq!(up.end().0, Some(143));
}

#[test]
fn with_keep_too_many_restarts_still_end_it() {
    let app = App::of("adder", ADDER)
        .component("sink", SINK)
        .file("in.txt", "a\n")
        .manifest(
            "[supervision]\nrestarts = { max = 1, within = \"1h\" }\n\
             [components.adder]\nfile = \"adder.wasm\"\n[components.sink]\nfile = \"sink.wasm\"\n\
             [sources.feed]\nfile = \"in.txt\"\nformat = \"lines\"\nto = \"sink\"\nfunction = \"put\"\n",
        );
    let runtime = runtime_directory();
    let mut up = start(&app, &runtime, &["--keep"], "finished; stays up");
    // A restart by choice is not counted.
    for _ in 0..5 {
        up.ask(&["restart", "app/adder"]);
    }
    assert_eq!(up.ask(&["status", "--json"]).json()["phase"], "finished");
    up.ask(&["kill", "app/adder"]);
    up.says("an actor ended");
    // It may be down or starting for a moment: then there is nothing to kill.
    while up.ask(&["kill", "app/adder"]).code != 0 {}
    up.says("crash-loop");
    assert_eq!(up.end().0, Some(1));
    assert!(up.sockets().is_empty());
}

#[test]
fn a_socket_that_cannot_be_made_is_told_before_anything_starts() {
    let app = adder();
    let long = app.at(&"x".repeat(200));
    app.run("up", &["--control", &long])
        .fails(6, &["107", "--no-control"]);
    let file = app.at("airssys.toml");
    app.run("up", &["--control", &file])
        .fails(7, &["is there already, and is not a socket"]);
    app.run("up", &["--control", "a", "--no-control"])
        .fails(2, &["cannot be used with"]);
    let missing = ran(airssys()
        .args(["up", app.path()])
        .env("XDG_RUNTIME_DIR", app.at("none")));
    missing.fails(6, &["cannot make the directory", "--control PATH"]);
    ask(
        &runtime_directory(),
        &["status", "--control", &app.at("adder.wasm")],
    )
    .fails(7, &["no host listens at"]);
    // A name that is no address is no path either.
    let escaping = App::new()
        .file(
            "airssys.toml",
            "[application]\nname = \"../../x\"\n[components.adder]\nfile = \"adder.wasm\"\n",
        )
        .component("adder", ADDER);
    escaping.run("up", &[]).fails(3, &["../../x"]);
}

#[test]
fn a_signal_while_components_are_loaded_ends_it_and_its_socket() {
    // A pipe for an entry of the compile cache: reading it waits for a writer.
    let (app, runtime) = (adder(), runtime_directory());
    let cache = app.at("cache");
    let checked = ran(airssys()
        .args(["check", app.path()])
        .env("XDG_CACHE_HOME", &cache));
    assert_eq!(checked.code, 0, "{checked:?}");
    let mut entries = files(Path::new(&cache));
    // The key is there too.
    entries.retain(|file| std::fs::metadata(file).unwrap().len() > 1_024);
    assert_eq!(entries.len(), 1, "{entries:?}");
    for entry in entries {
        std::fs::remove_file(&entry).unwrap();
        fifo(&entry);
    }
    let mut child = airssys()
        .args(["up", app.path(), "--log", "debug"])
        .env("XDG_CACHE_HOME", &cache)
        .env("XDG_RUNTIME_DIR", &runtime)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let mut up = Up {
        child,
        stderr,
        runtime,
    };
    up.says("serving the control socket");
    let status = up.ask(&["status", "--json"]);
    assert_eq!(status.json()["phase"], "loading", "{status:?}");
    up.signal("-TERM");
    assert_eq!(up.end().0, Some(143));
    assert!(up.sockets().is_empty());
}

#[test]
fn a_crash_is_logged_with_the_number_of_its_report() {
    let (app, runtime) = (adder(), runtime_directory());
    let mut up = start(&app, &runtime, &[], "running");
    let none = "0 of 0 kept (0 B); 0 ever, 0 dropped\n";
    assert_eq!(up.ask(&["crashes"]).stdout, none);
    up.ask(&["kill", "app/adder"]);
    let mut line = String::new();
    while !line.contains("an actor has crashed") {
        line.clear();
        assert_ne!(up.stderr.read_line(&mut line).unwrap(), 0);
    }
    for part in ["WARN", "crash=0", "address=app/adder", "killed"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let json = up.ask(&["crashes", "app/*", "--json"]).json();
    assert_eq!(json["crashes"][0]["kind"], "killed");
    assert_eq!(json["crashes"][0]["supervisor"], "app");
    let none = up.ask(&["crashes", "app/other*", "--after", "0", "--json"]);
    assert_eq!(none.json()["crashes"], serde_json::json!([]));
    let shown = up.ask(&["crashes", "show", "0"]).stdout;
    let says = shown.lines().filter(|line| line.contains("killed")).count();
    assert_eq!(says, 1, "{shown}");
    assert!(
        shown.starts_with("crash 0\n  actor            app/adder\n  incarnation      1\n"),
        "{shown}"
    );
    let json = up.ask(&["crashes", "show", "0", "--json"]).json();
    assert_eq!(json["crash"]["sequence"], 0);
    up.ask(&["crashes", "show", "9"])
        .fails(7, &["there is no crash report 9"]);
}

#[test]
fn names_are_taken_with_and_without_the_application_and_a_wrong_one_is_met_with_the_nearest() {
    let (app, runtime) = (adder(), runtime_directory());
    let state = app.at("state");
    let up = start(&app, &runtime, &["--state", &state], "running");
    for name in ["adder", "app/adder"] {
        let status = up.ask(&["status", name, "--json"]).json();
        assert_eq!(status["actors"][0]["address"], "app/adder", "{status}");
        let restarted = up.ask(&["restart", name]);
        assert_eq!(restarted.code, 0, "{restarted:?}");
        assert_eq!(up.ask(&["registry", "show", name, "1"]).code, 0, "{name}");
        let listed = up.ask(&["registry", "list", name, "--json"]).json();
        assert_eq!(listed["revisions"][0]["component"], "app/adder");
    }
    for wrong in ["ader", "app/ader"] {
        let what = format!("there is no actor `{wrong}`");
        let says = [what.as_str(), "did you mean `app/adder`?"];
        for command in ["status", "kill", "restart", "stop"] {
            up.ask(&[command, wrong]).fails(7, &says);
        }
        let error = up.ask(&["status", wrong, "--json"]).error();
        assert_eq!(error["control"], "no-such-actor", "{error}");
    }
    let nothing = up.ask(&["status", "app/x*"]);
    assert!(
        nothing.code == 0 && nothing.stdout.contains("no actor"),
        "{nothing:?}"
    );
    up.ask(&["registry", "show", "adder", "9"]).fails(
        7,
        &["`app/adder` has no revision 9", "`airssys registry list`"],
    );
}

#[test]
fn a_name_that_nobody_has_or_had_is_told_wherever_it_is_asked_for() {
    let (app, runtime) = (adder(), runtime_directory());
    let state = app.at("state");
    let up = start(&app, &runtime, &["--state", &state], "running");
    for wrong in ["ader", "app/ader"] {
        let what = format!("there is no actor `{wrong}`");
        let says = [what.as_str(), "did you mean `app/adder`?"];
        for args in [
            &["crashes", wrong][..],
            &["dead-letters", "--actor", wrong],
            &["dead-letters", "list", "--actor", wrong],
            &["dead-letters", "purge", "--actor", wrong],
            &["dead-letters", "replay", "--actor", wrong],
        ] {
            up.ask(args).fails(7, &says);
            let error = up.ask(&[args, &["--json"]].concat()).error();
            assert_eq!(error["control"], "no-such-actor", "{error}");
        }
        let what = format!("there is no component `{wrong}` in the registry");
        for args in [
            &["registry", "list", wrong][..],
            &["registry", "list", wrong, "--exports", "add"],
            &["registry", "show", wrong, "1"],
        ] {
            up.ask(args).fails(7, &[&what, "adder`?"]);
            let error = up.ask(&[args, &["--json"]].concat()).error();
            assert_eq!(error["control"], "no-such-component", "{error}");
        }
    }
    // Who has nothing to list, and a pattern that matches nobody, are no mistakes.
    for args in [
        &["crashes", "adder"][..],
        &["crashes", "app"],
        &["crashes", "app/x*"],
        &["dead-letters", "--actor", "adder"],
        &["dead-letters", "purge", "--actor", "app/adder"],
        &["registry", "list", "adder", "--imports", "none"],
        &["registry", "list", "app/x*"],
    ] {
        let listed = up.ask(args);
        assert_eq!(listed.code, 0, "{args:?}: {listed:?}");
    }
    // Nor is one that has gone and has left something.
    assert_eq!(up.ask(&["kill", "adder"]).code, 0);
    assert_eq!(up.ask(&["stop", "adder"]).code, 0);
    let crashes = up.ask(&["crashes", "adder", "--json"]).json();
    assert_eq!(crashes["crashes"][0]["address"], "app/adder", "{crashes}");
    let later = up.ask(&["crashes", "adder", "--after", "99", "--json"]);
    assert!(later.json()["crashes"].as_array().unwrap().is_empty());
}

#[test]
fn a_filter_by_a_word_that_there_is_not_is_a_mistake_and_not_an_empty_list() {
    let (app, runtime) = (adder(), runtime_directory());
    let state = app.at("state");
    let up = start(&app, &runtime, &["--state", &state], "running");
    for (args, says) in [
        (
            &["dead-letters", "--reason", "evictd"][..],
            "did you mean `evicted`?",
        ),
        (
            &["dead-letters", "purge", "--reason", "nosuch"],
            "the reasons are `no-such-actor`",
        ),
        (
            &["dead-letters", "replay", "--reason", "nosuch"],
            "`native`",
        ),
        (
            &["registry", "list", "--grant", "confg"],
            "did you mean `config`?",
        ),
        (
            &["registry", "list", "--state", "servng"],
            "did you mean `serving`?",
        ),
    ] {
        up.ask(args).fails(2, &[says]);
    }
    for args in [
        &["dead-letters", "--reason", "evicted"][..],
        &["registry", "list", "--grant", "config"],
    ] {
        assert_eq!(up.ask(args).code, 0, "{args:?}");
    }
}
