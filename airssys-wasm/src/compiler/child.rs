//! The child's side: one request from standard input, one answer to standard output, and the end.
//!
//! Its limits are its own from before it has read a byte of the component. What goes wrong with the component is in the
//! answer; what goes wrong with the child is in how it ends, and on its standard error. It opens no file, and its engine
//! never runs what it compiles.

use std::io::{self, Write};
use std::process::ExitCode;

use super::protocol::{Reply, Request};
use crate::cache::configuration_of;
use crate::machine::Machine;

/// Compiles what a host has asked for by standard input, and answers by standard output: what a program does that
/// [`CompilerProcess`](crate::CompilerProcess) starts.
///
/// It is to be called first thing in `main`, and its result returned from there: nothing else may read standard input or
/// write to standard output. It starts the threads that compile, and lowers limits of the whole process: memory and
/// processor time to what the host says, core dumps to none. On Linux it ends with the thread that started it.
#[must_use]
pub fn serve_compiler() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If that fails too, the exit code says as much.
            let _ = writeln!(io::stderr(), "cannot compile for a host: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Stack of the thread that compiles (8 MiB, what a process has). It has its room before it begins: the first thread's grows,
/// and where that is more than it may have the kernel kills with a signal that means many things.
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// Address space beyond what a process has when it starts, below which nothing is tried.
const ROOM_BYTES_MIN: u64 = 16 * 1024 * 1024;

fn serve() -> io::Result<()> {
    end_with_parent();
    let Some((request, length)) = Request::read_head(&mut io::stdin().lock())? else {
        return answer(&Reply::OtherBuild);
    };
    if let Some(used) = Machine::read_cheap().address_space_used
        && used.saturating_add(ROOM_BYTES_MIN) > request.memory_bytes
    {
        return answer(&Reply::Memory);
    }
    limit(request.memory_bytes, request.cpu_seconds)?;
    let compiling = std::thread::Builder::new()
        .name("compiler".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || compile(&request, length));
    match compiling {
        Ok(compiling) => compiling
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("it panicked"))),
        // The system says only that it will not be, and there are no other threads yet.
        Err(_) => answer(&Reply::Memory),
    }
}

fn compile(request: &Request, length: u64) -> io::Result<()> {
    let engine = match wasmtime::Engine::new(&request.profile.config()) {
        Err(error) if is_of_memory(&error) => return answer(&Reply::Memory),
        made => made.map_err(|error| io::Error::other(format!("{error:#}")))?,
    };
    if configuration_of(&engine) != request.configuration {
        return answer(&Reply::OtherBuild);
    }
    let bytes = match Request::read_body(&mut io::stdin().lock(), length) {
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => return answer(&Reply::Memory),
        read => read?,
    };
    let compile = |bytes: &[u8]| {
        wasmtime::CodeBuilder::new(&engine)
            .wasm_binary(bytes, None)?
            .compile_component_serialized()
    };
    match super::compile_either(&bytes, request.reexport, compile) {
        Ok((artifact, reexports)) => answer(&Reply::Compiled {
            artifact: &artifact,
            reexports,
        }),
        Err(error) if is_of_memory(&error) => answer(&Reply::Memory),
        Err(error) => answer(&Reply::Refused(&format!("{error:#}"))),
    }
}

fn answer(reply: &Reply<'_>) -> io::Result<()> {
    reply.write(&mut io::stdout().lock())
}

/// Whether the system gave no memory, which is no fault of the component's bytes.
fn is_of_memory(error: &wasmtime::Error) -> bool {
    error.is::<wasmtime::OutOfMemory>()
        || error.chain().any(|cause| {
            let cause = cause.downcast_ref::<io::Error>();
            cause.is_some_and(|cause| cause.kind() == io::ErrorKind::OutOfMemory)
        })
}

#[cfg(unix)]
fn limit(memory_bytes: u64, cpu_seconds: u64) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // What has been given to this process may be less already.
    let lower = |resource, soft: u64, hard: u64| {
        let max = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = Rlimit {
            current: Some(soft.min(max)),
            maximum: Some(hard.min(max)),
        };
        setrlimit(resource, limit)
    };
    // A core file would be a copy of the component's, in a directory that is not ours.
    lower(Resource::Core, 0, 0)?;
    lower(Resource::As, memory_bytes, memory_bytes)?;
    // At the soft limit the signal says why; at the hard one it is killed.
    lower(Resource::Cpu, cpu_seconds, cpu_seconds.saturating_add(1))?;
    Ok(())
}

/// There the host has its wall clock alone.
#[cfg(not(unix))]
fn limit(_memory_bytes: u64, _cpu_seconds: u64) -> io::Result<()> {
    Ok(())
}

/// Elsewhere it ends when it has been killed, or has nobody to answer.
fn end_with_parent() {
    #[cfg(target_os = "linux")]
    {
        let kill = Some(rustix::process::Signal::KILL);
        // Without it, it ends by its own limits.
        let _ = rustix::process::set_parent_process_death_signal(kill);
    }
}
