//! Crash reports: no secrets, bounds, and the right report for each way to end.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_wasm::{
    CapabilityManifest, ComponentRef, Engine, FaultClass, InstanceTemplate, Limits, Policy,
    Surface, TemplateSpec, WitError, grant,
};
use airssys_wasm_actors::{
    Actor, ActorRef, ChildHealth, ChildSpec, Context, CrashFilter, CrashLimits, CrashReport,
    HealthCheck, Message, MessageOutcome, MessageSender, RECENT_MESSAGES, StartError, System,
    SystemConfig,
};

use crate::guests::{
    WORKER, address, all_exited, engine, exited, started, system, template, template_with,
};

/// Exports `note(text)` and `blob(bytes)`, which trap, and an `init` that refuses with the value of the first pair of its
/// configuration, or with `REFUSAL` where there is none.
fn secretive(refusal: &str) -> String {
    let length = refusal.len();
    let always = i32::from(!refusal.is_empty());
    format!(
        r#"(component
  (core module $m
    (memory (export "memory") 1)
    (data (i32.const 64) "{refusal}")
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at))
    (func (export "init") (param $list i32) (param $count i32) (result i32)
      (i32.store8 (i32.const 16) (i32.or (i32.const {always}) (i32.ne (local.get $count) (i32.const 0))))
      (i32.store (i32.const 20) (i32.const 64))
      (i32.store (i32.const 24) (i32.const {length}))
      (if (local.get $count) (then
        (i32.store (i32.const 20) (i32.load offset=8 (local.get $list)))
        (i32.store (i32.const 24) (i32.load offset=12 (local.get $list)))))
      (i32.const 16))
    (func (export "note") (param i32 i32) unreachable))
  (core instance $i (instantiate $m))
  (func $init (param "config" (list (tuple string string))) (result (result (error string)))
    (canon lift (core func $i "init") (memory $i "memory") (realloc (func $i "realloc"))))
  (func $note (param "text" string)
    (canon lift (core func $i "note") (memory $i "memory") (realloc (func $i "realloc"))))
  (func $blob (param "bytes" (list u8))
    (canon lift (core func $i "note") (memory $i "memory") (realloc (func $i "realloc"))))
  (instance (export "airssys:actor/init@0.1.0") (export "init" (func $init)))
  (instance (export "test:t/work") (export "note" (func $note)) (export "blob" (func $blob))))"#
    )
}

fn with_env(engine: &Engine, wat: &str, value: &str) -> InstanceTemplate {
    let asked = CapabilityManifest {
        env: BTreeMap::from([("TOKEN".to_owned(), value.to_owned())]),
        ..CapabilityManifest::default()
    };
    let bytes = wat::parse_str(wat).unwrap();
    let component = engine.load(&ComponentRef::Bytes(bytes.into())).unwrap();
    let spec = TemplateSpec {
        grants: grant(&asked, &Policy::permissive()).unwrap(),
        ..TemplateSpec::new("secretive")
    };
    InstanceTemplate::link(&component, spec).unwrap()
}

