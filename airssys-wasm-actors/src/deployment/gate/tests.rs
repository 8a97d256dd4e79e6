//! Tables of what a gate says, and that worse is never better.

use proptest::prelude::*;

use super::*;

fn micros(n: u64) -> Duration {
    Duration::from_micros(n)
}

fn seen(requests: u64, errors: u64) -> Interval {
    Interval {
        requests,
        errors,
        latency: Latency {
            p50: micros(500),
            p99: micros(2_000),
            mean: micros(600),
            samples: requests,
        },
        memory_bytes: 4 << 20,
        ..Interval::default()
    }
}

fn verdict(stable: &Interval, candidate: &Interval) -> &'static str {
    match judge(&Gate::default(), stable, candidate) {
        Verdict::Pass => "pass",
        Verdict::Hold(_) => "hold",
        Verdict::Fail(_) => "fail",
    }
}

#[test]
fn errors_count_when_that_is_sure() {
    for (stable, candidate, expected) in [
        // One of three is no rate.
        ((10_000, 0), (3, 1), "hold"),
        ((10_000, 0), (99, 0), "hold"),
        ((10_000, 0), (100, 0), "pass"),
        // One of a hundred is what is allowed, two are above it and may be chance.
        ((10_000, 0), (100, 1), "pass"),
        ((10_000, 0), (100, 2), "hold"),
        ((10_000, 0), (100, 10), "fail"),
        ((10_000, 0), (10_000, 150), "fail"),
        // Within the absolute bound, and worse than the old revision by more than half a percent.
        ((100_000, 0), (100_000, 400), "pass"),
        ((100_000, 0), (100_000, 900), "fail"),
        ((100_000, 800), (100_000, 900), "pass"),
        // What the old revision does not do well is no excuse.
        ((10_000, 3_000), (10_000, 3_000), "fail"),
        // The old revision has had too little to be compared with.
        ((50, 0), (100_000, 900), "pass"),
        ((0, 0), (0, 0), "hold"),
        ((10_000, 0), (10_000, 10_000), "fail"),
    ] {
        let (stable_seen, seen) = (seen(stable.0, stable.1), seen(candidate.0, candidate.1));
        assert_eq!(
            verdict(&stable_seen, &seen),
            expected,
            "{stable:?} {candidate:?}"
        );
    }
}

#[test]
fn a_trap_or_a_restart_fails_without_any_request() {
    let stable = seen(10_000, 0);
    let trapped = Interval {
        traps: 1,
        ..Interval::default()
    };
    let restarted = Interval {
        restarts: 1,
        ..Interval::default()
    };
    assert_eq!(
        judge(&Gate::default(), &stable, &trapped),
        Verdict::Fail(Why::Traps { traps: 1, max: 0 })
    );
    assert_eq!(
        judge(&Gate::default(), &stable, &restarted),
        Verdict::Fail(Why::Restarts {
            restarts: 1,
            max: 0
        })
    );
    let lenient = Gate {
        traps_max: 1,
        restarts_max: 1,
        ..Gate::default()
    };
    assert!(matches!(
        judge(&lenient, &stable, &trapped),
        Verdict::Hold(_)
    ));
}

#[test]
fn latency_is_compared_where_both_have_samples() {
    let with = |requests, p50, p99| Interval {
        latency: Latency {
            p50: micros(p50),
            p99: micros(p99),
            mean: micros(p50),
            samples: requests,
        },
        ..seen(requests, 0)
    };
    for (stable, candidate, expected) in [
        (with(10_000, 500, 2_000), with(500, 740, 2_000), "pass"),
        (with(10_000, 500, 2_000), with(500, 760, 2_000), "fail"),
        // A tail of few samples says nothing, one of many is waited for.
        (with(10_000, 500, 2_000), with(999, 500, 9_000), "pass"),
        (with(10_000, 500, 2_000), with(1_000, 500, 9_000), "hold"),
        (with(999, 500, 2_000), with(10_000, 500, 9_000), "pass"),
        (with(99, 500, 2_000), with(10_000, 5_000, 9_000), "pass"),
        // Three times as long, and 20 µs apart.
        (with(10_000, 10, 20), with(10_000, 30, 40), "pass"),
        (with(10_000, 10, 20), with(10_000, 31, 40), "fail"),
    ] {
        assert_eq!(
            verdict(&stable, &candidate),
            expected,
            "{:?} {:?}",
            stable.latency,
            candidate.latency
        );
    }
}

#[test]
fn what_is_not_answered_yet_is_compared_where_it_can_be() {
    let with = |requests, unanswered| Interval {
        unanswered,
        ..seen(requests, 0)
    };
    for (stable, candidate, expected) in [
        // Half of them hang.
        ((10_000, 2), (100, 100), "hold"),
        ((10_000, 2), (100, 1), "pass"),
        // One of thirty is under way at any time, of the old revision too.
        ((10_000, 300), (1_000, 30), "pass"),
        ((10_000, 300), (1_000, 150), "hold"),
        // Nothing to compare it with.
        ((50, 0), (100, 100), "pass"),
        ((10_000, 0), (0, 10_000), "hold"),
    ] {
        let (stable, seen) = (with(stable.0, stable.1), with(candidate.0, candidate.1));
        assert_eq!(
            verdict(&stable, &seen),
            expected,
            "{stable:?} {candidate:?}"
        );
    }
}

