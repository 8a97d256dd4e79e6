//! CPU and wall time: loops wherever a guest can put one.

use std::cell::RefCell;
use std::time::Duration;

use airssys_wasm::{CallOutcome, FaultClass, Limits, NoOutbound, TemplateSpec, Value};

use crate::calls::Scripted;
use crate::guest::{
    call, core, death, died, engine, identity, linked, returned, run, run_paused, small, spec,
    start, start_with, template,
};

const SPIN: &str = "(func (export \"go\") (loop (br 0)))";

#[test]
fn an_endless_loop_ends_and_its_neighbour_on_the_same_thread_is_answered_meanwhile() {
    let add = "(component
        (core module $m (func (export \"add\") (param i32 i32) (result i32)
          (i32.add (local.get 0) (local.get 1))))
        (core instance $i (instantiate $m))
        (func (export \"add\") (param \"a\" u32) (param \"b\" u32) (result u32)
          (canon lift (core func $i \"add\"))))";
    run(async {
        let engine = engine();
        let (spinner, neighbour) = (
            template(&engine, &core(SPIN), spec()),
            template(&engine, add, spec()),
        );
        let (spinning, adding) = (start(&spinner).await, start(&neighbour).await);
        let events = RefCell::new(Vec::new());
        let spin = async {
            let fault = died(call(&spinner, spinning, "go", ()).await);
            events.borrow_mut().push("spinner ended");
            fault
        };
        let answer = async {
            let (_, sum) = returned(call(&neighbour, adding, "add", (2_u32, 3_u32)).await);
            events.borrow_mut().push("neighbour answered");
            sum
        };
        // `join!` polls the spinner first: the neighbour's turn comes only because the spinner yields.
        let (fault, sum) = tokio::join!(biased; spin, answer);
        assert_eq!(fault.class, FaultClass::CpuDeadline, "{fault}");
        assert!(fault.message.contains("cpu-per-call"), "{fault}");
        assert_eq!(sum.values(), [Value::U32(5)]);
        assert_eq!(*events.borrow(), ["neighbour answered", "spinner ended"]);
    });
}

#[test]
fn a_loop_in_the_start_function_fails_the_instantiation() {
    run(async {
        let wat = "(component (core module $m (func $s (loop (br 0))) (start $s)) (core instance (instantiate $m)))";
        let template = template(&engine(), wat, spec());
        let fault = template
            .instantiate(identity(), Box::new(NoOutbound))
            .await
            .unwrap_err();
        assert_eq!(fault.class, FaultClass::CpuDeadline, "{fault}");
    });
}

#[test]
fn a_loop_in_realloc_or_post_return_ends_too() {
    let realloc = r#"(component
        (core module $m (memory (export "memory") 1)
          (func (export "realloc") (param i32 i32 i32 i32) (result i32) (loop (br 0)) unreachable)
          (func (export "go") (param i32 i32)))
        (core instance $i (instantiate $m))
        (func (export "go") (param "text" string)
          (canon lift (core func $i "go") (memory $i "memory") (realloc (func $i "realloc")))))"#;
    run(async {
        let template = template(&engine(), realloc, spec());
        let fault = died(call(&template, start(&template).await, "go", ("text",)).await);
        assert_eq!(fault.class, FaultClass::CpuDeadline, "{fault}");
    });
    let post_return = r#"(component
        (core module $m (func (export "go")) (func (export "post") (loop (br 0))))
        (core instance $i (instantiate $m))
        (func (export "go") (canon lift (core func $i "go") (post-return (func $i "post")))))"#;
    assert_eq!(death(post_return, spec()).class, FaultClass::CpuDeadline);
}

#[test]
fn filling_all_memory_for_ever_ends() {
    let fill = "(memory 16) (func (export \"go\") (loop
        (memory.fill (i32.const 0) (i32.const 7) (i32.const 1048576)) (br 0)))";
    assert_eq!(death(&core(fill), spec()).class, FaultClass::CpuDeadline);
}

#[test]
fn each_call_has_its_own_budget() {
    // Some milliseconds of work: one call is far inside its budget, and all of them together far outside.
    let burn = "(func (export \"go\") (local $n i32) (loop
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $n) (i32.const 3000000)))))";
    run(async {
        let limits = Limits {
            cpu_per_call: Duration::from_millis(60),
            ..small()
        };
        let template = template(&engine(), &core(burn), TemplateSpec { limits, ..spec() });
        let mut instance = start(&template).await;
        for _ in 0..60 {
            (instance, _) = returned(call(&template, instance, "go", ()).await);
        }
    });
}

/// Calls a linked import once.
const WAITER: &str = r#"(component
    (import "test:peer/peer" (instance $peer (export "ask" (func))))
    (core func $ask (canon lower (func $peer "ask")))
    (core module $m
      (import "h" "ask" (func $ask))
      (func (export "go") (call $ask) (call $ask)))
    (core instance $i (instantiate $m (with "h" (instance (export "ask" (func $ask))))))
    (func (export "go") (canon lift (core func $i "go"))))"#;

#[test]
fn waiting_longer_than_the_wall_limit_is_a_timeout() {
    run_paused(async {
        let template = template(&engine(), WAITER, linked("test:peer/peer"));
        let instance = start_with(&template, Scripted::never()).await;
        let fault = died(call(&template, instance, "go", ()).await);
        assert_eq!(fault.class, FaultClass::Timeout, "{fault}");
        assert!(fault.message.contains("wall-per-call"), "{fault}");
    });
}

#[test]
fn the_wall_limit_starts_anew_with_each_call() {
    run_paused(async {
        let template = template(&engine(), WAITER, linked("test:peer/peer"));
        // Two waits of 2 s in each call, and 5 s for a call.
        let mut instance = start_with(&template, Scripted::after(Duration::from_secs(2))).await;
        for _ in 0..5 {
            (instance, _) = returned(call(&template, instance, "go", ()).await);
        }
    });
}

#[test]
fn waiting_is_not_cpu_time() {
    run(async {
        let limits = Limits {
            cpu_per_call: Duration::from_millis(3),
            ..small()
        };
        let template = template(
            &engine(),
            WAITER,
            TemplateSpec {
                limits,
                ..linked("test:peer/peer")
            },
        );
        // Each wait takes more ticks than the whole budget has.
        let instance = start_with(&template, Scripted::after(Duration::from_millis(15))).await;
        assert!(matches!(
            call(&template, instance, "go", ()).await,
            CallOutcome::Returned(..)
        ));
    });
}

#[test]
fn killing_others_costs_nobody_cpu() {
    let burn = "(func (export \"go\") (local $n i32) (loop
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $n) (i32.const 3000000)))))";
    run(async {
        let limits = Limits {
            cpu_per_call: Duration::from_millis(500),
            ..small()
        };
        let template = template(&engine(), &core(burn), TemplateSpec { limits, ..spec() });
        let (victim, instance) = (start(&template).await, start(&template).await);
        let switch = victim.kill_switch();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    switch.kill();
                }
            });
            let outcome = tokio::task::unconstrained(call(&template, instance, "go", ()));
            let outcome = futures_block(outcome);
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(matches!(outcome, CallOutcome::Returned(..)), "{outcome:?}");
        });
    });
}

/// Polls a future to its end on this thread, for use where the runtime's own thread is held.
fn futures_block<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}
