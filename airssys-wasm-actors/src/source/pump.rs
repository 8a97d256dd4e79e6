//! The loop between the reader and the component that is fed.
//!
//! Owns back-pressure: the reader is only asked for an item when it can be sent. One task drives all calls of a
//! source; each item costs one call and one entry in the account. Items are sent in their order. While the
//! component's mailbox is full nothing is read, and the refused item is sent again when an answer has made
//! room; its order is kept, since a refusal comes before the next item is taken.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use airssys_wasm::{Args, FunctionType, Value, WitType};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Notify, mpsc};

use super::account::{Account, Outcome, Sent};
use super::input::{Reading, SourceError};
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

/// What became of a call.
enum Done {
    Answered(Sent, Result<Args, CallError>),
    /// Not accepted: the mailbox is full. Nothing has happened to the item.
    NoRoom(Item),
}

/// Feeds every item, and waits for every answer. Once it is stopped it only waits, and not for a component that
/// is down: its supervisor may be the one that is stopping everything.
pub(super) async fn run(
    feed: &Feed,
    target: &ActorFunction,
    mut items: mpsc::Receiver<Reading>,
    account: &Arc<Account>,
    stop: &Notify,
) -> Result<(), SourceError> {
    let mut calls = FuturesUnordered::new();
    let mut refused: VecDeque<Item> = VecDeque::new();
    let mut end = None;
    let mut stop = pin!(stop.notified());
    let mut stopping = tokio::time::interval(LOOK_EVERY);
    let mut down = 0;
    loop {
        let reading = end.is_none() && refused.is_empty() && calls.len() < feed.in_flight_max;
        tokio::select! {
            biased;
            () = &mut stop, if end.is_none() => {
                items.close();
                end = Some(Err(SourceError::Stopped));
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
            reading = items.recv(), if reading => match reading {
                Some(Reading::Item { number, text }) => {
                    let item = Item { sent: Sent::open(account, number), text: text.into_boxed_str() };
                    calls.push(send(feed, target, item));
                }
                Some(Reading::End(result)) => end = Some(result),
                None => end = Some(Err(SourceError::ReaderDied)),
            },
            _ = stopping.tick(), if matches!(end, Some(Err(SourceError::Stopped))) && !calls.is_empty() => {
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
            else => return end.unwrap_or(Err(SourceError::Stopped)),
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
