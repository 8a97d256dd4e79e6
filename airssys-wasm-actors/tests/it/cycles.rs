//! Calls that would wait for ever are refused (race e), and nothing hangs.

use airssys_wasm::IntoArgs;
use airssys_wasm_actors::{CallError, ChildSpec, Link, System};

use crate::guests::{RELAY, WORKER, address, engine, system, template};

async fn ring(system: &System, names: &[&str]) -> Vec<airssys_wasm_actors::ActorRef> {
    let relay = template(system.engine(), RELAY, &["test:t/work"]);
    let children = names
        .iter()
        .zip(names.iter().cycle().skip(1))
        .map(|(name, next)| {
            ChildSpec::component(address(name), relay.clone())
                .link(Link::new("test:t/work", address(next)))
        });
    system.supervisor().start(children.collect()).await.unwrap()
}

#[tokio::test]
async fn a_ring_of_calls_is_refused_naming_the_ring() {
    let engine = engine();
    let system = system(&engine).await;
    let refs = ring(&system, &["a", "b", "c"]).await;
    match refs[0].call("work", (1_u32,)).await {
        Err(CallError::CalleeDied { reason, .. }) => {
            let text = reason.to_string();
            assert_eq!(reason.kind(), "link-failed", "{text}");
            assert!(text.contains("would wait for ever"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    // All three have died of it, one after the other, and all three are back.
    for actor in refs {
        assert_eq!(actor.call("count", ()).await.unwrap(), (0_u32,).into_args());
    }
}

#[tokio::test]
async fn a_call_to_oneself_is_refused() {
    let engine = engine();
    let system = system(&engine).await;
    let refs = ring(&system, &["narcissus"]).await;
    let text = refs[0]
        .call("work", (1_u32,))
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("`narcissus` → `narcissus`"), "{text}");
}

/// X → A → B while Y → B → A: no chain has a cycle in it, the two together have.
#[test]
fn a_deadlock_across_two_chains_is_found() {
    let engine = engine();
    for round in 0..30 {
        let threads = 1 + round % 2;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let system = system(&engine).await;
            let refs = ring(&system, &["a", "b"]).await;
            let calls: Vec<_> = (0..20_usize)
                .map(|n| {
                    let work = refs[n % 2].function("work").unwrap();
                    tokio::spawn(async move { work.call((1_u32,)).await })
                })
                .collect();
            for call in calls {
                let error = call.await.unwrap().unwrap_err();
                assert_eq!(error.kind(), "callee-died", "{error}");
            }
            let total = system.counters();
            assert_eq!(
                total.calls,
                total.replies + total.call_errors + total.calls_abandoned
            );
        });
    }
}

#[tokio::test]
async fn a_chain_may_be_as_deep_as_the_limit_and_no_deeper() {
    let engine = engine();
    let system = system(&engine).await;
    let relay = template(&engine, RELAY, &["test:t/work"]);
    let worker = ChildSpec::component(address("w"), template(&engine, WORKER, &[]));
    let mut children = vec![worker];
    for n in 0..=airssys_wasm_actors::CALL_DEPTH_MAX {
        let to = if n == 0 {
            "w".to_owned()
        } else {
            format!("r{}", n - 1)
        };
        let link = Link::new("test:t/work", address(&to));
        children.push(ChildSpec::component(address(&format!("r{n}")), relay.clone()).link(link));
    }
    let refs = system.supervisor().start(children).await.unwrap();
    let deepest = &refs[airssys_wasm_actors::CALL_DEPTH_MAX as usize];
    assert_eq!(
        deepest.call("work", (1_u32,)).await.unwrap(),
        (2_u32,).into_args()
    );
    let too_deep = &refs[airssys_wasm_actors::CALL_DEPTH_MAX as usize + 1];
    let text = too_deep
        .call("work", (1_u32,))
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("nested calls is too deep"), "{text}");
    // Nothing of that is the worker's doing; who asked it died of the answer.
    let errors = |at: usize| {
        let counters = refs[at].counters();
        (counters.call_errors, counters.caller_errors)
    };
    assert_eq!((errors(0), errors(1)), ((1, 1), (1, 0)));
}
