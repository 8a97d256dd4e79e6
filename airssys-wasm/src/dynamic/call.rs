//! Host → guest: calling an export.

#![expect(
    unsafe_code,
    reason = "a function checked once per component is called without checking its type again"
)]

use std::sync::Arc;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, Instance, TypedFunc};
use wasmtime::{Store, format_err};

use super::abi::{CallParams, CallResults};
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

/// What a function answered is more than the Store's budget for host calls. Nothing of it was taken, and the guest has
/// returned: the Store can go on.
#[derive(Debug, thiserror::Error)]
#[error("the answer is too large")]
pub(crate) struct AnswerTooLarge;

/// With handles in the call it is not known what became of them.
#[cold]
fn too_large(error: wasmtime::Error, handles: bool) -> wasmtime::Error {
    if handles {
        error
    } else {
        error.context(AnswerTooLarge)
    }
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

    /// Calls the function. The arguments are borrowed, so that the future does not hold them twice. After an error but
    /// [`AnswerTooLarge`], and if the future is dropped, the Store must be dropped.
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
        let CallResults(results) = function
            .call_async(&mut *store, CallParams(args.values()))
            .await?;
        let mut results = results.map_err(|error| too_large(error, lent.is_some()))?;
        if let Some(lent) = lent {
            handles::leave(store, &self.ty, &lent, results.as_mut())?;
        }
        let mut returned = Args::new();
        if let Some(result) = results {
            returned.push(result);
        }
        Ok(returned)
    }
}
