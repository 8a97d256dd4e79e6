//! The loop between the reader and the component that is fed.
//!
//! Owns back-pressure: the reader is only asked for an item when it can be sent. One task drives all calls of a
//! source; each item costs one call and one entry in the account. Items are sent in their order. While the
//! component's mailbox is full nothing is read, and the refused item is sent again when an answer has made
//! room; its order is kept, since a refusal comes before the next item is taken. A source that is halted sends nothing
//! more, and gives back what nobody has taken.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use airssys_wasm::{Args, FunctionType, Value, WitType};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;

use super::account::{Account, Outcome, Sent};
use super::input::{Reading, SourceError};
use super::place::Reader;
use crate::error::CallError;
use crate::reference::{ActorFunction, CallOptions};

/// How long a full mailbox is waited for when no answer of our own can make room: others fill it.
const RETRY_AFTER: Duration = Duration::from_millis(5);

/// How often a source that has been stopped looks whether the component that owes it answers still runs.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks in a row at which it does not, before the answers are given up: a restart takes less than one.
const LOOKS_MAX: u32 = 3;

/// What the function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `(number: u32, item: string)`
    Numbered,
    /// `(item: string)`
    Plain,
}

impl Shape {
    /// The shape of a function, if a source can call it.
    pub(crate) fn of(ty: &FunctionType) -> Option<Self> {
        let params: Vec<_> = ty.params.iter().map(|(_, ty)| ty).collect();
        match params.as_slice() {
            [WitType::U32, WitType::String] => Some(Self::Numbered),
            [WitType::String] => Some(Self::Plain),
            _ => None,
        }
    }
}

/// How items are sent and answers read.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    /// The path of the function.
    pub(crate) function: String,
    pub(crate) shape: Shape,
    /// The error type's cases, where it is a variant or an enum.
    pub(crate) error_cases: Vec<Box<str>>,
    /// The case that means that the item is bad.
    pub(crate) rejected_case: Option<String>,
    pub(crate) in_flight_max: usize,
    pub(crate) reply_within: Duration,
}

/// An item on its way.
struct Item {
    sent: Sent,
    text: Box<str>,
}

impl Item {
    /// Counts it as sent.
    fn open(account: &Arc<Account>, number: u32, text: Box<str>, next: &AtomicU64) -> Self {
        next.store(u64::from(number) + 1, Ordering::Release);
        Self {
            sent: Sent::open(account, number),
            text,
        }
    }
}

impl Reader {
    /// Keeps an item that nobody has taken, in its place.
    fn hold(&mut self, item: Item, next: &AtomicU64) {
        let number = item.sent.take_back();
        let before = self.held.partition_point(|(held, _)| *held < number);
        self.held.insert(before, (number, item.text));
        if let Some((first, _)) = self.held.front() {
            next.store(u64::from(*first), Ordering::Release);
        }
    }
}

/// What became of a call.
enum Done {
    Answered(Sent, Result<Args, CallError>),
    /// Not accepted: the mailbox is full. Nothing has happened to the item.
    NoRoom(Item),
}

/// What a source is asked to do beside feeding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Halt {
    /// Nothing.
    No,
    /// Send nothing more, and end when all that was sent is answered.
    Pause,
    /// The same, and do not wait for a component that is down: its supervisor may be the one that is stopping everything.
    Stop,
}

/// Feeds every item, and waits for every answer. Once it is halted it only waits. What it had taken and not sent is in the
/// reader then, for whoever goes on with it, and `next` is the first item that was not sent.
pub(super) async fn run(
    feed: &Feed,
    target: &ActorFunction,
    reader: &mut Reader,
    next: &AtomicU64,
    account: &Arc<Account>,
    mut halt: watch::Receiver<Halt>,
) -> Result<(), SourceError> {
    let mut calls = FuturesUnordered::new();
    let mut refused: VecDeque<Item> = VecDeque::new();
    let mut halted = *halt.borrow_and_update();
    let mut stopping = tokio::time::interval(LOOK_EVERY);
    let mut down = 0;
    loop {
        if halted != Halt::No {
            refused.drain(..).for_each(|item| reader.hold(item, next));
        }
        let over = halted != Halt::No || (reader.end.is_some() && reader.held.is_empty());
        if over && calls.is_empty() && refused.is_empty() {
            break;
        }
        let reading = !over && refused.is_empty() && calls.len() < feed.in_flight_max;
        if reading && let Some((number, text)) = reader.held.pop_front() {
            calls.push(send(feed, target, Item::open(account, number, text, next)));
            continue;
        }
        tokio::select! {
            biased;
            Ok(()) = halt.changed(), if halted != Halt::Stop => {
                halted = *halt.borrow_and_update();
                stopping.reset();
            }
            Some(done) = calls.next(), if !calls.is_empty() => match done {
                Done::NoRoom(item) => {
                    tracing::trace!(item = item.sent.number(), "no room yet");
                    refused.push_back(item);
                }
                Done::Answered(sent, answer) => {
                    let outcome = feed.outcome(answer);
                    tracing::trace!(item = sent.number(), outcome = outcome.kind(), "answered");
                    sent.close(outcome);
                    if let Some(item) = refused.pop_front() {
                        calls.push(send(feed, target, item));
                    }
                }
            },
            reading = reader.items.recv(), if reading => match reading {
                Some(Reading::Item { number, text }) => {
                    let item = Item::open(account, number, text.into_boxed_str(), next);
                    calls.push(send(feed, target, item));
                }
                Some(Reading::End(result)) => reader.end = Some(result),
                None => reader.end = Some(Err(SourceError::ReaderDied)),
            },
            _ = stopping.tick(), if halted == Halt::Stop && !calls.is_empty() => {
                down = if target.actor().status().running { 0 } else { down + 1 };
                if down == LOOKS_MAX {
                    return Err(SourceError::Stopped);
                }
            }
            () = tokio::time::sleep(RETRY_AFTER), if !refused.is_empty() => {
                if let Some(item) = refused.pop_front() {
                    calls.push(send(feed, target, item));
                }
            }
            else => break,
        }
    }
    match reader.end.take() {
        Some(end) if reader.held.is_empty() => end,
        // What is left of it is sent by whoever goes on.
        end => {
            reader.end = end;
            Err(SourceError::Stopped)
        }
    }
}

