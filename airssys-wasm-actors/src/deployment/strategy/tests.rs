//! Strategies from words, what they cannot be, and the moves of a rolling one.

use proptest::prelude::*;

use super::*;

fn words(text: &str) -> Result<Option<RolloutStrategy>, Vec<StrategyError>> {
    let mut words = StrategyWords::default();
    let mut parts = text.split_whitespace();
    while let (Some(option), Some(value)) = (parts.next(), parts.next()) {
        match option {
            "--strategy" => words.strategy = Some(value),
            "--steps" => words.steps = Some(value),
            "--soak" => words.soak = Some(value),
            "--max-surge" => words.max_surge = Some(value.parse().unwrap()),
            "--max-unavailable" => words.max_unavailable = Some(value.parse().unwrap()),
            "--share" => words.share = Some(value),
            "--for" => words.pause = Some(value),
            "--sticky" => words.sticky = Some(value),
            other => panic!("{other}"),
        }
    }
    words.read()
}

#[test]
fn strategies_are_read_from_words_and_printed() {
    for (text, printed) in [
        ("--strategy recreate", "recreate"),
        ("--strategy rolling", "rolling, 1 more and 0 fewer at most"),
        ("--max-surge 2", "rolling, 2 more and 0 fewer at most"),
        ("--max-unavailable 1", "rolling, 0 more and 1 fewer at most"),
        ("--strategy blue-green", "blue-green, soak 1min"),
        ("--strategy blue-green --soak 5s", "blue-green, soak 5s"),
        (
            "--strategy canary --steps 5%:30s,50%:1min,100% --sticky user",
            "canary 5% for 30s, 50% for 1min, 100% until promoted, 100%, soak 1min, sticky by `user`",
        ),
        ("--strategy shadow", "shadow 10% for 1min, 100%, soak 1min"),
        (
            "--strategy shadow --share 0.5% --for 2s --soak 1s",
            "shadow 0.5% for 2s, 100%, soak 1s",
        ),
    ] {
        let strategy = words(text).unwrap().unwrap();
        assert_eq!(strategy.to_string(), printed, "{text}");
    }
    assert_eq!(words(""), Ok(None));
    assert_eq!(
        words("--strategy rolling").unwrap(),
        Some(RolloutStrategy::default())
    );
}

#[test]
fn everything_that_is_wrong_with_words_is_said() {
    for (text, parts) in [
        ("--strategy canari --steps 5%", &["strategy"][..]),
        ("--strategy canary", &["steps"]),
        ("--strategy canary --steps 5", &["steps"]),
        ("--strategy canary --steps 5%:30", &["steps"]),
        ("--strategy canary --steps 0%:1s", &["steps"]),
        (
            "--strategy canary --steps 50%:1s,5%:1s,60%,60%",
            &["steps", "steps"],
        ),
        ("--steps 5%:1s", &["steps"]),
        (
            "--strategy recreate --soak 1s --share 5%",
            &["share", "soak"],
        ),
        (
            "--strategy canary --steps x --max-surge 1 --soak 1m",
            &["steps", "soak", "max-surge"],
        ),
        ("--strategy shadow --share 0%", &["share"]),
        ("--max-surge 0 --max-unavailable 0", &["max-surge"]),
    ] {
        let errors = words(text).unwrap_err();
        let found: Vec<_> = errors.iter().map(|error| error.part).collect();
        assert_eq!(found, parts, "{text}: {errors:?}");
    }
    let errors = words("--strategy canari").unwrap_err();
    assert_eq!(errors[0].help, "did you mean `canary`?");
}

#[test]
fn a_gate_that_nothing_passes_is_refused() {
    for gate in [
        Gate {
            latency_ratio_max: 0.9,
            ..Gate::default()
        },
        Gate {
            memory_ratio_max: f64::NAN,
            ..Gate::default()
        },
        Gate {
            samples_min: 0,
            ..Gate::default()
        },
    ] {
        let parts = StrategyParts {
            strategy: Some(StrategyKind::BlueGreen),
            gate: Some(gate),
            ..StrategyParts::default()
        };
        let errors = parts.build().unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].part, "gate");
    }
}

#[test]
fn what_cannot_be_in_two_places_is_not_replaced_gradually() {
    let canary = words("--strategy canary --steps 5%:1s").unwrap().unwrap();
    let shadow = words("--strategy shadow").unwrap().unwrap();
    let linked = Nature {
        has_links: true,
        ..Nature::default()
    };
    assert!(canary.unfit(linked).is_empty());
    assert_eq!(shadow.unfit(linked).len(), 1);
    let all = Nature {
        has_state: true,
        messages: true,
        owns_resources: true,
        has_links: true,
    };
    assert_eq!(canary.unfit(all).len(), 3);
    assert_eq!(shadow.unfit(all).len(), 4);
    for other in ["recreate", "rolling", "blue-green"] {
        let strategy = words(&format!("--strategy {other}")).unwrap().unwrap();
        assert!(strategy.unfit(all).is_empty(), "{other}");
    }
}

#[test]
fn rolling_goes_one_by_one_or_all_at_once() {
    let moves = |from, to, surge, unavailable| {
        let moves = rolling_moves(from, to, surge, unavailable).into_iter();
        moves.map(|one| (one.start, one.stop)).collect::<Vec<_>>()
    };
    assert_eq!(moves(1, 1, 1, 0), [(1, 1)]);
    assert_eq!(moves(1, 1, 0, 1), [(0, 1), (1, 0)]);
    assert_eq!(moves(3, 3, 1, 0), [(1, 1), (1, 1), (1, 1)]);
    assert_eq!(moves(4, 4, 2, 0), [(2, 2), (2, 2)]);
    assert_eq!(moves(2, 4, 1, 0), [(3, 2), (1, 0)]);
    assert_eq!(moves(1, 1, 0, 0), [(0, 1), (1, 0)]);
    assert_eq!(moves(0, 0, 1, 1), []);
}

proptest! {
    #[test]
    fn rolling_keeps_its_bounds(from in 0..70u32, to in 0..70u32, surge in 0..5u32, unavailable in 0..5u32) {
        let (mut old, mut new) = (from, 0);
        for one in rolling_moves(from, to, surge, unavailable) {
            prop_assert!(one.start + one.stop > 0);
            new += one.start;
            prop_assert!(old + new <= from.max(to) + surge);
            old -= one.stop;
            // With neither more nor fewer, one has to go first.
            let fewer = unavailable.max(u32::from(surge == 0 && from == to));
            prop_assert!(old + new + fewer >= from.min(to));
        }
        prop_assert_eq!((old, new), (0, to));
    }
}
