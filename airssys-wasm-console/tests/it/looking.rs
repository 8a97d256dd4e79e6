//! What only looks: version, status, tree; and finding the host.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;

use airssys_wasm_console::api::{Phase, StatusQuery};
use airssys_wasm_console::{
    ControlClient, ControlError, ControlServer, ControlSocket, SocketDirectory,
};

use crate::fixture::{Directory, Host, address};

#[tokio::test]
async fn a_status_says_what_every_actor_does() {
    let host = Host::start().await;
    for name in ["app/a", "app/b", "app/b/c", "other"] {
        host.spawn(name).await;
    }
    let b = host.system.whereis(&address("app/b")).unwrap();
    b.call("work", (1_u32,)).await.unwrap();
    host.server.enter(Phase::Running);
    let status = host.client.status(&StatusQuery::default()).await.unwrap();
    assert_eq!(
        (status.application.as_str(), status.phase, status.pid),
        ("app", Phase::Running, std::process::id())
    );
    assert_eq!((status.actors_total, status.more), (4, false));
    let names: Vec<_> = status.actors.iter().map(|one| &*one.address).collect();
    assert_eq!(names, ["app/a", "app/b", "app/b/c", "other"]);
    let b = &status.actors[1];
    assert_eq!((b.state.as_str(), b.incarnation), ("running", 1));
    assert_eq!((b.counters.calls, b.counters.replies), (1, 1));
    assert_eq!(status.counters.calls, 1);

    // Of those that ended in an error it says which are their caller's own doing.
    let large = "x".repeat(2 << 20);
    let b = host.system.whereis(&address("app/b")).unwrap();
    b.call("note", (large.as_str(),)).await.unwrap_err();
    b.call("trap", ()).await.unwrap_err();
    let status = host.client.status(&StatusQuery::default()).await.unwrap();
    let b = &status.actors[1].counters;
    assert_eq!((b.call_errors, b.caller_errors), (2, 1));
    assert_eq!(status.counters.caller_errors, 1);

    // By pattern, and page by page.
    let mut query = StatusQuery {
        address: Some("app".to_owned()),
        limit: Some(2),
        ..StatusQuery::default()
    };
    let first = host.client.status(&query).await.unwrap();
    assert!(first.more && first.actors.len() == 2);
    query.after = Some(first.actors[1].address.clone());
    let second = host.client.status(&query).await.unwrap();
    assert!(!second.more && second.actors_total == 4);
    assert_eq!(second.actors[0].address, "app/b/c");
    query.address = Some("APP".to_owned());
    let refused = host.client.status(&query).await.unwrap_err();
    assert_eq!(refused.kind(), "bad-request");
}

#[tokio::test]
async fn the_tree_has_every_supervisor_and_its_children_in_order() {
    let host = Host::start().await;
    host.spawn("z").await;
    host.spawn("a").await;
    let tree = host.client.tree().await.unwrap();
    assert_eq!(tree.supervisors.len(), 1);
    let system = &tree.supervisors[0];
    assert_eq!(
        (system.address.as_str(), system.strategy.as_str()),
        ("system", "one-for-one")
    );
    let names: Vec<_> = system
        .children
        .iter()
        .map(|one| &*one.actor.as_ref().unwrap().address)
        .collect();
    assert_eq!(names, ["z", "a"]);
    let child = &system.children[0];
    assert_eq!(
        (child.kind.as_str(), child.restart.as_str()),
        ("component", "permanent")
    );
    assert_eq!(
        (child.shutdown.as_str(), child.shutdown_ms),
        ("timeout", Some(5_000))
    );
}

#[tokio::test]
async fn a_host_answers_before_there_is_a_system() {
    let directory = Directory::new();
    let socket = directory.at("app.sock");
    let bound = ControlSocket::bind(&socket).unwrap();
    let _server = ControlServer::start(bound, "app").unwrap();
    let client = ControlClient::at(&socket);
    let status = client.status(&StatusQuery::default()).await.unwrap();
    assert_eq!((status.phase, status.actors_total), (Phase::Loading, 0));
    assert!(client.tree().await.unwrap().supervisors.is_empty());
    assert_eq!(client.version().await.unwrap().application, "app");
    let refused = client.kill("app/a").await.unwrap_err();
    assert_eq!(refused.kind(), "loading");
    assert!(refused.hint().unwrap().contains("again"));
}

#[tokio::test]
async fn the_only_host_is_found_and_of_several_one_must_be_named() {
    let directory = Directory::new();
    let sockets = SocketDirectory::at(directory.path().join("run"));
    let none = ControlClient::find(&sockets, None).await.unwrap_err();
    assert_eq!(none.to_string(), "no application is running");
    sockets.prepare().unwrap();
    // A host that was killed leaves its socket.
    drop(UnixListener::bind(sockets.socket_of("dead")).unwrap());
    let none = ControlClient::find(&sockets, None).await.unwrap_err();
    assert_eq!(none.kind(), "no-host");

    let bind = |name: &str| {
        let socket = ControlSocket::bind(&sockets.socket_of(name)).unwrap();
        ControlServer::start(socket, name).unwrap()
    };
    let one = bind("one");
    let found = ControlClient::find(&sockets, None).await.unwrap();
    assert_eq!(found.version().await.unwrap().application, "one");
    let two = bind("eu/two");
    let several = ControlClient::find(&sockets, None).await.unwrap_err();
    assert_eq!(
        several.to_string(),
        "more than one application is running: eu/two, one"
    );
    let found = ControlClient::find(&sockets, Some("eu/two")).await.unwrap();
    assert_eq!(found.version().await.unwrap().application, "eu/two");
    let unknown = ControlClient::find(&sockets, Some("dead"))
        .await
        .unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "no application `dead` is running; there is eu/two, one"
    );
    drop((one, two));
    let gone = found.version().await.unwrap_err();
    assert!(matches!(gone, ControlError::NotListening(_)), "{gone}");
}

/// Answers one request with `answer`.
fn answering(directory: &Directory, answer: String) -> ControlClient {
    let path = directory.at("x.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).unwrap() > 0);
        stream.write_all(answer.as_bytes()).unwrap();
    });
    ControlClient::at(path)
}

#[tokio::test]
async fn what_is_no_host_is_not_taken_for_one() {
    for (answer, kind) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
            "not-a-host",
        ),
        (
            "HTTP/1.1 200 OK\r\nairssys-api: 2.0\r\ncontent-length: 2\r\n\r\n{}",
            "other-version",
        ),
        (
            "HTTP/1.1 200 OK\r\nairssys-api: 1.9\r\ncontent-length: 2\r\n\r\n{}",
            "garbled",
        ),
        (
            "HTTP/1.1 200 OK\r\nairssys-api: 1.0\r\ncontent-length: 99\r\n\r\n{",
            "garbled",
        ),
        ("SSH-2.0-OpenSSH\r\n", "garbled"),
        ("", "garbled"),
    ] {
        let directory = Directory::new();
        let client = answering(&directory, answer.to_owned());
        let error = client.version().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{answer}: {error}");
    }
}

#[tokio::test]
async fn an_answer_may_have_more_than_a_client_knows() {
    let directory = Directory::new();
    let body = r#"{"api":"1.7","airssys":"9","application":"a","pid":1,"moon":{"phase":"full"}}"#;
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nairssys-api: 1.7\r\ncontent-length: {length}\r\n\r\n");
    let client = answering(&directory, head + body);
    assert_eq!(client.version().await.unwrap().api, "1.7");
}
