//! Files that are no components: each is told apart, by `check`, `up` and `inspect` alike.

use std::path::{Path, PathBuf};

use crate::fixture::{ADDER, App, airssys, fifo, ran, run, runtime_directory};
use crate::running_host::{Up, start};

/// Checks, starts and inspects an application of one file; all three say the same, with exit code 4.
#[track_caller]
fn refused(bytes: impl AsRef<[u8]>, says: &[&str]) {
    let app = App::new()
        .file("part.wasm", bytes)
        .manifest("[components.part]\nfile = \"part.wasm\"\n");
    for command in ["check", "up"] {
        let ran = app.run(command, &[]);
        ran.fails(4, &["airssys.toml:4:8: `part.wasm` "]);
        ran.fails(4, says);
        assert_eq!(
            app.run(command, &["--format", "json"]).error()["findings"][0]["kind"],
            "bad-component"
        );
    }
    run(&["inspect", &app.at("part.wasm")]).fails(4, says);
}

#[test]
fn a_core_module() {
    refused(
        wat::parse_str("(module)").unwrap(),
        &["is a core wasm module, not a component", "component new"],
    );
}

#[test]
fn text() {
    refused("(component)", &["is wasm text (WAT), not a component"]);
    refused("hello \u{1b}[31m", &["is not wasm", "\\u{1b}"]);
}

#[test]
fn nothing() {
    refused("", &["is empty"]);
}

#[test]
fn a_truncated_component() {
    let whole = wat::parse_str(ADDER).unwrap();
    for length in [3, 9, whole.len() / 2, whole.len() - 1] {
        refused(&whole[..length], &["is truncated"]);
    }
}

#[test]
fn an_executable() {
    refused(std::fs::read("/bin/sh").unwrap(), &["is a native ELF file"]);
}

#[test]
fn a_precompiled_artifact() {
    // The compile cache holds one, behind its own header.
    let app = App::of("adder", ADDER);
    let cache = PathBuf::from(app.at("cache"));
    assert_eq!(
        ran(airssys()
            .env("XDG_CACHE_HOME", &cache)
            .args(["check", app.path()]))
        .code,
        0
    );
    let artifact = files(&cache)
        .into_iter()
        .filter_map(|file| {
            let bytes = std::fs::read(file).unwrap();
            let begin = bytes.windows(4).position(|window| window == b"\x7fELF")?;
            Some(bytes[begin..].to_vec())
        })
        .next();
    refused(
        artifact.expect("an artifact in the cache"),
        &["is a precompiled wasmtime artifact"],
    );
}

/// All files below a directory.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn a_file_that_is_not_there() {
    run(&["inspect", "no/such/file.wasm"]).fails(6, &["no/such/file.wasm", "cannot be read"]);
    let app = App::new();
    run(&["inspect", app.path()]).fails(6, &["cannot be read"]);
}

#[test]
fn a_pipe_is_no_file_and_holds_nobody_up() {
    let app = App::of("adder", ADDER);
    let piped = App::new().manifest("[components.part]\nfile = \"part.wasm\"\n");
    let manifest = app.at("fifo.toml");
    fifo(&manifest);
    fifo(piped.at("part.wasm"));
    for command in ["check", "up"] {
        run(&[command, &manifest]).fails(6, &["not a regular file", "write it to a file"]);
        piped.run(command, &[]).fails(3, &["not a regular file"]);
    }
    run(&["inspect", &piped.at("part.wasm")]).fails(6, &["not a regular file"]);
    let up = start(&app, &runtime_directory(), &[], "running");
    for path in [&manifest, piped.path()] {
        let plan = up.ask(&["plan", path, "--app", "app"]);
        assert!(plan.stderr.contains("not a regular file"), "{plan:?}");
    }
    assert_eq!(up.ask(&["plan", app.path()]).code, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_the_audit_trail_is_told_of() {
    let app = App::of("adder", ADDER);
    // No file takes a byte beyond 32 MiB at most, and that of the trail is longer.
    let full = |args: &[&str]| {
        let script = "trap '' XFSZ; ulimit -f 32768; exec \"$0\" \"$@\"";
        let mut command = std::process::Command::new("sh");
        let program = env!("CARGO_BIN_EXE_airssys");
        command.args(["-c", script, program]).args(args);
        for (name, value) in airssys().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    };
    let audit = app.at("audit.jsonl");
    let trail = std::fs::File::create(&audit).unwrap();
    trail.set_len(64 << 20).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    trail.set_permissions(private).unwrap();
    let called = [
        "call",
        app.path(),
        "adder",
        "add",
        "1",
        "2",
        "--audit",
        &audit,
    ];
    let told = ran(&mut full(&called));
    assert_eq!((told.code, told.stdout.as_str()), (6, "3\n"), "{told:?}");
    for said in [
        "cannot write the audit trail",
        "of the audit trail could not be written",
    ] {
        assert!(told.stderr.contains(said), "no `{said}` in {told:?}");
    }
    let error = ran(&mut full(&[&called[..], &["--format", "json"]].concat())).error();
    assert_eq!(error["audit_lost"], 1, "{error}");
    let runtime = runtime_directory();
    let child = full(&["up", app.path(), "--log", "info", "--audit", &audit])
        .env("XDG_RUNTIME_DIR", &runtime)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let mut up = Up::of(child.unwrap(), &runtime);
    up.says("running");
    up.signal("-TERM");
    assert_eq!(up.end().0, Some(6));
}

#[test]
fn a_file_that_cannot_hold_the_audit_trail() {
    use std::os::unix::fs::PermissionsExt as _;
    let app = App::of("adder", ADDER).file("open", "");
    let open = app.at("open");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    fifo(app.at("pipe"));
    for (file, why, hint) in [
        (app.at("pipe"), "it is a pipe", "name a file"),
        (open, "everybody can read it", "chmod o-rwx"),
    ] {
        let args = ["--audit", &file, "--format", "json"];
        for (command, more) in [("up", &[][..]), ("call", &["adder", "add", "1", "2"])] {
            let error = app.run(command, &[more, &args].concat()).error();
            assert_eq!(error["exit_code"], 6, "{error}");
            assert!(error["message"].as_str().unwrap().ends_with(why), "{error}");
            assert!(error["hint"].as_str().unwrap().contains(hint), "{error}");
        }
    }
}
