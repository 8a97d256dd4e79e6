//! References to actors, for the host.
//!
//! Owns [`ActorRef`] and [`ActorFunction`]: an actor's place and one of its functions, resolved
//! once. A reference stays good over restarts; once the registration has ended every call through
//! it fails at once. A call costs one allocation for the reply and one for the envelope.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::{
    Args, CallRefused, ExportId, FunctionType, InterfaceName, IntoArgs, NoSuchFunction, Surface,
};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::address::ActorAddress;
use crate::autoscaling::{AutoscaleStatus, Autoscales};
use crate::call::{CallRequest, call};
use crate::counters::Counters;
use crate::deadline::LazyTimer;
use crate::envelope::CallContext;
use crate::error::{CallError, SendError};
use crate::exit::ExitReason;
use crate::health::ChildHealth;
use crate::link::REPLY_WITHIN_DEFAULT;
use crate::mailbox::Control;
use crate::messaging::is_bare;
use crate::monitor::Monitor;
use crate::route::push_cast;
use crate::slot::Slot;
use crate::trace::TraceContext;

/// The path of a function, `interface#function`, or its name alone at the root.
pub(crate) fn function_path(interface: &InterfaceName, function: &str) -> String {
    match interface.as_str() {
        "" => function.to_owned(),
        interface => format!("{interface}#{function}"),
    }
}

/// Where an actor is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ActorState {
    /// An incarnation is being started.
    Starting,
    /// An incarnation takes messages.
    Running,
    /// A replica that has failed its health checks: it takes none of the messages that replicas share.
    OutOfRotation,
    /// No incarnation: between two of them, or being stopped.
    Down,
}

impl ActorState {
    /// The name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::OutOfRotation => "out-of-rotation",
            Self::Down => "down",
        }
    }
}

/// What an actor is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ActorStatus {
    /// Its address.
    pub address: String,
    /// Number of this registration of the address.
    pub generation: u64,
    /// Number of its newest incarnation.
    pub incarnation: u64,
    /// Whether an incarnation runs now.
    pub running: bool,
    /// Where it is in its life.
    pub state: ActorState,
    /// Whether it has given up its instance until its next message.
    pub passive: bool,
    /// Messages accepted and not finished.
    pub queued: u32,
    /// Their bytes, rounded up.
    pub queued_bytes: u64,
    /// Monitors it has, those whose end waits in its mailbox included.
    pub monitors: u32,
    /// Links it has, those whose exit waits in its mailbox included.
    pub links: u32,
    /// Its resources that others hold handles to, those it has yet to destroy included.
    pub resources: usize,
    /// Linear memory its instance holds, in bytes, over all memories; of replicas, all together. 0 without an
    /// instance, and of a native actor.
    pub memory_bytes: u64,
    /// Elements of its tables, in the same way.
    pub table_elements: u64,
    /// How it stands, if the number of its replicas follows what they have to do.
    pub autoscale: Option<AutoscaleStatus>,
}

/// A registered actor, whichever incarnation serves it.
#[derive(Clone)]
pub struct ActorRef {
    slot: Arc<Slot>,
}

impl fmt::Debug for ActorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ActorRef").field(self.address()).finish()
    }
}

impl ActorRef {
    pub(crate) fn new(slot: Arc<Slot>) -> Self {
        Self { slot }
    }

    pub(crate) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> &ActorAddress {
        self.slot.address()
    }

    /// The functions it has now; another revision of its component may have others.
    #[must_use]
    pub fn surface(&self) -> Arc<Surface> {
        self.slot.surface()
    }

    /// One of its functions, by `interface#function` or by a bare name that only one function has.
    ///
    /// # Errors
    /// [`NoSuchFunction`] with the nearest names.
    pub fn function(&self, path: &str) -> Result<ActorFunction, NoSuchFunction> {
        let surface = self.slot.surface();
        let export = surface.export(path)?;
        Ok(ActorFunction {
            slot: Arc::clone(&self.slot),
            export,
            surface,
        })
    }

    /// Calls a function by name and waits for the reply, at most 5 s. Resolve the function once
    /// with [`ActorRef::function`] where calls are many.
    ///
    /// # Errors
    /// [`CallError`], as [`ActorFunction::call`].
    pub async fn call(&self, path: &str, args: impl IntoArgs) -> Result<Args, CallError> {
        self.function(path)?.call(args).await
    }

