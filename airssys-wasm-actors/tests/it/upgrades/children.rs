//! Upgrades of a component that has children of its own.

use airssys_wasm::{
    CapabilityManifest, ComponentRef, Engine, InstanceTemplate, Policy, SpawnManifest,
    TemplateSpec, grant,
};
use airssys_wasm_actors::{
    ActorRef, ChildSpec, Spawning, StateTaken, Strategy, SupervisorSpec, UpgradeOptions,
};

use super::first;
use crate::guests::{WORKER, address, engine, system_with, template};

/// `start(n)` spawns a child of the n-th letter's name and says the case of the result, `count` says how many there are;
/// `restore` ends as `RESTORE` says.
const SPAWNER: &str = r#"(component
  (import "airssys:actor/spawn@0.1.0" (instance $spawn
    (type $of (variant (case "denied" string) (case "bad-name" string) (case "no-such-child")
      (case "quota" string) (case "not-started" string) (case "not-up")))
    (export "error" (type $error (eq $of)))
    (export "spawn" (func (param "component" string) (param "name" string)
      (param "config" (list (tuple string string))) (result (result string (error $error)))))
    (export "children" (func (result (result (list string) (error $error)))))))
  (core module $l
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $next (i32.add (global.get $next) (i32.const 64)))
      (global.get $next)))
  (core instance $l (instantiate $l))
  (core func $start (canon lower (func $spawn "spawn") (memory $l "memory") (realloc (func $l "realloc"))))
  (core func $list (canon lower (func $spawn "children") (memory $l "memory") (realloc (func $l "realloc"))))
  (core module $m
    (import "l" "memory" (memory 1))
    (import "s" "start" (func $start (param i32 i32 i32 i32 i32 i32 i32)))
    (import "s" "list" (func $list (param i32)))
    (data (i32.const 512) "worker")
    (data (i32.const 520) "will not")
    (func (export "start") (param i32) (result i32)
      (i32.store8 (i32.const 540) (i32.add (i32.const 97) (local.get 0)))
      (call $start (i32.const 512) (i32.const 6) (i32.const 540) (i32.const 1)
        (i32.const 0) (i32.const 0) (i32.const 256))
      (i32.load8_u (i32.const 256)))
    (func (export "count") (result i32)
      (call $list (i32.const 256))
      (if (result i32) (i32.load8_u (i32.const 256))
        (then (i32.const 100))
        (else (i32.load (i32.const 264)))))
    (func (export "snapshot") (result i32)
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (i32.const 512))
      (i32.store (i32.const 24) (i32.const 4))
      (i32.const 16))
    (func (export "restore") (param i32 i32 i32 i32) (result i32)
      (i32.store8 (i32.const 16) (i32.const RESTORE))
      (i32.store (i32.const 20) (i32.const 520))
      (i32.store (i32.const 24) (i32.const 8))
      (i32.const 16)))
  (core instance $i (instantiate $m
    (with "l" (instance $l))
    (with "s" (instance (export "start" (func $start)) (export "list" (func $list))))))
  (func $start (param "n" u32) (result u32) (canon lift (core func $i "start")))
  (func $count (result u32) (canon lift (core func $i "count")))
  (func $snapshot (result (result (list u8) (error string)))
    (canon lift (core func $i "snapshot") (memory $l "memory")))
  (func $restore (param "from-version" string) (param "bytes" (list u8)) (result (result (error string)))
    (canon lift (core func $i "restore") (memory $l "memory") (realloc (func $l "realloc"))))
  (instance (export "test:t/spawner") (export "start" (func $start)) (export "count" (func $count)))
  (instance (export "airssys:actor/state@0.1.0")
    (export "snapshot" (func $snapshot)) (export "restore" (func $restore))))"#;

fn spawner(engine: &Engine, restore: &str, spawning: &Spawning) -> ChildSpec {
    let bytes = wat::parse_str(SPAWNER.replace("RESTORE", restore)).unwrap();
    let component = engine.load(&ComponentRef::Bytes(bytes.into())).unwrap();
    let asked = CapabilityManifest {
        spawn: Some(SpawnManifest {
            components: vec!["worker".to_owned()],
            children: 8,
            depth: 1,
        }),
        ..CapabilityManifest::default()
    };
    let spec = TemplateSpec {
        grants: grant(&asked, &Policy::permissive()).unwrap(),
        ..TemplateSpec::new("spawner")
    };
    let template = InstanceTemplate::link(&component, spec).unwrap();
    ChildSpec::component(address("one"), template).spawning(spawning.clone())
}

async fn start(actor: &ActorRef, n: u32) -> u32 {
    first(actor.call("start", (n,)).await.unwrap()).unwrap()
}

async fn count(actor: &ActorRef) -> u32 {
    super::number(actor, "count").await
}

/// The old revision cannot be told what the new one held, and comes back as it was: with the children there are.
#[tokio::test]
async fn who_goes_back_as_it_was_has_its_children_and_can_have_more() {
    let engine = engine();
    let system = system_with(&engine, true).await;
    let family = SupervisorSpec {
        strategy: Strategy::SimpleOneForOne,
        ..SupervisorSpec::new(address("family"))
    };
    system.supervise(family).await.unwrap();
    let worker = ChildSpec::component(address("worker"), template(&engine, WORKER, &[]));
    let templates = [("worker".to_owned(), worker)].into();
    let spawning = Spawning::new(address("family"), templates, 8, 1);
    let actor = system
        .spawn(spawner(&engine, "1", &spawning))
        .await
        .unwrap();
    assert_eq!((start(&actor, 0).await, count(&actor).await), (0, 1));
    let child = system.whereis(&address("one/a")).unwrap();
    for round in 1..=2 {
        let next = spawner(&engine, "0", &spawning);
        let upgrade = system.upgrade(next, UpgradeOptions::default()).unwrap();
        let upgraded = upgrade.switch().await.unwrap();
        assert_eq!(upgraded.states(), [StateTaken::HandedOver { bytes: 4 }]);
        assert_eq!(count(&actor).await, 2 * round - 1);
        assert_eq!(start(&actor, 2 * round - 1).await, 0);
        assert_eq!(upgraded.roll_back().await.unwrap(), [StateTaken::AsItWas]);
        assert_eq!(count(&actor).await, 2 * round);
        assert_eq!(start(&actor, 2 * round).await, 0);
    }
    assert_eq!(count(&actor).await, 5);
    assert!(child.call("work", (1_u32,)).await.is_ok());
    system.shutdown().await;
}
