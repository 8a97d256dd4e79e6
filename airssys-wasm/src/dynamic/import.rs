//! Guest → host: the host's side of a linked import.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use wasmtime::StoreContextMut;
use wasmtime::component::LinkerInstance;

use super::abi::{ImportParams, ImportResults};
use super::flat::flat_count;
use super::handles::{self, HandleHost};
use super::{AbiViolation, FLAT_PARAMS_MAX, FLAT_RESULTS_MAX};
use crate::args::Args;
use crate::surface::ImportId;
use crate::value::Value;
use crate::wit::FunctionType;

/// Answers linked imports; implemented by the data of a Store. At most one call is in flight in a Store.
pub(crate) trait ImportHost: HandleHost {
    /// Starts a call of an import.
    ///
    /// # Errors
    /// An error ends the guest's call, and with it the Store.
    fn start_import(&mut self, id: ImportId, args: Args) -> wasmtime::Result<()>;

    /// Polls the call that was started last. The results must be of the import's type.
    ///
    /// # Errors
    /// An error ends the guest's call, and with it the Store.
    fn poll_import(&mut self, id: ImportId, cx: &mut Context<'_>) -> Poll<wasmtime::Result<Args>>;
}

/// Defines the import `function_name` of the interface that `linker` stands for, answered by the Store's data.
///
/// # Errors
/// If the type cannot be carried as data, or the name is defined already.
pub(crate) fn define_import<T: ImportHost>(
    linker: &mut LinkerInstance<'_, T>,
    function_name: &str,
    id: ImportId,
    ty: &FunctionType,
) -> wasmtime::Result<()> {
    if ty.uncarriable().is_some() {
        wasmtime::bail!(AbiViolation::Uncarriable);
    }
    let params = match flat_count(ty.params.iter().map(|(_, ty)| ty)) {
        through_memory if through_memory > FLAT_PARAMS_MAX => 0,
        flat => flat,
    };
    let results = flat_count(&ty.result).min(FLAT_RESULTS_MAX);
    let handles = ty.has_handles().then(|| Arc::new(ty.clone()));
    // The number of slots is part of the Rust type, so there is one function for each.
    macro_rules! by_slots {
        ($($n:literal)*) => {
            match (params, results) {
                $(
                    ($n, 0) => define::<T, $n, 0>(linker, function_name, id, handles),
                    ($n, _) => define::<T, $n, 1>(linker, function_name, id, handles),
                )*
                _ => wasmtime::bail!(AbiViolation::Shape),
            }
        };
    }
    by_slots!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
}

fn define<T: ImportHost, const N: usize, const K: usize>(
    linker: &mut LinkerInstance<'_, T>,
    function_name: &str,
    id: ImportId,
    handles: Option<Arc<FunctionType>>,
) -> wasmtime::Result<()> {
    let Some(ty) = handles else {
        return linker.func_wrap_async(
            function_name,
            move |store: StoreContextMut<'_, T>, params: ImportParams<N>| {
                Box::new(Asked::<T, K>::start(store, id, params.0))
            },
        );
    };
    linker.func_wrap_async(
        function_name,
        move |store: StoreContextMut<'_, T>, params: ImportParams<N>| {
            let ty = Arc::clone(&ty);
            Box::new(async move {
                let result = answer_with_handles(store, id, &ty, params.0).await?;
                Ok(ImportResults::<K>(result))
            })
        },
    )
}

async fn answer_with_handles<T: ImportHost>(
    mut store: StoreContextMut<'_, T>,
    id: ImportId,
    ty: &FunctionType,
    mut args: Args,
) -> wasmtime::Result<Option<Value>> {
    handles::adopt(&mut store, ty, &mut args)?;
    store.data_mut().start_import(id, args)?;
    let results = poll_fn(|cx| store.data_mut().poll_import(id, cx)).await?;
    let mut result = only(results)?;
    handles::prepare(&mut store, ty, result.as_mut())?;
    Ok(result)
}

/// A call of an import that is under way. Started before it is made, and not an `async fn`, which would hold the
/// arguments: wasmtime has it in a box for each call.
struct Asked<'a, T: 'static, const K: usize> {
    store: StoreContextMut<'a, T>,
    id: ImportId,
    /// Why it was not started.
    refused: Option<wasmtime::Error>,
}

impl<'a, T: ImportHost, const K: usize> Asked<'a, T, K> {
    #[inline]
    fn start(mut store: StoreContextMut<'a, T>, id: ImportId, args: Args) -> Self {
        let refused = store.data_mut().start_import(id, args).err();
        Self { store, id, refused }
    }
}

impl<T: ImportHost, const K: usize> Future for Asked<'_, T, K> {
    type Output = wasmtime::Result<ImportResults<K>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { store, id, refused } = &mut *self;
        if let Some(why) = refused.take() {
            return Poll::Ready(Err(why));
        }
        match store.data_mut().poll_import(*id, cx) {
            Poll::Ready(Ok(results)) => Poll::Ready(only(results).map(ImportResults)),
            Poll::Ready(Err(why)) => Poll::Ready(Err(why)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A function of the component model returns one value or none.
fn only(results: Args) -> wasmtime::Result<Option<Value>> {
    match results.into_only() {
        Ok(result) => Ok(result),
        Err(_) => wasmtime::bail!(AbiViolation::Unfit {
            expected: "one result or none",
            found: "more",
        }),
    }
}
