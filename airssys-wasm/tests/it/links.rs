//! Linking: what nobody provides, what cannot be linked, and how a failed call reaches the guest.

use airssys_wasm::{
    ErrorCarry, FaultClass, LinkError, LinkFailureReason, LinkedImport, TemplateSpec, Value,
};

use crate::calls::Scripted;
use crate::guest::{
    call, died, engine, link_error, linked, returned, run, spec, start_with, template,
};

#[test]
fn every_missing_import_is_listed_with_what_to_do() {
    let wat = r#"(component
        (import "wasi:http/outgoing-handler@0.2.0" (instance (export "handle" (func))))
        (import "airssys:actor/time-travel@0.1.0" (instance (export "back" (func))))
        (import "quakes:app/parse@0.1.0" (instance (export "parse" (func)) (export "count" (func))))
        (import "wasi:cli/environment@0.2.3" (instance
          (export "get-environment" (func (result (list (tuple string string)))))))
        (import "bare" (func)))"#;
    let LinkError::Missing(missing) = link_error(wat, spec()) else {
        panic!("another error")
    };
    let mut names: Vec<_> = missing
        .iter()
        .map(|import| import.interface.as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "",
            "airssys:actor/time-travel@0.1.0",
            "quakes:app/parse@0.1.0",
            "wasi:http/outgoing-handler@0.2.0"
        ]
    );
    let text = LinkError::Missing(missing).to_string();
    for line in [
        "wasi:http/outgoing-handler@0.2.0 (handle): this host has no such WASI interface",
        "airssys:actor/time-travel@0.1.0 (back): this version of the host has no such interface",
        "quakes:app/parse@0.1.0 (parse, count): link it to an actor that exports it",
        "functions at the root (bare): link it",
    ] {
        assert!(text.contains(line), "{line}\nnot in\n{text}");
    }
}

/// A component may call its imports what it likes, and messages about them go to terminals and logs.
#[test]
fn what_a_component_calls_its_imports_is_escaped_in_every_message() {
    const FORGED: &str = "url=<https://x/\n\u{1b}[31mERROR forged\u{202e}>";
    let function = format!("(component (import {FORGED:?} (func)))");
    let interface = format!("(component (import {FORGED:?} (instance (export \"f\" (func)))))");
    // WAT has other escapes than Rust.
    let wat = |text: &str| text.replace("\\u{1b}", "\\1b");
    let errors = [
        link_error(&wat(&function), spec()),
        link_error(&wat(&interface), spec()),
        link_error(&wat(&interface), linked("a:b/c\n\u{1b}\u{202e}")),
        link_error(&wat(&function), linked(FORGED)),
        LinkError::Twice(FORGED.to_owned()),
        LinkError::Unlinkable {
            interface: FORGED.to_owned(),
            why: "so".to_owned(),
        },
    ];
    for error in errors {
        let text = error.to_string();
        // The lists of imports have a line for each.
        let lines: Vec<_> = text.split("\n  ").collect();
        for line in &lines {
            assert!(!line.contains(['\n', '\u{1b}', '\u{202e}']), "{line:?}");
        }
        assert!(text.contains("\\n\\u{1b}"), "{text}");
        assert!(lines.len() <= 2, "{text}");
    }
}

#[test]
fn a_link_of_something_that_is_not_imported_names_what_is() {
    let wat = r#"(component (import "a:b/c@1.0.0" (instance (export "f" (func)))))"#;
    let error = link_error(wat, linked("a:b/d"));
    assert!(matches!(error, LinkError::NotImported { .. }), "{error}");
    assert!(
        error.to_string().contains("it imports a:b/c@1.0.0"),
        "{error}"
    );
}

#[test]
fn a_link_may_leave_the_version_out_or_name_another_of_its_track() {
    let wat = r#"(component (import "a:b/c@1.2.0" (instance (export "f" (func)))))"#;
    for name in ["a:b/c@1.2.0", "a:b/c", "a:b/c@1.3.0"] {
        template(&engine(), wat, linked(name));
    }
    assert!(matches!(
        link_error(wat, linked("a:b/c@2.0.0")),
        LinkError::NotImported { .. }
    ));
}

#[test]
fn the_same_interface_cannot_be_linked_twice() {
    let wat = r#"(component (import "a:b/c@1.2.0" (instance (export "f" (func)))))"#;
    let link = |interface: &str| LinkedImport {
        interface: interface.to_owned(),
        error_as: None,
    };
    let spec = TemplateSpec {
        links: vec![link("a:b/c"), link("a:b/c@1.2.0")],
        ..spec()
    };
    assert!(matches!(link_error(wat, spec), LinkError::Twice(_)));
}

