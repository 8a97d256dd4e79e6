//! Weights that change, and candidates that come and go, under calls and casts of everybody who can make them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use airssys_wasm::{FromArgs, IntoArgs, Limits, Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorFunction, ActorRef, ChildSpec, Context, Link, MailboxConfig, Message, System,
};

use super::{Log, is_balanced, patient, receiver, until, weight, weighted};
use crate::guests::{DRIVER, SEQUENCER, address, engine, system_with, template, template_with};

/// Each candidate is tried in these steps.
const STEPS: [u16; 5] = [100, 2_500, 7_000, 10_000, 3_333];

fn on_both_roads<F: Future<Output = ()>>(test: impl Fn(bool) -> F) {
    for short_road in [true, false] {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(test(short_road));
    }
}

/// Tries one candidate after the other, each in steps, until `is_over`; drains and stops it, and checks that nothing
/// that it was sent has failed. Returns how many calls and casts they have had.
async fn rollouts(
    system: &System,
    stable: &ActorRef,
    spec: impl Fn() -> ChildSpec,
    is_over: impl Fn() -> bool,
) -> (u64, u64) {
    let (mut calls, mut casts) = (0, 0);
    while !is_over() {
        let next = system.spawn(spec()).await.unwrap();
        let split = stable.split(&next, weighted(0)).unwrap();
        for parts in STEPS {
            split.set_weight(weight(parts), "a step");
            let at = split.stats();
            let taken = || {
                let now = split.stats();
                now.0.requests - at.0.requests + now.1.requests - at.1.requests
            };
            until(|| taken() >= 100 || is_over()).await;
        }
        assert!(split.remove("the next one"));
        split.drained().await;
        let before = next.counters();
        system
            .supervisor()
            .stop_child(&address("next"))
            .await
            .unwrap();
        let after = next.counters();
        let sent = (after.calls, after.casts);
        assert_eq!(sent, (before.calls, before.casts), "after it was drained");
        assert!(is_balanced(&next), "{after:?}");
        assert_eq!((after.call_errors, after.dead_letters), (0, 0));
        assert_eq!(after.calls_abandoned, 0);
        let (kept, given) = split.stats();
        assert_eq!((kept.errors, given.errors), (0, 0));
        assert_eq!(given.requests, after.calls + after.casts);
        calls += after.calls;
        casts += after.casts;
    }
    (calls, casts)
}

