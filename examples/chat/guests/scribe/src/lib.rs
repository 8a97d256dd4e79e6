//! scribe.wasm: listens to every room and counts who said how much.

#[rustfmt::skip]
mod bindings;

use std::cell::RefCell;
use std::collections::BTreeMap;

use bindings::airssys::messaging::topics;
use bindings::exports::airssys::actor::init;
use bindings::exports::airssys::messaging::handler::{self, Message, Outcome};
use bindings::exports::chat::app::minutes::{self, Row, Sums};

#[derive(Default)]
struct Minutes {
    /// Lines and words of each speaker.
    speakers: BTreeMap<String, (u32, u32)>,
    rounds: u32,
}

thread_local! {
    static MINUTES: RefCell<Minutes> = RefCell::default();
}

struct Scribe;

impl init::Guest for Scribe {
    fn init(_config: Vec<(String, String)>) -> Result<(), String> {
        topics::subscribe("rooms/**", topics::Overflow::Error)
            .map_err(|error| format!("not subscribed: {error}"))
    }
}

impl handler::Guest for Scribe {
    fn handle_message(message: Message) -> Result<Outcome, String> {
        let topic = message.topic.unwrap_or_default();
        MINUTES.with_borrow_mut(|minutes| {
            if topic.ends_with("/round") {
                minutes.rounds += 1;
                return Ok(Outcome::NoReply);
            }
            let line = String::from_utf8_lossy(&message.payload);
            let (speaker, words) = line.split_once(':').ok_or("nobody said it")?;
            let count = u32::try_from(words.split_whitespace().count()).unwrap_or(u32::MAX);
            let row = minutes.speakers.entry(speaker.trim().to_owned());
            let (lines, words) = row.or_default();
            *lines += 1;
            *words = words.saturating_add(count);
            Ok(Outcome::NoReply)
        })
    }
}

impl minutes::Guest for Scribe {
    fn by_speaker() -> Vec<Row> {
        MINUTES.with_borrow(|minutes| {
            let row = |(speaker, (lines, words)): (&String, &(u32, u32))| Row {
                speaker: speaker.clone(),
                lines: *lines,
                words: *words,
            };
            minutes.speakers.iter().map(row).collect()
        })
    }

    fn totals() -> Sums {
        MINUTES.with_borrow(|minutes| Sums {
            counted: minutes.speakers.values().map(|(lines, _)| *lines).sum(),
            speakers: u32::try_from(minutes.speakers.len()).unwrap_or(u32::MAX),
            rounds: minutes.rounds,
        })
    }
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Scribe with_types_in bindings);
