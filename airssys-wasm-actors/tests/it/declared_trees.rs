//! Trees of supervisors that a manifest declares.

use std::time::Duration;

use airssys_wasm_actors::{
    Application, ApplicationSpec, AutoShutdown, ChildSpec, ChildState, Event, Events, ExitReason,
    FindingKind, HealthCheck, ManifestErrors, ResolveOptions, RestartIntensity, RestartPolicy,
    ShutdownPolicy, Strategy, SupervisorSpec, System,
};

use crate::application::{Directory, resolve, start, system};
use crate::guests::{address, all_exited, started};

const PLAIN: &str = "file = \"sink.wasm\"";

fn manifest(directory: &Directory, tables: &str) -> ApplicationSpec {
    let text = format!(
        "[application]\nname = \"app\"\n{}",
        tables.replace("PLAIN", PLAIN)
    );
    ApplicationSpec::parse(directory.0.join("airssys.toml"), text).unwrap()
}

/// The tree as text: `app(one, group(two, three))`.
fn shape(spec: &SupervisorSpec) -> String {
    let child = |child: &ChildSpec| match child.as_supervisor() {
        Some(below) => shape(below),
        None => child.address.to_string(),
    };
    let children: Vec<_> = spec.children.iter().map(child).collect();
    format!("{}({})", spec.address, children.join(", "))
}

fn faults(tables: &str, system: &System) -> ManifestErrors {
    let directory = Directory::new("");
    let resolved =
        manifest(&directory, tables).resolve(system.engine(), &ResolveOptions::default());
    match resolved {
        Ok(application) => panic!("{}", shape(application.supervision())),
        Err(errors) => errors,
    }
}

fn tree(application: &Application) -> String {
    shape(application.supervision())
}

#[tokio::test]
async fn children_start_as_the_file_says_but_for_after() {
    let directory = Directory::new("");
    let system = system().await;
    for (tables, wanted) in [
        (
            "[components.a]\nPLAIN\n[components.b]\nPLAIN",
            "app(app/a, app/b)",
        ),
        (
            "[components.a]\nPLAIN\n[components.b]\nPLAIN\nunder = \"s\"\n[supervisors.s]\n[components.c]\nPLAIN\nunder = \"s\"",
            "app(app/a, app/s(app/b, app/c))",
        ),
        // What waits for something under another supervisor waits for the whole of it.
        (
            "[components.a]\nPLAIN\nafter = [\"c\"]\n[supervisors.s]\n[components.b]\nPLAIN\nunder = \"s\"\n\
             [components.c]\nPLAIN\nunder = \"s\"",
            "app(app/s(app/b, app/c), app/a)",
        ),
        (
            "[supervisors.s]\nafter = [\"t\"]\n[supervisors.t]\n[components.b]\nPLAIN\nunder = \"s\"\n\
             [components.c]\nPLAIN\nunder = \"t\"",
            "app(app/t(app/c), app/s(app/b))",
        ),
        (
            "[supervisors.in]\nunder = \"out\"\n[supervisors.out]\n[components.b]\nPLAIN\nunder = \"in\"\nafter = [\"c\"]\n\
             [components.c]\nPLAIN\nunder = \"out\"\nafter = [\"d\"]\n[components.d]\nPLAIN",
            "app(app/d, app/out(app/c, app/in(app/b)))",
        ),
    ] {
        let application = resolve(&manifest(&directory, tables), &system);
        assert_eq!(tree(&application), wanted, "{tables}");
    }
    system.shutdown().await;
}

