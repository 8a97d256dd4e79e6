//! Component actors.
//!
//! Owns how an instance becomes an actor: instantiate from the template, `init`, and then one
//! exported function per message. The instance is moved into each call and comes back; when it
//! does not, the Store is already gone and the reason is the actor's exit. wasmtime is behind
//! `airssys-wasm` and is not named here.

use std::any::Any;
use std::sync::Arc;

use airssys_wasm::{
    Args, CallOutcome, ExportId, Fault, FaultClass, Instance, InstanceIdentity, InstanceTemplate,
    IntoArgs, Surface, Value,
};

use crate::drain::Behaviour;
use crate::envelope::{CallContext, Envelope};
use crate::error::CallError;
use crate::exit::ExitReason;
use crate::health::ChildHealth;
use crate::link::{Link, LinkTargets, LinkedOutbound};
use crate::resting::Reclaimed;
use crate::slot::Slot;

/// The hooks: an interface, without its version, and its one function.
const INIT: (&str, &str) = ("airssys:actor/init", "init");
const HEALTH: (&str, &str) = ("airssys:actor/health", "check");
const SHUTDOWN: (&str, &str) = ("airssys:actor/shutdown", "shutdown");

/// `airssys:actor/shutdown`'s `enum reason { normal, shutdown, upgrade }`.
const REASON_SHUTDOWN: u32 = 1;

/// What a component actor is made of.
#[derive(Clone)]
pub struct ComponentStart {
    /// The component, linked with its grants and limits.
    pub template: InstanceTemplate,
    /// Handed to `airssys:actor/init#init`, where the component exports it.
    pub config: Vec<(String, String)>,
    /// Where its linked imports lead.
    pub links: Vec<Link>,
}

/// The hooks a component exports, found once.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hooks {
    init: Option<ExportId>,
    health: Option<ExportId>,
    shutdown: Option<ExportId>,
}

impl Hooks {
    pub(crate) fn has_init(&self) -> bool {
        self.init.is_some()
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
        Self {
            init: find(INIT),
            health: find(HEALTH),
            shutdown: find(SHUTDOWN),
        }
    }
}

/// A running component.
pub(crate) struct ComponentBehaviour {
    instance: Instance,
    slot: Arc<Slot>,
    hooks: Hooks,
}

impl ComponentBehaviour {
    /// Makes an instance and runs its `init`.
    pub(crate) async fn start(
        start: &ComponentStart,
        targets: &Arc<LinkTargets>,
        hooks: Hooks,
        slot: &Arc<Slot>,
        incarnation: u64,
    ) -> Result<Self, ExitReason> {
        let identity = InstanceIdentity {
            address: slot.address().to_shared(),
            generation: incarnation,
        };
        let outbound = LinkedOutbound::new(Arc::clone(slot), Arc::clone(targets));
        let instance = start
            .template
            .instantiate(identity, Box::new(outbound))
            .await
            .map_err(|fault| ExitReason::start_failed(&fault.to_string()))?;
        slot.running(Some(instance.kill_switch()));
        let started = Self {
            instance,
            slot: Arc::clone(slot),
            hooks,
        };
        started.init(&start.config).await
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

    async fn init(mut self, config: &[(String, String)]) -> Result<Self, ExitReason> {
        let Some(init) = self.hooks.init else {
            return Ok(self);
        };
        let pairs = config
            .iter()
            .map(|(key, value)| Value::Tuple(vec![key.as_str().into(), value.as_str().into()]));
        let args = (Value::List(pairs.collect()),).into_args();
        match self.instance.call(init, args).await {
            CallOutcome::Returned(instance, results) => {
                self.instance = instance;
                match results.into_values().next() {
                    Some(Value::Result(Err(Some(message)))) => {
                        let text = match *message {
                            Value::String(text) => String::from(text),
                            other => format!("{other:?}"),
                        };
                        Err(ExitReason::start_failed(&format!("`init` refused: {text}")))
                    }
                    _ => Ok(self),
                }
            }
            CallOutcome::Refused(_, why) => Err(ExitReason::start_failed(&format!(
                "`init` has another signature: {why}"
            ))),
            CallOutcome::Died(fault) => {
                Err(ExitReason::start_failed(&format!("`init` failed: {fault}")))
            }
        }
    }
}

impl Behaviour for ComponentBehaviour {
    fn park(self, slot: &Slot) -> Option<Self> {
        if !slot.rests() {
            return Some(self);
        }
        slot.resting().park(self);
        None
    }

    fn reclaim(slot: &Slot) -> Reclaimed<Self> {
        slot.resting().reclaim()
    }

    async fn deliver(mut self, mut envelope: Box<Envelope>) -> Result<Self, ExitReason> {
        let args = envelope.begin();
        let export = envelope.export;
        self.begin(std::mem::take(&mut envelope.context));
        match self.instance.call(export, args).await {
            CallOutcome::Returned(instance, results) => {
                envelope.finish(Ok(results));
                self.instance = instance;
                Ok(self)
            }
            CallOutcome::Refused(instance, why) => {
                envelope.finish(Err(CallError::Refused(why)));
                self.instance = instance;
                Ok(self)
            }
            CallOutcome::Died(fault) => {
                let reason = died(fault);
                let address = self.slot.address().clone();
                envelope.finish(Err(CallError::CalleeDied {
                    address,
                    reason: reason.clone(),
                }));
                Err(reason)
            }
        }
    }

    async fn health(mut self) -> Result<(Self, ChildHealth), ExitReason> {
        let Some(health) = self.hooks.health else {
            return Ok((self, ChildHealth::Healthy));
        };
        self.begin(CallContext::default());
        match self.instance.call(health, Args::new()).await {
            CallOutcome::Returned(instance, results) => {
                self.instance = instance;
                let health = ChildHealth::from_results(results).unwrap_or_else(|| {
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
            CallOutcome::Died(fault) => Err(died(fault)),
        }
    }

    async fn stop(mut self, reason: ExitReason) -> ExitReason {
        let Some(shutdown) = self.hooks.shutdown else {
            return reason;
        };
        self.begin(CallContext::default());
        let args = (Value::Enum(REASON_SHUTDOWN),).into_args();
        match self.instance.call(shutdown, args).await {
            CallOutcome::Returned(..) => reason,
            CallOutcome::Refused(_, why) => {
                let address = self.slot.address();
                tracing::warn!(%address, %why, "the shutdown hook has another signature");
                reason
            }
            CallOutcome::Died(fault) => died(fault),
        }
    }
}

/// The exit reason for an instance that has died.
fn died(fault: Fault) -> ExitReason {
    if fault.class == FaultClass::Killed {
        ExitReason::Killed
    } else {
        ExitReason::Fault(Arc::new(fault))
    }
}
