//! Handles in values: between a Store's own tables and [`ResourceHandle`]s that can travel.
//!
//! Lifting and lowering know a handle only as wasmtime's [`ResourceAny`], because they see no host data. So signatures
//! with handles take one more step on each side, led by the WIT type, and only they: [`enter`] and [`leave`] around the
//! call of an export, [`adopt`] and [`prepare`] around the call of an import.
//!
//! | the type's resource is | in the guest | outside |
//! |---|---|---|
//! | exported (the component's own) | the real handle | a claim on an entry of [`Handles`]' given |
//! | imported (another actor's) | a proxy, a host resource | the claim itself, kept in [`Handles`]' held |
//!
//! A borrow is an own entry of the host's that wasmtime lends to the guest for the time of the call, and ends with it; the
//! claim behind it is kept until then, so that its owner cannot be told of a drop before.

use std::sync::Arc;

use wasmtime::component::{LinkerInstance, ResourceAny, ResourceDynamic, ResourceType};
use wasmtime::{AsContextMut, Result, bail, format_err};

use super::AbiViolation;
use crate::args::Args;
use crate::handles::Handles;
use crate::resource::{ResourceHandle, StaleHandle};
use crate::value::Value;
use crate::wit::{CallRefused, FunctionType, ResourceName, ResourceSide, WitType};

/// Store data that keeps the tables of handles.
pub(crate) trait HandleHost: Send + 'static {
    /// The tables.
    fn handles(&mut self) -> &mut Handles;
}

/// What was lent to a guest for one call of an export.
#[derive(Default)]
pub(crate) struct Lent {
    /// Proxies the guest was lent, as the host's entry and the guest's number for each.
    proxies: Vec<(ResourceAny, u32)>,
    /// The borrows among the arguments: dropped when the call is over.
    kept: Vec<ResourceHandle>,
}

/// Defines an imported resource as a proxy; dropping one in the guest lets go of what it stands for.
///
/// # Errors
/// If the name is defined already.
pub(crate) fn define_proxy<T: HandleHost>(
    linker: &mut LinkerInstance<'_, T>,
    name: &str,
    number: u32,
) -> Result<()> {
    let ty = ResourceType::host_dynamic(number);
    linker.resource(name, ty, |mut store, rep| {
        let held = store.data_mut().handles().let_go(rep);
        drop(held);
        Ok(())
    })
}

