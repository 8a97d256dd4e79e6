//! WIT types as the host sees them: structure without names of their own.
//!
//! Owns: [`WitType`], [`FunctionType`], their text form, and the question whether values fit ([`CallRefused`]).
//! They are read off a compiled component by reflection, or off WIT text; both give the same structure. The
//! component model compares types by structure, and reflection does not know a record's own name, so neither
//! does this type: `record { x: u32 }` equals any other record with one field `x: u32`.
//!
//! Costs: a tree behind `Arc`s, cloned for a reference count. A hostile component can describe a type whose
//! tree is exponential in the bytes of its description, so building stops at [`TYPE_NODES_MAX`] and
//! [`TYPE_DEPTH_MAX`].
//!
//! Deliberately absent: the canonical ABI. Lifting and lowering follow the engine's own types (`dynamic`).

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

mod fit;
mod parsed;
mod reflected;
mod resource;

pub use fit::{CallRefused, Misfit};
pub(crate) use parsed::ParsedTypes;
pub(crate) use reflected::ReflectedTypes;
pub use resource::{ResourceName, ResourceSide};

/// Nodes of one function's types, expanded; a larger signature cannot be called or linked.
///
/// Real interfaces stay under a few hundred; the validator alone would let a million through.
pub(crate) const TYPE_NODES_MAX: usize = 10_000;

/// How deep a type may nest; every walk over a type or a value recurses this far and no further.
///
/// Stricter than wasmtime's validator (100); real interfaces nest five or six levels.
pub(crate) const TYPE_DEPTH_MAX: usize = 64;

/// Members of a record, variant, enum or flags that are printed; the rest is an ellipsis.
const MEMBERS_SHOWN_MAX: usize = 64;

/// A component-model type, compared by structure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WitType {
    /// `bool`
    Bool,
    /// `s8`
    S8,
    /// `u8`
    U8,
    /// `s16`
    S16,
    /// `u16`
    U16,
    /// `s32`
    S32,
    /// `u32`
    U32,
    /// `s64`
    S64,
    /// `u64`
    U64,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// `char`
    Char,
    /// `string`
    String,
    /// `list<T>`
    List(Arc<WitType>),
    /// `record`, fields in order
    Record(Arc<[Field]>),
    /// `tuple`
    Tuple(Arc<[WitType]>),
    /// `variant`, cases in order
    Variant(Arc<[Case]>),
    /// `enum`, cases in order
    Enum(Arc<[Box<str>]>),
    /// `flags`, in order
    Flags(Arc<[Box<str>]>),
    /// `option<T>`
    Option(Arc<WitType>),
    /// `result`, with either payload optional
    Result {
        /// The payload of `ok`.
        ok: Option<Arc<WitType>>,
        /// The payload of `err`.
        err: Option<Arc<WitType>>,
    },
    /// `own<resource>`: the handle moves
    Own(Arc<ResourceName>),
    /// `borrow<resource>`: the handle is lent for the time of a call
    Borrow(Arc<ResourceName>),
    /// `future<…>`: cannot be carried as data
    Future,
    /// `stream<…>`: cannot be carried as data
    Stream,
    /// Anything else the model has, by its name: cannot be carried as data
    Other(Box<str>),
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The field's name.
    pub name: Box<str>,
    /// The field's type.
    pub ty: WitType,
}

/// A case of a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The case's name.
    pub name: Box<str>,
    /// The payload's type, if the case has one.
    pub ty: Option<WitType>,
}

/// The type of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionType {
    /// Names and types of the parameters, in order.
    pub params: Vec<(String, WitType)>,
    /// The type of the result, if there is one.
    pub result: Option<WitType>,
    /// Whether it is an `async func`.
    pub is_async: bool,
}

impl FunctionType {
    /// Returns whether calls can be passed between functions of these types.
    ///
    /// Parameter names do not count: arguments travel by position, and renaming one breaks nobody.
    #[must_use]
    pub fn same_shape(&self, other: &FunctionType) -> bool {
        self.is_async == other.is_async
            && self.result == other.result
            && self.params.len() == other.params.len()
            && self
                .params
                .iter()
                .zip(&other.params)
                .all(|((_, one), (_, two))| one == two)
    }

    /// Returns the first part of the signature that cannot travel between actors: a future, a stream.
    #[must_use]
    pub fn uncarriable(&self) -> Option<&WitType> {
        self.types().find_map(WitType::uncarriable)
    }

    /// Returns whether arguments or results can hold handles.
    #[must_use]
    pub fn has_handles(&self) -> bool {
        self.types().any(WitType::has_handles)
    }

