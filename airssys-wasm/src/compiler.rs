//! Who compiles: this process, or a child of it that is held to limits.
//!
//! A compiler reads a stranger's bytes, and no bound on their size bounds what it makes of them: memory, time, or a fault of
//! its own. In a [`CompilerProcess`] that costs a child, and the host a typed error. The child gets the component and what
//! of the engine's settings matters for code by its standard input, sets its own limits before it reads a byte of the
//! component, and answers with serialized code by its standard output; it has nothing of the host's environment, and is killed and
//! reaped however a compilation ends. What is in the compile cache starts none. In both places the same code decides what
//! is compiled (`compile_either`), so that artifacts and refusals are the same.
//!
//! A compilation costs a child about as long as the program takes to start, and passes code through a pipe once. The calling thread waits; so
//! does one that finds as many children running as there may be.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use crate::artifact::Artifact;
use crate::cache::configuration_of;
use crate::component::{LoadErrorKind, Reexport, refused_by_wasmtime};
use crate::engine::Profile;

mod child;
mod failure;
mod places;
mod process;
mod protocol;

pub use child::serve_compiler;
pub use failure::CompilerError;
use places::Places;
pub(crate) use process::is_child;
use protocol::{Answer, Request};

/// Where components are compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Compiler {
    /// In this process, without limits of its own: a library cannot know which program to start. For components that are
    /// trusted as the host is.
    #[default]
    InProcess,
    /// In a child process each.
    Process(CompilerProcess),
}

/// The program that compiles, and what each of its processes may take.
///
/// The program has to call [`serve_compiler`] when it is started with these arguments. It can be the host itself:
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use airssys_wasm::{Compiler, CompilerProcess, Engine, EngineConfig, serve_compiler};
///
/// fn main() -> ExitCode {
///     // Before anything else: the child has nothing but its three standard streams.
///     if std::env::args_os().nth(1).is_some_and(|first| first == "compile") {
///         return serve_compiler();
///     }
///     let compiler = CompilerProcess::of_this_program(["compile"]).unwrap();
///     let engine = Engine::new(EngineConfig {
///         compiler: Compiler::Process(compiler),
///         ..EngineConfig::default()
///     });
///     // …
/// #   let _ = engine;
///     ExitCode::SUCCESS
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompilerProcess {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// What one compilation may take.
    pub limits: CompileLimits,
    /// Processes at once (default: as many as there are processors). Who finds no place waits for one.
    pub at_once_max: usize,
}

/// What one compilation may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space of the process in bytes (default 2 GiB), the program's own included. The kernel's `RLIMIT_AS`.
    pub memory_bytes: u64,
    /// Processor time of all its threads (default 30 s), in whole seconds. The kernel's `RLIMIT_CPU`.
    pub cpu: Duration,
    /// Time from start to answer (default 30 s).
    pub wall: Duration,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            memory_bytes: 2 * 1024 * 1024 * 1024,
            cpu: Duration::from_secs(30),
            wall: Duration::from_secs(30),
        }
    }
}

impl CompilerProcess {
    /// Processes of a program, without arguments and with the usual limits.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            limits: CompileLimits::default(),
            at_once_max: processors(),
        }
    }

    /// Processes of the program that is running, with the usual limits. On Linux it is the same program even if another
    /// has been put in the place of its file since.
    ///
    /// # Errors
    /// If the system does not say which program is running.
    pub fn of_this_program<I>(args: I) -> io::Result<Self>
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        let running = Path::new("/proc/self/exe");
        let program = if cfg!(target_os = "linux") && running.exists() {
            running.to_owned()
        } else {
            std::env::current_exe()?
        };
        Ok(Self {
            args: args.into_iter().map(Into::into).collect(),
            ..Self::new(program)
        })
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A compiled component.
pub(crate) struct Compiled {
    pub(crate) raw: wasmtime::component::Component,
    /// Its serialized code, where there is no need to make it.
    artifact: Option<Vec<u8>>,
    /// Whether it was compiled with what it exports again.
    pub(crate) reexports: bool,
}

