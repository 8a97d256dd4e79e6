//! One connection: who it is, one request, and the time it has.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;

use super::CONNECTIONS_MAX;
use super::answer::Refusal;
use crate::api::{VERSION_HEADER, api_version};

/// Most bytes of a request's line and headers.
pub const HEAD_BYTES_MAX: usize = 16 << 10;

/// Most bytes of a request's body: the numbers of all letters a host keeps fit by far.
pub const BODY_BYTES_MAX: usize = 256 << 10;

/// How long a client may take to send the head of its request.
pub const HEAD_WITHIN: Duration = Duration::from_secs(5);

/// How long it may take to send the body.
pub const BODY_WITHIN: Duration = Duration::from_secs(5);

/// How long a connection may take altogether, reading the answer included.
pub const CONNECTION_WITHIN: Duration = Duration::from_secs(60);

/// How long one client too many is read.
const REFUSE_WITHIN: Duration = Duration::from_secs(1);

/// Most headers of a request.
const HEADERS_MAX: usize = 64;

/// Whether this is the user whose host it is, or root. The file's mode says so too; this holds where somebody has
/// changed the mode, or passed the socket on.
pub(super) fn admits(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if may(peer.uid(), own) => true,
        Ok(peer) => {
            tracing::warn!(
                user = peer.uid(),
                "another user was refused at the control socket"
            );
            false
        }
        Err(error) => {
            tracing::warn!(%error, "nobody can say who is at the control socket");
            false
        }
    }
}

fn may(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

/// Tells a client that there are too many, once it has begun to speak: many take an answer before their request for a
/// fault. What it says is read for a moment and thrown away: closed at once, it would fail as it writes, and not
/// read the answer.
pub(super) async fn refuse(mut stream: UnixStream, permit: OwnedSemaphorePermit) {
    let refusal = Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "busy",
        format!("there are {CONNECTIONS_MAX} connections already"),
    )
    .hint("try again in a moment");
    let body = refusal.body();
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n{VERSION_HEADER}: {}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        api_version(),
        body.len(),
    );
    let telling = async {
        let mut first = [0; 1];
        stream.read_exact(&mut first).await?;
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await?;
        let request = u64::try_from(HEAD_BYTES_MAX + BODY_BYTES_MAX).unwrap_or(u64::MAX);
        tokio::io::copy(&mut stream.take(request), &mut tokio::io::sink()).await
    };
    // Whether it has heard is its own concern.
    let _ = tokio::time::timeout(REFUSE_WITHIN, telling).await;
    drop(permit);
}

/// Answers one request.
pub(super) async fn run(stream: UnixStream, router: Router, permit: OwnedSemaphorePermit) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match tokio::time::timeout(CONNECTION_WITHIN, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a control connection ended early"),
        Err(_) => tracing::debug!("a control connection took too long"),
    }
    drop(permit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_and_root_are_let_in() {
        assert!(may(1000, 1000) && may(0, 1000) && may(0, 0));
        assert!(!may(1001, 1000) && !may(1000, 0));
    }
}
