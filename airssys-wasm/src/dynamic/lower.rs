//! Host → guest: values into registers and linear memory.
//!
//! The type leads: a value that is not of the component's own type is an error, never a reinterpretation. Memory is
//! asked of the guest's own `realloc`, whose answer wasmtime checks for alignment and bounds; every write is checked
//! again here, so a bug costs the call and not the process.

#![expect(
    unsafe_code,
    reason = "wasmtime lowers a string into a pair of slots it takes as MaybeUninit"
)]

use std::mem::{self, MaybeUninit};
use std::slice::IterMut;

use wasmtime::component::__internal::wasmtime_environ::component::{TypeListIndex, VariantInfo};
use wasmtime::component::__internal::{InterfaceType, LowerContext};
use wasmtime::component::{Lower, ResourceAny};
use wasmtime::{Result, ValRaw, bail};

use super::{AbiViolation, index};
use crate::resource::ResourceHandle;
use crate::value::Value;

/// Lowers parameters or results into slots, which the caller has set to zero.
pub(super) fn list_to_flat<T>(
    cx: &mut LowerContext<'_, T>,
    types: &[InterfaceType],
    values: &[Value],
    slots: &mut [ValRaw],
) -> Result<()> {
    count(types.len(), values.len())?;
    let mut slots = slots.iter_mut();
    for (ty, value) in types.iter().zip(values) {
        to_flat(cx, *ty, value, &mut slots)?;
    }
    Ok(())
}

/// Lowers parameters or results into memory at `offset`, which is aligned and large enough for them.
pub(super) fn list_to_memory<T>(
    cx: &mut LowerContext<'_, T>,
    types: &[InterfaceType],
    values: &[Value],
    offset: usize,
) -> Result<()> {
    count(types.len(), values.len())?;
    let mut end = 0;
    for (ty, value) in types.iter().zip(values) {
        let start = cx.types.canonical_abi(ty).next_field32(&mut end);
        to_memory(cx, *ty, value, at(offset, start))?;
    }
    Ok(())
}

fn count(expected: usize, given: usize) -> Result<()> {
    if expected == given {
        return Ok(());
    }
    bail!(AbiViolation::Unfit {
        expected: "as many values as declared",
        found: if given < expected { "fewer" } else { "more" },
    })
}

/// An offset past the end stays past the end, and the write that uses it fails.
fn at(base: usize, delta: u32) -> usize {
    base.saturating_add(index(delta))
}

fn next<'s>(dst: &mut IterMut<'s, ValRaw>) -> Result<&'s mut ValRaw> {
    match dst.next() {
        Some(slot) => Ok(slot),
        None => bail!(AbiViolation::Shape),
    }
}

#[cold]
fn unfit<U>(expected: &'static str, value: &Value) -> Result<U> {
    bail!(AbiViolation::Unfit {
        expected,
        found: value.kind(),
    })
}

fn to_flat<T>(
    cx: &mut LowerContext<'_, T>,
    ty: InterfaceType,
    value: &Value,
    dst: &mut IterMut<'_, ValRaw>,
) -> Result<()> {
    if let Some(slot) = scalar(ty, value) {
        *next(dst)? = slot;
        return Ok(());
    }
    compound_to_flat(cx, ty, value, dst)
}

/// What one slot holds, of a value that is one. Apart, and one for all callers: the code of a call competes for the
/// processor's instruction cache.
#[inline(never)]
fn scalar(ty: InterfaceType, value: &Value) -> Option<ValRaw> {
    Some(match (ty, value) {
        (InterfaceType::Bool, Value::Bool(value)) => ValRaw::u32(u32::from(*value)),
        (InterfaceType::S8, Value::S8(value)) => ValRaw::i32(i32::from(*value)),
        (InterfaceType::U8, Value::U8(value)) => ValRaw::u32(u32::from(*value)),
        (InterfaceType::S16, Value::S16(value)) => ValRaw::i32(i32::from(*value)),
        (InterfaceType::U16, Value::U16(value)) => ValRaw::u32(u32::from(*value)),
        (InterfaceType::S32, Value::S32(value)) => ValRaw::i32(*value),
        (InterfaceType::U32, Value::U32(value)) => ValRaw::u32(*value),
        (InterfaceType::S64, Value::S64(value)) => ValRaw::i64(*value),
        (InterfaceType::U64, Value::U64(value)) => ValRaw::u64(*value),
        (InterfaceType::Float32, Value::F32(value)) => ValRaw::f32(value.to_bits()),
        (InterfaceType::Float64, Value::F64(value)) => ValRaw::f64(value.to_bits()),
        (InterfaceType::Char, Value::Char(value)) => ValRaw::u32(u32::from(*value)),
        _ => return None,
    })
}

