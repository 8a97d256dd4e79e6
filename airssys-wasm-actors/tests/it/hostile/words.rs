//! What a guest says of itself reaches operators: cut, on one line, without the values it was given.

use std::time::Duration;

use airssys_wasm::Limits;
use airssys_wasm_actors::{ChildHealth, ChildSpec, Event, HealthCheck, Passivation};

use crate::guests::{address, engine, system, template_with};

const SECRET: &str = "hunter2hunter2";

/// What a reader is shown at most: 4 KiB, and a word that there was more.
const SHOWN_BYTES_MAX: usize = 4096 + "… (cut)".len();

/// Says `degraded` with 1 MiB that begins with a value it was given and a line break, and refuses its `snapshot` with 1 MiB
/// of bytes, where a text belongs.
const TALKER: &str = r#"(component
  (core module $m
    (memory (export "memory") 20)
    (data (i32.const 1024) "it is hunter2hunter2\nERROR forged ")
    (func $start (memory.fill (i32.const 1058) (i32.const 97) (i32.const 1048576)))
    (start $start)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1200000))
    (func (export "said") (result i32)
      (i32.store8 (i32.const 16) (i32.const 1))
      (i32.store (i32.const 20) (i32.const 1024))
      (i32.store (i32.const 24) (i32.const 1048576))
      (i32.const 16))
    (func (export "restore") (param i32 i32 i32 i32) (result i32) unreachable))
  (core instance $i (instantiate $m))
  (component $health
    (type $of (variant (case "healthy") (case "degraded" string) (case "failed" string)))
    (import "health" (type $given (eq $of)))
    (import "check" (func $check (result $given)))
    (export $health' "health" (type $given))
    (export "check" (func $check) (func (result $health'))))
  (type $check' (variant (case "healthy") (case "degraded" string) (case "failed" string)))
  (func $check (result $check') (canon lift (core func $i "said") (memory $i "memory")))
  (instance $healthy (instantiate $health (with "health" (type $check')) (with "check" (func $check))))
  (export "airssys:actor/health@0.1.0" (instance $healthy))
  (func $snapshot (result (result (list u8) (error (list u8))))
    (canon lift (core func $i "said") (memory $i "memory")))
  (func $restore (param "from-version" string) (param "bytes" (list u8)) (result (result (error string)))
    (canon lift (core func $i "restore") (memory $i "memory") (realloc (func $i "realloc"))))
  (instance (export "airssys:actor/state@0.1.0")
    (export "snapshot" (func $snapshot)) (export "restore" (func $restore))))"#;

fn talker(engine: &airssys_wasm::Engine) -> ChildSpec {
    let limits = Limits {
        hostcall_bytes_max: 4 << 20,
        ..Limits::default()
    };
    ChildSpec::component(
        address("talker"),
        template_with(engine, TALKER, &[], limits),
    )
    .config(vec![("password".into(), SECRET.into())])
}

fn fits(text: &str) {
    assert!(text.len() <= SHOWN_BYTES_MAX, "{}", text.len());
    assert_eq!(text.lines().count(), 1);
    assert!(!text.contains(SECRET), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_it_says_of_its_health_is_cut_and_without_its_values() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let mut spec = talker(&engine);
    spec.health = Some(HealthCheck::default());
    let actor = system.spawn(spec).await.unwrap();
    let health = loop {
        if let Event::Health { health, .. } = events.recv().await.unwrap() {
            break health;
        }
    };
    let asked = actor.health(Duration::from_secs(1)).await.unwrap();
    for health in [health, asked] {
        match health {
            ChildHealth::Degraded(text) => {
                fits(&text);
                assert!(text.contains("\\nERROR forged"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_it_refuses_its_snapshot_with_is_cut() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let spec = talker(&engine).passivate(Passivation::new(Duration::from_secs(60)));
    system.spawn(spec).await.unwrap();
    loop {
        if let Event::SnapshotFailed { why, .. } = events.recv().await.unwrap() {
            fits(&why);
            assert_eq!(&*why, "`snapshot` refused: list<u8>");
            break;
        }
    }
}
