//! `airssys history`: the deployments of a running application.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use airssys_wasm_console::api::{DeploymentList, DeploymentView, HistoryQuery};

use super::control::{ask, print};
use crate::args::{Globals, History};
use crate::failure::Failure;
use crate::output;
use crate::table::{Side, grid};
use crate::text::ago;

pub(super) fn run(globals: &Globals, history: &History) -> Result<ExitCode, Failure> {
    let query = HistoryQuery {
        limit: Some(history.limit),
    };
    let list = ask(&history.target, async |client| {
        client.deployments(&query).await
    })?;
    print(globals, &list, table)?;
    Ok(ExitCode::SUCCESS)
}

fn table(list: &DeploymentList) -> String {
    if list.deployments.is_empty() && list.permanent.is_none() {
        return "nothing has been deployed\n".to_owned();
    }
    let heads = [
        ("number", Side::Right),
        ("age", Side::Right),
        ("state", Side::Left),
        ("by", Side::Left),
        ("why", Side::Left),
        ("revisions", Side::Left),
    ];
    let rows = list.deployments.iter().map(|one| {
        let number = one.number.map(|number| number.to_string());
        vec![
            number.unwrap_or_else(|| "–".to_owned()),
            since(one.at_unix_ms),
            state(list, one),
            one.by.clone(),
            one.why.clone(),
            revisions(&list.application, one),
        ]
    });
    let mut text = grid(&heads, rows.collect(), output::width());
    if !list.registry {
        text.push_str("not recorded: start the host with `--state DIR`\n");
    }
    text
}

/// The last thing that a journal says, where it says why.
fn state(list: &DeploymentList, one: &DeploymentView) -> String {
    let number = one.number;
    let runs = number.is_some() && number == list.permanent;
    let back = number.is_some() && number == list.rollback_target;
    let mut text = one.state.clone();
    if runs {
        text.push_str(", boots");
    } else if back {
        text.push_str(", rollback target");
    }
    text
}

/// `parse 2 (1.4.0), classify 1`.
fn revisions(application: &str, one: &DeploymentView) -> String {
    let below = format!("{application}/");
    let names = one.components.iter().map(|(address, revision)| {
        let name = address.strip_prefix(&below).unwrap_or(address);
        match one.versions.get(address) {
            Some(version) => format!("{name} {revision} ({version})"),
            None => format!("{name} {revision}"),
        }
    });
    names.collect::<Vec<_>>().join(", ")
}

/// How long ago that was.
pub(super) fn since(at_unix_ms: u64) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at_unix_ms);
    let age = SystemTime::now().duration_since(at).unwrap_or_default();
    ago(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}
