//! The store alone: its bounds, and what a letter may do when.

use std::time::Duration;

use airssys_wasm::{IntoArgs, Value};

use super::*;

const START: SystemTime = SystemTime::UNIX_EPOCH;

fn failed(target: &str, bytes: usize) -> Failed {
    let target: ActorAddress = target.parse().unwrap();
    Failed {
        target: target.clone(),
        function: "f".into(),
        sender: None,
        sender_id: None,
        args: (Value::Bytes(vec![0; bytes].into()),).into_args(),
        why: CallError::NoSuchActor { address: target },
        at: START,
        fatal: false,
        replay: None,
    }
}

/// The letter has been sent again and failed.
fn again(letter: &DeadLetter, fatal: bool) -> Failed {
    Failed {
        fatal,
        args: Args::clone(&letter.args),
        replay: Some(Box::new(Replay {
            sequence: letter.sequence,
            attempts: letter.attempts,
            deaths: letter.deaths,
            sender: letter.sender.clone(),
            at: letter.at,
        })),
        ..failed(letter.target.as_str(), 0)
    }
}

fn sequences(store: &DeadLetterStore, filter: &DeadLetterFilter) -> Vec<u64> {
    let letters = store.list(filter, START + Duration::from_secs(100));
    letters.iter().map(|letter| letter.sequence).collect()
}

fn all(store: &DeadLetterStore) -> Vec<u64> {
    sequences(store, &DeadLetterFilter::default())
}

fn store(count_max: usize) -> DeadLetterStore {
    DeadLetterStore::new(DeadLetterLimits {
        count_max,
        ..DeadLetterLimits::default()
    })
}

#[test]
fn the_newest_are_kept_within_both_bounds() {
    let unit = failed("a", 1000).args.payload_bytes();
    let store = DeadLetterStore::new(DeadLetterLimits {
        count_max: 3,
        bytes_max: 2 * unit,
        ..DeadLetterLimits::default()
    });
    for _ in 0..5 {
        store.fail(failed("a", 1000));
    }
    assert_eq!(all(&store), [3, 4]);
    assert_eq!(store.kept(), (2, 2 * unit));
    store.fail(failed("a", 10 * unit));
    assert_eq!(all(&store), [3, 4]);
    assert_eq!(store.total(), 6);
    for _ in 0..9 {
        store.fail(failed("a", 0));
    }
    assert_eq!(store.kept().0, 3);
    assert_eq!(
        store
            .purge(&DeadLetterFilter::default().into(), START)
            .purged,
        3
    );
    assert_eq!(store.kept(), (0, 0));
    let nothing = self::store(0);
    nothing.fail(failed("a", 0));
    assert_eq!((nothing.kept(), nothing.total()), ((0, 0), 1));
}

/// By who sent a letter first, whoever sends it again.
#[test]
fn a_sender_that_floods_pushes_out_its_own() {
    let store = store(3);
    let of = |sender: u64| Failed {
        sender_id: Some(ActorId(sender)),
        ..failed("nobody", 1)
    };
    store.fail(of(1));
    for _ in 0..10 {
        store.fail(of(2));
    }
    assert_eq!(all(&store), [0, 9, 10]);
    let letter = store.begin_replay(0, false).unwrap();
    store.fail(again(&letter, false));
    for _ in 0..10 {
        store.fail(failed("nobody", 1));
    }
    assert_eq!(all(&store), [0, 10, 20]);
    assert_eq!(store.total(), 22);
}

#[test]
fn a_filter_is_all_of_its_conditions() {
    let store = store(10);
    for (at, (target, fatal)) in [("a", false), ("a/b", true), ("b", false), ("a", true)]
        .into_iter()
        .enumerate()
    {
        let mut one = failed(target, 0);
        one.at = START + Duration::from_secs(10 * at as u64);
        if fatal {
            one.why = CallError::Evicted {
                address: one.target.clone(),
                strategy: "drop-oldest",
            };
        }
        store.fail(one);
    }
    let filter = DeadLetterFilter::default();
    let target = Some("a".parse().unwrap());
    let kind = Some("evicted".to_owned());
    // They are 100, 90, 80 and 70 s old.
    let (older_than, newer_than) = (Some(Duration::from_secs(80)), Some(Duration::from_secs(90)));
    for (filter, expected) in [
        (
            DeadLetterFilter {
                target: target.clone(),
                ..filter.clone()
            },
            vec![0, 1, 3],
        ),
        (
            DeadLetterFilter {
                kind: kind.clone(),
                ..filter.clone()
            },
            vec![1, 3],
        ),
        (
            DeadLetterFilter {
                older_than,
                ..filter.clone()
            },
            vec![0, 1],
        ),
        (
            DeadLetterFilter {
                newer_than,
                ..filter.clone()
            },
            vec![1, 2, 3],
        ),
        (
            DeadLetterFilter {
                older_than,
                newer_than,
                ..filter.clone()
            },
            vec![1],
        ),
        (
            DeadLetterFilter {
                poison: Some(true),
                ..filter.clone()
            },
            vec![],
        ),
        (
            DeadLetterFilter {
                limit: Some(2),
                target,
                kind,
                ..filter.clone()
            },
            vec![1, 3],
        ),
        (
            DeadLetterFilter {
                limit: Some(1),
                ..filter
            },
            vec![0],
        ),
    ] {
        assert_eq!(sequences(&store, &filter), expected, "{filter:?}");
    }
}

#[test]
fn a_letter_is_under_way_at_most_once_and_is_not_purged_then() {
    let store = store(10);
    store.fail(failed("a", 0));
    let letter = store.begin_replay(0, false).unwrap();
    assert!(matches!(
        store.begin_replay(0, true),
        Err(ReplayRefused::UnderWay { sequence: 0 })
    ));
    let everything = DeadLetterSelection::from(0);
    let report = store.purge(&everything, START);
    assert_eq!((report.purged, report.under_way), (0, 1));
    store.fail(again(&letter, false));
    let letter = store.begin_replay(0, false).unwrap();
    assert_eq!((letter.attempts, letter.deaths), (2, 0));
    store.handled(0);
    assert_eq!((store.kept(), store.total()), ((0, 0), 2));
    assert!(matches!(
        store.begin_replay(0, false),
        Err(ReplayRefused::NoSuchLetter { sequence: 0 })
    ));
}

#[test]
fn poison_is_what_has_ended_its_actor_so_often() {
    let store = store(10);
    store.fail(Failed {
        fatal: true,
        ..failed("a", 0)
    });
    for fatal in [true, false, true] {
        let letter = store.begin_replay(0, false).unwrap();
        assert!(!letter.poison);
        store.fail(again(&letter, fatal));
    }
    let letter = store.get(0).unwrap();
    assert_eq!(
        (letter.attempts, letter.deaths, letter.poison),
        (4, 3, true)
    );
    assert!(matches!(
        store.begin_replay(0, false),
        Err(ReplayRefused::Poison { deaths: 3, .. })
    ));
    store.begin_replay(0, true).unwrap();
}

#[test]
fn a_letter_forgotten_while_under_way_comes_back_as_the_newest_and_keeps_its_past() {
    let store = store(1);
    store.fail(failed("a", 5));
    let letter = store.begin_replay(0, false).unwrap();
    store.fail(failed("b", 0));
    store.fail(again(&letter, true));
    let back = store.get(2).unwrap();
    assert_eq!((back.attempts, back.deaths, back.at), (2, 1, letter.at));
    assert_eq!(back.target.as_str(), "a");
    assert_eq!(store.kept(), (1, back.bytes));
}
