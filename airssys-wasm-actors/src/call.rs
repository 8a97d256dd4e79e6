//! One call from start to answer, on the caller's side.
//!
//! Owns [`PendingCall`]: it checks depth and cycles, pushes the envelope (waiting for room where
//! the mailbox says so), and polls for the answer under the caller's reply-by. Whatever happens
//! the call is counted exactly once, and dropping it leaves the callee undisturbed. The host, native
//! actors and links all call through here.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use airssys_wasm::{Args, ExportId};
use tokio::time::Instant;

use crate::deadline::{LazyTimer, after};
use crate::envelope::{CALL_DEPTH_MAX, CallContext, Envelope};
use crate::error::CallError;
use crate::mailbox::{BackpressureStrategy, Refusal};
use crate::reply::{Answer, ReplyCell};
use crate::resting;
use crate::slot::Slot;
use crate::wait_for;

type Room = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>;

/// A call under way.
pub(crate) struct PendingCall {
    target: Arc<Slot>,
    /// The calling actor, whose wait-for edge stands while the call is pending.
    caller: Option<Arc<Slot>>,
    cell: Arc<ReplyCell>,
    reply_by: Instant,
    within: Duration,
    state: State,
}

enum State {
    /// Not sent before the first poll, which knows whom to wake.
    New(Box<Envelope>),
    /// Made after its reply-by: the call it is nested in is waited for no longer.
    Late,
    /// Waiting for room in the mailbox.
    Room(Room),
    Sent,
    /// Ended, and counted.
    Ended,
}

/// What a call is made of.
pub(crate) struct CallRequest<'a> {
    pub(crate) target: &'a Arc<Slot>,
    pub(crate) caller: Option<&'a Arc<Slot>>,
    pub(crate) export: ExportId,
    pub(crate) args: Args,
    /// The call this one is nested in.
    pub(crate) parent: &'a CallContext,
    pub(crate) within: Duration,
    pub(crate) cell: &'a Arc<ReplyCell>,
}

impl PendingCall {
    /// Makes the message; the first poll sends it.
    pub(crate) fn start(request: CallRequest<'_>) -> Self {
        let CallRequest {
            target,
            caller,
            export,
            args,
            parent,
            within,
            cell,
        } = request;
        target.counters().call();
        let now = Instant::now();
        let own = after(now, within);
        let reply_by = parent.reply_by.map_or(own, |inherited| inherited.min(own));
        let context = CallContext {
            reply_by: Some(reply_by),
            depth: parent.depth + u32::from(caller.is_some()),
            trace: parent.trace,
        };
        let sender = caller.map(|slot| slot.id());
        let envelope = Envelope::call(
            Arc::clone(target),
            sender,
            export,
            args,
            context,
            cell.open(),
        );
        Self {
            target: Arc::clone(target),
            caller: caller.cloned(),
            cell: Arc::clone(cell),
            reply_by,
            within,
            state: if reply_by <= now {
                State::Late
            } else {
                State::New(envelope)
            },
        }
    }

    /// Sends the message, by the short road where the callee rests.
    fn send(&mut self, envelope: Box<Envelope>, cx: &mut Context<'_>) -> Result<State, CallError> {
        let depth = envelope.context.depth;
        if depth > CALL_DEPTH_MAX {
            return Err(CallError::CallDepth {
                depth,
                depth_max: CALL_DEPTH_MAX,
            });
        }
        if let Some(caller) = &self.caller {
            wait_for::check(caller, &self.target)?;
        }
        // A task of the host may be another runtime's, whose timers must not end up in the callee.
        let at_home = self.caller.is_some() || self.target.shared().is_at_home();
        let envelope = if at_home {
            match resting::run_now(&self.target, envelope, cx) {
                Ok(()) => return Ok(State::Sent),
                Err(envelope) => envelope,
            }
        } else {
            envelope
        };
        match self.target.mailbox().push(envelope) {
            Ok(()) => Ok(State::Sent),
            Err(Refusal::Full(envelope))
                if self.target.mailbox().config().strategy == BackpressureStrategy::Block =>
            {
                let target = Arc::clone(&self.target);
                let room = async move { target.mailbox().push_blocked(envelope).await };
                Ok(State::Room(Box::pin(room)))
            }
            Err(refusal) => Err(refused(&self.target, refusal).0),
        }
    }

