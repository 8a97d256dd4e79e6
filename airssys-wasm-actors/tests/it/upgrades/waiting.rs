//! Upgrades of an actor that has no time for them.

use std::time::Duration;

use airssys_wasm_actors::{NotReplaced, UpgradeOptions};

use super::revision::{V1, V2};
use super::{spec, why};
use crate::guests::{engine, system_with};

/// An actor may be busy for long, and be tried again meanwhile: what was made for it goes with the attempt.
#[tokio::test]
async fn an_upgrade_that_gives_up_waiting_leaves_no_instance_behind() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let actor = system.spawn(spec(&engine, &V1.stateless())).await.unwrap();
    let spin = actor.function("spin").unwrap();
    let spinning = tokio::spawn(async move { spin.call(()).await });
    while actor.status().queued == 0 {
        tokio::task::yield_now().await;
    }
    let options = UpgradeOptions {
        wait_max: Duration::ZERO,
        ..UpgradeOptions::default()
    };
    for _ in 0..3 {
        let mut upgrade = system
            .upgrade(spec(&engine, &V2.stateless()), options)
            .unwrap();
        upgrade.warm().await.unwrap();
        assert_eq!(engine.instances(), 2);
        let why = why(upgrade.switch().await.unwrap_err());
        assert!(matches!(why, NotReplaced::Busy), "{why}");
        assert_eq!(engine.instances(), 1);
    }
    actor.kill();
    assert!(spinning.await.unwrap().is_err());
    system.shutdown().await;
}
