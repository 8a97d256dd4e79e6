//! Manifests with faults: each is found before anything starts, with its place and what to do, and all at once.

use crate::fixture::{ADDER, App, MISTYPED, NEEDY, Ran, SINK, run};

/// What `check` says of an application; `up` says the same.
fn checked(app: &App) -> Ran {
    let ran = app.run("check", &[]);
    let up = app.run("up", &[]);
    assert_eq!((up.code, &up.stderr), (ran.code, &ran.stderr));
    ran
}

#[test]
fn an_unknown_key() {
    let app = App::new().manifest("[components.a]\nfile = \"a.wasm\"\nmailbx = {}\n");
    checked(&app).fails(
        3,
        &[
            "airssys.toml:5:1: unknown key `mailbx`",
            "did you mean `mailbox`?",
        ],
    );
    let error = app.run("check", &["--format", "json"]).error();
    assert_eq!(
        (error["kind"].as_str(), error["exit_code"].as_u64()),
        (Some("manifest"), Some(3))
    );
    let finding = &error["findings"][0];
    assert_eq!(
        (finding["line"].as_u64(), finding["column"].as_u64()),
        (Some(5), Some(1))
    );
    assert_eq!(finding["hint"], "did you mean `mailbox`?");
}

#[test]
fn a_missing_file() {
    let app = App::new().manifest("[components.a]\nfile = \"a.wasm\"\n");
    checked(&app).fails(
        3,
        &["airssys.toml:4:8: there is no file `a.wasm`", "looked for "],
    );
}

#[test]
fn no_manifest() {
    let app = App::new();
    checked(&app).fails(
        6,
        &[
            "airssys.toml: cannot read the manifest",
            "the directory has no `airssys.toml`",
        ],
    );
    run(&["check", "no/such.toml"]).fails(6, &["no/such.toml"]);
}

#[test]
fn a_manifest_that_is_no_text() {
    let app = App::new();
    std::fs::write(app.at("airssys.toml"), b"\xff\xfe").unwrap();
    checked(&app).fails(3, &["a manifest is UTF-8 text in TOML"]);
    let long = "#".repeat((1 << 20) + 1);
    std::fs::write(app.at("airssys.toml"), long).unwrap();
    checked(&app).fails(3, &["larger than 1 MiB"]);
}

#[test]
fn a_name_given_twice() {
    let app = App::of("a", ADDER)
        .manifest("[components.a]\nfile = \"a.wasm\"\n[components.a]\nfile = \"a.wasm\"\n");
    checked(&app).fails(3, &["airssys.toml:5:", "twice"]);

    let app = App::of("a", SINK).file("in.txt", "x\n").manifest(
        "[components.a]\nfile = \"a.wasm\"\n[sources.a]\nfile = \"in.txt\"\nformat = \"lines\"\nto = \"a\"\nfunction = \"put\"\n",
    );
    checked(&app).fails(
        3,
        &["airssys.toml:5:10: the source `a` has the name of the component in line 3"],
    );
}

#[test]
fn a_name_of_several_parts() {
    let app = App::of("a", ADDER).manifest(
        "[components.\"a/0\"]\nfile = \"a.wasm\"\n[components.a]\nfile = \"a.wasm\"\n[supervisors.\"b/c\"]\n",
    );
    let ran = checked(&app);
    ran.fails(
        3,
        &[
            "airssys.toml:3:13: `a/0` is no name of a component: a name is one part of an address, without `/`",
            "airssys.toml:7:14: `b/c` is no name of a supervisor",
        ],
    );
}

#[test]
fn a_link_to_nowhere() {
    let app = App::of("needy", NEEDY).component("adder", ADDER).manifest(
        "[components.needy]\nfile = \"needy.wasm\"\n\
         links = [ { import = \"test:app/add\", to = \"addr\" }, { import = \"test:app/other\", to = \"adder\" } ]\n\
         [components.adder]\nfile = \"adder.wasm\"\n",
    );
    let ran = checked(&app);
    ran.fails(
        3,
        &["the link of `needy` for `test:app/add` leads to `addr`, and there is no such component"],
    );
    ran.fails(
        3,
        &[
            "did you mean `adder`?",
            "`test:app/other` is not exported",
            "2 errors in ",
        ],
    );
}

