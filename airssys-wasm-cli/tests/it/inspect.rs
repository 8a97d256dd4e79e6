//! `airssys inspect`: what a component is, offers and needs.

use crate::fixture::{ADDER, App, NEEDY, quakes, run};

#[test]
fn imports_are_sorted_by_who_answers_them() {
    let intake = format!("{}/components/intake.wasm", quakes());
    let report = run(&["inspect", &intake, "--format", "json"]).json();
    let provider = |name: &str| {
        let imports = report["imports"].as_array().unwrap();
        let import = imports
            .iter()
            .find(|import| import["interface"].as_str().unwrap().starts_with(name))
            .unwrap();
        import["provided-by"].as_str().unwrap().to_owned()
    };
    assert_eq!(provider("quakes:app/parse"), "link");
    assert_eq!(provider("quakes:app/types"), "types");

    let classify = format!("{}/components/classify.wasm", quakes());
    let text = run(&["inspect", &classify]).stdout;
    assert!(
        text.contains("airssys:actor/log@0.1.0  — from the host, if `grants` has `log = true`"),
        "{text}"
    );
    assert!(
        text.contains("init: func(config: list<tuple<string, string>>) -> result<_, string>"),
        "{text}"
    );
}

#[test]
fn wasi_is_the_hosts_with_or_without_a_grant() {
    let app = App::new().component(
        "wasi",
        r#"(component
          (import "wasi:random/random@0.2.0" (instance (export "get-random-u64" (func (result u64)))))
          (import "wasi:cli/exit@0.2.3" (instance (export "exit" (func (param "status" (result))))))
          (import "wasi:nn/unknown@0.2.0" (instance (export "f" (func)))))"#,
    );
    let text = run(&["inspect", &app.at("wasi.wasm")]).stdout;
    for line in [
        "wasi:random/random@0.2.0  — from the host, if `grants` has `random = true`",
        "wasi:cli/exit@0.2.3  — from the host, nothing to grant",
        "wasi:nn/unknown@0.2.0  — not provided by this host",
    ] {
        assert!(text.contains(line), "no `{line}` in {text}");
    }
}

#[test]
fn reading_the_configuration_takes_a_grant() {
    let configured =
        include_bytes!("../../../airssys-wasm-actors/tests/guests/components/configured.wasm");
    let app = App::new().file("configured.wasm", configured);
    let text = run(&["inspect", &app.at("configured.wasm")]).stdout;
    let line = "airssys:config/store@0.1.0  — from the host, if `grants` has `config = […]`";
    assert!(text.contains(line), "{text}");
}

#[test]
fn size_digest_and_load_are_told() {
    let app = App::new()
        .component("adder", ADDER)
        .component("needy", NEEDY);
    let first = run(&["inspect", &app.at("adder.wasm"), "--format", "json"]).json();
    let second = run(&["inspect", &app.at("adder.wasm"), "--format", "json"]).json();
    assert_eq!(first["digest"], second["digest"]);
    assert!(first["size_bytes"].as_u64().unwrap() > 100);
    assert_eq!(second["loaded"], "cached");
    assert_eq!(
        first["exports"][0]["functions"][0]["type"],
        "func(a: u32, b: u32) -> u32"
    );
    let text = run(&["inspect", &app.at("needy.wasm")]).stdout;
    assert!(text.contains("exports\n  nothing"), "{text}");
}

#[test]
fn a_component_that_does_not_fit_a_class_says_why() {
    let big = "(component (core module $m (memory 100)) (core instance (instantiate $m)))";
    let app = App::new().component("big", big);
    let report = run(&["inspect", &app.at("big.wasm"), "--format", "json"]).json();
    assert_eq!(
        report["does-not-fit"]["standard"].as_array().unwrap().len(),
        0
    );
    assert_eq!(
        report["does-not-fit"]["tiny"].as_array().unwrap().len(),
        1,
        "{report}"
    );
    let text = run(&["inspect", &app.at("big.wasm")]).stdout;
    assert!(text.contains("does not fit tiny: "), "{text}");
    assert!(
        text.contains("  the component         does not fit      fits     fits     fits\n"),
        "{text}"
    );
}

#[test]
fn every_row_that_a_manifest_can_set_is_shown_for_every_class() {
    let app = App::of("adder", ADDER).manifest(
        "[components.adder]\nfile = \"adder.wasm\"\nlimits = { QQQQQQQQQQQQQQQQQQQQQQ = 1 }\n",
    );
    let text = run(&["inspect", &app.at("adder.wasm")]).stdout;
    let json = run(&["inspect", &app.at("adder.wasm"), "--format", "json"]).json();
    // The parser lists its rows when it meets one that is like none of them.
    let error = app.run("check", &["--format", "json"]).error();
    let hint = error["hint"].as_str().unwrap().to_owned();
    let rows: Vec<_> = hint.split('`').skip(1).step_by(2).collect();
    assert!(rows.contains(&"memory"), "{hint}");
    for row in rows.into_iter().filter(|row| *row != "class") {
        assert!(text.contains(&format!("\n  {row} ")), "no {row} in {text}");
        let of = |class: &str| {
            let limits = &json["limits"][class];
            limits[row]
                .as_u64()
                .or(limits[format!("{row}-ms")].as_u64())
        };
        assert!(of("tiny").unwrap() <= of("trusted").unwrap(), "{row}");
    }
    assert_eq!(json["limits"]["standard"]["memory"], 64 << 20);
    assert_eq!(json["limits"]["standard"]["cpu-per-call-ms"], 1_000);
}

/// Everything of our own that a host provides has to be granted.
#[test]
fn what_the_host_provides_of_its_own_is_shown_with_its_grant() {
    let guests = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../airssys-wasm-actors/tests/guests/components"
    );
    for (file, wanted) in [
        (
            "spawner.wasm",
            &[
                "airssys:actor/spawn@0.1.0  — from the host, if `grants` has `spawn = { components = […] }`",
            ][..],
        ),
        (
            "probe.wasm",
            &[
                "airssys:messaging/messages@0.1.0  — from the host, if `grants` has `messaging = { send = […] }`",
                "airssys:messaging/topics@0.1.0  — from the host, if `grants` has `messaging = { publish",
                "airssys:messaging/timers@0.1.0  — from the host, if `grants` has `messaging = { timers = true }`",
            ],
        ),
    ] {
        let shown = run(&["inspect", &format!("{guests}/{file}")]).stdout;
        for line in wanted {
            assert!(shown.contains(line), "no `{line}` in {shown}");
        }
        assert!(!shown.contains("nothing to grant"), "{shown}");
    }
}
