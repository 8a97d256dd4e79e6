//! Components that may spawn from one deployment to the next: where what they spawn is, and how it ends.

use airssys_wasm_actors::deployment::RolloutOutcome;
use airssys_wasm_actors::{ActorRef, DeploymentState, RegistryOptions};

use super::Host;
use crate::application::Directory;
use crate::guests::{address, engine_of, started, system_with};
use crate::spawning::{ask, spawn};

const PARENT: &str = "[components.parent]\nfile = \"spawner.wasm\"\n";
const GRANT: &str = "grants = { spawn = { components = [\"worker\"], children = 4, depth = 2 } }\n";
const WORKER: &str = "[components.worker]\nfile = \"spawner.wasm\"\nspawned = true\n";

/// The manifest with a parent that may spawn, or may not.
fn tables(may: bool, rollout: &str) -> String {
    let grant = if may { GRANT } else { "" };
    format!("{PARENT}{grant}{rollout}{WORKER}")
}

impl Host {
    /// The supervisor of what `name` spawns, among the children of the application's own.
    fn has_family(&self, name: &str) -> bool {
        let family = address(&format!("app/{name}.spawned"));
        let below = self.running.supervisor().which_children();
        let listed = below.iter().any(|child| child.address == family);
        assert_eq!(self.system.find_supervisor(&family).is_some(), listed);
        listed
    }

    async fn becomes(&self, tables: &str) {
        let rollout = self.deploy(tables).await;
        let end = rollout.finished().await;
        assert_eq!(end, RolloutOutcome::Permanent, "{:?}", rollout.status());
    }
}

async fn is_denied(parent: &ActorRef) {
    let answer = spawn(parent, "one").await;
    assert!(answer.starts_with("!denied"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gets_the_grant_can_spawn_at_once_and_whoever_loses_it_cannot() {
    let host = Host::new(&tables(false, "")).await;
    let mut events = host.system.events();
    let parent = host.actor("parent");
    for kill in [true, false] {
        is_denied(&parent).await;
        assert!(!host.has_family("parent"));
        host.becomes(&tables(true, "")).await;
        assert!(host.has_family("parent"));
        assert_eq!(spawn(&parent, "one").await, "app/parent/one");
        if kill {
            // A supervisor that is made again begins with it.
            let before = parent.status().incarnation;
            host.running.supervisor().kill();
            started(&mut events, parent.address(), before).await;
            assert_eq!(spawn(&parent, "one").await, "app/parent/one");
        }
        assert_eq!(ask(&parent, "children", &[]).await, "one");
        // What may be spawned changes, and where it is does not.
        let more = tables(true, "").replace("children = 4", "children = 1");
        host.becomes(&more).await;
        assert_eq!(spawn(&parent, "one").await, "app/parent/one");
        let refused = spawn(&parent, "two").await;
        assert!(refused.starts_with("!quota"), "{refused}");
        host.becomes(&tables(false, "")).await;
        assert!(host.system.whereis(&address("app/parent/one")).is_none());
    }
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_is_rolled_back_leaves_nothing_of_its_family() {
    let host = Host::new(&tables(false, "")).await;
    let parent = host.actor("parent");
    let soak = "rollout = { strategy = \"blue-green\", soak = \"1h\" }\n";
    let rollout = host.deploy(&tables(true, soak)).await;
    rollout
        .until(|status| status.state == Some(DeploymentState::Soaking))
        .await;
    assert_eq!(spawn(&parent, "one").await, "app/parent/one");
    rollout.roll_back("not yet").await.unwrap();
    let reason = "not yet".to_owned();
    assert_eq!(
        rollout.finished().await,
        RolloutOutcome::RolledBack { reason }
    );
    is_denied(&parent).await;
    assert!(!host.has_family("parent"));
    assert!(host.system.whereis(&address("app/parent/one")).is_none());

    // Nor one whose component does not start.
    let broken = tables(true, "").replacen("spawner.wasm", "no-init.wasm", 1);
    let end = host.deploy(&broken).await.finished().await;
    assert!(matches!(end, RolloutOutcome::Failed { .. }), "{end:?}");
    assert!(!host.has_family("parent"));

    // And one that loses the grant for a while has its family again.
    host.becomes(&tables(true, "")).await;
    assert_eq!(spawn(&parent, "one").await, "app/parent/one");
    let rollout = host.deploy(&tables(false, soak)).await;
    rollout
        .until(|status| status.state == Some(DeploymentState::Soaking))
        .await;
    is_denied(&parent).await;
    rollout.roll_back("it is needed").await.unwrap();
    rollout.finished().await;
    assert_eq!(spawn(&parent, "two").await, "app/parent/two");
    host.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_comes_and_goes_with_its_family() {
    let host = Host::new(&tables(false, "")).await;
    let other = format!(
        "{}{}{GRANT}",
        tables(false, ""),
        PARENT.replace("parent", "other")
    );
    for _ in 0..2 {
        host.becomes(&other).await;
        assert_eq!(spawn(&host.actor("other"), "one").await, "app/other/one");
        host.becomes(&tables(false, "")).await;
        assert!(!host.has_family("other"));
        for name in ["app/other", "app/other/one"] {
            assert!(host.system.whereis(&address(name)).is_none(), "{name}");
        }
    }
    host.running.stop().await;
}

/// What a deployment that could not be undone has left of a family is found by the next one, whichever that is of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_family_that_was_left_goes_with_the_old_manifest_and_stays_with_the_new_one() {
    let recreate = "rollout = { strategy = \"recreate\" }\n";
    let two = |file: &str| format!("[components.two]\nfile = \"{file}.wasm\"\n{recreate}");
    let of = |may, file: &str| format!("{}{}", tables(may, recreate), two(file));
    for may in [false, true] {
        let system = system_with(&engine_of(2), true).await;
        let directory = Directory::new("");
        let options = RegistryOptions::default();
        let host = Host::in_system(directory, system, &of(false, "v1"), options).await;
        let end = host.deploy(&of(true, "no-init")).await.finished().await;
        match end {
            RolloutOutcome::Failed { stuck, .. } => assert_eq!(stuck.len(), 1),
            other => panic!("{other:?}"),
        }
        assert!(host.has_family("parent"));
        host.becomes(&of(may, "v1")).await;
        assert_eq!(host.has_family("parent"), may);
        let parent = host.actor("parent");
        if !may {
            is_denied(&parent).await;
        }
        host.running.stop().await;
    }
}
