//! The other road: wasmtime's own `Val`, and the conversion from and to [`Value`].

use wasmtime::component::{Linker, Val};
use wasmtime::{Result, Store, format_err};

use super::{Echo, Guest};
use crate::value::{FlagWords, Value};
use crate::wit::WitType;

/// Calls `path` with `Val`s all the way, imports included.
pub(super) async fn call(guest: &Guest, path: &str, args: &[Value]) -> Result<(Value, Vec<Val>)> {
    let engine = guest.component.engine();
    let mut linker = Linker::<Vec<Val>>::new(engine);
    for (_, interface, function) in guest.surface.import_functions() {
        let mut instance = linker.instance(interface.as_str())?;
        instance.func_new_async(&function.name, |mut store, _ty, params, results| {
            Box::new(async move {
                store.data_mut().extend_from_slice(params);
                results[0] = params[0].clone();
                Ok(())
            })
        })?;
    }
    let mut store = Store::new(engine, Vec::new());
    let instance = linker
        .instantiate_async(&mut store, &guest.component)
        .await?;
    let id = guest
        .surface
        .export(path)
        .map_err(|error| format_err!("{error}"))?;
    let (_, function) = guest.surface.export_function(id).unwrap();
    let params: Vec<Val> = args
        .iter()
        .zip(&function.ty.params)
        .map(|(value, (_, ty))| to_val(value, ty))
        .collect();
    let mut results = [Val::Bool(false)];
    instance
        .get_func(&mut store, path)
        .unwrap()
        .call_async(&mut store, &params, &mut results)
        .await?;
    let result = from_val(&results[0], function.ty.result.as_ref().unwrap());
    Ok((result, store.into_data()))
}

/// What the direct road saw, as `Val`s, to compare with what this one saw.
pub(super) fn seen(echo: &Echo, types: &[&WitType]) -> Vec<Val> {
    echo.seen
        .iter()
        .flat_map(|args| {
            args.values()
                .iter()
                .zip(types)
                .map(|(value, ty)| to_val(value, ty))
        })
        .collect()
}

pub(super) fn to_val(value: &Value, ty: &WitType) -> Val {
    let boxed = |payload: &Option<Box<Value>>, ty: Option<&WitType>| {
        payload
            .as_ref()
            .map(|value| Box::new(to_val(value, ty.unwrap())))
    };
    match (value, ty) {
        (Value::Bool(value), _) => Val::Bool(*value),
        (Value::S8(value), _) => Val::S8(*value),
        (Value::U8(value), _) => Val::U8(*value),
        (Value::S16(value), _) => Val::S16(*value),
        (Value::U16(value), _) => Val::U16(*value),
        (Value::S32(value), _) => Val::S32(*value),
        (Value::U32(value), _) => Val::U32(*value),
        (Value::S64(value), _) => Val::S64(*value),
        (Value::U64(value), _) => Val::U64(*value),
        (Value::F32(value), _) => Val::Float32(*value),
        (Value::F64(value), _) => Val::Float64(*value),
        (Value::Char(value), _) => Val::Char(*value),
        (Value::String(value), _) => Val::String(value.to_string()),
        (Value::Bytes(value), _) => Val::List(value.iter().map(|byte| Val::U8(*byte)).collect()),
        (Value::List(nodes), WitType::List(ty)) => {
            Val::List(nodes.iter().map(|node| to_val(node, ty)).collect())
        }
        (Value::Record(nodes), WitType::Record(fields)) => Val::Record(
            nodes
                .iter()
                .zip(fields.iter())
                .map(|(node, field)| (field.name.to_string(), to_val(node, &field.ty)))
                .collect(),
        ),
        (Value::Tuple(nodes), WitType::Tuple(types)) => Val::Tuple(
            nodes
                .iter()
                .zip(types.iter())
                .map(|(node, ty)| to_val(node, ty))
                .collect(),
        ),
        (Value::Variant(case, payload), WitType::Variant(cases)) => {
            let case = &cases[*case as usize];
            Val::Variant(case.name.to_string(), boxed(payload, case.ty.as_ref()))
        }
        (Value::Enum(case), WitType::Enum(names)) => Val::Enum(names[*case as usize].to_string()),
        (Value::Option(payload), WitType::Option(ty)) => Val::Option(boxed(payload, Some(ty))),
        (Value::Result(value), WitType::Result { ok, err }) => Val::Result(match value {
            Ok(payload) => Ok(boxed(payload, ok.as_deref())),
            Err(payload) => Err(boxed(payload, err.as_deref())),
        }),
        (Value::Flags(words), WitType::Flags(names)) => Val::Flags(
            names
                .iter()
                .enumerate()
                .filter(|(at, _)| words[at / 32] & (1 << (at % 32)) != 0)
                .map(|(_, name)| name.to_string())
                .collect(),
        ),
        (value, ty) => panic!("{value:?} is no {ty}"),
    }
}

