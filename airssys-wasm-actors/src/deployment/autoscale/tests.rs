//! What is decided, row by row, and what a steady load comes to.

use proptest::prelude::*;

use super::*;

fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn load(queued: u64, utilisation: f64) -> Load {
    Load {
        queued,
        utilisation,
    }
}

#[test]
fn what_is_wanted_follows_the_longer_queue_or_the_busier_time() {
    for (replicas, load, decided) in [
        (1, load(0, 0.7), None),
        // Within the tolerance.
        (1, load(0, 0.76), None),
        (1, load(0, 0.78), Some(2)),
        (2, load(450, 0.1), Some(4)),
        (4, load(450, 0.1), Some(5)),
        // Never more than twice as many at a time, or than there may be.
        (1, load(100_000, 1.0), Some(2)),
        (6, load(100_000, 1.0), Some(8)),
        (8, load(100_000, 1.0), None),
        // The bounds hold whatever the load says.
        (12, load(0, 0.7), Some(8)),
        (0, load(0, 0.0), Some(1)),
        (1, load(0, f64::NAN), None),
    ] {
        let mut scaler = Autoscaler::new(Autoscale::default()).unwrap();
        assert_eq!(
            scaler.decide(replicas, load, s(1_000)),
            decided,
            "{replicas} {load:?}"
        );
    }
}

#[test]
fn fewer_come_late_and_one_by_one_and_more_soon() {
    let mut scaler = Autoscaler::new(Autoscale::default()).unwrap();
    assert_eq!(scaler.decide(4, load(0, 0.1), s(0)), None);
    assert_eq!(scaler.decide(4, load(0, 0.1), s(59)), None);
    // A busy moment begins the wait anew.
    assert_eq!(scaler.decide(4, load(0, 0.7), s(59)), None);
    assert_eq!(scaler.decide(4, load(0, 0.1), s(60)), None);
    assert_eq!(scaler.decide(4, load(0, 0.1), s(120)), Some(3));
    assert_eq!(scaler.decide(3, load(0, 0.1), s(121)), None);
    assert_eq!(scaler.decide(3, load(0, 0.1), s(181)), Some(2));
    assert_eq!(scaler.decide(2, load(900, 0.1), s(185)), None);
    assert_eq!(scaler.decide(2, load(900, 0.1), s(186)), Some(4));
    assert_eq!(scaler.decide(4, load(900, 0.1), s(187)), None);
    assert_eq!(scaler.decide(4, load(900, 0.1), s(191)), Some(8));
}

#[test]
fn what_cannot_be_is_refused() {
    let with = |change: fn(&mut Autoscale)| {
        let mut config = Autoscale::default();
        change(&mut config);
        Autoscaler::new(config).map(|_| ()).unwrap_err()
    };
    assert_eq!(with(|config| config.min = 0), AutoscaleError::Bounds);
    assert_eq!(with(|config| config.min = 9), AutoscaleError::Bounds);
    assert_eq!(with(|config| config.max = 65), AutoscaleError::Bounds);
    assert_eq!(
        with(|config| config.queue_per_replica = 0),
        AutoscaleError::Aim
    );
    assert_eq!(
        with(|config| config.utilisation = f64::NAN),
        AutoscaleError::Aim
    );
    assert_eq!(
        with(|config| config.tolerance = 1.0),
        AutoscaleError::Tolerance
    );
}

#[test]
fn what_was_not_done_is_decided_again_and_what_failed_waits_longer_each_time() {
    let config = Autoscale {
        down_cooldown: s(10),
        ..Autoscale::default()
    };
    let (busy, idle) = (load(900, 1.0), load(0, 0.0));
    let mut scaler = Autoscaler::new(config).unwrap();
    // Not in its turn: again at once, and no cooldown has begun.
    for second in 0..3 {
        assert_eq!(scaler.decide(2, busy, s(second)), Some(4));
        scaler.undone();
    }
    assert_eq!(scaler.decide(2, busy, s(3)), Some(4));
    // Done: the cooldown holds, and there is nothing to take back any more.
    assert_eq!(scaler.decide(4, busy, s(4)), None);
    scaler.undone();
    scaler.failed(s(4));
    assert_eq!(scaler.decide(4, busy, s(8)), Some(8));
    // Failed: after 2, 4, 8 … 300 s.
    let (mut now, mut waits) = (8, Vec::new());
    for _ in 0..10 {
        scaler.failed(s(now));
        let failed = now;
        loop {
            now += 1;
            if scaler.decide(4, busy, s(now)).is_some() {
                break;
            }
        }
        waits.push(now - failed);
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    // The other way is not held up by it, and keeps its own patience.
    scaler.failed(s(now));
    assert_eq!(scaler.decide(4, idle, s(now + 1)), None);
    assert_eq!(scaler.decide(4, idle, s(now + 11)), Some(3));
    scaler.undone();
    assert_eq!(scaler.decide(4, idle, s(now + 12)), Some(3));
    // It was done: nothing has failed since.
    assert_eq!(scaler.decide(3, busy, s(now + 13)), None);
    assert_eq!(scaler.decide(3, busy, s(now + 17)), Some(6));
}

#[test]
fn other_bounds_hold_from_the_next_decision() {
    let mut scaler = Autoscaler::new(Autoscale::default()).unwrap();
    assert_eq!(scaler.decide(4, load(0, 0.7), s(0)), None);
    let narrow = Autoscale {
        max: 2,
        ..Autoscale::default()
    };
    scaler.set(narrow).unwrap();
    assert_eq!(scaler.decide(4, load(0, 0.7), s(1)), Some(2));
    let none = Autoscale { min: 0, ..narrow };
    assert_eq!(scaler.set(none), Err(AutoscaleError::Bounds));
    assert_eq!(scaler.decide(2, load(900, 1.0), s(60)), None);
}

#[test]
fn a_load_and_an_aim_are_shown_as_people_say_them() {
    assert_eq!(load(450, 0.934).to_string(), "queue 450, busy 93 %");
    let text = Autoscale::default().to_string();
    assert_eq!(text, "1 to 8, queue 100 each, busy 70 %");
}

proptest! {
    /// A steady load that so many replicas can serve comes to rest within the bounds, and stays there.
    #[test]
    fn a_steady_load_comes_to_rest(work in 0.0..12.0f64, from in 1..=8u32) {
        let config = Autoscale::default();
        let mut scaler = Autoscaler::new(config).unwrap();
        let (mut replicas, mut changes) = (from, Vec::new());
        for second in 0..2_000 {
            let utilisation = (work / f64::from(replicas)).min(1.0);
            if let Some(next) = scaler.decide(replicas, load(0, utilisation), s(second)) {
                prop_assert!((config.min..=config.max).contains(&next));
                replicas = next;
                changes.push(second);
            }
        }
        prop_assert!(changes.last().is_none_or(|last| *last < 1_000), "{changes:?}");
    }
}
