//! Why the compiler's process did not do its work.
//!
//! Each says what happened and what can be done, as `what; what to do`. What the process said is shown escaped and cut.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// How it is done without a process, for those that are told that there was something wrong with one.
const IN_PROCESS: &str = "if you trust it, have it compiled in the host's own process (`Compiler::InProcess`, \
                          `AIRSSYS_COMPILER=in-process`)";

/// Why a component was not compiled, though nothing was found wrong with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompilerError {
    /// Compiling it takes more memory than a compilation may take.
    #[error(
        "takes more than {} MiB of memory to compile; make it smaller, raise `CompileLimits::memory_bytes`, or, {}",
        .memory_bytes / (1024 * 1024), IN_PROCESS
    )]
    Memory {
        /// The limit.
        memory_bytes: u64,
    },
    /// Compiling it takes more processor time than a compilation may take.
    #[error(
        "takes more than {seconds} s of processor time to compile; make it smaller, raise `CompileLimits::cpu`, or, {}",
        IN_PROCESS
    )]
    Cpu {
        /// The limit.
        seconds: u64,
    },
    /// It was not compiled in the time a compilation may take.
    #[error(
        "was not compiled within {wall:?}, and its compiler was killed; try again on a machine that is less busy, raise \
         `CompileLimits::wall`, or, {}",
        IN_PROCESS
    )]
    Wall {
        /// The limit.
        wall: Duration,
    },
    /// The compiler's process was ended by a signal.
    #[error(
        "was being compiled when the compiler died of {}{}; build it again with another toolchain, or, {}",
        signal_name(*.signal), said_of(.said), IN_PROCESS
    )]
    Died {
        /// The signal.
        signal: i32,
        /// What it wrote to its standard error.
        said: String,
    },
    /// The compiler's process ended before it had answered.
    #[error(
        "was being compiled when the compiler ({}) ended with {code} and no answer{}; see that the program is one that \
         compiles, and that the machine has memory and disk left", .program.display(), said_of(.said)
    )]
    BrokeOff {
        /// The program.
        program: PathBuf,
        /// Its exit code.
        code: i32,
        /// What it wrote to its standard error.
        said: String,
    },
    /// What the compiler's process answered is no answer.
    #[error(
        "was not compiled: what the compiler ({}) answered is none ({what}){}; see that the program is one that compiles, and \
         that it writes nothing else to its standard output", .program.display(), said_of(.said)
    )]
    Nonsense {
        /// The program.
        program: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What it wrote to its standard error.
        said: String,
    },
    /// The compiler's program is of another build, and its code would not fit.
    #[error(
        "was not compiled: the compiler ({}) is of another version than the host; start the host again, or have it use its \
         own program", .program.display()
    )]
    OtherBuild {
        /// The program.
        program: PathBuf,
    },
    /// The compiler's process could not be started.
    #[error("was not compiled: the compiler ({}) cannot be started: {source}; see that it is there, and that the machine allows \
         another process and three more threads", .program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl CompilerError {
    /// Whether it is of this component that it was not compiled, and not of the machine or of the program that compiles.
    #[must_use]
    pub fn is_of_component(&self) -> bool {
        matches!(
            self,
            Self::Memory { .. } | Self::Cpu { .. } | Self::Wall { .. } | Self::Died { .. }
        )
    }
}

fn said_of(said: &str) -> String {
    match said {
        "" => String::new(),
        said => format!(" (it said: {said})"),
    }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL, which the kernel sends when the machine's memory runs out",
        11 => "SIGSEGV",
        15 => "SIGTERM",
        _ => return format!("signal {signal}"),
    };
    format!("signal {signal} ({name})")
}