pub(super) fn from_val(value: &Val, ty: &WitType) -> Value {
    let boxed = |payload: &Option<Box<Val>>, ty: Option<&WitType>| {
        payload
            .as_ref()
            .map(|value| Box::new(from_val(value, ty.unwrap())))
    };
    match (value, ty) {
        (Val::Bool(value), _) => Value::Bool(*value),
        (Val::S8(value), _) => Value::S8(*value),
        (Val::U8(value), _) => Value::U8(*value),
        (Val::S16(value), _) => Value::S16(*value),
        (Val::U16(value), _) => Value::U16(*value),
        (Val::S32(value), _) => Value::S32(*value),
        (Val::U32(value), _) => Value::U32(*value),
        (Val::S64(value), _) => Value::S64(*value),
        (Val::U64(value), _) => Value::U64(*value),
        (Val::Float32(value), _) => Value::F32(*value),
        (Val::Float64(value), _) => Value::F64(*value),
        (Val::Char(value), _) => Value::Char(*value),
        (Val::String(value), _) => Value::from(value.as_str()),
        (Val::List(nodes), WitType::List(ty)) if **ty == WitType::U8 => Value::from(
            nodes
                .iter()
                .map(|node| match node {
                    Val::U8(byte) => *byte,
                    other => panic!("{other:?} is no u8"),
                })
                .collect::<Vec<u8>>(),
        ),
        (Val::List(nodes), WitType::List(ty)) => {
            Value::List(nodes.iter().map(|node| from_val(node, ty)).collect())
        }
        (Val::Record(nodes), WitType::Record(fields)) => Value::Record(
            nodes
                .iter()
                .zip(fields.iter())
                .map(|((_, node), field)| from_val(node, &field.ty))
                .collect(),
        ),
        (Val::Tuple(nodes), WitType::Tuple(types)) => Value::Tuple(
            nodes
                .iter()
                .zip(types.iter())
                .map(|(node, ty)| from_val(node, ty))
                .collect(),
        ),
        (Val::Variant(name, payload), WitType::Variant(cases)) => {
            let at = cases.iter().position(|case| *case.name == **name).unwrap();
            Value::Variant(at as u32, boxed(payload, cases[at].ty.as_ref()))
        }
        (Val::Enum(name), WitType::Enum(names)) => {
            Value::Enum(names.iter().position(|known| **known == **name).unwrap() as u32)
        }
        (Val::Option(payload), WitType::Option(ty)) => Value::Option(boxed(payload, Some(ty))),
        (Val::Result(value), WitType::Result { ok, err }) => Value::Result(match value {
            Ok(payload) => Ok(boxed(payload, ok.as_deref())),
            Err(payload) => Err(boxed(payload, err.as_deref())),
        }),
        (Val::Flags(set), WitType::Flags(names)) => {
            let mut words = FlagWords::from_elem(0, names.len().div_ceil(32));
            for name in set {
                let at = names.iter().position(|known| **known == **name).unwrap();
                words[at / 32] |= 1 << (at % 32);
            }
            Value::Flags(words)
        }
        (value, ty) => panic!("{value:?} is no {ty}"),
    }
}
