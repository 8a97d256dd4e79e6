//! The supervisor's own actor.
//!
//! Owns the way between a [`Machine`] and the world: what happened goes in, and what is to be done is done. Every
//! handler returns at once; starts, timers and exits come back as messages. An actor either supervises its record, or
//! cleans up after one that was killed: then it ends whatever is left of the tree and reports its end.

mod acting;
mod alarms;
mod asking;
mod scaling;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ractor::SupervisionEvent;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use alarms::Alarms;
use scaling::Growth;
use scaling::ScaleReply;
pub(crate) use scaling::Team;

use super::child::{PreparedActor, PreparedChild};
use super::machine::{ChildPolicy, Flags, Input, Machine, Token};
use super::prepare::{prepare, respec};
use super::record::{Record, SupervisorFlags, SupervisorRef};
use super::spec::SupervisorSpec;
use super::tuning::Altered;
use super::{ChildSpec, StartError, Started, StopError, StopReport};
use crate::address::{ActorAddress, ActorId};
use crate::events::Event;
use crate::exit::ExitReason;
use crate::ids::IdMap;
use crate::upgrade::{Kept, NotReplaced, become_revision};

pub(crate) type StartReply = oneshot::Sender<Result<Vec<Started>, StartError>>;
pub(crate) type StopReply = oneshot::Sender<Result<StopReport, StopError>>;
pub(crate) type ChangeReply = oneshot::Sender<Result<(), StartError>>;
pub(crate) type AddReply = oneshot::Sender<Result<bool, StartError>>;
pub(crate) type FlagsReply = oneshot::Sender<Result<Altered<SupervisorFlags>, StartError>>;
pub(crate) type OrderReply = oneshot::Sender<Result<Altered<Vec<ActorAddress>>, StartError>>;
/// Makes other flags of those there are.
pub(crate) type FlagsEdit = Box<dyn FnOnce(SupervisorFlags) -> SupervisorFlags + Send>;

/// What is asked about one child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Stop it; a spec that can be started again is kept.
    Terminate,
    /// Stop it and forget it.
    Stop,
    /// Forget it, if it is stopped.
    Delete,
    /// Start it, if it is stopped.
    Revive,
    /// Start it if it is stopped; else end it and begin its successor.
    Restart,
}

/// Everything a supervisor is told.
pub(crate) enum SupervisorMessage {
    /// Start these children, in order.
    Start {
        children: Vec<ChildSpec>,
        reply: StartReply,
    },
    /// Something about one child.
    Child {
        child: ActorAddress,
        /// It has to be this one, if it is known.
        id: Option<ActorId>,
        request: Request,
        reply: StopReply,
    },
    /// So many replicas of one child, at least one.
    Scale {
        child: ActorAddress,
        replicas: u32,
        reply: ScaleReply,
    },
    /// A child that was leaving has nothing left to do.
    LetGo { child: ActorId, reply: StopReply },
    /// Other flags and specs.
    Change {
        spec: Box<SupervisorSpec>,
        reply: ChangeReply,
    },
    /// The child is another revision of itself from its next start on, if it is down now.
    Respec {
        successor: Arc<PreparedActor>,
        reply: oneshot::Sender<Result<Whereabouts, NotReplaced>>,
    },
    /// Other flags; its children stay what they are.
    Reflag { edit: FlagsEdit, reply: FlagsReply },
    /// Those that `order` names start in that order, from now on; where `only_if` is given, if they have that one by now.
    Reorder {
        order: Vec<ActorAddress>,
        only_if: Option<Vec<ActorAddress>>,
        reply: OrderReply,
    },
    /// It starts with one child more, before those that are `later`; it is not started yet.
    AddFirst {
        child: Box<ChildSpec>,
        later: Vec<ActorAddress>,
        reply: AddReply,
    },
    /// Another revision of children serves, or they are supervised otherwise: those that the record says.
    Respecced,
    /// Its parent has another spec of it.
    Flags,
    /// An incarnation is up.
    Started { child: ActorId, incarnation: u64 },
    /// An incarnation could not be started.
    StartFailed {
        child: ActorId,
        incarnation: u64,
        reason: ExitReason,
    },
    /// An incarnation has ended, and what it owned is gone.
    Exited {
        child: ActorId,
        incarnation: u64,
        reason: ExitReason,
    },
    /// What it waits for is due.
    Alarm,
    /// The time these had to end is up.
    StopTimeout(Vec<(ActorId, u64)>),
    /// The time to wait before the next try is over.
    Retry { child: ActorId, incarnation: u64 },
    /// A child is to be ended as if it had ended so.
    Unhealthy {
        child: ActorId,
        incarnation: u64,
        reason: ExitReason,
    },
    /// Stop every child, and end. With `keep`, mailboxes wait for the next incarnation.
    Stop {
        keep: bool,
        reply: Option<oneshot::Sender<StopReport>>,
    },
}