#[tokio::test]
async fn every_key_of_a_tree_reaches_its_spec() {
    let directory = Directory::new("");
    let system = system().await;
    let tables = "[supervision]\nstrategy = \"rest-for-one\"\nauto-shutdown = \"any-significant\"\nquarantine-after = 3\n\
        [supervisors.s]\nstrategy = \"one-for-all\"\nrestarts = { max = 2, within = \"7s\" }\nauto-shutdown = \"all-significant\"\n\
        quarantine-after = 4\nrestart = \"transient\"\nshutdown = \"9s\"\nsignificant = true\nbackoff = { initial = \"3ms\" }\n\
        [components.a]\nPLAIN\nunder = \"s\"\nrestart = \"temporary\"\nsignificant = true\nstart-within = \"8s\"\n\
        health = { interval = \"2s\", threshold = 5 }\n\
        backoff = { initial = \"1ms\", factor = 3.0, max = \"4s\", jitter = 0.0, reset-after = \"5s\" }";
    let application = resolve(&manifest(&directory, tables), &system);
    let top = application.supervision();
    assert_eq!(
        (top.strategy, top.auto_shutdown, top.quarantine_after),
        (Strategy::RestForOne, AutoShutdown::AnySignificant, Some(3))
    );
    let defaults = RestartIntensity {
        max: 5,
        within: Duration::from_secs(30),
    };
    assert_eq!(top.intensity, defaults);
    let child = &top.children[0];
    assert_eq!(child.restart, RestartPolicy::Transient);
    assert_eq!(
        child.shutdown,
        ShutdownPolicy::Timeout(Duration::from_secs(9))
    );
    assert!(child.significant);
    assert_eq!(child.backoff.unwrap().initial, Duration::from_millis(3));
    let below = child.as_supervisor().unwrap();
    assert_eq!(
        (below.strategy, below.auto_shutdown, below.quarantine_after),
        (Strategy::OneForAll, AutoShutdown::AllSignificant, Some(4))
    );
    assert_eq!(
        below.intensity,
        RestartIntensity {
            max: 2,
            within: Duration::from_secs(7)
        }
    );
    let a = &below.children[0];
    assert!(a.significant);
    assert_eq!(
        (a.restart, a.start_within),
        (RestartPolicy::Temporary, Duration::from_secs(8))
    );
    let health = HealthCheck {
        interval: Duration::from_secs(2),
        threshold: 5,
        ..HealthCheck::default()
    };
    assert_eq!(a.health, Some(health));
    let backoff = a.backoff.unwrap();
    assert_eq!((backoff.factor, backoff.max), (3.0, Duration::from_secs(4)));
    assert_eq!(
        (backoff.jitter, backoff.reset_after),
        (0.0, Duration::from_secs(5))
    );
    system.shutdown().await;
}

#[tokio::test]
async fn a_tree_that_cannot_be_is_refused_with_its_place() {
    let system = system().await;
    for (tables, kind, wanted) in [
        (
            "[components.a]\nPLAIN\nunder = \"sup\"\n[supervisors.super]\n[components.b]\nPLAIN\nunder = \"super\"",
            FindingKind::UnknownActor,
            "`a` is under `sup`, and there is no such supervisor",
        ),
        (
            "[components.a]\nPLAIN\nunder = \"b\"\n[components.b]\nPLAIN",
            FindingKind::UnknownActor,
            "`a` is under `b`, which is a component",
        ),
        (
            "[components.a]\nPLAIN\nunder = \"s\"\n[supervisors.s]\nunder = \"t\"\n[supervisors.t]\nunder = \"s\"",
            FindingKind::BadValue,
            "supervisors go round in a circle: `s` under `t` under `s`",
        ),
        (
            "[components.a]\nPLAIN\n[supervisors.s]",
            FindingKind::BadValue,
            "nothing is under the supervisor `s`",
        ),
        (
            "[components.s]\nPLAIN\n[supervisors.s]\n[components.a]\nPLAIN\nunder = \"s\"",
            FindingKind::DuplicateName,
            "the supervisor `s` has the name of the component in line 3",
        ),
        (
            "[components.a]\nPLAIN\nunder = \"s\"\nafter = [\"s\"]\n[supervisors.s]",
            FindingKind::CircularStart,
            "`a` starts after `s`, which it is under",
        ),
        (
            "[components.a]\nPLAIN\nunder = \"s\"\n[supervisors.s]\nafter = [\"a\"]",
            FindingKind::CircularStart,
            "`s` starts after `a`, which is under it",
        ),
        // No circle between components, but between what starts as one.
        (
            "[components.a]\nPLAIN\nunder = \"s\"\nafter = [\"b\"]\n[components.b]\nPLAIN\nunder = \"t\"\n\
             [components.c]\nPLAIN\nunder = \"t\"\nafter = [\"d\"]\n[components.d]\nPLAIN\nunder = \"s\"\n\
             [supervisors.s]\n[supervisors.t]",
            FindingKind::CircularStart,
            "the start order is circular: `s` after `t` after `s`",
        ),
        (
            "[supervision]\nauto-shutdown = \"any-significant\"\n[components.a]\nPLAIN\nsignificant = true",
            FindingKind::BadValue,
            "`a` is significant and permanent",
        ),
        (
            "[components.a]\nPLAIN\nsignificant = true\nrestart = \"temporary\"",
            FindingKind::BadValue,
            "`a` is significant, and its supervisor never ends with its children",
        ),
        (
            "[components.a]\nPLAIN\nhealth = { out-of-rotation-after = 1 }",
            FindingKind::BadValue,
            "`a` has no other replicas to take its place in rotation",
        ),
        (
            "[components.a]\nPLAIN\nbackoff = { factor = 0.5 }",
            FindingKind::BadValue,
            "this `backoff` cannot be",
        ),
        (
            "[supervisors.s]\nbackoff = { jitter = 2.0 }\n[components.a]\nPLAIN\nunder = \"s\"",
            FindingKind::BadValue,
            "this `backoff` cannot be",
        ),
    ] {
        let errors = faults(tables, &system);
        assert_eq!(errors.findings.len(), 1, "{tables}: {errors}");
        let finding = &errors.findings[0];
        assert_eq!(finding.kind, kind, "{finding:?}");
        assert!(finding.what.starts_with(wanted), "{finding:?}");
        assert!(
            finding.at.is_some() && finding.help.is_some(),
            "{finding:?}"
        );
    }
    system.shutdown().await;
}