/// Takes the handles among the arguments of an export into the Store.
///
/// The arguments have been checked against `ty`. Owning handles are spent here: if the call is refused, the
/// resources go back to their owners to be destroyed.
///
/// # Errors
/// A handle is stale, or there is no room; the guest has seen nothing.
#[inline(never)]
pub(super) fn enter<T: HandleHost>(
    mut store: impl AsContextMut<Data = T>,
    ty: &FunctionType,
    args: &mut Args,
) -> Result<Box<Lent>, CallRefused> {
    let stale = |resource: &ResourceName, why| CallRefused::StaleHandle {
        resource: resource.to_string(),
        why,
    };
    // Ours alone from here on: whoever has a clone of the message can spend none of them in between.
    each_of(ty, args, &mut |resource, own, handle| {
        if own {
            let taken = handle.take();
            *handle = taken.ok_or_else(|| stale(resource, StaleHandle::Spent))?;
        }
        Ok(())
    })?;
    let mut store = store.as_context_mut();
    let handles = store.data_mut().handles();
    let mut proxies: usize = 0;
    each_of(ty, args, &mut |resource, _, handle| {
        let found = match resource.side() {
            ResourceSide::Exported => handles.given(handle).map(drop),
            ResourceSide::Imported => {
                proxies = proxies.saturating_add(1);
                if handle.is_spent() {
                    Err(StaleHandle::Spent)
                } else {
                    Ok(())
                }
            }
        };
        found.map_err(|why| stale(resource, why))
    })?;
    let gives = ty.result.as_ref().is_some_and(|result| {
        let of_its_own = &mut |name: &ResourceName| name.side() == ResourceSide::Exported;
        result.find_handle(of_its_own).is_some()
    });
    if proxies > handles.room_to_hold() || (gives && handles.room_to_give() == 0) {
        return Err(CallRefused::Resources {
            resources_max: handles.max(),
        });
    }

    // Proxies first, and undone if there is no room for all of them: what comes after cannot fail.
    let mut made = Vec::with_capacity(proxies);
    let all = each_of(ty, args, &mut |resource, _, handle| {
        if resource.side() == ResourceSide::Imported {
            made.push(proxy(&mut store, resource, handle.clone())?);
        }
        Ok::<_, wasmtime::Error>(())
    });
    if let Err(why) = all {
        for (any, rep) in made {
            // What was put into the engine's table a moment ago is there.
            let _ = any.try_into_resource_dynamic(&mut store);
            store.data_mut().handles().let_go(rep);
        }
        return Err(CallRefused::Handles {
            why: format!("{why:#}"),
        });
    }
    let mut made = made.into_iter();
    let mut lent = Box::<Lent>::default();
    each_of(ty, args, &mut |resource, own, handle| {
        let any = match resource.side() {
            ResourceSide::Exported if own => store.data_mut().handles().take_back(handle),
            ResourceSide::Exported => store.data_mut().handles().given(handle),
            ResourceSide::Imported => made.next().ok_or(StaleHandle::Spent).map(|(any, rep)| {
                if !own {
                    lent.proxies.push((any, rep));
                }
                any
            }),
        };
        let any = any.map_err(|why| stale(resource, why))?;
        let claim = std::mem::replace(handle, ResourceHandle::lifted(any));
        if !own {
            lent.kept.push(claim);
        }
        Ok(())
    })?;
    Ok(lent)
}

/// The call is over: ends the loans, and takes the handles in its results out of the Store.
///
/// # Errors
/// More resources are given away than the limit allows; the Store must be dropped.
#[inline(never)]
pub(super) fn leave<T: HandleHost>(
    mut store: impl AsContextMut<Data = T>,
    ty: &FunctionType,
    lent: &Lent,
    result: Option<&mut Value>,
) -> Result<()> {
    let mut store = store.as_context_mut();
    for (any, rep) in &lent.proxies {
        any.try_into_resource_dynamic(&mut store)?;
        store.data_mut().handles().let_go(*rep);
    }
    let (Some(ty), Some(value)) = (&ty.result, result) else {
        return Ok(());
    };
    each(ty, value, &mut |resource, _, handle| {
        let any = handle.as_lifted().ok_or(AbiViolation::Shape)?;
        *handle = match resource.side() {
            ResourceSide::Exported => store.data_mut().handles().give(any, resource)?,
            ResourceSide::Imported => {
                let rep = any.try_into_resource_dynamic(&mut store)?.rep();
                let held = store.data_mut().handles().let_go(rep);
                held.ok_or(AbiViolation::Shape)?
            }
        };
        Ok(())
    })
}

/// Takes the handles among the arguments of an import out of the Store.
///
/// # Errors
/// The guest broke the canonical ABI; the Store must be dropped.
#[inline(never)]
pub(super) fn adopt<T: HandleHost>(
    mut store: impl AsContextMut<Data = T>,
    ty: &FunctionType,
    args: &mut Args,
) -> Result<()> {
    let mut store = store.as_context_mut();
    each_of(ty, args, &mut |_, own, handle| {
        let any = handle.as_lifted().ok_or(AbiViolation::Shape)?;
        let rep = any.try_into_resource_dynamic(&mut store)?.rep();
        let handles = store.data_mut().handles();
        let claim = if own {
            handles.let_go(rep)
        } else {
            handles.held(rep).map(ResourceHandle::lend)
        };
        *handle = claim.ok_or(AbiViolation::Shape)?;
        Ok(())
    })
}

