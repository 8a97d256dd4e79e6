//! The files of the repository, read once. Build output and hidden directories (but for `.ci`) are not
//! part of it.

use std::fs;
use std::path::Path;

/// One file, with its path from the root written with `/` on every platform.
pub(crate) struct SourceFile {
    pub(crate) path: String,
    /// What is not UTF-8 is replaced: enough to search a binary for text.
    pub(crate) text: String,
}

pub(crate) fn read(root: &Path) -> Vec<SourceFile> {
    let mut files = Vec::new();
    walk(root, "", &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn walk(directory: &Path, prefix: &str, files: &mut Vec<SourceFile>) {
    for entry in fs::read_dir(directory).expect("a readable directory") {
        let entry = entry.expect("a readable entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().expect("an entry has a type");
        if kind.is_dir() {
            let hidden = name.starts_with('.') && name != ".ci";
            if !hidden && name != "target" {
                walk(&entry.path(), &format!("{path}/"), files);
            }
        } else if kind.is_file() && name != ".git" {
            let bytes = fs::read(entry.path()).expect("a readable file");
            let text = String::from_utf8_lossy(&bytes).into_owned();
            files.push(SourceFile { path, text });
        }
    }
}
