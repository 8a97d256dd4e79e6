//! What becomes of the messaging plane when another revision takes the place of the one that has it.

use airssys_wasm_actors::{CallOptions, UpgradeState};

use super::*;

/// Nobody can answer it any more, also while the one that was given it is kept.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_kept_fails_at_once_where_nobody_takes_it_over() {
    let engine = engine();
    let system = system(&engine).await;
    let one = probe(&system, "a/one").await;
    let call = one.function("handle-message").unwrap();
    let kept = tokio::spawn(async move {
        let options = CallOptions {
            within: Duration::from_secs(3_600),
            ..CallOptions::default()
        };
        call.call_with((bytes("later"),), options).await
    });
    while received(&one).await.is_empty() {
        tokio::task::yield_now().await;
    }
    let next = ChildSpec::component(address("a/one"), probe_template(&engine, Some(usual())));
    let options = UpgradeOptions {
        state: UpgradeState::Discard,
        wait_max: Duration::ZERO,
        regardless: true,
        ..UpgradeOptions::default()
    };
    let upgraded = system.upgrade(next, options).unwrap().switch().await;
    let upgraded = upgraded.unwrap();
    assert_eq!(
        kept.await.unwrap().unwrap_err().kind(),
        "callee-died",
        "before its time was over"
    );
    assert_eq!(one.status().queued, 0);
    upgraded.release().await;
    balanced(&system);
    system.shutdown().await;
}

/// Messages go to the handler that there is, whatever was there in between.
#[tokio::test]
async fn a_handler_that_was_gone_hears_again_when_it_is_back() {
    let engine = engine();
    let system = system(&engine).await;
    let (one, two) = (probe(&system, "a/one").await, probe(&system, "a/two").await);
    let deaf = || {
        let template = crate::guests::template(&engine, &crate::upgrades::V2.stateless(), &[]);
        ChildSpec::component(address("a/two"), template)
    };
    let hears = || ChildSpec::component(address("a/two"), probe_template(&engine, Some(usual())));
    for round in 0..4 {
        let upgrade = system.upgrade(deaf(), UpgradeOptions::default());
        let upgraded = upgrade.unwrap().switch().await.unwrap();
        if round % 2 == 0 {
            upgraded.roll_back().await.unwrap();
        } else {
            upgraded.release().await;
            let upgrade = system.upgrade(hears(), UpgradeOptions::default());
            upgrade.unwrap().switch().await.unwrap().release().await;
        }
        assert_eq!(ask(&one, "cast", ("a/two", bytes("hello"))).await, "ok");
        assert_eq!(received(&two).await, ["a/one - - hello"]);
        let call = ("a/two", bytes("echo:back"), 1_000_u64);
        assert_eq!(ask(&one, "call", call).await, "back");
    }
    assert_eq!(two.status().incarnation, 1);
    balanced(&system);
    system.shutdown().await;
}
