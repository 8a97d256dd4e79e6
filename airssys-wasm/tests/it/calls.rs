//! Calls: what comes back, what is refused, and every way a call can be ended from outside.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use airssys_wasm::{
    Args, CallOutcome, CallRefused, FaultClass, ImportId, Instance, LinkFailure, LinkFailureReason,
    Outbound, Value,
};

use crate::guest::{
    call, component, core, died, engine, linked, returned, run, spec, start, start_with, template,
};

/// An outbound that does as it was told.
pub(crate) struct Scripted {
    script: Script,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
    started: usize,
    dropped: Option<Arc<AtomicUsize>>,
}

enum Script {
    Never,
    After(Duration),
    Fail(LinkFailureReason),
    PanicAtOnce,
    PanicAtSecondPoll,
    PanicInDrop,
}

impl Scripted {
    fn new(script: Script) -> Self {
        Self {
            script,
            timer: None,
            started: 0,
            dropped: None,
        }
    }

    pub(crate) fn never() -> Self {
        Self::new(Script::Never)
    }

    pub(crate) fn after(wait: Duration) -> Self {
        Self::new(Script::After(wait))
    }

    pub(crate) fn fail(reason: LinkFailureReason) -> Self {
        Self::new(Script::Fail(reason))
    }
}

impl Outbound for Scripted {
    fn start(&mut self, _: ImportId, _: Args) {
        self.started += 1;
        self.timer = None;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Args, LinkFailure>> {
        match self.script {
            Script::Never | Script::PanicInDrop => Poll::Pending,
            Script::After(wait) => {
                let timer = self
                    .timer
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(wait)));
                timer.as_mut().poll(cx).map(|()| Ok(Args::new()))
            }
            Script::Fail(reason) => Poll::Ready(Err(LinkFailure {
                reason,
                message: "it \u{1b}[31mburned".to_owned(),
            })),
            Script::PanicAtOnce => panic!("at once"),
            Script::PanicAtSecondPoll => {
                if self.timer.is_some() {
                    panic!("at the second poll");
                }
                let timer = self
                    .timer
                    .insert(Box::pin(tokio::time::sleep(Duration::ZERO)));
                let _woken_later = timer.as_mut().poll(cx);
                Poll::Pending
            }
        }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if let Some(dropped) = &self.dropped {
            dropped.fetch_add(1, Ordering::SeqCst);
        }
        if matches!(self.script, Script::PanicInDrop) {
            panic!("in drop");
        }
    }
}

/// Asks its peer once, and echoes text.
const GUEST: &str = r#"(component
    (import "test:peer/peer" (instance $peer (export "ask" (func))))
    (core func $ask (canon lower (func $peer "ask")))
    (core module $m
      (import "h" "ask" (func $ask))
      (memory (export "memory") 1)
      (global $at (mut i32) (i32.const 1024))
      (func (export "realloc") (param i32 i32 i32 i32) (result i32)
        (local $was i32)
        (local.set $was (global.get $at))
        (global.set $at (i32.add (global.get $at) (local.get 3)))
        (local.get $was))
      (func (export "go") (call $ask))
      (func (export "spin") (loop (br 0)))
      (func (export "echo") (param i32 i32) (result i32)
        (i32.store (i32.const 8) (local.get 0))
        (i32.store (i32.const 12) (local.get 1))
        (global.set $at (i32.const 1024))
        (i32.const 8)))
    (core instance $i (instantiate $m (with "h" (instance (export "ask" (func $ask))))))
    (func (export "go") (canon lift (core func $i "go")))
    (func (export "spin") (canon lift (core func $i "spin")))
    (func (export "echo") (param "text" string) (result string)
      (canon lift (core func $i "echo") (memory $i "memory") (realloc (func $i "realloc")))))"#;

fn text(args: &Args) -> &str {
    match args.values() {
        [Value::String(text)] => text,
        other => panic!("{other:?}"),
    }
}

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn a_call_gives_the_instance_back_again_and_again() {
    run(async {
        let template = template(&engine(), GUEST, linked("test:peer/peer"));
        let mut instance = assert_send(start(&template).await);
        for round in 0..100 {
            let said = format!("round {round}");
            let outcome = assert_send(call(&template, instance, "echo", (said.as_str(),))).await;
            let (back, args) = returned(outcome);
            assert_eq!(text(&args), said);
            instance = back;
        }
    });
}

#[test]
fn arguments_that_do_not_fit_leave_the_instance_unharmed() {
    run(async {
        let template = template(&engine(), GUEST, linked("test:peer/peer"));
        let outcome = call(&template, start(&template).await, "echo", (7_u32,)).await;
        let CallOutcome::Refused(instance, refused) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(
            matches!(refused, CallRefused::Argument { position: 1, .. }),
            "{refused}"
        );
        let outcome = call(&template, instance, "echo", ()).await;
        let CallOutcome::Refused(instance, refused) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(
            matches!(
                refused,
                CallRefused::Count {
                    expected: 1,
                    given: 0,
                    ..
                }
            ),
            "{refused}"
        );
        let (_, args) = returned(call(&template, instance, "echo", ("fine",)).await);
        assert_eq!(text(&args), "fine");
    });
}

