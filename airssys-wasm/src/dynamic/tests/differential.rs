//! The same component, the same values, both roads: same results, same arguments seen by the import.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use wasmtime::Engine;

use super::generate::{any_type, any_value, garbage, representative};
use super::{Guest, echo, oracle, same};
use crate::args::Args;
use crate::value::Value;
use crate::wit::WitType;

fn pad() -> Value {
    Value::Tuple((1..=17).map(Value::U8).collect())
}

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// Sends `value` through every function of its component, on both roads.
pub(super) async fn check(guest: &Guest, ty: &WitType, value: &Value, slow: bool) {
    let pad_type = WitType::Tuple(vec![WitType::U8; 17].into());
    for (path, padded) in [("via", false), ("via-memory", true), ("same-memory", true)] {
        if guest.surface.export(path).is_err() {
            continue;
        }
        let mut args = vec![value.clone()];
        let mut types = vec![ty];
        if padded {
            args.push(pad());
            types.push(&pad_type);
        }
        let mut running = guest.start().await;
        running.store.data_mut().slow = slow;
        let results = running
            .call(path, args.iter().cloned().collect::<Args>())
            .await
            .unwrap();
        let [returned] = results.values() else {
            panic!("{path}: {results:?}");
        };
        assert!(
            same(returned, value),
            "{path} of {ty}: {returned:?} came of {value:?}"
        );

        let (by_val, seen_by_val) = oracle::call(guest, path, &args).await.unwrap();
        assert!(
            same(&by_val, returned),
            "{path} of {ty}: {by_val:?}, {returned:?}"
        );
        let seen = oracle::seen(running.store.data(), &types);
        assert_eq!(seen, seen_by_val, "{path} of {ty}");
        assert_eq!(seen.is_empty(), path == "same-memory");
    }
}

#[test]
fn representative_types_agree_with_val() {
    let engine = Engine::default();
    let mut runner = TestRunner::deterministic();
    for ty in representative() {
        let guest = Guest::new(&engine, &echo::component(&ty, &[]));
        let (_, _, function) = guest.surface.export_functions().next().unwrap();
        assert_eq!(function.ty.result.as_ref(), Some(&ty), "reflection");
        for round in 0..8 {
            let value = any_value(&ty).new_tree(&mut runner).unwrap().current();
            block_on(check(&guest, &ty, &value, round % 2 == 1));
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 48, failure_persistence: None, ..Config::default() })]

    #[test]
    fn random_types_agree_with_val(
        (ty, values) in any_type().prop_flat_map(|ty| {
            let values = proptest::collection::vec(any_value(&ty), 3);
            (Just(ty), values)
        })
    ) {
        let guest = Guest::new(&Engine::default(), &echo::component(&ty, &[]));
        for value in &values {
            block_on(check(&guest, &ty, value, false));
        }
    }

    /// A guest that returns whatever lies about in its memory: both roads take it, or both refuse it.
    #[test]
    fn garbage_is_judged_as_val_judges_it(
        ty in any_type(),
        garbage in garbage(),
        offsets in proptest::collection::vec(0..600u32, 16),
    ) {
        prop_assert_eq!(judge(&ty, &garbage, &offsets), Ok(()));
    }
}

/// What a guest returns that answers with its memory at each of these offsets, by both roads.
pub(super) fn judge(ty: &WitType, garbage: &[u8], offsets: &[u32]) -> Result<(), String> {
    let guest = Guest::new(&Engine::default(), &echo::component(ty, garbage));
    if guest.surface.export("at").is_err() {
        return Ok(());
    }
    for offset in offsets {
        // Most offsets are aligned for anything, some are not.
        let at = Value::U32(if offset % 5 == 0 {
            *offset
        } else {
            offset & !7
        });
        let (direct, by_val) = block_on(async {
            let mut running = guest.start().await;
            let direct = running.call("at", [at.clone()].into_iter().collect()).await;
            (direct, oracle::call(&guest, "at", &[at]).await)
        });
        match (direct, by_val) {
            (Ok(direct), Ok((by_val, _))) if same(&direct.values()[0], &by_val) => {}
            (Err(_), Err(_)) => {}
            // `Val` pays 40 bytes for each, and is out of budget where we are not.
            (Ok(_), Err(why)) if format!("{why:#}").contains("hostcalls has been exhausted") => {}
            (direct, by_val) => return Err(format!("{ty}: {direct:?} but {by_val:?}")),
        }
    }
    Ok(())
}
