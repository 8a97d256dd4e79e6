//! A host begins again: a hundred components of an application are found in the registry and started.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use airssys_wasm::{CacheLocation, Engine, FromArgs, Policy};
use airssys_wasm_actors::deployment::{DeployOptions, artifacts_of, register_first};
use airssys_wasm_actors::{
    Application, ApplicationSpec, Registry, RegistryOptions, ResolveOptions, System, SystemConfig,
};

use super::expect;
use crate::error::{BenchError, OrFailed};
use crate::harness::{Samples, Scenario, Work};
use crate::rows::{Bar, Group, RowSpec, Unit, latency, made};
use crate::workbench::scratch::Scratch;
use crate::workbench::{ADDER, Workbench, address, engine, revision};

const BOOT: Group = Group::new("deploy.boot");

pub(crate) const ROWS: &[RowSpec] = &[latency("boot.100", BOOT, 1, |bench| made(Boot::new(bench)))
    .unit(Unit::Milliseconds)
    .single()
    .on_two()
    .bar(Bar::Median(2_000.0))];

const COMPONENTS: u64 = 100;
/// Room in the pool.
const INSTANCES: u32 = 256;

/// `boot.100`.
struct Boot {
    scratch: Scratch,
    components: u64,
}

impl Boot {
    async fn new(bench: &Workbench) -> Result<Self, BenchError> {
        let components = bench.fewer(COMPONENTS);
        let making = tokio::task::spawn_blocking(move || registered(components));
        making.await.or_failed("registering an application")?
    }
}

/// Registers an application of so many components, each with bytes of its own, and fills the cache.
fn registered(components: u64) -> Result<Boot, BenchError> {
    let scratch = Scratch::new()?;
    let mut manifest = "[application]\nname = \"app\"\n".to_owned();
    for (number, _) in (0_u32..).zip(0..components) {
        let file = format!("c{number}.wasm");
        fs::write(scratch.path().join(&file), revision(ADDER, number))
            .or_failed("writing a component")?;
        writeln!(
            manifest,
            "[components.c{number}]\nfile = \"{file}\"\nrestart = \"permanent\""
        )
        .or_failed("writing a manifest")?;
    }
    let engine = cached(scratch.path())?;
    let application = resolve(&engine, scratch.path(), manifest, ResolveOptions::default())?;
    let registry = open(scratch.path())?;
    register_first(&registry, &application, &DeployOptions::default())
        .or_failed("registering an application")?;
    Ok(Boot {
        scratch,
        components,
    })
}

fn cached(directory: &Path) -> Result<Engine, BenchError> {
    engine(INSTANCES, CacheLocation::Directory(directory.join("cache")))
}

fn open(directory: &Path) -> Result<Registry, BenchError> {
    Registry::open(&directory.join("state"), RegistryOptions::default())
        .or_failed("opening a registry")
}

fn resolve(
    engine: &Engine,
    directory: &Path,
    manifest: String,
    options: ResolveOptions,
) -> Result<Application, BenchError> {
    let spec = ApplicationSpec::parse(directory.join("airssys.toml"), manifest);
    let options = ResolveOptions {
        policy: Policy::permissive(),
        ..options
    };
    spec.or_failed("a manifest")?
        .resolve(engine, &options)
        .or_failed("resolving an application")
}

/// Everything that a host does before it starts an application.
fn recovered(directory: PathBuf) -> Result<(Registry, Engine, Application), BenchError> {
    let engine = cached(&directory)?;
    let registry = open(&directory)?;
    let recovered = registry
        .recover(&address("app")?, 0)
        .or_failed("recovering")?;
    let boot = recovered.boot;
    let boot = boot.ok_or_else(|| BenchError::failed("boot", "there is nothing to boot"))?;
    let artifacts = artifacts_of(&registry, &boot).or_failed("finding artifacts")?;
    let options = ResolveOptions {
        artifacts,
        ..ResolveOptions::default()
    };
    let application = resolve(&engine, &directory, boot.manifest, options)?;
    Ok((registry, engine, application))
}

impl Scenario for Boot {
    fn round<'a>(&'a mut self, operations: u64, samples: &'a mut Samples) -> Work<'a> {
        Box::pin(async move {
            for _ in 0..operations {
                let directory = self.scratch.path().to_owned();
                let began = Instant::now();
                let recovering = tokio::task::spawn_blocking(move || recovered(directory));
                let recovering = recovering.await.or_failed("recovering")?;
                let (registry, engine, application) = recovering?;
                let system = System::start(SystemConfig::new(engine)).await;
                let system = system.or_failed("starting a system")?;
                let running = application.start(&system).await;
                let running = running.or_failed("starting an application")?;
                samples.record(began.elapsed(), 1);
                let actors = u64::try_from(running.actors().len()).unwrap_or(u64::MAX);
                expect("boot.100", actors, self.components)?;
                for actor in running.actors() {
                    let reply = actor.call("add", (2_u32, 3_u32)).await;
                    let sum = <(u32,)>::from_args(reply.or_failed("boot.100")?);
                    expect("boot.100", sum, Ok((5,)))?;
                }
                running.stop().await;
                system.shutdown().await;
                drop(registry);
            }
            Ok(())
        })
    }
}
