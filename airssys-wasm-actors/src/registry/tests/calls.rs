//! Registering, deploying, refusing, collecting: what each call promises.

use super::*;

fn one(registry: &Registry) -> Revision {
    registry
        .register(contents(registry, "quakes/classify", "one"))
        .unwrap()
}

#[test]
fn revisions_are_numbered_and_the_same_contents_are_the_same_one() {
    let directory = Directory::new();
    let registry = directory.open();
    let first = one(&registry);
    assert_eq!(
        (first.number, first.grants.as_slice()),
        (1, ["clocks".to_owned(), "log".to_owned()].as_slice())
    );
    let second = registry
        .register(contents(&registry, "quakes/classify", "two"))
        .unwrap();
    assert_eq!(second.number, 2);
    // Again, by somebody else, later: it is the first one, as it was.
    let mut again = contents(&registry, "quakes/classify", "one");
    again.provenance.by = "eve".to_owned();
    again.grants.reverse();
    assert_eq!(registry.register(again).unwrap(), first);
    // Each part of the contents makes another one.
    let same = || contents(&registry, "quakes/classify", "one");
    for (at, new) in [
        NewRevision {
            version: None,
            ..same()
        },
        NewRevision {
            surface: RevisionSurface::default(),
            ..same()
        },
        NewRevision {
            grants: Vec::new(),
            ..same()
        },
        NewRevision {
            spec: String::new(),
            ..same()
        },
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(registry.register(new).unwrap().number, at as u64 + 3);
    }
    // Numbers are a component's own.
    let other = registry
        .register(contents(&registry, "quakes/parse", "one"))
        .unwrap();
    assert_eq!((other.number, other.digest), (1, first.digest));
    drop(registry);
    let registry = directory.open();
    assert_eq!(registry.revision(&first.component, 1).unwrap(), first);
    let all = registry.revisions(&first.component).unwrap();
    assert_eq!(
        all.iter().map(|one| one.number).collect::<Vec<_>>(),
        [6, 5, 4, 3, 2, 1]
    );
}

#[test]
fn a_surface_is_written_with_versions_and_signatures() {
    let wit =
        "package quakes:app@0.1.0; interface parse { feature: func(line: string) -> list<u8>; }";
    let surface = airssys_wasm::Surface::from_wit(wit).unwrap();
    let surface = RevisionSurface::of(&surface);
    assert_eq!(surface.imports, []);
    let export = &surface.exports[0];
    assert_eq!(export.name, "quakes:app/parse@0.1.0");
    assert_eq!(export.version(), Some("0.1.0".parse().unwrap()));
    assert_eq!(
        export.functions,
        ["feature: func(line: string) -> list<u8>"]
    );
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    let directory = Directory::new();
    let registry = directory.open();
    let mut new = contents(&registry, "quakes/classify", "one");
    new.digest = Digest::of(b"never put");
    let error = registry.register(new).unwrap_err();
    assert!(matches!(error, RegistryError::NoSuchArtifact { .. }));
    assert!(!error.retryable());
    let revision = one(&registry);
    let classify = &revision.component;
    let error = registry.revision(classify, 2).unwrap_err();
    assert!(matches!(
        error,
        RegistryError::NoSuchRevision { number: 2, .. }
    ));
    let error = registry.deployment(&app(), 1).unwrap_err();
    assert!(matches!(
        error,
        RegistryError::NoSuchDeployment { number: 1, .. }
    ));
    let error = registry
        .advance(&app(), 1, to(DeploymentState::Warmed))
        .unwrap_err();
    assert!(matches!(
        error,
        RegistryError::NoSuchDeployment { number: 1, .. }
    ));
    let mut new = deployment(&[&revision], 1);
    new.components.get_mut(classify).unwrap().revision = 9;
    let error = registry.begin(&app(), new).unwrap_err();
    assert!(matches!(
        error,
        RegistryError::NoSuchRevision { number: 9, .. }
    ));
    for application in ["other", "quakes/classify", "quake"] {
        let error = registry
            .begin(&address(application), deployment(&[&revision], 1))
            .unwrap_err();
        assert!(matches!(error, RegistryError::NotOfApplication { .. }));
    }
    std::fs::remove_file(registry.artifact_path(revision.digest)).unwrap();
    let error = registry
        .begin(&app(), deployment(&[&revision], 1))
        .unwrap_err();
    assert!(matches!(error, RegistryError::NoSuchArtifact { .. }));
    // None of these has used a number.
    one(&registry);
    let begun = registry.begin(&app(), deployment(&[&revision], 1)).unwrap();
    assert_eq!(begun.number, 1);
}

