//! The host's side of one instance: the data of its Store.
//!
//! Everything a host function may touch for its guest is reached from here, and identity is read from here
//! only. Most of it is made when first used (WASI's context, the log), so that an idle instance stays small.
//! Host functions of ours ask the gate first; see [`HostState::allow`].

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use wasmtime::UpdateDeadline;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::args::Args;
use crate::audit::AuditAction;
use crate::component::SourceLines;
use crate::configuration::Configuration;
use crate::dynamic::{HandleHost, ImportHost};
use crate::engine::Profile;
use crate::engine::ticker::TickCount;
use crate::fault::{EndedByHost, Fault, FaultClass, Spent};
use crate::gate::{Access, Decision, Gate};
use crate::grants::Grants;
use crate::guest_log::GuestLog;
use crate::handles::Handles;
use crate::instance::Usage;
use crate::limiter::SummingLimiter;
use crate::limits::Limits;
use crate::messaging::{self, Messaging, MessagingError};
use crate::outbound::{LinkFailure, Outbound, QuietOutbound};
use crate::resource::ResourceOwner;
use crate::surface::{ImportId, Surface};
use crate::wit::ResourceName;

pub(crate) mod carry;
pub(crate) mod control;
mod cpu;

use carry::Carry;
use control::Control;
use cpu::CpuMeter;

/// What all instances of one template have in common.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) component: Arc<str>,
    pub(crate) surface: Arc<Surface>,
    pub(crate) grants: Grants,
    pub(crate) limits: Limits,
    /// CPU of one call, in ticks of the engine.
    pub(crate) cpu_ticks_max: u64,
    /// How a failed call of each import is told to the guest; as long as the surface's imports.
    pub(crate) carries: Box<[Carry]>,
    /// Imported resources that stand for other actors'; the place of each is its type number.
    pub(crate) proxied: Arc<[Arc<ResourceName>]>,
    /// The component has resources that others can get handles to.
    pub(crate) owns_resources: bool,
    /// Where its code comes from.
    pub(crate) lines: Arc<SourceLines>,
    /// Core instances that are the host's.
    pub(crate) core_instances_added: u32,
    pub(crate) profile: Profile,
}

