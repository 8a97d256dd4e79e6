//! One call from start to answer, on the caller's side.
//!
//! Owns [`begin`], which checks depth and cycles and tries the short road, and [`PendingCall`], for
//! what does not end there: it pushes the envelope (waiting for room where the mailbox says so), and
//! polls for the answer under the caller's reply-by. Whatever happens the call is counted exactly
//! once, and dropping it leaves the callee undisturbed. The host, native actors and links all call
//! through here. A call that ends on the short road makes no envelope, reads no clock and clones
//! nothing. What is rare on that road is in functions of its own, here and in `link` and `resting`: the code
//! of a call competes for the processor's instruction cache (docs/benchmarks.md, *Where an ask goes*).

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use airssys_wasm::{Args, ExportId};
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::counters::CallEnd;
use crate::deadline::{LazyTimer, ReplyBy};
use crate::envelope::{CALL_DEPTH_MAX, CallContext, Envelope};
use crate::error::CallError;
use crate::mailbox::{BackpressureStrategy, Refusal};
use crate::reply::{Answer, Ending, InPlace, ReplyCell};
use crate::resting::{self, Direct, Tried};
use crate::route::{Known, Routed, Tally};
use crate::slot::Slot;
use crate::wait_for;

type Room = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>;

/// A call under way.
pub(crate) struct PendingCall {
    target: Arc<Slot>,
    /// The calling actor, until the message is sent: whether it may wait is looked at then.
    caller: Option<Arc<Slot>>,
    /// Its edge is that of the calling actor, and stands while the call is pending.
    cell: Arc<ReplyCell>,
    reply_by: Instant,
    within: Duration,
    /// If the traffic of whom it was made to is split.
    tally: Option<Box<Tally>>,
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

/// What a call is made of, all but its arguments.
pub(crate) struct CallRequest<'a> {
    pub(crate) target: &'a Arc<Slot>,
    pub(crate) caller: Option<&'a Arc<Slot>>,
    pub(crate) export: ExportId,
    /// The call this one is nested in.
    pub(crate) parent: &'a CallContext,
    pub(crate) within: Duration,
    /// The caller's, if it has one for all its calls.
    pub(crate) cell: Option<&'a Arc<ReplyCell>>,
}

impl CallRequest<'_> {
    /// What the call's own nested calls inherit.
    fn context(&self, reply_by: ReplyBy) -> CallContext {
        CallContext {
            reply_by,
            depth: self.parent.depth + u32::from(self.caller.is_some()),
            trace: self.parent.trace,
        }
    }

    fn cell(&self) -> Arc<ReplyCell> {
        self.cell.cloned().unwrap_or_default()
    }

    fn late(&self) -> CallError {
        CallError::Deadline {
            address: self.target.address().clone(),
            within: self.within,
        }
    }
}

/// What became of a call at its first poll.
pub(crate) enum Begun {
    /// It has ended, and is counted.
    Ended(InPlace),
    /// It is to be polled on, at once.
    Waiting(PendingCall),
}

impl Begun {
    /// Whether it was made after its reply-by: nobody has been asked then, and nobody will be.
    pub(crate) fn is_late(&self) -> bool {
        match self {
            Self::Ended(Err(why)) => matches!(**why, CallError::Deadline { .. }),
            Self::Ended(Ok(())) => false,
            Self::Waiting(pending) => matches!(pending.state, State::Late),
        }
    }
}

/// Makes a call and waits for its end. `timer` is the caller's, kept over its calls.
pub(crate) async fn call(
    request: CallRequest<'_>,
    mut args: Args,
    timer: &mut LazyTimer,
) -> Answer {
    let known = &mut Known::default();
    match poll_fn(|cx| Poll::Ready(begin(&request, &mut args, known, cx))).await {
        Begun::Ended(ended) => ended.map(|()| args).map_err(|why| *why),
        Begun::Waiting(mut pending) => poll_fn(|cx| pending.poll(timer, cx)).await,
    }
}

/// Makes a call, by the short road where the callee rests. Takes the arguments, unless it refuses; if the call has ended
/// well, the results are in their place. `known` is the caller's, kept over its calls.
pub(crate) fn begin(
    request: &CallRequest<'_>,
    args: &mut Args,
    known: &mut Known,
    cx: &mut Context<'_>,
) -> Begun {
    let routed = request.target.route(request.export, args, known);
    let target = routed.target(request.target);
    // A task of the host may be another runtime's, whose timers must not end up in the callee.
    let handler = target.handler() == Some(request.export);
    if !target.may_rest() || handler || (request.caller.is_none() && !target.shared().is_at_home())
    {
        return by_mailbox(request, args, routed);
    }
    let Some(reply_by) = request.parent.reply_by.nested(request.within) else {
        return refused_at_once(target, request.late());
    };
    let context = request.context(reply_by);
    if let Err(why) = admit(&context, request.caller, target) {
        return refused_at_once(target, why);
    }
    let direct = Direct {
        target,
        caller: request.caller,
        export: request.export,
        context,
        cell: request.cell,
    };
    let ended = match resting::run_now(&direct, args, cx) {
        Tried::Ended(ended) => ended,
        Tried::No => return by_mailbox(request, args, routed),
        Tried::HandedOver { cell, reply_by } => return waiting(request, routed, cell, reply_by),
    };
    if let Some(caller) = request.caller {
        caller.edge().clear();
    }
    if let Err(why) = &ended {
        target.counters().call();
        target.counters().ended(CallEnd::of(why));
    }
    if !matches!(routed, Routed::Own) {
        routed.ended(request.target, in_place(&ended, args), known);
    }
    Begun::Ended(ended)
}

