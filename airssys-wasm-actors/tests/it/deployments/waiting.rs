//! Orders that wait for their turn: listed in order, cancelled by number, and gone with whoever waits.

use std::task::{Context, Poll, Waker};

use airssys_wasm_actors::ConfigOrder;
use airssys_wasm_actors::deployment::{CancelRefused, OrderNote};

use super::*;

const SOAK: &str = r#"strategy = "blue-green", soak = "1h""#;

impl Host {
    /// A deployment that goes on until it is promoted.
    async fn busy(&self) -> Rollout {
        let rollout = self.deploy(&one("v2.wasm", SOAK)).await;
        let soaking = Some(DeploymentState::Soaking);
        let status = rollout.until(|status| status.state == soaking).await;
        assert_eq!(status.end, None);
        rollout
    }

    /// What waits, by number and note.
    fn line(&self) -> Vec<(u64, String)> {
        let waiting = self.deployer.waiting().into_iter();
        waiting
            .map(|order| {
                (
                    order.id,
                    format!("{} {}: {}", order.note.what, order.note.by, order.note.why),
                )
            })
            .collect()
    }
}

fn queued(why: &str) -> DeployOptions {
    DeployOptions {
        queue: true,
        source: "app.toml".to_owned(),
        ..by(why)
    }
}

/// Takes a place in line, and no turn.
fn waits<F: Future + Unpin>(order: &mut F) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(
        std::pin::Pin::new(order).poll(&mut context),
        Poll::Pending
    ));
}

#[tokio::test]
async fn what_waits_is_listed_in_order_and_cancelled_by_its_number() {
    let host = Host::new(ONE).await;
    let rollout = host.busy().await;
    assert!(host.deployer.waiting().is_empty());
    let deployer = host.deployer.clone();
    let order = |tables: &str, why: &str| {
        let (deployer, new, options) = (deployer.clone(), host.resolve(tables), queued(why));
        Box::pin(async move { deployer.deploy(new, options).await })
    };
    let (v1, bad) = (ONE, "[components.one]\nfile = \"bad.wasm\"\n");
    let (mut first, mut second) = (order(v1, "first"), order(bad, "second"));
    let (mut third, mut fourth) = (order(bad, "third"), order(v1, "fourth"));
    for order in [&mut first, &mut second, &mut third, &mut fourth] {
        waits(order);
    }
    let says = |id: u64, why: &str| (id, format!("deploy app.toml somebody: {why}"));
    let (one, two) = (says(1, "first"), says(2, "second"));
    let (three, four) = (says(3, "third"), says(4, "fourth"));
    assert_eq!(host.line(), [one.clone(), two, three, four.clone()]);

    // One is cancelled, and of another whoever waited has left: nothing of them is done, and the others are where they were.
    let cancelled = deployer.cancel(2, "ann", "not today").unwrap();
    assert_eq!((cancelled.id, cancelled.note.why.as_str()), (2, "second"));
    let error = second.await.unwrap_err();
    assert!(
        matches!(&error, DeployError::Cancelled { by, why } if by == "ann" && why == "not today"),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "cancelled before it began, by `ann`: not today"
    );
    drop(third);
    assert_eq!(host.line(), [one, four.clone()]);
    assert_eq!(rollout.status().state, Some(DeploymentState::Soaking));

    rollout.promote().await.unwrap();
    let first = first.await.unwrap();
    assert_eq!(host.line(), [four]);
    let text = deployer.cancel(1, "", "").unwrap_err().to_string();
    assert!(
        text.contains("it is under way; roll it back, or pause it"),
        "{text}"
    );
    assert_eq!(first.finished().await, RolloutOutcome::Permanent);
    let fourth = fourth.await.unwrap();
    assert_eq!(fourth.finished().await, RolloutOutcome::Permanent);
    for id in [1, 2, 3] {
        assert_eq!(
            deployer.cancel(id, "", "").unwrap_err(),
            CancelRefused::Gone(id)
        );
    }
    for id in [0, 5] {
        assert_eq!(
            deployer.cancel(id, "", "").unwrap_err(),
            CancelRefused::NoSuchOrder(id)
        );
    }
    // Those two, and the one before, are all that was ever begun; the last was nothing to do.
    assert_eq!((deployer.rollouts().len(), host.permanent()), (3, Some(3)));
    assert_eq!(number(&host.actor("one"), "version").await, 1);
    host.is_clean(1).await;
    host.running.stop().await;
}

/// A turn that comes while the order is cancelled: it is run, or it is cancelled, and the next one has its turn in any case.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_whose_turn_comes_is_run_or_cancelled() {
    let host = Host::new(ONE).await;
    let mut seen = [0, 0];
    for round in 0..60_u64 {
        let rollout = host.busy().await;
        let (deployer, new) = (host.deployer.clone(), host.resolve(ONE));
        let waiting = tokio::spawn(async move { deployer.deploy(new, queued("race")).await });
        while host.deployer.waiting().is_empty() {
            tokio::task::yield_now().await;
        }
        let id = host.deployer.waiting()[0].id;
        rollout.roll_back("on purpose").await.unwrap();
        if round % 3 > 0 {
            // Just before the turn is passed on, or just after.
            rollout
                .until(|status| {
                    status
                        .log
                        .iter()
                        .any(|note| note.what.starts_with("rolled back"))
                })
                .await;
        }
        let cancelled = host.deployer.cancel(id, "ann", "");
        match (waiting.await.unwrap(), cancelled) {
            (Ok(rollout), Err(refused)) => {
                assert_ne!(refused, CancelRefused::NoSuchOrder(id));
                assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
                seen[0] += 1;
            }
            (Err(DeployError::Cancelled { .. }), Ok(order)) => {
                assert_eq!(order.id, id);
                seen[1] += 1;
            }
            other => panic!("{other:?}"),
        }
        rollout.finished().await;
        assert!(host.deployer.waiting().is_empty());
        drop(
            host.deployer
                .queue(OrderNote::default())
                .unwrap()
                .turn()
                .await
                .unwrap(),
        );
    }
    assert_eq!(seen[0] + seen[1], 60);
    host.is_clean(1).await;
    host.running.stop().await;
}

#[tokio::test]
async fn a_place_in_line_is_bounded_in_words_and_a_configuration_waits_like_any_other() {
    let host = Host::new(ONE).await;
    let rollout = host.busy().await;
    let long = OrderNote {
        what: "w".repeat(5_000),
        ..OrderNote::default()
    };
    let refused = host.deployer.queue(long).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`what` has 5000 bytes; use 4096 at most"
    );
    let order = ConfigOrder {
        component: Some("one".to_owned()),
        unset: ["mode".to_owned()].into(),
        ..ConfigOrder::default()
    };
    let what = order.to_string();
    let deployer = host.deployer.clone();
    let mut configuring = Box::pin(async move { deployer.configure(order, queued("tidy")).await });
    waits(&mut configuring);
    assert_eq!(host.line(), [(1, format!("{what} somebody: tidy"))]);
    host.deployer.cancel(1, "", "").unwrap();
    let error = configuring.await.unwrap_err();
    assert_eq!(error.to_string(), "cancelled before it began");
    rollout.roll_back("enough").await.unwrap();
    rollout.finished().await;
    host.running.stop().await;
}
