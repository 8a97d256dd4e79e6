//! What a supervisor is told of a child, and how a child is started.
//!
//! Owns [`ChildSpec`] and the start task: everything that may wait, fail or panic at a start runs
//! there, away from the supervisor, and its outcome goes back as a message. A successor is only
//! begun once its predecessor's exit event has come.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use airssys_wasm::{Configuration, InstanceTemplate, InterfaceName, Surface, WitError};
use futures_util::FutureExt;
use parking_lot::Mutex;

use crate::address::ActorAddress;
use crate::component::{ComponentStart, Hooks};
use crate::crashes::without;
use crate::drain::{Behaviour, ExitGuard, or_killed};
use crate::exit::ExitReason;
use crate::health::HealthCheck;
use crate::host;
use crate::link::{Link, LinkTargets};
use crate::mailbox::MailboxConfig;
use crate::native::{Actor, NativeBehaviour};
use crate::passivation::{ComponentBehaviour, Passivation};
use crate::slot::Slot;
use crate::spawning::Spawning;
use crate::supervisor::spec::{Backoff, SupervisorSpec};
use crate::supervisor::tuning::Tuning;
use crate::supervisor::{ExitSink, Record, RestartPolicy};
use crate::upgrade::Kept;

/// Most replicas that drain one mailbox: an enqueue looks for an idle one among all.
pub const REPLICAS_MAX: u32 = 64;

/// How long a child may take to start, unless it says otherwise.
const START_WITHIN_DEFAULT: Duration = Duration::from_secs(30);

/// What a component is configured with that nobody configures.
const NO_VALUES: [(&str, &str); 0] = [];

/// How a child is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShutdownPolicy {
    /// It has so long to end by itself, the message in hand included; then it is killed.
    Timeout(Duration),
    /// It is killed at once.
    Brutal,
    /// It has as long as it takes.
    Infinity,
}

impl Default for ShutdownPolicy {
    /// OTP's default for workers: 5 s.
    fn default() -> Self {
        Self::Timeout(Duration::from_secs(5))
    }
}

/// A child: its name, how it is started, and what its supervisor does about its end.
#[derive(Clone)]
pub struct ChildSpec {
    /// The name it gets.
    pub address: ActorAddress,
    /// What it is.
    pub start: Start,
    /// Which exits are followed by a restart.
    pub restart: RestartPolicy,
    /// How it is asked to end.
    pub shutdown: ShutdownPolicy,
    /// The limits of its mailbox, which outlives its restarts.
    pub mailbox: MailboxConfig,
    /// Whether its end by itself may end its supervisor, as that one's auto-shutdown says.
    pub significant: bool,
    /// How long a restart waits. Default `None`, as in OTP: not at all.
    pub backoff: Option<Backoff>,
    /// How it is asked how it is, if it is an actor. Default `None`: it is not.
    pub health: Option<HealthCheck>,
    /// How long it may take to start: instantiation and `init`, or `pre_start`. Default 30 s. Not for supervisors,
    /// whose children have theirs.
    pub start_within: Duration,
    /// How many of it drain the mailbox, each an actor of its own under `address/0`, `address/1` and so on, which is
    /// restarted by itself. With more than one, the order of messages is not promised. Default 1; at most
    /// [`REPLICAS_MAX`].
    pub replicas: u32,
}

/// What a child is.
#[derive(Clone)]
#[non_exhaustive]
pub enum Start {
    /// An instance of a component.
    Component(ComponentStart),
    /// A native actor.
    Native(NativeStart),
    /// A supervisor with children of its own.
    Supervisor(SupervisorStart),
}

/// How a supervisor is made, any number of times.
#[derive(Clone)]
pub struct SupervisorStart {
    spec: Arc<SupervisorSpec>,
    /// Nobody calls it.
    surface: Arc<Surface>,
}

type Starting = Pin<Box<dyn Future<Output = Result<(), ExitReason>> + Send>>;
type NativeFactory = Arc<dyn Fn(StartContext) -> Starting + Send + Sync>;

/// How a native actor is made, any number of times.
#[derive(Clone)]
pub struct NativeStart {
    surface: Result<Arc<Surface>, Arc<WitError>>,
    factory: NativeFactory,
}

