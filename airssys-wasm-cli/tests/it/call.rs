//! `airssys call`: values in WAVE, in and out.

use crate::fixture::{ADDER, App, quakes, run};

#[test]
fn a_reply_is_printed_as_wave() {
    let app = App::of("adder", ADDER);
    let ran = app.run("call", &["adder", "add", "2", "40"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (0, "42\n", "")
    );
    let ran = app.run(
        "call",
        &[
            "app/adder",
            "test:app/add#add",
            "2",
            "40",
            "--format",
            "json",
        ],
    );
    assert_eq!(ran.json()["result"], 42);
    assert_eq!(ran.json()["type"], "u32");
}

#[test]
fn what_a_guest_answers_is_escaped() {
    let app = App::of("adder", ADDER);
    let ran = app.run("call", &["adder", "echo", r#""é\u{1b}[31m\n""#]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout.lines().count(), 1);
    assert!(
        !ran.stdout.contains('\u{1b}') && ran.stdout.contains('é'),
        "{ran:?}"
    );
}

#[test]
fn typed_values_come_back_by_name() {
    let ran = run(&[
        "call",
        &quakes(),
        "region",
        "region",
        "--",
        "-122.4",
        "37.8",
    ]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "ok(\"California\")\n"),
        "{ran:?}"
    );
    // A reply that is an error is a reply.
    let ran = run(&["call", &quakes(), "region", "region", "--", "-122.4", "nan"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.starts_with("err(no-such-place("),
        "{}",
        ran.stdout
    );
}

#[test]
fn what_is_not_wave_is_refused_before_anything_starts() {
    let app = App::of("adder", ADDER);
    for (args, says) in [
        (&["1", "two"][..], "u32"),
        (&["1"][..], "2"),
        (&["1", "2", "3"][..], "2"),
        (&["1", "4294967296"][..], "u32"),
        (&["1", "{"][..], "u32"),
        (&["1", "\u{1b}[31m"][..], "not WAVE"),
    ] {
        let ran = app.run("call", &[&["adder", "add"], args].concat());
        ran.fails(2, &[says, "func(a: u32, b: u32) -> u32"]);
        assert_eq!(ran.stderr.matches("func(a").count(), 1, "{}", ran.stderr);
        assert!(!ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
    }
}

#[test]
fn an_address_or_a_function_that_is_not_there() {
    let app = App::of("adder", ADDER);
    app.run("call", &["subtracter", "add"])
        .fails(2, &["no actor `subtracter`", "adder"]);
    app.run("call", &["adder", "ad"])
        .fails(2, &["`ad`", "help: did you mean `test:app/add#add`?"]);
    for (args, hint) in [
        (["adder", "ad"], "did you mean `test:app/add#add`?"),
        (["addr", "add"], "did you mean `adder`?"),
    ] {
        let args = [&args[..], &["--format", "json"]].concat();
        let error = app.run("call", &args).error();
        assert_eq!(error["hint"], hint, "{error}");
        assert!(
            !error["message"].as_str().unwrap().contains(hint),
            "{error}"
        );
    }
}

#[test]
fn a_call_without_a_reply_is_a_typed_error() {
    let app = App::of("adder", ADDER);
    app.run("call", &["adder", "trap"])
        .fails(5, &["actor `app/adder` died", "unreachable"]);
    let error = app
        .run("call", &["adder", "trap", "--format", "json"])
        .error();
    assert_eq!(
        (error["kind"].as_str(), error["call"].as_str()),
        (Some("call"), Some("callee-died"))
    );
    assert_eq!(error["reason"], "unreachable");
}
