//! A host that runs, and commands that ask it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::fixture::{App, Ran, airssys, ran};

/// A running `up`, killed at the end of the test whatever happens.
pub(crate) struct Up {
    pub(crate) child: Child,
    pub(crate) stderr: BufReader<ChildStderr>,
    pub(crate) runtime: PathBuf,
}

impl Drop for Up {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `up` with its sockets in `runtime`, and waits until it says `until`.
pub(crate) fn start(app: &App, runtime: &Path, args: &[&str], until: &str) -> Up {
    let child = airssys()
        .args(["up", app.path(), "--log", "info"])
        .args(args)
        .env("XDG_RUNTIME_DIR", runtime)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = Up::of(child, runtime);
    up.says(until);
    up
}

impl Up {
    /// One that was started with its standard error in a pipe.
    pub(crate) fn of(mut child: Child, runtime: &Path) -> Self {
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self {
            child,
            stderr,
            runtime: runtime.to_owned(),
        }
    }

    /// Waits for a line with a word.
    pub(crate) fn says(&mut self, word: &str) {
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            let read = self.stderr.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "it ended before it said {word}");
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end; exit code and standard output.
    pub(crate) fn end(&mut self) -> (Option<i32>, String) {
        let mut out = String::new();
        let stdout = self.child.stdout.take();
        stdout.unwrap().read_to_string(&mut out).unwrap();
        (self.child.wait().unwrap().code(), out)
    }

    pub(crate) fn ask(&self, args: &[&str]) -> Ran {
        ask(&self.runtime, args)
    }

    pub(crate) fn sockets(&self) -> Vec<String> {
        let found = std::fs::read_dir(self.runtime.join("airssys")).unwrap();
        let names = found.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }
}

pub(crate) fn ask(runtime: &Path, args: &[&str]) -> Ran {
    ran(airssys().args(args).env("XDG_RUNTIME_DIR", runtime))
}
