//! The four types that stand for "whatever this signature's values are", and wasmtime's unsafe traits on them.
//!
//! | type | stands for | implements | reached from |
//! |---|---|---|---|
//! | [`CallParams`] | parameters of an export | `Lower` | `TypedFunc::call_async` |
//! | [`CallResults`] | results of an export | `Lift` | `TypedFunc::call_async` |
//! | [`ImportParams`] | parameters of an import | `Lift` | `LinkerInstance::func_wrap_async` |
//! | [`ImportResults`] | results of an import | `Lower` | `LinkerInstance::func_wrap_async` |
//!
//! All are lists of named values (`ComponentNamedList`); none is ever a part of another type, and all are private
//! to this crate, so only these two entry points can reach the methods below.
//!
//! # The contract, and how it is met
//! wasmtime asks of `ComponentType` that `Lower` is a sequence of `ValRaw`, that lowering initialises what the
//! guest will read, and that size and alignment are right.
//! * **`Lower`** is always `[ValRaw; N]`.
//! * **Storage may be longer than the signature, never shorter.** `Func::call_raw` passes a pointer to the whole
//!   storage; the trampoline reads the parameters the core signature has and writes its one result. wasmtime's own
//!   `Val` road always passes 16 slots in and one out, whatever the signature; [`CallParams`] and [`CallResults`] use
//!   the same numbers. With a signature of no result the one slot keeps what the parameters left there, and
//!   nothing reads it. For imports the slots come from the guest and there are exactly as many as the type
//!   flattens to, so `N` must equal that count: `typecheck` insists on it, and it runs against the component's own
//!   type before a guest can call.
//! * **Every slot is initialised** before any value is written: nothing is left over for a guest to read.
//! * **Size and alignment** are run-time facts here, so the associated constants cannot state them, and no path
//!   that uses the constants is taken: with 16 slots `TypedFunc` always lowers "to the stack" and with one it always
//!   lifts "from the stack", and these methods do the memory form themselves with the component's own figures.
//!   The one exception is described at [`ImportParams`].

#![expect(
    unsafe_code,
    reason = "implementing wasmtime's Lift and Lower is the purpose of this module"
)]

use std::mem::MaybeUninit;

use wasmtime::component::__internal::wasmtime_environ::component::TypeTuple;
use wasmtime::component::__internal::{
    CanonicalAbiInfo, ComponentTypes, InstanceType, InterfaceType, LiftContext, LowerContext,
};
use wasmtime::component::{ComponentNamedList, ComponentType, Lift, Lower};
use wasmtime::{Result, ValRaw, bail};

use super::{AbiViolation, FLAT_PARAMS_MAX, FLAT_RESULTS_MAX, index, lift, lower};
use crate::args::Args;
use crate::fault::is_too_large;
use crate::value::Value;
use crate::wit::{TYPE_DEPTH_MAX, TYPE_NODES_MAX};

/// Parameters of an exported function of any supported signature.
///
/// Borrowed, and [`CallResults`] is one value and not [`Args`]: on their way through the fiber both are moved several
/// times, and 136 bytes a move show in the time of a small call.
pub(super) struct CallParams<'a>(pub(super) &'a [Value]);

/// Results of an exported function of any supported signature: none or one.
/// An error is that they are more than the Store's budget for host calls: they were not looked into, and the call has come
/// to its end.
pub(super) struct CallResults(pub(super) Result<Option<Value>>);

/// Parameters of an imported function that flatten to `N` values, or, with `N` 0, that go through memory.
pub(super) struct ImportParams<const N: usize>(pub(super) Args);

/// Results of an imported function: `K` is 0 for none, and 1 for a flat one or one through memory.
pub(super) struct ImportResults<const K: usize>(pub(super) Option<Value>);

// SAFETY: `Lower` is 16 `ValRaw`; see the module's contract for why that serves every signature. `ABI` is not
// consulted, since 16 slots never exceed the limit beyond which `TypedFunc` would use it. `typecheck` accepts exactly
// the types `lower` handles.
unsafe impl ComponentType for CallParams<'_> {
    type Lower = [ValRaw; FLAT_PARAMS_MAX];
    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::ZERO;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        supported_list(*ty, types.types).map(drop)
    }
}

// SAFETY: a list of values, checked as one by `typecheck`.
unsafe impl ComponentNamedList for CallParams<'_> {}

