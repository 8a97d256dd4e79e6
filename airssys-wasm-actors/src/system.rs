//! A system of actors: the root of its supervision and the door to its registry.
//!
//! Owns [`System`] and the root of the tree: a supervisor above all others, which makes one again that was killed and
//! forgets one that has ended. It never gives up: one application's fault is not another's. A system
//! lives in the tokio runtime it was started in; there is no global state, so a process can have
//! several.

use std::sync::{Arc, Weak};

use airssys_wasm::Engine;
use parking_lot::Mutex;

use crate::address::{ActorAddress, AddressError};
use crate::counters::Counters;
use crate::crashes::{CrashLimits, Crashes};
use crate::dead_letters::{DeadLetterLimits, DeadLetters};
use crate::events::Events;
use crate::exit::ExitReason;
use crate::groups::{Group, GroupStatus};
use crate::messaging::MessagingLimits;
use crate::reference::ActorRef;
use crate::shared::{Bounds, Shared};
use crate::supervisor::{
    ChildSpec, Mode, Record, RestartIntensity, RestartPolicy, StartError, Started, StopReport,
    Strategy, Supervisor, SupervisorSpec, clean_up, spawn,
};
use crate::timers::Timers;
use crate::topics::Topics;

/// The address of the supervisor that [`System::spawn`] uses.
pub(crate) const OWN_SUPERVISOR: &str = "system";
/// The name of the supervisor above all others, in events.
const ROOT: &str = "root";

/// What a system is made of.
#[derive(Clone)]
pub struct SystemConfig {
    /// The engine its components run on.
    pub engine: Engine,
    /// How many dead letters are kept, and which are poison.
    pub dead_letters: DeadLetterLimits,
    /// How many crash reports are kept.
    pub crashes: CrashLimits,
    /// Events kept for a subscriber that is behind. Default 4,096.
    pub events_capacity: usize,
    /// Restarts of the actors started by [`System::spawn`]. Default: OTP's, 1 within 5 s.
    pub intensity: RestartIntensity,
    /// Whether a call to an idle component may be run by the caller's own task, which saves two
    /// scheduler hops. Default true; off, every message goes through the mailbox.
    pub short_road: bool,
    /// What one actor may hold of topics and timers.
    pub messaging: MessagingLimits,
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
            crashes: CrashLimits::default(),
            events_capacity: 4096,
            intensity,
            short_road: true,
            messaging: MessagingLimits::default(),
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
    root: Supervisor,
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
            crashes,
            events_capacity,
            intensity,
            short_road,
            messaging,
            root_intensity,
        } = config;
        let bounds = Bounds {
            dead_letters,
            crashes,
            events: events_capacity,
            messaging,
        };
        let shared = Shared::new(engine, bounds, short_road);
        let root = start_root(&shared, root_intensity).await?;
        let spec = SupervisorSpec {
            intensity,
            ..SupervisorSpec::new(OWN_SUPERVISOR.parse()?)
        };
        let own = supervise(&root, spec).await?;
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

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// The engine its components run on.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.inner.shared.engine()
    }

    /// Makes a supervisor, with the children it starts with. It is stopped by [`System::shutdown`], or by itself.
    ///
    /// # Errors
    /// [`StartError`] when the name is taken or the system has been shut down.
    pub async fn supervise(&self, spec: SupervisorSpec) -> Result<Supervisor, StartError> {
        let supervisor = supervise(&self.inner.root, spec).await?;
        let mut supervisors = self.inner.supervisors.lock();
        // Those that have ended have nothing left to stop.
        supervisors.retain(|known| !known.has_ended());
        supervisors.push(supervisor.clone());
        drop(supervisors);
        Ok(supervisor)
    }

    /// Starts one actor under the system's own supervisor.
    ///
    /// All that are started here share its [`SystemConfig::intensity`]: with the default a second restart within 5 s, of
    /// whichever of them, stops all of them, and nothing more is started here ([`StartError::SupervisorEnded`]). Allow
    /// more there, or give what may fail by itself a supervisor of its own ([`System::supervise`]).
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn spawn(&self, child: ChildSpec) -> Result<ActorRef, StartError> {
        let address = child.address.clone();
        let started = self.inner.own.start(vec![child]).await?;
        started
            .into_iter()
            .next()
            .ok_or(StartError::Declined(address))
    }

    /// The supervisor behind [`System::spawn`].
    #[must_use]
    pub fn supervisor(&self) -> &Supervisor {
        &self.inner.own
    }

    /// The child that has an address, whatever it is, and who supervises it; the name that replicas share is the
    /// child too. `None` for nobody's, and for the supervisors at the top.
    #[must_use]
    pub fn child(&self, address: &ActorAddress) -> Option<(Supervisor, Started)> {
        let shared = &self.inner.shared;
        if let Some(record) = shared.supervisor(address) {
            let supervisor = Supervisor::new(record);
            return Some((supervisor.parent()?, Started::Supervisor(supervisor)));
        }
        let actor = ActorRef::new(shared.whereis(address)?);
        let id = actor.replicas().first().unwrap_or(&actor).slot().id();
        let supervisor = self.supervisors().iter().find_map(|top| top.of(id))?;
        Some((supervisor, Started::Actor(actor)))
    }

    /// The supervisor that has an address now, wherever it is in the tree.
    #[must_use]
    pub fn find_supervisor(&self, address: &ActorAddress) -> Option<Supervisor> {
        self.inner.shared.supervisor(address).map(Supervisor::new)
    }

    /// Every supervisor at the top that has not ended, in the order they were made; those below are their
    /// [`Supervisor::supervisors`].
    #[must_use]
    pub fn supervisors(&self) -> Vec<Supervisor> {
        let supervisors = self.inner.supervisors.lock();
        let live = supervisors.iter().filter(|one| !one.has_ended());
        live.cloned().collect()
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

    /// Every name in use, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<ActorAddress> {
        let all = self.inner.shared.all();
        all.iter().map(|slot| slot.address().clone()).collect()
    }

    /// A handle on the group of that name, whether or not it has members yet.
    #[must_use]
    pub fn group(&self, name: &ActorAddress) -> Group {
        Group::new(Arc::clone(&self.inner.shared), name.clone())
    }

    /// Every group that has members, by name.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupStatus> {
        Group::list(&self.inner.shared)
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

    /// What is known of the actors that crashed: to list, show and forget.
    #[must_use]
    pub fn crashes(&self) -> Crashes {
        Crashes::new(Arc::clone(&self.inner.shared))
    }

    /// Publish and subscribe.
    #[must_use]
    pub fn topics(&self) -> Topics {
        Topics::new(Arc::clone(&self.inner.shared))
    }

    /// Messages sent at a later time.
    #[must_use]
    pub fn timers(&self) -> Timers {
        Timers::new(Arc::clone(&self.inner.shared))
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
        report.append(self.inner.root.stop().await);
        // Flushing waits for the writer, which may wait for a disk.
        let audit = self.inner.shared.engine().audit().clone();
        let flushed = tokio::task::spawn_blocking(move || audit.flush()).await;
        if flushed.is_err() {
            tracing::warn!("the audit trail was not flushed: the runtime is shutting down");
        }
        report
    }
}

