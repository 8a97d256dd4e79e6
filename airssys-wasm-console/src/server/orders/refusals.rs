//! Why nothing is deployed, in the one form of refusals.

use airssys_wasm_actors::deployment::{
    CancelRefused, CommandRefused, DeployError, StrategyError, WaitingOrder,
};
use airssys_wasm_actors::{ConfigOrderRefused, EditError, ManifestErrors, RegistryError};
use axum::http::StatusCode;

use super::ORDERS_MAX;
use crate::api::FindingView;
use crate::server::answer::Refusal;

fn conflict(kind: &str, message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::CONFLICT, kind, message)
}

pub(super) fn no_registry() -> Refusal {
    conflict(
        "no-registry",
        "this host has no registry: nothing is recorded",
    )
    .hint("start it with `airssys up MANIFEST --state DIR`")
}

pub(super) fn no_target() -> Refusal {
    conflict(
        "no-rollback-target",
        "there is no deployment to go back to: none was permanent before this one",
    )
    .hint("name one of `airssys history` with `--to N`")
}

/// Somebody else has the turn: a deployment that has begun, or this order, which has not.
pub(super) fn under_way(preparing: Option<WaitingOrder>) -> Refusal {
    let other = match preparing {
        None => "roll it back with `airssys rollback`".to_owned(),
        Some(order) => format!("cancel it with `airssys cancel {}`", order.id),
    };
    conflict("under-way", "another deployment is under way").hint(format!(
        "wait for it, {other}, or wait your turn with `--queue`"
    ))
}

/// A rollback of what is under way has no plan.
pub(super) fn nothing_to_plan() -> Refusal {
    let what = "a deployment is under way: a rollback ends it, and the old revisions serve again";
    conflict("under-way", what)
        .hint("`airssys status` shows it; to plan going back to an earlier deployment name that with `--to N`")
}

pub(super) fn too_many() -> Refusal {
    let what = format!("{ORDERS_MAX} deployments are under way or waiting already");
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "busy", what).hint("wait for them")
}

/// A task of the host did not come to its end.
pub(super) fn broken() -> Refusal {
    Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "reading the manifest ended early: the host is going down, or this is a fault of it",
    )
}

pub(super) fn of_manifest(errors: &ManifestErrors) -> Refusal {
    let file = errors.file.display().to_string();
    let findings: Vec<_> = errors
        .findings
        .iter()
        .map(|finding| FindingView {
            kind: finding.kind.as_str().to_owned(),
            file: Some(file.clone()),
            line: finding.at.map(|at| at.line),
            column: finding.at.map(|at| at.column),
            message: finding.what.clone(),
            hint: finding.help.clone(),
        })
        .collect();
    first(StatusCode::UNPROCESSABLE_ENTITY, "manifest", findings)
}

/// The first finding is the refusal's message.
fn first(status: StatusCode, kind: &str, findings: Vec<FindingView>) -> Refusal {
    let first = findings.first();
    let message = first.map_or_else(String::new, |first| first.message.clone());
    let hint = first.and_then(|first| first.hint.clone());
    let refusal = Refusal::new(status, kind, message).findings(findings);
    match hint {
        Some(hint) => refusal.hint(hint),
        None => refusal,
    }
}

fn finding(kind: &str, message: String, hint: Option<String>) -> FindingView {
    FindingView {
        kind: kind.to_owned(),
        file: None,
        line: None,
        column: None,
        message,
        hint,
    }
}

pub(super) fn of_words(errors: Vec<StrategyError>) -> Refusal {
    let findings = errors.into_iter();
    let findings = findings.map(|error| finding(error.part, error.what, Some(error.help)));
    first(StatusCode::BAD_REQUEST, "bad-request", findings.collect())
}

