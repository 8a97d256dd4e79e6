//! Files of the registry that a deployment boots from, put back where they are lost or damaged.
//!
//! Owns [`heal_artifacts`]. What is put back is what was there: a file is taken for it by its digest and by nothing else,
//! and is on disk before the call returns. Costs a hash of each component's file, and of those that are looked at in the
//! place of one that is lost.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use airssys_wasm::Digest;

use super::component_file;
use crate::address::ActorAddress;
use crate::manifest::ApplicationSpec;
use crate::registry::{Deployment, Registry, RegistryError};

/// A file of the registry that was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealedArtifact {
    /// The component.
    pub component: ActorAddress,
    /// Its digest.
    pub digest: Digest,
    /// Whether a file was there, with other bytes; otherwise there was none.
    pub damaged: bool,
    /// The file that its bytes were taken from.
    pub from: PathBuf,
}

/// That it was put back, in a sentence.
impl fmt::Display for HealedArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let was = if self.damaged { "damaged" } else { "missing" };
        write!(
            f,
            "the file of `{}` was {was} in the registry ({}), and was put back from {}, which has the same bytes",
            self.component,
            self.digest,
            self.from.display()
        )
    }
}

/// Puts back the files of a deployment's components that are missing or damaged in the registry, from those that the
/// manifest `named`, or the one that was recorded, names for them, where these have the recorded digest. Blocks on the
/// disk.
///
/// # Errors
/// [`RegistryError::ArtifactLost`] where none of them does, with nothing changed for that component; and those of the
/// disk.
pub fn heal_artifacts(
    registry: &Registry,
    deployment: &Deployment,
    named: &ApplicationSpec,
) -> Result<Vec<HealedArtifact>, RegistryError> {
    let recorded = ApplicationSpec::parse(named.file.clone(), deployment.manifest.clone()).ok();
    let mut healed = Vec::new();
    for (address, deployed) in &deployment.components {
        let revision = registry.revision(address, deployed.revision)?;
        let damaged = match registry.artifact(revision.digest) {
            Ok(_) => continue,
            Err(RegistryError::NoSuchArtifact { .. }) => false,
            Err(RegistryError::Corrupt { .. }) => true,
            Err(error) => return Err(error),
        };
        let name = deployment.name_of(address);
        let specs = recorded.iter().chain([named]);
        let files: BTreeSet<_> = specs
            .filter_map(|spec| Some(spec.path(spec.component(name)?.file.get_ref())))
            .collect();
        let found = files.iter().find_map(|file| {
            let bytes = component_file::read(file).ok()?;
            (Digest::of(&bytes) == revision.digest).then_some((file, bytes))
        });
        let Some((from, bytes)) = found else {
            return Err(RegistryError::ArtifactLost {
                component: address.clone(),
                revision: deployed.revision,
                digest: revision.digest,
                path: registry.artifact_path(revision.digest),
                damaged,
                looked: files.into_iter().collect(),
            });
        };
        registry.put_artifact(&bytes)?;
        tracing::info!(
            component = %address, digest = %revision.digest, damaged, from = %from.display(),
            "put a file of the registry back"
        );
        healed.push(HealedArtifact {
            component: address.clone(),
            digest: revision.digest,
            damaged,
            from: from.clone(),
        });
    }
    Ok(healed)
}
