//! Rust source to components: finds the wasm toolchain, runs cargo, wraps each core module as a component.
//!
//! The bytes depend on the source, the compiler, the linker and the componentizer alone: paths are remapped,
//! and flags of the caller's environment are kept out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use wit_component::{ComponentEncoder, DecodedWasm, WitPrinter};

use crate::guests::Guests;

const TARGET: &str = "wasm32-unknown-unknown";

/// What turns source into components.
pub(crate) struct Toolchain {
    rustc: PathBuf,
    linker: Option<PathBuf>,
    /// All that the bytes of a component depend on besides its source.
    pub(crate) versions: Versions,
}

/// The versions that a component's bytes depend on.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Versions {
    /// `rustc -vV`.
    pub(crate) rustc: String,
    /// The linker's name and version, or `rustc's own`.
    pub(crate) linker: String,
    /// The library that makes a component of a core module.
    pub(crate) componentizer: String,
}

/// A component as it was just built.
pub(crate) struct Built {
    /// The guest's name.
    pub(crate) name: String,
    /// The component.
    pub(crate) bytes: Vec<u8>,
}

impl Toolchain {
    /// The toolchain that `scripts/wasm-toolchain` finds or makes; `None` if there is none to be had.
    pub(crate) fn find(root: &Path, no_install: bool) -> Result<Option<Self>> {
        let output = Command::new(root.join("scripts/wasm-toolchain"))
            .args(no_install.then_some("--no-install"))
            .stderr(std::process::Stdio::inherit())
            .output()
            .context("cannot run scripts/wasm-toolchain")?;
        match output.status.code() {
            Some(0) => {}
            Some(3) => return Ok(None),
            _ => bail!("scripts/wasm-toolchain failed"),
        }
        let rustc = PathBuf::from(String::from_utf8(output.stdout)?.trim());
        let linker = rust_lld()?;
        let linker_version = match &linker {
            Some(path) => stdout(Command::new(path).args(["-flavor", "wasm", "--version"]))?,
            None => "rustc's own".to_owned(),
        };
        let versions = Versions {
            rustc: stdout(Command::new(&rustc).arg("-vV"))?,
            // What follows is a path of the machine that built the linker.
            linker: linker_version
                .split(" (")
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned(),
            componentizer: componentizer()?,
        };
        Ok(Some(Self {
            rustc,
            linker,
            versions,
        }))
    }
}

/// Builds every guest of a workspace.
pub(crate) fn compile(guests: &Guests, toolchain: &Toolchain) -> Result<Vec<Built>> {
    let directory = guests.directory.canonicalize()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command.current_dir(&directory);
    for (name, _) in std::env::vars_os() {
        let foreign = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_BUILD_")
                || name.starts_with("CARGO_PROFILE_")
                || name.starts_with("CARGO_TARGET_")
                || name.starts_with("RUSTC_")
                || matches!(name, "RUSTFLAGS" | "CARGO_ENCODED_RUSTFLAGS")
        });
        if foreign {
            command.env_remove(&name);
        }
    }
    // The sources of dependencies are in the registry's cache: fetched first, so that its paths are known.
    run(Command::new(&cargo)
        .current_dir(&directory)
        .args(["fetch", "--quiet", "--locked"]))?;
    let mut flags = vec![remap(&directory, "/guests")];
    for source in registry_sources()? {
        flags.push(remap(&source, "/registry"));
    }
    command
        .env("RUSTC", &toolchain.rustc)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    if let Some(linker) = &toolchain.linker {
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    run(command
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--target",
            TARGET,
        ])
        .arg("--target-dir")
        .arg(directory.join("target")))?;

    let modules = directory.join("target").join(TARGET).join("release");
    let mut built = Vec::new();
    for guest in &guests.guests {
        let module = modules.join(format!("{}.wasm", guest.name.replace('-', "_")));
        let core =
            fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
        let bytes = ComponentEncoder::default()
            .validate(true)
            .module(&core)
            .and_then(|mut encoder| encoder.encode())
            .with_context(|| format!("cannot make a component of {}", guest.name))?;
        let surface = surface(&bytes)?;
        // What a language's own start-up code asks for; what a guest asks for by name is meant.
        let mut imports = surface.lines().filter(|line| line.contains("import wasi:"));
        ensure!(
            imports.all(|line| line.contains("import wasi:config/")),
            "guest {} imports WASI:\n{surface}",
            guest.name
        );
        built.push(Built {
            name: guest.name.clone(),
            bytes,
        });
    }
    for (name, parts) in &guests.composed {
        let bytes = compose(&built, parts).with_context(|| format!("cannot compose {name}"))?;
        let name = name.clone();
        built.push(Built { name, bytes });
    }
    Ok(built)
}

