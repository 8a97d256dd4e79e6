//! A deployment that is held up by its registry: whoever looks finds why nothing goes on.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::*;

/// The registry cannot be read after it was asked to record that a deployment is permanent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_that_waits_for_its_registry_says_so_to_whoever_looks() {
    let file = Arc::<Mutex<Option<PathBuf>>>::default();
    let moved = Arc::clone(&file);
    let host = Host::with(Some(RegistryOptions {
        fault: Some(Arc::new(move |step| {
            if step == "journal.permanent.after-commit"
                && let Some(file) = moved.lock().unwrap().take()
            {
                std::fs::rename(&file, file.with_extension("away")).unwrap();
                return Err(io::Error::other("the answer is lost"));
            }
            Ok(())
        })),
        ..RegistryOptions::default()
    }))
    .await;
    let client = &host.client;
    client.deploy(&host.soaking("two.toml", TWO)).await.unwrap();
    host.soaks().await;
    let queued = host.queued("one.toml", ONE);
    let waiting = client.deploy(&queued).await.unwrap();
    assert_eq!(waiting.phase, DeployPhase::Waiting);
    let rollout = host.newest();
    let path = host.directory.at("state/registry.redb");
    *file.lock().unwrap() = Some(path.clone());
    client.promote().await.unwrap();
    let held = rollout.until(|status| status.held.is_some()).await.held;
    assert!(held.as_ref().unwrap().contains("not known"), "{held:?}");
    let now = client.deployment().await.unwrap();
    assert_eq!(
        (now.rollout.unwrap().held, now.waiting.len()),
        (held.clone(), 1)
    );
    let status = client.status(&StatusQuery::default()).await.unwrap();
    let deployment = status.deployment.unwrap();
    assert_eq!(deployment.rollout.unwrap().held, held);
    let back = client.roll_back(&RollbackRequest::default()).await;
    refused(back, "over", "cannot be undone", Some("airssys status"));

    std::fs::rename(path.with_extension("away"), &path).unwrap();
    assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
    assert_eq!(rollout.status().held, None);
    // And the next one has its turn.
    loop {
        let answer = client.deploy_request(waiting.request).await.unwrap();
        if answer.phase.is_final() {
            assert_eq!(answer.phase, DeployPhase::Over, "{answer:?}");
            break;
        }
    }
    assert_eq!(client.deployment().await.unwrap().number, Some(3));
    host.answers(2).await;
}
