//! Conversions between [`Value`] and the Rust types it stands for.
//!
//! `From` and `TryFrom` cover what Rust's coherence rules allow; [`FromValue`] is the trait that also reaches
//! `Option`, `Result`, `Vec` and tuples, and is what [`FromArgs`](crate::FromArgs) is built on. Conversions move:
//! a string or byte payload is never copied. Records convert as tuples, in field order.

use bytes::Bytes;

use super::Value;
use crate::resource::ResourceHandle;

/// A value was of another type than the Rust type asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found}")]
#[non_exhaustive]
pub struct ValueMismatch {
    /// What the Rust type stands for, in WIT's words.
    pub expected: &'static str,
    /// The kind of the value that was there.
    pub found: &'static str,
}

impl ValueMismatch {
    fn new(expected: &'static str, found: &Value) -> Self {
        Self {
            expected,
            found: found.kind(),
        }
    }
}

/// A Rust type that a [`Value`] can be turned into.
pub trait FromValue: Sized {
    /// Converts `value`, taking its payload.
    ///
    /// # Errors
    /// [`ValueMismatch`] if the value is of another type.
    fn from_value(value: Value) -> Result<Self, ValueMismatch>;

    /// Converts the payload of a case of a `result`, which may be absent.
    ///
    /// # Errors
    /// [`ValueMismatch`] if the payload is absent, or of another type.
    fn from_payload(payload: Option<Box<Value>>) -> Result<Self, ValueMismatch> {
        match payload {
            Some(value) => Self::from_value(*value),
            None => Err(ValueMismatch {
                expected: "a payload",
                found: "none",
            }),
        }
    }

    /// Converts a list of this type; `u8` differs, since its lists are [`Value::Bytes`].
    ///
    /// # Errors
    /// [`ValueMismatch`] if the value is not a list, or an element is of another type.
    fn list_from_value(value: Value) -> Result<Vec<Self>, ValueMismatch> {
        match value {
            Value::List(nodes) => nodes.into_iter().map(Self::from_value).collect(),
            other => Err(ValueMismatch::new("list", &other)),
        }
    }
}

/// A Rust type that can be the payload of a case: any value, or `()` for a case without one.
pub trait IntoPayload {
    /// Converts into the payload.
    fn into_payload(self) -> Option<Box<Value>>;
}

impl IntoPayload for () {
    fn into_payload(self) -> Option<Box<Value>> {
        None
    }
}

impl<T: Into<Value>> IntoPayload for T {
    fn into_payload(self) -> Option<Box<Value>> {
        Some(Box::new(self.into()))
    }
}

macro_rules! scalars {
    ($($rust:ty => $case:ident $name:literal,)*) => {$(
        impl From<$rust> for Value {
            fn from(value: $rust) -> Self {
                Value::$case(value)
            }
        }

        impl TryFrom<Value> for $rust {
            type Error = ValueMismatch;

            fn try_from(value: Value) -> Result<Self, ValueMismatch> {
                match value {
                    Value::$case(value) => Ok(value),
                    other => Err(ValueMismatch::new($name, &other)),
                }
            }
        }
    )*};
}

scalars! {
    bool => Bool "bool",
    i8 => S8 "s8",
    u8 => U8 "u8",
    i16 => S16 "s16",
    u16 => U16 "u16",
    i32 => S32 "s32",
    u32 => U32 "u32",
    i64 => S64 "s64",
    u64 => U64 "u64",
    f32 => F32 "f32",
    f64 => F64 "f64",
    char => Char "char",
    Box<str> => String "string",
    Bytes => Bytes "list<u8>",
    ResourceHandle => Handle "handle",
}

macro_rules! from_value_by_try_from {
    ($($rust:ty,)*) => {$(
        impl FromValue for $rust {
            fn from_value(value: Value) -> Result<Self, ValueMismatch> {
                Self::try_from(value)
            }
        }
    )*};
}

