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

use crate::deadline::LazyTimer;
use crate::envelope::{CALL_DEPTH_MAX, CallContext, Envelope};
use crate::error::CallError;
use crate::mailbox::{BackpressureStrategy, Refusal};
use crate::reply::{Answer, ReplyCell};
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
    /// Waiting for room in the mailbox.
    room: Option<Room>,
    counted: bool,
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
    /// Sends the message. An error is the call's end, already counted.
    pub(crate) fn start(request: CallRequest<'_>) -> Result<Self, CallError> {
        let target = request.target;
        target.counters().call();
        Self::send(request).inspect_err(|_| target.counters().ended(false))
    }

    fn send(request: CallRequest<'_>) -> Result<Self, CallError> {
        let CallRequest {
            target,
            caller,
            export,
            args,
            parent,
            within,
            cell,
        } = request;
        let depth = parent.chain.len() + usize::from(caller.is_some());
        if depth > CALL_DEPTH_MAX {
            return Err(CallError::CallDepth {
                depth,
                depth_max: CALL_DEPTH_MAX,
            });
        }
        let own = Instant::now() + within;
        let reply_by = parent.reply_by.map_or(own, |inherited| inherited.min(own));
        let mut chain = parent.chain.clone();
        if let Some(caller) = caller {
            wait_for::check(caller, target, &parent.chain)?;
            chain.push(caller.id());
        }
        let context = CallContext {
            reply_by: Some(reply_by),
            chain,
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
        let mut call = Self {
            target: Arc::clone(target),
            caller: caller.cloned(),
            cell: Arc::clone(cell),
            reply_by,
            within,
            room: None,
            counted: true,
        };
        // An error from here on drops `call`, which takes the wait-for edge back.
        match target.mailbox().push(envelope) {
            Ok(()) => {}
            Err(Refusal::Full(envelope))
                if target.mailbox().config().strategy == BackpressureStrategy::Block =>
            {
                let target = Arc::clone(target);
                call.room = Some(Box::pin(async move {
                    target.mailbox().push_blocked(envelope).await
                }));
            }
            Err(refusal) => return Err(refused(target, refusal).0),
        }
        call.counted = false;
        Ok(call)
    }

    /// The end of the call, if it has come. `timer` is the caller's, kept over its calls.
    pub(crate) fn poll(&mut self, timer: &mut LazyTimer, cx: &mut Context<'_>) -> Poll<Answer> {
        if let Some(room) = &mut self.room {
            match room.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => self.room = None,
                Poll::Ready(Err(refusal)) => {
                    self.room = None;
                    let why = refused(&self.target, refusal).0;
                    return Poll::Ready(self.end(Err(why)));
                }
                Poll::Pending => {}
            }
        }
        if self.room.is_none()
            && let Poll::Ready(answer) = self.cell.poll(cx)
        {
            return Poll::Ready(self.end(answer));
        }
        if timer.poll_reached(self.reply_by, cx) {
            // An answer that came just now still counts: it is looked for once more.
            if self.room.is_none()
                && let Poll::Ready(answer) = self.cell.poll(cx)
            {
                return Poll::Ready(self.end(answer));
            }
            self.cell.abandon();
            self.room = None;
            let why = CallError::Deadline {
                address: self.target.address().clone(),
                within: self.within,
            };
            return Poll::Ready(self.end(Err(why)));
        }
        Poll::Pending
    }

    fn end(&mut self, answer: Answer) -> Answer {
        if !std::mem::replace(&mut self.counted, true) {
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
            caller.wait_no_more();
        }
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        self.stop_waiting();
        if !self.counted {
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
