//! What is asked about crash reports. Reports are shared and bounded; nothing here waits.

use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::answer::{Pathed, Queried, Refusal};
use super::routes::{Host, system};
use crate::api::{CrashDetail, CrashList, CrashQuery, CrashView};

pub(super) async fn list(
    State(state): Host,
    Queried(query): Queried<CrashQuery>,
) -> Result<Json<CrashList>, Refusal> {
    let crashes = system(&state)?.crashes();
    let now = SystemTime::now();
    let filter = query
        .try_into()
        .map_err(|error: airssys_wasm_actors::PatternError| Refusal::bad(error.to_string()))?;
    let passing = crashes.list(&filter);
    let (kept, kept_bytes) = crashes.kept();
    Ok(Json(CrashList {
        crashes: passing
            .iter()
            .map(|report| CrashView::new(report, now))
            .collect(),
        kept,
        kept_bytes,
        total: crashes.total(),
        dropped: crashes.dropped(),
    }))
}

pub(super) async fn show(
    State(state): Host,
    Pathed(sequence): Pathed<String>,
) -> Result<Json<CrashDetail>, Refusal> {
    let system = system(&state)?;
    let number: u64 = sequence.parse().map_err(|_| {
        Refusal::bad(format!(
            "`{}` is no number of a crash report",
            sequence.escape_debug()
        ))
    })?;
    let report = system.crashes().get(number).ok_or_else(|| {
        let what = format!("there is no crash report {number}");
        Refusal::new(StatusCode::NOT_FOUND, "no-such-crash", what)
            .hint("it may have been forgotten for newer ones")
    })?;
    Ok(Json(CrashDetail::new(&report, SystemTime::now())))
}
