//! Supervision: who starts children again, and when it gives up.
//!
//! Owns the [`Supervisor`] handle. What a supervisor is made of is plain data ([`SupervisorSpec`], [`ChildSpec`]); what
//! it does about what happens is decided by a pure state machine (`machine`), carried out by an actor that never waits
//! on a child (`actor`); and what is kept of it whether or not the actor lives is its record (`record`). Supervisors
//! nest: each is a child like any other, and at the top is the system's root.

mod actor;
mod builder;
mod child;
mod decide;
mod errors;
mod forget;
mod health;
mod machine;
mod order;
mod prepare;
mod record;
mod relink;
mod spec;
mod tuning;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

pub(crate) use actor::{Mode, SupervisorMessage, Team, Whereabouts, clean_up, spawn};
use actor::{Request, StopReply};
pub use builder::{ChildBuilder, NamedChild, SupervisorBuilder};
pub use child::{ChildSpec, NativeStart, REPLICAS_MAX, ShutdownPolicy, Start, SupervisorStart};
pub(crate) use child::{PreparedActor, PreparedChild};
pub use decide::{RestartIntensity, RestartPolicy, RestartWindow, restarts};
pub use errors::{StartError, StopError};
pub(crate) use prepare::{links_fit, predecessor, successor_after};
pub(crate) use record::{ExitSink, Record, SupervisorFlags};
pub use spec::{AutoShutdown, Backoff, SpecError, Strategy, SupervisorSpec};
pub(crate) use tuning::{Altered, Tuning};

use crate::address::{ActorAddress, ActorId};
use crate::exit::ExitReason;
use crate::reference::{ActorRef, ActorState};

/// What was started.
#[derive(Debug, Clone)]
pub enum Started {
    /// An actor.
    Actor(ActorRef),
    /// A supervisor, with the children it starts with.
    Supervisor(Supervisor),
}

impl Started {
    /// Whether its name is still its own.
    fn is_registered(&self) -> bool {
        match self {
            Self::Actor(actor) => actor.is_registered(),
            Self::Supervisor(supervisor) => {
                let record = &supervisor.record;
                let named = record.shared.supervisor(record.address());
                named.is_some_and(|named| named.id() == record.id())
            }
        }
    }

    pub(crate) fn id(&self) -> ActorId {
        match self {
            Self::Actor(actor) => actor.slot().id(),
            Self::Supervisor(supervisor) => supervisor.record.id(),
        }
    }

    /// The actor, if it is one.
    #[must_use]
    pub fn actor(self) -> Option<ActorRef> {
        match self {
            Self::Actor(actor) => Some(actor),
            Self::Supervisor(_) => None,
        }
    }

    /// The supervisor, if it is one.
    #[must_use]
    pub fn supervisor(self) -> Option<Supervisor> {
        match self {
            Self::Actor(_) => None,
            Self::Supervisor(supervisor) => Some(supervisor),
        }
    }
}

/// Where a child is, as its supervisor sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChildState {
    /// It is up.
    Running,
    /// It is being started.
    Starting,
    /// It waits for its next try to start.
    Restarting,
    /// Nothing runs, and nothing will by itself.
    Stopped,
}

/// One child, as its supervisor sees it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChildInfo {
    /// The child; one for each replica.
    pub child: Started,
    /// Its address.
    pub address: ActorAddress,
    /// Where it is.
    pub state: ChildState,
    /// Whether it is a component; native Rust, or a supervisor, otherwise.
    pub is_component: bool,
    /// Which exits are followed by a restart.
    pub restart: RestartPolicy,
    /// How it is asked to end.
    pub shutdown: ShutdownPolicy,
    /// Whether its end by itself may end its supervisor.
    pub significant: bool,
    /// How often it was the reason for its supervisor to give up.
    pub blamed: u32,
}

/// How many children a supervisor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ChildCount {
    /// Children with a spec, running or not. Each replica is one.
    pub specs: usize,
    /// Those that are up, being started or restarting.
    pub active: usize,
    /// Supervisors among all.
    pub supervisors: usize,
    /// Actors among all.
    pub workers: usize,
}

/// What came of stopping.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct StopReport {
    /// Children that ended when asked, in the order they ended.
    pub stopped: Vec<ActorAddress>,
    /// Children that had to be killed: brutal ones, and those whose time was up.
    pub killed: Vec<ActorAddress>,
}

impl StopReport {
    pub(crate) fn append(&mut self, mut other: Self) {
        self.stopped.append(&mut other.stopped);
        self.killed.append(&mut other.killed);
    }
}

/// A handle on a supervisor. Dropping it stops nothing.
#[derive(Clone)]
pub struct Supervisor {
    record: Arc<Record>,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Supervisor").field(self.address()).finish()
    }
}

impl Supervisor {
    pub(crate) fn new(record: Arc<Record>) -> Self {
        Self { record }
    }

