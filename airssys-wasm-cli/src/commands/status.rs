//! `airssys status`: what a running application is doing, actor by actor.

use std::process::ExitCode;

use airssys_wasm_console::api::{
    self, AutoscaleView, CurrentDeployment, RolloutView, StatusQuery, WaitingView,
};

use super::history::since;
use super::{control, names};
use crate::args::{Globals, Status};
use crate::failure::Failure;
use crate::output;
use crate::table::{Narrow, Side, narrow_grid};
use crate::text::{ago, printable, size};

/// Counters that are mostly 0 go first.
const NARROW: Narrow<'_> = Narrow {
    key: "actor",
    drop: &[
        "bytes",
        "incarnation",
        "dead letters",
        "casts",
        "memory",
        "errors",
    ],
};

pub(super) fn run(globals: &Globals, status: &Status) -> Result<ExitCode, Failure> {
    let query = StatusQuery {
        address: status.pattern.clone(),
        limit: Some(status.limit),
        ..StatusQuery::default()
    };
    let answer = control::ask(&status.target, async |client| {
        let answer = client.status(&query).await?;
        let asked = match &query.address {
            Some(asked) if answer.actors.is_empty() && answer.actors_total > 0 => asked,
            _ => return Ok(Ok(answer)),
        };
        let address = match names::meant(&client, asked, async |_| Ok(false)).await? {
            Ok(address) => Some(address),
            Err(nobody) => return Ok(Err(nobody)),
        };
        client
            .status(&StatusQuery { address, ..query })
            .await
            .map(Ok)
    })?;
    control::print(globals, &answer?, text)?;
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
    if let Some(deployment) = &status.deployment {
        text.push_str(&deployed(deployment));
    }
    let scaled = status.actors.iter().any(|actor| actor.autoscale.is_some());
    let mut heads = vec![
        ("actor", Side::Left),
        ("state", Side::Left),
        ("incarnation", Side::Right),
        ("queued", Side::Right),
        ("bytes", Side::Right),
        ("memory", Side::Right),
        ("calls", Side::Right),
        ("errors", Side::Right),
        ("casts", Side::Right),
        ("dead letters", Side::Right),
        ("restarts", Side::Right),
    ];
    if scaled {
        heads.push(("replicas", Side::Left));
    }
    let rows = status.actors.iter().map(|actor| {
        let counters = &actor.counters;
        let mut row = vec![
            actor.address.clone(),
            actor.state.clone(),
            actor.incarnation.to_string(),
            actor.queued.to_string(),
            size(actor.queued_bytes),
            size(actor.memory_bytes),
            counters.calls.to_string(),
            counters.call_errors.to_string(),
            counters.casts.to_string(),
            counters.dead_letters.to_string(),
            counters.restarts.to_string(),
        ];
        if scaled {
            let autoscale = actor.autoscale.as_ref();
            row.push(autoscale.map(replicas).unwrap_or_default());
        }
        row
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        text.push_str("no actor is listed\n");
    } else {
        text.push_str(&narrow_grid(&heads, rows, output::width(), NARROW));
    }
    for actor in &status.actors {
        if let Some(last) = actor.autoscale.as_ref().and_then(|it| it.last.as_ref()) {
            let (address, last) = (printable(&actor.address), printable(last));
            text.push_str(&format!("autoscaled {address} {last}\n"));
        }
    }
    if status.more {
        text.push_str("… and more: raise `--limit`, or name a pattern\n");
    }
    text
}

/// How many replicas there are, and between which bounds that changes by itself.
pub(super) fn replicas(autoscale: &AutoscaleView) -> String {
    let AutoscaleView {
        replicas, min, max, ..
    } = autoscale;
    let paused = if autoscale.paused { ", paused" } else { "" };
    format!("{replicas} ({min}–{max}{paused})")
}

/// What is deployed, how far the newest rollout is, what is about to begin, and what waits; nothing where nothing was ever deployed.
fn deployed(current: &CurrentDeployment) -> String {
    let mut text = match current.number {
        Some(number) => format!("deployment {number}\n"),
        None if current.rollout.is_some() => "deployments are not recorded\n".to_owned(),
        None if current.waiting.is_empty() && current.preparing.is_none() => return String::new(),
        None => String::new(),
    };
    if let Some(rollout) = &current.rollout {
        text.push_str(&progress(rollout));
    }
    if let Some(preparing) = &current.preparing {
        text.push_str(&format!("preparing: {}\n", order(preparing)));
    }
    for waiting in &current.waiting {
        text.push_str(&format!("waiting: {}\n", order(waiting)));
    }
    text.push('\n');
    text
}

/// An order that waits, or has until now: `order 3, scale classify to 4, by ann, for 2 m: the evening`.
pub(super) fn order(waiting: &WaitingView) -> String {
    let WaitingView {
        order,
        what,
        by,
        why,
        ..
    } = waiting;
    let mut text = format!("order {order}, {}", printable(what));
    if !by.is_empty() {
        text.push_str(&format!(", by {}", printable(by)));
    }
    text.push_str(&format!(", for {}", since(waiting.since_unix_ms)));
    if !why.is_empty() {
        text.push_str(&format!(": {}", printable(why)));
    }
    text
}

/// Where a rollout stands, and each of its steps.
pub(super) fn progress(rollout: &RolloutView) -> String {
    let number = rollout.number.map(|number| format!(" {number}"));
    let mut text = format!(
        "rollout{}: {}{}{}\n",
        number.unwrap_or_default(),
        printable(rollout.state.as_deref().unwrap_or("preparing")),
        if rollout.paused { ", paused" } else { "" },
        match &rollout.end {
            Some(end) => match &end.reason {
                Some(reason) => format!(": {}", printable(reason)),
                None => String::new(),
            },
            None => ", under way".to_owned(),
        }
    );
    if let Some(held) = &rollout.held {
        text.push_str(&format!(
            "  held up, and every order that waits: {}\n",
            printable(held)
        ));
    }
    for step in &rollout.steps {
        let weight = step.weight.map(|parts| {
            let (whole, rest) = (parts / 100, parts % 100);
            match rest {
                0 => format!(", {whole}% of the traffic"),
                rest => format!(", {whole}.{rest:02}% of the traffic"),
            }
        });
        text.push_str(&format!(
            "  {}: {}{}\n",
            printable(&step.parts.join(", ")),
            printable(&step.state),
            weight.unwrap_or_default()
        ));
    }
    text
}

pub(super) fn bytes(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn current(rollout: serde_json::Value) -> CurrentDeployment {
        let json = json!({ "number": 1, "registry": true, "rollout": rollout });
        serde_json::from_value(json).unwrap()
    }

    fn rollout() -> serde_json::Value {
        json!({
            "number": 2, "by": "ann", "why": "", "began_unix_ms": 0, "state": "soaking", "paused": false,
            "steps": [], "end": null, "log": [],
        })
    }

    #[test]
    fn a_rollout_that_is_held_up_says_by_what() {
        let mut held = rollout();
        assert_eq!(
            deployed(&current(held.clone())),
            "deployment 1\nrollout 2: soaking, under way\n\n"
        );
        held["held"] = json!("it is not known\u{1b}");
        let text = deployed(&current(held));
        let says = "\n  held up, and every order that waits: it is not known\\u{1b}\n";
        assert!(text.contains(says), "{text}");
    }

    #[test]
    fn what_is_about_to_begin_is_listed_before_what_waits() {
        let order = |number: u64, what: &str| json!({ "order": number, "what": what, "by": "ann", "why": "", "since_unix_ms": 0 });
        let mut json = json!({ "number": null, "registry": false, "rollout": null });
        let none: CurrentDeployment = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(deployed(&none), "");
        json["preparing"] = order(3, "scale one to 2");
        json["waiting"] = json!([order(4, "rollback")]);
        let current: CurrentDeployment = serde_json::from_value(json).unwrap();
        let text = deployed(&current);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("preparing: order 3, scale one to 2, by ann, for "));
        assert!(lines[1].starts_with("waiting: order 4, rollback, by ann, for "));
    }
}