/// The log, kept in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Logs what this thread does, for as long as the guards live. There are two subscribers: where there is only one,
    /// `tracing` asks that of the thread which comes to an event first whether it is wanted, and here that may be
    /// another test's, which has none.
    fn listen(&self) -> (tracing::Dispatch, tracing::subscriber::DefaultGuard) {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        let other = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_writer(std::io::sink)
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        (tracing::Dispatch::new(other), guard)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// [`WORKER`], whose functions have names.
fn named() -> String {
    let named = |text: String, name: &str| {
        let export = format!("(export \"{name}\")");
        text.replacen(
            &format!("(func {export}"),
            &format!("(func ${name} {export}"),
            1,
        )
    };
    named(named(WORKER.to_owned(), "trap"), "spin")
}

fn all(system: &System) -> Vec<Arc<CrashReport>> {
    system.crashes().list(&CrashFilter::default())
}

/// The only report there is.
fn only(system: &System) -> Arc<CrashReport> {
    let mut reports = all(system);
    assert_eq!(reports.len(), 1, "{reports:?}");
    reports.remove(0)
}

#[tokio::test]
async fn no_secret_is_in_a_report_or_the_log_of_it() {
    let log = Log::default();
    let _listening = log.listen();
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let secrets = [
        "c0nfig-s3cret",
        "env-s3cret",
        "arg-s3cret",
        "payl0ad-s3cret",
        "qu\"ote\n-s3cret",
    ];

    // A guest that repeats its configuration, or its environment, when it refuses to start.
    let plain = with_env(&engine, &secretive(""), secrets[1]);
    for value in [secrets[0], secrets[4]] {
        let child = ChildSpec::component(address("refuses"), plain.clone())
            .config(vec![("key".to_owned(), value.to_owned())]);
        assert!(system.spawn(child).await.is_err());
    }
    let told = with_env(&engine, &secretive("my token is env-s3cret!"), secrets[1]);
    let child = ChildSpec::component(address("tells"), told);
    assert!(system.spawn(child).await.is_err());
    assert_eq!(
        all(&system)[2].reason,
        "start failed: `init` refused: my token is [left out]!"
    );

    // Arguments and payloads, by calls on both roads and by casts.
    let child = ChildSpec::component(address("traps"), plain);
    let traps = system.spawn(child).await.unwrap();
    traps.call("note", (secrets[2],)).await.unwrap_err();
    started(&mut events, traps.address(), 1).await;
    traps.cast("note", (secrets[2],)).unwrap();
    started(&mut events, traps.address(), 2).await;
    let payload = bytes::Bytes::from_static(b"payl0ad-s3cret");
    traps
        .cast("blob", (airssys_wasm::Value::Bytes(payload),))
        .unwrap();
    started(&mut events, traps.address(), 3).await;

    let reports = all(&system);
    assert_eq!(reports.len(), 6);
    let log = log.text();
    assert_eq!(log.matches("an actor has crashed").count(), 6, "{log}");
    let text = format!("{reports:?}\n{log}");
    for secret in ["s3cret", "qu\"ote", "TOKEN"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    // The header of the message in hand is there, with its size.
    let last = reports[5].recent.last().unwrap();
    assert_eq!(
        (last.function.as_str(), last.cast, last.outcome),
        ("test:t/work#blob", true, MessageOutcome::InHand)
    );
    assert!(last.bytes >= 14 && last.bytes < 14 + 64, "{last:?}");
}

/// Does what it is told to.
struct Native;

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failure(String);

impl Actor for Native {
    type Error = Failure;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:native; interface native { work: func(n: u32); fail: func(); panics: func(); leave: func(); }",
        )
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> Result<(), Failure> {
        match message.function() {
            "fail" => return Err(Failure("f".repeat(5_000))),
            "panics" => panic!("on purpose"),
            "leave" => ctx.stop(),
            _ => message.reply(()),
        }
        Ok(())
    }

    async fn health(&mut self) -> ChildHealth {
        ChildHealth::Failed("tired".to_owned())
    }
}

async fn native(system: &System, name: &str) -> ActorRef {
    let child = ChildSpec::native(address(name), || Native);
    system.spawn(child).await.unwrap()
}

#[tokio::test]
async fn a_storm_of_crashes_stays_within_the_bounds() {
    const STORM: u64 = 10_000;
    let engine = engine();
    let config = SystemConfig {
        intensity: airssys_wasm_actors::RestartIntensity {
            max: u32::MAX,
            within: Duration::from_secs(1),
        },
        events_capacity: 1 << 17,
        ..SystemConfig::new(engine)
    };
    let system = System::start(config).await.unwrap();
    let mut events = system.events();
    let actor = native(&system, "app/storm").await;
    for _ in 0..10 {
        for _ in 0..STORM / 10 {
            actor.cast("fail", ()).unwrap();
        }
        for _ in 0..STORM / 10 {
            exited(&mut events, actor.address()).await;
        }
    }
    let crashes = system.crashes();
    let limits = CrashLimits::default();
    let (kept, bytes) = crashes.kept();
    assert_eq!(crashes.total(), STORM);
    assert_eq!(crashes.dropped(), STORM - u64::try_from(kept).unwrap());
    assert!(kept > 100 && kept <= limits.count_max, "{kept}");
    assert!(bytes <= limits.bytes_max, "{bytes}");
    let reports = all(&system);
    assert_eq!(reports.len(), kept);
    let sum: usize = reports.iter().map(|report| report.bytes).sum();
    assert_eq!(sum, bytes);
    // The newest are kept, in order, and each has its own number.
    let numbers = reports.iter().map(|report| report.sequence);
    assert!(numbers.eq(STORM - u64::try_from(kept).unwrap()..STORM));
    assert!(reports.iter().all(|report| report.reason.len() < 4_200));
    assert_eq!(crashes.clear(), kept);
    assert_eq!(crashes.kept(), (0, 0));
    assert_eq!(
        (crashes.total(), crashes.dropped()),
        (STORM, STORM - u64::try_from(kept).unwrap())
    );
}

#[tokio::test]
async fn a_store_without_room_numbers_and_drops() {
    let config = SystemConfig {
        crashes: CrashLimits {
            count_max: 0,
            ..CrashLimits::default()
        },
        ..SystemConfig::new(engine())
    };
    let system = System::start(config).await.unwrap();
    let mut events = system.events();
    let actor = native(&system, "a").await;
    actor.cast("panics", ()).unwrap();
    exited(&mut events, actor.address()).await;
    let crashes = system.crashes();
    assert_eq!(
        (crashes.kept(), crashes.total(), crashes.dropped()),
        ((0, 0), 1, 1)
    );
}

#[tokio::test]
async fn a_trap_a_limit_and_a_kill_say_where_and_what_was_used() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let limits = Limits {
        cpu_per_call: Duration::from_millis(20),
        ..Limits::default()
    };
    let template = template_with(&engine, &named(), &[], limits);
    let child = ChildSpec::component(address("app/worker"), template);
    let worker = system.spawn(child).await.unwrap();
    worker.call("work", (1_u32,)).await.unwrap();
    worker.call("trap", ()).await.unwrap_err();
    started(&mut events, worker.address(), 1).await;
    let report = only(&system);
    assert_eq!(report.address, address("app/worker"));
    assert_eq!(
        (report.sequence, report.incarnation, report.restarts),
        (0, 1, 0)
    );
    assert_eq!((report.kind, report.starting), ("unreachable", false));
    assert_eq!(report.fault, Some(FaultClass::Unreachable));
    assert_eq!(report.supervisor, address("system"));
    assert_eq!(report.backtrace[0].function, "trap");
    assert_eq!(report.backtrace[0].source, None);
    assert_eq!(report.spent.unwrap().memory_bytes_max, 64 << 20);
    let recent: Vec<_> = report
        .recent
        .iter()
        .map(|message| (message.function.as_str(), message.outcome))
        .collect();
    assert_eq!(
        recent,
        [
            ("test:t/work#work", MessageOutcome::Handled),
            ("test:t/work#trap", MessageOutcome::InHand)
        ]
    );
    assert!(
        report
            .recent
            .iter()
            .all(|message| message.sender == MessageSender::Host)
    );

    worker.call("spin", ()).await.unwrap_err();
    started(&mut events, worker.address(), 2).await;
    let report = system.crashes().get(1).unwrap();
    assert_eq!(
        (report.kind, report.incarnation, report.restarts),
        ("cpu-deadline", 2, 1)
    );
    let spent = report.spent.unwrap();
    assert!(spent.cpu > spent.cpu_per_call, "{spent:?}");
    assert_eq!(report.backtrace[0].function, "spin");

    worker.kill();
    started(&mut events, worker.address(), 3).await;
    let report = system.crashes().get(2).unwrap();
    assert_eq!((report.kind, report.reason.as_str()), ("killed", "killed"));
    assert_eq!((report.fault, report.recent.len()), (None, 0));
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_guest_says_what_was_used() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let limits = Limits {
        cpu_per_call: Duration::from_secs(600),
        wall_per_call: Duration::from_secs(600),
        ..Limits::default()
    };
    let child = ChildSpec::component(address("a"), template_with(&engine, WORKER, &[], limits));
    let worker = system.spawn(child).await.unwrap();
    worker.cast("spin", ()).unwrap();
    // On one thread: each turn of this task is one of the guest's, which lets go at a tick.
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    worker.kill();
    exited(&mut events, worker.address()).await;
    let report = only(&system);
    assert_eq!(
        (report.kind, report.fault),
        ("killed", Some(FaultClass::Killed))
    );
    assert!(report.spent.unwrap().cpu > Duration::ZERO, "{report:?}");
    let last = report.recent.last().unwrap();
    assert_eq!(
        (last.function.as_str(), last.cast, last.outcome),
        ("test:t/work#spin", true, MessageOutcome::InHand)
    );
}

