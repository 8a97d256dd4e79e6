//! Kill, restart, stop.

use airssys_wasm_actors::{ChildSpec, RestartPolicy, ShutdownPolicy};

use crate::fixture::{Host, address, dead, started};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_ends_one_incarnation_and_its_supervisor_does_the_rest() {
    let host = Host::start().await;
    let worker = host.spawn("app/a").await;
    let mut events = host.system.events();
    worker.cast("spin", ()).unwrap();
    let killed = host.client.kill("app/a").await.unwrap();
    assert_eq!((killed.address.as_str(), killed.incarnation), ("app/a", 1));
    started(&mut events, worker.address(), 1).await;
    assert_eq!(worker.counters().restarts, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_is_answered_when_the_next_incarnation_is_up() {
    let host = Host::start().await;
    let worker = host.spawn("app/a").await;
    for incarnation in 2..10 {
        let answer = host.client.restart("app/a").await.unwrap();
        assert_eq!((answer.incarnation, answer.killed), (incarnation, false));
        assert_eq!(answer.state, "running");
    }
    worker.call("work", (1_u32,)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_kills_what_does_not_end() {
    let host = Host::start().await;
    let brutal = ChildSpec {
        shutdown: ShutdownPolicy::Brutal,
        ..host.worker("app/a")
    };
    let worker = host.system.spawn(brutal).await.unwrap();
    let answer = host.client.restart("app/a").await.unwrap();
    assert!(answer.killed && answer.incarnation == 2, "{answer:?}");
    worker.call("work", (1_u32,)).await.unwrap();
    let mut events = host.system.events();
    worker.cast("trap", ()).unwrap();
    dead(&mut events, 1).await;
    host.balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_never_started_again_is_not_restarted() {
    let host = Host::start().await;
    let once = ChildSpec {
        restart: RestartPolicy::Temporary,
        ..host.worker("app/once")
    };
    let once = host.system.spawn(once).await.unwrap();
    let refused = host.client.restart("app/once").await.unwrap_err();
    assert_eq!(refused.kind(), "temporary");
    once.call("work", (1_u32,)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_frees_the_address() {
    let host = Host::start().await;
    host.spawn("app/a").await;
    let stopped = host.client.stop("app/a").await.unwrap();
    assert!(!stopped.killed);
    assert!(host.system.whereis(&address("app/a")).is_none());
    for error in [
        host.client.stop("app/a").await.unwrap_err(),
        host.client.restart("app/a").await.unwrap_err(),
        host.client.kill("app/a").await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), "no-such-actor");
    }
    host.spawn("app/a").await;
    host.balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_all_addresses_begin_with_makes_none_alike() {
    let host = Host::start().await;
    host.spawn("app/tally").await;
    for (asked, near) in [
        ("tall", true),
        ("app/tall", true),
        ("nobody", false),
        ("app/nobdy", false),
        ("app/a", false),
    ] {
        let error = host.client.kill(asked).await.unwrap_err();
        let hint = error.hint().unwrap_or_default();
        let meant = hint.contains("did you mean `app/tally`?");
        assert_eq!(meant, near, "{asked}: {hint}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_restarted_one_after_the_other_while_the_others_serve() {
    let host = Host::start().await;
    let pool = ChildSpec {
        replicas: 3,
        ..host.worker("app/pool")
    };
    let pool = host.system.spawn(pool).await.unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let work = pool.function("work").unwrap();
    let caller = tokio::spawn(async move {
        let mut calls = 0_u64;
        while !*stopped.borrow() {
            work.call((1_u32,)).await.unwrap();
            calls += 1;
            tokio::task::yield_now().await;
        }
        calls
    });
    for incarnation in 2..6 {
        let answer = host.client.restart("app/pool").await.unwrap();
        assert_eq!(
            (answer.address.as_str(), answer.state.as_str()),
            ("app/pool", "running")
        );
        assert_eq!((answer.incarnation, answer.killed), (incarnation, false));
        for replica in pool.replicas() {
            assert_eq!(replica.status().incarnation, incarnation);
        }
    }
    // One of them alone.
    let answer = host.client.restart("app/pool/1").await.unwrap();
    assert_eq!(
        (answer.address.as_str(), answer.incarnation),
        ("app/pool/1", 6)
    );
    stop.send(true).unwrap();
    let calls = caller.await.unwrap();
    let counters = pool.counters();
    assert_eq!((counters.replies, counters.call_errors), (calls, 0));
    assert_eq!(counters.restarts, 13);
    host.client.kill("app/pool").await.unwrap();
    host.client.stop("app/pool").await.unwrap();
    assert!(host.system.actors().is_empty());
    assert!(
        host.client.tree().await.unwrap().supervisors[0]
            .children
            .is_empty()
    );
}
