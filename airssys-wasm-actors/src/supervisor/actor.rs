//! The supervisor's own actor.
//!
//! Owns the state machine: which children are up, which operation (a start or a stop) is under
//! way, and the restart window. Every handler returns at once; starts, timers and exits come back
//! as messages. Operations run one after the other; ending the supervisor overtakes them.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Waker};

use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::address::{ActorAddress, ActorId};
use crate::component::Hooks;
use crate::exit::ExitReason;
use crate::link::LinkTargets;
use crate::mailbox::Control;
use crate::reference::ActorRef;
use crate::slot::Slot;
use crate::supervisor::{
    ChildSpec, ExitSink, PreparedChild, Record, RestartWindow, ShutdownPolicy, Start, StartError,
    StopError, StopReport, Verdict, child, decide,
};

type StartReply = oneshot::Sender<Result<Vec<ActorRef>, StartError>>;
type StopReply = oneshot::Sender<Result<StopReport, StopError>>;

/// Everything a supervisor is told.
pub(crate) enum SupervisorMessage {
    /// Start these children, in order.
    Start {
        children: Vec<ChildSpec>,
        reply: StartReply,
    },
    /// An incarnation is up.
    Started { child: ActorId, incarnation: u64 },
    /// An incarnation could not be started.
    StartFailed {
        child: ActorId,
        incarnation: u64,
        reason: ExitReason,
    },
    /// An incarnation has ended, and its Store is gone.
    Exited {
        child: ActorId,
        incarnation: u64,
        reason: ExitReason,
    },
    /// Stop one child and forget it.
    StopChild {
        child: ActorAddress,
        reply: StopReply,
    },
    /// The time a child had to end is up.
    StopTimeout { child: ActorId, incarnation: u64 },
    /// Stop every child, and end.
    Stop { reply: oneshot::Sender<StopReport> },
}

/// Where a child is. The incarnation tells a message about it from one about its predecessor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting(u64),
    Running(u64),
    /// Asked to end, or killed, by us.
    Stopping(u64),
    Down,
}

/// What is done one at a time.
enum Operation {
    Start(Batch),
    Stop(Sequence),
}

struct Batch {
    remaining: VecDeque<ActorId>,
    started: Vec<ActorId>,
    reply: StartReply,
}

/// Children to stop, one after the other.
struct Sequence {
    /// The next one is last.
    remaining: Vec<ActorId>,
    current: Option<ActorId>,
    timer: Option<AbortHandle>,
    /// Why their registrations end.
    reason: ExitReason,
    report: StopReport,
    then: Then,
}

enum Then {
    /// A batch has failed.
    Refuse(StartReply, StartError),
    Report(StopReply),
    End(Vec<oneshot::Sender<StopReport>>),
    /// The incarnations of a killed predecessor are gone: start all again.
    Recover,
}

pub(crate) struct State {
    record: Arc<Record>,
    myself: ractor::ActorRef<SupervisorMessage>,
    phases: BTreeMap<ActorId, Phase>,
    window: RestartWindow,
    current: Option<Operation>,
    queue: VecDeque<Operation>,
    ending: bool,
}

/// The ractor actor.
pub(crate) struct SupervisorActor;

impl ractor::Actor for SupervisorActor {
    type Msg = SupervisorMessage;
    type State = State;
    type Arguments = Arc<Record>;

    async fn pre_start(
        &self,
        myself: ractor::ActorRef<Self::Msg>,
        record: Self::Arguments,
    ) -> Result<Self::State, ractor::ActorProcessingErr> {
        // From here on exits are told to us; only then are the slots looked at.
        record.serve(myself.clone());
        let mut state = State {
            record,
            myself,
            phases: BTreeMap::new(),
            window: RestartWindow::default(),
            current: None,
            queue: VecDeque::new(),
            ending: false,
        };
        state.recover();
        Ok(state)
    }

    async fn handle(
        &self,
        _myself: ractor::ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ractor::ActorProcessingErr> {
        state.handle(message);
        Ok(())
    }
}

impl State {
    fn handle(&mut self, message: SupervisorMessage) {
        match message {
            SupervisorMessage::Start { children, reply } => self.start(children, reply),
            SupervisorMessage::Started { child, incarnation } => self.started(child, incarnation),
            SupervisorMessage::StartFailed {
                child,
                incarnation,
                reason,
            } => {
                if self.phases.get(&child) == Some(&Phase::Starting(incarnation)) {
                    self.start_failed(child, reason);
                } else {
                    self.down(child, incarnation, reason);
                }
            }
            SupervisorMessage::Exited {
                child,
                incarnation,
                reason,
            } => {
                self.down(child, incarnation, reason);
            }
            SupervisorMessage::StopChild { child, reply } => self.stop_child(child, reply),
            SupervisorMessage::StopTimeout { child, incarnation } => {
                if self.phases.get(&child) == Some(&Phase::Stopping(incarnation)) {
                    self.kill(child);
                }
            }
            SupervisorMessage::Stop { reply } => self.end(ExitReason::Shutdown, Some(reply)),
        }
        self.advance();
    }

