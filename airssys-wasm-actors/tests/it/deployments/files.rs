//! The files of components: read again where the registry has not got them, and put back where it has lost them.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use airssys_wasm::{ArtifactLimits, Digest};

use super::unended::{V2_AT_ONCE, is_permanent};
use super::*;

impl Host {
    fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.0.join(name)
    }

    /// Where the registry has the bytes of a file.
    fn kept(&self, name: &str) -> std::path::PathBuf {
        let bytes = std::fs::read(self.file(name)).unwrap();
        let registry = self.deployer.registry().unwrap();
        registry.artifact_path(Digest::of(&bytes))
    }

    /// Whether a deployment that is recorded could be gone back to.
    fn has_files_of(&self, number: u64) -> bool {
        let registry = self.deployer.registry().unwrap();
        let deployment = registry.deployment(&address("app"), number).unwrap();
        artifacts_of(registry, &deployment).is_ok()
    }
}

async fn failed(host: &Host, new: &Application) -> String {
    let rollout = host.deployer.deploy(new.clone(), by("test")).await;
    match rollout.unwrap().finished().await {
        RolloutOutcome::Failed { reason, stuck } => {
            assert!(stuck.is_empty(), "{stuck:?}");
            reason
        }
        other => panic!("{other:?}"),
    }
}

fn lose(kept: &Path, damage: Option<&str>) {
    match damage {
        None => std::fs::remove_file(kept).unwrap(),
        Some(text) => std::fs::write(kept, text).unwrap(),
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_has_taken_the_place_of_a_component_holds_up_nobody() {
    let host = Host::new(ONE).await;
    let new = host.resolve(V2_AT_ONCE);
    let (file, bytes) = (host.file("v2.wasm"), std::fs::read(host.file("v2.wasm")));
    let large = std::fs::File::create(&file).unwrap();
    large
        .set_len(ArtifactLimits::DEFAULT.bytes_max + 1)
        .unwrap();
    let reason = failed(&host, &new).await;
    let expected = format!(
        "`one` cannot be read again: {}: it has more than 64 MiB",
        file.display()
    );
    assert!(reason.contains(&expected), "{reason}");

    std::fs::remove_file(&file).unwrap();
    let made = Command::new("mkfifo").arg(&file).status();
    assert!(made.unwrap().success());
    // Whoever waited for it would have this to read, and no end of it. It is opened for both: that waits for nobody.
    let pipe = OpenOptions::new().read(true).write(true).open(&file);
    let mut pipe = pipe.unwrap();
    pipe.write_all(b"no component").unwrap();
    let reason = failed(&host, &new).await;
    assert!(reason.contains("not a regular file"), "{reason}");
    drop(pipe);

    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, bytes.unwrap()).unwrap();
    is_permanent(&host, V2_AT_ONCE).await;
    // What could not be read has left no record.
    assert_eq!(host.permanent(), Some(2));
    host.running.stop().await;
}

#[tokio::test]
async fn a_file_that_the_registry_has_lost_is_put_back_by_a_deployment_of_what_runs() {
    let host = Host::new(ONE).await;
    let runs = host.resolve(ONE);
    for (damage, was) in [(None, "was missing"), (Some("other"), "was damaged")] {
        lose(&host.kept("v1.wasm"), damage);
        assert!(!host.has_files_of(1));
        let rollout = host
            .deployer
            .deploy(runs.clone(), by("test"))
            .await
            .unwrap();
        assert_eq!(rollout.finished().await, RolloutOutcome::Permanent);
        assert!(host.has_files_of(1), "{was}");
        // It is what runs: nothing else is recorded.
        let status = rollout.status();
        assert_eq!((status.number, host.permanent()), (None, Some(1)));
        let log: Vec<_> = status.log.iter().map(|note| note.what.as_str()).collect();
        let said = |note: &&str| note.contains(was) && note.contains("was put back from");
        assert!(log.iter().any(said), "{log:?}");
    }
    // Nothing is taken for it that has other bytes, and that it is still lost is said.
    let kept = host.kept("v1.wasm");
    lose(&kept, None);
    std::fs::copy(host.file("v2.wasm"), host.file("v1.wasm")).unwrap();
    let reason = failed(&host, &runs).await;
    assert!(
        reason.contains("has changed since it was loaded"),
        "{reason}"
    );
    assert!(!kept.exists());
    assert_eq!(number(&host.actor("one"), "version").await, 1);
    host.running.stop().await;
}

#[tokio::test]
async fn a_file_that_the_registry_has_lost_is_put_back_by_the_next_deployment_of_it() {
    let host = Host::new(ONE).await;
    let two = "[components.two]\nfile = \"s1.wasm\"\n";
    for damage in [None, Some("other")] {
        is_permanent(&host, V2_AT_ONCE).await;
        lose(&host.kept("v1.wasm"), damage);
        assert!(!host.has_files_of(1));
        is_permanent(&host, ONE).await;
        assert!(host.has_files_of(1));
        // Beside another component that changes, too.
        lose(&host.kept("v1.wasm"), damage);
        is_permanent(&host, &format!("{ONE}{two}")).await;
        assert!(host.has_files_of(1));
    }
    host.running.stop().await;
}

/// What was booted from the registry has no other file there: what is to be done is what the registry says.
#[tokio::test]
async fn a_file_that_is_lost_of_what_was_booted_from_the_registry_is_named_with_what_to_do() {
    let host = Host::new(ONE).await;
    let registry = host.deployer.registry().unwrap();
    let text = format!("[application]\nname = \"app\"\n{ONE}replicas = 2\n");
    let spec = ApplicationSpec::parse(host.file("airssys.toml"), text).unwrap();
    let deployment = registry.deployment(&address("app"), 1).unwrap();
    let options = ResolveOptions {
        policy: Policy::permissive(),
        artifacts: artifacts_of(registry, &deployment).unwrap(),
        ..ResolveOptions::default()
    };
    let new = spec.resolve(host.system.engine(), &options).unwrap();
    let kept = host.kept("v1.wasm");
    for (damage, says) in [(None, "has no artifact"), (Some("other"), "is damaged")] {
        lose(&kept, damage);
        let reason = failed(&host, &new).await;
        let remedy = "put a file with";
        assert!(reason.contains(says) && reason.contains(remedy), "{reason}");
        assert!(reason.contains(kept.to_str().unwrap()), "{reason}");
    }
    host.running.stop().await;
}
