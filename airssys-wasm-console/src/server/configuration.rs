//! What components are configured with: looked at without waiting, and changed as a deployment is.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::answer::{JsonBody, Queried, Refusal};
use super::deployments::{open, orders};
use super::routes::Host;
use crate::api::{ConfigList, ConfigQuery, ConfigRequest, ConfigView, DeployAnswer};

pub(super) async fn show(
    State(state): Host,
    Queried(query): Queried<ConfigQuery>,
) -> Result<Json<ConfigList>, Refusal> {
    let application = orders(&state)?.deployer().current();
    let all = application.components().iter();
    let wanted = all.filter(|one| {
        let name = query.component.as_ref();
        name.is_none_or(|name| one.name == *name)
    });
    let components: Vec<_> = wanted
        .map(|one| ConfigView::of(&one.name, &one.config, query.values))
        .collect();
    if let Some(name) = query.component.filter(|_| components.is_empty()) {
        let what = format!("there is no component `{}`", name.escape_debug());
        let names = application.components().iter().map(|one| one.name.as_str());
        let names: Vec<_> = names.collect();
        return Err(
            Refusal::new(StatusCode::NOT_FOUND, "no-such-component", what)
                .hint(format!("there are {}", names.join(", "))),
        );
    }
    Ok(Json(ConfigList { components }))
}

pub(super) async fn change(
    State(state): Host,
    JsonBody(request): JsonBody<ConfigRequest>,
) -> Result<Json<DeployAnswer>, Refusal> {
    let order = open(&state)?.configure(request)?;
    order.checked().await.map(Json)
}
