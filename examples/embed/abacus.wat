;; A component with one import and one interface: it squares, posts to a ledger, and can fail.
(component
  (import "embed:demo/ledger@0.1.0" (instance $ledger
    (export "add" (func (param "n" u32) (result u32)))))
  (core func $add (canon lower (func $ledger "add")))

  (core module $code
    (import "ledger" "add" (func $add (param i32) (result i32)))
    (func (export "square") (param $n i32) (result i32)
      (i32.mul (local.get $n) (local.get $n)))
    (func (export "post") (param $n i32) (result i32)
      (call $add (local.get $n)))
    (func (export "fail") unreachable))
  (core instance $run (instantiate $code
    (with "ledger" (instance (export "add" (func $add))))))

  (func $square (param "n" u32) (result u32) (canon lift (core func $run "square")))
  (func $post (param "n" u32) (result u32) (canon lift (core func $run "post")))
  (func $fail (canon lift (core func $run "fail")))
  (instance (export "embed:demo/abacus@0.1.0")
    (export "square" (func $square))
    (export "post" (func $post))
    (export "fail" (func $fail))))
