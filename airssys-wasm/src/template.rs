//! A template: a component with its imports satisfied, its limits and its grants; ready to make instances.
//!
//! Everything that can fail or costs more than microseconds happens here, once: imports are checked and linked,
//! exports are found and their types checked, grants and limits are fixed and audited. Making an instance is
//! then a Store and wasmtime's own instantiation. Templates are immutable; clones share one.

use std::fmt;
use std::sync::Arc;

use wasmtime::component::InstancePre;

use crate::audit::{AuditAction, AuditEvent};
use crate::capacity::Cost;
use crate::component::{Component, Digest};
use crate::configuration::Configuration;
use crate::dynamic::CallTarget;
use crate::engine::profile::ASYNC_STACK_BYTES;
use crate::engine::{Allocation, Engine};
use crate::fault::{Fault, FaultClass};
use crate::gate::InstanceIdentity;
use crate::grants::Grants;
use crate::host::carry::ErrorCarry;
use crate::host::{HostState, Terms};
use crate::instance::Instance;
use crate::limits::Limits;
use crate::outbound::Outbound;
use crate::surface::{ExportId, InterfaceName, Surface};
use crate::wit::CallRefused;

mod fit;
mod imports;

pub use imports::{CarryMismatch, LinkError, MissingImport};

/// What makes a template of a component.
#[derive(Clone, Debug)]
pub struct TemplateSpec {
    /// The component's name: its identity in the audit trail and in logs.
    pub name: String,
    /// What its instances may do.
    pub grants: Grants,
    /// What each instance may consume.
    pub limits: Limits,
    /// Which imports are answered by outbound calls.
    pub links: Vec<LinkedImport>,
}

/// An imported interface that is answered by outbound calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedImport {
    /// The interface, as the component imports it; its version may be left out.
    pub interface: String,
    /// How its functions' error types carry a failed call. Without it, a failed call ends the guest.
    pub error_as: Option<ErrorCarry>,
}

impl TemplateSpec {
    /// A component of this name with nothing granted, no links, and the limits of class `standard`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            grants: Grants::default(),
            limits: Limits::default(),
            links: Vec::new(),
        }
    }
}

impl LinkedImport {
    /// An import whose failed calls end the guest.
    #[must_use]
    pub fn new(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            error_as: None,
        }
    }
}

/// A linked component, ready to be instantiated. Clones share it.
#[derive(Clone)]
pub struct InstanceTemplate {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) terms: Arc<Terms>,
    pub(crate) pre: InstancePre<HostState>,
    digest: Digest,
    /// What an instance is charged.
    pub(crate) cost: Cost,
    targets: Box<[Result<CallTarget, CallRefused>]>,
    /// The imports that are answered by outbound calls.
    linked: Arc<[InterfaceName]>,
}

impl fmt::Debug for InstanceTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstanceTemplate")
            .field("name", &self.shared.terms.component)
            .finish_non_exhaustive()
    }
}

impl InstanceTemplate {
    /// Links a component: satisfies its imports and fixes its grants and limits.
    ///
    /// # Errors
    /// Names everything that is missing or does not fit, and what to do about it.
    pub fn link(component: &Component, spec: TemplateSpec) -> Result<Self, LinkError> {
        let engine = component.engine().clone();
        fit::check(component, &spec.limits)?;
        let linked = imports::link(component, &spec.links)?;
        let surface = Arc::clone(component.surface());
        let targets = surface
            .export_functions()
            .map(|(id, _, _)| CallTarget::resolve(component.raw(), &surface, id, &linked.proxied))
            .collect();
        let name: Arc<str> = spec.name.into();
        let grants = spec.grants.names().into_iter().map(str::to_owned).collect();
        let granted = AuditAction::Granted { grants };
        engine
            .audit()
            .record(AuditEvent::of_component(Arc::clone(&name), granted));
        let terms = Terms {
            component: name,
            owns_resources: surface.owns_resources(),
            surface,
            cpu_ticks_max: ticks(spec.limits.cpu_per_call, engine.tick()),
            grants: spec.grants,
            limits: spec.limits,
            carries: linked.carries,
            proxied: linked.proxied,
            lines: Arc::clone(component.lines()),
            core_instances_added: component.core_instances_added(),
            profile: component.engine().profile(),
        };
        let cost = cost(component, &terms.limits);
        let shared = Shared {
            engine,
            terms: Arc::new(terms),
            pre: linked.pre,
            digest: component.digest(),
            cost,
            targets,
            linked: linked.interfaces,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Returns what the component imports and exports.
    #[must_use]
    pub fn surface(&self) -> &Arc<Surface> {
        &self.shared.terms.surface
    }

    /// Returns the same template with its functions numbered after `before`, as [`Surface::numbered_after`] says:
    /// whoever holds a number that was given for `before` may call its instances by it.
    #[must_use]
    pub fn numbered_after(&self, before: &Surface) -> Self {
        let surface = self.surface().numbered_after(before);
        let unknown = |at: usize| {
            let number = u32::try_from(at).unwrap_or(u32::MAX);
            Err(CallRefused::NoSuchFunction(number))
        };
        let mut targets: Vec<_> = (0..surface.numbers_given()).map(unknown).collect();
        let renumbered = surface
            .export_functions()
            .zip(self.surface().export_functions());
        for ((to, ..), (from, ..)) in renumbered {
            if let (Some(place), Some(target)) = (
                targets.get_mut(to.index()),
                self.shared.targets.get(from.index()),
            ) {
                place.clone_from(target);
            }
        }
        let terms = Terms {
            surface: Arc::new(surface),
            ..(*self.shared.terms).clone()
        };
        Self {
            shared: Arc::new(Shared {
                engine: self.shared.engine.clone(),
                terms: Arc::new(terms),
                pre: self.shared.pre.clone(),
                digest: self.shared.digest,
                cost: self.shared.cost,
                targets: targets.into(),
                linked: Arc::clone(&self.shared.linked),
            }),
        }
    }

    /// Returns the imported interfaces that are answered by outbound calls, by their full names.
    #[must_use]
    pub fn linked(&self) -> &[InterfaceName] {
        &self.shared.linked
    }

    /// Returns what each instance may consume.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.shared.terms.limits
    }

    /// Returns the digest of the component's bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.shared.digest
    }

