;; A stage of a pipeline: what it is asked, it asks the next one.
(component
  (import "bench:guests/math@0.1.0" (instance $next
    (export "add" (func (param "a" u32) (param "b" u32) (result u32)))))
  (core func $add (canon lower (func $next "add")))
  (core module $relay
    (import "next" "add" (func $add (param i32 i32) (result i32)))
    (func (export "add") (param $a i32) (param $b i32) (result i32)
      (call $add (local.get $a) (local.get $b))))
  (core instance $made (instantiate $relay
    (with "next" (instance (export "add" (func $add))))))
  (func $relayed (param "a" u32) (param "b" u32) (result u32)
    (canon lift (core func $made "add")))
  (instance (export "bench:guests/math@0.1.0")
    (export "add" (func $relayed))))
