//! What a host finds after the one before it has ended in the middle of something.

use super::*;

#[test]
fn what_was_under_way_is_ended_and_what_is_permanent_boots() {
    use DeploymentState::*;
    let ways: [(&[DeploymentState], DeploymentState); 5] = [
        (&[], Failed),
        (&[Warmed], Failed),
        (&[Warmed, Switching], RolledBack),
        (&[Warmed, Switching, Soaking], RolledBack),
        (&[Warmed, Switching, RollingBack], RolledBack),
    ];
    for (way, end) in ways {
        for permanent in [None, Some(1)] {
            let directory = Directory::new();
            let registry = directory.open();
            let new = contents(&registry, "quakes/classify", "one");
            let revision = registry.register(new).unwrap();
            if permanent.is_some() {
                deploy(&registry, &[&revision], 1);
            }
            let number = registry
                .begin(&app(), deployment(&[&revision], 2))
                .unwrap()
                .number;
            for &state in way {
                registry.advance(&app(), number, to(state)).unwrap();
            }
            drop(registry);
            let registry = directory.open();
            let recovered = registry.recover(&app(), 9).unwrap();
            let was = way.last().copied().unwrap_or(Prepared);
            // Without something to go back to, it has not been rolled back.
            let now = if permanent.is_some() { end } else { Failed };
            assert_eq!(recovered.interrupted, [Interrupted { number, was, now }]);
            assert_eq!(recovered.boot.map(|boot| boot.number), permanent);
            let ended = registry.deployment(&app(), number).unwrap();
            assert_eq!(ended.state, now);
            let last = ended.journal.last().unwrap();
            assert_eq!(last.at_unix_ms, 9);
            let JournalEntry::Transition { note, .. } = &last.entry else {
                panic!("{last:?}");
            };
            assert_eq!(*note, format!("the host ended while it was {was}"));
            check_invariants(&registry);
            let before = dump(&registry).unwrap();
            let again = registry.recover(&app(), 10).unwrap();
            assert_eq!(again.boot.map(|boot| boot.number), permanent);
            assert_eq!(again.interrupted, []);
            assert_eq!(dump(&registry).unwrap(), before);
            // And the next deployment is not in its way.
            assert_eq!(deploy(&registry, &[&revision], 3), number + 1);
        }
    }
}

#[test]
fn what_boots_is_one_revision_of_each_component_with_its_bytes() {
    let directory = Directory::new();
    let registry = directory.open();
    let register = |component: &str, text: &str| {
        registry
            .register(contents(&registry, component, text))
            .unwrap()
    };
    let classify = register("quakes/classify", "one");
    let parse = [
        register("quakes/parse", "two"),
        register("quakes/parse", "three"),
    ];
    deploy(&registry, &[&classify, &parse[0]], 1);
    let trial = deployment(&[&classify, &parse[1]], 2);
    registry.begin(&app(), trial).unwrap();
    drop(registry);
    let registry = directory.open();
    let boot = registry.recover(&app(), 9).unwrap().boot.unwrap();
    assert_eq!(boot.manifest, deployment(&[], 1).manifest);
    let revisions = registry.revisions_of(&boot).unwrap();
    let revisions: Vec<_> = revisions.into_values().collect();
    assert_eq!(revisions, [classify, parse[0].clone()]);
    assert_eq!(registry.artifact(revisions[1].digest).unwrap(), b"two");
}