// SAFETY: all 16 slots are initialised first, and each value is lowered by the component's own type, which it must
// fit or the call fails.
unsafe impl Lower for CallParams<'_> {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<Self::Lower>,
    ) -> Result<()> {
        let slots = dst.write([ValRaw::u64(0); FLAT_PARAMS_MAX]);
        let types = cx.types;
        let list = list_type(ty, types)?;
        if list.abi.flat_count(FLAT_PARAMS_MAX).is_some() {
            return lower::list_to_flat(cx, &list.types, self.0, slots);
        }
        let pointer = cx.realloc(0, 0, list.abi.align32, index(list.abi.size32))?;
        lower::list_to_memory(cx, &list.types, self.0, pointer)?;
        if let Some(first) = slots.first_mut() {
            *first = ValRaw::u64(u64::try_from(pointer)?);
        }
        Ok(())
    }

    fn linear_lower_to_memory<T>(
        &self,
        _cx: &mut LowerContext<'_, T>,
        _ty: InterfaceType,
        _offset: usize,
    ) -> Result<()> {
        // `TypedFunc` asks for this only of types of more than 16 slots.
        bail!(AbiViolation::Shape)
    }
}

// SAFETY: `Lower` is one `ValRaw`, as in wasmtime's own dynamic calls; see the module's contract. `ABI` is not
// consulted, since one slot never exceeds the limit beyond which `TypedFunc` would use it. `typecheck` accepts exactly
// the types `lift` handles.
unsafe impl ComponentType for CallResults {
    type Lower = [ValRaw; FLAT_RESULTS_MAX];
    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::ZERO;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        supported_list(*ty, types.types).map(drop)
    }
}

// SAFETY: a list of values, checked as one by `typecheck`.
unsafe impl ComponentNamedList for CallResults {}

// SAFETY: nothing the guest returned is trusted: `lift` checks every pointer, length, discriminant and character.
unsafe impl Lift for CallResults {
    fn linear_lift_from_flat(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        src: &Self::Lower,
    ) -> Result<Self> {
        let list = list_type(ty, cx.types)?;
        let results = if list.abi.flat_count(FLAT_RESULTS_MAX).is_some() {
            lift::one_from_flat(cx, &list.types, src)
        } else {
            // More than one flat value: the slot holds a pointer to where they are.
            let pointer = src.first().ok_or(AbiViolation::Shape)?.get_u32();
            let bytes = lift::region(cx, "the result", pointer, 1, &list.abi)?;
            lift::one_from_memory(cx, &list.types, bytes)
        };
        match results {
            Err(error) if !is_too_large(&error) => Err(error),
            results => Ok(Self(results)),
        }
    }

    fn linear_lift_from_memory(
        _cx: &mut LiftContext<'_>,
        _ty: InterfaceType,
        _bytes: &[u8],
    ) -> Result<Self> {
        // `TypedFunc` asks for this only of types of more than one slot.
        bail!(AbiViolation::Shape)
    }
}

// SAFETY: `Lower` is `N` `ValRaw`, and `typecheck` accepts a signature only if its parameters flatten to exactly `N`
// values, or, for `N` 0, go through memory, where `Lower` is not used. `ABI` is consulted for one thing: a memory
// form is handed over as the first `SIZE32` bytes at an address that was checked against the real type. One byte is
// never more than the real size (over 16 flat values), and marks the address.
unsafe impl<const N: usize> ComponentType for ImportParams<N> {
    type Lower = [ValRaw; N];
    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::SCALAR1;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        let list = supported_list(*ty, types.types)?;
        match list.abi.flat_count(FLAT_PARAMS_MAX) {
            Some(count) if count == N => Ok(()),
            None if N == 0 => Ok(()),
            count => bail!("the parameters flatten to {count:?} values, not {N}"),
        }
    }
}

// SAFETY: a list of values, checked as one by `typecheck`.
unsafe impl<const N: usize> ComponentNamedList for ImportParams<N> {}

// SAFETY: nothing the guest passed is trusted: `lift` checks every pointer, length, discriminant and character.
unsafe impl<const N: usize> Lift for ImportParams<N> {
    fn linear_lift_from_flat(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        src: &Self::Lower,
    ) -> Result<Self> {
        let list = list_type(ty, cx.types)?;
        lift::list_from_flat(cx, &list.types, src).map(Self)
    }

    fn linear_lift_from_memory(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        bytes: &[u8],
    ) -> Result<Self> {
        let list = list_type(ty, cx.types)?;
        let memory = cx.memory();
        let start = bytes
            .first()
            .and_then(|first| memory.element_offset(first))
            .ok_or(AbiViolation::Shape)?;
        let bytes = memory
            .get(start..)
            .and_then(|rest| rest.get(..index(list.abi.size32)))
            .ok_or(AbiViolation::Shape)?;
        lift::list_from_memory(cx, &list.types, bytes).map(Self)
    }
}

