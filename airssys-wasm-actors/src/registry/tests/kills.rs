//! The process ends at every step of a history, without a chance to clean up, and the next one opens what is left.
//!
//! The process is this test again, in a child with a number of steps to live.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::history::{calls, in_effect, options, states};
use super::*;

const CHILD_DIRECTORY: &str = "AIRSSYS_REGISTRY_TEST_DIRECTORY";
const CHILD_STEPS: &str = "AIRSSYS_REGISTRY_TEST_STEPS";
const ACKNOWLEDGED: &str = "acknowledged";

#[test]
fn a_kill_at_any_step_loses_nothing_that_was_acknowledged() {
    if let Some(directory) = std::env::var_os(CHILD_DIRECTORY) {
        let steps = std::env::var(CHILD_STEPS).unwrap();
        child(Path::new(&directory), steps.parse().unwrap());
        return;
    }
    let states = states();
    let mut steps = 0;
    loop {
        let directory = Directory::new();
        let status = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--nocapture",
                "registry::tests::kills::a_kill_at_any_step_loses_nothing_that_was_acknowledged",
            ])
            .env(CHILD_DIRECTORY, &directory.0)
            .env(CHILD_STEPS, steps.to_string())
            .output()
            .unwrap()
            .status;
        let acknowledged = std::fs::read(directory.0.join(ACKNOWLEDGED)).unwrap().len();
        let registry = Registry::open(&directory.registry(), options()).unwrap();
        let in_effect = in_effect(&registry, &states, acknowledged);
        check_invariants(&registry);
        if status.success() {
            assert_eq!(acknowledged, calls().len());
            break;
        }
        goes_on(&registry, &states, in_effect, steps);
        steps += 1;
    }
    // Each call has two steps at least.
    assert!(steps as usize > 2 * calls().len());
}

/// What a host does after a start, and then the rest of the history if it was not about a deployment under way.
fn goes_on(registry: &Registry, states: &[String], in_effect: usize, steps: u32) {
    let before = registry.pointers(&app()).unwrap();
    let recovered = registry.recover(&app(), 50).unwrap();
    let boot = recovered.boot.as_ref().map(|deployment| deployment.number);
    assert_eq!(boot, before.permanent);
    let interrupted = recovered.interrupted.iter().map(|one| one.number);
    assert!(interrupted.eq(before.trial));
    check_invariants(registry);
    let again = registry.recover(&app(), 60).unwrap();
    assert_eq!(again.boot, recovered.boot);
    assert!(again.interrupted.is_empty());
    registry.gc(0).unwrap();
    check_invariants(registry);
    // The rest is the same for many steps.
    if before.trial.is_none() && steps.is_multiple_of(7) {
        for call in &calls()[in_effect..] {
            call(registry).unwrap();
        }
        assert_eq!(&dump(registry).unwrap(), states.last().unwrap());
    }
    // No file is left that no revision has.
    registry.gc(0).unwrap();
    let digests: std::collections::BTreeSet<_> = registry
        .query(&RegistryQuery::default())
        .unwrap()
        .into_iter()
        .map(|found| found.revision.digest.hex())
        .collect();
    let first = Digest::of(b"first").hex();
    let mut files = files(registry);
    files.retain(|file| *file != first);
    assert_eq!(files, digests.into_iter().collect::<Vec<_>>());
}

/// Goes through the history and notes each call it has the answer of; ends at a step.
fn child(directory: &Path, steps: u32) {
    let mut acknowledged = OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join(ACKNOWLEDGED))
        .unwrap();
    let left = AtomicU32::new(steps);
    let mut options = options();
    options.fault = Some(Arc::new(move |_| {
        if left.fetch_sub(1, Ordering::Relaxed) == 0 {
            std::process::abort();
        }
        Ok(())
    }));
    let registry = Registry::open(&directory.join("a/registry"), options).unwrap();
    for call in calls() {
        call(&registry).unwrap();
        acknowledged.write_all(b".").unwrap();
    }
}
