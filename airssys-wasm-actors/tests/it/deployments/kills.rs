//! The host is killed in the middle of a deployment, and started again: one revision serves, and the journal says what
//! became of the other. What feeds it is what the revision that serves says, from the first item on.

use std::io::{BufRead, BufReader};
use std::mem::ManuallyDrop;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use airssys_wasm_actors::deployment::{RolloutOutcome, artifacts_of};
use airssys_wasm_actors::{ApplicationSpec, Registry, RegistryOptions, ResolveOptions};

use super::feeding::{counted, feed, lines};
use super::{Host, one};
use crate::application::Directory;
use crate::guests::{address, engine, system_with};
use crate::upgrades::number;

const DIRECTORY: &str = "AIRSSYS_TEST_KILLED_HOST";
const STEPS: &str = "AIRSSYS_TEST_KILLED_AFTER";

/// What a host says once it runs and is about to deploy.
const UP: &str = "the host is up";

/// More kills at random moments than usual.
const KILLS: &str = "AIRSSYS_KILLS";

/// The application with one revision or the other, and what feeds that one. Each sink finds fault with what does not come after
/// what came before.
fn tables(file: &str) -> String {
    let mut one = one(file, r#"strategy = "blue-green", soak = "1ms""#);
    // One of them is several.
    if file != "v1.wasm" {
        one.push_str("replicas = 3\n");
    }
    let sink = |name: &str| format!("[components.{name}]\nfile = \"sink.wasm\"\n");
    let (kept, other) = match file {
        "v1.wasm" => ("first", "gone"),
        _ => ("second", "new"),
    };
    let kept = feed("feed", &format!("{kept}.txt"), "");
    let other = feed(other, &format!("{other}.txt"), "").replace("to = \"sink\"", "to = \"other\"");
    [one, sink("sink"), sink("other"), kept, other].concat()
}

/// Items of `feed`, and of the one beside it.
const FIRST: [(&str, u64); 2] = [("feed", 20), ("gone", 7)];
const SECOND: [(&str, u64); 2] = [("feed", 30), ("new", 9)];

fn directory() -> Directory {
    let directory = Directory::new("");
    for (name, items) in [("first", 20), ("gone", 7), ("second", 30), ("new", 9)] {
        std::fs::write(directory.0.join(format!("{name}.txt")), lines(items)).unwrap();
    }
    directory
}

/// A host in `directory` that deploys back and forth, one of three times something bad; killed at the step of the registry
/// of that number.
async fn child(directory: &Path, steps: Option<u64>) {
    let armed = Arc::<AtomicBool>::default();
    let (on, count) = (Arc::clone(&armed), AtomicU64::new(0));
    let options = RegistryOptions {
        fault: Some(Arc::new(move |_| {
            let on = on.load(Ordering::Acquire);
            if on && Some(count.fetch_add(1, Ordering::AcqRel)) == steps {
                std::process::abort();
            }
            Ok(())
        })),
        ..RegistryOptions::default()
    };
    let directory = Directory(directory.to_owned());
    let host = Host::in_directory(directory, &tables("v1.wasm"), options).await;
    // It is the parent's to remove.
    let host = ManuallyDrop::new(host);
    println!("\n{UP}");
    armed.store(true, Ordering::Release);
    loop {
        for file in ["v2.wasm", "no-init.wasm", "v1.wasm"] {
            let end = host.deploy(&tables(file)).await.finished().await;
            assert_eq!(
                matches!(end, RolloutOutcome::Permanent),
                file != "no-init.wasm"
            );
        }
        if steps.is_some() {
            return;
        }
    }
}

fn spawn(directory: &Path, test: &str, steps: Option<u64>) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let name = format!("deployments::kills::{test}");
    command.args(["--exact", "--nocapture", &name]);
    command.env(DIRECTORY, directory);
    command.env_remove(STEPS);
    if let Some(steps) = steps {
        command.env(STEPS, steps.to_string());
    }
    // One that is killed at a step of its own has nothing to say.
    let said = match steps {
        Some(_) => Stdio::null(),
        None => Stdio::piped(),
    };
    command.stdout(said).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Boots what the registry says, and checks that it serves, and that it is one of the two.
async fn serves_one_revision(directory: &Path) {
    let registry = Registry::open(&directory.join("state"), RegistryOptions::default()).unwrap();
    let name = address("app");
    let recovered = registry.recover(&name, 1).unwrap();
    assert!(recovered.interrupted.len() <= 1);
    let boot = recovered.boot.unwrap();
    for deployment in registry.history(&name, 1_000).unwrap() {
        assert!(deployment.state.is_final(), "{deployment:?}");
    }
    let again = registry.recover(&name, 2).unwrap();
    assert!(again.interrupted.is_empty());
    assert_eq!(again.boot.unwrap().number, boot.number);
    let system = system_with(&engine(), true).await;
    let manifest = boot.manifest.clone();
    let spec = ApplicationSpec::parse(directory.join("airssys.toml"), manifest).unwrap();
    let options = ResolveOptions {
        artifacts: artifacts_of(&registry, &boot).unwrap(),
        ..ResolveOptions::default()
    };
    let application = spec.resolve(system.engine(), &options).unwrap();
    let running = application.start(&system).await.unwrap();
    let version = number(&system.whereis(&address("app/one")).unwrap(), "version").await;
    let expected = if boot.manifest.contains("v2.wasm") {
        2
    } else {
        1
    };
    assert_eq!(version, expected);
    let replicas = system.replicas(&address("app/one")).unwrap();
    assert_eq!(replicas, if expected == 2 { 3 } else { 1 });
    assert_eq!(system.engine().instances(), u64::from(replicas) + 2);
    running.finished().await.unwrap();
    let fed = running.report().await.unwrap().sources;
    let expected = if expected == 2 { SECOND } else { FIRST };
    let expected = expected.map(|(name, all)| (address(&format!("app/{name}")), (all, all, 0, 0)));
    let fed = fed
        .into_iter()
        .map(|(name, counts)| (name, counted(&counts)));
    assert_eq!(fed.collect::<Vec<_>>(), expected);
    running.stop().await;
    system.shutdown().await;
    // Nothing is left that nobody will ever use.
    registry.gc(3).unwrap();
}

#[tokio::test]
async fn a_host_killed_at_any_step_of_the_journal_boots_one_revision() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let steps = std::env::var(STEPS).unwrap();
        child(Path::new(&directory), Some(steps.parse().unwrap())).await;
        return;
    }
    let mut steps = 0;
    loop {
        let directory = directory();
        let test = "a_host_killed_at_any_step_of_the_journal_boots_one_revision";
        let mut host = spawn(&directory.0, test, Some(steps));
        let status = host.wait().unwrap();
        serves_one_revision(&directory.0).await;
        if status.success() {
            break;
        }
        assert_eq!(status.code(), None, "it was to be killed by a signal");
        steps += 1;
    }
    assert!(steps > 20, "{steps}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_killed_at_random_boots_one_revision() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        child(Path::new(&directory), None).await;
        return;
    }
    let kills = std::env::var(KILLS).map_or(5, |text| text.parse().unwrap());
    for round in 0..kills {
        let directory = directory();
        let mut host = spawn(
            &directory.0,
            "a_host_killed_at_random_boots_one_revision",
            None,
        );
        let said = BufReader::new(host.stdout.take().unwrap());
        assert!(said.lines().any(|line| line.unwrap() == UP));
        // It is another process, and nothing of what it does marks the moment: time alone reaches them all.
        tokio::time::sleep(Duration::from_micros(round * 7_919 % 150_000)).await;
        host.kill().unwrap();
        host.wait().unwrap();
        serves_one_revision(&directory.0).await;
    }
}
