//! Guest → host: values out of registers and linear memory.
//!
//! Every number in here was chosen by a guest. Bounds, alignment, discriminants and characters are checked before
//! use; allocations happen only after the Store's host-call budget was charged for them
//! ([`LiftContext::consume_fuel`]), so their sum is bounded however often a guest lets lists overlap. Recursion is as
//! deep as the type, which cannot refer to itself and was checked against
//! [`TYPE_DEPTH_MAX`](crate::wit::TYPE_DEPTH_MAX).
//!
//! As in wasmtime's own lifting, a nonzero `bool` is true, small integers are taken modulo their width, and
//! undefined flag bits are ignored.

use std::slice::Iter;

use smallvec::SmallVec;
use wasmtime::component::__internal::wasmtime_environ::component::{TypeListIndex, VariantInfo};
use wasmtime::component::__internal::{CanonicalAbiInfo, InterfaceType, LiftContext};
use wasmtime::component::{Lift, ResourceAny};
use wasmtime::{Result, ValRaw, bail};

use super::{AbiViolation, index};
use crate::args::Args;
use crate::payload;
use crate::resource::ResourceHandle;
use crate::value::{FlagWords, NODE_BYTES, Value};

/// Lifts a list of parameters or results that came flat.
pub(super) fn list_from_flat(
    cx: &mut LiftContext<'_>,
    types: &[InterfaceType],
    src: &[ValRaw],
) -> Result<Args> {
    cx.consume_fuel_array(types.len(), NODE_BYTES)?;
    let mut args = Args::with_capacity(types.len());
    let mut src = src.iter();
    for ty in types {
        args.push(from_flat(cx, *ty, &mut src)?);
    }
    Ok(args)
}

/// Lifts a list of parameters or results that came through memory.
pub(super) fn list_from_memory(
    cx: &mut LiftContext<'_>,
    types: &[InterfaceType],
    bytes: &[u8],
) -> Result<Args> {
    cx.consume_fuel_array(types.len(), NODE_BYTES)?;
    let mut args = Args::with_capacity(types.len());
    let mut offset = 0;
    for ty in types {
        let field = field(cx.types.canonical_abi(ty), bytes, &mut offset)?;
        args.push(from_memory(cx, *ty, field)?);
    }
    Ok(args)
}

/// Lifts the results of a function that came flat: none or one.
pub(super) fn one_from_flat(
    cx: &mut LiftContext<'_>,
    types: &[InterfaceType],
    src: &[ValRaw],
) -> Result<Option<Value>> {
    match types {
        [] => Ok(None),
        [ty] => from_flat(cx, *ty, &mut src.iter()).map(Some),
        _ => bail!(AbiViolation::Shape),
    }
}

/// Lifts the results of a function that came through memory: none or one.
pub(super) fn one_from_memory(
    cx: &mut LiftContext<'_>,
    types: &[InterfaceType],
    bytes: &[u8],
) -> Result<Option<Value>> {
    match types {
        [] => Ok(None),
        [ty] => from_memory(cx, *ty, bytes).map(Some),
        _ => bail!(AbiViolation::Shape),
    }
}

/// Returns the bytes of `count` elements at `pointer`, after checking that they are there and aligned.
pub(super) fn region<'a>(
    cx: &LiftContext<'a>,
    what: &'static str,
    pointer: u32,
    count: u32,
    element: &CanonicalAbiInfo,
) -> Result<&'a [u8]> {
    if !pointer.is_multiple_of(element.align32) {
        bail!(AbiViolation::Unaligned {
            what,
            pointer,
            align: element.align32,
        });
    }
    index(count)
        .checked_mul(index(element.size32))
        .and_then(|size| cx.memory().get(index(pointer)..)?.get(..size))
        .ok_or_else(|| {
            AbiViolation::OutOfBounds {
                what,
                pointer,
                length: count,
            }
            .into()
        })
}

fn next<'s>(src: &mut Iter<'s, ValRaw>) -> Result<&'s ValRaw> {
    match src.next() {
        Some(slot) => Ok(slot),
        None => bail!(AbiViolation::Shape),
    }
}

