//! What the two revisions of a step did, while its traffic is split.

use super::*;

const HALF: &str = r#"rollout = { strategy = "canary", steps = [{ weight = "50%" }], gate = { interval = "50ms", samples-min = 20, holds-max = 1000, latency-ratio-max = 1000 } }"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_has_the_counts_of_both_revisions() {
    let host = Host::start(false).await;
    let client = &host.client;
    let request = host.request("two.toml", &format!("{TWO}{HALF}\n"));
    let begun = client.deploy(&request).await.unwrap();
    assert_eq!(begun.phase, DeployPhase::RollingOut);
    let one = host.running.actor("one").unwrap();
    let arms = loop {
        one.call("work", (1_u32,)).await.unwrap();
        let rollout = client.deployment().await.unwrap().rollout.unwrap();
        assert_eq!(rollout.end, None);
        let arms = rollout.steps[0].arms;
        if let Some(arms) = arms.filter(|it| it.stable.ended > 0 && it.candidate.ended > 0) {
            break arms;
        }
    };
    for arm in [arms.stable, arms.candidate] {
        assert!(arm.ended <= arm.requests, "{arm:?}");
        assert_eq!((arm.errors, arm.traps, arm.restarts), (0, 0, 0));
    }
    client.roll_back(&RollbackRequest::default()).await.unwrap();
    host.newest().finished().await;
    let rollout = client.deployment().await.unwrap().rollout.unwrap();
    assert_eq!(rollout.steps[0].arms, None);
}
