//! Native code that wasmtime has serialized, and the one place that makes a component of it again.
//!
//! Deserializing native code is running it, so an [`Artifact`] is made in two places only, each of which knows where its
//! bytes are from: an entry of the compile cache whose seal has been verified (`cache/entry.rs`), and the answer of our own
//! compiler process (`compiler/process.rs`). It owns nothing, and costs one mapping and a copy of the code.
#![expect(
    unsafe_code,
    reason = "wasmtime's deserialize is unsafe by contract: the bytes must be its own output. \
              `Artifact::load` is its only caller, and an `Artifact` is only made of bytes that are."
)]

use wasmtime::component::Component;

/// What wasmtime has serialized, in this version and for this configuration of the engine.
pub(crate) struct Artifact<'a>(&'a [u8]);

impl<'a> Artifact<'a> {
    /// Of bytes that follow a header of the compile cache whose seal matches them.
    pub(crate) fn sealed(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Of bytes that the compiler process of this host has sent, whole and with its checksum.
    pub(crate) fn compiled(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Makes a component of it.
    ///
    /// # Errors
    /// If it does not fit the engine, such as its pool.
    pub(crate) fn load(&self, engine: &wasmtime::Engine) -> wasmtime::Result<Component> {
        // SAFETY: the bytes are what this version of wasmtime, in this configuration, serialized.
        // - `sealed`: `entry::open` verified, with our private key, that we wrote them, for this source.
        // - `compiled`: a process that this one started from the program that it was configured with wrote them to a pipe
        //   whose other end nobody else has; it said that it is of our version and of the engine's configuration, and what
        //   it wrote arrived whole. That it read a stranger's component makes it no less trusted than a compiler in this
        //   process: what either emits, this process runs.
        unsafe { Component::deserialize(engine, self.0) }
    }
}
