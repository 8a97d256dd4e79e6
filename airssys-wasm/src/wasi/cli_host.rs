//! `wasi:cli` and the list of directories: what a program gets at its start.
//!
//! Environment and arguments are the granted ones and nothing of the host's. Standard input is closed; output
//! goes to the log if granted, and is closed if not.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::cli::{environment, exit, stderr, stdin, stdout};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::pipe::{ClosedInputStream, ClosedOutputStream};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use super::Ours;
use super::sink::LineSink;
use crate::fault::EndedByHost;
use crate::gate::Access;
use crate::host::HostState;

/// Defines what a program gets at its start.
pub(super) fn define(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    environment::add_to_linker::<_, Ours>(linker, |state| state)?;
    exit::add_to_linker::<_, Ours>(linker, |state| state)?;
    stdin::add_to_linker::<_, Ours>(linker, |state| state)?;
    stdout::add_to_linker::<_, Ours>(linker, |state| state)?;
    stderr::add_to_linker::<_, Ours>(linker, |state| state)?;
    preopens::add_to_linker::<_, Ours>(linker, |state| state)
}

impl environment::Host for HostState {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        let granted = self.may(Access::Environment);
        Ok(if granted {
            self.terms.grants.env().to_vec()
        } else {
            Vec::new()
        })
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        let granted = self.may(Access::Arguments);
        Ok(if granted {
            self.terms.grants.args().to_vec()
        } else {
            Vec::new()
        })
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(None)
    }
}

impl exit::Host for HostState {
    fn exit(&mut self, status: Result<(), ()>) -> wasmtime::Result<()> {
        self.allow(Access::Exit)?;
        Err(EndedByHost::Exited(i32::from(status.is_err())).into())
    }

    fn exit_with_code(&mut self, status: u8) -> wasmtime::Result<()> {
        self.allow(Access::Exit)?;
        Err(EndedByHost::Exited(status.into()).into())
    }
}

impl stdin::Host for HostState {
    fn get_stdin(&mut self) -> wasmtime::Result<Resource<DynInputStream>> {
        // Nothing grants it yet; asking is counted, and the stream is at its end either way.
        let _closed_either_way = self.may(Access::Stdin);
        let stream: DynInputStream = Box::new(ClosedInputStream);
        Ok(self.table.push(stream)?)
    }
}

impl HostState {
    fn output(
        &mut self,
        access: Access<'_>,
        name: &'static str,
    ) -> wasmtime::Result<Resource<DynOutputStream>> {
        let stream: DynOutputStream = if self.may(access) {
            Box::new(LineSink::new(std::sync::Arc::clone(self.log()), name))
        } else {
            Box::new(ClosedOutputStream)
        };
        Ok(self.table.push(stream)?)
    }
}

impl stdout::Host for HostState {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.output(Access::Stdout, "stdout")
    }
}

impl stderr::Host for HostState {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<DynOutputStream>> {
        self.output(Access::Stderr, "stderr")
    }
}

impl preopens::Host for HostState {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        // No directory can be granted yet. A language's start-up code asks always, so it gets an empty list.
        let _none_either_way = self.may(Access::Directories);
        Ok(Vec::new())
    }
}
