//! Values as the tests write them, and as messages carry them.

use airssys_wasm::{Value, WitType};
use wast::component::WastVal;

/// Reads a written value as one of this type; `None` if it is of another.
pub(crate) fn value(written: &WastVal<'_>, ty: &WitType) -> Option<Value> {
    let boxed = |written: &Option<Box<WastVal<'_>>>, ty: Option<&WitType>| match (written, ty) {
        (Some(written), Some(ty)) => value(written, ty).map(|value| Some(Box::new(value))),
        (None, None) => Some(None),
        _ => None,
    };
    Some(match (written, ty) {
        (WastVal::Bool(value), WitType::Bool) => Value::Bool(*value),
        (WastVal::U8(value), WitType::U8) => Value::U8(*value),
        (WastVal::S8(value), WitType::S8) => Value::S8(*value),
        (WastVal::U16(value), WitType::U16) => Value::U16(*value),
        (WastVal::S16(value), WitType::S16) => Value::S16(*value),
        (WastVal::U32(value), WitType::U32) => Value::U32(*value),
        (WastVal::S32(value), WitType::S32) => Value::S32(*value),
        (WastVal::U64(value), WitType::U64) => Value::U64(*value),
        (WastVal::S64(value), WitType::S64) => Value::S64(*value),
        (WastVal::F32(value), WitType::F32) => Value::F32(f32::from_bits(value.bits)),
        (WastVal::F64(value), WitType::F64) => Value::F64(f64::from_bits(value.bits)),
        (WastVal::Char(value), WitType::Char) => Value::Char(*value),
        (WastVal::String(text), WitType::String) => Value::from(*text),
        (WastVal::List(written), WitType::List(element)) => {
            let values = written.iter().map(|written| value(written, element));
            let values = values.collect::<Option<Vec<_>>>()?;
            if **element == WitType::U8 {
                let bytes = values.into_iter().map(u8::try_from);
                Value::from(bytes.collect::<Result<Vec<_>, _>>().ok()?)
            } else {
                Value::List(values)
            }
        }
        (WastVal::Record(written), WitType::Record(fields)) if written.len() == fields.len() => {
            let values = written
                .iter()
                .zip(fields.iter())
                .map(|((name, written), field)| {
                    (**name == *field.name).then(|| value(written, &field.ty))?
                });
            Value::Record(values.collect::<Option<_>>()?)
        }
        (WastVal::Tuple(written), WitType::Tuple(types)) if written.len() == types.len() => {
            let values = written.iter().zip(types.iter());
            let values = values.map(|(written, ty)| value(written, ty));
            Value::Tuple(values.collect::<Option<_>>()?)
        }
        (WastVal::Variant(name, payload), WitType::Variant(cases)) => {
            let at = cases.iter().position(|case| *case.name == **name)?;
            let payload = boxed(payload, cases.get(at)?.ty.as_ref())?;
            Value::Variant(u32::try_from(at).ok()?, payload)
        }
        (WastVal::Enum(name), WitType::Enum(names)) => {
            let at = names.iter().position(|known| **known == **name)?;
            Value::Enum(u32::try_from(at).ok()?)
        }
        (WastVal::Option(payload), WitType::Option(ty)) => {
            Value::Option(boxed(payload, payload.is_some().then_some(&**ty))?)
        }
        (WastVal::Result(Ok(payload)), WitType::Result { ok, .. }) => {
            Value::Result(Ok(boxed(payload, ok.as_deref())?))
        }
        (WastVal::Result(Err(payload)), WitType::Result { err, .. }) => {
            Value::Result(Err(boxed(payload, err.as_deref())?))
        }
        (WastVal::Flags(set), WitType::Flags(names)) => {
            let mut words = vec![0_u32; names.len().div_ceil(32)];
            for name in set {
                let at = names.iter().position(|known| **known == **name)?;
                *words.get_mut(at / 32)? |= 1 << (at % 32);
            }
            Value::Flags(words.into_iter().collect())
        }
        _ => return None,
    })
}
