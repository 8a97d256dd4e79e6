//! Actors that a component starts itself: whose they are, when they end, and how many there may be.

use std::collections::BTreeMap;

use airssys_wasm::{
    Args, CapabilityManifest, ComponentRef, InstanceTemplate, Policy, SpawnManifest, TemplateSpec,
    Value, grant,
};
use airssys_wasm_actors::{
    ActorRef, ActorState, ApplicationSpec, CallError, ChildSpec, Event, Events, FindingKind,
    ResolveOptions, RunningApplication, Spawning, Strategy, SupervisorSpec, System,
};

use crate::application::{Directory, system};
use crate::guests::{RELAY, WORKER, address, exited, started, template};

pub(crate) const SPAWNER: &[u8] = include_bytes!("../guests/components/spawner.wasm");

/// `parent` may spawn `worker`, which may spawn itself, four of them at a time and two generations deep.
const FAMILY: &str = "[supervision]\nrestarts = { max = 1000, within = \"1h\" }\n[components.parent]\nfile = \"spawner.wasm\"\nMORE\n\
    grants = { spawn = { components = [\"worker\"], children = 4, depth = 2 } }\n\
    [components.worker]\nfile = \"spawner.wasm\"\nspawned = true\nrestart = \"transient\"\n\
    config = { own = \"1\", both = \"2\" }\n\
    grants = { spawn = { components = [\"worker\"], children = 1000, depth = 1000 } }\n";

fn manifest(directory: &Directory, tables: &str) -> ApplicationSpec {
    std::fs::write(directory.0.join("spawner.wasm"), SPAWNER).unwrap();
    let text = format!("[application]\nname = \"app\"\n{tables}");
    ApplicationSpec::parse(directory.0.join("airssys.toml"), text).unwrap()
}

fn options() -> ResolveOptions {
    ResolveOptions {
        policy: airssys_wasm::Policy::permissive(),
        ..ResolveOptions::default()
    }
}

async fn family(system: &System, more: &str) -> RunningApplication {
    let directory = Directory::new("");
    let spec = manifest(&directory, &FAMILY.replace("MORE", more));
    let application = spec.resolve(system.engine(), &options()).unwrap();
    application.start(system).await.unwrap()
}

fn shown(value: Value) -> String {
    match value {
        Value::String(text) => text.into(),
        Value::List(all) => all.into_iter().map(shown).collect::<Vec<_>>().join(" "),
        other => panic!("{other:?}"),
    }
}

fn texts(all: &[&str]) -> Args {
    let mut args = Args::new();
    for text in all {
        args.push(Value::from(*text));
    }
    args
}

/// The result as text: the ok value, or the error after a `!`.
pub(crate) async fn ask(actor: &ActorRef, function: &str, args: &[&str]) -> String {
    let results = actor.call(function, texts(args)).await.unwrap();
    match results.into_values().next().unwrap() {
        Value::Result(Ok(None)) => "ok".to_owned(),
        Value::Result(Ok(Some(value))) => shown(*value),
        Value::Result(Err(Some(value))) => format!("!{}", shown(*value)),
        value => shown(value),
    }
}

pub(crate) async fn spawn(parent: &ActorRef, name: &str) -> String {
    ask(parent, "spawn", &["worker", name, "both", "3"]).await
}

fn at(system: &System, name: &str) -> ActorRef {
    system.whereis(&address(name)).unwrap()
}

/// What its spec lacks is found before it is started, and told to whoever asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_an_import_without_a_link_is_not_spawned() {
    let system = system().await;
    let spawned = SupervisorSpec::new(address("spawned")).strategy(Strategy::SimpleOneForOne);
    system.supervise(spawned).await.unwrap();
    let asked = CapabilityManifest {
        spawn: Some(SpawnManifest {
            components: vec!["worker".to_owned()],
            children: 4,
            depth: 1,
        }),
        ..CapabilityManifest::default()
    };
    let spec = TemplateSpec {
        grants: grant(&asked, &Policy::permissive()).unwrap(),
        ..TemplateSpec::new("parent")
    };
    let bytes = ComponentRef::Bytes(SPAWNER.to_vec().into());
    let component = system.engine().load(&bytes).unwrap();
    let parent = InstanceTemplate::link(&component, spec).unwrap();
    let relay = template(system.engine(), RELAY, &["test:t/work"]);
    let templates = ChildSpec::component(address("worker"), relay);
    let templates = BTreeMap::from([("worker".to_owned(), templates)]);
    let spawning = Spawning::new(address("spawned"), templates, 4, 1);
    let parent = ChildSpec::component(address("parent"), parent).spawning(spawning);
    let parent = system.spawn(parent).await.unwrap();
    let refused = spawn(&parent, "one").await;
    for word in [
        "!not-started",
        "`parent/one`",
        "`test:t/work`",
        "ChildSpec::link",
    ] {
        assert!(refused.contains(word), "{word}: {refused}");
    }
    assert!(system.whereis(&address("parent/one")).is_none());
    assert_eq!(ask(&parent, "children", &[]).await, "");
    system.shutdown().await;
}

