//! Guests that misuse handles: D1, D2, D4–D7. (D4 and D7 between actors are in `resources.rs`.)

use airssys_wasm::{CapabilityManifest, ComponentRef, Limits};

use super::{Case, DEATHS, alone, villain};
use crate::guests::engine;

/// Makes handles of a resource of its own for ever.
const MAKER: &str = r#"(component
  (type $r (resource (rep i32)))
  (core func $new (canon resource.new $r))
  (core module $m
    (import "h" "new" (func $new (param i32) (result i32)))
    (func (export "fine") (result i32) (i32.const 7))
    (func (export "go") (loop (drop (call $new (i32.const 1))) (br 0))))
  (core instance $i (instantiate $m (with "h" (instance (export "new" (func $new))))))
  (func (export "fine") (result u32) (canon lift (core func $i "fine")))
  (func (export "go") (canon lift (core func $i "go"))))"#;

#[test]
fn d1_handles_without_end() {
    alone("hostile::handles::d1_handles_without_end", 64 + 32, async {
        villain(MAKER, (), "handles").await;
    });
}

/// `parts` sub-components, each with a table of handles of its own, which `go` of another fills one after the other.
fn parts(parts: usize, each: u32) -> String {
    let mut instances = String::new();
    let mut given = String::new();
    let mut imports = String::new();
    let mut exports = String::new();
    let mut lowered = String::new();
    let mut calls = String::new();
    for part in 0..parts {
        instances += &format!("(instance $p{part} (instantiate $part))\n");
        given += &format!("(with \"f{part}\" (func $p{part} \"fill\"))\n");
        imports += &format!(
            "(import \"f{part}\" (func $f{part})) (core func $f{part} (canon lower (func $f{part})))\n"
        );
        exports += &format!("(export \"f{part}\" (func $f{part}))\n");
        lowered += &format!("(import \"h\" \"f{part}\" (func $f{part}))\n");
        calls += &format!("(call $f{part})\n");
    }
    format!(
        r#"(component
          (component $part
            (type $r (resource (rep i32)))
            (core func $new (canon resource.new $r))
            (core module $m
              (import "h" "new" (func $new (param i32) (result i32)))
              (func (export "fill") (local $n i32)
                (loop $next
                  (drop (call $new (i32.const 1)))
                  (local.set $n (i32.add (local.get $n) (i32.const 1)))
                  (br_if $next (i32.lt_u (local.get $n) (i32.const {each}))))))
            (core instance $i (instantiate $m (with "h" (instance (export "new" (func $new))))))
            (func (export "fill") (canon lift (core func $i "fill"))))
          (component $filler
            {imports}
            (core module $m
              {lowered}
              (func (export "fine") (result i32) (i32.const 7))
              (func (export "go") {calls}))
            (core instance $i (instantiate $m (with "h" (instance {exports}))))
            (func (export "fine") (result u32) (canon lift (core func $i "fine")))
            (func (export "go") (canon lift (core func $i "go"))))
          {instances}
          (instance $filler (instantiate $filler {given}))
          (export "fine" (func $filler "fine"))
          (export "go" (func $filler "go")))"#
    )
}

#[tokio::test]
async fn d2_handles_over_many_sub_instances_share_one_limit() {
    // Each stays far below the limit of 4,096; all together do not.
    villain(&parts(12, 500), (), "handles").await;
    let nothing = CapabilityManifest::default();
    let case = Case::new(&parts(12, 300), Limits::default(), &nothing).await;
    case.villain.call("go", ()).await.unwrap();
    case.over("handles", 0).await;
    // A hundred are more than a component may have: it is not even loaded.
    let bytes = wat::parse_str(parts(100, 1)).unwrap();
    let loaded = engine().load(&ComponentRef::Bytes(bytes.into()));
    let why = loaded.unwrap_err().to_string();
    assert!(why.contains("core module instances"), "{why}");
}

/// Drops what it does not have: `then` runs after a handle of its own, 1, was made.
fn dropping(then: &str) -> String {
    format!(
        r#"(component
          (type $r (resource (rep i32)))
          (core func $new (canon resource.new $r))
          (core func $drop (canon resource.drop $r))
          (core func $rep (canon resource.rep $r))
          (core module $m
            (import "h" "new" (func $new (param i32) (result i32)))
            (import "h" "drop" (func $drop (param i32)))
            (import "h" "rep" (func $rep (param i32) (result i32)))
            (func (export "fine") (result i32) (i32.const 7))
            (func (export "go") (local $own i32)
              (local.set $own (call $new (i32.const 1)))
              {then}))
          (core instance $i (instantiate $m (with "h" (instance
            (export "new" (func $new)) (export "drop" (func $drop)) (export "rep" (func $rep))))))
          (func (export "fine") (result u32) (canon lift (core func $i "fine")))
          (func (export "go") (canon lift (core func $i "go"))))"#
    )
}

#[tokio::test]
async fn d4_handles_that_are_spent_forged_or_never_were() {
    let own = "(call $drop (local.get $own))";
    let again = format!("{own} {own}");
    let used = format!("{own} (drop (call $rep (local.get $own)))");
    villain(&dropping(&again), (), "abi").await;
    villain(&dropping(&used), (), "abi").await;
    for forged in ["0", "2", "77", "0x80000000", "-1"] {
        let drop = format!("(call $drop (i32.const {forged}))");
        villain(&dropping(&drop), (), "abi").await;
        let rep = format!("(drop (call $rep (i32.const {forged})))");
        villain(&dropping(&rep), (), "abi").await;
    }
}

