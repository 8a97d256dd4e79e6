//! Files that the registry has lost: put back from where the manifest names them before a deployment needs them, or named.

use std::path::PathBuf;

use airssys_wasm::Digest;

use super::*;

impl Host {
    /// Where the registry has the bytes of a file.
    fn kept(&self, name: &str) -> PathBuf {
        let bytes = std::fs::read(self.directory.at(name)).unwrap();
        let registry = self.deployer.registry().unwrap();
        registry.artifact_path(Digest::of(&bytes))
    }

    async fn rolls_back(&self) {
        let back = RollbackRequest::default();
        self.client.roll_back(&back).await.unwrap();
        assert_eq!(self.newest().finished().await, RolloutOutcome::Permanent);
    }

    /// What the newest deployment says of the file of `one`.
    fn said(&self, was: &str) -> bool {
        let status = self.newest().status();
        let said = format!("the file of `app/one` was {was} in the registry");
        let mut notes = status.log.iter().map(|note| &note.what);
        notes.any(|note| note.starts_with(&said) && note.contains("was put back from"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_puts_back_what_is_lost_where_the_same_bytes_are_named() {
    let host = Host::start(true).await;
    let client = &host.client;
    client.deploy(&host.request("two.toml", TWO)).await.unwrap();
    assert_eq!(host.newest().finished().await, RolloutOutcome::Permanent);
    std::fs::remove_file(host.kept("one.wasm")).unwrap();
    host.rolls_back().await;
    host.answers(2).await;
    assert!(host.said("missing"), "{:?}", host.newest().status());
    assert!(host.kept("one.wasm").exists());
    std::fs::write(host.kept("two.wasm"), "other").unwrap();
    host.rolls_back().await;
    host.answers(3).await;
    assert!(host.said("damaged"), "{:?}", host.newest().status());

    // Of another number of replicas of what runs, too.
    std::fs::remove_file(host.kept("two.wasm")).unwrap();
    let scale = ScaleRequest {
        component: "one".to_owned(),
        replicas: 2,
        ..ScaleRequest::default()
    };
    client.scale(&scale).await.unwrap();
    assert_eq!(host.newest().finished().await, RolloutOutcome::Permanent);
    assert!(host.said("missing"), "{:?}", host.newest().status());

    // Nothing is taken for it that has other bytes.
    let kept = host.kept("two.wasm");
    std::fs::remove_file(&kept).unwrap();
    std::fs::copy(host.directory.at("one.wasm"), host.directory.at("two.wasm")).unwrap();
    let to = |plan_only| RollbackRequest {
        to: Some(2),
        plan_only,
        ..RollbackRequest::default()
    };
    for plan_only in [true, false] {
        let hint = format!(
            "put a file with those bytes at {}, or where",
            kept.display()
        );
        refused(
            client.roll_back(&to(plan_only)).await,
            "artifact-lost",
            "its bytes are not at",
            Some(&hint),
        );
    }
    assert!(!kept.exists());
    let refusal = client
        .scale(&ScaleRequest {
            replicas: 1,
            ..scale
        })
        .await;
    refused(refusal, "artifact-lost", "`app/one`, revision 3", None);
    host.answers(3).await;
}
