//! Component actors.
//!
//! Owns how an instance becomes an actor: instantiate from the template, `init`, and then one
//! exported function per message. The instance is moved into each call and comes back; when it
//! does not, the Store is already gone and the reason is the actor's exit. wasmtime is behind
//! `airssys-wasm` and is not named here.

mod reconfiguration;
mod succession;

use std::any::Any;
use std::future::Future;
use std::sync::Arc;

use airssys_wasm::{
    Args, CallOutcome, Configuration, ExportId, Fault, FaultClass, Instance, InstanceIdentity,
    InstanceTemplate, IntoArgs, NoOutbound, Outbound, Surface, Value,
};
use bytes::Bytes;
use futures_util::FutureExt;

use crate::address::ActorAddress;
use crate::crashes::{Given, Recent};
use crate::drain::MESSAGES_PER_YIELD;
use crate::envelope::{CallContext, Envelope};
use crate::error::CallError;
use crate::exit::ExitReason;
use crate::health::ChildHealth;
use crate::link::{Link, LinkedOutbound};
use crate::mailbox::Control;
use crate::messaging::{self, HANDLE_MESSAGE, Ledger, Plane};
use crate::passivation::{self, Passivation};
use crate::reply::Answer;
use crate::signal::Signal;
use crate::slot::Slot;
use crate::spawning::Spawning;
use crate::supervisor::{PreparedActor, Start};

/// The hooks: an interface, without its version, and its one function.
const INIT: (&str, &str) = ("airssys:actor/init", "init");
/// In place of it.
const START: (&str, &str) = ("airssys:actor/start", "start");
const HEALTH: (&str, &str) = ("airssys:actor/health", "check");
const SHUTDOWN: (&str, &str) = ("airssys:actor/shutdown", "shutdown");
const DOWN: (&str, &str) = ("airssys:signals/down", "handle-down");
const EXIT: (&str, &str) = ("airssys:signals/exits", "handle-exit");
const SNAPSHOT: (&str, &str) = ("airssys:actor/state", "snapshot");
const RESTORE: (&str, &str) = ("airssys:actor/state", "restore");
const CONFIG_CHANGED: (&str, &str) = ("airssys:config/config-changed", "on-config-changed");

/// The package of the messaging plane.
const MESSAGING: (Option<&str>, Option<&str>) = (Some("airssys"), Some("messaging"));

/// What is asked as the plane is, without its version.
const SPAWN: &str = "airssys:actor/spawn";

/// `airssys:actor/shutdown`'s `enum reason { normal, shutdown, upgrade }`.
const REASON_SHUTDOWN: u32 = 1;

/// `airssys:actor/start`'s `enum started { up, declined }`.
const STARTED_DECLINED: u32 = 1;

/// What a component actor is made of.
#[derive(Clone)]
pub struct ComponentStart {
    /// The component, linked with its grants and limits.
    pub template: InstanceTemplate,
    /// Handed to `airssys:actor/start#start` or `airssys:actor/init#init`, whichever the component exports, and read by the instance as its grants allow.
    pub config: Arc<Configuration>,
    /// Where its linked imports lead.
    pub links: Vec<Link>,
    /// Actors it is told the ends of, by `airssys:signals/down#handle-down`: of each incarnation, until the
    /// registration that has the name now ends. A component that does not export that is told nothing.
    pub monitors: Vec<ActorAddress>,
    /// When it gives up its instance while it has nothing to do. Default: never.
    pub passivate: Option<Passivation>,
    /// What it may start itself. Default: nothing.
    pub spawn: Option<Spawning>,
}

/// The hooks a component exports, found once.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hooks {
    /// `start` or `init`.
    init: Option<ExportId>,
    /// It is `start`, which may decline.
    may_decline: bool,
    health: Option<ExportId>,
    shutdown: Option<ExportId>,
    down: Option<ExportId>,
    exit: Option<ExportId>,
    snapshot: Option<ExportId>,
    restore: Option<ExportId>,
    config_changed: Option<ExportId>,
    /// What receives messages of the messaging plane.
    handler: Option<ExportId>,
    /// Whether it takes part in the messaging plane at all.
    messages: bool,
}

