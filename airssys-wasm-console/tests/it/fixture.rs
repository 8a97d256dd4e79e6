//! Hosts on sockets of their own, and what runs on them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use airssys_wasm::{
    CacheLocation, ComponentRef, Engine, EngineConfig, InstanceTemplate, TemplateSpec,
};
use airssys_wasm_actors::{
    ActorAddress, ActorRef, ChildSpec, Event, Events, RestartIntensity, System, SystemConfig,
};
use airssys_wasm_console::{ControlClient, ControlServer, ControlSocket};

/// Exports `test:t/work`: `work(n) -> n + 1`, `note(text)`, which traps, `trap()`, `spin()`.
pub(crate) const WORKER: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "work") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
    (func (export "note") (param i32 i32) unreachable)
    (func (export "trap") unreachable)
    (func (export "spin") (loop (br 0))))
  (core instance $i (instantiate $m))
  (func $work (param "n" u32) (result u32) (canon lift (core func $i "work")))
  (func $note (param "text" string)
    (canon lift (core func $i "note") (memory $i "memory") (realloc (func $i "realloc"))))
  (func $trap (canon lift (core func $i "trap")))
  (func $spin (canon lift (core func $i "spin")))
  (instance (export "test:t/work")
    (export "work" (func $work)) (export "note" (func $note))
    (export "trap" (func $trap)) (export "spin" (func $spin))))"#;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory that is removed at the end of the test, with a path short enough for sockets.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("airssys-console-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A host: a server, a client, a system. The server goes before its directory.
pub(crate) struct Host {
    pub(crate) server: ControlServer,
    pub(crate) client: ControlClient,
    pub(crate) system: System,
    pub(crate) socket: PathBuf,
    template: InstanceTemplate,
    _directory: Directory,
}

impl Host {
    pub(crate) async fn start() -> Self {
        let directory = Directory::new();
        let socket = directory.at("app.sock");
        let server = ControlServer::start(ControlSocket::bind(&socket).unwrap(), "app").unwrap();
        let engine = Engine::new(EngineConfig {
            cache: CacheLocation::Off,
            pool_instances_max: 20,
            ..EngineConfig::default()
        })
        .unwrap();
        let intensity = RestartIntensity {
            max: u32::MAX,
            within: Duration::from_secs(1),
        };
        let config = SystemConfig {
            intensity,
            events_capacity: 1 << 16,
            ..SystemConfig::new(engine.clone())
        };
        let system = System::start(config).await.unwrap();
        server.attach(&system);
        let bytes = wat::parse_str(WORKER).unwrap();
        let component = engine.load(&ComponentRef::Bytes(bytes.into())).unwrap();
        Self {
            server,
            client: ControlClient::at(&socket),
            system,
            socket,
            template: InstanceTemplate::link(&component, TemplateSpec::new("test")).unwrap(),
            _directory: directory,
        }
    }

    pub(crate) fn worker(&self, name: &str) -> ChildSpec {
        ChildSpec::component(address(name), self.template.clone())
    }

    pub(crate) async fn spawn(&self, name: &str) -> ActorRef {
        self.system.spawn(self.worker(name)).await.unwrap()
    }

    /// Nothing is under way, and every cast is handled or a dead letter.
    #[track_caller]
    pub(crate) fn balances(&self) {
        let counters = self.system.counters();
        assert_eq!(
            counters.casts,
            counters.casts_handled + counters.dead_letters,
            "{counters:?}"
        );
        assert_eq!(counters.dead_letters, self.system.dead_letters().total());
    }
}

pub(crate) fn address(text: &str) -> ActorAddress {
    text.parse().unwrap()
}

/// Waits for so many dead letters.
pub(crate) async fn dead(events: &mut Events, count: usize) {
    let mut left = count;
    while left > 0 {
        match events.recv().await {
            Some(Event::DeadLetter { .. }) => left -= 1,
            Some(_) => {}
            None => panic!("the system is gone"),
        }
    }
}

/// Waits until an incarnation of `who` after `after` is up.
pub(crate) async fn started(events: &mut Events, who: &ActorAddress, after: u64) {
    loop {
        match events.recv().await {
            Some(Event::Started {
                address,
                incarnation,
            }) if address == *who && incarnation > after => return,
            Some(_) => {}
            None => panic!("the system is gone"),
        }
    }
}