/// Waits until the supervisor of that name has been started once more.
async fn supervised(events: &mut Events, who: &str, after: u64) {
    loop {
        match events.recv().await.unwrap() {
            Event::SupervisorStarted {
                address,
                incarnation,
            } if address.as_str() == who && incarnation > after => {
                return;
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_restarts_together_and_nobody_else() {
    let directory = Directory::new("");
    let system = system().await;
    let tables = "[components.alone]\nPLAIN\n[supervisors.group]\nstrategy = \"one-for-all\"\n\
        [components.one]\nPLAIN\nunder = \"group\"\n[components.two]\nPLAIN\nunder = \"group\"";
    let running = start(&manifest(&directory, tables), &system).await;
    let incarnation = |name: &str| running.actor(name).unwrap().status().incarnation;
    let mut events = system.events();
    running.actor("one").unwrap().kill();
    started(&mut events, &address("app/two"), 1).await;
    assert_eq!(
        (incarnation("alone"), incarnation("one"), incarnation("two")),
        (1, 2, 2)
    );
    let group = system.find_supervisor(&address("app/group")).unwrap();
    assert_eq!(group.count_children().active, 2);
    system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_gives_up_is_restarted_and_then_ends_the_application() {
    let directory = Directory::new("");
    let system = system().await;
    let tables = "[supervision]\nrestarts = { max = 1, within = \"1h\" }\n\
        [components.alone]\nPLAIN\n[supervisors.group]\nrestarts = { max = 0, within = \"1h\" }\n\
        [components.one]\nPLAIN\nunder = \"group\"\n[components.two]\nPLAIN\nunder = \"group\"";
    let running = start(&manifest(&directory, tables), &system).await;
    let mut events = system.events();
    running.actor("one").unwrap().kill();
    supervised(&mut events, "app/group", 1).await;
    let children = system
        .find_supervisor(&address("app/group"))
        .unwrap()
        .which_children();
    assert!(
        children
            .iter()
            .all(|child| child.state == ChildState::Running)
    );
    assert_eq!(running.actor("alone").unwrap().status().incarnation, 1);

    running.actor("two").unwrap().kill();
    let whole = ["app/alone", "app/one", "app/two"];
    all_exited(&mut events, whole).await;
    let ended = running.ended().await.to_string();
    assert!(
        ended.contains(&ExitReason::CrashLoop.to_string()),
        "{ended}"
    );
    system.shutdown().await;
}