impl Terms {
    /// Ticks of CPU as a time.
    fn cpu_of(&self, ticks: u64) -> Duration {
        let limit = self.limits.cpu_per_call.as_nanos();
        let ticks_max = u128::from(self.cpu_ticks_max).max(1);
        let nanos = u128::from(ticks).saturating_mul(limit) / ticks_max;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The data of one Store.
pub(crate) struct HostState {
    pub(crate) gate: Gate,
    pub(crate) table: ResourceTable,
    pub(crate) limiter: SummingLimiter,
    pub(crate) terms: Arc<Terms>,
    /// What it is configured with until its owner says otherwise, which is between two calls.
    pub(crate) config: Arc<Configuration>,
    control: Arc<Control>,
    cpu: CpuMeter,
    outbound: QuietOutbound,
    /// Made with the first handle that crosses, or at the start for an owner of resources.
    handles: Option<Box<Handles>>,
    wasi: Option<Box<WasiCtx>>,
    log: Option<Arc<GuestLog>>,
    /// What the messaging plane refused before it was asked.
    pub(crate) messaging_refused: Option<Box<MessagingError>>,
    /// A call or the instantiation is running: if the Store is dropped now, it was abandoned.
    busy: bool,
}

impl HostState {
    pub(crate) fn new(
        terms: Arc<Terms>,
        gate: Gate,
        control: Arc<Control>,
        ticks: TickCount,
        outbound: QuietOutbound,
        config: Arc<Configuration>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(terms.limits.resources_max).unwrap_or(usize::MAX));
        Self {
            gate,
            table,
            limiter: SummingLimiter::new(
                &terms.limits,
                terms.profile,
                terms.core_instances_added,
                Arc::clone(&control),
            ),
            terms,
            config,
            control,
            cpu: CpuMeter::new(ticks),
            outbound,
            handles: None,
            wasi: None,
            log: None,
            messaging_refused: None,
            busy: false,
        }
    }

    /// Starts the accounts of one call.
    pub(crate) fn begin_call(&mut self) {
        self.limiter.begin_call();
        self.cpu.begin_call();
        self.busy = true;
    }

    /// The call ended and the instance lives.
    pub(crate) fn end_call(&mut self) {
        self.busy = false;
    }

    /// What was used, for the last time it is asked.
    pub(crate) fn spent(&self) -> Spent {
        let limits = &self.terms.limits;
        Spent {
            held: self.usage(),
            memory_bytes_max: limits.memory_bytes_max,
            table_elements_max: limits.table_elements_max.into(),
            cpu: self.terms.cpu_of(self.cpu.used()),
            cpu_per_call: limits.cpu_per_call,
            wall_per_call: limits.wall_per_call,
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage {
            memory_bytes: self.limiter.memory_bytes(),
            table_elements: self.limiter.table_elements(),
        }
    }

    /// Writes down why the instance died; called once, by whoever is about to drop the Store.
    pub(crate) fn record_death(&mut self, fault: &Fault) {
        self.busy = false;
        let died = AuditAction::Died {
            class: fault.class,
            message: fault.message.clone(),
        };
        self.gate.audit().record(self.gate.event(died, 1));
    }

    /// Asks the gate; a denied access ends the guest with what to add to allow it.
    pub(crate) fn allow(&mut self, access: Access<'_>) -> wasmtime::Result<()> {
        match self.gate.check(access) {
            Decision::Allow => Ok(()),
            Decision::Deny { add } => Err(self.denied(access, add)),
        }
    }

    #[cold]
    fn denied(&self, access: Access<'_>, add: String) -> wasmtime::Error {
        let what = format!("{} ({})", access.kind(), self.gate.component());
        EndedByHost::Denied { what, add }.into()
    }

    /// Asks the gate where a denial has an answer of its own.
    pub(crate) fn may(&mut self, access: Access<'_>) -> bool {
        self.gate.check(access) == Decision::Allow
    }

    pub(crate) fn outbound_mut(&mut self) -> Option<&mut dyn Outbound> {
        self.outbound.get_mut()
    }

    /// Who the instance is to those who hold its resources; `None` if its component has none.
    pub(crate) fn resource_owner(&mut self) -> Option<&Arc<ResourceOwner>> {
        if self.terms.owns_resources {
            self.handles().owner()
        } else {
            None
        }
    }

    pub(crate) fn messaging(&mut self) -> Option<&mut dyn Messaging> {
        self.outbound.get_mut()?.messaging()
    }

    pub(crate) fn log(&mut self) -> &Arc<GuestLog> {
        let (gate, terms) = (&self.gate, &self.terms);
        self.log.get_or_insert_with(|| {
            Arc::new(GuestLog::new(
                Arc::clone(gate.component()),
                gate.identity(),
                &terms.limits,
            ))
        })
    }

    /// The epoch moved while the guest was running: charge it, and let others run.
    pub(crate) fn on_epoch(&mut self) -> wasmtime::Result<UpdateDeadline> {
        if self.control.is_killed() {
            return Err(EndedByHost::Killed.into());
        }
        let Some(used) = self.cpu.charge(self.control.resumed_at()) else {
            return Ok(UpdateDeadline::Continue(1));
        };
        if used > self.terms.cpu_ticks_max {
            let limit_ms = self.terms.limits.cpu_per_call.as_millis();
            let used_ms = self.terms.cpu_of(used).as_millis();
            return Err(EndedByHost::CpuDeadline { used_ms, limit_ms }.into());
        }
        Ok(UpdateDeadline::Yield(1))
    }
}

impl Drop for HostState {
    fn drop(&mut self) {
        if self.busy {
            let message = "the call was dropped before it ended";
            self.record_death(&Fault::new(FaultClass::Abandoned, message));
        }
    }
}

impl ImportHost for HostState {
    fn start_import(&mut self, id: ImportId, args: Args) -> wasmtime::Result<()> {
        if messaging::is_ours(id) {
            return messaging::start(self, id, args);
        }
        self.allow(Access::Link { import: id })?;
        self.outbound.start(id, args);
        Ok(())
    }

    fn poll_import(&mut self, id: ImportId, cx: &mut Context<'_>) -> Poll<wasmtime::Result<Args>> {
        if messaging::is_ours(id) {
            return messaging::poll(self, id, cx).map(Ok);
        }
        match self.outbound.poll(cx) {
            Poll::Ready(Ok(results)) => Poll::Ready(Ok(results)),
            Poll::Ready(Err(failure)) => Poll::Ready(self.failed(id, failure)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl HostState {
    /// What the guest is told of a linked call that failed, or how it ends.
    #[cold]
    fn failed(&self, id: ImportId, failure: LinkFailure) -> wasmtime::Result<Args> {
        let terms = &self.terms;
        let carry = terms.carries.get(id.index()).copied().unwrap_or_default();
        carry.tell(failure, || match terms.surface.import_function(id) {
            Some((interface, function)) => format!("{}#{}", interface.as_str(), function.name),
            None => id.to_string(),
        })
    }
}

impl HandleHost for HostState {
    fn handles(&mut self) -> &mut Handles {
        let (terms, gate) = (&self.terms, &self.gate);
        self.handles.get_or_insert_with(|| {
            let owner = terms
                .owns_resources
                .then(|| ResourceOwner::new(gate.identity().clone()));
            Box::new(Handles::new(
                owner,
                Arc::clone(&terms.proxied),
                terms.limits.resources_max,
            ))
        })
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self
            .wasi
            .get_or_insert_with(|| Box::new(crate::wasi::empty_context(&self.terms.limits)));
        WasiCtxView {
            ctx,
            table: &mut self.table,
        }
    }
}
