//! How one instance takes the place of another, between two messages.
//!
//! Owns [`Replacement`], which a drain is asked for by its control lane, and [`replace`], which carries it out: the message
//! in hand has ended, the next one has not begun, and what is queued stays where it is. The instance that ran is put
//! aside and not dropped, so that it can come back as fast as it went. The supervisor's record, the published surface
//! and the kill switch change in one step without an await: whatever ends the incarnation finds either all of the old
//! revision or all of the new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use airssys_wasm::Configuration;
use tokio::sync::oneshot;

use super::kept::Kept;
use crate::component::{LiveComponent, Origin, Snapshot};
use crate::crashes::without;
use crate::events::Event;
use crate::exit::{ExitReason, bounded};
use crate::health::ChildHealth;
use crate::passivation::{ComponentBehaviour, Sweep};
use crate::supervisor::{PreparedActor, PreparedChild, Record, Start};

/// Where the instance of the new revision comes from.
pub(crate) enum Fresh {
    /// It was made before, and waits.
    Ready(ComponentBehaviour),
    /// It is made while the actor pauses.
    Make,
    /// The same, after the one that runs has been dropped: for who has no room for both.
    Instead,
    /// The same, with the state of the one that runs.
    HandOver {
        /// Largest state in bytes.
        bytes_max: u64,
    },
    /// One that was put aside comes back, with the state of the one that runs; if there is none to be had, with the
    /// state it had.
    HandBack {
        kept: Kept,
        /// Largest state in bytes; `None` if what runs holds nothing of its.
        bytes_max: Option<u64>,
    },
    /// None is made: the one that runs goes on with another configuration, and is told of it.
    Tell,
}

/// What one drain is asked for.
pub(crate) struct Replacement {
    pub(crate) successor: Arc<PreparedActor>,
    pub(crate) record: Arc<Record>,
    pub(crate) fresh: Fresh,
    /// Whether resources that others hold, and calls that are still to be answered, are no obstacle.
    pub(crate) regardless: bool,
    pub(crate) claim: Arc<Claim>,
    pub(crate) answer: oneshot::Sender<Result<Replaced, Refused>>,
}

/// What became of it.
pub(crate) struct Replaced {
    /// What ran before.
    pub(crate) aside: Option<Kept>,
    pub(crate) state: StateTaken,
}

/// What became of the state in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateTaken {
    /// It was not asked for: the new instance began afresh, or went on with what it had.
    None,
    /// The new instance has it, so many bytes.
    HandedOver {
        /// Bytes of the snapshot.
        bytes: u64,
    },
    /// It could not be taken back: the instance went on with the state it had when it was put aside.
    AsItWas,
}

/// It did not take place; with the instance that was to come, if it can be tried again.
pub(crate) struct Refused {
    pub(crate) why: NotReplaced,
    pub(crate) fresh: Option<Fresh>,
}

/// Why an instance did not take another's place. The one that ran goes on, unless it is said otherwise.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NotReplaced {
    /// The actor is native Rust or a supervisor.
    #[error("it is not a component")]
    NotComponent,
    /// Others hold handles to its resources, which would dangle.
    #[error("others hold handles to {0} of its resources")]
    HandlesHeld(usize),
    /// Callers wait for answers that it has deferred.
    #[error("it owes answers to {0} calls")]
    CallsOwed(usize),
    /// There is no state to hand over.
    #[error("its state was not handed over: {0}")]
    Snapshot(String),
    /// It has ended while it was to hand its state over, and the state is gone with it.
    #[error("it has ended while its state was handed over, and what it held is gone")]
    Ended,
    /// The new instance did not start, or did not take the state.
    #[error("the new instance did not start: {0}")]
    NotStarted(ExitReason),
    /// The new instance says that it does not work.
    #[error("the new instance is not well: {0}")]
    Unhealthy(String),
    /// The instance does not take another configuration, or died when it was told: it, or the next one, has the old one.
    #[error("it does not take the configuration: {0}")]
    ConfigRefused(String),
    /// The message in hand took longer than was waited for.
    #[error("its message in hand took longer than the time to wait")]
    Busy,
    /// Another upgrade of it has been done since this one was prepared.
    #[error("another revision has taken its place meanwhile; prepare the upgrade again")]
    Superseded,
    /// It has been stopped, and its supervisor has forgotten it.
    #[error("it has been stopped")]
    Gone,
}