impl Compiled {
    /// Hands its serialized code to `keep`.
    pub(crate) fn serialized(
        &self,
        keep: impl FnOnce(&Artifact<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        match &self.artifact {
            Some(bytes) => keep(&Artifact::compiled(bytes)),
            None => {
                let error = |error: wasmtime::Error| io::Error::other(error.to_string());
                keep(&Artifact::compiled(&self.raw.serialize().map_err(error)?))
            }
        }
    }
}

/// What of a component is compiled: with what it exports again if that is possible and compiles, else as it came, so that
/// what is wrong is said of its own bytes.
fn compile_either<T>(
    bytes: &[u8],
    reexport: bool,
    compile: impl Fn(&[u8]) -> wasmtime::Result<T>,
) -> wasmtime::Result<(T, bool)> {
    let reexported = reexport
        .then(|| Reexport::of(bytes)?.applied_to(bytes))
        .flatten();
    if let Some(done) = reexported.and_then(|bytes| compile(&bytes).ok()) {
        return Ok((done, true));
    }
    compile(bytes).map(|done| (done, false))
}

/// The compiler of one engine.
pub(crate) struct Compilation {
    process: Option<(CompilerProcess, Places)>,
    profile: Profile,
    configuration: [u8; 32],
}

impl Compilation {
    pub(crate) fn new(compiler: Compiler, profile: Profile, engine: &wasmtime::Engine) -> Self {
        Self {
            process: match compiler {
                Compiler::InProcess => None,
                Compiler::Process(process) => {
                    let places = Places::new(process.at_once_max);
                    Some((process, places))
                }
            },
            profile,
            configuration: configuration_of(engine),
        }
    }

    /// Compiles bytes that are within the limits of an artifact. Blocks.
    pub(crate) fn compile(
        &self,
        engine: &wasmtime::Engine,
        bytes: &Bytes,
    ) -> Result<Compiled, LoadErrorKind> {
        let Some((process, places)) = &self.process else {
            let compile = |bytes: &[u8]| wasmtime::component::Component::from_binary(engine, bytes);
            return match compile_either(bytes, true, compile) {
                Ok((raw, reexports)) => Ok(Compiled {
                    raw,
                    artifact: None,
                    reexports,
                }),
                Err(error) => Err(refused_by_wasmtime(&format!("{error:#}"))),
            };
        };
        let _place = places.take();
        self.compile_aside(process, engine, bytes, true)
    }

    fn compile_aside(
        &self,
        process: &CompilerProcess,
        engine: &wasmtime::Engine,
        bytes: &Bytes,
        reexport: bool,
    ) -> Result<Compiled, LoadErrorKind> {
        let request = Request {
            profile: self.profile,
            reexport,
            memory_bytes: process.limits.memory_bytes,
            cpu_seconds: process.limits.cpu_seconds(),
            configuration: self.configuration,
            bytes: bytes.clone(),
        };
        match process::ask(process, request).map_err(LoadErrorKind::NotCompiled)? {
            Answer::Refused(why) => Err(refused_by_wasmtime(&why)),
            Answer::Compiled {
                artifact,
                reexports,
            } => match Artifact::compiled(&artifact).load(engine) {
                Ok(raw) => Ok(Compiled {
                    raw,
                    artifact: Some(artifact),
                    reexports,
                }),
                // The pool may have room for it as it came.
                Err(_) if reexports => self.compile_aside(process, engine, bytes, false),
                Err(error) => Err(refused_by_wasmtime(&format!("{error:#}"))),
            },
        }
    }
}

impl CompileLimits {
    /// The kernel counts whole seconds, and 0 would be none at all.
    fn cpu_seconds(&self) -> u64 {
        let begun = u64::from(self.cpu.subsec_nanos() > 0);
        self.cpu.as_secs().saturating_add(begun).max(1)
    }
}
