//! Host → guest: calling an export.

#![expect(
    unsafe_code,
    reason = "a function checked once per component is called without checking its type again"
)]

use std::sync::Arc;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, Instance, TypedFunc};
use wasmtime::{Store, format_err};

use super::abi::{BoundedResults, CallParams, CallResults};
use super::handles::{self, HandleHost, Lent};
use crate::args::Args;
use crate::surface::{ExportId, Surface};
use crate::wit::{CallRefused, FunctionType, ResourceName, ResourceSide};

/// An export of one component, checked and ready to be called in any of its instances.
///
/// Made once a component; a call then costs an index lookup, and no comparison of types.
#[derive(Clone, Debug)]
pub(crate) struct CallTarget {
    index: ComponentExportIndex,
    ty: FunctionType,
    /// Arguments or results can hold handles.
    handles: bool,
}

#[cold]
fn of_another_component() -> wasmtime::Error {
    format_err!("the instance is of another component than the call")
}

impl CallTarget {
    /// Finds the export and checks its type. `surface` must be that of `component`.
    ///
    /// # Errors
    /// [`CallRefused`] if there is no such function, or it can never be called from here.
    pub(crate) fn resolve(
        component: &Component,
        surface: &Surface,
        id: ExportId,
        proxied: &[Arc<ResourceName>],
    ) -> Result<Self, CallRefused> {
        let missing = || CallRefused::NoSuchFunction(u32::try_from(id.index()).unwrap_or(u32::MAX));
        let (interface, function) = surface.export_function(id).ok_or_else(missing)?;
        if let Some(part) = function.ty.uncarriable() {
            return Err(CallRefused::Uncarriable {
                signature: function.ty.to_string(),
                part: part.to_string(),
            });
        }
        let hosts_own = function.ty.find_resource(|resource| {
            resource.side() == ResourceSide::Imported
                && !proxied.iter().any(|known| **known == *resource)
        });
        if let Some(resource) = hosts_own {
            return Err(CallRefused::Uncarriable {
                signature: function.ty.to_string(),
                part: format!("{resource} of {}", resource.interface()),
            });
        }
        let instance = if interface.is_root() {
            None
        } else {
            let instance = component.get_export_index(None, interface.as_str());
            Some(instance.ok_or_else(missing)?)
        };
        let (item, index) = component
            .get_export(instance.as_ref(), function.name.as_str())
            .ok_or_else(missing)?;
        let ComponentItem::ComponentFunc(exported) = item else {
            return Err(missing());
        };
        // The one type check of this function, against the component's own types; `call_async` relies on it.
        exported
            .typecheck::<CallParams<'_>, CallResults>(&component.component_type().instance_type())
            .map_err(|error| CallRefused::Uncarriable {
                signature: function.ty.to_string(),
                part: format!("{error:#}"),
            })?;
        Ok(Self {
            index,
            ty: function.ty.clone(),
            handles: function.ty.has_handles(),
        })
    }

    /// Takes the handles among the arguments into the Store; what comes back belongs to the call.
    ///
    /// # Errors
    /// A handle is stale, or there is no room; the guest has not been entered, and lives.
    #[inline]
    pub(crate) fn enter<T: HandleHost>(
        &self,
        store: &mut Store<T>,
        args: &mut Args,
    ) -> Result<Option<Box<Lent>>, CallRefused> {
        if self.handles {
            handles::enter(store, &self.ty, args).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Checks arguments before the guest is entered; afterwards a misfit would cost the Store.
    ///
    /// # Errors
    /// [`CallRefused`] naming the first argument that does not fit.
    pub(crate) fn accepts(&self, args: &Args) -> Result<(), CallRefused> {
        self.ty.accepts(args)
    }

    /// Calls the function. The arguments are borrowed, so that the future does not hold them twice. After an error, and if the future is dropped, the Store must be dropped.
    ///
    /// # Errors
    /// The guest's trap, an [`AbiViolation`](super::AbiViolation), an exhausted budget, or an `instance` of
    /// another component.
    pub(crate) async fn call_async<T: HandleHost>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
        args: &Args,
        lent: Option<Box<Lent>>,
    ) -> wasmtime::Result<Args> {
        let function = instance
            .get_func(&mut *store, self.index)
            .ok_or_else(of_another_component)?;
        // SAFETY: `new_unchecked` asks that the function has the type stated. `resolve` checked these very types
        // against the export at `index` of its component, and `get_func` has just made sure that `instance` is of that
        // component: an index carries its component's identity, which no other component of the process shares.
        let function = unsafe { TypedFunc::<CallParams<'_>, CallResults>::new_unchecked(function) };
        let mut results = function
            .call_async(&mut *store, CallParams(args.values()))
            .await?;
        if let Some(lent) = lent {
            handles::leave(store, &self.ty, &lent, results.0.as_mut())?;
        }
        let mut returned = Args::new();
        if let Some(result) = results.0 {
            returned.push(result);
        }
        Ok(returned)
    }

    /// Whether [`CallTarget::call_bounded`] may call it.
    pub(crate) fn has_handles(&self) -> bool {
        self.handles
    }

    /// Calls a function without handles; `None` if what it answered is more than the Store's budget for host calls. It
    /// was not taken then, and the Store goes on.
    ///
    /// # Errors
    /// As [`CallTarget::call_async`].
    pub(crate) async fn call_bounded<T: HandleHost>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
        args: &Args,
    ) -> wasmtime::Result<Option<Args>> {
        let function = instance
            .get_func(&mut *store, self.index)
            .ok_or_else(of_another_component)?;
        // SAFETY: as in `call_async`; `BoundedResults` accepts the types that `CallResults` does.
        let function =
            unsafe { TypedFunc::<CallParams<'_>, BoundedResults>::new_unchecked(function) };
        let BoundedResults(results) = function
            .call_async(&mut *store, CallParams(args.values()))
            .await?;
        Ok(results.map(|results| results.0.into_iter().collect()))
    }
}
