//! Tests that a page names: each is there, in the integration binary of its crate.

use crate::Finding;
use crate::tree::SourceFile;

const PAGE: &str = "docs/hostile.md";

/// The crates by the words of the page.
const CRATES: &[(&str, &str)] = &[
    ("engine", "airssys-wasm"),
    ("actors", "airssys-wasm-actors"),
];

/// The fewest tests it names: a table that was not read has none.
const TESTS_AT_LEAST: usize = 30;

pub(crate) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let finding = |line: usize, what: String| Finding {
        path: PAGE.to_owned(),
        line,
        what,
    };
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![finding(1, "is not there".to_owned())];
    };
    let mut findings = Vec::new();
    let mut named = 0;
    for (index, line) in page.text.lines().enumerate() {
        for words in line.split('`').skip(1).step_by(2) {
            let Some((of, path)) = words.split_once(' ') else {
                continue;
            };
            let Some((modules, test)) = path.rsplit_once("::") else {
                continue;
            };
            named += 1;
            let known = CRATES.iter().find(|(word, _)| *word == of);
            let found = known.is_some_and(|(_, at)| {
                let path = format!("{at}/tests/it/{}.rs", modules.replace("::", "/"));
                let file = files.iter().find(|file| file.path == path);
                file.is_some_and(|file| file.text.contains(&format!("fn {test}()")))
            });
            if !found {
                findings.push(finding(index + 1, format!("there is no test `{words}`")));
            }
        }
    }
    if named < TESTS_AT_LEAST {
        findings.push(finding(1, format!("names {named} tests only")));
    }
    findings
}
