//! What a manifest says of it, and what becomes of it with the application.

use airssys_wasm_actors::{
    Application, ApplicationSpec, ManifestErrors, ResolveOptions, RunningApplication,
};

use super::*;
use crate::application::{Directory, resolve as resolved};
use crate::guests::WORKER;
use crate::upgrades::V1;

fn directory() -> Directory {
    const COUNTERS: &str = include_str!("../../../../airssys-wasm/tests/it/resources/counters.wat");
    let directory = Directory::new("");
    for (file, wat) in [
        ("worker.wasm", WORKER.to_owned()),
        ("state.wasm", V1.stateful()),
        ("owner.wasm", COUNTERS.to_owned()),
    ] {
        std::fs::write(directory.0.join(file), wat::parse_str(wat).unwrap()).unwrap();
    }
    directory
}

fn spec(directory: &Directory, one: &str) -> ApplicationSpec {
    let text = format!("[application]\nname = \"app\"\n[components.one]\n{one}\n");
    ApplicationSpec::parse(directory.0.join("airssys.toml"), text).unwrap()
}

fn worker(more: &str) -> String {
    format!("file = \"worker.wasm\"\n{more}")
}

fn resolve(system: &System, one: &str) -> Result<Application, ManifestErrors> {
    let directory = directory();
    spec(&directory, one).resolve(system.engine(), &ResolveOptions::default())
}

async fn start(system: &System, one: &str) -> RunningApplication {
    let directory = directory();
    let application = resolved(&spec(&directory, one), system);
    application.start(system).await.unwrap()
}

#[tokio::test]
async fn every_key_has_its_meaning_and_its_default() {
    let system = system(&engine()).await;
    let outline = |one: &str| {
        let application = resolve(&system, one).unwrap_or_else(|errors| panic!("{errors}"));
        let one = application.outline().components.remove(0);
        (one.replicas, one.autoscale)
    };
    assert_eq!(outline(&worker("")), (1, None));
    let all = "autoscale = { min = 2, max = 6, queue-per-replica = 7, utilisation = 0.5, tolerance = 0.2, up-cooldown = \"3s\", \
               down-cooldown = \"4min\" }";
    let said = Autoscale {
        min: 2,
        max: 6,
        queue_per_replica: 7,
        utilisation: 0.5,
        tolerance: 0.2,
        up_cooldown: Duration::from_secs(3),
        down_cooldown: Duration::from_secs(240),
    };
    // It starts with the fewest, if nothing else is said.
    assert_eq!(outline(&worker(all)), (2, Some(said)));
    let table = "replicas = 3\n[components.one.autoscale]\nutilisation = 1";
    let said = Autoscale {
        utilisation: 1.0,
        ..Autoscale::default()
    };
    assert_eq!(outline(&worker(table)), (3, Some(said)));
    for fine in [
        // What becomes several may be taken out of rotation; what never does may be without an instance.
        "autoscale = {}\nhealth = { out-of-rotation-after = 2 }",
        "autoscale = { max = 1 }\npassivate-after = \"1min\"\nstateless = true",
    ] {
        outline(&worker(fine));
    }
    outline("file = \"state.wasm\"\nstateless = true\nautoscale = {}");
    outline("file = \"state.wasm\"\nrollout = { state = \"discard\" }\nautoscale = {}");
    outline("file = \"owner.wasm\"\nautoscale = { min = 2 }");
    outline("file = \"owner.wasm\"\nreplicas = 3\nautoscale = {}");
}

