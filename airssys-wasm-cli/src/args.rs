//! The command line: commands, options, and the options that a manifest declares.
//!
//! Owns the grammar. `up` takes options that only its manifest knows, so the arguments are read twice: once for
//! the manifest's path alone, by [`manifest_of_up`], and once with everything that the manifest adds. Help, errors
//! and suggestions are then clap's own for all of them.

#[cfg(feature = "bench")]
pub(crate) mod bench;
mod configuring;
mod control;
mod deploying;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use airssys_wasm_actors::{
    ApplicationSpec, Finding, FindingKind, MANIFEST_FILE, ManifestErrors, OptionKind, OptionSpec,
};
use clap::{Arg, ArgAction, ArgMatches, Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

pub(crate) use configuring::{Changing, Config, ConfigCommand, ConfigSet, ConfigShow};
pub(crate) use control::{
    Chosen, Crashes, CrashesCommand, DeadLetters, LetterFilter, LettersCommand, ListCrashes,
    ListLetters, OneActor, PurgeLetters, ReplayLetters, ShowCrash, ShowLetter, Status, Target,
    Tree,
};
pub(crate) use deploying::{
    Cancel, Deploy, History, Newest, Plan, Registry, RegistryCommand, RegistryGc, RegistryList,
    RegistryShow, Rollback, RolloutArgs, Scale,
};

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    `doctor` found a limit too low; or the application ended in an error: an actor did not start, a source failed, too many
       restarts, or not every event is accounted for
  2    the command line is wrong: an option, an address, a function, a value that is not WAVE
  3    the manifest is wrong, or something it names
  4    a file is not a component that can be loaded
  5    a call got a typed error instead of a reply
  6    a file, the terminal or the machine
  7    no running host was found, another one is in the way, or it refused what was asked
  8    a deployment was rolled back, or failed: the old revisions serve
  9    a deployment was refused: nothing was changed
  130  ended by SIGINT before it was finished (143: by SIGTERM)";

/// Hosts applications of WebAssembly component actors
#[derive(Debug, Parser)]
#[command(name = "airssys", version, after_help = EXIT_CODES, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Globals {
    /// How results and errors are written
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub(crate) format: Format,
    /// Shows no progress, and logs errors only
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// What is logged: error, warn, info, debug, trace, or tracing's directives [env: AIRSSYS_LOG] [default: warn; error with --quiet or --format json]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs: one JSON document on standard output, errors as one on standard error
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Starts an application, and prints its report when every source has ended
    #[command(
        after_help = "An application without sources runs until SIGINT or SIGTERM, and one with `--keep` too. The \
                            first signal stops it in order, the second at once; SIGHUP counts as SIGTERM, unless it is ignored (`nohup`).\nThe manifest may declare options of its own: \
                            `airssys up MANIFEST --help` shows them."
    )]
    Up(Up),
    /// Shows what a running application is doing, actor by actor
    Status(Status),
    /// Shows the supervisors of a running application and their children
    Tree(Tree),
    /// Lists, shows, sends again or throws away what nobody handled in a running application
    DeadLetters(Box<DeadLetters>),
    /// Lists or shows what is known of the actors that crashed in a running application
    Crashes(Crashes),
    /// Ends an actor's incarnation now, in the middle of what it does; its supervisor decides what follows
    Kill(OneActor),
    /// Lets an actor finish what it does, and starts it again on the same mailbox
    Restart(OneActor),
    /// Lets an actor finish what it does, and stops it for good: its mailbox closes
    Stop(OneActor),
    /// Deploys a manifest to the application that runs: plans it, rolls it out, and waits for the end
    #[command(
        after_help = "Exits with 0 when the new revisions are permanent, with 8 if the old ones serve again, and with 9 if nothing \
                            was changed. Ctrl-C ends the wait and not the deployment."
    )]
    Deploy(Deploy),
    /// Shows what `deploy` would do, and changes nothing
    Plan(Plan),
    /// Lists the deployments of a running application, newest first
    History(History),
    /// Skips what is left of the time that a rollout waits
    Promote(Newest),
    /// Stops the clocks of a rollout: no further step begins
    Pause(Newest),
    /// Lets the clocks of a paused rollout go on
    Resume(Newest),
    /// Rolls back what is under way; if nothing is, deploys what was permanent before
    Rollback(Rollback),
    /// Takes an order that waits its turn (`--queue`) out of the line; nothing else changes
    Cancel(Cancel),
    /// Has another number of replicas of a component serve, while it runs: a deployment of what runs, with that number
    #[command(
        after_help = "Nothing that was accepted is lost or fails: a new replica takes messages once all are up, and one that goes \
                            finishes what it has. It is in the history, and a host with `--state` starts with it again."
    )]
    Scale(Scale),
    /// Shows what components are configured with, or changes it while they run
    #[command(
        after_help = "A change is a deployment: it is planned, recorded, and rolled back when a component refuses it. Values that are set are \
                            kept where `--state` says, so secrets are better off in the environment: see docs/configuration.md."
    )]
    Config(Config),
    /// Lists or shows the revisions in the registry, or removes what nothing needs
    Registry(Registry),
    /// Checks everything that `up` checks before it starts anything
    Check(Check),
    /// Starts an application without its sources, calls one function, prints the result, and stops
    #[command(
        after_help = "Arguments and results are WAVE, the component model's text form:\n  \
                            airssys call examples/quakes region region -- -122.4 37.8\n  \
                            airssys call app.toml sum add '{x: 1, y: 2}' '[\"a\", \"b\"]' 'some(3)'"
    )]
    Call(Call),
    /// Shows what a component imports and exports, and what it needs
    Inspect(Inspect),
    /// Shows what this machine allows, what so many actors need, and what to raise
    #[command(
        after_help = "Exits with 0 if everything is high enough, and with 1 if something is too low. Nothing is changed."
    )]
    Doctor(Doctor),
    /// Writes a script that completes commands and options in a shell
    #[command(
        after_help = "bash: `source <(airssys completions bash)` in ~/.bashrc. zsh: the script is `_airssys` in a directory of $fpath. \
                            fish: it is ~/.config/fish/completions/airssys.fish."
    )]
    Completions(Completions),
    /// Drives a scenario, or a function of your own, at a pace; or measures what the host costs, row by row
    #[cfg(feature = "bench")]
    #[command(
        after_help = "Without a scenario: all rows. They and the scenarios are described in docs/benchmarks.md."
    )]
    Bench(Box<bench::Bench>),
    /// Not in this build
    #[cfg(not(feature = "bench"))]
    #[command(hide = true, disable_help_flag = true)]
    Bench(NoBench),
}

