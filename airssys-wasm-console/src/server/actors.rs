//! What is asked of one child of the tree, an actor or a supervisor: kill, restart, stop. Each is its supervisor's to
//! do.

use std::sync::Arc;
use std::time::Duration;

use airssys_wasm_actors::{
    ActorAddress, ActorRef, ActorState, ChildState, Event, Events, Started, StopError, Supervisor,
    System, suggest,
};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::HostState;
use super::answer::{JsonBody, Refusal};
use super::routes::{Host, system};
use crate::api::{ActorRequest, KillAnswer, RestartAnswer, StopAnswer};

/// How long an actor that is stopped or restarted is waited for. What was asked goes on after it.
pub const ACTION_WITHIN: Duration = Duration::from_secs(20);

/// How long a restarted actor is waited for once its start has begun.
const START_WITHIN: Duration = Duration::from_secs(5);

/// Most addresses named to somebody who asked for one that is not there.
const NAMED_MAX: usize = 10;

pub(super) async fn kill(
    State(state): Host,
    JsonBody(request): JsonBody<ActorRequest>,
) -> Result<Json<KillAnswer>, Refusal> {
    let actor = match find(&state, &request)? {
        (_, Started::Actor(actor)) => actor,
        (_, Started::Supervisor(supervisor)) => {
            let incarnation = supervisor.incarnation();
            supervisor.kill();
            tracing::info!(address = %supervisor.address(), incarnation, "killed by request");
            return Ok(Json(KillAnswer {
                address: supervisor.address().to_string(),
                incarnation,
            }));
        }
    };
    let status = actor.status();
    if status.state == ActorState::Down {
        let what = format!("`{}` has no incarnation to kill now", actor.address());
        return Err(Refusal::new(StatusCode::CONFLICT, "down", what));
    }
    actor.kill();
    tracing::info!(address = %actor.address(), incarnation = status.incarnation, "killed by request");
    Ok(Json(KillAnswer {
        address: status.address,
        incarnation: status.incarnation,
    }))
}

pub(super) async fn restart(
    State(state): Host,
    JsonBody(request): JsonBody<ActorRequest>,
) -> Result<Json<RestartAnswer>, Refusal> {
    let system = system(&state)?;
    let (supervisor, actor) = match find(&state, &request)? {
        (supervisor, Started::Actor(actor)) => (supervisor, actor),
        (supervisor, Started::Supervisor(child)) => {
            return restart_supervisor(&supervisor, &child).await;
        }
    };
    tracing::info!(address = %actor.address(), "restarting by request");
    let team = match actor.replicas() {
        none if none.is_empty() => vec![actor.clone()],
        replicas => replicas,
    };
    // A task of its own: all of them are restarted whether or not the client stays.
    let restarting = tokio::spawn(each(system.clone(), supervisor, team.clone()));
    let killed = within(actor.address(), async {
        restarting.await.unwrap_or(Ok(false))
    })
    .await?;
    let statuses: Vec<_> = team.iter().map(ActorRef::status).collect();
    let down = statuses
        .iter()
        .map(|status| status.state)
        .find(|state| *state != ActorState::Running);
    Ok(Json(RestartAnswer {
        killed,
        incarnation: statuses
            .iter()
            .map(|one| one.incarnation)
            .max()
            .unwrap_or(0),
        state: down.unwrap_or(ActorState::Running).as_str().to_owned(),
        address: actor.address().to_string(),
    }))
}

/// Restarts one after the other, each when the one before is up again, so that of several replicas all but one
/// serve. Says whether one had to be killed.
async fn each(
    system: System,
    supervisor: Supervisor,
    team: Vec<ActorRef>,
) -> Result<bool, StopError> {
    let mut killed = false;
    for actor in team {
        let before = actor.status().incarnation;
        let mut events = system.events();
        let report = supervisor.restart_child(actor.address()).await?;
        killed |= !report.killed.is_empty();
        // How it is then is said by its status.
        let _ = tokio::time::timeout(START_WITHIN, up(&mut events, &actor, before)).await;
    }
    Ok(killed)
}

pub(super) async fn stop(
    State(state): Host,
    JsonBody(request): JsonBody<ActorRequest>,
) -> Result<Json<StopAnswer>, Refusal> {
    let (supervisor, child) = find(&state, &request)?;
    let address = match &child {
        Started::Actor(actor) => actor.address(),
        Started::Supervisor(supervisor) => supervisor.address(),
    };
    tracing::info!(%address, "stopping by request");
    let report = within(address, supervisor.stop_child(address)).await?;
    Ok(Json(StopAnswer {
        address: address.to_string(),
        killed: !report.killed.is_empty(),
    }))
}

