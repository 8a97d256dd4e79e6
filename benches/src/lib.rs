//! Benchmarks: what the host costs beside what it is made of, and how a system bears a load.
//!
//! Owns the rows of `airssys bench` and its scenarios, and their figures. [`run`] measures rows group by group: raw
//! wasmtime, bare ractor and our own actors interleaved, on one worker and on two, and gives a [`Report`] whose every
//! comparison is a ratio to rows of the same run. [`run_load`] drives a scenario, or a function of the user's own, at a pace,
//! and [`compare`] says what changed between two reports. What each row and scenario is, is in
//! `docs/benchmarks.md`. This crate alone may name wasmtime and ractor beside our crates; nothing depends on it but the
//! command line, by feature. Figures need a quiet machine.

mod compare;
mod error;
mod harness;
mod html;
mod load;
mod machine;
mod report;
mod rows;
mod scenarios;
mod statistics;
mod stop;
mod workbench;

pub use compare::{AnyReport, Change, CompareError, Comparison, Figure, Verdict, compare};
pub use error::BenchError;
pub use harness::{Samples, Scenario, Work, runtime};
pub use load::{
    ErrorCount, Length, LoadPlan, LoadReport, LoadScenario, OwnFunction, Pace, PlanFacts, Series,
    Sizes, Slice, Spread, Target, run_load,
};
pub use machine::Machine;
pub use report::{Report, Row};
pub use rows::{Bar, Group, Make, Making, Measure, RowSpec, Stat, Unit, groups, row, rows};
pub use scenarios::{
    cycles::{CYCLES_MODE, cycles_child},
    rss::rss_child,
    scenario,
};
pub use stop::Stop;
pub use workbench::{ChildCommand, Workbench};

use harness::{Effort, GroupRun, Prepared};

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
    /// Ends the run early, with a report of the rounds that were whole.
    pub stop: Stop,
}

/// Rounds unless said otherwise. Fewer say little on a machine that does other things; these give
/// an interval of four places above and below the median.
pub const ROUNDS: u32 = 15;
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
    if !rows().any(|row| row.is_asked_for(which)) {
        return Err(BenchError::UnknownRow {
            which: which.to_owned(),
        });
    }
    workbench::scratch::remove_left();
    let machine = Machine::here();
    let bench = Workbench::new(options.child.clone(), options.quick)?;
    let mut measured_rows = Vec::new();
    let mut complete = true;
    for group in groups() {
        for threads in [1, 2] {
            let specs = wanted(group, threads, which);
            if specs.is_empty() {
                continue;
            }
            if options.stop.is_asked() {
                complete = false;
                break;
            }
            let effort = Effort {
                rounds: rounds(options, &specs),
                quick: options.quick,
                stop: options.stop.clone(),
            };
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
            let measured =
                GroupRun::new(prepared, threads, effort.clone())?.run(&runtime, &mut told)?;
            complete &= !options.stop.is_asked();
            measured_rows.extend(report::rows(&specs, &measured));
        }
    }
    Ok(Report {
        machine,
        complete,
        rows: measured_rows,
    })
}

/// Rounds of these rows: as many as are asked for, or else as many as each of them needs.
fn rounds(options: &Options, specs: &[&RowSpec]) -> u32 {
    let needed = specs.iter().map(|spec| spec.rounds_least);
    let usual = if options.quick {
        ROUNDS_QUICK
    } else {
        needed.fold(ROUNDS, u32::max)
    };
    options.rounds.unwrap_or(usual).max(1)
}

/// The rows of a group that are asked for, and those that they need.
fn wanted(group: Group, threads: usize, which: &str) -> Vec<&'static RowSpec> {
    let here = || rows().filter(|row| row.group == group && row.threads.contains(&threads));
    let needed: Vec<_> = here()
        .filter(|row| row.is_asked_for(which))
        .flat_map(RowSpec::needs)
        .collect();
    here()
        .filter(|row| row.is_asked_for(which) || needed.contains(&row.name))
        .collect()
}

async fn prepare(
    specs: &[&'static RowSpec],
    bench: &Workbench,
) -> Result<Vec<Prepared>, BenchError> {
    let mut prepared = Vec::with_capacity(specs.len());
    for spec in specs {
        let Measure::Scenario(make) = spec.measure else {
            continue;
        };
        let scenario = match make(bench).await {
            Ok(scenario) => Ok(scenario),
            Err(BenchError::Skipped { why }) => Err(why),
            Err(error) => return Err(error),
        };
        prepared.push(Prepared { spec, scenario });
    }
    Ok(prepared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_brings_its_baseline() {
        let names = |which| -> Vec<_> {
            wanted(Group::new("call"), 1, which)
                .into_iter()
                .map(|row| row.name)
                .collect()
        };
        assert_eq!(names("call.actor"), ["ractor.call.host", "call.actor"]);
        assert_eq!(
            names("call.overhead"),
            [
                "raw.call-async",
                "tokio.ping",
                "call.actor",
                "call.overhead"
            ]
        );
        assert_eq!(names("tokio"), ["tokio.ping"]);
        assert!(wanted(Group::new("call"), 2, "raw.call-val").is_empty());
    }

    #[test]
    fn a_row_has_the_rounds_it_needs_unless_they_are_chosen() {
        let of = |which, rounds, quick| {
            let options = Options {
                which: String::new(),
                rounds,
                quick,
                child: None,
                stop: Stop::default(),
            };
            super::rounds(&options, &[row(which).unwrap()])
        };
        assert_eq!(of("supervised.overhead", None, false), 31);
        assert_eq!(of("restart.floor", None, false), ROUNDS);
        assert_eq!(of("supervised.overhead", Some(7), false), 7);
        assert_eq!(of("supervised.overhead", None, true), ROUNDS_QUICK);
    }

    #[test]
    fn an_unknown_row_is_named_with_those_there_are() {
        let options = Options {
            which: "fast".to_owned(),
            rounds: None,
            quick: true,
            child: None,
            stop: Stop::default(),
        };
        let text = run(&options, &mut |_| {}).unwrap_err().to_string();
        assert!(
            text.contains("`fast`") && text.contains("ask.idle"),
            "{text}"
        );
    }
}
