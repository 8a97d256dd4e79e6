//! What a deployment must not leave behind: a record that nobody ends, a clock that nobody looks at, a candidate in the
//! way of the next one, a record of nothing.

use std::time::Duration;

use futures_util::future::join_all;

use super::*;

pub(super) const V2_AT_ONCE: &str = "[components.one]\nfile = \"v2.wasm\"\n";

pub(super) const SOAK: &str = r#"strategy = "blue-green", soak = "1h""#;

pub(super) async fn is_permanent(host: &Host, tables: &str) {
    let rollout = host.deploy(tables).await;
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
}

pub(super) async fn soaks(rollout: &Rollout) {
    let soaking = |status: &airssys_wasm_actors::deployment::RolloutStatus| {
        status.state == Some(DeploymentState::Soaking)
    };
    assert_eq!(rollout.until(soaking).await.end, None);
}

#[tokio::test]
async fn one_that_is_rolled_back_while_it_is_prepared_is_ended_and_the_next_follows() {
    let host = Host::new(ONE).await;
    // On one thread the command comes before the disk has answered.
    let rollout = host.deploy(&one("v2.wasm", SOAK)).await;
    rollout.roll_back("too soon").await.unwrap();
    let end = rollout.finished().await;
    let (reason, stuck) = ("too soon".to_owned(), Vec::new());
    assert_eq!(end, RolloutOutcome::Failed { reason, stuck });
    assert_eq!(host.states(2), DeploymentState::Failed);
    assert_eq!(number(&host.actor("one"), "version").await, 1);
    is_permanent(&host, V2_AT_ONCE).await;
    assert_eq!(host.permanent(), Some(3));
    host.is_clean(1).await;
    host.running.stop().await;
}

#[tokio::test]
async fn a_reason_of_any_length_rolls_back_and_is_recorded_by_its_beginning() {
    let host = Host::new(ONE).await;
    let rollout = host.deploy(&one("v2.wasm", SOAK)).await;
    soaks(&rollout).await;
    let why = "w".repeat(70_000);
    rollout.roll_back(&why).await.unwrap();
    let end = rollout.finished().await;
    assert_eq!(end, RolloutOutcome::RolledBack { reason: why });
    let registry = host.deployer.registry().unwrap();
    let deployment = registry.deployment(&address("app"), 2).unwrap();
    assert_eq!(deployment.state, DeploymentState::RolledBack);
    let text = format!("{:?}", deployment.journal.last().unwrap());
    assert!(text.contains("wwww") && text.len() < 5_000, "{text}");
    is_permanent(&host, V2_AT_ONCE).await;
    // Who deploys, and why, is told in full or not at all.
    let options = by(&"w".repeat(5_000));
    let refused = host.deployer.deploy(host.resolve(ONE), options).await;
    assert!(
        matches!(
            refused,
            Err(DeployError::TooLong {
                what: "why",
                bytes: 5_000
            })
        ),
        "{refused:?}"
    );
    assert_eq!(host.permanent(), Some(3));
    host.running.stop().await;
}

