//! Who may depend on whom. A new crate is not known here: adding its line is the moment to think about
//! where it stands.

use std::fs;

use serde_json::Value;

use crate::Finding;

/// Every crate of the workspace, and the others that it may use. A crate stands above all it uses.
const LAYERS: &[(&str, &[&str])] = &[
    ("airssys-wasm", &[]),
    ("airssys-wasm-actors", &["airssys-wasm"]),
    (
        "airssys-wasm-benches",
        &["airssys-wasm", "airssys-wasm-actors"],
    ),
    (
        "airssys-wasm-console",
        &["airssys-wasm", "airssys-wasm-actors"],
    ),
    (
        "airssys-wasm-cli",
        &[
            "airssys-wasm",
            "airssys-wasm-actors",
            "airssys-wasm-console",
            "airssys-wasm-benches",
        ],
    ),
];

/// Dependencies that one crate hides from all others. Benches measure the raw thing beside ours.
const HIDDEN: &[(&str, &[&str])] = &[
    ("wasmtime", &["airssys-wasm", "airssys-wasm-benches"]),
    ("cranelift", &["airssys-wasm", "airssys-wasm-benches"]),
    ("ractor", &["airssys-wasm-actors", "airssys-wasm-benches"]),
    ("axum", &["airssys-wasm-console"]),
    ("hyper", &["airssys-wasm-console"]),
    ("clap", &["airssys-wasm-cli"]),
    ("indicatif", &["airssys-wasm-cli"]),
];

pub(crate) fn check(metadata: &Value) -> Vec<Finding> {
    let packages = metadata["packages"].as_array().expect("packages");
    packages.iter().flat_map(check_package).collect()
}

fn check_package(package: &Value) -> Vec<Finding> {
    let name = package["name"].as_str().expect("a package has a name");
    let manifest = package["manifest_path"].as_str().unwrap_or_default();
    let text = fs::read_to_string(manifest).unwrap_or_default();
    let finding = |dependency: &str, what: String| Finding {
        path: tail_of(manifest),
        line: line_of(&text, dependency),
        what,
    };
    let Some((_, may_use)) = LAYERS.iter().find(|(layer, _)| *layer == name) else {
        let what = format!(
            "{name} has no place yet: add it, and the crates it may use, to LAYERS in tests/tidy/dependencies.rs"
        );
        return vec![finding("name", what)];
    };
    let mut findings = Vec::new();
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let on = dependency["name"].as_str().unwrap_or_default();
        if LAYERS.iter().any(|(layer, _)| *layer == on) && !may_use.contains(&on) {
            findings.push(finding(on, format!(
                "{name} may not use {on}: dependencies point down. Move what is shared into the lower crate"
            )));
        }
        if on == "airssys-wasm-benches" && dependency["optional"] != true {
            findings.push(finding(
                on,
                format!("{name} takes {on} by feature only: make it `optional = true`"),
            ));
        }
        for (hidden, by) in HIDDEN {
            let family = on == *hidden
                || on
                    .strip_prefix(hidden)
                    .is_some_and(|rest| rest.starts_with(['-', '_']));
            if family && !by.contains(&name) {
                findings.push(finding(
                    on,
                    format!(
                        "{name} may not name {on}: only {} may. Ask that crate for what is needed",
                        by.join(" and ")
                    ),
                ));
            }
        }
        if on == "anyhow" && name != "airssys-wasm-cli" && dependency["kind"].is_null() {
            findings.push(finding(
                on,
                format!(
                    "{name} is a library: give its errors a type (thiserror), anyhow is for the CLI"
                ),
            ));
        }
    }
    findings
}

/// `airssys-wasm/Cargo.toml`, wherever the workspace lies.
fn tail_of(manifest: &str) -> String {
    let parts: Vec<&str> = manifest.rsplit(['/', '\\']).take(2).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}

fn line_of(manifest: &str, dependency: &str) -> usize {
    let names = |line: &str| {
        let rest = line.strip_prefix(dependency);
        rest.is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
    };
    manifest.lines().position(names).map_or(1, |at| at + 1)
}

#[test]
fn what_points_up_or_names_a_hidden_crate_is_found() {
    let package = |name: &str, on: &str| {
        let dependency = serde_json::json!({ "name": on, "kind": null, "optional": false });
        serde_json::json!({ "packages": [{ "name": name, "dependencies": [dependency] }] })
    };
    for (name, on, wrong) in [
        ("airssys-wasm-actors", "airssys-wasm", 0),
        ("airssys-wasm", "airssys-wasm-actors", 1),
        ("airssys-wasm-cli", "airssys-wasm-benches", 1),
        ("airssys-wasm", "wasmtime-wasi", 0),
        ("airssys-wasm-actors", "wasmtime-wasi", 1),
        ("airssys-wasm-cli", "ractor", 1),
        ("airssys-wasm-benches", "ractor", 0),
        ("airssys-wasm-actors", "anyhow", 1),
        ("airssys-wasm-console", "axum", 0),
        ("airssys-wasm-cli", "hyper-util", 1),
        ("airssys-wasm-newcomer", "serde", 1),
    ] {
        assert_eq!(check(&package(name, on)).len(), wrong, "{name} on {on}");
    }
}
