//! Applications from a manifest: fed, asked, stopped, and what becomes of every item.
#![cfg(test)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use airssys_wasm::{
    CacheLocation, Compiler, CompilerProcess, Engine, EngineConfig, FromArgs, Policy,
};
use airssys_wasm_actors::{
    ActorRef, Application, ApplicationEnded, ApplicationSpec, ExitReason, FindingKind, Input,
    InputOverride, ResolveOptions, RunningApplication, SourceError, System, SystemConfig,
};

use crate::guests;

/// Exports `test:app/sink`: `put(number, item) -> result<_, string>`, an error if the number is not the one after
/// the last, a trap if the item begins with `t`; `total() -> u64`: items so far.
pub(super) const SINK: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (data (i32.const 32) "out of order")
    (global $next (mut i32) (i32.const 0))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "put") (param $number i32) (param $item i32) (param $length i32) (result i32)
      (if (i32.eq (i32.load8_u (local.get $item)) (i32.const 116)) (then unreachable))
      (i32.store8 (i32.const 16) (i32.ne (local.get $number) (global.get $next)))
      (i32.store (i32.const 20) (i32.const 32))
      (i32.store (i32.const 24) (i32.const 12))
      (global.set $next (i32.add (local.get $number) (i32.const 1)))
      (i32.const 16))
    (func (export "total") (result i64) (i64.extend_i32_u (global.get $next))))
  (core instance $i (instantiate $m))
  (func $put (param "number" u32) (param "item" string) (result (result (error string)))
    (canon lift (core func $i "put") (memory $i "memory") (realloc (func $i "realloc"))))
  (func $total (result u64) (canon lift (core func $i "total")))
  (instance (export "test:app/sink") (export "put" (func $put)) (export "total" (func $total))))"#;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory with `sink.wasm`, and `in.txt` with the lines.
pub(super) struct Directory(pub(super) PathBuf);