/// Makes one component of two. The composer reads files, so the parts are written to a directory of their own.
fn compose(built: &[Built], [root, definition]: &[String; 2]) -> Result<Vec<u8>> {
    let directory = std::env::temp_dir().join(format!("guest-builder-{}", std::process::id()));
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let written = |name: &String| {
        let part = built.iter().find(|component| component.name == *name);
        let part = part.with_context(|| format!("there is no guest {name}"))?;
        let path = directory.join(format!("{name}.wasm"));
        fs::write(&path, &part.bytes)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok::<_, anyhow::Error>(path)
    };
    let composed = written(root).and_then(|root| {
        let config = wasm_compose::config::Config {
            dir: directory.clone(),
            definitions: vec![written(definition)?],
            disallow_imports: true,
            ..Default::default()
        };
        wasm_compose::composer::ComponentComposer::new(&root, &config).compose()
    });
    // A directory for temporary files is swept; this only tidies.
    let _ = fs::remove_dir_all(&directory);
    composed
}

/// What a component imports and exports, as WIT text.
pub(crate) fn surface(component: &[u8]) -> Result<String> {
    let decoded = wit_component::decode(component).context("not a component")?;
    ensure!(
        matches!(decoded, DecodedWasm::Component(..)),
        "a WIT package, not a component"
    );
    let (resolve, package) = (decoded.resolve(), decoded.package());
    let others: Vec<_> = resolve
        .packages
        .iter()
        .map(|(id, _)| id)
        .filter(|id| *id != package)
        .collect();
    let mut printer = WitPrinter::default();
    printer.print(resolve, package, &others)?;
    Ok(printer.output.to_string())
}

/// The wasm linker that rustup's toolchain brings along, whichever compiler is used with it.
fn rust_lld() -> Result<Option<PathBuf>> {
    let libraries = stdout(Command::new("rustc").args(["--print", "target-libdir"]))?;
    Ok(Path::new(libraries.trim())
        .parent()
        .map(|target| target.join("bin").join("rust-lld"))
        .filter(|path| path.exists()))
}

/// One directory a registry.
fn registry_sources() -> Result<Vec<PathBuf>> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => Path::new(&std::env::var_os("HOME").context("HOME is not set")?).join(".cargo"),
    };
    let sources = home.join("registry/src");
    if !sources.exists() {
        return Ok(Vec::new());
    }
    Ok(fs::read_dir(sources)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?)
}

fn remap(from: &Path, to: &str) -> String {
    format!("--remap-path-prefix={}={to}", from.display())
}

/// The version in this tool's own lock file: the one that was linked in.
fn componentizer() -> Result<String> {
    #[derive(serde::Deserialize)]
    struct Lock {
        package: Vec<Package>,
    }
    #[derive(serde::Deserialize)]
    struct Package {
        name: String,
        version: String,
    }
    let lock: Lock = toml::from_str(include_str!("../Cargo.lock"))?;
    let package = lock
        .package
        .iter()
        .find(|package| package.name == "wit-component");
    Ok(format!(
        "wit-component {}",
        package.context("no wit-component in Cargo.lock")?.version
    ))
}

fn stdout(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{:?} failed", command.get_program());
    Ok(())
}
