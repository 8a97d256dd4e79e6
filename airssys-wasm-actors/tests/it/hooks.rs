//! The hooks of `airssys:actor`, in components built from this repository's sources.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_wasm::{
    AuditConfig, AuditSinkConfig, CacheLocation, CapabilityManifest, ComponentRef, Engine,
    EngineConfig, InstanceTemplate, IntoArgs, Policy, TemplateSpec, Value, grant,
};
use airssys_wasm_actors::{ChildHealth, ChildSpec, ExitReason, StartError};

use crate::guests::{address, system};

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