#[tokio::test]
async fn a_native_panic_an_error_and_a_failed_check_have_reports() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let actor = native(&system, "app/native").await;
    for n in 0..u32::try_from(RECENT_MESSAGES).unwrap() {
        actor.call("work", (n,)).await.unwrap();
    }
    actor.call("panics", ()).await.unwrap_err();
    started(&mut events, actor.address(), 1).await;
    let report = only(&system);
    assert_eq!(
        (report.kind, report.reason.as_str()),
        ("panicked", "panicked: on purpose")
    );
    assert_eq!((report.fault, report.spent), (None, None));
    assert!(report.backtrace.is_empty());
    assert_eq!(report.recent.len(), RECENT_MESSAGES);
    let last = report.recent.last().unwrap();
    assert_eq!(
        (last.function.as_str(), last.cast),
        ("test:native/native#panics", false)
    );
    assert_eq!(last.outcome, MessageOutcome::InHand);

    actor.cast("fail", ()).unwrap();
    started(&mut events, actor.address(), 2).await;
    let report = system.crashes().get(1).unwrap();
    assert_eq!(report.kind, "error");
    assert_eq!(report.recent[0].outcome, MessageOutcome::Failed);

    let check = HealthCheck {
        interval: Duration::from_millis(1),
        ..HealthCheck::default()
    };
    let child = ChildSpec::native(address("app/tired"), || Native)
        .health(check)
        .restart_temporary();
    let tired = system.spawn(child).await.unwrap();
    exited(&mut events, tired.address()).await;
    let report = system.crashes().get(2).unwrap();
    assert_eq!(
        (report.address.as_str(), report.kind),
        ("app/tired", "unhealthy")
    );
    assert!(report.reason.contains("tired"), "{}", report.reason);

    // By address, by number, so many.
    let crashes = system.crashes();
    let numbers = |filter: CrashFilter| -> Vec<u64> {
        let reports = crashes.list(&filter);
        reports.iter().map(|report| report.sequence).collect()
    };
    let of = |pattern: &str| CrashFilter {
        address: Some(pattern.parse().unwrap()),
        ..CrashFilter::default()
    };
    assert_eq!(numbers(of("app")), [0, 1, 2]);
    assert_eq!(numbers(of("app/n*")), [0, 1]);
    assert_eq!(
        numbers(CrashFilter {
            after: Some(0),
            ..of("app/*")
        }),
        [1, 2]
    );
    assert_eq!(
        numbers(CrashFilter {
            limit: Some(1),
            ..CrashFilter::default()
        }),
        [0]
    );
    assert!(crashes.get(3).is_none());
}