impl Hooks {
    pub(crate) fn has_init(&self) -> bool {
        self.init.is_some()
    }

    /// Whether it is told the ends of others.
    pub(crate) fn has_signals(&self) -> bool {
        self.down.is_some() || self.exit.is_some()
    }

    /// Whether it says what it holds in memory.
    pub(crate) fn snapshots(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Whether it can begin with what another instance held.
    pub(crate) fn restores(&self) -> bool {
        self.restore.is_some()
    }

    /// Whether it can be told that its configuration has changed.
    pub(crate) fn hears_of_config(&self) -> bool {
        self.config_changed.is_some()
    }

    /// Whether it takes part in the messaging plane.
    pub(crate) fn messages(&self) -> bool {
        self.messages
    }

    /// Whether it may call others before its first message.
    pub(crate) fn may_call(&self) -> bool {
        self.init.is_some() || self.health.is_some()
    }

    /// Whether its state can be taken along.
    pub(crate) fn has_state(&self) -> bool {
        self.snapshot.is_some() && self.restore.is_some()
    }

    /// Whether it takes part in the messaging plane, or spawns.
    pub(crate) fn has_messages(&self) -> bool {
        self.messages
    }

    pub(crate) fn of(surface: &Surface) -> Self {
        // Not by `Surface::export`: most components have none, and its error looks for near names.
        let find = |(interface, function): (&str, &str)| {
            surface
                .export_functions()
                .find(|(_, name, exported)| {
                    let unversioned = name.as_str().split('@').next();
                    unversioned == Some(interface) && exported.name == function
                })
                .map(|(id, _, _)| id)
        };
        let handler = HANDLE_MESSAGE.find(surface);
        let imports = surface.imports.iter().any(|import| {
            (import.name.namespace(), import.name.package()) == MESSAGING
                || import.name.unversioned() == SPAWN
        });
        let start = find(START);
        Self {
            init: start.or_else(|| find(INIT)),
            may_decline: start.is_some(),
            health: find(HEALTH),
            shutdown: find(SHUTDOWN),
            down: find(DOWN),
            exit: find(EXIT),
            snapshot: find(SNAPSHOT),
            restore: find(RESTORE),
            config_changed: find(CONFIG_CHANGED),
            handler,
            messages: handler.is_some() || imports,
        }
    }
}

/// What an instance is made for.
pub(crate) enum Origin {
    /// A new incarnation, perhaps with what an earlier one held.
    New(Option<Snapshot>),
    /// One that had given up its instance, with its snapshot if there is one.
    Again(Option<Snapshot>),
    /// To take the place of one that is there, perhaps with its state.
    Aside(Option<Snapshot>),
}

/// What an instance said it held.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub(crate) bytes: Bytes,
    /// The SHA-256 of its component, in hexadecimal digits.
    pub(crate) version: Arc<str>,
}

/// A component with an instance.
pub(crate) struct LiveComponent {
    instance: Instance,
    about: Box<About>,
}

/// What a message does not touch. In a box, because what is alive moves into each call and back.
struct About {
    slot: Arc<Slot>,
    hooks: Hooks,
    /// What it is made of.
    child: Arc<PreparedActor>,
    /// The calls it owes answers to; dropped, and so answered, after the instance.
    ledger: Option<Arc<Ledger>>,
    recent: Recent,
    /// It is not the one that serves: what becomes of it is not the incarnation's.
    aside: bool,
}

impl Drop for About {
    fn drop(&mut self) {
        if !self.aside {
            self.slot.leave_recent(std::mem::take(&mut self.recent));
        }
    }
}

impl About {
    /// It has died of this.
    #[cold]
    fn leave_fault(&self, fault: Fault) {
        if !self.aside {
            self.slot.leave_fault(Arc::new(fault));
        }
    }
}

