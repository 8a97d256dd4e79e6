//! A manifest of which only values of a configuration have changed: deployed by telling, undone by telling.

use airssys_wasm::{InstanceIdentity, NoOutbound, Policy};
use airssys_wasm_actors::deployment::{
    DeployOptions, Deployer, PlanOptions, RolloutOutcome, register_first,
};
use airssys_wasm_actors::{
    Application, ConfigOrder, ConfigSource, Registry, RegistryOptions, ResolveOptions,
    RunningApplication, ScaleOptions,
};

use super::layers::{options, written};
use super::{ask, read};
use crate::application::Directory;
use crate::guests::{WORKER, engine, engine_of, system, template};

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

/// One that neither takes its old values back nor can be made again runs the new ones, and the next deployment makes it
/// new, whatever that is of.
#[tokio::test]
async fn who_could_not_be_told_back_is_replaced_by_the_next_deployment() {
    let directory = Directory::new("");
    let engine = engine_of(5);
    let system = system(&engine).await;
    // The old values are what `one` refuses when it is told of them.
    let old = tables("mode = \"slow\", verdict = \"not that\"", "mode = \"slow\"");
    let first = resolved(&directory, &engine, &old);
    let running = first.clone().start(&system).await.unwrap();
    let deployer = Deployer::new(&running, first.clone(), None);
    let identity = InstanceIdentity {
        address: "other".into(),
        generation: 1,
    };
    // The place that another `one` would need.
    let other = template(&engine, WORKER, &[]);
    let other = other.instantiate(identity, Box::new(NoOutbound)).await;
    let other = other.unwrap();
    let refusing = tables("mode = \"fast\"", "mode = \"fast\", verdict = \"no\"");
    let new = resolved(&directory, &engine, &refusing);
    match deploy(&deployer, new).await {
        RolloutOutcome::Failed { stuck, .. } => assert_eq!(stuck.len(), 1, "{stuck:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(seen(&running, "one").await.0, "fast");
    assert_eq!(seen(&running, "two").await.0, "slow");

    // Setting what is set already is a deployment now, too.
    let same = order("one", &[("mode", "slow")], &[], false);
    let configured = deployer.configure(same, DeployOptions::default()).await;
    let failed = configured.unwrap().unwrap();
    let text = failed.plan().to_string();
    assert!(
        text.contains("replace `one`") && text.contains("because: mixed"),
        "{text}"
    );
    assert!(!text.contains("`two`"), "{text}");
    // There is still no room for it.
    let end = failed.finished().await;
    assert!(!matches!(end, RolloutOutcome::Permanent), "{end:?}");
    drop(other);
    assert_eq!(
        deploy(&deployer, first.clone()).await,
        RolloutOutcome::Permanent
    );
    for (name, replicas) in [("one", 1), ("two", 2)] {
        assert_eq!(seen(&running, name).await.0, "slow");
        let address = format!("app/{name}").parse().unwrap();
        assert_eq!(system.replicas(&address), Some(replicas));
    }
    let plan = deployer.plan(&first, &PlanOptions::default()).unwrap();
    assert!(plan.is_empty(), "{plan}");
    system.shutdown().await;
}

fn order(component: &str, set: &[(&str, &str)], unset: &[&str], reload: bool) -> ConfigOrder {
    let owned = |text: &&str| (*text).to_owned();
    let set = set.iter();
    ConfigOrder {
        component: (!component.is_empty()).then(|| component.to_owned()),
        set: set.map(|(key, value)| (owned(key), owned(value))).collect(),
        unset: unset.iter().map(owned).collect(),
        reload,
    }
}

async fn configured(deployer: &Deployer, order: ConfigOrder) -> Option<RolloutOutcome> {
    let rollout = deployer.configure(order, DeployOptions::default()).await;
    match rollout.unwrap() {
        Some(rollout) => Some(rollout.finished().await),
        None => None,
    }
}

#[tokio::test]
async fn what_is_set_counts_until_it_is_unset_and_is_there_when_the_host_boots_again() {
    let directory = Directory::new("");
    std::fs::write(directory.0.join("one.toml"), "level = 1\n").unwrap();
    let slow = "mode = \"slow\"";
    let tables = tables(slow, slow).replacen("config =", "config-file = \"one.toml\"\nconfig =", 1);
    let engine = engine();
    let system = system(&engine).await;
    let first = resolved(&directory, &engine, &tables);
    let registry = Registry::open(&directory.0.join("state"), RegistryOptions::default()).unwrap();
    let number = register_first(&registry, &first, &DeployOptions::default()).unwrap();
    let running = first.clone().start(&system).await.unwrap();
    let deployer = Deployer::new(&running, first, Some((registry.clone(), number)));
    // The file is another one by now, and what is recorded is what runs.
    std::fs::write(directory.0.join("configured.wasm"), "rebuilt").unwrap();

    let permanent = Some(RolloutOutcome::Permanent);
    let fast = order("one", &[("mode", "fast")], &[], false);
    assert_eq!(configured(&deployer, fast.clone()).await, permanent);
    assert_eq!(seen(&running, "one").await.0, "fast");
    assert_eq!(configured(&deployer, fast).await, None, "it is so already");
    let number = deployer.current_number();
    // The same value from above is no step, and is recorded all the same.
    let same = order("two", &[("mode", "slow")], &[], false);
    assert_eq!(configured(&deployer, same).await, permanent);
    assert_eq!(deployer.current_number(), number.map(|number| number + 1));
    assert_eq!(seen(&running, "two/0").await.1, "init mode=slow");
    let refused = order("one", &[("mode", "x"), ("verdict", "not that")], &[], false);
    let outcome = configured(&deployer, refused).await;
    assert!(
        matches!(outcome, Some(RolloutOutcome::RolledBack { .. })),
        "{outcome:?}"
    );
    assert_eq!(seen(&running, "one").await.0, "fast");

    std::fs::write(directory.0.join("one.toml"), "level = 2\nmode = \"file\"\n").unwrap();
    let reload = order("", &[], &[], true);
    assert_eq!(configured(&deployer, reload.clone()).await, permanent);
    let one = system.whereis(&"app/one".parse().unwrap()).unwrap();
    assert_eq!(read(&one, "level").await, "2");
    assert_eq!(read(&one, "mode").await, "fast", "what is set counts more");
    for (order, words) in [
        (
            order("none", &[("a", "1")], &[], false),
            "there is no component `none`",
        ),
        (order("one", &[], &["level"], false), "of the layer `file`"),
        (order("", &[("a", "1")], &[], false), "name it"),
        (
            order("decider", &[("a", "1")], &[], false),
            "does not export `airssys:actor/init`",
        ),
        (ConfigOrder::default(), "nothing is to be set"),
    ] {
        let refused = deployer.configure(order, DeployOptions::default()).await;
        let text = refused.unwrap_err().to_string();
        assert!(text.contains(words), "{text}");
    }
    std::fs::remove_file(directory.0.join("one.toml")).unwrap();
    let gone = deployer.configure(reload, DeployOptions::default()).await;
    assert!(
        gone.unwrap_err()
            .to_string()
            .contains("there is no such file")
    );
    system.shutdown().await;

    // A host that boots finds what was set.
    std::fs::write(directory.0.join("one.toml"), "level = 3\n").unwrap();
    let boot = registry
        .recover(deployer.current().name(), 1)
        .unwrap()
        .boot
        .unwrap();
    assert_eq!(boot.settings["one"]["mode"], "fast");
    let again = |settings| {
        let spec = written(&directory, &tables);
        let options = ResolveOptions {
            settings,
            ..options(Policy::permissive())
        };
        let application = spec.resolve(&engine, &options);
        application.unwrap_or_else(|errors| panic!("{errors}"))
    };
    let booted = again(boot.settings);
    let one = booted
        .components()
        .iter()
        .find(|one| one.name == "one")
        .unwrap();
    let values: Vec<_> = one.config.values().collect();
    assert_eq!(
        values,
        [
            ("level", "3", ConfigSource::File),
            ("mode", "fast", ConfigSource::Set)
        ]
    );
    let unset = booted
        .configured(&order("one", &[], &["mode"], false))
        .unwrap();
    assert!(!unset.settings().contains_key("one"));
    assert!(unset.settings().contains_key("two"));
    // The tree it starts is of the new values.
    let system = crate::guests::system(&engine).await;
    let running = unset.start(&system).await.unwrap();
    assert_eq!(seen(&running, "one").await.0, "slow");
    system.shutdown().await;
}

#[tokio::test]
async fn however_many_replicas_there_are_by_now_each_is_told() {
    let directory = Directory::new("");
    let (slow, fast) = ("mode = \"slow\"", "mode = \"fast\"");
    let engine = engine();
    let system = system(&engine).await;
    let first = resolved(&directory, &engine, &tables(slow, slow));
    let running = first.clone().start(&system).await.unwrap();
    let deployer = Deployer::new(&running, first, None);
    let more = ScaleOptions {
        discard_state: true,
        ..ScaleOptions::default()
    };
    let two = "app/two".parse().unwrap();
    system.scale(&two, 3, more).await.unwrap();

    let new = resolved(&directory, &engine, &tables(slow, fast));
    assert_eq!(deploy(&deployer, new).await, RolloutOutcome::Permanent);
    for replica in ["two/0", "two/1", "two/2"] {
        let (mode, history) = seen(&running, replica).await;
        assert_eq!(
            (mode.as_str(), history.as_str()),
            ("fast", "init mode=slow | changed mode")
        );
    }
    // It is told again, and nothing of the first time stands in the way of fewer.
    system.scale(&two, 1, more).await.unwrap();
    let new = resolved(&directory, &engine, &tables(slow, "mode = \"last\""));
    assert_eq!(deploy(&deployer, new).await, RolloutOutcome::Permanent);
    assert_eq!(seen(&running, "two/0").await.0, "last");
    assert_eq!(system.replicas(&two), Some(1));
    system.shutdown().await;
}
