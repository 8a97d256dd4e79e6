//! From a path that a person typed to a function's number.

use crate::printable::{name, names};

use super::{ExportId, Function, InterfaceName, Surface};

/// No exported function has this path, or several do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub struct NoSuchFunction {
    /// The path asked for.
    pub path: String,
    /// Full paths that the one asked for could mean; empty if there is none.
    pub ambiguous: Vec<String>,
    /// The full path that looks most like the one asked for.
    pub nearest: Option<String>,
    /// Full paths of all exported functions.
    pub exported: Vec<String>,
}

/// Paths listed in a message; the rest is counted.
const PATHS_SHOWN_MAX: usize = 12;

impl NoSuchFunction {
    fn message(&self) -> String {
        match self.remedy() {
            Some(remedy) => format!("{}; {remedy}", self.what()),
            None => self.what(),
        }
    }

    /// What is the matter.
    #[must_use]
    pub fn what(&self) -> String {
        let path = name(&self.path);
        match (self.ambiguous.len(), self.exported.len()) {
            (several @ 1.., _) => format!("`{path}` could be any of {several} functions"),
            (_, 0) => format!("there is no function `{path}`: nothing is exported"),
            _ => format!("there is no exported function `{path}`"),
        }
    }

    /// What could be meant; `None` where nothing is exported.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        let list = |paths: &[String]| {
            let shown = paths.get(..PATHS_SHOWN_MAX).unwrap_or(paths);
            let more = match paths.len().saturating_sub(PATHS_SHOWN_MAX) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{}{more}", names(shown, ""))
        };
        match (&self.nearest, self.ambiguous.len(), self.exported.len()) {
            (_, 1.., _) => Some(format!("name one of: {}", list(&self.ambiguous))),
            (_, _, 0) => None,
            (Some(nearest), ..) => Some(format!("did you mean `{}`?", name(nearest))),
            (None, ..) => Some(format!("exported: {}", list(&self.exported))),
        }
    }
}

pub(super) fn export(surface: &Surface, path: &str) -> Result<ExportId, NoSuchFunction> {
    let (interface, function) = match path.rsplit_once('#') {
        Some((interface, function)) => (Some(interface), function),
        None => (None, path),
    };
    let matching: Vec<_> = surface
        .export_functions()
        .filter(|(_, name, candidate)| {
            candidate.name == function && interface.is_none_or(|wanted| means(wanted, name))
        })
        .collect();
    // A full name is never ambiguous, even if a shorter reading of it also fits another interface.
    let exact = matching
        .iter()
        .find(|(_, name, _)| interface.unwrap_or_default() == name.as_str());
    match (exact, matching.as_slice()) {
        (Some((id, ..)), _) | (None, [(id, ..)]) => Ok(*id),
        (None, matching) => {
            let exported: Vec<String> = surface
                .export_functions()
                .map(|(_, name, function)| full_path(name, function))
                .collect();
            Err(NoSuchFunction {
                path: path.to_owned(),
                ambiguous: matching
                    .iter()
                    .map(|(_, name, function)| full_path(name, function))
                    .collect(),
                nearest: nearest_path(path, function, surface, &exported),
                exported,
            })
        }
    }
}

/// Whether `wanted`, as typed, can mean the interface `name`.
fn means(wanted: &str, name: &InterfaceName) -> bool {
    wanted == name.as_str()
        || wanted == name.unversioned()
        || wanted == name.interface()
        || InterfaceName::new(wanted).accepts(name)
}

fn full_path(name: &InterfaceName, function: &Function) -> String {
    if name.is_root() {
        function.name.clone()
    } else {
        format!("{name}#{}", function.name)
    }
}

/// A function of exactly this name elsewhere is a better guess than any similar spelling.
fn nearest_path(
    path: &str,
    function: &str,
    surface: &Surface,
    exported: &[String],
) -> Option<String> {
    let elsewhere = surface
        .export_functions()
        .find(|(_, _, candidate)| candidate.name == function)
        .map(|(_, name, function)| full_path(name, function));
    elsewhere
        .or_else(|| nearest(path, exported.iter().map(String::as_str)).map(str::to_owned))
        .or_else(|| {
            let names: Vec<_> = surface.export_functions().collect();
            let name = nearest(function, names.iter().map(|(_, _, f)| f.name.as_str()))?;
            names
                .iter()
                .find(|(_, _, f)| f.name == name)
                .map(|(_, interface, f)| full_path(interface, f))
        })
}

/// Returns the candidate with the fewest edits to `wanted`, if that is at most a third of its length.
pub(crate) fn nearest<'a>(
    wanted: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    /// Longer names are not compared: the table below is quadratic, and a guest chooses its names.
    const COMPARED_CHARS_MAX: usize = 256;
    /// And no more names than this.
    const COMPARED_NAMES_MAX: usize = 1_000;

    let wanted: Vec<char> = wanted.chars().take(COMPARED_CHARS_MAX).collect();
    candidates
        .take(COMPARED_NAMES_MAX)
        .filter(|candidate| candidate.len() <= COMPARED_CHARS_MAX)
        .map(|candidate| (edits(&wanted, candidate), candidate))
        .min_by_key(|(edits, _)| *edits)
        .filter(|(edits, candidate)| edits.saturating_mul(3) <= candidate.len().max(3))
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, one row at a time.
fn edits(wanted: &[char], candidate: &str) -> usize {
    let mut row: Vec<usize> = (0..=wanted.len()).collect();
    for (at, letter) in candidate.chars().enumerate() {
        let mut diagonal = at;
        let mut left = at.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, other) in row.iter_mut().skip(1).zip(wanted) {
            let replaced = diagonal.saturating_add(usize::from(letter != *other));
            diagonal = *cell;
            left = replaced.min(left.min(diagonal).saturating_add(1));
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(0)
}
