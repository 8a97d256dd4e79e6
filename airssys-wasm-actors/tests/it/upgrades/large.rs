//! States that are larger than what an instance may hand to the host in one call.

use std::time::Duration;

use airssys_wasm::{Engine, Limits};
use airssys_wasm_actors::{
    ActorRef, ChildSpec, Event, NotReplaced, Passivation, StateTaken, System, UpgradeOptions,
};

use super::{add, why};
use crate::guests::{address, engine, system, system_with, template_with};

/// Exports `airssys:actor/state`, and `test:t/work`: `add(n) -> sum of all n so far`, and `size(n)`: so many bytes are in
/// its snapshot from then on. 0: `snapshot` traps; 1: it refuses, with 20 MiB of text. Its `restore` traps if the last byte is
/// not the one that was written.
const LARGE: &str = r#"(component
  (core module $m
    (memory (export "memory") 700)
    (global $sum (mut i32) (i32.const 0))
    (global $size (mut i32) (i32.const 8))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536))
    (func (export "add") (param i32) (result i32)
      (global.set $sum (i32.add (global.get $sum) (local.get 0)))
      (global.get $sum))
    (func (export "size") (param i32) (global.set $size (local.get 0)))
    (func (export "snapshot") (result i32)
      (if (i32.eqz (global.get $size)) (then unreachable))
      (i32.store (i32.const 20) (i32.const 65536))
      (if (i32.eq (global.get $size) (i32.const 1)) (then
        (memory.fill (i32.const 65536) (i32.const 97) (i32.const 20971520))
        (i32.store8 (i32.const 16) (i32.const 1))
        (i32.store (i32.const 24) (i32.const 20971520))
        (return (i32.const 16))))
      (i32.store (i32.const 65536) (global.get $sum))
      (i32.store8 (i32.add (global.get $size) (i32.const 65535)) (i32.const 7))
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.store (i32.const 24) (global.get $size))
      (i32.const 16))
    (func (export "restore") (param i32 i32) (param $bytes i32) (param $length i32) (result i32)
      (global.set $sum (i32.load (local.get $bytes)))
      (global.set $size (local.get $length))
      (if (i32.ne (i32.const 7)
            (i32.load8_u (i32.sub (i32.add (local.get $bytes) (local.get $length)) (i32.const 1))))
        (then unreachable))
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.const 16)))
  (core instance $i (instantiate $m))
  (func $add (param "n" u32) (result u32) (canon lift (core func $i "add")))
  (func $size (param "n" u32) (canon lift (core func $i "size")))
  (func $snapshot (result (result (list u8) (error string)))
    (canon lift (core func $i "snapshot") (memory $i "memory")))
  (func $restore (param "from-version" string) (param "bytes" (list u8)) (result (result (error string)))
    (canon lift (core func $i "restore") (memory $i "memory") (realloc (func $i "realloc"))))
  (instance (export "test:t/work") (export "add" (func $add)) (export "size" (func $size)))
  (instance (export "airssys:actor/state@0.1.0")
    (export "snapshot" (func $snapshot)) (export "restore" (func $restore))))"#;

fn spec(engine: &Engine) -> ChildSpec {
    let limits = Limits {
        hostcall_bytes_max: 256 << 10,
        ..Limits::default()
    };
    ChildSpec::component(address("large"), template_with(engine, LARGE, &[], limits))
}

/// One whose sum is 7, and whose snapshot has so many bytes.
async fn large(system: &System, spec: ChildSpec, bytes: u32) -> ActorRef {
    let actor = system.spawn(spec).await.unwrap();
    assert_eq!(add(&actor, 7).await.unwrap(), 7);
    actor.call("size", (bytes,)).await.unwrap();
    actor
}

#[tokio::test]
async fn a_state_larger_than_the_limit_of_other_calls_is_handed_over_and_back() {
    for short_road in [true, false] {
        let engine = engine();
        let system = system_with(&engine, short_road).await;
        for bytes in [1_572_864_u32, 16 << 20] {
            let actor = large(&system, spec(&engine), bytes).await;
            let upgrade = system.upgrade(spec(&engine), UpgradeOptions::default());
            let upgraded = upgrade.unwrap().switch().await.unwrap();
            let bytes = u64::from(bytes);
            assert_eq!(upgraded.states(), [StateTaken::HandedOver { bytes }]);
            assert_eq!(add(&actor, 1).await.unwrap(), 8);
            let states = upgraded.roll_back().await.unwrap();
            assert_eq!(states, [StateTaken::HandedOver { bytes }]);
            assert_eq!(add(&actor, 1).await.unwrap(), 9);
            assert_eq!(actor.status().incarnation, 1);
            let stopped = system.supervisor().stop_child(actor.address()).await;
            stopped.unwrap();
        }
        system.shutdown().await;
    }
}

#[tokio::test]
async fn of_a_state_beyond_the_bound_or_a_long_refusal_nothing_is_lost() {
    let engine = engine();
    let system = system(&engine).await;
    for (size, says) in [
        ((16 << 20) + 1_u32, "limit `snapshot-bytes-max` of 16777216"),
        (40 << 20, "limit `snapshot-bytes-max` of 16777216"),
        (1, "limit `snapshot-bytes-max` of 16777216"),
    ] {
        let actor = large(&system, spec(&engine), size).await;
        let upgrade = system.upgrade(spec(&engine), UpgradeOptions::default());
        match why(upgrade.unwrap().switch().await.unwrap_err()) {
            NotReplaced::Snapshot(text) => assert!(text.contains(says), "{text}"),
            other => panic!("{other}"),
        }
        assert_eq!(add(&actor, 1).await.unwrap(), 8);
        assert_eq!(actor.status().incarnation, 1);
        let stopped = system.supervisor().stop_child(actor.address()).await;
        stopped.unwrap();
    }
}

/// The sum is gone with the instance, as after any trap; the upgrade does not say that it was handed over.
#[tokio::test]
async fn an_upgrade_in_which_the_instance_ends_is_no_success() {
    for short_road in [true, false] {
        let engine = engine();
        let system = system_with(&engine, short_road).await;
        let actor = large(&system, spec(&engine), 0).await;
        let upgrade = system.upgrade(spec(&engine), UpgradeOptions::default());
        match why(upgrade.unwrap().switch().await.unwrap_err()) {
            NotReplaced::Ended => {}
            other => panic!("{other}"),
        }
        assert_eq!(add(&actor, 1).await.unwrap(), 1);
        assert_eq!(actor.status().incarnation, 2);
        assert_eq!(engine.instances(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_has_nothing_to_do_keeps_a_state_that_is_too_large_and_gives_up_one_that_is_not() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let passive = spec(&engine).passivate(Passivation::new(Duration::from_secs(60)));
    let actor = large(&system, passive, 1_572_864).await;
    loop {
        match events.recv().await.unwrap() {
            Event::SnapshotFailed { why, .. } => {
                assert!(
                    why.contains("limit `snapshot-bytes-max` of 1048576"),
                    "{why}"
                );
                break;
            }
            Event::Exited { reason, .. } => panic!("{reason}"),
            _ => {}
        }
    }
    assert_eq!(add(&actor, 1).await.unwrap(), 8);
    actor.call("size", (1_u32 << 20,)).await.unwrap();
    while !matches!(events.recv().await.unwrap(), Event::Passivated { .. }) {}
    assert_eq!(engine.instances(), 0);
    assert_eq!(add(&actor, 1).await.unwrap(), 9);
    assert_eq!(actor.status().incarnation, 1);
}
