//! WASI and the log: nothing without a grant, and never more than granted.

use std::io::Write;
use std::sync::{Arc, Mutex};

use airssys_wasm::{CapabilityManifest, Fault, FaultClass, Limits, TemplateSpec, Value};

use crate::guest::{call, died, engine, granted, returned, run, small, spec, start, template};

/// A guest with one import `{interface}` whose function `go` calls it; `lowered` is its core type.
fn importer(
    interface: &str,
    items: &str,
    function: &str,
    lowered: &str,
    go: &str,
    result: &str,
) -> String {
    format!(
        r#"(component
             (import "{interface}" (instance $host {items}))
             (core module $libc (memory (export "memory") 4) (global $at (mut i32) (i32.const 1024))
               (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $was i32)
                 (global.set $at (i32.and (i32.add (global.get $at) (i32.const 7)) (i32.const -8)))
                 (local.set $was (global.get $at))
                 (global.set $at (i32.add (global.get $at) (local.get 3)))
                 (local.get $was)))
             (core instance $libc (instantiate $libc))
             (core func $f (canon lower (func $host "{function}")
               (memory $libc "memory") (realloc (func $libc "realloc"))))
             (core module $m
               (import "h" "f" (func $f {lowered}))
               (import "libc" "memory" (memory 1))
               (func (export "go") {go}))
             (core instance $i (instantiate $m
               (with "h" (instance (export "f" (func $f)))) (with "libc" (instance $libc))))
             (func (export "go") {result} (canon lift (core func $i "go")
               (memory $libc "memory") (realloc (func $libc "realloc")))))"#
    )
}

fn random(bytes: u64) -> String {
    importer(
        "wasi:random/random@0.2.3",
        "(export \"get-random-bytes\" (func (param \"len\" u64) (result (list u8))))",
        "get-random-bytes",
        "(param i64 i32)",
        &format!("(result i32) (call $f (i64.const {bytes}) (i32.const 16)) (i32.const 16)"),
        "(result (list u8))",
    )
}

fn monotonic_clock() -> String {
    importer(
        "wasi:clocks/monotonic-clock@0.2.0",
        "(export \"now\" (func (result u64)))",
        "now",
        "(result i64)",
        "(result i64) (call $f)",
        "(result u64)",
    )
}

fn outcome(wat: &str, spec: TemplateSpec) -> Result<Value, Fault> {
    run(async {
        let template = template(&engine(), wat, spec);
        match call(&template, start(&template).await, "go", ()).await {
            airssys_wasm::CallOutcome::Returned(_, results) => Ok(results
                .into_values()
                .next()
                .unwrap_or(Value::Tuple(Vec::new()))),
            airssys_wasm::CallOutcome::Died(fault) => Err(fault),
            other => panic!("{other:?}"),
        }
    })
}

#[test]
fn random_bytes_need_a_grant_and_the_fault_says_which() {
    let fault = outcome(&random(8), spec()).unwrap_err();
    assert_eq!(fault.class, FaultClass::Denied);
    assert!(
        fault
            .message
            .contains("add `random = true` to `[components.guest.grants]`"),
        "{fault}"
    );

    let asked = CapabilityManifest {
        random: true,
        ..CapabilityManifest::default()
    };
    let Value::Bytes(bytes) = outcome(&random(64), granted(&asked)).unwrap() else {
        panic!()
    };
    assert_eq!(bytes.len(), 64);
    assert!(bytes.iter().any(|byte| *byte != bytes[0]));
}

#[test]
fn more_random_bytes_than_the_limit_are_refused_before_they_are_made() {
    let asked = CapabilityManifest {
        random: true,
        ..CapabilityManifest::default()
    };
    for bytes in [65_537, u64::MAX] {
        let fault = outcome(&random(bytes), granted(&asked)).unwrap_err();
        assert_eq!(fault.class, FaultClass::RandomBytes, "{fault}");
        assert!(fault.message.contains("random-bytes-max"), "{fault}");
    }
    assert!(outcome(&random(65_536), granted(&asked)).is_ok());
}

#[test]
fn clocks_need_a_grant() {
    let fault = outcome(&monotonic_clock(), spec()).unwrap_err();
    assert_eq!(fault.class, FaultClass::Denied);
    assert!(fault.message.contains("add `clocks = true`"), "{fault}");
    let asked = CapabilityManifest {
        clocks: true,
        ..CapabilityManifest::default()
    };
    assert!(matches!(
        outcome(&monotonic_clock(), granted(&asked)),
        Ok(Value::U64(_))
    ));
}

