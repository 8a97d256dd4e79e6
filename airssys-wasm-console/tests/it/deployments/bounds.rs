//! What must not fail on a bound that is for something else: who gives up what is under way.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_is_rolled_back_whatever_waits() {
    let host = Host::start(true).await;
    let client = &host.client;
    client.deploy(&host.soaking("two.toml", TWO)).await.unwrap();
    host.soaks().await;
    let queued = DeployRequest {
        queue: true,
        ..host.request("one.toml", ONE)
    };
    for _ in 1..ORDERS_MAX {
        client.deploy(&queued).await.unwrap();
    }
    let many = client.deploy(&queued).await;
    refused(many, "busy", "", None);
    let rollout = host.newest();
    let back = client.roll_back(&RollbackRequest::default()).await.unwrap();
    assert!(
        matches!(back.phase, DeployPhase::RollingOut | DeployPhase::Over),
        "{back:?}"
    );
    let end = rollout.finished().await;
    assert!(matches!(end, RolloutOutcome::RolledBack { .. }), "{end:?}");
    let found = client.deploy_request(back.request).await.unwrap();
    assert_eq!(
        (found.phase, found.request),
        (DeployPhase::Over, back.request)
    );
}
