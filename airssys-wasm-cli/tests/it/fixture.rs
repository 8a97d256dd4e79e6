//! Applications in a directory of their own, and the binary run on them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// Exports `test:app/sink`: `put(number, item) -> result<_, string>` counts the item, but for one that begins
/// with `e` (an error), `t` (a trap) or `l` (an endless loop); `total() -> u64` is the count.
pub(crate) const SINK: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (data (i32.const 32) "will not")
    (global $total (mut i64) (i64.const 0))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "put") (param $number i32) (param $item i32) (param $length i32) (result i32)
      (local $first i32)
      (local.set $first (i32.load8_u (local.get $item)))
      (if (i32.eq (local.get $first) (i32.const 116)) (then unreachable))
      (if (i32.eq (local.get $first) (i32.const 108)) (then (loop (br 0))))
      (i32.store8 (i32.const 16) (i32.const 0))
      (if (i32.eq (local.get $first) (i32.const 101))
        (then
          (i32.store8 (i32.const 16) (i32.const 1))
          (i32.store (i32.const 20) (i32.const 32))
          (i32.store (i32.const 24) (i32.const 8)))
        (else (global.set $total (i64.add (global.get $total) (i64.const 1)))))
      (i32.const 16))
    (func (export "total") (result i64) (global.get $total)))
  (core instance $i (instantiate $m))
  (func $put (param "number" u32) (param "item" string) (result (result (error string)))
    (canon lift (core func $i "put") (memory $i "memory") (realloc (func $i "realloc"))))
  (func $total (result u64) (canon lift (core func $i "total")))
  (instance (export "test:app/sink") (export "put" (func $put)) (export "total" (func $total))))"#;

/// Exports `test:app/add`: `add(a: u32, b: u32) -> u32`, `trap()`, `echo(text) -> string`.
pub(crate) const ADDER: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "trap") unreachable)
    (func (export "echo") (param i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 0))
      (i32.store (i32.const 20) (local.get 1))
      (i32.const 16)))
  (core instance $i (instantiate $m))
  (func $add (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
  (func $trap (canon lift (core func $i "trap")))
  (func $echo (param "text" string) (result string)
    (canon lift (core func $i "echo") (memory $i "memory") (realloc (func $i "realloc"))))
  (instance (export "test:app/add")
    (export "add" (func $add)) (export "trap" (func $trap)) (export "echo" (func $echo))))"#;

/// Imports `test:app/add` (`add`) and `test:app/other` (`one`, `two`); exports nothing.
pub(crate) const NEEDY: &str = r#"(component
  (import "test:app/add" (instance (export "add" (func (param "a" u32) (param "b" u32) (result u32)))))
  (import "test:app/other" (instance (export "one" (func)) (export "two" (func)))))"#;

/// Imports `test:app/add`, but with 64-bit numbers.
pub(crate) const MISTYPED: &str = r#"(component
  (import "test:app/add" (instance (export "add" (func (param "a" u64) (param "b" u64) (result u64))))))"#;

/// A component that exports `airssys:actor/init`, whose `init` does `body` and then returns ok; `imports` come
/// first, and `with` is what the core module is instantiated with.
pub(crate) fn with_init(imports: &str, with: &str, module: &str, body: &str) -> String {
    format!(
        r#"(component
  {imports}
  (core module $m
    {module}
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "init") (param i32 i32) (result i32)
      {body}
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.const 16)))
  (core instance $i (instantiate $m {with}))
  (func $init (param "config" (list (tuple string string))) (result (result (error string)))
    (canon lift (core func $i "init") (memory $i "memory") (realloc (func $i "realloc"))))
  (instance (export "airssys:actor/init@0.1.0") (export "init" (func $init))))"#
    )
}

/// What a command has left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The result as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The error as JSON: the last line of standard error, after whatever was logged.
    pub(crate) fn error(&self) -> Value {
        let last = self.stderr.lines().last().unwrap_or("");
        let error: Value =
            serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        error["error"].clone()
    }

    /// Asserts an exit code and that standard error says all of it; standard output stays empty.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, says: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
        for text in says {
            assert!(self.stderr.contains(text), "no `{text}` in {}", self.stderr);
        }
    }
}

/// Where the sockets of one command lie: nobody else's, and short enough for a socket's path. It is removed by a later
/// run of the tests.
pub(crate) fn runtime_directory() -> PathBuf {
    static OWN: LazyLock<PathBuf> = LazyLock::new(|| {
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("r");
        let all = match scratch.as_os_str().len() {
            0..=60 => scratch,
            _ => std::env::temp_dir().join("airssys-tests"),
        };
        for old in std::fs::read_dir(&all).into_iter().flatten().flatten() {
            if !Path::new("/proc").join(old.file_name()).exists() {
                let _ = std::fs::remove_dir_all(old.path());
            }
        }
        all.join(std::process::id().to_string())
    });
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let directory = OWN.join(number.to_string());
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// The binary, with a compile cache for the tests, and sockets of its own.
pub(crate) fn airssys() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_airssys"));
    command
        .env(
            "XDG_CACHE_HOME",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
        )
        .env("XDG_RUNTIME_DIR", runtime_directory())
        .env_remove("AIRSSYS_LOG")
        .stdin(Stdio::null());
    command
}

pub(crate) fn run(args: &[&str]) -> Ran {
    ran(airssys().args(args))
}

pub(crate) fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Makes a pipe that nobody writes to.
pub(crate) fn fifo(path: impl AsRef<Path>) {
    let made = Command::new("mkfifo").arg(path.as_ref()).status();
    assert!(made.unwrap().success());
}

/// The example of the repository.
pub(crate) fn quakes() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quakes").to_owned()
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory with an application; it is removed at the end of the test.
pub(crate) struct App {
    directory: PathBuf,
}

impl App {
    pub(crate) fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("app-{}-{number}", std::process::id());
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&directory).unwrap();
        Self { directory }
    }

    /// An application of one component, `name`, from text.
    pub(crate) fn of(name: &str, wat: &str) -> Self {
        Self::new()
            .component(name, wat)
            .manifest(&format!("[components.{name}]\nfile = \"{name}.wasm\"\n"))
    }

    pub(crate) fn file(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.directory.join(name), bytes).unwrap();
        self
    }

    /// Encodes a component to `name.wasm`.
    pub(crate) fn component(self, name: &str, wat: &str) -> Self {
        self.file(&format!("{name}.wasm"), wat::parse_str(wat).unwrap())
    }

    /// Writes the manifest: the name of the application in two lines, then the text.
    pub(crate) fn manifest(self, text: &str) -> Self {
        self.file(
            "airssys.toml",
            format!("[application]\nname = \"app\"\n{text}"),
        )
    }

    pub(crate) fn path(&self) -> &str {
        self.directory.to_str().unwrap()
    }

    pub(crate) fn at(&self, name: &str) -> String {
        self.directory.join(name).to_str().unwrap().to_owned()
    }

    /// Runs `airssys COMMAND DIRECTORY ARGS…`.
    pub(crate) fn run(&self, command: &str, args: &[&str]) -> Ran {
        run(&[&[command, self.path()], args].concat())
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
