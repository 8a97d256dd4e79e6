//! `airssys completions`: a script for a shell, which completes commands, options and their words.
//!
//! Owns nothing but the choice of the shell: the script is made from the grammar. What only a manifest or a running host
//! knows is not completed.

use std::process::ExitCode;

use crate::args::{self, Completions};
use crate::failure::{Failure, FailureKind};
use crate::output;

pub(super) fn run(completions: &Completions) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    let mut grammar = args::grammar(None);
    clap_complete::generate(completions.shell, &mut grammar, "airssys", &mut script);
    let script = String::from_utf8(script).map_err(|error| Failure::of(FailureKind::Io, &error))?;
    output::print(&script)?;
    Ok(ExitCode::SUCCESS)
}
