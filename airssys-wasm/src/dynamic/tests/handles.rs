//! Handles anywhere inside values: through a guest, its import and back, and then all of them let go.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wasmtime::Engine;

use super::generate::{any_type, any_value};
use super::{Guest, echo, resource, same};
use crate::args::Args;
use crate::gate::InstanceIdentity;
use crate::resource::ResourceOwner;
use crate::value::Value;
use crate::wit::{Case, Field, ResourceName, WitType};

/// The type with a handle wherever it has a `u32`.
fn handled(ty: &WitType) -> WitType {
    let of = |ty: &Arc<WitType>| Arc::new(handled(ty));
    match ty {
        WitType::U32 => WitType::Own(resource()),
        WitType::List(ty) => WitType::List(of(ty)),
        WitType::Option(ty) => WitType::Option(of(ty)),
        WitType::Record(fields) => WitType::Record(
            fields
                .iter()
                .map(|field| Field {
                    name: field.name.clone(),
                    ty: handled(&field.ty),
                })
                .collect(),
        ),
        WitType::Tuple(types) => WitType::Tuple(types.iter().map(handled).collect()),
        WitType::Variant(cases) => WitType::Variant(
            cases
                .iter()
                .map(|case| Case {
                    name: case.name.clone(),
                    ty: case.ty.as_ref().map(handled),
                })
                .collect(),
        ),
        WitType::Result { ok, err } => WitType::Result {
            ok: ok.as_ref().map(of),
            err: err.as_ref().map(of),
        },
        other => other.clone(),
    }
}

/// Changes every node of a value that has no nodes of its own.
fn each_leaf(value: &mut Value, change: &mut dyn FnMut(&mut Value)) {
    match value {
        Value::List(nodes) | Value::Record(nodes) | Value::Tuple(nodes) => {
            nodes.iter_mut().for_each(|node| each_leaf(node, change));
        }
        Value::Variant(_, payload)
        | Value::Option(payload)
        | Value::Result(Ok(payload) | Err(payload)) => {
            payload.iter_mut().for_each(|node| each_leaf(node, change));
        }
        leaf => change(leaf),
    }
}

async fn check(guest: &Guest, value: &Value, slow: bool) {
    let pad = Value::Tuple((1..=17).map(Value::U8).collect());
    for path in ["via", "via-memory", "same-memory"] {
        if guest.surface.export(path).is_err() {
            continue;
        }
        let owner = ResourceOwner::new(InstanceIdentity {
            address: "owner".into(),
            generation: 1,
        });
        let name: Arc<ResourceName> = resource();
        // The numbers in the value become keys: each once, so that an exchange would show.
        let mut sent = value.clone();
        let mut numbered = value.clone();
        let mut count = 0_u32;
        each_leaf(&mut numbered, &mut |leaf| {
            if let Value::U32(number) = leaf {
                count += 1;
                *number = count;
            }
        });
        let mut next = 0_u64;
        each_leaf(&mut sent, &mut |leaf| {
            if matches!(leaf, Value::U32(_)) {
                next += 1;
                *leaf = Value::Handle(owner.issue(next, &name));
            }
        });
        let mut args = vec![sent];
        if path != "via" {
            args.push(pad.clone());
        }
        let mut running = guest.start().await;
        running.store.data_mut().slow = slow;
        let results = running.call(path, args.into_iter().collect::<Args>()).await;
        let mut returned = results.unwrap().into_values().next().unwrap();
        assert_eq!((owner.held(), owner.has_released()), (next as usize, false));
        let kept = returned.clone();
        each_leaf(&mut returned, &mut |leaf| {
            if let Value::Handle(handle) = leaf {
                *leaf = Value::U32(owner.key_of(handle).unwrap() as u32);
            }
        });
        assert!(
            same(&returned, &numbered),
            "{path}: {returned:?} came of {numbered:?}"
        );
        drop((running, kept));
        let mut released: Vec<u64> = std::iter::from_fn(|| owner.next_released()).collect();
        released.sort_unstable();
        assert_eq!(released, (1..=next).collect::<Vec<_>>(), "{path}");
        assert_eq!(owner.held(), 0);
    }
}

#[test]
fn handles_travel_inside_any_type_and_are_let_go_once() {
    let engine = Engine::default();
    let config = Config {
        cases: 40,
        failure_persistence: None,
        ..Config::default()
    };
    let types = any_type().prop_filter("a type with a handle", |ty| handled(ty).has_handles());
    let cases = types.prop_flat_map(|ty| (any_value(&ty), Just(ty), any::<bool>()));
    TestRunner::new(config)
        .run(&cases, |(value, ty, slow)| {
            let guest = Guest::new(&engine, &echo::component(&handled(&ty), &[]));
            tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap()
                .block_on(check(&guest, &value, slow));
            Ok(())
        })
        .unwrap();
}