    fn child(&self, id: ActorId) -> Option<Arc<PreparedChild>> {
        self.record.children.lock().get(&id).cloned()
    }

    // Starting.

    fn start(&mut self, specs: Vec<ChildSpec>, reply: StartReply) {
        if self.ending {
            let ended = StartError::SupervisorEnded(self.record.spec.address.clone());
            let _ = reply.send(Err(ended));
            return;
        }
        match self.prepare(specs) {
            Ok(remaining) => self.queue.push_back(Operation::Start(Batch {
                remaining,
                started: Vec::new(),
                reply,
            })),
            // The asker may have left; nothing was started.
            Err(why) => drop(reply.send(Err(why))),
        }
    }

    /// Reserves every name and resolves every link, or does nothing.
    fn prepare(&mut self, specs: Vec<ChildSpec>) -> Result<VecDeque<ActorId>, StartError> {
        let shared = &self.record.shared;
        let mut slots = Vec::with_capacity(specs.len());
        for spec in &specs {
            let surface = spec.surface().map_err(|why| StartError::Surface {
                address: spec.address.clone(),
                why: Arc::clone(why),
            })?;
            let rests = matches!(spec.start, Start::Component(_));
            let address = spec.address.clone();
            slots.push(Slot::new(
                shared,
                address,
                Arc::clone(surface),
                spec.mailbox,
                rests,
            ));
        }
        shared.register(&slots).map_err(StartError::AddressTaken)?;
        let mut prepared = Vec::with_capacity(specs.len());
        for (spec, slot) in specs.into_iter().zip(&slots) {
            let find = |address: &ActorAddress| shared.whereis(address);
            match LinkTargets::resolve(&spec.address, slot.surface(), spec.links(), find) {
                Ok(targets) => prepared.push(PreparedChild {
                    hooks: Hooks::of(slot.surface()),
                    slot: Arc::clone(slot),
                    targets,
                    spec,
                }),
                Err(why) => {
                    for slot in &slots {
                        slot.retire(&ExitReason::Shutdown);
                    }
                    return Err(why.into());
                }
            }
        }
        let mut ids = VecDeque::with_capacity(prepared.len());
        let mut children = self.record.children.lock();
        for child in prepared {
            let id = child.slot.id();
            ids.push_back(id);
            self.phases.insert(id, Phase::Down);
            children.insert(id, Arc::new(child));
        }
        Ok(ids)
    }

    /// Begins an incarnation in a task of its own.
    fn begin(&mut self, id: ActorId) {
        let Some(child) = self.child(id) else { return };
        let incarnation = child.slot.begin();
        self.phases.insert(id, Phase::Starting(incarnation));
        let sink = ExitSink::new(Arc::clone(&self.record));
        // A component without `init` is usually made at the first poll, which is bounded by its time
        // slice. Whatever has to wait, and all code of others, goes on in a task of its own.
        let at_once = matches!(child.spec.start, Start::Component(_)) && !child.hooks.has_init();
        let mut start = Box::pin(child::start(child, incarnation, sink));
        let mut cx = Context::from_waker(Waker::noop());
        if !at_once || start.as_mut().poll(&mut cx).is_pending() {
            tokio::spawn(start);
        }
    }

    fn started(&mut self, id: ActorId, incarnation: u64) {
        if self.phases.get(&id) == Some(&Phase::Starting(incarnation)) {
            self.phases.insert(id, Phase::Running(incarnation));
            if let Some(Operation::Start(batch)) = &mut self.current
                && batch.remaining.front() == Some(&id)
            {
                batch.remaining.pop_front();
                batch.started.push(id);
                self.start_next();
            }
        }
    }

    fn start_next(&mut self) {
        let Some(Operation::Start(batch)) = &self.current else {
            return;
        };
        if let Some(next) = batch.remaining.front().copied() {
            self.begin(next);
        } else if let Some(Operation::Start(batch)) = self.current.take() {
            let refs = batch.started.iter().filter_map(|id| self.child(*id));
            let refs = refs
                .map(|child| ActorRef::new(Arc::clone(&child.slot)))
                .collect();
            // The asker may have left; the children are supervised all the same.
            let _ = batch.reply.send(Ok(refs));
        }
    }

