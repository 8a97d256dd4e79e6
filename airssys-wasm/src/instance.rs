//! An instance: one component instance in its own Store, owned by whoever holds it.
//!
//! A call takes the instance by value and gives it back, or says why it is dead; there is no way to use one
//! after it died, or from two places. The Store is dropped before [`CallOutcome::Died`] is returned, and with
//! the call's future if that is dropped. An idle instance is a Store, a kept fiber stack and a thin box.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use wasmtime::Store;

use crate::args::Args;
use crate::capacity::{NoCapacity, Permit};
use crate::component::Digest;
use crate::configuration::Configuration;
use crate::dynamic::{AnswerTooLarge, HandleHost as _};
use crate::fault::{Fault, FaultClass, classify};
use crate::gate::{Gate, InstanceIdentity};
use crate::host::HostState;
use crate::host::control::{Control, KillSwitch};
use crate::outbound::{Outbound, QuietOutbound};
use crate::resource::ResourceOwner;
use crate::surface::ExportId;
use crate::template::{Shared, no_store};
use crate::value::NODE_BYTES;
use crate::wit::CallRefused;

mod wall;
mod watch;

use wall::WallTimer;
use watch::{Ended, Watch};

/// Values around the bytes of an answer: a `result` and what is in it.
const ANSWER_NODES: usize = 4;

/// A live component instance. Moved, never shared.
pub struct Instance(Box<Inner>);

struct Inner {
    store: Store<HostState>,
    raw: wasmtime::component::Instance,
    template: Arc<Shared>,
    control: Arc<Control>,
    timer: WallTimer,
    answer: Answer,
    /// Last: its place is free when its Store is gone.
    permit: Permit,
}

/// What the end of a call is whose answer has more bytes than it may.
#[derive(Clone, Copy, Default)]
enum Answer {
    /// That of the instance.
    #[default]
    Usual,
    /// No end: the call is [`Instance::call_bounded`]'s.
    Bounded,
    /// That was so.
    TooLarge,
}

impl Inner {
    /// Whether what ended a call was no more than the size of its answer, and need not end the instance.
    #[cold]
    fn spares<T>(&mut self, ended: &Ended<wasmtime::Result<T>>) -> bool {
        let too_large =
            matches!(ended, Ended::Returned(Err(error)) if error.is::<AnswerTooLarge>());
        let spares = too_large && matches!(self.answer, Answer::Bounded);
        if spares {
            self.answer = Answer::TooLarge;
            self.store.data_mut().end_call();
        }
        spares
    }
}

/// How a call ended.
#[derive(Debug)]
#[must_use = "the instance is in here, or the reason why it is gone"]
pub enum CallOutcome {
    /// The guest returned.
    Returned(Instance, Args),
    /// The arguments do not fit the function; the guest was not entered.
    Refused(Instance, CallRefused),
    /// The instance died; its Store is gone.
    Died(Fault),
}

/// What an instance holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Linear memory in bytes, over all memories.
    pub memory_bytes: u64,
    /// Table elements, over all tables.
    pub table_elements: u64,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gate = &self.0.store.data().gate;
        f.debug_struct("Instance")
            .field("component", gate.component())
            .field("identity", gate.identity())
            .finish_non_exhaustive()
    }
}

