//! What a gate sees of real instances: their memory, their traps, and restarts that are none.

use std::time::Duration;

use airssys_wasm_actors::DeploymentState;
use airssys_wasm_actors::deployment::{Rollout, RolloutOutcome};

use super::{Host, ONE, Work, one};
use crate::guests::{address, started};
use crate::upgrades::{V2, number};

/// With 4 MiB of memory instead of a page.
fn large() -> String {
    let page = r#"(memory (export "memory") 1)"#;
    let wat = V2.stateless();
    assert!(wat.contains(page));
    wat.replace(page, r#"(memory (export "memory") 64)"#)
}

async fn host() -> Host {
    let host = Host::new(ONE).await;
    let bytes = wat::parse_str(large()).unwrap();
    std::fs::write(host.directory.0.join("large.wasm"), bytes).unwrap();
    host
}

async fn undone(rollout: &Rollout) -> String {
    match rollout.finished().await {
        RolloutOutcome::RolledBack { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_holds_too_much_memory_is_rolled_back_without_a_request() {
    let host = host().await;
    let canary = r#"strategy = "canary", steps = [{ weight = "1%", for = "1min" }], soak = "1s""#;
    let blue_green = r#"strategy = "blue-green", soak = "1min""#;
    for strategy in [canary, blue_green] {
        let rollout = host.deploy(&one("large.wasm", strategy)).await;
        let reason = undone(&rollout).await;
        let expected =
            "4194304 bytes of memory, of the old revision 65536: more than 2 times as much";
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(number(&host.actor("one"), "version").await, 1);
        host.is_clean(1).await;
    }
    // The first MiB is let go, so that this is four times as much.
    let allowed = format!(r#"{blue_green}, gate = {{ memory-ratio-max = 4.0 }}"#);
    let rollout = host.deploy(&one("large.wasm", &allowed)).await;
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    assert_eq!(host.actor("one").status().memory_bytes, 4 << 20);
    // And what needs less is always welcome.
    let rollout = host.deploy(&one("v2.wasm", blue_green)).await;
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    host.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_kill_is_no_trap_and_a_trap_is_no_restart_besides() {
    let host = host().await;
    let mut events = host.system.events();
    let actor = host.actor("one");
    let soaking = |gate: &str| {
        let rollout = format!(
            r#"strategy = "blue-green", soak = "1h", gate = {{ interval = "10s", {gate} }}"#
        );
        one("v2.wasm", &rollout)
    };
    for (gate, trap_first, reason) in [
        (
            "traps-max = 1, restarts-max = 0",
            true,
            "1 restarts, at most 0 are allowed",
        ),
        (
            "traps-max = 0, restarts-max = 1",
            false,
            "1 traps, at most 0 are allowed",
        ),
    ] {
        let rollout = host.deploy(&soaking(gate)).await;
        rollout
            .until(|status| status.state == Some(DeploymentState::Soaking))
            .await;
        for trap in [trap_first, !trap_first] {
            // Three intervals, in which the one that is allowed was seen.
            tokio::time::sleep(Duration::from_secs(30)).await;
            assert_eq!(rollout.status().end, None, "{:?}", rollout.status());
            let before = actor.status().incarnation;
            if trap {
                actor.call("trap", ()).await.unwrap_err();
            } else {
                actor.kill();
            }
            started(&mut events, &address("app/one"), before).await;
        }
        assert!(undone(&rollout).await.contains(reason));
        assert_eq!(number(&actor, "version").await, 1);
        host.is_clean(1).await;
    }
    host.running.stop().await;
}

/// A supervisor has patience for a few restarts: nobody waits for the interval to end.
#[tokio::test]
async fn traps_in_the_soak_are_judged_as_they_come_and_not_when_the_interval_is_over() {
    let host = Host::new(ONE).await;
    let actor = host.actor("one");
    let canary = r#"strategy = "canary", steps = [{ weight = "100%", for = "2h" }], soak = "2h""#;
    let soak = r#"strategy = "blue-green", soak = "2h""#;
    for (rollout, state) in [
        (soak, DeploymentState::Soaking),
        (canary, DeploymentState::Switching),
    ] {
        let gate = r#"gate = { interval = "1h", traps-max = 2 }"#;
        let rollout = host
            .deploy(&one("v2.wasm", &format!("{rollout}, {gate}")))
            .await;
        rollout
            .until(|status| {
                let serves = status.steps[0].weight.is_none_or(|weight| weight == 10_000);
                status.state == Some(state) && serves
            })
            .await;
        for _ in 0..3 {
            assert_eq!(rollout.status().end, None);
            actor.call("trap", ()).await.unwrap_err();
        }
        let reason = undone(&rollout).await;
        let expected = "3 traps, at most 2 are allowed";
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(number(&actor, "version").await, 1);
        host.is_clean(1).await;
    }
    host.running.stop().await;
}

/// Nothing of it has failed, and nothing of it serves.
#[tokio::test(start_paused = true)]
async fn a_component_that_is_stopped_in_the_soak_does_not_become_permanent() {
    let host = Host::new(ONE).await;
    let soak = r#"strategy = "blue-green", soak = "1min", gate = { interval = "10s" }"#;
    let rollout = host.deploy(&one("v2.wasm", soak)).await;
    rollout
        .until(|status| status.state == Some(DeploymentState::Soaking))
        .await;
    // In the second interval.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let app = host.system.supervisors();
    let app = app.iter().find(|one| *one.address() == address("app"));
    let one = address("app/one");
    app.unwrap().terminate_child(&one).await.unwrap();
    let reason = undone(&rollout).await;
    assert!(reason.contains("it does not run any more"), "{reason}");
    assert_eq!(host.permanent(), Some(1));
    // Whoever starts it has the revision before.
    app.unwrap().restart_child(&one).await.unwrap();
    assert_eq!(number(&host.actor("one"), "version").await, 1);
    host.is_clean(1).await;
    host.running.stop().await;
}

/// Answers no `work` at all.
fn hung() -> String {
    let work = r#"(func (export "work") (param i32) (result i32) (i32.const 2))"#;
    let wat = V2.stateless();
    assert!(wat.contains(work));
    let hung = r#"(func (export "work") (param i32) (result i32)
        (loop $again (br $again)) (i32.const 2))"#;
    wat.replace(work, hung)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_answers_nothing_gets_no_more_of_the_traffic() {
    // Time enough to be slow in.
    let first = format!("{ONE}limits = \"large\"\n");
    let host = Host::new(&first).await;
    let bytes = wat::parse_str(hung()).unwrap();
    std::fs::write(host.directory.0.join("hung.wasm"), bytes).unwrap();
    let canary = r#"strategy = "canary", soak = "50ms",
        steps = [{ weight = "50%", for = "50ms" }, { weight = "100%", for = "1h" }],
        gate = { interval = "50ms", samples-min = 10, holds-max = 2, latency-ratio-max = 1000 }"#;
    let canary = one("hung.wasm", &canary.replace('\n', " "));
    let rollout = host.deploy(&format!("{canary}limits = \"large\"\n")).await;
    rollout
        .until(|status| status.steps[0].weight == Some(5_000))
        .await;
    let callers: Vec<_> = (0..40).map(|_| Work::start(&host.actor("one"))).collect();
    let seen = rollout
        .until(|now| now.end.is_some() || now.steps[0].weight == Some(10_000))
        .await;
    assert!(seen.end.is_some(), "{seen:?}");
    let reason = undone(&rollout).await;
    assert!(reason.contains("0 requests are too few"), "{reason}");
    for caller in callers {
        caller.end().await;
    }
    host.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_traps_in_the_soak_and_stays_down_is_seen() {
    let first = format!("{ONE}restart = \"temporary\"\n");
    let host = Host::new(&first).await;
    let soak = one("v2.wasm", r#"strategy = "blue-green", soak = "1min""#);
    let rollout = host
        .deploy(&format!("{soak}restart = \"temporary\"\n"))
        .await;
    rollout
        .until(|status| status.state == Some(DeploymentState::Soaking))
        .await;
    let actor = host.actor("one");
    actor.call("trap", ()).await.unwrap_err();
    // A rollback starts nobody who is to stay down.
    let RolloutOutcome::Failed { reason, stuck } = rollout.finished().await else {
        panic!("{:?}", rollout.status())
    };
    assert!(
        reason.contains("1 traps, at most 0 are allowed"),
        "{reason}"
    );
    let expected = ["one: `app/one` is not switched back: it has been stopped"];
    assert_eq!(stuck, expected);
    assert_eq!(host.permanent(), Some(1));
    host.running.stop().await;
}
