//! The decision of what is kept, as tables.

use super::*;

fn name(text: &str) -> Name {
    let (of, number) = text.split_once(' ').unwrap();
    (of.parse().unwrap(), number.parse().unwrap())
}

fn names(texts: &[&str]) -> BTreeSet<Name> {
    texts.iter().map(|text| name(text)).collect()
}

/// Revisions and deployments by name and time; a deployment has the revision of `q/a` with its number.
fn registry(revisions: &[(&str, u64)], deployments: &[(&str, u64)]) -> Known {
    let revisions = revisions.iter().map(|(text, at)| (name(text), *at));
    let deployments = deployments.iter().map(|(text, at_unix_ms)| {
        let name = name(text);
        let deployment = KnownDeployment {
            at_unix_ms: *at_unix_ms,
            revisions: vec![("q/a".parse().unwrap(), name.1)],
        };
        (name, deployment)
    });
    Known {
        revisions: revisions.collect(),
        deployments: deployments.collect(),
        pointers: BTreeMap::new(),
    }
}

const A: [(&str, u64); 4] = [("q/a 1", 10), ("q/a 2", 20), ("q/a 3", 30), ("q/a 4", 40)];

fn retention(keep_last: usize, keep_for_ms: u64) -> Retention {
    Retention {
        keep_last,
        keep_for: Duration::from_millis(keep_for_ms),
    }
}

#[test]
fn either_rule_keeps_and_each_component_counts_for_itself() {
    let revisions = [&A[..], &[("q/b 7", 10), ("q/ab 1", 10)]].concat();
    let known = registry(&revisions, &[]);
    for (keep_last, keep_for_ms, now, expected) in [
        (0, 0, 1_000, &[][..]),
        (1, 0, 1_000, &["q/a 4", "q/b 7", "q/ab 1"]),
        (2, 0, 1_000, &["q/a 3", "q/a 4", "q/b 7", "q/ab 1"]),
        (0, 15, 45, &["q/a 3", "q/a 4"]),
        (0, 0, 40, &["q/a 4"]),
        (1, 15, 45, &["q/a 3", "q/a 4", "q/b 7", "q/ab 1"]),
        // The clock was set back: nothing is old.
        (
            0,
            0,
            5,
            &["q/a 1", "q/a 2", "q/a 3", "q/a 4", "q/b 7", "q/ab 1"],
        ),
    ] {
        let retention = retention(keep_last, keep_for_ms);
        let kept = kept(&known, retention, now, &HashSet::new());
        assert_eq!(kept.revisions, names(expected), "{retention:?} at {now}");
    }
}

#[test]
fn what_is_needed_is_kept_whatever_the_rules_say() {
    let deployments = [("q 1", 10), ("q 2", 20), ("q 3", 30), ("q 4", 40)];
    let mut known = registry(&A, &deployments);
    let mut point = |permanent, trial, rollback_target| {
        let pointers = DeploymentPointers {
            permanent,
            trial,
            rollback_target,
        };
        known.pointers.insert("q".parse().unwrap(), pointers);
        let kept = kept(&known, retention(0, 0), 1_000, &HashSet::new());
        let of: Vec<_> = kept.revisions.iter().map(|name| name.1).collect();
        // What a kept deployment has is kept.
        let deployments: Vec<_> = kept.deployments.iter().map(|name| name.1).collect();
        assert_eq!(of, deployments);
        of
    };
    assert_eq!(point(None, None, None), [0; 0]);
    assert_eq!(point(Some(2), None, None), [2]);
    assert_eq!(point(None, Some(1), None), [1]);
    assert_eq!(point(Some(3), Some(4), Some(1)), [1, 3, 4]);
    let unused = HashSet::from([name("q/a 2")]);
    known.pointers.clear();
    let kept = kept(&known, retention(0, 0), 1_000, &unused);
    assert_eq!(kept.revisions, names(&["q/a 2"]));
}

#[test]
fn a_deployment_that_is_kept_can_be_gone_back_to() {
    let known = registry(&A, &[("q 1", 950), ("q 2", 20)]);
    let kept = kept(&known, retention(0, 100), 1_000, &HashSet::new());
    assert_eq!(kept.deployments, names(&["q 1"]));
    assert_eq!(kept.revisions, names(&["q/a 1"]));
    assert_eq!(Retention::default(), retention(10, 7 * 24 * 3_600_000));
}
