//! A message under way.
//!
//! Owns [`Envelope`]: target, arguments, who asks, where the answer goes, and the permit it holds
//! in the mailbox. Dropping an envelope, wherever that happens, answers its port with the reason
//! (a cast becomes a dead letter) and frees its permit: no path loses a message silently. One
//! allocation a message.

use std::sync::Arc;

use airssys_wasm::{Args, ExportId};
use tokio::time::Instant;

use crate::address::ActorId;
use crate::dead_letters::Replay;
use crate::error::CallError;
use crate::exit::ExitReason;
use crate::reply::{Answer, ReplyPort};
use crate::slot::Slot;
use crate::trace::TraceContext;

/// Most calls nested in one another, across actors (HOSTILE: call depth).
pub const CALL_DEPTH_MAX: u32 = 32;

/// Charged for an envelope beside its arguments, in bytes: its own allocation, rounded up.
pub(crate) const ENVELOPE_BYTES: u64 = 384;

/// What nested calls inherit from the call they are made in.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallContext {
    /// When the outermost caller stops waiting.
    pub(crate) reply_by: Option<Instant>,
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
            units: 0,
            stage: Stage::Queued,
        })
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

    /// Whoever handles it ends because of it.
    pub(crate) fn ends_callee(&mut self) {
        self.fatal = true;
    }

    pub(crate) fn is_cast(&self) -> bool {
        self.cast
    }

    /// The mailbox has reserved room for it.
    pub(crate) fn permitted(&mut self, units: u32) {
        self.units = units;
    }

    /// Whether handling it would help nobody: its reply-by has passed, or its caller has left.
    pub(crate) fn is_expired(&self) -> bool {
        match &self.port {
            Some(port) => {
                port.is_abandoned() || self.context.reply_by.is_some_and(|at| at <= Instant::now())
            }
            None => false,
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

    /// The callee has finished with it.
    pub(crate) fn finish(mut self: Box<Self>, answer: Answer) {
        self.release();
        match self.port.take() {
            Some(port) => {
                port.send(answer);
            }
            None => self.finish_cast(answer),
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