#[test]
fn the_table_of_states_is_what_the_design_says() {
    use DeploymentState::*;
    let next = |state: DeploymentState| -> Vec<_> {
        let all = DeploymentState::ALL.into_iter();
        all.filter(|next| state.may_become(*next)).collect()
    };
    assert_eq!(next(Prepared), [Warmed, Failed]);
    assert_eq!(next(Warmed), [Switching, Failed]);
    assert_eq!(next(Switching), [Switching, Soaking, RollingBack, Failed]);
    assert_eq!(next(Soaking), [Switching, Permanent, RollingBack, Failed]);
    assert_eq!(next(RollingBack), [RollingBack, RolledBack, Failed]);
    for state in DeploymentState::ALL {
        assert_eq!(next(state).is_empty(), state.is_final(), "{state}");
        // Whatever it was when its host ended, the way from there is legal and ends.
        for has_permanent in [false, true] {
            let mut now = state;
            for &next in state.after_the_host(has_permanent) {
                assert!(now.may_become(next), "{now} to {next}");
                now = next;
            }
            assert!(now.is_final() && now != Permanent || state == Permanent);
        }
        assert_eq!(serde_json::to_value(state).unwrap(), state.name());
    }
}

#[test]
fn the_page_has_the_table_of_states() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/registry.md");
    let page = std::fs::read_to_string(page).unwrap();
    for state in DeploymentState::ALL {
        let next = DeploymentState::ALL.into_iter();
        let next = next.filter(|next| state.may_become(*next));
        let next: Vec<_> = next.map(|next| format!("`{next}`")).collect();
        let next = match next.as_slice() {
            [] => "nothing".to_owned(),
            next => next.join(", "),
        };
        let row = format!("\n| `{state}` | {next} |");
        assert!(page.contains(&row), "no row {row}");
    }
    for step in REGISTRY_STEPS {
        assert!(page.contains(&format!("`{step}`")), "no step {step}");
    }
}

#[test]
fn a_transition_that_is_not_legal_writes_nothing() {
    use DeploymentState::*;
    let directory = Directory::new();
    let registry = directory.open();
    let revision = one(&registry);
    let number = deploy(&registry, &[&revision], 1);
    for way in [
        &[][..],
        &WELL[..1],
        &WELL[..2],
        &WELL[..3],
        &[Warmed, Switching, RollingBack],
    ] {
        let begun = registry.begin(&app(), deployment(&[&revision], 2)).unwrap();
        let number = begun.number;
        let mut now = Prepared;
        for &state in way {
            let record = registry.advance(&app(), number, to(state)).unwrap();
            let entry = JournalEntry::Transition {
                to: state,
                note: format!("now {state}"),
            };
            assert_eq!(record.entry, entry);
            now = state;
        }
        let before = dump(&registry).unwrap();
        for next in DeploymentState::ALL
            .into_iter()
            .filter(|next| !now.may_become(*next))
        {
            let error = registry.advance(&app(), number, to(next)).unwrap_err();
            assert!(
                matches!(error, RegistryError::IllegalTransition { from, to, .. } if (from, to) == (now, next))
            );
            assert!(error.to_string().contains("nothing was written"));
        }
        assert_eq!(dump(&registry).unwrap(), before);
        registry.advance(&app(), number, to(Failed)).unwrap();
    }
    // And after the end there is nothing.
    let error = registry
        .advance(&app(), number, to(RollingBack))
        .unwrap_err();
    assert!(matches!(
        error,
        RegistryError::IllegalTransition {
            from: Permanent,
            ..
        }
    ));
    check_invariants(&registry);
}

#[test]
fn a_deployment_moves_the_pointers_with_its_states() {
    let directory = Directory::new();
    let registry = directory.open();
    let revision = one(&registry);
    let pointers = || {
        let of = registry.pointers(&app()).unwrap();
        (of.permanent, of.trial, of.rollback_target)
    };
    let begun = registry.begin(&app(), deployment(&[&revision], 1)).unwrap();
    assert_eq!((begun.number, begun.state), (1, DeploymentState::Prepared));
    assert_eq!(registry.deployment(&app(), 1).unwrap(), begun);
    assert_eq!(pointers(), (None, Some(1), None));
    let error = registry
        .begin(&app(), deployment(&[&revision], 2))
        .unwrap_err();
    assert!(matches!(
        error,
        RegistryError::Unfinished {
            number: 1,
            state: DeploymentState::Prepared,
            ..
        }
    ));
    // Another application is another matter.
    let elsewhere = address("other");
    let mut new = deployment(&[], 1);
    new.why = "unrelated".to_owned();
    assert_eq!(registry.begin(&elsewhere, new).unwrap().number, 1);
    for state in WELL {
        registry.advance(&app(), 1, to(state)).unwrap();
    }
    assert_eq!(pointers(), (Some(1), None, None));
    assert_eq!(deploy(&registry, &[&revision], 2), 2);
    assert_eq!(pointers(), (Some(2), None, Some(1)));
    registry.begin(&app(), deployment(&[&revision], 3)).unwrap();
    registry
        .advance(&app(), 3, to(DeploymentState::Failed))
        .unwrap();
    assert_eq!(pointers(), (Some(2), None, Some(1)));
    let told = registry.history_of(&app(), 2, |one| (one.number, one.manifest.len()));
    let length = deployment(&[], 0).manifest.len();
    assert_eq!(told.unwrap(), [(3, length), (2, length)]);
    let history = registry.history(&app(), 2).unwrap();
    let history: Vec<_> = history.iter().map(|one| (one.number, one.state)).collect();
    assert_eq!(
        history,
        [
            (3, DeploymentState::Failed),
            (2, DeploymentState::Permanent)
        ]
    );
    assert_eq!(registry.applications().unwrap(), [elsewhere, app()]);
}