/// The same of a value that is more than one slot, or not in it.
#[inline(never)]
fn compound_to_flat<T>(
    cx: &mut LowerContext<'_, T>,
    ty: InterfaceType,
    value: &Value,
    dst: &mut IterMut<'_, ValRaw>,
) -> Result<()> {
    let types = cx.types;
    let slot = match (ty, value) {
        (InterfaceType::String, Value::String(text)) => {
            let mut pair = MaybeUninit::new([ValRaw::u64(0); 2]);
            text.linear_lower_to_flat(cx, ty, &mut pair)?;
            // SAFETY: initialised two lines above; lowering may only have overwritten it.
            let [pointer, length] = unsafe { pair.assume_init() };
            *next(dst)? = pointer;
            length
        }
        (InterfaceType::List(at), value) => {
            let (pointer, length) = list(cx, at, value)?;
            *next(dst)? = ValRaw::u32(pointer);
            ValRaw::u32(length)
        }
        (InterfaceType::Own(_) | InterfaceType::Borrow(_), Value::Handle(handle)) => {
            let mut slot = MaybeUninit::new(ValRaw::u64(0));
            lifted(handle, value)?.linear_lower_to_flat(cx, ty, &mut slot)?;
            // SAFETY: initialised two lines above; lowering may only have overwritten it.
            unsafe { slot.assume_init() }
        }
        (InterfaceType::Record(at), Value::Record(nodes)) => {
            let fields = &types[at].fields;
            count(fields.len(), nodes.len())?;
            for (field, node) in fields.iter().zip(nodes) {
                to_flat(cx, field.ty, node, dst)?;
            }
            return Ok(());
        }
        (InterfaceType::Tuple(at), Value::Tuple(nodes)) => {
            return list_to_flat_within(cx, &types[at].types, nodes, dst);
        }
        (InterfaceType::Flags(at), Value::Flags(words)) => {
            count(types[at].names.len().div_ceil(32), words.len())?;
            for word in words {
                *next(dst)? = ValRaw::u32(*word);
            }
            return Ok(());
        }
        _ => {
            let case = Case::of(cx, ty, value)?;
            *next(dst)? = ValRaw::u32(case.discriminant);
            return payload_to_flat(cx, ty, case.payload, dst);
        }
    };
    *next(dst)? = slot;
    Ok(())
}

fn list_to_flat_within<T>(
    cx: &mut LowerContext<'_, T>,
    types: &[InterfaceType],
    nodes: &[Value],
    dst: &mut IterMut<'_, ValRaw>,
) -> Result<()> {
    count(types.len(), nodes.len())?;
    for (ty, node) in types.iter().zip(nodes) {
        to_flat(cx, *ty, node, dst)?;
    }
    Ok(())
}

/// Lowers a payload into the slots all cases share; those it does not use stay zero.
fn payload_to_flat<T>(
    cx: &mut LowerContext<'_, T>,
    whole: InterfaceType,
    payload: Option<(InterfaceType, &Value)>,
    dst: &mut IterMut<'_, ValRaw>,
) -> Result<()> {
    let shared = cx
        .types
        .canonical_abi(&whole)
        .flat_count(usize::MAX)
        .and_then(|count| count.checked_sub(1))
        .and_then(|count| mem::take(dst).into_slice().split_at_mut_checked(count));
    let Some((mine, after)) = shared else {
        bail!(AbiViolation::Shape);
    };
    *dst = after.iter_mut();
    match payload {
        Some((ty, value)) => to_flat(cx, ty, value, &mut mine.iter_mut()),
        None => Ok(()),
    }
}

