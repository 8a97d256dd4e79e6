//! The arguments or results of one call: what crosses the seam between Stores, actors and hosts.
//!
//! Owns: [`Args`], and the conversions from and to Rust tuples ([`IntoArgs`], [`FromArgs`]). One type serves
//! parameters (any number) and results (none or one), so a reply travels exactly like a request.
//!
//! Costs: two values inline (96 bytes), then one allocation; moving never copies payloads.
//!
//! Deliberately absent: types. Whether arguments fit a function is asked where the function is known
//! ([`FunctionType::accepts`](crate::FunctionType::accepts)).

use smallvec::SmallVec;

use crate::value::{FromValue, NODE_BYTES, Value, ValueMismatch};

/// The owned arguments (or the results) of a call, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Args(SmallVec<[Value; 2]>);

impl Args {
    /// Returns no arguments.
    #[must_use]
    #[inline]
    pub fn new() -> Self {
        Self(SmallVec::new())
    }

    /// Returns the values in order.
    #[must_use]
    #[inline]
    pub fn values(&self) -> &[Value] {
        &self.0
    }

    pub(crate) fn values_mut(&mut self) -> &mut [Value] {
        &mut self.0
    }

    /// Takes the values out as Rust values: `let (sum,): (u32,) = results.into_typed()?`.
    ///
    /// # Errors
    /// [`ArgsMismatch`] when the number of values or the type of one is another.
    pub fn into_typed<T: FromArgs>(self) -> Result<T, ArgsMismatch> {
        T::from_args(self)
    }

    /// Takes the values out, in order.
    pub fn into_values(self) -> impl ExactSizeIterator<Item = Value> {
        self.0.into_iter()
    }

    /// Takes the one value out, if there is one; more than one come back.
    #[inline]
    pub(crate) fn into_only(mut self) -> Result<Option<Value>, Self> {
        if self.0.len() > 1 {
            return Err(self);
        }
        Ok(self.0.pop())
    }

    /// Appends a value.
    #[inline]
    pub fn push(&mut self, value: Value) {
        self.0.push(value);
    }

    /// Returns how many values there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are none.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the bytes kept on the heap (see [`Value::payload_bytes`]).
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        let spilled = if self.0.spilled() {
            self.0.len().saturating_mul(NODE_BYTES)
        } else {
            0
        };
        self.0.iter().fold(spilled, |sum, value| {
            sum.saturating_add(value.payload_bytes())
        })
    }

    pub(crate) fn with_capacity(count: usize) -> Self {
        Self(SmallVec::with_capacity(count))
    }
}

impl FromIterator<Value> for Args {
    fn from_iter<I: IntoIterator<Item = Value>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// The results of a call were not of the Rust types asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgsMismatch {
    /// Another number of values than asked for.
    #[error("expected {expected} value(s), found {found}")]
    Count {
        /// How many were asked for.
        expected: usize,
        /// How many there were.
        found: usize,
    },
    /// A value is of another type.
    #[error("value {position}: expected {}, found {}", mismatch.expected, mismatch.found)]
    Value {
        /// Which value, counted from 1.
        position: usize,
        /// Both types.
        mismatch: ValueMismatch,
    },
}

/// Rust values that make up the arguments of a call: a tuple of up to eight, or [`Args`].
///
/// ```
/// use airssys_wasm::{Args, IntoArgs};
/// let args = (2u32, "deep", vec![1u8, 2]).into_args();
/// assert_eq!(args.len(), 3);
/// ```
pub trait IntoArgs {
    /// Converts into arguments, moving payloads.
    fn into_args(self) -> Args;
}

