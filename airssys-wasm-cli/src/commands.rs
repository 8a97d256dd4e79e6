//! The commands: arguments in, result on standard output, or a failure.
//!
//! Owns reading the arguments and choosing the command. Each command is a module with one `run`.

#[cfg(feature = "bench")]
mod bench;
mod call;
mod check;
mod completions;
mod config;
mod control;
mod crashes;
mod dead_letters;
mod deploy;
mod doctor;
mod history;
mod hosting;
mod inspect;
mod life;
mod names;
mod one_actor;
mod registry;
mod status;
mod tree;
mod up;

use std::ffi::OsString;
use std::process::ExitCode;

use airssys_wasm_actors::ApplicationSpec;
use clap::FromArgMatches as _;
use clap::error::ErrorKind;

use crate::args::{self, Cli, Command, Format};
use crate::failure::{Failure, FailureKind};
use crate::logging;

pub(crate) fn run(argv: Vec<OsString>) -> Result<ExitCode, Failure> {
    let format = args::format_of(&argv);
    // A manifest that cannot be read has no options to add; with `--help` that is no reason to show none at all.
    let spec = match args::manifest_of_up(&argv).map(|path| ApplicationSpec::read(&path)) {
        Some(Err(_)) if args::asks_for_help(&argv) => None,
        Some(Err(errors)) => return Err(errors.into()),
        Some(Ok(spec)) => Some(spec),
        None => None,
    };
    let parsed = args::grammar(spec.as_ref())
        .try_get_matches_from(argv)
        .and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ) =>
        {
            return match error.print() {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    Err(Failure::new(FailureKind::Io, error.to_string()))
                }
                // A reader that has gone away is not a failure.
                _ => Ok(ExitCode::SUCCESS),
            };
        }
        Err(error) if format == Format::Json => return Err(Failure::from(error).plain()),
        Err(error) => return Err(error.into()),
    };
    let mut globals = cli.globals;
    if cli.command.target().is_some_and(|target| target.json) {
        globals.format = Format::Json;
    }
    // What rows make crash by the thousand is no news, and writing it down would be in their figures.
    let bench = matches!(cli.command, Command::Bench(_));
    logging::start(&globals, bench)?;
    match cli.command {
        Command::Up(up) => {
            let spec = match spec {
                Some(spec) => spec,
                None => ApplicationSpec::read(&up.manifest)?,
            };
            let values = matches
                .subcommand_matches("up")
                .map(|up| args::values(&spec, up))
                .unwrap_or_default();
            up::run(&globals, &up, &spec, values)
        }
        Command::Check(check) => check::run(&globals, &check),
        Command::Call(call) => call::run(&globals, &call),
        Command::Status(status) => status::run(&globals, &status),
        Command::Tree(tree) => tree::run(&globals, &tree),
        Command::DeadLetters(letters) => dead_letters::run(&globals, &letters),
        Command::Crashes(crashes) => crashes::run(&globals, &crashes),
        Command::Kill(actor) => one_actor::kill(&globals, &actor),
        Command::Restart(actor) => one_actor::restart(&globals, &actor),
        Command::Stop(actor) => one_actor::stop(&globals, &actor),
        Command::Deploy(deploy) => deploy::deploy(&globals, &deploy),
        Command::Plan(plan) => deploy::plan(&globals, plan),
        Command::History(history) => history::run(&globals, &history),
        Command::Promote(newest) => deploy::promote(&globals, &newest),
        Command::Pause(newest) => deploy::pause(&globals, &newest),
        Command::Resume(newest) => deploy::resume(&globals, &newest),
        Command::Rollback(rollback) => deploy::rollback(&globals, &rollback),
        Command::Cancel(cancel) => deploy::cancel(&globals, &cancel),
        Command::Scale(scale) => deploy::scale(&globals, &scale),
        Command::Config(config) => config::run(&globals, &config),
        Command::Registry(registry) => registry::run(&globals, &registry),
        Command::Inspect(inspect) => inspect::run(&globals, &inspect),
        Command::Completions(completions) => completions::run(&completions),
        Command::Doctor(doctor) => doctor::run(&globals, &doctor),
        #[cfg(feature = "bench")]
        Command::Bench(bench) => bench::run(&globals, &bench),
        #[cfg(not(feature = "bench"))]
        Command::Bench(_) => Err(Failure::new(
            FailureKind::Usage,
            "this `airssys` was built without `bench`",
        )
        .hint("build one with it: `cargo run --release -p airssys-wasm-cli --features bench -- bench`")),
    }
}
