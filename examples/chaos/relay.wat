;; Imports and exports `test:t/order`: passes on, and answers `ok(0)` if that failed.
(component
  (import "test:t/order" (instance $next
    (export "put" (func (param "sender" u32) (param "sequence" u32) (result (result u32 (error string)))))))
  (core module $libc
    (memory (export "memory") 2)
    ;; Every string lands at the same place: none is kept.
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $libc (instantiate $libc))
  (core func $next (canon lower (func $next "put")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core module $m
    (import "libc" "memory" (memory 2))
    (import "next" "put" (func $next (param i32 i32 i32)))
    (func (export "put") (param i32 i32) (result i32)
      (call $next (local.get 0) (local.get 1) (i32.const 32))
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20)
        (select (i32.const 0) (i32.load (i32.const 36)) (i32.load8_u (i32.const 32))))
      (i32.const 16)))
  (core instance $i (instantiate $m
    (with "libc" (instance $libc))
    (with "next" (instance (export "put" (func $next))))))
  (func $put (param "sender" u32) (param "sequence" u32) (result (result u32 (error string)))
    (canon lift (core func $i "put") (memory $libc "memory")))
  (instance (export "test:t/order") (export "put" (func $put))))
