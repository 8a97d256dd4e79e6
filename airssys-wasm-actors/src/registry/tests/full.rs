//! A disk that fills up at every write of a history, one run for each.

use super::disk::Disk;
use super::history::{calls, in_effect, options, states};
use super::*;

fn open(directory: &Directory, disk: &Disk) -> Registry {
    let medium = Medium::Simulated(disk.clone());
    Registry::open_in(&directory.registry(), options(), medium).unwrap()
}

#[test]
fn wherever_the_disk_is_full_what_was_acknowledged_is_there_and_the_registry_goes_on() {
    let states = states();
    let directory = Directory::new();
    let disk = Disk::default();
    let mut runs = 0;
    for (done, call) in calls().iter().enumerate() {
        let registry = open(&directory, &disk);
        let before = disk.bytes();
        // A run with room for no write, for one, for two, until there is room for all.
        for room in 0.. {
            let disk = Disk::holding(before.clone());
            let registry = open(&directory, &disk);
            disk.set_room(Some(room));
            let full = match call(&registry) {
                Ok(()) => false,
                Err(RegistryError::Full { path, .. }) => path.ends_with(database::FILE),
                Err(error) => panic!("{error:?}"),
            };
            if !full {
                assert!(room > 0, "call {done} writes nothing");
                break;
            }
            runs += 1;
            assert_eq!(disk.room(), Some(0), "full with room left");
            // There is room again: the same registry goes on, or one that is opened anew.
            disk.set_room(None);
            let registry = match room % 2 {
                0 => registry,
                _ => {
                    drop(registry);
                    open(&directory, &disk)
                }
            };
            let in_effect = in_effect(&registry, &states, done);
            check_invariants(&registry);
            if in_effect == done {
                call(&registry).unwrap();
                assert_eq!(dump(&registry).unwrap(), states[done + 1]);
            }
        }
        call(&registry).unwrap();
    }
    assert!(runs > 5 * calls().len(), "{runs}");
}

#[test]
fn an_error_at_any_step_is_typed_and_the_registry_goes_on() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let states = states();
    for step in REGISTRY_STEPS {
        let directory = Directory::new();
        let failed = Arc::new(AtomicBool::new(false));
        let mut options = options();
        let failing = Arc::clone(&failed);
        options.fault = Some(Arc::new(move |at| {
            if at == *step && !failing.swap(true, Ordering::Relaxed) {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            Ok(())
        }));
        let disk = Disk::default();
        let open = |options| {
            let medium = Medium::Simulated(disk.clone());
            Registry::open_in(&directory.registry(), options, medium).unwrap()
        };
        let registry = open(options);
        for (done, call) in calls().into_iter().enumerate() {
            if let Err(error) = call(&registry) {
                assert_eq!(error.kind(), "disk-full", "{step}");
                assert!(error.retryable());
                if in_effect(&registry, &states, done) == done {
                    call(&registry).unwrap();
                }
            }
        }
        assert!(failed.load(Ordering::Relaxed), "{step}");
        check_invariants(&registry);
        // A call that failed after it had taken effect may have left something to be kept as long as this process lives.
        drop(registry);
        let registry = open(super::history::options());
        registry.gc(1_000).unwrap();
        assert_eq!(&dump(&registry).unwrap(), states.last().unwrap());
    }
}

/// A file that two have open is refused to the second as another host's.
#[test]
fn a_database_that_is_broken_is_closed_before_anybody_opens_it_again() {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    let (directory, disk) = (Directory::new(), Disk::default());
    let fails = Arc::new(AtomicBool::new(false));
    let mut options = options();
    let failing = Arc::clone(&fails);
    options.fault = Some(Arc::new(move |_| match failing.load(Ordering::Relaxed) {
        true => Err(std::io::ErrorKind::StorageFull.into()),
        false => Ok(()),
    }));
    let medium = Medium::Simulated(disk.clone());
    let registry = Registry::open_in(&directory.registry(), options, medium).unwrap();
    let new = contents(&registry, "quakes/classify", "text");
    let closed = [Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default()];
    let (inner, counted) = (Arc::clone(&registry.inner), closed.clone());
    disk.on_close(Some(Box::new(move || {
        let alone = inner.database.is_held_alone();
        counted[usize::from(alone)].fetch_add(1, Ordering::Relaxed);
    })));
    fails.store(true, Ordering::Relaxed);
    registry.register(new.clone()).unwrap_err();
    disk.on_close(None);
    assert_eq!(closed.map(|count| count.load(Ordering::Relaxed)), [0, 1]);
    fails.store(false, Ordering::Relaxed);
    registry.register(new).unwrap();
}
