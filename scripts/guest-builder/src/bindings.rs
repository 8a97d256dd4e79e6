//! The Rust bindings of a guest's world, generated once and committed: building a guest then needs no macro
//! and no WIT tool. Pure but for reading WIT and writing one file a crate.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use wit_bindgen_core::{Files, WorldGenerator};

use crate::guests::{Guest, Guests};

/// Writes the bindings of every guest.
pub(crate) fn write(guests: &Guests) -> Result<()> {
    for guest in &guests.guests {
        let path = path(guest);
        let text = generate(guests, guest)?;
        if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            println!("{}", path.display());
        }
    }
    Ok(())
}

/// The guests whose committed bindings are not what the WIT makes, a line each.
pub(crate) fn stale(guests: &Guests) -> Result<Vec<String>> {
    let mut stale = Vec::new();
    for guest in &guests.guests {
        let path = path(guest);
        if fs::read_to_string(&path).ok() != Some(generate(guests, guest)?) {
            stale.push(format!("{}: not what the WIT makes", path.display()));
        }
    }
    Ok(stale)
}

fn path(guest: &Guest) -> PathBuf {
    guest.directory.join("src/bindings.rs")
}

fn generate(guests: &Guests, guest: &Guest) -> Result<String> {
    let (mut resolve, package) = guests.resolve()?;
    let world = guest.world(&resolve, package)?;
    let mut files = Files::default();
    wit_bindgen_rust::Opts {
        format: true,
        generate_all: true,
        ..Default::default()
    }
    .build()
    .generate(&mut resolve, world, &mut files)
    .with_context(|| format!("cannot make bindings for {}", guest.name))?;
    let (_, bindings) = files.iter().next().context("the generator wrote no file")?;
    Ok(format!(
        "//! Generated from the WIT world `{}` by `scripts/build-guests --bindings`. Not edited by hand.\n\
         #![allow(unused_imports, clippy::panic, clippy::unwrap_used, reason = \"generated\")]\n{}",
        guest.world,
        std::str::from_utf8(bindings)?
    ))
}
