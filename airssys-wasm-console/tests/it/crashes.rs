//! Crash reports by request.

use airssys_wasm_console::ControlError;
use airssys_wasm_console::api::CrashQuery;

use crate::fixture::{Host, started};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_are_listed_and_shown_without_what_the_messages_said() {
    let host = Host::start().await;
    let mut events = host.system.events();
    let client = &host.client;
    let none = client.crashes(&CrashQuery::default()).await.unwrap();
    assert_eq!((none.crashes.len(), none.total, none.dropped), (0, 0, 0));
    let a = host.spawn("app/a").await;
    let b = host.spawn("app/b").await;
    a.call("work", (1_u32,)).await.unwrap();
    a.cast("note", ("s3cret",)).unwrap();
    started(&mut events, a.address(), 1).await;
    b.call("trap", ()).await.unwrap_err();
    started(&mut events, b.address(), 1).await;
    a.cast("trap", ()).unwrap();
    started(&mut events, a.address(), 2).await;

    let numbers = async |query: CrashQuery| -> Vec<u64> {
        let list = client.crashes(&query).await.unwrap();
        assert_eq!((list.kept, list.total, list.kept_bytes > 0), (3, 3, true));
        list.crashes.iter().map(|crash| crash.sequence).collect()
    };
    assert_eq!(numbers(CrashQuery::default()).await, [0, 1, 2]);
    let of_a = CrashQuery {
        address: Some("app/a".to_owned()),
        ..CrashQuery::default()
    };
    assert_eq!(numbers(of_a.clone()).await, [0, 2]);
    let later = CrashQuery {
        after: Some(0),
        ..of_a
    };
    assert_eq!(numbers(later).await, [2]);
    let first = CrashQuery {
        limit: Some(1),
        ..CrashQuery::default()
    };
    assert_eq!(numbers(first).await, [0]);

    let shown = client.crash(0).await.unwrap();
    let crash = &shown.crash;
    assert_eq!(
        (
            crash.address.as_str(),
            crash.incarnation,
            crash.kind.as_str()
        ),
        ("app/a", 1, "unreachable")
    );
    assert_eq!(crash.fault.as_deref(), Some("unreachable"));
    assert_eq!(crash.at.as_deref(), Some("<wasm function 2>"));
    assert_eq!(crash.supervisor, "system");
    assert_eq!(shown.backtrace[0].function, "<wasm function 2>");
    assert_eq!(shown.backtrace[0].line, None);
    assert_eq!(shown.spent.unwrap().memory_bytes, 65_536);
    let recent: Vec<_> = shown
        .recent
        .iter()
        .map(|one| {
            (
                one.function.as_str(),
                one.cast,
                one.by_host,
                one.outcome.as_str(),
            )
        })
        .collect();
    assert_eq!(
        recent,
        [
            ("test:t/work#work", false, true, "handled"),
            ("test:t/work#note", true, true, "in-hand")
        ]
    );
    assert!(!serde_json::to_string(&shown).unwrap().contains("s3cret"));
    assert_eq!(client.crash(2).await.unwrap().crash.restarts, 1);

    for (refused, kind) in [
        (client.crash(3).await.unwrap_err(), "no-such-crash"),
        (
            client
                .crashes(&CrashQuery {
                    address: Some("A".to_owned()),
                    ..CrashQuery::default()
                })
                .await
                .unwrap_err(),
            "bad-request",
        ),
    ] {
        assert!(matches!(refused, ControlError::Refused { .. }), "{refused}");
        assert_eq!(refused.kind(), kind);
    }
}
