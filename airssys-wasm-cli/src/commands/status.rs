//! `airssys status`: what a running application is doing, actor by actor.

use std::process::ExitCode;

use airssys_wasm_console::api::{self, StatusQuery};

use super::control;
use crate::args::{Globals, Status};
use crate::failure::Failure;
use crate::output;
use crate::table::{Side, grid};
use crate::text::{ago, printable, size};

pub(super) fn run(globals: &Globals, status: &Status) -> Result<ExitCode, Failure> {
    let query = StatusQuery {
        address: status.pattern.clone(),
        limit: Some(status.limit),
        ..StatusQuery::default()
    };
    let answer = control::ask(&status.target, async |client| client.status(&query).await)?;
    control::print(globals, &answer, text)?;
    Ok(ExitCode::SUCCESS)
}

fn text(status: &api::Status) -> String {
    let counters = &status.counters;
    let mut text = format!(
        "{}: {}, up {}, process {}, airssys {}\n\n",
        printable(&status.application),
        status.phase.as_str(),
        ago(status.uptime_ms),
        status.pid,
        printable(&status.airssys),
    );
    // They are counted one after the other while messages go on.
    let calls = counters.replies + counters.call_errors + counters.calls_abandoned;
    text.push_str(&format!(
        "calls  {} = {} replies + {} errors + {} abandoned + {} under way\n",
        counters.calls,
        counters.replies,
        counters.call_errors,
        counters.calls_abandoned,
        counters.calls.saturating_sub(calls)
    ));
    let casts = counters.casts_handled + counters.dead_letters;
    text.push_str(&format!(
        "casts  {} = {} handled + {} dead letters + {} under way\n",
        counters.casts,
        counters.casts_handled,
        counters.dead_letters,
        counters.casts.saturating_sub(casts)
    ));
    text.push_str(&format!(
        "{}, restarts: {}, {} kept ({})\n\n",
        control::count(status.actors_total, "actor"),
        counters.restarts,
        control::count(status.dead_letters_kept, "dead letter"),
        size(bytes(status.dead_letters_bytes)),
    ));
    let heads = [
        ("actor", Side::Left),
        ("state", Side::Left),
        ("incarnation", Side::Right),
        ("queued", Side::Right),
        ("bytes", Side::Right),
        ("calls", Side::Right),
        ("errors", Side::Right),
        ("casts", Side::Right),
        ("dead letters", Side::Right),
        ("restarts", Side::Right),
    ];
    let rows = status.actors.iter().map(|actor| {
        let counters = &actor.counters;
        vec![
            actor.address.clone(),
            actor.state.clone(),
            actor.incarnation.to_string(),
            actor.queued.to_string(),
            size(actor.queued_bytes),
            counters.calls.to_string(),
            counters.call_errors.to_string(),
            counters.casts.to_string(),
            counters.dead_letters.to_string(),
            counters.restarts.to_string(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        text.push_str("no actor is listed\n");
    } else {
        text.push_str(&grid(&heads, rows, output::width()));
    }
    if status.more {
        text.push_str("… and more: raise `--limit`, or name a pattern\n");
    }
    text
}

pub(super) fn bytes(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
