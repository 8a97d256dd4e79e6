//! Live: the application `quakes` under load, deployed to three times without a stop, and then the accounts.
//!
//! Run it with `cargo run --release --example live -- 12`: the fewest seconds that the load runs; the deployments
//! take about six. A canary is promoted by itself, a bad release is rolled back by itself, and the tally hands its
//! state to its successor. It fails if a check does: every item has one end, none is missing or counted twice, and
//! only the bad release has cost any.

mod checks;
mod load;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use airssys_wasm::{CacheLocation, Engine, EngineConfig, Policy};
use airssys_wasm_actors::deployment::{DeployOptions, Deployer, RolloutOutcome, register_first};
use airssys_wasm_actors::{
    Application, ApplicationSpec, DeploymentState, Registry, RegistryOptions, ResolveOptions,
    RunningApplication, System, SystemConfig,
};

use checks::Findings;
use load::Load;

const QUAKES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quakes");
/// The table that only the second revision of the tally can fill.
const NEW_TABLE: &str = "Strongest earthquake by region";
/// What a gate's reasons have in common with nobody else's.
const GATE_SAYS: [&str; 4] = ["traps", "restarts", "times as long", "requests failed"];

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let seconds = std::env::args()
        .nth(1)
        .map_or(Ok(12), |text| text.parse())?;
    let findings = run(Duration::from_secs(seconds)).await?;
    if findings.is_empty() {
        println!("every check holds");
        return Ok(ExitCode::SUCCESS);
    }
    for finding in findings.iter() {
        eprintln!("error: {finding}");
    }
    Ok(ExitCode::FAILURE)
}

/// A directory that is gone at the end.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed is the system's to remove.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Live {
    running: RunningApplication,
    deployer: Deployer,
    registry: Registry,
    load: Load,
}

async fn run(at_least: Duration) -> Result<Findings, Box<dyn Error>> {
    let engine = Engine::new(EngineConfig {
        cache: CacheLocation::Off,
        ..EngineConfig::default()
    })?;
    let [first, second, third, fourth] = [
        resolve("airssys.toml", &engine)?,
        resolve("airssys-v2.toml", &engine)?,
        resolve("airssys-v3.toml", &engine)?,
        resolve("airssys-v4.toml", &engine)?,
    ];
    let items = load::items(&Path::new(QUAKES).join("data/earthquakes.json"))?;
    println!(
        "{} events in a loop, {} in flight, and three deployments",
        items.len(),
        load::IN_FLIGHT
    );
    let name = format!("airssys-live-{}", std::process::id());
    let directory = Temporary(std::env::temp_dir().join(name));
    let registry = Registry::open(&directory.0, RegistryOptions::default())?;
    let system = System::start(SystemConfig::new(engine)).await?;
    let running = first.clone().start(&system).await?;
    let number = register_first(&registry, &first, &by("the first"))?;
    let deployer = Deployer::new(&running, first, Some((registry.clone(), number)));
    let intake = running.actor("intake").ok_or("there is no intake")?;
    let began = Instant::now();
    let load = Load::start(intake, items)?;
    let live = Live {
        running,
        deployer,
        registry,
        load,
    };

    let mut findings = Findings::default();
    let canary = live.deploy("v1 → v2", second, &mut findings, true).await?;
    let bad = live.deploy("v2 → v3", third, &mut findings, false).await?;
    let before = live.running.report().await?.counted;
    let state = live.deploy("v2 → v4", fourth, &mut findings, true).await?;
    let after = live.running.report().await?;
    println!(
        "tally: {before} counted before the switch, {} after it",
        after.counted
    );
    findings.holds(before > 0 && before <= after.counted, || {
        format!(
            "the tally has lost count: {before} before, {} after",
            after.counted
        )
    });
    let mut tables = after.tables.iter();
    let new = tables.find(|table| table.title == NEW_TABLE);
    findings.holds(new.is_some_and(|table| !table.rows.is_empty()), || {
        format!("the new tally does not answer: no rows in `{NEW_TABLE}`")
    });

    // The load goes on for as long as was asked for.
    tokio::time::sleep(at_least.saturating_sub(began.elapsed())).await;
    let (sent, account) = live.load.end().await?;
    println!(
        "longest time between two replies: {:.0?} in v1 → v2, {:.0?} in v2 → v4",
        account.gap(canary),
        account.gap(state)
    );
    let counted = live.running.report().await?.counted;
    checks::items(sent, counted, &account, bad, &mut findings);
    checks::whole(&system, &mut findings).await;
    checks::counters(&system, &mut findings);
    system.shutdown().await;
    Ok(findings)
}

impl Live {
    /// Deploys and waits for the end, which is checked; returns the stage of the load.
    async fn deploy(
        &self,
        what: &str,
        new: Application,
        findings: &mut Findings,
        good: bool,
    ) -> Result<usize, Box<dyn Error>> {
        let stage = self.load.next_stage();
        let began = Instant::now();
        let rollout = self.deployer.deploy(new, by(what)).await?;
        let outcome = rollout.finished().await;
        // What is sent from here on cannot meet the candidate.
        self.load.next_stage();
        let took = began.elapsed();
        match &outcome {
            RolloutOutcome::Permanent => println!("{what}: permanent, after {took:.1?}"),
            RolloutOutcome::RolledBack { reason } => {
                println!("{what}: rolled back after {took:.1?}: {reason}");
            }
            other => println!("{what}: {other:?}"),
        }
        let as_wanted = match &outcome {
            RolloutOutcome::Permanent => good,
            RolloutOutcome::RolledBack { reason } => {
                !good && GATE_SAYS.iter().any(|says| reason.contains(says))
            }
            _ => false,
        };
        findings.holds(as_wanted, || format!("{what} has ended so: {outcome:?}"));
        let number = rollout.status().number.ok_or("it has no number")?;
        let application = self.running.supervisor().address();
        let recorded = self.registry.deployment(application, number)?.state;
        let expected = if good {
            DeploymentState::Permanent
        } else {
            DeploymentState::RolledBack
        };
        findings.equal(
            &format!("what the registry says of {what}"),
            recorded,
            expected,
        );
        Ok(stage)
    }
}

fn by(why: &str) -> DeployOptions {
    DeployOptions {
        by: "the example".to_owned(),
        why: why.to_owned(),
        ..DeployOptions::default()
    }
}

/// Without its source, which would feed each event once.
fn resolve(manifest: &str, engine: &Engine) -> Result<Application, Box<dyn Error>> {
    let spec = ApplicationSpec::read(&Path::new(QUAKES).join(manifest))?;
    let options = ResolveOptions {
        policy: Policy::permissive(),
        ..ResolveOptions::default()
    };
    Ok(spec.resolve(engine, &options)?.without_sources())
}
