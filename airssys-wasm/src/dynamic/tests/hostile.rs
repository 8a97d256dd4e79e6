//! Guests that break the canonical ABI on purpose: an error each time, never a panic, never more than the budget.

use super::super::AbiViolation;
use super::{Guest, Running};
use crate::args::IntoArgs;
use crate::value::Value;
use wasmtime::Engine;

/// Functions that return exactly the slots they are given, as whatever type they claim, and a realloc that answers
/// what it was told to.
const LIAR: &str = r#"
(component
  (import "test:abi/host" (instance $host
    (export "text" (func (param "x" string) (result string)))
    (export "words" (func (param "x" (list u64)) (result (list u64))))
    (export "letter" (func (param "x" char) (result char)))))
  (core module $libc
    (memory (export "memory") 32)
    (data (i32.const 256) "\ff\fe bad \c3\28")
    (data (i32.const 288) "a\00b\e2\80\aec")
    (global $answer (mut i32) (i32.const 4096))
    (func (export "answer") (param i32) (global.set $answer (local.get 0)))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (global.get $answer)))
  (core instance $libc (instantiate $libc))
  (core func $text (canon lower (func $host "text") (memory $libc "memory") (realloc (core func $libc "realloc"))))
  (core func $words (canon lower (func $host "words") (memory $libc "memory") (realloc (core func $libc "realloc"))))
  (core func $letter (canon lower (func $host "letter")))
  (core module $m
    (import "libc" "memory" (memory 1))
    (import "host" "text" (func $text (param i32 i32 i32)))
    (import "host" "words" (func $words (param i32 i32 i32)))
    (import "host" "letter" (func $letter (param i32) (result i32)))
    (func $pair (param i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 0)) (i32.store (i32.const 20) (local.get 1)) (i32.const 16))
    (func (export "pair") (param i32 i32) (result i32) (call $pair (local.get 0) (local.get 1)))
    (func (export "one") (param i32) (result i32) local.get 0)
    (func (export "case") (param i32) (result i32)
      (i32.store (i32.const 16) (local.get 0)) (i32.const 16))
    (func (export "take") (param i32 i32))
    (func (export "send-text") (param i32 i32) (call $text (local.get 0) (local.get 1) (i32.const 32)))
    (func (export "send-words") (param i32 i32) (call $words (local.get 0) (local.get 1) (i32.const 32)))
    (func (export "send-words-to") (param i32 i32 i32)
      (call $words (local.get 0) (local.get 1) (local.get 2)))
    (func (export "send-letter") (param i32) (drop (call $letter (local.get 0))))
    ;; `count` elements at 65536, each a list of `length` bytes at 262144
    (func (export "alias") (param $count i32) (param $length i32) (result i32)
      (local $n i32)
      (loop $next
        (i32.store (i32.add (i32.const 65536) (i32.shl (local.get $n) (i32.const 3))) (i32.const 262144))
        (i32.store offset=4 (i32.add (i32.const 65536) (i32.shl (local.get $n) (i32.const 3))) (local.get $length))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $n) (local.get $count))))
      (call $pair (i32.const 65536) (local.get $count))))
  (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "host" (instance
    (export "text" (func $text)) (export "words" (func $words)) (export "letter" (func $letter))))))
  (type $e' (enum "a" "b" "c")) (export $e "e" (type $e'))
  (type $f' (flags "a" "b" "c")) (export $f "f" (type $f'))
  (type $v' (variant (case "a" u32) (case "b" f32))) (export $v "v" (type $v'))
  (func (export "text") (param "p" u32) (param "n" u32) (result string)
    (canon lift (core func $i "pair") (memory $libc "memory")))
  (func (export "octets") (param "p" u32) (param "n" u32) (result (list u8))
    (canon lift (core func $i "pair") (memory $libc "memory")))
  (func (export "words") (param "p" u32) (param "n" u32) (result (list u64))
    (canon lift (core func $i "pair") (memory $libc "memory")))
  (func (export "at") (param "p" u32) (result (tuple u64 u32))
    (canon lift (core func $i "one") (memory $libc "memory")))
  (func (export "letter") (param "c" u32) (result char) (canon lift (core func $i "one")))
  (func (export "enum") (param "c" u32) (result $e) (canon lift (core func $i "one")))
  (func (export "flags") (param "c" u32) (result $f) (canon lift (core func $i "one")))
  (func (export "flag") (param "c" u32) (result bool) (canon lift (core func $i "one")))
  (func (export "variant") (param "c" u32) (result $v)
    (canon lift (core func $i "case") (memory $libc "memory")))
  (func (export "optional") (param "c" u32) (result (option u64))
    (canon lift (core func $i "case") (memory $libc "memory")))
  (func (export "outcome") (param "c" u32) (result (result u32))
    (canon lift (core func $i "case") (memory $libc "memory")))
  (func (export "alias") (param "count" u32) (param "length" u32) (result (list (list u8)))
    (canon lift (core func $i "alias") (memory $libc "memory")))
  (func (export "alias-text") (param "count" u32) (param "length" u32) (result (list string))
    (canon lift (core func $i "alias") (memory $libc "memory")))
  (func (export "answer") (param "p" u32) (canon lift (core func $libc "answer")))
  (func (export "take-text") (param "x" string)
    (canon lift (core func $i "take") (memory $libc "memory") (realloc (core func $libc "realloc"))))
  (func (export "take-words") (param "x" (list u64))
    (canon lift (core func $i "take") (memory $libc "memory") (realloc (core func $libc "realloc"))))
  (func (export "send-text") (param "p" u32) (param "n" u32) (canon lift (core func $i "send-text")))
  (func (export "send-words") (param "p" u32) (param "n" u32) (canon lift (core func $i "send-words")))
  (func (export "send-words-to") (param "p" u32) (param "n" u32) (param "r" u32)
    (canon lift (core func $i "send-words-to")))
  (func (export "send-letter") (param "c" u32) (canon lift (core func $i "send-letter"))))