#[test]
fn a_resource_is_linked_with_the_interface_that_declares_it() {
    let wat = r#"(component
        (import "a:b/c" (instance $c (export "r" (type (sub resource)))))
        (alias export $c "r" (type $r))
        (import "a:b/d" (instance
          (export "r" (type $r2 (eq $r))) (export "f" (func (param "r" (borrow $r2)))))))"#;
    let link = |interface: &str| LinkedImport::new(interface);
    let links = vec![link("a:b/c"), link("a:b/d")];
    template(&engine(), wat, TemplateSpec { links, ..spec() });
    // The host's own resources stay where they are.
    let wat = r#"(component
        (import "wasi:io/error@0.2.0" (instance $io (export "error" (type (sub resource)))))
        (alias export $io "error" (type $r))
        (import "a:b/d" (instance
          (export "r" (type $r2 (eq $r))) (export "f" (func (param "r" (borrow $r2)))))))"#;
    let error = link_error(wat, linked("a:b/d"));
    assert!(matches!(error, LinkError::Unlinkable { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("declared in `wasi:io/error@0.2.0`"),
        "{error}"
    );
}

#[test]
fn the_hosts_own_interface_is_compared_by_type() {
    let wat = r#"(component (import "airssys:actor/log@0.1.0" (instance
        (export "log" (func (param "message" string))))))"#;
    let error = link_error(wat, spec());
    assert!(matches!(error, LinkError::HostInterface { .. }), "{error}");
}

/// Asks its peer and returns 0 if the peer said ok, or 1 and the case of the error plus one.
fn asker(error: &str) -> String {
    format!(
        r#"(component
             (import "test:peer/peer" (instance $peer
               (type $e {error}) (export "e" (type $e2 (eq $e)))
               (export "ask" (func (result (result (error $e2)))))))
             (core module $libc (memory (export "memory") 1)
               (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
             (core instance $libc (instantiate $libc))
             (core func $ask (canon lower (func $peer "ask")
               (memory $libc "memory") (realloc (func $libc "realloc"))))
             (core module $m
               (import "h" "ask" (func $ask (param i32)))
               (import "libc" "memory" (memory 1))
               (func (export "go") (result i32)
                 (call $ask (i32.const 16))
                 (i32.const 16)))
             (core instance $i (instantiate $m
               (with "h" (instance (export "ask" (func $ask)))) (with "libc" (instance $libc))))
             (type $e {error}) (export $e2 "e" (type $e))
             (func (export "go") (result (result (error $e2)))
               (canon lift (core func $i "go") (memory $libc "memory"))))"#
    )
}

fn told(error: &str, carry: ErrorCarry, reason: LinkFailureReason) -> Value {
    let link = LinkedImport {
        interface: "test:peer/peer".to_owned(),
        error_as: Some(carry),
    };
    run(async {
        let template = template(
            &engine(),
            &asker(error),
            TemplateSpec {
                links: vec![link],
                ..spec()
            },
        );
        let instance = start_with(&template, Scripted::fail(reason)).await;
        let (_, results) = returned(call(&template, instance, "go", ()).await);
        results.values()[0].clone()
    })
}

#[test]
fn a_failed_call_is_told_as_the_link_says() {
    let rich = "(variant (case \"lost\" string) (case \"gone\"))";
    let err = |value| Value::Result(Err(Some(Box::new(value))));
    let words = "deadline: it \\u{1b}[31mburned";
    assert_eq!(
        told(
            rich,
            ErrorCarry::Case("lost".to_owned()),
            LinkFailureReason::Deadline
        ),
        err(Value::Variant(
            0,
            Some(Box::new(Value::String(words.into())))
        ))
    );
    assert_eq!(
        told(
            rich,
            ErrorCarry::Case("gone".to_owned()),
            LinkFailureReason::CalleeDied
        ),
        err(Value::Variant(1, None))
    );
    assert_eq!(
        told(
            "(enum \"no\" \"gone\")",
            ErrorCarry::Case("gone".to_owned()),
            LinkFailureReason::Cycle
        ),
        err(Value::Enum(1))
    );
}

#[test]
fn a_link_that_could_not_tell_a_failure_is_refused_when_it_is_made() {
    let link = LinkedImport {
        interface: "test:peer/peer".to_owned(),
        error_as: Some(ErrorCarry::Text),
    };
    let error = link_error(
        &asker("(enum \"no\")"),
        TemplateSpec {
            links: vec![link],
            ..spec()
        },
    );
    let LinkError::Carry { functions, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(functions[0].function, "ask");
    assert!(error.to_string().contains("not `string`"), "{error}");
}

#[test]
fn a_guest_that_cannot_be_told_ends_with_the_reason() {
    run(async {
        let template = template(&engine(), &asker("(enum \"no\")"), linked("test:peer/peer"));
        let instance = start_with(&template, Scripted::fail(LinkFailureReason::MailboxFull)).await;
        let fault = died(call(&template, instance, "go", ()).await);
        assert_eq!(fault.class, FaultClass::LinkFailed);
        assert_eq!(
            fault.message,
            "linked call to test:peer/peer#ask failed: mailbox-full: it \\u{1b}[31mburned"
        );
    });
}
