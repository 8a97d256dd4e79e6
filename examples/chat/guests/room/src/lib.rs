//! room.wasm: collects lines, publishes them together, and answers those who said them.
//!
//! A line is not answered when it comes: the room keeps the call, sets a timer if none runs, and goes on. When the timer
//! sends its message, everything collected is published under the room's topic and each call is answered. Whoever
//! speaks therefore waits for one round, however many speak in it.

#[rustfmt::skip]
mod bindings;

use std::cell::RefCell;

use bindings::airssys::messaging::{messages, timers, topics};
use bindings::exports::airssys::actor::init;
use bindings::exports::airssys::messaging::handler::{self, Message, Outcome};

/// What the timer sends. A line always has a `:`, so that nobody can say it.
const ROUND: &[u8] = b"round";
const MILLISECOND: u64 = 1_000_000;

#[derive(Default)]
struct Room {
    own_address: String,
    topic: String,
    round_ms: u64,
    /// The call to be answered, if the speaker waits, and the line.
    collected: Vec<(Option<u64>, Vec<u8>)>,
}

thread_local! {
    // An instance has one thread, and is not entered while it runs.
    static ROOM: RefCell<Room> = RefCell::default();
}

struct Component;

impl init::Guest for Component {
    fn init(config: Vec<(String, String)>) -> Result<(), String> {
        let own_address = messages::self_().map_err(|error| format!("no address: {error}"))?;
        ROOM.with_borrow_mut(|room| {
            room.own_address = own_address;
            room.round_ms = 2;
            for (key, value) in config {
                match key.as_str() {
                    "topic" => room.topic = value,
                    "round-ms" => {
                        let wrong = || format!("`round-ms` is no number: {value:?}");
                        room.round_ms = value.parse().map_err(|_| wrong())?;
                    }
                    other => return Err(format!("unknown key `{other}`")),
                }
            }
            Ok(())
        })
    }
}

impl handler::Guest for Component {
    fn handle_message(message: Message) -> Result<Outcome, String> {
        let mine = |room: &Room| message.sender.as_deref() == Some(room.own_address.as_str());
        if message.payload == ROUND && ROOM.with_borrow(mine) {
            return publish();
        }
        if !message.payload.contains(&b':') {
            return Err("a line is `name: words`".to_owned());
        }
        let first = ROOM.with_borrow_mut(|room| {
            room.collected.push((message.call, message.payload));
            (room.collected.len() == 1).then_some(room.round_ms)
        });
        if let Some(round_ms) = first {
            timers::send_after(round_ms.saturating_mul(MILLISECOND), ROUND)
                .map_err(|error| format!("no timer: {error}"))?;
        }
        Ok(match message.call {
            Some(_) => Outcome::Later,
            None => Outcome::NoReply,
        })
    }
}

/// One round: everything collected, and one empty publication that says it is over.
fn publish() -> Result<Outcome, String> {
    let (topic, collected) =
        ROOM.with_borrow_mut(|room| (room.topic.clone(), std::mem::take(&mut room.collected)));
    for (call, line) in collected {
        let sent = topics::publish(&format!("{topic}/said"), &line);
        let Some(call) = call else { continue };
        let answer = match sent {
            Ok(report) => report.sent.to_string(),
            Err(error) => format!("not published: {error}"),
        };
        // The speaker may have left.
        let _ = messages::reply(call, answer.as_bytes());
    }
    topics::publish(&format!("{topic}/round"), &[])
        .map(|_| Outcome::NoReply)
        .map_err(|error| format!("not published: {error}"))
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Component with_types_in bindings);
