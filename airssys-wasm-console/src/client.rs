//! The client: typed requests to one host, and the search for it.
//!
//! Owns [`ControlClient`]. One connection for each request, bounded in time and in the bytes of the answer. What
//! answers without the header of the API is not taken for a host.

mod deployments;
mod error;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

pub use error::ControlError;

use crate::api::{
    API_MAJOR, ActorRequest, CrashDetail, CrashList, CrashQuery, DeadLetterDetail, DeadLetterList,
    DeadLetterQuery, ErrorBody, KillAnswer, PurgeAnswer, PurgeRequest, ReplayAnswer, ReplayRequest,
    RestartAnswer, Status, StatusQuery, StopAnswer, Tree, VERSION_HEADER, Version, path,
};
use crate::socket::{FoundSocket, SocketDirectory};

/// How long a host may take to accept.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// How long a request may take: longer than the host waits for an actor.
pub const REQUEST_WITHIN: Duration = Duration::from_secs(30);

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A door to one host. Making it does not connect.
#[derive(Debug, Clone)]
pub struct ControlClient {
    path: PathBuf,
}

impl ControlClient {
    /// A client of the host at a socket.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// A client of the only host that runs in `directory`, or of the one that runs `application`.
    ///
    /// # Errors
    /// [`ControlError::NoHost`] and [`ControlError::Several`], which name the hosts there are.
    pub async fn find(
        directory: &SocketDirectory,
        application: Option<&str>,
    ) -> Result<Self, ControlError> {
        let mut live = live(directory).await?;
        if let Some(application) = application {
            let found = live.iter().find(|found| found.application == application);
            return match found {
                Some(found) => Ok(Self::at(&found.path)),
                None => Err(ControlError::no_host(directory, Some(application), &live)),
            };
        }
        match (live.pop(), live.is_empty()) {
            (Some(only), true) => Ok(Self::at(only.path)),
            (Some(last), false) => {
                live.push(last);
                Err(ControlError::several(&live))
            }
            (None, _) => Err(ControlError::no_host(directory, None, &[])),
        }
    }

    /// Where its host listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who answers.
    ///
    /// # Errors
    /// [`ControlError`], as all the others.
    pub async fn version(&self) -> Result<Version, ControlError> {
        self.get(path::VERSION, &()).await
    }