/// Whatever was said to a `bench` that is not there.
#[cfg(not(feature = "bench"))]
#[derive(Debug, Args)]
pub(crate) struct NoBench {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _said: Vec<OsString>,
}

impl Command {
    /// The host that is asked, where one is.
    pub(crate) fn target(&self) -> Option<&Target> {
        match self {
            Self::Status(status) => Some(&status.target),
            Self::Tree(tree) => Some(&tree.target),
            Self::DeadLetters(letters) => Some(match &letters.command {
                Some(command) => command.target(),
                None => &letters.list.target,
            }),
            Self::Crashes(crashes) => Some(match &crashes.command {
                Some(CrashesCommand::Show(show)) => &show.target,
                None => &crashes.list.target,
            }),
            Self::Deploy(deploy) => Some(&deploy.target),
            Self::Plan(plan) => Some(&plan.target),
            Self::History(history) => Some(&history.target),
            Self::Promote(newest) | Self::Pause(newest) | Self::Resume(newest) => {
                Some(&newest.target)
            }
            Self::Rollback(rollback) => Some(&rollback.target),
            Self::Cancel(cancel) => Some(&cancel.target),
            Self::Scale(scale) => Some(&scale.target),
            Self::Config(config) => Some(config.command.target()),
            Self::Registry(registry) => Some(registry.command.target()),
            Self::Kill(actor) | Self::Restart(actor) | Self::Stop(actor) => Some(&actor.target),
            _ => None,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The manifest, or a directory that holds an airssys.toml
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: PathBuf,
    /// Reads FILE, or standard input, instead of a source's file; NAME= where there are several sources
    #[arg(long, value_name = "[NAME=]FILE|-")]
    pub(crate) input: Vec<String>,
    /// Appends the audit trail to FILE, one JSON object a line: grants, denials, deaths
    #[arg(long, value_name = "FILE")]
    pub(crate) audit: Option<PathBuf>,
    /// Stays up when every source has ended, until SIGINT or SIGTERM; the report is printed then
    #[arg(long)]
    pub(crate) keep: bool,
    /// Keeps revisions and deployments in DIR, and boots what was deployed last; without it `deploy` works until the host ends
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Serves the control socket at PATH, instead of where `status` and the others look for it
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
    /// Serves no control socket
    #[arg(long, conflicts_with = "control")]
    pub(crate) no_control: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The manifest, or a directory that holds an airssys.toml
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Call {
    /// The manifest, or a directory that holds an airssys.toml
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: PathBuf,
    /// The actor: its name in the manifest, or its whole address
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: String,
    /// The function: its name, or `interface#function`
    #[arg(value_name = "FUNCTION")]
    pub(crate) function: String,
    /// Its arguments, one value each, in WAVE
    #[arg(value_name = "ARGS", allow_negative_numbers = true)]
    pub(crate) args: Vec<String>,
    /// How long the reply is waited for
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = airssys_wasm_actors::parse_duration)]
    pub(crate) within: std::time::Duration,
    /// Appends the audit trail to FILE, one JSON object a line: grants, denials, deaths
    #[arg(long, value_name = "FILE")]
    pub(crate) audit: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The component
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// How many component actors there are to be at once
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) actors: u32,
    /// The engine's profile they run in
    #[arg(long, value_enum, default_value_t, value_name = "PROFILE")]
    pub(crate) profile: EngineProfile,
    /// The same as --format json
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// The engine's profiles, as they are written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum EngineProfile {
    /// 4 GiB of address space for each memory
    Strict,
    /// 16 MiB for each memory, and so many more of them
    #[default]
    Dense,
}

