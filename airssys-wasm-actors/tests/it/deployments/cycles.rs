//! Many deployments there and back, in a process of their own: nothing of them stays.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airssys_wasm_actors::deployment::{Rollout, RolloutOutcome, StepState};
use airssys_wasm_actors::{DeploymentState, RegistryOptions, Retention};

use super::{Host, ONE, one};
use crate::upgrades::{Load, number};

/// Set in the process that deploys.
const ALONE: &str = "AIRSSYS_TEST_CYCLES_ALONE";

/// More cycles than usual.
const CYCLES: &str = "AIRSSYS_CYCLES";

/// Cycles before anything is counted: by then every bounded store is full, the remembered rollouts above all.
const WARM_UP: u32 = 40;

/// What resident memory may differ by, whatever the number of cycles: pages that the allocator keeps for a thread, and those
/// of instances that were made in another place of the pool.
const RSS_SLACK_KIB: i64 = 8 * 1_024;

/// The same of mappings: a place of the pool that is used for the first time has some of its own, and so has another arena
/// of the allocator. Fewer than one for each cycle.
const MAPPINGS_SLACK: i64 = 50;

/// What a process and its registry hold.
#[derive(Debug, Clone, Copy)]
struct Held {
    rss_kib: i64,
    descriptors: i64,
    mappings: i64,
    files: i64,
    disk_bytes: i64,
}

fn held(state: &Path) -> Held {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let rss = line.unwrap().split_whitespace().nth(1).unwrap();
    let count = |number: usize| i64::try_from(number).unwrap();
    let (mut files, mut disk_bytes) = (0, 0);
    let mut directories = vec![state.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
                continue;
            }
            files += 1;
            disk_bytes += i64::try_from(entry.metadata().unwrap().len()).unwrap();
        }
    }
    Held {
        rss_kib: rss.parse().unwrap(),
        descriptors: count(fs::read_dir("/proc/self/fd").unwrap().count()),
        mappings: count(
            fs::read_to_string("/proc/self/maps")
                .unwrap()
                .lines()
                .count(),
        ),
        files,
        disk_bytes,
    }
}

async fn permanent(rollout: &Rollout) {
    let end = rollout.finished().await;
    assert_eq!(end, RolloutOutcome::Permanent, "{:?}", rollout.status());
}

async fn rolled_back(rollout: &Rollout) {
    rollout.roll_back("there and back").await.unwrap();
    let end = rollout.finished().await;
    assert!(matches!(end, RolloutOutcome::RolledBack { .. }), "{end:?}");
}

/// One deployment that is rolled back and one that stays, by every strategy in turn.
async fn cycle(host: &Host) {
    let forth = number(&host.actor("one"), "version").await == 1;
    let next = if forth { "v2.wasm" } else { "v1.wasm" };
    let soaking = |status: &airssys_wasm_actors::deployment::RolloutStatus| {
        status.state == Some(DeploymentState::Soaking)
    };
    let soak = r#"strategy = "blue-green", soak = "1h""#;
    // The second has every function of the first, and not the other way round.
    if !forth {
        let rollout = host.deploy(&one(next, soak)).await;
        rollout.until(soaking).await;
        rolled_back(&rollout).await;
        permanent(&host.deploy(&one(next, "")).await).await;
    } else {
        let canary = r#"strategy = "canary", steps = [{ weight = "50%" }], soak = "1h""#;
        let rollout = host.deploy(&one(next, canary)).await;
        rollout
            .until(|status| {
                status.steps[0].state == StepState::Trial && status.steps[0].weight == Some(5_000)
            })
            .await;
        rolled_back(&rollout).await;
        let rollout = host.deploy(&one(next, soak)).await;
        rollout.until(soaking).await;
        rollout.promote().await.unwrap();
        permanent(&rollout).await;
    }
}

/// Removes what nothing needs, and waits for what ends behind everybody's back.
async fn settle(host: &Host) {
    host.is_clean_of_instances(1).await;
    let registry = host.deployer.registry().unwrap().clone();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = u64::try_from(now.as_millis()).unwrap();
    tokio::task::spawn_blocking(move || registry.gc(now).unwrap())
        .await
        .unwrap();
}

async fn cycles(count: u32) {
    let options = RegistryOptions {
        retention: Retention {
            keep_last: 10,
            keep_for: Duration::ZERO,
        },
        ..RegistryOptions::default()
    };
    let host = Host::with(ONE, options).await;
    let state = host.directory.0.join("state");
    let actor = host.actor("one");
    let mut before = None;
    let load = Load::start(&actor, 1);
    for nth in 0..WARM_UP + count {
        cycle(&host).await;
        if nth % 20 == 19 {
            settle(&host).await;
        }
        if nth == WARM_UP - 1 {
            before = Some(held(&state));
        }
    }
    settle(&host).await;
    let (before, after) = (before.unwrap(), held(&state));
    let (replies, errors, _) = load.end().await;
    assert!(replies > 0);
    assert_eq!(errors, 0, "nobody notices");
    assert_eq!(actor.status().incarnation, 1);
    println!("{count} cycles: before {before:?}");
    println!("{count} cycles: after  {after:?}");
    assert_eq!(after.descriptors, before.descriptors);
    assert_eq!(after.files, before.files);
    assert!(
        after.disk_bytes <= before.disk_bytes,
        "{after:?} {before:?}"
    );
    assert!(
        after.mappings <= before.mappings + MAPPINGS_SLACK,
        "{after:?} {before:?}"
    );
    assert!(
        after.rss_kib <= before.rss_kib + RSS_SLACK_KIB,
        "{after:?} {before:?}"
    );
    host.running.stop().await;
    host.system.shutdown().await;
}

#[test]
fn nothing_grows_from_deployment_to_deployment() {
    let test = "deployments::cycles::nothing_grows_from_deployment_to_deployment";
    if std::env::var_os(ALONE).is_some() {
        let count = std::env::var(CYCLES).map_or(60, |count| count.parse().unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(cycles(count));
        return;
    }
    let out = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{}\n{text}\n{errors}", out.status);
    assert!(text.contains("1 passed"), "{text}");
    print!("{text}");
}
