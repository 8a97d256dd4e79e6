//! What the commands that ask a running host have in common: finding it, asking it, and what its refusals mean.

use std::future::Future;

use airssys_wasm_console::api::ErrorReport;
use airssys_wasm_console::{ControlClient, ControlError, SocketDirectory};
use serde::Serialize;

use crate::args::{Format, Globals, Target};
use crate::failure::{Failure, FailureKind};
use crate::output;
use crate::text::printable;

/// Asks the host that is meant.
pub(super) fn ask<T, F: Future<Output = Result<T, ControlError>>>(
    target: &Target,
    question: impl FnOnce(ControlClient) -> F,
) -> Result<T, Failure> {
    asked(target, FailureKind::Control, question)
}

/// The same to deploy: a refusal is one of the deployment.
pub(super) fn ask_to_deploy<T, F: Future<Output = Result<T, ControlError>>>(
    target: &Target,
    question: impl FnOnce(ControlClient) -> F,
) -> Result<T, Failure> {
    asked(target, FailureKind::Refused, question)
}

fn asked<T, F: Future<Output = Result<T, ControlError>>>(
    target: &Target,
    refusal: FailureKind,
    question: impl FnOnce(ControlClient) -> F,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::of(FailureKind::Io, &error))?;
    runtime
        .block_on(async {
            let client = match &target.control {
                Some(path) => ControlClient::at(path),
                None => {
                    let directory = SocketDirectory::of_user();
                    let found = ControlClient::find(&directory, target.app.as_deref()).await;
                    match (found, &target.meant) {
                        (Err(ControlError::Several { running }), Some(meant))
                            if running.contains(meant) =>
                        {
                            ControlClient::find(&directory, Some(meant)).await?
                        }
                        (found, _) => found?,
                    }
                }
            };
            question(client).await
        })
        .map_err(|error| failed(&error, refusal))
}

/// Writes an answer as people or programs want it.
pub(super) fn print<T: Serialize>(
    globals: &Globals,
    answer: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    match globals.format {
        Format::Text => output::print(&text(answer)),
        Format::Json => {
            let json = serde_json::to_value(answer)
                .map_err(|error| Failure::of(FailureKind::Control, &error))?;
            output::print_json(&json)
        }
    }
}

/// A refusal that a host has told later than in its first answer.
pub(super) fn refused(report: ErrorReport) -> Failure {
    // Statuses are of answers; nothing is made of this one.
    failed(
        &ControlError::Refused { status: 0, report },
        FailureKind::Refused,
    )
}

/// What is the matter; `refusal` is the kind where the host has refused what was asked.
fn failed(error: &ControlError, refusal: FailureKind) -> Failure {
    // What the command line says is wrong; everything else is between the host and its actors.
    let kind = match error {
        ControlError::Refused { report, .. } if report.kind == "bad-request" => FailureKind::Usage,
        // A name that nobody has is that, whatever was to be done with it.
        ControlError::Refused { report, .. } if report.kind == "no-such-component" => {
            FailureKind::Control
        }
        ControlError::Refused { .. } => refusal,
        _ => FailureKind::Control,
    };
    let failure = Failure::of(kind, error).detail("control", error.kind());
    let failure = match error {
        ControlError::Refused { report, .. } => failure.found(report.findings.clone()),
        _ => failure,
    };
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// `1 letter`, `2 letters`.
pub(super) fn count(number: usize, one: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{number} {one}s")
    }
}

/// A name, made safe for a terminal.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", printable(text))
}
