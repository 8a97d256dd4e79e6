//! Answers that are no: a status, a kind, words, and what to do.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use super::HostState;
use super::connection::{BODY_BYTES_MAX, BODY_WITHIN};
use crate::api::{ErrorBody, ErrorReport, FindingView};

/// A request that was not done.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    status: StatusCode,
    report: ErrorReport,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, kind: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            report: ErrorReport {
                kind: kind.to_owned(),
                message: message.into(),
                hint: None,
                findings: Vec::new(),
            },
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.report.hint = Some(hint.into());
        self
    }

    pub(super) fn findings(mut self, findings: Vec<FindingView>) -> Self {
        self.report.findings = findings;
        self
    }

    pub(super) fn report(&self) -> &ErrorReport {
        &self.report
    }

    /// Something in the request is not what it should be.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", message)
    }

    pub(super) fn loading(state: &Arc<HostState>) -> Self {
        let what = format!("`{}` is still being loaded", state.application);
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "loading", what).hint("try again in a moment")
    }

    pub(super) fn body(&self) -> String {
        let body = ErrorBody {
            error: self.report.clone(),
        };
        serde_json::to_string(&body).unwrap_or_default()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = self.status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

/// The body of a request, within its time and bytes.
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let reading = Json::from_request(request, state);
        match tokio::time::timeout(BODY_WITHIN, reading).await {
            Ok(Ok(Json(body))) => Ok(Self(body)),
            Ok(Err(rejection)) => Err(of_json(&rejection)),
            Err(_) => Err(Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                format!("the body of the request did not come within {BODY_WITHIN:?}"),
            )),
        }
    }
}

fn of_json(rejection: &JsonRejection) -> Refusal {
    let text = rejection.body_text();
    match rejection {
        JsonRejection::MissingJsonContentType(_) => {
            Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", text)
                .hint("send the header `content-type: application/json`")
        }
        rejection if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            format!("the body of a request has {BODY_BYTES_MAX} bytes at most"),
        ),
        _ => Refusal::bad(text),
    }
}

/// The query of a request.
pub(super) struct Queried<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Queried<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        query
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|rejection: QueryRejection| Refusal::bad(rejection.body_text()))
    }
}

/// What stands in the path of a request.
pub(super) struct Pathed<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Pathed<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(path)| Self(path))
            .map_err(|rejection: PathRejection| Refusal::bad(rejection.body_text()))
    }
}
