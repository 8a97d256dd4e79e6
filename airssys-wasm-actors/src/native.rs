//! Native actors: Rust code in the same system, under the same supervision.
//!
//! Owns the [`Actor`] trait in airssys-rt's words, the [`Message`] it handles and the [`Context`]
//! it calls others through. A native actor is addressed like a component: by functions with WIT
//! types, so that components can be linked to it, and the other way round. It decides only whether
//! an error is survived; restarting is its supervisor's.

use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::{Args, ArgsMismatch, ExportId, FromArgs, IntoArgs, Surface, WitError};
use futures_util::FutureExt;

use crate::address::ActorAddress;
use crate::call::{CallRequest, PendingCall};
use crate::deadline::LazyTimer;
use crate::drain::Behaviour;
use crate::envelope::{CallContext, Envelope};
use crate::error::CallError;
use crate::exit::{ExitReason, bounded, with_sources};
use crate::health::ChildHealth;
use crate::link::REPLY_WITHIN_DEFAULT;
use crate::reference::{ActorFunction, ActorRef};
use crate::reply::{Answer, ReplyCell};
use crate::slot::Slot;
use crate::trace::TraceContext;

/// What a native actor does about an error of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorAction {
    /// Go on with the next message.
    Resume,
    /// End; the supervisor decides what then.
    Exit,
}

/// An actor written in Rust.
///
/// One message at a time; state is `self`. A panic ends the actor like an error that exits.
pub trait Actor: Sized + Send + 'static {
    /// What its handlers fail with: an error type, or `Box<dyn Error + Send + Sync>`.
    type Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static;

    /// The functions others can call, usually by [`Surface::from_wit`]; `Ok(Surface::default())` for none.
    ///
    /// # Errors
    /// [`WitError`] when the WIT is not valid; the actor is then not started.
    fn surface() -> Result<Surface, WitError>;

    /// Runs before the first message. An error is a failed start.
    fn pre_start(
        &mut self,
        _ctx: &mut Context,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        async { Ok(()) }
    }

    /// Handles one message. A call that is not answered with [`Message::reply`] fails for its
    /// caller, with the error returned here if there is one.
    fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Says how it is, when asked between two messages.
    fn health(&mut self) -> impl Future<Output = ChildHealth> + Send {
        async { ChildHealth::Healthy }
    }

    /// Chooses what an error of [`Actor::handle_message`] means.
    fn on_error(&mut self, _error: &Self::Error) -> ErrorAction {
        ErrorAction::Exit
    }

    /// Runs when the actor ends by itself or is asked to; not when it is killed or has panicked.
    fn post_stop(&mut self, _reason: &ExitReason) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// A message in the hands of a native actor.
pub struct Message {
    envelope: Option<Box<Envelope>>,
    args: Option<Args>,
    slot: Arc<Slot>,
    function: ExportId,
}

impl Message {
    fn open(mut envelope: Box<Envelope>, slot: &Arc<Slot>) -> Self {
        let args = envelope.begin();
        let function = envelope.export;
        Self {
            envelope: Some(envelope),
            args: Some(args),
            slot: Arc::clone(slot),
            function,
        }
    }

    /// The function called, without its interface.
    #[must_use]
    pub fn function(&self) -> &str {
        self.resolved().map_or("", |(_, name)| name)
    }

    /// The interface of the function called, such as `quakes:app/parse@0.1.0`.
    #[must_use]
    pub fn interface(&self) -> &str {
        self.resolved().map_or("", |(interface, _)| interface)
    }

    fn resolved(&self) -> Option<(&str, &str)> {
        let (interface, function) = self.slot.surface().export_function(self.function)?;
        Some((interface.as_str(), &function.name))
    }

    /// The arguments, as Rust values; once.
    ///
    /// # Errors
    /// [`ArgsMismatch`] when the values are of other types, or have been taken before.
    pub fn args<T: FromArgs>(&mut self) -> Result<T, ArgsMismatch> {
        T::from_args(self.args.take().unwrap_or_default())
    }

    /// The actor that sent it; `None` for a task of the host, or if the sender has no name any
    /// more.
    #[must_use]
    pub fn sender(&self) -> Option<ActorAddress> {
        let sender = self.envelope.as_ref()?.sender?;
        self.slot.shared().address_of(sender)
    }

    /// Whether nobody waits for an answer.
    #[must_use]
    pub fn is_cast(&self) -> bool {
        self.envelope
            .as_ref()
            .is_none_or(|envelope| envelope.is_cast())
    }

    /// The trace this message belongs to.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        self.envelope.as_ref()?.context.trace
    }

    /// Answers; only the first answer counts.
    pub fn reply(&mut self, results: impl IntoArgs) {
        self.finish(Ok(results.into_args()));
    }

    fn finish(&mut self, answer: Answer) {
        if let Some(envelope) = self.envelope.take() {
            envelope.finish(answer);
        }
    }

    /// The handler has returned: what has not been answered is answered now.
    fn close(&mut self, failed: Option<&dyn std::error::Error>) {
        let cast = self.is_cast();
        let answer = match failed {
            None if cast => Ok(Args::new()),
            None => Err(self.native("handled the call without a reply".to_owned())),
            Some(error) => Err(self.native(bounded(&with_sources(error)).to_string())),
        };
        self.finish(answer);
    }

    fn native(&self, message: String) -> CallError {
        CallError::Native {
            address: self.slot.address().clone(),
            message,
        }
    }
}