impl ChildSpec {
    /// A child that is an instance of a component, with defaults: permanent, 5 s to shut down, the
    /// default mailbox, no configuration and no links.
    #[must_use]
    pub fn component(address: ActorAddress, template: InstanceTemplate) -> Self {
        let start = ComponentStart {
            template,
            config: Arc::new(Configuration::new(1, NO_VALUES)),
            links: Vec::new(),
            monitors: Vec::new(),
            passivate: None,
            spawn: None,
        };
        Self::new(address, Start::Component(start))
    }

    /// A child that is a native actor, made by `factory` at each start, with the same defaults.
    #[must_use]
    pub fn native<A: Actor>(
        address: ActorAddress,
        factory: impl Fn() -> A + Send + Sync + 'static,
    ) -> Self {
        let make = Arc::new(factory);
        let factory: NativeFactory = Arc::new(move |context| {
            let make = Arc::clone(&make);
            Box::pin(async move {
                let starting = NativeBehaviour::start(&*make, &context.slot);
                let behaviour = or_killed(&context.slot, starting)
                    .await
                    .unwrap_or(Err(ExitReason::Killed))?;
                context.run(behaviour).await
            })
        });
        let surface = A::surface().map(Arc::new).map_err(Arc::new);
        Self::new(address, Start::Native(NativeStart { surface, factory }))
    }

    /// A child that is a supervisor: permanent, and it has as long to shut down as its children take.
    #[must_use]
    pub fn supervisor(spec: SupervisorSpec) -> Self {
        let start = Start::Supervisor(SupervisorStart {
            spec: Arc::new(spec.clone()),
            surface: Arc::default(),
        });
        Self {
            shutdown: ShutdownPolicy::Infinity,
            ..Self::new(spec.address, start)
        }
    }

    /// What it is made of, if it is a supervisor.
    #[must_use]
    pub fn as_supervisor(&self) -> Option<&SupervisorSpec> {
        match &self.start {
            Start::Supervisor(start) => Some(&start.spec),
            _ => None,
        }
    }

    /// Whether both are one supervisor, made of the same spec.
    pub(crate) fn is_made_as(&self, other: &Self) -> bool {
        match (&self.start, &other.start) {
            (Start::Supervisor(one), Start::Supervisor(two)) => Arc::ptr_eq(&one.spec, &two.spec),
            _ => false,
        }
    }

    fn new(address: ActorAddress, start: Start) -> Self {
        Self {
            address,
            start,
            restart: RestartPolicy::default(),
            shutdown: ShutdownPolicy::default(),
            significant: false,
            backoff: None,
            health: None,
            start_within: START_WITHIN_DEFAULT,
            mailbox: MailboxConfig::default(),
            replicas: 1,
        }
    }

    /// Adds a link; only components have imports to satisfy, so it says nothing to a native actor.
    #[must_use]
    pub fn link(mut self, link: Link) -> Self {
        if let Start::Component(start) = &mut self.start {
            start.links.push(link);
        }
        self
    }

    /// Adds an actor whose ends a component is told; native actors call [`Context::monitor`](crate::Context::monitor).
    #[must_use]
    pub fn monitor(mut self, address: ActorAddress) -> Self {
        if let Start::Component(start) = &mut self.start {
            start.monitors.push(address);
        }
        self
    }

    /// The configuration of a component: given to its `init`, and read by it as it is granted.
    #[must_use]
    pub fn config(mut self, config: Vec<(String, String)>) -> Self {
        if let Start::Component(start) = &mut self.start {
            start.config = Arc::new(Configuration::new(1, config));
        }
        self
    }

    /// The same, made before.
    #[must_use]
    pub fn configuration(mut self, config: Configuration) -> Self {
        if let Start::Component(start) = &mut self.start {
            start.config = Arc::new(config);
        }
        self
    }

    /// The functions the child has.
    ///
    /// # Errors
    /// [`WitError`] when a native actor's WIT is not valid.
    pub fn surface(&self) -> Result<&Arc<Surface>, &Arc<WitError>> {
        match &self.start {
            Start::Component(start) => Ok(start.template.surface()),
            Start::Native(start) => start.surface.as_ref(),
            Start::Supervisor(start) => Ok(&start.surface),
        }
    }

    /// It is started again after every exit.
    #[must_use]
    pub fn restart_permanent(mut self) -> Self {
        self.restart = RestartPolicy::Permanent;
        self
    }