impl LiveComponent {
    /// Makes an instance and runs its `init`; or its `restore`, if there is a snapshot.
    pub(crate) async fn start(
        child: &Arc<PreparedActor>,
        incarnation: u64,
        origin: Origin,
    ) -> Result<Self, ExitReason> {
        let Start::Component(start) = &child.spec.start else {
            return Err(ExitReason::start_failed("it is not a component"));
        };
        let (slot, targets, hooks) = (&child.slot, &child.targets, child.hooks);
        let aside = matches!(origin, Origin::Aside(_));
        let identity = InstanceIdentity {
            address: slot.address().to_shared(),
            generation: incarnation,
        };
        let ledger = hooks.messages.then(Ledger::new);
        let plane = ledger.as_ref().map(|ledger| {
            let wall = start.template.limits().wall_per_call;
            let mut plane = Plane::new(slot, Arc::clone(ledger), hooks.handler, wall);
            plane.spawns(start.spawn.clone());
            plane.is_aside(aside);
            plane
        });
        let outbound: Box<dyn Outbound> = if targets.is_empty() && plane.is_none() {
            // It calls nobody, and need not know what its calls would be nested in.
            Box::new(NoOutbound)
        } else {
            let (slot, targets) = (Arc::clone(slot), Arc::clone(targets));
            Box::new(LinkedOutbound::new(slot, targets, plane))
        };
        let config = Arc::clone(&start.config);
        let made = start.template.instantiate_with(identity, outbound, config);
        let mut instance = made.await.map_err(|fault| not_made(slot, fault, aside))?;
        let owner = instance.resource_owner();
        if let Some(owner) = &owner {
            let lane = slot.lane_shared();
            owner.on_release(move || lane.ask(Control::Release));
        }
        if !aside {
            slot.armed(Some(instance.kill_switch()), owner);
        }
        let started = Self {
            instance,
            about: Box::new(About {
                slot: Arc::clone(slot),
                hooks,
                child: Arc::clone(child),
                ledger,
                recent: Recent::default(),
                aside,
            }),
        };
        let snapshot = match origin {
            Origin::New(snapshot) => {
                if hooks.exit.is_some() {
                    slot.trap_exits(true);
                }
                started.watch_all(&[]);
                snapshot
            }
            // Its incarnation goes on, and so do its monitors.
            Origin::Again(snapshot) | Origin::Aside(snapshot) => snapshot,
        };
        match (snapshot, hooks.restore) {
            (Some(snapshot), Some(restore)) => started.restore(restore, snapshot).await,
            _ => started.init(&start.config).await,
        }
    }

    /// What makes an instance like this one, and the number of its incarnation.
    pub(crate) fn revival(&self) -> Option<(Arc<PreparedActor>, u64)> {
        let About {
            child, hooks, slot, ..
        } = &*self.about;
        // Its timers, subscriptions and unanswered calls would end with the instance.
        let may = child.spec.passivation().is_some() && !hooks.messages;
        may.then(|| (Arc::clone(child), slot.incarnation()))
    }

    async fn restore(mut self, restore: ExportId, snapshot: Snapshot) -> Result<Self, ExitReason> {
        let args = passivation::restore_args(&snapshot.version, snapshot.bytes);
        let outcome = self.instance.call(restore, args).await;
        if let CallOutcome::Died(fault) = &outcome {
            self.about.leave_fault(fault.clone());
        }
        self.instance = passivation::restored(outcome)?;
        Ok(self)
    }

