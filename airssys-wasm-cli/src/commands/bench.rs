//! `airssys bench`: what the host costs beside what it is made of.
//!
//! Owns the words of the command line for it; what is measured, and how, is in the crate behind the feature
//! `bench`. This binary also is the child in which memory is measured, by an option that no help shows.

use std::ffi::OsString;
use std::process::ExitCode;

use airssys_wasm_benches::{BenchError, ChildCommand, Options, Progress as At, rss_child};

use crate::args::{Bench, Format, Globals};
use crate::failure::{Failure, FailureKind};
use crate::output;
use crate::progress::Progress;

/// Takes the number of actors, and whether to call them.
const CHILD: &str = "--rss-child";

pub(super) fn run(globals: &Globals, bench: &Bench) -> Result<ExitCode, Failure> {
    if let [actors, mode] = bench.rss_child.as_slice() {
        let actors = actors.parse().map_err(|_| {
            Failure::new(
                FailureKind::Usage,
                format!("{CHILD}: `{actors}` is no number of actors"),
            )
        })?;
        rss_child(actors, mode == "called").map_err(|error| failed(&error))?;
        return Ok(ExitCode::SUCCESS);
    }
    let program = std::env::current_exe().map_err(|error| Failure::of(FailureKind::Io, &error))?;
    let options = Options {
        which: bench.which.clone(),
        rounds: bench.rounds,
        quick: bench.quick,
        child: Some(ChildCommand {
            program,
            args: vec![OsString::from("bench"), OsString::from(CHILD)],
        }),
    };
    let progress = Progress::new(globals.quiet);
    let report = airssys_wasm_benches::run(&options, &mut |at| progress.say(line(at)))
        .map_err(|error| failed(&error))?;
    drop(progress);
    let json =
        serde_json::to_value(&report).map_err(|error| Failure::of(FailureKind::Io, &error))?;
    if let Some(file) = &bench.json {
        std::fs::write(file, format!("{json:#}\n")).map_err(|error| {
            Failure::new(
                FailureKind::Io,
                format!("cannot write {}: {error}", file.display()),
            )
        })?;
    }
    match globals.format {
        Format::Text => output::print(&report.to_string())?,
        Format::Json => output::print_json(&json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn line(at: At) -> String {
    let workers = if at.threads == 1 { "worker" } else { "workers" };
    let round = match at.round {
        0 => "warming up".to_owned(),
        round => format!("round {round} of {}", at.rounds),
    };
    format!("{} on {} {workers}: {round}", at.group.as_str(), at.threads)
}

fn failed(error: &BenchError) -> Failure {
    let kind = match error {
        BenchError::UnknownRow { .. } => FailureKind::Usage,
        _ => FailureKind::Io,
    };
    Failure::of(kind, error)
}
