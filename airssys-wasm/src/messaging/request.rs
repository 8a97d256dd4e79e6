//! What a guest asks of the messaging plane, and what it is told.
//!
//! Owns [`MessagingRequest`], [`MessagingReply`], [`MessagingError`] and the seam [`Messaging`], which whoever hosts the
//! instances implements. Payloads are [`Bytes`]: one copy out of the guest's memory, and none until they are lowered
//! into another's. There is no sender here: whoever answers knows for whom it was made.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::TopicPattern;
use crate::args::Args;
use crate::printable::printable;
use crate::value::Value;

/// Longest text of an error that a guest is told, in bytes: it may have been written by another guest.
const TEXT_BYTES_MAX: usize = 4_096;

/// Answers what one instance asks of the messaging plane. At most one request is under way at a time.
pub trait Messaging: Send {
    /// Starts a request.
    fn start(&mut self, request: MessagingRequest);

    /// Polls the request started last; called only between `start` and the first `Ready`.
    ///
    /// # Errors
    /// [`MessagingError`], which the guest is told.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<MessagingReply, MessagingError>>;
}

/// What happens to a publication for which a subscription has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The publisher is told.
    Error,
    /// The same, but a publisher that is ready to wait waits.
    Block,
    /// It is dropped.
    DropNewest,
    /// The oldest that waits is dropped.
    DropOldest,
}

/// One request, allowed by the gate; names have been parsed where the gate needs them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MessagingRequest {
    /// The instance's own address.
    OwnAddress,
    /// Send without waiting.
    Cast {
        /// An address, as the guest wrote it.
        to: Box<str>,
        /// What to send.
        payload: Bytes,
    },
    /// Send and wait.
    Call {
        /// An address, as the guest wrote it.
        to: Box<str>,
        /// What to send.
        payload: Bytes,
        /// How long to wait.
        within: Duration,
    },
    /// Answer a call.
    Reply {
        /// Which, by the number that the handler was given.
        call: u64,
        /// The answer.
        payload: Bytes,
    },
    /// Publish.
    Publish {
        /// A valid topic.
        topic: Box<str>,
        /// What to publish.
        payload: Bytes,
    },
    /// Subscribe.
    Subscribe {
        /// To what.
        pattern: TopicPattern,
        /// What happens when there is no room.
        overflow: Overflow,
    },
    /// End subscriptions.
    Unsubscribe {
        /// The pattern they were made with.
        pattern: TopicPattern,
    },
    /// Send to oneself once.
    SendAfter {
        /// When.
        delay: Duration,
        /// What to send.
        payload: Bytes,
    },
    /// Send to oneself again and again.
    Interval {
        /// How often.
        every: Duration,
        /// What to send.
        payload: Bytes,
    },
    /// Take a timer back.
    Cancel {
        /// Which.
        timer: u64,
    },
    /// Start an actor of one's own.
    Spawn {
        /// The component, as the guest wrote it; granted.
        component: Box<str>,
        /// The child's name, as the guest wrote it.
        name: Box<str>,
        /// What its `init` is given beside what the manifest says.
        config: Vec<(String, String)>,
    },
    /// Stop an actor that was spawned.
    StopChild {
        /// The child's name, as the guest wrote it.
        name: Box<str>,
    },
    /// The names of what was spawned and is there.
    Children,
}

/// The answer to a request; of the kind that the request has.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MessagingReply {
    /// Cast, reply, subscribe; a child was stopped.
    Done,
    /// The own address, or that of a child.
    Address(Box<str>),
    /// The names of children.
    Names(Vec<Box<str>>),
    /// The answer to a call.
    Payload(Bytes),
    /// What became of a publication: subscriptions matched, sent, refused, dropped.
    Published {
        /// Subscriptions to its topic.
        matched: u32,
        /// In the subscriber's mailbox.
        sent: u32,
        /// No room.
        refused: u32,
        /// Dropped.
        dropped: u32,
    },
    /// The number of a timer.
    Timer(u64),
    /// Unsubscribe and cancel: whether there was something.
    Found(bool),
}