fn from_flat(
    cx: &mut LiftContext<'_>,
    ty: InterfaceType,
    src: &mut Iter<'_, ValRaw>,
) -> Result<Value> {
    let types = cx.types;
    Ok(match ty {
        InterfaceType::Bool => Value::Bool(next(src)?.get_u32() != 0),
        InterfaceType::S8 => Value::S8(i8::linear_lift_from_flat(cx, ty, next(src)?)?),
        InterfaceType::U8 => Value::U8(u8::linear_lift_from_flat(cx, ty, next(src)?)?),
        InterfaceType::S16 => Value::S16(i16::linear_lift_from_flat(cx, ty, next(src)?)?),
        InterfaceType::U16 => Value::U16(u16::linear_lift_from_flat(cx, ty, next(src)?)?),
        InterfaceType::S32 => Value::S32(next(src)?.get_i32()),
        InterfaceType::U32 => Value::U32(next(src)?.get_u32()),
        InterfaceType::S64 => Value::S64(next(src)?.get_i64()),
        InterfaceType::U64 => Value::U64(next(src)?.get_u64()),
        InterfaceType::Float32 => Value::F32(f32::from_bits(next(src)?.get_f32())),
        InterfaceType::Float64 => Value::F64(f64::from_bits(next(src)?.get_f64())),
        InterfaceType::Char => character(next(src)?.get_u32())?,
        InterfaceType::String => {
            let pair = [*next(src)?, *next(src)?];
            Value::String(Box::<str>::linear_lift_from_flat(cx, ty, &pair)?)
        }
        InterfaceType::List(at) => {
            let (pointer, length) = (next(src)?.get_u32(), next(src)?.get_u32());
            list(cx, at, pointer, length)?
        }
        InterfaceType::Record(at) => {
            let fields = &types[at].fields;
            cx.consume_fuel_array(fields.len(), NODE_BYTES)?;
            let mut nodes = Vec::with_capacity(fields.len());
            for field in fields {
                nodes.push(from_flat(cx, field.ty, src)?);
            }
            Value::Record(nodes)
        }
        InterfaceType::Tuple(at) => {
            let elements = &types[at].types;
            cx.consume_fuel_array(elements.len(), NODE_BYTES)?;
            let mut nodes = Vec::with_capacity(elements.len());
            for ty in elements {
                nodes.push(from_flat(cx, *ty, src)?);
            }
            Value::Tuple(nodes)
        }
        InterfaceType::Variant(at) => {
            let case = next(src)?.get_u32();
            let cases = &types[at].cases;
            let found = cases.get_index(index(case)).map(|(_, payload)| *payload);
            let payload = variant_case(found, case, cases.len())?;
            Value::Variant(case, payload_from_flat(cx, ty, payload, src)?)
        }
        InterfaceType::Enum(at) => enumeration(next(src)?.get_u32(), types[at].names.len())?,
        InterfaceType::Option(at) => {
            let some = two_cases(next(src)?.get_u32())?;
            let payload = some.then_some(types[at].ty);
            Value::Option(payload_from_flat(cx, ty, payload, src)?)
        }
        InterfaceType::Result(at) => {
            let err = two_cases(next(src)?.get_u32())?;
            let payload = if err { types[at].err } else { types[at].ok };
            let payload = payload_from_flat(cx, ty, payload, src)?;
            Value::Result(if err { Err(payload) } else { Ok(payload) })
        }
        InterfaceType::Flags(at) => {
            let count = types[at].names.len();
            let mut words = FlagWords::new();
            for _ in 0..count.div_ceil(32) {
                words.push(next(src)?.get_u32());
            }
            flags(cx, words, count)?
        }
        InterfaceType::Own(_) | InterfaceType::Borrow(_) => {
            let any = ResourceAny::linear_lift_from_flat(cx, ty, next(src)?)?;
            handle(cx, any)?
        }
        _ => bail!(AbiViolation::Uncarriable),
    })
}

/// A handle as the Store's tables know it, for `handles` to take out of them.
fn handle(cx: &mut LiftContext<'_>, any: ResourceAny) -> Result<Value> {
    cx.consume_fuel(NODE_BYTES)?;
    Ok(Value::Handle(ResourceHandle::lifted(any)))
}

/// Lifts a payload out of the slots all cases share, and moves past them whatever the case used.
fn payload_from_flat(
    cx: &mut LiftContext<'_>,
    whole: InterfaceType,
    payload: Option<InterfaceType>,
    src: &mut Iter<'_, ValRaw>,
) -> Result<Option<Box<Value>>> {
    let shared = cx
        .types
        .canonical_abi(&whole)
        .flat_count(usize::MAX)
        .and_then(|count| count.checked_sub(1))
        .and_then(|count| src.as_slice().split_at_checked(count));
    let Some((mine, after)) = shared else {
        bail!(AbiViolation::Shape);
    };
    *src = after.iter();
    match payload {
        None => Ok(None),
        Some(ty) => {
            cx.consume_fuel(NODE_BYTES)?;
            from_flat(cx, ty, &mut mine.iter()).map(|value| Some(Box::new(value)))
        }
    }
}