    /// Returns the first resource in the signature of which `wanted` holds.
    #[must_use]
    pub fn find_resource(
        &self,
        mut wanted: impl FnMut(&ResourceName) -> bool,
    ) -> Option<&Arc<ResourceName>> {
        self.types().find_map(|ty| ty.find_handle(&mut wanted))
    }

    fn types(&self) -> impl Iterator<Item = &WitType> {
        self.params.iter().map(|(_, ty)| ty).chain(&self.result)
    }
}

impl WitType {
    /// Returns the first part of this type that cannot travel between actors: a future, a stream.
    #[must_use]
    pub fn uncarriable(&self) -> Option<&WitType> {
        match self {
            WitType::Future | WitType::Stream | WitType::Other(_) => Some(self),
            WitType::List(ty) | WitType::Option(ty) => ty.uncarriable(),
            WitType::Record(fields) => fields.iter().find_map(|field| field.ty.uncarriable()),
            WitType::Tuple(types) => types.iter().find_map(WitType::uncarriable),
            WitType::Variant(cases) => cases
                .iter()
                .find_map(|case| case.ty.as_ref().and_then(WitType::uncarriable)),
            WitType::Result { ok, err } => [ok, err]
                .into_iter()
                .flatten()
                .find_map(|ty| ty.uncarriable()),
            _ => None,
        }
    }
}

impl Display for WitType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            WitType::Bool => f.write_str("bool"),
            WitType::S8 => f.write_str("s8"),
            WitType::U8 => f.write_str("u8"),
            WitType::S16 => f.write_str("s16"),
            WitType::U16 => f.write_str("u16"),
            WitType::S32 => f.write_str("s32"),
            WitType::U32 => f.write_str("u32"),
            WitType::S64 => f.write_str("s64"),
            WitType::U64 => f.write_str("u64"),
            WitType::F32 => f.write_str("f32"),
            WitType::F64 => f.write_str("f64"),
            WitType::Char => f.write_str("char"),
            WitType::String => f.write_str("string"),
            WitType::List(ty) => write!(f, "list<{ty}>"),
            WitType::Option(ty) => write!(f, "option<{ty}>"),
            WitType::Tuple(types) => {
                f.write_str("tuple<")?;
                members(f, types.iter(), |f, ty| write!(f, "{ty}"))?;
                f.write_str(">")
            }
            WitType::Record(fields) => {
                f.write_str("record { ")?;
                members(f, fields.iter(), |f, field| {
                    write!(f, "{}: {}", field.name, field.ty)
                })?;
                f.write_str(" }")
            }
            WitType::Variant(cases) => {
                f.write_str("variant { ")?;
                members(f, cases.iter(), |f, case| match &case.ty {
                    Some(ty) => write!(f, "{}({ty})", case.name),
                    None => f.write_str(&case.name),
                })?;
                f.write_str(" }")
            }
            WitType::Enum(names) | WitType::Flags(names) => {
                f.write_str(if matches!(self, WitType::Enum(_)) {
                    "enum { "
                } else {
                    "flags { "
                })?;
                members(f, names.iter(), |f, name| f.write_str(name))?;
                f.write_str(" }")
            }
            WitType::Result { ok, err } => match (ok, err) {
                (None, None) => f.write_str("result"),
                (Some(ok), None) => write!(f, "result<{ok}>"),
                (None, Some(err)) => write!(f, "result<_, {err}>"),
                (Some(ok), Some(err)) => write!(f, "result<{ok}, {err}>"),
            },
            WitType::Own(name) => write!(f, "own<{name}>"),
            WitType::Borrow(name) => write!(f, "borrow<{name}>"),
            WitType::Future => f.write_str("future"),
            WitType::Stream => f.write_str("stream"),
            WitType::Other(text) => f.write_str(text),
        }
    }
}

/// Writes comma-separated members, at most [`MEMBERS_SHOWN_MAX`]: a guest chooses how many there are.
fn members<T>(
    f: &mut Formatter<'_>,
    items: impl ExactSizeIterator<Item = T>,
    mut each: impl FnMut(&mut Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    let count = items.len();
    for (at, item) in items.take(MEMBERS_SHOWN_MAX).enumerate() {
        if at > 0 {
            f.write_str(", ")?;
        }
        each(f, item)?;
    }
    if count > MEMBERS_SHOWN_MAX {
        write!(f, ", … {} more", count.saturating_sub(MEMBERS_SHOWN_MAX))?;
    }
    Ok(())
}

impl Display for FunctionType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_async {
            "async func("
        } else {
            "func("
        })?;
        members(f, self.params.iter(), |f, (name, ty)| {
            write!(f, "{name}: {ty}")
        })?;
        f.write_str(")")?;
        match &self.result {
            Some(ty) => write!(f, " -> {ty}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
