//! Guests that lie to the canonical ABI: C1–C3, C5–C7, C12, C13, C16.

use airssys_wasm::{CapabilityManifest, IntoArgs, Limits, Value};
use airssys_wasm_actors::{ChildSpec, Link, LinkRefused, StartError};

use super::{Case, Trail, alone, engine_of, granted, villain};
use crate::guests::{RELAY, WORKER, address, engine, system, template};

/// A guest whose `go` answers with a pointer to `(at, length)`, as `result`; its memory has `pages`, and `head` runs
/// before.
fn answering(result: &str, pages: u32, at: u32, length: u32, head: &str) -> String {
    format!(
        r#"(component
          (core module $m
            (memory (export "memory") {pages})
            (data (i32.const 64) "\ff\fe\c3\28")
            (func (export "fine") (result i32) (i32.const 7))
            (func (export "go") (result i32) (local $n i32)
              {head}
              (i32.store (i32.const 16) (i32.const {at}))
              (i32.store (i32.const 20) (i32.const {length}))
              (i32.const 16)))
          (core instance $i (instantiate $m))
          (func (export "fine") (result u32) (canon lift (core func $i "fine")))
          (func (export "go") (result {result})
            (canon lift (core func $i "go") (memory $i "memory"))))"#
    )
}

#[test]
fn c1_a_string_of_half_a_gigabyte() {
    alone(
        "hostile::abi::c1_a_string_of_half_a_gigabyte",
        64 + 32,
        async {
            // Claimed only, which is outside of memory; and as much as there can be.
            villain(&answering("string", 1, 0, 512 << 20, ""), (), "abi").await;
            let real = answering("string", 1_000, 1_024, 60 << 20, "");
            villain(&real, (), "hostcall-bytes").await;
        },
    );
}

#[test]
fn c2_a_million_empty_strings() {
    alone("hostile::abi::c2_a_million_empty_strings", 64 + 32, async {
        let guest = answering("(list string)", 200, 1_024, 1_000_000, "");
        villain(&guest, (), "hostcall-bytes").await;
    });
}

#[test]
fn c3_a_list_whose_elements_are_all_the_same_megabyte() {
    alone(
        "hostile::abi::c3_a_list_whose_elements_are_all_the_same_megabyte",
        64 + 32,
        async {
            let head = "(loop $next
              (i32.store (i32.add (i32.const 1024) (i32.shl (local.get $n) (i32.const 3))) (i32.const 65536))
              (i32.store offset=4 (i32.add (i32.const 1024) (i32.shl (local.get $n) (i32.const 3)))
                (i32.const 1048576))
              (local.set $n (i32.add (local.get $n) (i32.const 1)))
              (br_if $next (i32.lt_u (local.get $n) (i32.const 4096))))";
            for element in ["(list u8)", "string"] {
                let guest = answering(&format!("(list {element})"), 20, 1_024, 4_096, head);
                villain(&guest, (), "hostcall-bytes").await;
            }
        },
    );
}

#[tokio::test]
async fn c5_pointers_and_lengths_that_are_outside_wrap_or_are_not_aligned() {
    for (result, at, length) in [
        ("string", 65_536, 1),
        ("(list u8)", 65_000, 1_000),
        ("(list u8)", u32::MAX - 15, 32),
        ("(list u64)", 0, 1 << 29),
        ("(list u64)", 1_028, 2),
        ("(list u32)", 1_026, 2),
        ("(list (tuple u8 u32))", 1_025, 1),
    ] {
        villain(&answering(result, 1, at, length, ""), (), "abi").await;
    }
}

