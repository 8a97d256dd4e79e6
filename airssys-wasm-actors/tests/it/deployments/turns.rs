//! Orders that have their turn and have not begun.

use airssys_wasm_actors::ConfigOrder;
use airssys_wasm_actors::deployment::{CancelRefused, OrderNote};

use super::*;

fn note(what: &str) -> OrderNote {
    OrderNote {
        what: what.to_owned(),
        ..OrderNote::default()
    }
}

fn cancelled<T: std::fmt::Debug>(order: Result<T, DeployError>) {
    let error = order.unwrap_err();
    let said = "cancelled before it began, by `ann`: not today";
    assert_eq!(error.to_string(), said);
}

#[tokio::test]
async fn an_order_at_its_turn_is_cancelled_until_it_begins() {
    let host = Host::new(ONE).await;
    let (deployer, v2) = (&host.deployer, host.resolve(&one("v2.wasm", "")));
    let turn = deployer.queue(note("first")).unwrap().turn();
    let turn = turn.await.unwrap();
    let second = deployer.queue(note("second")).unwrap();
    assert!(second.waits());
    let order = deployer.cancel(1, "ann", "not today").unwrap();
    assert_eq!((order.id, order.note.what.as_str()), (1, "first"));
    // What it prepares is waited for by nobody, and is not deployed.
    assert!(!second.waits());
    cancelled(deployer.deploy_at(turn, v2.clone(), by("first")));

    let turn = second.turn().await.unwrap();
    let order = ConfigOrder {
        component: Some("one".to_owned()),
        set: [("mode".to_owned(), "quick".to_owned())].into(),
        ..ConfigOrder::default()
    };
    let configuring = deployer.configure_at(turn, order, by("second"));
    deployer.cancel(2, "ann", "not today").unwrap();
    cancelled(configuring.await);
    assert!(deployer.rollouts().is_empty());
    assert_eq!(
        deployer.cancel(2, "", "").unwrap_err(),
        CancelRefused::Gone(2)
    );

    // Once it has begun it is under way, and after that gone.
    let turn = deployer.queue(note("third")).unwrap().turn();
    let rollout = deployer.deploy_at(turn.await.unwrap(), v2, by("third"));
    let rollout = rollout.unwrap();
    assert_eq!(
        deployer.cancel(3, "", "").unwrap_err(),
        CancelRefused::UnderWay(3)
    );
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    assert_eq!(
        deployer.cancel(3, "", "").unwrap_err(),
        CancelRefused::Gone(3)
    );
    // Of those that were cancelled nothing is recorded.
    assert_eq!(
        (rollout.status().number, host.permanent()),
        (Some(2), Some(2))
    );
    assert_eq!(number(&host.actor("one"), "version").await, 2);
    host.is_clean(1).await;
    host.running.stop().await;
}