/// Waits until the registration of that name has ended.
async fn gone(events: &mut Events, who: &str) {
    loop {
        match events.recv().await.unwrap() {
            Event::Gone { address, .. } if address.as_str() == who => return,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_starts_children_of_its_own_name_and_stops_them() {
    let system = system().await;
    let running = family(&system, "").await;
    let parent = running.actor("parent").unwrap();
    assert_eq!(ask(parent, "children", &[]).await, "");
    assert_eq!(spawn(parent, "one").await, "app/parent/one");
    assert_eq!(spawn(parent, "two").await, "app/parent/two");
    assert_eq!(ask(parent, "children", &[]).await, "one two");
    let one = at(&system, "app/parent/one");
    // The guest's key takes the place of the manifest's.
    assert_eq!(ask(&one, "config", &[]).await, "both=3 own=1");
    let (above, _) = system.child(&address("app/parent/one")).unwrap();
    assert_eq!(above.address().as_str(), "app/parent.spawned");

    let taken = spawn(parent, "one").await;
    assert!(
        taken.starts_with("!bad-name: there is a child `one` already"),
        "{taken}"
    );
    for name in ["", "a/b", "UP", ".."] {
        let refused = spawn(parent, name).await;
        assert!(refused.starts_with("!bad-name"), "{name}: {refused}");
    }
    let refused = ask(parent, "spawn", &["worker", "three", "refuse", "not today"]).await;
    assert!(
        refused.starts_with("!not-started") && refused.contains("not today"),
        "{refused}"
    );
    for (key, value) in [("", "v".to_owned()), ("k", "v".repeat(65_537))] {
        let refused = ask(parent, "spawn", &["worker", "three", key, &value]).await;
        assert!(refused.starts_with("!not-started"), "{refused}");
        assert!(
            refused.contains("no key") || refused.contains("65537 bytes"),
            "{refused}"
        );
    }
    assert_eq!(ask(parent, "children", &[]).await, "one two");
    let denied = ask(parent, "spawn", &["parent", "three", "k", "v"]).await;
    assert!(
        denied.starts_with("!denied") && denied.contains("components.parent.grants"),
        "{denied}"
    );

    assert_eq!(ask(parent, "stop", &["one"]).await, "ok");
    assert!(system.whereis(&address("app/parent/one")).is_none());
    assert_eq!(ask(parent, "stop", &["one"]).await, "!no-such-child");
    assert_eq!(ask(parent, "stop", &["parent"]).await, "!no-such-child");
    assert_eq!(ask(parent, "children", &[]).await, "two");
    assert_eq!(spawn(parent, "one").await, "app/parent/one");
    running.stop().await;
    assert!(system.actors().is_empty());
    system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_spawned_is_supervised_and_ends_with_who_spawned_it() {
    let system = system().await;
    let running = family(&system, "").await;
    let parent = running.actor("parent").unwrap();
    spawn(parent, "one").await;
    let one = at(&system, "app/parent/one");
    spawn(&one, "deep").await;
    let mut events = system.events();

    // A child that traps is restarted, without the children it had.
    let trapped = one.call("trap", ()).await.unwrap_err();
    assert!(matches!(trapped, CallError::CalleeDied { .. }), "{trapped}");
    started(&mut events, &address("app/parent/one"), 1).await;
    assert_eq!(ask(&one, "children", &[]).await, "");
    // At once, also while the one before is still being stopped.
    assert_eq!(spawn(&one, "deep").await, "app/parent/one/deep");
    assert_eq!(ask(parent, "children", &[]).await, "one");

    // Its parent takes all of them along, and has none when it is back.
    let mut events = system.events();
    parent.kill();
    exited(&mut events, &address("app/parent")).await;
    let mut left = system.events();
    for name in ["app/parent/one", "app/parent/one/deep"] {
        if system.whereis(&address(name)).is_some() {
            gone(&mut left, name).await;
            left = system.events();
        }
    }
    while parent.status().state != ActorState::Running {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(parent, "children", &[]).await, "");
    assert_eq!(spawn(parent, "one").await, "app/parent/one");
    running.stop().await;
    assert!(system.actors().is_empty());
    system.shutdown().await;
}

/// H8: every actor of a family spawns as much as it can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spawn_bomb_meets_its_quotas_and_ends_with_its_root() {
    let system = system().await;
    let running = family(&system, "").await;
    let parent = running.actor("parent").unwrap();
    spawn(parent, "one").await;
    let one = at(&system, "app/parent/one");
    spawn(&one, "deep").await;
    let deep = at(&system, "app/parent/one/deep");
    let refused = spawn(&deep, "deeper").await;
    assert!(
        refused.starts_with("!quota: depth: 2 generations"),
        "{refused}"
    );
    // What a child's own grant says does not reach further than its ancestor's.
    let mut asked = Vec::new();
    for spawner in [parent, &one] {
        for number in 0..50 {
            let (spawner, name) = (spawner.clone(), format!("n{number}"));
            asked.push(tokio::spawn(async move { spawn(&spawner, &name).await }));
        }
    }
    let mut refused = 0;
    for asked in asked {
        let told = asked.await.unwrap();
        refused += usize::from(told.starts_with("!quota: children: 4"));
    }
    // Those that are being started count twice, so that there can be fewer.
    assert!((98..=100).contains(&refused), "{refused}");
    assert!(system.actors().len() <= 5);

    system.find_supervisor(&address("app")).unwrap().kill();
    let ended = running.ended();
    tokio::pin!(ended);
    running.stop().await;
    ended.await;
    assert!(system.actors().is_empty(), "{:?}", system.names());
    system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_is_not_up_has_no_children() {
    let system = system().await;
    let running = family(&system, "config = { spawn-in-init = \"worker\" }").await;
    let parent = running.actor("parent").unwrap();
    assert_eq!(ask(parent, "in-init", &[]).await, "not-up");
    assert_eq!(spawn(parent, "late").await, "app/parent/late");
    system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_is_under_way_when_its_parent_is_killed_leaves_nobody() {
    let system = system().await;
    let running = family(&system, "").await;
    let parent = running.actor("parent").unwrap();
    for round in 0..20 {
        let asked = tokio::spawn({
            let parent = parent.clone();
            async move {
                let args = texts(&["worker", "child", "k", "v"]);
                parent.call("spawn", args).await.map(|_| ())
            }
        });
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        let mut events = system.events();
        let before = parent.status().incarnation;
        parent.kill();
        let _ = asked.await.unwrap();
        while parent.status().incarnation == before || parent.status().state != ActorState::Running
        {
            events.recv().await.unwrap();
        }
        // The message may have been the successor's to handle. If not, the name is taken by nobody.
        if ask(parent, "children", &[]).await.is_empty() {
            assert_eq!(spawn(parent, "child").await, "app/parent/child", "{round}");
        }
        assert_eq!(ask(parent, "stop", &["child"]).await, "ok");
        assert_eq!(system.actors().len(), 1, "{:?}", system.names());
    }
    system.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_spawned_is_found_before_anything_starts() {
    let system = system().await;
    let directory = Directory::new("");
    let worker = "[components.worker]\nfile = \"spawner.wasm\"\nspawned = true\n";
    let parent = |components: &str| {
        format!(
            "[components.parent]\nfile = \"spawner.wasm\"\ngrants = {{ spawn = {{ components = [{components}] }} }}\n"
        )
    };
    for (tables, kind, wanted) in [
        (
            format!("{}{worker}", parent("\"work\"")),
            FindingKind::UnknownActor,
            "`work` is to be spawned, and there is no such component",
        ),
        (
            format!("{}{worker}", parent("\"parent\"")),
            FindingKind::BadValue,
            "`parent` is to be spawned, and is started with the application",
        ),
        (
            format!("{}{worker}under = \"s\"\n", parent("\"worker\"")),
            FindingKind::BadValue,
            "`worker` is spawned, and says `under`",
        ),
        (
            format!("{}{worker}after = [\"parent\"]\n", parent("\"worker\"")),
            FindingKind::BadValue,
            "`worker` is spawned, and says `after`",
        ),
        (
            format!(
                "{}{worker}[sources.s]\nfile = \"spawner.wasm\"\nformat = \"lines\"\nto = \"worker\"\nfunction = \"stop\"\n",
                parent("\"worker\"")
            ),
            FindingKind::UnknownActor,
            "`worker` is spawned: there is no actor of that address",
        ),
    ] {
        let spec = manifest(&directory, &tables);
        let errors = match spec.resolve(system.engine(), &options()) {
            Ok(_) => panic!("{tables}"),
            Err(errors) => errors,
        };
        let found = errors
            .findings
            .iter()
            .find(|finding| finding.what.starts_with(wanted));
        assert_eq!(
            found.map(|finding| finding.kind),
            Some(kind),
            "{tables}: {errors}"
        );
    }
    let policy = ResolveOptions::default();
    let spec = manifest(&directory, &format!("{}{worker}", parent("\"worker\"")));
    let errors = match spec.resolve(system.engine(), &policy) {
        Ok(_) => panic!("granted"),
        Err(errors) => errors.to_string(),
    };
    assert!(
        errors.contains("the policy does not allow `spawn`"),
        "{errors}"
    );
    system.shutdown().await;
}

/// There is no actor of its address, it is alone, and whoever it is under ends with nobody.
#[tokio::test]
async fn what_is_said_of_a_spawned_component_and_never_comes_true_is_found() {
    let system = system().await;
    let directory = Directory::new("");
    let watcher = crate::signals::told::told("airssys:signals/down@0.1.0", "handle-down");
    for (file, wat) in [("watcher", watcher.as_str()), ("count", WORKER)] {
        let bytes = wat::parse_str(wat).unwrap();
        std::fs::write(directory.0.join(file).with_extension("wasm"), bytes).unwrap();
    }
    let parent = "[components.parent]\nfile = \"spawner.wasm\"\n\
         grants = { spawn = { components = [\"worker\"], children = 1 } }\n";
    let worker =
        |more: &str| format!("[components.worker]\nfile = \"count.wasm\"\nspawned = true\n{more}");
    for (more, line, what, help) in [
        (
            worker("[components.watcher]\nfile = \"watcher.wasm\"\nmonitors = [\"worker\"]\n"),
            11,
            "`worker` is spawned: there is no actor of that address",
            "started with the application",
        ),
        (
            worker("[report]\ncounted = { component = \"worker\", function = \"count\" }\n"),
            10,
            "`worker` is spawned: there is no actor of that address",
            "started with the application",
        ),
        (
            worker(
                "[report]\ntables = [ { title = \"t\", component = \"worker\", function = \"count\" } ]\n",
            ),
            10,
            "`worker` is spawned: there is no actor of that address",
            "started with the application",
        ),
        (
            worker("restart = \"transient\"\nsignificant = true\n"),
            10,
            "`worker` is spawned, and says `significant`",
            "leave it out",
        ),
        (
            worker("replicas = 64\n"),
            9,
            "`worker` is spawned, and says `replicas`",
            "leave it out",
        ),
    ] {
        let spec = manifest(&directory, &format!("{parent}{more}"));
        let found = match spec.resolve(system.engine(), &options()) {
            Ok(_) => panic!("{more}"),
            Err(errors) => errors.findings,
        };
        let [found] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(found.what, what);
        assert_eq!(found.at.as_ref().unwrap().line, line, "{found:?}");
        let told = found.help.as_ref().unwrap();
        assert!(told.contains(help), "{told}");
    }
    // One of each is what they say without that.
    let fine = worker("restart = \"transient\"\nsignificant = false\nreplicas = 1\n");
    let spec = manifest(&directory, &format!("{parent}{fine}"));
    spec.resolve(system.engine(), &options()).unwrap();
}

/// It had not been spawned when it was set, and could not be taken back any more.
#[test]
fn what_was_set_of_a_component_that_is_spawned_by_now_counts_no_longer() {
    let directory = Directory::new("");
    let spec = manifest(&directory, &FAMILY.replace("MORE", ""));
    let set = |name: &str| {
        let values = [("both".to_owned(), "set".to_owned())];
        (name.to_owned(), values.into())
    };
    let options = ResolveOptions {
        settings: [set("parent"), set("worker")].into(),
        ..options()
    };
    let application = spec.resolve(&crate::guests::engine(), &options).unwrap();
    let settings = application.settings();
    let names: Vec<_> = settings.keys().map(String::as_str).collect();
    assert_eq!(names, ["parent"]);
}