    /// Its name.
    #[must_use]
    pub fn address(&self) -> &ActorAddress {
        self.record.address()
    }

    /// The actor of the system that has an address now.
    pub(crate) fn system_actor(&self, address: &ActorAddress) -> Option<ActorRef> {
        self.record.shared.whereis(address).map(ActorRef::new)
    }

    /// Starts children, in order, each after the one before it is up. All names are reserved and
    /// all links checked before the first starts; links may be circular. They are gone when the supervisor is:
    /// what it is to start with is in its [`SupervisorSpec`].
    ///
    /// Returns handles on the actors among them that run.
    ///
    /// # Errors
    /// [`StartError`]. If a child does not start, those started before it are stopped again, in
    /// reverse, and none is kept.
    pub async fn start(&self, children: Vec<ChildSpec>) -> Result<Vec<ActorRef>, StartError> {
        let started = self.start_all(children).await?;
        Ok(started.into_iter().filter_map(Started::actor).collect())
    }

    /// Starts one child. One that declines to start and is not temporary is kept, stopped.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_child(&self, child: ChildSpec) -> Result<Started, StartError> {
        let address = child.address.clone();
        let started = self.start_all(vec![child]).await?;
        started
            .into_iter()
            .next()
            .ok_or(StartError::Declined(address))
    }

    pub(crate) async fn start_all(
        &self,
        children: Vec<ChildSpec>,
    ) -> Result<Vec<Started>, StartError> {
        self.told(|reply| SupervisorMessage::Start { children, reply })
            .await
    }

    async fn told<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<T, StartError>>) -> SupervisorMessage,
    ) -> Result<T, StartError> {
        let (reply, answer) = oneshot::channel();
        let ended = || StartError::SupervisorEnded(self.address().clone());
        if !self.record.tell(message(reply)) {
            return Err(ended());
        }
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Stops one child and forgets it. Its mailbox closes: what is queued fails, or becomes a dead
    /// letter.
    ///
    /// # Errors
    /// [`StopError`].
    pub async fn stop_child(&self, child: &ActorAddress) -> Result<StopReport, StopError> {
        self.request(child, Request::Stop).await
    }

    /// Stops one child and keeps its spec, unless it is temporary: it can be started again, and its name stays taken.
    /// Does nothing to one that is stopped.
    ///
    /// # Errors
    /// [`StopError`].
    pub async fn terminate_child(&self, child: &ActorAddress) -> Result<StopReport, StopError> {
        self.request(child, Request::Terminate).await
    }

    /// Stops the child behind this handle and forgets it; for supervisors whose children come and go. One that is
    /// gone is no error.
    ///
    /// # Errors
    /// [`StopError::NotFound`] when it is somebody else's child, which lives on.
    pub async fn terminate(&self, child: &Started) -> Result<StopReport, StopError> {
        let address = match child {
            Started::Actor(actor) => actor.address(),
            Started::Supervisor(supervisor) => supervisor.address(),
        };
        let asked = self.stop_this(address, Some(child.id())).await;
        match asked {
            Err(StopError::NotFound { .. }) if !child.is_registered() => Ok(StopReport::default()),
            asked => asked,
        }
    }

    /// Stops the child at this address if it is the one with this id, where one is given, and forgets it.
    pub(crate) async fn stop_this(
        &self,
        child: &ActorAddress,
        id: Option<ActorId>,
    ) -> Result<StopReport, StopError> {
        self.ask(|reply| stop_message(child.clone(), id, reply))
            .await
    }

    /// The same, asked for when this returns: it comes before whatever is asked later.
    pub(crate) fn have_stopped(&self, child: ActorAddress, id: Option<ActorId>) {
        let (reply, _) = oneshot::channel();
        // One that has ended has no children.
        self.record.tell(stop_message(child, id, reply));
    }

    /// Forgets a child that is stopped: its name is free.
    ///
    /// # Errors
    /// [`StopError`], when it runs or is being restarted.
    pub async fn delete_child(&self, child: &ActorAddress) -> Result<(), StopError> {
        self.request(child, Request::Delete).await.map(|_| ())
    }

    /// Starts a child that is stopped. It takes over its name; what is sent to it is handled again.
    ///
    /// # Errors
    /// [`StopError`], when it runs or is being restarted, or does not start: then it stays stopped.
    pub async fn start_stopped_child(&self, child: &ActorAddress) -> Result<(), StopError> {
        self.request(child, Request::Revive).await.map(|_| ())
    }

    /// Ends the incarnation of one child by its shutdown policy and begins the next one, which takes over the
    /// mailbox with all that is queued. It is asked for, so the intensity does not count it. A child that is stopped
    /// or in quarantine is started.
    ///
    /// Returns when the successor has begun; [`Event::Started`](crate::Event::Started) tells when it is up. A start that
    /// fails is then a restart like any other.
    ///
    /// # Errors
    /// [`StopError`].
    pub async fn restart_child(&self, child: &ActorAddress) -> Result<StopReport, StopError> {
        self.request(child, Request::Restart).await
    }

    async fn request(
        &self,
        child: &ActorAddress,
        request: Request,
    ) -> Result<StopReport, StopError> {
        let child = child.clone();
        self.ask(|reply| SupervisorMessage::Child {
            child,
            id: None,
            request,
            reply,
        })
        .await
    }

    async fn ask(
        &self,
        message: impl FnOnce(StopReply) -> SupervisorMessage,
    ) -> Result<StopReport, StopError> {
        let (reply, answer) = oneshot::channel();
        let ended = || StopError::SupervisorEnded(self.address().clone());
        if !self.record.tell(message(reply)) {
            return Err(ended());
        }
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Takes over other flags and specs while it runs, as OTP's code change does. Children are told apart by their
    /// address: those that run keep running and are what the new spec says from their next start on, but for how long one may
    /// have nothing to do until it gives up its instance, which holds at once; new ones are not started; those that are not
    /// mentioned are kept as they are, until this supervisor is started again. A supervisor among them that has another
    /// [`SupervisorSpec`] than before is what it says from its own next start on; that start fails if a name is taken by
    /// then, or a link leads nowhere.
    ///
    /// # Errors
    /// [`StartError`]: then nothing has changed.
    pub async fn change(&self, spec: SupervisorSpec) -> Result<(), StartError> {
        let spec = Box::new(spec);
        self.told(|reply| SupervisorMessage::Change { spec, reply })
            .await
    }

    /// Has the flags that `edit` makes of those it has by then. Its children stay what they are.
    pub(crate) async fn reflag(
        &self,
        edit: impl FnOnce(SupervisorFlags) -> SupervisorFlags + Send + 'static,
    ) -> Result<Altered<SupervisorFlags>, StartError> {
        let edit = Box::new(edit);
        self.told(|reply| SupervisorMessage::Reflag { edit, reply })
            .await
    }

    /// Starts those that `order` names in that order from now on; where `only_if` is given, if they have that one by then. Nobody
    /// is started or stopped. Says in which order it started all of its children, and starts them.
    pub(crate) async fn reorder(
        &self,
        order: Vec<ActorAddress>,
        only_if: Option<Vec<ActorAddress>>,
    ) -> Result<Altered<Vec<ActorAddress>>, StartError> {
        self.told(|reply| SupervisorMessage::Reorder {
            order,
            only_if,
            reply,
        })
        .await
    }

    /// Starts with one child more from its next start on, before the first of those that are `later`; until then that one is
    /// there and stopped. The others stay what they are. Says whether it did not start with it before.
    pub(crate) async fn add_first(
        &self,
        child: ChildSpec,
        later: Vec<ActorAddress>,
    ) -> Result<bool, StartError> {
        let child = Box::new(child);
        self.told(|reply| SupervisorMessage::AddFirst {
            child,
            later,
            reply,
        })
        .await
    }

    /// Stops every child, in reverse start order and one after the other, and ends; of a simple-one-for-one
    /// supervisor all at once. Does nothing if it has ended. A permanent child of another supervisor is started again
    /// by that one.
    pub async fn stop(&self) -> StopReport {
        let mut life = self.record.life();
        loop {
            let incarnation = life.borrow_and_update().incarnation;
            let (reply, answer) = oneshot::channel();
            let told = self.record.tell(SupervisorMessage::Stop {
                keep: false,
                reply: Some(reply),
            });
            if told && let Ok(report) = answer.await {
                // Its parent has heard of it, and has decided.
                let over = life.wait_for(|life| life.settled || life.incarnation != incarnation);
                let again = over.await.is_ok_and(|life| !life.settled);
                // One that is started again though it need not be was killed meanwhile.
                if !again || self.record.returns() {
                    return report;
                }
                continue;
            }
            // It is down for good, or was killed before it answered: then it is cleaned up after, and perhaps started
            // again.
            if life.borrow().ended.is_some() || life.changed().await.is_err() {
                return StopReport::default();
            }
        }
    }

    /// Kills the supervisor itself, as a fault would: whatever is left of its children is ended, and its parent
    /// decides what then.
    pub fn kill(&self) {
        if let Some(actor) = self.record.actor() {
            actor.kill();
        }
    }

    /// The actors among its children, in start order; one for each replica.
    #[must_use]
    pub fn children(&self) -> Vec<ActorRef> {
        let infos = self.which_children().into_iter();
        infos.filter_map(|info| info.child.actor()).collect()
    }

    /// The supervisors among its children, in start order.
    #[must_use]
    pub fn supervisors(&self) -> Vec<Self> {
        let infos = self.which_children().into_iter();
        infos.filter_map(|info| info.child.supervisor()).collect()
    }

    /// Its children with what it does about their end, in start order.
    #[must_use]
    pub fn which_children(&self) -> Vec<ChildInfo> {
        self.record.in_order().iter().map(info).collect()
    }

    /// The supervisor of this child, if it is this one or one below.
    pub(crate) fn of(&self, id: ActorId) -> Option<Self> {
        if self.record.children.lock().contains_key(&id) {
            return Some(self.clone());
        }
        self.supervisors().iter().find_map(|below| below.of(id))
    }

    /// How many children it has, running or not.
    pub(crate) fn children_now(&self) -> usize {
        self.record.children.lock().len()
    }

    /// How many children it has, by what they are and do.
    #[must_use]
    pub fn count_children(&self) -> ChildCount {
        let children = self.record.children.lock();
        let mut count = ChildCount::default();
        for child in children.values() {
            count.specs += 1;
            count.active += usize::from(state(child) != ChildState::Stopped);
            match child {
                PreparedChild::Supervisor(_) => count.supervisors += 1,
                PreparedChild::Actor(_) => count.workers += 1,
            }
        }
        count
    }

    /// The supervisor it is a child of; `None` for the system's own and those made by
    /// [`System::supervise`](crate::System::supervise), which only the root has above it.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let parent = self.record.parent()?;
        parent.parent()?;
        Some(Self::new(parent))
    }

    /// What it does about its children.
    #[must_use]
    pub fn strategy(&self) -> Strategy {
        self.record.flags.lock().strategy
    }

    /// How many restarts it allows.
    #[must_use]
    pub fn intensity(&self) -> RestartIntensity {
        self.record.flags.lock().intensity
    }

    /// Whether it ends with its significant children.
    #[must_use]
    pub fn auto_shutdown(&self) -> AutoShutdown {
        self.record.flags.lock().auto_shutdown
    }

    /// Number of its newest incarnation, from 1.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.record.incarnation()
    }

    /// How often it was started again.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.record.restarts()
    }

    /// Waits until it is up with the children it starts with, or has ended.
    pub async fn settled(&self) {
        let mut life = self.record.life();
        // An error means that it is gone.
        let _ = life
            .wait_for(|life| life.ended.is_some() || (life.active && life.booted))
            .await;
    }

    /// Whether it has ended, and nobody starts it again by itself.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.record.ended().is_some()
    }

    /// Whether it has ended, or is about to: whoever was told that a child has stopped because its supervisor ends
    /// finds `true`.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.record.is_ending()
    }

    /// Resolves when it has ended and nobody starts it again by itself, with the reason.
    pub async fn ended(&self) -> ExitReason {
        let mut life = self.record.life();
        match life.wait_for(|life| life.ended.is_some()).await {
            Ok(life) => life.ended.clone().unwrap_or(ExitReason::Shutdown),
            Err(_) => ExitReason::Shutdown,
        }
    }
}

