//! Actors that give up their instances while they have nothing to do, and are brought back by a message.

mod idle;

use std::time::Duration;

use airssys_wasm::{ComponentRef, InstanceTemplate, IntoArgs, TemplateSpec};
use airssys_wasm_actors::{
    ActorRef, ApplicationSpec, ChildHealth, ChildSpec, Event, Events, Passivation, ResolveOptions,
    StartError, System, UpgradeError, UpgradeOptions,
};

use crate::application::Directory;
use crate::guests::{WORKER, address, engine, system, system_with, template};
use crate::messaging::PROBE;
use crate::spawning::SPAWNER;

/// Exports `airssys:actor/state`, and `test:t/work`: `add(n) -> sum of all n so far`, and `mode(n)`, which is part
/// of the snapshot. 1: `snapshot` refuses; 2: it is 8 KiB; 3: it spins; 4: `restore` refuses; 5: it traps;
/// 6: it spins.
pub(crate) const KEEPER: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (data (i32.const 512) "will not")
    (global $sum (mut i32) (i32.const 0))
    (global $mode (mut i32) (i32.const 0))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func $refuse (result i32)
      (i32.store8 (i32.const 16) (i32.const 1))
      (i32.store (i32.const 20) (i32.const 512))
      (i32.store (i32.const 24) (i32.const 8))
      (i32.const 16))
    (func (export "add") (param i32) (result i32)
      (global.set $sum (i32.add (global.get $sum) (local.get 0)))
      (global.get $sum))
    (func (export "mode") (param i32) (global.set $mode (local.get 0)))
    (func (export "snapshot") (result i32)
      (if (i32.eq (global.get $mode) (i32.const 1)) (then (return (call $refuse))))
      (if (i32.eq (global.get $mode) (i32.const 3)) (then (loop (br 0))))
      (i32.store (i32.const 64) (global.get $sum))
      (i32.store (i32.const 68) (global.get $mode))
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (i32.const 64))
      (i32.store (i32.const 24)
        (select (i32.const 8192) (i32.const 8) (i32.eq (global.get $mode) (i32.const 2))))
      (i32.const 16))
    (func (export "restore") (param $version i32) (param $length i32) (param $bytes i32) (param i32)
      (result i32)
      (global.set $sum (i32.load (local.get $bytes)))
      (global.set $mode (i32.load offset=4 (local.get $bytes)))
      (if (i32.eq (global.get $mode) (i32.const 4)) (then (return (call $refuse))))
      (if (i32.eq (global.get $mode) (i32.const 5)) (then unreachable))
      (if (i32.eq (global.get $mode) (i32.const 6)) (then (loop (br 0))))
      (if (i32.ne (local.get $length) (i32.const 64)) (then unreachable))
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.const 16)))
  (core instance $i (instantiate $m))
  (func $add (param "n" u32) (result u32) (canon lift (core func $i "add")))
  (func $mode (param "n" u32) (canon lift (core func $i "mode")))
  (func $snapshot (result (result (list u8) (error string)))
    (canon lift (core func $i "snapshot") (memory $i "memory")))
  (func $restore (param "from-version" string) (param "bytes" (list u8)) (result (result (error string)))
    (canon lift (core func $i "restore") (memory $i "memory") (realloc (func $i "realloc"))))
  (instance (export "test:t/work") (export "add" (func $add)) (export "mode" (func $mode)))
  (instance (export "airssys:actor/state@0.1.0")
    (export "snapshot" (func $snapshot)) (export "restore" (func $restore))))"#;

const IDLE: Duration = Duration::from_secs(60);

async fn keeper(system: &System) -> ActorRef {
    let template = template(system.engine(), KEEPER, &[]);
    let spec = ChildSpec::component(address("keeper"), template).passivate(Passivation {
        snapshot_bytes_max: 4_096,
        ..Passivation::new(IDLE)
    });
    system.spawn(spec).await.unwrap()
}

/// Waits for an event of these; time passes meanwhile.
async fn until(events: &mut Events, wanted: impl Fn(&Event) -> bool) -> Event {
    loop {
        let event = events.recv().await.unwrap();
        if wanted(&event) {
            return event;
        }
    }
}

async fn passivated(events: &mut Events) {
    until(events, |event| matches!(event, Event::Passivated { .. })).await;
}