/// Options that commands have already: a manifest cannot declare them again.
const TAKEN: &[&str] = &[
    "input",
    "audit",
    "keep",
    "state",
    "control",
    "no-control",
    "format",
    "quiet",
    "log",
    "help",
    "version",
];

/// The whole grammar, with the options of a manifest added to `up`.
pub(crate) fn grammar(spec: Option<&ApplicationSpec>) -> clap::Command {
    let grammar = Cli::command();
    let Some(spec) = spec else { return grammar };
    let options: Vec<_> = spec
        .options()
        .into_iter()
        .filter(|(name, _)| problem(name.get_ref()).is_none())
        .map(|(name, option)| declared(name.get_ref(), option))
        .collect();
    grammar.mut_subcommand("up", |up| up.args(options))
}

fn declared(name: &str, option: &OptionSpec) -> Arg {
    let kind = option.kind;
    let arg = Arg::new(id(name))
        .long(name.to_owned())
        .help(crate::text::printable(&option.help))
        .help_heading("Options of this application")
        .value_name(kind.as_str().to_uppercase())
        .allow_negative_numbers(kind == OptionKind::Integer)
        .action(ArgAction::Set)
        .value_parser(move |text: &str| match kind.check(text) {
            Ok(()) => Ok(text.to_owned()),
            Err(expected) => Err(format!("expected {expected}")),
        });
    if kind == OptionKind::Boolean {
        return arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true");
    }
    arg
}

/// No option of ours has a dot in its name.
fn id(name: &str) -> String {
    format!("options.{name}")
}

