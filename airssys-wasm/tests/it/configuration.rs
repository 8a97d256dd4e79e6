//! Reading the configuration: nothing without a grant, each key by itself, one snapshot for each call.

use std::sync::{Arc, Mutex};

use airssys_wasm::{
    AuditConfig, AuditSinkConfig, CacheLocation, CapabilityManifest, Configuration, Engine,
    Instance, InstanceTemplate, NoOutbound, TemplateSpec, Value,
};

use crate::guest::{
    call, engine, engine_with, granted, identity, link_error, returned, run, spec, template,
};

const WASI: &str = "wasi:config/store@0.2.0-rc.1";
const OURS: &str = "airssys:config/store@0.1.0";

/// A guest that passes on what the interface says. `all` is what its `get-all` returns.
fn guest(interface: &str, error: &str, all: &str, more: &str) -> String {
    let revision = interface == OURS;
    let lowered = if revision {
        r#"(core func $revision (canon lower (func $host "revision") (memory $libc "memory")
             (realloc (func $libc "realloc"))))"#
    } else {
        ""
    };
    let lifted = if revision {
        r#"(func (export "revision") (result (result u64 (error $error)))
             (canon lift (core func $i "revision") (memory $libc "memory")
               (realloc (func $libc "realloc"))))"#
    } else {
        ""
    };
    let (import, function, with) = if revision {
        (
            r#"(import "h" "revision" (func $revision (param i32)))"#,
            r#"(func (export "revision") (result i32) (call $revision (i32.const 16)) (i32.const 16))"#,
            r#"(export "revision" (func $revision))"#,
        )
    } else {
        ("", "", "")
    };
    format!(
        r#"(component
             (import "{interface}" (instance $host
               (type $e (variant {error}))
               (export "error" (type $error (eq $e)))
               {more}
               (export "get" (func (param "key" string) (result (result (option string) (error $error)))))
               (export "get-all" (func (result (result {all} (error $error)))))))
             (alias export $host "error" (type $error))
             {alias}
             (core module $libc (memory (export "memory") 8) (global $at (mut i32) (i32.const 1024))
               (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $was i32)
                 (global.set $at (i32.and (i32.add (global.get $at) (i32.const 7)) (i32.const -8)))
                 (local.set $was (global.get $at))
                 (global.set $at (i32.add (global.get $at) (local.get 3)))
                 (local.get $was)))
             (core instance $libc (instantiate $libc))
             (core func $get (canon lower (func $host "get") (memory $libc "memory")
               (realloc (func $libc "realloc"))))
             (core func $all (canon lower (func $host "get-all") (memory $libc "memory")
               (realloc (func $libc "realloc"))))
             {lowered}
             (core module $m
               (import "h" "get" (func $get (param i32 i32 i32)))
               (import "h" "all" (func $all (param i32)))
               {import}
               (func (export "get") (param i32 i32) (result i32)
                 (call $get (local.get 0) (local.get 1) (i32.const 16)) (i32.const 16))
               (func (export "all") (result i32) (call $all (i32.const 16)) (i32.const 16))
               {function})
             (core instance $i (instantiate $m
               (with "h" (instance (export "get" (func $get)) (export "all" (func $all)) {with}))))
             (func (export "get") (param "key" string) (result (result (option string) (error $error)))
               (canon lift (core func $i "get") (memory $libc "memory")
                 (realloc (func $libc "realloc"))))
             (func (export "get-all") (result (result {all} (error $error)))
               (canon lift (core func $i "all") (memory $libc "memory")
                 (realloc (func $libc "realloc"))))
             {lifted})"#,
        alias = if revision {
            r#"(alias export $host "configuration" (type $all))"#
        } else {
            ""
        },
    )
}

fn wasi() -> String {
    let error = r#"(case "upstream" string) (case "io" string)"#;
    guest(WASI, error, "(list (tuple string string))", "")
}

fn ours() -> String {
    let record = r#"(type $r (record (field "revision" u64)
             (field "values" (list (tuple string string)))))
           (export "configuration" (type $all (eq $r)))
           (export "revision" (func (result (result u64 (error $error)))))"#;
    guest(OURS, r#"(case "denied" string)"#, "$all", record)
}

