//! Orders that found the turn free, and have not begun: listed, and cancelled, as those that waited.

use airssys_wasm_console::api::CancelRequest;

use super::line::slow;
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_found_the_turn_free_is_listed_and_cancelled_until_it_begins() {
    let (host, mut is_read, read) = slow().await;
    let client = &host.client;
    let order = {
        let (client, request) = (client.clone(), host.request("slow.toml", TWO));
        tokio::spawn(async move { client.deploy(&request).await })
    };
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
    // Others are told of it before anything is compiled for them.
    refused(
        client.deploy(&host.request("two.toml", TWO)).await,
        "under-way",
        "another deployment is under way",
        Some("airssys cancel 1"),
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
