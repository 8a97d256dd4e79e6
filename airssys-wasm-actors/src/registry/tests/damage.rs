//! A damaged database: what is read is right, or there is a typed error. Never wrong data, never a panic.

use super::disk::Disk;
use super::history::{calls, options};
use super::*;

/// What redb's header has before the two slots for commits: who it is, and its layout.
const HEADER_BYTES: usize = 64;

/// The byte of the header with the bit that says which of the two slots is the newer.
const SLOT_BYTE: usize = 9;

/// The file of a registry after the whole history, as a host leaves it that is stopped and as one that is killed, and what
/// can be read in both, and could be before the last call.
fn images() -> (Directory, [Vec<u8>; 2], [String; 2]) {
    let directory = Directory::new();
    let disk = Disk::default();
    let registry = open(&directory, &disk).unwrap();
    let mut before = String::new();
    for call in calls() {
        before = dump(&registry).unwrap();
        call(&registry).unwrap();
    }
    let found = dump(&registry).unwrap();
    let killed = disk.bytes();
    drop(registry);
    (directory, [disk.bytes(), killed], [found, before])
}

fn open(directory: &Directory, disk: &Disk) -> Result<Registry, RegistryError> {
    let medium = Medium::Simulated(disk.clone());
    Registry::open_in(&directory.registry(), options(), medium)
}

/// What opening and reading all comes to.
fn found_in(directory: &Directory, bytes: Vec<u8>) -> Result<String, RegistryError> {
    let registry = open(directory, &Disk::holding(bytes))?;
    let found = dump(&registry)?;
    registry.recover(&app(), 100)?;
    registry.gc(0)?;
    Ok(found)
}

#[test]
fn a_flipped_byte_is_harmless_or_a_typed_error() {
    let (directory, [stopped, killed], [right, before]) = images();
    let mut typed = 0;
    for image in [&stopped, &killed] {
        // Each bit of what has no checksum, and then a byte here and there, at another place of every page.
        let header = (0..HEADER_BYTES).flat_map(|offset| (0..8).map(move |bit| (offset, 1 << bit)));
        let pages = (HEADER_BYTES..image.len()).step_by(397);
        for (offset, flip) in header.chain(pages.map(|offset| (offset, 0xff))) {
            let mut bytes = image.clone();
            bytes[offset] ^= flip;
            match found_in(&directory, bytes) {
                // It looks like the file of a host that was killed right before its last commit took effect: no checksum
                // can tell, and what is read is whole, as it was before that commit.
                Ok(found) if offset == SLOT_BYTE && image == &killed => {
                    assert!(found == right || found == before);
                }
                Ok(found) => assert!(found == right, "byte {offset} ^ {flip:#x} is read wrong"),
                Err(error) => {
                    assert!(
                        matches!(error, RegistryError::Corrupt { .. }),
                        "byte {offset} ^ {flip:#x}: {error:?}"
                    );
                    assert!(error.to_string().contains("deploy again"));
                    typed += 1;
                }
            }
        }
    }
    assert!(typed > 100, "the damage was nowhere that matters");
}

#[test]
fn a_file_that_was_cut_or_overwritten_is_a_typed_error() {
    let (directory, [image, _], [right, _]) = images();
    for bytes in [
        image[..image.len() - 1].to_vec(),
        image[..image.len() / 2].to_vec(),
        image[..4096].to_vec(),
        image[..100].to_vec(),
        b"[application]\nname = \"quakes\"\n".to_vec(),
        vec![0; image.len()],
        vec![0xff; image.len()],
    ] {
        let len = bytes.len();
        let error = found_in(&directory, bytes).unwrap_err();
        assert!(
            matches!(error, RegistryError::Corrupt { .. }),
            "{len}: {error:?}"
        );
    }
    // A page that holds zeroes, as a file system may give back after a crash.
    for page in 1..image.len() / 4096 {
        let mut bytes = image.clone();
        bytes[page * 4096..][..4096].fill(0);
        match found_in(&directory, bytes) {
            Ok(found) => assert!(found == right, "page {page} is read wrong"),
            Err(error) => assert!(matches!(error, RegistryError::Corrupt { .. }), "{error:?}"),
        }
    }
}

