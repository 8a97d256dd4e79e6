//! What must not fail on a bound that is for something else: who gives up what is under way, what the host itself writes, and a
//! host that stops while its disk hangs.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use airssys_wasm_actors::Retention;
use airssys_wasm_console::api::ConfigRequest;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_is_rolled_back_whatever_waits() {
    let host = Host::start(true).await;
    let client = &host.client;
    client.deploy(&host.soaking("two.toml", TWO)).await.unwrap();
    host.soaks().await;
    let queued = host.queued("one.toml", ONE);
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

const CONF: &str = "[components.one]\nfile = \"conf.wasm\"\ngrants = { config = [\"*\"] }\n";

fn config(keys: usize, why: &str, queue: bool) -> ConfigRequest {
    let keys = (0..keys).map(|n| (format!("{n:0>200}"), "v".to_owned()));
    ConfigRequest {
        component: Some("one".to_owned()),
        set: keys.collect(),
        why: why.to_owned(),
        queue,
        ..ConfigRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_host_writes_makes_no_order_too_long() {
    let host = Host::start(true).await;
    let client = &host.client;
    let reads = r#"(component (import "airssys:config/store@0.1.0" (instance))"#;
    let wat = WORKER.replacen("(component", reads, 1);
    std::fs::write(host.directory.at("conf.wasm"), wat::parse_str(wat).unwrap()).unwrap();
    client
        .deploy(&host.request("conf.toml", CONF))
        .await
        .unwrap();
    assert_eq!(host.newest().finished().await, RolloutOutcome::Permanent);
    let why = "w".repeat(4_096);
    let written = async || {
        let list = client.deployments(&HistoryQuery::default()).await.unwrap();
        list.deployments[0].why.clone()
    };
    client.configure(&config(1_000, "", false)).await.unwrap();
    assert_eq!(host.newest().finished().await, RolloutOutcome::Permanent);
    let said = written().await;
    assert!(said.starts_with("config of one: set 0000"), "{said}");
    assert!(said.contains("more") && said.len() <= 4_096, "{said}");
    // What the caller says is kept whole, and what the host says as far as there is room.
    let back = |to, why: &str| RollbackRequest {
        to: Some(to),
        why: why.to_owned(),
        ..RollbackRequest::default()
    };
    client.roll_back(&back(2, &why)).await.unwrap();
    assert_eq!(host.newest().finished().await, RolloutOutcome::Permanent);
    assert_eq!(written().await, why);
    client
        .configure(&config(100, "the evening", false))
        .await
        .unwrap();
    assert_eq!(host.newest().finished().await, RolloutOutcome::Permanent);
    let said = written().await;
    assert!(
        said.ends_with(": the evening") && said.contains("more"),
        "{said}"
    );
    client.roll_back(&back(2, "short")).await.unwrap();
    assert_eq!(host.newest().finished().await, RolloutOutcome::Permanent);
    assert_eq!(written().await, "rollback to 2: short");
    // What the caller says at too great a length is still refused.
    let long = client.roll_back(&back(2, &format!("{why}w"))).await;
    refused(long, "bad-request", "`why` has 4097 bytes", None);

    // And in line.
    client.deploy(&host.soaking("two.toml", TWO)).await.unwrap();
    host.soaks().await;
    let waiting = client.configure(&config(1_000, &why, true)).await.unwrap();
    assert_eq!(waiting.phase, DeployPhase::Waiting);
    let line = client.deployment().await.unwrap().waiting;
    assert!(line[0].what.starts_with("config of one: set 0000"));
    assert!(line[0].what.len() <= 4_096, "{}", line[0].what.len());
    assert_eq!(line[0].why, why);
    client.roll_back(&RollbackRequest::default()).await.unwrap();
    let said = host.newest().finished().await;
    assert!(
        matches!(said, RolloutOutcome::RolledBack { .. }),
        "{said:?}"
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