/// Who decides whether a replacement takes place: the drain that begins it, or the one that no longer waits for it.
#[derive(Default)]
pub(crate) struct Claim(AtomicU8);

const BEGUN: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Claim {
    fn take(&self, state: u8) -> bool {
        let taken = self
            .0
            .compare_exchange(0, state, Ordering::AcqRel, Ordering::Acquire);
        taken.is_ok()
    }

    fn begin(&self) -> bool {
        self.take(BEGUN)
    }

    pub(super) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire) == BEGUN
    }

    /// Whether [`Claim::withdraw`] has come first.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.0.load(Ordering::Acquire) == WITHDRAWN
    }

    /// It is not to take place; `false` if it has begun.
    pub(crate) fn withdraw(&self) -> bool {
        self.take(WITHDRAWN)
    }
}

impl Replacement {
    /// It does not take place.
    pub(crate) fn refuse(self, why: NotReplaced) {
        let refused = Refused {
            why,
            fresh: Some(self.fresh),
        };
        // Whoever asked may have left.
        let _ = self.answer.send(Err(refused));
    }
}

/// Has the successor take the place of `running`; or leaves it where it is, and says why.
pub(crate) async fn replace(
    mut running: ComponentBehaviour,
    replacement: Box<Replacement>,
) -> Result<ComponentBehaviour, ExitReason> {
    if !replacement.claim.begin() {
        return Ok(running);
    }
    // Looked at again when it is switched; nothing is made, and nothing dropped, for one that comes too late.
    if replacement.successor.follows != replacement.successor.slot.revision() {
        replacement.refuse(NotReplaced::Superseded);
        return Ok(running);
    }
    if let Some(why) = obstacle(&running, &replacement) {
        replacement.refuse(why);
        return Ok(running);
    }
    let Replacement {
        successor,
        record,
        fresh,
        answer,
        ..
    } = *replacement;
    let refused = |why| Refused { why, fresh: None };
    let (next, state) = match fresh {
        Fresh::Ready(ready) => (ready, StateTaken::None),
        Fresh::Make => match make(&record, &successor, None).await {
            Ok(live) => (ComponentBehaviour::Live(live), StateTaken::None),
            Err(why) => {
                let _ = answer.send(Err(refused(why)));
                return Ok(running);
            }
        },
        Fresh::Instead => {
            return instead(running, successor, record, answer).await;
        }
        Fresh::Tell => return tell(running, &successor, &record, answer).await,
        Fresh::HandOver { bytes_max } => {
            let (back, snapshot) = state_of(running, bytes_max).await?;
            running = back;
            let made = match snapshot {
                Ok(snapshot) => {
                    let bytes = size(snapshot.as_ref());
                    let made = make(&record, &successor, snapshot).await;
                    made.map(|live| (live, bytes))
                }
                Err(why) => Err(NotReplaced::Snapshot(why)),
            };
            match made {
                Ok((live, bytes)) => {
                    let live = ComponentBehaviour::Live(live);
                    (live, StateTaken::HandedOver { bytes })
                }
                Err(why) => {
                    let _ = answer.send(Err(refused(why)));
                    return Ok(running);
                }
            }
        }
        Fresh::HandBack { kept, bytes_max } => {
            let (back, next) = kept.back(running, &successor, &record, bytes_max).await?;
            match (back, next) {
                (Some(back), Some(next)) => {
                    running = back;
                    next
                }
                (None, Some((next, state))) => {
                    return alone(next, state, &successor, &record, answer);
                }
                (Some(back), None) => {
                    let _ = answer.send(Err(refused(NotReplaced::Gone)));
                    return Ok(back);
                }
                (None, None) => return Err(ExitReason::Shutdown),
            }
        }
    };
    let takes_state = matches!(state, StateTaken::HandedOver { .. } | StateTaken::AsItWas);
    let (serving, aside) = match switch(running, next, &successor, &record, takes_state) {
        Ok(switched) => switched,
        Err((running, why)) => {
            let _ = answer.send(Err(refused(why)));
            return Ok(running);
        }
    };
    let incarnation = successor.slot.incarnation();
    let _ = answer.send(Ok(Replaced {
        aside: Some(Kept::new(aside, incarnation)),
        state,
    }));
    Ok(serving)
}

