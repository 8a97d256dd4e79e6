//! What a supervisor is told of a child, and how a child is started.
//!
//! Owns [`ChildSpec`] and the start task: everything that may wait, fail or panic at a start runs
//! there, away from the supervisor, and its outcome goes back as a message. A successor is only
//! begun once its predecessor's exit event has come.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::{InstanceTemplate, Surface, WitError};
use futures_util::FutureExt;

use crate::address::ActorAddress;
use crate::component::{ComponentBehaviour, ComponentStart, Hooks};
use crate::drain::{Behaviour, ExitGuard, or_killed};
use crate::exit::ExitReason;
use crate::host;
use crate::link::{Link, LinkTargets};
use crate::mailbox::MailboxConfig;
use crate::native::{Actor, NativeBehaviour};
use crate::slot::Slot;
use crate::supervisor::{ExitSink, RestartPolicy};

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
}

/// What a child is.
#[derive(Clone)]
#[non_exhaustive]
pub enum Start {
    /// An instance of a component.
    Component(ComponentStart),
    /// A native actor.
    Native(NativeStart),
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
            config: Vec::new(),
            links: Vec::new(),
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

    fn new(address: ActorAddress, start: Start) -> Self {
        Self {
            address,
            start,
            restart: RestartPolicy::default(),
            shutdown: ShutdownPolicy::default(),
            mailbox: MailboxConfig::default(),
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

    /// The configuration given to a component's `init`.
    #[must_use]
    pub fn config(mut self, config: Vec<(String, String)>) -> Self {
        if let Start::Component(start) = &mut self.start {
            start.config = config;
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
        }
    }

    pub(crate) fn links(&self) -> &[Link] {
        match &self.start {
            Start::Component(start) => &start.links,
            Start::Native(_) => &[],
        }
    }
}

/// A child whose links are resolved and whose slot is made.
pub(crate) struct PreparedChild {
    pub(crate) spec: ChildSpec,
    pub(crate) slot: Arc<Slot>,
    pub(crate) targets: Arc<LinkTargets>,
    pub(crate) hooks: Hooks,
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
pub(crate) async fn start(child: Arc<PreparedChild>, incarnation: u64, sink: ExitSink) {
    let context = StartContext {
        slot: Arc::clone(&child.slot),
        incarnation,
        sink: sink.clone(),
    };
    let starting = AssertUnwindSafe(run_start(&child, context))
        .catch_unwind()
        .await;
    let failed = match starting {
        Ok(Ok(())) => return,
        Ok(Err(reason)) => reason,
        Err(panic) => ExitReason::panicked(&*panic),
    };
    child.slot.ended();
    sink.start_failed(&child.slot, incarnation, failed);
}

async fn run_start(child: &PreparedChild, context: StartContext) -> Result<(), ExitReason> {
    match &child.spec.start {
        Start::Component(start) => {
            let starting = ComponentBehaviour::start(
                start,
                &child.targets,
                child.hooks,
                &child.slot,
                context.incarnation,
            );
            let behaviour = or_killed(&child.slot, starting)
                .await
                .unwrap_or(Err(ExitReason::Killed))?;
            context.run(behaviour).await
        }
        Start::Native(start) => (start.factory)(context).await,
    }
}
