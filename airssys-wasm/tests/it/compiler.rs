//! Compiling in a child process: the same code and the same refusals, and whatever becomes of the child the host has a
//! typed error and goes on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use airssys_wasm::{
    CacheLocation, CompileLimits, Compiler, CompilerError, CompilerProcess, Component,
    ComponentRef, Engine, EngineConfig, InstanceTemplate, LoadError, LoadErrorKind, Loaded,
    NoOutbound, Profile,
};

use crate::guest::{bytes, call, core, returned, run, spec, start};

/// A directory of the test's own, gone at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("compiler-{name}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _left_by_a_crash = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn cache(&self) -> CacheLocation {
        CacheLocation::Directory(self.0.clone())
    }

    /// Its one entry, key and all.
    fn entry(&self) -> Vec<u8> {
        let entries: Vec<_> = std::fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
            .collect();
        assert_eq!(entries.len(), 1);
        std::fs::read(&entries[0]).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _best_effort = std::fs::remove_dir_all(&self.0);
    }
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_airssys-wasm-compiler");

/// The real compiler.
fn real() -> CompilerProcess {
    CompilerProcess::new(PROGRAM)
}

/// A shell in its place; `$0` is the real one.
fn shell(script: &str) -> CompilerProcess {
    CompilerProcess {
        args: ["-c", script, PROGRAM].map(Into::into).to_vec(),
        ..CompilerProcess::new("/bin/sh")
    }
}

fn engine(compiler: Compiler, cache: CacheLocation) -> Engine {
    Engine::new(EngineConfig {
        pool_instances_max: 16,
        cache,
        compiler,
        ..EngineConfig::default()
    })
    .unwrap()
}

fn aside(process: CompilerProcess) -> Engine {
    engine(Compiler::Process(process), CacheLocation::Off)
}

fn load(engine: &Engine, bytes: &[u8]) -> Result<Component, LoadError> {
    engine.load(&ComponentRef::Bytes(bytes.to_vec().into()))
}

fn one() -> Vec<u8> {
    bytes(&core("(func (export \"go\"))"))
}

/// What becomes of a component whose compiler is `process`; a real one compiles it after that.
#[track_caller]
fn not_compiled(process: CompilerProcess) -> CompilerError {
    let failed = aside(process);
    let error = load(&failed, &one()).unwrap_err();
    // What is put into findings is `what; what to do`.
    assert_eq!(error.to_string().matches("; ").count(), 1, "{error}");
    let LoadErrorKind::NotCompiled(error) = error.kind else {
        panic!("{error}")
    };
    works(&load(&aside(real()), &one()).unwrap());
    error
}

fn works(component: &Component) {
    let template = InstanceTemplate::link(component, spec()).unwrap();
    run(async {
        returned(call(&template, start(&template).await, "go", ()).await);
    });
}

fn committed() -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for of in ["benches/guests", "examples/quakes", "examples/chat"] {
        let components = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(of);
        let all = std::fs::read_dir(components.join("components")).unwrap();
        let all = all.map(|entry| entry.unwrap().path());
        paths.extend(all.filter(|path| path.extension().is_some_and(|of| of == "wasm")));
    }
    paths.sort();
    assert!(paths.len() > 3);
    paths
}

#[test]
fn a_child_compiles_what_this_process_would() {
    let mut all: Vec<_> = committed()
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    // Exports nothing again; and the empty one.
    all.push(bytes("(component (core module (func (export \"f\"))))"));
    all.push(bytes("(component)"));
    for (number, bytes) in all.iter().enumerate() {
        let (here, there) = (
            Scratch::new(&format!("here-{number}")),
            Scratch::new(&format!("there-{number}")),
        );
        let in_process = engine(Compiler::InProcess, here.cache());
        // With the same key what is kept is the same, to the byte.
        drop(engine(Compiler::InProcess, there.cache()));
        std::fs::copy(here.0.join("key"), there.0.join("key")).unwrap();
        let aside = engine(Compiler::Process(real()), there.cache());
        let (a, b) = (
            load(&in_process, bytes).unwrap(),
            load(&aside, bytes).unwrap(),
        );
        assert!(matches!(b.loaded(), Loaded::Compiled { .. }));
        assert_eq!(a.digest(), b.digest());
        assert_eq!(format!("{:?}", a.surface()), format!("{:?}", b.surface()));
        assert!(here.entry() == there.entry(), "component {number}");
    }
}

