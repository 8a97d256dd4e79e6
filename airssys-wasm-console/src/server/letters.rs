//! What is asked about dead letters. The store does it all in one step; nothing here waits.

use std::time::SystemTime;

use airssys_wasm::{FunctionType, Surface, Value, format_value};
use airssys_wasm_actors::{CallError, DeadLetter, System, suggest};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::answer::{JsonBody, Pathed, Queried, Refusal};
use super::routes::{Host, system};
use crate::api::{
    DeadLetterDetail, DeadLetterList, DeadLetterQuery, DeadLetterView, PurgeAnswer, PurgeRequest,
    ReplayAnswer, ReplayRequest, Selection,
};

/// Most bytes of one letter's arguments as text: numbers grow when they are written down.
const ARGS_BYTES_MAX: usize = 256 << 10;

fn bad(error: impl std::fmt::Display) -> Refusal {
    Refusal::bad(error.to_string())
}

/// A reason that there is not would be that of no letter, and mistaken for there being none.
fn check(query: &DeadLetterQuery) -> Result<(), Refusal> {
    match &query.reason {
        Some(reason) if !CallError::KINDS.contains(&reason.as_str()) => {
            let what = format!("there is no reason `{}`", reason.escape_debug());
            Err(Refusal::bad(what).hint(suggest(reason, "reasons", CallError::KINDS)))
        }
        _ => Ok(()),
    }
}

pub(super) async fn list(
    State(state): Host,
    Queried(query): Queried<DeadLetterQuery>,
) -> Result<Json<DeadLetterList>, Refusal> {
    let letters = system(&state)?.dead_letters();
    let now = SystemTime::now();
    check(&query)?;
    let filter = query.try_into().map_err(bad)?;
    let passing = letters.list(&filter);
    let (kept, kept_bytes) = letters.kept();
    Ok(Json(DeadLetterList {
        letters: passing
            .iter()
            .map(|letter| DeadLetterView::new(letter, now))
            .collect(),
        kept,
        kept_bytes,
        total: letters.total(),
    }))
}

pub(super) async fn show(
    State(state): Host,
    Pathed(sequence): Pathed<String>,
) -> Result<Json<DeadLetterDetail>, Refusal> {
    let system = system(&state)?;
    let number: u64 = sequence.parse().map_err(|_| {
        Refusal::bad(format!(
            "`{}` is no number of a letter",
            sequence.escape_debug()
        ))
    })?;
    let letter = system.dead_letters().get(number).ok_or_else(|| {
        let what = format!("there is no dead letter {number}");
        Refusal::new(StatusCode::NOT_FOUND, "no-such-letter", what)
            .hint("it may have been handled, purged, or forgotten for newer ones")
    })?;
    let (args, cut) = match args(system, &letter) {
        Some((args, cut)) => (Some(args), cut),
        None => (None, false),
    };
    Ok(Json(DeadLetterDetail {
        letter: DeadLetterView::new(&letter, SystemTime::now()),
        args,
        cut,
    }))
}

/// A letter's arguments as text, by the types of whoever has the address now, and whether they are cut. A message of the
/// messaging plane has its type whoever has the address.
fn args(system: &System, letter: &DeadLetter) -> Option<(Vec<String>, bool)> {
    if let Some(message) = letter.message() {
        let handler = Surface::default().with_message_handler().ok()?;
        let (.., function) = handler.export_functions().next()?;
        return Some(texts([&message], &function.ty));
    }
    let actor = system.whereis(&letter.target)?;
    let function = actor.function(&letter.function).ok()?;
    let ty = function.ty()?;
    let fits = ty.params.len() == letter.args.len();
    fits.then(|| texts(letter.args.values(), &ty))
}

/// The arguments of a function of this type as text, and whether they are cut.
fn texts<'a>(
    values: impl IntoIterator<Item = &'a Value>,
    ty: &FunctionType,
) -> (Vec<String>, bool) {
    let mut left = ARGS_BYTES_MAX;
    let mut cut = false;
    let values = values.into_iter().zip(ty.params.iter());
    let texts = values
        .map(|(value, (_, ty))| {
            let mut text = format_value(value, ty);
            if text.len() > left {
                cut = true;
                let end = (0..=left).rev().find(|end| text.is_char_boundary(*end));
                text.truncate(end.unwrap_or(0));
            }
            left -= text.len();
            text
        })
        .collect();
    (texts, cut)
}

pub(super) async fn replay(
    State(state): Host,
    JsonBody(request): JsonBody<ReplayRequest>,
) -> Result<Json<ReplayAnswer>, Refusal> {
    if let Selection::Filter(query) = &request.select {
        check(query)?;
    }
    let which = request.select.try_into().map_err(bad)?;
    let report = system(&state)?.dead_letters().replay(&which, request.force);
    tracing::info!(
        accepted = report.accepted.len(),
        refused = report.refused.len(),
        forced = request.force,
        "dead letters were sent again by request"
    );
    Ok(Json(report.into()))
}

pub(super) async fn purge(
    State(state): Host,
    JsonBody(request): JsonBody<PurgeRequest>,
) -> Result<Json<PurgeAnswer>, Refusal> {
    if let Selection::Filter(query) = &request.select {
        check(query)?;
    }
    let which = request.select.try_into().map_err(bad)?;
    let report = system(&state)?.dead_letters().purge(&which);
    tracing::info!(
        purged = report.purged,
        "dead letters were purged by request"
    );
    Ok(Json(report.into()))
}
