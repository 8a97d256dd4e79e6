//! Components that are told of others' ends.

use airssys_wasm::{IntoArgs, Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorRef, ApplicationSpec, ChildSpec, Context, ExitReason, Message, ResolveOptions,
    RestartPolicy, SignalRefused,
};

use crate::guests::{WORKER, address, engine, started, system, template};

/// Exports `airssys:signals/down` and `test:t/told`: `count() -> ends told`, `last() -> incarnation of the last`;
/// it traps if it is told of an incarnation 9. With `airssys:signals/exits` in place of `down`, the same of exits.
const TOLD: &str = r#"(component
  (core module $m
    (memory (export "memory") 1)
    (global $count (mut i32) (i32.const 0))
    (global $last (mut i64) (i64.const 0))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "handle") (param i32 i32 i64 i32 i32 i32 i32)
      (if (i64.eq (local.get 2) (i64.const 9)) (then unreachable))
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (global.set $last (local.get 2)))
    (func (export "count") (result i32) (global.get $count))
    (func (export "last") (result i64) (global.get $last)))
  (core instance $i (instantiate $m))
  (func $handle (param "actor" string) (param "incarnation" u64) (param "kind" string) (param "reason" string)
    (canon lift (core func $i "handle") (memory $i "memory") (realloc (func $i "realloc"))))
  (func $count (result u32) (canon lift (core func $i "count")))
  (func $last (result u64) (canon lift (core func $i "last")))
  (instance (export "INTERFACE") (export "HANDLER" (func $handle)))
  (instance (export "test:t/told") (export "count" (func $count)) (export "last" (func $last))))"#;

pub(crate) fn told(interface: &str, handler: &str) -> String {
    TOLD.replace("INTERFACE", interface)
        .replace("HANDLER", handler)
}

pub(super) async fn count(actor: &ActorRef) -> u32 {
    let results = actor.call("count", ()).await.unwrap();
    results.into_typed::<(u32,)>().unwrap().0
}

#[tokio::test]
async fn a_component_is_told_of_each_end_of_an_actor_until_its_name_is_free() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let watcher = template(
        &engine,
        &told("airssys:signals/down@0.1.0", "handle-down"),
        &[],
    );
    // It starts before the actor it watches, and that before is no end.
    let watcher = ChildSpec::component(address("watcher"), watcher)
        .monitor(address("victim"))
        .monitor(address("nobody"));
    let victim = ChildSpec::component(address("victim"), template(&engine, WORKER, &[]));
    let both = system
        .supervisor()
        .start(vec![watcher, victim])
        .await
        .unwrap();
    let (watcher, victim) = (&both[0], &both[1]);
    assert_eq!(count(watcher).await, 0);
    assert_eq!(watcher.status().monitors, 1);
    for round in 1..=5_u64 {
        victim.kill();
        started(&mut events, &address("victim"), round).await;
        assert_eq!(count(watcher).await, u32::try_from(round).unwrap());
        let last = watcher.call("last", ()).await.unwrap();
        assert_eq!(last, (round,).into_args());
    }
    // A new incarnation of the watcher watches on.
    watcher.kill();
    started(&mut events, &address("watcher"), 1).await;
    assert_eq!((count(watcher).await, watcher.status().monitors), (0, 1));
    let stopped = system.supervisor().stop_child(&address("victim")).await;
    assert_eq!(stopped.unwrap().stopped.len(), 1);
    assert_eq!(count(watcher).await, 1);
    assert_eq!(watcher.status().monitors, 0);
}

/// Stopped and kept: its name leads to it, and nothing runs. Whoever is told watches again, and hears of the next end.
#[tokio::test]
async fn a_component_is_told_once_of_the_end_of_an_actor_that_stays_stopped() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let watcher = template(
        &engine,
        &told("airssys:signals/down@0.1.0", "handle-down"),
        &[],
    );
    let watcher = ChildSpec::component(address("watcher"), watcher)
        .monitor(address("victim"))
        .monitor(address("declines"));
    let victim = ChildSpec::component(address("victim"), template(&engine, WORKER, &[]));
    let declines = ChildSpec::native(address("declines"), || Declines);
    let supervisor = system.supervisor();
    let watcher = supervisor
        .start(vec![watcher, victim, declines])
        .await
        .unwrap()
        .remove(0);
    let counts = async |expected: u32| {
        for _ in 0..10 {
            assert_eq!(count(&watcher).await, expected);
        }
    };
    // One that declined has ended, too.
    counts(1).await;
    let victim = address("victim");
    supervisor.terminate_child(&victim).await.unwrap();
    counts(2).await;
    assert_eq!(watcher.status().monitors, 2);
    supervisor.start_stopped_child(&victim).await.unwrap();
    counts(2).await;
    system.whereis(&victim).unwrap().kill();
    started(&mut events, &victim, 2).await;
    counts(3).await;
    let last = watcher.call("last", ()).await.unwrap();
    assert_eq!(last, (2_u64,).into_args());
    // It was stopped, and now its name is free.
    supervisor.terminate_child(&victim).await.unwrap();
    counts(4).await;
    supervisor.delete_child(&victim).await.unwrap();
    counts(5).await;
    assert_eq!(watcher.status().monitors, 1);
}

