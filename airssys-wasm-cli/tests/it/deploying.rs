//! Deployments by the command line: planned, rolled out, gone back from, recorded, and found again.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use serde_json::Value;

use crate::fixture::{ADDER, App, airssys, runtime_directory};
use crate::running_host::{Up, start};

const SOAKING: &[&str] = &["--strategy", "blue-green", "--soak", "1h", "--detach"];

fn first() -> App {
    App::of("adder", ADDER)
}

/// The same application with another component.
fn second() -> App {
    App::of("adder", &ADDER.replace("i32.add", "i32.sub"))
}

/// A third one.
fn third() -> App {
    App::of("adder", &ADDER.replace("i32.add", "i32.mul"))
}

/// Asks for the status until it is as wanted.
fn until(up: &Up, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let deployment = up.ask(&["status", "--json"]).json()["deployment"].clone();
        if wanted(&deployment) {
            return deployment;
        }
    }
}

fn deploy(up: &Up, app: &App, args: &[&str]) -> crate::fixture::Ran {
    up.ask(&[&["deploy", app.path()], args].concat())
}

#[test]
fn what_is_deployed_is_planned_rolled_out_recorded_and_gone_back_from() {
    let versioned = |app: App, version: &str| {
        app.manifest(&format!(
            "[components.adder]\nfile = \"adder.wasm\"\nversion = \"{version}\"\n"
        ))
    };
    let (one, two) = (versioned(first(), "1.1.0"), versioned(second(), "1.0.9"));
    let runtime = runtime_directory();
    let state = one.at("state");
    let up = start(&one, &runtime, &["--state", &state], "running");
    for plan in [
        up.ask(&["plan", two.path()]),
        deploy(&up, &two, &["--plan"]),
    ] {
        assert_eq!(plan.code, 0, "{plan:?}");
        assert!(plan.stdout.contains("replace `adder` 1.1.0 ("), "{plan:?}");
        let back = "version: goes back from 1.1.0 to 1.0.9\n";
        assert!(plan.stdout.contains(back), "{plan:?}");
    }
    let history = up.ask(&["history", "--json"]).json();
    assert_eq!(history["deployments"].as_array().unwrap().len(), 1);

    let deployed = deploy(&up, &two, &["--why", "it is better"]);
    assert_eq!(deployed.code, 0, "{deployed:?}");
    assert!(
        deployed.stdout.contains("the new revisions serve"),
        "{deployed:?}"
    );
    let status = up.ask(&["status"]).stdout;
    assert!(status.contains("deployment 2\n"), "{status}");
    assert!(status.contains("adder: switched"), "{status}");
    let history = up.ask(&["history", "--json"]).json();
    assert_eq!(
        (&history["permanent"], &history["deployments"][0]["why"]),
        (&Value::from(2), &Value::from("it is better"))
    );
    let listed = up.ask(&["registry", "list", "--exports", "add", "--json"]);
    let listed = listed.json()["revisions"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let digest = listed[0]["digest"].as_str().unwrap();
    assert_eq!(listed[0]["artifact"], format!("sha256:{digest}"));
    let shown = up.ask(&["registry", "show", "app/adder", "2"]).stdout;
    assert!(shown.contains("test:app/add"), "{shown}");
    assert!(shown.contains("version   1.0.9\n"), "{shown}");
    let history = up.ask(&["history"]).stdout;
    for revision in ["adder 1 (1.1.0)", "adder 2 (1.0.9)"] {
        assert!(history.contains(revision), "{history}");
    }
    up.ask(&["registry", "show", "app/adder", "9"])
        .fails(7, &["no revision 9", "`airssys registry list`"]);
    assert_eq!(up.ask(&["registry", "gc"]).code, 0);

    let planned = up.ask(&["rollback", "--plan"]);
    assert_eq!(planned.code, 0, "{planned:?}");
    let goes = "replace `adder` 1.0.9 (";
    assert!(planned.stdout.contains(goes), "{planned:?}");
    let planned = up
        .ask(&["rollback", "--to", "1", "--plan", "--json"])
        .json();
    assert_eq!(planned["phase"], "planned", "{planned}");
    let history = up.ask(&["history", "--json"]).json();
    assert_eq!(history["permanent"], 2, "{history}");
    let back = up.ask(&["rollback"]);
    assert_eq!(back.code, 0, "{back:?}");
    let history = up.ask(&["history", "--json"]).json();
    let newest = &history["deployments"][0];
    assert_eq!(
        (
            &newest["number"],
            &newest["why"],
            &newest["components"]["app/adder"]
        ),
        (
            &Value::from(3),
            &Value::from("rollback to 1"),
            &Value::from(1)
        )
    );
    let none = up.ask(&["history", "--limit", "0"]).stdout;
    assert!(!none.contains("nothing has been deployed"), "{none}");
    let text = up.ask(&["history", "--limit", "1"]).stdout;
    assert!(text.contains("rollback to 1"), "{text}");
    up.ask(&["rollback", "--to", "99"])
        .fails(9, &["has no deployment 99", "help: `airssys history`"]);
}

#[test]
fn a_host_that_was_killed_boots_what_was_permanent() {
    // The files of what is rolled out are read once more when it is registered: they stay until the end.
    let (one, two, three) = (first(), second(), third());
    let two = two.manifest("# The second.\n[components.adder]\nfile = \"adder.wasm\"\n");
    let (runtime, state) = (runtime_directory(), one.at("state"));
    let mut up = start(&one, &runtime, &["--state", &state], "running");
    assert_eq!(deploy(&up, &two, &[]).code, 0);
    assert_eq!(deploy(&up, &three, SOAKING).code, 0);
    // The journal is what outlives the host.
    loop {
        let history = up.ask(&["history", "--limit", "1", "--json"]).json();
        if history["deployments"][0]["state"] == "soaking" {
            break;
        }
    }
    up.signal("-KILL");
    assert_eq!(up.end().0, None);

    let mut up = start(
        &one,
        &runtime,
        &["--state", &state],
        "deployment 3 was soaking when the host ended",
    );
    up.says("is not what was deployed last: deployment 2 starts");
    up.says("running");
    let deployment = until(&up, |deployment| deployment["number"] == 2);
    assert_eq!(deployment["rollout"], Value::Null);
    let serving = up.ask(&["registry", "list", "--state", "serving", "--json"]);
    assert_eq!(serving.json()["revisions"][0]["revision"], 2);
}

#[test]
fn a_manifest_with_faults_is_refused_with_their_places() {
    let (one, runtime) = (first(), runtime_directory());
    let up = start(&one, &runtime, &[], "running");
    let broken = App::of("adder", ADDER).manifest("[components.adder]\nfile = \"none.wasm\"\n");
    let place = broken.at("airssys.toml:4:8: there is no file `none.wasm`");
    deploy(&up, &broken, &[]).fails(9, &[&place]);
    let error = deploy(&up, &broken, &["--json"]).error();
    assert_eq!(
        (&error["control"], &error["findings"][0]["line"]),
        (&Value::from("manifest"), &Value::from(4))
    );
    deploy(&up, &one, &["--strategy", "blue"]).fails(2, &["there is no strategy `blue`"]);
    up.ask(&["rollback"]).fails(9, &["no registry", "--state"]);
    up.ask(&["promote"])
        .fails(7, &["nothing has been deployed"]);
    // Without a registry it is deployed all the same.
    assert_eq!(deploy(&up, &second(), &[]).code, 0);
    let history = up.ask(&["history"]).stdout;
    assert!(history.contains("not recorded"), "{history}");
}

#[test]
fn of_two_deployments_at_once_one_is_refused_or_waits() {
    let (one, two, three) = (first(), second(), third());
    let runtime = runtime_directory();
    let up = start(&one, &runtime, &[], "running");
    assert_eq!(deploy(&up, &two, SOAKING).code, 0);
    until(&up, |deployment| {
        deployment["rollout"]["state"] == "soaking"
    });
    deploy(&up, &three, &[]).fails(9, &["another deployment is under way", "--queue"]);
    let mut waiting = airssys()
        .args(["deploy", three.path(), "--queue"])
        .env("XDG_RUNTIME_DIR", &runtime)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(waiting.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("waiting for the deployment") {
        line.clear();
        assert_ne!(out.read_line(&mut line).unwrap(), 0);
    }
    assert_eq!(up.ask(&["promote"]).code, 0);
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(waiting.wait().unwrap().code(), Some(0), "{rest}");

    // One that is under way is rolled back.
    assert_eq!(deploy(&up, &one, SOAKING).code, 0);
    until(&up, |deployment| {
        deployment["rollout"]["state"] == "soaking"
    });
    assert_eq!(up.ask(&["pause"]).code, 0);
    up.ask(&["pause"]).fails(7, &["paused already"]);
    assert_eq!(up.ask(&["resume"]).code, 0);
    let back = up.ask(&["rollback", "--why", "too slow"]);
    assert_eq!(back.code, 0, "{back:?}");
    let status = up.ask(&["status"]).stdout;
    assert!(status.contains("rolled-back"), "{status}");
    assert!(status.contains("too slow"), "{status}");
}

#[test]
fn an_order_that_waits_is_listed_and_cancelled() {
    let (one, two, three) = (first(), second(), third());
    let runtime = runtime_directory();
    let up = start(&one, &runtime, &[], "running");
    up.ask(&["cancel", "1"])
        .fails(7, &["there is no order 1", "`airssys status` lists"]);
    assert_eq!(deploy(&up, &two, SOAKING).code, 0);
    until(&up, |deployment| {
        deployment["rollout"]["state"] == "soaking"
    });
    let waiting = |why: &str| {
        let mut child = airssys()
            .args(["deploy", three.path(), "--queue", "--why", why])
            .env("XDG_RUNTIME_DIR", &runtime)
            .env("USER", "ann")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("waiting for the deployment") {
            line.clear();
            assert_ne!(out.read_line(&mut line).unwrap(), 0);
        }
        (child, line, out)
    };
    let (mut left, line, _out) = waiting("who leaves");
    assert!(line.contains("as order 2: `airssys cancel 2`"), "{line}");
    let (told, line, _told) = waiting("the evening");
    assert!(line.contains("as order 3"), "{line}");
    // Whoever waits may leave: the order stays, and is cancelled by whoever knows better.
    left.kill().unwrap();
    left.wait().unwrap();
    let status = up.ask(&["status"]).stdout;
    for (order, why) in [(2, "who leaves"), (3, "the evening")] {
        let listed = format!("waiting: order {order}, deploy {}", three.path());
        assert!(status.contains(&listed), "{status}");
        assert!(status.contains(&format!(": {why}\n")), "{status}");
    }
    let listed = up.ask(&["status", "--json"]).json()["deployment"]["waiting"].clone();
    assert_eq!(
        (&listed[1]["order"], &listed[1]["by"], &listed[1]["why"]),
        (
            &Value::from(3),
            &Value::from("ann"),
            &Value::from("the evening")
        )
    );
    let cancelled = up.ask(&["cancel", "3", "--why", "not today"]);
    assert_eq!(cancelled.code, 0, "{cancelled:?}");
    assert!(
        cancelled.stdout.contains("cancelled: order 3, deploy "),
        "{cancelled:?}"
    );
    let told = told.wait_with_output().unwrap();
    let stderr = String::from_utf8(told.stderr).unwrap();
    assert_eq!(told.status.code(), Some(9), "{stderr}");
    assert!(
        stderr.contains("cancelled before it began, by `"),
        "{stderr}"
    );
    assert!(stderr.contains("`: not today"), "{stderr}");
    let json = up.ask(&["cancel", "2", "--json"]).json();
    assert_eq!(
        (&json["order"], &json["why"]),
        (&Value::from(2), &Value::from("who leaves"))
    );
    up.ask(&["cancel", "2"]).fails(
        7,
        &["order 2 does not wait any more", "was cancelled before"],
    );
    assert_eq!(up.ask(&["promote"]).code, 0);
    let over = until(&up, |deployment| {
        deployment["rollout"]["end"] != Value::Null
    });
    assert_eq!(over["waiting"], Value::Array(Vec::new()));
    up.ask(&["cancel", "many"]).fails(2, &["many"]);
}

fn replicas(up: &Up) -> Vec<String> {
    let status = up.ask(&["status", "--json"]).json();
    let actors = status["actors"].as_array().unwrap().iter();
    let addresses = actors.map(|actor| actor["address"].as_str().unwrap().to_owned());
    addresses
        .filter(|address| address.starts_with("app/adder/"))
        .collect()
}

#[test]
fn a_component_is_scaled_recorded_and_is_so_again_after_a_restart() {
    let (one, runtime) = (first(), runtime_directory());
    let state = one.at("state");
    let mut up = start(&one, &runtime, &["--state", &state], "running");
    let plan = up.ask(&["scale", "adder", "3", "--plan"]);
    assert_eq!(plan.code, 0, "{plan:?}");
    assert!(
        plan.stdout.contains("scale `adder` from 1 to 3"),
        "{plan:?}"
    );
    assert_eq!(replicas(&up), Vec::<String>::new());
    let scaled = up.ask(&["scale", "adder", "3", "--why", "the evening"]);
    assert_eq!(scaled.code, 0, "{scaled:?}");
    assert_eq!(replicas(&up), ["app/adder/0", "app/adder/1", "app/adder/2"]);
    let newest = up.ask(&["history", "--json"]).json()["deployments"][0].clone();
    assert_eq!(
        (&newest["number"], &newest["why"], &newest["state"]),
        (
            &Value::from(2),
            &Value::from("scale adder to 3: the evening"),
            &Value::from("permanent")
        )
    );
    // By its address, too.
    assert_eq!(up.ask(&["scale", "app/adder", "2"]).code, 0);
    assert_eq!(replicas(&up), ["app/adder/0", "app/adder/1"]);
    up.ask(&["scale", "adder", "65"]).fails(2, &["use 1 to 64"]);
    up.ask(&["scale", "nobody", "2"])
        .fails(7, &["no component `nobody`", "the components are `adder`"]);
    up.signal("-KILL");
    assert_eq!(up.end().0, None);
    let up = start(&one, &runtime, &["--state", &state], "running");
    assert_eq!(replicas(&up), ["app/adder/0", "app/adder/1"]);
    let back = up.ask(&["rollback", "--to", "1"]);
    assert_eq!(back.code, 0, "{back:?}");
    assert_eq!(replicas(&up), ["app/adder/0"]);
}

#[test]
fn without_a_registry_only_what_is_as_it_was_deployed_is_scaled() {
    let (one, runtime) = (first(), runtime_directory());
    let up = start(&one, &runtime, &[], "running");
    assert_eq!(up.ask(&["scale", "adder", "2"]).code, 0);
    assert_eq!(replicas(&up), ["app/adder/0", "app/adder/1"]);
    let other = ADDER.replace("i32.add", "i32.sub");
    std::fs::write(one.at("adder.wasm"), wat::parse_str(other).unwrap()).unwrap();
    up.ask(&["scale", "adder", "3"])
        .fails(9, &["more would change", "deploy the manifest"]);
    assert_eq!(replicas(&up).len(), 2);
}

/// An application that has nothing to do has as few replicas as it may; to set another number by hand is refused.
#[test]
fn an_autoscaled_component_is_shown_and_not_scaled_by_hand() {
    let table = |bounds: &str| {
        format!("[components.adder]\nfile = \"adder.wasm\"\nautoscale = {{ {bounds} }}\n")
    };
    let one = first().manifest(&table("min = 2, max = 4"));
    let runtime = runtime_directory();
    let state = one.at("state");
    let up = start(&one, &runtime, &["--state", &state], "running");
    assert_eq!(replicas(&up), ["app/adder/0", "app/adder/1"]);
    let status = up.ask(&["status", "app/adder"]).stdout;
    assert!(status.contains("2 (2–4)"), "{status}");
    let tree = up.ask(&["tree"]).stdout;
    assert!(tree.contains("app/adder/1 running, component"), "{tree}");
    assert!(tree.contains(", replicas: 2 (2–4)"), "{tree}");
    let json = up.ask(&["status", "app/adder", "--json"]).json();
    let autoscale = &json["actors"][0]["autoscale"];
    assert_eq!(
        (&autoscale["replicas"], &autoscale["min"], &autoscale["max"]),
        (&Value::from(2), &Value::from(2), &Value::from(4))
    );
    for plan in [
        &["scale", "adder", "3"][..],
        &["scale", "app/adder", "3", "--plan"],
    ] {
        up.ask(plan).fails(
            9,
            &[
                "`adder` is autoscaled, from 2 to 4",
                "change `min` and `max`",
            ],
        );
    }
    // Other bounds are a deployment; the number comes into them by itself.
    let other = first().manifest(&table("min = 3, max = 4"));
    let plan = up.ask(&["plan", other.path()]);
    assert!(
        plan.stdout.contains("retune `adder`: autoscale"),
        "{plan:?}"
    );
    assert!(plan.stdout.contains("autoscale: 2 to 4, "), "{plan:?}");
    assert_eq!(deploy(&up, &other, &[]).code, 0);
    while replicas(&up).len() != 3 {}
    let status = loop {
        let status = up.ask(&["status", "app/adder"]).stdout;
        if status.contains("autoscaled app/adder") {
            break status;
        }
    };
    assert!(status.contains("3 (3–4)"), "{status}");
    // One that a look finds on its way to its rest is not idle yet.
    let told = "autoscaled app/adder from 2 to 3: queue 0, busy ";
    assert!(status.contains(told), "{status}");
    // Back, and once nobody scales it by itself any more, by hand.
    assert_eq!(up.ask(&["rollback"]).code, 0);
    let status = up.ask(&["status", "app/adder"]).stdout;
    assert!(status.contains("3 (2–4)"), "{status}");
    let by_hand = first().manifest("[components.adder]\nfile = \"adder.wasm\"\nreplicas = 1\n");
    assert_eq!(deploy(&up, &by_hand, &[]).code, 0);
    assert_eq!(up.ask(&["scale", "adder", "2"]).code, 0);
    assert_eq!(replicas(&up), ["app/adder/0", "app/adder/1"]);
}

#[test]
fn what_autoscale_cannot_say_is_found_with_its_line() {
    let app = first().manifest(
        "[components.adder]\nfile = \"adder.wasm\"\nreplicas = 9\n[components.adder.autoscale]\nmax = 4\n",
    );
    let checked = app.run("check", &[]);
    assert_eq!(checked.code, 3, "{checked:?}");
    let text = "`adder` starts with more replicas than `autoscale` in line 7 allows";
    assert!(checked.stderr.contains(text), "{checked:?}");
}

#[test]
fn a_manifest_says_which_of_several_applications_is_meant() {
    let (one, runtime) = (first(), runtime_directory());
    let other = first().file(
        "airssys.toml",
        "[application]\nname = \"other\"\n[components.adder]\nfile = \"adder.wasm\"\n",
    );
    let up = start(&one, &runtime, &[], "running");
    let _other = start(&other, &runtime, &[], "running");
    for (app, name) in [(&one, "`app`"), (&other, "`other`")] {
        for command in ["plan", "deploy"] {
            let ran = up.ask(&[command, app.path()]);
            assert_eq!(ran.code, 0, "{ran:?}");
            assert!(ran.stdout.contains(name), "{ran:?}");
        }
    }
    let third = first().file(
        "airssys.toml",
        "[application]\nname = \"third\"\n[components.adder]\nfile = \"adder.wasm\"\n",
    );
    up.ask(&["plan", third.path()])
        .fails(7, &["more than one application is running: app, other"]);
    up.ask(&["plan", one.path(), "--app", "other"])
        .fails(9, &["`other` runs, and this is `app`"]);
}

#[test]
fn a_plan_takes_only_what_means_something_to_it() {
    let help = crate::fixture::run(&["plan", "--help"]).stdout;
    assert!(
        help.contains("--strategy") && help.contains("--keep-sources"),
        "{help}"
    );
    for option in ["--plan", "--queue", "--detach", "--why"] {
        assert!(!help.contains(option), "{help}");
    }
}

#[test]
fn a_strategys_part_without_the_strategy_is_met_with_what_holds() {
    let (one, two, runtime) = (first(), second(), runtime_directory());
    let state = one.at("state");
    let up = start(&one, &runtime, &["--state", &state], "running");
    deploy(&up, &two, &["--steps", "5%:30s"]).fails(
        2,
        &[
            "`--steps` says nothing without `--strategy`",
            "as its manifest says",
            "`--strategy canary`",
        ],
    );
    assert_eq!(deploy(&up, &two, &[]).code, 0);
    up.ask(&["rollback", "--steps", "5%:30s"])
        .fails(2, &["`steps` says nothing to the strategy `blue-green`"]);
    let back = up.ask(&["rollback", "--soak", "1ms"]);
    assert_eq!(back.code, 0, "{back:?}");
    assert!(
        back.stdout.contains("strategy: blue-green, soak 1ms"),
        "{back:?}"
    );
    assert!(
        !back.stdout.contains("state:"),
        "an adder has none: {back:?}"
    );
    up.ask(&["promote"])
        .fails(7, &["the rollout is over", "`airssys rollback` goes back"]);
}

#[test]
fn a_host_that_goes_while_it_is_waited_for_is_said_to_roll_back() {
    let (one, two, runtime) = (first(), second(), runtime_directory());
    let mut up = start(&one, &runtime, &[], "running");
    let waiting = airssys()
        .args([
            "deploy",
            two.path(),
            "--strategy",
            "blue-green",
            "--soak",
            "1h",
        ])
        .env("XDG_RUNTIME_DIR", &runtime)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until(&up, |deployment| {
        deployment["rollout"]["state"] == "soaking"
    });
    up.signal("-KILL");
    assert_eq!(up.end().0, None);
    let ended = waiting.wait_with_output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(7), "{stderr}");
    assert!(
        stderr.contains("it rolls back what was recorded"),
        "{stderr}"
    );
}

#[test]
fn a_signal_ends_the_wait_and_not_the_deployment() {
    let (one, two, runtime) = (first(), second(), runtime_directory());
    let up = start(&one, &runtime, &[], "running");
    let wait = |args: &[&str]| {
        airssys()
            .args(["deploy", two.path()])
            .args(args)
            .env("XDG_RUNTIME_DIR", &runtime)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let ended = |waiting: std::process::Child, name: &str| {
        let pid = waiting.id().to_string();
        let sent = std::process::Command::new("kill")
            .args([name, &pid])
            .status();
        assert!(sent.unwrap().success());
        let ended = waiting.wait_with_output().unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        (ended.status.code(), stderr)
    };
    let soak = ["--strategy", "blue-green", "--soak", "1h"];
    let rolling = wait(&[&soak[..], &["--format", "json"]].concat());
    until(&up, |now| now["rollout"]["state"] == "soaking");
    let mut queued = wait(&["--queue"]);
    // It is listed while it is compiled, and whoever waits hears of it after that.
    let said = BufReader::new(queued.stdout.as_mut().unwrap()).lines();
    let mut said = said.map(Result::unwrap);
    assert!(said.any(|line| line.starts_with("waiting for the deployment")));
    let order = until(&up, |now| now["waiting"][0]["order"].is_u64());
    let order = order["waiting"][0]["order"].as_u64().unwrap();

    let (code, error) = ended(queued, "-TERM");
    assert_eq!(code, Some(143), "{error}");
    let cancel = format!("`airssys cancel {order}` takes it out of the line");
    let hint = format!("`airssys status` shows it, and {cancel}");
    assert!(error.contains(&hint), "{error}");
    let (code, error) = ended(rolling, "-INT");
    let error: Value = serde_json::from_str(error.lines().last().unwrap()).unwrap();
    let error = &error["error"];
    assert_eq!((code, &error["kind"]), (Some(130), &"interrupted".into()));
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("the deployment goes on"), "{message}");
    let now = until(&up, |_| true);
    assert_eq!(now["rollout"]["state"], "soaking");
    assert_eq!(now["waiting"][0]["order"], order);
}

#[test]
fn a_file_of_the_registry_that_is_gone_or_damaged_is_put_back_from_the_one_that_the_manifest_names()
{
    let (one, runtime) = (first(), runtime_directory());
    let state = one.at("state");
    let boots = |notes: &[&str]| {
        let mut up = start(&one, &runtime, &["--state", &state], notes[0]);
        notes[1..].iter().for_each(|note| up.says(note));
        assert_eq!(up.ask(&["status"]).code, 0);
        up.signal("-TERM");
        assert_eq!(up.end().0, Some(0));
    };
    boots(&["running"]);
    let bytes = std::fs::read(one.at("adder.wasm")).unwrap();
    let all = crate::bad_files::files(std::path::Path::new(&state));
    let mut kept = all
        .iter()
        .filter(|file| std::fs::read(file).unwrap() == bytes);
    let kept = kept.next().unwrap();
    let damage = |damage: Option<&str>| match damage {
        None => std::fs::remove_file(kept).unwrap(),
        Some(text) => std::fs::write(kept, text).unwrap(),
    };
    for (how, note) in [
        (None, "was missing in the registry"),
        (Some("other"), "was damaged in the registry"),
    ] {
        damage(how);
        boots(&[note, "running"]);
        assert_eq!(std::fs::read(kept).unwrap(), bytes);
        boots(&["running"]);
    }

    // Nothing is taken for it that has other bytes.
    std::fs::write(one.at("adder.wasm"), "others").unwrap();
    let (path, named) = (kept.to_str().unwrap(), one.at("adder.wasm"));
    let digest = format!("sha256:{}", kept.file_name().unwrap().to_str().unwrap());
    for (how, is) in [(None, "is missing"), (Some("other"), "is damaged")] {
        damage(how);
        let says = [
            path,
            &named,
            &digest,
            is,
            "help: put a file with those bytes at",
        ];
        one.run("up", &["--state", &state]).fails(6, &says);
        let error = one
            .run("up", &["--state", &state, "--format", "json"])
            .error();
        assert_eq!(error["registry"], "artifact-lost", "{error}");
        assert!(!error["message"].as_str().unwrap().contains("put a file"));
        assert!(error["hint"].as_str().unwrap().contains("put a file"));
    }
    std::fs::write(kept, &bytes).unwrap();
    boots(&["running"]);
}
