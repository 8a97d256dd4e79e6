//! Orders that found the turn free, and have not begun: listed, and cancelled, as those that waited.

use std::sync::{Mutex, mpsc};

use airssys_wasm_console::api::CancelRequest;
use tokio::sync::mpsc::{Receiver, channel};

use super::*;

/// A host that says when it reads `slow.toml`, and reads it when it is told to.
async fn slow() -> (Host, Receiver<()>, mpsc::Sender<()>) {
    let (reads, is_read) = channel(8);
    let (read, go_on) = mpsc::channel();
    let go_on = Mutex::new(go_on);
    let host = Host::reading(None, move |spec| {
        if spec.file.ends_with("slow.toml") {
            reads.try_send(()).unwrap();
            // An error is the end of the test.
            let _ = go_on.lock().unwrap().recv();
        }
    })
    .await;
    (host, is_read, read)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_found_the_turn_free_is_listed_and_cancelled_until_it_begins() {
    let (host, mut is_read, read) = slow().await;
    let client = &host.client;
    let order = {
        let (client, request) = (client.clone(), host.request("slow.toml", TWO));
        tokio::spawn(async move { client.deploy(&request).await })
    };
    is_read.recv().await.unwrap();
    // While it is read another one runs: at its turn it is read once more.
    let path = host.directory.at("other.toml");
    std::fs::write(&path, text(&format!("# other\n{ONE}"))).unwrap();
    let other = ApplicationSpec::read(&path).unwrap();
    let engine = host.running.system().engine().clone();
    let other = resolve(&engine, &other, Beside::default()).unwrap();
    let options = DeployOptions::default();
    let rollout = host.deployer.deploy(other, options).await.unwrap();
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    read.send(()).unwrap();
    is_read.recv().await.unwrap();

    let now = client.deployment().await.unwrap();
    let listed = now.preparing.unwrap();
    assert!(now.waiting.is_empty());
    let manifest = host.directory.at("slow.toml");
    let what = format!("deploy {}", manifest.display());
    assert_eq!(
        (listed.order, &*listed.what, &*listed.by, &*listed.why),
        (1, &*what, "somebody", "it is better")
    );
    let status = client.status(&StatusQuery::default()).await.unwrap();
    assert_eq!(status.deployment.unwrap().preparing, Some(listed.clone()));
    let asked = client.deploy_request(1).await.unwrap();
    assert_eq!(
        (asked.phase, asked.order, asked.waiting),
        (DeployPhase::Checking, Some(1), None)
    );
    let cancel = CancelRequest {
        order: 1,
        by: "ben".to_owned(),
        why: "not today".to_owned(),
    };
    assert_eq!(client.cancel(&cancel).await.unwrap(), listed);
    // The turn is free at once, whatever it still reads.
    assert_eq!(client.deployment().await.unwrap().preparing, None);
    drop(host.deployer.turn().unwrap());
    read.send(()).unwrap();
    let told = "cancelled before it began, by `ben`: not today";
    refused(order.await.unwrap(), "cancelled", told, None);
    let asked = client.deploy_request(1).await.unwrap();
    assert_eq!((asked.phase, asked.order), (DeployPhase::Refused, None));
    host.answers(2).await;

    // One that is not cancelled goes on, and is under way then.
    read.send(()).unwrap();
    let request = host.soaking("slow.toml", TWO);
    let begun = client.deploy(&request).await.unwrap();
    assert_eq!((begun.phase, begun.order), (DeployPhase::RollingOut, None));
    let cancel = CancelRequest { order: 2, ..cancel };
    refused(
        client.cancel(&cancel).await,
        "not-waiting",
        "it is under way",
        Some("airssys rollback"),
    );
    assert_eq!(client.deployment().await.unwrap().preparing, None);
}