/// What a call has ended with whose results are in place of its arguments.
fn in_place<'a>(ended: &'a InPlace, args: &'a Args) -> Ending<'a> {
    match ended {
        Ok(()) => Ok(args),
        Err(why) => Err(why),
    }
}

/// The call becomes a message.
#[inline(never)]
fn by_mailbox(request: &CallRequest<'_>, args: &mut Args, routed: Routed) -> Begun {
    Begun::Waiting(PendingCall::start_by(request, std::mem::take(args), routed))
}

#[cold]
fn refused_at_once(target: &Slot, why: CallError) -> Begun {
    target.counters().call();
    target.counters().ended(CallEnd::CallersFault);
    Begun::Ended(Err(Box::new(why)))
}

/// The call has begun, and is the callee's own.
#[cold]
fn waiting(
    request: &CallRequest<'_>,
    routed: Routed,
    cell: Arc<ReplyCell>,
    reply_by: Instant,
) -> Begun {
    let target = routed.target(request.target);
    target.counters().call();
    Begun::Waiting(PendingCall {
        target: Arc::clone(target),
        caller: None,
        cell,
        reply_by,
        within: request.within,
        state: State::Sent,
        tally: routed.wait(request.target),
    })
}

/// Whether a call may be made at all. Notes whom the caller waits for.
fn admit(
    context: &CallContext,
    caller: Option<&Arc<Slot>>,
    target: &Arc<Slot>,
) -> Result<(), CallError> {
    let depth = context.depth;
    if depth > CALL_DEPTH_MAX {
        return Err(CallError::CallDepth {
            depth,
            depth_max: CALL_DEPTH_MAX,
        });
    }
    caller.map_or(Ok(()), |caller| wait_for::note(caller, target))
}

impl PendingCall {
    /// Makes the message; the first poll sends it, by the mailbox.
    pub(crate) fn start(request: &CallRequest<'_>, args: Args) -> Self {
        let known = &mut Known::default();
        let routed = request.target.route(request.export, &args, known);
        Self::start_by(request, args, routed)
    }

    /// The same, once it is known where it goes.
    pub(crate) fn start_by(request: &CallRequest<'_>, args: Args, routed: Routed) -> Self {
        let target = routed.target(request.target);
        target.counters().call();
        let cell = request.cell();
        let nested = request.parent.reply_by.nested(request.within);
        let reply_by = nested.unwrap_or_default().moment();
        let context = request.context(ReplyBy::At(reply_by));
        let &CallRequest {
            caller,
            export,
            within,
            ..
        } = request;
        let state = if nested.is_none() {
            State::Late
        } else {
            let sender = caller.map(|slot| slot.id());
            let target = Arc::clone(target);
            State::New(Envelope::call(
                target,
                sender,
                export,
                args,
                context,
                cell.open(),
            ))
        };
        Self {
            target: Arc::clone(target),
            caller: caller.cloned(),
            cell,
            reply_by,
            within,
            state,
            tally: routed.wait(request.target),
        }
    }

    /// Sends the message.
    fn send(&mut self, mut envelope: Box<Envelope>) -> Result<State, CallError> {
        let caller = self.caller.take();
        if self.tally.as_ref().is_some_and(|tally| tally.is_over()) {
            envelope = self.divert(envelope).unwrap_or_else(|envelope| envelope);
        }
        loop {
            admit(&envelope.context, caller.as_ref(), &self.target)?;
            if let Some(caller) = &caller {
                wait_for::check(caller, &self.target)?;
            }
            match self.target.mailbox().push(envelope) {
                Ok(()) => return Ok(State::Sent),
                Err(Refusal::Full(envelope))
                    if self.target.mailbox().config().strategy == BackpressureStrategy::Block =>
                {
                    let target = Arc::clone(&self.target);
                    let room = async move { target.mailbox().push_blocked(envelope).await };
                    return Ok(State::Room(Box::pin(room)));
                }
                Err(refusal) => envelope = self.refused(refusal)?,
            }
        }
    }

    /// The message was not accepted. One that a candidate takes no more is the stable actor's.
    fn refused(&mut self, refusal: Refusal) -> Result<Box<Envelope>, CallError> {
        match refusal {
            Refusal::Closed(envelope) => self
                .divert(envelope)
                .map_err(|envelope| refused(&self.target, Refusal::Closed(envelope)).0),
            refusal => Err(refused(&self.target, refusal).0),
        }
    }

