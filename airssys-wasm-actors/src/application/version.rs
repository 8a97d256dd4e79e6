//! The version of a component for people: what the manifest says, or what the component carries.
//!
//! Owns the findings about `version`. It decides nothing: revisions are told apart by their bytes.

use semver::Version;

use super::components::Loaded;
use super::options::escaped;
use super::resolving::Resolving;
use crate::manifest::FindingKind;

/// The version of a component, if anybody says one. Where both do, they have to agree: the manifest names the wrong file,
/// or was not changed with it.
pub(super) fn resolve(
    resolving: &mut Resolving<'_>,
    name: &str,
    loaded: &Loaded<'_>,
) -> Option<Version> {
    let carried = loaded.component.version();
    let Some(said) = &loaded.spec.version else {
        return carried.cloned();
    };
    let text = escaped(said.get_ref());
    let version: Version = match said.get_ref().parse() {
        Ok(version) => version,
        Err(why) => {
            let what = format!("`{text}` is no version of `{name}`: {why}");
            let help = "a semantic version has three numbers: \"1.4.0\"".to_owned();
            resolving.find_at(said, FindingKind::BadValue, what, Some(help));
            return None;
        }
    };
    if let Some(carried) = carried.filter(|carried| **carried != version) {
        let what = format!("the file of `{name}` says that it is version {carried}, not {text}");
        let help = "name the file of that version, or leave `version` out".to_owned();
        resolving.find_at(said, FindingKind::BadValue, what, Some(help));
    }
    Some(version)
}