    /// The application and its actors.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn status(&self, query: &StatusQuery) -> Result<Status, ControlError> {
        self.get(path::STATUS, query).await
    }

    /// Its supervisors and their children.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn tree(&self) -> Result<Tree, ControlError> {
        self.get(path::TREE, &()).await
    }

    /// The dead letters that pass.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn dead_letters(
        &self,
        query: &DeadLetterQuery,
    ) -> Result<DeadLetterList, ControlError> {
        self.get(path::DEAD_LETTERS, query).await
    }

    /// One dead letter with its arguments.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn dead_letter(&self, sequence: u64) -> Result<DeadLetterDetail, ControlError> {
        self.get(&format!("{}/{sequence}", path::DEAD_LETTERS), &())
            .await
    }

    /// The crash reports that pass.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn crashes(&self, query: &CrashQuery) -> Result<CrashList, ControlError> {
        self.get(path::CRASHES, query).await
    }

    /// One crash report, whole.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn crash(&self, sequence: u64) -> Result<CrashDetail, ControlError> {
        self.get(&format!("{}/{sequence}", path::CRASHES), &())
            .await
    }

    /// Sends dead letters again.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn replay(&self, request: &ReplayRequest) -> Result<ReplayAnswer, ControlError> {
        self.post(path::REPLAY, request).await
    }

    /// Throws dead letters away.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn purge(&self, request: &PurgeRequest) -> Result<PurgeAnswer, ControlError> {
        self.post(path::PURGE, request).await
    }

    /// Ends an incarnation now; its supervisor decides what follows.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn kill(&self, address: &str) -> Result<KillAnswer, ControlError> {
        self.post(path::KILL, &actor(address)).await
    }

    /// Ends an incarnation in order and starts the next one on the same mailbox.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn restart(&self, address: &str) -> Result<RestartAnswer, ControlError> {
        self.post(path::RESTART, &actor(address)).await
    }

    /// Stops an actor in order and forgets it.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn stop(&self, address: &str) -> Result<StopAnswer, ControlError> {
        self.post(path::STOP, &actor(address)).await
    }

    async fn get<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        query: &Q,
    ) -> Result<A, ControlError> {
        let query = query_of(query).map_err(|why| self.garbled(&why))?;
        let uri = match query.as_str() {
            "" => path.to_owned(),
            query => format!("{path}?{query}"),
        };
        self.send(Method::GET, &uri, Vec::new()).await
    }

    async fn post<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        body: &Q,
    ) -> Result<A, ControlError> {
        let body = serde_json::to_vec(body).map_err(|why| self.garbled(&why))?;
        self.send(Method::POST, path, body).await
    }

    async fn send<A: DeserializeOwned>(
        &self,
        method: Method,
        uri: &str,
        body: Vec<u8>,
    ) -> Result<A, ControlError> {
        let asking = self.ask(method, uri, body);
        let (status, version, bytes) = match tokio::time::timeout(REQUEST_WITHIN, asking).await {
            Ok(answer) => answer?,
            Err(_) => return Err(self.late(REQUEST_WITHIN)),
        };
        let Some(version) = version else {
            return Err(ControlError::NotAHost(self.path.clone()));
        };
        let major = version.split('.').next().and_then(|text| text.parse().ok());
        if major != Some(API_MAJOR) {
            let path = self.path.clone();
            return Err(ControlError::OtherVersion { path, version });
        }
        if status == StatusCode::OK {
            return serde_json::from_slice(&bytes).map_err(|why| self.garbled(&why));
        }
        match serde_json::from_slice::<ErrorBody>(&bytes) {
            Ok(body) => Err(ControlError::Refused {
                status: status.as_u16(),
                report: body.error,
            }),
            Err(_) => Err(ControlError::Garbled {
                path: self.path.clone(),
                why: format!("{status} without a reason"),
            }),
        }
    }

    async fn ask(
        &self,
        method: Method,
        uri: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Option<String>, Bytes), ControlError> {
        let connecting = UnixStream::connect(&self.path);
        let stream = match tokio::time::timeout(CONNECT_WITHIN, connecting).await {
            Ok(stream) => stream.map_err(|why| ControlError::connect(&self.path, why))?,
            Err(_) => return Err(self.late(CONNECT_WITHIN)),
        };
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::HOST, "airssys")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|why| self.garbled(&why))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|why| self.garbled(&why))?;
        let answer = async move {
            let response = sender.send_request(request).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((parts, body.to_bytes()))
        };
        // The answer says what went wrong, if something did.
        let (answer, _) = tokio::join!(answer, connection);
        let (parts, bytes) = answer.map_err(|why| self.garbled(&*why))?;
        let version = parts.headers.get(VERSION_HEADER);
        let version = version.and_then(|value| value.to_str().ok());
        Ok((parts.status, version.map(str::to_owned), bytes))
    }

    fn garbled(&self, why: &dyn std::error::Error) -> ControlError {
        let mut text = why.to_string();
        if let Some(source) = why.source() {
            text = format!("{text}: {source}");
        }
        ControlError::Garbled {
            path: self.path.clone(),
            why: text,
        }
    }

    fn late(&self, within: Duration) -> ControlError {
        ControlError::Timeout {
            path: self.path.clone(),
            within,
        }
    }
}

fn actor(address: &str) -> ActorRequest {
    ActorRequest {
        address: address.to_owned(),
    }
}

/// A struct's fields as a query; those that are `None` are left out by its own `Serialize`.
fn query_of<Q: Serialize>(query: &Q) -> Result<String, serde_json::Error> {
    let serde_json::Value::Object(fields) = serde_json::to_value(query)? else {
        return Ok(String::new());
    };
    let pairs: Vec<_> = fields
        .iter()
        .map(|(name, value)| match value {
            serde_json::Value::String(text) => format!("{name}={}", encoded(text)),
            other => format!("{name}={other}"),
        })
        .collect();
    Ok(pairs.join("&"))
}

/// Everything but what needs no escape in a query.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b'*') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The sockets that somebody listens at.
async fn live(directory: &SocketDirectory) -> Result<Vec<FoundSocket>, ControlError> {
    let mut live = Vec::new();
    for found in directory.sockets()? {
        let connecting = tokio::time::timeout(CONNECT_WITHIN, UnixStream::connect(&found.path));
        let gone = matches!(&connecting.await, Ok(Err(error)) if matches!(error.kind(),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound));
        if !gone {
            live.push(found);
        }
    }
    Ok(live)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_holds_what_is_given_and_nothing_else() {
        let query = DeadLetterQuery {
            address: Some("app/*".to_owned()),
            reason: Some("a&b=c d".to_owned()),
            poison: Some(true),
            limit: Some(3),
            ..DeadLetterQuery::default()
        };
        assert_eq!(
            query_of(&query).unwrap(),
            "address=app/*&reason=a%26b%3Dc%20d&poison=true&limit=3"
        );
        assert_eq!(query_of(&DeadLetterQuery::default()).unwrap(), "");
        assert_eq!(query_of(&()).unwrap(), "");
    }
}