    /// Turns a message for a candidate to the stable actor; any other comes back.
    fn divert(&mut self, mut envelope: Box<Envelope>) -> Result<Box<Envelope>, Box<Envelope>> {
        let tally = self.tally.as_mut();
        let Some((stable, tally)) = tally.and_then(|tally| Some((tally.instead()?, tally))) else {
            return Err(envelope);
        };
        let target = &self.target;
        target.counters().call_goes_elsewhere();
        stable.counters().call();
        self.cell.edge().moved(target.id(), stable.id());
        envelope.target = Arc::clone(&stable);
        self.target = stable;
        // Last: who waits for the candidate to be left alone finds it so.
        tally.divert();
        Ok(envelope)
    }

    /// Whether it has been pushed, or has ended.
    pub(crate) fn is_sent(&self) -> bool {
        matches!(self.state, State::Sent | State::Ended)
    }

    /// Sends the messages of calls that have not been sent, with one reservation for each target. What does not fit
    /// at once is left to the first poll of each.
    pub(crate) fn send_all(calls: &mut [Self]) {
        let mut targets: SmallVec<[Arc<Slot>; 2]> = SmallVec::new();
        for call in calls.iter() {
            if !targets.iter().any(|known| known.id() == call.target.id()) {
                targets.push(Arc::clone(&call.target));
            }
        }
        for target in targets {
            Self::send_all_to(&target, calls);
        }
    }

    fn send_all_to(target: &Slot, calls: &mut [Self]) {
        let is_to = |call: &Self| call.target.id() == target.id();
        let mut envelopes = Vec::with_capacity(calls.len());
        for call in calls.iter_mut().filter(|call| is_to(call)) {
            match std::mem::replace(&mut call.state, State::Sent) {
                State::New(envelope) => envelopes.push(envelope),
                other => call.state = other,
            }
        }
        let Err(refused) = target.mailbox().push_all(envelopes) else {
            return;
        };
        let mut refused = refused.into_iter();
        for call in calls.iter_mut().filter(|call| is_to(call)) {
            if matches!(call.state, State::Sent)
                && let Some(envelope) = refused.next()
            {
                call.state = State::New(envelope);
            }
        }
    }

    /// The end of the call, if it has come. `timer` is the caller's, kept over its calls.
    pub(crate) fn poll(&mut self, timer: &mut LazyTimer, cx: &mut Context<'_>) -> Poll<Answer> {
        // While the message is being sent the call counts as sent: if it is left then, it is abandoned.
        match std::mem::replace(&mut self.state, State::Sent) {
            State::New(envelope) => match self.send(envelope) {
                Ok(state) => self.state = state,
                Err(why) => return Poll::Ready(self.end(Err(why))),
            },
            State::Late => {
                let address = self.target.address().clone();
                let within = self.within;
                // Whoever it was for has had no part in it.
                self.tally = None;
                let why = CallError::Deadline { address, within };
                return Poll::Ready(self.end_as(CallEnd::CallersFault, Err(why)));
            }
            other => self.state = other,
        }
        if let State::Room(room) = &mut self.state {
            match room.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => self.state = State::Sent,
                Poll::Ready(Err(refusal)) => {
                    let again = self.refused(refusal);
                    match again.and_then(|envelope| self.send(envelope)) {
                        Ok(state) => self.state = state,
                        Err(why) => return Poll::Ready(self.end(Err(why))),
                    }
                    return self.poll(timer, cx);
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
        let end = answer
            .as_ref()
            .map_or_else(CallEnd::of, |_| CallEnd::Replied);
        self.end_as(end, answer)
    }

    fn end_as(&mut self, end: CallEnd, answer: Answer) -> Answer {
        if !matches!(
            std::mem::replace(&mut self.state, State::Ended),
            State::Ended
        ) {
            self.target.counters().ended(end);
        }
        if let Some(tally) = self.tally.take() {
            tally.ended(answer.as_ref());
        }
        self.cell.edge().clear();
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
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        if !matches!(self.state, State::Ended) {
            self.cell.edge().clear();
            self.cell.abandon();
            self.target.counters().abandoned();
        }
    }
}

/// The error for a refused push, and the arguments; `None` of a cast that was dropped, which is counted, and a dead letter
/// now.
pub(crate) fn refused(target: &Slot, refusal: Refusal) -> (CallError, Option<Args>) {
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
                Some(envelope.recall()),
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
                Some(envelope.recall()),
            )
        }
        Refusal::Closed(envelope) => {
            let why = match target.exit_reason() {
                Some(reason) => CallError::Stopped { address, reason },
                None => CallError::NoSuchActor { address },
            };
            (why, Some(envelope.recall()))
        }
        Refusal::Newest(envelope) => {
            let why = target.mailbox().evicted(&envelope);
            if envelope.is_new_cast() {
                target.counters().cast();
                envelope.fail(why.clone());
                (why, None)
            } else {
                (why, Some(envelope.recall()))
            }
        }
    }
}