#[tokio::test]
async fn c6_text_that_is_none_and_text_that_is_strange() {
    villain(&answering("string", 1, 64, 2, ""), (), "abi").await;
    // A value may be strange; where it is said, it is escaped.
    let guest = r#"(component
      (core module $m
        (memory (export "memory") 1)
        (data (i32.const 64) "a\00b\e2\80\aec\1b[31m\n")
        (func (export "fine") (result i32) (i32.const 7))
        (func (export "go") (param i32 i32) (result i32)
          (i32.store8 (i32.const 16) (i32.const 1))
          (i32.store (i32.const 20) (i32.const 64))
          (i32.store (i32.const 24) (i32.const 13))
          (i32.const 16))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
      (core instance $i (instantiate $m))
      (func $init (param "config" (list (tuple string string))) (result (result (error string)))
        (canon lift (core func $i "go") (memory $i "memory") (realloc (func $i "realloc"))))
      (instance (export "airssys:actor/init") (export "init" (func $init))))"#;
    let engine = engine();
    let system = system(&engine).await;
    let child = ChildSpec::component(address("villain"), template(&engine, guest, &[]));
    let text = system.spawn(child).await.unwrap_err().to_string();
    assert!(!text.contains(['\0', '\u{202e}', '\u{1b}', '\n']), "{text}");
    assert!(text.contains(r"\u{202e}"), "{text}");
}

/// Takes a string, its `realloc` answering `realloc`.
fn taking(realloc: &str) -> String {
    format!(
        r#"(component
          (core module $m
            (memory (export "memory") 1)
            (func (export "fine") (result i32) (i32.const 7))
            (func (export "go") (param i32 i32))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc}))
          (core instance $i (instantiate $m))
          (func (export "fine") (result u32) (canon lift (core func $i "fine")))
          (func (export "go") (param "texts" (list string))
            (canon lift (core func $i "go") (memory $i "memory") (realloc (func $i "realloc")))))"#
    )
}

#[tokio::test]
async fn c7_a_realloc_that_lies() {
    let texts = || vec![Value::from("one"), Value::from("two")];
    for outside in ["(i32.const -8)", "(i32.const 65532)", "(i32.const 2)"] {
        villain(&taking(outside), (texts(),), "abi").await;
    }
    villain(&taking("unreachable"), (texts(),), "unreachable").await;
    // Its own memory is its own to spoil: nothing else happens.
    for inside in ["(i32.const 0)", "(i32.const 1024)"] {
        let nothing = CapabilityManifest::default();
        let case = Case::new(&taking(inside), Limits::default(), &nothing).await;
        case.villain.call("go", (texts(),)).await.unwrap();
        case.over("abi", 0).await;
    }
}

#[tokio::test]
async fn c12_discriminants_and_characters_out_of_range() {
    let guest = |definition: &str, result: &str, flat: &str| {
        format!(
            r#"(component
              (core module $m
                (memory (export "memory") 1)
                (func (export "fine") (result i32) (i32.const 7))
                (func (export "go") (result i32) {flat}))
              (core instance $i (instantiate $m))
              {definition}
              (func (export "fine") (result u32) (canon lift (core func $i "fine")))
              (func (export "go") (result {result})
                (canon lift (core func $i "go") (memory $i "memory"))))"#
        )
    };
    let an_enum = r#"(type $e' (enum "a" "b" "c")) (export $e "e" (type $e'))"#;
    let variant =
        r#"(type $v' (variant (case "a" u32) (case "b" f32))) (export $v "v" (type $v'))"#;
    let written = "(i32.store8 (i32.const 16) (i32.const 2)) (i32.const 16)";
    for (definition, result, flat) in [
        (an_enum, "$e", "(i32.const 3)"),
        (an_enum, "$e", "(i32.const -1)"),
        (variant, "$v", written),
        ("", "(option u32)", written),
        ("", "(result u32 (error u32))", written),
        ("", "char", "(i32.const 0xd800)"),
        ("", "char", "(i32.const 0x110000)"),
    ] {
        villain(&guest(definition, result, flat), (), "abi").await;
    }
    // Bits that name no flag are dropped, as the canonical ABI says.
    let flags = r#"(type $f' (flags "a" "b" "c")) (export $f "f" (type $f'))"#;
    let nothing = CapabilityManifest::default();
    let guest = guest(flags, "$f", "(i32.const -1)");
    let case = Case::new(&guest, Limits::default(), &nothing).await;
    let flags = case.villain.call("go", ()).await.unwrap();
    let named = [0b111_u32].as_slice().into();
    assert_eq!(flags.values(), [Value::Flags(named)]);
    case.over("abi", 0).await;
}

