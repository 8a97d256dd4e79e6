//! `airssys`: hosts applications of WebAssembly component actors from the command line.
//!
//! Owns the terminal: arguments, exit codes, signals, what is printed where. Results go to standard output and
//! nothing else does; logs, progress and errors go to standard error. Whatever a guest could have written is
//! escaped before it reaches a terminal. Everything else is in the library crates: this one decides nothing.

mod args;
mod commands;
mod compiling;
mod failure;
mod logging;
mod output;
mod progress;
mod signals;
mod table;
mod text;

use std::process::ExitCode;

fn main() -> ExitCode {
    let argv: Vec<_> = std::env::args_os().collect();
    if compiling::is_asked_for(&argv) {
        return airssys_wasm::serve_compiler();
    }
    // Wanted before the arguments are known to be right, so that a mistake in them is told in that format too.
    let format = args::format_of(&argv);
    match commands::run(argv) {
        Ok(code) => code,
        Err(failure) => failure.report(format),
    }
}
