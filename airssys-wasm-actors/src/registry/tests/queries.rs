//! Queries and dependency edges.

use super::*;

fn interface(name: &str) -> RevisionInterface {
    RevisionInterface {
        name: name.to_owned(),
        functions: vec!["f: func()".to_owned()],
    }
}

/// Revisions 1 to 3 of `quakes/parse` and one of `quakes/classify`: the second is permanent, the first was, the third is
/// on trial.
fn registry(directory: &Directory) -> Registry {
    let registry = directory.open();
    let register = |component: &str, number: u32, export: &str, import: &str, grant: &str| {
        let mut new = contents(&registry, component, &format!("{component} {number}"));
        new.surface = RevisionSurface {
            exports: vec![interface(export)],
            imports: vec![interface(import)],
        };
        new.grants = vec![grant.to_owned()];
        registry.register(new).unwrap()
    };
    let parse = |number, version: &str| {
        let export = format!("quakes:app/parse@{version}");
        register(
            "quakes/parse",
            number,
            &export,
            "wasi:clocks/wall-clock@0.2.1",
            "clocks",
        )
    };
    let parse = [parse(1, "0.1.0"), parse(2, "0.1.4"), parse(3, "0.2.0")];
    let classify = register(
        "quakes/classify",
        1,
        "quakes:app/classify",
        "quakes:app/parse@0.1.0",
        "log",
    );
    register(
        "other/parse",
        1,
        "other:app/parse@1.0.0",
        "wasi:clocks/wall-clock@0.2.1",
        "clocks",
    );
    let with = |parse: &Revision, to: &[&str]| {
        let mut new = deployment(&[parse, &classify], 10);
        new.components.get_mut(&classify.component).unwrap().links = to
            .iter()
            .map(|to| DeployedLink {
                import: "quakes:app/parse@0.1.0".to_owned(),
                to: address(to),
            })
            .collect();
        registry.begin(&app(), new).unwrap().number
    };
    for parse in &parse[..2] {
        let number = with(parse, &["quakes/parse"]);
        for state in WELL {
            registry.advance(&app(), number, to(state)).unwrap();
        }
    }
    with(&parse[2], &["quakes/parse", "quakes/spare"]);
    registry
}

fn found(registry: &Registry, query: RegistryQuery) -> Vec<String> {
    let found = registry.query(&query).unwrap().into_iter();
    found
        .map(|found| format!("{} {}", found.revision.component, found.revision.number))
        .collect()
}

#[test]
fn each_condition_finds_what_it_says_and_they_hold_together() {
    use RevisionState::*;
    let directory = Directory::new();
    let registry = registry(&directory);
    let by = |query: RegistryQuery| found(&registry, query);
    let any = RegistryQuery::default;
    assert_eq!(by(any()).len(), 5);
    let name = |name: &str| {
        by(RegistryQuery {
            name: Some(name.parse().unwrap()),
            ..any()
        })
    };
    assert_eq!(name("quakes/c*"), ["quakes/classify 1"]);
    assert_eq!(name("*/parse").len(), 4);
    assert_eq!(name("quakes/**").len(), 4);
    assert_eq!(name("quakes/spare"), [""; 0]);
    let state = |state| {
        by(RegistryQuery {
            state: Some(state),
            ..any()
        })
    };
    assert_eq!(state(Serving), ["quakes/classify 1", "quakes/parse 2"]);
    assert_eq!(state(Trial), ["quakes/classify 1", "quakes/parse 3"]);
    assert_eq!(
        state(RollbackTarget),
        ["quakes/classify 1", "quakes/parse 1"]
    );
    assert_eq!(state(Retired), ["other/parse 1"]);
    let exports = |exports: &str| {
        by(RegistryQuery {
            exports: Some(exports.to_owned()),
            ..any()
        })
    };
    assert_eq!(
        exports("quakes:app/parse@0.1.9"),
        ["quakes/parse 1", "quakes/parse 2"]
    );
    assert_eq!(exports("quakes:app/parse").len(), 3);
    assert_eq!(exports("parse").len(), 4);
    assert_eq!(exports("app/parse"), [""; 0]);
    let imports = |imports: &str| {
        by(RegistryQuery {
            imports: Some(imports.to_owned()),
            ..any()
        })
    };
    assert_eq!(imports("quakes:app/parse@0.1.4"), ["quakes/classify 1"]);
    assert_eq!(imports("quakes:app/parse@0.2.0"), [""; 0]);
    assert_eq!(imports("wall-clock").len(), 4);
    let granted = by(RegistryQuery {
        grant: Some("log".to_owned()),
        ..any()
    });
    assert_eq!(granted, ["quakes/classify 1"]);
    let together = by(RegistryQuery {
        name: Some("quakes".parse().unwrap()),
        exports: Some("parse".to_owned()),
        imports: Some("wall-clock".to_owned()),
        grant: Some("clocks".to_owned()),
        state: Some(Serving),
    });
    assert_eq!(together, ["quakes/parse 2"]);
    let both = registry
        .query(&RegistryQuery {
            grant: Some("log".to_owned()),
            ..any()
        })
        .unwrap();
    assert_eq!(both[0].states, [Serving, Trial, RollbackTarget].into());
}

#[test]
fn edges_are_those_of_what_serves_and_of_what_is_on_trial() {
    let directory = Directory::new();
    let registry = registry(&directory);
    let edges = |edges: Vec<Dependency>| -> Vec<_> {
        let edges = edges.into_iter();
        edges
            .map(|edge| {
                (
                    edge.from.to_string(),
                    edge.to.to_string(),
                    edge.deployment,
                    edge.trial,
                )
            })
            .collect()
    };
    let edge = |to: &str, deployment, trial| {
        (
            "quakes/classify".to_owned(),
            to.to_owned(),
            deployment,
            trial,
        )
    };
    let of = registry
        .dependencies_of(&address("quakes/classify"))
        .unwrap();
    assert_eq!(of[0].import, "quakes:app/parse@0.1.0");
    assert_eq!(of[0].application, app());
    assert_eq!(
        edges(of),
        [
            edge("quakes/parse", 2, false),
            edge("quakes/spare", 3, true)
        ]
    );
    let of = registry.dependents_of(&address("quakes/parse")).unwrap();
    assert_eq!(edges(of), [edge("quakes/parse", 2, false)]);
    assert_eq!(
        registry.dependencies_of(&address("quakes/parse")).unwrap(),
        []
    );
    registry
        .advance(&app(), 3, to(DeploymentState::Failed))
        .unwrap();
    assert_eq!(
        registry.dependents_of(&address("quakes/spare")).unwrap(),
        []
    );
}
