//! The words of the commands that ask a running host.

use std::path::PathBuf;
use std::time::Duration;

use airssys_wasm_actors::parse_duration;
use clap::{Args, Subcommand};

/// Which host, and how its answer is written.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// The application, where more than one is running
    #[arg(long, value_name = "NAME", conflicts_with = "control")]
    pub(crate) app: Option<String>,
    /// The socket of the host, where it was started with `--control`
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
    /// The answer as one JSON document: short for `--format json`
    #[arg(long)]
    pub(crate) json: bool,
    /// The application to take where more than one is running and none is named
    #[arg(skip)]
    pub(crate) meant: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// A pattern of addresses: `parse`, `quakes/parse`, `quakes/*`, `quakes/**`
    #[arg(value_name = "PATTERN")]
    pub(crate) pattern: Option<String>,
    /// Most actors that are listed
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct Tree {
    #[command(flatten)]
    pub(crate) target: Target,
}

/// `kill`, `restart` and `stop`.
#[derive(Debug, Args)]
pub(crate) struct OneActor {
    /// The actor: its address, or its name in the manifest
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: String,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    pub(crate) command: Option<LettersCommand>,
    #[command(flatten)]
    pub(crate) list: ListLetters,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LettersCommand {
    /// Lists them, oldest first: what `dead-letters` alone does
    List(ListLetters),
    /// Shows one, with its arguments
    Show(ShowLetter),
    /// Sends letters again, oldest first; each is kept until it has been handled
    Replay(ReplayLetters),
    /// Throws letters away, but for those that have just been sent again
    Purge(PurgeLetters),
}

/// Conditions; every one that is given must hold.
#[derive(Debug, Clone, Args)]
pub(crate) struct LetterFilter {
    /// Whom they are for: a pattern of addresses
    #[arg(long, value_name = "PATTERN")]
    pub(crate) actor: Option<String>,
    /// The kind of their reason: callee-died, mailbox-full, stopped …
    #[arg(long, value_name = "KIND")]
    pub(crate) reason: Option<String>,
    /// They became dead letters longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) older_than: Option<Duration>,
    /// They became dead letters no longer ago than this
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) newer_than: Option<Duration>,
    /// They are poison: they have ended their actor too often
    #[arg(long)]
    pub(crate) poison: bool,
    /// The oldest N of them
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct ListLetters {
    #[command(flatten)]
    pub(crate) filter: LetterFilter,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct ShowLetter {
    /// Its number
    #[arg(value_name = "N")]
    pub(crate) sequence: u64,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// Which letters; nothing is no answer.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    /// Their numbers
    #[arg(value_name = "N", conflicts_with_all = ["all", "actor", "reason", "older_than", "newer_than", "poison", "limit"])]
    pub(crate) sequences: Vec<u64>,
    /// All of them
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) filter: LetterFilter,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayLetters {
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    /// Sends poison too
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct PurgeLetters {
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Crashes {
    #[command(subcommand)]
    pub(crate) command: Option<CrashesCommand>,
    #[command(flatten)]
    pub(crate) list: ListCrashes,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CrashesCommand {
    /// Shows one, with its backtrace and the headers of the last messages
    Show(ShowCrash),
}

#[derive(Debug, Args)]
pub(crate) struct ListCrashes {
    /// Who crashed: a pattern of addresses
    #[arg(value_name = "PATTERN")]
    pub(crate) pattern: Option<String>,
    /// Only reports of a higher number than N
    #[arg(long, value_name = "N")]
    pub(crate) after: Option<u64>,
    /// The oldest N of them
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    #[command(flatten)]
    pub(crate) target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct ShowCrash {
    /// Its number
    #[arg(value_name = "N")]
    pub(crate) sequence: u64,
    #[command(flatten)]
    pub(crate) target: Target,
}

impl LettersCommand {
    /// Which host is meant.
    pub(crate) fn target(&self) -> &Target {
        match self {
            Self::List(list) => &list.target,
            Self::Show(show) => &show.target,
            Self::Replay(replay) => &replay.target,
            Self::Purge(purge) => &purge.target,
        }
    }
}
