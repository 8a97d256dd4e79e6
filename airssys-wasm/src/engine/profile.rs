//! The engine's profiles: which wasm it accepts and how it isolates it.
//!
//! Each profile is an engine of its own; artifacts, linkers and cache entries are never shared between them.
//! The settings are the security boundary, so they are written out even where they equal wasmtime's defaults
//! today: an upgrade must not open what was closed.

use wasmtime::{Collector, Config, Strategy, WasmBacktraceDetails};

/// How the engine is set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// For strangers' components. Memories get wasmtime's full reservation and guards.
    #[default]
    Strict,
    /// As strict, for very many small actors: no memory above 16 MiB, so that 100,000 fit the address space.
    Dense,
}

/// Native stack a guest may use (512 KiB, wasmtime's default): past it is a `stack-overflow`.
const WASM_STACK_BYTES: usize = 512 * 1024;

/// Stack of the fiber a call runs on (2 MiB): the guest's own and room for host functions above it.
pub(crate) const ASYNC_STACK_BYTES: usize = 2 * 1024 * 1024;

/// Guard before and behind a memory (32 MiB, wasmtime's default).
const MEMORY_GUARD_BYTES: u64 = 32 * 1024 * 1024;

/// The largest memory in the dense profile, and what is reserved for each (16 MiB).
const DENSE_MEMORY_BYTES: u64 = 16 * 1024 * 1024;

impl Profile {
    /// Returns the profile's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Dense => "dense",
        }
    }

    /// Returns the largest linear memory the profile has room for, in bytes.
    #[must_use]
    pub const fn memory_bytes_max(self) -> u64 {
        match self {
            Self::Strict => crate::limits::MEMORY_BYTES_HARD_MAX,
            Self::Dense => DENSE_MEMORY_BYTES,
        }
    }

    /// Address space of one memory that is allocated on demand, guards included, in bytes.
    pub(crate) const fn memory_address_space(self) -> u64 {
        let reserved = match self {
            Self::Strict => 1 << 32,
            Self::Dense => DENSE_MEMORY_BYTES,
        };
        reserved + 2 * MEMORY_GUARD_BYTES
    }

    /// Builds the configuration, without an allocation strategy.
    pub(crate) fn config(self) -> Config {
        let mut config = Config::new();
        config
            .strategy(Strategy::Cranelift)
            .collector(Collector::Null)
            .epoch_interruption(true)
            .consume_fuel(false)
            .max_wasm_stack(WASM_STACK_BYTES)
            .async_stack_size(ASYNC_STACK_BYTES)
            // Without it, a guest could read what the last guest on this stack left there.
            .async_stack_zeroing(true)
            .signals_based_traps(true)
            // Costs 4-5 times on `call_async`; component-model-async guests get an engine of their own.
            .concurrency_support(false)
            .wasm_component_model(true)
            .wasm_simd(true)
            .wasm_bulk_memory(true)
            .wasm_multi_value(true)
            .wasm_multi_memory(true)
            .wasm_reference_types(true)
            .wasm_extended_const(true)
            .wasm_backtrace_details(WasmBacktraceDetails::Disable)
            .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(
                crate::fault::BACKTRACE_FRAMES_MAX,
            ));
        config
            .wasm_threads(false)
            .shared_memory(false)
            .wasm_memory64(false)
            .wasm_tail_call(false)
            .wasm_relaxed_simd(false)
            .wasm_function_references(false)
            .wasm_gc(false)
            .wasm_exceptions(false)
            .wasm_stack_switching(false)
            .wasm_custom_page_sizes(false)
            .wasm_wide_arithmetic(false)
            .gc_support(false);
        if self == Self::Dense {
            config.memory_reservation(DENSE_MEMORY_BYTES);
        }
        config
    }
}
