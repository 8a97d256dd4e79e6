//! The routes: which path does what, and what only looks.

use std::sync::Arc;
use std::time::SystemTime;

use airssys_wasm_actors::{ActorAddress, AddressPattern, System};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};

use super::answer::{Queried, Refusal};
use super::connection::BODY_BYTES_MAX;
use super::{HostState, actors, configuration, crashes, deployments, letters, registry};
use crate::api::{
    ActorView, Status, StatusQuery, SupervisorNode, Tree, VERSION_HEADER, Version, api_version,
    path,
};

/// Actors in an answer when the request does not say how many.
pub const STATUS_ACTORS_DEFAULT: usize = 1_000;

/// Most actors in an answer.
pub const STATUS_ACTORS_MAX: usize = 10_000;

pub(super) type Host = State<Arc<HostState>>;

pub(super) fn router(state: Arc<HostState>) -> Router {
    Router::new()
        .route(path::VERSION, get(version))
        .route(path::STATUS, get(status))
        .route(path::TREE, get(tree))
        .route(path::DEAD_LETTERS, get(letters::list))
        .route("/v1/dead-letters/{sequence}", get(letters::show))
        .route(path::REPLAY, post(letters::replay))
        .route(path::PURGE, post(letters::purge))
        .route(path::CRASHES, get(crashes::list))
        .route("/v1/crashes/{sequence}", get(crashes::show))
        .route(path::KILL, post(actors::kill))
        .route(path::RESTART, post(actors::restart))
        .route(path::STOP, post(actors::stop))
        .route(
            path::DEPLOYMENTS,
            get(deployments::list).post(deployments::deploy),
        )
        .route(
            "/v1/deployments/requests/{number}",
            get(deployments::request),
        )
        .route(path::CURRENT, get(deployments::current))
        .route(path::PROMOTE, post(deployments::promote))
        .route(path::PAUSE, post(deployments::pause))
        .route(path::RESUME, post(deployments::resume))
        .route(path::ROLLBACK, post(deployments::rollback))
        .route(path::CANCEL, post(deployments::cancel))
        .route(path::SCALE, post(deployments::scale))
        .route(
            path::CONFIG,
            get(configuration::show).post(configuration::change),
        )
        .route(path::REGISTRY, get(registry::list))
        .route("/v1/registry/{*revision}", get(registry::show))
        .route(path::GC, post(registry::gc))
        .fallback(nothing)
        .method_not_allowed_fallback(other_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::map_response(versioned))
        .with_state(state)
}

/// The system, once there is one.
pub(super) fn system(state: &Arc<HostState>) -> Result<&System, Refusal> {
    state.system.get().ok_or_else(|| Refusal::loading(state))
}

async fn versioned(mut response: Response) -> Response {
    if let Ok(version) = HeaderValue::from_str(&api_version()) {
        response.headers_mut().insert(VERSION_HEADER, version);
    }
    response
}

async fn nothing(uri: Uri) -> Refusal {
    let what = format!("there is no {}", uri.path());
    Refusal::new(StatusCode::NOT_FOUND, "no-such-path", what).hint(format!(
        "this host is airssys {}, and its API {}: see {}",
        env!("CARGO_PKG_VERSION"),
        api_version(),
        path::VERSION
    ))
}

async fn other_method(method: Method, uri: Uri) -> Refusal {
    let what = format!("{} does not take {method}", uri.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "no-such-method", what)
}

async fn version(State(state): Host) -> Json<Version> {
    Json(Version::of(&state.application))
}

async fn status(
    State(state): Host,
    Queried(query): Queried<StatusQuery>,
) -> Result<Json<Status>, Refusal> {
    let pattern = query
        .address
        .map(|text| text.parse::<AddressPattern>())
        .transpose()
        .map_err(|error| Refusal::bad(error.to_string()))?;
    let after = query
        .after
        .map(|text| text.parse::<ActorAddress>())
        .transpose()
        .map_err(|error| Refusal::bad(error.to_string()))?;
    let limit = query
        .limit
        .unwrap_or(STATUS_ACTORS_DEFAULT)
        .min(STATUS_ACTORS_MAX);
    let system = state.system.get();
    let all = system.map(System::actors).unwrap_or_default();
    let mut wanted = all
        .iter()
        .filter(|actor| {
            pattern
                .as_ref()
                .is_none_or(|pattern| pattern.matches(actor.address()))
        })
        .filter(|actor| after.as_ref().is_none_or(|after| actor.address() > after));
    let actors = wanted.by_ref().take(limit).map(ActorView::from).collect();
    let (dead_letters_kept, dead_letters_bytes) = system
        .map(|system| system.dead_letters().kept())
        .unwrap_or_default();
    Ok(Json(Status {
        application: state.application.clone(),
        phase: state.phase(),
        pid: std::process::id(),
        airssys: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_ms: millis(
            state
                .began_at
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
        ),
        uptime_ms: millis(state.began.elapsed()),
        counters: system
            .map(|system| system.counters().into())
            .unwrap_or_default(),
        dead_letters_kept,
        dead_letters_bytes,
        actors_total: all.len(),
        actors,
        more: wanted.next().is_some(),
        deployment: state.orders.get().map(|orders| {
            let mut current = orders.current();
            if let Some(rollout) = &mut current.rollout {
                rollout.log.clear();
            }
            current
        }),
    }))
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

async fn tree(State(state): Host) -> Json<Tree> {
    let supervisors = state.system.get().map(System::supervisors);
    Json(Tree {
        application: state.application.clone(),
        phase: state.phase(),
        supervisors: supervisors
            .unwrap_or_default()
            .iter()
            .map(SupervisorNode::from)
            .collect(),
    })
}
