//! The command line itself: help, mistakes, formats.

use crate::fixture::{ADDER, App, airssys, quakes, ran, run};

#[test]
fn help_names_every_exit_code() {
    let ran = run(&["--help"]);
    assert_eq!(ran.code, 0);
    for code in [
        "  0 ", "  1 ", "  2 ", "  3 ", "  4 ", "  5 ", "  6 ", "  7 ", "  130 ",
    ] {
        assert!(ran.stdout.contains(code), "no {code} in {}", ran.stdout);
    }
    assert_eq!(
        run(&["--version"]).stdout,
        concat!("airssys ", env!("CARGO_PKG_VERSION"), "\n")
    );
    run(&["help"]);
}

#[test]
fn help_that_nobody_reads_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = airssys().arg("--help").stdout(writer).output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn a_misspelt_subcommand_is_told_what_there_is() {
    let said = [
        "error: `crashes` takes one pattern of addresses, or `show N`",
        "see `airssys crashes --help`",
    ];
    run(&["crashes", "shw", "1"]).fails(2, &said);
    let error = run(&["crashes", "shw", "1", "--format", "json"]).error();
    assert_eq!(error["hint"], "see `airssys crashes --help`");
    run(&["dead-letters", "shw", "1"]).fails(2, &["'shw'", "'show'"]);
    run(&["dead-letters", "--limit", "1", "show", "1"]).fails(2, &["'show'", "'--limit"]);
}

#[test]
fn every_shell_is_given_a_script_that_knows_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completions", shell]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{shell}");
        for word in ["airssys", "rollback", "dead-letters", "keep-sources"] {
            assert!(ran.stdout.contains(word), "{shell}: no {word}");
        }
    }
    run(&["completions", "bsh"]).fails(2, &["'bsh'", "'bash'"]);
    run(&["completions"]).fails(2, &["<SHELL>"]);
}

#[test]
fn a_manifests_options_are_in_its_help() {
    let ran = run(&["up", &quakes(), "--help"]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains("--poison <INTEGER>"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("make classify trap on N chosen events"),
        "{}",
        ran.stdout
    );
    let ran = run(&["up", "no/such", "--help"]);
    assert!(ran.code == 0 && !ran.stdout.contains("poison"), "{ran:?}");
}

#[test]
fn an_unknown_option_is_met_with_the_nearest() {
    run(&["up", &quakes(), "--posion", "3"]).fails(2, &["'--posion'", "'--poison'"]);
    run(&["up", "--posion", "3", &quakes()]).fails(2, &["'--posion'", "'--poison'"]);
    let error = run(&["up", &quakes(), "--posion", "3", "--format", "json"]).error();
    assert_eq!(
        (error["kind"].as_str(), error["exit_code"].as_u64()),
        (Some("usage"), Some(2))
    );
    assert!(
        error["hint"].as_str().unwrap().contains("--poison"),
        "{error}"
    );
}

#[test]
fn an_options_value_has_its_type() {
    run(&["up", &quakes(), "--poison", "many"]).fails(2, &["many", "a whole number"]);
    run(&["up", &quakes(), "--poison"]).fails(2, &["--poison"]);
}

#[test]
fn an_input_for_nobody_is_refused() {
    let app = App::of("adder", ADDER).file("in.json", "[]");
    app.run("up", &["--input", &app.at("in.json")])
        .fails(2, &["the manifest has no source"]);
    run(&["up", &quakes(), "--input", "no/such.json"])
        .fails(2, &["there is no input file no/such.json"]);
    run(&["up", &quakes(), "--input", "fed=no/such.json"]).fails(
        2,
        &["the manifest has no source `fed`", "did you mean `feed`?"],
    );
    run(&["up", &quakes(), "--input", "no/such=file.json"])
        .fails(2, &["there is no input file no/such=file.json"]);
}

#[test]
fn an_option_that_would_hide_one_of_ours_is_a_fault_of_the_manifest() {
    let app = App::of("adder", ADDER).manifest(
        "[components.adder]\nfile = \"adder.wasm\"\n[options.input]\nsets = \"adder.x\"\ntype = \"string\"\n",
    );
    app.run("check", &[]).fails(
        3,
        &["airssys.toml:5:10: `input` cannot be the name of an option"],
    );
}

#[cfg(not(feature = "bench"))]
#[test]
fn a_build_without_bench_says_how_to_get_it() {
    for args in [
        &["bench"][..],
        &["bench", "ask", "--quick"],
        &["bench", "--help"],
    ] {
        run(args).fails(2, &["built without `bench`", "--features bench"]);
    }
    assert!(!run(&["--help"]).stdout.contains("bench"));
}

#[test]
fn mistakes_without_a_manifest() {
    run(&[]).fails(2, &["Usage"]);
    run(&["upp"]).fails(2, &["'upp'", "'up'"]);
    run(&["check"]).fails(2, &["MANIFEST"]);
    run(&["check", &quakes(), "--log", "loud"])
        .fails(2, &["error: --log: there is no level `loud`\n"]);
    run(&["check", &quakes(), "--log", "a=b=c"]).fails(2, &["--log", "is not a level"]);
    for (level, says) in [
        ("warm", "did you mean `warn`?"),
        ("foo", "use error, warn"),
        ("", "a level is missing"),
        ("nonsense=", "there is no level ``"),
    ] {
        run(&["check", &quakes(), "--log", level]).fails(2, &["--log", says]);
        let by_variable = ran(airssys()
            .args(["check", &quakes()])
            .env("AIRSSYS_LOG", level));
        // One that is empty is as none.
        if level.is_empty() {
            assert_eq!(by_variable.code, 0, "{by_variable:?}");
        } else {
            by_variable.fails(2, &["AIRSSYS_LOG", says]);
        }
    }
    run(&["check", &quakes(), "--format", "yaml"]).fails(2, &["yaml"]);
}
