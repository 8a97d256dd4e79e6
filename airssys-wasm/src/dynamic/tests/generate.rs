//! Random types and random values of them.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::value::Value;
use crate::wit::{Case, Field, WitType};

fn names(prefix: &str, count: usize) -> Arc<[Box<str>]> {
    (0..count).map(|n| format!("{prefix}{n}").into()).collect()
}

pub(super) fn record(types: Vec<WitType>) -> WitType {
    WitType::Record(
        types
            .into_iter()
            .enumerate()
            .map(|(n, ty)| Field {
                name: format!("f{n}").into(),
                ty,
            })
            .collect(),
    )
}

pub(super) fn variant(payloads: Vec<Option<WitType>>) -> WitType {
    WitType::Variant(
        payloads
            .into_iter()
            .enumerate()
            .map(|(n, ty)| Case {
                name: format!("c{n}").into(),
                ty,
            })
            .collect(),
    )
}

pub(super) fn list(ty: WitType) -> WitType {
    WitType::List(Arc::new(ty))
}

pub(super) fn option(ty: WitType) -> WitType {
    WitType::Option(Arc::new(ty))
}

pub(super) fn result(ok: Option<WitType>, err: Option<WitType>) -> WitType {
    WitType::Result {
        ok: ok.map(Arc::new),
        err: err.map(Arc::new),
    }
}

pub(super) fn enumeration(count: usize) -> WitType {
    WitType::Enum(names("e", count))
}

pub(super) fn flags(count: usize) -> WitType {
    WitType::Flags(names("g", count))
}

/// Every scalar, and the shapes that real interfaces are made of.
pub(super) fn representative() -> Vec<WitType> {
    use WitType::{Bool, Char, F32, F64, S8, S16, S32, S64, String, U8, U16, U32, U64};
    let point = record(vec![F64, F64, F32]);
    let feature = record(vec![
        String,
        F64,
        option(F64),
        U64,
        Bool,
        option(String),
        point.clone(),
        enumeration(4),
    ]);
    vec![
        Bool,
        S8,
        U8,
        S16,
        U16,
        S32,
        U32,
        S64,
        U64,
        F32,
        F64,
        Char,
        String,
        list(U8),
        list(U16),
        list(F64),
        list(String),
        list(list(U8)),
        list(list(Char)),
        list(feature.clone()),
        point.clone(),
        feature.clone(),
        // More than 16 flat values, so even `via` goes through memory.
        WitType::Tuple([feature.clone(), feature].into()),
        WitType::Tuple([U8, U64, Bool].into()),
        // Payloads that share slots: every join of the canonical ABI.
        variant(vec![
            None,
            Some(U32),
            Some(F32),
            Some(S64),
            Some(F64),
            Some(String),
        ]),
        variant(vec![Some(F32), Some(S32)]),
        variant(vec![Some(F64), Some(S64)]),
        variant(vec![Some(point), Some(list(U8)), None]),
        // Discriminants of two bytes.
        variant((0..300).map(|n| (n % 3 == 0).then_some(U16)).collect()),
        enumeration(2),
        enumeration(256),
        enumeration(257),
        flags(1),
        flags(8),
        flags(9),
        flags(32),
        list(flags(17)),
        option(option(U8)),
        option(list(U8)),
        result(None, None),
        result(Some(U64), Some(String)),
        result(None, Some(enumeration(3))),
        result(Some(list(record(vec![U8, U32]))), None),
    ]
}

pub(crate) fn any_type() -> impl Strategy<Value = WitType> {
    let leaf = prop_oneof![
        Just(WitType::Bool),
        Just(WitType::S8),
        Just(WitType::U8),
        Just(WitType::S16),
        Just(WitType::U16),
        Just(WitType::S32),
        Just(WitType::U32),
        Just(WitType::S64),
        Just(WitType::U64),
        Just(WitType::F32),
        Just(WitType::F64),
        Just(WitType::Char),
        Just(WitType::String),
        Just(list(WitType::U8)),
        (1..40usize).prop_map(enumeration),
        (1..=32usize).prop_map(flags),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let payload = prop::option::weighted(0.8, inner.clone());
        prop_oneof![
            inner.clone().prop_map(list),
            inner.clone().prop_map(option),
            vec(inner.clone(), 1..5).prop_map(record),
            vec(inner, 1..5).prop_map(|types| WitType::Tuple(types.into())),
            vec(payload.clone(), 1..5).prop_map(variant),
            (payload.clone(), payload).prop_map(|(ok, err)| result(ok, err)),
        ]
    })
}

