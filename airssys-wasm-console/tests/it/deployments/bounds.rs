//! What must not fail on a bound that is for something else: who gives up what is under way, and a host that stops while its disk hangs.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use airssys_wasm_actors::Retention;

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

/// Something on the disk that does not come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_stops_while_its_disk_hangs() {
    let (entered, mut is_in) = tokio::sync::mpsc::channel(1);
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let host = Host::with(Some(RegistryOptions {
        retention: Retention {
            keep_last: 0,
            keep_for: Duration::ZERO,
        },
        fault: Some(Arc::new(move |step| {
            if step == "gc.before-commit" {
                entered.try_send(()).unwrap();
                // Until the test is over.
                let _ = released.lock().unwrap().recv();
            }
            Ok(())
        })),
    }))
    .await;
    let client = host.client.clone();
    for (name, tables) in [("two.toml", TWO), ("one.toml", ONE)] {
        client.deploy(&host.request(name, tables)).await.unwrap();
        assert_eq!(host.newest().finished().await, RolloutOutcome::Permanent);
    }
    let collecting = tokio::spawn(async move { client.collect().await });
    is_in.recv().await.unwrap();
    let server = host.server;
    let stopped = tokio::task::spawn_blocking(move || drop(server));
    // It would be for ever.
    let stopped = tokio::time::timeout(Duration::from_secs(30), stopped).await;
    stopped.expect("the server waits for the disk").unwrap();
    collecting.await.unwrap().unwrap_err();
    drop(release);
}
