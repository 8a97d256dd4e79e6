//! Revisions of a component: numbered contents, and where they came from.
//!
//! Owns [`Revision`], what one is made of, and how they are registered and found. A revision is never changed: other
//! contents are another revision, and the same contents are the same one. What they do for an application is the
//! deployments' affair.

use std::collections::BTreeSet;

use airssys_wasm::{Digest, Interface, InterfaceName, Surface};
use redb::{ReadableTable, WriteTransaction};
use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::database::{
    RECORD_BYTES_MAX, REVISIONS, Stop, Written, decode, encode, next_number, text,
};
use super::error::RegistryError;
use super::{Registry, fault};
use crate::address::ActorAddress;

/// A component as it was registered: exact bytes, and what the manifest says of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Revision {
    /// The component.
    pub component: ActorAddress,
    /// Its number among the component's revisions: 1, 2, 3 and so on, never given twice.
    pub number: u64,
    /// The digest of its bytes, by which its artifact is found.
    pub digest: Digest,
    /// The version it has for people, if it says one.
    #[serde(
        serialize_with = "serialize_version",
        deserialize_with = "read_version"
    )]
    pub version: Option<Version>,
    /// What it exports and imports.
    pub surface: RevisionSurface,
    /// The names of what it is granted, in order, each once.
    pub grants: Vec<String>,
    /// The manifest's words of it, as TOML.
    pub spec: String,
    /// Where it came from, the first time.
    pub provenance: Provenance,
}

/// Contents to be registered. Their artifact has been put before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRevision {
    /// The component.
    pub component: ActorAddress,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The version it has for people, if it says one.
    pub version: Option<Version>,
    /// What it exports and imports.
    pub surface: RevisionSurface,
    /// The names of what it is granted; order and repetition do not count.
    pub grants: Vec<String>,
    /// The manifest's words of it, as TOML.
    pub spec: String,
    /// Where it comes from.
    pub provenance: Provenance,
}

/// Who brought something, why, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Provenance {
    /// Who: a user's name, or what acts for one.
    pub by: String,
    /// Why, in their words; may be empty.
    pub why: String,
    /// The file it was read from, as it was given.
    pub source: String,
    /// When, in milliseconds since 1970 (UTC).
    pub at_unix_ms: u64,
}

/// What a component exports and imports, as text: it can be listed and searched without the component.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RevisionSurface {
    /// What it offers, in its order.
    pub exports: Vec<RevisionInterface>,
    /// What it needs, in its order.
    pub imports: Vec<RevisionInterface>,
}

/// A named set of functions, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RevisionInterface {
    /// Its name with its version, such as `quakes:app/parse@0.1.0`; empty for functions at the root.
    pub name: String,
    /// Its functions, such as `parse-feature: func(line: string) -> u32`. Types are written by structure.
    pub functions: Vec<String>,
}

impl RevisionSurface {
    /// The surface of a component.
    #[must_use]
    pub fn of(surface: &Surface) -> Self {
        let interfaces = |interfaces: &[Interface]| {
            let interfaces = interfaces.iter();
            interfaces.map(RevisionInterface::of).collect()
        };
        Self {
            exports: interfaces(&surface.exports),
            imports: interfaces(&surface.imports),
        }
    }
}

impl RevisionInterface {
    fn of(interface: &Interface) -> Self {
        let functions = interface.functions.iter();
        Self {
            name: interface.name.as_str().to_owned(),
            functions: functions
                .map(|function| format!("{}: {}", function.name, function.ty))
                .collect(),
        }
    }

    /// Its version, if its name has one that is a semantic version.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        InterfaceName::new(&self.name).version()
    }
}

impl Revision {
    fn new(number: u64, new: NewRevision) -> Self {
        let NewRevision {
            component,
            digest,
            version,
            surface,
            grants,
            spec,
            provenance,
        } = new;
        Self {
            component,
            number,
            digest,
            version,
            surface,
            grants,
            spec,
            provenance,
        }
    }

    /// Whether it is the same thing, whoever brought it.
    pub(crate) fn has_contents_of(&self, new: &NewRevision) -> bool {
        let grants: BTreeSet<_> = new.grants.iter().collect();
        self.digest == new.digest
            && self.version == new.version
            && self.surface == new.surface
            && self.grants.iter().eq(grants)
            && self.spec == new.spec
    }
}

