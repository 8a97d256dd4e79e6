//! Components that somebody has stopped for good: what plans say of them, and that it is what deployments do.

use airssys_wasm_actors::deployment::PlanOptions;

use super::*;

/// `one` with more to say, and `two`.
fn tables(one: &str, two: &str) -> String {
    format!(
        "[components.one]\nfile = {one}\n[components.two]\nfile = \"{two}.wasm\"\nrollout = {{ strategy = \"recreate\" }}\n"
    )
}

/// A host whose `one` was stopped by hand.
async fn stopped() -> Host {
    let host = Host::new(&tables("\"v1.wasm\"", "v1")).await;
    let one = address("app/one");
    let (supervisor, _) = host.system.child(&one).unwrap();
    supervisor.stop_child(&one).await.unwrap();
    assert!(host.system.whereis(&one).is_none());
    host
}

fn text(host: &Host, tables: &str) -> String {
    let new = host.resolve(tables);
    let plan = host.deployer.plan(&new, &PlanOptions::default()).unwrap();
    plan.to_string()
}

#[tokio::test]
async fn what_does_not_need_the_stopped_one_is_deployed_and_it_stays_stopped() {
    let host = stopped().await;
    let stays = "\nstopped: `one` does not run, by hand or for good, and stays so until the host is started again";
    for (at, new) in [
        tables("\"v1.wasm\"", "v2"),
        tables("\"v1.wasm\"\nrestart = \"transient\"", "v1"),
        tables("\"v1.wasm\"\nrestart = \"transient\"", "v1"),
    ]
    .iter()
    .enumerate()
    {
        let plan = text(&host, new);
        assert!(plan.ends_with(stays), "{at}: {plan}");
        let rollout = host.deploy(new).await;
        assert_eq!(rollout.plan().stopped, ["one"]);
        assert_eq!(rollout.finished().await, RolloutOutcome::Permanent, "{at}");
        assert!(host.system.whereis(&address("app/one")).is_none());
        let two = if at == 0 { 2 } else { 1 };
        assert_eq!(number(&host.actor("two"), "version").await, two);
    }
    // A manifest without it has nothing more to say of it.
    let without = "[components.two]\nfile = \"v2.wasm\"\n";
    assert!(!text(&host, without).contains("stopped:"));
    let rollout = host.deploy(without).await;
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    assert_eq!(number(&host.actor("two"), "version").await, 2);
    host.running.stop().await;
}

#[tokio::test]
async fn what_needs_the_stopped_one_fails_as_its_plan_says_and_leaves_what_there_was() {
    let host = stopped().await;
    for one in [
        "\"v2.wasm\"",
        "\"v2.wasm\"\nrollout = { strategy = \"recreate\" }",
        "\"v2.wasm\"\nrollout = { strategy = \"blue-green\" }",
        "\"v2.wasm\"\nrollout = { strategy = \"canary\", steps = [{ weight = \"5%\" }] }",
        "\"v1.wasm\"\nreplicas = 3",
    ] {
        let new = tables(one, "v2");
        let plan = text(&host, &new);
        let fails = "\nstopped: `one` does not run, by hand or for good: the deployment fails at it, and what there was before stays";
        assert!(plan.contains(fails), "{one}: {plan}");
        let end = host.deploy(&new).await.finished().await;
        let reason = match end {
            RolloutOutcome::Failed { reason, stuck } => {
                assert!(stuck.is_empty(), "{one}: {stuck:?}");
                reason
            }
            RolloutOutcome::RolledBack { reason } => reason,
            other => panic!("{one}: {other:?}"),
        };
        assert!(reason.contains("app/one"), "{one}: {reason}");
        assert_eq!(number(&host.actor("two"), "version").await, 1, "{one}");
        assert_eq!(host.permanent(), Some(1), "{one}");
    }
    // Nothing is left that stands in the way of others.
    let others = host.deploy(&tables("\"v1.wasm\"", "v2")).await;
    assert_eq!(others.finished().await, RolloutOutcome::Permanent);
    assert_eq!(number(&host.actor("two"), "version").await, 2);
    host.running.stop().await;
}