// SAFETY: `Lower` is `K` `ValRaw`, and `typecheck` accepts a signature only if its result flattens to exactly `K` values,
// or goes through memory, where `Lower` is not used. `ABI` is not consulted: a memory destination was checked against
// the real type by the caller.
unsafe impl<const K: usize> ComponentType for ImportResults<K> {
    type Lower = [ValRaw; K];
    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::ZERO;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        let list = supported_list(*ty, types.types)?;
        match list.abi.flat_count(FLAT_RESULTS_MAX) {
            Some(count) if count == K => Ok(()),
            None => Ok(()),
            count => bail!("the results flatten to {count:?} values, not {K}"),
        }
    }
}

// SAFETY: a list of values, checked as one by `typecheck`.
unsafe impl<const K: usize> ComponentNamedList for ImportResults<K> {}

// SAFETY: all `K` slots are initialised first; a memory destination is written only within bounds, by the
// component's own type.
unsafe impl<const K: usize> Lower for ImportResults<K> {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<Self::Lower>,
    ) -> Result<()> {
        let slots = dst.write([ValRaw::u64(0); K]);
        let types = cx.types;
        let list = list_type(ty, types)?;
        lower::list_to_flat(cx, &list.types, self.0.as_slice(), slots)
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        offset: usize,
    ) -> Result<()> {
        let types = cx.types;
        let list = list_type(ty, types)?;
        lower::list_to_memory(cx, &list.types, self.0.as_slice(), offset)
    }
}

/// Parameters and results are described as a tuple.
fn list_type(ty: InterfaceType, types: &ComponentTypes) -> Result<&TypeTuple> {
    match ty {
        InterfaceType::Tuple(at) => Ok(&types[at]),
        _ => bail!(AbiViolation::Shape),
    }
}

/// Checks that every part of every value is of a type that [`lift`] and [`lower`] handle.
fn supported_list(ty: InterfaceType, types: &ComponentTypes) -> Result<&TypeTuple> {
    let list = list_type(ty, types)?;
    let mut visit = Visit {
        types,
        nodes_left: TYPE_NODES_MAX,
        depth_left: TYPE_DEPTH_MAX,
    };
    list.types.iter().try_for_each(|ty| visit.supported(*ty))?;
    Ok(list)
}

/// A walk over an expanded type, which can be exponential in its description, or very deep: both are bounded.
struct Visit<'a> {
    types: &'a ComponentTypes,
    nodes_left: usize,
    depth_left: usize,
}

impl Visit<'_> {
    fn supported(&mut self, ty: InterfaceType) -> Result<()> {
        let (Some(nodes), Some(depth)) = (
            self.nodes_left.checked_sub(1),
            self.depth_left.checked_sub(1),
        ) else {
            bail!("a type of over {TYPE_NODES_MAX} parts, or {TYPE_DEPTH_MAX} levels");
        };
        self.nodes_left = nodes;
        self.depth_left = depth;
        self.parts_supported(ty)?;
        self.depth_left = self.depth_left.saturating_add(1);
        Ok(())
    }

    fn parts_supported(&mut self, ty: InterfaceType) -> Result<()> {
        let types = self.types;
        match ty {
            InterfaceType::Bool
            | InterfaceType::S8
            | InterfaceType::U8
            | InterfaceType::S16
            | InterfaceType::U16
            | InterfaceType::S32
            | InterfaceType::U32
            | InterfaceType::S64
            | InterfaceType::U64
            | InterfaceType::Float32
            | InterfaceType::Float64
            | InterfaceType::Char
            | InterfaceType::String
            | InterfaceType::Enum(_)
            | InterfaceType::Flags(_)
            | InterfaceType::Own(_)
            | InterfaceType::Borrow(_) => Ok(()),
            InterfaceType::List(at) => self.supported(types[at].element),
            InterfaceType::Option(at) => self.supported(types[at].ty),
            InterfaceType::Record(at) => types[at]
                .fields
                .iter()
                .try_for_each(|field| self.supported(field.ty)),
            InterfaceType::Tuple(at) => types[at]
                .types
                .iter()
                .try_for_each(|ty| self.supported(*ty)),
            InterfaceType::Variant(at) => types[at]
                .cases
                .values()
                .flatten()
                .try_for_each(|ty| self.supported(*ty)),
            InterfaceType::Result(at) => [types[at].ok, types[at].err]
                .into_iter()
                .flatten()
                .try_for_each(|ty| self.supported(ty)),
            _ => bail!(AbiViolation::Uncarriable),
        }
    }
}
