//! Which WIT types a Rust type stands for, known without a value.
//!
//! Owns [`WitTyped`] and [`TypedArgs`], by which a typed handle on a function is checked once, when it is made, instead
//! of at every call. The rules are those of the conversions beside this file: a tuple is sent as a `tuple`, and
//! received from a `tuple` or a `record`. [`Value`] stands for every type: it is checked when the call is made.

use bytes::Bytes;

use super::Value;
use crate::wit::{FunctionType, WitType};

/// A Rust type whose values stand for values of certain WIT types.
pub trait WitTyped {
    /// Returns whether every value of this type converts into a value of the WIT type.
    fn sends(ty: &WitType) -> bool;

    /// Returns whether a value of the WIT type converts into this type.
    fn receives(ty: &WitType) -> bool {
        Self::sends(ty)
    }

    /// The same as [`WitTyped::sends`] for a payload that may be absent.
    fn sends_payload(ty: Option<&WitType>) -> bool {
        ty.is_some_and(Self::sends)
    }

    /// The same as [`WitTyped::receives`] for a payload that may be absent.
    fn receives_payload(ty: Option<&WitType>) -> bool {
        ty.is_some_and(Self::receives)
    }
}

/// Rust values that stand for the parameters or the result of a function: a tuple of up to eight.
pub trait TypedArgs {
    /// Returns whether they can be the arguments of a function of this type.
    fn are_params_of(function: &FunctionType) -> bool;

    /// Returns whether they can be what a function of this type returns.
    fn are_results_of(function: &FunctionType) -> bool;
}

macro_rules! scalars {
    ($($rust:ty => $case:ident,)*) => {$(
        impl WitTyped for $rust {
            fn sends(ty: &WitType) -> bool {
                matches!(ty, WitType::$case)
            }
        }
    )*};
}

scalars! {
    bool => Bool,
    i8 => S8,
    u8 => U8,
    i16 => S16,
    u16 => U16,
    i32 => S32,
    u32 => U32,
    i64 => S64,
    u64 => U64,
    f32 => F32,
    f64 => F64,
    char => Char,
    Box<str> => String,
    String => String,
    &str => String,
}

impl WitTyped for () {
    fn sends(_: &WitType) -> bool {
        false
    }

    fn sends_payload(ty: Option<&WitType>) -> bool {
        ty.is_none()
    }

    fn receives_payload(ty: Option<&WitType>) -> bool {
        ty.is_none()
    }
}

impl WitTyped for Value {
    fn sends(ty: &WitType) -> bool {
        ty.uncarriable().is_none()
    }
}

impl WitTyped for Bytes {
    fn sends(ty: &WitType) -> bool {
        matches!(ty, WitType::List(element) if **element == WitType::U8)
    }
}

impl WitTyped for &[u8] {
    fn sends(ty: &WitType) -> bool {
        Bytes::sends(ty)
    }
}

impl<T: WitTyped> WitTyped for Vec<T> {
    fn sends(ty: &WitType) -> bool {
        matches!(ty, WitType::List(element) if T::sends(element))
    }

    fn receives(ty: &WitType) -> bool {
        matches!(ty, WitType::List(element) if T::receives(element))
    }
}

impl<T: WitTyped> WitTyped for Option<T> {
    fn sends(ty: &WitType) -> bool {
        matches!(ty, WitType::Option(some) if T::sends(some))
    }

    fn receives(ty: &WitType) -> bool {
        matches!(ty, WitType::Option(some) if T::receives(some))
    }
}

impl<T: WitTyped, E: WitTyped> WitTyped for Result<T, E> {
    fn sends(ty: &WitType) -> bool {
        matches!(ty, WitType::Result { ok, err }
            if T::sends_payload(ok.as_deref()) && E::sends_payload(err.as_deref()))
    }

    fn receives(ty: &WitType) -> bool {
        matches!(ty, WitType::Result { ok, err }
            if T::receives_payload(ok.as_deref()) && E::receives_payload(err.as_deref()))
    }
}

