//! The messaging plane of one component instance.
//!
//! Owns what a guest's request becomes: the sender is the slot this was made for, so no request can name another. Only a
//! call waits; it waits as a linked call does, with the same wait-for edge and the same inherited reply-by.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use airssys_wasm::{
    Args, ExportId, Messaging, MessagingError, MessagingReply, MessagingRequest, Overflow, Value,
};
use bytes::Bytes;

use super::{HANDLE_MESSAGE, Holdings, Ledger};
use crate::address::ActorAddress;
use crate::call::{CallRequest, PendingCall};
use crate::dead_letters::Failed;
use crate::envelope::CallContext;
use crate::error::CallError;
use crate::exit::ExitReason;
use crate::link::LinkedOutbound;
use crate::mailbox::BackpressureStrategy;
use crate::native::cast;
use crate::slot::Slot;
use crate::spawning::{Asked, Nursery, Spawning};
use crate::timers::{Due, Setter, TimerError, TimerId};
use crate::topics::{SubscribeError, SubscribeOptions};

type Told = Result<MessagingReply, MessagingError>;

/// The plane of one incarnation.
pub(crate) struct Plane {
    holdings: Holdings,
    ledger: Arc<Ledger>,
    /// Its own handler, for what it is sent by topics and timers.
    handler: Option<ExportId>,
    /// Longest wait for a reply, so that the guest is told before its own time is over.
    within_max: Duration,
    /// What it may spawn.
    spawning: Option<Spawning>,
    /// What it has spawned, if it may. None, too, once another has its place.
    nursery: Option<Nursery>,
    /// It has had its first message, or is about to.
    up: bool,
    /// Its instance does not serve yet: what it subscribes does not count.
    aside: bool,
    state: State,
}

enum State {
    Quiet,
    Told(Told),
    Calling(PendingCall),
    Asking(Asked),
}

impl Plane {
    pub(crate) fn new(
        slot: &Arc<Slot>,
        ledger: Arc<Ledger>,
        handler: Option<ExportId>,
        wall_per_call: Duration,
    ) -> Box<Self> {
        Box::new(Self {
            holdings: Holdings::new(slot),
            ledger,
            handler,
            within_max: wall_per_call - wall_per_call / 10,
            spawning: None,
            nursery: None,
            up: false,
            aside: false,
            state: State::Quiet,
        })
    }
}

/// The arguments of a message of the plane while it travels: nothing but shared bytes.
fn bare(payload: Bytes) -> Args {
    let mut args = Args::new();
    args.push(Value::Bytes(payload));
    args
}

fn address(text: &str) -> Result<ActorAddress, MessagingError> {
    text.parse()
        .map_err(|error: crate::AddressError| MessagingError::BadName(error.to_string()))
}

fn whereto(slot: &Slot, to: &ActorAddress) -> Result<(Arc<Slot>, ExportId), MessagingError> {
    let target = slot
        .shared()
        .whereis(to)
        .ok_or(MessagingError::NoSuchActor)?;
    let handler = target.handler().ok_or(MessagingError::NoHandler)?;
    Ok((target, handler))
}

fn told(why: CallError) -> MessagingError {
    match why {
        CallError::NoSuchActor { .. } => MessagingError::NoSuchActor,
        CallError::Stopped { .. } => MessagingError::Stopped,
        CallError::CalleeDied { .. } => MessagingError::CalleeDied,
        CallError::Deadline { .. } => MessagingError::Deadline,
        CallError::MailboxFull { .. } | CallError::Evicted { .. } => MessagingError::MailboxFull,
        CallError::TooLarge { .. } => MessagingError::TooLarge,
        CallError::Cycle { .. } => MessagingError::Cycle(why.to_string()),
        CallError::CallDepth { .. } => MessagingError::CallDepth,
        CallError::NoReply { .. } => MessagingError::NoReply,
        CallError::Native { message, .. } => MessagingError::Rejected(message),
        CallError::PendingReplies { .. } => MessagingError::Quota(why.to_string()),
        other => MessagingError::Rejected(other.to_string()),
    }
}

/// What a receiver answered: bytes, or what a native actor replied instead.
fn payload(results: Args) -> Told {
    match results.into_values().next() {
        Some(Value::Bytes(bytes)) => Ok(MessagingReply::Payload(bytes)),
        None => Ok(MessagingReply::Payload(Bytes::new())),
        Some(other) => {
            let why = format!("the reply is a {}, and not bytes", other.kind());
            Err(MessagingError::Rejected(why))
        }
    }
}

