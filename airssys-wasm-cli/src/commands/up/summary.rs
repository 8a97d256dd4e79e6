//! The report of an application, for people and for programs.

use std::time::Duration;

use airssys_wasm::to_json;
use airssys_wasm_actors::{ActorAddress, ReasonGroup, Report, ReportTable};
use serde_json::{Map, Value, json};

use crate::table;
use crate::text::{printable, time};

/// Messages shown of each kind of failure.
const MESSAGES_SHOWN: usize = 3;

/// What is known when all has been stopped.
pub(super) struct End<'a> {
    /// From the start of the command until it was finished.
    pub(super) took: Duration,
    /// What did not stop in time.
    pub(super) overdue: &'a [ActorAddress],
}

pub(super) fn text(name: &str, description: &str, report: &Report, end: &End<'_>) -> String {
    let mut text = match description {
        "" => format!("{name}\n\n"),
        description => format!("{name}: {}\n\n", printable(description)),
    };
    for table in &report.tables {
        text.push_str(&table::render(table));
        text.push('\n');
    }
    text.push_str(&table::counts(&[
        ("events in", report.counts.events_in.to_string()),
        ("counted", report.counted.to_string()),
        ("rejected", report.counts.rejected.to_string()),
        ("failed", report.counts.failed.to_string()),
        ("restarts", report.restarts.to_string()),
        ("dead letters", report.dead_letters.to_string()),
        ("time", time(end.took)),
    ]));
    for (address, restarts) in &report.restarted {
        text.push_str(&format!("\n{address} was restarted {}\n", times(*restarts)));
    }
    for address in end.overdue {
        text.push_str(&format!(
            "\n{address} did not stop in time, and was killed\n"
        ));
    }
    reasons(&mut text, "rejected", &report.counts.rejections);
    reasons(&mut text, "failed", &report.counts.failures);
    text
}

fn times(count: u64) -> String {
    if count == 1 {
        "once".to_owned()
    } else {
        format!("{count} times")
    }
}

fn reasons(text: &mut String, outcome: &str, groups: &[ReasonGroup]) {
    for group in groups {
        text.push_str(&format!(
            "\n{} {outcome} ({}):\n",
            group.count,
            printable(&group.kind)
        ));
        let mut shown = 0;
        for message in group.messages.iter().take(MESSAGES_SHOWN) {
            let first = message.first_item;
            let items = if message.count == 1 {
                format!("item {first}")
            } else {
                format!("first item {first}")
            };
            text.push_str(&format!(
                "  {} × {} ({items})\n",
                message.count,
                printable(&message.message)
            ));
            shown += message.count;
        }
        if shown < group.count {
            text.push_str(&format!("  {} × other reasons\n", group.count - shown));
        }
    }
}

pub(super) fn names(addresses: &[ActorAddress]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

pub(super) fn json(name: &str, report: &Report, end: &End<'_>) -> Value {
    let restarted: Map<String, Value> = report
        .restarted
        .iter()
        .map(|(address, restarts)| (address.to_string(), (*restarts).into()))
        .collect();
    let sources: Map<String, Value> = report
        .sources
        .iter()
        .map(|(address, counts)| {
            let of_one = json!({
                "events_in": counts.events_in,
                "ok": counts.ok,
                "rejected": counts.rejected,
                "failed": counts.failed,
            });
            (address.to_string(), of_one)
        })
        .collect();
    json!({
        "application": name,
        "events_in": report.counts.events_in,
        "counted": report.counted,
        "rejected": report.counts.rejected,
        "failed": report.counts.failed,
        "restarts": report.restarts,
        "dead_letters": report.dead_letters,
        "accounted": report.balances(),
        "elapsed_ms": u64::try_from(end.took.as_millis()).unwrap_or(u64::MAX),
        "restarted": restarted,
        "overdue": names(end.overdue),
        "rejections": report.counts.rejections,
        "failures": report.counts.failures,
        "sources": sources,
        "tables": report.tables.iter().map(rows).collect::<Vec<_>>(),
    })
}

fn rows(table: &ReportTable) -> Value {
    let rows = table.rows.iter().map(|row| {
        let fields = table.columns.iter().zip(row);
        fields
            .map(|((name, ty), value)| (name.clone(), to_json(value, ty)))
            .collect::<Map<_, _>>()
    });
    let columns: Vec<_> = table
        .columns
        .iter()
        .map(|(name, ty)| json!({ "name": name, "type": ty.to_string() }))
        .collect();
    json!({ "title": table.title, "columns": columns, "rows": rows.collect::<Vec<_>>() })
}