async fn add(actor: &ActorRef, n: u32) -> u32 {
    let reply = actor.call("add", (n,)).await.unwrap();
    let mut values = reply.into_values();
    match values.next() {
        Some(airssys_wasm::Value::U32(sum)) => sum,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_state_goes_with_the_instance_and_comes_back_with_the_next_message() {
    for short_road in [true, false] {
        let engine = engine();
        let system = system_with(&engine, short_road).await;
        let mut events = system.events();
        let keeper = keeper(&system).await;
        for round in 1..=3_u32 {
            assert_eq!(add(&keeper, 5).await, 5 * round);
            assert_eq!(engine.instances(), 1);
            passivated(&mut events).await;
            assert_eq!(engine.instances(), 0);
            let status = keeper.status();
            assert!(status.passive && status.running);
            assert_eq!(status.incarnation, 1);
            let health = keeper.health(Duration::from_secs(1)).await.unwrap();
            assert_eq!(health, ChildHealth::Healthy);
            assert_eq!(engine.instances(), 0, "asking for its health wakes nobody");
        }
        assert_eq!(add(&keeper, 1).await, 16);
        assert!(!keeper.status().passive);
        assert_eq!(
            (keeper.counters().restarts, keeper.counters().replies),
            (0, 4)
        );
        system.shutdown().await;
        assert_eq!(engine.instances(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_was_stopped_and_started_again_is_still_looked_at() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let keeper = keeper(&system).await;
    let (above, _) = system.child(&address("keeper")).unwrap();
    above.terminate_child(&address("keeper")).await.unwrap();
    tokio::time::sleep(IDLE).await;
    above.start_stopped_child(&address("keeper")).await.unwrap();
    assert_eq!(add(&keeper, 5).await, 5);
    let wanted = tokio::time::timeout(IDLE * 2, passivated(&mut events));
    wanted.await.unwrap();
    assert_eq!(add(&keeper, 5).await, 10);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_due_soon_does_not_wait_for_the_others() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let idle = |name: &str, after| {
        let template = template(system.engine(), KEEPER, &[]);
        ChildSpec::component(address(name), template).passivate(Passivation::new(after))
    };
    system.spawn(idle("slow", 10 * IDLE)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let brief = Duration::from_secs(1);
    system.spawn(idle("quick", brief)).await.unwrap();
    let wanted = tokio::time::timeout(2 * brief, passivated(&mut events));
    wanted.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_has_something_to_do_keeps_its_instance() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let keeper = keeper(&system).await;
    for _ in 0..10 {
        tokio::time::sleep(IDLE / 2).await;
        add(&keeper, 1).await;
    }
    assert_eq!(engine.instances(), 1);
    passivated(&mut events).await;
    assert_eq!(add(&keeper, 0).await, 10);
}

#[tokio::test(start_paused = true)]
async fn stateless_is_a_word_somebody_has_to_say() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let worker = |stateless| {
        ChildSpec::component(address("worker"), template(&engine, WORKER, &[])).passivate(
            Passivation {
                stateless,
                ..Passivation::new(IDLE)
            },
        )
    };
    match system.spawn(worker(false)).await {
        Err(StartError::Passivation(who)) => assert_eq!(who, address("worker")),
        other => panic!("{other:?}"),
    }
    let worker = system.spawn(worker(true)).await.unwrap();
    worker.call("work", (1_u32,)).await.unwrap();
    passivated(&mut events).await;
    assert_eq!(engine.instances(), 0);
    let count = worker.call("count", ()).await.unwrap();
    assert_eq!(count, (0_u32,).into_args(), "nothing was kept");
}

/// What it holds of the messaging plane would end with its instance, whatever it is declared.
#[tokio::test]
async fn one_of_the_messaging_plane_or_that_spawns_is_refused() {
    let engine = engine();
    let system = system(&engine).await;
    let directory = Directory::new("");
    for (name, wasm) in [("probe", PROBE), ("spawner", SPAWNER)] {
        let component = engine.load(&ComponentRef::Bytes(wasm.to_vec().into()));
        let template = InstanceTemplate::link(&component.unwrap(), TemplateSpec::new(name));
        let spec = ChildSpec::component(address(name), template.unwrap());
        let passive = spec.clone().passivate(Passivation {
            stateless: true,
            ..Passivation::new(IDLE)
        });
        let why = system.spawn(passive.clone()).await.unwrap_err().to_string();
        assert!(why.contains("takes part in the messaging plane"), "{why}");
        // Nor does it become one.
        system.spawn(spec).await.unwrap();
        let why = system.upgrade(passive, UpgradeOptions::default());
        assert!(matches!(why, Err(UpgradeError::Spec { .. })), "{why:?}");

        let file = format!("{name}.wasm");
        std::fs::write(directory.0.join(&file), wasm).unwrap();
        let text = format!(
            "[application]\nname = \"app\"\n[components.one]\nfile = \"{file}\"\nstateless = true\n\
             passivate-after = \"1min\"\n"
        );
        let manifest = ApplicationSpec::parse(directory.0.join("airssys.toml"), text).unwrap();
        let found = manifest.resolve(&engine, &ResolveOptions::default());
        let found = found.err().unwrap().findings;
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].what.contains("takes part in the messaging plane"),
            "{found:?}"
        );
        assert_eq!(found[0].at.as_ref().unwrap().line, 6);
        assert!(found[0].help.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_snapshot_the_instance_stays() {
    for (mode, says) in [(1_u32, "will not"), (2, "snapshot-bytes-max")] {
        let engine = engine();
        let system = system(&engine).await;
        let mut events = system.events();
        let keeper = keeper(&system).await;
        add(&keeper, 7).await;
        keeper.call("mode", (mode,)).await.unwrap();
        let failed = |event: &Event| matches!(event, Event::SnapshotFailed { .. });
        match until(&mut events, failed).await {
            Event::SnapshotFailed { why, .. } => assert!(why.contains(says), "{why}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(engine.instances(), 1);
        assert!(!keeper.status().passive);
        // Once it can, it does.
        keeper.call("mode", (0_u32,)).await.unwrap();
        passivated(&mut events).await;
        assert_eq!(add(&keeper, 1).await, 8);
    }
}

/// The message that woke it is kept: it is the successor's first, which begins without the snapshot.
#[tokio::test(start_paused = true)]
async fn a_restore_that_fails_is_a_failed_start_and_the_message_is_kept() {
    for short_road in [true, false] {
        for (mode, says) in [(4_u32, "will not"), (5, "unreachable"), (6, "cpu-deadline")] {
            let engine = engine();
            let system = system_with(&engine, short_road).await;
            let mut events = system.events();
            let keeper = keeper(&system).await;
            add(&keeper, 7).await;
            keeper.call("mode", (mode,)).await.unwrap();
            passivated(&mut events).await;
            assert_eq!(add(&keeper, 1).await, 1, "by a new incarnation");
            let exited = |event: &Event| matches!(event, Event::Exited { .. });
            match until(&mut events, exited).await {
                Event::Exited { reason, .. } => {
                    assert_eq!(reason.kind(), "start-failed");
                    assert!(reason.to_string().contains(says), "{reason}");
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(keeper.status().incarnation, 2);
            assert_eq!(engine.instances(), 1);
            let counters = keeper.counters();
            assert_eq!((counters.calls, counters.replies), (3, 3));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_ends_the_instance_ends_the_incarnation() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let keeper = keeper(&system).await;
    keeper.call("mode", (3_u32,)).await.unwrap();
    let exited = |event: &Event| matches!(event, Event::Exited { .. });
    match until(&mut events, exited).await {
        Event::Exited { reason, .. } => assert_eq!(reason.kind(), "cpu-deadline"),
        other => panic!("{other:?}"),
    }
    assert_eq!(add(&keeper, 1).await, 1);
    assert_eq!(keeper.status().incarnation, 2);
}

#[tokio::test(start_paused = true)]
async fn killed_or_stopped_while_it_has_no_instance() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let keeper = keeper(&system).await;
    add(&keeper, 7).await;
    passivated(&mut events).await;
    keeper.kill();
    let exited = |event: &Event| matches!(event, Event::Exited { .. });
    match until(&mut events, exited).await {
        Event::Exited { reason, .. } => assert_eq!(reason.kind(), "killed"),
        other => panic!("{other:?}"),
    }
    assert_eq!(add(&keeper, 1).await, 1, "a killed actor begins afresh");
    passivated(&mut events).await;
    let stopped = system.supervisor().stop_child(keeper.address()).await;
    assert_eq!(stopped.unwrap().stopped.len(), 1);
    assert_eq!(engine.instances(), 0);
}

/// As many at once as there are, and each is brought back once.
#[tokio::test(start_paused = true)]
async fn a_storm_of_messages_brings_each_back_once() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let template = template(&engine, KEEPER, &[]);
    let mut all = Vec::new();
    for n in 0..50 {
        let spec = ChildSpec::component(address(&format!("k/{n}")), template.clone())
            .passivate(Passivation::new(IDLE));
        all.push(system.spawn(spec).await.unwrap());
    }
    for actor in &all {
        add(actor, 1).await;
    }
    for _ in &all {
        passivated(&mut events).await;
    }
    assert_eq!(engine.instances(), 0);
    for _ in 0..4 {
        for actor in &all {
            actor.cast("add", (1_u32,)).unwrap();
        }
    }
    for actor in &all {
        assert_eq!(add(actor, 0).await, 5);
        assert_eq!(actor.status().incarnation, 1);
    }
    let mut activated = 0;
    for _ in &all {
        until(&mut events, |event| {
            assert!(!matches!(event, Event::Exited { .. }), "{event:?}");
            matches!(event, Event::Activated { .. })
        })
        .await;
        activated += 1;
    }
    assert_eq!((activated, engine.instances()), (50, 50));
}
