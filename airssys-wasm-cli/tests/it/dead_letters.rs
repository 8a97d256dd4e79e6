//! `airssys dead-letters` on a host that has some: one in this process, since only native code casts so far.

use std::path::PathBuf;

use airssys_wasm::{
    CacheLocation, ComponentRef, Engine, EngineConfig, InstanceTemplate, TemplateSpec,
};
use airssys_wasm_actors::{
    ActorRef, ChildSpec, Event, Events, RestartIntensity, System, SystemConfig,
};
use airssys_wasm_console::{ControlServer, ControlSocket};

use crate::fixture::{ADDER, Ran, run, runtime_directory};

struct Host {
    runtime: tokio::runtime::Runtime,
    system: System,
    adder: ActorRef,
    events: Events,
    path: PathBuf,
    _server: ControlServer,
}

impl Host {
    fn start() -> Self {
        let path = runtime_directory().join("host.sock");
        let server = ControlServer::start(ControlSocket::bind(&path).unwrap(), "app").unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (system, adder) = runtime.block_on(async {
            let engine = Engine::new(EngineConfig {
                cache: CacheLocation::Off,
                pool_instances_max: 4,
                ..EngineConfig::default()
            })
            .unwrap();
            let bytes = wat::parse_str(ADDER).unwrap();
            let component = engine.load(&ComponentRef::Bytes(bytes.into())).unwrap();
            let template = InstanceTemplate::link(&component, TemplateSpec::new("adder")).unwrap();
            let mut config = SystemConfig::new(engine);
            config.intensity = RestartIntensity {
                max: u32::MAX,
                ..RestartIntensity::default()
            };
            let system = System::start(config).await.unwrap();
            let adder = ChildSpec::component("app/adder".parse().unwrap(), template);
            let adder = system.spawn(adder).await.unwrap();
            (system, adder)
        });
        server.attach(&system);
        Self {
            events: system.events(),
            runtime,
            system,
            adder,
            path,
            _server: server,
        }
    }

    /// Waits for a dead letter, and until its actor is up again.
    fn died(&mut self) {
        let events = &mut self.events;
        self.runtime.block_on(async {
            let mut dead = false;
            loop {
                match events.recv().await {
                    Some(Event::DeadLetter { .. }) => dead = true,
                    Some(Event::Started { .. }) if dead => return,
                    Some(_) => {}
                    None => panic!("the system is gone"),
                }
            }
        });
    }

    fn ask(&self, args: &[&str]) -> Ran {
        let path = self.path.to_str().unwrap();
        run(&[&["dead-letters"], args, &["--control", path]].concat())
    }
}

#[test]
fn letters_are_listed_shown_replayed_and_purged() {
    let mut host = Host::start();
    assert_eq!(host.ask(&[]).stdout, "0 of 0 kept (0 B); 0 ever\n");
    host.adder.cast("trap", ()).unwrap();
    host.died();
    let text = host.ask(&[]).stdout;
    assert!(
        text.contains("app/adder  test:app/add#trap  callee-died     1       1"),
        "{text}"
    );
    assert!(text.ends_with("; 1 ever\n"), "{text}");
    let json = host.ask(&["list", "--json", "--actor", "app/*"]).json();
    assert_eq!(json["letters"][0]["sequence"], 0);
    for none in [
        ["--reason", "stopped"],
        ["--older-than", "1h"],
        ["--actor", "app/other*"],
        ["--limit", "0"],
    ] {
        let json = host.ask(&[&["list", "--json"][..], &none].concat()).json();
        assert_eq!(json["letters"].as_array().unwrap().len(), 0, "{none:?}");
    }
    let text = host.ask(&["show", "0"]).stdout;
    assert!(
        text.contains("dead letter 0\n  for              app/adder\n"),
        "{text}"
    );
    assert!(text.contains("  from             the host\n"), "{text}");
    host.ask(&["show", "7"])
        .fails(7, &["there is no dead letter 7"]);

    for _ in 0..2 {
        let ran = host.ask(&["replay", "0"]);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (0, "sent again  1\n"),
            "{ran:?}"
        );
        host.died();
    }
    let ran = host.ask(&["replay", "--all"]);
    assert_eq!(ran.code, 7);
    assert!(ran.stdout.contains("only if forced"), "{ran:?}");
    assert!(
        ran.stderr.contains("1 of 1 letter was not sent again"),
        "{ran:?}"
    );
    let ran = host.ask(&["replay", "0", "9", "--force", "--json"]);
    assert_eq!(
        (ran.code, &ran.json()["accepted"]),
        (7, &serde_json::json!([0]))
    );
    assert_eq!(ran.error()["refused"], 1);
    host.died();
    assert!(host.ask(&[]).stdout.contains("  poison\n"));
    let ran = host.ask(&["purge", "9", "--json"]);
    assert_eq!((ran.code, &ran.json()["purged"]), (7, &0.into()));
    assert_eq!(ran.error()["control"], "no-such-letter");
    assert_eq!(ran.error()["message"], "1 of 1 letter is not there");
    let ran = host.ask(&["purge", "--poison"]);
    assert_eq!(ran.stdout, "1 letter thrown away\n");
    assert_eq!(
        host.ask(&["purge", "--all"]).stdout,
        "0 letters thrown away\n"
    );
    let counters = host.system.counters();
    assert_eq!((counters.casts, counters.dead_letters), (4, 4));
}

#[test]
fn saying_nothing_is_not_saying_all() {
    for verb in ["replay", "purge"] {
        run(&["dead-letters", verb]).fails(2, &["which letters?", "--all"]);
        run(&["dead-letters", verb, "1", "--all"]).fails(2, &["cannot be used with"]);
        run(&["dead-letters", verb, "1", "--actor", "a"]).fails(2, &["cannot be used with"]);
        run(&["dead-letters", verb, "one"]).fails(2, &["one"]);
    }
    run(&["dead-letters", "--older-than", "soon"]).fails(2, &["soon"]);
    run(&["dead-letters", "shwo"]).fails(2, &["shwo", "show"]);
}

#[test]
fn crashes_are_listed_and_shown() {
    let mut host = Host::start();
    host.adder.cast("trap", ()).unwrap();
    host.died();
    let path = host.path.to_str().unwrap();
    let ask = |args: &[&str]| run(&[&["crashes"], args, &["--control", path]].concat());
    let text = ask(&[]).stdout;
    assert!(text.contains("app/adder"), "{text}");
    assert!(text.contains("unreachable  <wasm function "), "{text}");
    assert!(text.ends_with("; 1 ever, 0 dropped\n"), "{text}");
    let text = ask(&["show", "0"]).stdout;
    for part in [
        "  reason           unreachable\n",
        "  fault            unreachable\n",
        "  supervisor       system\n",
        "  backtrace\n     0  <wasm function ",
        "  last messages\n",
        " before: cast of test:app/add#trap from the host, 0 B: in-hand\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
