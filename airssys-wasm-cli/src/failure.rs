//! What went wrong, in one form for people, scripts and the shell.
//!
//! Owns the kinds of failure with their exit codes, and how a [`Failure`] is written: as text, or as one JSON
//! object. Each says what to do about it where something can be done.

use std::io::Write as _;
use std::process::ExitCode;

use airssys_wasm_actors::{Finding, FindingKind, ManifestErrors};
use airssys_wasm_console::api::FindingView;
use clap::error::{ContextKind, ErrorKind};
use serde_json::{Value, json};

use crate::args::Format;
use crate::text::printable;

/// The kinds of failure. The numbers are part of the command line's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The application ended in an error: 1.
    Application,
    /// The command line is wrong: 2.
    Usage,
    /// The manifest is wrong: 3.
    Manifest,
    /// A file is not a component that can be loaded: 4.
    Component,
    /// A call got a typed error instead of a reply: 5.
    Call,
    /// A file, the terminal or the machine: 6.
    Io,
    /// No running host was found, another is in the way, or it refused: 7.
    Control,
    /// A deployment was rolled back, or failed: 8.
    RolledBack,
    /// A deployment was refused: 9.
    Refused,
    /// Ended by SIGINT before it was finished: 130, as shells count.
    Interrupted,
    /// Ended by SIGTERM before it was finished: 143, as shells count.
    Terminated,
}

impl FailureKind {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Application => 1,
            Self::Usage => 2,
            Self::Manifest => 3,
            Self::Component => 4,
            Self::Call => 5,
            Self::Io => 6,
            Self::Control => 7,
            Self::RolledBack => 8,
            Self::Refused => 9,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Usage => "usage",
            Self::Manifest => "manifest",
            Self::Component => "component",
            Self::Call => "call",
            Self::Io => "io",
            Self::Control => "control",
            Self::RolledBack => "rolled-back",
            Self::Refused => "refused",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }
}

/// A command that did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: FailureKind,
    /// Behind a box, so that a result that may fail stays small.
    said: Box<Said>,
}

#[derive(Debug, Default)]
struct Said {
    message: String,
    hint: Option<String>,
    /// The manifest and its findings, where that is what is wrong.
    manifest: Option<ManifestErrors>,
    /// What a host has found, where that is more than one thing or at a place.
    found: Vec<FindingView>,
    /// The message is whole as it stands: clap's own.
    rendered: bool,
    /// More for scripts: key and value.
    details: Vec<(&'static str, Value)>,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            kind,
            said: Box::new(Said {
                message,
                ..Said::default()
            }),
        }
    }

    /// A failure with everything its error and the errors behind it say.
    pub(crate) fn of(kind: FailureKind, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let text = error.to_string();
            if !message.ends_with(&text) {
                message = format!("{message}: {text}");
            }
            source = error.source();
        }
        Self::new(kind, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.said.hint = Some(hint.into());
        self
    }

    pub(crate) fn detail(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.said.details.push((key, value.into()));
        self
    }

    /// Whether a detail is one of these words.
    pub(crate) fn is_detail(&self, key: &str, words: &[&str]) -> bool {
        let detail = self.said.details.iter().find(|(known, _)| *known == key);
        let word = detail.and_then(|(_, value)| value.as_str());
        word.is_some_and(|word| words.contains(&word))
    }

    /// With everything that a host has found wrong.
    pub(crate) fn found(mut self, findings: Vec<FindingView>) -> Self {
        self.said.found = findings;
        self
    }

    /// Writes it to standard error; the exit code is its kind's.
    pub(crate) fn report(self, format: Format) -> ExitCode {
        let text = match format {
            Format::Json => format!("{}\n", self.json()),
            Format::Text => self.text(),
        };
        // If standard error is gone there is nobody to tell; the exit code still does.
        let _ = std::io::stderr().write_all(text.as_bytes());
        ExitCode::from(self.kind.code())
    }

    fn text(&self) -> String {
        if self.said.rendered {
            return self.said.message.clone();
        }
        if !self.said.found.is_empty() {
            return self.said.found.iter().map(found).collect();
        }
        let Some(manifest) = &self.said.manifest else {
            let mut text = format!("error: {}\n", indented(&self.said.message));
            if let Some(hint) = &self.said.hint {
                text.push_str(&format!("  help: {}\n", indented(hint)));
            }
            return text;
        };
        let mut text = String::new();
        let file = manifest.file.display().to_string();
        for finding in &manifest.findings {
            let place = finding
                .at
                .map(|at| format!(":{}:{}", at.line, at.column))
                .unwrap_or_default();
            text.push_str(&format!(
                "error: {}{place}: {}\n",
                printable(&file),
                indented(&finding.what)
            ));
            if let Some(help) = &finding.help {
                text.push_str(&format!("  help: {}\n", indented(help)));
            }
        }
        if manifest.findings.len() > 1 {
            text.push_str(&format!(
                "{} errors in {}\n",
                manifest.findings.len(),
                printable(&file)
            ));
        }
        text
    }

    fn json(&self) -> Value {
        let mut error = json!({
            "kind": self.kind.as_str(),
            "message": self.said.message,
            "hint": self.said.hint,
            "exit_code": self.kind.code(),
        });
        if let (Some(error), Some(manifest)) = (error.as_object_mut(), &self.said.manifest) {
            error.insert(
                "file".to_owned(),
                manifest.file.display().to_string().into(),
            );
            error.insert(
                "findings".to_owned(),
                manifest.findings.iter().map(finding).collect(),
            );
        }
        if let Some(error) = error.as_object_mut() {
            if !self.said.found.is_empty() {
                let findings = serde_json::to_value(&self.said.found).unwrap_or_default();
                error.insert("findings".to_owned(), findings);
            }
            error.extend(
                self.said
                    .details
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), value.clone())),
            );
        }
        json!({ "error": error })
    }
}