pub(crate) fn any_value(ty: &WitType) -> BoxedStrategy<Value> {
    match ty {
        WitType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        WitType::S8 => any::<i8>().prop_map(Value::S8).boxed(),
        WitType::U8 => any::<u8>().prop_map(Value::U8).boxed(),
        WitType::S16 => any::<i16>().prop_map(Value::S16).boxed(),
        WitType::U16 => any::<u16>().prop_map(Value::U16).boxed(),
        WitType::S32 => any::<i32>().prop_map(Value::S32).boxed(),
        WitType::U32 => any::<u32>().prop_map(Value::U32).boxed(),
        WitType::S64 => any::<i64>().prop_map(Value::S64).boxed(),
        WitType::U64 => any::<u64>().prop_map(Value::U64).boxed(),
        WitType::F32 => any::<u32>()
            .prop_map(|bits| Value::F32(f32::from_bits(bits)))
            .boxed(),
        WitType::F64 => any::<u64>()
            .prop_map(|bits| Value::F64(f64::from_bits(bits)))
            .boxed(),
        WitType::Char => any::<char>().prop_map(Value::Char).boxed(),
        WitType::String => any::<String>().prop_map(Value::from).boxed(),
        WitType::List(element) if **element == WitType::U8 => {
            vec(any::<u8>(), 0..40).prop_map(Value::from).boxed()
        }
        WitType::List(element) => vec(any_value(element), 0..4).prop_map(Value::List).boxed(),
        WitType::Record(fields) => fields
            .iter()
            .map(|field| any_value(&field.ty))
            .collect::<Vec<_>>()
            .prop_map(Value::Record)
            .boxed(),
        WitType::Tuple(types) => types
            .iter()
            .map(any_value)
            .collect::<Vec<_>>()
            .prop_map(Value::Tuple)
            .boxed(),
        WitType::Variant(cases) => {
            let cases = cases.clone();
            (0..cases.len())
                .prop_flat_map(move |at| {
                    any_payload(cases[at].ty.as_ref())
                        .prop_map(move |payload| Value::Variant(at as u32, payload))
                })
                .boxed()
        }
        WitType::Enum(names) => (0..names.len() as u32).prop_map(Value::Enum).boxed(),
        WitType::Flags(names) => {
            let mask = (1u64 << names.len()) - 1;
            any::<u32>()
                .prop_map(move |bits| Value::Flags([bits & mask as u32].as_slice().into()))
                .boxed()
        }
        WitType::Option(ty) => prop::option::of(any_value(ty))
            .prop_map(|value| Value::Option(value.map(Box::new)))
            .boxed(),
        WitType::Result { ok, err } => prop_oneof![
            any_payload(ok.as_deref()).prop_map(|payload| Value::Result(Ok(payload))),
            any_payload(err.as_deref()).prop_map(|payload| Value::Result(Err(payload))),
        ]
        .boxed(),
        other => panic!("no values of {other}"),
    }
}

fn any_payload(ty: Option<&WitType>) -> BoxedStrategy<Option<Box<Value>>> {
    match ty {
        Some(ty) => any_value(ty)
            .prop_map(|value| Some(Box::new(value)))
            .boxed(),
        None => Just(None).boxed(),
    }
}

/// Bytes that often look like small lengths, discriminants and pointers.
pub(super) fn garbage() -> impl Strategy<Value = Vec<u8>> {
    vec(
        prop_oneof![4 => Just(0u8), 2 => 0..4u8, 1 => any::<u8>()],
        512..600,
    )
}
