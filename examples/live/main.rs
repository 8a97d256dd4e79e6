//! The earthquakes of `examples/quakes`, live: three deployments while events come in, and then the accounts.
//!
//! Run it with `cargo run --release --example live`. A classifier is replaced by canary and promoted by itself; a bad release of
//! it is tried, found out and taken back by itself; the tally is replaced with all that it has counted. It fails if a
//! check does: every event has one end and is counted once, and none failed because of a deployment that does well.

mod feed;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use airssys_wasm::{CacheLocation, Engine, EngineConfig, Policy, Value};
use airssys_wasm_actors::deployment::{
    DeployOptions, Deployer, PlanOptions, RolloutOutcome, StrategyWords, register_first,
};
use airssys_wasm_actors::{
    Application, ApplicationSpec, Registry, RegistryOptions, ResolveOptions, System, SystemConfig,
};

use feed::{Fed, Feed};

/// Of the canaries; the manifests take longer.
const STEPS: &str = "5%:1s,25%:1s,50%:1s";
const SOAK: &str = "1s";

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let findings = run().await?;
    if findings.is_empty() {
        println!("every check holds");
        return Ok(ExitCode::SUCCESS);
    }
    for finding in &findings {
        eprintln!("error: {finding}");
    }
    Ok(ExitCode::FAILURE)
}

/// A directory that is removed.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left of it is in the system's own directory for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn resolve(
    directory: &Path,
    manifest: &str,
    engine: &Engine,
) -> Result<Application, Box<dyn Error>> {
    let spec = ApplicationSpec::read(&directory.join(manifest))?;
    let options = ResolveOptions {
        policy: Policy::permissive(),
        ..ResolveOptions::default()
    };
    Ok(spec.resolve(engine, &options)?.without_sources())
}

async fn run() -> Result<Vec<String>, Box<dyn Error>> {
    let quakes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quakes");
    let scratch =
        Scratch(std::env::temp_dir().join(format!("airssys-live-{}", std::process::id())));
    let engine = Engine::new(EngineConfig {
        cache: CacheLocation::Off,
        ..EngineConfig::default()
    })?;
    let system = System::start(SystemConfig::new(engine.clone())).await?;
    let application = resolve(&quakes, "airssys.toml", &engine)?;
    let running = application.clone().start(&system).await?;
    let registry = Registry::open(&scratch.0, RegistryOptions::default())?;
    let first = register_first(&registry, &application, &DeployOptions::default())?;
    let deployer = Deployer::new(&running, application, Some((registry, first)));

    let intake = running.actor("intake").ok_or("there is no intake")?;
    let feed = Feed::start(intake, &quakes.join("data/earthquakes.json"))?;
    let mut findings = Vec::new();
    let mut live = Live {
        deployer: &deployer,
        engine: &engine,
        quakes: &quakes,
        feed: &feed,
        findings: &mut findings,
    };
    live.deploy("airssys-v2.toml", Expected::Permanent, true)
        .await?;
    live.deploy("airssys-v3.toml", Expected::RolledBack, true)
        .await?;
    live.deploy("airssys-v4.toml", Expected::Permanent, false)
        .await?;

    let fed = feed.end().await?;
    let tally = running.actor("tally").ok_or("there is no tally")?;
    let counted = counted(tally.call("totals", ()).await?.into_values().next());
    accounts(&fed, counted, &mut findings);
    let extremes = tally.call("strongest-by-region", ()).await?;
    if !matches!(extremes.into_values().next(), Some(Value::List(regions)) if !regions.is_empty()) {
        findings.push("the second revision of the tally knows no extremes".to_owned());
    }
    let counters = system.counters();
    if counters.calls != counters.replies + counters.call_errors + counters.calls_abandoned {
        findings.push(format!("calls and their ends differ: {counters:?}"));
    }
    if counters.casts != counters.casts_handled + counters.dead_letters {
        findings.push(format!("casts and their ends differ: {counters:?}"));
    }
    running.stop().await;
    system.shutdown().await;
    if engine.instances() > 0 {
        findings.push(format!("{} instances are left", engine.instances()));
    }
    Ok(findings)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Permanent,
    RolledBack,
}

struct Live<'a> {
    deployer: &'a Deployer,
    engine: &'a Engine,
    quakes: &'a Path,
    feed: &'a Feed,
    findings: &'a mut Vec<String>,
}

impl Live<'_> {
    /// Deploys a manifest, and looks at what became of it.
    async fn deploy(
        &mut self,
        manifest: &str,
        expected: Expected,
        canary: bool,
    ) -> Result<(), Box<dyn Error>> {
        let new = resolve(self.quakes, manifest, self.engine)?;
        let words = StrategyWords {
            strategy: Some("canary"),
            steps: Some(STEPS),
            soak: Some(SOAK),
            ..StrategyWords::default()
        };
        let strategy = words.read().map_err(|_| "the strategy makes no sense")?;
        let options = DeployOptions {
            plan: PlanOptions {
                strategy: strategy.filter(|_| canary),
                ..PlanOptions::default()
            },
            why: "live".to_owned(),
            source: manifest.to_owned(),
            ..DeployOptions::default()
        };
        let before = self.feed.so_far();
        self.feed.take_gap();
        let rollout = self.deployer.deploy(new, options).await?;
        println!("{}", rollout.plan());
        let outcome = rollout.finished().await;
        let (gap, after) = (self.feed.take_gap(), self.feed.so_far());
        let failed = after.failed + after.errors - before.failed - before.errors;
        let said = match &outcome {
            RolloutOutcome::Permanent => "permanent".to_owned(),
            RolloutOutcome::RolledBack { reason } => format!("rolled back: {reason}"),
            other => format!("{other:?}"),
        };
        println!(
            "{manifest}: {said}; meanwhile {} events, {failed} failed, longest time without an answer {gap:.1?}\n",
            after.sent - before.sent,
        );
        let as_expected = match expected {
            Expected::Permanent => outcome == RolloutOutcome::Permanent,
            Expected::RolledBack => matches!(outcome, RolloutOutcome::RolledBack { .. }),
        };
        if !as_expected {
            self.findings.push(format!(
                "{manifest} was to be {expected:?}, and is {outcome:?}"
            ));
        }
        if expected == Expected::Permanent && failed > 0 {
            self.findings.push(format!(
                "{failed} events failed while {manifest} was deployed"
            ));
        }
        Ok(())
    }
}

fn counted(totals: Option<Value>) -> u64 {
    match totals {
        Some(Value::Record(fields)) => match fields.first() {
            Some(Value::U64(counted)) => *counted,
            _ => 0,
        },
        _ => 0,
    }
}

/// Every event has one end, and the tally has counted those that it has answered for, each once.
fn accounts(fed: &Fed, counted: u64, findings: &mut Vec<String>) {
    println!(
        "{} events: {} counted, {} rejected, {} failed with the bad release, {} not answered; the tally has {counted}",
        fed.sent, fed.counted, fed.rejected, fed.failed, fed.errors,
    );
    if fed.sent != fed.counted + fed.rejected + fed.failed + fed.errors {
        findings.push("an event has no end, or two".to_owned());
    }
    if counted != fed.counted {
        findings.push(format!(
            "{} were answered for, and {counted} are counted",
            fed.counted
        ));
    }
}
