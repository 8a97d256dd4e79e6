//! Deployments that change how many replicas there are.

use std::time::Duration;

use airssys_wasm_actors::deployment::{RolloutOutcome, StepState};
use airssys_wasm_actors::{DeploymentState, UpgradeOptions};

use super::{Host, ONE, Work, canary, one};
use crate::guests::address;
use crate::upgrades::{Load, number};

fn replicas(host: &Host) -> u32 {
    host.system.replicas(&address("app/one")).unwrap()
}

fn of(file: &str, replicas: u32, rollout: &str) -> String {
    format!("{}replicas = {replicas}\n", one(file, rollout))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_is_deployed_recorded_and_taken_back_under_load() {
    let host = Host::new(ONE).await;
    let actor = host.actor("one");
    let load = Load::start(&actor, 4);
    let rolling = r#"strategy = "rolling""#;
    for (at, to) in (2..).zip([4_u32, 2, 1, 3]) {
        let rollout = host.deploy(&of("v1.wasm", to, rolling)).await;
        if at > 2 {
            let plan = rollout.plan().to_string();
            assert!(plan.contains("1. scale `one` from"), "{plan}");
        }
        assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
        assert_eq!(rollout.status().steps[0].state, StepState::Switched);
        assert_eq!((replicas(&host), host.permanent()), (to, Some(at)));
        host.is_clean_of(to).await;
    }
    // Both at once: what serves and how many of it; and neither, if it does not start.
    let both = host.deploy(&of("v2.wasm", 5, rolling)).await;
    assert_eq!(both.finished().await, RolloutOutcome::Permanent);
    assert_eq!((number(&actor, "version").await, replicas(&host)), (2, 5));
    let failing = host.deploy(&of("no-init.wasm", 7, rolling)).await;
    let end = failing.finished().await;
    assert!(matches!(end, RolloutOutcome::Failed { .. }), "{end:?}");
    assert_eq!((number(&actor, "version").await, replicas(&host)), (2, 5));
    let fewer = host.deploy(&of("v1.wasm", 2, rolling)).await;
    assert_eq!(fewer.finished().await, RolloutOutcome::Permanent);
    assert_eq!((number(&actor, "version").await, replicas(&host)), (1, 2));
    host.is_clean_of(2).await;
    let (replies, errors, _) = load.end().await;
    assert!(replies > 0);
    assert_eq!(errors, 0);
    host.running.stop().await;
}

/// Until nothing is undone any more there are as many as the larger number, and a rollback leaves what there was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_leaves_as_many_as_there_were() {
    let soaking = r#"strategy = "blue-green", soak = "1h""#;
    let host = Host::new(&of("v1.wasm", 2, soaking)).await;
    let actor = host.actor("one");
    let load = Load::start(&actor, 4);
    for (file, to, meanwhile) in [
        ("v2.wasm", 4, 4),
        ("v2.wasm", 1, 2),
        ("v1.wasm", 5, 5),
        ("v1.wasm", 1, 1),
    ] {
        let rollout = host.deploy(&of(file, to, soaking)).await;
        if file == "v2.wasm" {
            let soaking = Some(DeploymentState::Soaking);
            let status = rollout.until(|status| status.state == soaking).await;
            assert!(status.end.is_none(), "{status:?}");
            assert_eq!(replicas(&host), meanwhile, "{file} {to}");
            rollout.roll_back("on purpose").await.unwrap();
            let end = rollout.finished().await;
            assert!(matches!(end, RolloutOutcome::RolledBack { .. }), "{end:?}");
        } else {
            // What only scales has nothing to soak.
            assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
            assert_eq!(replicas(&host), to);
            let back = host.deploy(&of("v1.wasm", 2, soaking)).await;
            assert_eq!(back.finished().await, RolloutOutcome::Permanent);
        }
        assert_eq!(replicas(&host), 2, "{file} {to}");
        assert_eq!(number(&actor, "version").await, 1);
        host.is_clean_of(2).await;
    }
    let (replies, errors, _) = load.end().await;
    assert!(replies > 0);
    assert_eq!(errors, 0);
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_may_have_another_number_than_what_it_follows() {
    let host = Host::new(ONE).await;
    let actor = host.actor("one");
    let work = Work::start(&actor);
    let rollout = host.deploy(&of("v2.wasm", 3, &canary())).await;
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    assert_eq!((number(&actor, "version").await, replicas(&host)), (2, 3));
    let (replies, errors) = work.end().await;
    assert!(replies > 0);
    assert_eq!(errors, 0);
    host.is_clean_of(3).await;
    // A supervisor that is made again has as many.
    let mut events = host.system.events();
    let before = host.actor("one/2").status().incarnation;
    host.running.supervisor().kill();
    // The last of them.
    crate::guests::started(&mut events, &address("app/one/2"), before).await;
    assert_eq!(replicas(&host), 3);
    tokio::time::timeout(
        Duration::from_secs(60),
        actor.health(Duration::from_secs(30)),
    )
    .await
    .unwrap()
    .unwrap();
    host.running.stop().await;
}

/// Whoever has it in hand is waited for, and not for ever.
#[tokio::test(start_paused = true)]
async fn what_somebody_else_is_at_is_waited_for() {
    let host = Host::new(ONE).await;
    let switching = Some(DeploymentState::Switching);
    for (to, lets_go) in [(3, true), (2, false)] {
        let from = replicas(&host);
        let current = host.deployer.current();
        let one = current.components().iter().find(|one| one.name == "one");
        let mut spec = one.unwrap().child.clone();
        spec.replicas = from;
        let mut upgrade = host
            .system
            .upgrade(spec, UpgradeOptions::default())
            .unwrap();
        upgrade.warm().await.unwrap();
        // While it is kept, their number is nobody's to change.
        let mut kept = Some(upgrade.switch().await.unwrap());
        let rollout = host
            .deploy(&of("v1.wasm", to, r#"strategy = "rolling""#))
            .await;
        rollout.until(|status| status.state == switching).await;
        if lets_go {
            kept = None;
        }
        match rollout.finished().await {
            RolloutOutcome::Permanent => assert!(lets_go || to < from),
            other => assert!(!lets_go, "{other:?}"),
        }
        assert_eq!(replicas(&host), if lets_go { to } else { from });
        drop(kept);
    }
    // There are more than were asked for, and they serve.
    assert_eq!(number(&host.actor("one"), "version").await, 1);
    host.running.stop().await;
}

impl Host {
    async fn is_clean_of(&self, replicas: u32) {
        while self.system.engine().instances() != u64::from(replicas) {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.actor("one").replicas().len(), replicas as usize);
    }
}
