//! What a guest workspace says about itself: its crates, the world of each, its WIT packages, and where the
//! components go. Read from the manifests' own `metadata` tables, so that there is no second list.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use wit_parser::{PackageId, Resolve, WorldId};

/// One guest workspace.
pub(crate) struct Guests {
    /// The workspace's directory.
    pub(crate) directory: PathBuf,
    /// One component each.
    pub(crate) guests: Vec<Guest>,
    /// Directories of WIT packages, each after those that it depends on; the last one holds the worlds.
    pub(crate) wit: Vec<PathBuf>,
    /// Components that are made of two others: the first one's imports are the second one's exports.
    pub(crate) composed: BTreeMap<String, [String; 2]>,
    components: PathBuf,
}

/// One crate, which becomes one component.
pub(crate) struct Guest {
    /// The crate's name, and the component's file name without its ending.
    pub(crate) name: String,
    /// The world that the component implements.
    pub(crate) world: String,
    /// The crate's directory.
    pub(crate) directory: PathBuf,
}

#[derive(Deserialize)]
struct WorkspaceManifest {
    workspace: WorkspaceTable,
}

#[derive(Deserialize)]
struct WorkspaceTable {
    members: Vec<String>,
    metadata: WorkspaceMetadata,
}

#[derive(Deserialize)]
struct WorkspaceMetadata {
    guests: GuestsTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GuestsTable {
    components: PathBuf,
    wit: Vec<PathBuf>,
    #[serde(default)]
    composed: BTreeMap<String, [String; 2]>,
}

#[derive(Deserialize)]
struct CrateManifest {
    package: PackageTable,
}

#[derive(Deserialize)]
struct PackageTable {
    name: String,
    metadata: PackageMetadata,
}

#[derive(Deserialize)]
struct PackageMetadata {
    guest: GuestTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GuestTable {
    world: String,
}

impl Guests {
    /// Reads the manifests of the workspace at `workspace` under `root`.
    pub(crate) fn open(root: &Path, workspace: &str) -> Result<Self> {
        let directory = root.join(workspace);
        let manifest: WorkspaceManifest = read_toml(&directory.join("Cargo.toml"))?;
        let GuestsTable {
            components,
            wit,
            composed,
        } = manifest.workspace.metadata.guests;
        let mut guests = Vec::new();
        for member in manifest.workspace.members {
            let member_directory = directory.join(member);
            let package = read_toml::<CrateManifest>(&member_directory.join("Cargo.toml"))?.package;
            guests.push(Guest {
                name: package.name,
                world: package.metadata.guest.world,
                directory: member_directory,
            });
        }
        let resolved = |path: &Path| {
            let path = directory.join(path);
            path.canonicalize()
                .with_context(|| format!("cannot find {}", path.display()))
        };
        Ok(Self {
            guests,
            wit: wit
                .iter()
                .map(|path| resolved(path))
                .collect::<Result<_>>()?,
            components: resolved(&components)?,
            composed,
            directory,
        })
    }

    /// Where the component of a guest is committed.
    pub(crate) fn component_path(&self, name: &str) -> PathBuf {
        self.components.join(format!("{name}.wasm"))
    }

    /// The names of all components, in the order they are built.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let guests = self.guests.iter().map(|guest| guest.name.as_str());
        guests.chain(self.composed.keys().map(String::as_str))
    }

    /// Where the record of the last build is committed.
    pub(crate) fn record_path(&self) -> PathBuf {
        self.components.join("record.toml")
    }

    /// The WIT packages of this workspace, and the one that holds the worlds.
    pub(crate) fn resolve(&self) -> Result<(Resolve, PackageId)> {
        let mut resolve = Resolve::default();
        let mut last = None;
        for directory in &self.wit {
            let (package, _) = resolve
                .push_dir(directory)
                .with_context(|| format!("in the WIT of {}", directory.display()))?;
            last = Some(package);
        }
        Ok((resolve, last.context("the workspace names no WIT package")?))
    }
}

impl Guest {
    /// This guest's world among the workspace's packages.
    pub(crate) fn world(&self, resolve: &Resolve, package: PackageId) -> Result<WorldId> {
        resolve
            .select_world(&[package], Some(&self.world))
            .with_context(|| format!("guest {} names world {}", self.name, self.world))
    }
}

pub(crate) fn read_toml<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("in {}", path.display()))
}