/// Guests whose calls are routed: none fails, and each arm sees the calls of each in order.
#[test]
fn no_call_of_a_linked_guest_is_lost_while_candidates_come_and_go() {
    const DRIVERS: u32 = 8;
    const EACH: u32 = 10_000;
    const PER_MESSAGE: u32 = 250;
    on_both_roads(async |short_road| {
        let engine = engine();
        let system = system_with(&engine, short_road).await;
        let sequencer = template(&engine, SEQUENCER, &[]);
        let stable = ChildSpec::component(address("stable"), sequencer.clone());
        let stable = system.spawn(stable).await.unwrap();
        let limits = Limits {
            cpu_per_call: Duration::from_secs(60),
            wall_per_call: Duration::from_secs(600),
            ..Limits::default()
        };
        let driver = template_with(&engine, DRIVER, &["test:t/order"], limits);
        let drivers = (0..DRIVERS).map(|n| {
            let link = Link {
                reply_within: Duration::from_secs(300),
                ..Link::new("test:t/order", address("stable"))
            };
            ChildSpec::component(address(&format!("driver-{n}")), driver.clone()).link(link)
        });
        let drivers = system.supervisor().start(drivers.collect()).await.unwrap();
        let finished = Arc::new(AtomicU32::new(0));
        let running: Vec<_> = drivers
            .iter()
            .zip(0_u32..)
            .map(|(driver, sender)| {
                let run = driver.function("run").unwrap();
                let finished = Arc::clone(&finished);
                tokio::spawn(async move {
                    for from in (0..EACH).step_by(PER_MESSAGE as usize) {
                        let args = (sender, from, from + PER_MESSAGE).into_args();
                        let results = run.call_with(args, patient()).await.unwrap();
                        let (packed,) = <(u64,)>::from_args(results).unwrap();
                        // The driver traps on an answer that is out of order; its errors are in the lower half.
                        assert_eq!(packed, u64::from(PER_MESSAGE) << 32);
                    }
                    finished.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        let next = || ChildSpec::component(address("next"), sequencer.clone());
        let is_over = || finished.load(Ordering::Relaxed) == DRIVERS;
        let (calls, _) = rollouts(&system, &stable, next, is_over).await;
        for driver in running {
            driver.await.unwrap();
        }
        let counters = stable.counters();
        assert_eq!(counters.calls + calls, u64::from(DRIVERS * EACH));
        assert!(calls > 0);
        assert_eq!(counters.call_errors, 0);
        assert!(is_balanced(&stable));
        system.shutdown().await;
    });
}

/// Sends what it is told to in its own name, by calls and casts in turn.
struct Sender(Arc<std::sync::OnceLock<ActorFunction>>);

impl Actor for Sender {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit(
            "package test:t; interface send { run: func(sender: u32, first: u32, end: u32); }",
        )
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> Result<(), Self::Error> {
        let (sender, from, to): (u32, u32, u32) = message.args()?;
        let put = self.0.get().unwrap();
        for n in from..to {
            if n % 2 == 0 {
                ctx.call_within(put, (sender, n), Duration::from_secs(300))
                    .await?;
            } else {
                ctx.cast(put, (sender, n))?;
            }
        }
        message.reply(());
        Ok(())
    }
}

/// Tasks and native actors that call, cast and send batches: each message is handled exactly once, by one arm, and
/// each arm sees the messages of each sender in order.
#[test]
fn no_message_is_lost_or_doubled_while_candidates_come_and_go() {
    const SENDERS: u32 = 9;
    const EACH: u32 = 4_000;
    on_both_roads(async |short_road| {
        let system = system_with(&engine(), short_road).await;
        let log = Arc::<Log>::default();
        // Casts are made faster than they are handled, and are not to be refused.
        let roomy = |name| ChildSpec {
            mailbox: MailboxConfig {
                depth_max: 1_000_000,
                bytes_max: 1 << 30,
                ..MailboxConfig::default()
            },
            ..receiver(name, &log)
        };
        let stable = system.spawn(roomy("stable")).await.unwrap();
        let put = stable.function("put").unwrap();
        let known = Arc::new(std::sync::OnceLock::new());
        assert!(known.set(put.clone()).is_ok());
        let finished = Arc::new(AtomicU32::new(0));
        let mut running = Vec::new();
        for sender in 0..SENDERS {
            let (put, finished) = (put.clone(), Arc::clone(&finished));
            let actor = {
                let known = Arc::clone(&known);
                let name = address(&format!("sender-{sender}"));
                let spec = ChildSpec::native(name, move || Sender(Arc::clone(&known)));
                system.spawn(spec).await.unwrap()
            };
            running.push(tokio::spawn(async move {
                for from in (0..EACH).step_by(50) {
                    let to = from + 50;
                    match sender % 3 {
                        0 => {
                            let run = actor.function("run").unwrap();
                            let args = (sender, from, to);
                            run.call_with(args, patient()).await.unwrap();
                        }
                        1 => {
                            for n in from..to {
                                put.cast((sender, n)).unwrap();
                                tokio::task::coop::consume_budget().await;
                            }
                        }
                        _ => {
                            let batch = (from..to).map(|n| (sender, n));
                            for answer in put.call_batch(batch, patient()).await {
                                answer.unwrap();
                            }
                        }
                    }
                }
                finished.fetch_add(1, Ordering::Relaxed);
            }));
        }
        let next = || roomy("next");
        let is_over = || finished.load(Ordering::Relaxed) == SENDERS;
        let (calls, casts) = rollouts(&system, &stable, next, is_over).await;
        for sender in running {
            sender.await.unwrap();
        }
        stable.emptied().await;
        let counters = stable.counters();
        assert!(is_balanced(&stable));
        assert_eq!((counters.call_errors, counters.dead_letters), (0, 0));
        let all = u64::from(SENDERS * EACH);
        assert_eq!(counters.calls + counters.casts + calls + casts, all);
        assert!(calls > 0 && casts > 0);

        system.shutdown().await;
        let handled = log.handled.lock().unwrap();
        assert_eq!(handled.len() as u64, all);
        let distinct: BTreeSet<_> = handled.iter().map(|(_, sender, n)| (sender, n)).collect();
        assert_eq!(distinct.len() as u64, all);
        let mut last = BTreeMap::new();
        for (who, sender, n) in handled.iter() {
            // The candidates have one name after the other, and a later one has later messages only.
            if let Some(before) = last.insert((who, sender), n) {
                assert!(before < n, "{who} had {n} of {sender} after {before}");
            }
        }
    });
}

/// A split that is removed and made again while requests are chosen: what is chosen is handled, whichever way it fell.
#[test]
fn a_split_may_come_and_go_at_any_moment() {
    on_both_roads(async |short_road| {
        let engine = engine();
        let system = system_with(&engine, short_road).await;
        let spec = |name| ChildSpec::component(address(name), template(&engine, SEQUENCER, &[]));
        let specs = vec![spec("stable"), spec("next")];
        let refs = system.supervisor().start(specs).await.unwrap();
        let (stable, next) = (refs[0].clone(), refs[1].clone());
        let over = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..4_u32)
            .map(|sender| {
                let put = stable.function("put").unwrap();
                let over = Arc::clone(&over);
                tokio::spawn(async move {
                    let mut made = 0_u32;
                    while !over.load(Ordering::Relaxed) {
                        put.call_with((sender, made), patient()).await.unwrap();
                        made += 1;
                    }
                    u64::from(made)
                })
            })
            .collect();
        let mut chosen = 0;
        for round in 0..2_000_u16 {
            let split = stable.split(&next, weighted(round % 10_001)).unwrap();
            if round % 3 == 0 {
                tokio::task::yield_now().await;
            }
            split.remove("at once");
            split.drained().await;
            let (kept, given) = split.stats();
            assert_eq!((kept.errors, given.errors), (0, 0));
            chosen += given.requests;
            assert_eq!(next.counters().replies, chosen);
        }
        over.store(true, Ordering::Relaxed);
        let mut made = 0;
        for caller in callers {
            made += caller.await.unwrap();
        }
        let (kept, given) = (stable.counters(), next.counters());
        assert_eq!(kept.replies + given.replies, made);
        assert_eq!((kept.call_errors, given.call_errors), (0, 0));
        assert!(is_balanced(&stable) && is_balanced(&next));
        system.shutdown().await;
    });
}