fn finding(finding: &Finding) -> Value {
    json!({
        "kind": finding.kind.as_str(),
        "line": finding.at.map(|at| at.line),
        "column": finding.at.map(|at| at.column),
        "message": finding.what,
        "hint": finding.help,
    })
}

/// What a host has found, as a fault of a manifest is written here.
fn found(finding: &FindingView) -> String {
    let file = finding.file.as_deref().map(printable);
    let place = match (file, finding.line, finding.column) {
        (Some(file), Some(line), Some(column)) => format!("{file}:{line}:{column}: "),
        (Some(file), ..) => format!("{file}: "),
        (None, ..) => String::new(),
    };
    let mut text = format!("error: {place}{}\n", indented(&finding.message));
    if let Some(hint) = &finding.hint {
        text.push_str(&format!("  help: {}\n", indented(hint)));
    }
    text
}

/// Escaped line by line, with the lines after the first under it.
fn indented(text: &str) -> String {
    text.lines()
        .map(printable)
        .collect::<Vec<_>>()
        .join("\n    ")
}

impl From<ManifestErrors> for Failure {
    /// Bad options are the command line's fault, an unreadable manifest or a compiler that fails the machine's, files that are
    /// no components their own, where nothing else is wrong.
    fn from(errors: ManifestErrors) -> Self {
        let all = |kind| errors.findings.iter().all(|finding| finding.kind == kind);
        let kind = match () {
            () if all(FindingKind::BadOption) => FailureKind::Usage,
            () if all(FindingKind::Unreadable) => FailureKind::Io,
            () if all(FindingKind::CompilerFailed) => FailureKind::Io,
            () if all(FindingKind::BadComponent) => FailureKind::Component,
            () => FailureKind::Manifest,
        };
        let first = errors.findings.first();
        let message = first
            .map(|finding| finding.what.clone())
            .unwrap_or_default();
        let hint = first.and_then(|finding| finding.help.clone());
        let mut failure = Self::new(kind, message);
        failure.said.hint = hint;
        failure.said.manifest = Some(errors);
        failure
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        // A misspelt `show` is a pattern to clap, and its number a subcommand.
        let conflict = error.kind() == ErrorKind::ArgumentConflict
            && error.get(ContextKind::InvalidSubcommand).is_some();
        let before = error.get(ContextKind::PriorArg).map(ToString::to_string);
        if conflict && before.is_some_and(|before| before.contains("[PATTERN]")) {
            let what = "`crashes` takes one pattern of addresses, or `show N`";
            return Self::new(FailureKind::Usage, what).hint("see `airssys crashes --help`");
        }
        let rendered = error.render();
        let mut failure = Self::new(FailureKind::Usage, rendered.to_string());
        failure.said.rendered = true;
        failure
    }
}

impl Failure {
    /// clap's message without its colours and decoration, for JSON.
    pub(crate) fn plain(mut self) -> Self {
        if self.said.rendered {
            let text = self
                .said
                .message
                .strip_prefix("error: ")
                .unwrap_or(&self.said.message);
            let mut parts = text.split("\n\n");
            let message = parts
                .next()
                .unwrap_or(text)
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            let tip = parts.find_map(|part| part.trim().strip_prefix("tip: ").map(str::to_owned));
            self.said.hint = tip.or_else(|| Some("see `airssys --help`".to_owned()));
            self.said.message = message;
            self.said.rendered = false;
        }
        self
    }
}
