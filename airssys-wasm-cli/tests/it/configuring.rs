//! `airssys config`: shown, set, refused, unset, read again, and there when the host boots again.

use std::io::Read as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::fixture::{App, quakes, runtime_directory};
use crate::running_host::{Up, start};

const CONFIGURED: &[u8] =
    include_bytes!("../../../airssys-wasm-actors/tests/guests/components/configured.wasm");

/// Answers an import, and is never asked.
const DECIDER: &str = r#"(component
  (core module $m (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "ask") (param i32 i32) (result i32)
      (i32.store (i32.const 20) (i32.const 0)) (i32.const 16)))
  (core instance $i (instantiate $m))
  (func $ask (param "what" string) (result string)
    (canon lift (core func $i "ask") (memory $i "memory") (realloc (func $i "realloc"))))
  (instance (export "test:probe/decider@0.1.0") (export "ask" (func $ask))))"#;

fn application() -> App {
    let app = App::of("decider", DECIDER).manifest(
        "[components.decider]\nfile = \"decider.wasm\"\n[components.one]\nfile = \"configured.wasm\"\n\
         links = [{ import = \"test:probe/decider\", to = \"decider\" }]\n\
         config = { mode = \"slow\" }\nconfig-file = \"one.toml\"\nconfig-env = { path = \"PATH\" }\n\
         grants = { config = [\"**\"] }\n",
    );
    std::fs::write(app.at("configured.wasm"), CONFIGURED).unwrap();
    std::fs::write(app.at("one.toml"), "level = 1\n").unwrap();
    app
}

/// Where a registry has these bytes.
fn kept_in(state: &str, bytes: &[u8]) -> PathBuf {
    let shards = std::fs::read_dir(format!("{state}/artifacts")).unwrap();
    let files = shards.flat_map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap());
    let mut files = files.map(|file| file.unwrap().path());
    let same = |path: &PathBuf| std::fs::read(path).unwrap() == bytes;
    files.find(same).unwrap()
}

/// Each key with its layer.
fn layers(up: &Up) -> Vec<String> {
    let shown = up.ask(&["config", "show", "one", "--json"]).json();
    let keys = shown["components"][0]["keys"].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    keys.iter()
        .map(|key| {
            assert_eq!(key["value"], Value::Null, "values are not asked for");
            format!("{}: {}", text(&key["key"]), text(&key["layer"]))
        })
        .collect()
}