    /// Sends a message nobody waits for.
    ///
    /// # Errors
    /// [`SendError`], as [`ActorFunction::cast`]; with the arguments, too, when there is no such function.
    pub fn cast(&self, path: &str, args: impl IntoArgs) -> Result<(), SendError> {
        match self.function(path) {
            Ok(function) => function.cast(args),
            Err(why) => Err(SendError {
                why: Box::new(why.into()),
                args: Some(Box::new(args.into_args())),
            }),
        }
    }

    /// Ends the incarnation that runs now, also in the middle of a message, and of every replica if it has some;
    /// their supervisor decides what then.
    pub fn kill(&self) {
        self.slot.kill();
    }

    /// Whether its name is still its own: a child that is stopped and kept has it too.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.slot.shared().by_id(self.slot.id()).is_some()
    }

    /// Watches the incarnation that runs now: resolves with its [`Down`](crate::Down) once it has ended, and at
    /// once if there is none.
    pub fn monitor(&self) -> Monitor {
        Monitor::new(&self.slot)
    }

    /// Asks how it is, between two messages. A component answers by `airssys:actor/health#check`
    /// where it exports it.
    ///
    /// # Errors
    /// [`CallError`] when it does not answer within `within`, or ends meanwhile.
    pub async fn health(&self, within: Duration) -> Result<ChildHealth, CallError> {
        let address = || self.address().clone();
        // One that its replicas are to follow still answers for itself.
        if self.slot.is_vacant() && self.slot.exit_reason().is_none() {
            let all = self.health_of_replicas();
            let asked = tokio::time::timeout(within, all).await;
            return asked.unwrap_or_else(|_| {
                Err(CallError::Deadline {
                    address: address(),
                    within,
                })
            });
        }
        if let Some(reason) = self.slot.exit_reason() {
            return Err(CallError::Stopped {
                address: address(),
                reason,
            });
        }
        let (tx, rx) = oneshot::channel();
        self.slot.lane().ask(Control::Health(tx));
        match tokio::time::timeout(within, rx).await {
            Ok(Ok(health)) => Ok(health),
            Ok(Err(_)) => {
                let reason = self.slot.exit_reason().unwrap_or(ExitReason::Killed);
                Err(CallError::CalleeDied {
                    address: address(),
                    reason,
                })
            }
            Err(_) => Err(CallError::Deadline {
                address: address(),
                within,
            }),
        }
    }

    /// Waits until it has no message accepted and unfinished. There may be another by the time this returns.
    pub async fn emptied(&self) {
        self.slot.mailbox().emptied().await;
    }

    /// The worst that any of its replicas says.
    async fn health_of_replicas(&self) -> Result<ChildHealth, CallError> {
        let mut worst = ChildHealth::Healthy;
        for replica in self.replicas() {
            let (tx, rx) = oneshot::channel();
            replica.slot.lane().ask(Control::Health(tx));
            let health = rx.await.map_err(|_| CallError::CalleeDied {
                address: replica.address().clone(),
                reason: replica.slot.exit_reason().unwrap_or(ExitReason::Killed),
            })?;
            match (&worst, &health) {
                (_, ChildHealth::Failed(_)) => return Ok(health),
                (ChildHealth::Healthy, _) => worst = health,
                _ => {}
            }
        }
        Ok(worst)
    }

    /// The replicas that drain its mailbox; none if it drains it itself.
    #[must_use]
    pub fn replicas(&self) -> Vec<Self> {
        let Some(replicas) = self.slot.replicas() else {
            return Vec::new();
        };
        let registered = replicas.slots().filter(|slot| slot.exit_reason().is_none());
        registered.map(Self::new).collect()
    }

    /// The actor whose mailbox it drains with others, if it is one of several replicas.
    #[must_use]
    pub fn team(&self) -> Option<Self> {
        self.slot.front().cloned().map(Self::new)
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> ActorStatus {
        let (queued, queued_bytes) = self.slot.mailbox().usage();
        let state = self.slot.state();
        let (monitors, links) = self.slot.signal_budget().used();
        let held = self.slot.usage();
        ActorStatus {
            address: self.address().to_string(),
            generation: self.slot.id().0,
            incarnation: self.slot.incarnation(),
            running: matches!(state, ActorState::Running | ActorState::OutOfRotation),
            state,
            passive: self.slot.is_passive(),
            queued,
            queued_bytes,
            monitors,
            links,
            resources: self.slot.resources_held(),
            memory_bytes: held.memory_bytes,
            table_elements: held.table_elements,
            autoscale: Autoscales::status(&self.slot),
        }
    }

    /// What was counted of it.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.slot.counters().read()
    }
}