/// What a native actor has of the system it lives in.
pub struct Context {
    slot: Arc<Slot>,
    context: CallContext,
    cell: Arc<ReplyCell>,
    timer: LazyTimer,
}

impl Context {
    fn new(slot: Arc<Slot>) -> Self {
        let cell = ReplyCell::with_edge(slot.edge().clone());
        Self {
            slot,
            context: CallContext::default(),
            cell,
            timer: LazyTimer::default(),
        }
    }

    /// The actor's own address.
    #[must_use]
    pub fn address(&self) -> &ActorAddress {
        self.slot.address()
    }

    /// The actor that has an address now.
    #[must_use]
    pub fn whereis(&self, address: &ActorAddress) -> Option<ActorRef> {
        self.slot.shared().whereis(address).map(ActorRef::new)
    }

    /// Calls another actor and waits for the reply, at most 5 s and never longer than the message
    /// being handled may take. Nested in that message: cycles are found.
    ///
    /// # Errors
    /// [`CallError`], as [`ActorFunction::call`].
    pub async fn call(
        &mut self,
        function: &ActorFunction,
        args: impl IntoArgs,
    ) -> Result<Args, CallError> {
        self.call_within(function, args, REPLY_WITHIN_DEFAULT).await
    }

    /// As [`Context::call`], looking the actor and the function up first. Resolve them once with
    /// [`Context::whereis`] and [`ActorRef::function`] where calls are many.
    ///
    /// # Errors
    /// [`CallError`], as [`ActorFunction::call`].
    pub async fn call_by_name(
        &mut self,
        address: &ActorAddress,
        path: &str,
        args: impl IntoArgs,
    ) -> Result<Args, CallError> {
        let no_such_actor = || CallError::NoSuchActor {
            address: address.clone(),
        };
        let actor = self.whereis(address).ok_or_else(no_such_actor)?;
        self.call(&actor.function(path)?, args).await
    }

    /// As [`Context::call`], with its own longest wait.
    ///
    /// # Errors
    /// [`CallError`], as [`ActorFunction::call`].
    pub async fn call_within(
        &mut self,
        function: &ActorFunction,
        args: impl IntoArgs,
        within: Duration,
    ) -> Result<Args, CallError> {
        let mut pending = PendingCall::start(CallRequest {
            target: function.slot(),
            caller: Some(&self.slot),
            export: function.export(),
            args: args.into_args(),
            parent: &self.context,
            within,
            cell: &self.cell,
        });
        poll_fn(|cx| pending.poll(&mut self.timer, cx)).await
    }
}

/// A native actor that runs.
pub(crate) struct NativeBehaviour<A> {
    actor: A,
    context: Context,
}

impl<A: Actor> NativeBehaviour<A> {
    /// Makes the actor and runs its `pre_start`.
    pub(crate) async fn start(
        factory: &(dyn Fn() -> A + Send + Sync),
        slot: &Arc<Slot>,
    ) -> Result<Self, ExitReason> {
        let mut started = Self {
            actor: factory(),
            context: Context::new(Arc::clone(slot)),
        };
        slot.running(None);
        match started.actor.pre_start(&mut started.context).await {
            Ok(()) => Ok(started),
            Err(error) => Err(ExitReason::start_failed(&with_sources(&*error.into()))),
        }
    }
}

impl<A: Actor> Behaviour for NativeBehaviour<A> {
    async fn deliver(mut self, mut envelope: Box<Envelope>) -> Result<Self, ExitReason> {
        self.context.context = envelope.context.clone();
        let slot = Arc::clone(&self.context.slot);
        envelope.context.reply_by = None;
        let mut message = Message::open(envelope, &slot);
        let handling = self.actor.handle_message(&mut message, &mut self.context);
        match AssertUnwindSafe(handling).catch_unwind().await {
            Ok(Ok(())) => {
                message.close(None);
                Ok(self)
            }
            Ok(Err(error)) => {
                let action = self.actor.on_error(&error);
                let error = error.into();
                if matches!(action, ErrorAction::Exit)
                    && let Some(envelope) = &mut message.envelope
                {
                    envelope.ends_callee();
                }
                message.close(Some(&*error));
                match action {
                    ErrorAction::Resume => Ok(self),
                    ErrorAction::Exit => {
                        let reason = ExitReason::error(&*error);
                        self.actor.post_stop(&reason).await;
                        Err(reason)
                    }
                }
            }
            Err(panic) => {
                let reason = ExitReason::panicked(&*panic);
                let address = slot.address().clone();
                message.finish(Err(CallError::CalleeDied {
                    address,
                    reason: reason.clone(),
                }));
                Err(reason)
            }
        }
    }

    async fn health(mut self) -> Result<(Self, ChildHealth), ExitReason> {
        let health = self.actor.health().await;
        Ok((self, health))
    }

    async fn stop(mut self, reason: ExitReason) -> ExitReason {
        self.actor.post_stop(&reason).await;
        reason
    }
}
