//! Builds wit-bindgen's runtime tests: `wit-bindgen-pairs TESTS OUT`.
//!
//! Owns the way from a directory of cases (`test.wit`, `runner.rs`, `test.rs`) to `OUT/components/CASE/{runner,test}*.wasm`, and
//! `OUT/left-out.txt`, a case and a reason a line. A case of more components has their names in `order.txt`, each after those it
//! imports from. Bindings are generated as the tests' own harness does; sources are copied to OUT,
//! because they include their bindings by a variable that differs from file to file. RUSTC and the linker come from the
//! environment.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use wit_bindgen_core::{Files, WorldGenerator};
use wit_component::ComponentEncoder;
use wit_parser::Resolve;

const TARGET: &str = "wasm32-unknown-unknown";

/// A file that becomes a component.
struct Part {
    case: String,
    stem: String,
    /// As cargo calls it.
    name: String,
}

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(tests), Some(out)) = (args.next(), args.next()) else {
        anyhow::bail!("usage: wit-bindgen-pairs TESTS OUT");
    };
    for directory in ["examples", "components"] {
        let directory = out.join(directory);
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
    }
    let mut parts = Vec::new();
    let mut left_out = String::new();
    for case in sorted(&tests)? {
        let name = file_name(&case);
        match reason(&case)? {
            Some(reason) => writeln!(left_out, "{name}: {reason}")?,
            None => match prepare(&case, &name, &out) {
                Ok(prepared) => parts.extend(prepared),
                Err(error) => writeln!(left_out, "{name}: no bindings: {}", one_line(&error))?,
            },
        }
    }
    write_manifest(&out, &parts)?;
    build(&out)?;
    for part in &parts {
        if let Err(error) = encode(&out, part) {
            let why = one_line(&error);
            writeln!(left_out, "{}: {}: {why}", part.case, part.stem)?;
        }
    }
    fs::write(out.join("left-out.txt"), left_out)?;
    Ok(())
}

fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}

fn sorted(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Why a case cannot apply.
fn reason(case: &Path) -> Result<Option<&'static str>> {
    let wit = case.join("test.wit");
    if !wit.is_file() {
        return Ok(Some(
            "has no test.wit of its own: a group of tests of one language",
        ));
    }
    let wit = fs::read_to_string(wit)?;
    let has = |words: &[&str]| words.iter().any(|word| wit.contains(word));
    Ok(
        if has(&["async func", "future", "stream<", "async = true"]) {
            Some("async, futures or streams: the profile refuses them")
        } else if has(&["map<"]) {
            Some("maps: a feature of the component model that is off")
        } else if let Some(order) = order(case)? {
            let in_rust = |part: &String| case.join(format!("{part}.rs")).is_file();
            (!order.iter().all(in_rust)).then_some("not all of its components are in Rust")
        } else if !case.join("runner.rs").is_file() && !case.join("runner-std.rs").is_file() {
            Some("no runner in Rust")
        } else {
            None
        },
    )
}

/// The components that a case with more than two is composed of, each of what comes before it.
fn order(case: &Path) -> Result<Option<Vec<String>>> {
    let script = case.join("compose.wac");
    if !script.is_file() {
        return Ok(None);
    }
    let script = fs::read_to_string(script)?;
    let made = script.split("new test:").skip(1);
    let names = made.filter_map(|rest| rest.split([' ', '{']).next());
    Ok(Some(names.map(str::to_owned).collect()))
}

