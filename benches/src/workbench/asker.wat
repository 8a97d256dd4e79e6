;; Times each ask by itself, in the guest's own loop: it reads the clock before the first and after every one.
;; Written by hand, so that between two readings of the clock there is nothing but the ask.
(component
  (import "bench:guests/math@0.1.0" (instance $math
    (export "add" (func (param "a" u32) (param "b" u32) (result u32)))))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (export "now" (func (result u64)))))
  (core func $add (canon lower (func $math "add")))
  (core func $now (canon lower (func $clock "now")))
  (core module $asker
    (import "host" "add" (func $add (param i32 i32) (result i32)))
    (import "host" "now" (func $now (result i64)))
    (memory (export "memory") 1)
    ;; Readings are written from byte 8 on; before them lie the pointer and the length of the list that is
    ;; returned. More than the page holds is a trap.
    (func (export "ask-timed") (param $n i32) (result i32)
      (local $asked i32)
      (i64.store (i32.const 8) (call $now))
      (block $done
        (loop $next
          (br_if $done (i32.ge_u (local.get $asked) (local.get $n)))
          ;; asked + 1, or it was not an answer
          (if (i32.ne
                (call $add (local.get $asked) (i32.const 1))
                (i32.add (local.get $asked) (i32.const 1)))
            (then unreachable))
          (local.set $asked (i32.add (local.get $asked) (i32.const 1)))
          (i64.store
            (i32.add (i32.const 8) (i32.mul (local.get $asked) (i32.const 8)))
            (call $now))
          (br $next)))
      (i32.store (i32.const 0) (i32.const 8))
      (i32.store (i32.const 4) (i32.add (local.get $n) (i32.const 1)))
      (i32.const 0)))
  (core instance $made (instantiate $asker
    (with "host" (instance
      (export "add" (func $add))
      (export "now" (func $now))))))
  (alias core export $made "memory" (core memory $memory))
  (func (export "ask-timed") (param "n" u32) (result (list u64))
    (canon lift (core func $made "ask-timed") (memory $memory))))