#[test]
fn a_link_that_waits_for_longer_than_its_caller_lives() {
    let manifest = |within: &str| {
        format!(
            "[components.needy]\nfile = \"needy.wasm\"\nlimits = {{ wall-per-call = \"1s\" }}\n\
             links = [ {{ import = \"test:app/add\", to = \"adder\"{within} }} ]\n\
             [components.adder]\nfile = \"adder.wasm\"\n"
        )
    };
    let app = App::of("needy", NEEDY).component("adder", ADDER);
    checked(&app.manifest(&manifest(", reply-within = \"3s\""))).fails(
        3,
        &[
            "airssys.toml:6:",
            "waits up to 3s",
            "`needy` itself ends after 1s",
            "`wall-per-call`",
        ],
    );
}

#[test]
fn a_link_whose_types_differ() {
    let app = App::of("importer", MISTYPED).component("adder", ADDER).manifest(
        "[components.importer]\nfile = \"importer.wasm\"\nlinks = [ { import = \"test:app/add\", to = \"adder\" } ]\n\
         [components.adder]\nfile = \"adder.wasm\"\n",
    );
    checked(&app).fails(
        3,
        &[
            "airssys.toml:5:22: `importer` to `adder`:",
            "`add` differs",
            "func(a: u64, b: u64) -> u64",
            "func(a: u32, b: u32) -> u32",
        ],
    );
}

#[test]
fn imports_nobody_provides_are_all_listed() {
    let app = App::of("needy", NEEDY).component("adder", ADDER).manifest(
        "[components.needy]\nfile = \"needy.wasm\"\n[components.adder]\nfile = \"adder.wasm\"\n",
    );
    checked(&app).fails(
        3,
        &[
            "`needy` imports `test:app/add` (add), and nothing provides it",
            "`adder` exports it: add `{ import = \"test:app/add\", to = \"adder\" }` to `links`",
            "`needy` imports `test:app/other` (one, two), and nothing provides it",
            "2 errors in ",
        ],
    );
}

#[test]
fn a_circular_start_order() {
    let app = App::of("a", ADDER).manifest(
        "[components.a]\nfile = \"a.wasm\"\nafter = [\"b\"]\n[components.b]\nfile = \"a.wasm\"\nafter = [\"c\"]\n\
         [components.c]\nfile = \"a.wasm\"\nafter = [\"b\"]\n",
    );
    checked(&app).fails(
        3,
        &["airssys.toml:8:10: the start order is circular: `b` after `c` after `b`"],
    );
}