    /// The end of the call, if it has come. `timer` is the caller's, kept over its calls.
    pub(crate) fn poll(&mut self, timer: &mut LazyTimer, cx: &mut Context<'_>) -> Poll<Answer> {
        // While the message is being sent the call counts as sent: if it is left then, it is abandoned.
        match std::mem::replace(&mut self.state, State::Sent) {
            State::New(envelope) => match self.send(envelope, cx) {
                Ok(state) => self.state = state,
                Err(why) => return Poll::Ready(self.end(Err(why))),
            },
            State::Late => {
                let address = self.target.address().clone();
                let within = self.within;
                return Poll::Ready(self.end(Err(CallError::Deadline { address, within })));
            }
            other => self.state = other,
        }
        if let State::Room(room) = &mut self.state {
            match room.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => self.state = State::Sent,
                Poll::Ready(Err(refusal)) => {
                    let why = refused(&self.target, refusal).0;
                    return Poll::Ready(self.end(Err(why)));
                }
                Poll::Pending => {}
            }
        }
        let sent = matches!(self.state, State::Sent);
        if sent && let Poll::Ready(answer) = self.cell.poll(cx) {
            return Poll::Ready(self.end(answer));
        }
        if !timer.poll_reached(self.reply_by, cx) {
            return Poll::Pending;
        }
        // An answer that came just now still counts: it is looked for once more.
        if sent && let Poll::Ready(answer) = self.cell.poll(cx) {
            return Poll::Ready(self.end(answer));
        }
        self.cell.abandon();
        let address = self.target.address().clone();
        Poll::Ready(self.end(Err(CallError::Deadline {
            address,
            within: self.within,
        })))
    }

    fn end(&mut self, answer: Answer) -> Answer {
        if !matches!(
            std::mem::replace(&mut self.state, State::Ended),
            State::Ended
        ) {
            self.target.counters().ended(answer.is_ok());
        }
        self.stop_waiting();
        match answer {
            // The callee skipped the expired message before our own timer was looked at; how long we
            // were ready to wait is known here.
            Err(CallError::Deadline { address, .. }) => Err(CallError::Deadline {
                address,
                within: self.within,
            }),
            answer => answer,
        }
    }

    fn stop_waiting(&mut self) {
        if let Some(caller) = self.caller.take() {
            caller.edge().clear();
        }
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        self.stop_waiting();
        if !matches!(self.state, State::Ended) {
            self.cell.abandon();
            self.target.counters().abandoned();
        }
    }
}

/// The error for a refused push, and the arguments.
pub(crate) fn refused(target: &Slot, refusal: Refusal) -> (CallError, Args) {
    let address = target.address().clone();
    match refusal {
        Refusal::Full(envelope) => {
            let (queued, queued_bytes) = target.mailbox().usage();
            (
                CallError::MailboxFull {
                    address,
                    queued,
                    queued_bytes,
                },
                envelope.recall(),
            )
        }
        Refusal::TooLarge(envelope, bytes) => {
            let config = target.mailbox().config();
            let bytes_max = config.message_bytes_max.min(config.bytes_max);
            (
                CallError::TooLarge {
                    address,
                    bytes,
                    bytes_max,
                },
                envelope.recall(),
            )
        }
        Refusal::Closed(envelope) => {
            let why = match target.exit_reason() {
                Some(reason) => CallError::Stopped { address, reason },
                None => CallError::NoSuchActor { address },
            };
            (why, envelope.recall())
        }
    }
}
