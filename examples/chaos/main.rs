//! Chaos: a tree of a thousand component actors under load, something of it killed every 5 ms, and then the accounts.
//!
//! Run it with `cargo run --release --example chaos -- 60 1`: seconds, and the seed of every
//! choice. It fails if a check does: every call has one end, every cast was handled or is a dead letter, the tree is
//! whole again, nobody is left without a supervisor, and no two incarnations of one child were there at once.

mod checks;
mod history;
mod load;
mod random;
mod tree;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use airssys_wasm::{CacheLocation, Engine, EngineConfig};
use airssys_wasm_actors::{System, SystemConfig};

use checks::Findings;
use history::History;
use load::{Load, Sent};
use tree::{ACTORS, Tree};

/// From one kill to the next.
const KILL_EVERY: Duration = Duration::from_millis(5);
/// Events that the log may be behind before it loses some.
const EVENTS_BEHIND_MAX: usize = 1 << 18;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let seed = match arguments.next() {
        Some(text) => text.parse()?,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    println!(
        "{seconds} s, seed {seed}: {ACTORS} component actors, a kill every {KILL_EVERY:?}, {} senders",
        load::SENDERS
    );
    let findings = run(Duration::from_secs(seconds), seed).await?;
    if findings.is_empty() {
        println!("every check holds");
        return Ok(ExitCode::SUCCESS);
    }
    for finding in findings.iter() {
        eprintln!("error: {finding}");
    }
    Ok(ExitCode::FAILURE)
}

async fn run(how_long: Duration, seed: u64) -> Result<Findings, Box<dyn Error>> {
    let engine = Engine::new(EngineConfig {
        cache: CacheLocation::Off,
        // Not one more: an incarnation that outlives its end leaves no room for its successor.
        pool_instances_max: ACTORS,
        ..EngineConfig::default()
    })?;
    let system = System::start(SystemConfig {
        events_capacity: EVENTS_BEHIND_MAX,
        root_intensity: tree::OFTEN,
        ..SystemConfig::new(engine.clone())
    })
    .await?;
    let history = tokio::spawn(History::of(system.events()));
    let tree = Arc::new(Tree::start(&system, &engine).await?);

    let until = Instant::now() + how_long;
    let load = Load::start(&tree, seed, until);
    let kills = load::kill(&tree, seed, until, KILL_EVERY).await;
    let sent = load.end().await?;

    let mut findings = Findings::default();
    let began = Instant::now();
    checks::settle(&tree, &mut findings).await;
    let settled = began.elapsed();
    let counters = system.counters();
    println!(
        "killed: {} actors and {} supervisors; {} restarts of actors, {} of supervisors; at rest and whole {settled:.0?} later",
        kills.actors,
        kills.supervisors,
        counters.restarts,
        tree.supervisors
            .iter()
            .map(|one| one.restarts())
            .sum::<u32>(),
    );
    checks::accounts(&tree, &sent, counters, &mut findings);
    checks::whole(&system, &tree, &engine, &mut findings);

    system.shutdown().await;
    let history = history.await?;
    checks::history(&history, &engine, &mut findings);
    print(&sent, &history);
    Ok(findings)
}

fn print(sent: &Sent, history: &History) {
    let errors: Vec<_> = sent
        .errors
        .iter()
        .map(|(kind, many)| format!("{kind} {many}"))
        .collect();
    println!(
        "calls: {} sent = {} replies + {} errors ({})",
        sent.calls(),
        sent.replies(),
        sent.call_errors(),
        errors.join(", ")
    );
    println!(
        "casts: {} sent, and {} refused at once",
        sent.casts(),
        sent.refused
    );
    println!(
        "log: {} incarnations of {} actors, {} of supervisors, {} events lost",
        history.started,
        history.actors(),
        history.supervisors_started,
        history.lost
    );
}