/// Lifts a value out of its bytes, exactly as many as its type has.
fn from_memory(cx: &mut LiftContext<'_>, ty: InterfaceType, bytes: &[u8]) -> Result<Value> {
    let types = cx.types;
    Ok(match ty {
        InterfaceType::Bool => Value::Bool(u8::from_le_bytes(scalar(bytes)?) != 0),
        InterfaceType::S8 => Value::S8(i8::from_le_bytes(scalar(bytes)?)),
        InterfaceType::U8 => Value::U8(u8::from_le_bytes(scalar(bytes)?)),
        InterfaceType::S16 => Value::S16(i16::from_le_bytes(scalar(bytes)?)),
        InterfaceType::U16 => Value::U16(u16::from_le_bytes(scalar(bytes)?)),
        InterfaceType::S32 => Value::S32(i32::from_le_bytes(scalar(bytes)?)),
        InterfaceType::U32 => Value::U32(u32::from_le_bytes(scalar(bytes)?)),
        InterfaceType::S64 => Value::S64(i64::from_le_bytes(scalar(bytes)?)),
        InterfaceType::U64 => Value::U64(u64::from_le_bytes(scalar(bytes)?)),
        InterfaceType::Float32 => Value::F32(f32::from_le_bytes(scalar(bytes)?)),
        InterfaceType::Float64 => Value::F64(f64::from_le_bytes(scalar(bytes)?)),
        InterfaceType::Char => character(u32::from_le_bytes(scalar(bytes)?))?,
        InterfaceType::String => {
            let pair: [u8; 8] = scalar(bytes)?;
            Value::String(Box::<str>::linear_lift_from_memory(cx, ty, &pair)?)
        }
        InterfaceType::List(at) => {
            let pair = u64::from_le_bytes(scalar(bytes)?);
            let (pointer, length) = (
                u32::try_from(pair & 0xffff_ffff)?,
                u32::try_from(pair >> 32)?,
            );
            list(cx, at, pointer, length)?
        }
        InterfaceType::Record(at) => {
            let fields = &types[at].fields;
            cx.consume_fuel_array(fields.len(), NODE_BYTES)?;
            let mut nodes = Vec::with_capacity(fields.len());
            let mut offset = 0;
            for member in fields {
                let bytes = field(types.canonical_abi(&member.ty), bytes, &mut offset)?;
                nodes.push(from_memory(cx, member.ty, bytes)?);
            }
            Value::Record(nodes)
        }
        InterfaceType::Tuple(at) => {
            let elements = &types[at].types;
            cx.consume_fuel_array(elements.len(), NODE_BYTES)?;
            let mut nodes = Vec::with_capacity(elements.len());
            let mut offset = 0;
            for ty in elements {
                let bytes = field(types.canonical_abi(ty), bytes, &mut offset)?;
                nodes.push(from_memory(cx, *ty, bytes)?);
            }
            Value::Tuple(nodes)
        }
        InterfaceType::Variant(at) => {
            let variant = &types[at];
            let case = discriminant(&variant.info, bytes)?;
            let found = variant
                .cases
                .get_index(index(case))
                .map(|(_, payload)| *payload);
            let payload = variant_case(found, case, variant.cases.len())?;
            Value::Variant(
                case,
                payload_from_memory(cx, &variant.info, payload, bytes)?,
            )
        }
        InterfaceType::Enum(at) => {
            enumeration(discriminant(&types[at].info, bytes)?, types[at].names.len())?
        }
        InterfaceType::Option(at) => {
            let option = &types[at];
            let some = two_cases(discriminant(&option.info, bytes)?)?;
            let payload = some.then_some(option.ty);
            Value::Option(payload_from_memory(cx, &option.info, payload, bytes)?)
        }
        InterfaceType::Result(at) => {
            let result = &types[at];
            let err = two_cases(discriminant(&result.info, bytes)?)?;
            let payload = if err { result.err } else { result.ok };
            let payload = payload_from_memory(cx, &result.info, payload, bytes)?;
            Value::Result(if err { Err(payload) } else { Ok(payload) })
        }
        InterfaceType::Flags(at) => {
            let count = types[at].names.len();
            let words: FlagWords = match bytes {
                // Up to 16 flags take one or two bytes, more take whole words.
                [] => SmallVec::new(),
                [byte] => SmallVec::from_slice(&[u32::from(*byte)]),
                [low, high] => {
                    SmallVec::from_slice(&[u32::from(u16::from_le_bytes([*low, *high]))])
                }
                words => words
                    .as_chunks()
                    .0
                    .iter()
                    .map(|word| u32::from_le_bytes(*word))
                    .collect(),
            };
            flags(cx, words, count)?
        }
        InterfaceType::Own(_) | InterfaceType::Borrow(_) => {
            let any = ResourceAny::linear_lift_from_memory(cx, ty, bytes)?;
            handle(cx, any)?
        }
        _ => bail!(AbiViolation::Uncarriable),
    })
}