/// Where a child was when it was to become another revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// It is there, and has become nothing.
    Up,
    /// It is started next, as that.
    Down,
    /// It has been stopped, and is that when somebody starts it.
    Stopped,
}

/// What the actor is for.
#[derive(Debug, Clone)]
pub(crate) enum Mode {
    /// Supervise.
    Supervise,
    /// End what is left of an incarnation that ended for this reason.
    CleanUp(ExitReason),
}

enum Reply {
    Start(StartReply),
    Stop(StopReply, ActorAddress),
    End(oneshot::Sender<StopReport>),
    Scale(Growth),
}

/// Dropped with whatever waits for it, also when the supervisor is killed.
struct Timer(AbortHandle);

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) struct State {
    record: Arc<Record>,
    myself: SupervisorRef,
    machine: Machine,
    replies: HashMap<Token, Reply>,
    next_token: u64,
    /// Of the children that were asked to stop or wait for a try.
    alarms: Alarms,
    /// Of the children that are asked how they are: how often.
    health: IdMap<(Duration, Timer)>,
    /// The first child that did not start.
    not_booted: Option<ActorId>,
    /// Names of children that are gone, for reports on operations that go on.
    gone: IdMap<ActorAddress>,
}

/// The ractor actor.
pub(crate) struct SupervisorActor;

impl ractor::Actor for SupervisorActor {
    type Msg = SupervisorMessage;
    type State = State;
    type Arguments = (Arc<Record>, Mode);

    async fn pre_start(
        &self,
        myself: SupervisorRef,
        (record, mode): Self::Arguments,
    ) -> Result<Self::State, ractor::ActorProcessingErr> {
        // From here on exits are told to us; only then are the children looked at.
        match &mode {
            Mode::Supervise => {
                if !record.serve(&myself) {
                    return Err("killed before it had begun".into());
                }
            }
            Mode::CleanUp(_) => record.clean(&myself),
        }
        let mut state = State::new(record, myself);
        match mode {
            Mode::Supervise => state.boot(),
            Mode::CleanUp(reason) => state.clean_up(reason),
        }
        Ok(state)
    }