#[test]
fn circular_links_are_fine() {
    let relay = r#"(component
      (import "test:app/add" (instance $next (export "add" (func (param "a" u32) (param "b" u32) (result u32)))))
      (core func $next (canon lower (func $next "add")))
      (core module $m
        (import "next" "add" (func $next (param i32 i32) (result i32)))
        (func (export "add") (param i32 i32) (result i32) (call $next (local.get 0) (local.get 1))))
      (core instance $i (instantiate $m (with "next" (instance (export "add" (func $next))))))
      (func $add (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
      (instance (export "test:app/add") (export "add" (func $add))))"#;
    let app = App::of("a", relay).manifest(
        "[components.a]\nfile = \"a.wasm\"\nlinks = [ { import = \"test:app/add\", to = \"b\" } ]\n\
         [components.b]\nfile = \"a.wasm\"\nlinks = [ { import = \"test:app/add\", to = \"a\" } ]\n",
    );
    let ran = app.run("check", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    // The circular wait is refused when it happens, by name.
    app.run("call", &["a", "add", "1", "2"])
        .fails(5, &["app/a", "app/b", "for ever"]);
}

#[test]
fn one_walk_finds_everything() {
    let app = App::of("needy", NEEDY).component("adder", ADDER).manifest(
        "[components.needy]\nfile = \"needy.wasm\"\nafter = [\"nobody\"]\nconfig = { x = \"1\" }\n\
         limits = { memory = \"1GiB\" }\nmailbox = { depth = 0 }\n\
         links = [ { import = \"test:app/ad\", to = \"adder\" } ]\n\
         [components.adder]\nfile = \"adder.wasm\"\n[components.gone]\nfile = \"gone.wasm\"\n\
         [options.o]\nsets = \"nobody.x\"\ntype = \"string\"\n\
         [sources.s]\nfile = \"gone.json\"\nto = \"adder\"\nfunction = \"ad\"\nin-flight = 0\n\
         [sources.t]\nfile = \"needy.wasm\"\nto = \"adder\"\nfunction = \"add\"\n\
         [report]\ncounted = { component = \"adder\", function = \"add\" }\n\
         tables = [ { title = \"T\", component = \"ader\", function = \"x\" } ]\n",
    );
    let ran = checked(&app);
    ran.fails(
        3,
        &[
            "`needy` starts after `nobody`",
            "`needy` is configured, and does not export `airssys:actor/init`",
            "the limit `memory` is larger",
            "a mailbox of that depth",
            "`needy` does not import `test:app/ad`",
            "`needy` imports `test:app/add` (add)",
            "`needy` imports `test:app/other` (one, two)",
            "there is no file `gone.wasm`",
            "the option `o` sets `nobody`",
            "there is no file `gone.json`",
            "`adder`: there is no exported function `ad`; did you mean `test:app/add#add`?",
            "0 calls cannot be in flight",
            "`add` of `adder` is func(a: u32, b: u32) -> u32",
            "`add` is func(a: u32, b: u32) -> u32",
            "the report asks `ader`",
        ],
    );
    // In the order of the text.
    let lines: Vec<u32> = ran
        .stderr
        .lines()
        .filter_map(|line| {
            line.split("airssys.toml:")
                .nth(1)?
                .split(':')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    assert!(lines.len() >= 15 && lines.is_sorted(), "{lines:?}");
}

#[test]
fn a_log_that_is_not_granted_stops_nobody() {
    let chatty = r#"(component
      (import "airssys:actor/log@0.1.0" (instance
        (type $l (enum "trace" "debug" "info" "warn" "error"))
        (export "level" (type $level (eq $l)))
        (export "log" (func (param "level" $level) (param "message" string))))))"#;
    for (keys, granted) in [("", &[][..]), ("grants = { log = true }\n", &["log"][..])] {
        let app = App::of("chatty", chatty).manifest(&format!(
            "[components.chatty]\nfile = \"chatty.wasm\"\n{keys}"
        ));
        let report = app.run("check", &["--format", "json"]).json();
        assert_eq!(
            report["components"][0]["grants"],
            serde_json::json!(granted)
        );
    }
}

#[test]
fn items_that_no_mailbox_would_take() {
    let app = |mailbox: &str, item: &str| {
        App::of("sink", SINK).file("in.txt", "a\n").manifest(&format!(
            "[components.sink]\nfile = \"sink.wasm\"\n{mailbox}\n\
             [sources.feed]\nfile = \"in.txt\"\nformat = \"lines\"\nto = \"sink\"\nfunction = \"put\"\n{item}\n"
        ))
    };
    let small = "mailbox = { message-bytes = \"64KiB\" }";
    let refused = app(small, "item-bytes = \"65KiB\"");
    refused.run("check", &[]).fails(
        3,
        &[
            "airssys.toml:11:14: an item of 66560 bytes does not fit the mailbox of `sink`",
            "set `message-bytes` of its `mailbox` to 66560 at least, or `item-bytes` to 65536 at most",
        ],
    );
    app("", "item-bytes = \"2MiB\"")
        .run("check", &[])
        .fails(3, &["which takes messages of 1048576"]);
    for (mailbox, item) in [(small, ""), (small, "item-bytes = \"64KiB\""), ("", "")] {
        let ran = app(mailbox, item).run("check", &[]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    // Without a word of its own the source follows the mailbox: the item ends it, and is not refused as a message.
    let app = app(small, "").file("in.txt", "x".repeat(70_000));
    let ran = app.run("up", &[]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("item 0 is larger than 65536 bytes"),
        "{ran:?}"
    );
}

#[test]
fn a_byte_order_mark_is_no_fault() {
    let mark = "\u{feff}";
    let manifest = format!(
        "{mark}[application]\nname = \"app\"\n[components.sink]\nfile = \"sink.wasm\"\n\
         [sources.feed]\nfile = \"in.txt\"\nformat = \"lines\"\nto = \"sink\"\nfunction = \"put\"\n\
         [sources.more]\nfile = \"in.json\"\nto = \"sink\"\nfunction = \"put\"\n"
    );
    // The sink fails an item that begins with `e`; of JSON it sees the quote.
    let app = App::of("sink", SINK)
        .file("in.txt", format!("{mark}e\na\n"))
        .file("in.json", format!("{mark}[\"b\", \"c\"]"))
        .file("airssys.toml", manifest);
    let report = app.run("up", &["--format", "json"]).json();
    assert_eq!(
        (report["events_in"].as_u64(), report["failed"].as_u64()),
        (Some(4), Some(1)),
        "{report}"
    );
}

#[test]
fn numbers_that_mean_nothing() {
    for (line, at, says) in [
        (
            "health = { threshold = 0 }",
            24,
            "`threshold` counts failed answers",
        ),
        (
            "health = { threshold = -1 }",
            24,
            "a whole number from 0 to 4294967295, found integer `-1`",
        ),
        (
            "limits = { handles = 99999999999999999999 }",
            22,
            "a whole number from 0 to 4294967295, found integer `99999999999999999999`",
        ),
        (
            "mailbox = { message-bytes = \"32MiB\" }",
            29,
            "no message of that size fits a mailbox of 16777216 bytes",
        ),
        (
            "replicas = 0",
            12,
            "a component has 1 to 64 replicas, and not 0",
        ),
    ] {
        let text = format!("[components.adder]\nfile = \"adder.wasm\"\n{line}\n");
        let app = App::of("adder", ADDER).manifest(&text);
        checked(&app).fails(3, &[&format!("airssys.toml:5:{at}: "), says]);
    }
}

#[test]
fn an_empty_file() {
    let app = App::new().file("airssys.toml", "");
    checked(&app).fails(
        3,
        &[
            "`application` is missing",
            "add `[application]` and `name = ",
        ],
    );
}

/// A manifest and a component may call things what they like; a message about them is one line all the same.
#[test]
fn names_that_would_forge_lines_are_escaped() {
    const FORGED: &str = r"url=<https://x/\n\1b[31merror: forged\e2\80\ae>";
    let wat = format!(
        "(component (import \"{FORGED}\" (func)) (import \"{FORGED}2\" (instance (export \"f\" (func)))))"
    );
    let wat = wat.replace(">2", "2>");
    let name = r#""a\nerror: forged\u001b[31m\u202e""#;
    let app = App::new().component("odd", &wat).manifest(&format!(
        "[components.odd]\nfile = \"odd.wasm\"\nlinks = [{{ import = {name}, to = {name} }}]\n\
         [components.{name}]\nfile = {name}\nunder = {name}\n[sources.{name}]\nfile = {name}\nformat = \"lines\"\nto = {name}\nfunction = {name}\n"
    ));
    let ran = app.run("check", &[]);
    ran.fails(3, &["\\n", "\\u{1b}", "\\u{202e}"]);
    for line in ran.stderr.lines() {
        let ours = line.starts_with("error: ") || line.starts_with("  help: ");
        assert!(ours || line.contains(" errors in "), "{line}");
        assert!(!line.starts_with("error: forged"), "{line}");
        assert!(!line.contains(['\u{1b}', '\u{202e}']), "{line:?}");
    }
    let findings = app.run("check", &["--format", "json"]).error()["findings"].clone();
    let missing = |finding: &serde_json::Value| finding["kind"] == "missing-import";
    assert!(
        findings.as_array().unwrap().iter().any(missing),
        "{findings}"
    );
    for finding in findings.as_array().unwrap() {
        for text in [&finding["message"], &finding["hint"]] {
            let text = text.as_str().unwrap_or_default();
            assert!(!text.contains(['\n', '\u{1b}', '\u{202e}']), "{text:?}");
        }
    }
}
