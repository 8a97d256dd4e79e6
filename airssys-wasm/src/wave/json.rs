//! Values as JSON.

use serde_json::{Map, Number, Value as Json};

use super::print::{flags_set, format_value};
use crate::value::Value;
use crate::wit::WitType;

/// Turns a value into JSON.
///
/// Integers are numbers, of 64 bits too; NaN and infinities, which JSON lacks, are null. A `char` is a string,
/// `list<u8>` an array of numbers, a record an object with its fields in order, an `enum` the case's name, a variant
/// `"case"` or `{"case": payload}`, an `option` the value or null, a `result` `{"ok": …}` or `{"err": …}`, and `flags` an
/// array of the names that are set. What is not of type `ty` becomes its WAVE text.
///
/// `option<option<T>>` is the one type whose values JSON cannot tell apart.
#[must_use]
pub fn to_json(value: &Value, ty: &WitType) -> Json {
    match (value, ty) {
        (Value::Bool(value), _) => Json::Bool(*value),
        (Value::S8(value), _) => Json::from(*value),
        (Value::U8(value), _) => Json::from(*value),
        (Value::S16(value), _) => Json::from(*value),
        (Value::U16(value), _) => Json::from(*value),
        (Value::S32(value), _) => Json::from(*value),
        (Value::U32(value), _) => Json::from(*value),
        (Value::S64(value), _) => Json::from(*value),
        (Value::U64(value), _) => Json::from(*value),
        (Value::F32(value), _) => short_float(*value),
        (Value::F64(value), _) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
        (Value::Char(value), _) => Json::from(value.to_string()),
        (Value::String(text), _) => Json::from(&**text),
        (Value::Bytes(bytes), _) => bytes.iter().copied().collect(),
        (Value::List(nodes), WitType::List(element)) => {
            nodes.iter().map(|node| to_json(node, element)).collect()
        }
        (Value::Tuple(nodes), WitType::Tuple(types)) => nodes
            .iter()
            .zip(types.iter())
            .map(|(node, ty)| to_json(node, ty))
            .collect(),
        (Value::Record(nodes), WitType::Record(fields)) => Json::Object(
            nodes
                .iter()
                .zip(fields.iter())
                .map(|(node, field)| (field.name.to_string(), to_json(node, &field.ty)))
                .collect(),
        ),
        (Value::Variant(case, payload), WitType::Variant(cases)) => {
            let case = usize::try_from(*case).ok().and_then(|at| cases.get(at));
            match (case, payload) {
                (Some(case), None) => Json::from(&*case.name),
                (Some(case), Some(value)) => {
                    object(&case.name, to_payload(Some(value), case.ty.as_ref()))
                }
                (None, _) => Json::from(format_value(value, ty)),
            }
        }
        (Value::Enum(case), WitType::Enum(names)) => {
            match usize::try_from(*case).ok().and_then(|at| names.get(at)) {
                Some(name) => Json::from(&**name),
                None => Json::from(format_value(value, ty)),
            }
        }
        (Value::Option(payload), WitType::Option(ty)) => to_payload(payload.as_deref(), Some(ty)),
        (Value::Result(Ok(payload)), WitType::Result { ok, .. }) => {
            object("ok", to_payload(payload.as_deref(), ok.as_deref()))
        }
        (Value::Result(Err(payload)), WitType::Result { err, .. }) => {
            object("err", to_payload(payload.as_deref(), err.as_deref()))
        }
        (Value::Flags(words), WitType::Flags(names)) => flags_set(words, names).collect(),
        (value, ty) => Json::from(format_value(value, ty)),
    }
}

/// The shortest number that reads back as the same `f32`: 0.1, not 0.10000000149011612.
fn short_float(value: f32) -> Json {
    value
        .to_string()
        .parse()
        .ok()
        .and_then(Number::from_f64)
        .map_or(Json::Null, Json::Number)
}

fn object(name: &str, value: Json) -> Json {
    let mut object = Map::new();
    object.insert(name.to_owned(), value);
    Json::Object(object)
}

fn to_payload(payload: Option<&Value>, ty: Option<&WitType>) -> Json {
    match (payload, ty) {
        (Some(value), Some(ty)) => to_json(value, ty),
        (Some(value), None) => Json::from(value.kind()),
        (None, _) => Json::Null,
    }
}
