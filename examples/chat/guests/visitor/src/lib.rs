//! visitor.wasm: says lines to the room, and waits until they have been published.

#[rustfmt::skip]
mod bindings;

use std::cell::RefCell;

use bindings::airssys::messaging::messages;
use bindings::exports::airssys::actor::init;
use bindings::exports::chat::app::lines;

/// A room that takes longer has forgotten the visitor.
const PATIENCE: u64 = 2_000_000_000;

thread_local! {
    static ROOM: RefCell<String> = RefCell::default();
}

struct Visitor;

impl init::Guest for Visitor {
    fn init(config: Vec<(String, String)>) -> Result<(), String> {
        match config.as_slice() {
            [(key, room)] if key == "room" => {
                ROOM.set(room.clone());
                Ok(())
            }
            _ => Err("`room` is needed, and nothing else: the address to speak to".to_owned()),
        }
    }
}

impl lines::Guest for Visitor {
    fn say(line: String) -> Result<(), String> {
        let room = ROOM.with_borrow(Clone::clone);
        let heard = messages::call(&room, line.as_bytes(), PATIENCE)
            .map_err(|error| format!("the room did not answer: {error}"))?;
        match heard.as_slice() {
            b"0" => Err("nobody heard it".to_owned()),
            count if count.iter().all(u8::is_ascii_digit) => Ok(()),
            why => Err(String::from_utf8_lossy(why).into_owned()),
        }
    }
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Visitor with_types_in bindings);