"#;

const MEMORY: u32 = 32 * 65_536;

fn liar() -> Guest {
    Guest::new(&Engine::default(), LIAR)
}

/// Calls in a fresh instance, which an error would have spoiled for the next call.
async fn call(guest: &Guest, path: &str, args: impl IntoArgs) -> wasmtime::Result<Value> {
    let mut running = guest.start().await;
    first(&mut running, path, args).await
}

async fn first(
    running: &mut Running<'_>,
    path: &str,
    args: impl IntoArgs,
) -> wasmtime::Result<Value> {
    let results = running.call(path, args.into_args()).await?;
    Ok(results.into_values().next().unwrap_or(Value::Option(None)))
}

#[tokio::test]
async fn pointers_and_lengths_out_of_bounds_or_wrapping_are_refused() {
    let guest = liar();
    for path in ["text", "octets", "words", "send-text", "send-words"] {
        for (pointer, length) in [
            (MEMORY, 1),
            (MEMORY - 8, 9),
            (!7, 8),
            (0, u32::MAX),
            (8, u32::MAX),
            (!7, u32::MAX),
            (1 << 31, 1 << 31),
            (16, 0x2000_0000),
        ] {
            let error = call(&guest, path, (pointer, length)).await.unwrap_err();
            assert!(
                format!("{error:?}").contains("out of bounds"),
                "{path}({pointer:#x}, {length:#x}): {error:?}"
            );
        }
        // Empty ones at the very end are fine, and one byte past it is not.
        call(&guest, path, (MEMORY, 0u32)).await.unwrap();
        call(&guest, path, (MEMORY + 8, 0u32)).await.unwrap_err();
    }
}

