//! `wasi:clocks`: both clocks behind one grant. Without it a guest that reads a clock ends, saying what to add:
//! there is no time that means "no time".

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::clocks::WasiClocksView;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};

use super::Ours;
use crate::gate::Access;
use crate::host::HostState;

/// Defines both clocks.
pub(super) fn define(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    wall_clock::add_to_linker::<_, Ours>(linker, |state| state)?;
    monotonic_clock::add_to_linker::<_, Ours>(linker, |state| state)
}

impl wall_clock::Host for HostState {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        self.allow(Access::Clock)?;
        wall_clock::Host::now(&mut self.clocks())
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        self.allow(Access::Clock)?;
        wall_clock::Host::resolution(&mut self.clocks())
    }
}

impl monotonic_clock::Host for HostState {
    fn now(&mut self) -> wasmtime::Result<monotonic_clock::Instant> {
        self.allow(Access::Clock)?;
        monotonic_clock::Host::now(&mut self.clocks())
    }

    fn resolution(&mut self) -> wasmtime::Result<monotonic_clock::Duration> {
        self.allow(Access::Clock)?;
        monotonic_clock::Host::resolution(&mut self.clocks())
    }

    fn subscribe_instant(
        &mut self,
        when: monotonic_clock::Instant,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.allow(Access::Clock)?;
        monotonic_clock::Host::subscribe_instant(&mut self.clocks(), when)
    }

    fn subscribe_duration(
        &mut self,
        duration: monotonic_clock::Duration,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.allow(Access::Clock)?;
        monotonic_clock::Host::subscribe_duration(&mut self.clocks(), duration)
    }
}