    /// Takes a snapshot, or says why there is none.
    pub(crate) async fn snapshot(
        mut self,
        bytes_max: u64,
    ) -> Result<(Self, Result<Snapshot, String>), ExitReason> {
        let Some(snapshot) = self.about.hooks.snapshot else {
            return Ok((self, Err("it has no `snapshot`".to_owned())));
        };
        self.begin(CallContext::default());
        let outcome = match self.instance.call_bounded(snapshot, bytes_max).await {
            Ok(outcome) => outcome,
            Err(instance) => {
                self.instance = instance;
                return Ok((self, Err(passivation::too_large(bytes_max))));
            }
        };
        match outcome {
            CallOutcome::Returned(instance, results) => {
                self.instance = instance;
                let answer = results.into_values().next();
                let bytes = passivation::snapshot_of(answer, bytes_max);
                // Operators read it.
                let bytes = bytes.map_err(|why| self.about.child.spec.without_values(why));
                let version = self.instance.digest().hex().into();
                Ok((self, bytes.map(|bytes| Snapshot { bytes, version })))
            }
            CallOutcome::Refused(instance, why) => {
                self.instance = instance;
                let why = format!("`snapshot` has another signature: {why}");
                Ok((self, Err(why)))
            }
            CallOutcome::Died(fault) => Err(died(&self.about.slot, fault)),
        }
    }

    /// Its last messages are not worth a report.
    pub(crate) fn forget(&mut self) {
        self.about.recent = Recent::default();
    }

    /// What the guest calls from now on is nested in `context`.
    fn begin(&mut self, context: CallContext) {
        let Some(outbound) = self.instance.outbound_mut() else {
            return;
        };
        let outbound: &mut dyn Any = outbound;
        if let Some(outbound) = outbound.downcast_mut::<LinkedOutbound>() {
            outbound.begin(context);
        }
    }

    /// Monitors the actor of that name for as long as it is registered.
    fn watch(&self, address: &ActorAddress) {
        if let Some(target) = self.about.slot.shared().whereis(address)
            && let Err(why) = self.about.slot.monitor_registered(&target)
        {
            let watcher = self.about.slot.address();
            tracing::warn!(%watcher, %address, %why, "an actor is not monitored");
        }
    }

    async fn init(mut self, config: &Configuration) -> Result<Self, ExitReason> {
        let Some(init) = self.about.hooks.init else {
            return Ok(self);
        };
        let pairs = config
            .iter()
            .map(|(key, value)| Value::Tuple(vec![key.into(), value.into()]));
        let args = (Value::List(pairs.collect()),).into_args();
        let may_decline = self.about.hooks.may_decline;
        let (_, hook) = if may_decline { START } else { INIT };
        let failed = |what: String| ExitReason::start_failed(&format!("`{hook}` {what}"));
        match self.instance.call(init, args).await {
            CallOutcome::Returned(instance, results) => {
                self.instance = instance;
                match results.into_values().next() {
                    Some(Value::Result(Err(Some(message)))) => {
                        let text = match *message {
                            Value::String(text) => String::from(text),
                            other => other.kind().to_owned(),
                        };
                        Err(failed(format!("refused: {text}")))
                    }
                    Some(Value::Result(Ok(Some(started))))
                        if may_decline && *started == Value::Enum(STARTED_DECLINED) =>
                    {
                        Err(ExitReason::Declined)
                    }
                    _ => Ok(self),
                }
            }
            CallOutcome::Refused(_, why) => Err(failed(format!("has another signature: {why}"))),
            CallOutcome::Died(fault) => {
                let reason = failed(format!("failed: {fault}"));
                self.about.leave_fault(fault);
                Err(reason)
            }
        }
    }
}

impl LiveComponent {
    /// Gives a message of the messaging plane to the guest's handler.
    pub(crate) async fn handle(mut self, mut envelope: Box<Envelope>) -> Result<Self, ExitReason> {
        let export = envelope.export;
        let given = envelope.given();
        let context = std::mem::take(&mut envelope.context);
        // Whoever waits may be told for as long as it waits, also after this handler has returned.
        envelope.context.reply_by = context.reply_by;
        let ledger = Arc::clone(self.about.ledger.get_or_insert_with(Ledger::new));
        let Some((args, handling)) = messaging::open(&self.about.slot, &ledger, envelope) else {
            return Ok(self);
        };
        self.begin(context);
        let About { slot, recent, .. } = &mut *self.about;
        recent.begin(slot, export, given);
        match self.instance.call(export, args).await {
            CallOutcome::Returned(instance, results) => {
                self.about.recent.end(true);
                handling.returned(&self.about.slot, &ledger, results);
                self.instance = instance;
                Ok(self)
            }
            CallOutcome::Refused(instance, why) => {
                self.about.recent.end(false);
                handling.failed(&ledger, CallError::Refused(why));
                self.instance = instance;
                Ok(self)
            }
            CallOutcome::Died(fault) => {
                let reason = died(&self.about.slot, fault);
                let address = self.about.slot.address().clone();
                let why = CallError::CalleeDied {
                    address,
                    reason: reason.clone(),
                };
                handling.failed(&ledger, why);
                ledger.settle(&reason);
                Err(reason)
            }
        }
    }
}

