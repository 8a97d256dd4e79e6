//! A system of actors: the root of its supervision and the door to its registry.
//!
//! Owns [`System`] and the root actor, which makes a supervisor again when it was killed. A system
//! lives in the tokio runtime it was started in; there is no global state, so a process can have
//! several.

mod root;

use std::sync::Arc;

use airssys_wasm::Engine;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::address::{ActorAddress, AddressError};
use crate::counters::Counters;
use crate::dead_letters::{DeadLetterLimits, DeadLetters};
use crate::events::Events;
use crate::exit::ExitReason;
use crate::reference::ActorRef;
use crate::shared::Shared;
use crate::supervisor::{
    ChildSpec, Record, RestartIntensity, StartError, StopReport, Strategy, Supervisor,
    SupervisorSpec,
};
use crate::system::root::{Root, RootMessage};

/// The address of the supervisor that [`System::spawn`] uses.
pub(crate) const OWN_SUPERVISOR: &str = "system";

/// What a system is made of.
#[derive(Clone)]
pub struct SystemConfig {
    /// The engine its components run on.
    pub engine: Engine,
    /// How many dead letters are kept, and which are poison.
    pub dead_letters: DeadLetterLimits,
    /// Events kept for a subscriber that is behind. Default 4,096.
    pub events_capacity: usize,
    /// Restarts of the actors started by [`System::spawn`]. Default: OTP's, 1 within 5 s.
    pub intensity: RestartIntensity,
    /// Whether a call to an idle component may be run by the caller's own task, which saves two
    /// scheduler hops. Default true; off, every message goes through the mailbox.
    pub short_road: bool,
    /// How often supervisors that were killed are made again. Default: OTP's, 1 within 5 s.
    pub root_intensity: RestartIntensity,
}

impl SystemConfig {
    /// The defaults.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        let intensity = RestartIntensity::default();
        Self {
            engine,
            dead_letters: DeadLetterLimits::default(),
            events_capacity: 4096,
            intensity,
            short_road: true,
            root_intensity: intensity,
        }
    }
}

/// Why a system could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SystemError {
    /// The root actor did not start.
    #[error("the root of the system did not start: {0}")]
    Root(String),
    /// The name of its own supervisor is not an address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Its own supervisor did not start.
    #[error(transparent)]
    Supervisor(#[from] StartError),
}

/// A running system. Clones are handles on the same one; dropping them stops nothing.
#[derive(Clone)]
pub struct System {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    root: ractor::ActorRef<RootMessage>,
    /// In the order they were made.
    supervisors: Mutex<Vec<Supervisor>>,
    own: Supervisor,
}

impl System {
    /// Starts a system in the current tokio runtime, whose time driver must be enabled.
    ///
    /// # Errors
    /// [`SystemError`].
    pub async fn start(config: SystemConfig) -> Result<Self, SystemError> {
        let SystemConfig {
            engine,
            dead_letters,
            events_capacity,
            intensity,
            short_road,
            root_intensity,
        } = config;
        let shared = Shared::new(engine, dead_letters, events_capacity, short_road);
        let (root, _join) = <Root as ractor::Actor>::spawn(None, Root, root_intensity)
            .await
            .map_err(|error| SystemError::Root(error.to_string()))?;
        let spec = SupervisorSpec {
            address: OWN_SUPERVISOR.parse()?,
            strategy: Strategy::OneForOne,
            intensity,
        };
        let own = supervise(&root, &shared, spec).await?;
        let supervisors = Mutex::new(vec![own.clone()]);
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                root,
                supervisors,
                own,
            }),
        })
    }

    /// The engine its components run on.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.inner.shared.engine()
    }

    /// Makes a supervisor. It is stopped by [`System::shutdown`], or by itself.
    ///
    /// # Errors
    /// [`StartError`] when the name is taken or the system has been shut down.
    pub async fn supervise(&self, spec: SupervisorSpec) -> Result<Supervisor, StartError> {
        let supervisor = supervise(&self.inner.root, &self.inner.shared, spec).await?;
        let mut supervisors = self.inner.supervisors.lock();
        // Those that have ended have nothing left to stop.
        supervisors.retain(|known| !known.has_ended());
        supervisors.push(supervisor.clone());
        drop(supervisors);
        Ok(supervisor)
    }

    /// Starts one actor under the system's own supervisor.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn spawn(&self, child: ChildSpec) -> Result<ActorRef, StartError> {
        let address = child.address.clone();
        let started = self.inner.own.start(vec![child]).await?;
        started.into_iter().next().ok_or_else(|| StartError::Child {
            address,
            reason: ExitReason::start_failed("it ended at once"),
        })
    }

    /// The supervisor behind [`System::spawn`].
    #[must_use]
    pub fn supervisor(&self) -> &Supervisor {
        &self.inner.own
    }

    /// The actor that has an address now.
    #[must_use]
    pub fn whereis(&self, address: &ActorAddress) -> Option<ActorRef> {
        self.inner.shared.whereis(address).map(ActorRef::new)
    }

    /// Every registered actor, by address.
    #[must_use]
    pub fn actors(&self) -> Vec<ActorRef> {
        self.inner
            .shared
            .all()
            .into_iter()
            .map(ActorRef::new)
            .collect()
    }

    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.inner.shared.subscribe()
    }

    /// The casts nobody handled: to list, replay and purge.
    #[must_use]
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters::new(Arc::clone(&self.inner.shared))
    }

    /// What was counted of all actors, those that are gone included.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner.shared.counters()
    }

    /// Stops every supervisor, the newest first, each with its children in reverse start order,
    /// and then the root. Calls made afterwards fail.
    pub async fn shutdown(&self) -> StopReport {
        let mut report = StopReport::default();
        loop {
            let newest = self.inner.supervisors.lock().pop();
            let Some(newest) = newest else { break };
            report.append(newest.stop().await);
        }
        self.inner.root.stop(None);
        // Flushing waits for the writer, which may wait for a disk.
        let audit = self.inner.shared.engine().audit().clone();
        let flushed = tokio::task::spawn_blocking(move || audit.flush()).await;
        if flushed.is_err() {
            tracing::warn!("the audit trail was not flushed: the runtime is shutting down");
        }
        report
    }
}

async fn supervise(
    root: &ractor::ActorRef<RootMessage>,
    shared: &Arc<Shared>,
    spec: SupervisorSpec,
) -> Result<Supervisor, StartError> {
    let address = spec.address.clone();
    let record = Record::new(spec, Arc::clone(shared));
    let (reply, answer) = oneshot::channel();
    let message = RootMessage::Supervise {
        record: Arc::clone(&record),
        reply,
    };
    if root.send_message(message).is_err() {
        return Err(StartError::SupervisorEnded(address));
    }
    answer
        .await
        .unwrap_or(Err(StartError::SupervisorEnded(address)))?;
    Ok(Supervisor::new(record))
}
