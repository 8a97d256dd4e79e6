//! Clients that are wrong, slow, many, or gone.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use airssys_wasm_console::api::{ErrorBody, StatusQuery};
use airssys_wasm_console::{BODY_BYTES_MAX, CONNECTIONS_MAX, HEAD_BYTES_MAX};

use crate::fixture::Host;

pub(crate) const JSON: &str = "content-type: application/json\r\n";
const KILL: &str = "/v1/actors/kill";
const RESTART: &str = "/v1/actors/restart";
const PURGE: &str = "/v1/dead-letters/purge";

/// Reads until the host closes.
fn rest(mut stream: UnixStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            // What it did not read of ours when it closed.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Sends these bytes, whether or not the host reads them all, and returns the answer.
fn say(socket: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    if let Err(error) = stream.write_all(bytes) {
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
    rest(stream)
}

pub(crate) fn request(method: &str, path: &str, head: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\n{head}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The answer says what it should, and in the one form that refusals have.
#[track_caller]
pub(crate) fn refused(socket: &Path, request: &str, status: u16, kind: &str, says: &str) {
    let answer = say(socket, request.as_bytes());
    let line = request.lines().next().unwrap();
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{line}: {answer}"
    );
    assert!(
        answer.contains("\r\nairssys-api: 1.7\r\n"),
        "{line}: {answer}"
    );
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let error: ErrorBody = serde_json::from_str(body).unwrap();
    assert_eq!(error.error.kind, kind, "{line}: {answer}");
    assert!(body.contains(says), "{line}: {answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mistake_has_its_own_answer() {
    let host = Host::start().await;
    host.spawn("app/a").await;
    for (method, path, status, kind, says) in [
        ("GET", "/v2/version", 404, "no-such-path", "/v2/version"),
        ("GET", "/", 404, "no-such-path", "/v1/version"),
        ("DELETE", "/v1/status", 405, "no-such-method", "DELETE"),
        ("GET", KILL, 405, "no-such-method", "GET"),
        ("GET", "/v1/status?colour=red", 400, "bad-request", "colour"),
        ("GET", "/v1/status?limit=-1", 400, "bad-request", "limit"),
        (
            "GET",
            "/v1/dead-letters?address=a//b",
            400,
            "bad-request",
            "a//b",
        ),
        (
            "GET",
            "/v1/dead-letters/x%1b",
            400,
            "bad-request",
            "x\\\\u{1b}",
        ),
        ("GET", "/v1/dead-letters/7", 404, "no-such-letter", "7"),
        ("GET", "/v1/dead-letters/%ff", 400, "bad-request", "UTF-8"),
        ("GET", "/v1/crashes/%ff", 400, "bad-request", "UTF-8"),
        ("GET", "/v1/registry/a/%ff", 400, "bad-request", "UTF-8"),
        (
            "GET",
            "/v1/deployments/requests/%ff",
            400,
            "bad-request",
            "UTF-8",
        ),
        ("POST", KILL, 415, "not-json", "content-type"),
    ] {
        refused(
            &host.socket,
            &request(method, path, "", ""),
            status,
            kind,
            says,
        );
    }
    let long = "9,".repeat(BODY_BYTES_MAX / 2);
    let long = format!(r#"{{"select":{{"sequences":[{long}9]}}}}"#);
    for (path, body, status, kind, says) in [
        (KILL, "{", 400, "bad-request", "EOF"),
        (KILL, "{}", 400, "bad-request", "address"),
        (KILL, r#"{"address":"A"}"#, 400, "bad-request", "A"),
        (
            KILL,
            r#"{"address":"nobody"}"#,
            404,
            "no-such-actor",
            "app/a",
        ),
        (KILL, r#"{"address":"system"}"#, 409, "supervisor", "kill "),
        (
            KILL,
            r#"{"address":"app/a","gently":true}"#,
            400,
            "bad-request",
            "gently",
        ),
        // A condition that this host does not know must not become "all of them".
        (
            PURGE,
            r#"{"select":{"filter":{"colour":"red"}}}"#,
            400,
            "bad-request",
            "colour",
        ),
        (
            PURGE,
            r#"{"select":"everything"}"#,
            400,
            "bad-request",
            "everything",
        ),
        (PURGE, "{}", 400, "bad-request", "select"),
        (PURGE, &long, 413, "too-large", "262144"),
    ] {
        refused(
            &host.socket,
            &request("POST", path, JSON, body),
            status,
            kind,
            says,
        );
    }
    // It still works, and nothing was done.
    let status = host.client.status(&StatusQuery::default()).await.unwrap();
    assert_eq!(
        (status.actors[0].incarnation, status.counters.restarts),
        (1, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_http_is_refused() {
    let host = Host::start().await;
    let long = "y".repeat(HEAD_BYTES_MAX);
    let long = format!("GET /v1/status HTTP/1.1\r\nx: {long}\r\n\r\n");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1_000));
    for (bytes, status) in [
        (b"\0\xff\x80garbage\r\n\r\n".as_slice(), 400),
        (b"SSH-2.0-OpenSSH\r\n\r\n", 400),
        (b"GET /v1/status\r\n\r\n", 400),
        (long.as_bytes(), 431),
        (many.as_bytes(), 431),
    ] {
        let answer = say(&host.socket, bytes);
        let line = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&line), "{line}: {answer}");
    }
    host.client.version().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_in_the_middle_cost_nothing() {
    let host = Host::start().await;
    let worker = host.spawn("app/a").await;
    let whole = request("POST", RESTART, JSON, r#"{"address":"app/a"}"#);
    // More of them than there are connections, each cut at another byte.
    for end in 1..whole.len() {
        let mut stream = UnixStream::connect(&host.socket).unwrap();
        // It may be one too many: then it has been closed already.
        let _ = stream.write_all(&whole.as_bytes()[..end]);
    }
    assert_eq!(worker.status().incarnation, 1);
    while let Err(error) = host.client.restart("app/a").await {
        assert_eq!(error.kind(), "busy");
    }
    // These are whole, and nobody waits for the answer: each is done, or not at all.
    for _ in 0..10 {
        let mut stream = UnixStream::connect(&host.socket).unwrap();
        stream.write_all(whole.as_bytes()).unwrap();
    }
    host.client.restart("app/a").await.unwrap();
    let calling = worker.call("work", (1_u32,)).await;
    assert!(calling.is_ok(), "{calling:?}");
    let status = worker.status();
    assert!((3..=13).contains(&status.incarnation), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_too_many_is_told_so() {
    let host = Host::start().await;
    // They connect, and say nothing.
    let mut silent: Vec<_> = (0..CONNECTIONS_MAX)
        .map(|_| UnixStream::connect(&host.socket).unwrap())
        .collect();
    let error = host.client.version().await.unwrap_err();
    assert_eq!(error.kind(), "busy");
    assert!(error.hint().is_some());
    // One leaves, and reads the end: its place is free, or will be in an instant.
    let leaving = silent.pop().unwrap();
    leaving.shutdown(std::net::Shutdown::Write).unwrap();
    rest(leaving);
    while let Err(error) = host.client.version().await {
        assert_eq!(error.kind(), "busy");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_at_once_are_all_answered() {
    let host = Host::start().await;
    host.spawn("app/a").await;
    let clients: Vec<_> = (0..CONNECTIONS_MAX / 4)
        .map(|_| {
            let client = host.client.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    let status = client.status(&StatusQuery::default()).await.unwrap();
                    assert_eq!(status.actors_total, 1);
                    assert_eq!(client.tree().await.unwrap().supervisors.len(), 1);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_dawdles_is_cut_off_and_holds_up_nobody() {
    let host = Host::start().await;
    let mut head = UnixStream::connect(&host.socket).unwrap();
    head.write_all(b"GET /v1/status HTT").unwrap();
    let mut body = UnixStream::connect(&host.socket).unwrap();
    let whole = request("POST", KILL, JSON, r#"{"address":"app/a"}"#);
    body.write_all(&whole.as_bytes()[..whole.len() - 1])
        .unwrap();
    host.client.version().await.unwrap();
    // Reading ends when the host closes.
    let (head, body) = tokio::join!(
        tokio::task::spawn_blocking(move || rest(head)),
        tokio::task::spawn_blocking(move || rest(body)),
    );
    assert!(!head.unwrap().contains("200 OK"));
    let body = body.unwrap();
    assert!(body.starts_with("HTTP/1.1 408 "), "{body}");
    assert!(body.contains("\"timeout\""), "{body}");
}
