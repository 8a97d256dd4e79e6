//! Values in and out of guests: the only module that lifts and lowers, and the only one with `unsafe` for it.
//!
//! Owns: [`CallTarget`] (host → guest), [`define_import`] (guest → host) and the canonical ABI between
//! [`Value`](crate::Value) and a guest's memory. wasmtime offers two ways to call a function whose type is known only
//! at run time: `Val`, which spends 40 bytes and an enum on every byte of a `list<u8>`, or a Rust type that
//! implements `ComponentType`, `Lower` and `Lift`. This module does the second with one Rust type for *every*
//! signature: the traits' methods are handed the component's own type (`InterfaceType`) and follow it.
//!
//! What flows through: [`Args`](crate::Args) in, `Args` out. Scalars go through registers, a string or `list<u8>` is
//! one copy each way, everything else is one [`Value`](crate::Value) a node.
//!
//! Costs: `add(u32, u32)` about what a statically typed `call_async` costs; one box for a call of an import (its
//! future). Lifting is charged to the Store's host-call budget: the bytes of strings and byte lists, and 40 for
//! each nested value.
//!
//! Why it is sound to rely on `wasmtime::component::__internal`: it is exempt from semver, so the version is pinned
//! exactly, and [`abi`] says for each trait method which of wasmtime's calls reach it. A differential test holds
//! every type against the `Val` road.
//!
//! A handle is lifted and lowered as wasmtime's `ResourceAny`; what stands for it outside of its Store, and the
//! bookkeeping that takes, is one more step, which only signatures with handles pay ([`handles`]).
//!
//! Deliberately absent: futures, streams, maps and fixed-length lists. They have no [`Value`](crate::Value), so
//! signatures with them are refused when they are resolved.

mod abi;
mod call;
mod flat;
mod handles;
mod import;
mod lift;
mod lower;

pub(crate) use call::{AnswerTooLarge, CallTarget};
pub(crate) use handles::{HandleHost, define_proxy};
pub(crate) use import::{ImportHost, define_import};

/// Flat values that fit a call's parameters; more go through memory (canonical ABI, `MAX_FLAT_PARAMS`).
const FLAT_PARAMS_MAX: usize = 16;
/// Flat values that fit a call's result; more go through memory (canonical ABI, `MAX_FLAT_RESULTS`).
const FLAT_RESULTS_MAX: usize = 1;

/// A guest broke the canonical ABI, or the host handed over a value of another type than declared.
///
/// The Store it happened in is lost either way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AbiViolation {
    /// A pointer and length reach outside the guest's memory, or wrap around.
    #[error("{what} at {pointer:#x} of length {length} is out of bounds of memory")]
    OutOfBounds {
        what: &'static str,
        pointer: u32,
        length: u32,
    },
    /// A pointer is not aligned for its type.
    #[error("{what} at {pointer:#x} is not aligned to {align} bytes")]
    Unaligned {
        what: &'static str,
        pointer: u32,
        align: u32,
    },
    /// A discriminant names no case.
    #[error("discriminant {discriminant} is out of range for {cases} case(s)")]
    Discriminant { discriminant: u32, cases: usize },
    /// A code point is a surrogate or over U+10FFFF.
    #[error("{0:#x} is not a Unicode scalar value")]
    Char(u32),
    /// A value handed to a guest is not of the declared type; the host's fault.
    #[error(
        "a value of the wrong type was handed to the guest: expected {expected}, found {found}"
    )]
    Unfit {
        expected: &'static str,
        found: &'static str,
    },
    /// Fewer flat values or bytes than the type needs; cannot happen with a validated component.
    #[error("the guest's values do not have the shape of their type")]
    Shape,
    /// A type that cannot be carried; resolved signatures have none.
    #[error("a value of a type that cannot be carried as data")]
    Uncarriable,
}

/// A 32-bit size as an index; nothing is lost, since no supported host has smaller addresses.
fn index(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
