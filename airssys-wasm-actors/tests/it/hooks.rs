//! The hooks of `airssys:actor`, in components built from this repository's sources.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_wasm::{
    AuditConfig, AuditSinkConfig, CacheLocation, CapabilityManifest, ComponentRef, Engine,
    EngineConfig, InstanceTemplate, IntoArgs, Policy, TemplateSpec, Value, grant,
};
use airssys_wasm_actors::{
    ChildHealth, ChildSpec, ChildState, Event, ExitReason, RestartPolicy, StartError,
    SupervisorSpec,
};

use crate::guests::{address, system, template};

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
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn engine(trail: &Trail) -> Engine {
    Engine::new(EngineConfig {
        cache: CacheLocation::Off,
        pool_instances_max: 100,
        audit: AuditConfig {
            sink: AuditSinkConfig::Writer(Box::new(trail.clone())),
            uses: true,
            ..AuditConfig::default()
        },
        ..EngineConfig::default()
    })
    .unwrap()
}

fn quakes(engine: &Engine, name: &str) -> InstanceTemplate {
    let components = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quakes/components");
    let file = components.join(name).with_extension("wasm");
    let component = engine.load(&ComponentRef::File(file)).unwrap();
    let asked = CapabilityManifest {
        log: true,
        ..CapabilityManifest::default()
    };
    let grants = grant(&asked, &Policy::permissive()).unwrap();
    InstanceTemplate::link(
        &component,
        TemplateSpec {
            grants,
            ..TemplateSpec::new(name)
        },
    )
    .unwrap()
}

#[tokio::test]
async fn init_gets_the_configuration_and_may_refuse_it() {
    let engine = engine(&Trail::default());
    let system = system(&engine).await;
    let classify = quakes(&engine, "classify");
    let child = |poison: &str| {
        ChildSpec::component(address("classify"), classify.clone())
            .config(vec![("poison".into(), poison.into())])
    };
    match system.spawn(child("nonsense")).await {
        Err(StartError::Child {
            reason: ExitReason::StartFailed(text),
            ..
        }) => {
            assert!(
                text.contains("`init` refused") && text.contains("nonsense"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
    system.spawn(child("3")).await.unwrap();
}

#[tokio::test]
async fn health_is_the_components_own_word_and_shutdown_runs_before_the_end() {
    let trail = Trail::default();
    let engine = engine(&trail);
    let system = system(&engine).await;
    let tally = ChildSpec::component(address("tally"), quakes(&engine, "tally"));
    let tally = system.spawn(tally).await.unwrap();
    let within = Duration::from_secs(60);
    assert_eq!(tally.health(within).await.unwrap(), ChildHealth::Healthy);

    let not_a_number = Value::Option(Some(Box::new(Value::F64(f64::NAN))));
    let args = ("Nowhere", Value::Enum(1), not_a_number).into_args();
    tally.call("record", args).await.unwrap();
    match tally.health(within).await.unwrap() {
        ChildHealth::Degraded(text) => assert!(text.contains("1 events"), "{text}"),
        other => panic!("{other:?}"),
    }

    engine.audit().flush();
    let of_the_actor = "\"address\":\"tally\"";
    assert!(!trail.text().contains(of_the_actor), "{}", trail.text());
    let report = system
        .supervisor()
        .stop_child(&address("tally"))
        .await
        .unwrap();
    assert_eq!(report.stopped, [address("tally")]);
    engine.audit().flush();
    // Its last words, which it may say because `log` is granted.
    let text = trail.text();
    assert!(
        text.lines()
            .any(|line| line.contains(of_the_actor) && line.contains("\"log\"")),
        "{text}"
    );
}

/// A component with both hooks: `init` traps, and `start` says what it says by how many pairs it is given: with none it
/// declines, with one it is up, with more it refuses.
const CHOOSY: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (data (i32.const 64) "too many")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "init") (param i32 i32) (result i32) unreachable)
    (func (export "start") (param $list i32) (param $count i32) (result i32)
      (i32.store8 (i32.const 16) (i32.gt_u (local.get $count) (i32.const 1)))
      (i32.store (i32.const 20) (i32.eqz (local.get $count)))
      (if (i32.gt_u (local.get $count) (i32.const 1)) (then
        (i32.store (i32.const 20) (i32.const 64))
        (i32.store (i32.const 24) (i32.const 8))))
      (i32.const 16)))
  (core instance $i (instantiate $m))
  (func $init (param "config" (list (tuple string string))) (result (result (error string)))
    (canon lift (core func $i "init") (memory $i "memory") (realloc (func $i "realloc"))))
  (type $started (enum "up" "declined"))
  (func $start (param "config" (list (tuple string string))) (result (result $started (error string)))
    (canon lift (core func $i "start") (memory $i "memory") (realloc (func $i "realloc"))))
  (component $shim
    (type $of (enum "up" "declined"))
    (import "started" (type $given (eq $of)))
    (import "start" (func $f (param "config" (list (tuple string string))) (result (result $given (error string)))))
    (export $started' "started" (type $given))
    (export "start" (func $f)
      (func (param "config" (list (tuple string string))) (result (result $started' (error string))))))
  (instance $starts (instantiate $shim (with "started" (type $started)) (with "start" (func $start))))
  (instance (export "airssys:actor/init@0.1.0") (export "init" (func $init)))
  (export "airssys:actor/start@0.1.0" (instance $starts)))"#;

#[tokio::test]
async fn a_component_may_decline_to_start_and_is_kept_if_it_is_not_temporary() {
    let engine = engine(&Trail::default());
    let system = system(&engine).await;
    let template = template(&engine, CHOOSY, &[]);
    let child = |name: &str, pairs: usize| {
        let pairs = (0..pairs).map(|n| (format!("key-{n}"), "value".to_owned()));
        ChildSpec::component(address(name), template.clone()).config(pairs.collect())
    };
    let mut events = system.events();
    // A first child that declines is no reason for its supervisor not to start.
    let spec = SupervisorSpec::new(address("app"))
        .with(child("first", 0))
        .with(child("second", 1));
    let app = system.supervise(spec).await.unwrap();
    let state = |name: &str| {
        let children = app.which_children();
        let named = children
            .into_iter()
            .find(|info| info.address == address(name));
        named.map(|info| info.state)
    };
    assert_eq!(state("first"), Some(ChildState::Stopped));
    assert_eq!(state("second"), Some(ChildState::Running));
    let declined = app.start_child(child("kept", 0)).await;
    assert!(
        matches!(declined, Err(StartError::Declined(_))),
        "{declined:?}"
    );
    assert_eq!(state("kept"), Some(ChildState::Stopped));
    let temporary = ChildSpec {
        restart: RestartPolicy::Temporary,
        ..child("dropped", 0)
    };
    let declined = app.start_child(temporary).await;
    assert!(
        matches!(declined, Err(StartError::Declined(_))),
        "{declined:?}"
    );
    assert_eq!(state("dropped"), None);
    match app.start_child(child("refused", 2)).await {
        Err(StartError::Child {
            reason: ExitReason::StartFailed(text),
            ..
        }) => assert_eq!(&*text, "`start` refused: too many"),
        other => panic!("{other:?}"),
    }
    let mut declines = 0;
    while let Some(event) = events.try_recv() {
        if let Event::StartFailed { reason, .. } = event {
            declines += usize::from(matches!(reason, ExitReason::Declined));
        }
    }
    assert_eq!(declines, 3);
    // It is no crash.
    assert_eq!(system.crashes().total(), 1);
}