/// Is not needed.
struct Declines;

impl Actor for Declines {
    type Error = std::convert::Infallible;

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

#[tokio::test]
async fn a_hook_that_traps_ends_its_component_like_any_call() {
    let engine = engine();
    let system = system(&engine).await;
    let mut events = system.events();
    let watcher = template(
        &engine,
        &told("airssys:signals/down@0.1.0", "handle-down"),
        &[],
    );
    let watcher = ChildSpec::component(address("watcher"), watcher).monitor(address("victim"));
    let victim = ChildSpec::component(address("victim"), template(&engine, WORKER, &[]));
    let both = system
        .supervisor()
        .start(vec![victim, watcher])
        .await
        .unwrap();
    let monitor = both[1].monitor();
    for round in 1..=9_u64 {
        both[0].kill();
        started(&mut events, &address("victim"), round).await;
    }
    assert_eq!(monitor.await.reason.kind(), "unreachable");
    assert_eq!(count(&both[1]).await, 0);
}

/// Links itself with whom it is told.
struct Linker;

impl Actor for Linker {
    type Error = SignalRefused;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit("package test:t; interface linker { bind: func(whom: string); }")
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> Result<(), SignalRefused> {
        let (whom,): (String,) = message.args().unwrap();
        ctx.link(&ctx.whereis(&address(&whom)).unwrap())?;
        message.reply(());
        Ok(())
    }
}

#[tokio::test]
async fn a_component_that_exports_the_hook_traps_exits_and_another_is_ended() {
    let engine = engine();
    let system = system(&engine).await;
    let linker = ChildSpec {
        restart: RestartPolicy::Temporary,
        ..ChildSpec::native(address("linker"), || Linker)
    };
    let linker = system.spawn(linker).await.unwrap();
    let traps = template(
        &engine,
        &told("airssys:signals/exits@0.1.0", "handle-exit"),
        &[],
    );
    let traps = ChildSpec::component(address("traps"), traps);
    let traps = system.spawn(traps).await.unwrap();
    let ends = ChildSpec::component(address("ends"), template(&engine, WORKER, &[]));
    let ends = system.spawn(ends).await.unwrap();
    for whom in ["traps", "ends"] {
        linker.call("bind", (whom,)).await.unwrap();
    }
    let monitor = ends.monitor();
    linker.kill();
    match monitor.await.reason {
        ExitReason::Linked(exit) => assert_eq!(exit.reason.kind(), "killed"),
        other => panic!("{other:?}"),
    }
    assert_eq!(count(&traps).await, 1);
    assert_eq!(traps.status().incarnation, 1);
}

#[tokio::test]
async fn a_manifest_says_whom_a_component_monitors() {
    let engine = engine();
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("told-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let watcher = told("airssys:signals/down@0.1.0", "handle-down");
    for (file, wat) in [("watcher", watcher.as_str()), ("victim", WORKER)] {
        let bytes = wat::parse_str(wat).unwrap();
        std::fs::write(directory.join(file).with_extension("wasm"), bytes).unwrap();
    }
    let spec = |watcher: &str, victim: &str| {
        let text = format!(
            "[application]\nname = \"app\"\n\
             [components.watcher]\nfile = \"watcher.wasm\"\nmonitors = [{watcher}]\n\
             [components.victim]\nfile = \"victim.wasm\"\nmonitors = [{victim}]\n"
        );
        ApplicationSpec::parse(directory.join("airssys.toml"), text).unwrap()
    };
    let refused = spec("\"nobody\"", "\"watcher\"").resolve(&engine, &ResolveOptions::default());
    let text = refused.err().unwrap().to_string();
    assert!(text.contains("there is no such component"), "{text}");
    assert!(
        text.contains("does not export `airssys:signals/down`"),
        "{text}"
    );

    let system = system(&engine).await;
    let application = spec("\"victim\"", "").resolve(&engine, &ResolveOptions::default());
    let running = application.unwrap().start(&system).await.unwrap();
    let mut events = system.events();
    let (watcher, victim) = (
        running.actor("watcher").unwrap().clone(),
        running.actor("victim").unwrap().clone(),
    );
    victim.kill();
    started(&mut events, victim.address(), 1).await;
    assert_eq!(count(&watcher).await, 1);
    running.stop().await;
    std::fs::remove_dir_all(directory).unwrap();
}
