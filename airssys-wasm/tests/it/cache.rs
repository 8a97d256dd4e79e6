//! The compile cache: believed only if untouched.

use std::path::{Path, PathBuf};

use airssys_wasm::{
    AuditConfig, CacheLocation, ComponentRef, Engine, EngineConfig, EngineError, Loaded, Profile,
};

use crate::guest::{bytes, call, core, engine_with, returned, run, spec, start};

/// A directory of the test's own, gone at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _left_by_a_crash = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn engine(&self) -> Engine {
        engine_with(
            AuditConfig::default(),
            CacheLocation::Directory(self.0.clone()),
        )
    }

    fn entries(&self) -> Vec<PathBuf> {
        let mut entries: Vec<_> = std::fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
            .collect();
        entries.sort();
        entries
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _best_effort = std::fs::remove_dir_all(&self.0);
    }
}

fn load(engine: &Engine, wat: &str) -> airssys_wasm::Component {
    engine
        .load(&ComponentRef::Bytes(bytes(wat).into()))
        .unwrap()
}

fn cached(engine: &Engine, wat: &str) -> bool {
    matches!(load(engine, wat).loaded(), Loaded::Cached { .. })
}

fn one() -> String {
    core("(func (export \"go\"))")
}

#[test]
fn the_second_load_comes_from_the_cache_and_works() {
    let scratch = Scratch::new("second-load");
    let engine = scratch.engine();
    assert!(!cached(&engine, &one()));
    assert!(cached(&engine, &one()));
    let other = scratch.engine();
    assert!(cached(&other, &one()), "and in another process's engine");
    let component = load(&other, &one());
    let template = airssys_wasm::InstanceTemplate::link(&component, spec()).unwrap();
    run(async {
        returned(call(&template, start(&template).await, "go", ()).await);
    });
    assert_eq!(other.audit().counts().cache_rejections, 0);
}

#[test]
fn a_flipped_byte_anywhere_is_refused_counted_and_compiled_again() {
    let scratch = Scratch::new("flipped");
    let engine = scratch.engine();
    load(&engine, &one());
    let [entry] = &scratch.entries()[..] else {
        panic!("one entry")
    };
    let good = std::fs::read(entry).unwrap();
    // Each part of the header, and the beginning, middle and end of the code.
    let places: Vec<_> = (0..160).chain([good.len() / 2, good.len() - 1]).collect();
    for (count, at) in places.iter().enumerate() {
        let mut bad = good.clone();
        bad[*at] ^= 0x20;
        std::fs::write(entry, &bad).unwrap();
        assert!(!cached(&engine, &one()), "byte {at}");
        assert_eq!(
            engine.audit().counts().cache_rejections,
            u64::try_from(count + 1).unwrap()
        );
        assert!(cached(&engine, &one()), "written anew");
    }
}

#[test]
fn cut_and_empty_entries_are_refused() {
    let scratch = Scratch::new("cut");
    let engine = scratch.engine();
    load(&engine, &one());
    let [entry] = &scratch.entries()[..] else {
        panic!("one entry")
    };
    let good = std::fs::read(entry).unwrap();
    for length in [0, 1, 50, 149, good.len() - 1] {
        std::fs::write(entry, &good[..length]).unwrap();
        assert!(!cached(&engine, &one()), "cut to {length}");
    }
}

#[test]
fn two_swapped_entries_are_refused() {
    let scratch = Scratch::new("swapped");
    let engine = scratch.engine();
    let two = core("(func (export \"go\") unreachable)");
    load(&engine, &one());
    load(&engine, &two);
    let [a, b] = &scratch.entries()[..] else {
        panic!("two entries")
    };
    let (first, second) = (std::fs::read(a).unwrap(), std::fs::read(b).unwrap());
    std::fs::write(a, second).unwrap();
    std::fs::write(b, first).unwrap();
    assert!(!cached(&engine, &one()) && !cached(&engine, &two));
    assert_eq!(engine.audit().counts().cache_rejections, 2);
}

#[test]
fn an_entry_made_with_another_key_is_refused() {
    let (mine, theirs) = (Scratch::new("my-key"), Scratch::new("their-key"));
    let engine = mine.engine();
    load(&engine, &one());
    load(&theirs.engine(), &one());
    std::fs::copy(&theirs.entries()[0], &mine.entries()[0]).unwrap();
    assert!(!cached(&engine, &one()));
    assert_eq!(engine.audit().counts().cache_rejections, 1);
}

#[test]
fn profiles_do_not_share_entries() {
    let scratch = Scratch::new("profiles");
    load(&scratch.engine(), &one());
    let dense = Engine::new(EngineConfig {
        profile: Profile::Dense,
        pool_instances_max: 16,
        cache: CacheLocation::Directory(scratch.0.clone()),
        ..EngineConfig::default()
    })
    .unwrap();
    assert!(!cached(&dense, &one()));
    assert!(cached(&dense, &one()));
    assert!(cached(&scratch.engine(), &one()));
    assert_eq!(scratch.entries().len(), 2);
}

#[test]
fn a_cache_that_cannot_be_written_costs_only_time() {
    let scratch = Scratch::new("unwritable");
    let engine = scratch.engine();
    // The directory is gone under the engine's feet: root may write anywhere, but not into nothing.
    std::fs::remove_dir_all(&scratch.0).unwrap();
    assert!(!cached(&engine, &one()));
    assert!(!cached(&engine, &one()));
}

#[cfg(unix)]
mod permissions {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn refusal(scratch: &Scratch) -> String {
        let config = EngineConfig {
            pool_instances_max: 16,
            cache: CacheLocation::Directory(scratch.0.clone()),
            ..EngineConfig::default()
        };
        match Engine::new(config) {
            Err(EngineError::Cache(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn directory_key_and_entries_are_private() {
        let scratch = Scratch::new("private");
        load(&scratch.engine(), &one());
        assert_eq!(mode(&scratch.0), 0o700);
        assert_eq!(mode(&scratch.0.join("key")), 0o600);
        assert_eq!(mode(&scratch.entries()[0]), 0o600);
        assert_eq!(std::fs::read(scratch.0.join("key")).unwrap().len(), 32);
    }

    #[test]
    fn a_directory_others_can_write_is_refused() {
        let scratch = Scratch::new("open-directory");
        drop(scratch.engine());
        for open in [0o720, 0o702, 0o777] {
            set_mode(&scratch.0, open);
            assert!(refusal(&scratch).contains("others may use it"));
        }
    }

    #[test]
    fn a_key_others_can_read_is_refused() {
        let scratch = Scratch::new("open-key");
        drop(scratch.engine());
        for open in [0o640, 0o604, 0o660] {
            set_mode(&scratch.0.join("key"), open);
            assert!(refusal(&scratch).contains("others may use it"));
        }
    }

    #[test]
    fn a_key_that_is_a_link_or_cut_is_refused() {
        let scratch = Scratch::new("linked-key");
        drop(scratch.engine());
        let key = scratch.0.join("key");
        std::fs::rename(&key, scratch.0.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(scratch.0.join("elsewhere"), &key).unwrap();
        assert!(refusal(&scratch).contains("cannot use"));
        std::fs::remove_file(&key).unwrap();
        std::fs::write(&key, [7; 31]).unwrap();
        set_mode(&key, 0o600);
        assert!(refusal(&scratch).contains("cannot use"));
    }
}