/// What ran has ended, and `next` serves in its incarnation.
fn alone(
    mut next: ComponentBehaviour,
    state: StateTaken,
    successor: &Arc<PreparedActor>,
    record: &Record,
    answer: oneshot::Sender<Result<Replaced, Refused>>,
) -> Result<ComponentBehaviour, ExitReason> {
    if let Err(why) = become_revision(record, successor) {
        let _ = answer.send(Err(Refused { why, fresh: None }));
        return Err(ExitReason::Shutdown);
    }
    match &mut next {
        ComponentBehaviour::Live(live) => serve_alone(live),
        ComponentBehaviour::Passive(_) => successor.slot.set_passive(true),
    }
    let _ = answer.send(Ok(Replaced { aside: None, state }));
    Ok(next)
}

/// What speaks against it now, and may not in a while.
fn obstacle(running: &ComponentBehaviour, replacement: &Replacement) -> Option<NotReplaced> {
    if replacement.regardless || matches!(replacement.fresh, Fresh::Tell) {
        return None;
    }
    let held = replacement.successor.slot.resources_held();
    if held > 0 {
        return Some(NotReplaced::HandlesHeld(held));
    }
    // With its state, a successor takes the calls over too.
    let hands_over = matches!(
        replacement.fresh,
        Fresh::HandOver { .. } | Fresh::HandBack { .. }
    );
    match running {
        ComponentBehaviour::Live(live) if !hands_over => match live.owes() {
            0 => None,
            owed => Some(NotReplaced::CallsOwed(owed)),
        },
        _ => None,
    }
}

pub(super) type State = Result<Option<Snapshot>, String>;

/// What it holds in memory. `None` if it holds nothing worth keeping.
pub(super) async fn state_of(
    running: ComponentBehaviour,
    bytes_max: u64,
) -> Result<(ComponentBehaviour, State), ExitReason> {
    match running {
        ComponentBehaviour::Live(live) => {
            let (live, snapshot) = live.snapshot(bytes_max).await?;
            Ok((ComponentBehaviour::Live(live), snapshot.map(Some)))
        }
        ComponentBehaviour::Passive(passive) => {
            let snapshot = passive.snapshot().cloned();
            Ok((ComponentBehaviour::Passive(passive), Ok(snapshot)))
        }
    }
}

