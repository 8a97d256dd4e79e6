//! Small components in the text format, and systems to run them in.

use std::time::Duration;

use airssys_wasm::{
    CacheLocation, CapacityConfig, ComponentRef, Engine, EngineConfig, ErrorCarry,
    InstanceTemplate, Limits, LinkedImport, TemplateSpec,
};
use airssys_wasm_actors::{
    ActorAddress, CallError, Event, Events, ExitReason, RestartIntensity, SendError, System,
    SystemConfig,
};

/// Exports `test:t/work`: `work(n) -> n + 1`, `count() -> messages handled by this instance`,
/// `trap()`, `spin()`.
pub(crate) const WORKER: &str = r#"(component
  (core module $m
    (global $count (mut i32) (i32.const 0))
    (func (export "work") (param i32) (result i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (i32.add (local.get 0) (i32.const 1)))
    (func (export "count") (result i32) (global.get $count))
    (func (export "trap") unreachable)
    (func (export "spin") (loop (br 0))))
  (core instance $i (instantiate $m))
  (func $work (param "n" u32) (result u32) (canon lift (core func $i "work")))
  (func $count (result u32) (canon lift (core func $i "count")))
  (func $trap (canon lift (core func $i "trap")))
  (func $spin (canon lift (core func $i "spin")))
  (instance (export "test:t/work")
    (export "work" (func $work)) (export "count" (func $count))
    (export "trap" (func $trap)) (export "spin" (func $spin))))"#;

/// Imports `test:t/work` (`work`), exports `test:t/work` (`work`: passes on) too, so that callers
/// can be chained and closed to a ring, and `count() -> calls passed on`.
pub(crate) const RELAY: &str = r#"(component
  (import "test:t/work" (instance $next (export "work" (func (param "n" u32) (result u32)))))
  (core func $next (canon lower (func $next "work")))
  (core module $m
    (import "next" "work" (func $next (param i32) (result i32)))
    (global $count (mut i32) (i32.const 0))
    (func (export "work") (param i32) (result i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (call $next (local.get 0)))
    (func (export "count") (result i32) (global.get $count)))
  (core instance $i (instantiate $m (with "next" (instance (export "work" (func $next))))))
  (func $work (param "n" u32) (result u32) (canon lift (core func $i "work")))
  (func $count (result u32) (canon lift (core func $i "count")))
  (instance (export "test:t/work")
    (export "work" (func $work)) (export "count" (func $count))))"#;

/// Exports `test:t/order`: `put(sender, sequence) -> result<u32, string>`; ok is 0 if the sequence
/// did not grow for this sender since the instance began, and else sequence + 1. `sender` < 1,024.
pub(crate) const SEQUENCER: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (func (export "put") (param $sender i32) (param $sequence i32) (result i32)
      (local $at i32)
      ;; The last sequence + 1 of each sender lies from 1,024 on; the result at 16.
      (local.set $at (i32.add (i32.const 1024) (i32.shl (local.get $sender) (i32.const 2))))
      (i32.store8 (i32.const 16) (i32.const 0))
      (if (i32.lt_u (local.get $sequence) (i32.load (local.get $at)))
        (then (i32.store (i32.const 20) (i32.const 0)))
        (else (i32.store (i32.const 20) (i32.add (local.get $sequence) (i32.const 1)))))
      (i32.store (local.get $at) (i32.add (local.get $sequence) (i32.const 1)))
      (i32.const 16)))
  (core instance $i (instantiate $m))
  (func $put (param "sender" u32) (param "sequence" u32) (result (result u32 (error string)))
    (canon lift (core func $i "put") (memory $i "memory")))
  (instance (export "test:t/order") (export "put" (func $put))))"#;

/// Imports `test:t/order`, exports `test:t/drive`: `run(sender, from, to) -> u64`, which puts every
/// sequence and packs what came back: oks << 32 | errors; it traps on a wrong answer.
pub(crate) const DRIVER: &str = r#"(component
  (import "test:t/order" (instance $order
    (export "put" (func (param "sender" u32) (param "sequence" u32) (result (result u32 (error string)))))))
  (core module $libc
    (memory (export "memory") 2)
    ;; Every string lands at the same place: none is kept.
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $libc (instantiate $libc))
  (core func $put (canon lower (func $order "put")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $m
    (import "libc" "memory" (memory 2))
    (import "order" "put" (func $put (param i32 i32 i32)))
    (func (export "run") (param $sender i32) (param $from i32) (param $to i32) (result i64)
      (local $oks i64) (local $errors i64)
      (loop $next
        (if (i32.lt_u (local.get $from) (local.get $to))
          (then
            (call $put (local.get $sender) (local.get $from) (i32.const 16))
            (if (i32.load8_u (i32.const 16))
              (then (local.set $errors (i64.add (local.get $errors) (i64.const 1))))
              (else
                (if (i32.ne (i32.load (i32.const 20)) (i32.add (local.get $from) (i32.const 1)))
                  (then unreachable))
                (local.set $oks (i64.add (local.get $oks) (i64.const 1)))))
            (local.set $from (i32.add (local.get $from) (i32.const 1)))
            (br $next))))
      (i64.or (i64.shl (local.get $oks) (i64.const 32)) (local.get $errors))))
  (core instance $i (instantiate $m
    (with "libc" (instance $libc))
    (with "order" (instance (export "put" (func $put))))))
  (func $run (param "sender" u32) (param "from" u32) (param "to" u32) (result u64)
    (canon lift (core func $i "run")))
  (instance (export "test:t/drive") (export "run" (func $run))))"#;

