//! The record beside the components: which source and which tools made them, and their digests.
//!
//! With it a stale component is found on a machine that cannot build one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::compile::{Built, Toolchain, Versions};
use crate::guests::{Guests, read_toml};

const HEADER: &str = "# Written by scripts/build-guests: what the components in this directory were made from, and with.\n\n";

/// What made the components of one workspace.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// The digest of all source, as [`source_digest`] computes it.
    pub(crate) source: String,
    /// The tools.
    pub(crate) versions: Versions,
    /// By name.
    pub(crate) components: BTreeMap<String, Recorded>,
}

/// One component.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recorded {
    /// Of the file.
    pub(crate) sha256: String,
    /// The file's size.
    pub(crate) bytes: usize,
}

/// Reads the committed record.
pub(crate) fn read(guests: &Guests) -> Result<Record> {
    read_toml(&guests.record_path())
}

/// Writes the components, then the record.
pub(crate) fn write(guests: &Guests, toolchain: &Toolchain, built: &[Built]) -> Result<()> {
    for component in built {
        let path = guests.component_path(&component.name);
        fs::write(&path, &component.bytes)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let components = built.iter().map(|component| {
        let recorded = Recorded {
            sha256: digest(&component.bytes),
            bytes: component.bytes.len(),
        };
        (component.name.clone(), recorded)
    });
    let record = Record {
        source: source_digest(guests)?,
        versions: toolchain.versions.clone(),
        components: components.collect(),
    };
    let text = format!("{HEADER}{}", toml::to_string(&record)?);
    let path = guests.record_path();
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// SHA-256 in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One digest over everything that a component is made from: manifests, lock file, Rust and WIT. Tests and
/// text for people are left out.
pub(crate) fn source_digest(guests: &Guests) -> Result<String> {
    let mut files = BTreeMap::new();
    collect(&guests.directory, Path::new("guests"), &mut files)?;
    for (index, directory) in guests.wit.iter().enumerate() {
        collect(directory, &PathBuf::from(format!("wit{index}")), &mut files)?;
    }
    let mut hasher = Sha256::new();
    for (name, path) in files {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        hasher.update(format!("{name} {}\n", digest(&bytes)));
    }
    Ok(hex(&hasher.finalize()))
}

/// Source files under `directory`, by a name that is the same on every machine.
fn collect(directory: &Path, name: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        let (path, file_name) = (entry.path(), entry.file_name());
        let inner = name.join(&file_name);
        if entry.file_type()?.is_dir() {
            if !matches!(file_name.to_str(), Some("target" | "tests" | "components")) {
                collect(&path, &inner, files)?;
            }
        } else if file_name == "Cargo.lock"
            || path
                .extension()
                .is_some_and(|ending| ending == "rs" || ending == "toml" || ending == "wit")
        {
            let parts: Vec<_> = inner.iter().map(|part| part.to_string_lossy()).collect();
            files.insert(parts.join("/"), path);
        }
    }
    Ok(())
}
