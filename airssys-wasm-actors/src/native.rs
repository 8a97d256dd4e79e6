//! Native actors: Rust code in the same system, under the same supervision.
//!
//! Owns the [`Actor`] trait in airssys-rt's words, the [`Message`] it handles and the [`Context`]
//! it calls others through. A native actor is addressed like a component: by functions with WIT
//! types, so that components can be linked to it, and the other way round. It decides only whether
//! an error is survived; restarting is its supervisor's.

mod deferred;
mod plane;
mod sending;
mod watching;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::{Args, ArgsMismatch, ExportId, FromArgs, IntoArgs, Surface, WitError};
use futures_util::FutureExt;

use crate::address::{ActorAddress, ActorId};
use crate::call::{CallRequest, call};
use crate::crashes::Recent;
use crate::deadline::LazyTimer;
use crate::drain::Behaviour;
use crate::envelope::{CallContext, Envelope};
use crate::error::CallError;
use crate::exit::{ExitReason, bounded, with_sources};
use crate::groups::Group;
use crate::health::ChildHealth;
use crate::link::REPLY_WITHIN_DEFAULT;
use crate::mailbox::Control;
use crate::messaging::Holdings;
pub(crate) use crate::native::deferred::Home;
pub use crate::native::deferred::Reply;
pub(crate) use crate::native::sending::cast;
use crate::reference::{ActorFunction, ActorRef};
use crate::reply::{Answer, ReplyCell};
use crate::signal::Signal;
use crate::slot::Slot;
use crate::trace::TraceContext;

/// How long [`Actor::health`] may take at most. Far more than any check waits, which ends an actor sooner;
/// nothing else ends one that somebody has asked and that never goes on.
pub const HEALTH_WITHIN_MAX: Duration = Duration::from_secs(600);

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

    /// Handles one message. A call that is neither answered with [`Message::reply`] nor taken by
    /// [`Message::defer`] fails for its caller, with the error returned here if there is one.
    fn handle_message(
        &mut self,
        message: &mut Message,
        ctx: &mut Context,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Is told of the end of an actor it monitors or, if it traps exits, is linked to. An error means what one
    /// of [`Actor::handle_message`] does.
    fn handle_signal(
        &mut self,
        _signal: Signal,
        _ctx: &mut Context,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        async { Ok(()) }
    }

    /// Says how it is, when asked between two messages, which wait meanwhile. An actor that has not said so within
    /// [`HEALTH_WITHIN_MAX`] ends, whoever asked.
    fn health(&mut self) -> impl Future<Output = ChildHealth> + Send {
        async { ChildHealth::Healthy }
    }

    /// Chooses what an error of [`Actor::handle_message`] or [`Actor::handle_signal`] means.
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
    /// `None` once answered, or deferred.
    envelope: Option<Box<Envelope>>,
    args: Option<Args>,
    home: Arc<Home>,
    function: ExportId,
    sender: Option<ActorId>,
    trace: Option<TraceContext>,
    cast: bool,
}

impl Message {
    fn open(mut envelope: Box<Envelope>, home: &Arc<Home>) -> Self {
        let args = envelope.begin();
        Self {
            function: envelope.export,
            sender: envelope.sender,
            trace: envelope.context.trace,
            cast: envelope.is_cast(),
            envelope: Some(envelope),
            args: Some(args),
            home: Arc::clone(home),
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
        let (interface, function) = self
            .home
            .slot
            .first_surface()
            .export_function(self.function)?;
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
        self.home.slot.shared().address_of(self.sender?)
    }

    /// Whether nobody waits for an answer.
    #[must_use]
    pub fn is_cast(&self) -> bool {
        self.cast
    }

    /// The trace this message belongs to.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        self.trace
    }

