//! Benchmarks: what the host costs beside what it is made of, in one run.
//!
//! Owns the rows of `airssys bench` and their figures. [`run`] measures group by group: raw wasmtime, bare
//! ractor and our own actors interleaved, on one worker and on two, and gives a [`Report`] whose every
//! comparison is a ratio to a row of the same run. What each row and each baseline is, is in
//! `docs/benchmarks.md`. This crate alone may name wasmtime and ractor beside our crates; nothing depends on
//! it but the command line, by feature. It runs for about two minutes and needs a quiet machine.

mod error;
mod harness;
mod machine;
mod report;
mod rows;
mod scenarios;
mod workbench;

pub use error::BenchError;
pub use harness::{Samples, Scenario, Work, runtime};
pub use machine::Machine;
pub use report::{Report, Row};
pub use rows::{Bar, Group, ROWS, RowSpec, Stat, Unit, row};
pub use scenarios::{rss::rss_child, scenario};
pub use workbench::{ChildCommand, Workbench};

use harness::{Effort, GroupRun};

/// What to measure, and how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// The beginning of a group's or a row's name; `all` for everything.
    pub which: String,
    /// Rounds of every group; `None` for [`ROUNDS`].
    pub rounds: Option<u32>,
    /// A hundredth of the operations, and [`ROUNDS_QUICK`] rounds: to see that it works, not how fast.
    pub quick: bool,
    /// The program that measures memory; the rows `rss.*` need it.
    pub child: Option<ChildCommand>,
}

/// Rounds unless said otherwise. Fewer than seven medians say nothing on a machine that does other things.
pub const ROUNDS: u32 = 7;
/// Rounds of a quick run.
pub const ROUNDS_QUICK: u32 = 2;

/// Where a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The group being measured.
    pub group: Group,
    /// On so many workers.
    pub threads: usize,
    /// The round that begins; 0 warms up.
    pub round: u32,
    /// The last round.
    pub rounds: u32,
}

/// Measures. Blocks until it is done; must not be called from an async runtime.
///
/// # Errors
/// [`BenchError::UnknownRow`] if nothing is called that; any other if something does not answer as it has to.
pub fn run(options: &Options, told: &mut dyn FnMut(Progress)) -> Result<Report, BenchError> {
    let which = options.which.as_str();
    if !ROWS.iter().any(|row| row.is_asked_for(which)) {
        return Err(BenchError::UnknownRow {
            which: which.to_owned(),
        });
    }
    let machine = Machine::here();
    let usual = if options.quick { ROUNDS_QUICK } else { ROUNDS };
    let effort = Effort {
        rounds: options.rounds.unwrap_or(usual).max(1),
        quick: options.quick,
    };
    let bench = Workbench::new(options.child.clone(), options.quick)?;
    let mut rows = Vec::new();
    for group in Group::ALL {
        for threads in [1, 2] {
            let specs = wanted(group, threads, which);
            if specs.is_empty() {
                continue;
            }
            let runtime = runtime(threads)?;
            let prepared = runtime.block_on(prepare(&specs, &bench))?;
            let mut told = |round| {
                told(Progress {
                    group,
                    threads,
                    round,
                    rounds: effort.rounds,
                })
            };
            let measured = GroupRun::new(prepared, threads, effort)?.run(&runtime, &mut told)?;
            rows.extend(report::rows(&measured));
        }
    }
    Ok(Report { machine, rows })
}

/// The rows of a group that are asked for, and their baselines.
fn wanted(group: Group, threads: usize, which: &str) -> Vec<&'static RowSpec> {
    let here = || {
        ROWS.iter()
            .filter(|row| row.group == group && row.threads.contains(&threads))
    };
    let baselines: Vec<_> = here()
        .filter(|row| row.is_asked_for(which))
        .filter_map(|row| row.baseline)
        .collect();
    here()
        .filter(|row| row.is_asked_for(which) || baselines.contains(&row.name))
        .collect()
}

async fn prepare(
    specs: &[&'static RowSpec],
    bench: &Workbench,
) -> Result<Vec<(&'static RowSpec, Box<dyn Scenario>)>, BenchError> {
    let mut prepared = Vec::with_capacity(specs.len());
    for spec in specs {
        prepared.push((*spec, scenario(spec.name, bench).await?));
    }
    Ok(prepared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_brings_its_baseline() {
        let names = |which| -> Vec<_> {
            wanted(Group::Call, 1, which)
                .into_iter()
                .map(|row| row.name)
                .collect()
        };
        assert_eq!(names("call.actor"), ["ractor.call.host", "call.actor"]);
        assert_eq!(names("tokio"), ["tokio.ping"]);
        assert!(wanted(Group::Call, 2, "raw.call").is_empty());
    }

    #[test]
    fn an_unknown_row_is_named_with_those_there_are() {
        let options = Options {
            which: "fast".to_owned(),
            rounds: None,
            quick: true,
            child: None,
        };
        let text = run(&options, &mut |_| {}).unwrap_err().to_string();
        assert!(
            text.contains("`fast`") && text.contains("ask.idle"),
            "{text}"
        );
    }
}
