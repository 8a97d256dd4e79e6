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