/// Rust values that the results of a call can be turned into: a tuple of up to eight, or [`Args`].
///
/// ```
/// use airssys_wasm::{FromArgs, IntoArgs};
/// let (sum,) = <(u32,)>::from_args((5u32,).into_args())?;
/// assert_eq!(sum, 5);
/// # Ok::<(), airssys_wasm::ArgsMismatch>(())
/// ```
pub trait FromArgs: Sized {
    /// Converts, moving payloads.
    ///
    /// # Errors
    /// [`ArgsMismatch`] if the number or a type differs.
    fn from_args(args: Args) -> Result<Self, ArgsMismatch>;
}

impl IntoArgs for Args {
    fn into_args(self) -> Args {
        self
    }
}

impl FromArgs for Args {
    fn from_args(args: Args) -> Result<Self, ArgsMismatch> {
        Ok(args)
    }
}

impl IntoArgs for () {
    fn into_args(self) -> Args {
        Args::new()
    }
}

impl FromArgs for () {
    fn from_args(args: Args) -> Result<Self, ArgsMismatch> {
        match args.len() {
            0 => Ok(()),
            found => Err(ArgsMismatch::Count { expected: 0, found }),
        }
    }
}

fn convert<T: FromValue>(
    values: &mut impl Iterator<Item = Value>,
    position: usize,
) -> Result<T, ArgsMismatch> {
    let value = values.next().ok_or(ArgsMismatch::Count {
        expected: position,
        found: position.saturating_sub(1),
    })?;
    T::from_value(value).map_err(|mismatch| ArgsMismatch::Value { position, mismatch })
}

macro_rules! tuples {
    ($($count:literal: ($($name:ident $position:literal),+),)*) => {$(
        impl<$($name: Into<Value>),+> IntoArgs for ($($name,)+) {
            fn into_args(self) -> Args {
                let ($($name,)+) = self;
                let mut args = Args::with_capacity($count);
                $(args.push($name.into());)+
                args
            }
        }

        impl<$($name: FromValue),+> FromArgs for ($($name,)+) {
            fn from_args(args: Args) -> Result<Self, ArgsMismatch> {
                if args.len() != $count {
                    return Err(ArgsMismatch::Count { expected: $count, found: args.len() });
                }
                let mut values = args.into_values();
                Ok(($(convert::<$name>(&mut values, $position)?,)+))
            }
        }
    )*};
}

#[allow(
    non_snake_case,
    reason = "the macro uses a type parameter's name for its value too"
)]
mod tuples {
    use super::{Args, ArgsMismatch, FromArgs, FromValue, IntoArgs, Value, convert};

    tuples! {
        1: (A 1),
        2: (A 1, B 2),
        3: (A 1, B 2, C 3),
        4: (A 1, B 2, C 3, D 4),
        5: (A 1, B 2, C 3, D 4, E 5),
        6: (A 1, B 2, C 3, D 4, E 5, F 6),
        7: (A 1, B 2, C 3, D 4, E 5, F 6, G 7),
        8: (A 1, B 2, C 3, D 4, E 5, F 6, G 7, H 8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tuples_come_back_as_themselves() {
        let args = (1u32, "two", vec![3u8], Some(4i64)).into_args();
        let back = <(u32, String, Vec<u8>, Option<i64>)>::from_args(args).unwrap();
        assert_eq!(back, (1, "two".to_owned(), vec![3], Some(4)));
        <()>::from_args(().into_args()).unwrap();
    }

    #[test]
    fn a_mismatch_names_the_position() {
        let error = <(u32, u32)>::from_args((1u32, "x").into_args()).unwrap_err();
        assert_eq!(error.to_string(), "value 2: expected u32, found string");
        let error = <(u32,)>::from_args(().into_args()).unwrap_err();
        assert_eq!(error.to_string(), "expected 1 value(s), found 0");
    }

    #[test]
    fn payload_bytes_counts_spilled_values() {
        assert_eq!((1u32, "ab").into_args().payload_bytes(), 2);
        assert_eq!(
            (1u8, 1u8, 1u8, 1u8).into_args().payload_bytes(),
            4 * NODE_BYTES
        );
    }
}