/// The Rust files that are a runner or a test, with their bindings, in a directory of OUT each.
fn prepare(case: &Path, name: &str, out: &Path) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let files = sorted(case)?;
    let order = order(case)?;
    let directory = out.join("components").join(name);
    fs::create_dir_all(&directory)?;
    if let Some(order) = &order {
        fs::write(directory.join("order.txt"), order.join("\n"))?;
    }
    let sources = || {
        files
            .iter()
            .filter(|file| file.extension().is_some_and(|end| end == "rs"))
    };
    for file in sources() {
        let stem = file_name(file).trim_end_matches(".rs").to_owned();
        let world = match &order {
            Some(order) => order.iter().find(|part| **part == stem).map(String::as_str),
            None => ["runner", "test"]
                .into_iter()
                .find(|world| stem.starts_with(world)),
        };
        let Some(world) = world else { continue };
        let ident = format!("{name}_{stem}").replace('-', "_");
        let directory = out.join("examples").join(&ident);
        fs::create_dir_all(&directory)?;
        let text = fs::read_to_string(file)?;
        let bindings = bindings(case, world, &text)?;
        fs::write(directory.join("bindings.rs"), bindings)?;
        let mut text = text;
        // A module that another case lends.
        while let Some((_, rest)) = text.split_once("#[path = \"../") {
            let Some((lent, _)) = rest.split_once('"') else {
                break;
            };
            let from = case.join("..").join(lent);
            fs::copy(&from, directory.join(file_name(&from)))?;
            text = text.replace(&format!("../{lent}"), &file_name(&from));
        }
        let text = text.replace("include!(env!(\"BINDINGS\"))", "include!(\"bindings.rs\")");
        fs::write(directory.join("main.rs"), text)?;
        for other in sources().filter(|other| *other != file) {
            fs::copy(other, directory.join(file_name(other)))?;
        }
        parts.push(Part {
            case: name.to_owned(),
            stem,
            name: ident,
        });
    }
    Ok(parts)
}

/// The bindings with the options that the file's head asks for.
fn bindings(case: &Path, world: &str, source: &str) -> Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    let asked: Vec<&str> = source
        .lines()
        .filter(|line| line.starts_with("//@") && line.contains("args"))
        .collect();
    let asks = |option: &str| asked.iter().any(|line| line.contains(option));
    if asks("--features y") {
        resolve.features.insert("y".to_owned());
    }
    let (package, _) = if case.join("deps").is_dir() {
        resolve.push_dir(case)?
    } else {
        resolve.push_path(case.join("test.wit"))?
    };
    let world = resolve.select_world(&[package], Some(world))?;
    let mut files = Files::default();
    wit_bindgen_rust::Opts {
        generate_all: true,
        std_feature: asks("--std-feature"),
        generate_unused_types: asks("--generate-unused-types"),
        ..Default::default()
    }
    .build()
    .generate(&mut resolve, world, &mut files)?;
    let (_, bindings) = files.iter().next().context("the generator wrote no file")?;
    Ok(bindings.to_vec())
}

fn write_manifest(out: &Path, parts: &[Part]) -> Result<()> {
    let mut manifest = r#"[package]
name = "pairs"
version = "0.0.0"
edition = "2024"
autoexamples = false

[workspace]

[lib]
path = "lib.rs"

[features]
default = ["std"]
std = []

[dependencies]
wit-bindgen = { version = "=0.60.0", default-features = false, features = ["std", "realloc", "bitflags"] }

[profile.dev]
debug = 0
opt-level = 1
panic = "abort"
"#
    .to_owned();
    for Part { name, .. } in parts {
        write!(
            manifest,
            "\n[[example]]\nname = \"{name}\"\npath = \"examples/{name}/main.rs\"\ncrate-type = [\"cdylib\"]\n"
        )?;
    }
    fs::write(out.join("Cargo.toml"), manifest)?;
    fs::write(out.join("lib.rs"), "")?;
    Ok(())
}

/// What does not compile is missed when it is to be encoded.
fn build(out: &Path) -> Result<()> {
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(out)
        .args(["build", "--examples", "--keep-going", "--target", TARGET])
        .args(["--target-dir", "target"])
        .status()
        .context("cannot run cargo")?;
    let built = out.join("target").join(TARGET).join("debug/examples");
    ensure!(status.success() || built.is_dir(), "nothing was built");
    Ok(())
}

fn encode(out: &Path, part: &Part) -> Result<()> {
    let modules = out.join("target").join(TARGET).join("debug/examples");
    let core = fs::read(modules.join(format!("{}.wasm", part.name))).context("does not compile")?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&core)?
        .encode()?;
    let directory = out.join("components").join(&part.case);
    fs::write(directory.join(format!("{}.wasm", part.stem)), component)?;
    Ok(())
}