/// Starts the supervisor above all others. Nobody supervises it, so a task looks after what is left if it should die.
async fn start_root(
    shared: &Arc<Shared>,
    intensity: RestartIntensity,
) -> Result<Supervisor, SystemError> {
    let spec = SupervisorSpec {
        strategy: Strategy::SimpleOneForOne,
        intensity,
        ..SupervisorSpec::new(ROOT.parse()?)
    };
    let record = Record::new(&spec, shared, Weak::new(), RestartPolicy::Temporary);
    record.begin();
    let arguments = (Arc::clone(&record), Mode::Supervise);
    spawn(arguments, None)
        .await
        .map_err(|error| SystemError::Root(error.to_string()))?;
    let watched = Arc::clone(&record);
    let abandoned = Abandoned(Arc::clone(shared));
    shared.spawn(async move {
        let _abandoned = abandoned;
        while let Some(actor) = watched.actor() {
            let _ = actor.get_cell().wait(None).await;
            if watched.is_active() {
                clean_up(Arc::clone(&watched), ExitReason::Killed, None).await;
            }
        }
    });
    Ok(Supervisor::new(record))
}

/// Dropped with the runtime, if not before: a system that nobody has shut down is let go of with it.
struct Abandoned(Arc<Shared>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.forget_all();
    }
}

/// Has the root supervise another supervisor: made again if it was killed, forgotten when it has ended.
async fn supervise(root: &Supervisor, spec: SupervisorSpec) -> Result<Supervisor, StartError> {
    let address = spec.address.clone();
    let child = ChildSpec::supervisor(spec).restart_transient();
    let started = root.start_child(child).await?;
    started
        .supervisor()
        .ok_or(StartError::SupervisorEnded(address))
}

#[cfg(test)]
mod tests {
    use airssys_wasm::{
        ComponentRef, EngineConfig, InstanceTemplate, Surface, TemplateSpec, WitError,
    };

    use super::*;
    use crate::native::{Actor, Context, Message};

