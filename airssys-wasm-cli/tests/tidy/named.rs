//! Tests that a page names: each is there, and each case of the page has one.

use crate::Finding;
use crate::tree::SourceFile;

/// Where tests are, by the words of the pages: the integration binaries of two crates, and the unit tests of one.
const PLACES: &[(&str, &str)] = &[
    ("engine", "airssys-wasm/tests/it"),
    ("actors", "airssys-wasm-actors/tests/it"),
    ("unit", "airssys-wasm-actors/src"),
];

/// A page whose table names tests.
pub(crate) struct Page {
    path: &'static str,
    /// The fewest tests it names: a table that was not read has none.
    tests_at_least: usize,
    /// The cases that are to have a row, a letter and how many of each.
    cases: &'static [(char, u32)],
}

pub(crate) const HOSTILE: Page = Page {
    path: "docs/hostile.md",
    tests_at_least: 30,
    cases: &[],
};

/// Each test of a case has its number in its name, such as `s08_`, so that it is found by that.
pub(crate) const SUPERVISION: Page = Page {
    path: "docs/supervision.md",
    tests_at_least: 34,
    cases: &[('S', 25), ('M', 9)],
};

pub(crate) fn check(page: &Page, files: &[SourceFile]) -> Vec<Finding> {
    let finding = |line: usize, what: String| Finding {
        path: page.path.to_owned(),
        line,
        what,
    };
    let Some(text) = files.iter().find(|file| file.path == page.path) else {
        return vec![finding(1, "is not there".to_owned())];
    };
    let mut findings = Vec::new();
    let mut names = Vec::new();
    for (index, line) in text.text.lines().enumerate() {
        for words in line.split('`').skip(1).step_by(2) {
            let Some((of, path)) = words.split_once(' ') else {
                continue;
            };
            let Some((modules, test)) = path.rsplit_once("::") else {
                continue;
            };
            names.push((index, test));
            let known = PLACES.iter().find(|(word, _)| *word == of);
            let found = known.is_some_and(|(_, at)| {
                let path = format!("{at}/{}.rs", modules.replace("::", "/"));
                let file = files.iter().find(|file| file.path == path);
                file.is_some_and(|file| file.text.contains(&format!("fn {test}(")))
            });
            if !found {
                findings.push(finding(index + 1, format!("there is no test `{words}`")));
            }
        }
    }
    if names.len() < page.tests_at_least {
        findings.push(finding(1, format!("names {} tests only", names.len())));
    }
    for (letter, count) in page.cases {
        for number in 1..=*count {
            let row = format!("| {letter}{number} |");
            let line = text.text.lines().position(|line| line.starts_with(&row));
            let mark = format!("{}{number:02}_", letter.to_ascii_lowercase());
            let named =
                |(index, test): &(usize, &str)| Some(*index) == line && test.contains(&mark);
            if !names.iter().any(named) {
                let what = format!("has no row of {letter}{number} with a test named `{mark}…`");
                findings.push(finding(line.map_or(1, |line| line + 1), what));
            }
        }
    }
    findings
}
