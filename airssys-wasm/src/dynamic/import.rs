//! Guest → host: the host's side of a linked import.

use std::future::poll_fn;
use std::task::{Context, Poll};

use wasmtime::StoreContextMut;
use wasmtime::component::LinkerInstance;

use super::abi::{ImportParams, ImportResults};
use super::flat::flat_count;
use super::{AbiViolation, FLAT_PARAMS_MAX, FLAT_RESULTS_MAX};
use crate::args::Args;
use crate::surface::ImportId;
use crate::value::Value;
use crate::wit::FunctionType;

/// Answers linked imports; implemented by the data of a Store. At most one call is in flight in a Store.
pub(crate) trait ImportHost: Send + 'static {
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
    // The number of slots is part of the Rust type, so there is one function for each.
    macro_rules! by_slots {
        ($($n:literal)*) => {
            match (params, results) {
                $(
                    ($n, 0) => define::<T, $n, 0>(linker, function_name, id),
                    ($n, _) => define::<T, $n, 1>(linker, function_name, id),
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
) -> wasmtime::Result<()> {
    linker.func_wrap_async(
        function_name,
        move |store: StoreContextMut<'_, T>, params: ImportParams<N>| {
            Box::new(async move {
                let results = answer(store, id, params.0).await?;
                only(results).map(ImportResults::<K>)
            })
        },
    )
}

async fn answer<T: ImportHost>(
    mut store: StoreContextMut<'_, T>,
    id: ImportId,
    args: Args,
) -> wasmtime::Result<Args> {
    store.data_mut().start_import(id, args)?;
    poll_fn(|cx| store.data_mut().poll_import(id, cx)).await
}

/// A function of the component model returns one value or none.
fn only(results: Args) -> wasmtime::Result<Option<Value>> {
    let mut results = results.into_values();
    match (results.next(), results.next()) {
        (result, None) => Ok(result),
        _ => wasmtime::bail!(AbiViolation::Unfit {
            expected: "one result or none",
            found: "more",
        }),
    }
}
