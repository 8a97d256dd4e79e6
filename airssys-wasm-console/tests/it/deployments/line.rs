//! Orders that are still compiled: their places in line, and what is asked of what runs by their turn.

use std::sync::{Mutex, mpsc};

use airssys_wasm_console::api::{CancelRequest, ConfigRequest, DeployAnswer};
use tokio::sync::mpsc::{Receiver, channel};

use super::*;

/// A host that says when it reads `slow.toml`, and reads it when it is told to.
pub(super) async fn slow() -> (Host, Receiver<()>, mpsc::Sender<()>) {
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

fn cancel(order: u64) -> CancelRequest {
    CancelRequest {
        order,
        by: "ben".to_owned(),
        why: "not today".to_owned(),
    }
}

impl Host {
    async fn becomes_final(&self, request: u64) -> DeployAnswer {
        loop {
            let answer = self.client.deploy_request(request).await.unwrap();
            if answer.phase.is_final() {
                return answer;
            }
        }
    }
}

const TOLD: &str = "cancelled before it began, by `ben`: not today";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_compiles_behind_another_one_is_listed_and_cancelled_at_once() {
    let (host, mut is_read, read) = slow().await;
    let client = &host.client;
    client.deploy(&host.soaking("two.toml", TWO)).await.unwrap();
    host.soaks().await;
    let order = {
        let (client, request) = (client.clone(), host.queued("slow.toml", ONE));
        tokio::spawn(async move { client.deploy(&request).await })
    };
    is_read.recv().await.unwrap();
    let waiting = client.deployment().await.unwrap().waiting;
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].order, &*waiting[0].by), (2, "somebody"));
    let asked = client.deploy_request(2).await.unwrap();
    assert_eq!(
        (asked.phase, asked.order, asked.waiting),
        (DeployPhase::Checking, Some(2), None)
    );
    assert_eq!(client.cancel(&cancel(2)).await.unwrap(), waiting[0]);
    // It is told while it is still read.
    refused(order.await.unwrap(), "cancelled", TOLD, None);
    assert_eq!(client.deployment().await.unwrap().waiting, []);
    read.send(()).unwrap();
    host.answers(3).await;
}

/// The component comes with the deployment before: what is asked of it is asked at its turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_checked_against_what_runs_by_its_turn() {
    let host = Host::start(false).await;
    let client = &host.client;
    let more = format!("{ONE}[components.more]\nfile = \"two.wasm\"\n");
    client.deploy(&host.soaking("two.toml", TWO)).await.unwrap();
    host.soaks().await;
    client
        .deploy(&host.queued("more.toml", &more))
        .await
        .unwrap();
    let config = |queue| ConfigRequest {
        component: Some("app/more".to_owned()),
        set: [("a".to_owned(), "1".to_owned())].into(),
        queue,
        ..ConfigRequest::default()
    };
    let scale = |queue| ScaleRequest {
        component: "more".to_owned(),
        replicas: 2,
        discard_state: true,
        queue,
        ..ScaleRequest::default()
    };
    let none = "there is no component `more`";
    refused(
        client.configure(&config(false)).await,
        "no-such-component",
        none,
        None,
    );
    refused(
        client.scale(&scale(false)).await,
        "no-such-component",
        none,
        None,
    );
    let config = client.configure(&config(true)).await.unwrap();
    let scale = client.scale(&scale(true)).await.unwrap();
    let gone = ConfigRequest {
        component: Some("nobody".to_owned()),
        reload: true,
        queue: true,
        ..ConfigRequest::default()
    };
    let gone = client.configure(&gone).await.unwrap();
    for (number, answer) in (3..).zip([&config, &scale, &gone]) {
        assert_eq!(
            (answer.phase, answer.waiting),
            (DeployPhase::Waiting, Some(number))
        );
    }
    // What is wrong whatever runs is said at once.
    let empty = ConfigRequest {
        queue: true,
        ..ConfigRequest::default()
    };
    refused(
        client.configure(&empty).await,
        "config",
        "nothing is to be",
        None,
    );

    client.promote().await.unwrap();
    let refusal = host.becomes_final(config.request).await.refusal.unwrap();
    assert_eq!(refusal.kind, "config", "{refusal:?}");
    assert!(refusal.message.contains("does not export"), "{refusal:?}");
    let scaled = host.becomes_final(scale.request).await;
    assert_eq!(scaled.phase, DeployPhase::Over, "{scaled:?}");
    let more = "app/more".parse().unwrap();
    assert_eq!(host.running.system().replicas(&more), Some(2));
    let refusal = host.becomes_final(gone.request).await.refusal.unwrap();
    assert_eq!(
        (&*refusal.kind, &*refusal.message),
        ("no-such-component", "there is no component `nobody`")
    );
    host.answers(2).await;
}