pub(super) fn size(snapshot: Option<&Snapshot>) -> u64 {
    let bytes = snapshot.map_or(0, |snapshot| snapshot.bytes.len());
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Makes an instance that does not serve yet, and asks it how it is.
pub(super) async fn make(
    record: &Record,
    successor: &Arc<PreparedActor>,
    snapshot: Option<Snapshot>,
) -> Result<LiveComponent, NotReplaced> {
    let within = successor.spec.start_within;
    let incarnation = successor.slot.incarnation();
    let starting = LiveComponent::start(successor, incarnation, Origin::Aside(snapshot));
    let live = match tokio::time::timeout(within, starting).await {
        Ok(started) => {
            started.map_err(|reason| NotReplaced::NotStarted(ended(record, successor, reason)))?
        }
        Err(_) => {
            let why = format!("not up within {within:?}");
            return Err(NotReplaced::NotStarted(ExitReason::start_failed(&why)));
        }
    };
    match live.health().await {
        Ok((live, ChildHealth::Healthy | ChildHealth::Degraded(_))) => Ok(live),
        Ok((_, ChildHealth::Failed(text))) => {
            let text = said(record, successor, bounded(&text).to_string());
            Err(NotReplaced::Unhealthy(text))
        }
        Err(reason) => {
            let reason = ended(record, successor, reason);
            Err(NotReplaced::Unhealthy(reason.to_string()))
        }
    }
}

/// What a guest says is read by operators: without the values that it was given, or that the one before it was.
fn said(record: &Record, successor: &PreparedActor, text: String) -> String {
    let child = record.child(successor.slot.id());
    let before = match &child {
        Some(PreparedChild::Actor(before)) => Some(&before.spec),
        _ => None,
    };
    // In one go: a value of one may be a part of a value of the other.
    let before = before.into_iter().flat_map(|spec| spec.values());
    without(text, successor.spec.values().chain(before))
}

/// The same of why it has ended.
fn ended(record: &Record, successor: &PreparedActor, reason: ExitReason) -> ExitReason {
    match reason {
        ExitReason::StartFailed(text) => {
            ExitReason::start_failed(&said(record, successor, text.to_string()))
        }
        other => other,
    }
}

/// The old one is gone before the new one is made. If that cannot be, the incarnation ends, and its supervisor starts
/// the old revision again.
async fn instead(
    running: ComponentBehaviour,
    successor: Arc<PreparedActor>,
    record: Arc<Record>,
    answer: oneshot::Sender<Result<Replaced, Refused>>,
) -> Result<ComponentBehaviour, ExitReason> {
    let before = record.child(successor.slot.id());
    let mut running = running;
    if let ComponentBehaviour::Live(live) = &mut running {
        live.step_aside();
    }
    if let ComponentBehaviour::Live(live) = running {
        live.retire().await;
    }
    let mut next = match make(&record, &successor, None).await {
        Ok(live) => live,
        Err(why) => {
            let again = match before {
                Some(PreparedChild::Actor(before)) => make(&record, &before, None).await,
                _ => Err(NotReplaced::Gone),
            };
            let _ = answer.send(Err(Refused { why, fresh: None }));
            let mut live = again.map_err(|why| ExitReason::start_failed(&why.to_string()))?;
            serve_alone(&mut live);
            return Ok(ComponentBehaviour::Live(live));
        }
    };
    if let Err(why) = become_revision(&record, &successor) {
        // Its supervisor starts what it knows of, if it knows of anything.
        let _ = answer.send(Err(Refused { why, fresh: None }));
        return Err(ExitReason::Shutdown);
    }
    serve_alone(&mut next);
    let _ = answer.send(Ok(Replaced {
        aside: None,
        state: StateTaken::None,
    }));
    Ok(ComponentBehaviour::Live(next))
}

/// Nothing takes the place of anything: the instance has another configuration, and says whether it takes it.
async fn tell(
    running: ComponentBehaviour,
    successor: &Arc<PreparedActor>,
    record: &Record,
    answer: oneshot::Sender<Result<Replaced, Refused>>,
) -> Result<ComponentBehaviour, ExitReason> {
    let answered = |told: Result<(), NotReplaced>| {
        let told = told.map(|()| Replaced {
            aside: None,
            state: StateTaken::None,
        });
        // Whoever asked may have left.
        let _ = answer.send(told.map_err(|why| Refused { why, fresh: None }));
    };
    let Start::Component(start) = &successor.spec.start else {
        answered(Err(NotReplaced::NotComponent));
        return Ok(running);
    };
    let live = match running {
        ComponentBehaviour::Live(live) => live,
        // What it held knows of the old configuration: it is brought back, and told.
        ComponentBehaviour::Passive(passive) if passive.snapshot().is_some() => {
            Box::pin(passive.wake()).await?
        }
        ComponentBehaviour::Passive(mut passive) => {
            let done = become_configured(record, successor, &start.config);
            if done.is_ok() {
                passive.follow(successor);
            }
            answered(done);
            return Ok(ComponentBehaviour::Passive(passive));
        }
    };
    let before = Arc::clone(live.configuration());
    let (after, told) = live.reconfigure(&start.config).await;
    if let Err(why) = told {
        // One that was killed has not refused: the next one is asked.
        if matches!(after, Err(ExitReason::Killed)) {
            return after.map(ComponentBehaviour::Live);
        }
        answered(Err(NotReplaced::ConfigRefused(why)));
        return after.map(ComponentBehaviour::Live);
    }
    let mut live = after?;
    let done = become_configured(record, successor, &start.config);
    if done.is_ok() {
        live.follow(successor);
    } else {
        live.configure(&before);
    }
    answered(done);
    Ok(ComponentBehaviour::Live(live))
}

/// The actor has this configuration from now on, whatever is started of it.
fn become_configured(
    record: &Record,
    successor: &Arc<PreparedActor>,
    config: &Configuration,
) -> Result<(), NotReplaced> {
    record.respec(successor)?;
    let slot = &successor.slot;
    slot.shared().emit(Event::Configured {
        address: slot.address().clone(),
        incarnation: slot.incarnation(),
        revision: config.revision(),
    });
    Ok(())
}

fn serve_alone(live: &mut LiveComponent) {
    live.serve(None);
    if let Some(plane) = live.plane_mut() {
        plane.take_over(None);
    }
}

/// The one step in which everything changes. Gives the one that runs back if its supervisor has forgotten it.
fn switch(
    mut running: ComponentBehaviour,
    mut next: ComponentBehaviour,
    successor: &Arc<PreparedActor>,
    record: &Record,
    takes_state: bool,
) -> Result<(ComponentBehaviour, ComponentBehaviour), (ComponentBehaviour, NotReplaced)> {
    if let Err(why) = become_revision(record, successor) {
        return Err((running, why));
    }
    let slot = &successor.slot;
    let before = match &mut running {
        ComponentBehaviour::Live(before) => Some(before),
        ComponentBehaviour::Passive(_) => None,
    };
    match (&mut next, before) {
        (ComponentBehaviour::Live(next), Some(before)) => {
            if takes_state {
                next.inherit(before);
            } else {
                before.hand_over_plane(next);
            }
            next.serve(Some(before));
        }
        (ComponentBehaviour::Live(next), None) => serve_alone(next),
        (ComponentBehaviour::Passive(_), before) => {
            if let Some(before) = before {
                before.step_aside();
            }
            slot.set_passive(true);
        }
    }
    Ok((next, running))
}

/// The actor is this revision from now on: for its supervisor, and for callers that resolve functions in it.
pub(crate) fn become_revision(
    record: &Record,
    successor: &Arc<PreparedActor>,
) -> Result<(), NotReplaced> {
    record.respec(successor)?;
    has_become(successor);
    Ok(())
}

/// The same while nobody supervises it: `None` if somebody does, or is about to.
pub(super) fn become_revision_while_down(
    record: &Record,
    successor: &Arc<PreparedActor>,
) -> Option<Result<(), NotReplaced>> {
    let done = record.respec_while_down(successor)?;
    if done.is_ok() {
        has_become(successor);
    }
    Some(done)
}

fn has_become(successor: &PreparedActor) {
    let slot = &successor.slot;
    let after = successor.spec.passivation().map(|asked| asked.after);
    Sweep::change(slot, after);
    if let Start::Component(start) = &successor.spec.start {
        slot.shared().emit(Event::Upgraded {
            address: slot.address().clone(),
            incarnation: slot.incarnation(),
            digest: start.template.digest().hex().into(),
        });
    }
}