impl Directory {
    pub(super) fn new(lines: &str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("application-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("sink.wasm"), wat::parse_str(SINK).unwrap()).unwrap();
        std::fs::write(path.join("in.txt"), lines).unwrap();
        Self(path)
    }

    /// The sink with `more` keys, fed with `in.txt`.
    fn spec(&self, name: &str, sink: &str, more: &str) -> ApplicationSpec {
        let text = format!(
            "[application]\nname = \"{name}\"\n[components.sink]\nfile = \"sink.wasm\"\n{sink}\n\
             [sources.feed]\nfile = \"in.txt\"\nformat = \"lines\"\nto = \"sink\"\nfunction = \"put\"\n{more}\n\
             [report]\ncounted = {{ component = \"sink\", function = \"total\" }}\n"
        );
        ApplicationSpec::parse(self.0.join("airssys.toml"), text).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) async fn system() -> System {
    System::start(SystemConfig::new(guests::engine()))
        .await
        .unwrap()
}

pub(super) fn resolve(spec: &ApplicationSpec, system: &System) -> Application {
    spec.resolve(system.engine(), &ResolveOptions::default())
        .unwrap()
}

pub(super) async fn start(spec: &ApplicationSpec, system: &System) -> RunningApplication {
    resolve(spec, system).start(system).await.unwrap()
}

fn lines(count: usize) -> String {
    (0..count).map(|line| format!("line {line}\n")).collect()
}

async fn total(sink: &ActorRef) -> u64 {
    let results = sink.call("total", ()).await.unwrap();
    <(u64,)>::from_args(results).unwrap().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_item_arrives_once_and_in_order_through_a_mailbox_of_one() {
    let directory = Directory::new(&lines(2_000));
    let system = system().await;
    for (name, mailbox) in [
        ("error", "depth = 1"),
        ("few", "depth = 3"),
        ("block", "depth = 3, strategy = \"block\""),
    ] {
        let spec = directory.spec(
            name,
            &format!("mailbox = {{ {mailbox} }}"),
            "in-flight = 64",
        );
        let running = start(&spec, &system).await;
        running.finished().await.unwrap();
        let report = running.report().await.unwrap();
        let counts = (
            report.counts.events_in,
            report.counts.ok,
            report.counted,
            report.counts.failed,
        );
        assert_eq!(counts, (2_000, 2_000, 2_000, 0), "{name}: {report:?}");
        assert!(report.balances());
        running.stop().await;
    }
    system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_applications_live_in_one_system_by_their_names() {
    let directory = Directory::new(&lines(10));
    let system = system().await;
    let (one, two) = (directory.spec("one", "", ""), directory.spec("two", "", ""));
    let (one, two) = (start(&one, &system).await, start(&two, &system).await);
    one.finished().await.unwrap();
    two.finished().await.unwrap();
    assert_eq!(total(one.actor("sink").unwrap()).await, 10);
    assert_eq!(total(two.actor("two/sink").unwrap()).await, 10);
    assert!(one.actor("two/sink").is_none() && one.actor("nobody").is_none());
    let again = directory.spec("one", "", "");
    assert!(
        resolve(&again, &system).start(&system).await.is_err(),
        "the name is taken"
    );
    system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_stopped_accounts_for_what_it_sent() {
    let directory = Directory::new(&lines(200_000));
    let system = system().await;
    let running = start(&directory.spec("app", "", ""), &system).await;
    // Some have been sent once the sink has counted one.
    while total(running.actor("sink").unwrap()).await == 0 {}
    running.stop().await;
    let counts = running.counts();
    assert!(counts.events_in > 0);
    assert_eq!(
        counts.events_in,
        counts.ok + counts.failed + counts.rejected,
        "{counts:?}"
    );
    assert_eq!(counts.failed, 0, "{counts:?}");
    assert!(matches!(
        running.finished().await,
        Err(ApplicationEnded::Supervisor {
            reason: ExitReason::Normal | ExitReason::Shutdown,
            ..
        })
    ));
    system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_killed_accounts_for_what_it_sent() {
    let directory = Directory::new(&lines(200_000));
    let system = system().await;
    let running = start(&directory.spec("app", "", ""), &system).await;
    while total(running.actor("sink").unwrap()).await == 0 {}
    running.actor("feed").unwrap().kill();
    let (ended, _) = tokio::join!(running.finished(), running.stop());
    assert!(
        matches!(ended, Err(ApplicationEnded::Supervisor { .. })),
        "{ended:?}"
    );
    let counts = running.counts();
    assert_eq!(
        counts.events_in,
        counts.ok + counts.failed + counts.rejected,
        "{counts:?}"
    );
    system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_gives_up_says_so_and_loses_no_item() {
    let directory = Directory::new(&"t\n".repeat(300));
    let system = system().await;
    let running = start(&directory.spec("app", "", ""), &system).await;
    let ended = running.finished().await.unwrap_err();
    assert!(
        matches!(
            ended,
            ApplicationEnded::Supervisor {
                reason: ExitReason::CrashLoop,
                ..
            }
        ),
        "{ended}"
    );
    let counts = running.counts();
    assert_eq!(
        counts.events_in,
        counts.ok + counts.failed + counts.rejected,
        "{counts:?}"
    );
    assert!(counts.failed > 5, "{counts:?}");
    system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_input_that_breaks_off_fails_the_source_and_nothing_else() {
    let directory = Directory::new("a\nb\n\u{7f}");
    std::fs::write(directory.0.join("in.txt"), b"a\nb\n\xff\n").unwrap();
    let system = system().await;
    let running = start(&directory.spec("app", "", ""), &system).await;
    match running.finished().await {
        Err(ApplicationEnded::Source {
            source_address,
            why,
        }) => {
            assert_eq!(source_address.as_str(), "app/feed");
            assert!(
                matches!(
                    *why,
                    SourceError::Malformed {
                        line: 3,
                        after: 2,
                        ..
                    }
                ),
                "{why}"
            );
        }
        other => panic!("{other:?}"),
    }
    let report = running.report().await.unwrap();
    assert_eq!((report.counts.events_in, report.counted), (2, 2));
    system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_sources_an_application_only_answers() {
    let directory = Directory::new(&lines(10));
    let system = system().await;
    let running = resolve(&directory.spec("app", "", ""), &system)
        .without_sources()
        .start(&system)
        .await
        .unwrap();
    assert!(!running.has_sources() && running.actors().len() == 1);
    assert_eq!(total(running.actor("sink").unwrap()).await, 0);
    let finished = running.finished();
    tokio::select! {
        ended = finished => assert!(matches!(ended, Err(ApplicationEnded::Supervisor { .. })), "{ended:?}"),
        _ = running.stop() => {}
    }
    system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_input_takes_the_place_of_the_manifests() {
    let directory = Directory::new("");
    std::fs::write(directory.0.join("other.txt"), lines(7)).unwrap();
    let input = |source: Option<&str>| InputOverride {
        source: source.map(str::to_owned),
        input: Input::File(directory.0.join("other.txt")),
    };
    let system = system().await;
    let options = ResolveOptions {
        inputs: vec![input(Some("feed"))],
        ..ResolveOptions::default()
    };
    let spec = directory.spec("app", "", "");
    let running = spec
        .resolve(system.engine(), &options)
        .unwrap()
        .start(&system)
        .await
        .unwrap();
    running.finished().await.unwrap();
    assert_eq!(running.counts().ok, 7);
    system.shutdown().await;

    let twice = ResolveOptions {
        inputs: vec![input(None), input(None)],
        ..ResolveOptions::default()
    };
    let unknown = ResolveOptions {
        inputs: vec![input(Some("fed"))],
        ..ResolveOptions::default()
    };
    for options in [twice, unknown] {
        let Err(errors) = spec.resolve(system.engine(), &options) else {
            panic!("refused")
        };
        assert_eq!(errors.findings[0].kind, FindingKind::BadOption, "{errors}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_policy_decides_what_a_manifest_may_grant() {
    let directory = Directory::new("");
    let system = system().await;
    let spec = directory.spec("app", "grants = { log = true, random = true }", "");
    let Err(errors) = spec.resolve(system.engine(), &ResolveOptions::default()) else {
        panic!("refused")
    };
    let asked: Vec<_> = errors
        .findings
        .iter()
        .map(|finding| finding.what.as_str())
        .collect();
    assert_eq!(
        asked,
        [
            "the policy does not allow `log`",
            "the policy does not allow `random`"
        ]
    );
    assert!(
        errors
            .findings
            .iter()
            .all(|finding| finding.kind == FindingKind::GrantRefused)
    );

    let allowed = ResolveOptions {
        policy: Policy::permissive(),
        ..ResolveOptions::default()
    };
    let application = spec.resolve(system.engine(), &allowed).unwrap();
    assert_eq!(application.components()[0].grants, ["log", "random"]);
    system.shutdown().await;
}

#[tokio::test]
async fn a_component_has_as_many_replicas_as_the_manifest_says() {
    let directory = Directory::new("");
    let system = system().await;
    let spec = |replicas: &str| {
        let text = format!(
            "[application]\nname = \"app\"\n[components.sink]\nfile = \"sink.wasm\"\nreplicas = {replicas}\n"
        );
        ApplicationSpec::parse(directory.0.join("airssys.toml"), text).unwrap()
    };
    let running = start(&spec("3"), &system).await;
    let sink = running.actor("sink").unwrap();
    assert_eq!(sink.replicas().len(), 3);
    assert_eq!(sink.address().as_str(), "app/sink");
    assert!(system.whereis(&guests::address("app/sink/2")).is_some());
    let mut events = system.events();
    sink.replicas()[1].kill();
    guests::started(&mut events, &guests::address("app/sink/1"), 1).await;
    assert_eq!(sink.counters().restarts, 1);
    assert_eq!(total(sink).await, 0);
    running.stop().await;
    for replicas in ["0", "65"] {
        let refused = spec(replicas).resolve(system.engine(), &ResolveOptions::default());
        let text = refused.err().unwrap().to_string();
        assert!(text.contains("use 1 to 64"), "{text}");
    }
    system.shutdown().await;
}

/// Of what takes too much it is the component's, of a compiler that is not there it is the machine's.
#[cfg(unix)]
#[test]
fn i5_a_compiler_that_fails_is_a_finding_with_what_to_do() {
    let directory = Directory::new("");
    let spec = directory.spec("uncompiled", "", "");
    let shell = |script: &str| CompilerProcess {
        args: vec!["-c".into(), script.into()],
        ..CompilerProcess::new("/bin/sh")
    };
    for (process, kind, says) in [
        (
            CompilerProcess::new("no/such/compiler"),
            FindingKind::CompilerFailed,
            "cannot be started",
        ),
        (shell("exit 3"), FindingKind::CompilerFailed, "ended with 3"),
        (
            shell("kill -ABRT $$"),
            FindingKind::BadComponent,
            "died of signal 6",
        ),
    ] {
        let engine = Engine::new(EngineConfig {
            cache: CacheLocation::Off,
            pool_instances_max: 16,
            compiler: Compiler::Process(process),
            ..EngineConfig::default()
        })
        .unwrap();
        let Err(errors) = spec.resolve(&engine, &ResolveOptions::default()) else {
            panic!("{says}: it was compiled")
        };
        let [finding] = &errors.findings[..] else {
            panic!("{errors}")
        };
        assert_eq!(finding.kind, kind);
        assert!(finding.what.starts_with("`sink.wasm` was "), "{errors}");
        assert!(finding.what.contains(says), "{errors}");
        assert!(finding.at.is_some() && finding.help.is_some(), "{errors}");
    }
}
