//! A message under way.
//!
//! Owns [`Envelope`]: target, arguments, who asks, where the answer goes, and the permit it holds
//! in the mailbox. Dropping an envelope, wherever that happens, answers its port with the reason
//! (a cast becomes a dead letter) and frees its permit: no path loses a message silently. One
//! allocation a message.

use std::sync::Arc;

use airssys_wasm::{Args, ExportId};

use crate::address::ActorId;
use crate::crashes::Given;
use crate::dead_letters::Replay;
use crate::deadline::ReplyBy;
use crate::error::CallError;
use crate::exit::ExitReason;
use crate::reply::{Answer, ReplyPort};
use crate::signal::Posted;
use crate::slot::Slot;
use crate::topics::Subscription;
use crate::trace::TraceContext;

/// Most calls nested in one another, across actors (HOSTILE: call depth).
pub const CALL_DEPTH_MAX: u32 = 32;

/// Charged for an envelope beside its arguments, in bytes: its own allocation, rounded up.
pub(crate) const ENVELOPE_BYTES: u64 = 384;

/// What nested calls inherit from the call they are made in.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallContext {
    /// When the outermost caller stops waiting.
    pub(crate) reply_by: ReplyBy,
    /// Calls of actors this one is nested in.
    pub(crate) depth: u32,
    pub(crate) trace: Option<TraceContext>,
}

/// Where a message is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not begun: if it is dropped, the callee has seen nothing of it.
    Queued,
    /// In the callee's hands.
    Begun,
}

/// One message.
pub(crate) struct Envelope {
    pub(crate) target: Arc<Slot>,
    /// The actor that sent it; stamped by the host. `None` for a task of the host.
    pub(crate) sender: Option<ActorId>,
    pub(crate) export: ExportId,
    pub(crate) args: Args,
    pub(crate) context: CallContext,
    /// `None` for a cast, or when it has been answered.
    port: Option<ReplyPort>,
    cast: bool,
    /// Whether handling it has ended the callee by an error of its own.
    fatal: bool,
    /// If it is a dead letter that is sent again.
    replay: Option<Box<Replay>>,
    /// If it is no message but a signal.
    posted: Option<Box<Posted>>,
    /// The subscription it was published to, and the units held in its budget.
    published: Option<(Arc<Subscription>, u32)>,
    /// Units held in the target's budget.
    units: u32,
    stage: Stage,
}

impl Envelope {
    /// A call, to be pushed by the mailbox.
    pub(crate) fn call(
        target: Arc<Slot>,
        sender: Option<ActorId>,
        export: ExportId,
        args: Args,
        context: CallContext,
        port: ReplyPort,
    ) -> Box<Self> {
        Box::new(Self {
            target,
            sender,
            export,
            args,
            context,
            port: Some(port),
            cast: false,
            fatal: false,
            replay: None,
            posted: None,
            published: None,
            units: 0,
            stage: Stage::Queued,
        })
    }

    /// A cast, to be pushed by the mailbox.
    pub(crate) fn cast(
        target: Arc<Slot>,
        sender: Option<ActorId>,
        export: ExportId,
        args: Args,
        context: CallContext,
    ) -> Box<Self> {
        Box::new(Self {
            target,
            sender,
            export,
            args,
            context,
            port: None,
            cast: true,
            fatal: false,
            replay: None,
            posted: None,
            published: None,
            units: 0,
            stage: Stage::Queued,
        })
    }

    /// What is left of a call that its caller has begun and cannot end: where the answer goes.
    pub(crate) fn handed_over(
        target: Arc<Slot>,
        sender: Option<ActorId>,
        export: ExportId,
        port: ReplyPort,
        units: Option<u32>,
    ) -> Box<Self> {
        let context = CallContext::default();
        let mut envelope = Self::call(target, sender, export, Args::new(), context, port);
        envelope.stage = Stage::Begun;
        envelope.units = units.unwrap_or(0);
        envelope
    }

    /// A dead letter sent again, to be pushed by the mailbox.
    pub(crate) fn replayed(
        target: Arc<Slot>,
        sender: Option<ActorId>,
        export: ExportId,
        args: Args,
        replay: Replay,
    ) -> Box<Self> {
        let mut envelope = Self::cast(target, sender, export, args, CallContext::default());
        envelope.replay = Some(Box::new(replay));
        envelope
    }

    /// A signal, which nobody waits for and which is not counted.
    pub(crate) fn signal(target: Arc<Slot>, posted: Box<Posted>) -> Box<Self> {
        let context = CallContext::default();
        let mut envelope = Self::cast(target, None, ExportId::NONE, Args::new(), context);
        envelope.cast = false;
        envelope.posted = Some(posted);
        envelope
    }

    pub(crate) fn is_signal(&self) -> bool {
        self.posted.is_some()
    }

    /// The signal it is, if it is one.
    pub(crate) fn take_posted(&mut self) -> Option<Box<Posted>> {
        self.posted.take()
    }

    /// It goes to a subscriber, and holds `units` of the subscription's budget until it is finished.
    pub(crate) fn published(&mut self, subscription: Arc<Subscription>, units: u32) {
        self.published = Some((subscription, units));
    }

    /// Its turn has come: a publication that waits at its subscription is taken from there. `false` when nothing is
    /// left for this envelope to carry, and it vanishes.
    pub(crate) fn claim(&mut self) -> bool {
        self.published.is_none() || self.claim_published()
    }

