//! Garbage collection: what goes, what stays, and who may be at work meanwhile.

use std::time::Duration;

use super::*;

#[test]
fn collection_keeps_what_is_needed_and_removes_the_rest() {
    let directory = Directory::new();
    let options = RegistryOptions {
        retention: Retention {
            keep_last: 1,
            keep_for: Duration::ZERO,
        },
        fault: None,
    };
    let registry = Registry::open(&directory.registry(), options.clone()).unwrap();
    for number in 0..5 {
        let revision = registry
            .register(contents(
                &registry,
                "quakes/classify",
                &format!("text {number}"),
            ))
            .unwrap();
        deploy(&registry, &[&revision], number);
    }
    // What was put or registered, and not used yet, stays as long as this process does.
    registry.put_artifact(b"put").unwrap();
    registry
        .register(contents(&registry, "quakes/parse", "older"))
        .unwrap();
    registry
        .register(contents(&registry, "quakes/parse", "newer"))
        .unwrap();
    // What is not the registry's own stays in any case.
    let notes = registry
        .artifact_path(Digest::of(b"put"))
        .with_file_name("notes");
    std::fs::write(&notes, b"mine").unwrap();
    let report = registry.gc(1_000_000).unwrap();
    let bytes = 3 * "text 0".len() as u64;
    let expected = GcReport {
        revisions: 3,
        deployments: 3,
        artifacts: 3,
        bytes,
    };
    assert_eq!(report, expected);
    check_invariants(&registry);
    assert_eq!(registry.gc(1_000_000).unwrap(), GcReport::default());
    drop(registry);
    let registry = Registry::open(&directory.registry(), options).unwrap();
    let report = registry.gc(1_000_000).unwrap();
    let bytes = ("put".len() + "older".len()) as u64;
    let expected = GcReport {
        revisions: 1,
        deployments: 0,
        artifacts: 2,
        bytes,
    };
    assert_eq!(report, expected);
    assert!(notes.exists());
    // A number is never given again.
    let revision = registry
        .register(contents(&registry, "quakes/classify", "text 0"))
        .unwrap();
    assert_eq!(revision.number, 6);
    assert_eq!(deploy(&registry, &[&revision], 9), 6);
}

/// What is found is not taken away before it is used.
#[test]
fn an_artifact_that_was_asked_for_stays_as_long_as_this_process() {
    let directory = Directory::new();
    let registry = directory.open();
    let [first, second] = ["first", "second"].map(|text| {
        let name = format!("quakes/{text}");
        contents(&registry, &name, text)
    });
    drop(registry);
    let registry = directory.open();
    registry.keep_artifact(first.digest).unwrap();
    let report = registry.gc(0).unwrap();
    assert_eq!((report.artifacts, report.bytes), (1, "second".len() as u64));
    registry.register(first).unwrap();
    let gone = registry.keep_artifact(second.digest).unwrap_err();
    assert_eq!(gone.kind(), "no-such-artifact");
    check_invariants(&registry);
}

#[test]
fn a_revision_can_be_put_registered_and_deployed_while_garbage_is_collected() {
    let directory = Directory::new();
    let options = RegistryOptions {
        retention: Retention {
            keep_last: 0,
            keep_for: Duration::ZERO,
        },
        fault: None,
    };
    let registry = Registry::open(&directory.registry(), options).unwrap();
    let deployed = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !deployed.load(std::sync::atomic::Ordering::Relaxed) {
                registry.gc(u64::MAX).unwrap();
            }
        });
        for number in 0..20 {
            let revision = registry
                .register(contents(&registry, "quakes/classify", &number.to_string()))
                .unwrap();
            deploy(&registry, &[&revision], number);
            registry.artifact(revision.digest).unwrap();
        }
        deployed.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    registry.gc(u64::MAX).unwrap();
    check_invariants(&registry);
    assert_eq!(registry.history(&app(), 100).unwrap().len(), 2);
    assert_eq!(files(&registry).len(), 2);
}