fn to_memory<T>(
    cx: &mut LowerContext<'_, T>,
    ty: InterfaceType,
    value: &Value,
    offset: usize,
) -> Result<()> {
    let types = cx.types;
    match (ty, value) {
        (InterfaceType::Bool, Value::Bool(value)) => put(cx, offset, [u8::from(*value)]),
        (InterfaceType::S8, Value::S8(value)) => put(cx, offset, value.to_le_bytes()),
        (InterfaceType::U8, Value::U8(value)) => put(cx, offset, value.to_le_bytes()),
        (InterfaceType::S16, Value::S16(value)) => put(cx, offset, value.to_le_bytes()),
        (InterfaceType::U16, Value::U16(value)) => put(cx, offset, value.to_le_bytes()),
        (InterfaceType::S32, Value::S32(value)) => put(cx, offset, value.to_le_bytes()),
        (InterfaceType::U32, Value::U32(value)) => put(cx, offset, value.to_le_bytes()),
        (InterfaceType::S64, Value::S64(value)) => put(cx, offset, value.to_le_bytes()),
        (InterfaceType::U64, Value::U64(value)) => put(cx, offset, value.to_le_bytes()),
        (InterfaceType::Float32, Value::F32(value)) => {
            put(cx, offset, value.to_bits().to_le_bytes())
        }
        (InterfaceType::Float64, Value::F64(value)) => {
            put(cx, offset, value.to_bits().to_le_bytes())
        }
        (InterfaceType::Char, Value::Char(value)) => {
            put(cx, offset, u32::from(*value).to_le_bytes())
        }
        (InterfaceType::String, Value::String(text)) => text.linear_lower_to_memory(cx, ty, offset),
        (InterfaceType::List(place), value) => {
            let (pointer, length) = list(cx, place, value)?;
            put(cx, offset, pointer.to_le_bytes())?;
            put(cx, at(offset, 4), length.to_le_bytes())
        }
        (InterfaceType::Own(_) | InterfaceType::Borrow(_), Value::Handle(handle)) => {
            lifted(handle, value)?.linear_lower_to_memory(cx, ty, offset)
        }
        (InterfaceType::Record(place), Value::Record(nodes)) => {
            let fields = &types[place].fields;
            count(fields.len(), nodes.len())?;
            let mut end = 0;
            for (field, node) in fields.iter().zip(nodes) {
                let start = types.canonical_abi(&field.ty).next_field32(&mut end);
                to_memory(cx, field.ty, node, at(offset, start))?;
            }
            Ok(())
        }
        (InterfaceType::Tuple(place), Value::Tuple(nodes)) => {
            list_to_memory(cx, &types[place].types, nodes, offset)
        }
        (InterfaceType::Flags(place), Value::Flags(words)) => {
            let flags = &types[place];
            count(flags.names.len().div_ceil(32), words.len())?;
            match (flags.abi.size32, words.as_slice()) {
                (1, [word]) => put(cx, offset, u8::try_from(*word)?.to_le_bytes()),
                (2, [word]) => put(cx, offset, u16::try_from(*word)?.to_le_bytes()),
                (_, words) => {
                    for (word, start) in words.iter().zip((0..).step_by(4)) {
                        put(cx, at(offset, start), word.to_le_bytes())?;
                    }
                    Ok(())
                }
            }
        }
        _ => {
            let case = Case::of(cx, ty, value)?;
            match case.info.size.byte_size() {
                1 => put(cx, offset, u8::try_from(case.discriminant)?.to_le_bytes())?,
                2 => put(cx, offset, u16::try_from(case.discriminant)?.to_le_bytes())?,
                _ => put(cx, offset, case.discriminant.to_le_bytes())?,
            }
            match case.payload {
                Some((ty, value)) => {
                    to_memory(cx, ty, value, at(offset, case.info.payload_offset32))
                }
                None => Ok(()),
            }
        }
    }
}