#[test]
fn a_configuration_is_shown_set_unset_and_read_again_while_it_is_used() {
    let (app, runtime) = (application(), runtime_directory());
    let state = app.at("state");
    let mut up = start(&app, &runtime, &["--state", &state], "running");
    let before = ["level: file", "mode: manifest", "path: environment"];
    assert_eq!(layers(&up), before);
    let shown = up.ask(&["config", "show", "--values"]).stdout;
    assert!(
        shown.contains("slow") && shown.contains("(not shown)"),
        "{shown}"
    );
    assert!(!shown.contains("/bin"), "{shown}");

    let planned = up.ask(&["config", "set", "one", "mode=fast", "--plan"]);
    assert_eq!(planned.code, 0, "{planned:?}");
    assert!(planned.stdout.contains("reconfigure `one`"), "{planned:?}");
    assert_eq!(layers(&up), before);
    let set = up.ask(&["config", "set", "one", "mode=a=b", "--why", "it is late"]);
    assert_eq!(set.code, 0, "{set:?}");
    assert!(set.stdout.contains("config: ~ mode"), "{set:?}");
    assert!(!set.stdout.contains("a=b"), "{set:?}");
    assert_eq!(
        layers(&up),
        ["level: file", "mode: set", "path: environment"]
    );
    let shown = up.ask(&["config", "show", "one", "--values"]).stdout;
    assert!(shown.contains("a=b"), "{shown}");
    let history = up.ask(&["history", "--limit", "1"]).stdout;
    assert!(
        history.contains("config of one: set mode: it is late"),
        "{history}"
    );
    let again = up.ask(&["config", "set", "one", "mode=a=b"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.stdout.contains("nothing changes"), "{again:?}");

    let refused = up.ask(&["config", "set", "one", "mode=x", "verdict=never"]);
    assert_eq!(refused.code, 8, "{refused:?}");
    let hook = "`on-config-changed` refused";
    assert!(refused.stderr.contains(hook), "{refused:?}");
    assert!(!refused.stderr.contains("never"), "{refused:?}");
    assert_eq!(
        layers(&up),
        ["level: file", "mode: set", "path: environment"]
    );
    up.ask(&["config", "set", "none", "a=1"])
        .fails(7, &["there is no component `none`", "did you mean `one`?"]);
    up.ask(&["config", "set", "one", "a"])
        .fails(2, &["`a` is no `KEY=VALUE`"]);
    up.ask(&["config", "set", "one", "mode=x", "level=1", "mode=y"])
        .fails(2, &["`mode` is to be set twice", "nothing was set"]);
    up.ask(&["config", "reload", "decider"])
        .fails(9, &["`decider` has no `config-file` to read again"]);
    up.ask(&["config", "unset", "one", "level"])
        .fails(9, &["of the layer `file`"]);
    up.ask(&["config", "show", "none"])
        .fails(7, &["there is no component `none`", "did you mean `one`?"]);
    up.ask(&["config", "set", "app/nobody", "a=1"])
        .fails(7, &["no component `nobody`", "`decider`, `one`"]);
    let whole = up.ask(&["config", "show", "app/one", "--json"]).json();
    assert_eq!(whole["components"][0]["component"], "one");

    std::fs::write(app.at("one.toml"), "level = 2\nnew = true\n").unwrap();
    let reloaded = up.ask(&["config", "reload"]);
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    assert!(
        reloaded.stdout.contains("config: + new, ~ level"),
        "{reloaded:?}"
    );
    std::fs::write(app.at("one.toml"), "level = [\n").unwrap();
    up.ask(&["config", "reload", "one"])
        .fails(9, &["is not TOML"]);
    std::fs::write(app.at("one.toml"), "level = 2\n").unwrap();

    up.signal("-KILL");
    assert_eq!(up.end().0, None);
    let up = start(&app, &runtime, &["--state", &state], "running");
    assert_eq!(
        layers(&up),
        ["level: file", "mode: set", "path: environment"]
    );
    // A manifest that is deployed has other layers below what is set.
    let deployed = up.ask(&["deploy", app.path()]);
    assert_eq!(deployed.code, 0, "{deployed:?}");
    assert_eq!(
        layers(&up),
        ["level: file", "mode: set", "path: environment"]
    );
    let unset = up.ask(&["config", "unset", "one", "mode"]);
    assert_eq!(unset.code, 0, "{unset:?}");
    assert_eq!(layers(&up), before);
    // What a deployment had set comes back with it.
    let back = up.ask(&["rollback"]);
    assert_eq!(back.code, 0, "{back:?}");
    assert_eq!(
        layers(&up),
        ["level: file", "mode: set", "path: environment"]
    );
}

#[test]
fn a_change_puts_back_what_the_registry_has_lost_or_says_what_to_do() {
    let (app, runtime) = (application(), runtime_directory());
    let state = app.at("state");
    let mut up = start(&app, &runtime, &["--state", &state], "running");
    up.signal("-KILL");
    assert_eq!(up.end().0, None);
    let up = start(&app, &runtime, &["--state", &state], "running");
    // What was booted from the registry is put back there from where the manifest names it, or it is said what to do.
    let kept = kept_in(&state, CONFIGURED);
    for damage in [None, Some("other")] {
        match damage {
            None => std::fs::remove_file(&kept).unwrap(),
            Some(bytes) => std::fs::write(&kept, bytes).unwrap(),
        }
        let value = format!("mode=b{}", damage.unwrap_or_default());
        let set = up.ask(&["config", "set", "one", &value]);
        assert_eq!(set.code, 0, "{set:?}");
        assert!(set.stdout.contains("was put back from"), "{set:?}");
        assert_eq!(std::fs::read(&kept).unwrap(), CONFIGURED);
    }
    std::fs::remove_file(&kept).unwrap();
    std::fs::rename(app.at("configured.wasm"), app.at("away.wasm")).unwrap();
    let hint = format!("put a file with those bytes at {}", kept.display());
    up.ask(&["config", "set", "one", "mode=c"])
        .fails(9, &["the file of `app/one`, revision 1, is missing", &hint]);
    std::fs::rename(app.at("away.wasm"), app.at("configured.wasm")).unwrap();
}

#[test]
fn a_short_value_that_a_guest_spells_in_its_refusal_is_nowhere() {
    let app = App::of("decider", DECIDER).manifest(
        "[components.classify]\nfile = \"classify.wasm\"\ngrants = { log = true }\nconfig = { poison = \"0\" }\n",
    );
    let classify = format!("{}/components/classify.wasm", quakes());
    std::fs::copy(classify, app.at("classify.wasm")).unwrap();
    let runtime = runtime_directory();
    let mut up = start(&app, &runtime, &[], "running");
    let refused = up.ask(&["config", "set", "classify", "poison=abc"]);
    assert_eq!(refused.code, 8, "{refused:?}");
    assert!(refused.stderr.contains("[left out]"), "{refused:?}");
    for text in [&refused.stdout, &refused.stderr] {
        assert!(!text.contains("abc"), "{refused:?}");
    }
    up.signal("-TERM");
    let mut log = String::new();
    up.stderr.read_to_string(&mut log).unwrap();
    assert!(!log.contains("abc"), "{log}");
}

#[test]
fn an_option_sets_a_key_of_a_component_with_a_dot_in_its_name() {
    let app = application().manifest(
        "[components.on]\nfile = \"decider.wasm\"\n[components.\"on.e\"]\nfile = \"configured.wasm\"\n\
         links = [{ import = \"test:probe/decider\", to = \"on\" }]\ngrants = { config = [\"**\"] }\n\
         [options.level]\nsets = \"on.e.level\"\ntype = \"integer\"\n",
    );
    let up = start(&app, &runtime_directory(), &["--level", "7"], "running");
    let shown = up.ask(&["config", "show", "--values", "--json"]).json();
    let of = |name: &str| {
        let all = shown["components"].as_array().unwrap();
        let found = all.iter().find(|one| one["component"] == name);
        found.map_or(Value::Null, |one| one["keys"][0].clone())
    };
    assert_eq!(of("on.e")["key"], "level", "{shown}");
    assert_eq!(of("on.e")["value"], "7", "{shown}");
    assert_eq!(of("on"), Value::Null, "{shown}");
}
