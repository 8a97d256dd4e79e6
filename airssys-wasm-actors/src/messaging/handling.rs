//! A component's handler: from a message of the plane to its record, and from its outcome to an answer.
//!
//! A message travels as bare bytes; the record is made here, when the guest is about to get it, so that sender, topic
//! and call are always the host's word. An actor that calls `handle-message` itself, by a link or from the host, gives a
//! record of its own: everything in it but the payload is replaced.

use std::sync::Arc;

use airssys_wasm::{Args, FunctionType, Value};
use bytes::Bytes;

use super::Ledger;
use crate::address::{ActorAddress, ActorId};
use crate::envelope::Envelope;
use crate::error::CallError;
use crate::exit::bounded;
use crate::reply::Answer;
use crate::slot::Slot;

/// A message that a component's handler has in its hands.
pub(crate) enum Handling {
    /// A cast, or a call of the function itself: its own envelope is finished when the handler returns.
    Own(Box<Envelope>, Form),
    /// A call of the plane: it is in the ledger.
    Owed(u64),
}

/// What the sender expects of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Nothing, or bytes.
    Bare,
    /// The results as they are.
    Declared,
}

/// Opens a message: what the handler is called with, and how it is finished. An error has been answered.
pub(crate) fn open(
    slot: &Arc<Slot>,
    ledger: &Ledger,
    mut envelope: Box<Envelope>,
) -> Option<(Args, Handling)> {
    let args = envelope.begin();
    let sender = envelope.sender;
    let Some((payload, topic, form)) = parts(&args) else {
        // Of another type altogether: the call itself refuses it.
        return Some((args, Handling::Own(envelope, Form::Declared)));
    };
    let handling = if envelope.is_cast() || form == Form::Declared {
        Handling::Own(envelope, form)
    } else {
        let pending_max = slot.shared().messaging().pending_replies_max;
        match ledger.enter(envelope, pending_max) {
            Ok(call) => Handling::Owed(call),
            Err(envelope) => {
                let address = slot.address().clone();
                envelope.finish(Err(CallError::PendingReplies {
                    address,
                    pending_max,
                }));
                return None;
            }
        }
    };
    let call = match &handling {
        Handling::Owed(call) => Some(*call),
        Handling::Own(..) => None,
    };
    Some((record(slot, sender, topic, call, payload), handling))
}

/// Whether these are the arguments of a message while it travels.
pub(crate) fn is_bare(args: &Args) -> bool {
    matches!(
        args.values(),
        [Value::Bytes(_)] | [Value::Bytes(_), Value::Bytes(_)]
    )
}

/// Whether a function of this type takes the record of a message.
pub(super) fn takes_messages(ty: &FunctionType) -> bool {
    let text = || Value::from("");
    let message = Value::Record(vec![
        Value::Option(Some(Box::new(text()))),
        Value::Option(Some(Box::new(text()))),
        Value::from(Some(0_u64)),
        Value::Bytes(Bytes::new()),
    ]);
    ty.accepts(&[message].into_iter().collect()).is_ok()
}

/// Payload and topic of a message, in either form.
fn parts(args: &Args) -> Option<(Value, Option<Value>, Form)> {
    match args.values() {
        [payload @ Value::Bytes(_)] => Some((payload.clone(), None, Form::Bare)),
        [payload @ Value::Bytes(_), Value::Bytes(topic)] => {
            let topic = String::from_utf8_lossy(topic);
            Some((payload.clone(), Some(Value::from(&*topic)), Form::Bare))
        }
        [Value::Record(fields)] => match &**fields {
            [_, _, _, payload @ Value::Bytes(_)] => Some((payload.clone(), None, Form::Declared)),
            _ => None,
        },
        _ => None,
    }
}

fn record(
    slot: &Slot,
    sender: Option<ActorId>,
    topic: Option<Value>,
    call: Option<u64>,
    payload: Value,
) -> Args {
    let sender = sender.and_then(|id| slot.shared().address_of(id));
    let mut args = Args::new();
    args.push(fields(sender.as_ref(), topic, call, payload));
    args
}

fn fields(
    sender: Option<&ActorAddress>,
    topic: Option<Value>,
    call: Option<u64>,
    payload: Value,
) -> Value {
    Value::Record(vec![
        Value::from(sender.map(ActorAddress::as_str)),
        Value::Option(topic.map(Box::new)),
        Value::from(call),
        payload,
    ])
}

/// The record of a cast that has not been handled, for whoever reads it.
pub(crate) fn as_handled(args: &Args, sender: Option<&ActorAddress>) -> Option<Value> {
    let (payload, topic, _) = parts(args)?;
    Some(fields(sender, topic, None, payload))
}

impl Handling {
    /// The handler has returned.
    pub(crate) fn returned(self, slot: &Slot, ledger: &Arc<Ledger>, results: Args) {
        match self {
            Self::Own(envelope, Form::Declared) => {
                envelope.finish(Ok(results));
            }
            Self::Own(envelope, Form::Bare) => {
                let handled = answer(slot, results).map(Option::unwrap_or_default);
                envelope.finish(of_cast(handled));
            }
            // One that was answered meanwhile is not in the ledger any more.
            Self::Owed(call) => match answer(slot, results) {
                Ok(None) => ledger.keep(call),
                Ok(Some(reply)) => {
                    ledger.answer(call, Ok(reply));
                }
                Err(why) => {
                    ledger.answer(call, Err(why));
                }
            },
        }
    }

    /// The handler did not return.
    pub(crate) fn failed(self, ledger: &Ledger, why: CallError) {
        match self {
            Self::Own(envelope, _) => {
                envelope.finish(Err(why));
            }
            Self::Owed(call) => {
                ledger.answer(call, Err(why));
            }
        }
    }
}

/// What `result<outcome, string>` means for a message; `None` for `later`.
fn answer(slot: &Slot, results: Args) -> Result<Option<Args>, CallError> {
    let address = slot.address().clone();
    match results.into_values().next() {
        Some(Value::Result(Ok(Some(outcome)))) => match *outcome {
            Value::Variant(0, Some(payload)) => Ok(Some([*payload].into_iter().collect())),
            Value::Variant(2, _) => Ok(None),
            _ => Err(CallError::NoReply { address }),
        },
        Some(Value::Result(Err(Some(message)))) => {
            let message = match *message {
                Value::String(text) => bounded(&text).to_string(),
                other => other.kind().to_owned(),
            };
            Err(CallError::Native { address, message })
        }
        _ => Err(CallError::NoReply { address }),
    }
}

/// An answer that nobody waits for: handled, unless the handler said that it could not.
fn of_cast(answer: Answer) -> Answer {
    match answer {
        Err(CallError::NoReply { .. }) => Ok(Args::new()),
        other => other,
    }
}