fn payload_from_memory(
    cx: &mut LiftContext<'_>,
    info: &VariantInfo,
    payload: Option<InterfaceType>,
    bytes: &[u8],
) -> Result<Option<Box<Value>>> {
    let Some(ty) = payload else {
        return Ok(None);
    };
    cx.consume_fuel(NODE_BYTES)?;
    let size = index(cx.types.canonical_abi(&ty).size32);
    match bytes
        .get(index(info.payload_offset32)..)
        .and_then(|rest| rest.get(..size))
    {
        Some(bytes) => from_memory(cx, ty, bytes).map(|value| Some(Box::new(value))),
        None => bail!(AbiViolation::Shape),
    }
}

/// Lifts a list; one of bytes is copied whole.
fn list(cx: &mut LiftContext<'_>, at: TypeListIndex, pointer: u32, length: u32) -> Result<Value> {
    let element = cx.types[at].element;
    let abi = cx.types.canonical_abi(&element);
    let bytes = region(cx, "a list", pointer, length, abi)?;
    if matches!(element, InterfaceType::U8) {
        cx.consume_fuel(bytes.len())?;
        return Ok(Value::Bytes(payload::lifted(bytes)));
    }
    let count = index(length);
    cx.consume_fuel_array(count, NODE_BYTES)?;
    let mut nodes = Vec::with_capacity(count);
    let size = index(abi.size32);
    if size == 0 {
        // Elements without bytes are still counted, and were charged above.
        for _ in 0..count {
            nodes.push(from_memory(cx, element, &[])?);
        }
    } else {
        for bytes in bytes.chunks_exact(size) {
            nodes.push(from_memory(cx, element, bytes)?);
        }
    }
    Ok(Value::List(nodes))
}

/// Cuts the next member of a record, tuple or list of parameters out of its bytes.
fn field<'b>(abi: &CanonicalAbiInfo, bytes: &'b [u8], offset: &mut u32) -> Result<&'b [u8]> {
    let start = index(abi.next_field32(offset));
    match bytes
        .get(start..)
        .and_then(|rest| rest.get(..index(abi.size32)))
    {
        Some(field) => Ok(field),
        None => bail!(AbiViolation::Shape),
    }
}

fn scalar<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    match bytes.first_chunk() {
        Some(chunk) => Ok(*chunk),
        None => bail!(AbiViolation::Shape),
    }
}

fn character(code: u32) -> Result<Value> {
    match char::from_u32(code) {
        Some(character) => Ok(Value::Char(character)),
        None => bail!(AbiViolation::Char(code)),
    }
}

fn discriminant(info: &VariantInfo, bytes: &[u8]) -> Result<u32> {
    Ok(match info.size.byte_size() {
        1 => u32::from(u8::from_le_bytes(scalar(bytes)?)),
        2 => u32::from(u16::from_le_bytes(scalar(bytes)?)),
        _ => u32::from_le_bytes(scalar(bytes)?),
    })
}

/// The discriminant of an `option` or a `result`: whether it is the second case.
fn two_cases(discriminant: u32) -> Result<bool> {
    match discriminant {
        0 => Ok(false),
        1 => Ok(true),
        _ => bail!(AbiViolation::Discriminant {
            discriminant,
            cases: 2,
        }),
    }
}

fn enumeration(discriminant: u32, cases: usize) -> Result<Value> {
    if index(discriminant) < cases {
        Ok(Value::Enum(discriminant))
    } else {
        bail!(AbiViolation::Discriminant {
            discriminant,
            cases,
        })
    }
}

/// Returns the type of a case's payload; `found` is what the type says of the case, if it has it.
fn variant_case(
    found: Option<Option<InterfaceType>>,
    discriminant: u32,
    cases: usize,
) -> Result<Option<InterfaceType>> {
    match found {
        Some(payload) => Ok(payload),
        None => bail!(AbiViolation::Discriminant {
            discriminant,
            cases,
        }),
    }
}

/// Clears the bits past the last flag, which the canonical ABI says to ignore.
fn flags(cx: &mut LiftContext<'_>, mut words: FlagWords, count: usize) -> Result<Value> {
    cx.consume_fuel_array(words.len(), size_of::<u32>())?;
    words.truncate(count.div_ceil(32));
    if let (Some(last), Ok(used @ 1..)) = (words.last_mut(), u32::try_from(count % 32)) {
        *last &= !(u32::MAX << used);
    }
    Ok(Value::Flags(words))
}
