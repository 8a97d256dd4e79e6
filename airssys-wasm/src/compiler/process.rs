//! The host's side: one child for one request, from its start to its end.
//!
//! Three threads carry its standard streams, so that the one that waits can keep the wall clock: none of them can be held
//! up by a child that does not read, does not write, or does not end. A child is the leader of a process group; the group
//! is killed and the child reaped whichever way this is left. What it says on standard error is read to the end, and
//! kept up to a bound.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use super::protocol::{Answer, NoAnswer, Request};
use super::{CompilerError, CompilerProcess, processors};
use crate::printable::printable;

/// Set for the child, so that a program that does not see that it is one starts no child of its own.
pub(super) const VARIABLE: &str = "AIRSSYS_WASM_COMPILER";

/// Threads of one child: each has a stack and a heap of its own in its address space.
const THREADS_MAX: usize = 8;

/// What is kept of its standard error (4 KiB), and what of that is shown (1 KiB).
const SAID_BYTES_MAX: u64 = 4 * 1024;
const SHOWN_BYTES_MAX: usize = 1024;

/// How long the rest of what a killed child has said may take to come (1 s): it is in a pipe of ours already.
const REST_WITHIN: Duration = Duration::from_secs(1);

/// Whether this process is a compiler's.
pub(crate) fn is_child() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Has a child compile. Blocks until it has ended.
pub(super) fn ask(process: &CompilerProcess, request: Request) -> Result<Answer, CompilerError> {
    let start = |source| CompilerError::Start {
        program: process.program.clone(),
        source,
    };
    let wall = process.limits.wall;
    let begun = Instant::now();
    let mut child = Running::start(process).map_err(start)?;
    tracing::debug!(process = child.0.id(), program = %process.program.display(), "compiling in a process of its own");
    let answer = child.write_and_read(request).map_err(start)?;
    let said = child.listen().map_err(start)?;
    let rest = || wall.saturating_sub(begun.elapsed());
    let no_answer = match answer.recv_timeout(rest()) {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(no_answer)) => no_answer,
        // The thread that reads has not ended: nor has the child.
        Err(_) => return Err(CompilerError::Wall { wall }),
    };
    let ended = matches!(no_answer, NoAnswer::Ended);
    let first = match ended {
        // It has closed its standard output, and ends, or seems to.
        true => match said.recv_timeout(rest()) {
            Ok(said) => Some(said),
            Err(_) => return Err(CompilerError::Wall { wall }),
        },
        false => None,
    };
    let status = child.end().map_err(start)?;
    let said = first.or_else(|| said.recv_timeout(REST_WITHIN).ok());
    Err(explain(
        process,
        no_answer,
        status,
        said.unwrap_or_default(),
    ))
}

/// What to make of a child that did not answer.
fn explain(
    process: &CompilerProcess,
    no_answer: NoAnswer,
    status: ExitStatus,
    said: Vec<u8>,
) -> CompilerError {
    let text = String::from_utf8_lossy(&said);
    let said = printable(text.trim(), SHOWN_BYTES_MAX);
    let program = process.program.clone();
    let memory = CompilerError::Memory {
        memory_bytes: process.limits.memory_bytes,
    };
    let nonsense = |what, said| CompilerError::Nonsense {
        program: process.program.clone(),
        what,
        said,
    };
    match no_answer {
        NoAnswer::Memory => memory,
        NoAnswer::OtherBuild => CompilerError::OtherBuild { program },
        NoAnswer::Nonsense(what) => nonsense(what, said),
        NoAnswer::Read(error) => nonsense(format!("it cannot be read: {error}"), said),
        NoAnswer::Ended if is_of_memory(&text) => memory,
        NoAnswer::Ended => match signal(status) {
            Some(signal) if signal == CPU_SIGNAL => CompilerError::Cpu {
                seconds: process.limits.cpu_seconds(),
            },
            Some(signal) => CompilerError::Died { signal, said },
            None => CompilerError::BrokeOff {
                program,
                code: status.code().unwrap_or(-1),
                said,
            },
        },
    }
}

/// What Rust's allocator says before it aborts, and what becomes of threads that have no room for a stack.
fn is_of_memory(said: &str) -> bool {
    let words = [
        "memory allocation of ",
        "ThreadPoolBuildError",
        "os error 12",
    ];
    words.iter().any(|words| said.contains(words))
}

#[cfg(unix)]
const CPU_SIGNAL: i32 = rustix::process::Signal::XCPU.as_raw();
#[cfg(not(unix))]
const CPU_SIGNAL: i32 = -1;

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_status: ExitStatus) -> Option<i32> {
    None
}

/// A child that runs; dropped, it is killed and reaped.
struct Running(Child);

impl Running {
    fn start(process: &CompilerProcess) -> io::Result<Self> {
        let mut command = Command::new(&process.program);
        command
            .args(&process.args)
            .env_clear()
            .env(VARIABLE, "1")
            .env(
                "RAYON_NUM_THREADS",
                processors().min(THREADS_MAX).to_string(),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // What a terminal sends its processes is for the host to decide on.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Ok(Self(command.spawn()?))
    }

    /// Writes the request on one thread, and reads the answer on another.
    fn write_and_read(
        &mut self,
        request: Request,
    ) -> io::Result<Receiver<Result<Answer, NoAnswer>>> {
        let stdin = self.0.stdin.take();
        let stdout = self.0.stdout.take();
        let (Some(mut stdin), Some(mut stdout)) = (stdin, stdout) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        thread("compiler-request", move || {
            // A child that does not read has something else to say, or nothing.
            let _ = request.write(&mut stdin);
        })?;
        let (answered, answer) = bounded(1);
        thread("compiler-answer", move || {
            // Who asked may have gone.
            let _ = answered.send(Answer::read(&mut stdout));
        })?;
        Ok(answer)
    }

    /// Reads what it says on its standard error to the end, and keeps the beginning.
    fn listen(&mut self) -> io::Result<Receiver<Vec<u8>>> {
        let Some(mut stderr) = self.0.stderr.take() else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let (heard, said) = bounded(1);
        thread("compiler-log", move || {
            let mut kept = Vec::new();
            // What was read before it failed is kept.
            let _ = (&mut stderr).take(SAID_BYTES_MAX).read_to_end(&mut kept);
            let _ = io::copy(&mut stderr, &mut io::sink());
            let _ = heard.send(kept);
        })?;
        Ok(said)
    }

    /// Kills what is left of it, and reaps it. Of one that has closed its standard streams by ending the status is its own: the
    /// signal comes too late.
    fn end(&mut self) -> io::Result<ExitStatus> {
        self.kill();
        self.0.wait()
    }

    /// It has not been reaped, so its number is no other process's.
    fn kill(&mut self) {
        #[cfg(unix)]
        if let Some(group) = i32::try_from(self.0.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.0.kill();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // There is nothing to be done about a failure; there is none for a child of this process.
        let _ = self.end();
    }
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // Not joined: it ends with its pipe, which is closed when the group has been killed.
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map(drop)
}