    /// It is started again after abnormal exits.
    #[must_use]
    pub fn restart_transient(mut self) -> Self {
        self.restart = RestartPolicy::Transient;
        self
    }

    /// It is never started again.
    #[must_use]
    pub fn restart_temporary(mut self) -> Self {
        self.restart = RestartPolicy::Temporary;
        self
    }

    /// It has so long to end when it is asked; then it is killed.
    #[must_use]
    pub fn shutdown_graceful(mut self, time: Duration) -> Self {
        self.shutdown = ShutdownPolicy::Timeout(time);
        self
    }

    /// It is killed instead of asked.
    #[must_use]
    pub fn shutdown_brutal(mut self) -> Self {
        self.shutdown = ShutdownPolicy::Brutal;
        self
    }

    /// It has as long to end as it takes.
    #[must_use]
    pub fn shutdown_infinity(mut self) -> Self {
        self.shutdown = ShutdownPolicy::Infinity;
        self
    }

    /// Its end by itself may end its supervisor.
    #[must_use]
    pub fn significant(mut self) -> Self {
        self.significant = true;
        self
    }

    /// It is asked how it is.
    #[must_use]
    pub fn health(mut self, check: HealthCheck) -> Self {
        self.health = Some(check);
        self
    }

    /// Its restarts wait.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// When a component gives up its instance; says nothing to a native actor.
    #[must_use]
    pub fn passivate(mut self, passivation: Passivation) -> Self {
        if let Start::Component(start) = &mut self.start {
            start.passivate = Some(passivation);
        }
        self
    }

    /// What a component may start itself; says nothing to a native actor.
    #[must_use]
    pub fn spawning(mut self, spawning: Spawning) -> Self {
        if let Start::Component(start) = &mut self.start {
            start.spawn = Some(spawning);
        }
        self
    }

    pub(crate) fn spawns(&self) -> Option<&Spawning> {
        match &self.start {
            Start::Component(start) => start.spawn.as_ref(),
            Start::Native(_) | Start::Supervisor(_) => None,
        }
    }

    /// The values it is given, which can be secrets: of its configuration and of its environment.
    pub(crate) fn values(&self) -> impl Iterator<Item = &str> {
        let component = match &self.start {
            Start::Component(start) => Some(start),
            Start::Native(_) | Start::Supervisor(_) => None,
        };
        component.into_iter().flat_map(|start| {
            let config = start.config.iter().map(|(_, value)| value);
            config.chain(start.template.env_values())
        })
    }

    /// What a guest has said, without the values it was given.
    pub(crate) fn without_values(&self, text: String) -> String {
        without(text, self.values())
    }

    pub(crate) fn passivation(&self) -> Option<Passivation> {
        match &self.start {
            Start::Component(start) => start.passivate,
            Start::Native(_) | Start::Supervisor(_) => None,
        }
    }

    pub(crate) fn monitors(&self) -> &[ActorAddress] {
        match &self.start {
            Start::Component(start) => &start.monitors,
            Start::Native(_) | Start::Supervisor(_) => &[],
        }
    }

    /// The imports of a component that need a link.
    pub(crate) fn linked(&self) -> &[InterfaceName] {
        match &self.start {
            Start::Component(start) => start.template.linked(),
            Start::Native(_) | Start::Supervisor(_) => &[],
        }
    }

    pub(crate) fn links(&self) -> &[Link] {
        match &self.start {
            Start::Component(start) => &start.links,
            Start::Native(_) | Start::Supervisor(_) => &[],
        }
    }
}

/// A child whose name is registered and whose links are resolved.
#[derive(Clone)]
pub(crate) enum PreparedChild {
    Actor(Arc<PreparedActor>),
    Supervisor(Arc<PreparedSupervisor>),
}

/// An actor that can be started, any number of times.
pub(crate) struct PreparedActor {
    pub(crate) spec: ChildSpec,
    pub(crate) slot: Arc<Slot>,
    pub(crate) targets: Arc<LinkTargets>,
    pub(crate) hooks: Hooks,
    pub(crate) standing: Arc<Standing>,
    /// The revision of the slot that it was prepared for.
    pub(crate) follows: u64,
    /// How it was supervised when it was prepared: what differs from that by the time that it takes its place has been
    /// changed meanwhile.
    pub(crate) tuned_from: Tuning,
    /// What its first start from now on goes on with, if it is still there.
    pub(crate) kept: Option<Kept>,
}

