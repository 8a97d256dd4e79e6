//! Copies of requests: what the candidate would have answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use airssys_wasm::{FromArgs, IntoArgs, ResourceHandle, Surface, WitError};
use airssys_wasm_actors::{
    Actor, ActorRef, ChildSpec, Context, Message, ShadowSpec, ShadowStats, Split, SplitMode,
    SplitSpec, System, Weight,
};
use tokio::sync::Notify;

use super::{is_balanced, patient, until, weight};
use crate::guests::{address, engine, system, template};

/// Doubles numbers, but for those from `wrong_from` on; fails with `fails_at`; waits at 99.
struct Doubler {
    wrong_from: u32,
    fails_at: u32,
    open: Arc<Notify>,
    seen: Arc<AtomicU32>,
}

impl Actor for Doubler {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn surface() -> Result<Surface, WitError> {
        Surface::from_wit("package test:t; interface twice { double: func(n: u32) -> u32; }")
    }

    async fn handle_message(
        &mut self,
        message: &mut Message,
        _: &mut Context,
    ) -> Result<(), Self::Error> {
        let (n,): (u32,) = message.args()?;
        // Copies come in the order of the requests.
        let before = self.seen.swap(n, Ordering::Relaxed);
        assert!(n >= before, "{n} after {before}");
        if n == 99 {
            self.open.notified().await;
        }
        if n == self.fails_at {
            return Err("on purpose".into());
        }
        message.reply((2 * n + u32::from(n >= self.wrong_from),));
        Ok(())
    }

    fn on_error(&mut self, _: &Self::Error) -> airssys_wasm_actors::ErrorAction {
        airssys_wasm_actors::ErrorAction::Resume
    }
}

struct Pair {
    stable: ActorRef,
    next: ActorRef,
    open: Arc<Notify>,
}

async fn pair(system: &System, wrong_from: u32, fails_at: [u32; 2]) -> Pair {
    let open = Arc::new(Notify::new());
    let spec = |name, wrong_from, fails_at, open: &Arc<Notify>| {
        let (open, seen) = (Arc::clone(open), Arc::<AtomicU32>::default());
        ChildSpec::native(address(name), move || Doubler {
            wrong_from,
            fails_at,
            open: Arc::clone(&open),
            seen: Arc::clone(&seen),
        })
    };
    let ready = Arc::new(Notify::new());
    let specs = vec![
        spec("stable", u32::MAX, fails_at[0], &ready),
        spec("next", wrong_from, fails_at[1], &open),
    ];
    let refs = system.supervisor().start(specs).await.unwrap();
    Pair {
        stable: refs[0].clone(),
        next: refs[1].clone(),
        open,
    }
}

fn shadow(parts: u16, shadow: ShadowSpec) -> SplitSpec {
    SplitSpec {
        mode: SplitMode::Shadow,
        weight: weight(parts),
        sample_every: 1,
        shadow,
        ..SplitSpec::default()
    }
}

fn compared(stats: &ShadowStats) -> u64 {
    stats.same + stats.different + stats.candidate_errors + stats.unpaired
}

/// Waits until every copy has been compared.
async fn settled(split: &Split) -> ShadowStats {
    until(|| {
        let stats = split.shadow_stats();
        compared(&stats) == stats.copies
    })
    .await;
    split.shadow_stats()
}

#[tokio::test]
async fn copies_are_compared_and_the_stable_arm_answers() {
    let system = system(&engine()).await;
    let Pair { stable, next, .. } = pair(&system, 40, [30, 35]).await;
    let split = stable.split(&next, shadow(10_000, ShadowSpec::default()));
    let split = split.unwrap();
    let double = stable.function("double").unwrap();
    for n in 0..60_u32 {
        let answer = double.call((n,)).await;
        if n == 30 {
            answer.unwrap_err();
        } else {
            assert_eq!(answer.unwrap(), (2 * n,).into_args());
        }
        settled(&split).await;
    }
    let stats = split.shadow_stats();
    assert_eq!(stats.copies, 60);
    // The stable arm fails with 30, the candidate with 35 and is wrong from 40 on.
    let counts = (stats.same, stats.different, stats.candidate_errors);
    assert_eq!(counts, (38, 21, 1));
    assert_eq!(stats.differences.len(), 16);
    assert_eq!(
        &*stats.differences[0],
        "test:t/twice#double: stable answered an error, the candidate [U32(60)]"
    );
    assert!(stats.differences[1].contains("stable answered [U32(80)], the candidate [U32(81)]"));
    let (kept, given) = split.stats();
    assert_eq!((kept.requests, given.requests), (60, 60));
    assert_eq!((kept.errors, given.errors), (1, 1));
    assert_eq!((kept.latencies.timed(), given.latencies.timed()), (59, 59));
    let (kept, given) = (stable.counters(), next.counters());
    assert_eq!((kept.calls, given.calls), (60, 60));
    assert!(is_balanced(&stable) && is_balanced(&next));
}

