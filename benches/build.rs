//! Writes down what the benchmarks were built with: figures without it cannot be compared.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    say("RUSTC", rustc());
    say("PROFILE", profile());
    for variable in ["OPT_LEVEL", "TARGET"] {
        say(variable, env::var(variable).ok());
    }
    let lock = Path::new("../Cargo.lock");
    if lock.exists() {
        println!("cargo:rerun-if-changed={}", lock.display());
    }
    let lock = fs::read_to_string(lock).unwrap_or_default();
    for package in ["wasmtime", "ractor", "tokio"] {
        say(
            &package.to_uppercase(),
            locked(&lock, package).map(str::to_owned),
        );
    }
}

fn say(what: &str, value: Option<String>) {
    println!(
        "cargo:rustc-env=BENCHES_{what}={}",
        value.as_deref().unwrap_or("unknown")
    );
}

/// The profile's own name: cargo's variable says `release` of all that inherit from it. This builds in
/// `…/PROFILE/build/PACKAGE/out`.
fn profile() -> Option<String> {
    let out = env::var_os("OUT_DIR")?;
    let mut above = Path::new(&out).ancestors().skip(2);
    let is_there = above.next()?.file_name()? == "build";
    let name = above.next()?.file_name()?.to_str()?.to_owned();
    is_there
        .then_some(name)
        .or_else(|| env::var("PROFILE").ok())
}

fn rustc() -> Option<String> {
    let out = Command::new(env::var_os("RUSTC")?)
        .arg("--version")
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// The version of a package in the lock file's text.
fn locked<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let (_, rest) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    rest.split('"').next()
}
