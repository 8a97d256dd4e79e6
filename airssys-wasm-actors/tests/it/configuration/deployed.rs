//! A manifest of which only values of a configuration have changed: deployed by telling, undone by telling.

use airssys_wasm::Policy;
use airssys_wasm_actors::deployment::{DeployOptions, Deployer, PlanOptions, RolloutOutcome};
use airssys_wasm_actors::{Application, RunningApplication};

use super::layers::{options, written};
use super::{ask, read};
use crate::application::Directory;
use crate::guests::{engine, system};

/// `one` and `two`, both of which hear of changes.
fn tables(one: &str, two: &str) -> String {
    format!(
        "config = {{ {one} }}\ngrants = {{ config = [\"**\"] }}\n\
         [components.two]\nfile = \"configured.wasm\"\n\
         links = [{{ import = \"test:probe/decider\", to = \"decider\" }}]\n\
         config = {{ {two} }}\ngrants = {{ config = [\"mode\", \"verdict\"] }}\nreplicas = 2\n"
    )
}

fn resolved(directory: &Directory, engine: &airssys_wasm::Engine, tables: &str) -> Application {
    let spec = written(directory, tables);
    let resolved = spec.resolve(engine, &options(Policy::permissive()));
    resolved.unwrap_or_else(|errors| panic!("{errors}"))
}

async fn deploy(deployer: &Deployer, new: Application) -> RolloutOutcome {
    let rollout = deployer.deploy(new, DeployOptions::default()).await;
    rollout.unwrap().finished().await
}

async fn seen(running: &RunningApplication, name: &str) -> (String, String) {
    let system = running.system();
    let address = format!("app/{name}").parse().unwrap();
    let actor = system.whereis(&address).unwrap();
    (read(&actor, "mode").await, ask(&actor, "history").await)
}

#[tokio::test]
async fn a_deployment_of_other_values_tells_and_what_fails_is_told_back() {
    let directory = Directory::new("");
    let (slow, fast) = ("mode = \"slow\"", "mode = \"fast\"");
    let engine = engine();
    let system = system(&engine).await;
    let first = resolved(&directory, &engine, &tables(slow, slow));
    let running = first.clone().start(&system).await.unwrap();
    let deployer = Deployer::new(&running, first.clone(), None);

    let new = resolved(&directory, &engine, &tables(fast, fast));
    let plan = deployer.plan(&new, &PlanOptions::default()).unwrap();
    let text = plan.to_string();
    for name in ["one", "two"] {
        let told = format!("reconfigure `{name}`: its instances are told\n       config: ~ mode");
        assert!(text.contains(&told), "{text}");
    }
    assert_eq!(deploy(&deployer, new).await, RolloutOutcome::Permanent);
    let told = (
        "fast".to_owned(),
        "init mode=slow | changed mode".to_owned(),
    );
    assert_eq!(seen(&running, "one").await, told);
    for replica in ["two/0", "two/1"] {
        assert_eq!(seen(&running, replica).await, told);
    }
    assert_eq!(engine.instances(), 4);

    // `one` takes it, `two` does not: both are as they were.
    let other = "mode = \"other\"";
    let refusing = tables(other, "mode = \"other\", verdict = \"not that\"");
    let new = resolved(&directory, &engine, &refusing);
    match deploy(&deployer, new).await {
        RolloutOutcome::RolledBack { reason } => {
            // What it says is what it was given, and that can be a secret.
            assert!(
                reason.contains("`on-config-changed` refused: [left out]"),
                "{reason}"
            );
        }
        other => panic!("{other:?}"),
    }
    let history = "init mode=slow | changed mode | changed mode | changed mode";
    let told_back = ("fast".to_owned(), history.to_owned());
    assert_eq!(seen(&running, "one").await, told_back);
    for replica in ["two/0", "two/1"] {
        assert_eq!(seen(&running, replica).await, told);
    }

    // A key that `two` may not read: new instances, with their state, one after the other.
    let new = resolved(&directory, &engine, &tables(fast, "mode = \"new\", x = 1"));
    let plan = deployer.plan(&new, &PlanOptions::default()).unwrap();
    let text = plan.to_string();
    assert!(
        text.contains("replace `two`") && text.contains("because: config"),
        "{text}"
    );
    assert_eq!(deploy(&deployer, new).await, RolloutOutcome::Permanent);
    for replica in ["two/0", "two/1"] {
        let (mode, history) = seen(&running, replica).await;
        assert_eq!(mode, "new");
        assert!(history.ends_with("changed mode | restored"), "{history}");
    }
    // And back to the first, by its own values.
    assert_eq!(deploy(&deployer, first).await, RolloutOutcome::Permanent);
    assert_eq!(seen(&running, "one").await.0, "slow");
    assert_eq!(seen(&running, "two").await.0, "slow");
    system.shutdown().await;
}