impl LinkedOutbound {
    fn request(&mut self, request: MessagingRequest) -> Result<State, MessagingError> {
        let Self {
            slot,
            context,
            cell,
            plane: Some(plane),
            ..
        } = self
        else {
            return Err(MessagingError::NoHandler);
        };
        let reply = match request {
            MessagingRequest::OwnAddress => MessagingReply::Address(slot.address().as_str().into()),
            MessagingRequest::Cast { to, payload } => {
                send(slot, context, &address(&to)?, payload)?;
                MessagingReply::Done
            }
            MessagingRequest::Call {
                to,
                payload,
                within,
            } => {
                let (target, export) = whereto(slot, &address(&to)?)?;
                context.reply_by = slot.resting().reply_by(context.reply_by);
                let request = CallRequest {
                    target: &target,
                    caller: Some(slot),
                    export,
                    parent: context,
                    within: within.min(plane.within_max),
                    cell: Some(cell),
                };
                return Ok(State::Calling(PendingCall::start(&request, bare(payload))));
            }
            MessagingRequest::Reply { call, payload } => {
                if !plane.ledger.answer(call, Ok(bare(payload))) {
                    return Err(MessagingError::NoSuchCall);
                }
                MessagingReply::Done
            }
            MessagingRequest::Publish { topic, payload } => {
                let (sender, trace) = (Some(slot.id()), context.trace);
                let topics = slot.shared().topics();
                let published = topics.publish(&topic, payload, sender, trace);
                let report = published.map_err(|why| MessagingError::BadName(why.to_string()))?;
                let narrow = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
                MessagingReply::Published {
                    matched: narrow(report.matched),
                    sent: narrow(report.sent),
                    refused: narrow(report.refused),
                    dropped: narrow(report.dropped),
                }
            }
            MessagingRequest::Subscribe { pattern, overflow } => {
                let function = plane.own(slot)?;
                let options = SubscribeOptions {
                    overflow: match overflow {
                        Overflow::Error => BackpressureStrategy::Error,
                        Overflow::Block => BackpressureStrategy::Block,
                        Overflow::DropNewest => BackpressureStrategy::DropNewest,
                        Overflow::DropOldest => BackpressureStrategy::DropOldest,
                    },
                    ..SubscribeOptions::default()
                };
                let owner = plane.holdings.used();
                let shared = slot.shared();
                let max = shared.messaging().subscriptions_per_actor_max;
                let topics = shared.topics();
                let subscribed = if plane.aside {
                    topics.subscribe_aside(&pattern, &function, options, owner, max)
                } else {
                    topics.subscribe(&pattern, &function, options, owner, max)
                };
                subscribed.map_err(|why| match why {
                    SubscribeError::Stopped { .. } => MessagingError::Stopped,
                    why => MessagingError::Quota(why.to_string()),
                })?;
                MessagingReply::Done
            }
            MessagingRequest::Unsubscribe { pattern } => {
                let owner = plane.holdings.owner;
                let topics = slot.shared().topics();
                MessagingReply::Found(topics.unsubscribe_pattern(&pattern, owner) > 0)
            }
            MessagingRequest::SendAfter { delay, payload } => {
                plane.timer(slot, delay, payload, None)?
            }
            MessagingRequest::Interval { every, payload } => {
                plane.timer(slot, every, payload, Some(every))?
            }
            MessagingRequest::Cancel { timer } => {
                let owner = plane.holdings.owner;
                let timers = slot.shared().timers();
                MessagingReply::Found(timers.cancel(TimerId(timer), Some(owner)))
            }
            about_children => return plane.about_children(about_children),
        };
        Ok(State::Told(Ok(reply)))
    }
}

impl Plane {
    /// What it may spawn.
    pub(crate) fn spawns(&mut self, spawning: Option<Spawning>) {
        self.spawning = spawning;
        self.nursery = self.new_nursery();
    }

    fn new_nursery(&self) -> Option<Nursery> {
        let spawning = self.spawning.clone()?;
        Some(Nursery::new(&self.holdings.slot, spawning))
    }

    /// Its instance does not serve yet.
    pub(crate) fn is_aside(&mut self, aside: bool) {
        self.aside = aside;
    }

    /// Serves from now on, with everything that `before` holds.
    pub(crate) fn inherit(&mut self, before: &mut Self) {
        self.aside = false;
        self.up = before.up;
        self.holdings.inherit(&mut before.holdings);
        self.ledger = Arc::clone(&before.ledger);
        // One that comes back has given its own away.
        let own = self.nursery.take().or_else(|| self.new_nursery());
        self.nursery = own.map(|mut nursery| {
            if let Some(before) = before.nursery.take() {
                nursery.inherit(before);
            }
            nursery
        });
        // Without the grant, the children end with whose they were.
        before.nursery = None;
    }

    /// Serves from now on, with what it holds itself; `before` holds nothing any more.
    pub(crate) fn take_over(&mut self, before: Option<&mut Self>) {
        self.aside = false;
        let before = before.map(|before| {
            before.nursery = None;
            before.answer_nobody();
            &mut before.holdings
        });
        self.holdings.take_over(before);
    }

