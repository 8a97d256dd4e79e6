//! Getting a manifest's text, and turning what the TOML reader says into a finding.
//!
//! Owns the only place that reads serde's messages: an unknown key or value comes with the list of what there
//! is, and from it the nearest name is suggested.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::finding::{Finding, FindingKind, Location, ManifestErrors, suggest};
use super::{MANIFEST_BYTES_MAX, MANIFEST_FILE};

/// Reads the text of a manifest, or of the one in a directory.
pub(super) fn read(path: &Path) -> Result<(PathBuf, String), ManifestErrors> {
    let file = if path.is_dir() {
        path.join(MANIFEST_FILE)
    } else {
        path.to_owned()
    };
    let mut text = String::new();
    let read = airssys_wasm::open_regular(&file).and_then(|open| {
        open.take(MANIFEST_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map(|_| ())
    });
    if let Err(error) = read {
        return Err(ManifestErrors::one(&file, unreadable(path, &error)));
    }
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MANIFEST_BYTES_MAX {
        let finding = Finding::new(
            FindingKind::Syntax,
            "larger than 1 MiB: this is no manifest",
        );
        return Err(ManifestErrors::one(&file, finding));
    }
    Ok((file, text))
}

fn unreadable(path: &Path, error: &io::Error) -> Finding {
    let finding = Finding::new(
        FindingKind::Unreadable,
        format!("cannot read the manifest: {error}"),
    );
    match error.kind() {
        io::ErrorKind::InvalidData => Finding {
            kind: FindingKind::Syntax,
            help: Some("a manifest is UTF-8 text in TOML".to_owned()),
            ..finding
        },
        io::ErrorKind::NotFound if path.is_dir() => finding.help(format!(
            "the directory has no `{MANIFEST_FILE}`; name the manifest itself"
        )),
        io::ErrorKind::NotFound => finding.help(format!(
            "name a manifest, or a directory that holds an `{MANIFEST_FILE}`"
        )),
        io::ErrorKind::InvalidInput => finding
            .help("a manifest is read again when it is deployed and recorded: write it to a file"),
        _ => finding,
    }
}

/// The line and the character of a byte of the text.
pub(super) fn location(text: &str, offset: usize) -> Location {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(start..).unwrap_or("").chars().count() + 1;
    Location { line, column }
}

/// What the TOML reader found, in the words of a manifest.
pub(super) fn finding(text: &str, error: &toml::de::Error) -> Finding {
    let finding = reword(error.message());
    match error.span() {
        Some(span) => finding.at(location(text, span.start)),
        None => finding,
    }
}

fn reword(message: &str) -> Finding {
    if let Some((name, known)) = unknown(message, "unknown field `") {
        return Finding::new(FindingKind::UnknownKey, format!("unknown key `{name}`")).help(
            suggest(&name, "keys here", known.iter().map(String::as_str)),
        );
    }
    if let Some((name, known)) = unknown(message, "unknown variant `") {
        return Finding::new(FindingKind::BadValue, format!("unknown value `{name}`")).help(
            suggest(&name, "values here", known.iter().map(String::as_str)),
        );
    }
    if let Some(name) = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'))
    {
        return Finding::new(
            FindingKind::MissingKey,
            format!("the key `{name}` is missing"),
        )
        .help(match name {
            "application" => "add `[application]` and `name = \"…\"` below it".to_owned(),
            name => format!("add `{name} = …` here"),
        });
    }
    if let Some(rest) = message.strip_prefix("duplicate key") {
        return Finding::new(
            FindingKind::DuplicateName,
            format!("this key is here twice{rest}"),
        )
        .help("names are given once; remove or rename one of the two");
    }
    if let Some((found, max)) = not_whole(message) {
        let what = format!("expected a whole number from 0 to {max}, found {found}");
        return Finding::new(FindingKind::Syntax, what);
    }
    Finding::new(FindingKind::Syntax, message.replace('\n', "; "))
}

/// Takes apart serde's "invalid value: integer `-1`, expected u32": what was found, and the most there can be.
fn not_whole(message: &str) -> Option<(&str, u64)> {
    let (_, rest) = message.strip_prefix("invalid ")?.split_once(": ")?;
    let (found, expected) = rest.rsplit_once(", expected ")?;
    let max = match expected.trim() {
        "u8" => u64::from(u8::MAX),
        "u16" => u64::from(u16::MAX),
        "u32" => u64::from(u32::MAX),
        "u64" => u64::MAX,
        _ => return None,
    };
    Some((found.strip_suffix(" as i128").unwrap_or(found), max))
}

/// Takes apart serde's "unknown field `x`, expected one of `a`, `b`".
fn unknown(message: &str, prefix: &str) -> Option<(String, Vec<String>)> {
    let (name, rest) = message.strip_prefix(prefix)?.split_once('`')?;
    let known = rest
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    Some((name.escape_debug().to_string(), known))
}