/// Opens pollables; `body` of `go` has `$subscribe`, `$drop` and `$poll` at hand.
fn polling(body: &str) -> String {
    format!(
        r#"(component
          (import "wasi:io/poll@0.2.0" (instance $poll
            (export "pollable" (type $p (sub resource)))
            (export "[method]pollable.ready" (func (param "self" (borrow $p)) (result bool)))))
          (alias export $poll "pollable" (type $p))
          (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
            (alias outer 1 $p (type $p1)) (export "pollable" (type $p2 (eq $p1)))
            (export "subscribe-duration" (func (param "when" u64) (result (own $p2))))))
          (core func $subscribe (canon lower (func $clock "subscribe-duration")))
          (core func $ready (canon lower (func $poll "[method]pollable.ready")))
          (core func $drop (canon resource.drop $p))
          (core module $m
            (import "h" "subscribe" (func $subscribe (param i64) (result i32)))
            (import "h" "ready" (func $ready (param i32) (result i32)))
            (import "h" "drop" (func $drop (param i32)))
            (func (export "fine") (result i32) (i32.const 7))
            (func (export "go") (local $n i32) (local $h i32) {body}))
          (core instance $i (instantiate $m (with "h" (instance
            (export "subscribe" (func $subscribe)) (export "ready" (func $ready))
            (export "drop" (func $drop))))))
          (func (export "fine") (result u32) (canon lift (core func $i "fine")))
          (func (export "go") (canon lift (core func $i "go"))))"#
    )
}

fn clocks() -> CapabilityManifest {
    CapabilityManifest {
        clocks: true,
        ..CapabilityManifest::default()
    }
}

#[test]
fn d5_pollables_without_end() {
    alone(
        "hostile::handles::d5_pollables_without_end",
        64 + 32,
        async {
            let guest = polling("(loop (drop (call $subscribe (i64.const -1))) (br 0))");
            let mut case = Case::new(&guest, Limits::default(), &clocks()).await;
            case.dies("go", (), "resources").await;
            case.over("resources", usize::try_from(DEATHS).unwrap())
                .await;
        },
    );
}

/// A stream, and a pollable that is its child.
fn parent_and_child(body: &str) -> String {
    format!(
        r#"(component
          (import "wasi:io/poll@0.2.0" (instance $poll
            (export "pollable" (type $p (sub resource)))
            (export "[method]pollable.ready" (func (param "self" (borrow $p)) (result bool)))))
          (alias export $poll "pollable" (type $p))
          (import "wasi:io/streams@0.2.0" (instance $streams
            (alias outer 1 $p (type $p1)) (export "pollable" (type $p2 (eq $p1)))
            (export "output-stream" (type $os (sub resource)))
            (export "[method]output-stream.subscribe"
              (func (param "self" (borrow $os)) (result (own $p2))))))
          (alias export $streams "output-stream" (type $os))
          (import "wasi:cli/stdout@0.2.0" (instance $stdout
            (alias outer 1 $os (type $os1)) (export "output-stream" (type $os2 (eq $os1)))
            (export "get-stdout" (func (result (own $os2))))))
          (core func $get (canon lower (func $stdout "get-stdout")))
          (core func $subscribe (canon lower (func $streams "[method]output-stream.subscribe")))
          (core func $ready (canon lower (func $poll "[method]pollable.ready")))
          (core func $drop-stream (canon resource.drop $os))
          (core func $drop-pollable (canon resource.drop $p))
          (core module $m
            (import "h" "get" (func $get (result i32)))
            (import "h" "subscribe" (func $subscribe (param i32) (result i32)))
            (import "h" "ready" (func $ready (param i32) (result i32)))
            (import "h" "drop-stream" (func $drop-stream (param i32)))
            (import "h" "drop-pollable" (func $drop-pollable (param i32)))
            (func (export "fine") (result i32) (i32.const 7))
            (func (export "go") (local $parent i32) (local $child i32)
              (local.set $parent (call $get))
              (local.set $child (call $subscribe (local.get $parent)))
              {body}))
          (core instance $i (instantiate $m (with "h" (instance
            (export "get" (func $get)) (export "subscribe" (func $subscribe))
            (export "ready" (func $ready))
            (export "drop-stream" (func $drop-stream)) (export "drop-pollable" (func $drop-pollable))))))
          (func (export "fine") (result u32) (canon lift (core func $i "fine")))
          (func (export "go") (canon lift (core func $i "go"))))"#
    )
}

#[tokio::test]
async fn d6_a_parent_dropped_before_its_child() {
    let asked = CapabilityManifest::default();
    // In order, and leaked: nothing happens.
    for body in [
        "(call $drop-pollable (local.get $child)) (call $drop-stream (local.get $parent))",
        "(drop (call $ready (local.get $child)))",
    ] {
        let case = Case::new(&parent_and_child(body), Limits::default(), &asked).await;
        case.villain.call("go", ()).await.unwrap();
        case.over("abi", 0).await;
    }
    let body = "(call $drop-stream (local.get $parent))
       (drop (call $ready (local.get $child)))
       (call $drop-pollable (local.get $child))";
    let mut case = Case::new(&parent_and_child(body), Limits::default(), &asked).await;
    case.dies("go", (), "abi").await;
    case.over("abi", usize::try_from(DEATHS).unwrap()).await;
}

#[tokio::test]
async fn d7_what_is_leaked_ends_with_the_instance() {
    // Hundreds of pollables, and then it ends; again and again, in the same slot of the pool.
    let guest = polling(
        "(loop $next
           (drop (call $subscribe (i64.const -1)))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $next (i32.lt_u (local.get $n) (i32.const 500))))
         unreachable",
    );
    let mut case = Case::new(&guest, Limits::default(), &clocks()).await;
    for _ in 0..3 {
        case.dies("go", (), "unreachable").await;
    }
    let deaths = usize::try_from(3 * DEATHS).unwrap();
    case.over("unreachable", deaths).await;
}