#[test]
fn what_a_child_has_compiled_runs_and_traps_as_it_should() {
    let engine = aside(real());
    works(&load(&engine, &one()).unwrap());
    let traps = load(&engine, &bytes(&core("(func (export \"go\") unreachable)"))).unwrap();
    let template = InstanceTemplate::link(&traps, spec()).unwrap();
    let fault =
        run(async { crate::guest::died(call(&template, start(&template).await, "go", ()).await) });
    assert_eq!(fault.class, airssys_wasm::FaultClass::Unreachable);
    let dense = Engine::new(EngineConfig {
        profile: Profile::Dense,
        pool_instances_max: 16,
        cache: CacheLocation::Off,
        compiler: Compiler::Process(real()),
        ..EngineConfig::default()
    })
    .unwrap();
    works(&load(&dense, &one()).unwrap());
}

#[test]
fn what_is_wrong_with_a_component_reads_the_same() {
    let (here, there) = (
        engine(Compiler::InProcess, CacheLocation::Off),
        aside(real()),
    );
    let many = |count: usize, of: &str| {
        let many = of.repeat(count);
        format!("(component (core module $m {many}) (core instance (instantiate $m)))")
    };
    let mut all: Vec<_> = [
        "(component (core module (memory i64 1)))".to_owned(),
        "(component (core module (func (result i32))))".to_owned(),
        // What is exported again moves what is behind it, and what is said of it has to be of its own bytes.
        core("(func (export \"go\") (result i32))"),
        core("(func (export \"go\") i32.add)"),
        format!(
            "{} (func (export \"f\")))",
            core("(func (export \"go\"))").trim_end_matches(')')
        ),
        "(component (import \"f\" (func async)))".to_owned(),
        many(9, "(memory 0)"),
        many(101, "(memory 0)"),
    ]
    .iter()
    .filter_map(|wat| wat::parse_str(wat).ok())
    .collect();
    assert!(all.len() > 5);
    let whole = one();
    for at in 8..whole.len() {
        let mut bad = whole.clone();
        bad[at] ^= 0x41;
        if load(&here, &bad).is_err() {
            all.push(bad);
        }
        if all.len() > 40 {
            break;
        }
    }
    for bad in all {
        let expected = load(&here, &bad).unwrap_err().to_string();
        assert_eq!(load(&there, &bad).unwrap_err().to_string(), expected);
    }
}

#[test]
fn what_is_in_the_cache_starts_no_process() {
    let scratch = Scratch::new("cache");
    let nobody = || Compiler::Process(CompilerProcess::new("no/such/compiler"));
    assert!(load(&engine(nobody(), scratch.cache()), &one()).is_err());
    let compiled = load(&engine(Compiler::Process(real()), scratch.cache()), &one()).unwrap();
    assert!(matches!(compiled.loaded(), Loaded::Compiled { .. }));
    let cached = load(&engine(nobody(), scratch.cache()), &one()).unwrap();
    assert!(matches!(cached.loaded(), Loaded::Cached { .. }));
    works(&cached);
}

