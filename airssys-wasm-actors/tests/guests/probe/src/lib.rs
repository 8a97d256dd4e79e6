//! probe.wasm: does with the messaging plane what it is told to, by calls from the host and by messages.

#[rustfmt::skip]
mod bindings;

use std::cell::RefCell;

use bindings::airssys::messaging::types::Error;
use bindings::airssys::messaging::{messages, timers, topics};
use bindings::exports::airssys::messaging::handler::{self, Message, Outcome};
use bindings::exports::test::probe::probe;

thread_local! {
    static RECEIVED: RefCell<Vec<String>> = RefCell::default();
}

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

struct Probe;

fn told(error: Error) -> String {
    match error {
        Error::Denied(text) => format!("denied: {text}"),
        Error::BadName(text) => format!("bad-name: {text}"),
        Error::NoSuchActor => "no-such-actor".to_owned(),
        Error::NoHandler => "no-handler".to_owned(),
        Error::Stopped => "stopped".to_owned(),
        Error::CalleeDied => "callee-died".to_owned(),
        Error::Deadline => "deadline".to_owned(),
        Error::MailboxFull => "mailbox-full".to_owned(),
        Error::TooLarge => "too-large".to_owned(),
        Error::Cycle(text) => format!("cycle: {text}"),
        Error::CallDepth => "call-depth".to_owned(),
        Error::NoReply => "no-reply".to_owned(),
        Error::Rejected(text) => format!("rejected: {text}"),
        Error::NoSuchCall => "no-such-call".to_owned(),
        Error::Quota(text) => format!("quota: {text}"),
    }
}

impl probe::Guest for Probe {
    fn own_address() -> Result<String, String> {
        messages::self_().map_err(told)
    }

    fn cast(to: String, payload: Vec<u8>) -> Result<(), String> {
        messages::cast(&to, &payload).map_err(told)
    }

    fn call(to: String, payload: Vec<u8>, ms: u64) -> Result<Vec<u8>, String> {
        messages::call(&to, &payload, ms.saturating_mul(MILLISECOND)).map_err(told)
    }

    fn reply(call: u64, payload: Vec<u8>) -> Result<(), String> {
        messages::reply(call, &payload).map_err(told)
    }

    fn publish(topic: String, payload: Vec<u8>) -> Result<u32, String> {
        topics::publish(&topic, &payload)
            .map(|report| report.sent)
            .map_err(told)
    }

    fn subscribe(pattern: String) -> Result<(), String> {
        topics::subscribe(&pattern, topics::Overflow::Error).map_err(told)
    }

    fn unsubscribe(pattern: String) -> Result<bool, String> {
        topics::unsubscribe(&pattern).map_err(told)
    }

    fn send_after(ms: u64, payload: Vec<u8>) -> Result<u64, String> {
        timers::send_after(ms.saturating_mul(MILLISECOND), &payload).map_err(told)
    }

    fn interval(ms: u64, payload: Vec<u8>) -> Result<u64, String> {
        timers::interval(ms.saturating_mul(MILLISECOND), &payload).map_err(told)
    }

    fn cancel(timer: u64) -> Result<bool, String> {
        timers::cancel(timer).map_err(told)
    }

    fn received() -> Vec<String> {
        RECEIVED.with_borrow(Clone::clone)
    }
}

impl handler::Guest for Probe {
    fn handle_message(message: Message) -> Result<Outcome, String> {
        let text = String::from_utf8_lossy(&message.payload).into_owned();
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let line = format!(
            "{} {} {} {text}",
            or_none(message.sender),
            or_none(message.topic),
            or_none(message.call.map(|call| call.to_string())),
        );
        RECEIVED.with_borrow_mut(|received| received.push(line));
        let (word, rest) = text.split_once(':').unwrap_or((&text, ""));
        match word {
            "echo" => Ok(Outcome::Reply(rest.as_bytes().to_vec())),
            "later" => Ok(Outcome::Later),
            "now-and-later" => {
                let call = message.call.unwrap_or_default();
                messages::reply(call, b"now").map_err(told)?;
                Ok(Outcome::Reply(b"too late".to_vec()))
            }
            "fail" => Err(rest.to_owned()),
            "trap" => std::process::abort(),
            "call" => match messages::call(rest, b"echo:inner", SECOND) {
                Ok(reply) => Ok(Outcome::Reply(reply)),
                Err(error) => Err(told(error)),
            },
            _ => Ok(Outcome::NoReply),
        }
    }
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Probe with_types_in bindings);
