//! The rules about single files, each a function from a file to what is wrong with it.

use crate::Finding;
use crate::code::{code_only, tests_begin};
use crate::tree::SourceFile;

/// Longest source file, in lines. Past 500 lines of code a file is asking to be two nouns; this is where
/// asking ends.
const LINES_MAX: usize = 700;

/// File and directory names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &[
    "base", "common", "core", "helper", "helpers", "manager", "prelude", "types", "util", "utils",
];

/// The modules that may register functions with a linker: each asks the gate before it acts.
const HOST_FUNCTIONS: &[&str] = &[
    "airssys-wasm/src/log.rs",
    "airssys-wasm/src/configuration/host.rs",
    "airssys-wasm/src/wasi.rs",
    "airssys-wasm/src/wasi/",
    "airssys-wasm/src/dynamic.rs",
    "airssys-wasm/src/dynamic/",
];

/// Those of them whose functions ask the gate in another file.
const ASKING_ELSEWHERE: &[&str] = &[
    // wasmtime-wasi's own functions: whatever gives a guest its first handle is shadowed by ours in wasi/.
    "airssys-wasm/src/wasi.rs",
    // Linked imports ask in `ImportHost::start_import`, which the Store's data implements in host.rs.
    "airssys-wasm/src/dynamic/import.rs",
];

/// What registers a function, or a whole interface of them, with a linker.
const REGISTERING: &[&str] = &["func_wrap", "func_new", "add_to_linker"];

/// The modules that may hold `unsafe`, one for each reason: taking compiled code for code, and lifting and
/// lowering values.
const UNSAFE: &[&str] = &[
    "airssys-wasm/src/artifact.rs",
    "airssys-wasm/src/dynamic.rs",
    "airssys-wasm/src/dynamic/",
];

/// Written in pieces, so that this file does not hold what it forbids.
const MACHINE: &[(&str, &str)] = &[
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("/Use", "rs/"), "a path of one machine"),
    (concat!("://ind", "ex."), "the address of a registry"),
    (concat!("://sta", "tic."), "the address of a registry"),
    (concat!("://regi", "stry."), "the address of a registry"),
    (concat!("://fil", "es."), "the address of a registry"),
    (concat!("://de", "b."), "the address of a registry"),
    (concat!("://secu", "rity."), "the address of a registry"),
];

pub(crate) fn check(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Findings {
        path: &file.path,
        found: Vec::new(),
    };
    machine(file, &mut findings);
    if file.path.ends_with(".rs") {
        names(file, &mut findings);
        let head = file.text.lines().take(5);
        if !head.into_iter().any(|line| line.contains("DO NOT EDIT")) {
            shape(file, &mut findings);
            code(file, &mut findings);
        }
    }
    findings.found
}

struct Findings<'a> {
    path: &'a str,
    found: Vec<Finding>,
}

impl Findings<'_> {
    fn add(&mut self, line: usize, what: impl Into<String>) {
        self.found.push(Finding {
            path: self.path.to_owned(),
            line,
            what: what.into(),
        });
    }
}

/// Nothing says where, or with what registry, it was made. Committed components are searched too.
fn machine(file: &SourceFile, findings: &mut Findings<'_>) {
    for (pattern, what) in MACHINE {
        if let Some(at) = file.text.find(pattern) {
            let line = 1 + file
                .text
                .bytes()
                .take(at)
                .filter(|&byte| byte == b'\n')
                .count();
            findings.add(
                line,
                format!("{what} (`{pattern}`): write it relative, or leave it out"),
            );
        }
    }
}

fn names(file: &SourceFile, findings: &mut Findings<'_>) {
    let path = file.path.trim_end_matches(".rs");
    if path.ends_with("/mod") {
        findings.add(
            1,
            "no mod.rs here: name it after its module, `foo.rs` beside `foo/`",
        );
    }
    for part in path.split('/').filter(|part| EMPTY_NAMES.contains(part)) {
        findings.add(
            1,
            format!("`{part}` says nothing: name the file after the noun it owns"),
        );
    }
    let parts: Vec<&str> = file.path.split('/').collect();
    if parts.len() == 3 && parts[1] == "tests" {
        findings.add(
            1,
            "one integration binary per crate: make it a module of tests/it/main.rs",
        );
    }
}

fn shape(file: &SourceFile, findings: &mut Findings<'_>) {
    if !file.text.starts_with("//! ") {
        findings.add(
            1,
            "opens without `//!`: say what the file owns, does not do, and costs",
        );
    }
    let lines = file.text.lines().count();
    if lines >= LINES_MAX {
        findings.add(
            LINES_MAX,
            format!("{lines} lines, {LINES_MAX} is the end: split it by noun"),
        );
    }
}

