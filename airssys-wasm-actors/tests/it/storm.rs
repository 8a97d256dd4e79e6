//! Many callers, one callee, and somebody who keeps killing it.

use airssys_wasm::{FromArgs, IntoArgs, Limits};
use airssys_wasm_actors::{CallOptions, ChildSpec, Link, MailboxConfig};
use std::time::Duration;

use crate::guests::{
    DRIVER, SEQUENCER, address, engine, started, system_with, template, template_with,
};

const CALLERS: u32 = 64;
const CALLS_EACH: u32 = 10_000;
const CALLS_PER_MESSAGE: u32 = 500;
const KILLS: u32 = 100;

/// 64 components call one component 10,000 times each while it is killed 100 times: every call ends
/// in one reply or one typed error, order per sender is kept, none hangs.
#[test]
fn every_call_ends_exactly_once_while_the_callee_is_killed() {
    run(true);
}

/// The same with every message through the mailbox.
#[test]
fn every_queued_call_ends_exactly_once_while_the_callee_is_killed() {
    run(false);
}

fn run(short_road: bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(storm(short_road));
}

async fn storm(short_road: bool) {
    let engine = engine();
    let system = system_with(&engine, short_road).await;
    let mut events = system.events();
    let sequencer = ChildSpec::component(address("sequencer"), template(&engine, SEQUENCER, &[]));
    let sequencer = system.spawn(sequencer).await.unwrap();
    // A driver makes hundreds of calls in one message: its own limits must allow that.
    let limits = Limits {
        cpu_per_call: Duration::from_secs(60),
        wall_per_call: Duration::from_secs(600),
        ..Limits::default()
    };
    let driver = template_with(&engine, DRIVER, &["test:t/order"], limits);
    let drivers = (0..CALLERS).map(|n| {
        let link = Link {
            reply_within: Duration::from_secs(300),
            ..Link::new("test:t/order", address("sequencer"))
        };
        ChildSpec {
            mailbox: MailboxConfig::default(),
            ..ChildSpec::component(address(&format!("driver-{n}")), driver.clone()).link(link)
        }
    });
    let drivers = system.supervisor().start(drivers.collect()).await.unwrap();

    let running: Vec<_> = drivers
        .iter()
        .zip(0_u32..)
        .map(|(driver, sender)| {
            let run = driver.function("run").unwrap();
            tokio::spawn(async move {
                let mut ends = (0_u64, 0_u64);
                let options = CallOptions {
                    within: Duration::from_secs(600),
                    ..CallOptions::default()
                };
                for from in (0..CALLS_EACH).step_by(CALLS_PER_MESSAGE as usize) {
                    let args = (sender, from, from + CALLS_PER_MESSAGE).into_args();
                    let results = run.call_with(args, options).await.unwrap();
                    let (packed,) = <(u64,)>::from_args(results).unwrap();
                    ends.0 += packed >> 32;
                    ends.1 += packed & 0xffff_ffff;
                }
                ends
            })
        })
        .collect();

    // Kills spread over the calls by a generator with a fixed seed.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut incarnation = 1;
    let stride = u64::from(CALLERS * CALLS_EACH / (KILLS + 1));
    for kill in 1..=u64::from(KILLS) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let at = kill * stride - random % stride;
        while sequencer.counters().calls < at {
            tokio::task::yield_now().await;
        }
        sequencer.kill();
        incarnation = started(&mut events, &address("sequencer"), incarnation).await;
    }

    let (mut oks, mut errors) = (0, 0);
    for driver in running {
        let ends = driver.await.unwrap();
        oks += ends.0;
        errors += ends.1;
    }
    assert_eq!(oks + errors, u64::from(CALLERS * CALLS_EACH));
    let counters = sequencer.counters();
    assert_eq!(counters.calls, u64::from(CALLERS * CALLS_EACH));
    assert_eq!((counters.replies, counters.call_errors), (oks, errors));
    assert_eq!(counters.calls_abandoned, 0);
    // A kill fails at most the one message that was in hand.
    assert!(errors <= u64::from(KILLS), "{errors}");
    assert_eq!(counters.restarts, u64::from(KILLS));
    assert_eq!(sequencer.status().queued, 0);
    for driver in drivers {
        assert_eq!(driver.status().incarnation, 1);
    }
}