    /// A start failed: the first of a child ends its batch; a restart counts as one and is tried
    /// again.
    fn start_failed(&mut self, id: ActorId, reason: ExitReason) {
        self.phases.insert(id, Phase::Down);
        let in_batch = matches!(&self.current, Some(Operation::Start(batch))
            if batch.remaining.front() == Some(&id));
        if !in_batch {
            self.decide(id, &reason);
            return;
        }
        let Some(Operation::Start(batch)) = self.current.take() else {
            return;
        };
        let Some(child) = self.child(id) else { return };
        let why = StartError::Child {
            address: child.spec.address.clone(),
            reason,
        };
        // What has started, last first; then what never started, which only has a name to give up.
        let mut remaining: Vec<_> = batch.remaining.into_iter().collect();
        remaining.extend(batch.started);
        self.current = Some(Operation::Stop(Sequence::new(
            remaining,
            ExitReason::Shutdown,
            Then::Refuse(batch.reply, why),
        )));
        self.stop_next();
    }

    // Ends.

    /// An incarnation is gone.
    fn down(&mut self, id: ActorId, incarnation: u64, reason: ExitReason) {
        match self.phases.get(&id) {
            Some(Phase::Starting(n) | Phase::Running(n)) if *n == incarnation => {
                if let Some(Operation::Start(batch)) = &self.current
                    && batch.remaining.front() == Some(&id)
                {
                    self.start_failed(id, reason);
                    return;
                }
                self.phases.insert(id, Phase::Down);
                self.decide(id, &reason);
            }
            Some(Phase::Stopping(n)) if *n == incarnation => {
                self.phases.insert(id, Phase::Down);
                let Some(Operation::Stop(sequence)) = &mut self.current else {
                    return;
                };
                if sequence.current == Some(id) {
                    sequence.current = None;
                    if let Some(timer) = sequence.timer.take() {
                        timer.abort();
                    }
                    if let Some(child) = self.record.children.lock().get(&id) {
                        let address = child.spec.address.clone();
                        match reason {
                            ExitReason::Killed => sequence.report.killed.push(address),
                            _ => sequence.report.stopped.push(address),
                        }
                    }
                    self.retire_stopped(id);
                    self.stop_next();
                }
            }
            _ => {}
        }
    }

    fn decide(&mut self, id: ActorId, reason: &ExitReason) {
        if self.ending {
            return;
        }
        let Some(child) = self.child(id) else { return };
        let intensity = self.record.spec.intensity;
        match decide(
            child.spec.restart,
            reason,
            &mut self.window,
            intensity,
            Instant::now(),
        ) {
            Verdict::Restart => {
                child.slot.counters().restart();
                self.begin(id);
            }
            Verdict::Remove => self.retire(id, reason),
            Verdict::GiveUp => self.end(ExitReason::CrashLoop, None),
        }
    }

    fn retire(&mut self, id: ActorId, reason: &ExitReason) {
        self.phases.remove(&id);
        let child = self.record.children.lock().remove(&id);
        if let Some(child) = child {
            child.slot.retire(reason);
        }
    }

    // Stopping.

    fn stop_child(&mut self, address: ActorAddress, reply: StopReply) {
        let found = self.record.shared.whereis(&address).map(|slot| slot.id());
        let found = found.filter(|id| self.record.children.lock().contains_key(id));
        let Some(id) = found else {
            let supervisor = self.record.spec.address.clone();
            let _ = reply.send(Err(StopError::NotFound {
                supervisor,
                child: address,
            }));
            return;
        };
        let sequence = Sequence::new(vec![id], ExitReason::Shutdown, Then::Report(reply));
        self.queue.push_back(Operation::Stop(sequence));
    }

    /// Ends the supervisor: whatever else was asked of it is refused.
    fn end(&mut self, reason: ExitReason, reply: Option<oneshot::Sender<StopReport>>) {
        if self.ending {
            if let (Some(reply), Some(Operation::Stop(sequence))) = (reply, &mut self.current)
                && let Then::End(replies) = &mut sequence.then
            {
                replies.push(reply);
            }
            return;
        }
        self.ending = true;
        let mut report = StopReport::default();
        for operation in self
            .current
            .take()
            .into_iter()
            .chain(std::mem::take(&mut self.queue))
        {
            report.append(operation.refuse(&self.record.spec.address));
        }
        let remaining = self.record.children.lock().keys().copied().collect();
        let mut sequence = Sequence::new(remaining, reason, Then::End(reply.into_iter().collect()));
        sequence.report = report;
        self.current = Some(Operation::Stop(sequence));
        self.stop_next();
    }

    fn stop_next(&mut self) {
        loop {
            let Some(Operation::Stop(sequence)) = &mut self.current else {
                return;
            };
            if sequence.current.is_some() {
                return;
            }
            let Some(id) = sequence.remaining.pop() else {
                break;
            };
            match self.phases.get(&id).copied() {
                Some(Phase::Starting(n) | Phase::Running(n) | Phase::Stopping(n)) => {
                    sequence.current = Some(id);
                    self.ask_to_stop(id, n);
                    return;
                }
                Some(Phase::Down) | None => self.retire_stopped(id),
            }
        }
        if let Some(Operation::Stop(sequence)) = self.current.take() {
            self.finish(sequence);
        }
    }

