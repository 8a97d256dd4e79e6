//! One component-model value, owned by the host.
//!
//! Owns: [`Value`], the conversions between it and Rust types ([`From`], [`TryFrom`], [`FromValue`],
//! [`IntoPayload`]), and [`ValueMismatch`]. Values are lifted out of one Store, travel through mailboxes, and are
//! lowered into another. A value carries no type: record fields, cases and flags are numbered in the order of
//! their [`WitType`](crate::WitType), and whoever needs names keeps the type beside it.
//!
//! Costs: 40 bytes a node (asserted below); a scalar never allocates; a `list<u8>` is one reference-counted
//! [`Bytes`], so cloning a message does not copy its payload.
//!
//! A resource stays in its Store; what travels is a handle to it ([`ResourceHandle`]).
//!
//! Deliberately absent: futures and streams. They belong to one Store and cannot travel.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::resource::ResourceHandle;

mod convert;
mod typed;

pub use convert::{FromValue, IntoPayload, ValueMismatch};
pub use typed::{TypedArgs, WitTyped};

/// The words of a `flags` value, 32 flags a word, lowest bit first; the same layout as in the canonical ABI.
pub type FlagWords = SmallVec<[u32; 2]>;

/// A value of any component-model type that can be carried between components as data.
///
/// `list<u8>` is always [`Value::Bytes`], never a [`Value::List`] of [`Value::U8`].
///
/// Equality is structural, with IEEE semantics for floats: a NaN equals nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `bool`
    Bool(bool),
    /// `s8`
    S8(i8),
    /// `u8`
    U8(u8),
    /// `s16`
    S16(i16),
    /// `u16`
    U16(u16),
    /// `s32`
    S32(i32),
    /// `u32`
    U32(u32),
    /// `s64`
    S64(i64),
    /// `u64`
    U64(u64),
    /// `f32`
    F32(f32),
    /// `f64`
    F64(f64),
    /// `char`
    Char(char),
    /// `string`
    String(Box<str>),
    /// `list<u8>`
    Bytes(Bytes),
    /// `list<T>` for every other `T`
    List(Vec<Value>),
    /// `record`: the fields in the order of the type
    Record(Vec<Value>),
    /// `tuple`
    Tuple(Vec<Value>),
    /// `variant`: the case's number in the order of the type, and its payload
    Variant(u32, Option<Box<Value>>),
    /// `enum`: the case's number in the order of the type
    Enum(u32),
    /// `option<T>`
    Option(Option<Box<Value>>),
    /// `result<T, E>`
    Result(Result<Option<Box<Value>>, Option<Box<Value>>>),
    /// `flags`: one bit a flag, in the order of the type
    Flags(FlagWords),
    /// `own<R>` or `borrow<R>`: a handle to a resource of another instance
    Handle(ResourceHandle),
}

/// Bytes that one node of a value occupies; also what lifting one node out of a guest is charged.
pub(crate) const NODE_BYTES: usize = size_of::<Value>();
const _: () = assert!(NODE_BYTES <= 40, "a Value must stay within 40 bytes");

impl Value {
    /// Returns the bytes this value keeps on the heap: string and byte lengths, and 40 a nested value.
    ///
    /// Visits every nested value once. A scalar is 0, and so is a clone's share of a [`Value::Bytes`] ignored:
    /// each clone counts the whole payload.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        let payload = |boxed: &Option<Box<Value>>| {
            boxed
                .as_ref()
                .map_or(0, |value| NODE_BYTES.saturating_add(value.payload_bytes()))
        };
        match self {
            Value::String(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(nodes) | Value::Record(nodes) | Value::Tuple(nodes) => {
                nodes.iter().fold(0, |sum: usize, node| {
                    sum.saturating_add(NODE_BYTES)
                        .saturating_add(node.payload_bytes())
                })
            }
            Value::Variant(_, boxed) | Value::Option(boxed) => payload(boxed),
            Value::Result(Ok(boxed) | Err(boxed)) => payload(boxed),
            Value::Flags(words) => words.len().saturating_mul(size_of::<u32>()),
            _ => 0,
        }
    }

    /// Returns the kind of this value in WIT's words, for messages: `u32`, `list<u8>`, `record` …
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Bool(_) => "bool",
            Value::S8(_) => "s8",
            Value::U8(_) => "u8",
            Value::S16(_) => "s16",
            Value::U16(_) => "u16",
            Value::S32(_) => "s32",
            Value::U32(_) => "u32",
            Value::S64(_) => "s64",
            Value::U64(_) => "u64",
            Value::F32(_) => "f32",
            Value::F64(_) => "f64",
            Value::Char(_) => "char",
            Value::String(_) => "string",
            Value::Bytes(_) => "list<u8>",
            Value::List(_) => "list",
            Value::Record(_) => "record",
            Value::Tuple(_) => "tuple",
            Value::Variant(..) => "variant",
            Value::Enum(_) => "enum",
            Value::Option(_) => "option",
            Value::Result(_) => "result",
            Value::Flags(_) => "flags",
            Value::Handle(handle) if handle.is_own() => "own handle",
            Value::Handle(_) => "borrowed handle",
        }
    }
}

#[cfg(test)]
mod tests;
