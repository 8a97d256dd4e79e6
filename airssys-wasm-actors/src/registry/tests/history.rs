//! A history of calls that has every kind of call and every step on disk in it, for the tests that interrupt it.

use std::time::Duration;

use super::*;

/// One call. Calls are independent of what the same process did before: any of them can be the first after a crash.
pub(super) type Call = Box<dyn Fn(&Registry) -> Result<(), RegistryError>>;

/// Everything that ends in this history is old enough to be collected at its end.
pub(super) fn options() -> RegistryOptions {
    RegistryOptions {
        retention: Retention {
            keep_last: 2,
            keep_for: Duration::from_millis(10),
        },
        fault: None,
    }
}

const CLASSIFY: &str = "quakes/classify";

fn text(number: u64) -> String {
    format!("classify {number} {}", "x".repeat(2_000))
}

/// All calls, in order.
pub(super) fn calls() -> Vec<Call> {
    use DeploymentState::*;
    let mut calls: Vec<Call> = Vec::new();
    for (number, states) in [
        (1, &WELL[..]),
        (2, &WELL[..]),
        (3, &[Warmed, Switching, RollingBack, RolledBack][..]),
        (4, &[Warmed, Failed][..]),
        (5, &WELL[..]),
        (6, &[Warmed, Switching][..]),
    ] {
        calls.push(Box::new(move |registry| {
            let digest = registry.put_artifact(text(number).as_bytes())?;
            let mut new = super::contents(registry, CLASSIFY, "first");
            new.digest = digest;
            new.spec = format!("file = \"{number}.wasm\"");
            new.provenance.at_unix_ms = number;
            registry.register(new).map(|_| ())
        }));
        calls.push(Box::new(move |registry| {
            let revision = registry.revision(&address(CLASSIFY), number)?;
            registry
                .begin(&app(), super::deployment(&[&revision], number))
                .map(|_| ())
        }));
        for &state in states {
            calls.push(Box::new(move |registry| {
                registry.advance(&app(), number, to(state)).map(|_| ())
            }));
            if state == Switching {
                calls.push(Box::new(move |registry| {
                    let step = DeploymentStep {
                        name: "weight".to_owned(),
                        component: Some(address(CLASSIFY)),
                        value: serde_json::json!({ "percent": 5, "of": ["a", "b"] }),
                        at_unix_ms: 7,
                    };
                    registry.note_step(&app(), number, step).map(|_| ())
                }));
            }
        }
    }
    calls.push(Box::new(|registry| {
        registry.recover(&app(), 100).map(|_| ())
    }));
    calls.push(Box::new(|registry| registry.gc(1_000).map(|_| ())));
    calls
}

/// What can be read after each number of calls, the first after none.
pub(super) fn states() -> Vec<String> {
    let directory = Directory::new();
    let registry = Registry::open_in(
        &directory.registry(),
        options(),
        Medium::Simulated(disk::Disk::default()),
    )
    .unwrap();
    let mut states = vec![dump(&registry).unwrap()];
    for call in calls() {
        call(&registry).unwrap();
        check_invariants(&registry);
        states.push(dump(&registry).unwrap());
    }
    states
}

/// How many calls are in effect, if that is one of two numbers: those that were acknowledged, or one more.
pub(super) fn in_effect(registry: &Registry, states: &[String], acknowledged: usize) -> usize {
    let found = dump(registry).unwrap();
    let after = [acknowledged, acknowledged + 1];
    let fits = after
        .into_iter()
        .find(|&calls| states.get(calls) == Some(&found));
    fits.unwrap_or_else(|| {
        panic!(
            "after {acknowledged} calls: {found}\nexpected {}",
            states[acknowledged]
        )
    })
}

#[test]
fn the_history_has_every_step_on_disk() {
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let directory = Directory::new();
    let mut options = options();
    let noting = Arc::clone(&seen);
    options.fault = Some(Arc::new(move |step| {
        noting.lock().unwrap().insert(step);
        Ok(())
    }));
    let registry = Registry::open(&directory.registry(), options).unwrap();
    for call in calls() {
        call(&registry).unwrap();
    }
    check_invariants(&registry);
    let all: BTreeSet<_> = REGISTRY_STEPS.iter().copied().collect();
    assert_eq!(*seen.lock().unwrap(), all);
    // Of six revisions the last two are kept, and what is permanent, with what was before it.
    let kept = registry.revisions(&address(CLASSIFY)).unwrap();
    let kept: Vec<_> = kept.iter().map(|revision| revision.number).collect();
    assert_eq!(kept, [6, 5, 2]);
    // The fourth file was put, and has no revision yet.
    assert_eq!(files(&registry).len(), 4);
}