/// Why a request was not done: the cases of `airssys:messaging/types#error`, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "each case is documented in wit/messaging/messaging.wit"
)]
pub enum MessagingError {
    Denied(String),
    BadName(String),
    NoSuchActor,
    NoHandler,
    Stopped,
    CalleeDied,
    Deadline,
    MailboxFull,
    TooLarge,
    Cycle(String),
    CallDepth,
    NoReply,
    Rejected(String),
    NoSuchCall,
    Quota(String),
    /// Of `airssys:actor/spawn` alone: this actor cannot have children now.
    NotUp,
}

/// The cases of `airssys:actor/spawn#error`, in their order.
const SPAWN_CASES: [&str; 6] = [
    "denied",
    "bad-name",
    "no-such-child",
    "quota",
    "not-started",
    "not-up",
];

impl MessagingError {
    /// Returns the case's name in WIT.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        self.case().1
    }

    const fn case(&self) -> (u32, &'static str) {
        match self {
            Self::Denied(_) => (0, "denied"),
            Self::BadName(_) => (1, "bad-name"),
            Self::NoSuchActor => (2, "no-such-actor"),
            Self::NoHandler => (3, "no-handler"),
            Self::Stopped => (4, "stopped"),
            Self::CalleeDied => (5, "callee-died"),
            Self::Deadline => (6, "deadline"),
            Self::MailboxFull => (7, "mailbox-full"),
            Self::TooLarge => (8, "too-large"),
            Self::Cycle(_) => (9, "cycle"),
            Self::CallDepth => (10, "call-depth"),
            Self::NoReply => (11, "no-reply"),
            Self::Rejected(_) => (12, "rejected"),
            Self::NoSuchCall => (13, "no-such-call"),
            Self::Quota(_) => (14, "quota"),
            // No function of the messaging plane has it.
            Self::NotUp => (4, "stopped"),
        }
    }

    /// The same as a case of `airssys:actor/spawn#error`.
    fn into_spawn_value(self) -> Value {
        let named = |name| {
            SPAWN_CASES
                .iter()
                .zip(0_u32..)
                .find(|(case, _)| **case == name)
        };
        let (name, text) = match self {
            Self::Denied(text) => ("denied", Some(text)),
            Self::BadName(text) => ("bad-name", Some(text)),
            Self::NoSuchActor => ("no-such-child", None),
            Self::Quota(text) => ("quota", Some(text)),
            Self::NotUp | Self::Stopped => ("not-up", None),
            Self::Rejected(text) => ("not-started", Some(text)),
            other => ("not-started", Some(other.as_str().to_owned())),
        };
        let text = text.map(|text| {
            let text = printable(&text, TEXT_BYTES_MAX);
            Box::new(Value::String(text.into()))
        });
        Value::Variant(named(name).map_or(0, |(_, case)| case), text)
    }

    fn into_value(self) -> Value {
        let case = self.case().0;
        let text = match self {
            Self::Denied(text)
            | Self::BadName(text)
            | Self::Cycle(text)
            | Self::Rejected(text)
            | Self::Quota(text) => {
                let text = printable(&text, TEXT_BYTES_MAX);
                Some(Box::new(Value::String(text.into())))
            }
            _ => None,
        };
        Value::Variant(case, text)
    }
}

impl MessagingReply {
    fn into_payload(self) -> Option<Box<Value>> {
        let value = match self {
            Self::Done => return None,
            Self::Address(text) => Value::String(text),
            Self::Names(names) => Value::List(names.into_iter().map(Value::String).collect()),
            Self::Payload(bytes) => Value::Bytes(bytes),
            Self::Published {
                matched,
                sent,
                refused,
                dropped,
            } => Value::Record([matched, sent, refused, dropped].map(Value::U32).to_vec()),
            Self::Timer(timer) => Value::U64(timer),
            Self::Found(found) => Value::Bool(found),
        };
        Some(Box::new(value))
    }
}