impl Registry {
    /// Registers a component's contents and gives them the next number. The same contents again are the revision they
    /// were, with its first provenance, also if there are newer ones. Durable when it returns.
    ///
    /// It is kept, whatever retention says, until this process has used it in a deployment.
    ///
    /// # Errors
    /// [`RegistryError::NoSuchArtifact`] if its bytes have not been put, [`RegistryError::TooLarge`], and those of the
    /// disk.
    pub fn register(&self, mut new: NewRevision) -> Result<Revision, RegistryError> {
        new.grants.sort();
        new.grants.dedup();
        let mut unused = self.inner.unused.lock();
        let digest = new.digest;
        if !self.inner.artifacts.has(digest)? {
            return Err(RegistryError::NoSuchArtifact {
                path: self.inner.artifacts.path(digest),
                digest,
            });
        }
        let revision = self
            .inner
            .database
            .write(|transaction| registered(transaction, new))?;
        let name = (revision.component.clone(), revision.number);
        unused.revisions.insert(name);
        unused.artifacts.remove(&digest);
        Ok(revision)
    }

    /// One revision.
    ///
    /// # Errors
    /// [`RegistryError::NoSuchRevision`], and those of the disk.
    pub fn revision(
        &self,
        component: &ActorAddress,
        number: u64,
    ) -> Result<Revision, RegistryError> {
        let found = self
            .inner
            .database
            .read(|transaction| find(&transaction.open_table(REVISIONS)?, component, number))?;
        found.ok_or_else(|| RegistryError::NoSuchRevision {
            component: component.clone(),
            number,
        })
    }

    /// All revisions of a component, newest first; none if it was never registered.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn revisions(&self, component: &ActorAddress) -> Result<Vec<Revision>, RegistryError> {
        self.inner
            .database
            .read(|transaction| of_component(&transaction.open_table(REVISIONS)?, component))
    }
}

fn registered(transaction: &WriteTransaction, new: NewRevision) -> Result<Written<Revision>, Stop> {
    let known = of_component(&transaction.open_table(REVISIONS)?, &new.component)?;
    if let Some(known) = known.into_iter().find(|known| known.has_contents_of(&new)) {
        return Ok(Written::Unchanged(known));
    }
    let number = next_number(transaction, "revision", new.component.as_str())?;
    let revision = Revision::new(number, new);
    let name = || format!("revision {number} of `{}`", revision.component);
    let record = encode(name, RECORD_BYTES_MAX, &revision)?;
    let mut revisions = transaction.open_table(REVISIONS)?;
    revisions.insert((revision.component.as_str(), number), record.as_str())?;
    drop(revisions);
    Ok(Written::Changed(revision, fault::REGISTER))
}

/// One revision, out of its table.
pub(super) fn find(
    table: &impl ReadableTable<(&'static str, u64), &'static str>,
    component: &ActorAddress,
    number: u64,
) -> Result<Option<Revision>, Stop> {
    let record = text(table, (component.as_str(), number))?;
    record
        .map(|record| decode(|| format!("revision {number} of `{component}`"), &record))
        .transpose()
}

/// Newest first.
fn of_component(
    table: &impl ReadableTable<(&'static str, u64), &'static str>,
    component: &ActorAddress,
) -> Result<Vec<Revision>, Stop> {
    let name = component.as_str();
    let range = table.range((name, 0)..=(name, u64::MAX))?;
    let mut revisions = Vec::new();
    for entry in range.rev() {
        let (key, record) = entry?;
        let (_, number) = key.value();
        let what = || format!("revision {number} of `{component}`");
        revisions.push(decode(what, record.value())?);
    }
    Ok(revisions)
}

/// All there are, by component and number.
pub(super) fn all(
    table: &impl ReadableTable<(&'static str, u64), &'static str>,
) -> Result<Vec<Revision>, Stop> {
    let mut revisions = Vec::new();
    for entry in table.iter()? {
        let (key, record) = entry?;
        let (component, number) = key.value();
        let what = || format!("revision {number} of `{component}`");
        revisions.push(decode(what, record.value())?);
    }
    Ok(revisions)
}

/// A version as its text.
pub(crate) fn serialize_version<S: Serializer>(
    version: &Option<Version>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match version {
        Some(version) => serializer.collect_str(version),
        None => serializer.serialize_none(),
    }
}

fn read_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Version>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(serde::de::Error::custom))
        .transpose()
}