impl About {
    /// The instance has died in a call: what its caller is told, and how the actor ends.
    #[cold]
    fn died(&self, fault: Fault) -> (CallError, ExitReason) {
        let reason = died(&self.slot, fault);
        settle(self.ledger.as_deref(), &reason);
        let why = CallError::CalleeDied {
            address: self.slot.address().clone(),
            reason: reason.clone(),
        };
        (why, reason)
    }
}

/// Answers what a guest that is gone still owed.
fn settle(ledger: Option<&Ledger>, reason: &ExitReason) {
    if let Some(ledger) = ledger {
        ledger.settle(reason);
    }
}

impl LiveComponent {
    /// Calls an export; `end` makes what is wanted of the answer and of what is left.
    pub(crate) fn call<R>(
        mut self,
        export: ExportId,
        args: Args,
        context: CallContext,
        given: Given,
        end: impl FnOnce(Answer, Result<Self, ExitReason>) -> R + Send,
    ) -> impl Future<Output = R> + Send {
        self.begin(context);
        let Self {
            instance,
            mut about,
        } = self;
        let About { slot, recent, .. } = &mut *about;
        recent.begin(slot, export, given);
        // Mapped, not awaited: an async block would hold it twice, and it is allocated. Mapped once: every layer
        // moves the answer.
        instance
            .call(export, args)
            .map(move |outcome| match outcome {
                CallOutcome::Returned(instance, results) => {
                    about.recent.end(true);
                    end(Ok(results), Ok(Self { instance, about }))
                }
                CallOutcome::Refused(instance, why) => {
                    about.recent.end(false);
                    end(Err(CallError::Refused(why)), Ok(Self { instance, about }))
                }
                CallOutcome::Died(fault) => {
                    let (why, reason) = about.died(fault);
                    end(Err(why), Err(reason))
                }
            })
    }

    /// Whether a message is one of the messaging plane.
    pub(crate) fn is_handler(&self, export: ExportId) -> bool {
        self.about.hooks.handler == Some(export)
    }

    /// Handles a message that is a call of an export, and answers it; `then` makes what is wanted of what is left.
    pub(crate) fn deliver<B>(
        self,
        mut envelope: Box<Envelope>,
        then: impl FnOnce(Self) -> B + Send,
    ) -> impl Future<Output = Result<B, ExitReason>> + Send {
        let args = envelope.begin();
        let given = envelope.given();
        let context = std::mem::take(&mut envelope.context);
        // Dropped in the middle, what runs is dropped before the message is answered.
        self.call(
            envelope.export,
            args,
            context,
            given,
            move |answer, after| {
                envelope.finish(answer);
                after.map(then)
            },
        )
    }

    pub(crate) async fn release(mut self) -> Result<Self, ExitReason> {
        let Some(owner) = self.instance.resource_owner() else {
            return Ok(self);
        };
        let mut released = 0_u32;
        while owner.has_released() {
            self.begin(CallContext::default());
            let outcome = self.instance.release().await;
            self.instance = outcome.map_err(|fault| died(&self.about.slot, fault))?;
            released += 1;
            if released.is_multiple_of(MESSAGES_PER_YIELD) {
                tokio::task::yield_now().await;
            }
        }
        Ok(self)
    }

