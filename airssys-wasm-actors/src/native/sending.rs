//! What a native actor sends without waiting.
//!
//! Owns the casts of [`Context`]: the sender is stamped here, never given. A cast to an actor that is gone is kept as a
//! dead letter.

use std::sync::Arc;

use airssys_wasm::{Args, ExportId, IntoArgs};

use super::Context;
use crate::address::{ActorAddress, ActorId};
use crate::envelope::{CallContext, Undelivered};
use crate::error::{CallError, SendError};
use crate::reference::ActorFunction;
use crate::route::{NotSent, push_cast};
use crate::slot::Slot;

/// Sends a cast in the name of `sender`. What a retired actor would have been sent is a dead letter; what has no room
/// comes back, unless the mailbox drops what is new.
pub(crate) fn cast(
    target: &Arc<Slot>,
    sender: Option<ActorId>,
    export: ExportId,
    args: Args,
    context: CallContext,
) -> Result<(), SendError> {
    let NotSent { target, mut error } = match push_cast(target, sender, export, args, context) {
        Ok(()) => return Ok(()),
        Err(refused) => refused,
    };
    let is_gone = matches!(
        *error.why,
        CallError::Stopped { .. } | CallError::NoSuchActor { .. }
    );
    if is_gone && let Some(args) = error.args.take() {
        target.counters().cast();
        target.dead_letter(Undelivered {
            sender,
            export,
            args: *args,
            why: CallError::clone(&error.why),
            fatal: false,
            replay: None,
        });
    }
    Err(error)
}

impl Context {
    /// Sends a message nobody waits for, with this actor as its sender.
    ///
    /// # Errors
    /// [`SendError`]: with the arguments when they do not fit the function, or the mailbox did not accept the message;
    /// without them when the message is a dead letter now, because the actor is gone or its mailbox drops the newest.
    pub fn cast(&self, function: &ActorFunction, args: impl IntoArgs) -> Result<(), SendError> {
        let args = function.fitting(args.into_args())?;
        let context = CallContext {
            trace: self.context.trace,
            ..CallContext::default()
        };
        cast(
            function.slot(),
            Some(self.slot.id()),
            function.export(),
            args,
            context,
        )
    }

    /// As [`Context::cast`], looking the actor and the function up first.
    ///
    /// # Errors
    /// As [`Context::cast`]; nobody at the address is [`CallError::NoSuchActor`], with the arguments.
    pub fn cast_by_name(
        &self,
        address: &ActorAddress,
        path: &str,
        args: impl IntoArgs,
    ) -> Result<(), SendError> {
        let function = match self.whereis(address) {
            Some(actor) => actor.function(path).map_err(CallError::from),
            None => Err(CallError::NoSuchActor {
                address: address.clone(),
            }),
        };
        match function {
            Ok(function) => self.cast(&function, args),
            Err(why) => Err(SendError {
                why: Box::new(why),
                args: Some(Box::new(args.into_args())),
            }),
        }
    }
}