    /// Takes the answer out of the message, to be given after the handler has returned; `None` for a
    /// cast, or when it has been answered or taken before.
    pub fn defer(&mut self) -> Option<Reply> {
        if self.cast {
            return None;
        }
        let envelope = self.envelope.take()?;
        Some(Reply::new(envelope, &self.home))
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
    fn close(&mut self, failed: Option<&str>) {
        let cast = self.is_cast();
        let answer = match failed {
            None if cast => Ok(Args::new()),
            None => Err(CallError::NoReply {
                address: self.home.slot.address().clone(),
            }),
            Some(text) => Err(self.native(text.to_owned())),
        };
        self.finish(answer);
    }

    fn native(&self, message: String) -> CallError {
        CallError::Native {
            address: self.home.slot.address().clone(),
            message,
        }
    }
}

/// What a native actor has of the system it lives in.
pub struct Context {
    slot: Arc<Slot>,
    home: Arc<Home>,
    holdings: Holdings,
    context: CallContext,
    cell: Arc<ReplyCell>,
    timer: LazyTimer,
    stopping: Option<ExitReason>,
    declined: bool,
    recent: Recent,
}

impl Drop for Context {
    fn drop(&mut self) {
        self.slot.leave_recent(std::mem::take(&mut self.recent));
    }
}

impl Context {
    fn new(slot: Arc<Slot>) -> Self {
        let cell = ReplyCell::with_edge(slot.edge().clone());
        Self {
            home: Home::new(Arc::clone(&slot)),
            holdings: Holdings::new(&slot),
            slot,
            context: CallContext::default(),
            cell,
            timer: LazyTimer::default(),
            stopping: None,
            declined: false,
            recent: Recent::default(),
        }
    }

    /// The actor's own address.
    #[must_use]
    pub fn address(&self) -> &ActorAddress {
        self.slot.address()
    }

    /// Says in [`Actor::pre_start`] that the actor is not needed (OTP's `ignore`): it ends there and stays down, and
    /// its supervisor goes on as if it had started.
    pub fn decline(&mut self) {
        self.declined = true;
    }

    /// The actor that has an address now.
    #[must_use]
    pub fn whereis(&self, address: &ActorAddress) -> Option<ActorRef> {
        self.slot.shared().whereis(address).map(ActorRef::new)
    }

    /// A handle on the group of that name, whether or not it has members yet.
    #[must_use]
    pub fn group(&self, name: &ActorAddress) -> Group {
        Group::new(Arc::clone(self.slot.shared()), name.clone())
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
        let request = CallRequest {
            target: function.slot(),
            caller: Some(&self.slot),
            export: function.export(),
            parent: &self.context,
            within,
            cell: Some(&self.cell),
        };
        call(request, args.into_args(), &mut self.timer).await
    }
}

/// A native actor that runs.
pub(crate) struct NativeBehaviour<A> {
    actor: A,
    /// In a box: it is moved into each step and back, and many times on the way from its start to its actor.
    context: Box<Context>,
}

impl<A: Actor> NativeBehaviour<A> {
    /// Makes the actor and runs its `pre_start`.
    pub(crate) async fn start(
        factory: &(dyn Fn() -> A + Send + Sync),
        slot: &Arc<Slot>,
    ) -> Result<Self, ExitReason> {
        let mut started = Self {
            actor: factory(),
            context: Box::new(Context::new(Arc::clone(slot))),
        };
        match started.actor.pre_start(&mut started.context).await {
            Ok(()) if started.context.declined => Err(ExitReason::Declined),
            Ok(()) => {
                if started.context.stopping.is_some() {
                    // Before any message.
                    slot.lane().ask(Control::Stop);
                }
                Ok(started)
            }
            Err(error) => Err(ExitReason::start_failed(&with_sources(&*error.into()))),
        }
    }
}

impl<A: Actor> NativeBehaviour<A> {
    /// After a message: the next one, unless the actor has asked to end.
    async fn go_on(mut self) -> Result<Self, ExitReason> {
        match self.context.stopping.take() {
            Some(reason) => self.exit(reason).await,
            None => Ok(self),
        }
    }

