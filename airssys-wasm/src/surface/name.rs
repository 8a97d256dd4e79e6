//! Interface names and their versions.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use semver::Version;

/// The name of an interface: `quakes:app/parse@0.1.0`, a plain name, or nothing for functions at the root.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName(Arc<str>);

/// A name taken apart.
struct Parts<'a> {
    namespace: Option<&'a str>,
    package: Option<&'a str>,
    interface: &'a str,
    version: Option<&'a str>,
}

impl InterfaceName {
    /// Takes a name as it stands in a component or a manifest.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this stands for the functions at the root, which belong to no interface.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the namespace: `quakes` in `quakes:app/parse@0.1.0`.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.parts().namespace
    }

    /// Returns the package: `app` in `quakes:app/parse@0.1.0`.
    #[must_use]
    pub fn package(&self) -> Option<&str> {
        self.parts().package
    }

    /// Returns the interface's own name: `parse` in `quakes:app/parse@0.1.0`.
    #[must_use]
    pub fn interface(&self) -> &str {
        self.parts().interface
    }

    /// Returns the version, if there is one and it is a semantic version.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        Version::parse(self.parts().version?).ok()
    }

    /// Returns the name without its version: `quakes:app/parse`.
    #[must_use]
    pub fn unversioned(&self) -> &str {
        match self.split_version() {
            (name, Some(_)) => name,
            (_, None) => &self.0,
        }
    }

    /// Returns whether an import of this name is satisfied by an export named `export`.
    ///
    /// The names must be equal but for the version, and the versions on the same compatibility track: same major,
    /// or `0.` and the same minor, or `0.0.` and the same patch. **Either may be the newer.** An importer declares
    /// only the functions it uses, and every one of them is compared by type when the link is made: so an older
    /// export that has them all is as good as a newer one, and one that lacks any is refused by name. Pre-releases
    /// promise nothing to each other and must be equal; so must everything where a version is missing.
    #[must_use]
    pub fn accepts(&self, export: &InterfaceName) -> bool {
        if self.unversioned() != export.unversioned() {
            return false;
        }
        match (self.version(), export.version()) {
            (Some(import), Some(export)) => same_track(&import, &export),
            _ => self == export,
        }
    }

    fn split_version(&self) -> (&str, Option<&str>) {
        match self.0.rsplit_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (&self.0, None),
        }
    }

    fn parts(&self) -> Parts<'_> {
        let (name, version) = self.split_version();
        let (package, interface) = match name.rsplit_once('/') {
            Some((package, interface)) => (Some(package), interface),
            None => (None, name),
        };
        let (namespace, package) = match package.and_then(|package| package.split_once(':')) {
            Some((namespace, package)) => (Some(namespace), Some(package)),
            None => (None, package),
        };
        Parts {
            namespace,
            package,
            interface,
            version,
        }
    }
}

impl Display for InterfaceName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn same_track(import: &Version, export: &Version) -> bool {
    if !(import.pre.is_empty() && export.pre.is_empty()) {
        return import.cmp_precedence(export).is_eq();
    }
    match (import.major, import.minor) {
        (0, 0) => (0, 0, import.patch) == (export.major, export.minor, export.patch),
        (0, minor) => (0, minor) == (export.major, export.minor),
        (major, _) => major == export.major,
    }
}
