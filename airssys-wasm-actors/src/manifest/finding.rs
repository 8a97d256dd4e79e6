//! What is wrong with a manifest, where, and what to do about it.
//!
//! Owns [`Finding`], the one form in which reading and resolving a manifest report a fault of it, and
//! [`ManifestErrors`], all that were found in one go. A finding is made off every fast path; it quotes names
//! from the manifest and from components, which are escaped here.

use std::fmt;
use std::path::{Path, PathBuf};

use airssys_wasm::printable;
use serde::Serialize;

/// Most bytes of a text of a finding: lists of names are long.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// Most bytes of one name: those of real interfaces have some tens.
const NAME_BYTES_MAX: usize = 256;

/// A place in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Location {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

/// What sort of fault a finding is; the name is stable, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FindingKind {
    /// The manifest itself cannot be read.
    Unreadable,
    /// Not TOML, or a value of the wrong type.
    Syntax,
    /// A key that nothing reads.
    UnknownKey,
    /// A key that must be there is not.
    MissingKey,
    /// A value that cannot be used.
    BadValue,
    /// A file named by the manifest is not there, or cannot be read.
    MissingFile,
    /// A file named as a component is none, or not one that is taken.
    BadComponent,
    /// The process that compiles components failed, which is no fault of the component.
    CompilerFailed,
    /// Two things have one name.
    DuplicateName,
    /// A link, a source, an option or a report call names an actor that is not there.
    UnknownActor,
    /// A component has no such function, interface or field.
    UnknownFunction,
    /// A function is there, with another type than needed.
    TypeMismatch,
    /// An import that nobody provides.
    MissingImport,
    /// A link for something the component does not import, or two links for one import.
    BadLink,
    /// The operator's policy does not allow what the manifest grants.
    GrantRefused,
    /// `after` goes round in a circle.
    CircularStart,
    /// A value given for an option or an input does not fit the manifest.
    BadOption,
}

impl FindingKind {
    /// The kind as its kebab-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Syntax => "syntax",
            Self::UnknownKey => "unknown-key",
            Self::MissingKey => "missing-key",
            Self::BadValue => "bad-value",
            Self::MissingFile => "missing-file",
            Self::BadComponent => "bad-component",
            Self::CompilerFailed => "compiler-failed",
            Self::DuplicateName => "duplicate-name",
            Self::UnknownActor => "unknown-actor",
            Self::UnknownFunction => "unknown-function",
            Self::TypeMismatch => "type-mismatch",
            Self::MissingImport => "missing-import",
            Self::BadLink => "bad-link",
            Self::GrantRefused => "grant-refused",
            Self::CircularStart => "circular-start",
            Self::BadOption => "bad-option",
        }
    }
}

/// One fault of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What sort of fault it is.
    pub kind: FindingKind,
    /// Where it is; `None` when it is not at one place.
    pub at: Option<Location>,
    /// What is wrong, one sentence.
    pub what: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Finding {
    /// A finding without a place.
    #[must_use]
    pub fn new(kind: FindingKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            at: None,
            what: what.into(),
            help: None,
        }
    }

    /// The same finding at a place.
    #[must_use]
    pub fn at(mut self, at: Location) -> Self {
        self.at = Some(at);
        self
    }

    /// The same finding with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl Finding {
    /// On one line: names that a manifest or a component chose can be in it.
    fn shown(self) -> Self {
        Self {
            what: printable(&self.what, TEXT_BYTES_MAX),
            help: self.help.map(|help| printable(&help, TEXT_BYTES_MAX)),
            ..self
        }
    }
}

/// All faults that were found in a manifest, in the order of their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestErrors {
    /// The manifest, as it was named to us.
    pub file: PathBuf,
    /// What was found; at least one.
    pub findings: Vec<Finding>,
}

impl ManifestErrors {
    pub(crate) fn one(file: &Path, finding: Finding) -> Self {
        Self {
            file: file.to_owned(),
            findings: vec![finding.shown()],
        }
    }

    /// `Ok` if nothing was found.
    pub(crate) fn check(file: &Path, findings: Vec<Finding>) -> Result<(), Self> {
        if findings.is_empty() {
            return Ok(());
        }
        let mut findings: Vec<_> = findings.into_iter().map(Finding::shown).collect();
        findings.sort_by_key(|finding| finding.at);
        findings.dedup();
        Err(Self {
            file: file.to_owned(),
            findings,
        })
    }
}

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            let file = self.file.display().to_string();
            f.write_str(&printable(&file, TEXT_BYTES_MAX))?;
            if let Some(at) = finding.at {
                write!(f, ":{}:{}", at.line, at.column)?;
            }
            write!(f, ": {}", finding.what)?;
            if let Some(help) = &finding.help {
                write!(f, "\n  help: {help}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ManifestErrors {}

/// The name among `names` that `wanted` was most likely meant to be.
///
/// A name counts as near when at most a third of its letters differ: farther ones mislead more than they help.
pub(crate) fn nearest<'a>(
    wanted: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| (distance(wanted, name), name))
        .filter(|(distance, name)| {
            *distance <= name.chars().count().max(wanted.chars().count()).div_ceil(3)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// What to say to somebody who has named what is not there: "did you mean `x`?", or the list of what there is.
///
/// `what` is what the names are, in the plural.
#[must_use]
pub fn suggest<'a>(
    wanted: &str,
    what: &str,
    names: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    if let Some(name) = nearest(wanted, names.clone()) {
        return format!("did you mean `{}`?", name_shown(name));
    }
    let names = names.into_iter();
    let names: Vec<_> = names
        .map(|name| format!("`{}`", name_shown(name)))
        .collect();
    if names.is_empty() {
        format!("there are no {what}")
    } else {
        format!("the {what} are {}", names.join(", "))
    }
}

/// A name of a component's or a manifest's, as it may stand in a message.
pub(crate) fn name_shown(name: &str) -> String {
    printable(name, NAME_BYTES_MAX)
}

/// Letters to insert, delete or replace (Levenshtein), in one row of memory.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.chars()) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            *cell = replaced.min(left + 1).min(diagonal + 1);
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "", 3),
            ("mailbx", "mailbox", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
            assert_eq!(distance(b, a), edits, "{b} {a}");
        }
    }

    #[test]
    fn only_near_names_are_suggested() {
        let names = ["mailbox", "limits", "restart"];
        assert_eq!(nearest("mailbx", names), Some("mailbox"));
        assert_eq!(nearest("limit", names), Some("limits"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(
            suggest("colour", "keys", names),
            "the keys are `mailbox`, `limits`, `restart`"
        );
    }

    #[test]
    fn errors_print_place_fault_and_help() {
        let errors = ManifestErrors {
            file: "app.toml".into(),
            findings: vec![
                Finding::new(FindingKind::UnknownKey, "unknown key `x`")
                    .at(Location { line: 3, column: 7 })
                    .help("did you mean `y`?"),
                Finding::new(FindingKind::CircularStart, "a after b after a"),
            ],
        };
        assert_eq!(
            errors.to_string(),
            "app.toml:3:7: unknown key `x`\n  help: did you mean `y`?\napp.toml: a after b after a"
        );
    }
}
