//! The files of components, read again where the registry has not got them.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::Command;

use airssys_wasm::ArtifactLimits;

use super::unended::{V2_AT_ONCE, is_permanent};
use super::*;

impl Host {
    fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.0.join(name)
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
    let pipe = file.clone();
    // Whoever waited for it would have this to read.
    std::thread::spawn(move || {
        let open = OpenOptions::new().write(true).open(pipe);
        open.and_then(|mut open| open.write_all(b"no component"))
    });
    let reason = failed(&host, &new).await;
    assert!(reason.contains("not a regular file"), "{reason}");

    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, bytes.unwrap()).unwrap();
    is_permanent(&host, V2_AT_ONCE).await;
    // What could not be read has left no record.
    assert_eq!(host.permanent(), Some(2));
    host.running.stop().await;
}
