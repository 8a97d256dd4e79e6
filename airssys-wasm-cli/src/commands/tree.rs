//! `airssys tree`: the supervisors of a running application and their children.

use std::process::ExitCode;

use airssys_wasm_console::api::{self, ChildNode, SupervisorNode};

use super::control;
use super::status::replicas;
use crate::args::{Globals, Tree};
use crate::failure::Failure;
use crate::text::{ago, printable, size};

pub(super) fn run(globals: &Globals, tree: &Tree) -> Result<ExitCode, Failure> {
    let answer = control::ask(&tree.target, async |client| client.tree().await)?;
    control::print(globals, &answer, text)?;
    Ok(ExitCode::SUCCESS)
}

fn text(tree: &api::Tree) -> String {
    let mut text = format!(
        "{} ({})\n",
        printable(&tree.application),
        tree.phase.as_str()
    );
    // The system's own has no children unless somebody embeds a host: nobody wants to see it empty.
    let supervisors = tree.supervisors.iter();
    let shown: Vec<_> = supervisors.filter(|one| !one.children.is_empty()).collect();
    for (at, supervisor) in shown.iter().enumerate() {
        let last = at + 1 == shown.len();
        text.push_str(&format!("{}{}\n", branch(last), one(supervisor)));
        below(&mut text, supervisor, under(last));
    }
    text
}

/// The children of a supervisor, each line behind `indent`.
fn below(text: &mut String, supervisor: &SupervisorNode, indent: &str) {
    for (at, child) in supervisor.children.iter().enumerate() {
        let last = at + 1 == supervisor.children.len();
        text.push_str(&format!("{indent}{}{}\n", branch(last), leaf(child)));
        if let Some(nested) = &child.supervisor {
            below(text, nested, &format!("{indent}{}", under(last)));
        }
    }
}

const fn under(last: bool) -> &'static str {
    if last { "   " } else { "│  " }
}

const fn branch(last: bool) -> &'static str {
    if last { "└─ " } else { "├─ " }
}

fn one(supervisor: &SupervisorNode) -> String {
    format!(
        "{} supervisor, {}, {} restarts within {}",
        printable(&supervisor.address),
        printable(&supervisor.strategy),
        supervisor.restarts_max,
        ago(supervisor.within_ms),
    )
}

fn leaf(child: &ChildNode) -> String {
    if let Some(supervisor) = &child.supervisor {
        let mut text = format!(
            "{}, {}, {}",
            one(supervisor),
            printable(&child.state),
            printable(&child.restart)
        );
        if supervisor.restarts > 0 {
            text.push_str(&format!(
                ", restarts: {} (incarnation {})",
                supervisor.restarts, supervisor.incarnation
            ));
        }
        return text;
    }
    let Some(actor) = &child.actor else {
        return printable(&child.kind).to_string();
    };
    let state = match child.state.as_str() {
        // It may be a passive one; the actor's own word is the finer one.
        "running" => &actor.state,
        state => state,
    };
    let mut text = format!(
        "{} {}, {}, {}",
        printable(&actor.address),
        printable(state),
        printable(&child.kind),
        printable(&child.restart),
    );
    if actor.counters.restarts > 0 {
        text.push_str(&format!(
            ", restarts: {} (incarnation {})",
            actor.counters.restarts, actor.incarnation
        ));
    }
    if actor.memory_bytes > 0 {
        text.push_str(&format!(", memory: {}", size(actor.memory_bytes)));
    }
    if let Some(autoscale) = &child.autoscale {
        text.push_str(&format!(", replicas: {}", replicas(autoscale)));
    }
    if actor.queued > 0 {
        text.push_str(&format!(
            ", queued: {} ({})",
            actor.queued,
            size(actor.queued_bytes)
        ));
    }
    text
}
