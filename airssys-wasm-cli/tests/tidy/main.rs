//! The house rules that no lint can state, as a test: `cargo test -p airssys-wasm-cli --test tidy`.
//!
//! Reads every file of the repository and `cargo metadata`, and fails with a list of `file:line: what
//! is wrong and what to do`. It looks at text, not at meaning: a rule here is worth having only while
//! it is simple enough to be right. It uses none of the project's crates and takes under a second.
#![cfg(test)]

mod code;
mod dependencies;
mod links;
mod named;
mod rules;
mod tree;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A broken rule, and where.
struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("the crate lies in the workspace")
        .to_path_buf()
}

fn assert_none(findings: &[Finding]) {
    let list: String = findings
        .iter()
        .map(|finding| format!("\n  {finding}"))
        .collect();
    assert!(
        findings.is_empty(),
        "{} to put right:{list}",
        findings.len()
    );
}

#[test]
fn every_file_keeps_the_house_rules() {
    let files = tree::read(&root());
    assert!(
        files
            .iter()
            .any(|file| file.path == "airssys-wasm/src/lib.rs"),
        "the tree was not found"
    );
    let findings: Vec<Finding> = files.iter().flat_map(rules::check).collect();
    assert_none(&findings);
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    assert_none(&links::check(&tree::read(&root())));
}

#[test]
fn every_hostile_case_has_the_tests_that_its_page_names() {
    assert_none(&named::check(&named::HOSTILE, &tree::read(&root())));
}

#[test]
fn every_scenario_of_supervision_has_a_test_of_its_number() {
    assert_none(&named::check(&named::SUPERVISION, &tree::read(&root())));
}

#[test]
fn dependencies_point_down() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--offline",
            "--no-deps",
            "--format-version",
            "1",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    assert_none(&dependencies::check(&metadata));
}
