//! The registry: revisions found and shown, and what nothing needs collected.

use airssys_wasm_actors::{Dependency, FoundRevision, GcReport, RevisionState};
use serde::{Deserialize, Serialize};

/// Which revisions are wanted. Every condition that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevisionQuery {
    /// The component: a pattern of addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// `serving`, `trial`, `rollback-target` or `retired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// An interface it exports, with a version, without one, or its last part alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exports: Option<String>,
    /// An interface it imports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imports: Option<String>,
    /// Something it is granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// Most revisions, by component and number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// The revisions that pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RevisionList {
    /// By component and number.
    pub revisions: Vec<RevisionView>,
    /// Whether there are more than the limit.
    pub more: bool,
}

/// One revision in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RevisionView {
    /// The component.
    pub component: String,
    /// Its number among the component's.
    pub revision: u64,
    /// The SHA-256 digest of its bytes, in hexadecimal digits alone.
    pub digest: String,
    /// The same as it is written everywhere else, with `sha256:` before it. Since 1.6; empty from a host before that.
    #[serde(default)]
    pub artifact: String,
    /// The version it has for people.
    pub version: Option<String>,
    /// `serving`, `trial`, `rollback-target`, or `retired` alone.
    pub states: Vec<String>,
    /// What it is granted.
    pub grants: Vec<String>,
    /// The interfaces it exports.
    pub exports: Vec<String>,
    /// The interfaces it imports.
    pub imports: Vec<String>,
    /// Who brought it, the first time.
    pub by: String,
    /// Why.
    pub why: String,
    /// The file it was read from.
    pub source: String,
    /// When, in milliseconds since 1970 UTC.
    pub at_unix_ms: u64,
}

/// One revision, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RevisionDetail {
    /// In short.
    pub revision: RevisionView,
    /// The manifest's words of it, as TOML.
    pub spec: String,
    /// Its functions by interface.
    pub exports: Vec<InterfaceView>,
    /// The functions it needs, by interface.
    pub imports: Vec<InterfaceView>,
    /// From whom its component imports.
    pub dependencies: Vec<DependencyView>,
    /// Who imports from its component.
    pub dependents: Vec<DependencyView>,
}

/// A set of functions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InterfaceView {
    /// Its name; empty for functions at the root.
    pub name: String,
    /// Its functions with their types.
    pub functions: Vec<String>,
}

/// A link of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DependencyView {
    /// Who imports.
    pub from: String,
    /// What.
    pub import: String,
    /// Whose export answers.
    pub to: String,
    /// The number of the deployment that says so.
    pub deployment: u64,
    /// Whether only one that has not ended does.
    pub trial: bool,
}

/// What a collection has removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GcAnswer {
    /// Revisions.
    pub revisions: usize,
    /// Deployments, with their journals.
    pub deployments: usize,
    /// Files of artifacts.
    pub artifacts: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// The names of what a revision can be for its application.
pub(crate) const STATES: [(&str, RevisionState); 4] = [
    ("serving", RevisionState::Serving),
    ("trial", RevisionState::Trial),
    ("rollback-target", RevisionState::RollbackTarget),
    ("retired", RevisionState::Retired),
];

impl From<&FoundRevision> for RevisionView {
    fn from(found: &FoundRevision) -> Self {
        let revision = &found.revision;
        let states = STATES
            .into_iter()
            .filter(|(_, state)| found.states.contains(state));
        let names = |interfaces: &[airssys_wasm_actors::RevisionInterface]| {
            let interfaces = interfaces.iter();
            interfaces.map(|one| one.name.clone()).collect()
        };
        Self {
            component: revision.component.to_string(),
            revision: revision.number,
            digest: revision.digest.hex().to_string(),
            artifact: revision.digest.to_string(),
            version: revision.version.as_ref().map(ToString::to_string),
            states: states.map(|(name, _)| name.to_owned()).collect(),
            grants: revision.grants.clone(),
            exports: names(&revision.surface.exports),
            imports: names(&revision.surface.imports),
            by: revision.provenance.by.clone(),
            why: revision.provenance.why.clone(),
            source: revision.provenance.source.clone(),
            at_unix_ms: revision.provenance.at_unix_ms,
        }
    }
}

impl From<&airssys_wasm_actors::RevisionInterface> for InterfaceView {
    fn from(interface: &airssys_wasm_actors::RevisionInterface) -> Self {
        Self {
            name: interface.name.clone(),
            functions: interface.functions.clone(),
        }
    }
}

impl From<&Dependency> for DependencyView {
    fn from(dependency: &Dependency) -> Self {
        Self {
            from: dependency.from.to_string(),
            import: dependency.import.clone(),
            to: dependency.to.to_string(),
            deployment: dependency.deployment,
            trial: dependency.trial,
        }
    }
}

impl From<GcReport> for GcAnswer {
    fn from(report: GcReport) -> Self {
        Self {
            revisions: report.revisions,
            deployments: report.deployments,
            artifacts: report.artifacts,
            bytes: report.bytes,
        }
    }
}