impl Instance {
    pub(crate) async fn make(
        template: Arc<Shared>,
        identity: InstanceIdentity,
        outbound: Box<dyn Outbound>,
        config: Arc<Configuration>,
    ) -> Result<Self, Fault> {
        let engine = &template.engine;
        let permit = engine
            .admission()
            .admit(template.cost)
            .map_err(|why| no_room(&why))?;
        let outbound = QuietOutbound::new(outbound);
        let terms = &template.terms;
        let control = Arc::new(Control::default());
        let audit = engine.audit().clone();
        let gate = Gate::new(Arc::clone(&terms.component), identity, &terms.grants, audit);
        let ticks = engine.ticks().clone();
        let state = HostState::new(
            Arc::clone(terms),
            gate,
            Arc::clone(&control),
            ticks,
            outbound,
            config,
        );
        let mut store = Store::try_new(engine.raw(), state).map_err(|error| no_store(&error))?;
        store.limiter(|state| &mut state.limiter);
        store.epoch_deadline_callback(|mut store| store.data_mut().on_epoch());
        store.set_hostcall_fuel(narrow(terms.limits.hostcall_bytes_max));
        store.set_max_component_handles(narrow(terms.limits.handles_max.into()));
        store.set_epoch_deadline(1);
        store.data_mut().begin_call();

        let mut timer = WallTimer::default();
        let made = Watch {
            call: pin!(Some(template.pre.instantiate_async(&mut store))),
            control: &control,
            ticks: engine.ticks(),
            tick: engine.tick(),
            wall: terms.limits.wall_per_call,
            timer: &mut timer,
            waits_since: None,
        }
        .await;
        match made {
            Ended::Returned(Ok(raw)) => {
                store.data_mut().end_call();
                Ok(Self(Box::new(Inner {
                    store,
                    raw,
                    template,
                    control,
                    timer,
                    answer: Answer::default(),
                    permit,
                })))
            }
            ended => Err(bury(store, ended)),
        }
    }

    /// Calls an export. Takes the instance and gives it back, or says why it is dead.
    ///
    /// Dropping the future drops the Store: a guest that was left in the middle can never be entered again.
    /// Must be polled in a tokio runtime with time enabled if the guest can ever wait, and all calls of one
    /// instance in the same runtime.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn would hold its arguments twice, and this future is allocated for each call"
    )]
    pub fn call(
        self,
        export: ExportId,
        mut args: Args,
    ) -> impl Future<Output = CallOutcome> + Send {
        async move {
            let Self(mut inner) = self;
            let Inner {
                store,
                raw,
                template,
                control,
                timer,
                permit,
                ..
            } = &mut *inner;
            let target = match template
                .target(export)
                .and_then(|target| target.accepts(&args).map(|()| target))
            {
                Ok(target) => target,
                Err(refused) => return CallOutcome::Refused(Self(inner), refused),
            };
            let lent = match target.enter(store, &mut args) {
                Ok(lent) => lent,
                Err(refused) => return CallOutcome::Refused(Self(inner), refused),
            };
            let wall = template.terms.limits.wall_per_call;
            permit.called();
            timer.begin_call();
            store.data_mut().begin_call();
            store.set_epoch_deadline(1);
            let ended = Watch {
                call: pin!(Some(target.call_async(store, raw, &args, lent))),
                control,
                ticks: template.engine.ticks(),
                tick: template.engine.tick(),
                wall,
                timer,
                waits_since: None,
            }
            .await;
            match ended {
                Ended::Returned(Ok(results)) => {
                    store.data_mut().end_call();
                    CallOutcome::Returned(Self(inner), results)
                }
                ended if inner.spares(&ended) => CallOutcome::Returned(Self(inner), Args::new()),
                ended => {
                    let Inner { store, .. } = *inner;
                    CallOutcome::Died(bury(store, ended))
                }
            }
        }
    }

    /// Calls an export whose answer may have so many bytes, whatever [`Limits::hostcall_bytes_max`](crate::Limits) says, which
    /// is the limit again afterwards. `Err` if it has more: nothing of it was taken, and the instance lives.
    ///
    /// It takes no arguments. Where its type has handles a larger answer ends the instance, as in [`Instance::call`]. What it
    /// calls meanwhile may be handed as many bytes.
    ///
    /// # Errors
    /// The instance, whose answer is too large.
    pub async fn call_bounded(
        mut self,
        export: ExportId,
        bytes_max: u64,
    ) -> Result<CallOutcome, Self> {
        let allowed = narrow(self.0.template.terms.limits.hostcall_bytes_max);
        // With the nodes that the bytes lie in.
        let asked = narrow(bytes_max).saturating_add(ANSWER_NODES * NODE_BYTES);
        self.0.store.set_hostcall_fuel(allowed.max(asked));
        self.0.answer = Answer::Bounded;
        let mut outcome = self.call(export, Args::new()).await;
        let (CallOutcome::Returned(instance, _) | CallOutcome::Refused(instance, _)) = &mut outcome
        else {
            return Ok(outcome);
        };
        instance.0.store.set_hostcall_fuel(allowed);
        match (std::mem::take(&mut instance.0.answer), outcome) {
            (Answer::TooLarge, CallOutcome::Returned(instance, _)) => Err(instance),
            (_, outcome) => Ok(outcome),
        }
    }

    /// Destroys one resource whose last holder has let go of it, if there is one, running its destructor under the
    /// limits of a call. Takes the instance and gives it back, or says why it is dead, as [`Instance::call`] does.
    ///
    /// # Errors
    /// The destructor trapped or exceeded a limit; the Store is gone.
    pub async fn release(self) -> Result<Self, Fault> {
        let Self(mut inner) = self;
        let Inner {
            store,
            template,
            control,
            timer,
            ..
        } = &mut *inner;
        let released = store.data_mut().resource_owner().is_some();
        let Some(resource) = released
            .then(|| store.data_mut().handles().next_released())
            .flatten()
        else {
            return Ok(Self(inner));
        };
        let wall = template.terms.limits.wall_per_call;
        timer.begin_call();
        store.data_mut().begin_call();
        store.set_epoch_deadline(1);
        let ended = Watch {
            call: pin!(Some(resource.resource_drop_async(&mut *store))),
            control,
            ticks: template.engine.ticks(),
            tick: template.engine.tick(),
            wall,
            timer,
            waits_since: None,
        }
        .await;
        match ended {
            Ended::Returned(Ok(())) => {
                store.data_mut().end_call();
                Ok(Self(inner))
            }
            ended => {
                let Inner { store, .. } = *inner;
                Err(bury(store, ended))
            }
        }
    }

    /// Returns who it is to those who hold its resources; `None` if its component exports none.
    #[must_use]
    pub fn resource_owner(&mut self) -> Option<Arc<ResourceOwner>> {
        self.0.store.data_mut().resource_owner().cloned()
    }

    /// Returns a switch with which anybody can end this instance, and see what it holds.
    #[must_use]
    pub fn kill_switch(&self) -> KillSwitch {
        KillSwitch {
            control: Arc::clone(&self.0.control),
            engine: self.0.template.engine.raw().clone(),
        }
    }

    /// Returns what carries its linked calls, to be told of the message that comes next.
    pub fn outbound_mut(&mut self) -> Option<&mut dyn Outbound> {
        self.0.store.data_mut().outbound_mut()
    }

    /// Gives it another configuration and returns the one before: what its guest reads from the next call on.
    pub fn configure(&mut self, config: Arc<Configuration>) -> Arc<Configuration> {
        std::mem::replace(&mut self.0.store.data_mut().config, config)
    }

    /// Returns what its guest is configured with.
    #[must_use]
    pub fn configuration(&self) -> &Arc<Configuration> {
        &self.0.store.data().config
    }

    /// Returns what it holds.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.0.store.data().usage()
    }

    /// Returns the digest of its component's bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.template.digest()
    }

    /// Returns who it is.
    #[must_use]
    pub fn identity(&self) -> &InstanceIdentity {
        self.0.store.data().gate.identity()
    }
}

