//! `airssys dead-letters`: what nobody handled, to list, show, send again and throw away.
//!
//! Owns how letters are chosen on a command line: by number, by conditions, or all of them, and never by saying
//! nothing.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use airssys_wasm_console::api::{
    DeadLetterDetail, DeadLetterList, DeadLetterQuery, DeadLetterView, PurgeRequest, ReplayAnswer,
    ReplayRequest, Selection,
};
use airssys_wasm_console::{ControlClient, ControlError};

use super::control::{ask, count, print};
use super::names::{self, NobodyHas};
use super::status::bytes;
use crate::args::{
    Chosen, DeadLetters, Globals, LetterFilter, LettersCommand, ListLetters, PurgeLetters,
    ReplayLetters, ShowLetter,
};
use crate::failure::{Failure, FailureKind};
use crate::output;
use crate::table::{Narrow, Side, counts, narrow_grid};
use crate::text::{ago, printable, size};

pub(super) fn run(globals: &Globals, letters: &DeadLetters) -> Result<ExitCode, Failure> {
    match &letters.command {
        None => list(globals, &letters.list),
        Some(LettersCommand::List(wanted)) => list(globals, wanted),
        Some(LettersCommand::Show(wanted)) => show(globals, wanted),
        Some(LettersCommand::Replay(wanted)) => replay(globals, wanted),
        Some(LettersCommand::Purge(wanted)) => purge(globals, wanted),
    }
}

fn list(globals: &Globals, wanted: &ListLetters) -> Result<ExitCode, Failure> {
    let mut query = query(&wanted.filter);
    let answer = ask(&wanted.target, async |client| {
        match named(&client, &mut query).await? {
            Ok(()) => client.dead_letters(&query).await.map(Ok),
            Err(nobody) => Ok(Err(nobody)),
        }
    })?;
    print(globals, &answer?, table)?;
    Ok(ExitCode::SUCCESS)
}

fn show(globals: &Globals, wanted: &ShowLetter) -> Result<ExitCode, Failure> {
    let answer = ask(&wanted.target, async |client| {
        client.dead_letter(wanted.sequence).await
    })?;
    print(globals, &answer, letter)?;
    Ok(ExitCode::SUCCESS)
}

fn replay(globals: &Globals, wanted: &ReplayLetters) -> Result<ExitCode, Failure> {
    let mut request = ReplayRequest {
        select: selection(&wanted.chosen, "replay")?,
        force: wanted.force,
    };
    let answer = ask(&wanted.target, async |client| {
        match named_in(&client, &mut request.select).await? {
            Ok(()) => client.replay(&request).await.map(Ok),
            Err(nobody) => Ok(Err(nobody)),
        }
    })??;
    print(globals, &answer, replayed)?;
    if answer.refused.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let all = answer.refused.len() + answer.accepted.len();
    let refused = answer.refused.len();
    let were = if refused == 1 { "was" } else { "were" };
    let what = format!(
        "{refused} of {} {were} not sent again",
        count(all, "letter")
    );
    Err(Failure::new(FailureKind::Control, what)
        .detail("control", "not-replayed")
        .detail("refused", refused))
}

fn purge(globals: &Globals, wanted: &PurgeLetters) -> Result<ExitCode, Failure> {
    let mut request = PurgeRequest {
        select: selection(&wanted.chosen, "purge")?,
    };
    let answer = ask(&wanted.target, async |client| {
        match named_in(&client, &mut request.select).await? {
            Ok(()) => client.purge(&request).await.map(Ok),
            Err(nobody) => Ok(Err(nobody)),
        }
    })??;
    print(globals, &answer, |answer| {
        let mut text = format!("{} thrown away\n", count(answer.purged, "letter"));
        if answer.under_way > 0 {
            let kept = count(answer.under_way, "letter");
            text.push_str(&format!("{kept} kept: sent again, and not handled yet\n"));
        }
        text
    })?;
    let Selection::Sequences(asked) = &request.select else {
        return Ok(ExitCode::SUCCESS);
    };
    let asked: BTreeSet<_> = asked.iter().collect();
    match asked.len().saturating_sub(answer.purged + answer.under_way) {
        0 => Ok(ExitCode::SUCCESS),
        gone => {
            let all = count(asked.len(), "letter");
            let are = if gone == 1 { "is" } else { "are" };
            let what = format!("{gone} of {all} {are} not there");
            Err(Failure::new(FailureKind::Control, what)
                .detail("control", "no-such-letter")
                .hint("`airssys dead-letters` lists them; what is not there was handled, purged, or forgotten for newer ones"))
        }
    }
}