/// A value of a type with cases, matched to its type.
struct Case<'t, 'v> {
    discriminant: u32,
    payload: Option<(InterfaceType, &'v Value)>,
    info: &'t VariantInfo,
}

impl<'t, 'v> Case<'t, 'v> {
    /// Also where every value that is not of its type ends up.
    fn of<T>(cx: &LowerContext<'t, T>, ty: InterfaceType, value: &'v Value) -> Result<Self> {
        let types = cx.types;
        let (discriminant, payload, payload_type, info) = match (ty, value) {
            (InterfaceType::Variant(at), Value::Variant(case, payload)) => {
                let variant = &types[at];
                match variant.cases.get_index(index(*case)) {
                    Some((_, ty)) => (*case, payload.as_deref(), *ty, &variant.info),
                    None => return unfit("a case of the variant", value),
                }
            }
            (InterfaceType::Enum(at), Value::Enum(case)) => {
                let cases = &types[at];
                if index(*case) >= cases.names.len() {
                    return unfit("a case of the enum", value);
                }
                (*case, None, None, &cases.info)
            }
            (InterfaceType::Option(at), Value::Option(payload)) => {
                let option = &types[at];
                let some = payload.is_some();
                let ty = some.then_some(option.ty);
                (u32::from(some), payload.as_deref(), ty, &option.info)
            }
            (InterfaceType::Result(at), Value::Result(Ok(payload))) => {
                (0, payload.as_deref(), types[at].ok, &types[at].info)
            }
            (InterfaceType::Result(at), Value::Result(Err(payload))) => {
                (1, payload.as_deref(), types[at].err, &types[at].info)
            }
            _ => return unfit(kind(ty), value),
        };
        let payload = match (payload_type, payload) {
            (Some(ty), Some(value)) => Some((ty, value)),
            (None, None) => None,
            (Some(_), None) => return unfit("a payload", value),
            (None, Some(_)) => return unfit("no payload", value),
        };
        Ok(Self {
            discriminant,
            payload,
            info,
        })
    }
}

/// Lowers a list into memory of the guest's choosing; one of bytes is one copy.
fn list<T>(cx: &mut LowerContext<'_, T>, at: TypeListIndex, value: &Value) -> Result<(u32, u32)> {
    let element = cx.types[at].element;
    match value {
        Value::Bytes(bytes) if matches!(element, InterfaceType::U8) => {
            let pointer = cx.realloc(0, 0, 1, bytes.len())?;
            match cx
                .as_slice_mut()
                .get_mut(pointer..)
                .and_then(|rest| rest.get_mut(..bytes.len()))
            {
                Some(region) => region.copy_from_slice(bytes),
                None => bail!(AbiViolation::Shape),
            }
            Ok((u32::try_from(pointer)?, u32::try_from(bytes.len())?))
        }
        Value::List(nodes) if !matches!(element, InterfaceType::U8) => {
            let abi = cx.types.canonical_abi(&element);
            let size = index(abi.size32);
            let Some(total) = nodes.len().checked_mul(size) else {
                return unfit("a list that fits the guest's memory", value);
            };
            let pointer = cx.realloc(0, 0, abi.align32, total)?;
            let mut offset = pointer;
            for node in nodes {
                to_memory(cx, element, node, offset)?;
                offset = offset.saturating_add(size);
            }
            Ok((u32::try_from(pointer)?, u32::try_from(nodes.len())?))
        }
        other => unfit("list", other),
    }
}

fn put<T, const N: usize>(
    cx: &mut LowerContext<'_, T>,
    offset: usize,
    bytes: [u8; N],
) -> Result<()> {
    match cx
        .as_slice_mut()
        .get_mut(offset..)
        .and_then(|rest| rest.first_chunk_mut())
    {
        Some(place) => {
            *place = bytes;
            Ok(())
        }
        None => bail!(AbiViolation::Shape),
    }
}

/// A handle as the Store's tables know it; `handles` has put it there.
fn lifted(handle: &ResourceHandle, value: &Value) -> Result<ResourceAny> {
    handle
        .as_lifted()
        .map_or_else(|| unfit("a handle of this instance", value), Ok)
}

fn kind(ty: InterfaceType) -> &'static str {
    match ty {
        InterfaceType::Bool => "bool",
        InterfaceType::S8 => "s8",
        InterfaceType::U8 => "u8",
        InterfaceType::S16 => "s16",
        InterfaceType::U16 => "u16",
        InterfaceType::S32 => "s32",
        InterfaceType::U32 => "u32",
        InterfaceType::S64 => "s64",
        InterfaceType::U64 => "u64",
        InterfaceType::Float32 => "f32",
        InterfaceType::Float64 => "f64",
        InterfaceType::Char => "char",
        InterfaceType::String => "string",
        InterfaceType::Record(_) => "record",
        InterfaceType::Variant(_) => "variant",
        InterfaceType::List(_) => "list",
        InterfaceType::Tuple(_) => "tuple",
        InterfaceType::Flags(_) => "flags",
        InterfaceType::Enum(_) => "enum",
        InterfaceType::Option(_) => "option",
        InterfaceType::Result(_) => "result",
        InterfaceType::Own(_) | InterfaceType::Borrow(_) => "handle",
        _ => "a type that can be carried as data",
    }
}