fn code(file: &SourceFile, findings: &mut Findings<'_>) {
    let code = code_only(&file.text);
    let is_test_file = file.path.contains("/tests/") || file.path.ends_with("/tests.rs");
    let tests_from = if is_test_file {
        0
    } else {
        tests_begin(&code).unwrap_or(usize::MAX)
    };
    let in_engine = file.path.starts_with("airssys-wasm/src/");
    let raw: Vec<&str> = file.text.lines().collect();

    for (index, line) in code.lines().enumerate() {
        let number = index + 1;
        let in_tests = number >= tests_from;
        if ["todo!", "unimplemented!"]
            .iter()
            .any(|left| line.contains(left))
        {
            findings.add(
                number,
                "left undone: finish it, or leave it out of the change",
            );
        }
        if line.contains("#[ignore") {
            findings.add(
                number,
                "a test that does not run tests nothing: make it run, or remove it",
            );
        }
        if in_tests && line.contains("thread::sleep") {
            findings.add(
                number,
                "no sleeping in tests: wait for the event, or pause tokio's time",
            );
        }
        if has_no_bound(line) && !gives_reason(&raw, index) {
            findings.add(
                number,
                "an unbounded channel: bound it, or say beside it what does, as `// unbounded: …`",
            );
        }
        if is_unsafe(line) && !listed(UNSAFE, &file.path) {
            findings.add(number, "`unsafe` outside UNSAFE (tests/tidy/rules.rs): there is one module for each reason");
        }
        if !in_engine || in_tests {
            continue;
        }
        if ["tokio::spawn", "spawn_blocking", "task::spawn"]
            .iter()
            .any(|spawn| line.contains(spawn))
        {
            findings.add(
                number,
                "the engine spawns no task: give the future to the caller",
            );
        }
        if REGISTERING.iter().any(|call| line.contains(call)) {
            if !listed(HOST_FUNCTIONS, &file.path) {
                findings.add(number, "a host function outside HOST_FUNCTIONS (tests/tidy/rules.rs): put it in a module that asks the gate");
            } else if !code.contains("gate") && !listed(ASKING_ELSEWHERE, &file.path) {
                findings.add(number, "a host function in a file that never asks the gate: make the call an Access and ask first");
            }
        }
    }
}

fn has_no_bound(line: &str) -> bool {
    let calls = [
        "unbounded(",
        "unbounded::<",
        "unbounded_channel(",
        "unbounded_channel::<",
    ];
    calls.iter().any(|call| line.contains(call)) && !line.contains("fn ")
}

/// On the line itself, or in the comment right above it.
fn gives_reason(raw: &[&str], index: usize) -> bool {
    let says = |line: &str| line.contains("// unbounded: ");
    let above = raw[..index]
        .iter()
        .rev()
        .take_while(|line| line.trim_start().starts_with("//"));
    says(raw[index]) || above.into_iter().any(|line| says(line))
}

fn is_unsafe(line: &str) -> bool {
    let lifted = ["allow(unsafe_code", "expect(unsafe_code"];
    let word = |line: &str| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == "unsafe")
    };
    // `#[unsafe(no_mangle)]` is a word of its own; the attribute is unsafe all the same.
    word(line) || lifted.iter().any(|attribute| line.contains(attribute))
}

fn listed(places: &[&str], path: &str) -> bool {
    places.iter().any(|place| match place.ends_with('/') {
        true => path.starts_with(place),
        false => path == *place,
    })
}

#[test]
fn each_rule_finds_what_it_forbids() {
    let engine = "airssys-wasm/src/engine.rs";
    let log = "airssys-wasm/src/log.rs";
    let test = "airssys-wasm/tests/it/call.rs";
    let long = format!("//! x\n{}", "//\n".repeat(LINES_MAX));
    let home = concat!("see /ro", "ot/notes\n");
    for (path, text, found) in [
        (engine, "//! x\nfn f() {}\n", None),
        (engine, "fn f() {}\n", Some("opens without")),
        (engine, "// Generated. DO NOT EDIT!\nunsafe {}\n", None),
        (engine, long.as_str(), Some("split it by noun")),
        (
            "airssys-wasm/src/mailbox/mod.rs",
            "//! x\n",
            Some("no mod.rs"),
        ),
        ("airssys-wasm/src/utils.rs", "//! x\n", Some("says nothing")),
        (
            "airssys-wasm/tests/call.rs",
            "//! x\n",
            Some("one integration binary"),
        ),
        ("docs/a.md", home, Some("a path of one machine")),
        (engine, "//! x\nfn f() { todo!() }\n", Some("left undone")),
        (
            engine,
            "//! x\n// todo!() is not code\nfn f() { g(\"todo!()\") }\n",
            None,
        ),
        (test, "//! x\n#[ignore]\n", Some("does not run")),
        (
            test,
            "//! x\nfn f() { std::thread::sleep(d) }\n",
            Some("no sleeping"),
        ),
        (engine, "//! x\nfn f() { thread::sleep(d) }\n", None),
        (
            engine,
            "//! x\nlet c = unbounded();\n",
            Some("unbounded channel"),
        ),
        (
            engine,
            "//! x\n// unbounded: permits bound it\nlet c = unbounded();\n",
            None,
        ),
        (
            engine,
            "//! x\nlet c = unbounded(); // unbounded: permits bound it\n",
            None,
        ),
        (engine, "//! x\nunsafe { f() }\n", Some("`unsafe` outside")),
        (
            "airssys-wasm/src/dynamic/lift.rs",
            "//! x\nunsafe { f() }\n",
            None,
        ),
        (engine, "//! x\n#![deny(unsafe_code)]\n", None),
        (engine, "//! x\ntokio::spawn(f);\n", Some("spawns no task")),
        (
            engine,
            "//! x\nlinker.func_wrap(f);\n",
            Some("outside HOST_FUNCTIONS"),
        ),
        (
            log,
            "//! x\nlinker.func_wrap(f);\n",
            Some("never asks the gate"),
        ),
        (log, "//! x\nuse crate::gate;\nlinker.func_wrap(f);\n", None),
        (
            engine,
            "//! x\n#[cfg(test)]\nmod tests {\nlinker.func_wrap(f);\n}\n",
            None,
        ),
    ] {
        let file = SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let findings = check(&file);
        match found {
            Some(what) => assert!(
                findings.len() == 1 && findings[0].what.contains(what),
                "{path}: {text}: {:?}",
                findings.iter().map(ToString::to_string).collect::<Vec<_>>()
            ),
            None => assert!(findings.is_empty(), "{path}: {text}: {}", findings[0]),
        }
    }
}