fn asking(patterns: &[&str]) -> TemplateSpec {
    granted(&CapabilityManifest {
        config: patterns.iter().map(|text| text.parse().unwrap()).collect(),
        ..CapabilityManifest::default()
    })
}

fn config(revision: u64, pairs: &[(&str, &str)]) -> Arc<Configuration> {
    Arc::new(Configuration::new(revision, pairs.iter().copied()))
}

async fn instance(template: &InstanceTemplate, config: Arc<Configuration>) -> Instance {
    template
        .instantiate_with(identity(), Box::new(NoOutbound), config)
        .await
        .unwrap()
}

async fn ask(
    template: &InstanceTemplate,
    instance: Instance,
    function: &str,
    key: Option<&str>,
) -> (Instance, Value) {
    let outcome = match key {
        Some(key) => call(template, instance, function, (key,)).await,
        None => call(template, instance, function, ()).await,
    };
    let (instance, results) = returned(outcome);
    (instance, results.into_values().next().unwrap())
}

fn found(value: &str) -> Value {
    let value = Value::Option(Some(Box::new(value.into())));
    Value::Result(Ok(Some(Box::new(value))))
}

fn nothing() -> Value {
    Value::Result(Ok(Some(Box::new(Value::Option(None)))))
}

fn pairs(pairs: &[(&str, &str)]) -> Value {
    let pairs = pairs.iter();
    let pairs = pairs.map(|(key, value)| Value::Tuple(vec![(*key).into(), (*value).into()]));
    Value::List(pairs.collect())
}

fn is_denied(value: &Value) -> bool {
    let Value::Result(Err(Some(error))) = value else {
        return false;
    };
    let text = format!("{error:?}");
    text.contains("`config`") && text.contains("[components.guest.grants]")
}

#[test]
fn a_key_is_read_where_a_pattern_of_the_grant_reaches_it() {
    run(async {
        for wat in [wasi(), ours()] {
            let template = template(&engine(), &wat, asking(&["mode", "db.*"]));
            let config = config(1, &[("mode", "fast"), ("db.host", "h"), ("other", "x")]);
            let mut one = instance(&template, config).await;
            for (key, answer) in [
                ("mode", found("fast")),
                ("db.host", found("h")),
                ("db.port", nothing()),
            ] {
                let (back, value) = ask(&template, one, "get", Some(key)).await;
                assert_eq!(value, answer, "{key}");
                one = back;
            }
            for key in ["other", "db", "db.a.b", "", "mode\0"] {
                let (back, value) = ask(&template, one, "get", Some(key)).await;
                assert!(is_denied(&value), "{key}: {value:?}");
                one = back;
            }
        }
    });
}

#[test]
fn without_a_grant_every_function_is_denied_and_says_what_to_add() {
    run(async {
        for (wat, functions) in [
            (wasi(), &["get-all"][..]),
            (ours(), &["get-all", "revision"]),
        ] {
            let template = template(&engine(), &wat, spec());
            let mut one = instance(&template, config(1, &[("mode", "fast")])).await;
            let (back, value) = ask(&template, one, "get", Some("mode")).await;
            assert!(is_denied(&value), "{value:?}");
            one = back;
            for function in functions {
                let (back, value) = ask(&template, one, function, None).await;
                assert!(is_denied(&value), "{function}: {value:?}");
                one = back;
            }
        }
    });
}

#[test]
fn all_that_is_given_is_what_the_grant_reaches() {
    run(async {
        let values = [("a", "1"), ("b.c", "2"), ("secret", "3")];
        let seen = pairs(&[("a", "1"), ("b.c", "2")]);
        let theirs = template(&engine(), &wasi(), asking(&["a", "b.*"]));
        let one = instance(&theirs, config(1, &values)).await;
        let (_, all) = ask(&theirs, one, "get-all", None).await;
        assert_eq!(all, Value::Result(Ok(Some(Box::new(seen.clone())))));
        let own = template(&engine(), &ours(), asking(&["a", "b.*"]));
        let one = instance(&own, config(7, &values)).await;
        let (one, all) = ask(&own, one, "get-all", None).await;
        let record = Value::Record(vec![Value::U64(7), seen]);
        assert_eq!(all, Value::Result(Ok(Some(Box::new(record)))));
        let (_, revision) = ask(&own, one, "revision", None).await;
        assert_eq!(revision, Value::Result(Ok(Some(Box::new(Value::U64(7))))));
    });
}

