//! `wasi:random`: one grant for all three interfaces, and a limit on each call.
//!
//! The insecure ones need the grant too: a seed that differs between runs is a way to see the host.

use wasmtime::component::Linker;
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};
use wasmtime_wasi::random::WasiRandomView;

use super::Ours;
use crate::fault::EndedByHost;
use crate::gate::Access;
use crate::host::HostState;

/// Defines the three interfaces of random bytes.
pub(super) fn define(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    random::add_to_linker::<_, Ours>(linker, |state| state)?;
    insecure::add_to_linker::<_, Ours>(linker, |state| state)?;
    insecure_seed::add_to_linker::<_, Ours>(linker, |state| state)
}

impl HostState {
    fn allow_random(&mut self, bytes: u64) -> wasmtime::Result<()> {
        self.allow(Access::Random { bytes })?;
        let limit = self.terms.limits.random_bytes_max;
        if bytes > limit {
            return Err(EndedByHost::RandomBytes {
                wanted: bytes,
                limit,
            }
            .into());
        }
        Ok(())
    }
}

impl random::Host for HostState {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.allow_random(len)?;
        random::Host::get_random_bytes(self.random(), len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.allow_random(8)?;
        random::Host::get_random_u64(self.random())
    }
}

impl insecure::Host for HostState {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.allow_random(len)?;
        insecure::Host::get_insecure_random_bytes(self.random(), len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.allow_random(8)?;
        insecure::Host::get_insecure_random_u64(self.random())
    }
}

impl insecure_seed::Host for HostState {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        self.allow_random(16)?;
        insecure_seed::Host::insecure_seed(self.random())
    }
}
