//! adder.wasm: adds, echoes, and misbehaves on demand. Imports nothing.

#[rustfmt::skip]
mod bindings;

use std::cell::RefCell;

use bindings::exports::bench::guests::{echo, fault, math};

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

struct Adder;

impl math::Guest for Adder {
    fn add(a: u32, b: u32) -> u32 {
        a.wrapping_add(b)
    }
}

impl echo::Guest for Adder {
    fn echo(payload: Vec<u8>) -> Vec<u8> {
        payload
    }

    fn text(s: String) -> String {
        s
    }
}

impl fault::Guest for Adder {
    fn trap() {
        std::process::abort();
    }

    fn spin() {
        loop {
            std::hint::spin_loop();
        }
    }

    fn grow(bytes: u64) -> u64 {
        let mut block = Vec::new();
        let reserved =
            usize::try_from(bytes).is_ok_and(|bytes| block.try_reserve_exact(bytes).is_ok());
        if !reserved {
            std::process::abort();
        }
        // Written, so that the host's pages are taken too.
        block.resize(block.capacity(), 1);
        KEPT.with_borrow_mut(|kept| {
            kept.push(block);
            kept.iter().map(|block| block.len() as u64).sum()
        })
    }
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Adder with_types_in bindings);
