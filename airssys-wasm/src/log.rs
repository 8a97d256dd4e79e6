//! The host interface `airssys:actor/log`.
//!
//! Logging never fails and never ends a guest: without the grant a line is dropped, counted, and audited once;
//! beyond the rate it is dropped and counted.

use wasmtime::component::{Linker, Val};

use crate::gate::Access;
use crate::guest_log::Level;
use crate::host::HostState;

/// The interface's name, as guests import it.
pub(crate) const INTERFACE: &str = "airssys:actor/log@0.1.0";

/// Its text; a guest's import is compared with it when a template is linked.
pub(crate) const WIT: &str = include_str!("../../wit/actor/log.wit");

pub(crate) fn define(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker
        .instance(INTERFACE)?
        .func_new("log", |mut store, _, params, _| {
            let [Val::Enum(level), Val::String(message)] = params else {
                wasmtime::bail!("`log` was called with values of other types than it declares");
            };
            let state = store.data_mut();
            if state.may(Access::Log {
                bytes: message.len(),
            }) {
                let level = match level.as_str() {
                    "trace" => Level::Trace,
                    "debug" => Level::Debug,
                    "warn" => Level::Warn,
                    "error" => Level::Error,
                    _ => Level::Info,
                };
                state.log().line(level, "log", message);
            }
            Ok(())
        })
}