impl PreparedActor {
    /// Whether an instance of it can be made while another one of the actor runs: one that calls nobody in its name.
    pub(crate) fn may_be_warm(&self) -> bool {
        !self.hooks.messages() && (self.targets.is_empty() || !self.hooks.may_call())
    }
}

/// A supervisor that can be started, any number of times.
pub(crate) struct PreparedSupervisor {
    pub(crate) spec: ChildSpec,
    pub(crate) record: Arc<Record>,
    pub(crate) standing: Arc<Standing>,
}

/// What its supervisor knows of a child, beside what the child is.
#[derive(Default)]
pub(crate) struct Standing {
    /// It is there whenever its supervisor is.
    pub(crate) is_first: AtomicBool,
    /// Its place in start order when the specs were last changed, from 1; 0 if it has come since. Of one that is not
    /// among the first any more.
    pub(crate) place: AtomicUsize,
    /// How often it was the reason for its supervisor to give up.
    pub(crate) blamed: AtomicU32,
    /// It waits for its next try to start.
    pub(crate) restarting: AtomicBool,
    pub(crate) scaling: Mutex<Scaling>,
}

impl Standing {
    pub(crate) fn new(is_first: bool) -> Self {
        Self {
            is_first: AtomicBool::new(is_first),
            ..Self::default()
        }
    }

    /// Its place among those that are not the first.
    pub(crate) fn later(&self) -> usize {
        let place = self.place.load(Ordering::Relaxed);
        place.checked_sub(1).unwrap_or(usize::MAX)
    }

    pub(crate) fn is_first(&self) -> bool {
        self.is_first.load(Ordering::Relaxed)
    }
}

/// Whether a child is one because of how many replicas there are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Scaling {
    /// It is, as much as any.
    #[default]
    Settled,
    /// It will be, once all that came with it are up; if its supervisor dies before, it never was.
    Joining,
    /// Not any more: it finishes what it has in hand, and is then forgotten.
    Leaving,
}

/// What the code of a start works with.
pub(crate) struct StartContext {
    slot: Arc<Slot>,
    incarnation: u64,
    sink: ExitSink,
}

impl StartContext {
    /// Hands the started behaviour to an actor of its own.
    async fn run<B: Behaviour>(self, behaviour: B) -> Result<(), ExitReason> {
        // Callers may find the behaviour before its actor has run for the first time.
        self.slot.running();
        let guard = ExitGuard::new(Arc::clone(&self.slot), self.incarnation, self.sink.clone());
        // The supervisor hears of the start before the actor can end: the exit event comes later.
        let sink = self.sink;
        host::spawn(behaviour, self.slot, guard, move |slot| {
            sink.started(slot, self.incarnation);
        })
        .await
    }
}

/// Starts one incarnation. Every way it can fail ends in one message to the supervisor.
pub(crate) async fn start(child: Arc<PreparedActor>, incarnation: u64, sink: ExitSink) {
    let context = StartContext {
        slot: Arc::clone(&child.slot),
        incarnation,
        sink: sink.clone(),
    };
    let starting = AssertUnwindSafe(run_start(&child, context)).catch_unwind();
    let within = child.spec.start_within;
    let failed = match tokio::time::timeout(within, starting).await {
        Ok(Ok(Ok(()))) => return,
        Ok(Ok(Err(reason))) => reason,
        Ok(Err(panic)) => ExitReason::panicked(&*panic),
        Err(_) => ExitReason::start_failed(&format!("not up within {within:?}")),
    };
    let failed = child.slot.ended(failed);
    sink.start_failed(&child.slot, incarnation, failed);
}

async fn run_start(child: &Arc<PreparedActor>, context: StartContext) -> Result<(), ExitReason> {
    match &child.spec.start {
        Start::Component(_) => {
            let kept = child.kept.as_ref().and_then(Kept::take);
            let starting = ComponentBehaviour::start(child, context.incarnation, kept);
            let live = or_killed(&child.slot, starting)
                .await
                .unwrap_or(Err(ExitReason::Killed))?;
            context.run(ComponentBehaviour::Live(live)).await
        }
        Start::Native(start) => (start.factory)(context).await,
        // It has a record instead, and is started by its parent's actor.
        Start::Supervisor(_) => Ok(()),
    }
}