fn narrow(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// The fault of an instance that was not made.
#[cold]
fn no_room(why: &NoCapacity) -> Fault {
    Fault::new(FaultClass::NoCapacity(why.resource), why.to_string())
}

/// Says why the instance died, writes it down, and drops the Store.
#[cold]
fn bury<T>(mut store: Store<HostState>, ended: Ended<wasmtime::Result<T>>) -> Fault {
    let state = store.data_mut();
    let mut fault = match ended {
        Ended::Returned(Err(error)) => {
            classify(&error, state.limiter.refused(), &state.terms.lines)
        }
        // Only callers that take the success themselves come here.
        Ended::Returned(Ok(_)) => Fault::new(FaultClass::Other, "the call returned after all"),
        Ended::Timeout => {
            let wall = state.terms.limits.wall_per_call;
            let message = format!("waited longer than the limit `wall-per-call` of {wall:?}");
            Fault::new(FaultClass::Timeout, message)
        }
        Ended::Killed => Fault::new(FaultClass::Killed, "killed from outside"),
        Ended::Panicked(message) => Fault::new(
            FaultClass::HostPanic,
            format!("a host function panicked: {message}"),
        ),
    };
    fault.spent = Some(Box::new(state.spent()));
    state.record_death(&fault);
    drop(store);
    fault
}