fn environment() -> String {
    importer(
        "wasi:cli/environment@0.2.0",
        "(export \"get-environment\" (func (result (list (tuple string string)))))",
        "get-environment",
        "(param i32)",
        "(result i32) (call $f (i32.const 16)) (i32.const 16)",
        "(result (list (tuple string string)))",
    )
}

fn arguments() -> String {
    importer(
        "wasi:cli/environment@0.2.0",
        "(export \"get-arguments\" (func (result (list string))))",
        "get-arguments",
        "(param i32)",
        "(result i32) (call $f (i32.const 16)) (i32.const 16)",
        "(result (list string))",
    )
}

#[test]
fn environment_and_arguments_are_the_granted_ones_and_nothing_of_the_hosts() {
    assert!(std::env::vars().count() > 0, "there is something to leak");
    assert_eq!(outcome(&environment(), spec()), Ok(Value::List(Vec::new())));
    assert_eq!(outcome(&arguments(), spec()), Ok(Value::List(Vec::new())));
    let asked = CapabilityManifest {
        args: vec!["--fast".to_owned()],
        env: [("MODE".to_owned(), "test".to_owned())].into(),
        ..CapabilityManifest::default()
    };
    let pair = Value::Tuple(vec![
        Value::String("MODE".into()),
        Value::String("test".into()),
    ]);
    assert_eq!(
        outcome(&environment(), granted(&asked)),
        Ok(Value::List(vec![pair]))
    );
    assert_eq!(
        outcome(&arguments(), granted(&asked)),
        Ok(Value::List(vec![Value::String("--fast".into())]))
    );
}

#[test]
fn exit_is_a_fault_with_its_status() {
    for (status, code) in [(0, 0), (1, 1)] {
        let wat = importer(
            "wasi:cli/exit@0.2.0",
            "(export \"exit\" (func (param \"status\" (result))))",
            "exit",
            "(param i32)",
            &format!("(call $f (i32.const {status}))"),
            "",
        );
        assert_eq!(
            outcome(&wat, spec()).unwrap_err().class,
            FaultClass::Exited(code)
        );
    }
}

#[test]
fn sockets_and_names_are_denied_in_the_guests_own_words() {
    let wat = r#"(component
        (import "wasi:sockets/network@0.2.0" (instance $network
          (export "network" (type (sub resource)))
          (type $c (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory"
            "timeout" "concurrency-conflict" "not-in-progress" "would-block" "invalid-state"
            "new-socket-limit" "address-not-bindable" "address-in-use" "remote-unreachable"
            "connection-refused" "connection-reset" "connection-aborted" "datagram-too-large"
            "name-unresolvable" "temporary-resolver-failure" "permanent-resolver-failure"))
          (export "error-code" (type (eq $c)))
          (type $f (enum "ipv4" "ipv6"))
          (export "ip-address-family" (type (eq $f)))))
        (alias export $network "error-code" (type $code))
        (alias export $network "ip-address-family" (type $family))
        (import "wasi:sockets/tcp@0.2.0" (instance $tcp (export "tcp-socket" (type (sub resource)))))
        (alias export $tcp "tcp-socket" (type $socket))
        (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $create
          (alias outer 1 $code (type $code1)) (export "error-code" (type $code2 (eq $code1)))
          (alias outer 1 $family (type $family1)) (export "ip-address-family" (type $family2 (eq $family1)))
          (alias outer 1 $socket (type $socket1)) (export "tcp-socket" (type $socket2 (eq $socket1)))
          (export "create-tcp-socket" (func (param "address-family" $family2)
            (result (result (own $socket2) (error $code2)))))))
        (core module $libc (memory (export "memory") 1))
        (core instance $libc (instantiate $libc))
        (core func $new (canon lower (func $create "create-tcp-socket") (memory $libc "memory")))
        (core module $m
          (import "h" "new" (func $new (param i32 i32)))
          (import "libc" "memory" (memory 1))
          (func (export "go") (result i32)
            (call $new (i32.const 0) (i32.const 16))
            (i32.add (i32.mul (i32.const 100) (i32.load8_u (i32.const 16))) (i32.load8_u (i32.const 20)))))
        (core instance $i (instantiate $m
          (with "h" (instance (export "new" (func $new)))) (with "libc" (instance $libc))))
        (func (export "go") (result u32) (canon lift (core func $i "go"))))"#;
    // An error (1) with the code `access-denied` (1).
    assert_eq!(outcome(wat, spec()), Ok(Value::U32(101)));
}

