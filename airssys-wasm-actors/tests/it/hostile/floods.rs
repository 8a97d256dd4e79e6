//! Guests that send more than anybody takes: H2, H3, H6.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use airssys_wasm::{CapabilityManifest, IntoArgs, Limits, MessagingManifest, Surface, WitError};
use airssys_wasm_actors::{Actor, ActorRef, ChildSpec, Context, Message};
use tokio::sync::Semaphore;

use super::{Case, alone};
use crate::guests::address;

/// `flood(n, bytes) -> u64`: casts so many messages of so many bytes to `to`; casts that were accepted << 32 | those that
/// found the mailbox full. Any other error ends it.
fn flooder(to: &str) -> String {
    let length = to.len();
    format!(
        r#"(component
          (import "airssys:messaging/types@0.1.0" (instance $types
            (type $e (variant (case "denied" string) (case "bad-name" string) (case "no-such-actor")
              (case "no-handler") (case "stopped") (case "callee-died") (case "deadline")
              (case "mailbox-full") (case "too-large") (case "cycle" string) (case "call-depth")
              (case "no-reply") (case "rejected" string) (case "no-such-call") (case "quota" string)))
            (export "error" (type (eq $e)))))
          (alias export $types "error" (type $error))
          (import "airssys:messaging/messages@0.1.0" (instance $messages
            (alias outer 1 $error (type $e)) (export "error" (type $e' (eq $e)))
            (export "cast" (func (param "to" string) (param "payload" (list u8))
              (result (result (error $e')))))))
          (core module $libc
            (memory (export "memory") 20)
            (data (i32.const 64) "{to}")
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
          (core instance $libc (instantiate $libc))
          (core func $cast (canon lower (func $messages "cast")
            (memory $libc "memory") (realloc (func $libc "realloc"))))
          (core module $m
            (import "libc" "memory" (memory 20))
            (import "h" "cast" (func $cast (param i32 i32 i32 i32 i32)))
            (func (export "fine") (result i32) (i32.const 7))
            ;; The case of the error, or 255 where there is none.
            (func $one (param $bytes i32) (result i32)
              (call $cast (i32.const 64) (i32.const {length}) (i32.const 65536) (local.get $bytes) (i32.const 16))
              (if (result i32) (i32.load8_u (i32.const 16))
                (then (i32.load8_u (i32.const 20)))
                (else (i32.const 255))))
            (func (export "one") (param i32) (result i32) (call $one (local.get 0)))
            (func (export "flood") (param $n i32) (param $bytes i32) (result i64)
              (local $sent i64) (local $full i64) (local $said i32)
              (loop $next
                (local.set $said (call $one (local.get $bytes)))
                (if (i32.eq (local.get $said) (i32.const 255))
                  (then (local.set $sent (i64.add (local.get $sent) (i64.const 1))))
                  (else
                    (if (i32.ne (local.get $said) (i32.const 7)) (then unreachable))
                    (local.set $full (i64.add (local.get $full) (i64.const 1)))))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $next (local.get $n)))
              (i64.or (i64.shl (local.get $sent) (i64.const 32)) (local.get $full))))
          (core instance $i (instantiate $m (with "libc" (instance $libc))
            (with "h" (instance (export "cast" (func $cast))))))
          (func (export "fine") (result u32) (canon lift (core func $i "fine")))
          (func (export "one") (param "bytes" u32) (result u32) (canon lift (core func $i "one")))
          (func (export "flood") (param "n" u32) (param "bytes" u32) (result u64)
            (canon lift (core func $i "flood"))))"#
    )
}

fn sends() -> CapabilityManifest {
    CapabilityManifest {
        messaging: Some(MessagingManifest {
            send: vec!["**".parse().unwrap()],
            ..MessagingManifest::default()
        }),
        ..CapabilityManifest::default()
    }
}

/// Handles nothing until it may.
struct Shut(Arc<Semaphore>);

impl Actor for Shut {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn surface() -> Result<Surface, WitError> {
        Surface::default().with_message_handler()
    }

    async fn handle_message(
        &mut self,
        _: &mut Message,
        _: &mut Context,
    ) -> Result<(), Self::Error> {
        let _open = self.0.acquire().await?;
        Ok(())
    }
}

async fn shut(case: &Case) -> (ActorRef, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let its = Arc::clone(&gate);
    let shut = ChildSpec::native(address("shut"), move || Shut(Arc::clone(&its)));
    (case.system.spawn(shut).await.unwrap(), gate)
}

async fn flood(villain: &ActorRef, n: u32, bytes: u32) -> (u64, u64) {
    let reply = villain.call("flood", (n, bytes)).await.unwrap();
    let (both,): (u64,) = reply.into_typed().unwrap();
    (both >> 32, both & u64::from(u32::MAX))
}

#[test]
fn h2_a_million_casts_at_one_who_does_not_listen() {
    // Each well within its time, also where the machine has others to serve.
    const CALLS: u32 = 1_000;
    const EACH: u32 = 1_000;
    alone(
        "hostile::floods::h2_a_million_casts_at_one_who_does_not_listen",
        64 + 16 + 32,
        async {
            let case = Case::new(&flooder("shut"), Limits::default(), &sends()).await;
            let (receiver, gate) = shut(&case).await;
            // A third party is asked all the while, and its answers are counted.
            let over = Arc::new(AtomicBool::new(false));
            let third = case.neighbour.function("work").unwrap();
            let asking = tokio::spawn({
                let over = Arc::clone(&over);
                async move {
                    let mut answers = 0_u32;
                    while !over.load(Ordering::Relaxed) {
                        third.call((1_u32,)).await.unwrap();
                        answers += 1;
                        tokio::task::yield_now().await;
                    }
                    answers
                }
            });
            let mut sum = (0, 0);
            for _ in 0..CALLS {
                let (sent, full) = flood(&case.villain, EACH, 64).await;
                sum = (sum.0 + sent, sum.1 + full);
                assert!(receiver.status().queued <= 1_000);
                assert!(receiver.status().queued_bytes <= 16 << 20);
            }
            over.store(true, Ordering::Relaxed);
            let answers = asking.await.unwrap();
            assert!(answers >= 100, "{answers}");
            // To the cap, and not one more.
            assert_eq!(sum, (1_000, u64::from(CALLS * EACH) - 1_000));
            gate.add_permits(1);
            receiver.emptied().await;
            // The last one is counted just after it has made room.
            while receiver.counters().casts_handled < 1_000 {
                tokio::task::yield_now().await;
            }
            case.over("none", 0).await;
        },
    );
}

#[tokio::test]
async fn h2_large_messages_fill_the_bytes_first() {
    let case = Case::new(&flooder("shut"), Limits::default(), &sends()).await;
    let (receiver, gate) = shut(&case).await;
    let (sent, full) = flood(&case.villain, 100, 1_000_000).await;
    // 16 MiB of messages of a million bytes and their envelopes.
    assert_eq!((sent, full), (16, 84));
    assert!(receiver.status().queued_bytes <= 16 << 20);
    gate.add_permits(1);
    receiver.emptied().await;
    case.over("none", 0).await;
}

#[tokio::test]
async fn h6_one_byte_more_than_a_message_may_have() {
    let case = Case::new(&flooder("shut"), Limits::default(), &sends()).await;
    let (receiver, gate) = shut(&case).await;
    gate.add_permits(1);
    let one = async |bytes: u32| case.villain.call("one", (bytes,)).await;
    // Address and payload leave the guest in one host call of at most 1 MiB.
    assert_eq!(one(1_048_000).await.unwrap(), (255_u32,).into_args());
    let error = one((1 << 20) + 1).await.unwrap_err();
    assert!(error.to_string().contains("hostcall-bytes"), "{error}");
    // The host's own message of that size is refused before it is queued.
    let much = vec![0_u8; (1 << 20) + 1];
    let handler = receiver.function("handle-message").unwrap();
    assert_eq!(handler.cast((much,)).unwrap_err().why.kind(), "too-large");
    receiver.emptied().await;
    assert_eq!(case.neighbour.status().incarnation, 1);
    case.system.shutdown().await;
    assert_eq!(case.engine.instances(), 0);
}