#[tokio::test]
async fn a_start_that_fails_has_a_report_with_its_fault() {
    let engine = engine();
    let system = system(&engine).await;
    let wat = r#"(component
      (core module $m (func $begin unreachable) (start $begin))
      (core instance $i (instantiate $m)))"#;
    let child = ChildSpec::component(address("a"), template(&engine, wat, &[]));
    assert!(matches!(
        system.spawn(child).await,
        Err(StartError::Child { .. })
    ));
    let report = only(&system);
    assert_eq!(
        (report.kind, report.starting, report.incarnation),
        ("start-failed", true, 1)
    );
    assert_eq!(report.fault, Some(FaultClass::Unreachable));
    assert_eq!(report.backtrace[0].function, "begin");
}

#[tokio::test]
async fn an_end_that_is_meant_has_no_report() {
    struct Declines;
    impl Actor for Declines {
        type Error = std::fmt::Error;

        fn surface() -> Result<Surface, WitError> {
            Ok(Surface::default())
        }

        async fn pre_start(&mut self, ctx: &mut Context) -> Result<(), Self::Error> {
            ctx.decline();
            Ok(())
        }

        async fn handle_message(
            &mut self,
            _: &mut Message,
            _: &mut Context,
        ) -> Result<(), Self::Error> {
            Ok(())
        }
    }
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let declined = ChildSpec::native(address("declines"), || Declines);
    assert!(system.spawn(declined).await.is_err());
    let leaves = ChildSpec::native(address("leaves"), || Native).restart_transient();
    let leaves = system.spawn(leaves).await.unwrap();
    leaves.cast("leave", ()).unwrap();
    exited(&mut events, leaves.address()).await;
    let worker = template(&engine, WORKER, &[]);
    let brutal = ChildSpec::component(address("brutal"), worker.clone()).shutdown_brutal();
    system.spawn(brutal).await.unwrap();
    let calm = ChildSpec::component(address("calm"), worker);
    system.spawn(calm).await.unwrap();
    system.shutdown().await;
    assert!(all(&system).is_empty(), "{:?}", all(&system));
    assert_eq!(system.crashes().total(), 0);
}