from_value_by_try_from! { bool, i8, i16, u16, i32, u32, i64, u64, f32, f64, char, Box<str>, Bytes, String, ResourceHandle, }

impl FromValue for u8 {
    fn from_value(value: Value) -> Result<Self, ValueMismatch> {
        Self::try_from(value)
    }

    fn list_from_value(value: Value) -> Result<Vec<Self>, ValueMismatch> {
        Bytes::try_from(value).map(Vec::from)
    }
}

impl FromValue for Value {
    fn from_value(value: Value) -> Result<Self, ValueMismatch> {
        Ok(value)
    }
}

impl FromValue for () {
    fn from_value(value: Value) -> Result<Self, ValueMismatch> {
        Err(ValueMismatch::new("no payload", &value))
    }

    fn from_payload(payload: Option<Box<Value>>) -> Result<Self, ValueMismatch> {
        payload.map_or(Ok(()), |value| Self::from_value(*value))
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: Value) -> Result<Self, ValueMismatch> {
        T::list_from_value(value)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self, ValueMismatch> {
        match value {
            Value::Option(None) => Ok(None),
            Value::Option(Some(value)) => T::from_value(*value).map(Some),
            other => Err(ValueMismatch::new("option", &other)),
        }
    }
}

impl<T: FromValue, E: FromValue> FromValue for Result<T, E> {
    fn from_value(value: Value) -> Result<Self, ValueMismatch> {
        match value {
            Value::Result(Ok(payload)) => T::from_payload(payload).map(Ok),
            Value::Result(Err(payload)) => E::from_payload(payload).map(Err),
            other => Err(ValueMismatch::new("result", &other)),
        }
    }
}

impl TryFrom<Value> for String {
    type Error = ValueMismatch;

    fn try_from(value: Value) -> Result<Self, ValueMismatch> {
        Box::<str>::try_from(value).map(String::from)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::String(text.into_boxed_str())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Value::Bytes(bytes.into())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Value::Bytes(Bytes::copy_from_slice(bytes))
    }
}

impl From<Vec<Value>> for Value {
    fn from(nodes: Vec<Value>) -> Self {
        Value::List(nodes)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        Value::Option(value.map(|value| Box::new(value.into())))
    }
}

impl<T: IntoPayload, E: IntoPayload> From<Result<T, E>> for Value {
    fn from(value: Result<T, E>) -> Self {
        Value::Result(match value {
            Ok(value) => Ok(value.into_payload()),
            Err(value) => Err(value.into_payload()),
        })
    }
}

macro_rules! tuples {
    ($(($($name:ident),+),)*) => {$(
        impl<$($name: Into<Value>),+> From<($($name,)+)> for Value {
            fn from(($($name,)+): ($($name,)+)) -> Self {
                Value::Tuple(vec![$($name.into()),+])
            }
        }

        impl<$($name: FromValue),+> FromValue for ($($name,)+) {
            fn from_value(value: Value) -> Result<Self, ValueMismatch> {
                let nodes = match value {
                    Value::Tuple(nodes) | Value::Record(nodes) => nodes,
                    other => return Err(ValueMismatch::new("tuple", &other)),
                };
                let mut nodes = nodes.into_iter();
                let short = ValueMismatch { expected: "a longer tuple", found: "tuple" };
                let converted = ($($name::from_value(nodes.next().ok_or_else(|| short.clone())?)?,)+);
                match nodes.next() {
                    None => Ok(converted),
                    Some(_) => Err(ValueMismatch { expected: "a shorter tuple", found: "tuple" }),
                }
            }
        }
    )*};
}

#[allow(
    non_snake_case,
    reason = "the macro uses a type parameter's name for its value too"
)]
mod tuples {
    use super::{FromValue, Value, ValueMismatch};

    tuples! {
        (A, B),
        (A, B, C),
        (A, B, C, D),
        (A, B, C, D, E),
        (A, B, C, D, E, F),
        (A, B, C, D, E, F, G),
        (A, B, C, D, E, F, G, H),
    }
}
