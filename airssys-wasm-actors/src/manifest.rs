//! The application manifest: TOML text → [`ApplicationSpec`].
//!
//! Owns what a manifest may say, and nothing of what it means: every key has a field, every unknown key is an
//! error, and every value that [`crate::Application`] may have to complain about keeps its place in the text.
//! Reading touches no component and no file but the manifest. `docs/manifest.md` is the reference of the keys;
//! a test holds the two together.

mod autoscale;
mod edit;
mod finding;
mod grammar;
mod limits;
mod reading;
mod rollout;
mod supervision;
mod tables;
mod units;

use std::path::{Path, PathBuf};

pub use autoscale::AutoscaleSpec;
pub use edit::EditError;
pub(crate) use finding::name_shown;
pub use finding::suggest;
pub use finding::{Finding, FindingKind, Location, ManifestErrors};
pub(crate) use grammar::in_order;
pub use grammar::{ErrorAs, OptionKind, SourceFormat};
pub use limits::LimitsSpec;
pub use rollout::{CanaryStepSpec, GateSpec, RolloutSpec};
pub use supervision::{BackoffSpec, HealthSpec, RestartsSpec, SupervisionSpec, SupervisorTable};
pub use tables::{
    ApplicationTable, BreakerSpec, ComponentSpec, CountedSpec, LinkSpec, MailboxSpec, OptionSpec,
    ReportSpec, RetrySpec, SourceSpec, TableSpec, Tables,
};
pub use units::{DurationText, SizeText, UnitError, parse_duration, parse_size};
pub(crate) use units::{TextVisitor, duration_text, serialize_duration};

/// The name a manifest has in a directory.
pub const MANIFEST_FILE: &str = "airssys.toml";

/// Largest manifest read, in bytes. The largest real ones are a few KiB; this bounds a mistaken path.
pub const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// A manifest that has been read: its keys and types are right, nothing else is known.
#[derive(Debug, Clone)]
pub struct ApplicationSpec {
    /// Where it was read from; relative paths in it start at this file's directory.
    pub file: PathBuf,
    /// The text, which places in it are found by.
    pub text: String,
    /// What it says.
    pub tables: Tables,
}

impl ApplicationSpec {
    /// Reads a manifest: a file, or `airssys.toml` in a directory.
    ///
    /// # Errors
    /// [`ManifestErrors`] when it cannot be read, is not TOML, or says something that no key means.
    pub fn read(path: &Path) -> Result<Self, ManifestErrors> {
        let (file, text) = reading::read(path)?;
        Self::parse(file, text)
    }

    /// Reads a manifest from text; `file` is for messages and relative paths.
    ///
    /// # Errors
    /// [`ManifestErrors`], as [`ApplicationSpec::read`].
    pub fn parse(file: PathBuf, text: String) -> Result<Self, ManifestErrors> {
        match toml::from_str(&text) {
            Ok(tables) => Ok(Self { file, text, tables }),
            Err(error) => {
                let finding = reading::finding(&text, &error);
                Err(ManifestErrors::one(&file, finding))
            }
        }
    }

    /// A path of the manifest, from the manifest's directory.
    #[must_use]
    pub fn path(&self, relative: &str) -> PathBuf {
        self.file
            .parent()
            .unwrap_or_else(|| Path::new(""))
            .join(relative)
    }

    /// The options it declares, in its order.
    #[must_use]
    pub fn options(&self) -> Vec<(&toml::Spanned<String>, &OptionSpec)> {
        in_order(&self.tables.options)
    }

    /// The line of a byte of it, from 1.
    pub(crate) fn line(&self, byte: usize) -> usize {
        reading::location(&self.text, byte).line
    }

    /// The place of something read from it.
    #[must_use]
    pub fn location<T>(&self, of: &toml::Spanned<T>) -> Location {
        reading::location(&self.text, of.span().start)
    }
}
