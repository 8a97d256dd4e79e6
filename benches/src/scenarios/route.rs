//! What a route costs an ask: its callee's traffic split by weight, and a breaker on its link.
//!
//! Both halves of `route.overhead` are the same component, so that the second instance, which shares the caches with the
//! first, is in the figure as it is where a candidate is tried.

use airssys_wasm::LimitClass;
use airssys_wasm_actors::{ActorAddress, Breaker, Link, SplitSpec, Weight};

use super::ask;
use crate::error::{BenchError, OrFailed};
use crate::rows::{Bar, Group, RowSpec, latency, made};
use crate::workbench::{Workbench, address};

const ROUTE: Group = Group::new("deploy.route");

/// Rounds from which on an interval says something about a twentieth.
const ROUNDS: u32 = 31;

const BAR: Bar = Bar::RatioInterval(1.05);

pub(crate) const ROWS: &[RowSpec] = &[
    latency("route.direct", ROUTE, 64_000, |bench| {
        made(ask::Link::idle(bench))
    })
    .at_least_rounds(ROUNDS),
    latency("route.overhead", ROUTE, 64_000, |bench| {
        made(split(bench, 5_000))
    })
    .at_least_rounds(ROUNDS)
    .against(&["route.direct"])
    .bar(BAR),
    latency("route.stable", ROUTE, 64_000, |bench| made(split(bench, 0)))
        .at_least_rounds(ROUNDS)
        .against(&["route.direct"])
        .bar(BAR),
    latency("route.candidate", ROUTE, 64_000, |bench| {
        made(split(bench, 10_000))
    })
    .at_least_rounds(ROUNDS)
    .against(&["route.direct"]),
    latency("route.breaker", ROUTE, 64_000, |bench| made(guarded(bench)))
        .at_least_rounds(ROUNDS)
        .against(&["route.direct"])
        .bar(BAR),
];

/// The pair of `ask.idle`, its callee split with a second one of the same component.
async fn split(bench: &Workbench, parts: u16) -> Result<ask::Link, BenchError> {
    let system = bench.system().await?;
    let limits = LimitClass::Standard.limits();
    let caller = bench.pair(&system, "", limits.clone()).await?;
    let next = bench.callee(&system, "-next", limits).await?;
    let actor = |name: &ActorAddress| {
        let actor = system.whereis(name);
        actor.ok_or_else(|| BenchError::failed("route", "no callee"))
    };
    let stable = actor(&address("callee")?)?;
    let spec = SplitSpec {
        weight: Weight::new(parts).unwrap_or_default(),
        ..SplitSpec::default()
    };
    stable
        .split(&actor(&next)?, spec)
        .or_failed("splitting the traffic")?;
    ask::Link::from(system, &caller)
}

/// The same pair, over links with breakers.
async fn guarded(bench: &Workbench) -> Result<ask::Link, BenchError> {
    let system = bench.system().await?;
    let limits = LimitClass::Standard.limits();
    let breaker = |link| Link {
        breaker: Some(Breaker::default()),
        ..link
    };
    let caller = bench.pair_by(&system, "", limits, breaker).await?;
    ask::Link::from(system, &caller)
}
