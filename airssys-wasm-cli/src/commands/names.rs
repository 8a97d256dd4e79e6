//! Names of actors as people write them: whole, without the application's name, or wrong.
//!
//! Owns what is said of a name that nobody has. A pattern with stars may match nothing; a name is one of an actor, of a
//! replica or of a supervisor, or somebody is told that it is not.

use airssys_wasm_actors::suggest;
use airssys_wasm_console::api::{StatusQuery, SupervisorNode};
use airssys_wasm_console::{ControlClient, ControlError};

use super::control::quoted;
use crate::failure::{Failure, FailureKind};

/// The address that a name stands for, or what could have been meant.
pub(super) type Meant = Result<String, NobodyHas>;

/// A name that nobody has.
pub(super) struct NobodyHas {
    asked: String,
    hint: String,
}

impl From<NobodyHas> for Failure {
    fn from(nobody: NobodyHas) -> Self {
        let what = format!("there is no actor {}", quoted(&nobody.asked));
        Self::new(FailureKind::Control, what)
            .detail("control", "no-such-actor")
            .hint(nobody.hint)
    }
}

/// Whether it has stars, and so may match nothing.
pub(super) fn is_pattern(asked: &str) -> bool {
    asked.contains('*')
}

/// Which address is meant: one that `recorded` knows something of, or that somebody has now. As it is written, and then
/// below the application's.
pub(super) async fn meant(
    client: &ControlClient,
    asked: &str,
    recorded: impl AsyncFn(&str) -> Result<bool, ControlError>,
) -> Result<Meant, ControlError> {
    if is_pattern(asked) {
        return Ok(Ok(asked.to_owned()));
    }
    let whole = format!("{}/{asked}", client.status(&some(asked)).await?.application);
    for reading in [asked, whole.as_str()] {
        if recorded(reading).await? || !client.status(&some(reading)).await?.actors.is_empty() {
            return Ok(Ok(reading.to_owned()));
        }
    }
    let mut supervisors = Vec::new();
    for supervisor in &client.tree().await?.supervisors {
        add_supervisors(supervisor, &mut supervisors);
    }
    for reading in [asked, whole.as_str()] {
        if supervisors.iter().any(|name| name == reading) {
            return Ok(Ok(reading.to_owned()));
        }
    }
    let all = StatusQuery {
        limit: Some(usize::MAX),
        ..StatusQuery::default()
    };
    let all = client.status(&all).await?;
    // Nobody is there while components are loaded.
    if all.actors_total == 0 {
        return Ok(Ok(asked.to_owned()));
    }
    let names = || all.actors.iter().map(|actor| actor.address.as_str());
    let hint = suggest(asked, "actors", names());
    let hint = match hint.starts_with("did you mean") {
        true => hint,
        false => suggest(&whole, "actors", names()),
    };
    let asked = asked.to_owned();
    Ok(Err(NobodyHas { asked, hint }))
}

/// Whether anybody has the name, or one below it.
fn some(address: &str) -> StatusQuery {
    StatusQuery {
        address: Some(address.to_owned()),
        limit: Some(1),
        ..StatusQuery::default()
    }
}

fn add_supervisors(node: &SupervisorNode, names: &mut Vec<String>) {
    names.push(node.address.clone());
    let below = node.children.iter();
    for supervisor in below.filter_map(|child| child.supervisor.as_ref()) {
        add_supervisors(supervisor, names);
    }
}
