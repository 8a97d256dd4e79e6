//! WASI 0.2, with nothing granted by default.
//!
//! All interfaces of the `wasi:cli` world are there, so that a guest built for `wasm32-wasip2` loads; every
//! entry point that gives a guest something (a stream, a clock, random bytes, a directory, a socket) is
//! implemented here and asks the gate first. What follows from a handle once it was given (`wasi:io`, the
//! methods of descriptors and sockets) is wasmtime-wasi's. Only the async implementations are linked: the sync
//! ones start a second runtime. WASI's context is made when first used; most components never do.

use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use crate::host::HostState;
use crate::limits::Limits;

mod cli_host;
mod clock;
mod network;
mod random_bytes;
mod sink;

/// The WASI interfaces this engine has, in the version wasmtime-wasi 48 ships. A component may import any
/// 0.2 version of them.
pub(crate) const INTERFACES: &[&str] = &[
    "wasi:cli/environment@0.2.12",
    "wasi:cli/exit@0.2.12",
    "wasi:cli/stderr@0.2.12",
    "wasi:cli/stdin@0.2.12",
    "wasi:cli/stdout@0.2.12",
    "wasi:cli/terminal-input@0.2.12",
    "wasi:cli/terminal-output@0.2.12",
    "wasi:cli/terminal-stderr@0.2.12",
    "wasi:cli/terminal-stdin@0.2.12",
    "wasi:cli/terminal-stdout@0.2.12",
    "wasi:clocks/monotonic-clock@0.2.12",
    "wasi:clocks/wall-clock@0.2.12",
    "wasi:filesystem/preopens@0.2.12",
    "wasi:filesystem/types@0.2.12",
    "wasi:io/error@0.2.12",
    "wasi:io/poll@0.2.12",
    "wasi:io/streams@0.2.12",
    "wasi:random/insecure-seed@0.2.12",
    "wasi:random/insecure@0.2.12",
    "wasi:random/random@0.2.12",
    "wasi:sockets/instance-network@0.2.12",
    "wasi:sockets/ip-name-lookup@0.2.12",
    "wasi:sockets/network@0.2.12",
    "wasi:sockets/tcp-create-socket@0.2.12",
    "wasi:sockets/tcp@0.2.12",
    "wasi:sockets/udp-create-socket@0.2.12",
    "wasi:sockets/udp@0.2.12",
];

/// How the generated code reaches our implementations: they are the Store's data itself.
type Ours = HasSelf<HostState>;

/// Defines WASI as wasmtime-wasi has it, then our own entry points in place of its.
pub(crate) fn define(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    cli_host::define(linker)?;
    clock::define(linker)?;
    random_bytes::define(linker)?;
    network::define(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// A context that gives nothing away even to a caller that got past the gate: the second lock.
pub(crate) fn empty_context(limits: &Limits) -> WasiCtx {
    WasiCtxBuilder::new()
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(limits.random_bytes_max)
        .build()
}