/// The results of a function of the plane, as its guest gets them.
pub(crate) fn results(answer: Result<MessagingReply, MessagingError>) -> Args {
    results_with(answer, MessagingError::into_value)
}

/// The same of a function of `airssys:actor/spawn`.
pub(crate) fn spawn_results(answer: Result<MessagingReply, MessagingError>) -> Args {
    results_with(answer, MessagingError::into_spawn_value)
}

fn results_with(
    answer: Result<MessagingReply, MessagingError>,
    into_value: fn(MessagingError) -> Value,
) -> Args {
    let result = match answer {
        Ok(reply) => Ok(reply.into_payload()),
        Err(error) => Err(Some(Box::new(into_value(error)))),
    };
    let mut results = Args::new();
    results.push(Value::Result(result));
    results
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messaging::WIT;
    use crate::surface::Surface;
    use crate::wit::WitType;

    #[test]
    fn the_cases_are_those_of_the_package_in_order() {
        let text = String::new;
        let all = [
            MessagingError::Denied(text()),
            MessagingError::BadName(text()),
            MessagingError::NoSuchActor,
            MessagingError::NoHandler,
            MessagingError::Stopped,
            MessagingError::CalleeDied,
            MessagingError::Deadline,
            MessagingError::MailboxFull,
            MessagingError::TooLarge,
            MessagingError::Cycle(text()),
            MessagingError::CallDepth,
            MessagingError::NoReply,
            MessagingError::Rejected(text()),
            MessagingError::NoSuchCall,
            MessagingError::Quota(text()),
        ];
        let surface = Surface::from_wit(WIT).unwrap();
        let id = surface.export("messages#cast").unwrap();
        let ty = &surface.export_function(id).unwrap().1.ty;
        let Some(WitType::Result { err: Some(err), .. }) = &ty.result else {
            panic!("{ty}")
        };
        let WitType::Variant(cases) = &**err else {
            panic!("{ty}")
        };
        assert_eq!(cases.len(), all.len());
        for (case, error) in cases.iter().zip(all) {
            assert_eq!(&*case.name, error.as_str());
            assert!(ty.accepts_results(&results(Err(error))).is_ok());
        }
    }

    #[test]
    fn the_cases_of_spawn_are_those_of_its_interface_in_order() {
        let surface = Surface::from_wit(crate::messaging::SPAWN_WIT).unwrap();
        let id = surface.export("spawn#spawn").unwrap();
        let ty = &surface.export_function(id).unwrap().1.ty;
        let Some(WitType::Result { err: Some(err), .. }) = &ty.result else {
            panic!("{ty}")
        };
        let WitType::Variant(cases) = &**err else {
            panic!("{ty}")
        };
        let names: Vec<_> = cases.iter().map(|case| &*case.name).collect();
        assert_eq!(names, SPAWN_CASES);
        for error in [
            MessagingError::Denied(String::new()),
            MessagingError::BadName(String::new()),
            MessagingError::NoSuchActor,
            MessagingError::Quota(String::new()),
            MessagingError::Rejected(String::new()),
            MessagingError::NotUp,
            MessagingError::Stopped,
            MessagingError::Deadline,
        ] {
            assert!(ty.accepts_results(&spawn_results(Err(error))).is_ok());
        }
        let names = surface.export("spawn#children").unwrap();
        let ty = &surface.export_function(names).unwrap().1.ty;
        let reply = MessagingReply::Names(vec!["a".into()]);
        assert!(ty.accepts_results(&spawn_results(Ok(reply))).is_ok());
    }

    #[test]
    fn a_text_of_another_guests_is_cut_and_escaped() {
        let error = MessagingError::Rejected("\u{1b}".repeat(1 << 20));
        let Value::Variant(12, Some(text)) = error.into_value() else {
            panic!("another case")
        };
        let Value::String(text) = *text else {
            panic!("no text")
        };
        assert!(text.len() < 5_000 && !text.contains('\u{1b}'));
    }
}
