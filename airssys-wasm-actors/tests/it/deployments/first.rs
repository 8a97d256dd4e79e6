//! The first deployment of an application, of which the answer to a record is lost.

use super::answers::{Once, once};
use super::unended::{V2_AT_ONCE, is_permanent};
use super::*;

const RECORDS: [&str; 6] = [
    "revision.register",
    "journal.prepared",
    "journal.warmed",
    "journal.switching",
    "journal.soaking",
    "journal.permanent",
];

fn step(record: &str, at: &str) -> &'static str {
    let all = airssys_wasm_actors::REGISTRY_STEPS;
    let found = all.iter().find(|step| **step == format!("{record}.{at}"));
    found.unwrap()
}

#[tokio::test]
async fn the_first_deployment_is_there_whichever_record_was_answered_by_an_error() {
    for record in RECORDS {
        let Once { armed, options } = once(step(record, "after-commit"), || {});
        armed.store(true, Ordering::Release);
        let host = Host::with(ONE, options).await;
        assert!(!armed.load(Ordering::Acquire), "{record}");
        let registry = host.deployer.registry().unwrap();
        let all = registry.history(&address("app"), 9).unwrap();
        let all: Vec<_> = all.iter().map(|one| (one.number, one.state)).collect();
        assert_eq!(all, [(1, DeploymentState::Permanent)], "{record}");
        let revisions = registry.revisions(&address("app/one")).unwrap();
        assert_eq!(revisions.len(), 1, "{record}");
        is_permanent(&host, V2_AT_ONCE).await;
        assert_eq!(host.permanent(), Some(2), "{record}");
        host.running.stop().await;
    }
}

/// An error before a record is there is one of the first deployment, and what it leaves stands in nobody's way.
#[tokio::test]
async fn a_first_deployment_without_a_record_has_failed_and_is_made_again() {
    let host = Host::new(ONE).await;
    let application = host.resolve(ONE);
    for record in RECORDS {
        let Once { armed, options } = once(step(record, "before-commit"), || {});
        let directory = host.directory.0.join(record);
        let registry = Registry::open(&directory, options).unwrap();
        armed.store(true, Ordering::Release);
        let failed = register_first(&registry, &application, &by("first")).unwrap_err();
        assert!(!armed.load(Ordering::Acquire), "{record}");
        assert!(failed.to_string().contains("write"), "{record}: {failed}");
        // As the next host does.
        let recovered = registry.recover(&address("app"), 1).unwrap();
        assert_eq!(recovered.boot, None, "{record}");
        let number = register_first(&registry, &application, &by("again")).unwrap();
        let pointers = registry.pointers(&address("app")).unwrap();
        assert_eq!(pointers.permanent, Some(number), "{record}");
    }
    host.running.stop().await;
}
