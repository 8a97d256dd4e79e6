//! Calls, asks and payloads under criterion: the scenarios of `airssys bench`, to compare one with its own past
//! (`cargo bench -p airssys-wasm-benches -- --save-baseline before`). Bars and ratios are `airssys bench`'s.

use std::time::Duration;

use airssys_wasm_benches::{Samples, Workbench, row, runtime, scenario};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};

/// Groups of rows that are worth seeing side by side.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "call",
        &["raw.call-async", "ractor.call.host", "call.actor"],
    ),
    ("ask", &["ractor.call.guest", "ask.idle"]),
    ("payload", &["raw.echo.64k", "payload.64k"]),
];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (name, rows) in GROUPS {
        let mut group = criterion.benchmark_group(*name);
        for row in *rows {
            for threads in [1, 2] {
                if let Err(error) = measure(&mut group, row, threads) {
                    eprintln!("{row}: {error}");
                    std::process::exit(1);
                }
            }
        }
        group.finish();
    }
    criterion.final_summary();
}

fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    threads: usize,
) -> Result<(), airssys_wasm_benches::BenchError> {
    if row(name).is_none_or(|row| !row.threads.contains(&threads)) {
        return Ok(());
    }
    let runtime = runtime(threads)?;
    let bench = Workbench::new(None, false)?;
    // On a worker, as in `airssys bench`: the scenario goes into the task and comes back.
    let mut kept = Some(runtime.block_on(scenario(name, &bench))?);
    let mut failed = None;
    group.bench_function(format!("{name}/{threads}"), |bencher| {
        bencher.iter_custom(|iterations| {
            let Some(mut scenario) = kept.take() else {
                return Duration::from_nanos(1);
            };
            let round = runtime.spawn(async move {
                let mut samples = Samples::new()?;
                scenario.round(iterations, &mut samples).await?;
                Ok((scenario, samples.of(iterations)))
            });
            match runtime.block_on(round) {
                Ok(Ok((scenario, took))) => {
                    kept = Some(scenario);
                    took
                }
                Ok(Err(error)) => {
                    failed = Some(error);
                    Duration::from_nanos(1)
                }
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        });
    });
    if let Some(scenario) = kept {
        runtime.block_on(scenario.finish())?;
    }
    failed.map_or(Ok(()), Err)
}
