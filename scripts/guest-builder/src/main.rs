//! Builds the wasm components that are committed in this repository from their Rust source.
//!
//! Owns the way from a guest workspace (Rust, WIT) to a `components/` directory with a record of what
//! made it, and the check that the two still agree. Deliberately does not choose or install a toolchain:
//! `scripts/wasm-toolchain` does, and most of the check needs none.

mod bindings;
mod check;
mod compile;
mod guests;
mod record;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use guests::Guests;

/// The guest workspaces of this repository, from its root.
const WORKSPACES: [&str; 4] = [
    "examples/quakes/guests",
    "examples/chat/guests",
    "benches/guests",
    "airssys-wasm-actors/tests/guests",
];

const HELP: &str = "\
Builds the committed wasm components from their Rust source.

usage: build-guests [--bindings] [--check] [--no-install] [WORKSPACE...]

  (no option)   build every component, and write it with the record of what made it
  --bindings    write the Rust bindings of the WIT packages instead; needs no wasm toolchain
  --check       write nothing; fail where bindings or components are not what the source makes.
                Without a wasm toolchain this compares the recorded digests of source and components
  --no-install  use a wasm toolchain only if one is there: install and build none
  WORKSPACE     a guest workspace, from the repository's root (default: all)
";

#[derive(Default)]
struct Options {
    bindings: bool,
    check: bool,
    no_install: bool,
    workspaces: Vec<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let Some(options) = parse(std::env::args().skip(1))? else {
        print!("{HELP}");
        return Ok(());
    };
    let root = repository()?;
    let mut disagreements = Vec::new();
    for workspace in &options.workspaces {
        let guests = Guests::open(&root, workspace)?;
        match (options.bindings, options.check) {
            (true, false) => bindings::write(&guests)?,
            (true, true) => disagreements.extend(bindings::stale(&guests)?),
            (false, true) => {
                disagreements.extend(bindings::stale(&guests)?);
                disagreements.extend(check::check(&guests, &root, options.no_install)?);
            }
            (false, false) => build(&guests, &root, options.no_install)?,
        }
    }
    if disagreements.is_empty() {
        return Ok(());
    }
    for line in &disagreements {
        eprintln!("{line}");
    }
    bail!(
        "source and committed files disagree: run scripts/build-guests --bindings, then scripts/build-guests"
    )
}

fn build(guests: &Guests, root: &Path, no_install: bool) -> Result<()> {
    if let Some(stale) = bindings::stale(guests)?.first() {
        bail!("{stale}: run scripts/build-guests --bindings first");
    }
    let toolchain = compile::Toolchain::find(root, no_install)?
        .context("no wasm toolchain; the committed components are left as they are")?;
    let built = compile::compile(guests, &toolchain)?;
    record::write(guests, &toolchain, &built)?;
    for component in &built {
        println!(
            "{}: {} bytes",
            guests.component_path(&component.name).display(),
            component.bytes.len()
        );
    }
    Ok(())
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Options>> {
    let mut options = Options::default();
    for argument in arguments {
        match argument.as_str() {
            "--bindings" => options.bindings = true,
            "--check" => options.check = true,
            "--no-install" => options.no_install = true,
            "--help" | "-h" => return Ok(None),
            flag if flag.starts_with('-') => bail!("unknown option {flag}\n\n{HELP}"),
            workspace => options
                .workspaces
                .push(workspace.trim_end_matches('/').to_owned()),
        }
    }
    if options.workspaces.is_empty() {
        options.workspaces = WORKSPACES.map(str::to_owned).to_vec();
    }
    Ok(Some(options))
}

/// The repository's root: two levels above this crate.
fn repository() -> Result<PathBuf> {
    let crate_directory =
        std::env::var_os("CARGO_MANIFEST_DIR").context("run this through scripts/build-guests")?;
    let root = Path::new(&crate_directory).join("../..");
    root.canonicalize()
        .with_context(|| format!("cannot find {}", root.display()))
}
