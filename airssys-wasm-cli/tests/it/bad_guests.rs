//! Guests that misbehave while they start or while they work: what the operator is told, and that nothing is lost.

use crate::fixture::{App, SINK, with_init};

fn init(imports: &str, with: &str, module: &str, body: &str) -> App {
    App::of("guest", &with_init(imports, with, module, body))
}

#[test]
fn init_that_traps() {
    let app = init("", "", "", "unreachable");
    app.run("up", &[]).fails(
        1,
        &[
            "actor `app/guest` did not start",
            "`init` failed: unreachable",
        ],
    );
    let error = app.run("up", &["--format", "json"]).error();
    assert_eq!(
        (error["kind"].as_str(), error["address"].as_str()),
        (Some("application"), Some("app/guest"))
    );
}

#[test]
fn init_that_never_ends() {
    let app = App::of("guest", &with_init("", "", "", "(loop (br 0))")).manifest(
        "[components.guest]\nfile = \"guest.wasm\"\nlimits = { cpu-per-call = \"20ms\" }\n",
    );
    app.run("up", &[])
        .fails(1, &["actor `app/guest` did not start", "cpu-deadline"]);
}

#[test]
fn init_that_eats_memory() {
    // It grows until it is refused, and then gives up as an allocator would.
    let body = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let app = init("", "", "", body);
    app.run("up", &[])
        .fails(1, &["actor `app/guest` did not start", "memory"]);
}

#[test]
fn init_that_exits() {
    let exit = r#"(import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))
      (core func $exit (canon lower (func $exit "exit")))"#;
    let with = r#"(with "exit" (instance (export "exit" (func $exit))))"#;
    let module = r#"(import "exit" "exit" (func $exit (param i32)))"#;
    init(exit, with, module, "(call $exit (i32.const 1))")
        .run("up", &[])
        .fails(1, &["actor `app/guest` did not start", "exited"]);
}

#[test]
fn init_that_refuses() {
    let body = r#"(i32.store8 (i32.const 16) (i32.const 1))
      (i32.store (i32.const 20) (i32.const 32))
      (i32.store (i32.const 24) (i32.const 11))
      (return (i32.const 16))"#;
    let module = r#"(data (i32.const 32) "no\1b[31m key")"#;
    let ran = init("", "", module, body).run("up", &[]);
    ran.fails(
        1,
        &[
            "actor `app/guest` did not start",
            "`init` refused: no",
            "key",
        ],
    );
    assert!(!ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
}

/// An application that feeds the lines of a text to the sink.
fn fed(lines: &str, more: &str) -> App {
    App::of("sink", SINK).file("in.txt", lines).manifest(&format!(
        "{more}[components.sink]\nfile = \"sink.wasm\"\nlimits = {{ cpu-per-call = \"20ms\" }}\n\
         [sources.feed]\nfile = \"in.txt\"\nformat = \"lines\"\nto = \"sink\"\nfunction = \"put\"\n"
    ))
}

#[test]
fn only_the_items_a_guest_died_of_fail() {
    let app = fed("a\nt\nb\ne\nl\nc\n", "");
    let ran = app.run("up", &["--format", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let report = ran.json();
    assert_eq!(report["events_in"], 6);
    assert_eq!(
        (report["counted"].as_u64(), report["failed"].as_u64()),
        (Some(3), Some(3))
    );
    assert_eq!(report["restarts"], 2);
    let failures = report["failures"].to_string();
    assert!(
        failures.contains("unreachable") && failures.contains("cpu-deadline"),
        "{failures}"
    );
    assert!(failures.contains("will not"), "{failures}");
}

#[test]
fn too_many_restarts_end_the_application() {
    let app = fed(
        &"t\n".repeat(50),
        "[supervision]\nrestarts = { max = 3, within = \"60s\" }\n",
    );
    let ran = app.run("up", &[]);
    ran.fails(
        1,
        &[
            "the application `app` has ended: crash-loop",
            "`app/sink`: unreachable",
            "raise `restarts`",
        ],
    );
}

#[test]
fn an_account_that_does_not_balance_is_said() {
    // The sink forgets its count when it dies: what it had counted is gone.
    let app = fed(
        "a\nb\nt\nc\n",
        "[report]\ncounted = { component = \"sink\", function = \"total\" }\n",
    );
    let ran = app.run("up", &["--format", "json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(ran.json()["accounted"], false);
    let message = ran.error()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("4 events in, but 1 counted + 0 rejected + 1 failed"),
        "{message}"
    );
}
