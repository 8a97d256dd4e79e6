//! Hostile guests as actors (HOSTILE.md): each is refused with its own fault, and nobody else notices.
//!
//! [`Case`] owns what is asserted of every one: the caller has one typed error of the right class; the supervisor has seen
//! one exit of that class for each death, and the audit trail has one record; a restarted actor answers; the neighbour
//! answers and has never ended; and at the end no instance, name or message is left. The pool has room for the two actors
//! only, so that a slot that was not given back would be missed at once. Cases that ask for memory run in a process of
//! their own, whose peak may grow by the guest's cap and 32 MiB.

mod abi;
mod callers;
mod floods;
mod handles;
mod words;

use std::fs;
use std::io::Write;
use std::process::Command;
use std::sync::{Arc, Mutex};

use airssys_wasm::{
    AuditConfig, AuditSinkConfig, CacheLocation, CapabilityManifest, ComponentRef, Engine,
    EngineConfig, InstanceTemplate, IntoArgs, Limits, Policy, TemplateSpec, grant,
};
use airssys_wasm_actors::{ActorRef, CallError, ChildSpec, Event, Events, System};

use crate::guests::{WORKER, address, system, template};

/// Deaths of each case: more than the pool has slots.
const DEATHS: u64 = 3;

/// The audit trail, kept in memory.
#[derive(Clone, Default)]
struct Trail(Arc<Mutex<Vec<u8>>>);

impl Write for Trail {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Trail {
    /// What the records of deaths say, in order.
    fn deaths(&self) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines
            .filter(|line: &serde_json::Value| line["event"] == "died")
            .collect()
    }
}

fn engine_of(pool_instances_max: u32, trail: &Trail) -> Engine {
    Engine::new(EngineConfig {
        cache: CacheLocation::Off,
        pool_instances_max,
        audit: AuditConfig {
            sink: AuditSinkConfig::Writer(Box::new(trail.clone())),
            ..AuditConfig::default()
        },
        ..EngineConfig::default()
    })
    .unwrap()
}

/// A component in the text format with what it asks for granted.
fn granted(
    engine: &Engine,
    wat: &str,
    limits: Limits,
    asked: &CapabilityManifest,
) -> InstanceTemplate {
    let bytes = wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
    let component = engine.load(&ComponentRef::Bytes(bytes.into())).unwrap();
    let spec = TemplateSpec {
        limits,
        grants: grant(asked, &Policy::permissive()).unwrap(),
        ..TemplateSpec::new("villain")
    };
    InstanceTemplate::link(&component, spec).unwrap()
}

/// A villain, and a neighbour under the same supervisor.
struct Case {
    engine: Engine,
    system: System,
    events: Events,
    trail: Trail,
    villain: ActorRef,
    neighbour: ActorRef,
    /// The kinds of the villain's exits, as the supervisor was told them.
    exits: Vec<&'static str>,
}

impl Case {
    /// The component exports `fine() -> u32`, which is 7, and what is to end it.
    async fn new(wat: &str, limits: Limits, asked: &CapabilityManifest) -> Self {
        let trail = Trail::default();
        let engine = engine_of(2, &trail);
        let system = system(&engine).await;
        let events = system.events();
        let neighbour = template(&engine, WORKER, &[]);
        let villain = granted(&engine, wat, limits, asked);
        let children = vec![
            ChildSpec::component(address("neighbour"), neighbour),
            ChildSpec::component(address("villain"), villain),
        ];
        let mut started = system.supervisor().start(children).await.unwrap();
        Self {
            villain: started.pop().unwrap(),
            neighbour: started.pop().unwrap(),
            engine,
            system,
            events,
            trail,
            exits: Vec::new(),
        }
    }

    async fn neighbour_answers(&self) {
        let answer = self.neighbour.call("work", (1_u32,)).await.unwrap();
        assert_eq!(answer, (2_u32,).into_args());
        assert_eq!(self.neighbour.status().incarnation, 1);
    }

