//! `airssys crashes`: what is known of the actors that crashed, to list and show.

use std::process::ExitCode;

use airssys_wasm_console::api::{
    CrashDetail, CrashList, CrashQuery, FrameView, MessageView, SpentView,
};

use super::control::{ask, print};
use super::names;
use super::status::bytes;
use crate::args::{Crashes, CrashesCommand, Globals, ListCrashes, ShowCrash};
use crate::failure::Failure;
use crate::output;
use crate::table::{Narrow, Side, narrow_grid};
use crate::text::{ago, printable, size};

pub(super) fn run(globals: &Globals, crashes: &Crashes) -> Result<ExitCode, Failure> {
    match &crashes.command {
        None => list(globals, &crashes.list),
        Some(CrashesCommand::Show(wanted)) => show(globals, wanted),
    }
}

fn list(globals: &Globals, wanted: &ListCrashes) -> Result<ExitCode, Failure> {
    let mut query = CrashQuery {
        address: wanted.pattern.clone(),
        after: wanted.after,
        limit: wanted.limit,
    };
    let answer = ask(&wanted.target, async |client| {
        if let Some(asked) = &wanted.pattern {
            let recorded = async |address: &str| {
                let of_address = CrashQuery {
                    address: Some(address.to_owned()),
                    limit: Some(1),
                    ..CrashQuery::default()
                };
                Ok(!client.crashes(&of_address).await?.crashes.is_empty())
            };
            match names::meant(&client, asked, recorded).await? {
                Ok(address) => query.address = Some(address),
                Err(nobody) => return Ok(Err(nobody)),
            }
        }
        client.crashes(&query).await.map(Ok)
    })?;
    print(globals, &answer?, table)?;
    Ok(ExitCode::SUCCESS)
}

fn show(globals: &Globals, wanted: &ShowCrash) -> Result<ExitCode, Failure> {
    let answer = ask(&wanted.target, async |client| {
        client.crash(wanted.sequence).await
    })?;
    print(globals, &answer, report)?;
    Ok(ExitCode::SUCCESS)
}

fn table(list: &CrashList) -> String {
    let summary = format!(
        "{} of {} kept ({}); {} ever, {} dropped\n",
        list.crashes.len(),
        list.kept,
        size(bytes(list.kept_bytes)),
        list.total,
        list.dropped,
    );
    if list.crashes.is_empty() {
        return summary;
    }
    let heads = [
        ("number", Side::Right),
        ("age", Side::Right),
        ("actor", Side::Left),
        ("incarnation", Side::Right),
        ("up", Side::Right),
        ("reason", Side::Left),
        ("at", Side::Left),
    ];
    let rows = list.crashes.iter().map(|crash| {
        vec![
            crash.sequence.to_string(),
            ago(crash.age_ms),
            crash.address.clone(),
            crash.incarnation.to_string(),
            ago(crash.up_ms),
            crash.kind.clone(),
            crash.at.clone().unwrap_or_default(),
        ]
    });
    let narrow = Narrow {
        key: "actor",
        drop: &["incarnation", "up"],
    };
    let mut text = narrow_grid(&heads, rows.collect(), output::width(), narrow);
    text.push_str(&summary);
    text
}

fn report(detail: &CrashDetail) -> String {
    let crash = &detail.crash;
    let mut text = format!("crash {}\n", crash.sequence);
    let up = match crash.starting {
        true => format!("{}, while it was starting", ago(crash.up_ms)),
        false => ago(crash.up_ms),
    };
    let rows = [
        ("actor", crash.address.clone()),
        ("incarnation", crash.incarnation.to_string()),
        ("age", ago(crash.age_ms)),
        ("up", up),
        ("reason", crash.kind.clone()),
        // Some kinds say it all.
        (
            "",
            Some(crash.message.clone())
                .filter(|message| *message != crash.kind)
                .unwrap_or_default(),
        ),
        ("fault", crash.fault.clone().unwrap_or_default()),
        ("restarts", crash.restarts.to_string()),
        ("supervisor", crash.supervisor.clone()),
    ];
    for (name, value) in rows {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<15}  {}\n", printable(&value)));
        }
    }
    if let Some(spent) = &detail.spent {
        text.push_str(&used(spent));
    }
    if !detail.backtrace.is_empty() {
        text.push_str("  backtrace\n");
        for (number, frame) in detail.backtrace.iter().enumerate() {
            text.push_str(&format!("    {number:>2}  {}\n", printable(&place(frame))));
        }
    }
    if !detail.recent.is_empty() {
        text.push_str("  last messages\n");
        for message in &detail.recent {
            text.push_str(&format!("    {}\n", printable(&header(message))));
        }
    }
    text
}

fn used(spent: &SpentView) -> String {
    let rows = [
        (
            "memory",
            format!(
                "{} of {}",
                size(spent.memory_bytes),
                size(spent.memory_bytes_max)
            ),
        ),
        (
            "table elements",
            format!("{} of {}", spent.table_elements, spent.table_elements_max),
        ),
        (
            "cpu of the call",
            format!("{} of {}", ago(spent.cpu_ms), ago(spent.cpu_per_call_ms)),
        ),
    ];
    rows.iter()
        .map(|(name, value)| format!("  {name:<15}  {value}\n"))
        .collect()
}

fn place(frame: &FrameView) -> String {
    let mut text = frame.function.clone();
    if let (Some(file), Some(line)) = (&frame.file, frame.line) {
        text.push_str(&format!(" at {file}:{line}"));
        if let Some(column) = frame.column {
            text.push_str(&format!(":{column}"));
        }
    }
    text
}

fn header(message: &MessageView) -> String {
    let sender = match (&message.sender, message.by_host) {
        (Some(sender), _) => sender,
        (None, true) => "the host",
        (None, false) => "an actor that is gone",
    };
    let kind = if message.cast { "cast" } else { "call" };
    format!(
        "{} before: {kind} of {} from {sender}, {}: {}",
        ago(message.before_ms),
        message.function,
        size(message.bytes),
        message.outcome,
    )
}