#[test]
fn a_file_on_disk_that_is_damaged_says_where_it_is_and_what_to_do() {
    let directory = Directory::new();
    drop(directory.open());
    let path = directory.registry().join(database::FILE);
    std::fs::write(&path, b"not a database").unwrap();
    let error = Registry::open(&directory.registry(), RegistryOptions::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    assert!(text.contains("move the file away"), "{text}");
    // That is what helps.
    std::fs::remove_file(path).unwrap();
    check_invariants(&directory.open());
}

#[test]
fn a_record_that_is_none_is_a_typed_error() {
    let directory = Directory::new();
    let registry = directory.open();
    let revision = registry
        .register(contents(&registry, "quakes/a", "a"))
        .unwrap();
    deploy(&registry, &[&revision], 1);
    let name = ("quakes", 1);
    for (text, kind) in [
        ("{}", "corrupt"),
        ("{\"v\":1,\"record\":{}}", "corrupt"),
        ("{\"v\":1,\"record\":{\"manifest\":1}}", "corrupt"),
        ("{\"v\":2,\"record\":{}}", "newer-format"),
    ] {
        let written = registry.inner.database.write(|transaction| {
            let mut table = transaction.open_table(database::DEPLOYMENTS)?;
            table.insert(name, text)?;
            drop(table);
            Ok(database::Written::Changed((), fault::STEP))
        });
        written.unwrap();
        for error in [
            registry.history(&app(), 1).unwrap_err(),
            registry.recover(&app(), 1).unwrap_err(),
            registry.gc(1).unwrap_err(),
            registry.query(&RegistryQuery::default()).unwrap_err(),
        ] {
            assert_eq!(error.kind(), kind, "{text}: {error}");
        }
    }
}

#[test]
fn an_artifact_that_was_changed_is_not_given_out_and_can_be_put_again() {
    let directory = Directory::new();
    let registry = directory.open();
    let digest = registry.put_artifact(b"bytes").unwrap();
    let path = registry.artifact_path(digest);
    std::fs::write(&path, b"other").unwrap();
    let error = registry.artifact(digest).unwrap_err();
    assert!(matches!(&error, RegistryError::Corrupt { path: at, .. } if *at == path));
    registry.put_artifact(b"bytes").unwrap();
    assert_eq!(registry.artifact(digest).unwrap(), b"bytes");
    std::fs::remove_file(&path).unwrap();
    let error = registry.artifact(digest).unwrap_err();
    assert!(matches!(&error, RegistryError::NoSuchArtifact { digest: of, .. } if *of == digest));
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    std::fs::write(&path, b"bytes").unwrap();
    assert_eq!(registry.artifact(digest).unwrap(), b"bytes");
}

#[test]
fn a_panic_of_the_database_is_a_typed_error_and_the_registry_goes_on() {
    let directory = Directory::new();
    let registry = directory.open();
    let revision = registry
        .register(contents(&registry, "quakes/a", "a"))
        .unwrap();
    let database = &registry.inner.database;
    let read = database.read::<()>(|_| panic!("page {}", 7));
    let write = database.write::<()>(|transaction| {
        let _half_done = transaction.open_table(database::REVISIONS)?;
        panic!("half done")
    });
    for (error, what) in [(read, "page 7"), (write, "half done")] {
        let text = error.unwrap_err().to_string();
        assert!(text.contains("registry.redb is damaged"), "{text}");
        assert!(text.contains(what), "{text}");
    }
    assert_eq!(registry.revisions(&revision.component).unwrap(), [revision]);
}

#[test]
fn each_error_of_the_database_has_a_kind() {
    use std::io::{Error, ErrorKind};
    let directory = Directory::new();
    let registry = directory.open();
    let io = |kind| redb::Error::Io(Error::from(kind));
    for (error, kind) in [
        (redb::Error::DatabaseAlreadyOpen, "in-use"),
        (redb::Error::PreviousIo, "closed"),
        (redb::Error::DatabaseClosed, "closed"),
        (redb::Error::Corrupted("x".to_owned()), "corrupt"),
        (redb::Error::UpgradeRequired(1), "corrupt"),
        (io(ErrorKind::InvalidData), "corrupt"),
        (io(ErrorKind::UnexpectedEof), "corrupt"),
        (io(ErrorKind::StorageFull), "disk-full"),
        (io(ErrorKind::PermissionDenied), "io"),
    ] {
        let text = error.to_string();
        let error = registry.inner.database.error(database::Stop::Redb(error));
        assert_eq!(error.kind(), kind, "{text}");
        assert!(error.to_string().contains("registry"), "{error}");
    }
}