fn stop_message(child: ActorAddress, id: Option<ActorId>, reply: StopReply) -> SupervisorMessage {
    SupervisorMessage::Child {
        child,
        id,
        request: Request::Stop,
        reply,
    }
}

fn info(child: &PreparedChild) -> ChildInfo {
    let spec = child.spec();
    ChildInfo {
        child: match child {
            PreparedChild::Actor(actor) => Started::Actor(ActorRef::new(Arc::clone(&actor.slot))),
            PreparedChild::Supervisor(one) => {
                Started::Supervisor(Supervisor::new(Arc::clone(&one.record)))
            }
        },
        address: spec.address.clone(),
        state: state(child),
        is_component: matches!(spec.start, Start::Component(_)),
        restart: spec.restart,
        shutdown: spec.shutdown,
        significant: spec.significant,
        blamed: child.standing().blamed.load(Ordering::Relaxed),
    }
}

fn state(child: &PreparedChild) -> ChildState {
    if child.standing().restarting.load(Ordering::Relaxed) {
        return ChildState::Restarting;
    }
    match child {
        PreparedChild::Actor(actor) => match actor.slot.state() {
            ActorState::Running | ActorState::OutOfRotation => ChildState::Running,
            ActorState::Starting => ChildState::Starting,
            ActorState::Down if actor.slot.exit_reason().is_some() => ChildState::Stopped,
            // It has ended, and its supervisor is about to start it again.
            ActorState::Down => ChildState::Restarting,
        },
        PreparedChild::Supervisor(one) => {
            let life = one.record.life().borrow().clone();
            match (life.active, life.booted, life.ended.is_some()) {
                (true, true, _) => ChildState::Running,
                (true, false, _) => ChildState::Starting,
                (false, _, true) => ChildState::Stopped,
                (false, _, false) => ChildState::Restarting,
            }
        }
    }
}
