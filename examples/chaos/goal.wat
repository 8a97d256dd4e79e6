;; Exports `test:t/order`: `put(sender, sequence) -> ok(sequence)`; traps if the sequence has not grown for this sender
;; since the instance began.
(component
  (core module $m
    (memory (export "memory") 1)
    (func (export "put") (param $sender i32) (param $sequence i32) (result i32)
      (local $at i32)
      (local.set $at (i32.add (i32.const 1024) (i32.shl (local.get $sender) (i32.const 2))))
      (if (i32.le_u (local.get $sequence) (i32.load (local.get $at))) (then unreachable))
      (i32.store (local.get $at) (local.get $sequence))
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (local.get $sequence))
      (i32.const 16)))
  (core instance $i (instantiate $m))
  (func $put (param "sender" u32) (param "sequence" u32) (result (result u32 (error string)))
    (canon lift (core func $i "put") (memory $i "memory")))
  (instance (export "test:t/order") (export "put" (func $put))))