fn query(filter: &LetterFilter) -> DeadLetterQuery {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    DeadLetterQuery {
        address: filter.actor.clone(),
        reason: filter.reason.clone(),
        older_than_ms: filter.older_than.map(millis),
        newer_than_ms: filter.newer_than.map(millis),
        poison: filter.poison.then_some(true),
        limit: filter.limit,
    }
}

/// Puts the whole address in the place of a name. One that nobody has, and no letter is for, is told.
async fn named(
    client: &ControlClient,
    query: &mut DeadLetterQuery,
) -> Result<Result<(), NobodyHas>, ControlError> {
    let Some(asked) = &query.address else {
        return Ok(Ok(()));
    };
    let recorded = async |address: &str| {
        let of_address = DeadLetterQuery {
            address: Some(address.to_owned()),
            limit: Some(1),
            ..DeadLetterQuery::default()
        };
        Ok(!client.dead_letters(&of_address).await?.letters.is_empty())
    };
    let meant = names::meant(client, asked, recorded).await?;
    Ok(meant.map(|address| query.address = Some(address)))
}

async fn named_in(
    client: &ControlClient,
    select: &mut Selection,
) -> Result<Result<(), NobodyHas>, ControlError> {
    match select {
        Selection::Filter(query) => named(client, query).await,
        _ => Ok(Ok(())),
    }
}

fn selection(chosen: &Chosen, verb: &str) -> Result<Selection, Failure> {
    if !chosen.sequences.is_empty() {
        return Ok(Selection::Sequences(chosen.sequences.clone()));
    }
    let query = query(&chosen.filter);
    if chosen.all || query != DeadLetterQuery::default() {
        return Ok(Selection::Filter(query));
    }
    Err(
        Failure::new(FailureKind::Usage, format!("{verb}: which letters?"))
            .hint("name their numbers, conditions such as `--actor PATTERN`, or `--all`"),
    )
}

fn table(list: &DeadLetterList) -> String {
    let summary = format!(
        "{} of {} kept ({}); {} ever\n",
        list.letters.len(),
        list.kept,
        size(bytes(list.kept_bytes)),
        list.total,
    );
    if list.letters.is_empty() {
        return summary;
    }
    let heads = [
        ("number", Side::Right),
        ("age", Side::Right),
        ("for", Side::Left),
        ("function", Side::Left),
        ("reason", Side::Left),
        ("sent", Side::Right),
        ("deaths", Side::Right),
        ("bytes", Side::Right),
        ("", Side::Left),
    ];
    let rows = list.letters.iter().map(|letter| {
        vec![
            letter.sequence.to_string(),
            ago(letter.age_ms),
            letter.target.clone(),
            letter.function.clone(),
            letter.reason.clone(),
            letter.attempts.to_string(),
            letter.deaths.to_string(),
            size(bytes(letter.bytes)),
            marks(letter).to_owned(),
        ]
    });
    let narrow = Narrow {
        key: "for",
        drop: &["bytes", "sent", "deaths"],
    };
    let mut text = narrow_grid(&heads, rows.collect(), output::width(), narrow);
    text.push_str(&summary);
    text
}

fn marks(letter: &DeadLetterView) -> &'static str {
    match (letter.poison, letter.under_way) {
        (true, true) => "poison, under way",
        (true, false) => "poison",
        (false, true) => "under way",
        (false, false) => "",
    }
}

fn letter(detail: &DeadLetterDetail) -> String {
    let letter = &detail.letter;
    let mut text = format!("dead letter {}\n", letter.sequence);
    let sender = letter.sender.as_deref().unwrap_or("the host");
    let rows = [
        ("for", letter.target.clone()),
        ("function", letter.function.clone()),
        ("from", sender.to_owned()),
        ("age", ago(letter.age_ms)),
        ("reason", letter.reason.clone()),
        ("", letter.message.clone()),
        ("sent", letter.attempts.to_string()),
        ("ended its actor", letter.deaths.to_string()),
        ("bytes", size(bytes(letter.bytes))),
        ("state", marks(letter).to_owned()),
    ];
    for (name, value) in rows {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<15}  {}\n", printable(&value)));
        }
    }
    match &detail.args {
        None => text.push_str(
            "  the arguments cannot be shown: nobody with such a function has the address now\n",
        ),
        Some(args) => {
            for (at, arg) in args.iter().enumerate() {
                let name = format!("argument {}", at + 1);
                text.push_str(&format!("  {name:<15}  {}\n", printable(arg)));
            }
        }
    }
    if detail.cut {
        text.push_str("  … the arguments are longer, and cut\n");
    }
    text
}

fn replayed(answer: &ReplayAnswer) -> String {
    let mut text = counts(&[("sent again", answer.accepted.len().to_string())]);
    for refused in &answer.refused {
        text.push_str(&format!("{}\n", printable(&refused.message)));
    }
    text
}
