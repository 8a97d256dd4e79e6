//! One row, so many operations and no clock: for a tool that counts instructions, whose difference between two numbers of
//! operations is theirs alone.
//!
//! `cargo build --release -p airssys-wasm-benches --example count`, then
//! `valgrind --tool=callgrind target/release/examples/count ask.idle 6400`.

use airssys_wasm_benches::{BenchError, Samples, Workbench, runtime, scenario};

/// Few enough that the pools fit into what such a tool can reserve.
const INSTANCES: u32 = 8;

fn main() {
    let mut words = std::env::args().skip(1);
    let name = words.next();
    let operations = words.next().and_then(|number| number.parse().ok());
    let (Some(name), Some(operations)) = (name, operations) else {
        eprintln!(
            "usage: count ROW OPERATIONS, as in `count ask.idle 6400`; docs/benchmarks.md lists the rows"
        );
        std::process::exit(2);
    };
    if let Err(error) = run(&name, operations) {
        eprintln!("{name}: {error}");
        std::process::exit(1);
    }
}

fn run(name: &str, operations: u64) -> Result<(), BenchError> {
    let bench = Workbench::with_instances(None, true, INSTANCES)?;
    let runtime = runtime(1)?;
    // On a worker, as in `airssys bench`.
    let mut scenario = runtime.block_on(scenario(name, &bench))?;
    let round = runtime.spawn(async move {
        let mut samples = Samples::new()?;
        scenario.round(operations, &mut samples).await?;
        Ok(scenario)
    });
    let scenario = match runtime.block_on(round) {
        Ok(scenario) => scenario?,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    runtime.block_on(scenario.finish())
}
