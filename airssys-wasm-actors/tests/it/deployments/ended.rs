//! Deployments that change the children of a supervisor that has ended, or is being started again meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use airssys_wasm_actors::Supervisor;

use super::*;

/// It ends with `x`, and then nobody starts it again by itself.
const TEAM: &str = "[supervisors.team]\nrestart = \"transient\"\nauto-shutdown = \"any-significant\"\n\
                    [components.x]\nfile = \"v1.wasm\"\nunder = \"team\"\nrestart = \"temporary\"\nsignificant = true\n";
const TOP: &str = "[components.top]\nfile = \"v1.wasm\"\n";

fn child(file: &str, rollout: &str) -> String {
    format!("[components.child]\nfile = \"{file}\"\nunder = \"team\"\nrollout = {{ {rollout} }}\n")
}

fn team(host: &Host) -> Supervisor {
    host.system.find_supervisor(&address("app/team")).unwrap()
}

async fn ends(host: &Host) {
    host.actor("x").kill();
    team(host).ended().await;
}

async fn is_started(host: &Host) {
    let above = host.running.supervisor();
    above
        .start_stopped_child(&address("app/team"))
        .await
        .unwrap();
    team(host).settled().await;
}

fn is_there(host: &Host) -> bool {
    host.system.whereis(&address("app/child")).is_some()
}

async fn is_permanent(host: &Host, tables: &str) {
    let rollout = host.deploy(tables).await;
    assert_eq!(
        rollout.finished().await,
        RolloutOutcome::Permanent,
        "{:?}",
        rollout.status()
    );
}

#[tokio::test]
async fn what_is_removed_from_a_supervisor_that_has_ended_stays_away() {
    let with = format!("{TEAM}{TOP}{}", child("v1.wasm", ""));
    let without = format!("{TEAM}{TOP}");
    let host = Host::new(&with).await;
    ends(&host).await;
    is_permanent(&host, &without).await;
    assert!(!is_there(&host), "its name is free");
    is_started(&host).await;
    assert_eq!(number(&host.actor("x"), "version").await, 1);
    assert!(!is_there(&host));
    is_permanent(&host, &with).await;
    assert_eq!(number(&host.actor("child"), "version").await, 1);
    host.running.stop().await;
}

#[tokio::test]
async fn what_was_added_to_a_supervisor_that_has_ended_goes_when_its_deployment_is_undone() {
    let host = Host::new(&format!("{TEAM}{TOP}")).await;
    let soaks = TOP.replace("\"v1.wasm\"", "\"v2.wasm\"")
        + "rollout = { strategy = \"blue-green\", soak = \"1h\" }\n";
    let with = format!("{TEAM}{soaks}{}", child("v1.wasm", ""));
    let rollout = host.deploy(&with).await;
    rollout
        .until(|status| status.state == Some(DeploymentState::Soaking))
        .await;
    assert!(is_there(&host));
    ends(&host).await;
    // Whoever watches it may have seen the end first.
    let _ = rollout.roll_back("changed my mind").await;
    let end = rollout.finished().await;
    assert!(matches!(end, RolloutOutcome::RolledBack { .. }), "{end:?}");
    assert!(!is_there(&host), "its name is free");
    is_started(&host).await;
    assert!(!is_there(&host));
    let with = format!("{TEAM}{TOP}{}", child("v1.wasm", ""));
    is_permanent(&host, &with).await;
    assert_eq!(number(&host.actor("child"), "version").await, 1);
    host.running.stop().await;
}

/// Whatever becomes of a deployment whose supervisor is killed again and again: the child is there if the manifest that
/// serves has it, and else it is not.
#[tokio::test]
async fn a_child_is_there_as_the_manifest_says_however_often_its_supervisor_is_killed() {
    let often = "[supervisors.team]\nrestarts = { max = 1000000, within = \"1s\" }\n";
    let above = "[supervision]\nrestarts = { max = 1000000, within = \"1s\" }\n";
    let other = "[components.other]\nfile = \"v1.wasm\"\nunder = \"team\"\n";
    let without = format!("{above}{often}{TOP}{other}");
    let with = format!("{without}{}", child("v1.wasm", ""));
    let host = Host::new(&with).await;
    let mut permanent = [0, 0];
    for round in 0..40 {
        let stop = Arc::<AtomicBool>::default();
        let killer = {
            let (stop, team) = (Arc::clone(&stop), team(&host));
            tokio::spawn(async move {
                while !stop.load(Ordering::Acquire) {
                    team.kill();
                    for _ in 0..round % 7 + 1 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        };
        let new = if round % 2 == 0 { &without } else { &with };
        let end = host.deploy(new).await.finished().await;
        stop.store(true, Ordering::Release);
        killer.await.unwrap();
        team(&host).settled().await;
        if end == RolloutOutcome::Permanent {
            permanent[round % 2] += 1;
            assert_eq!(is_there(&host), round % 2 == 1, "round {round}");
        }
        // Undisturbed, it is as asked in any case.
        is_permanent(&host, new).await;
        assert_eq!(
            is_there(&host),
            round % 2 == 1,
            "round {round}, the second time"
        );
    }
    assert!(permanent[0] > 0, "{permanent:?}");
    host.running.stop().await;
}

#[tokio::test]
async fn what_a_supervisor_that_has_ended_starts_with_is_replaced_and_put_back() {
    let rollout = "strategy = \"rolling\", handles-within = \"5s\"";
    let tables = |file: &str| format!("{TEAM}{TOP}{}", child(file, rollout));
    let host = Host::new(&tables("v1.wasm")).await;
    ends(&host).await;
    is_permanent(&host, &tables("v2.wasm")).await;
    is_started(&host).await;
    assert_eq!(number(&host.actor("child"), "version").await, 2);
    // So is what ends while it is tried.
    let soaks = "strategy = \"blue-green\", soak = \"1h\"";
    let rollout = host
        .deploy(&format!("{TEAM}{TOP}{}", child("v1.wasm", soaks)))
        .await;
    rollout
        .until(|status| status.state == Some(DeploymentState::Soaking))
        .await;
    assert_eq!(number(&host.actor("child"), "version").await, 1);
    ends(&host).await;
    let _ = rollout.roll_back("changed my mind").await;
    let end = rollout.finished().await;
    assert!(matches!(end, RolloutOutcome::RolledBack { .. }), "{end:?}");
    is_started(&host).await;
    assert_eq!(number(&host.actor("child"), "version").await, 2);
    host.running.stop().await;
}