pub(crate) fn engine() -> Engine {
    Engine::new(EngineConfig {
        cache: CacheLocation::Off,
        pool_instances_max: 100,
        ..EngineConfig::default()
    })
    .unwrap()
}

/// An engine with room for so many instances.
pub(crate) fn engine_of(instances_max: u64) -> Engine {
    Engine::new(EngineConfig {
        cache: CacheLocation::Off,
        pool_instances_max: 16,
        capacity: CapacityConfig {
            instances_max: Some(instances_max),
            ..CapacityConfig::default()
        },
        ..EngineConfig::default()
    })
    .unwrap()
}

/// A template of a component in the text format, its imports `links` linked.
pub(crate) fn template(engine: &Engine, wat: &str, links: &[&str]) -> InstanceTemplate {
    template_with(engine, wat, links, Limits::default())
}

pub(crate) fn template_with(
    engine: &Engine,
    wat: &str,
    links: &[&str],
    limits: Limits,
) -> InstanceTemplate {
    let bytes = wat::parse_str(wat).unwrap();
    let component = engine.load(&ComponentRef::Bytes(bytes.into())).unwrap();
    // Only a function that returns `result<_, string>` can carry a failed call.
    let error_as = wat.contains("(error string)").then_some(ErrorCarry::Text);
    let linked = |import: &&str| LinkedImport {
        error_as: error_as.clone(),
        ..LinkedImport::new(*import)
    };
    let links = links.iter().map(linked).collect();
    let spec = TemplateSpec {
        links,
        limits,
        ..TemplateSpec::new("test")
    };
    InstanceTemplate::link(&component, spec).unwrap()
}

/// A system whose actors may restart as often as they like.
pub(crate) async fn system(engine: &Engine) -> System {
    system_with(engine, true).await
}

pub(crate) async fn system_with(engine: &Engine, short_road: bool) -> System {
    let intensity = RestartIntensity {
        max: u32::MAX,
        within: Duration::from_secs(1),
    };
    let config = SystemConfig {
        intensity,
        events_capacity: 1 << 16,
        short_road,
        ..SystemConfig::new(engine.clone())
    };
    System::start(config).await.unwrap()
}

pub(crate) fn address(text: &str) -> ActorAddress {
    text.parse().unwrap()
}

/// Whether the host's cast counts as one: what was accepted does, and what a mailbox dropped as the newest, which is a
/// dead letter. Everything else comes back, and is nothing.
pub(crate) fn is_counted(sent: &Result<(), SendError>) -> bool {
    let Err(error) = sent else { return true };
    let dropped = matches!(*error.why, CallError::Evicted { .. });
    assert_eq!(error.args.is_none(), dropped, "{error}");
    dropped
}

/// Waits until an incarnation of `who` after `after` is up.
pub(crate) async fn started(events: &mut Events, who: &ActorAddress, after: u64) -> u64 {
    loop {
        match events.recv().await {
            Some(Event::Started {
                address,
                incarnation,
            }) if address == *who && incarnation > after => {
                return incarnation;
            }
            Some(_) => {}
            None => panic!("the system is gone"),
        }
    }
}

/// Waits until an incarnation of `who` has ended.
pub(crate) async fn exited(events: &mut Events, who: &ActorAddress) -> ExitReason {
    loop {
        match events.recv().await {
            Some(Event::Exited {
                address, reason, ..
            }) if address == *who => return reason,
            Some(_) => {}
            None => panic!("the system is gone"),
        }
    }
}

/// Waits until an incarnation of each of `who` has ended, in whatever order: whoever waits for the reply of another
/// hears of its end before the events do. Returns the reasons in the order of `who`.
pub(crate) async fn all_exited<const N: usize>(
    events: &mut Events,
    who: [&str; N],
) -> [ExitReason; N] {
    let mut reasons = [const { None }; N];
    while reasons.iter().any(Option::is_none) {
        match events.recv().await {
            Some(Event::Exited {
                address, reason, ..
            }) => {
                if let Some(nth) = who.iter().position(|name| address.as_str() == *name) {
                    reasons[nth].get_or_insert(reason);
                }
            }
            Some(_) => {}
            None => panic!("the system is gone"),
        }
    }
    reasons.map(Option::unwrap)
}