/// One instance more than the pool has room for, as soon as there is the one that exports again.
#[test]
fn what_does_not_compile_with_what_it_exports_again_is_kept_as_it_came() {
    let instances = "(core instance (instantiate $n))".repeat(32);
    let wat = format!(
        "(component
           (core module $n) {instances}
           (core module $m (func (export \"go\")))
           (core instance $i (instantiate $m))
           (func (export \"go\") (canon lift (core func $i \"go\"))))"
    );
    let bytes = bytes(&wat);
    for (name, compiler) in [
        ("as-it-came", Compiler::InProcess),
        ("as-it-came-aside", Compiler::Process(real())),
    ] {
        let scratch = Scratch::new(name);
        let engine = engine(compiler, scratch.cache());
        let started = |component: &Component| {
            let template = InstanceTemplate::link(component, spec()).unwrap();
            let starting = template.instantiate(crate::guest::identity(), Box::new(NoOutbound));
            run(starting).unwrap_err().to_string()
        };
        let first = load(&engine, &bytes).unwrap();
        assert!(matches!(first.loaded(), Loaded::Compiled { .. }));
        let second = load(&engine, &bytes).unwrap();
        assert!(matches!(second.loaded(), Loaded::Cached { .. }), "{name}");
        assert_eq!(started(&first), started(&second));
    }
}

#[test]
fn many_at_once_find_their_places() {
    let engine = aside(CompilerProcess {
        at_once_max: 2,
        ..real()
    });
    std::thread::scope(|scope| {
        for number in 0..6 {
            let engine = &engine;
            scope.spawn(move || {
                let module = format!("(func (export \"go\") (drop (i32.const {number})))");
                works(&load(engine, &bytes(&core(&module))).unwrap());
            });
        }
    });
}

/// Four functions of nearly a megabyte each: many blocks, and a value that goes through all of them.
fn large() -> Vec<u8> {
    let step = "(block (br_if 0 (i32.eqz (local.tee 0 (i32.mul (i32.add (local.get 0) (i32.const 3)) (local.get 0))))))";
    let body = step.repeat(40_000);
    let functions = format!("(func (param i32) (result i32) {body} (local.get 0))").repeat(4);
    bytes(&core(&format!("{functions} (func (export \"go\"))")))
}

#[test]
fn i5_a_compilation_that_takes_too_much_memory() {
    let guest = std::fs::read(&committed()[0]).unwrap();
    // With less than the program itself takes; with too little to begin; with what is used up on the way.
    for (mib, component) in [(1, &guest), (32, &guest), (128, &large())] {
        let engine = aside(CompilerProcess {
            limits: CompileLimits {
                memory_bytes: mib * 1024 * 1024,
                cpu: Duration::from_secs(600),
                wall: Duration::from_secs(600),
            },
            ..real()
        });
        let error = load(&engine, component).unwrap_err();
        let LoadErrorKind::NotCompiled(error @ CompilerError::Memory { .. }) = error.kind else {
            panic!("{mib} MiB: {error}")
        };
        assert!(error.is_of_component());
        let says = format!("more than {mib} MiB");
        assert!(error.to_string().contains(&says), "{error}");
    }
    assert!(load(&aside(real()), &guest).is_ok());
}

#[test]
fn i5_a_compilation_that_takes_too_much_processor_time() {
    let engine = aside(CompilerProcess {
        limits: CompileLimits {
            cpu: Duration::from_millis(1),
            wall: Duration::from_secs(600),
            ..CompileLimits::default()
        },
        ..real()
    });
    let error = load(&engine, &large()).unwrap_err();
    let LoadErrorKind::NotCompiled(error @ CompilerError::Cpu { seconds: 1 }) = error.kind else {
        panic!("{error}")
    };
    assert!(error.is_of_component());
    works(&load(&engine, &one()).unwrap());
}

/// Neither it nor what it has started is there afterwards.
#[cfg(unix)]
#[test]
fn i5_a_compiler_that_hangs() {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;

    let scratch = Scratch::new("hangs");
    std::fs::create_dir_all(&scratch.0).unwrap();
    let fifo = scratch.0.join("alive");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    let mut alive = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(&fifo)
        .unwrap();
    let script = format!(
        "exec 3>'{}'; tail -f /dev/null & tail -f /dev/null",
        fifo.display()
    );
    let wall = Duration::from_millis(300);
    let process = CompilerProcess {
        limits: CompileLimits {
            wall,
            ..CompileLimits::default()
        },
        ..shell(&script)
    };
    let error = not_compiled(process);
    assert!(
        matches!(error, CompilerError::Wall { wall: found } if found == wall),
        "{error}"
    );
    // Ends when nobody holds the other end any more.
    rustix::fs::fcntl_setfl(&alive, rustix::fs::OFlags::empty()).unwrap();
    assert_eq!(alive.read_to_end(&mut Vec::new()).unwrap(), 0);
}

#[test]
fn i5_a_compiler_that_dies() {
    for (signal, name) in [(6, "SIGABRT"), (11, "SIGSEGV"), (9, "SIGKILL")] {
        let error = not_compiled(shell(&format!(
            "echo 'it \x1b[31mhurts' >&2; kill -{signal} $$"
        )));
        let CompilerError::Died {
            signal: found,
            said,
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!((*found, said.as_str()), (signal, "it \\u{1b}[31mhurts"));
        assert!(error.to_string().contains(name), "{error}");
    }
    // As the real one does when it finds no memory.
    let error = not_compiled(shell(
        "echo 'memory allocation of 64 bytes failed' >&2; kill -6 $$",
    ));
    assert!(matches!(error, CompilerError::Memory { .. }), "{error}");
}

#[test]
fn i5_a_compiler_that_speaks_nonsense() {
    for (script, says) in [
        ("echo 'hello, here I am'", "it begins with \\\"hello, h\\\""),
        // It never ends, and nobody waits for that.
        ("exec cat /dev/zero", "it begins with"),
        ("echo up; exec \"$0\"", "it begins with"),
        ("\"$0\"; echo done", "there is more behind it"),
        ("\"$0\" | sed 's/ELF/FLE/'", "its checksum is wrong"),
    ] {
        let error = not_compiled(shell(script));
        let CompilerError::Nonsense { what, .. } = &error else {
            panic!("{script}: {error}")
        };
        assert!(
            what.contains(&says.replace("\\\"", "\"")),
            "{script}: {error}"
        );
        assert!(!error.is_of_component());
    }
}

#[test]
fn i5_a_compiler_that_breaks_off() {
    for (script, found) in [
        ("\"$0\" | head -c 1000", 0),
        ("\"$0\" | head -c 20", 0),
        ("exit 0", 0),
        ("echo 'out of ideas' >&2; exit 7", 7),
    ] {
        let error = not_compiled(shell(script));
        let CompilerError::BrokeOff { code, said, .. } = &error else {
            panic!("{script}: {error}")
        };
        assert_eq!(*code, found, "{script}");
        assert!(found == 0 || said == "out of ideas");
    }
    // It says more than anybody wants to know.
    let error = not_compiled(shell("head -c 10000000 /dev/zero | tr '\\0' x >&2; exit 1"));
    assert!(error.to_string().len() < 2_000, "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn i5_a_compiler_whose_disk_is_full() {
    let error = not_compiled(shell("exec \"$0\" > /dev/full"));
    let CompilerError::BrokeOff { code: 1, said, .. } = &error else {
        panic!("{error}")
    };
    assert!(said.contains("No space left on device"), "{error}");
}

#[test]
fn a_compiler_that_cannot_be_started() {
    for program in ["no/such/compiler", env!("CARGO_MANIFEST_DIR")] {
        let error = not_compiled(CompilerProcess::new(program));
        assert!(matches!(error, CompilerError::Start { .. }), "{error}");
        assert!(error.to_string().contains(program), "{error}");
    }
}

/// Magic and version are all that is read of another version.
#[test]
fn a_compiler_of_another_build() {
    let error = not_compiled(shell("printf 'AIRSSYSA\\377\\0'"));
    assert!(matches!(error, CompilerError::OtherBuild { .. }), "{error}");
    // And of the same version, with other settings: strict is what it is told, and dense what it is to fit.
    let swapped = "{ head -c 10; head -c 1 > /dev/null; printf '\\1'; cat; } | \"$0\"";
    let error = not_compiled(shell(swapped));
    assert!(matches!(error, CompilerError::OtherBuild { .. }), "{error}");
}

#[test]
fn a_compiler_that_nobody_asks_says_what_it_is() {
    let output = std::process::Command::new(PROGRAM)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("cannot compile for a host: "), "{said}");
}