/// How a call is made.
#[derive(Debug, Clone, Copy)]
pub struct CallOptions {
    /// Longest wait for the reply. Default 5 s.
    pub within: Duration,
    /// The trace the call belongs to; calls nested in it inherit it.
    pub trace: Option<TraceContext>,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self {
            within: REPLY_WITHIN_DEFAULT,
            trace: None,
        }
    }
}

/// One function of one actor, resolved.
#[derive(Clone)]
pub struct ActorFunction {
    slot: Arc<Slot>,
    export: ExportId,
    /// Where it was resolved. Its number never comes to mean a function of another type.
    surface: Arc<Surface>,
}

impl fmt::Debug for ActorFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ActorFunction({}#{})",
            self.slot.address(),
            self.export.index()
        )
    }
}

impl ActorFunction {
    pub(crate) fn new(slot: Arc<Slot>, export: ExportId) -> Self {
        let surface = slot.surface();
        Self {
            slot,
            export,
            surface,
        }
    }

    pub(crate) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    pub(crate) fn export(&self) -> ExportId {
        self.export
    }

    /// The actor it belongs to.
    #[must_use]
    pub fn actor(&self) -> ActorRef {
        ActorRef::new(Arc::clone(&self.slot))
    }

    /// Its WIT type; `None` if the revision that runs now has no such function.
    #[must_use]
    pub fn ty(&self) -> Option<FunctionType> {
        self.slot
            .surface()
            .export_function(self.export)
            .map(|(_, function)| function.ty.clone())
    }

    /// Calls it and waits for the reply, at most 5 s.
    ///
    /// # Errors
    /// [`CallError`]: every call ends in a reply or in exactly one of these.
    pub async fn call(&self, args: impl IntoArgs) -> Result<Args, CallError> {
        self.call_with(args, CallOptions::default()).await
    }

    /// As [`ActorFunction::call`], with its own longest wait and trace.
    ///
    /// # Errors
    /// [`CallError`], as [`ActorFunction::call`].
    pub async fn call_with(
        &self,
        args: impl IntoArgs,
        options: CallOptions,
    ) -> Result<Args, CallError> {
        let request = CallRequest {
            target: &self.slot,
            caller: None,
            export: self.export,
            parent: &CallContext {
                trace: options.trace,
                ..CallContext::default()
            },
            within: options.within,
            cell: None,
        };
        call(request, args.into_args(), &mut LazyTimer::default()).await
    }

    /// Sends a message nobody waits for. Once accepted it is handled, or becomes a dead letter.
    ///
    /// # Errors
    /// [`SendError`] with the arguments, when the message was not accepted: they do not fit the function
    /// ([`CallError::Refused`]), or there is no room. A mailbox that blocks its senders answers `mailbox-full`, because
    /// a cast does not wait. One that drops the newest answers `evicted`, without the arguments: they are a dead
    /// letter's.
    pub fn cast(&self, args: impl IntoArgs) -> Result<(), SendError> {
        self.cast_fitting(self.fitting(args.into_args())?)
    }

    /// The same with arguments that are known to fit.
    pub(crate) fn cast_fitting(&self, args: Args) -> Result<(), SendError> {
        let context = CallContext::default();
        push_cast(&self.slot, None, self.export, args, context).map_err(|refused| refused.error)
    }

    /// The arguments, if they fit the function as it was when it was resolved. What a later revision does not take
    /// becomes a dead letter there.
    pub(crate) fn fitting(&self, args: Args) -> Result<Args, SendError> {
        match self.accepts(&args) {
            Ok(()) => Ok(args),
            Err(why) => Err(SendError {
                why: Box::new(CallError::Refused(why)),
                args: Some(Box::new(args)),
            }),
        }
    }

    /// Whether these are arguments for it, as it was when it was resolved.
    pub(crate) fn accepts(&self, args: &Args) -> Result<(), CallRefused> {
        // As the plane sends them. Asked first: what does not fit is told in words, which take time to make.
        if is_bare(args) && self.slot.handler() == Some(self.export) {
            return Ok(());
        }
        match self.surface.export_function(self.export) {
            Some((_, function)) => function.ty.accepts(args),
            None => Ok(()),
        }
    }
}
