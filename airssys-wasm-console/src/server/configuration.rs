//! What components are configured with: looked at without waiting, and changed as a deployment is.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::answer::{JsonBody, Queried, Refusal};
use super::deployments::{component, component_of, open, orders};
use super::routes::Host;
use crate::api::{ConfigList, ConfigQuery, ConfigRequest, ConfigView, DeployAnswer};

pub(super) async fn show(
    State(state): Host,
    Queried(query): Queried<ConfigQuery>,
) -> Result<Json<ConfigList>, Refusal> {
    let orders = orders(&state)?;
    let asked = query.component.as_deref();
    let name = asked.map(|asked| component(orders, asked)).transpose()?;
    let application = orders.deployer().current();
    let all = application.components().iter();
    let wanted = all.filter(|one| name.as_ref().is_none_or(|name| one.name == *name));
    let components: Vec<_> = wanted
        .map(|one| ConfigView::of(&one.name, &one.config, query.values))
        .collect();
    if let Some(name) = name.filter(|_| components.is_empty()) {
        let what = format!("`{name}` is started by other components, and is configured with them");
        return Err(Refusal::new(StatusCode::CONFLICT, "spawned", what));
    }
    Ok(Json(ConfigList { components }))
}

pub(super) async fn change(
    State(state): Host,
    JsonBody(mut request): JsonBody<ConfigRequest>,
) -> Result<Json<DeployAnswer>, Refusal> {
    let orders = open(&state)?;
    if let Some(asked) = &request.component {
        request.component = Some(component_of(orders, asked, request.queue)?);
    }
    let order = orders.configure(request)?;
    order.checked().await.map(Json)
}
