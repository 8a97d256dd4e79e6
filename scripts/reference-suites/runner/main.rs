//! Runs the component model's reference tests: `reference-suite DIRECTORY EXPECTED`.
//!
//! Owns the way from a directory of `.wast` files to counts: every component is loaded by the engine, linked, and
//! spawned as an actor; every `invoke` is a message to it. A trap must end the actor, and an actor that has ended stays
//! ended, as an instance in the tests does. Files of the groups `binary` and `validation` ask only whether a component
//! is loaded or refused.
//!
//! EXPECTED lists what does not pass, one directive a line, with the reason. The run fails on anything else,
//! and on a line of EXPECTED that passes after all. The group `async` is left out: it needs what the profile refuses.

mod expected;
mod run;
mod values;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use expected::Expected;
use run::{Outcome, Suite};

/// The groups of the suite, and what is asked of each.
const GROUPS: [(&str, &str); 5] = [
    ("values", "through actors"),
    ("linking", "through actors"),
    ("resources", "through actors"),
    ("binary", "by the loader"),
    ("validation", "by the loader"),
];

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(directory), Some(expected)) = (args.next(), args.next()) else {
        return Err("usage: reference-suite DIRECTORY EXPECTED".into());
    };
    let mut expected = Expected::read(&expected)?;
    let mut suite = Suite::start().await?;
    let mut unexpected = Vec::new();
    let mut sums = (0_u32, 0_u32, 0_u32);
    for (group, how) in GROUPS {
        println!("{group} ({how})");
        for path in files(&directory.join(group))? {
            let file = name(&directory, &path);
            let text = std::fs::read_to_string(&path)?;
            let mut passed = 0_u32;
            let mut failed = 0_u32;
            let mut unasked = 0_u32;
            for (line, outcome) in suite.file(&text).await {
                if matches!(outcome, Outcome::Unasked) {
                    unasked += 1;
                    continue;
                }
                match (outcome, expected.take(&file, line)) {
                    (Outcome::Passed, None) => passed += 1,
                    (Outcome::Passed, Some(why)) => unexpected.push(format!(
                        "{file}:{line}: passes, and is listed as not passing: {why}"
                    )),
                    (_, Some(_)) => failed += 1,
                    (Outcome::Failed(why), None) => {
                        failed += 1;
                        unexpected.push(format!("{file}:{line}: {why}"));
                    }
                    (Outcome::Unasked, None) => {}
                }
            }
            sums = (sums.0 + passed, sums.1 + failed, sums.2 + unasked);
            println!(
                "  {file}: {passed} passed, {failed} did not{}",
                without(unasked)
            );
        }
    }
    unexpected.extend(
        expected
            .left()
            .map(|line| format!("{line}: listed, but not run")),
    );
    println!(
        "{} passed, {} did not{}; async: left out",
        sums.0,
        sums.1,
        without(sums.2)
    );
    if unexpected.is_empty() {
        println!("all that did not pass is listed with its reason");
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} unexpected:", unexpected.len());
    for line in unexpected {
        println!("  {line}");
    }
    Ok(ExitCode::FAILURE)
}

/// What could not be asked, because its component is one of those that did not pass.
fn without(unasked: u32) -> String {
    match unasked {
        0 => String::new(),
        unasked => format!(", {unasked} without their component"),
    }
}

/// The `.wast` files of a group, in order.
fn files(group: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(group)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "wast")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn name(directory: &Path, path: &Path) -> String {
    path.strip_prefix(directory)
        .unwrap_or(path)
        .display()
        .to_string()
}
