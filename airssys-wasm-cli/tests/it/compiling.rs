//! Where components are compiled: in a process of the same program, and only if they are not in the cache.

use crate::fixture::{ADDER, App, Ran, airssys, ran};

const LOGGED: &str = "compiling in a process of its own";

/// Checks an application with a compile cache of its own, and logs who compiles.
fn check(app: &App, variables: &[(&str, &str)]) -> Ran {
    let mut command = airssys();
    command
        .env("XDG_CACHE_HOME", app.at("cache"))
        .envs(variables.iter().copied())
        .args(["check", app.path(), "--log", "airssys_wasm=debug"]);
    ran(&mut command)
}

#[test]
fn a_component_is_compiled_in_a_process_of_its_own_once() {
    let app = App::of("adder", ADDER);
    let compiled = check(&app, &[]);
    assert_eq!(compiled.code, 0, "{compiled:?}");
    assert_eq!(compiled.stderr.matches(LOGGED).count(), 1, "{compiled:?}");
    assert!(compiled.stdout.contains("compiled in"), "{compiled:?}");
    let cached = check(&app, &[]);
    assert!(cached.stdout.contains("from the cache"), "{cached:?}");
    assert!(!cached.stderr.contains(LOGGED), "{cached:?}");
    // And what one has compiled is what the other takes.
    let in_process = check(&app, &[("AIRSSYS_COMPILER", "in-process")]);
    assert!(
        in_process.stdout.contains("from the cache"),
        "{in_process:?}"
    );
}

#[test]
fn who_trusts_it_has_it_compiled_in_the_host() {
    let app = App::of("adder", ADDER);
    let compiled = check(&app, &[("AIRSSYS_COMPILER", "in-process")]);
    assert_eq!(compiled.code, 0, "{compiled:?}");
    assert!(compiled.stdout.contains("compiled in"), "{compiled:?}");
    assert!(!compiled.stderr.contains(LOGGED), "{compiled:?}");
    let wrong = check(&app, &[("AIRSSYS_COMPILER", "nobody\u{1b}")]);
    wrong.fails(2, &["AIRSSYS_COMPILER", "`nobody\\u{1b}`", "`in-process`"]);
}

/// A host that was taken for a compiler would have another one started, and so on.
#[test]
fn a_compiler_starts_no_compiler() {
    let app = App::of("adder", ADDER);
    let refused = check(&app, &[("AIRSSYS_WASM_COMPILER", "1")]);
    refused.fails(6, &["was started as a compiler"]);
}

#[test]
fn nobody_is_told_of_the_command_and_who_types_it_is_told_what_it_is() {
    let help = ran(airssys().arg("--help"));
    assert!(!help.stdout.contains("compile-for-host"), "{help:?}");
    let typed = ran(airssys().arg("compile-for-host"));
    typed.fails(1, &["cannot compile for a host"]);
}
