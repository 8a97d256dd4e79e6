//! What the host itself provides to components: WASI and the `airssys:*` interfaces.
//!
//! Built once for each engine: defining WASI takes about a hundred microseconds, cloning a linker a few.

use wasmtime::component::Linker;

use crate::configuration;
use crate::host::HostState;
use crate::surface::{InterfaceName, Surface};

/// Returns the names of all interfaces that the host provides to components, with their versions.
pub fn host_interfaces() -> impl Iterator<Item = &'static str> {
    let ours = [
        crate::log::INTERFACE,
        configuration::INTERFACE,
        configuration::WASI_INTERFACE,
    ];
    let wasi = crate::wasi::INTERFACES.iter().copied();
    wasi.chain(ours).chain(crate::messaging::interfaces())
}

pub(crate) struct Provided {
    linker: Linker<HostState>,
    ours: Surface,
}

impl Provided {
    pub(crate) fn new(engine: &wasmtime::Engine) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine);
        crate::wasi::define(&mut linker)?;
        crate::log::define(&mut linker)?;
        configuration::define(&mut linker)?;
        let read = |wit, name: &str| {
            Surface::from_wit(wit)
                .map_err(|error| wasmtime::format_err!("the WIT of {name}: {error}"))
        };
        let mut ours = read(crate::log::WIT, crate::log::INTERFACE)?;
        let mut messaging = read(crate::messaging::WIT, "airssys:messaging")?;
        let spawn = read(crate::messaging::SPAWN_WIT, "airssys:actor/spawn")?;
        messaging.exports.extend(spawn.exports);
        crate::messaging::define(&mut linker, &messaging)?;
        ours.exports.extend(messaging.exports);
        let config = read(configuration::WIT, configuration::INTERFACE)?;
        ours.exports.extend(config.exports);
        let config = read(configuration::WASI_WIT, configuration::WASI_INTERFACE)?;
        ours.exports.extend(config.exports);
        Ok(Self { linker, ours })
    }

    /// Returns a linker with everything the host provides, to which links can be added, also in place of it.
    pub(crate) fn linker(&self) -> Linker<HostState> {
        let mut linker = self.linker.clone();
        linker.allow_shadowing(true);
        linker
    }

    /// Returns whether the host has an interface for an import of this name.
    pub(crate) fn has(&self, import: &InterfaceName) -> bool {
        host_interfaces().any(|name| import.accepts(&InterfaceName::new(name)))
    }

    /// Returns the interfaces of our own that are linked by value and so must be compared with an import.
    pub(crate) fn ours(&self) -> &Surface {
        &self.ours
    }
}