/// The values given for a manifest's options.
pub(crate) fn values(
    spec: &ApplicationSpec,
    up: &ArgMatches,
) -> std::collections::BTreeMap<String, String> {
    let names = spec.tables.options.keys().map(|name| name.get_ref());
    names
        .filter_map(|name| {
            let value = up.try_get_one::<String>(&id(name)).ok().flatten()?;
            Some((name.clone(), value.clone()))
        })
        .collect()
}

/// Why a name cannot be that of an option, if it cannot.
fn problem(name: &str) -> Option<String> {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase());
    let rest = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !(first && rest) {
        return Some("use a-z, 0-9 and `-`, and begin with a letter".to_owned());
    }
    TAKEN
        .contains(&name)
        .then(|| format!("`--{name}` is an option of `airssys` itself; choose another name"))
}

/// Checks that every option of a manifest can be one of the command line.
pub(crate) fn check_options(spec: &ApplicationSpec) -> Result<(), ManifestErrors> {
    let mut findings = Vec::new();
    for (name, _) in spec.options() {
        if let Some(help) = problem(name.get_ref()) {
            let what = format!("`{}` cannot be the name of an option", name.get_ref());
            findings.push(
                Finding::new(FindingKind::BadValue, what)
                    .at(spec.location(name))
                    .help(help),
            );
        }
    }
    if findings.is_empty() {
        Ok(())
    } else {
        Err(ManifestErrors {
            file: spec.file.clone(),
            findings,
        })
    }
}

/// Options that take the next argument as their value.
const WITH_VALUE: &[&str] = &[
    "--input",
    "--audit",
    "--state",
    "--control",
    "--format",
    "--log",
];

/// The manifest of an `up` command line: the first argument that can be one. Options that are not known yet may
/// have values of their own before it, so an argument that names nothing is passed over, unless none names
/// anything.
pub(crate) fn manifest_of_up(argv: &[OsString]) -> Option<PathBuf> {
    let mut words = positionals(argv);
    if words.next()?.to_str() != Some("up") {
        return None;
    }
    let candidates: Vec<&OsString> = words.collect();
    let holds = |path: &Path| path.is_file() || path.join(MANIFEST_FILE).is_file();
    let best = candidates
        .iter()
        .find(|word| holds(Path::new(word)))
        .or(candidates.first())?;
    Some(PathBuf::from(best))
}

fn positionals(argv: &[OsString]) -> impl Iterator<Item = &OsString> {
    let mut words = argv.iter().skip(1);
    let mut only_words = false;
    std::iter::from_fn(move || {
        loop {
            let word = words.next()?;
            match word.to_str() {
                Some("--") if !only_words => only_words = true,
                Some(option) if !only_words && WITH_VALUE.contains(&option) => {
                    words.next();
                }
                Some(option) if !only_words && option.starts_with('-') && option != "-" => {}
                _ => return Some(word),
            }
        }
    })
}

/// Whether the arguments ask for help.
pub(crate) fn asks_for_help(argv: &[OsString]) -> bool {
    argv.iter().any(|word| word == "--help" || word == "-h")
}

/// Whether a command takes `--json` as a flag: those that ask a host do, and whoever answers at once.
fn has_flag_json(name: &str) -> bool {
    let flag = |command: &clap::Command| {
        let mut all = command.get_arguments();
        all.any(|arg| arg.get_long() == Some("json") && !arg.get_action().takes_values())
    };
    let grammar = grammar(None);
    let command = grammar.find_subcommand(name);
    command.is_some_and(|command| flag(command) || command.get_subcommands().any(flag))
}

