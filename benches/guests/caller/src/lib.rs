//! caller.wasm: calls what it is linked to, and does nothing else. What it takes is what the link costs.

#[rustfmt::skip]
mod bindings;

use bindings::bench::guests::{echo::echo, math::add};
use bindings::exports::bench::guests::drive::Guest;

struct Caller;

impl Guest for Caller {
    fn ask(a: u32, b: u32) -> u32 {
        add(a, b)
    }

    fn ask_many(n: u32) -> u64 {
        (0..n).map(|number| u64::from(add(number, 1))).sum()
    }

    fn echo_through(payload: Vec<u8>) -> u64 {
        echo(&payload).len() as u64
    }

    fn echo_many(bytes: u32, n: u32) -> u64 {
        let payload = vec![0x5a; usize::try_from(bytes).unwrap_or(0)];
        (0..n).map(|_| echo(&payload).len() as u64).sum()
    }
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Caller with_types_in bindings);