#[tokio::test]
async fn unaligned_pointers_are_refused() {
    let guest = liar();
    for (path, args) in [
        ("words", (1u32, 1u32)),
        ("send-words", (12, 1)),
        ("words", (4, 0)),
    ] {
        let error = call(&guest, path, args).await.unwrap_err();
        assert!(
            matches!(
                error.downcast_ref(),
                Some(AbiViolation::Unaligned { align: 8, .. })
            ),
            "{path}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_result_pointer_is_checked_like_any_other() {
    let guest = liar();
    for pointer in [1, 4, MEMORY, MEMORY - 8, u32::MAX, !7] {
        let error = call(&guest, "at", (pointer,)).await.unwrap_err();
        assert!(
            error.downcast_ref::<AbiViolation>().is_some(),
            "{pointer:#x}: {error:?}"
        );
    }
    call(&guest, "at", (MEMORY - 16,)).await.unwrap();
    for pointer in [1, MEMORY, !7] {
        call(&guest, "send-words-to", (0u32, 0u32, pointer))
            .await
            .unwrap_err();
    }
}

#[tokio::test]
async fn text_must_be_utf8_but_may_be_strange() {
    let guest = liar();
    for path in ["text", "send-text"] {
        let error = call(&guest, path, (256u32, 9u32)).await.unwrap_err();
        assert!(format!("{error:?}").contains("utf-8"), "{error:?}");
    }
    // NULs and bidi controls are legal text; whoever prints it escapes it.
    let text = call(&guest, "text", (288u32, 7u32)).await.unwrap();
    assert_eq!(text, Value::from("a\0b\u{202e}c"));
}

#[tokio::test]
async fn characters_discriminants_and_flags_out_of_range() {
    let guest = liar();
    for code in [0xd800, 0xdfff, 0x11_0000, u32::MAX] {
        for path in ["letter", "send-letter"] {
            let error = call(&guest, path, (code,)).await.unwrap_err();
            assert_eq!(
                error.downcast_ref(),
                Some(&AbiViolation::Char(code)),
                "{error:?}"
            );
        }
    }
    assert_eq!(
        call(&guest, "letter", (0xd7ffu32,)).await.unwrap(),
        Value::Char('\u{d7ff}')
    );
    for (path, bad) in [
        ("enum", 3u32),
        ("enum", u32::MAX),
        ("variant", 2),
        ("variant", 0xff),
        ("optional", 2),
        ("outcome", 0x80),
    ] {
        let error = call(&guest, path, (bad,)).await.unwrap_err();
        assert!(
            matches!(
                error.downcast_ref(),
                Some(AbiViolation::Discriminant { .. })
            ),
            "{path}: {error:?}"
        );
    }
    assert_eq!(call(&guest, "enum", (2u32,)).await.unwrap(), Value::Enum(2));
    // The canonical ABI ignores undefined flags, and takes any nonzero bool for true.
    let flags = call(&guest, "flags", (u32::MAX,)).await.unwrap();
    assert_eq!(flags, Value::Flags([0b111].as_slice().into()));
    assert_eq!(
        call(&guest, "flag", (0x100u32,)).await.unwrap(),
        Value::Bool(true)
    );
}

#[tokio::test]
async fn a_lying_realloc_costs_the_call() {
    let guest = liar();
    for (answer, works) in [
        (0u32, true),
        (4096, true),
        (MEMORY - 4, false),
        (MEMORY, false),
        (u32::MAX, false),
    ] {
        let mut running = guest.start().await;
        first(&mut running, "answer", (answer,)).await.unwrap();
        let text = first(&mut running, "take-text", ("five!",)).await;
        assert_eq!(text.is_ok(), works, "{answer:#x}: {text:?}");
    }
    // Unaligned for u64, and the same place twice: the first is refused, the second is the guest's own loss.
    let words = || vec![Value::U64(1), Value::U64(2)];
    let mut running = guest.start().await;
    first(&mut running, "answer", (4097u32,)).await.unwrap();
    first(&mut running, "take-words", (words(),))
        .await
        .unwrap_err();
    let mut running = guest.start().await;
    first(&mut running, "take-words", (words(),)).await.unwrap();
    first(&mut running, "take-words", (words(),)).await.unwrap();
    // Also where a reply is lowered into a guest that called out.
    let mut running = guest.start().await;
    first(&mut running, "answer", (MEMORY,)).await.unwrap();
    first(&mut running, "send-text", (288u32, 3u32))
        .await
        .unwrap_err();
}

#[tokio::test]
async fn what_a_guest_makes_the_host_copy_is_bounded() {
    /// HOSTILE's default: host bytes lifted in one call.
    const BUDGET: usize = 1 << 20;
    let guest = liar();
    let limited = async |path: &str, count: u32, length: u32| {
        let mut running = guest.start().await;
        running.store.set_hostcall_fuel(BUDGET);
        first(&mut running, path, (count, length)).await
    };
    let exhausted = |result: wasmtime::Result<Value>| {
        let error = result.unwrap_err();
        assert!(
            format!("{error:?}").contains("fuel allocated for hostcalls"),
            "{error:?}"
        );
    };
    // One MiB in one piece, and in 16 pieces that are all the same 64 KiB.
    limited("octets", 0, (1 << 20) - 64).await.unwrap();
    exhausted(limited("octets", 0, (1 << 20) + 1).await);
    for path in ["alias", "alias-text"] {
        limited(path, 15, 65_536).await.unwrap();
        exhausted(limited(path, 17, 65_536).await);
        // Elements without a byte cost what they take on the host.
        limited(path, 20_000, 0).await.unwrap();
        exhausted(limited(path, 30_000, 0).await);
    }
    exhausted(limited("words", 0, 30_000).await);
    exhausted(limited("send-words", 0, 30_000).await);
}