    struct Quiet;

    impl Actor for Quiet {
        type Error = std::io::Error;

        fn surface() -> Result<Surface, WitError> {
            Surface::from_wit("package a:b; interface c { d: func(); }")
        }

        async fn handle_message(
            &mut self,
            message: &mut Message,
            _: &mut Context,
        ) -> Result<(), Self::Error> {
            message.reply(());
            Ok(())
        }
    }

    const WAT: &str = r#"(component
      (core module $m (func (export "d")) (func (export "t") unreachable))
      (core instance $i (instantiate $m))
      (func $d (canon lift (core func $i "d")))
      (func $t (canon lift (core func $i "t")))
      (instance (export "a:b/c") (export "d" (func $d)) (export "t" (func $t))))"#;

    fn address(text: &str) -> ActorAddress {
        text.parse().unwrap()
    }

    /// What `use_it` does is done to a system, which is then shut down, or not, and let go with its runtime.
    fn left_of<F: Future<Output = ()>>(use_it: impl FnOnce(System) -> F, in_order: bool) -> usize {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let shared = runtime.block_on(async {
            let engine = Engine::new(EngineConfig {
                pool_instances_max: 10,
                cache: airssys_wasm::CacheLocation::Off,
                ..EngineConfig::default()
            })
            .unwrap();
            let system = System::start(SystemConfig::new(engine)).await.unwrap();
            use_it(system.clone()).await;
            if in_order {
                system.shutdown().await;
            }
            Arc::downgrade(&system.inner.shared)
        });
        drop(runtime);
        shared.strong_count()
    }

    /// Begins a message and never ends it.
    struct Stuck;

    impl Actor for Stuck {
        type Error = std::io::Error;

        fn surface() -> Result<Surface, WitError> {
            Quiet::surface()
        }

        async fn handle_message(
            &mut self,
            _: &mut Message,
            _: &mut Context,
        ) -> Result<(), Self::Error> {
            std::future::pending().await
        }
    }

    /// What is queued holds whom it is for, and a runtime that is dropped ends no registration.
    #[test]
    fn nothing_is_left_of_a_system_that_is_dropped_with_messages_under_way() {
        for replicas in [1, 2] {
            let busy = async move |system: System| {
                let stuck = ChildSpec {
                    replicas,
                    ..ChildSpec::native(address("stuck"), || Stuck)
                };
                let stuck = system.spawn(stuck).await.unwrap();
                let quiet = ChildSpec::native(address("quiet"), || Quiet);
                let quiet = system.spawn(quiet).await.unwrap();
                let call = stuck.function("d").unwrap();
                for _ in 0..5 {
                    stuck.cast("d", ()).unwrap();
                    let call = call.clone();
                    tokio::spawn(async move { call.call(()).await });
                }
                while stuck.status().queued < 10 {
                    tokio::task::yield_now().await;
                }
                let monitor = quiet.monitor();
                tokio::spawn(monitor);
                quiet.kill();
            };
            assert_eq!(left_of(busy, false), 0, "{replicas}");
        }
    }

    #[test]
    fn nothing_is_left_of_a_system_whether_or_not_it_was_shut_down() {
        for in_order in [true, false] {
            assert_eq!(left_of(async |_| {}, in_order), 0, "nothing in it");
            let native = async |system: System| {
                let quiet = ChildSpec::native(address("quiet"), || Quiet);
                let actor = system.spawn(quiet).await.unwrap();
                actor.call("d", ()).await.unwrap();
            };
            assert_eq!(left_of(native, in_order), 0, "a native actor");
            let component = async |system: System| {
                let wasm = wat::parse_str(WAT).unwrap();
                let component = system
                    .engine()
                    .load(&ComponentRef::Bytes(wasm.into()))
                    .unwrap();
                let template =
                    InstanceTemplate::link(&component, TemplateSpec::new("test")).unwrap();
                let child = ChildSpec::component(address("quiet"), template);
                let actor = system.spawn(child).await.unwrap();
                actor.call("d", ()).await.unwrap();
                actor.call("t", ()).await.unwrap_err();
            };
            assert_eq!(
                left_of(component, in_order),
                0,
                "a component that was restarted"
            );
            let tree = async |system: System| {
                let below = SupervisorSpec::new(address("top/below"))
                    .with(ChildSpec::native(address("top/below/quiet"), || Quiet));
                let top = SupervisorSpec::new(address("top")).with(ChildSpec::supervisor(below));
                system.supervise(top).await.unwrap();
            };
            assert_eq!(left_of(tree, in_order), 0, "a tree");
        }
    }
}