#[test]
fn an_export_of_another_component_is_refused_not_a_panic() {
    run(async {
        let engine = engine();
        let template = template(&engine, &core("(func (export \"go\"))"), spec());
        let other = component(&engine, GUEST);
        let export = other.surface().export("echo").unwrap();
        let outcome = start(&template).await.call(export, Args::new()).await;
        assert!(
            matches!(
                outcome,
                CallOutcome::Refused(_, CallRefused::NoSuchFunction(_))
            ),
            "{outcome:?}"
        );
    });
}

#[test]
fn a_spinning_guest_is_killed_from_another_thread() {
    run(async {
        let mut spec = linked("test:peer/peer");
        spec.limits.cpu_per_call = Duration::from_secs(3_600);
        spec.limits.wall_per_call = Duration::from_secs(3_600);
        let template = template(&engine(), GUEST, spec);
        let instance = start(&template).await;
        let switch = assert_send(instance.kill_switch());
        let killer = std::thread::spawn(move || switch.kill());
        let fault = died(call(&template, instance, "spin", ()).await);
        killer.join().unwrap();
        assert_eq!(fault.class, FaultClass::Killed, "{fault}");
    });
}

#[test]
fn a_waiting_guest_is_killed_and_its_outbound_dropped_with_the_store() {
    run(async {
        let dropped = Arc::new(AtomicUsize::new(0));
        let template = template(&engine(), GUEST, linked("test:peer/peer"));
        let mut outbound = Scripted::never();
        outbound.dropped = Some(Arc::clone(&dropped));
        let instance = start_with(&template, outbound).await;
        let switch = instance.kill_switch();
        let call = call(&template, instance, "go", ());
        let kill = async {
            tokio::task::yield_now().await;
            switch.kill();
        };
        let (outcome, ()) = tokio::join!(biased; call, kill);
        assert_eq!(died(outcome).class, FaultClass::Killed);
        assert_eq!(
            dropped.load(Ordering::SeqCst),
            1,
            "the Store is gone before the outcome is seen"
        );
    });
}

#[test]
fn an_idle_instance_that_was_killed_dies_at_its_next_call() {
    run(async {
        let template = template(&engine(), GUEST, linked("test:peer/peer"));
        let instance = start(&template).await;
        instance.kill_switch().kill();
        let fault = died(call(&template, instance, "echo", ("late",)).await);
        assert_eq!(fault.class, FaultClass::Killed);
    });
}

#[test]
fn a_dropped_call_drops_the_store_and_frees_its_slot() {
    run(async {
        let engine = engine();
        let template = template(&engine, GUEST, linked("test:peer/peer"));
        // More often than the pool has slots: each must be free again.
        for _ in 0..40 {
            let instance = start_with(&template, Scripted::never()).await;
            let mut waiting = Box::pin(call(&template, instance, "go", ()));
            let mut cx = Context::from_waker(std::task::Waker::noop());
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
            drop(waiting);
        }
        assert_eq!(engine.audit().counts().deaths, 40);
    });
}

#[test]
fn a_host_function_that_panics_ends_its_own_instance_only() {
    for (script, message) in [
        (Script::PanicAtOnce, "at once"),
        (Script::PanicAtSecondPoll, "at the second poll"),
    ] {
        run(async {
            let template = template(&engine(), GUEST, linked("test:peer/peer"));
            let neighbour = start(&template).await;
            let instance = start_with(&template, Scripted::new(script)).await;
            let fault = died(call(&template, instance, "go", ()).await);
            assert_eq!(fault.class, FaultClass::HostPanic, "{fault}");
            assert!(fault.message.contains(message), "{fault}");
            let (_, args) = returned(call(&template, neighbour, "echo", ("alive",)).await);
            assert_eq!(text(&args), "alive");
        });
    }
}

#[test]
fn a_panic_in_the_drop_of_an_outbound_stays_inside() {
    run(async {
        let template = template(&engine(), GUEST, linked("test:peer/peer"));
        // Dropped idle, and dropped in the middle of a call.
        drop(start_with(&template, Scripted::new(Script::PanicInDrop)).await);
        let instance = start_with(&template, Scripted::new(Script::PanicInDrop)).await;
        let mut waiting = Box::pin(call(&template, instance, "go", ()));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        drop(waiting);
        let (_, args) = returned(call(&template, start(&template).await, "echo", ("alive",)).await);
        assert_eq!(text(&args), "alive");
    });
}

#[test]
fn an_instance_is_a_thin_box() {
    assert_eq!(size_of::<Instance>(), size_of::<usize>());
}