#[tokio::test]
async fn what_cannot_be_is_found_where_it_is_said() {
    let system = system(&engine()).await;
    for (one, line, what, help) in [
        (
            worker("autoscale = {\nmin = 0 }"),
            6,
            "cannot have no replicas",
            "`passivate-after` instead",
        ),
        (
            worker("[components.one.autoscale]\nmin = 3\nmax = 2"),
            7,
            "at least 3 replicas and at most 2",
            "a `min` of at most `max`",
        ),
        (
            worker("[components.one.autoscale]\nmin = 9"),
            6,
            "at least 9 replicas and at most 8",
            "a `min` of at most `max`",
        ),
        (
            worker("[components.one.autoscale]\nmax = 65"),
            6,
            "cannot have 65 replicas",
            "use at most 64",
        ),
        (
            worker("[components.one.autoscale]\nqueue-per-replica = 0"),
            6,
            "an aim of nothing",
            "at least 1",
        ),
        (
            worker("[components.one.autoscale]\nutilisation = 1.5"),
            6,
            "or of more than there can be",
            "above 0 and at most 1",
        ),
        (
            worker("[components.one.autoscale]\ntolerance = 1.0"),
            6,
            "hides everything",
            "below 1",
        ),
        (
            worker("replicas = 9\nautoscale = { min = 2 }"),
            5,
            "starts with more replicas than `autoscale` in line 6 allows",
            "at most 8",
        ),
        (
            worker("replicas = 1\n[components.one.autoscale]\nmin = 2"),
            5,
            "starts with fewer replicas than `autoscale` in line 7 allows",
            "leave `replicas` out",
        ),
        (
            worker("stateless = true\npassivate-after = \"1min\"\nautoscale = {}"),
            7,
            "replicas do not give up their instances",
            "leave `autoscale` out",
        ),
        (
            "file = \"state.wasm\"\nautoscale = {}".to_owned(),
            5,
            "holds in memory ends",
            "`stateless = true`",
        ),
        (
            worker("stateful = true\nautoscale = {}"),
            6,
            "holds in memory ends",
            "`state = \"discard\"`",
        ),
        (
            "file = \"owner.wasm\"\nautoscale = {}".to_owned(),
            5,
            "owns resources",
            "`min = 2`",
        ),
        (
            worker("spawned = true\nautoscale = {}"),
            6,
            "is spawned, and says `autoscale`",
            "leave it out",
        ),
    ] {
        let errors = resolve(&system, &one).map(|_| ()).unwrap_err();
        let found = errors.findings.iter().find(|one| one.what.contains(what));
        let found = found.unwrap_or_else(|| panic!("{one}: {errors}"));
        assert_eq!(found.at.unwrap().line, line, "{one}: {errors}");
        let said = found.help.as_ref().unwrap();
        assert!(said.contains(help), "{one}: {errors}");
        assert_eq!(errors.findings.len(), 1, "{one}: {errors}");
    }
}

#[tokio::test]
async fn an_unknown_key_of_it_is_found_with_what_was_meant() {
    let directory = directory();
    let text = "[application]\nname = \"app\"\n[components.one]\nfile = \"worker.wasm\"\nautoscale = { maks = 2 }\n";
    let file = directory.0.join("airssys.toml");
    let errors = ApplicationSpec::parse(file, text.to_owned()).unwrap_err();
    let text = errors.to_string();
    assert!(text.contains("`maks`") && text.contains("`max`"), "{text}");
}

/// It is the application's: it ends with it, and in the middle of a change of the number too.
#[tokio::test(start_paused = true)]
async fn it_ends_with_its_application_also_while_it_scales() {
    let engine = engine();
    let system = system(&engine).await;
    let one = worker("autoscale = { min = 2, max = 4 }\nreplicas = 4");
    for moment in 0..30_u64 {
        let running = start(&system, &one).await;
        let address = address("app/one");
        assert_eq!(
            system.autoscaled(&address).map(|it| (it.min, it.max)),
            Some((2, 4))
        );
        // Others of the system are not touched by whoever stops it.
        let bounds = Autoscale {
            max: 2,
            ..system.autoscaled(&address).unwrap()
        };
        let refused = system.autoscale(&address, bounds, ScaleOptions::default());
        assert!(refused.unwrap_err().to_string().contains("already"));
        // Nothing to do for a minute: one fewer, at about the time that it is stopped.
        let about = Duration::from_secs(60) + Duration::from_millis(100 * moment);
        tokio::time::sleep(about).await;
        running.stop().await;
        while system.autoscaled(&address).is_some() {
            tokio::task::yield_now().await;
        }
        while engine.instances() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(system.names(), []);
    }
}

/// Whoever has it running and lets go of it stops nothing.
#[tokio::test(start_paused = true)]
async fn it_goes_on_when_the_handle_of_the_application_is_dropped() {
    let system = system(&engine()).await;
    let mut events = system.events();
    drop(
        start(
            &system,
            &worker("autoscale = { min = 2, max = 4 }\nreplicas = 3"),
        )
        .await,
    );
    let (from, to, _) = next(&mut events).await;
    assert_eq!((from, to), (3, 2));
    system.shutdown().await;
    assert_eq!(system.replicas(&address("app/one")), None);
}
