//! The audit trail: JSON lines, nothing lost that matters, deaths once.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex};

use airssys_wasm::{
    AccessKind, Audit, AuditAction, AuditConfig, AuditError, AuditEvent, AuditSinkConfig,
    CacheLocation, CallOutcome, CapabilityManifest, FaultClass,
};
use serde_json::Value as Json;

use crate::calls::Scripted;
use crate::guest::{
    call, core, engine_with, granted, identity, linked, run, run_paused, spec, start, start_with,
    template,
};

/// A sink that keeps what is written, and can be held shut.
#[derive(Clone, Default)]
struct Kept(Arc<Held>);

#[derive(Default)]
struct Held {
    /// The bytes, and whether the sink is held shut.
    kept: Mutex<(Vec<u8>, bool)>,
    opened: Condvar,
}

impl Kept {
    fn lines(&self) -> Vec<Json> {
        let kept = self.0.kept.lock().unwrap();
        let text = String::from_utf8(kept.0.clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn of(&self, event: &str) -> Vec<Json> {
        self.lines()
            .into_iter()
            .filter(|line| line["event"] == event)
            .collect()
    }

    fn shut(&self, shut: bool) {
        self.0.kept.lock().unwrap().1 = shut;
        self.0.opened.notify_all();
    }

    fn config(&self) -> AuditConfig {
        AuditConfig {
            sink: AuditSinkConfig::Writer(Box::new(self.clone())),
            ..AuditConfig::default()
        }
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut kept = self
            .0
            .opened
            .wait_while(self.0.kept.lock().unwrap(), |kept| kept.1)
            .unwrap();
        kept.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn event(action: AuditAction) -> AuditEvent {
    AuditEvent::now("parse".into(), &identity(), action, 1)
}

fn denied() -> AuditEvent {
    event(AuditAction::Denied {
        access: AccessKind::Random,
        detail: None,
        add: "nothing".to_owned(),
    })
}

fn died() -> AuditEvent {
    event(AuditAction::Died {
        class: FaultClass::Memory,
        message: "too much".to_owned(),
    })
}

fn used() -> AuditEvent {
    event(AuditAction::Used {
        access: AccessKind::Clock,
        detail: None,
    })
}

#[test]
fn a_record_is_one_json_line_with_who_and_what() {
    let kept = Kept::default();
    let audit = Audit::start(kept.config()).unwrap();
    audit.record(event(AuditAction::Died {
        class: FaultClass::Exited(3),
        message: "a \"quoted\"\nline".to_owned(),
    }));
    audit.flush();
    let lines = kept.lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["event"], "died");
    assert_eq!(lines[0]["class"], "exited(3)");
    assert_eq!(lines[0]["component"], "parse");
    assert_eq!(lines[0]["address"], "test/guest");
    assert_eq!(lines[0]["generation"], 1);
    assert_eq!(lines[0]["times"], 1);
    assert_eq!(lines[0]["message"], "a \"quoted\"\nline");
    assert!(lines[0]["unix_ms"].as_u64().unwrap() > 1_600_000_000_000);
}

/// A disk with room for so many bytes.
struct Full(Arc<Mutex<(Vec<u8>, usize)>>);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let (kept, room) = &mut *self.0.lock().unwrap();
        let taken = bytes.len().min(*room);
        if taken == 0 {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        kept.extend_from_slice(&bytes[..taken]);
        *room -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn records_that_a_full_disk_does_not_take_are_counted_one_by_one() {
    let disk = Arc::new(Mutex::new((Vec::new(), 0)));
    let room = |bytes| disk.lock().unwrap().1 = bytes;
    let sink = AuditSinkConfig::Writer(Box::new(Full(Arc::clone(&disk))));
    let audit = Audit::start(AuditConfig {
        sink,
        ..AuditConfig::default()
    })
    .unwrap();
    let record = |count| {
        for _ in 0..count {
            audit.record(denied());
        }
        audit.flush();
        audit.counts().write_failures
    };
    assert_eq!(record(3), 3);
    room(20);
    assert_eq!(record(1), 4, "a part of a record is none");
    room(10_000);
    assert_eq!(record(2), 4, "there is room again");
    let text = String::from_utf8(disk.lock().unwrap().0.clone()).unwrap();
    let whole = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Json>(line).ok());
    assert_eq!((whole.count(), text.lines().count()), (2, 3), "{text}");
}

#[test]
fn when_the_queue_is_full_denials_and_deaths_are_merged_and_others_dropped_and_all_are_counted() {
    let kept = Kept::default();
    kept.shut(true);
    let audit = Audit::start(AuditConfig {
        capacity: 4,
        ..kept.config()
    })
    .unwrap();
    for _ in 0..10_000 {
        audit.record(denied());
        audit.record(died());
        audit.record(used());
    }
    let counts = audit.counts();
    assert_eq!((counts.denials, counts.deaths), (10_000, 10_000));
    kept.shut(false);
    audit.flush();
    let times = |event| {
        kept.of(event)
            .iter()
            .map(|line| line["times"].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(times("denied"), 10_000, "no denial is lost");
    assert_eq!(times("died"), 10_000, "no death is lost");
    let counts = audit.counts();
    assert_eq!(
        times("used") + counts.dropped,
        10_000,
        "what was dropped was counted"
    );
    assert!(counts.coalesced > 0 && counts.dropped > 0);
    assert!(kept.lines().len() < 100, "merged: {}", kept.lines().len());
}

#[test]
fn what_is_queued_is_written_when_the_last_handle_goes() {
    let kept = Kept::default();
    let audit = Audit::start(kept.config()).unwrap();
    let clone = audit.clone();
    for _ in 0..100 {
        clone.record(died());
    }
    drop(audit);
    drop(clone);
    assert_eq!(kept.lines().len(), 100);
}

#[test]
fn a_sink_that_fails_is_counted_and_harms_nobody() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("disk full"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Err(std::io::Error::other("disk full"))
        }
    }
    let sink = AuditSinkConfig::Writer(Box::new(Broken));
    let audit = Audit::start(AuditConfig {
        sink,
        ..AuditConfig::default()
    })
    .unwrap();
    audit.record(died());
    audit.flush();
    assert!(audit.counts().write_failures > 0);
}

#[test]
fn a_file_is_appended_to_and_private() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("audit-{}.jsonl", std::process::id()));
    for _ in 0..2 {
        let sink = AuditSinkConfig::File(path.clone());
        let audit = Audit::start(AuditConfig {
            sink,
            ..AuditConfig::default()
        })
        .unwrap();
        audit.record(died());
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 2);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    std::fs::remove_file(path).unwrap();
}

/// A directory of this test's own.
#[cfg(unix)]
fn directory(name: &str) -> std::path::PathBuf {
    let name = format!("audit-{name}-{}", std::process::id());
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _left_by_a_killed_run = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

#[cfg(unix)]
fn opened(path: &std::path::Path) -> Result<Audit, AuditError> {
    Audit::start(AuditConfig {
        sink: AuditSinkConfig::File(path.to_owned()),
        ..AuditConfig::default()
    })
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_refused_and_nothing_waits_for_it() {
    let directory = directory("kinds");
    let fifo = directory.join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    let socket = directory.join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let file = directory.join("file");
    std::fs::write(&file, "").unwrap();
    let link = directory.join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for (path, said) in [
        (fifo.as_path(), "it is a pipe"),
        (socket.as_path(), "it is a socket"),
        (directory.as_path(), "it is a directory"),
        (std::path::Path::new("/dev/null"), "it is a device"),
        (link.as_path(), "it is a symbolic link"),
    ] {
        let error = opened(path).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(error.contains("name "), "says what to do: {error}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"");
    std::fs::remove_dir_all(directory).unwrap();
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_read_or_write_is_refused_and_left_as_it_is() {
    use std::os::unix::fs::PermissionsExt;
    let directory = directory("modes");
    let file = directory.join("file");
    std::fs::write(&file, "").unwrap();
    let mode = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&file, permissions).unwrap();
    };
    for (refused, said) in [
        (0o644, "its mode is 644, so everybody can read it"),
        (0o604, "chmod o-rwx"),
        (0o660, "its mode is 660, so others could have written it"),
        (0o602, "its mode is 602, so others could have written it"),
    ] {
        mode(refused);
        let error = opened(&file).unwrap_err();
        assert!(matches!(error, AuditError::Unsafe { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
        let now = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(now & 0o777, refused);
    }
    for taken in [0o600, 0o640] {
        mode(taken);
        opened(&file).unwrap().record(died());
        let now = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(now & 0o777, taken);
    }
    let lines = std::fs::read_to_string(&file).unwrap();
    assert_eq!(lines.lines().count(), 2);
    std::fs::remove_dir_all(directory).unwrap();
}

const ASKER: &str = r#"(component
    (import "test:peer/peer" (instance $peer (export "ask" (func))))
    (core func $ask (canon lower (func $peer "ask")))
    (core module $m (import "h" "ask" (func $ask))
      (func (export "go") (call $ask)) (func (export "fine")) (func (export "spin") (loop (br 0))))
    (core instance $i (instantiate $m (with "h" (instance (export "ask" (func $ask))))))
    (func (export "go") (canon lift (core func $i "go")))
    (func (export "spin") (canon lift (core func $i "spin")))
    (func (export "fine") (canon lift (core func $i "fine"))))"#;

#[test]
fn every_kind_of_death_is_recorded_exactly_once_and_a_stop_is_none() {
    let kept = Kept::default();
    run_paused(async {
        let engine = engine_with(kept.config(), CacheLocation::Off);
        let template = template(&engine, ASKER, linked("test:peer/peer"));
        let classes = || -> Vec<String> {
            engine.audit().flush();
            kept.of("died")
                .iter()
                .map(|line| line["class"].as_str().unwrap().to_owned())
                .collect()
        };

        let instance = start(&template).await;
        let outcome = call(&template, instance, "fine", ()).await;
        drop(outcome);
        drop(start(&template).await);
        assert_eq!(
            classes(),
            [""; 0],
            "an instance that is stopped did not die"
        );

        let _died = call(&template, start(&template).await, "go", ()).await;
        assert_eq!(classes(), ["link-failed"]);

        let instance = start_with(&template, Scripted::never()).await;
        let _died = call(&template, instance, "go", ()).await;
        assert_eq!(classes(), ["link-failed", "timeout"]);

        let _died = call(&template, start(&template).await, "spin", ()).await;
        assert_eq!(classes(), ["link-failed", "timeout", "cpu-deadline"]);

        let instance = start(&template).await;
        instance.kill_switch().kill();
        let _died = call(&template, instance, "fine", ()).await;
        assert_eq!(classes()[3..], ["killed"]);

        let instance = start_with(&template, Scripted::never()).await;
        let mut abandoned = Box::pin(call(&template, instance, "go", ()));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(abandoned.as_mut().poll(&mut cx).is_pending());
        drop(abandoned);
        assert_eq!(classes()[4..], ["abandoned"]);

        let start_traps = "(component (core module $m (func $s unreachable) (start $s)) (core instance (instantiate $m)))";
        let broken = crate::guest::template(&engine, start_traps, spec());
        let outbound = Box::new(airssys_wasm::NoOutbound);
        assert!(broken.instantiate(identity(), outbound).await.is_err());
        assert_eq!(classes()[5..], ["unreachable"]);
        assert_eq!(engine.audit().counts().deaths, 6);
    });
}

#[test]
fn grants_are_recorded_and_links_are_counted_as_uses() {
    let kept = Kept::default();
    run(async {
        let engine = engine_with(kept.config(), CacheLocation::Off);
        let asked = CapabilityManifest {
            log: true,
            random: true,
            ..CapabilityManifest::default()
        };
        drop(template(
            &engine,
            &core("(func (export \"go\"))"),
            granted(&asked),
        ));
        engine.audit().flush();
        assert_eq!(
            kept.of("granted")[0]["grants"],
            serde_json::json!(["log", "random"])
        );

        let template = template(&engine, ASKER, linked("test:peer/peer"));
        let instance = start_with(&template, Scripted::after(std::time::Duration::ZERO)).await;
        let outcome = call(&template, instance, "go", ()).await;
        assert!(matches!(outcome, CallOutcome::Returned(..)));
        drop(outcome);
        assert_eq!(engine.audit().counts().uses, 1);
        assert!(kept.of("used").is_empty(), "recorded only where asked for");
    });
}

#[test]
fn allowed_uses_are_recorded_where_asked_for() {
    let kept = Kept::default();
    run(async {
        let config = AuditConfig {
            uses: true,
            ..kept.config()
        };
        let engine = engine_with(config, CacheLocation::Off);
        let template = template(&engine, ASKER, linked("test:peer/peer"));
        let instance = start_with(&template, Scripted::after(std::time::Duration::ZERO)).await;
        let _returned = call(&template, instance, "go", ()).await;
        engine.audit().flush();
        assert_eq!(kept.of("used")[0]["access"], "link");
    });
}
