//! `airssys check`: everything that `up` checks, and nothing started.

use std::process::ExitCode;

use airssys_wasm::Loaded;
use airssys_wasm_actors::{
    Application, ApplicationSpec, Link, ResolveOptions, ResolvedComponent, Start,
};
use serde_json::{Value, json};

use super::hosting;
use crate::args::{Check, Format, Globals};
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;
use crate::text::{printable, size, time};

pub(super) fn run(globals: &Globals, check: &Check) -> Result<ExitCode, Failure> {
    let spec = ApplicationSpec::read(&check.manifest)?;
    let progress = Progress::new(globals.quiet);
    let engine = hosting::engine(None)?;
    let application = hosting::resolve(&spec, &engine, ResolveOptions::default(), &progress)?;
    drop(progress);
    match globals.format {
        Format::Text => output::print(&text(&application))?,
        Format::Json => output::print_json(&json(&application))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn links(component: &ResolvedComponent) -> &[Link] {
    match &component.child.start {
        Start::Component(start) => &start.links,
        _ => &[],
    }
}

fn text(application: &Application) -> String {
    let mut text = format!("{} is ready to start, in this order:\n", application.name());
    let started = application.components().iter().map(|one| (one, ""));
    let spawned = application.spawned().iter().map(|one| (one, "; spawned"));
    for (component, how) in started.chain(spawned) {
        let grants = match component.grants.join(", ") {
            granted if granted.is_empty() => "nothing granted".to_owned(),
            granted => format!("granted: {granted}"),
        };
        let loaded = match component.component.loaded() {
            Loaded::Compiled { took } => format!("compiled in {}", time(took)),
            Loaded::Cached { took } => format!("from the cache in {}", time(took)),
        };
        let bytes = size(component.component.size_bytes());
        text.push_str(&format!(
            "  {} ({bytes}, {loaded}; {grants}{how})\n",
            component.child.address
        ));
        for link in links(component) {
            text.push_str(&format!("    {} → {}\n", printable(&link.import), link.to));
        }
    }
    for (source, to) in application.sources() {
        text.push_str(&format!("  {source} → {to}\n"));
    }
    text
}

fn json(application: &Application) -> Value {
    let started = application.components().iter().map(|one| (one, false));
    let spawned = application.spawned().iter().map(|one| (one, true));
    let components = started.chain(spawned).map(|(component, spawned)| {
        let links = links(component)
            .iter()
            .map(|link| json!({ "import": link.import, "to": link.to.to_string() }));
        json!({
            "name": component.name,
            "address": component.child.address.to_string(),
            "file": component.file.display().to_string(),
            "digest": component.component.digest().to_string(),
            "size_bytes": component.component.size_bytes(),
            "grants": component.grants,
            "spawned": spawned,
            "links": links.collect::<Vec<_>>(),
        })
    });
    let sources = application
        .sources()
        .map(|(source, to)| json!({ "address": source.to_string(), "to": to.to_string() }))
        .collect::<Vec<_>>();
    json!({
        "ok": true,
        "application": application.name().to_string(),
        "components": components.collect::<Vec<_>>(),
        "sources": sources,
    })
}