#[test]
fn what_its_owner_exchanges_between_two_calls_is_read_by_the_next() {
    run(async {
        let template = template(&engine(), &ours(), asking(&["**"]));
        let (first, second) = (config(1, &[("mode", "slow")]), config(2, &[]));
        let one = instance(&template, Arc::clone(&first)).await;
        let (mut one, value) = ask(&template, one, "get", Some("mode")).await;
        assert_eq!(value, found("slow"));
        assert_eq!(one.configure(Arc::clone(&second)), first);
        assert_eq!(*one.configuration(), second);
        let (one, value) = ask(&template, one, "get", Some("mode")).await;
        assert_eq!(value, nothing());
        let (_, revision) = ask(&template, one, "revision", None).await;
        assert_eq!(revision, Value::Result(Ok(Some(Box::new(Value::U64(2))))));
    });
}

#[test]
fn the_start_function_reads_what_the_instance_begins_with() {
    // It asks while it is instantiated; a host that gave the configuration later would have denied it nothing, and told
    // it nothing.
    let wat = wasi().replace(
        "(core instance $i (instantiate $m",
        r#"(core module $s (import "h" "get" (func $get (param i32 i32 i32)))
             (import "l" "memory" (memory 1))
             (func $start (i32.store8 (i32.const 0) (i32.const 107))
               (call $get (i32.const 0) (i32.const 1) (i32.const 16))
               (if (i32.eqz (i32.load8_u (i32.const 20))) (then unreachable)))
             (start $start))
           (core instance $s (instantiate $s (with "h" (instance (export "get" (func $get))))
             (with "l" (instance $libc))))
           (core instance $i (instantiate $m"#,
    );
    run(async {
        let template = template(&engine(), &wat, asking(&["k"]));
        instance(&template, config(1, &[("k", "v")])).await;
        let outbound = Box::new(NoOutbound);
        let without = template.instantiate(identity(), outbound).await;
        assert!(without.is_err(), "there is no `k`");
    });
}

#[test]
fn a_guest_of_other_types_is_refused_when_it_is_linked() {
    let wrong = wasi().replace(r#"(case "io" string)"#, r#"(case "io" u32)"#);
    let error = link_error(&wrong, spec());
    assert!(error.to_string().contains(WASI), "{error}");
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn audited(kept: &Kept) -> Engine {
    let audit = AuditConfig {
        sink: AuditSinkConfig::Writer(Box::new(kept.clone())),
        uses: true,
        ..AuditConfig::default()
    };
    engine_with(audit, CacheLocation::Off)
}

#[test]
fn the_audit_trail_has_keys_and_never_values() {
    run(async {
        let kept = Kept::default();
        let engine = audited(&kept);
        let template = template(&engine, &ours(), asking(&["db.*"]));
        let values = [("db.password", "hunter2"), ("mode", "swordfish")];
        let one = instance(&template, config(1, &values)).await;
        let (one, value) = ask(&template, one, "get", Some("db.password")).await;
        assert_eq!(value, found("hunter2"));
        let (one, value) = ask(&template, one, "get", Some("mode")).await;
        assert!(is_denied(&value));
        let (one, _) = ask(&template, one, "get-all", None).await;
        drop(one);
        engine.audit().flush();
        let written = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = written.lines().collect();
        let has = |event: &str, detail: &str| {
            lines.iter().any(|line| {
                line.contains(&format!("\"event\":\"{event}\""))
                    && line.contains("\"access\":\"config\"")
                    && line.contains(detail)
            })
        };
        assert!(has("used", "db.password"), "{written}");
        assert!(has("denied", "\"detail\":\"mode\""), "{written}");
        for value in ["hunter2", "swordfish"] {
            assert!(!written.contains(value), "{written}");
        }
    });
}