#[tokio::test]
async fn the_weight_says_how_many_are_copied() {
    let system = system(&engine()).await;
    let Pair { stable, next, .. } = pair(&system, u32::MAX, [u32::MAX; 2]).await;
    let split = stable.split(&next, shadow(2_500, ShadowSpec::default()));
    let split = split.unwrap();
    for n in 100..200_u32 {
        stable.call("double", (n,)).await.unwrap();
        settled(&split).await;
    }
    let stats = split.shadow_stats();
    assert_eq!((stats.copies, stats.same), (25, 25));
    split.set_weight(Weight::NONE, "none");
    stable.call("double", (200_u32,)).await.unwrap();
    // A cast has no answer, and a copy of it is only asked whether it can be handled.
    split.set_weight(Weight::ALL, "all");
    stable.cast("double", (201_u32,)).unwrap();
    let stats = settled(&split).await;
    assert_eq!((stats.copies, stats.unpaired), (26, 1));
    assert_eq!(stable.counters().casts, 1);
    assert_eq!((next.counters().casts, next.counters().calls), (0, 26));
}

/// A candidate that is slow holds up nobody, and no more copies are made than may be under way.
#[tokio::test]
async fn copies_under_way_are_bounded() {
    let system = system(&engine()).await;
    let Pair { stable, next, open } = pair(&system, u32::MAX, [u32::MAX; 2]).await;
    let spec = ShadowSpec {
        in_flight_max: 8,
        within: Duration::from_secs(600),
        ..ShadowSpec::default()
    };
    let split = stable.split(&next, shadow(10_000, spec)).unwrap();
    let double = stable.function("double").unwrap();
    stable.cast("double", (98_u32,)).unwrap();
    settled(&split).await;
    // The stable arm's 99 is opened at once; the candidate's waits for this test.
    let held = tokio::spawn({
        let double = double.clone();
        async move { double.call_with((99_u32,), patient()).await }
    });
    until(|| split.shadow_stats().copies == 2).await;
    held.abort();
    assert!(held.await.unwrap_err().is_cancelled());
    // The stable one is still at it.
    stable.kill();
    for n in 100..200_u32 {
        assert_eq!(double.call((n,)).await.unwrap(), (2 * n,).into_args());
    }
    let stats = split.shadow_stats();
    assert_eq!((stats.copies, stats.skipped_busy), (9, 93));
    open.notify_one();
    let stats = settled(&split).await;
    // One caller has left, and a cast has no answer.
    assert_eq!((stats.same, stats.unpaired), (7, 2));
    for n in 200..210_u32 {
        double.call((n,)).await.unwrap();
        settled(&split).await;
    }
    assert_eq!(split.shadow_stats().copies, 19);
    assert!(split.remove("done"));
    split.drained().await;
    assert!(is_balanced(&stable) && is_balanced(&next));
}

#[tokio::test]
async fn a_candidate_that_is_gone_is_skipped_and_a_handle_is_not_copied() {
    const COUNTERS: &str = include_str!("../../../../airssys-wasm/tests/it/resources/counters.wat");
    let engine = engine();
    let system = system(&engine).await;
    let spec = |name| ChildSpec::component(address(name), template(&engine, COUNTERS, &[]));
    let specs = vec![spec("stable"), spec("next")];
    let refs = system.supervisor().start(specs).await.unwrap();
    let (stable, next) = (refs[0].clone(), refs[1].clone());
    let split = stable.split(&next, shadow(10_000, ShadowSpec::default()));
    let split = split.unwrap();
    let made = stable.call("[constructor]counter", (3_u32,)).await.unwrap();
    let (counter,): (ResourceHandle,) = FromArgs::from_args(made).unwrap();
    // Each arm has made one, and the copy's is given back.
    let stats = settled(&split).await;
    assert_eq!((stats.copies, stats.same), (1, 1));
    let live = next.call("live", ()).await.unwrap();
    assert_eq!(live, (0_u32,).into_args());
    let add = stable.function("[method]counter.add").unwrap();
    let sum = add.call((counter.lend(), 4_u32)).await.unwrap();
    assert_eq!(sum, (7_u32,).into_args());
    assert_eq!(split.shadow_stats().copies, 1);

    let stop = address("next");
    system.supervisor().stop_child(&stop).await.unwrap();
    stable.call("live", ()).await.unwrap();
    let stats = split.shadow_stats();
    assert_eq!((stats.copies, stats.skipped_refused), (1, 1));
    assert!(is_balanced(&stable) && is_balanced(&next));
}