    /// Holds nothing any more.
    pub(crate) fn let_go(&mut self) {
        self.nursery = None;
        self.answer_nobody();
        self.holdings.let_go();
    }

    /// The calls it owes answers to are not its successor's: whoever waits is told at once, also where it is kept.
    fn answer_nobody(&self) {
        self.ledger.settle(&ExitReason::Shutdown);
    }

    /// It has a message in hand.
    pub(crate) fn is_up(&mut self) {
        self.up = true;
    }

    /// What is asked by `airssys:actor/spawn`.
    fn about_children(&mut self, request: MessagingRequest) -> Result<State, MessagingError> {
        let nursery = self.nursery()?;
        Ok(match request {
            MessagingRequest::Spawn {
                component,
                name,
                config,
            } => State::Asking(nursery.spawn(&component, &name, config)?),
            MessagingRequest::StopChild { name } => State::Asking(nursery.stop(&name)?),
            MessagingRequest::Children => State::Told(Ok(nursery.names())),
            _ => {
                let why = "this host cannot do that".to_owned();
                return Err(MessagingError::Denied(why));
            }
        })
    }

    fn nursery(&mut self) -> Result<&mut Nursery, MessagingError> {
        if !self.up {
            return Err(MessagingError::NotUp);
        }
        let none = || {
            let why = "this actor was started without anything to spawn";
            MessagingError::Rejected(why.to_owned())
        };
        self.nursery.as_mut().ok_or_else(none)
    }

    fn own(&self, slot: &Arc<Slot>) -> Result<crate::ActorFunction, MessagingError> {
        let handler = self.handler.ok_or(MessagingError::NoHandler)?;
        Ok(crate::ActorFunction::new(Arc::clone(slot), handler))
    }

    fn timer(
        &mut self,
        slot: &Arc<Slot>,
        delay: Duration,
        payload: Bytes,
        every: Option<Duration>,
    ) -> Told {
        let due = Due {
            target: Arc::clone(slot),
            export: self.handler.ok_or(MessagingError::NoHandler)?,
            args: bare(payload),
            sender: Some(slot.id()),
            every,
        };
        let owner = self.holdings.used();
        let shared = slot.shared();
        let setter = Setter {
            owner,
            slot,
            aside: self.aside,
        };
        match shared.timers().set(shared, setter, delay, due) {
            Ok(TimerId(timer)) => Ok(MessagingReply::Timer(timer)),
            Err(TimerError::Stopped { .. }) => Err(MessagingError::Stopped),
            Err(why) => Err(MessagingError::Quota(why.to_string())),
        }
    }
}

/// Sends a cast by address. Nobody there makes it a dead letter, and the sender is told.
fn send(
    slot: &Arc<Slot>,
    context: &CallContext,
    to: &ActorAddress,
    payload: Bytes,
) -> Result<(), MessagingError> {
    match whereto(slot, to) {
        Ok((target, export)) => {
            let context = CallContext {
                trace: context.trace,
                ..CallContext::default()
            };
            cast(&target, Some(slot.id()), export, bare(payload), context)
                .map_err(|error| told(*error.why))
        }
        Err(MessagingError::NoSuchActor) => {
            let address = to.clone();
            slot.shared().dead_letter_of_nobody(Failed {
                target: to.clone(),
                function: HANDLE_MESSAGE.path(),
                sender: Some(slot.address().clone()),
                sender_id: Some(slot.id()),
                args: bare(payload),
                why: CallError::NoSuchActor { address },
                at: std::time::SystemTime::now(),
                fatal: false,
                replay: None,
            });
            Err(MessagingError::NoSuchActor)
        }
        Err(why) => Err(why),
    }
}

impl Messaging for LinkedOutbound {
    fn start(&mut self, request: MessagingRequest) {
        let state = self
            .request(request)
            .unwrap_or_else(|why| State::Told(Err(why)));
        if let Some(plane) = &mut self.plane {
            plane.state = state;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Told> {
        let Some(plane) = &mut self.plane else {
            return Poll::Ready(Err(MessagingError::NoHandler));
        };
        match std::mem::replace(&mut plane.state, State::Quiet) {
            State::Told(told) => Poll::Ready(told),
            State::Calling(mut call) => match call.poll(&mut self.timer, cx) {
                Poll::Ready(Ok(results)) => Poll::Ready(payload(results)),
                Poll::Ready(Err(why)) => Poll::Ready(Err(told(why))),
                Poll::Pending => {
                    plane.state = State::Calling(call);
                    Poll::Pending
                }
            },
            State::Asking(mut asked) => match asked.as_mut().poll(cx) {
                Poll::Pending => {
                    plane.state = State::Asking(asked);
                    Poll::Pending
                }
                told => told,
            },
            State::Quiet => Poll::Ready(Err(MessagingError::NoReply)),
        }
    }
}