pub(super) fn of_deploy(error: &DeployError) -> Refusal {
    match error {
        DeployError::Refused(refused) => {
            let findings = refused
                .refusals
                .iter()
                .map(|refusal| finding(refusal.kind(), refusal.to_string(), Some(refusal.help())));
            first(StatusCode::CONFLICT, "plan-refused", findings.collect())
        }
        DeployError::Unsupported(reasons) => {
            let findings = reasons.iter();
            let findings = findings.map(|why| finding("unsupported", why.clone(), None));
            first(StatusCode::CONFLICT, "unsupported", findings.collect())
        }
        DeployError::Configuration(refused) => {
            let (status, kind) = match refused {
                ConfigOrderRefused::NoSuchComponent { .. } => {
                    (StatusCode::NOT_FOUND, "no-such-component")
                }
                _ => (StatusCode::UNPROCESSABLE_ENTITY, "config"),
            };
            let refusal = Refusal::new(status, kind, refused.what());
            match refused.remedy() {
                Some(remedy) => refusal.hint(remedy),
                None => refusal,
            }
        }
        DeployError::TooLong { .. } => Refusal::bad(error.to_string()),
        DeployError::UnderWay => under_way(None),
        DeployError::Cancelled { .. } => conflict("cancelled", error.to_string())
            .hint("nothing was changed; ask for it again, if it is still wanted"),
        error => conflict("not-deployed", error.to_string()),
    }
}

pub(super) fn of_edit(error: &EditError) -> Refusal {
    let (status, kind) = match error {
        EditError::NoSuchComponent { .. } => (StatusCode::NOT_FOUND, "no-such-component"),
        EditError::Autoscaled { .. } => (StatusCode::CONFLICT, "autoscaled"),
        _ => (StatusCode::CONFLICT, "not-scaled"),
    };
    let refusal = Refusal::new(status, kind, error.what());
    match error.remedy() {
        Some(remedy) => refusal.hint(remedy),
        None => refusal,
    }
}

/// A file that what is deployed needs is lost, and nothing has its bytes.
pub(super) fn of_lost(error: &RegistryError) -> Refusal {
    let refusal = of_registry(error);
    match error {
        RegistryError::ArtifactLost { path, .. } => refusal.hint(format!(
            "put a file with those bytes at {}, or where the manifest names it, or deploy a component of them, which puts it back",
            path.display()
        )),
        _ => refusal,
    }
}

/// What would change is not a number of replicas alone.
pub(super) fn not_scaled(plan: &str) -> Refusal {
    conflict(
        "not-scaled",
        format!("more would change than a number of replicas:\n{plan}"),
    )
    .hint(
        "deploy the manifest instead: the files of components have changed since they were deployed (not with `--state`), or a \
         deployment that failed could not put everything back",
    )
}

pub(super) fn of_cancel(refused: &CancelRefused) -> Refusal {
    let message = refused.to_string();
    match refused {
        CancelRefused::UnderWay(_) => {
            conflict("not-waiting", message).hint("use `airssys rollback` or `airssys pause`")
        }
        CancelRefused::NoSuchOrder(_) => {
            Refusal::new(StatusCode::NOT_FOUND, "no-such-order", message)
                .hint("`airssys status` lists those that wait")
        }
        CancelRefused::TooLong { .. } => Refusal::bad(message),
        _ => conflict("not-waiting", message).hint(
            "`airssys status` lists those that wait, and `airssys history` what was deployed",
        ),
    }
}

pub(super) fn of_command(refused: CommandRefused) -> Refusal {
    let kind = match refused {
        CommandRefused::Over => "over",
        CommandRefused::RollingBack => "rolling-back",
        CommandRefused::NothingToSkip => "nothing-to-skip",
        CommandRefused::Paused => "paused",
        CommandRefused::NotPaused => "not-paused",
        _ => "not-now",
    };
    let refusal = conflict(kind, refused.to_string());
    match refused {
        CommandRefused::Over => refusal
            .hint("`airssys status` says how it ended; `airssys rollback` goes back to what was permanent before"),
        _ => refusal,
    }
}

pub(in crate::server) fn of_registry(error: &RegistryError) -> Refusal {
    let status = match error {
        RegistryError::NoSuchArtifact { .. }
        | RegistryError::ArtifactLost { .. }
        | RegistryError::NoSuchRevision { .. }
        | RegistryError::NoSuchDeployment { .. } => StatusCode::NOT_FOUND,
        error if error.retryable() => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let refusal = Refusal::new(status, error.kind(), error.message());
    match error.remedy() {
        Some(remedy) => refusal.hint(remedy),
        None => refusal,
    }
}