/// Sends one item. The text is kept until the mailbox has taken the message, and no longer.
async fn send(feed: &Feed, target: &ActorFunction, item: Item) -> Done {
    let Item { sent, text } = item;
    let mut args = Args::new();
    if feed.shape == Shape::Numbered {
        args.push(Value::U32(sent.number()));
    }
    args.push(Value::String(text.clone()));
    let options = CallOptions {
        within: feed.reply_within,
        ..CallOptions::default()
    };
    tracing::trace!(item = sent.number(), bytes = text.len(), "sent");
    let mut call = pin!(target.call_with(args, options));
    let first = poll_fn(|cx| match call.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => Poll::Ready(None),
    });
    match first.await {
        Some(Err(CallError::MailboxFull { .. })) => Done::NoRoom(Item { sent, text }),
        Some(answer) => Done::Answered(sent, answer),
        None => {
            drop(text);
            Done::Answered(sent, call.await)
        }
    }
}

impl Feed {
    /// Reads an answer: an error of the item, of the application, or none.
    fn outcome(&self, answer: Result<Args, CallError>) -> Outcome {
        let results = match answer {
            Ok(results) => results,
            Err(error) => {
                return Outcome::Failed {
                    kind: error.kind().to_owned(),
                    message: error.to_string(),
                };
            }
        };
        let Some(Value::Result(Err(error))) = results.into_values().next() else {
            return Outcome::Ok;
        };
        let (kind, payload) = self.case(error.map(|boxed| *boxed));
        let message = match payload {
            Some(Value::String(text)) => String::from(text),
            Some(other) => format!("{other:?}"),
            None => kind.clone(),
        };
        if self.rejected_case.as_ref() == Some(&kind) {
            Outcome::Rejected { kind, message }
        } else {
            Outcome::Failed { kind, message }
        }
    }

    /// The name of an error's case, and what it carries.
    fn case(&self, error: Option<Value>) -> (String, Option<Value>) {
        let name = |case: u32| {
            let at = usize::try_from(case).unwrap_or(usize::MAX);
            self.error_cases
                .get(at)
                .map_or_else(|| format!("case {case}"), |name| String::from(&**name))
        };
        match error {
            Some(Value::Variant(case, payload)) => (name(case), payload.map(|boxed| *boxed)),
            Some(Value::Enum(case)) => (name(case), None),
            other => ("error".to_owned(), other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed() -> Feed {
        Feed {
            function: "feed".to_owned(),
            shape: Shape::Numbered,
            error_cases: vec!["rejected".into(), "failed".into()],
            rejected_case: Some("rejected".to_owned()),
            in_flight_max: 1,
            reply_within: Duration::from_secs(1),
        }
    }

    fn answer(value: Value) -> Result<Args, CallError> {
        Ok([value].into_iter().collect())
    }

    fn case(number: u32, text: &str) -> Result<Args, CallError> {
        let payload = Some(Box::new(Value::from(text)));
        answer(Value::Result(Err(Some(Box::new(Value::Variant(
            number, payload,
        ))))))
    }

    #[test]
    fn only_the_named_case_is_a_rejection() {
        let feed = feed();
        assert_eq!(feed.outcome(answer(Value::Result(Ok(None)))), Outcome::Ok);
        assert_eq!(feed.outcome(Ok(Args::new())), Outcome::Ok);
        assert_eq!(
            feed.outcome(case(0, "no place")),
            Outcome::Rejected {
                kind: "rejected".into(),
                message: "no place".into()
            }
        );
        assert_eq!(
            feed.outcome(case(1, "died")),
            Outcome::Failed {
                kind: "failed".into(),
                message: "died".into()
            }
        );
        assert!(
            matches!(feed.outcome(case(7, "?")), Outcome::Failed { kind, .. } if kind == "case 7")
        );
    }

    #[test]
    fn an_error_without_cases_is_a_failure() {
        let error = Value::Result(Err(Some(Box::new(Value::from("sorry")))));
        assert_eq!(
            feed().outcome(answer(error)),
            Outcome::Failed {
                kind: "error".into(),
                message: "sorry".into()
            }
        );
    }

    #[test]
    fn a_call_that_got_no_answer_is_a_failure_of_its_kind() {
        let address = "a/b".parse().unwrap();
        let outcome = feed().outcome(Err(CallError::NoSuchActor { address }));
        assert!(matches!(outcome, Outcome::Failed { kind, .. } if kind == "no-such-actor"));
    }
}
