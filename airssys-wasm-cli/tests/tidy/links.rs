//! Links between pages: every relative one leads to a file of the repository, and to a heading of it.

use std::collections::BTreeSet;

use crate::Finding;
use crate::tree::SourceFile;

pub(crate) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut paths = BTreeSet::new();
    for file in files {
        let mut path = file.path.as_str();
        // A link may lead to a directory too.
        while paths.insert(path.trim_end_matches('/')) {
            path = path.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }
    let pages = files.iter().filter(|file| file.path.ends_with(".md"));
    pages
        .flat_map(|page| {
            links(&page.text).into_iter().filter_map(|(line, link)| {
                let what = wrong(page, &link, &paths, files)?;
                Some(Finding {
                    path: page.path.clone(),
                    line,
                    what: format!("the link `{link}` {what}"),
                })
            })
        })
        .collect()
}

/// What is wrong with a link, if anything. What another site has is its own affair.
fn wrong(
    page: &SourceFile,
    link: &str,
    paths: &BTreeSet<&str>,
    files: &[SourceFile],
) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = match path {
        "" => page.path.clone(),
        path => match joined(&page.path, path) {
            Some(target) => target,
            None => return Some("leads out of the repository".to_owned()),
        },
    };
    if !paths.contains(target.as_str()) {
        return Some(format!("leads nowhere: there is no {target}"));
    }
    if heading.is_empty() {
        return None;
    }
    let found = files.iter().find(|file| file.path == target)?;
    let known = headings(&found.text).any(|slug| slug == heading);
    (!known).then(|| format!("leads nowhere: {target} has no such heading"))
}

/// The path that a link on a page means, from the root.
fn joined(page: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The lines of a page that are not in a block of code, numbered from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
            return None;
        }
        (!in_code).then_some((at + 1, line))
    })
}

/// The targets of `[text](target)` and `[text]: target`.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        // What stands between back-ticks is code; every second piece.
        let plain: String = line
            .split('`')
            .enumerate()
            .map(|(at, piece)| if at % 2 == 0 { piece } else { "_" })
            .collect();
        for rest in plain.split("](").skip(1) {
            if let Some((target, _)) = rest.split_once(')') {
                let target = target.split(' ').next().unwrap_or_default();
                found.push((number, target.to_owned()));
            }
        }
        if let Some((_, target)) = plain.split_once("]: ")
            && plain.starts_with('[')
        {
            found.push((number, target.trim().to_owned()));
        }
    }
    found
}

/// The anchors of a page's headings: lower case, spaces as `-`, other signs left out.
fn headings(text: &str) -> impl Iterator<Item = String> {
    prose(text).filter_map(|(_, line)| {
        let title = line.strip_prefix('#')?.trim_start_matches('#').trim();
        let kept = title.chars().filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
            _ => None,
        });
        Some(kept.collect())
    })
}

#[test]
fn only_links_that_lead_somewhere_pass() {
    let file = |path: &str, text: &str| SourceFile {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let files = |text: &str| {
        [
            file("README.md", "# Read me\n## Exit codes, and `up`"),
            file("docs/design/0001-x.md", "# x"),
            file("docs/a.md", text),
        ]
    };
    for (text, found) in [
        (
            "[a](../README.md) [b](design/) [c](design/0001-x.md#x)",
            None,
        ),
        ("[a](../README.md#exit-codes-and-up)", None),
        ("[a](https://example.org/x) [b](#here)\n# Here", None),
        ("```\n[a](none.md)\n```\nand `[a](none.md)`", None),
        ("[a]: ../README.md", None),
        ("[a](b.md)", Some("no docs/b.md")),
        ("[a](b.md \"title\")", Some("no docs/b.md")),
        ("[a]: b.md", Some("no docs/b.md")),
        ("[a](../../x)", Some("out of the repository")),
        ("[a](../README.md#exit)", Some("no such heading")),
        ("[a](#exit)", Some("no such heading")),
    ] {
        let findings = check(&files(text));
        match found {
            Some(what) => assert!(
                findings.len() == 1 && findings[0].what.contains(what),
                "{text}: {:?}",
                findings.iter().map(ToString::to_string).collect::<Vec<_>>()
            ),
            None => assert!(findings.is_empty(), "{text}: {}", findings[0]),
        }
    }
}
