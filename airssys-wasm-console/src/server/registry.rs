//! What is asked about the registry. It blocks on its disk, so each question has a thread for that; there are never
//! more than connections.

use std::time::SystemTime;

use airssys_wasm::AccessKind;
use airssys_wasm_actors::{
    ActorAddress, AddressPattern, FoundRevision, RegistryError, RegistryQuery, suggest,
};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::answer::{Pathed, Queried, Refusal};
use super::deployments::orders;
use super::orders::refusals;
use super::routes::Host;
use crate::api::{
    DependencyView, GcAnswer, InterfaceView, RevisionDetail, RevisionList, RevisionQuery,
    RevisionView, STATES,
};

/// Revisions in an answer when the request does not say how many.
const REVISIONS_DEFAULT: usize = 1_000;

/// Most revisions in an answer.
const REVISIONS_MAX: usize = 10_000;

/// Asks the registry.
pub(super) async fn blocking<T: Send + 'static>(
    question: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, Refusal> {
    let asked = tokio::task::spawn_blocking(question).await;
    let answer = asked.map_err(|_| {
        let what = "the registry was not asked to the end";
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", what)
    })?;
    answer.map_err(|error| refusals::of_registry(&error))
}

/// A component's address, from that or from its name in the manifest.
fn in_application(application: &str, asked: ActorAddress) -> ActorAddress {
    let below = asked.as_str().strip_prefix(application);
    if below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        return asked;
    }
    format!("{application}/{asked}").parse().unwrap_or(asked)
}

pub(super) async fn list(
    State(state): Host,
    Queried(query): Queried<RevisionQuery>,
) -> Result<Json<RevisionList>, Refusal> {
    let registry = orders(&state)?.registry()?.clone();
    let limit = query.limit.unwrap_or(REVISIONS_DEFAULT).min(REVISIONS_MAX);
    let application = state.application.as_str();
    let name = query
        .address
        .map(|text| match text.parse::<ActorAddress>() {
            Ok(address) => in_application(application, address).as_str().parse(),
            Err(_) => text.parse::<AddressPattern>(),
        });
    let name = name
        .transpose()
        .map_err(|error| Refusal::bad(error.to_string()))?;
    let wanted = match query.state {
        None => None,
        Some(text) => {
            let known = STATES.into_iter().find(|(name, _)| *name == text);
            let (_, known) = known.ok_or_else(|| {
                let what = format!("there is no state `{}`", text.escape_debug());
                let names = STATES.map(|(name, _)| name);
                Refusal::bad(what).hint(suggest(&text, "states", names))
            })?;
            Some(known)
        }
    };
    if let Some(grant) = &query.grant {
        let mut grants: Vec<_> = AccessKind::ALL
            .into_iter()
            .filter_map(AccessKind::grant_name)
            .collect();
        grants.dedup();
        if !grants.contains(&grant.as_str()) {
            let what = format!("there is no grant `{}`", grant.escape_debug());
            return Err(Refusal::bad(what).hint(suggest(grant, "grants", grants)));
        }
    }
    let query = RegistryQuery {
        name,
        state: wanted,
        exports: query.exports,
        imports: query.imports,
        grant: query.grant,
    };
    let found = blocking(move || registry.query(&query)).await?;
    Ok(Json(RevisionList {
        more: found.len() > limit,
        revisions: found.iter().take(limit).map(RevisionView::from).collect(),
    }))
}

pub(super) async fn show(
    State(state): Host,
    Pathed(path): Pathed<String>,
) -> Result<Json<RevisionDetail>, Refusal> {
    let registry = orders(&state)?.registry()?.clone();
    let bad = || {
        let what = format!("`{}` is no component and revision", path.escape_debug());
        Refusal::bad(what).hint("as in `quakes/parse/2`")
    };
    let (component, number) = path.rsplit_once('/').ok_or_else(bad)?;
    let component: ActorAddress = component
        .parse()
        .map_err(|error: airssys_wasm_actors::AddressError| Refusal::bad(error.to_string()))?;
    let component = in_application(&state.application, component);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let detail = blocking(move || {
        let revision = registry.revision(&component, number)?;
        let query = RegistryQuery {
            name: component.as_str().parse().ok(),
            ..RegistryQuery::default()
        };
        let found = registry.query(&query)?;
        let same = |found: &&FoundRevision| {
            found.revision.number == number && found.revision.component == component
        };
        let states = found.iter().find(same);
        let states = states.map(|found| found.states.clone()).unwrap_or_default();
        let found = FoundRevision { revision, states };
        let dependencies = registry.dependencies_of(&component)?;
        let dependents = registry.dependents_of(&component)?;
        let surface = &found.revision.surface;
        Ok(RevisionDetail {
            revision: RevisionView::from(&found),
            spec: found.revision.spec.clone(),
            exports: surface.exports.iter().map(InterfaceView::from).collect(),
            imports: surface.imports.iter().map(InterfaceView::from).collect(),
            dependencies: dependencies.iter().map(DependencyView::from).collect(),
            dependents: dependents.iter().map(DependencyView::from).collect(),
        })
    });
    detail.await.map(Json)
}

pub(super) async fn gc(State(state): Host) -> Result<Json<GcAnswer>, Refusal> {
    let registry = orders(&state)?.registry()?.clone();
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
    let report = blocking(move || registry.gc(now)).await?;
    tracing::info!(
        revisions = report.revisions,
        deployments = report.deployments,
        artifacts = report.artifacts,
        "the registry was collected by request"
    );
    Ok(Json(report.into()))
}