/// The format asked for, as far as that can be told before the arguments are known to be right.
pub(crate) fn format_of(argv: &[OsString]) -> Format {
    let json = argv
        .windows(2)
        .any(|pair| matches!(pair, [option, value] if option == "--format" && value == "json"));
    // Elsewhere it has a value, or is a mistake.
    let asks = || {
        let command = positionals(argv).next().and_then(|word| word.to_str());
        command.is_some_and(has_flag_json)
    };
    let json = json || argv.iter().any(|word| word == "--format=json");
    if json || (argv.iter().any(|word| word == "--json") && asks()) {
        Format::Json
    } else {
        Format::Text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_grammar_is_sound() {
        grammar(None).debug_assert();
    }

    #[test]
    fn json_is_a_flag_where_the_grammar_says_so() {
        for (line, json) in [
            ("airssys status --json", true),
            ("airssys config set one a=1 --json", true),
            ("airssys scale one 2 --json", true),
            ("airssys doctor --json", true),
            ("airssys up --json app.toml", false),
            ("airssys nothing --json", false),
        ] {
            let format = format_of(&argv(line));
            assert_eq!(matches!(format, Format::Json), json, "{line}");
        }
    }

    #[test]
    fn the_manifest_is_found_among_options() {
        let here = env!("CARGO_MANIFEST_DIR");
        let file = format!("{here}/Cargo.toml");
        for (line, manifest) in [
            ("airssys up app.toml".to_owned(), Some("app.toml")),
            (
                "airssys --format json up --input - app.toml".to_owned(),
                Some("app.toml"),
            ),
            ("airssys up -q app.toml other".to_owned(), Some("app.toml")),
            (
                format!("airssys up --state {here} {file}"),
                Some(file.as_str()),
            ),
            (
                format!("airssys up --poison 25 {file}"),
                Some(file.as_str()),
            ),
            ("airssys up".to_owned(), None),
            ("airssys check app.toml".to_owned(), None),
            ("airssys --log debug".to_owned(), None),
            ("airssys up -- --odd".to_owned(), Some("--odd")),
        ] {
            assert_eq!(
                manifest_of_up(&argv(&line)),
                manifest.map(PathBuf::from),
                "{line}"
            );
        }
    }

    #[test]
    fn the_format_is_known_before_anything_else() {
        assert_eq!(format_of(&argv("airssys up --format json")), Format::Json);
        assert_eq!(format_of(&argv("airssys --format=json")), Format::Json);
        assert_eq!(format_of(&argv("airssys --format text json")), Format::Text);
        assert_eq!(format_of(&argv("airssys -q status --json")), Format::Json);
        assert_eq!(format_of(&argv("airssys bench --json out")), Format::Text);
    }

    fn spec(options: &str) -> ApplicationSpec {
        let text = format!("[application]\nname = \"a\"\n[components.b]\nfile = \"b\"\n{options}");
        ApplicationSpec::parse("airssys.toml".into(), text).unwrap()
    }

    #[test]
    fn declared_options_are_parsed_by_their_type() {
        let spec = spec(
            "[options.poison]\nsets = \"b.poison\"\ntype = \"integer\"\n[options.fast]\nsets = \"b.fast\"\ntype = \"boolean\"",
        );
        let values = |line: &str| {
            let matches = grammar(Some(&spec)).try_get_matches_from(argv(line))?;
            Ok::<_, clap::Error>(values(&spec, matches.subcommand_matches("up").unwrap()))
        };
        let given = values("airssys up m --poison -5 --fast").unwrap();
        assert_eq!(
            (given["poison"].as_str(), given["fast"].as_str()),
            ("-5", "true")
        );
        assert_eq!(
            values("airssys up m --fast=false").unwrap()["fast"],
            "false"
        );
        assert!(values("airssys up m").unwrap().is_empty());
        assert!(
            values("airssys up m --poison many")
                .unwrap_err()
                .to_string()
                .contains("a whole number")
        );
        assert!(
            values("airssys up m --posion 3")
                .unwrap_err()
                .to_string()
                .contains("--poison")
        );
    }

    #[test]
    fn an_option_cannot_hide_one_of_ours() {
        for name in ["input", "help", "Upper", "9"] {
            let spec = spec(&format!(
                "[options.{name}]\nsets = \"b.c\"\ntype = \"string\""
            ));
            let errors = check_options(&spec).unwrap_err();
            assert_eq!(errors.findings[0].at.unwrap().line, 5, "{name}");
            grammar(Some(&spec)).debug_assert();
        }
    }
}