    async fn exit(mut self, reason: ExitReason) -> Result<Self, ExitReason> {
        self.context.home.ends(&reason);
        let stopped = caught(async { self.actor.post_stop(&reason).await }).await;
        Err(stopped.err().unwrap_or(reason))
    }

    /// A hook has panicked or does not return, and with it the actor ends.
    fn ends(&self, reason: ExitReason) -> ExitReason {
        self.context.home.ends(&reason);
        reason
    }

    /// What an error of a handler means, and what it says.
    fn failed(&mut self, error: A::Error) -> (ErrorAction, Arc<str>) {
        let action = self.actor.on_error(&error);
        (action, bounded(&with_sources(&*error.into())))
    }
}

/// Runs code of an actor's author from its very beginning: a panic is an end like any other, and all that hangs on the actor
/// is told so.
async fn caught<T>(code: impl Future<Output = T> + Send) -> Result<T, ExitReason> {
    let done = AssertUnwindSafe(code).catch_unwind().await;
    done.map_err(|panic| ExitReason::panicked(&*panic))
}

impl<A: Actor> Behaviour for NativeBehaviour<A> {
    async fn deliver(mut self, envelope: Box<Envelope>) -> Result<Self, ExitReason> {
        self.context.context = envelope.context.clone();
        let home = Arc::clone(&self.context.home);
        let Context { slot, recent, .. } = &mut *self.context;
        recent.begin(slot, envelope.export, envelope.given());
        let mut message = Message::open(envelope, &home);
        let handling = async {
            let Self { actor, context } = &mut self;
            let handled = actor.handle_message(&mut message, context).await;
            handled.map_err(|error| self.failed(error))
        };
        match caught(handling).await {
            Ok(Ok(())) => {
                self.context.recent.end(true);
                message.close(None);
                self.go_on().await
            }
            Ok(Err((action, text))) => {
                if matches!(action, ErrorAction::Exit)
                    && let Some(envelope) = &mut message.envelope
                {
                    envelope.ends_callee();
                }
                message.close(Some(&text));
                self.context.recent.end(false);
                match action {
                    ErrorAction::Resume => self.go_on().await,
                    ErrorAction::Exit => self.exit(ExitReason::Error(text)).await,
                }
            }
            Err(reason) => {
                let address = home.slot.address().clone();
                let reason = self.ends(reason);
                message.finish(Err(CallError::CalleeDied {
                    address,
                    reason: reason.clone(),
                }));
                Err(reason)
            }
        }
    }

    async fn signal(mut self, signal: Signal) -> Result<Self, ExitReason> {
        self.context.context = CallContext::default();
        let handling = async {
            let Self { actor, context } = &mut self;
            let handled = actor.handle_signal(signal, context).await;
            handled.map_err(|error| self.failed(error))
        };
        match caught(handling).await {
            Ok(Ok(()) | Err((ErrorAction::Resume, _))) => self.go_on().await,
            Ok(Err((ErrorAction::Exit, text))) => self.exit(ExitReason::Error(text)).await,
            Err(reason) => Err(self.ends(reason)),
        }
    }

    async fn health(mut self) -> Result<(Self, ChildHealth), ExitReason> {
        let health = caught(async { self.actor.health().await });
        let asked = tokio::time::timeout(HEALTH_WITHIN_MAX, health).await;
        match asked {
            Ok(Ok(health)) => Ok((self, health)),
            Ok(Err(reason)) => Err(self.ends(reason)),
            Err(_) => {
                let text = format!("`health` has not returned within {HEALTH_WITHIN_MAX:?}");
                Err(self.ends(ExitReason::Unhealthy(bounded(&text))))
            }
        }
    }

    async fn stop(mut self, reason: ExitReason) -> ExitReason {
        // It has asked for its end itself, at its start.
        let reason = self.context.stopping.take().unwrap_or(reason);
        let stopped = caught(async { self.actor.post_stop(&reason).await }).await;
        let reason = stopped.err().unwrap_or(reason);
        self.context.home.ends(&reason);
        reason
    }
}