/// What was said to `tracing` while `f` ran.
fn said(f: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);
    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let kept = Kept::default();
    let writer = kept.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, f);
    let bytes = kept.0.lock().unwrap().clone();
    let text = String::from_utf8(bytes).unwrap();
    text.lines()
        .filter(|line| line.contains("airssys::guest"))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Writes `text` to stdout `times` times and returns the result's discriminant of the last write.
fn writer(text: &str, times: u32) -> String {
    let data: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let length = text.len();
    format!(
        r#"(component
             (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
             (alias export $error "error" (type $e))
             (import "wasi:io/streams@0.2.0" (instance $streams
               (export "output-stream" (type $os (sub resource)))
               (alias outer 1 $e (type $e1)) (export "error" (type $e2 (eq $e1)))
               (type $se (variant (case "last-operation-failed" (own $e2)) (case "closed")))
               (export "stream-error" (type $se2 (eq $se)))
               (export "[method]output-stream.blocking-write-and-flush"
                 (func (param "self" (borrow $os)) (param "contents" (list u8))
                   (result (result (error $se2)))))))
             (alias export $streams "output-stream" (type $os))
             (import "wasi:cli/stdout@0.2.0" (instance $stdout
               (alias outer 1 $os (type $os1)) (export "output-stream" (type $os2 (eq $os1)))
               (export "get-stdout" (func (result (own $os2))))))
             (core module $libc (memory (export "memory") 2) (data (i32.const 1024) "{data}"))
             (core instance $libc (instantiate $libc))
             (core func $get (canon lower (func $stdout "get-stdout")))
             (core func $write (canon lower
               (func $streams "[method]output-stream.blocking-write-and-flush") (memory $libc "memory")))
             (core func $drop (canon resource.drop $os))
             (core module $m
               (import "h" "get" (func $get (result i32)))
               (import "h" "write" (func $write (param i32 i32 i32 i32)))
               (import "h" "drop" (func $drop (param i32)))
               (import "libc" "memory" (memory 1))
               (func (export "go") (result i32) (local $out i32) (local $n i32)
                 (local.set $out (call $get))
                 (loop $more
                   (call $write (local.get $out) (i32.const 1024) (i32.const {length}) (i32.const 16))
                   (local.set $n (i32.add (local.get $n) (i32.const 1)))
                   (br_if $more (i32.lt_u (local.get $n) (i32.const {times}))))
                 (call $drop (local.get $out))
                 (i32.load8_u (i32.const 16))))
             (core instance $i (instantiate $m (with "h" (instance
               (export "get" (func $get)) (export "write" (func $write)) (export "drop" (func $drop))))
               (with "libc" (instance $libc))))
             (func (export "go") (result u32) (canon lift (core func $i "go"))))"#
    )
}

fn stdio() -> TemplateSpec {
    let asked = CapabilityManifest {
        stdio: true,
        ..CapabilityManifest::default()
    };
    TemplateSpec {
        limits: Limits {
            cpu_per_call: Limits::default().cpu_per_call,
            ..small()
        },
        ..granted(&asked)
    }
}

#[test]
fn stdout_is_closed_without_a_grant() {
    let text = said(|| assert_eq!(outcome(&writer("hello\n", 1), spec()), Ok(Value::U32(1))));
    assert_eq!(text, "");
}

#[test]
fn stdout_goes_to_the_log_by_lines_escaped_and_signed() {
    let text = said(|| {
        let hello = "hello \u{1b}[31mworld\r\nand \u{202e}more\nunfinished";
        assert_eq!(outcome(&writer(hello, 1), stdio()), Ok(Value::U32(0)));
    });
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].contains("hello \\u{1b}[31mworld"), "{text}");
    assert!(lines[1].contains("and \\u{202e}more"), "{text}");
    assert!(lines[2].contains("unfinished"), "{text}");
    for line in lines {
        assert!(
            line.contains("component=\"guest\"") && line.contains("address=\"test/guest\""),
            "{line}"
        );
        assert!(line.contains("from=\"stdout\""), "{line}");
    }
}

#[test]
fn empty_writes_say_nothing() {
    let text = said(|| assert_eq!(outcome(&writer("", 10_000), stdio()), Ok(Value::U32(0))));
    assert_eq!(text, "");
}