    #[cold]
    fn claim_published(&mut self) -> bool {
        let claimed = self
            .published
            .as_ref()
            .and_then(|(subscription, _)| subscription.claim());
        match claimed {
            None => true,
            Some(found) => {
                self.published = None;
                self.cast = found.is_some();
                let Some((args, sender, trace)) = found else {
                    return false;
                };
                self.args = args;
                self.sender = sender;
                self.context.trace = trace;
                true
            }
        }
    }

    /// Whoever handles it ends because of it.
    pub(crate) fn ends_callee(&mut self) {
        self.fatal = true;
    }

    /// What whoever keeps the headers of messages has to know.
    pub(crate) fn given(&self) -> Given {
        Given {
            sender: self.sender,
            cast: self.cast,
            units: self.units,
        }
    }

    pub(crate) fn is_cast(&self) -> bool {
        self.cast
    }

    /// Whether it is a cast, and no dead letter that is sent again.
    pub(crate) fn is_new_cast(&self) -> bool {
        self.cast && self.replay.is_none()
    }

    /// What it holds of the target's budget.
    pub(crate) fn units(&self) -> u32 {
        self.units
    }

    /// The mailbox has reserved room for it.
    pub(crate) fn permitted(&mut self, units: u32) {
        self.units = units;
    }

    /// Whether handling it would help nobody: its caller has left, as it does when its reply-by passes.
    pub(crate) fn is_expired(&self) -> bool {
        self.port.as_ref().is_some_and(ReplyPort::is_abandoned)
    }

    /// It is kept for an answer later: `left` is called if its caller leaves first. `false` if it has left already.
    pub(crate) fn when_left(&self, left: impl FnOnce() + Send + 'static) -> bool {
        self.port.as_ref().is_some_and(|port| port.when_left(left))
    }

    /// A replica of the target has taken it, or gives it back: its caller waits for exactly that one, or for
    /// any again.
    pub(crate) fn moved(&self, from: ActorId, to: ActorId) {
        if let Some(port) = &self.port {
            port.moved(from, to);
        }
    }

    /// It goes into the callee's hands: the arguments leave it. A cast keeps a copy, so that it
    /// can be a whole dead letter if the callee dies.
    pub(crate) fn begin(&mut self) -> Args {
        self.stage = Stage::Begun;
        if self.cast {
            self.args.clone()
        } else {
            std::mem::take(&mut self.args)
        }
    }

    /// The callee has finished with it. Returns whether somebody waited for the answer.
    pub(crate) fn finish(mut self: Box<Self>, answer: Answer) -> bool {
        self.release();
        match self.port.take() {
            Some(port) => port.send(answer),
            None => {
                self.finish_cast(answer);
                false
            }
        }
    }

    /// It will not be handled, for this reason.
    pub(crate) fn fail(mut self: Box<Self>, why: CallError) {
        self.refuse(why);
    }

    /// Takes the arguments out of a message that was never accepted, so that they go back to the
    /// sender; nothing is answered or counted.
    pub(crate) fn recall(mut self: Box<Self>) -> Args {
        self.port = None;
        self.cast = false;
        self.release();
        std::mem::take(&mut self.args)
    }

    fn finish_cast(&mut self, answer: Answer) {
        if !std::mem::take(&mut self.cast) {
            return;
        }
        match answer {
            Ok(_) => {
                self.target.counters().cast_handled();
                if let Some(replay) = self.replay.take() {
                    self.target.dead_letter_handled(replay.sequence);
                }
            }
            Err(why) => {
                let undelivered = Undelivered {
                    sender: self.sender,
                    export: self.export,
                    args: std::mem::take(&mut self.args),
                    fatal: self.fatal || ended_callee(&why),
                    replay: self.replay.take(),
                    why,
                };
                self.target.dead_letter(undelivered);
            }
        }
    }

    fn refuse(&mut self, why: CallError) {
        self.claim();
        self.release();
        match self.port.take() {
            Some(port) => {
                port.send(Err(why));
            }
            None => self.finish_cast(Err(why)),
        }
    }

    /// Gives its room in the mailbox back.
    pub(crate) fn release(&mut self) {
        let units = std::mem::take(&mut self.units);
        if units > 0 {
            self.target.mailbox().release(units);
        }
        if let Some((subscription, units)) = self.published.take() {
            subscription.release(units);
        }
    }
}

/// Whether this is what handling the message did to the callee, and not what somebody else did to it.
fn ended_callee(why: &CallError) -> bool {
    match why {
        CallError::CalleeDied { reason, .. } => {
            !reason.is_normal() && !matches!(reason, ExitReason::Killed)
        }
        _ => false,
    }
}

/// What is left of a cast that was not handled.
pub(crate) struct Undelivered {
    pub(crate) sender: Option<ActorId>,
    pub(crate) export: ExportId,
    pub(crate) args: Args,
    pub(crate) why: CallError,
    /// Whether it has ended its actor.
    pub(crate) fatal: bool,
    pub(crate) replay: Option<Box<Replay>>,
}

impl Drop for Envelope {
    fn drop(&mut self) {
        if self.units == 0 && self.port.is_none() && !self.cast {
            return;
        }
        let address = self.target.address().clone();
        let reason = self.target.exit_reason();
        let why = match self.stage {
            Stage::Queued => CallError::Stopped {
                address,
                reason: reason.unwrap_or(ExitReason::Shutdown),
            },
            Stage::Begun => CallError::CalleeDied {
                address,
                reason: reason.unwrap_or(ExitReason::Killed),
            },
        };
        self.refuse(why);
    }
}
