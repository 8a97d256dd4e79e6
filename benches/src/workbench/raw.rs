//! wasmtime with nothing of ours around it, configured as our strict profile is.
//!
//! Whoever changes the strict profile's settings changes [`strict`] too, or the ratios compare two
//! configurations. The epoch's deadline is set, so that the guest's checks run; nothing advances it.

use wasmtime::component::{
    Component, ComponentNamedList, InstancePre, Lift, Linker, Lower, ResourceTable, TypedFunc,
};
use wasmtime::{
    Collector, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, Strategy,
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::{ADDER, CALLER, COMPOSED};
use crate::error::{BenchError, OrFailed};

/// What a raw Store holds: a WASI context in which nothing is granted.
pub(crate) struct RawState {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for RawState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// The raw engine and its guests.
pub(crate) struct RawHost {
    engine: Engine,
    adder: InstancePre<RawState>,
    caller: Component,
    asker: Component,
    composed: InstancePre<RawState>,
}

/// One raw instance and its Store.
pub(crate) struct RawInstance {
    pub(crate) store: Store<RawState>,
    pub(crate) instance: wasmtime::component::Instance,
}

impl RawHost {
    /// With the binary form of the asker.
    pub(crate) fn new(instances: u32, asker: &[u8]) -> Result<Self, BenchError> {
        let engine = Engine::new(&strict(instances)).or_failed("making the raw engine")?;
        let compile =
            |bytes: &[u8]| Component::from_binary(&engine, bytes).or_failed("compiling a guest");
        let adder = Self::linker(&engine)?
            .instantiate_pre(&compile(ADDER)?)
            .or_failed("linking the adder")?;
        let composed = Self::linker(&engine)?
            .instantiate_pre(&compile(COMPOSED)?)
            .or_failed("linking the composed pair")?;
        let asker = compile(asker)?;
        Ok(Self {
            adder,
            caller: compile(CALLER)?,
            asker,
            composed,
            engine,
        })
    }

    fn linker(engine: &Engine) -> Result<Linker<RawState>, BenchError> {
        let mut linker = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).or_failed("linking WASI")?;
        Ok(linker)
    }

    /// Links the caller to what `define` defines; its other imports trap.
    pub(crate) fn link_caller(
        &self,
        define: impl FnOnce(&mut Linker<RawState>) -> wasmtime::Result<()>,
    ) -> Result<InstancePre<RawState>, BenchError> {
        self.link(&self.caller, |linker| {
            define(linker)?;
            linker.define_unknown_imports_as_traps(&self.caller)
        })
    }

    /// Links the asker to what `define` defines, and to WASI's clock.
    pub(crate) fn link_asker(
        &self,
        define: impl FnOnce(&mut Linker<RawState>) -> wasmtime::Result<()>,
    ) -> Result<InstancePre<RawState>, BenchError> {
        self.link(&self.asker, define)
    }

    fn link(
        &self,
        component: &Component,
        define: impl FnOnce(&mut Linker<RawState>) -> wasmtime::Result<()>,
    ) -> Result<InstancePre<RawState>, BenchError> {
        let mut linker = Self::linker(&self.engine)?;
        define(&mut linker).or_failed("defining an import")?;
        linker
            .instantiate_pre(component)
            .or_failed("linking a guest")
    }

    /// The composed pair.
    pub(crate) async fn composed(&self) -> wasmtime::Result<RawInstance> {
        RawInstance::of(&self.composed).await
    }

    pub(crate) async fn adder(&self) -> wasmtime::Result<RawInstance> {
        RawInstance::of(&self.adder).await
    }

    /// What [`RawInstance::of`] needs to make instances of a component that imports nothing.
    pub(crate) fn load(&self, bytes: &[u8]) -> Result<InstancePre<RawState>, BenchError> {
        let component = Component::from_binary(&self.engine, bytes);
        self.link(&component.or_failed("compiling a guest")?, |_| Ok(()))
    }

    /// What [`RawInstance::of`] needs to make adders.
    pub(crate) fn adder_pre(&self) -> InstancePre<RawState> {
        self.adder.clone()
    }
}

impl RawInstance {
    /// A new Store with a WASI context, and an instance in it.
    pub(crate) async fn of(pre: &InstancePre<RawState>) -> wasmtime::Result<Self> {
        let state = RawState {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
        };
        let mut store = Store::new(pre.engine(), state);
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = pre.instantiate_async(&mut store).await?;
        Ok(Self { store, instance })
    }

    pub(crate) fn function<Params, Results>(
        &mut self,
        interface: &str,
        name: &str,
    ) -> Result<TypedFunc<Params, Results>, BenchError>
    where
        Params: ComponentNamedList + Lower,
        Results: ComponentNamedList + Lift,
    {
        let function = self.dynamic(interface, name)?;
        function.typed(&self.store).or_failed("typing an export")
    }

    pub(crate) fn dynamic(
        &mut self,
        interface: &str,
        name: &str,
    ) -> Result<wasmtime::component::Func, BenchError> {
        let missing = || BenchError::failed("a guest lacks an export", name);
        let interface = self
            .instance
            .get_export_index(&mut self.store, None, interface)
            .ok_or_else(missing)?;
        let index = self
            .instance
            .get_export_index(&mut self.store, Some(&interface), name)
            .ok_or_else(missing)?;
        self.instance
            .get_func(&mut self.store, index)
            .ok_or_else(missing)
    }

    /// A function at the component's root.
    pub(crate) fn at_root<Params, Results>(
        &mut self,
        name: &str,
    ) -> Result<TypedFunc<Params, Results>, BenchError>
    where
        Params: ComponentNamedList + Lower,
        Results: ComponentNamedList + Lift,
    {
        self.instance
            .get_typed_func(&mut self.store, name)
            .or_failed("typing an export")
    }
}

/// The settings of our strict profile that cost something while a guest is called, made or dropped.
fn strict(instances: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(8))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(3))
        .total_stacks(instances)
        .max_memory_size(256 * 1024 * 1024)
        .linear_memory_keep_resident(64 * 1024)
        .async_stack_keep_resident(8 * 1024)
        .table_keep_resident(8 * 1024);
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .collector(Collector::Null)
        .epoch_interruption(true)
        .max_wasm_stack(512 * 1024)
        .async_stack_size(2 * 1024 * 1024)
        .async_stack_zeroing(true)
        .concurrency_support(false)
        .gc_support(false)
        .wasm_component_model(true)
        .wasm_multi_memory(true)
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20))
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
        .wasm_threads(false)
        .wasm_tail_call(false)
        .wasm_relaxed_simd(false)
        .wasm_function_references(false)
        .wasm_gc(false)
        .wasm_exceptions(false);
    config
}
