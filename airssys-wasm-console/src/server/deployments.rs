//! What is asked about deployments. Statuses are read without waiting; the registry blocks, on a thread for that.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::HostState;
use super::answer::{JsonBody, Pathed, Queried, Refusal};
use super::orders::{Orders, commanded};
use super::registry::blocking;
use super::routes::Host;
use crate::api::{
    CancelRequest, CurrentDeployment, DeployAnswer, DeployRequest, DeploymentList, DeploymentView,
    HistoryQuery, Phase, RollbackRequest, ScaleRequest, WaitingView,
};
use airssys_wasm_actors::deployment::Rollout;
use airssys_wasm_actors::{ActorAddress, Application, Registry, RegistryError, suggest};

/// Deployments in an answer when the request does not say how many.
const HISTORY_DEFAULT: usize = 20;

/// Most deployments in an answer.
const HISTORY_MAX: usize = 1_000;

/// The orders, once the application runs.
pub(super) fn orders(state: &Arc<HostState>) -> Result<&Arc<Orders>, Refusal> {
    state.orders.get().ok_or_else(|| Refusal::loading(state))
}

/// The same, unless the application is being stopped.
pub(super) fn open(state: &Arc<HostState>) -> Result<&Arc<Orders>, Refusal> {
    if state.phase() == Phase::Stopping {
        let what = format!("`{}` is being stopped", state.application);
        return Err(Refusal::new(StatusCode::CONFLICT, "stopping", what));
    }
    orders(state)
}

/// The name of a component in the manifest, from that or its whole address. One that is not there is one refusal,
/// whatever was to be done with it.
pub(super) fn component(orders: &Orders, asked: &str) -> Result<String, Refusal> {
    let application = orders.deployer().current();
    let name = named(&application, asked);
    let names = || application.components().iter().map(|one| one.name.as_str());
    // Those that others start are refused by whoever is asked, who says why.
    let mut all = names().chain(application.spawned().iter().map(|one| one.name.as_str()));
    if all.any(|known| known == name) {
        return Ok(name.to_owned());
    }
    let what = format!("there is no component `{}`", name.escape_debug());
    let names: Vec<_> = names().collect();
    let hint = suggest(name, "components", names);
    Err(Refusal::new(StatusCode::NOT_FOUND, "no-such-component", what).hint(hint))
}

/// The same of an order: whether it is there shows at its turn, if it may wait for that.
pub(super) fn component_of(orders: &Orders, asked: &str, queue: bool) -> Result<String, Refusal> {
    match queue {
        true => Ok(named(&orders.deployer().current(), asked).to_owned()),
        false => component(orders, asked),
    }
}

fn named<'a>(application: &Application, asked: &'a str) -> &'a str {
    let below = asked.strip_prefix(application.name().as_str());
    let name = below.and_then(|rest| rest.strip_prefix('/'));
    name.unwrap_or(asked)
}

pub(super) async fn deploy(
    State(state): Host,
    JsonBody(request): JsonBody<DeployRequest>,
) -> Result<Json<DeployAnswer>, Refusal> {
    let order = open(&state)?.deploy(request)?;
    order.checked().await.map(Json)
}

pub(super) async fn rollback(
    State(state): Host,
    JsonBody(request): JsonBody<RollbackRequest>,
) -> Result<Json<DeployAnswer>, Refusal> {
    let order = open(&state)?.roll_back(request).await?;
    order.checked().await.map(Json)
}

pub(super) async fn cancel(
    State(state): Host,
    JsonBody(request): JsonBody<CancelRequest>,
) -> Result<Json<WaitingView>, Refusal> {
    open(&state)?.cancel(&request).map(Json)
}

pub(super) async fn scale(
    State(state): Host,
    JsonBody(mut request): JsonBody<ScaleRequest>,
) -> Result<Json<DeployAnswer>, Refusal> {
    let orders = open(&state)?;
    request.component = component_of(orders, &request.component, request.queue)?;
    let order = orders.scale(request)?;
    order.checked().await.map(Json)
}