impl TypedArgs for () {
    fn are_params_of(function: &FunctionType) -> bool {
        function.params.is_empty()
    }

    fn are_results_of(function: &FunctionType) -> bool {
        function.result.is_none()
    }
}

/// Whether each type fits the check beside it.
fn all<'a>(
    types: impl ExactSizeIterator<Item = &'a WitType>,
    fits: &[fn(&WitType) -> bool],
) -> bool {
    types.len() == fits.len() && types.zip(fits).all(|(ty, fits)| fits(ty))
}

macro_rules! tuples {
    ($(($($name:ident),+),)*) => {$(
        impl<$($name: WitTyped),+> TypedArgs for ($($name,)+) {
            fn are_params_of(function: &FunctionType) -> bool {
                all(function.params.iter().map(|(_, ty)| ty), &[$($name::sends),+])
            }

            fn are_results_of(function: &FunctionType) -> bool {
                // A function returns one value or none.
                let result: Vec<_> = function.result.iter().collect();
                all(result.into_iter(), &[$($name::receives),+])
            }
        }
    )*};
}

macro_rules! nested {
    ($(($($name:ident),+),)*) => {$(
        impl<$($name: WitTyped),+> WitTyped for ($($name,)+) {
            fn sends(ty: &WitType) -> bool {
                matches!(ty, WitType::Tuple(types) if all(types.iter(), &[$($name::sends),+]))
            }

            fn receives(ty: &WitType) -> bool {
                match ty {
                    WitType::Tuple(types) => all(types.iter(), &[$($name::receives),+]),
                    WitType::Record(fields) => {
                        all(fields.iter().map(|field| &field.ty), &[$($name::receives),+])
                    }
                    _ => false,
                }
            }
        }
    )*};
}

tuples! {
    (A),
    (A, B),
    (A, B, C),
    (A, B, C, D),
    (A, B, C, D, E),
    (A, B, C, D, E, F),
    (A, B, C, D, E, F, G),
    (A, B, C, D, E, F, G, H),
}

nested! {
    (A, B),
    (A, B, C),
    (A, B, C, D),
    (A, B, C, D, E),
    (A, B, C, D, E, F),
    (A, B, C, D, E, F, G),
    (A, B, C, D, E, F, G, H),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surface::Surface;

    fn function(signature: &str) -> FunctionType {
        let wit = format!(
            "package t:t; interface i {{ record point {{ x: u32, y: u32 }} f: {signature}; }}"
        );
        let surface = Surface::from_wit(&wit).unwrap();
        let id = surface.export("f").unwrap();
        surface.export_function(id).unwrap().1.ty.clone()
    }

    #[test]
    fn params_fit_by_number_and_type() {
        let f = function("func(a: u32, b: string, c: list<u8>, d: option<tuple<u8, bool>>)");
        assert!(<(u32, &str, Bytes, Option<(u8, bool)>)>::are_params_of(&f));
        assert!(<(Value, String, Vec<u8>, Value)>::are_params_of(&f));
        assert!(!<(u32, &str, Bytes)>::are_params_of(&f));
        assert!(!<(u64, &str, Bytes, Value)>::are_params_of(&f));
        assert!(!<(u32, &str, Vec<u16>, Value)>::are_params_of(&f));
        assert!(<()>::are_results_of(&f));
        assert!(!<(u32,)>::are_results_of(&f));
    }

    #[test]
    fn a_record_is_received_as_a_tuple_and_not_sent_as_one() {
        let f = function("func(p: point) -> result<point, string>");
        assert!(<(Result<(u32, u32), String>,)>::are_results_of(&f));
        assert!(!<(Result<(u32, u64), String>,)>::are_results_of(&f));
        assert!(!<(Result<(), String>,)>::are_results_of(&f));
        assert!(!<((u32, u32),)>::are_params_of(&f));
        assert!(<(Value,)>::are_params_of(&f));
    }
}