#[tokio::test]
async fn a_disk_that_was_full_at_the_end_of_one_does_not_stand_in_the_way_of_the_next() {
    let full = Arc::<AtomicBool>::default();
    let is_full = Arc::clone(&full);
    let options = RegistryOptions {
        fault: Some(Arc::new(move |_| match is_full.load(Ordering::Acquire) {
            true => Err(io::Error::other("no space left")),
            false => Ok(()),
        })),
        ..RegistryOptions::default()
    };
    let host = Host::with(ONE, options).await;
    for (round, rolls_back) in [true, false].into_iter().enumerate() {
        let rollout = host.deploy(&one("v2.wasm", SOAK)).await;
        soaks(&rollout).await;
        let number = rollout.status().number.unwrap();
        full.store(true, Ordering::Release);
        if rolls_back {
            rollout.roll_back("no").await.unwrap();
        } else {
            rollout.promote().await.unwrap();
        }
        let end = rollout.finished().await;
        assert!(
            matches!(&end, RolloutOutcome::RolledBack { reason } if reason.contains("no space left")),
            "{round}: {end:?}"
        );
        assert_eq!(super::number(&host.actor("one"), "version").await, 1);
        assert_eq!(host.states(number), DeploymentState::Soaking);
        // Nothing can be recorded yet.
        let early = host.deploy(&one("v2.wasm", SOAK)).await.finished().await;
        assert!(format!("{early:?}").contains("no space left"), "{early:?}");
        full.store(false, Ordering::Release);
        let next = host.deploy(&one("v2.wasm", SOAK)).await;
        soaks(&next).await;
        assert_eq!(host.states(number), DeploymentState::RolledBack);
        next.roll_back("seen").await.unwrap();
        next.finished().await;
    }
    assert_eq!(host.permanent(), Some(1));
    host.is_clean(1).await;
    host.running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_interval_of_hours_is_over_when_it_is_over() {
    let host = Host::new(ONE).await;
    let rollout = r#"strategy = "canary", steps = [{ weight = "5%", for = "5h" }],
        gate = { interval = "5h", holds-max = 2 }"#;
    let rollout = host
        .deploy(&one("v2.wasm", &rollout.replace('\n', " ")))
        .await;
    // Nobody asks for anything, so that no interval has anything to say.
    let day = Duration::from_secs(24 * 3_600);
    let end = tokio::time::timeout(day, rollout.finished()).await;
    assert!(
        matches!(&end, Ok(RolloutOutcome::RolledBack { reason }) if reason.contains("0 requests")),
        "{end:?}"
    );
    host.running.stop().await;
}

/// `work` takes about a millisecond.
fn slow() -> String {
    V2.stateless().replace(
        r#"(func (export "work") (param i32) (result i32) (i32.const 2))"#,
        r#"(func (export "work") (param i32) (result i32) (local $n i32)
             (local.set $n (i32.const 1000000))
             (loop $on
               (local.set $n (i32.sub (local.get $n) (i32.const 1)))
               (br_if $on (local.get $n)))
             (i32.const 2))"#,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_is_still_at_it_is_waited_for_by_the_next_one() {
    let host = Host::new(ONE).await;
    let slow = wat::parse_str(slow()).unwrap();
    std::fs::write(host.directory.0.join("slow.wasm"), slow).unwrap();
    let rollout = r#"strategy = "canary", steps = [{ weight = "90%", for = "1h" }]"#;
    let tables = one("slow.wasm", rollout);
    let work = host.actor("one").function("work").unwrap();
    let tried = |status: &airssys_wasm_actors::deployment::RolloutStatus| {
        status.steps[0].weight == Some(9_000)
    };
    for _ in 0..3 {
        let rollout = host.deploy(&tables).await;
        let status = rollout.until(tried).await;
        assert_eq!(status.end, None);
        let calls = (0..300_u32).map(|n| {
            let work = work.clone();
            tokio::spawn(async move { work.call((n,)).await.map(drop) })
        });
        let calls: Vec<_> = calls.collect();
        let next = host.actor("one/next");
        while next.status().queued == 0 {
            tokio::task::yield_now().await;
        }
        rollout.roll_back("once more").await.unwrap();
        rollout.finished().await;
        // The next one begins while these are answered.
        tokio::spawn(join_all(calls));
    }
    host.is_clean(1).await;
    let counters = host.system.counters();
    assert_eq!((counters.call_errors, counters.calls_abandoned), (0, 0));
    host.running.stop().await;
}

#[tokio::test]
async fn what_runs_already_is_not_recorded_and_takes_no_rollback_target() {
    let host = Host::new(ONE).await;
    is_permanent(&host, V2_AT_ONCE).await;
    let target = || {
        let registry = host.deployer.registry().unwrap();
        registry.pointers(&address("app")).unwrap().rollback_target
    };
    let before = target();
    assert_eq!((host.permanent(), before), (Some(2), Some(1)));
    for _ in 0..2 {
        let rollout = host.deploy(V2_AT_ONCE).await;
        assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
        assert_eq!(rollout.status().number, None);
        assert_eq!((host.permanent(), target()), (Some(2), before));
        assert_eq!(host.deployer.current_number(), Some(2));
    }
    // Another manifest of the same effect is another one.
    is_permanent(&host, &format!("# the same\n{V2_AT_ONCE}")).await;
    assert_eq!((host.permanent(), target()), (Some(3), Some(2)));
    host.running.stop().await;
}

#[tokio::test]
async fn what_goes_on_is_not_ended_by_who_did_not_begin_it() {
    let host = Host::new(ONE).await;
    let rollout = host.deploy(&one("v2.wasm", SOAK)).await;
    soaks(&rollout).await;
    // Two of them for one application are a mistake; the registry stands between them.
    let registry = host.deployer.registry().unwrap().clone();
    let other = Deployer::new(&host.running, host.resolve(ONE), Some((registry, 1)));
    let refused = other.deploy(host.resolve(V2_AT_ONCE), by("other")).await;
    match refused.unwrap().finished().await {
        RolloutOutcome::Failed { reason, .. } => assert!(reason.contains("soaking"), "{reason}"),
        end => panic!("{end:?}"),
    }
    assert_eq!(host.states(2), DeploymentState::Soaking);
    rollout.promote().await.unwrap();
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    assert_eq!(host.permanent(), Some(2));
    host.running.stop().await;
}