pub(super) async fn request(
    State(state): Host,
    Pathed(number): Pathed<String>,
) -> Result<Json<DeployAnswer>, Refusal> {
    let orders = orders(&state)?;
    let what = || format!("`{}` is no number of a request", number.escape_debug());
    let number: u64 = number.parse().map_err(|_| Refusal::bad(what()))?;
    let order = orders.get(number).ok_or_else(|| {
        let what = format!("there is no request {number}");
        Refusal::new(StatusCode::NOT_FOUND, "no-such-request", what)
            .hint("it may have been forgotten for newer ones: see `airssys history`")
    })?;
    Ok(Json(order.answer()))
}

pub(super) async fn current(State(state): Host) -> Result<Json<CurrentDeployment>, Refusal> {
    Ok(Json(orders(&state)?.current()))
}

fn newest(orders: &Orders) -> Result<Rollout, Refusal> {
    orders.deployer().rollout().ok_or_else(|| {
        let what = "nothing has been deployed since the host began";
        Refusal::new(StatusCode::CONFLICT, "no-rollout", what)
    })
}

pub(super) async fn promote(State(state): Host) -> Result<Json<CurrentDeployment>, Refusal> {
    let orders = open(&state)?;
    commanded(newest(orders)?.promote()).await?;
    Ok(Json(orders.current()))
}

pub(super) async fn pause(State(state): Host) -> Result<Json<CurrentDeployment>, Refusal> {
    let orders = open(&state)?;
    commanded(newest(orders)?.pause()).await?;
    Ok(Json(orders.current()))
}

pub(super) async fn resume(State(state): Host) -> Result<Json<CurrentDeployment>, Refusal> {
    let orders = open(&state)?;
    commanded(newest(orders)?.resume()).await?;
    Ok(Json(orders.current()))
}

pub(super) async fn list(
    State(state): Host,
    Queried(query): Queried<HistoryQuery>,
) -> Result<Json<DeploymentList>, Refusal> {
    let orders = orders(&state)?;
    let limit = query.limit.unwrap_or(HISTORY_DEFAULT).min(HISTORY_MAX);
    let application = orders.deployer().current().name().clone();
    let Some(registry) = orders.deployer().registry() else {
        let rollouts = orders.deployer().rollouts();
        let newest = rollouts.iter().rev().take(limit);
        return Ok(Json(DeploymentList {
            application: application.to_string(),
            registry: false,
            permanent: None,
            trial: None,
            rollback_target: None,
            deployments: newest
                .map(|rollout| DeploymentView::from(rollout.status()))
                .collect(),
        }));
    };
    let registry = registry.clone();
    blocking(move || {
        let pointers = registry.pointers(&application)?;
        // Without their manifests, of which a history can have a thousand.
        let found = registry.history_of(&application, limit, |deployment| {
            let components = deployment.components.iter();
            let revisions: Vec<_> = components
                .map(|(component, deployed)| (component.clone(), deployed.revision))
                .collect();
            (DeploymentView::from(deployment), revisions)
        })?;
        let mut versions = Versions::default();
        let views = found.into_iter().map(|(view, revisions)| {
            let versions = versions.of(&registry, revisions)?;
            Ok(DeploymentView { versions, ..view })
        });
        let deployments = views.collect::<Result<_, RegistryError>>()?;
        Ok(DeploymentList {
            application: application.to_string(),
            registry: true,
            permanent: pointers.permanent,
            trial: pointers.trial,
            rollback_target: pointers.rollback_target,
            deployments,
        })
    })
    .await
    .map(Json)
}

/// The versions of revisions, each read once: deployments share most of theirs.
#[derive(Default)]
struct Versions(BTreeMap<(ActorAddress, u64), Option<String>>);

impl Versions {
    /// The versions of a deployment's components that say one.
    fn of(
        &mut self,
        registry: &Registry,
        revisions: Vec<(ActorAddress, u64)>,
    ) -> Result<BTreeMap<String, String>, RegistryError> {
        let mut versions = BTreeMap::new();
        for revision in revisions {
            let (component, number) = &revision;
            let name = component.to_string();
            let version = match self.0.get(&revision) {
                Some(known) => known.clone(),
                None => {
                    let read = match registry.revision(component, *number) {
                        Ok(found) => found.version.map(|version| version.to_string()),
                        // Collected since the list was read, with its deployment.
                        Err(RegistryError::NoSuchRevision { .. }) => None,
                        Err(why) => return Err(why),
                    };
                    self.0.insert(revision, read.clone());
                    read
                }
            };
            versions.extend(version.map(|version| (name, version)));
        }
        Ok(versions)
    }
}