/// Restarts a supervisor with everything below it, and waits until that is up.
async fn restart_supervisor(
    parent: &Supervisor,
    child: &Supervisor,
) -> Result<Json<RestartAnswer>, Refusal> {
    let address = child.address();
    tracing::info!(%address, "restarting by request");
    let report = within(address, parent.restart_child(address)).await?;
    let up = || {
        let infos = parent.which_children();
        let info = infos.iter().find(|info| info.address == *address);
        info.map(|info| info.state)
    };
    // How it is then is said by its state.
    let _ = tokio::time::timeout(START_WITHIN, child.settled()).await;
    let state = match up() {
        Some(ChildState::Running) => "running",
        Some(ChildState::Starting) => "starting",
        Some(ChildState::Restarting) => "restarting",
        _ => "stopped",
    };
    Ok(Json(RestartAnswer {
        killed: !report.killed.is_empty(),
        incarnation: child.incarnation(),
        state: state.to_owned(),
        address: address.to_string(),
    }))
}

/// A child and who supervises it, by its whole address or by what follows the application's name in it.
fn find(state: &Arc<HostState>, request: &ActorRequest) -> Result<(Supervisor, Started), Refusal> {
    let system = system(state)?;
    let address: ActorAddress = request
        .address
        .parse()
        .map_err(|error| Refusal::bad(format!("{error}")))?;
    if let Some(found) = system.child(&address) {
        return Ok(found);
    }
    if system.find_supervisor(&address).is_some() {
        let what = format!("`{address}` is the supervisor of the whole application");
        return Err(
            Refusal::new(StatusCode::CONFLICT, "supervisor", what).hint(format!(
                "to stop the application, end its host: `kill {}`",
                std::process::id()
            )),
        );
    }
    let below = format!("{}/{address}", state.application).parse().ok();
    let found = below.and_then(|address: ActorAddress| system.child(&address));
    found.ok_or_else(|| no_such(state, system, &address))
}

fn no_such(state: &Arc<HostState>, system: &System, address: &ActorAddress) -> Refusal {
    let actors = system.actors();
    let all = actors.iter().map(|actor| actor.address().as_str());
    let what = format!("there is no actor `{address}`");
    let refusal = Refusal::new(StatusCode::NOT_FOUND, "no-such-actor", what);
    match like(&state.application, address.as_str(), all) {
        Some(hint) => refusal.hint(hint),
        None => refusal,
    }
}

/// The address that was most likely meant by one that is not there, or some of those that are.
fn like<'a>(
    application: &str,
    asked: &str,
    all: impl Iterator<Item = &'a str> + Clone,
) -> Option<String> {
    // What all of them begin with makes nothing alike.
    let below = format!("{application}/");
    let short = |name: &'a str| name.strip_prefix(&below).unwrap_or(name);
    let asked = asked.strip_prefix(&below).unwrap_or(asked);
    let meant = suggest(asked, "actors", all.clone().map(short));
    let found = all
        .clone()
        .find(|name| meant == format!("did you mean `{}`?", short(name)));
    if let Some(name) = found {
        return Some(format!("did you mean `{name}`?"));
    }
    let named: Vec<_> = all.clone().take(NAMED_MAX).collect();
    let more = if all.count() > NAMED_MAX { ", …" } else { "" };
    (!named.is_empty()).then(|| format!("there are {}{more}", named.join(", ")))
}

async fn within<T>(
    address: &ActorAddress,
    asked: impl Future<Output = Result<T, StopError>>,
) -> Result<T, Refusal> {
    match tokio::time::timeout(ACTION_WITHIN, asked).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            let kind = match &error {
                StopError::NotFound { .. } => "no-such-actor",
                StopError::Temporary(_) => "temporary",
                StopError::NotStarted { .. } => "not-started",
                _ => "supervisor-ended",
            };
            Err(Refusal::new(StatusCode::CONFLICT, kind, error.to_string()))
        }
        Err(_) => {
            let what = format!(
                "`{address}` has not ended within {} s",
                ACTION_WITHIN.as_secs()
            );
            Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, "timeout", what)
                .hint("what was asked goes on; kill it if it is not to finish what it does"))
        }
    }
}

/// Waits until an incarnation after `before` is up, could not be started, or the registration has ended.
async fn up(events: &mut Events, actor: &ActorRef, before: u64) {
    while let Some(event) = events.recv().await {
        let over = match event {
            Event::Started {
                address,
                incarnation,
            }
            | Event::StartFailed {
                address,
                incarnation,
                ..
            } => address == *actor.address() && incarnation > before,
            Event::Gone { address, .. } => address == *actor.address(),
            Event::Lagged(_) => {
                let status = actor.status();
                status.incarnation > before && status.state == ActorState::Running
            }
            _ => false,
        };
        if over {
            return;
        }
    }
}
