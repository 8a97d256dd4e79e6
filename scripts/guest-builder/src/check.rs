//! Do source and committed components agree? The digests always; the bytes where the recorded tools are the
//! ones at hand; the surface where they are not.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::compile::{Toolchain, compile, surface};
use crate::guests::Guests;
use crate::record::{self, digest, source_digest};

/// What disagrees, a line each. Says on standard output what it could compare, and what it could not.
pub(crate) fn check(guests: &Guests, root: &Path, no_install: bool) -> Result<Vec<String>> {
    let record = record::read(guests)?;
    let place = guests
        .directory
        .strip_prefix(root)
        .unwrap_or(&guests.directory)
        .display();
    let mut wrong = Vec::new();
    if record.source != source_digest(guests)? {
        wrong.push(format!(
            "{place}: the source has changed since the components were built"
        ));
    }
    for name in record.components.keys() {
        if !guests.names().any(|guest| guest == name) {
            wrong.push(format!("{place}: {name} is recorded, but has no source"));
        }
    }
    let mut committed = Vec::new();
    for name in guests.names() {
        let path = guests.component_path(name);
        match (fs::read(&path), record.components.get(name)) {
            (Ok(bytes), Some(recorded)) if digest(&bytes) == recorded.sha256 => {
                committed.push((name, bytes))
            }
            (Ok(_), Some(_)) => wrong.push(format!(
                "{}: not the file that was recorded",
                path.display()
            )),
            (Ok(_), None) => wrong.push(format!("{}: not recorded", path.display())),
            (Err(error), _) => wrong.push(format!("{}: {error}", path.display())),
        }
    }
    // Building could only repeat what is known already.
    if !wrong.is_empty() {
        return Ok(wrong);
    }

    let Some(toolchain) = Toolchain::find(root, no_install)? else {
        println!(
            "{place}: digests of source and components agree; not rebuilt, for want of a wasm toolchain"
        );
        return Ok(wrong);
    };
    let built = compile(guests, &toolchain)?;
    let same_tools = toolchain.versions == record.versions;
    for ((name, bytes), built) in committed.iter().zip(&built) {
        let path = guests.component_path(name);
        if same_tools {
            if *bytes != built.bytes {
                wrong.push(format!(
                    "{}: the same tools build other bytes from this source",
                    path.display()
                ));
            }
        } else if surface(bytes)? != surface(&built.bytes)? {
            wrong.push(format!(
                "{}: this source builds a component with other imports or exports",
                path.display()
            ));
        }
    }
    if wrong.is_empty() {
        let count = built.len();
        if same_tools {
            println!("{place}: {count} components rebuilt, byte for byte the same");
        } else {
            println!(
                "{place}: {count} components rebuilt with other tools than the recorded ones; imports and exports \
                 agree, bytes are not comparable"
            );
        }
    }
    Ok(wrong)
}