#[test]
fn a_runtime_that_is_dropped_makes_no_reports() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let system = runtime.block_on(async {
        let engine = engine();
        let system = system(&engine).await;
        native(&system, "a").await;
        let worker = ChildSpec::component(address("b"), template(&engine, WORKER, &[]));
        system.spawn(worker).await.unwrap();
        system
    });
    drop(runtime);
    assert_eq!(system.crashes().total(), 0);
}

#[tokio::test]
async fn a_report_has_source_lines_where_the_component_has_debug_information() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let bytes = wat::Parser::new()
        .generate_dwarf(wat::GenerateDwarf::Lines)
        .parse_str(Some(Path::new("src/worker.wat")), named())
        .unwrap();
    let component = engine.load(&ComponentRef::Bytes(bytes.into())).unwrap();
    let template = InstanceTemplate::link(&component, TemplateSpec::new("worker")).unwrap();
    let worker = system
        .spawn(ChildSpec::component(address("a"), template))
        .await
        .unwrap();
    worker.cast("trap", ()).unwrap();
    exited(&mut events, worker.address()).await;
    let line = WORKER
        .lines()
        .position(|line| line.contains("unreachable"))
        .unwrap()
        + 1;
    let shown = only(&system).backtrace[0].to_string();
    assert!(
        shown.starts_with(&format!("trap at src/worker.wat:{line}")),
        "{shown}"
    );
}

#[tokio::test]
async fn headers_name_their_senders() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let asks = ChildSpec::native(address("asks"), || Asks);
    let asks = system.spawn(asks).await.unwrap();
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    system.spawn(worker).await.unwrap();
    asks.call("ask", ("work",)).await.unwrap();
    asks.call("ask", ("trap",)).await.unwrap();
    let ends = all_exited(&mut events, ["worker"]).await;
    assert_eq!(ends[0].kind(), "unreachable");
    let report = only(&system);
    let sender = MessageSender::Actor(address("asks"));
    assert_eq!(report.recent.len(), 2, "{report:?}");
    assert!(report.recent.iter().all(|message| message.sender == sender));
}

/// Calls a function of `worker`.
struct Asks;

impl Actor for Asks {
    type Error = std::fmt::Error;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit("package test:asks; interface asks { ask: func(name: string); }")
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> Result<(), Self::Error> {
        let (name,): (String,) = message.args().map_err(|_| std::fmt::Error)?;
        let worker = address("worker");
        // How it ends is the report's.
        let _ = match name.as_str() {
            "work" => ctx.call_by_name(&worker, "work", (1_u32,)).await,
            name => ctx.call_by_name(&worker, name, ()).await,
        };
        message.reply(());
        Ok(())
    }
}