#[test]
fn memory_and_answers_are_compared() {
    let with = |memory_bytes| Interval {
        memory_bytes,
        ..seen(1_000, 0)
    };
    for (stable, candidate, expected) in [
        (8 << 20, 16 << 20, "pass"),
        (8 << 20, (16 << 20) + 1, "fail"),
        // A page more of one page.
        (64 << 10, 192 << 10, "pass"),
        (64 << 10, 3 << 20, "fail"),
        (0, 3 << 20, "pass"),
    ] {
        assert_eq!(
            verdict(&with(stable), &with(candidate)),
            expected,
            "{stable} {candidate}"
        );
        // How much was asked of it makes no difference, but for what is waited for.
        let quiet = Interval {
            requests: 0,
            ..with(candidate)
        };
        let without = if expected == "fail" { "fail" } else { "hold" };
        assert_eq!(verdict(&with(stable), &quiet), without);
    }
    let copied = |compared, mismatched| Interval {
        compared,
        mismatched,
        ..seen(1_000, 0)
    };
    assert_eq!(verdict(&seen(1_000, 0), &copied(1_000, 0)), "pass");
    assert_eq!(verdict(&seen(1_000, 0), &copied(1_000, 1)), "fail");
}

#[test]
fn a_failure_is_said_rather_than_a_doubt() {
    let gate = Gate::default();
    let doubtful = Interval {
        memory_bytes: 1 << 30,
        ..seen(100, 2)
    };
    let verdict = judge(&gate, &seen(1_000, 0), &doubtful);
    assert!(matches!(verdict, Verdict::Fail(Why::Memory { .. })));
}

#[test]
fn nothing_to_say_again_and_again_is_a_failure() {
    let mut judge = Judge::new(Gate {
        holds_max: 2,
        ..Gate::default()
    });
    let (stable, quiet, busy) = (seen(1_000, 0), seen(3, 0), seen(1_000, 0));
    assert!(matches!(judge.judge(&stable, &quiet), Verdict::Hold(_)));
    assert!(matches!(judge.judge(&stable, &quiet), Verdict::Hold(_)));
    // A verdict in between begins the count anew.
    assert_eq!(judge.judge(&stable, &busy), Verdict::Pass);
    assert!(matches!(judge.judge(&stable, &quiet), Verdict::Hold(_)));
    assert!(matches!(judge.judge(&stable, &quiet), Verdict::Hold(_)));
    let verdict = judge.judge(&stable, &quiet);
    let Verdict::Fail(why) = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(
        why.to_string(),
        "not to be judged 3 times in a row, at last because 3 requests are too few to say anything, 100 are needed"
    );
}

fn rank(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Pass => 0,
        Verdict::Hold(_) => 1,
        Verdict::Fail(_) => 2,
    }
}

prop_compose! {
    fn any_interval()(
        requests in prop_oneof![0..300u64, 0..200_000u64],
        bad in 0.0..1.0f64,
        p50 in 1..5_000u64,
        tail in 1..10u64,
        memory in 0..(64u64 << 20),
        traps in 0..2u64,
        restarts in 0..2u64,
        unanswered in prop_oneof![Just(0), 0..1_000u64],
        down in prop::bool::weighted(0.1),
    ) -> Interval {
        // Mostly few errors: squared twice.
        let errors = (bad.powi(4) * requests as f64) as u64;
        Interval {
            requests,
            errors,
            latency: Latency { p50: micros(p50), p99: micros(p50 * tail), mean: micros(p50), samples: requests },
            traps,
            restarts,
            memory_bytes: memory,
            compared: requests,
            mismatched: 0,
            unanswered,
            down,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn worse_is_never_better(
        stable in any_interval(),
        candidate in any_interval(),
        errors in 0..1_000u64,
        traps in 0..3u64,
        restarts in 0..3u64,
        slower in 0..10_000u64,
        larger in 0..(64u64 << 20),
        mismatched in 0..3u64,
        unanswered in 0..1_000u64,
        down in any::<bool>(),
    ) {
        let gate = Gate { traps_max: 1, restarts_max: 1, ..Gate::default() };
        let mut worse = candidate;
        worse.errors = (candidate.errors + errors).min(candidate.requests);
        worse.traps += traps;
        worse.restarts += restarts;
        worse.latency.p50 += micros(slower);
        worse.latency.p99 += micros(slower);
        worse.memory_bytes += larger;
        worse.unanswered += unanswered;
        worse.down |= down;
        worse.mismatched = (candidate.mismatched + mismatched).min(candidate.compared);
        let (one, other) = (judge(&gate, &stable, &candidate), judge(&gate, &stable, &worse));
        prop_assert!(rank(&other) >= rank(&one), "{one:?} {other:?}");
    }

    #[test]
    fn one_that_does_the_same_passes_where_it_is_allowed(stable in any_interval()) {
        let gate = Gate {
            traps_max: 9,
            restarts_max: 9,
            error_rate_max: Share::ALL,
            ..Gate::default()
        };
        let verdict = judge(&gate, &stable, &stable);
        let judged = stable.requests >= gate.samples_min && !stable.down;
        prop_assert_eq!(verdict == Verdict::Pass, judged, "{:?}", verdict);
    }
}
