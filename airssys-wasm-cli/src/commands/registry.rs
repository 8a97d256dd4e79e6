//! `airssys registry`: the revisions there are, one of them, and the removal of what nothing needs.

use std::collections::BTreeSet;
use std::process::ExitCode;

use airssys_wasm_actors::suggest;
use airssys_wasm_console::api::{
    DependencyView, GcAnswer, InterfaceView, RevisionDetail, RevisionList, RevisionQuery,
};
use airssys_wasm_console::{ControlClient, ControlError};

use super::control::{ask, count, print, quoted};
use super::history::since;
use super::names;
use crate::args::{Globals, Registry, RegistryCommand, RegistryGc, RegistryList, RegistryShow};
use crate::failure::{Failure, FailureKind};
use crate::output;
use crate::table::{Narrow, Side, narrow_grid};
use crate::text::{printable, size};

/// Digits of a digest in a table: more than tell any two of a registry apart.
const DIGITS: usize = 12;

pub(super) fn run(globals: &Globals, registry: &Registry) -> Result<ExitCode, Failure> {
    match &registry.command {
        RegistryCommand::List(wanted) => list(globals, wanted),
        RegistryCommand::Show(wanted) => show(globals, wanted),
        RegistryCommand::Gc(wanted) => gc(globals, wanted),
    }
}

fn list(globals: &Globals, wanted: &RegistryList) -> Result<ExitCode, Failure> {
    let query = RevisionQuery {
        address: wanted.pattern.clone(),
        state: wanted.state.clone(),
        exports: wanted.exports.clone(),
        imports: wanted.imports.clone(),
        grant: wanted.grant.clone(),
        limit: Some(wanted.limit),
    };
    let list = ask(&wanted.target, async |client| {
        let list = client.revisions(&query).await?;
        match &wanted.pattern {
            Some(asked) if list.revisions.is_empty() && !names::is_pattern(asked) => {
                Ok(known(&client, asked).await?.map(|()| list))
            }
            _ => Ok(Ok(list)),
        }
    })?;
    print(globals, &list?, table)?;
    Ok(ExitCode::SUCCESS)
}

fn show(globals: &Globals, wanted: &RegistryShow) -> Result<ExitCode, Failure> {
    let detail = ask(&wanted.target, async |client| {
        let refused = match client.revision(&wanted.component, wanted.revision).await {
            Err(refused) if refused.kind() == "no-such-revision" => refused,
            detail => return detail.map(Ok),
        };
        match known(&client, &wanted.component).await? {
            Ok(()) => Err(refused),
            Err(nobody) => Ok(Err(nobody)),
        }
    })?;
    print(globals, &detail?, report)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether there are revisions of a component; if not, what could have been meant.
async fn known(client: &ControlClient, asked: &str) -> Result<Result<(), Failure>, ControlError> {
    let of_asked = RevisionQuery {
        address: Some(asked.to_owned()),
        limit: Some(1),
        ..RevisionQuery::default()
    };
    if !client.revisions(&of_asked).await?.revisions.is_empty() {
        return Ok(Ok(()));
    }
    let all = RevisionQuery {
        limit: Some(usize::MAX),
        ..RevisionQuery::default()
    };
    let all = client.revisions(&all).await?;
    let names: BTreeSet<_> = all
        .revisions
        .iter()
        .map(|one| one.component.as_str())
        .collect();
    let short = names.iter().filter_map(|name| name.split_once('/'));
    let hint = suggest(asked, "components", short.map(|(_, name)| name));
    let hint = match hint.starts_with("did you mean") {
        true => hint,
        false => suggest(asked, "components", names),
    };
    let what = format!("there is no component {} in the registry", quoted(asked));
    Ok(Err(Failure::new(FailureKind::Control, what)
        .detail("control", "no-such-component")
        .hint(hint)))
}

fn gc(globals: &Globals, wanted: &RegistryGc) -> Result<ExitCode, Failure> {
    let removed = ask(&wanted.target, async |client| client.collect().await)?;
    print(globals, &removed, removal)?;
    Ok(ExitCode::SUCCESS)
}

fn removal(removed: &GcAnswer) -> String {
    format!(
        "removed {}, {} and {} ({})\n",
        count(removed.revisions, "revision"),
        count(removed.deployments, "deployment"),
        count(removed.artifacts, "file"),
        size(removed.bytes),
    )
}

fn table(list: &RevisionList) -> String {
    if list.revisions.is_empty() {
        return "no revision is listed\n".to_owned();
    }
    let heads = [
        ("component", Side::Left),
        ("revision", Side::Right),
        ("state", Side::Left),
        ("version", Side::Left),
        ("digest", Side::Left),
        ("age", Side::Right),
        ("by", Side::Left),
        ("grants", Side::Left),
    ];
    let rows = list.revisions.iter().map(|revision| {
        vec![
            revision.component.clone(),
            revision.revision.to_string(),
            revision.states.join(", "),
            revision.version.clone().unwrap_or_else(|| "–".to_owned()),
            revision.digest.chars().take(DIGITS).collect(),
            since(revision.at_unix_ms),
            revision.by.clone(),
            revision.grants.join(", "),
        ]
    });
    let narrow = Narrow {
        key: "component",
        drop: &["by", "age", "version"],
    };
    let mut text = narrow_grid(&heads, rows.collect(), output::width(), narrow);
    if list.more {
        text.push_str("… and more: raise `--limit`, or say more closely which\n");
    }
    text
}

fn report(detail: &RevisionDetail) -> String {
    let revision = &detail.revision;
    let mut text = format!(
        "{} revision {}\n",
        printable(&revision.component),
        revision.revision
    );
    let rows = [
        ("state", revision.states.join(", ")),
        ("version", revision.version.clone().unwrap_or_default()),
        ("digest", revision.digest.clone()),
        ("grants", revision.grants.join(", ")),
        ("by", revision.by.clone()),
        ("why", revision.why.clone()),
        ("from", revision.source.clone()),
        ("age", since(revision.at_unix_ms)),
    ];
    for (name, value) in rows {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<8}  {}\n", printable(&value)));
        }
    }
    for (title, interfaces) in [("exports", &detail.exports), ("imports", &detail.imports)] {
        text.push_str(&functions(title, interfaces));
    }
    for (title, links) in [
        ("imports from", &detail.dependencies),
        ("imported by", &detail.dependents),
    ] {
        text.push_str(&linked(title, links));
    }
    if !detail.spec.is_empty() {
        text.push_str("  manifest\n");
        for line in detail.spec.lines() {
            text.push_str(&format!("    {}\n", printable(line)));
        }
    }
    text
}

fn functions(title: &str, interfaces: &[InterfaceView]) -> String {
    if interfaces.is_empty() {
        return String::new();
    }
    let mut text = format!("  {title}\n");
    for interface in interfaces {
        let name = match interface.name.as_str() {
            "" => "(root)",
            name => name,
        };
        text.push_str(&format!("    {}\n", printable(name)));
        for function in &interface.functions {
            text.push_str(&format!("      {}\n", printable(function)));
        }
    }
    text
}

fn linked(title: &str, links: &[DependencyView]) -> String {
    if links.is_empty() {
        return String::new();
    }
    let mut text = format!("  {title}\n");
    for link in links {
        let line = format!(
            "{} -> {}: {}, deployment {}{}",
            link.from,
            link.to,
            link.import,
            link.deployment,
            if link.trial { " (trial)" } else { "" }
        );
        text.push_str(&format!("    {}\n", printable(&line)));
    }
    text
}