#[tokio::test]
async fn c13_an_error_message_without_end_is_cut() {
    // Its `init` refuses with so many bytes of text.
    let guest = |bytes: u32| {
        format!(
            r#"(component
              (core module $m
                (memory (export "memory") 200)
                (func (export "init") (param i32 i32) (result i32)
                  (memory.fill (i32.const 65536) (i32.const 0x61) (i32.const {bytes}))
                  (i32.store8 (i32.const 16) (i32.const 1))
                  (i32.store (i32.const 20) (i32.const 65536))
                  (i32.store (i32.const 24) (i32.const {bytes}))
                  (i32.const 16))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
              (core instance $i (instantiate $m))
              (func $init (param "config" (list (tuple string string))) (result (result (error string)))
                (canon lift (core func $i "init") (memory $i "memory") (realloc (func $i "realloc"))))
              (instance (export "airssys:actor/init") (export "init" (func $init))))"#
        )
    };
    let trail = Trail::default();
    let engine = engine_of(2, &trail);
    let system = system(&engine).await;
    for (bytes, said) in [(1_000_000, "aaaa"), (10 << 20, "hostcall-bytes")] {
        let nothing = CapabilityManifest::default();
        let villain = granted(&engine, &guest(bytes), Limits::default(), &nothing);
        let child = ChildSpec::component(address("villain"), villain);
        let error = system.spawn(child).await.unwrap_err();
        let text = error.to_string();
        assert!(text.len() < 4_096 + 512, "{}", text.len());
        assert!(text.contains(said), "{text}");
    }
    engine.audit().flush();
    for death in trail.deaths() {
        assert!(death.to_string().len() < 4_096 + 512);
    }
    assert_eq!(engine.instances(), 0);
}

#[tokio::test]
async fn c16_exports_that_are_missing_or_of_another_type_are_refused_by_name() {
    let engine = engine();
    let system = system(&engine).await;
    let spawn = async |name: &str, wat: &str| {
        let child = ChildSpec::component(address(name), template(&engine, wat, &[]));
        system.spawn(child).await.unwrap()
    };
    let without = WORKER.replace(
        r#"(export "work" (func $work)) (export "count""#,
        r#"(export "count""#,
    );
    let mistyped = WORKER.replace(
        r#"(param "n" u32) (result u32)"#,
        r#"(param "n" f32) (result u32)"#,
    );
    let mistyped = mistyped.replace(
        r#"(func (export "work") (param i32)"#,
        r#"(func (export "work") (param f32)"#,
    );
    let mistyped = mistyped.replace(
        "(i32.add (local.get 0) (i32.const 1)))\n    (func (export \"count\")",
        "(i32.const 1))\n    (func (export \"count\")",
    );
    spawn("without", &without).await;
    spawn("mistyped", &mistyped).await;
    // More than is asked for harms nobody.
    spawn("more", WORKER).await;
    let relay = template(&engine, RELAY, &["test:t/work"]);
    let relay = |to: &str| {
        let link = Link::new("test:t/work", address(to));
        ChildSpec::component(address("relay"), relay.clone()).link(link)
    };
    for to in ["without", "mistyped"] {
        match system.spawn(relay(to)).await {
            Err(StartError::Link(why @ LinkRefused::Mismatch { .. })) => {
                assert!(why.to_string().contains("work"), "{why}");
            }
            other => panic!("{to}: {other:?}"),
        }
        assert!(system.whereis(&address("relay")).is_none());
    }
    let relay = system.spawn(relay("more")).await.unwrap();
    let answer = relay.call("work", (1_u32,)).await.unwrap();
    assert_eq!(answer, (2_u32,).into_args());
}