    /// Returns the values of the environment variables that its instances see: for whoever must not repeat them.
    pub fn env_values(&self) -> impl Iterator<Item = &str> {
        let env = self.shared.terms.grants.env();
        env.iter().map(|(_, value)| value.as_str())
    }

    /// Returns the component's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.terms.component
    }

    /// Makes an instance, running the component's start functions under the limits of a call.
    ///
    /// Dropping the future drops the half-made instance.
    ///
    /// # Errors
    /// A fault: the start function trapped or exceeded a limit, the component needs more than its limits
    /// allow, or there is no room for another instance ([`FaultClass::NoCapacity`]).
    pub async fn instantiate(
        &self,
        identity: InstanceIdentity,
        outbound: Box<dyn Outbound>,
    ) -> Result<Instance, Fault> {
        self.instantiate_with(identity, outbound, Arc::default())
            .await
    }

    /// Makes an instance as [`InstanceTemplate::instantiate`] does, with a configuration that it can read.
    ///
    /// # Errors
    /// As [`InstanceTemplate::instantiate`].
    pub async fn instantiate_with(
        &self,
        identity: InstanceIdentity,
        outbound: Box<dyn Outbound>,
        config: Arc<Configuration>,
    ) -> Result<Instance, Fault> {
        Instance::make(Arc::clone(&self.shared), identity, outbound, config).await
    }

    /// Returns what its instances may do.
    #[must_use]
    pub fn grants(&self) -> &Grants {
        &self.shared.terms.grants
    }
}

impl Shared {
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the export's call target, or why it cannot be called.
    #[inline]
    pub(crate) fn target(&self, export: ExportId) -> Result<&CallTarget, CallRefused> {
        match self.targets.get(export.index()) {
            Some(Ok(target)) => Ok(target),
            other => Err(no_target(export, other.and_then(|it| it.as_ref().err()))),
        }
    }
}

#[cold]
fn no_target(export: ExportId, refused: Option<&CallRefused>) -> CallRefused {
    let number = u32::try_from(export.index()).unwrap_or(u32::MAX);
    refused
        .cloned()
        .unwrap_or(CallRefused::NoSuchFunction(number))
}

/// What an instance of the component may come to use, as far as is known before it runs.
fn cost(component: &Component, limits: &Limits) -> Cost {
    let engine = component.engine();
    let memories = component
        .raw()
        .resources_required()
        .map_or(limits.memories_max, |needed| needed.num_memories);
    let pooled = matches!(engine.allocation(), Allocation::Pooled { .. });
    let stack = u64::try_from(ASYNC_STACK_BYTES).unwrap_or(u64::MAX);
    let memory = engine.profile().memory_address_space();
    Cost::new(memories, pooled, memory, stack)
}

/// A limit of time in ticks, rounded up: a limit shorter than a tick is one tick.
fn ticks(limit: std::time::Duration, tick: std::time::Duration) -> u64 {
    let ticks = limit.as_nanos().div_ceil(tick.as_nanos().max(1));
    u64::try_from(ticks).unwrap_or(u64::MAX).max(1)
}

/// A fault of a Store that could not even be made.
pub(crate) fn no_store(error: &wasmtime::Error) -> Fault {
    Fault::new(
        FaultClass::Other,
        format!("no Store could be made: {error:#}"),
    )
}

#[cfg(test)]
mod tests {
    use super::ticks;
    use std::time::Duration;

    #[test]
    fn limits_are_whole_ticks_and_never_none() {
        let ms = Duration::from_millis;
        assert_eq!(ticks(ms(20), ms(1)), 20);
        assert_eq!(ticks(ms(25), ms(10)), 3);
        assert_eq!(ticks(Duration::ZERO, ms(1)), 1);
        assert_eq!(ticks(Duration::MAX, Duration::from_nanos(1)), u64::MAX);
    }
}