#[test]
fn steps_are_part_of_the_journal_until_the_end() {
    let directory = Directory::new();
    let registry = directory.open();
    let revision = one(&registry);
    registry.begin(&app(), deployment(&[&revision], 1)).unwrap();
    let step = |name: &str| DeploymentStep {
        name: name.to_owned(),
        component: Some(revision.component.clone()),
        value: serde_json::json!({ "weight": 5 }),
        at_unix_ms: 6,
    };
    let record = registry.note_step(&app(), 1, step("checked")).unwrap();
    assert_eq!(
        (record.seq, record.component.as_ref()),
        (2, Some(&revision.component))
    );
    registry
        .advance(&app(), 1, to(DeploymentState::Warmed))
        .unwrap();
    let mut of_another = step("x");
    of_another.component = Some(address("other/x"));
    let error = registry.note_step(&app(), 1, of_another).unwrap_err();
    assert!(matches!(error, RegistryError::NotOfApplication { .. }));
    let mut of_another = to(DeploymentState::Switching);
    of_another.component = Some(address("other/x"));
    let error = registry.advance(&app(), 1, of_another).unwrap_err();
    assert!(matches!(error, RegistryError::NotOfApplication { .. }));
    registry
        .advance(&app(), 1, to(DeploymentState::Failed))
        .unwrap();
    let error = registry.note_step(&app(), 1, step("late")).unwrap_err();
    assert!(matches!(
        error,
        RegistryError::Ended {
            state: DeploymentState::Failed,
            ..
        }
    ));
    let error = registry.note_step(&app(), 2, step("nowhere")).unwrap_err();
    assert!(matches!(error, RegistryError::NoSuchDeployment { .. }));
    let journal = registry.deployment(&app(), 1).unwrap().journal;
    let steps: Vec<_> = journal
        .iter()
        .map(|record| match &record.entry {
            JournalEntry::Transition { to, .. } => to.name(),
            JournalEntry::Step { name, value } => {
                assert_eq!(value["weight"], 5);
                name
            }
        })
        .collect();
    assert_eq!(steps, ["prepared", "checked", "warmed", "failed"]);
}

#[test]
fn records_and_journals_have_bounds() {
    let directory = Directory::new();
    let registry = directory.open();
    let mut new = contents(&registry, "quakes/classify", "one");
    new.spec = "x".repeat(database::RECORD_BYTES_MAX);
    let error = registry.register(new).unwrap_err();
    assert!(
        matches!(&error, RegistryError::TooLarge { what, .. } if what == "revision 1 of `quakes/classify`")
    );
    let revision = one(&registry);
    registry.begin(&app(), deployment(&[&revision], 1)).unwrap();
    let mut transition = to(DeploymentState::Warmed);
    transition.note = "x".repeat(64 << 10);
    let error = registry.advance(&app(), 1, transition).unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { .. }));
    // A journal that is full of steps, by a record at its last place.
    let written = registry.inner.database.write(|transaction| {
        let text = "{\"v\":1,\"record\":{\"seq\":10000,\"at-unix-ms\":1,\"component\":null,\
                    \"entry\":{\"step\":{\"name\":\"x\",\"value\":null}}}}";
        let mut journal = transaction.open_table(database::JOURNAL)?;
        journal.insert(("quakes", 1, 10_000), text)?;
        drop(journal);
        Ok(database::Written::Changed((), fault::STEP))
    });
    written.unwrap();
    let step = DeploymentStep {
        name: "x".to_owned(),
        component: None,
        value: serde_json::Value::Null,
        at_unix_ms: 1,
    };
    let error = registry.note_step(&app(), 1, step).unwrap_err();
    assert!(matches!(
        error,
        RegistryError::TooManySteps { max: 10_000, .. }
    ));
    // It can end all the same.
    let record = registry
        .advance(&app(), 1, to(DeploymentState::Failed))
        .unwrap();
    assert_eq!(record.seq, 10_001);
}
