//! Runs wit-bindgen's runtime tests by messages: `wit-bindgen-pairs OUT EXPECTED`.
//!
//! Owns the way from `OUT/components/CASE/{runner,test}*.wasm` to counts: each runner of a case with each of its tests, two
//! actors, the runner's imports linked to the test, and the message `run`; where a case has more components, one chain of all of
//! them. It passes when `run` is answered and no component has ended. EXPECTED lists the pairs that do not pass, with the reason; the run fails on anything else, and on
//! a line of EXPECTED that passes after all.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use airssys_wasm::{
    CacheLocation, CapabilityManifest, Component, ComponentRef, Engine, EngineConfig, Grants,
    InstanceTemplate, LinkedImport, Policy, TemplateSpec, grant,
};
use airssys_wasm_actors::{ActorAddress, ChildSpec, Link, RestartPolicy, System, SystemConfig};

type AnyError = Box<dyn Error>;

#[tokio::main]
async fn main() -> Result<ExitCode, AnyError> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(out), Some(expected)) = (args.next(), args.next()) else {
        return Err("usage: wit-bindgen-pairs OUT EXPECTED".into());
    };
    let mut expected = read_expected(&fs::read_to_string(expected)?);
    let engine = Engine::new(EngineConfig {
        cache: CacheLocation::Off,
        pool_instances_max: 16,
        ..EngineConfig::default()
    })?;
    let system = System::start(SystemConfig::new(engine.clone())).await?;
    let (mut passed, mut listed) = (0_u32, 0_u32);
    let mut unexpected = Vec::new();
    for case in sorted(&out.join("components"))? {
        for (name, chain) in chains(&case)? {
            match (run(&engine, &system, &chain).await, expected.remove(&name)) {
                (Ok(()), None) => {
                    passed += 1;
                    println!("passed   {name}");
                }
                (Ok(()), Some(why)) => unexpected.push(format!(
                    "{name}: passes, and is listed as not passing: {why}"
                )),
                (Err(_), Some(why)) => {
                    listed += 1;
                    println!("did not  {name}: {why}");
                }
                (Err(why), None) => unexpected.push(format!("{name}: {why}")),
            }
        }
    }
    system.shutdown().await;
    let left_out = fs::read_to_string(out.join("left-out.txt"))?;
    for line in left_out.lines() {
        println!("left out {line}");
    }
    unexpected.extend(
        expected
            .keys()
            .map(|name| format!("{name}: listed, but not run")),
    );
    println!(
        "{passed} passed, {listed} did not; {} cases left out",
        left_out.lines().count()
    );
    if unexpected.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} unexpected:", unexpected.len());
    for line in unexpected {
        println!("  {line}");
    }
    Ok(ExitCode::FAILURE)
}

/// The runs of a case, each a name and its components: the runner last, and each after those it imports from.
fn chains(case: &Path) -> Result<Vec<(String, Vec<PathBuf>)>, AnyError> {
    let order = case.join("order.txt");
    if order.is_file() {
        let order = fs::read_to_string(order)?;
        let files = order.lines().map(|part| case.join(format!("{part}.wasm")));
        return Ok(vec![(stem(case), files.collect())]);
    }
    let files = sorted(case)?;
    let of = |role: &'static str| {
        files
            .iter()
            .filter(move |file| stem(file).starts_with(role))
    };
    let mut chains = Vec::new();
    for runner in of("runner") {
        for test in of("test") {
            let name = format!("{} {} {}", stem(case), stem(runner), stem(test));
            chains.push((name, vec![test.clone(), runner.clone()]));
        }
    }
    Ok(chains)
}

/// `case runner test: reason`, a line each; of a case of more components `case: reason`.
fn read_expected(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, why)| (name.to_owned(), why.to_owned()))
        .collect()
}

fn sorted(directory: &Path) -> Result<Vec<PathBuf>, AnyError> {
    let mut paths = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// An actor for each, and one message to the last.
async fn run(engine: &Engine, system: &System, files: &[PathBuf]) -> Result<(), AnyError> {
    let mut earlier: Vec<(ActorAddress, Component)> = Vec::new();
    let mut children = Vec::new();
    for file in files {
        let component = engine.load(&ComponentRef::File(file.clone()))?;
        let mut imports = Vec::new();
        let mut links = Vec::new();
        for import in &component.surface().imports {
            if import.functions.is_empty() && import.resources.is_empty() {
                continue;
            }
            let name = import.name.as_str();
            let exports = |(_, component): &&(ActorAddress, Component)| {
                let exports = &component.surface().exports;
                exports.iter().any(|export| export.name == import.name)
            };
            let from = earlier.iter().rev().find(exports);
            let (from, _) = from.ok_or_else(|| format!("nobody exports `{name}`"))?;
            imports.push(name.to_owned());
            links.push(Link::new(name, from.clone()));
        }
        let address: ActorAddress = stem(file).parse()?;
        let template = linked(&component, &imports)?;
        let child = ChildSpec {
            restart: RestartPolicy::Temporary,
            ..ChildSpec::component(address.clone(), template)
        };
        children.push(links.into_iter().fold(child, ChildSpec::link));
        earlier.push((address, component));
    }
    let actors = system.supervisor().start(children).await?;
    let mut ran: Result<(), AnyError> = Err("no runner".into());
    if let Some((runner, others)) = actors.split_last() {
        ran = runner.call("run", ()).await.map(drop).map_err(Into::into);
        if ran.is_ok() && others.iter().any(|other| !other.status().running) {
            ran = Err("a component has ended".into());
        }
    }
    for actor in actors.iter().rev() {
        // One that has ended is temporary, and gone.
        let _ = system.supervisor().stop_child(actor.address()).await;
    }
    ran
}

fn linked(component: &Component, imports: &[String]) -> Result<InstanceTemplate, AnyError> {
    let asked = CapabilityManifest::default();
    let grants: Grants = grant(&asked, &Policy::permissive())?;
    let spec = TemplateSpec {
        grants,
        links: imports
            .iter()
            .map(|import| LinkedImport::new(import.as_str()))
            .collect(),
        ..TemplateSpec::new("pair")
    };
    Ok(InstanceTemplate::link(component, spec)?)
}
