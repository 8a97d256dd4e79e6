//! The application is stopped in order while a deployment of it is under way.

use futures_util::FutureExt as _;

use super::*;

const SOAK: &str = r#"strategy = "blue-green", soak = "1h""#;

const UNTIL_PROMOTED: &str = r#"strategy = "canary", steps = [{ weight = "20%" }]"#;

async fn stopped(host: &Host, rollout: &Rollout, was: DeploymentState, now: DeploymentState) {
    let number = rollout.status().number.unwrap();
    host.running.stop().await;
    // It is over when the application is.
    let end = rollout.finished().now_or_never().unwrap();
    let reason = format!("the host was stopped while it was {was}");
    let stuck = Vec::new();
    assert_eq!(
        end,
        RolloutOutcome::Failed {
            reason: reason.clone(),
            stuck
        }
    );
    let registry = host.deployer.registry().unwrap();
    let deployment = registry.deployment(&address("app"), number).unwrap();
    assert_eq!(deployment.state, now);
    let last = format!("{:?}", deployment.journal.last().unwrap());
    assert!(last.contains(&reason), "{last}");
    // The next start finds nothing that was interrupted, and boots what was before.
    let recovered = registry.recover(&address("app"), 1).unwrap();
    assert_eq!(recovered.interrupted, []);
    assert_eq!(recovered.boot.unwrap().number, 1);
    host.is_clean_of_instances(0).await;
    assert_eq!(rollout.roll_back("late").await, Err(CommandRefused::Over));
    let late = host.deployer.deploy(host.resolve(ONE), by("late")).await;
    assert!(matches!(late, Err(DeployError::GoingDown)), "{late:?}");
}

#[tokio::test]
async fn one_that_soaks_is_ended_in_the_journal() {
    let host = Host::new(ONE).await;
    let rollout = host.deploy(&one("v2.wasm", SOAK)).await;
    let soaking = DeploymentState::Soaking;
    rollout.until(|status| status.state == Some(soaking)).await;
    // One that waits has its turn when there is none any more.
    let waiting = {
        let (deployer, new) = (host.deployer.clone(), host.resolve(ONE));
        let options = DeployOptions {
            queue: true,
            ..by("waits")
        };
        tokio::spawn(async move { deployer.deploy(new, options).await })
    };
    while host.deployer.waiting().is_empty() {
        tokio::task::yield_now().await;
    }
    stopped(&host, &rollout, soaking, DeploymentState::RolledBack).await;
    let refused = waiting.await.unwrap();
    assert!(
        matches!(refused, Err(DeployError::GoingDown)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn one_that_is_tried_is_ended_in_the_journal_and_its_candidate_is_gone() {
    let host = Host::new(ONE).await;
    let rollout = host.deploy(&one("v2.wasm", UNTIL_PROMOTED)).await;
    rollout
        .until(|status| status.steps[0].weight == Some(2_000))
        .await;
    let switching = DeploymentState::Switching;
    stopped(&host, &rollout, switching, DeploymentState::RolledBack).await;
}

/// One that is being prepared has its first record any moment; whichever it is, it is not left without a last one.
#[tokio::test]
async fn one_that_has_just_begun_is_ended_in_the_journal() {
    let host = Host::new(ONE).await;
    let rollout = host.deploy(&one("v2.wasm", SOAK)).await;
    host.running.stop().await;
    assert!(rollout.finished().now_or_never().is_some());
    let registry = host.deployer.registry().unwrap();
    let recovered = registry.recover(&address("app"), 1).unwrap();
    assert_eq!(recovered.interrupted, []);
    assert_eq!(host.states(2), DeploymentState::Failed);
}

/// A disk that hangs holds the stop up for a moment, and the next start does what was not done.
#[tokio::test]
async fn a_disk_that_fails_leaves_it_to_the_next_start() {
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
    let rollout = host.deploy(&one("v2.wasm", SOAK)).await;
    let soaking = DeploymentState::Soaking;
    rollout.until(|status| status.state == Some(soaking)).await;
    full.store(true, Ordering::Release);
    host.running.stop().await;
    assert!(rollout.finished().now_or_never().is_some());
    full.store(false, Ordering::Release);
    let registry = host.deployer.registry().unwrap();
    let recovered = registry.recover(&address("app"), 1).unwrap();
    assert_eq!(recovered.interrupted.len(), 1);
    assert_eq!(recovered.boot.unwrap().number, 1);
}