    pub(crate) async fn signal(mut self, signal: Signal) -> Result<Self, ExitReason> {
        let (hook, actor, incarnation, reason) = match signal {
            Signal::Down(down) => {
                // Another revision may have taken the place of the one that had the hook.
                if self.about.hooks.down.is_some() {
                    self.watch(&down.address);
                }
                (
                    self.about.hooks.down,
                    down.address,
                    down.incarnation,
                    down.reason,
                )
            }
            Signal::Exit(exit) => (
                self.about.hooks.exit,
                exit.from,
                exit.incarnation,
                exit.reason,
            ),
        };
        let Some(hook) = hook else { return Ok(self) };
        self.begin(CallContext::default());
        let reason_text = reason.to_string();
        let args = (
            actor.as_str(),
            incarnation,
            reason.kind(),
            reason_text.as_str(),
        )
            .into_args();
        match self.instance.call(hook, args).await {
            CallOutcome::Returned(instance, _) => self.instance = instance,
            CallOutcome::Refused(instance, why) => {
                self.instance = instance;
                let address = self.about.slot.address();
                tracing::warn!(%address, %why, "a hook of `airssys:signals` has another signature");
            }
            CallOutcome::Died(fault) => return Err(died(&self.about.slot, fault)),
        }
        Ok(self)
    }

    pub(crate) async fn health(mut self) -> Result<(Self, ChildHealth), ExitReason> {
        let Some(health) = self.about.hooks.health else {
            return Ok((self, ChildHealth::Healthy));
        };
        self.begin(CallContext::default());
        match self.instance.call(health, Args::new()).await {
            CallOutcome::Returned(instance, results) => {
                self.instance = instance;
                let spec = &self.about.child.spec;
                let clean = |text| spec.without_values(text);
                let health = ChildHealth::from_results(results, clean).unwrap_or_else(|| {
                    ChildHealth::Failed("`health` answered in another type".to_owned())
                });
                Ok((self, health))
            }
            CallOutcome::Refused(instance, why) => {
                self.instance = instance;
                Ok((
                    self,
                    ChildHealth::Failed(format!("`health` has another signature: {why}")),
                ))
            }
            CallOutcome::Died(fault) => Err(died(&self.about.slot, fault)),
        }
    }

    pub(crate) async fn stop(mut self, reason: ExitReason) -> ExitReason {
        let ledger = self.about.ledger.take();
        let reason = match self.about.hooks.shutdown {
            None => {
                drop(self);
                reason
            }
            Some(shutdown) => {
                self.begin(CallContext::default());
                let args = (Value::Enum(REASON_SHUTDOWN),).into_args();
                match self.instance.call(shutdown, args).await {
                    CallOutcome::Returned(instance, _) => {
                        drop(instance);
                        reason
                    }
                    CallOutcome::Refused(instance, why) => {
                        drop(instance);
                        let address = self.about.slot.address();
                        tracing::warn!(%address, %why, "the shutdown hook has another signature");
                        reason
                    }
                    CallOutcome::Died(fault) => died(&self.about.slot, fault),
                }
            }
        };
        settle(ledger.as_deref(), &reason);
        reason
    }
}

/// The exit reason for an instance that could not be made. That there is no room for it is not the
/// component's fault, and whoever asked can tell by the class.
fn not_made(slot: &Slot, fault: Fault, aside: bool) -> ExitReason {
    match fault.class {
        FaultClass::NoCapacity(_) => ExitReason::Fault(Arc::new(fault)),
        _ => {
            let reason = ExitReason::start_failed(&fault.to_string());
            if !aside {
                slot.leave_fault(Arc::new(fault));
            }
            reason
        }
    }
}

/// The exit reason for an instance that has died.
fn died(slot: &Slot, fault: Fault) -> ExitReason {
    if fault.class == FaultClass::Killed {
        // Where it was: the reason does not say.
        slot.leave_fault(Arc::new(fault));
        ExitReason::Killed
    } else {
        ExitReason::Fault(Arc::new(fault))
    }
}
