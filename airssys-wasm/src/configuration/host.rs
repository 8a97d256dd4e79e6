//! The host interfaces `wasi:config/store` and `airssys:config/store`.
//!
//! Both read the snapshot that the Store holds, after the gate was asked for the very key; what they give all of is what
//! the grants reach. A denial is an error of the function, which says what to add: a guest can go on with a default.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Val};

use crate::gate::{Access, Decision};
use crate::host::HostState;

/// The interface's name, as guests import it.
pub(crate) const INTERFACE: &str = "airssys:config/store@0.1.0";

/// The package's text; a guest's import is compared with it when a template is linked.
pub(crate) const WIT: &str = include_str!("../../../wit/config/config.wit");

/// WASI's, in the version of its release candidate.
pub(crate) const WASI_INTERFACE: &str = "wasi:config/store@0.2.0-rc.1";

/// Its text.
pub(crate) const WASI_WIT: &str = include_str!("../../../wit/wasi-config/store.wit");

/// The names of the error case that says that a key is not granted.
const DENIED: &str = "denied";
const UPSTREAM: &str = "upstream";

/// Defines both.
pub(crate) fn define(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    for (interface, error) in [(INTERFACE, DENIED), (WASI_INTERFACE, UPSTREAM)] {
        let mut at = linker.instance(interface)?;
        at.func_new("get", move |mut store, _, params, results| {
            let [Val::String(key)] = params else {
                wasmtime::bail!("`get` was called with values of other types than it declares");
            };
            let host = store.data_mut();
            answer(
                results,
                error,
                read(host, key)
                    .map(|value| Val::Option(value.map(|value| Box::new(Val::String(value))))),
            )
        })?;
    }
    linker
        .instance(WASI_INTERFACE)?
        .func_new("get-all", |mut store, _, _, results| {
            answer(results, UPSTREAM, read_all(store.data_mut()))
        })?;
    let mut at = linker.instance(INTERFACE)?;
    at.func_new("get-all", |mut store, _, _, results| {
        let host = store.data_mut();
        let revision = host.config.revision();
        let all = read_all(host).map(|values| {
            Val::Record(vec![
                ("revision".to_owned(), Val::U64(revision)),
                ("values".to_owned(), values),
            ])
        });
        answer(results, DENIED, all)
    })?;
    at.func_new(
        "revision",
        |mut store: StoreContextMut<'_, HostState>, _, _, results| {
            let host = store.data_mut();
            let asked = decided(host.gate.check(Access::ConfigList));
            answer(
                results,
                DENIED,
                asked.map(|()| Val::U64(host.config.revision())),
            )
        },
    )
}

fn decided(decision: Decision) -> Result<(), String> {
    match decision {
        Decision::Allow => Ok(()),
        Decision::Deny { add } => Err(add),
    }
}

fn read(host: &mut HostState, key: &str) -> Result<Option<String>, String> {
    decided(host.gate.check(Access::ConfigGet { key }))?;
    Ok(host.config.get(key).map(str::to_owned))
}

fn read_all(host: &mut HostState) -> Result<Val, String> {
    decided(host.gate.check(Access::ConfigList))?;
    let granted = host.config.iter().filter(|(key, _)| host.gate.reads(key));
    let pairs = granted.map(|(key, value)| {
        let text = |text: &str| Val::String(text.to_owned());
        Val::Tuple(vec![text(key), text(value)])
    });
    Ok(Val::List(pairs.collect()))
}

/// Writes a `result<T, error>`, whose error is a case with a text.
fn answer(results: &mut [Val], case: &str, answer: Result<Val, String>) -> wasmtime::Result<()> {
    let [place] = results else {
        wasmtime::bail!("a function of `store` has one result");
    };
    *place = Val::Result(match answer {
        Ok(value) => Ok(Some(Box::new(value))),
        Err(why) => {
            let why = Some(Box::new(Val::String(why)));
            Err(Some(Box::new(Val::Variant(case.to_owned(), why))))
        }
    });
    Ok(())
}
