//! A deployment that failed and could not put everything back: what the next plan says of it, and that the next deployment
//! leaves one revision of each component.

use airssys_wasm_actors::deployment::{Action, Because, Plan, PlanOptions};

use super::*;
use crate::guests::engine_of;

/// `one` in two replicas and `two`; the old instance goes before the new one comes.
fn both(one: &str, two: &str) -> String {
    format!(
        "[components.one]\nfile = \"{one}.wasm\"\nreplicas = 2\nrollout = {{ strategy = \"recreate\" }}\n\
         [components.two]\nfile = \"{two}.wasm\"\nrollout = {{ strategy = \"recreate\" }}\n"
    )
}

/// Why `one` gets new instances by this plan.
fn because(plan: &Plan) -> Vec<Because> {
    let one = plan.parts().find(|part| part.name == "one");
    match one.map(|part| &part.action) {
        Some(Action::Replace(replacement)) => replacement.because.clone(),
        _ => Vec::new(),
    }
}

impl Host {
    fn planned(&self, tables: &str) -> Plan {
        let new = self.resolve(tables);
        self.deployer.plan(&new, &PlanOptions::default()).unwrap()
    }

    /// What each replica of `one` answers.
    async fn versions(&self) -> Vec<u32> {
        let mut versions = Vec::new();
        for name in ["one/0", "one/1"] {
            versions.push(number(&self.actor(name), "version").await);
        }
        versions
    }

    /// `one` is switched, `two` does not start, and there is no room for the old `one` beside the new one.
    async fn is_stuck(&self, file: &str) {
        let rollout = self.deploy(&both(file, "no-init")).await;
        match rollout.finished().await {
            RolloutOutcome::Failed { reason, stuck } => {
                assert!(reason.contains("`init` failed"), "{reason}");
                assert!(
                    stuck.len() == 1 && stuck[0].starts_with("one: "),
                    "{stuck:?}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_could_not_be_put_back_is_planned_and_the_old_manifest_heals_it() {
    let directory = Directory::new("");
    let old = both("v1", "v1");
    let system = system_with(&engine_of(3), true).await;
    let host = Host::in_system(directory, system, &old, RegistryOptions::default()).await;
    assert!(host.planned(&old).is_empty());
    host.is_stuck("v2").await;
    assert_eq!(host.versions().await, [2, 2]);
    assert_eq!(number(&host.actor("two"), "version").await, 1);
    assert_eq!(
        (host.permanent(), host.states(2)),
        (Some(1), DeploymentState::Failed)
    );

    // Neither the old manifest nor the new one is what runs.
    let plan = host.planned(&old);
    assert_eq!(
        (plan.steps.len(), because(&plan)),
        (1, vec![Because::Mixed])
    );
    assert_eq!(plan.unchanged, ["two"]);
    let text = plan.to_string();
    assert!(text.contains("because: mixed"), "{text}");
    assert!(text.contains("mixed: a part may be of "), "{text}");
    let part = &serde_json::to_value(&plan).unwrap()["steps"][0]["parts"][0];
    assert_eq!(part["because"], serde_json::json!(["mixed"]));
    assert_eq!(part["mixed"].as_array().unwrap().len(), 1, "{part}");
    let plan = host.planned(&both("v2", "v1"));
    assert_eq!(because(&plan), [Because::Bytes, Because::Mixed]);

    // One that is undone leaves what it found: it is mixed as before.
    let refused = both("no-init", "v1");
    let end = host.deploy(&refused).await.finished().await;
    assert!(matches!(&end, RolloutOutcome::RolledBack { .. }), "{end:?}");
    assert_eq!(host.versions().await, [2, 2]);
    assert_eq!(because(&host.planned(&old)), [Because::Mixed]);

    let load = Load::start(&host.actor("one"), 2);
    let rollout = host.deploy(&old).await;
    assert_eq!(
        rollout.finished().await,
        RolloutOutcome::Permanent,
        "{:?}",
        rollout.status()
    );
    let (replies, errors, _) = load.end().await;
    assert!(replies > 0);
    assert_eq!(errors, 0);
    // Exactly one revision serves, and nothing is left to do.
    assert_eq!(host.versions().await, [1, 1]);
    assert_eq!(number(&host.actor("two"), "version").await, 1);
    assert!(host.planned(&old).is_empty());
    assert_eq!(host.permanent(), rollout.status().number);
    host.is_clean(3).await;
    host.running.stop().await;
}

#[tokio::test]
async fn either_manifest_heals_what_is_mixed_of_three_revisions() {
    for heals in [both("v2", "v1"), both("v1", "v1")] {
        let directory = Directory::new("");
        let system = system_with(&engine_of(3), true).await;
        let old = both("v1", "v1");
        let host = Host::in_system(directory, system, &old, RegistryOptions::default()).await;
        host.is_stuck("v2").await;
        // Stuck once more, on the way to another one: each that may run is known.
        host.is_stuck("bad").await;
        let part = &serde_json::to_value(host.planned(&old)).unwrap()["steps"][0]["parts"][0];
        assert_eq!(part["mixed"].as_array().unwrap().len(), 2, "{part}");
        let end = host.deploy(&heals).await.finished().await;
        assert_eq!(end, RolloutOutcome::Permanent);
        let version = if heals == old { 1 } else { 2 };
        assert_eq!(host.versions().await, [version; 2]);
        assert!(host.planned(&heals).is_empty());
        host.is_clean(3).await;
        host.running.stop().await;
    }
}

/// A host that is started again boots one revision of each: there is nothing to heal.
#[tokio::test]
async fn a_host_that_starts_again_has_nothing_mixed() {
    let directory = Directory::new("");
    let old = both("v1", "v1");
    let system = system_with(&engine_of(3), true).await;
    let host = Host::in_system(directory, system, &old, RegistryOptions::default()).await;
    host.is_stuck("v2").await;
    host.running.stop().await;
    let registry = host.deployer.registry().unwrap();
    let recovered = registry.recover(&address("app"), 1).unwrap();
    assert!(recovered.interrupted.is_empty(), "{recovered:?}");
    let boot = recovered.boot.unwrap();
    assert_eq!(boot.number, 1);

    let system = system_with(&engine_of(3), true).await;
    let application = resolve(&host.directory, &system, &old);
    let running = application.clone().start(&system).await.unwrap();
    let again = Deployer::new(
        &running,
        application.clone(),
        Some((registry.clone(), boot.number)),
    );
    for name in ["one/0", "one/1", "two"] {
        let actor = system.whereis(&address(&format!("app/{name}"))).unwrap();
        assert_eq!(number(&actor, "version").await, 1);
    }
    assert!(
        again
            .plan(&application, &PlanOptions::default())
            .unwrap()
            .is_empty()
    );
    running.stop().await;
}
