//! The command line of `airssys bench`.
//!
//! Owns its words and their bounds; what they mean is `commands/bench.rs`'s.

use std::path::PathBuf;
use std::time::Duration;

use airssys_wasm_actors::parse_duration;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

/// Most operations at a time: each is a task and may have two actors of its own.
const CONCURRENCY_MAX: u64 = 4_096;

/// The help that all scenarios share.
const LOAD_HELP: &str = "\
A closed loop (the default) sends the next operation when the last one has ended. With --rate it is an open
loop: operations are due at fixed times, and latency counts from there, so that waiting behind a slow one is
not left out. Ctrl-C ends the run with the results so far.
What each scenario does is described in docs/benchmarks.md.";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    pub(crate) what: Option<BenchWhat>,
    #[command(flatten)]
    pub(crate) rows: RowsOptions,
    /// Measures the memory of so many actors in this process; for this program's own use
    #[arg(long, num_args = 2, hide = true)]
    pub(crate) rss_child: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchWhat {
    /// Every row: what the host costs, as ratios to what it is made of
    All(RowsOptions),
    /// Some rows, by the beginning of the name of a group or a row: `rows ask`, `rows payload.64k`
    Rows(Rows),
    /// Every row about supervision: restarts, many children, exits beside a service, what a message pays for it
    Supervision(RowsOptions),
    /// Every row about deployments: what a route costs a message, pauses of upgrades, deploys, rollback, boot
    Deploy(RowsOptions),
    /// The host calls a component and has its reply
    #[command(after_help = LOAD_HELP)]
    Call(Load),
    /// The host calls a component, which asks another over a link
    #[command(after_help = LOAD_HELP)]
    Ask(Load),
    /// The host casts 64 messages to a component, and has the reply of a call behind them
    #[command(after_help = LOAD_HELP)]
    Cast(Load),
    /// The same from many senders (8 unless said otherwise) to one component
    #[command(after_help = LOAD_HELP)]
    FanIn(Load),
    /// The host calls many components at once and waits for all
    #[command(after_help = LOAD_HELP)]
    FanOut(Load),
    /// The host calls the first of a chain of linked components
    #[command(after_help = LOAD_HELP)]
    Pipeline(Load),
    /// A component asks another with bytes, which come back: 16 B to 1 MiB
    #[command(after_help = LOAD_HELP)]
    Payload(Load),
    /// An actor is spawned, answers, and is stopped
    #[command(after_help = LOAD_HELP)]
    Spawn(Load),
    /// An actor is made to trap, and answers again
    #[command(after_help = LOAD_HELP)]
    Restart(Load),
    /// One of many idle actors is called, chosen at random
    #[command(after_help = LOAD_HELP)]
    Density(Load),
    /// Of a hundred operations 70 calls, 20 asks, 5 payloads of 1 KiB, 4 casts, 1 restart
    #[command(after_help = LOAD_HELP)]
    Mixed(Load),
    /// What changed between two reports written with --json
    Compare(Compare),
    /// No scenario: told what there is
    #[command(external_subcommand)]
    Other(Vec<String>),
}

#[derive(Debug, Args)]
pub(crate) struct RowsOptions {
    /// Writes the report to FILE as JSON, too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Writes the report to FILE as a page
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Rounds; every round runs every row of a group once [default: 15, with --quick 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: Option<u32>,
    /// A hundredth of the work: to see that it runs, not how fast
    #[arg(long)]
    pub(crate) quick: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Rows {
    /// The beginning of the name of a group or a row
    #[arg(value_name = "WHICH", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) which: String,
    #[command(flatten)]
    pub(crate) options: RowsOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// The report of before
    #[arg(value_name = "BEFORE.json")]
    pub(crate) before: PathBuf,
    /// The report of after
    #[arg(value_name = "AFTER.json")]
    pub(crate) after: PathBuf,
    /// Writes the comparison to FILE as a page
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// How a scenario is driven.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Operations at a time; of an open loop, the most [default: 1, fan-in 8, open loop 64]
    #[arg(long, short = 'c', value_name = "N", value_parser = clap::value_parser!(u64).range(1..=CONCURRENCY_MAX))]
    pub(crate) concurrency: Option<u64>,
    /// Open loop: operations in a second, whether or not the last ones have ended
    #[arg(long, value_name = "R", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Ends after this time
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = positive, conflicts_with = "count")]
    pub(crate) duration: Duration,
    /// Ends after so many operations instead
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Driven before, and not counted; 0s for none
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = any_time)]
    pub(crate) warm_up: Duration,
    /// Worker threads, which the driving tasks share with the actors [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=256))]
    pub(crate) threads: Option<u64>,
    /// payload: bytes there and back, instead of a series for each of eight sizes; may be given again
    #[arg(long, value_name = "SIZE", value_parser = payload_size)]
    pub(crate) size: Vec<u32>,
    /// fan-out: components called at once [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) receivers: Option<u32>,
    /// pipeline: components in the chain [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=30))]
    pub(crate) stages: Option<u32>,
    /// density: idle actors [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) actors: Option<u32>,
    /// call: measures what else can be called, too: tokio channels, ractor, a closure mailbox
    #[arg(long)]
    pub(crate) rivals: bool,
    /// Drives a function of your own: the manifest, or a directory that holds an airssys.toml
    #[arg(long, value_name = "MANIFEST", requires = "function")]
    pub(crate) manifest: Option<PathBuf>,
    /// The function of your own, as `actor#interface#function` or `actor#function`
    #[arg(long, value_name = "ACTOR#FUNCTION", requires = "manifest")]
    pub(crate) function: Option<String>,
    /// Its arguments, one value each, in WAVE; the last option, as all that follows belongs to it
    #[arg(long, value_name = "WAVE", num_args = 1.., allow_negative_numbers = true, requires = "manifest")]
    pub(crate) args: Vec<String>,
    /// How long a reply of your own function is waited for [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = positive, requires = "manifest")]
    pub(crate) within: Option<Duration>,
    /// Writes the report to FILE as JSON, too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Writes the report to FILE as a page
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.01..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("expected operations in a second, from 0.01 to 10000000".to_owned()),
    }
}

/// `0s` too.
fn any_time(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0s" | "0ms" => Ok(Duration::ZERO),
        text => positive(text),
    }
}

fn positive(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

/// `64`, `64 KiB`: at most what one message may have.
fn payload_size(text: &str) -> Result<u32, String> {
    const SIZE_MAX: u64 = 1 << 20;
    let bytes = match text.parse::<u64>() {
        Ok(bytes) => bytes,
        Err(_) => airssys_wasm_actors::parse_size(text).map_err(|error| error.to_string())?,
    };
    u32::try_from(bytes)
        .ok()
        .filter(|_| bytes <= SIZE_MAX)
        .ok_or_else(|| "expected at most 1MiB, the largest message a mailbox takes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_sizes_have_bounds() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "nan", "inf", "many", "1e9"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        assert_eq!(payload_size("16"), Ok(16));
        assert_eq!(payload_size("64KiB"), Ok(65_536));
        for wrong in ["1048577", "2MiB", "-1", "big"] {
            assert!(payload_size(wrong).is_err(), "{wrong}");
        }
        assert!(positive("0s").is_err());
        assert_eq!(any_time("0s"), Ok(Duration::ZERO));
        assert_eq!(positive("2s"), Ok(Duration::from_secs(2)));
    }
}