    async fn handle(
        &self,
        _myself: SupervisorRef,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ractor::ActorProcessingErr> {
        state.handle(message);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: SupervisorRef,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ractor::ActorProcessingErr> {
        let (id, reason) = match event {
            SupervisionEvent::ActorTerminated(cell, ..) => (cell.get_id(), ExitReason::Killed),
            SupervisionEvent::ActorFailed(cell, error) => (
                cell.get_id(),
                ExitReason::Panicked(error.to_string().into()),
            ),
            _ => return Ok(()),
        };
        state.supervisor_died(id, reason);
        Ok(())
    }
}

/// Ends whatever is left of a supervisor's incarnation; its parent hears of it when all is gone.
pub(crate) async fn clean_up(
    record: Arc<Record>,
    reason: ExitReason,
    parent: Option<ractor::ActorCell>,
) {
    if let Some(actor) = record.begin_cleaning() {
        actor.kill();
        // What it was doing when it was killed is done by then.
        let _ = actor.get_cell().wait(None).await;
    }
    let arguments = (Arc::clone(&record), Mode::CleanUp(reason));
    // An error means that the parent is gone too: whoever cleans up after that one comes here again.
    let _ = spawn(arguments, parent).await;
}

/// Spawns the actor of a supervisor, under the actor of its parent if it has one.
pub(crate) async fn spawn(
    arguments: (Arc<Record>, Mode),
    parent: Option<ractor::ActorCell>,
) -> Result<SupervisorRef, ractor::SpawnErr> {
    let actor = SupervisorActor;
    let (actor, _join) = match parent {
        Some(parent) => {
            <SupervisorActor as ractor::Actor>::spawn_linked(None, actor, arguments, parent).await?
        }
        None => <SupervisorActor as ractor::Actor>::spawn(None, actor, arguments).await?,
    };
    Ok(actor)
}

impl State {
    fn new(record: Arc<Record>, myself: SupervisorRef) -> Self {
        let machine = Machine::new(flags(&record));
        Self {
            record,
            myself,
            machine,
            replies: HashMap::new(),
            next_token: 0,
            alarms: Alarms::default(),
            health: IdMap::default(),
            not_booted: None,
            gone: IdMap::default(),
        }
    }

    fn boot(&mut self) {
        self.finish_scaling();
        // It looks at all of them.
        self.record.take_respecced();
        if let Some(spec) = self.record.become_next() {
            if let Err(why) = self.become_spec(&spec) {
                self.record.leave_next(spec);
                self.tell(Input::End {
                    reason: ExitReason::start_failed(&why.to_string()),
                    keep: true,
                    token: None,
                });
                return;
            }
        } else {
            for child in self.record.forgotten().into_iter().rev() {
                self.remove(child, &ExitReason::Shutdown);
            }
            if let Err(why) = self.complete_first() {
                let supervisor = self.record.address();
                tracing::error!(%supervisor, %why, "children that were forgotten cannot be made again");
            }
        }
        let children: Vec<_> = self.record.children.lock().values().cloned().collect();
        let mut ids = HashMap::<_, Vec<_>>::new();
        for child in children {
            let (id, policy, n) = (child.id(), self.policy(&child), child.incarnation());
            let backoff = child.spec().backoff;
            self.machine.insert(id, policy, backoff, n);
            ids.entry(child.shared_address()).or_default().push(id);
        }
        // Those that were made again have newer ids than their place says.
        let order: Vec<_> = {
            let first = self.record.first.lock();
            let each = first.iter().filter_map(|spec| ids.remove(&spec.address));
            each.flatten().collect()
        };
        self.machine.reorder(&order);
        self.tell(Input::Boot);
    }

    /// Makes those of the first children again that were forgotten.
    fn complete_first(&mut self) -> Result<(), StartError> {
        let first = self.record.first.lock().clone();
        let present: std::collections::HashSet<_> = {
            let children = self.record.children.lock();
            let fronts = children.values().map(PreparedChild::shared_address);
            fronts.collect()
        };
        let missing: Vec<_> = first
            .into_iter()
            .filter(|spec| !present.contains(&spec.address))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let parent = Arc::downgrade(&self.record);
        let prepared = prepare(&self.record.shared, &parent, missing, true)?;
        let mut children = self.record.children.lock();
        children.extend(prepared.into_iter().map(|child| (child.id(), child)));
        // The others may be linked to those that were gone.
        for child in children.values_mut() {
            if let PreparedChild::Actor(actor) = child
                && let Ok(again) = respec(actor, actor.spec.clone())
            {
                *actor = Arc::new(again);
            }
        }
        Ok(())
    }

    fn clean_up(&mut self, reason: ExitReason) {
        let children: Vec<_> = self.record.children.lock().values().cloned().collect();
        for child in children {
            let (id, policy, n) = (child.id(), self.policy(&child), child.incarnation());
            if child.is_active() {
                self.machine.insert_running(id, policy, n);
            } else {
                self.machine.insert(id, policy, None, n);
            }
        }
        self.tell(Input::CleanUp(reason));
    }

    fn policy(&self, child: &PreparedChild) -> ChildPolicy {
        let spec = child.spec();
        let blamed = child.standing().blamed.load(Ordering::Relaxed);
        let quarantine = self.record.flags.lock().quarantine_after;
        ChildPolicy {
            restart: spec.restart,
            shutdown: spec.shutdown,
            significant: spec.significant,
            is_supervisor: matches!(child, PreparedChild::Supervisor(_)),
            quarantined: quarantine.is_some_and(|after| blamed >= after.max(1)),
        }
    }

    fn handle(&mut self, message: SupervisorMessage) {
        match message {
            SupervisorMessage::Start { children, reply } => self.start(children, reply),
            SupervisorMessage::Child {
                child,
                id,
                request,
                reply,
            } => self.request(child, id, request, reply),
            SupervisorMessage::Scale {
                child,
                replicas,
                reply,
            } => self.scale(child, replicas, reply),
            SupervisorMessage::LetGo { child, reply } => self.let_go(child, reply),
            SupervisorMessage::Change { spec, reply } => {
                let changed = self.change(*spec);
                // The asker may have left.
                let _ = reply.send(changed);
            }
            SupervisorMessage::Reflag { edit, reply } => drop(reply.send(self.reflag(edit))),
            SupervisorMessage::Reorder {
                order,
                only_if,
                reply,
            } => drop(reply.send(self.reorder_first(&order, only_if.as_deref()))),
            SupervisorMessage::AddFirst {
                child,
                later,
                reply,
            } => drop(reply.send(self.add_first(*child, &later))),
            SupervisorMessage::Respec { successor, reply } => self.respec(&successor, reply),
            SupervisorMessage::Respecced => self.all_respecced(),
            SupervisorMessage::Flags => self.machine.set_flags(flags(&self.record)),
            SupervisorMessage::Started { child, incarnation } => {
                self.watch_health(child, incarnation);
                self.tell(Input::Started(child, incarnation));
            }
            SupervisorMessage::StartFailed {
                child,
                incarnation,
                reason,
            } => {
                self.alarms.cancel(child);
                self.tell(Input::StartFailed(child, incarnation, reason));
            }
            SupervisorMessage::Exited {
                child,
                incarnation,
                reason,
            } => {
                self.alarms.cancel(child);
                self.health.remove(&child);
                self.tell(Input::Exited(child, incarnation, reason));
            }
            SupervisorMessage::Alarm => {
                for message in self.alarms.take_due(&self.myself) {
                    self.handle(message);
                }
            }
            SupervisorMessage::StopTimeout(children) => {
                for (child, incarnation) in children {
                    if self.machine.is_stopping(child, incarnation) {
                        let address = self.address(child);
                        self.record.shared.emit(Event::Overdue { address });
                    }
                    self.tell(Input::StopTimeout(child, incarnation));
                }
            }
            SupervisorMessage::Retry { child, incarnation } => {
                self.tell(Input::Retry(child, incarnation));
            }
            SupervisorMessage::Unhealthy {
                child,
                incarnation,
                reason,
            } => {
                if self.machine.is_running(child, incarnation)
                    && let Some(PreparedChild::Actor(actor)) = self.child(child)
                {
                    actor.slot.leave_verdict(reason.clone());
                }
                self.tell(Input::Unhealthy(child, incarnation, reason));
            }
            SupervisorMessage::Stop { keep, reply } => {
                let token = reply.map(|reply| self.token(Reply::End(reply)));
                let reason = ExitReason::Shutdown;
                self.tell(Input::End {
                    reason,
                    keep,
                    token,
                });
            }
        }
    }

    /// A child that is down is another revision of itself from its next start on.
    fn respec(
        &mut self,
        successor: &Arc<PreparedActor>,
        reply: oneshot::Sender<Result<Whereabouts, NotReplaced>>,
    ) {
        let id = successor.slot.id();
        let whereabouts = match successor.slot.is_active() {
            true => Whereabouts::Up,
            false if self.machine.is_started_next(id) => Whereabouts::Down,
            false => Whereabouts::Stopped,
        };
        if whereabouts == Whereabouts::Stopped {
            // Whoever starts it begins afresh, and it has no instance meanwhile.
            drop(successor.kept.as_ref().and_then(Kept::take));
        }
        let done = match whereabouts {
            Whereabouts::Up => Ok(()),
            _ => become_revision(&self.record, successor),
        };
        if whereabouts != Whereabouts::Up && done.is_ok() {
            self.respecced(id);
        }
        // The asker may have left.
        let _ = reply.send(done.map(|()| whereabouts));
    }

    /// It supervises some of its children otherwise, and asks those that are up how they are as it says now. One that is to be asked
    /// as often as before is asked when it would have been, however often it is retuned.
    fn all_respecced(&mut self) {
        for child in self.record.take_respecced() {
            self.respecced(child);
            if let Some(PreparedChild::Actor(actor)) = self.child(child)
                && self.machine.is_running(child, actor.slot.incarnation())
            {
                let asked = self.health.get(&child).map(|(interval, _)| *interval);
                if asked.is_some() && asked == actor.spec.health.map(|check| check.interval) {
                    continue;
                }
                self.health.remove(&child);
                self.watch_health(child, actor.slot.incarnation());
            }
        }
    }

    /// What it does about the end of this child is what the child's spec says now.
    fn respecced(&mut self, id: ActorId) {
        if let Some(child) = self.child(id) {
            self.machine.set_policy(id, self.policy(&child));
            self.machine.set_backoff(id, child.spec().backoff);
        }
    }

    fn token(&mut self, reply: Reply) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.replies.insert(token, reply);
        token
    }

    fn tell(&mut self, input: Input) {
        self.machine.handle(input, Instant::now());
        self.act();
    }

    fn child(&self, id: ActorId) -> Option<PreparedChild> {
        self.record.child(id)
    }
}

fn flags(record: &Record) -> Flags {
    let flags = *record.flags.lock();
    Flags {
        strategy: flags.strategy,
        intensity: flags.intensity,
        auto_shutdown: flags.auto_shutdown,
        returns: record.returns(),
        isolates: record.parent().is_none(),
    }
}