/// Takes the handles in the result of an import into the Store.
///
/// # Errors
/// The result holds a handle that was given to somebody else before, or the guest has no room for another; the Store
/// must be dropped.
#[inline(never)]
pub(super) fn prepare<T: HandleHost>(
    mut store: impl AsContextMut<Data = T>,
    ty: &FunctionType,
    result: Option<&mut Value>,
) -> Result<()> {
    let (Some(ty), Some(value)) = (&ty.result, result) else {
        return Ok(());
    };
    let mut store = store.as_context_mut();
    each(ty, value, &mut |resource, _, handle| {
        let Some(claim) = handle.take() else {
            bail!(AbiViolation::Unfit {
                expected: "a handle that owns its resource",
                found: "one that was given away before",
            });
        };
        let (any, _) = proxy(&mut store, resource, claim)?;
        *handle = ResourceHandle::lifted(any);
        Ok(())
    })
}

/// Puts a claim into the tables as a proxy the host owns.
fn proxy<T: HandleHost>(
    store: &mut impl AsContextMut<Data = T>,
    resource: &ResourceName,
    claim: ResourceHandle,
) -> Result<(ResourceAny, u32)> {
    let mut store = store.as_context_mut();
    let handles = store.data_mut().handles();
    let number = handles
        .type_number(resource)
        .ok_or_else(|| format_err!("no link provides the resource `{resource}`"))?;
    let rep = handles.hold(claim)?;
    match ResourceDynamic::new_own(rep, number).try_into_resource_any(&mut store) {
        Ok(any) => Ok((any, rep)),
        Err(full) => {
            store.data_mut().handles().let_go(rep);
            Err(full)
        }
    }
}

/// What is done with a handle: its resource, whether the type says `own`, and the handle.
type Visit<'a, E> =
    &'a mut dyn FnMut(&Arc<ResourceName>, bool, &mut ResourceHandle) -> Result<(), E>;

fn each_of<E>(ty: &FunctionType, args: &mut Args, visit: Visit<'_, E>) -> Result<(), E> {
    ty.params
        .iter()
        .zip(args.values_mut())
        .try_for_each(|((_, ty), value)| each(ty, value, visit))
}

/// Visits the handles in a value of this type; a value of another type has none.
fn each<E>(ty: &WitType, value: &mut Value, visit: Visit<'_, E>) -> Result<(), E> {
    let mut payload = |ty: Option<&WitType>, value: &mut Option<Box<Value>>| match (ty, value) {
        (Some(ty), Some(value)) => each(ty, value, visit),
        _ => Ok(()),
    };
    match (ty, value) {
        (WitType::Own(resource), Value::Handle(handle)) => visit(resource, true, handle),
        (WitType::Borrow(resource), Value::Handle(handle)) => visit(resource, false, handle),
        (WitType::List(element), Value::List(nodes)) if element.has_handles() => nodes
            .iter_mut()
            .try_for_each(|node| each(element, node, visit)),
        (WitType::Record(fields), Value::Record(nodes)) => fields
            .iter()
            .zip(nodes)
            .try_for_each(|(field, node)| each(&field.ty, node, visit)),
        (WitType::Tuple(types), Value::Tuple(nodes)) => types
            .iter()
            .zip(nodes)
            .try_for_each(|(ty, node)| each(ty, node, visit)),
        (WitType::Variant(cases), Value::Variant(case, value)) => {
            let case = usize::try_from(*case).ok().and_then(|at| cases.get(at));
            payload(case.and_then(|case| case.ty.as_ref()), value)
        }
        (WitType::Option(ty), Value::Option(value)) => payload(Some(ty), value),
        (WitType::Result { ok, .. }, Value::Result(Ok(value))) => payload(ok.as_deref(), value),
        (WitType::Result { err, .. }, Value::Result(Err(value))) => payload(err.as_deref(), value),
        _ => Ok(()),
    }
}
