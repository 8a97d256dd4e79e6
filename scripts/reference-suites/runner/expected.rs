//! What is known not to pass, and why.
//!
//! One line each: `FILE:LINE REASON`, or `FILE REASON` for all of a file; `#` begins a comment.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

/// The list, as it is used up.
pub(crate) struct Expected {
    reasons: BTreeMap<String, (String, bool)>,
}

impl Expected {
    /// Reads the list.
    ///
    /// # Errors
    /// A line without a reason, or a file that cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let mut reasons = BTreeMap::new();
        for line in std::fs::read_to_string(path)?.lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (place, reason) = line
                .split_once(' ')
                .ok_or_else(|| format!("no reason is given: {line}"))?;
            reasons.insert(place.to_owned(), (reason.trim().to_owned(), false));
        }
        Ok(Self { reasons })
    }

    /// The reason why this directive does not pass, if it is listed.
    pub(crate) fn take(&mut self, file: &str, line: usize) -> Option<String> {
        for place in [format!("{file}:{line}"), file.to_owned()] {
            if let Some((reason, used)) = self.reasons.get_mut(&place) {
                *used = true;
                return Some(reason.clone());
            }
        }
        None
    }

    /// Lines that nothing used.
    pub(crate) fn left(&self) -> impl Iterator<Item = &str> {
        self.reasons
            .iter()
            .filter(|(_, (_, used))| !used)
            .map(|(place, _)| place.as_str())
    }
}
