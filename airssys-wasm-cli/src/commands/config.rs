//! `airssys config`: what components are configured with, and changes of it while they run.

use std::collections::BTreeMap;
use std::process::ExitCode;

use airssys_wasm_console::api::{ConfigList, ConfigQuery, ConfigRequest};

use super::control::{ask, print};
use super::deploy::{Follow, user};
use crate::args::{Changing, Config, ConfigCommand, ConfigSet, ConfigShow, Globals};
use crate::failure::{Failure, FailureKind};
use crate::output;
use crate::table::{Side, grid};
use crate::text::printable;

pub(super) fn run(globals: &Globals, config: &Config) -> Result<ExitCode, Failure> {
    match &config.command {
        ConfigCommand::Show(wanted) => show(globals, wanted),
        ConfigCommand::Set(set) => {
            let request = ConfigRequest {
                component: Some(set.component.clone()),
                set: pairs(set)?,
                ..ConfigRequest::default()
            };
            change(globals, &set.changing, request)
        }
        ConfigCommand::Unset(unset) => {
            let request = ConfigRequest {
                component: Some(unset.component.clone()),
                unset: unset.keys.iter().cloned().collect(),
                ..ConfigRequest::default()
            };
            change(globals, &unset.changing, request)
        }
        ConfigCommand::Reload(reload) => {
            let request = ConfigRequest {
                component: reload.component.clone(),
                reload: true,
                ..ConfigRequest::default()
            };
            change(globals, &reload.changing, request)
        }
    }
}

/// A value may have a `=` in it; a key may not. Each key is said once: which of two values counts is not guessed.
fn pairs(set: &ConfigSet) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => {
            let what = format!("`{}` is no `KEY=VALUE`", printable(text));
            let hint = format!(
                "write `{}=VALUE`, or take it back with `config unset`",
                printable(text)
            );
            Err(Failure::new(FailureKind::Usage, what).hint(hint))
        }
    };
    let mut values = BTreeMap::new();
    for text in &set.values {
        let (key, value) = pair(text)?;
        if values.contains_key(&key) {
            let what = format!("`{}` is to be set twice", printable(&key));
            let failure = Failure::new(FailureKind::Usage, what);
            return Err(failure.hint("say each key once; nothing was set"));
        }
        values.insert(key, value);
    }
    Ok(values)
}

fn show(globals: &Globals, wanted: &ConfigShow) -> Result<ExitCode, Failure> {
    let query = ConfigQuery {
        component: wanted.component.clone(),
        values: wanted.values,
    };
    let list = ask(&wanted.target, async |client| client.config(&query).await)?;
    print(globals, &list, |list| table(list, wanted.values))?;
    Ok(ExitCode::SUCCESS)
}

fn table(list: &ConfigList, values: bool) -> String {
    let mut rows = Vec::new();
    for one in &list.components {
        for key in &one.keys {
            let mut row = vec![
                printable(&one.component),
                printable(&key.key),
                key.layer.clone(),
            ];
            if values {
                let value = key.value.as_deref().map(printable);
                row.push(value.unwrap_or_else(|| "(not shown)".to_owned()));
            }
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return "nothing is configured\n".to_owned();
    }
    let mut heads = vec![
        ("COMPONENT", Side::Left),
        ("KEY", Side::Left),
        ("LAYER", Side::Left),
    ];
    if values {
        heads.push(("VALUE", Side::Left));
    }
    grid(&heads, rows, output::width())
}

fn change(
    globals: &Globals,
    changing: &Changing,
    request: ConfigRequest,
) -> Result<ExitCode, Failure> {
    let request = ConfigRequest {
        by: user(),
        why: changing.why.clone().unwrap_or_default(),
        queue: changing.queue,
        plan_only: changing.plan,
        ..request
    };
    let follow = Follow::new(globals, false);
    let answer = follow.ask(&changing.target, async |client| {
        let begun = client.configure(&request).await?;
        follow.to_the_end(&client, begun).await
    })?;
    follow.ended(answer)
}
