//! Opening: new and old directories, one host at a time, formats, what a killed host leaves.

use super::*;

fn refused(directory: &Directory) -> RegistryError {
    Registry::open(&directory.registry(), RegistryOptions::default()).unwrap_err()
}

#[test]
fn a_new_registry_is_private_and_empty() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = Directory::new();
    let registry = directory.open();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory.registry()), 0o700);
    assert_eq!(names(&directory.registry()), ["artifacts", "registry.redb"]);
    let digest = registry.put_artifact(b"x").unwrap();
    assert_eq!(mode(&registry.artifact_path(digest)), 0o600);
    let file = directory.registry().join("registry.redb");
    assert_eq!(mode(&file), 0o600);
    assert_eq!(registry.applications().unwrap(), []);
    assert_eq!(registry.history(&app(), 10).unwrap(), []);
    assert_eq!(
        registry.pointers(&app()).unwrap(),
        DeploymentPointers::default()
    );
    assert_eq!(registry.revisions(&address("quakes/a")).unwrap(), []);
    assert_eq!(registry.query(&RegistryQuery::default()).unwrap(), []);
    let recovered = registry.recover(&app(), 1).unwrap();
    assert_eq!((recovered.boot, recovered.interrupted), (None, Vec::new()));
    assert!(format!("{registry:?}").contains("registry"));
    // One that others may read, as it was made before, is so no longer.
    drop(registry);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(directory.open());
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn one_host_at_a_time() {
    let directory = Directory::new();
    let registry = directory.open();
    let other = registry.clone();
    drop(registry);
    let error = refused(&directory);
    assert!(matches!(&error, RegistryError::InUse { path } if *path == directory.registry()));
    assert!(error.retryable());
    assert!(error.to_string().contains("stop the other"));
    drop(other);
    directory.open();
}

#[test]
fn of_many_that_open_a_new_directory_at_once_one_has_it() {
    for _ in 0..10 {
        let directory = Directory::new();
        let path = directory.registry();
        let opened = std::thread::scope(|scope| {
            let open = || Registry::open(&path, RegistryOptions::default());
            let all: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            // All are kept to the end, so that none is opened after another one.
            all.into_iter()
                .map(|one| one.join().unwrap())
                .collect::<Vec<_>>()
        });
        let kinds: Vec<_> = opened
            .iter()
            .map(|one| one.as_ref().map_err(RegistryError::kind))
            .collect();
        assert_eq!(
            kinds.iter().filter(|one| one.is_ok()).count(),
            1,
            "{kinds:?}"
        );
        let refused = kinds.iter().filter_map(|one| one.as_ref().err());
        assert!(
            refused.into_iter().all(|kind| *kind == "in-use"),
            "{kinds:?}"
        );
        drop(opened);
        check_invariants(&directory.open());
    }
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let directory = Directory::new();
    let registry = directory.open();
    let written = registry.inner.database.write(|transaction| {
        let mut meta = transaction.open_table(database::META)?;
        meta.insert(database::META_FORMAT, database::FORMAT + 1)?;
        drop(meta);
        Ok(database::Written::Changed((), fault::STEP))
    });
    written.unwrap();
    drop(registry);
    let error = refused(&directory);
    assert!(matches!(
        error,
        RegistryError::NewerFormat {
            found: 2,
            known: 1,
            ..
        }
    ));
    assert!(error.to_string().contains("of format 2"));
}

#[test]
fn a_database_of_something_else_is_refused() {
    let directory = Directory::new();
    drop(directory.open());
    let path = directory.registry().join(database::FILE);
    std::fs::remove_file(&path).unwrap();
    drop(redb::Database::create(&path).unwrap());
    assert!(matches!(refused(&directory), RegistryError::Corrupt { .. }));
}

#[test]
fn what_a_killed_host_was_writing_is_removed() {
    let directory = Directory::new();
    let registry = directory.open();
    let digest = registry.put_artifact(b"kept").unwrap();
    let beside = registry.artifact_path(digest).with_file_name(".new-1");
    drop(registry);
    std::fs::write(&beside, b"half").unwrap();
    std::fs::write(directory.registry().join(".new-2"), b"half").unwrap();
    let registry = directory.open();
    assert!(!beside.exists());
    check_invariants(&registry);
    assert_eq!(registry.artifact(digest).unwrap(), b"kept");
}

#[test]
fn a_directory_that_others_may_write_in_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = Directory::new();
    drop(directory.open());
    let set = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(directory.registry(), mode).unwrap();
    };
    set(0o770);
    let error = refused(&directory);
    assert!(matches!(error, RegistryError::Unsafe { .. }));
    assert!(error.to_string().contains("chmod go-w"), "{error}");
    set(0o755);
    directory.open();
}

#[test]
fn a_place_where_nothing_can_be_made_is_an_error_with_its_path() {
    let directory = Directory::new();
    std::fs::write(directory.0.join("a"), b"a file").unwrap();
    let error = refused(&directory);
    assert!(matches!(error, RegistryError::Io { .. }), "{error:?}");
    std::fs::remove_file(directory.0.join("a")).unwrap();
    std::fs::create_dir(directory.0.join("a")).unwrap();
    std::fs::write(directory.registry(), b"a file").unwrap();
    assert!(matches!(refused(&directory), RegistryError::Unsafe { .. }));
}