    async fn villain_is_fine(&self) {
        let answer = self.villain.call("fine", ()).await.unwrap();
        assert_eq!(answer, (7_u32,).into_args());
    }

    fn note(&mut self, event: Event) {
        if let Event::Exited {
            address, reason, ..
        } = event
            && address.as_str() == "villain"
        {
            self.exits.push(reason.kind());
        }
    }

    /// Its supervisor has started its `incarnation`.
    async fn restarted(&mut self, incarnation: u64) {
        while self.villain.status().incarnation < incarnation || !self.villain.status().running {
            let event = self.events.recv().await.unwrap();
            self.note(event);
        }
    }

    /// Each call of the function ends it, in a fault of this class.
    async fn dies(&mut self, function: &str, args: impl IntoArgs, class: &str) {
        let args = args.into_args();
        for _ in 0..DEATHS {
            let before = self.villain.status().incarnation;
            self.villain_is_fine().await;
            let error = self.villain.call(function, args.clone()).await.unwrap_err();
            let CallError::CalleeDied { reason, .. } = &error else {
                panic!("{function}: {error}");
            };
            assert_eq!(reason.kind(), class, "{function}: {error}");
            assert!(error.to_string().len() < 5_000, "{function}");
            self.restarted(before + 1).await;
            self.neighbour_answers().await;
        }
    }

    /// All is over: who died how often, and what is left of it.
    async fn over(mut self, class: &str, deaths: usize) {
        self.villain_is_fine().await;
        self.neighbour_answers().await;
        let counters = self.system.counters();
        assert_eq!(
            counters.calls,
            counters.replies + counters.call_errors + counters.calls_abandoned
        );
        assert_eq!(
            counters.casts,
            counters.casts_handled + counters.dead_letters
        );
        let (villain, neighbour) = (self.villain.status(), self.neighbour.status());
        assert_eq!((villain.queued, neighbour.queued), (0, 0));
        assert_eq!((villain.queued_bytes, villain.resources), (0, 0));

        self.system.shutdown().await;
        loop {
            match self.events.recv().await.unwrap() {
                Event::SupervisorEnded { .. } => break,
                event => self.note(event),
            }
        }
        let died = self.exits.iter().filter(|kind| **kind == class).count();
        assert_eq!(died, deaths, "{:?}", self.exits);
        assert_eq!(self.exits.len(), deaths + 1, "{:?}", self.exits);
        self.engine.audit().flush();
        let recorded = self.trail.deaths();
        assert_eq!(recorded.len(), deaths, "{recorded:?}");
        for death in recorded {
            assert_eq!(death["class"], class, "{death}");
            assert!(death.to_string().len() < 10_000);
        }
        assert_eq!(self.engine.instances(), 0);
        assert!(self.system.names().is_empty());
    }
}

/// Nothing granted, the standard limits: each call of `go` with these ends it.
async fn villain(wat: &str, args: impl IntoArgs, class: &str) {
    let mut case = Case::new(wat, Limits::default(), &CapabilityManifest::default()).await;
    case.dies("go", args, class).await;
    case.over(class, usize::try_from(DEATHS).unwrap()).await;
}

/// Set in the process of one test.
const ALONE: &str = "AIRSSYS_TEST_ALONE";

/// Runs `body` in a process that runs nothing else; its peak of resident memory may grow by `mib` there.
fn alone(test: &str, mib: u64, body: impl Future<Output = ()>) {
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let before = peak_kib();
        runtime.block_on(body);
        let grown = peak_kib().saturating_sub(before);
        assert!(grown < mib * 1_024, "it grew by {grown} KiB");
        return;
    }
    let out = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(ALONE, test)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{}\n{text}\n{errors}", out.status);
    assert!(text.contains("1 passed"), "{text}");
}

/// The most memory that this process has had resident.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse().unwrap()
}