#[test]
fn a_long_line_is_cut_and_a_flood_is_dropped_and_counted() {
    let long = said(|| {
        let line = "x".repeat(4_000);
        assert_eq!(outcome(&writer(&line, 10), stdio()), Ok(Value::U32(0)));
    });
    assert_eq!(long.lines().count(), 1);
    assert!(
        long.contains("… (cut)") && long.len() < 9_000,
        "{} bytes",
        long.len()
    );

    let flood = said(|| {
        let line = format!("{}\n", "y".repeat(1_000));
        assert_eq!(outcome(&writer(&line, 1_000), stdio()), Ok(Value::U32(0)));
    });
    assert!(
        flood.contains("lines dropped: more than 262144 bytes a second"),
        "{}",
        flood.lines().count()
    );
    assert!(flood.len() < 600_000, "{} bytes", flood.len());
}

fn logger(level: u32, text: &str) -> String {
    let data: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    format!(
        r#"(component
             (import "airssys:actor/log@0.1.0" (instance $log
               (type $l (enum "trace" "debug" "info" "warn" "error"))
               (export "level" (type $level (eq $l)))
               (export "log" (func (param "level" $level) (param "message" string)))))
             (core module $libc (memory (export "memory") 1) (data (i32.const 0) "{data}"))
             (core instance $libc (instantiate $libc))
             (core func $say (canon lower (func $log "log") (memory $libc "memory")))
             (core module $m
               (import "h" "say" (func $say (param i32 i32 i32)))
               (func (export "go") (local $n i32)
                 (loop $more
                   (call $say (i32.const {level}) (i32.const 0) (i32.const {}))
                   (local.set $n (i32.add (local.get $n) (i32.const 1)))
                   (br_if $more (i32.lt_u (local.get $n) (i32.const 3))))))
             (core instance $i (instantiate $m (with "h" (instance (export "say" (func $say))))))
             (func (export "go") (canon lift (core func $i "go"))))"#,
        text.len()
    )
}

#[test]
fn the_log_has_levels_and_stays_on_one_line() {
    let asked = CapabilityManifest {
        log: true,
        ..CapabilityManifest::default()
    };
    for (level, name) in [
        (0, "TRACE"),
        (1, "DEBUG"),
        (2, "INFO"),
        (3, "WARN"),
        (4, "ERROR"),
    ] {
        let text = said(|| {
            outcome(&logger(level, "two\nlines"), granted(&asked)).unwrap();
        });
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(
            text.contains("two\\nlines") && text.contains(name),
            "{text}"
        );
    }
}

#[test]
fn logging_without_a_grant_never_ends_the_guest_and_is_recorded_once() {
    run(async {
        let engine = engine();
        let template = template(&engine, &logger(2, "hello"), spec());
        let (instance, _) = returned(call(&template, start(&template).await, "go", ()).await);
        assert_eq!(engine.audit().counts().denials, 1);
        drop(instance);
        assert_eq!(
            engine.audit().counts().denials,
            3,
            "the repeats are told at the end"
        );
    });
}

#[test]
fn a_level_that_does_not_exist_is_a_broken_abi() {
    let fault = run(async {
        let template = template(&engine(), &logger(9, "hello"), spec());
        died(call(&template, start(&template).await, "go", ()).await)
    });
    assert_eq!(fault.class, FaultClass::Abi, "{fault}");
}

#[test]
fn a_sleeping_guest_needs_clocks_and_meets_its_wall_limit() {
    let wat = r#"(component
        (import "wasi:io/poll@0.2.0" (instance $poll
          (export "pollable" (type $p (sub resource)))
          (export "[method]pollable.block" (func (param "self" (borrow $p))))))
        (alias export $poll "pollable" (type $p))
        (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
          (alias outer 1 $p (type $p1)) (export "pollable" (type $p2 (eq $p1)))
          (export "subscribe-duration" (func (param "when" u64) (result (own $p2))))))
        (core func $subscribe (canon lower (func $clock "subscribe-duration")))
        (core func $block (canon lower (func $poll "[method]pollable.block")))
        (core module $m
          (import "h" "subscribe" (func $subscribe (param i64) (result i32)))
          (import "h" "block" (func $block (param i32)))
          (func (export "go") (call $block (call $subscribe (i64.const -1)))))
        (core instance $i (instantiate $m (with "h" (instance
          (export "subscribe" (func $subscribe)) (export "block" (func $block))))))
        (func (export "go") (canon lift (core func $i "go"))))"#;
    let asked = CapabilityManifest {
        clocks: true,
        ..CapabilityManifest::default()
    };
    let fault = crate::guest::run_paused(async {
        let template = template(&engine(), wat, granted(&asked));
        died(call(&template, start(&template).await, "go", ()).await)
    });
    assert_eq!(fault.class, FaultClass::Timeout, "{fault}");
}
