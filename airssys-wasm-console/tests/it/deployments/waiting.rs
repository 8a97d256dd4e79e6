//! Orders that wait for their turn, by the control API: listed, cancelled, and there whether or not their clients are.

use airssys_wasm_console::api::{CancelRequest, WaitingView};

use super::*;

impl Host {
    /// A deployment goes on until it is promoted.
    async fn busy(&self) {
        let soaking = self.soaking("two.toml", TWO);
        self.client.deploy(&soaking).await.unwrap();
        self.soaks().await;
    }

    async fn line(&self) -> Vec<WaitingView> {
        self.client.deployment().await.unwrap().waiting
    }
}

fn scale(replicas: u32, why: &str) -> ScaleRequest {
    ScaleRequest {
        component: "one".to_owned(),
        replicas,
        discard_state: true,
        by: "ann".to_owned(),
        why: why.to_owned(),
        queue: true,
        ..ScaleRequest::default()
    }
}

fn cancel(order: u64, why: &str) -> CancelRequest {
    CancelRequest {
        order,
        by: "ben".to_owned(),
        why: why.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_listed_and_cancelled_and_the_others_have_their_turn() {
    let host = Host::start(true).await;
    let client = &host.client;
    host.busy().await;
    assert_eq!(host.line().await, []);
    let first = client.scale(&scale(2, "the evening")).await.unwrap();
    let manifest = host.queued("one.toml", ONE);
    let second = client.deploy(&manifest).await.unwrap();
    let third = client.scale(&scale(3, "")).await.unwrap();
    for (number, answer) in (2..).zip([&first, &second, &third]) {
        assert_eq!(
            (answer.phase, answer.waiting, answer.order),
            (DeployPhase::Waiting, Some(number), Some(number))
        );
    }
    let line = host.line().await;
    let said: Vec<_> = line
        .iter()
        .map(|one| (one.order, &*one.what, &*one.by, &*one.why))
        .collect();
    let what = format!("deploy {}", manifest.manifest);
    assert_eq!(
        said,
        [
            (2, "scale one to 2", "ann", "the evening"),
            (3, &*what, "somebody", "it is better"),
            (4, "scale one to 3", "ann", ""),
        ]
    );
    assert!(line.iter().all(|one| one.since_unix_ms > 0));
    // The status has them, too.
    let status = client.status(&StatusQuery::default()).await.unwrap();
    assert_eq!(status.deployment.unwrap().waiting, line);

    let cancelled = client.cancel(&cancel(3, "not today")).await.unwrap();
    assert_eq!(cancelled, line[1]);
    let told = loop {
        let answer = client.deploy_request(second.request).await.unwrap();
        if answer.phase.is_final() {
            break answer;
        }
    };
    let left = (told.phase, told.waiting, told.order);
    assert_eq!(left, (DeployPhase::Refused, None, None));
    let refusal = told.refusal.unwrap();
    assert_eq!(
        (&*refusal.kind, &*refusal.message),
        (
            "cancelled",
            "cancelled before it began, by `ben`: not today"
        )
    );
    assert_eq!(host.line().await, [line[0].clone(), line[2].clone()]);
    refused(
        client.cancel(&cancel(3, "")).await,
        "not-waiting",
        "order 3 does not wait any more",
        Some("airssys status"),
    );
    refused(
        client.cancel(&cancel(9, "")).await,
        "no-such-order",
        "there is no order 9",
        Some("airssys status"),
    );
    let long = "w".repeat(5_000);
    let why = client.cancel(&cancel(2, &long)).await;
    refused(why, "bad-request", "`why` has 5000 bytes", None);

    // Their clients have long gone: an order goes on all the same.
    client.promote().await.unwrap();
    let one = "app/one".parse().unwrap();
    while host.running.system().replicas(&one) != Some(3) {
        tokio::task::yield_now().await;
    }
    host.answers(3).await;
    assert_eq!(host.newest().finished().await, RolloutOutcome::Permanent);
    // What was cancelled is in no history.
    let list = client.deployments(&HistoryQuery::default()).await.unwrap();
    let why: Vec<_> = list.deployments.iter().map(|one| &*one.why).collect();
    assert_eq!(
        why,
        [
            "scale one to 3",
            "scale one to 2: the evening",
            "it is better",
            ""
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_its_turn_is_rolled_back_and_not_cancelled() {
    let host = Host::start(false).await;
    let client = &host.client;
    host.busy().await;
    let next = DeployRequest {
        queue: true,
        ..host.soaking("one.toml", ONE)
    };
    let waiting = client.deploy(&next).await.unwrap();
    assert_eq!(waiting.waiting, Some(2));
    client.promote().await.unwrap();
    loop {
        let answer = client.deploy_request(waiting.request).await.unwrap();
        if answer.phase == DeployPhase::RollingOut {
            assert_eq!((answer.waiting, answer.order), (None, None));
            break;
        }
    }
    refused(
        client.cancel(&cancel(2, "")).await,
        "not-waiting",
        "order 2 does not wait any more: it is under way",
        Some("airssys rollback"),
    );
    host.soaks().await;
    client.roll_back(&RollbackRequest::default()).await.unwrap();
    let end = host.newest().finished().await;
    assert!(matches!(end, RolloutOutcome::RolledBack { .. }), "{end:?}");
    host.answers(3).await;
    host.server.enter(Phase::Stopping);
    refused(client.cancel(&cancel(2, "")).await, "stopping", "", None);
}

/// Whether it is autoscaled is known at the turn of who would scale it by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_autoscaled_is_shown_and_not_scaled_by_hand() {
    let host = Host::start(true).await;
    let client = &host.client;
    let tables = format!("{TWO}autoscale = {{ min = 1, max = 4 }}\n");
    let begun = client.deploy(&host.soaking("two.toml", &tables)).await;
    let text = begun.unwrap().text.unwrap();
    assert!(text.contains("autoscale: none -> 1 to 4"), "{text}");
    host.soaks().await;
    let by_hand = ScaleRequest {
        component: "one".to_owned(),
        replicas: 3,
        queue: true,
        ..ScaleRequest::default()
    };
    let waiting = client.scale(&by_hand).await.unwrap();
    assert_eq!(waiting.phase, DeployPhase::Waiting);
    let autoscale = async || {
        let status = client.status(&StatusQuery::default()).await.unwrap();
        let mut actors = status.actors.into_iter();
        actors
            .find(|one| one.address == "app/one")
            .unwrap()
            .autoscale
            .unwrap()
    };
    let now = autoscale().await;
    assert_eq!(
        (now.replicas, now.min, now.max, now.paused),
        (1, 1, 4, true)
    );
    client.promote().await.unwrap();
    let refusal = loop {
        let answer = client.deploy_request(waiting.request).await.unwrap();
        if answer.phase.is_final() {
            break answer.refusal.unwrap();
        }
    };
    assert_eq!(refusal.kind, "autoscaled", "{refusal:?}");
    let now = client.scale(&by_hand).await;
    refused(
        now,
        "autoscaled",
        "is autoscaled",
        Some("change `min` and `max`"),
    );
    assert!(!autoscale().await.paused);
    let tree = client.tree().await.unwrap();
    let children = tree.supervisors.iter().flat_map(|one| &one.children);
    let bounds = children.filter_map(|child| child.autoscale.as_ref());
    assert_eq!(bounds.map(|it| it.max).collect::<Vec<_>>(), [4]);
}