    /// The child of a stop sequence is down: its registration ends, unless it is to start again.
    fn retire_stopped(&mut self, id: ActorId) {
        let Some(Operation::Stop(sequence)) = &self.current else {
            return;
        };
        if !matches!(sequence.then, Then::Recover) {
            let reason = sequence.reason.clone();
            self.retire(id, &reason);
        }
    }

    fn ask_to_stop(&mut self, id: ActorId, incarnation: u64) {
        let Some(child) = self.child(id) else { return };
        let starting = self.phases.get(&id) == Some(&Phase::Starting(incarnation));
        let Some(Operation::Stop(sequence)) = &mut self.current else {
            return;
        };
        let recovering = matches!(sequence.then, Then::Recover);
        self.phases.insert(id, Phase::Stopping(incarnation));
        match child.spec.shutdown {
            // What is still being started has no messages to finish.
            _ if starting || recovering => child.slot.kill(),
            ShutdownPolicy::Brutal => child.slot.kill(),
            ShutdownPolicy::Infinity => child.slot.lane().ask(Control::Stop),
            ShutdownPolicy::Timeout(time) => {
                child.slot.lane().ask(Control::Stop);
                let myself = self.myself.clone();
                let timer = tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    // An error means that the supervisor is gone, and the child with it.
                    let _ = myself.send_message(SupervisorMessage::StopTimeout {
                        child: id,
                        incarnation,
                    });
                });
                sequence.timer = Some(timer.abort_handle());
            }
        }
    }

    fn kill(&self, id: ActorId) {
        if let Some(child) = self.child(id) {
            child.slot.kill();
        }
    }

    fn finish(&mut self, sequence: Sequence) {
        match sequence.then {
            // An asker may have left.
            Then::Refuse(reply, why) => drop(reply.send(Err(why))),
            Then::Report(reply) => drop(reply.send(Ok(sequence.report))),
            Then::End(replies) => {
                self.record.end(&sequence.reason);
                for reply in replies {
                    let _ = reply.send(sequence.report.clone());
                }
                self.myself.stop(None);
            }
            Then::Recover => {
                let ids: Vec<_> = self.record.children.lock().keys().copied().collect();
                for id in ids {
                    if let Some(child) = self.child(id) {
                        child.slot.counters().restart();
                    }
                    self.begin(id);
                }
            }
        }
    }

    /// Takes over from a predecessor that was killed: its incarnations are ended, last first, and
    /// once the last is gone all children start again. Does nothing for a new supervisor.
    fn recover(&mut self) {
        let children: Vec<_> = self.record.children.lock().values().cloned().collect();
        if children.is_empty() {
            return;
        }
        let mut remaining = Vec::with_capacity(children.len());
        for child in children {
            let id = child.slot.id();
            let incarnation = child.slot.incarnation();
            let active = child.slot.is_active();
            self.phases.insert(
                id,
                if active {
                    Phase::Running(incarnation)
                } else {
                    Phase::Down
                },
            );
            remaining.push(id);
        }
        let sequence = Sequence::new(remaining, ExitReason::Killed, Then::Recover);
        self.current = Some(Operation::Stop(sequence));
        self.stop_next();
    }

    fn advance(&mut self) {
        while self.current.is_none() {
            let Some(next) = self.queue.pop_front() else {
                return;
            };
            let starts = matches!(next, Operation::Start(_));
            self.current = Some(next);
            if starts {
                self.start_next();
            } else {
                self.stop_next();
            }
        }
    }
}

impl Sequence {
    /// Stops `children`, given in start order, from the last to the first.
    fn new(children: Vec<ActorId>, reason: ExitReason, then: Then) -> Self {
        Self {
            remaining: children,
            current: None,
            timer: None,
            reason,
            report: StopReport::default(),
            then,
        }
    }
}

impl Operation {
    /// The supervisor ends before this was done.
    fn refuse(self, supervisor: &ActorAddress) -> StopReport {
        let ended = || StartError::SupervisorEnded(supervisor.clone());
        match self {
            // An asker may have left.
            Self::Start(batch) => drop(batch.reply.send(Err(ended()))),
            Self::Stop(sequence) => {
                if let Some(timer) = sequence.timer {
                    timer.abort();
                }
                match sequence.then {
                    Then::Refuse(reply, why) => drop(reply.send(Err(why))),
                    Then::Report(reply) => {
                        let ended = StopError::SupervisorEnded(supervisor.clone());
                        drop(reply.send(Err(ended)));
                    }
                    Then::End(_) | Then::Recover => {}
                }
                return sequence.report;
            }
        }
        StopReport::default()
    }
}
