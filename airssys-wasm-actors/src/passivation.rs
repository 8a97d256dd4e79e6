//! Passivation: an actor that has had nothing to do for a while gives up its instance.
//!
//! Owns [`Passivation`], the behaviour of a component actor with its two forms ([`ComponentBehaviour`]), and
//! the sweep that finds who is idle ([`Sweep`]). Only the instance goes, with its memory and its place in the
//! pool: the actor, its mailbox, address, monitors, counters and incarnation number stay, and its supervisor
//! hears nothing. The next message brings it back: a new instance, `restore` with the snapshot where there is
//! one and `init` where there is none, and then the message. If that fails, the message is put back, and the
//! incarnation ends; its successor begins afresh, without the snapshot.
//!
//! No message pays for it: the sweep, one task for a system, compares counts that are kept anyway.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use airssys_wasm::{Args, CallOutcome, ExportId, FromValue, IntoArgs, Value};
use bytes::Bytes;
use futures_util::future::Either;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::component::{LiveComponent, Origin, Snapshot};
use crate::crashes::Given;
use crate::drain::Behaviour;
use crate::envelope::{CallContext, Envelope};
use crate::error::CallError;
use crate::events::Event;
use crate::exit::{ExitReason, bounded};
use crate::health::ChildHealth;
use crate::mailbox::Control;
use crate::reply::Answer;
use crate::resting::{AtRest, Resting};
use crate::signal::Signal;
use crate::slot::Slot;
use crate::supervisor::PreparedActor;
use crate::sync::Mutex;
use crate::upgrade::{Replacement, replace};

/// When a component actor gives up its instance, and what of it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passivation {
    /// How long it must have had nothing to do. Looked at every quarter of it, at most a minute apart.
    pub after: Duration,
    /// It holds nothing worth keeping: a new instance is as good. Otherwise its component has to export
    /// `airssys:actor/state`.
    pub stateless: bool,
    /// Largest snapshot in bytes (default 1 MiB). One that is larger is not kept, and the instance stays.
    pub snapshot_bytes_max: u64,
}

impl Passivation {
    /// After so long, with a snapshot of at most 1 MiB.
    #[must_use]
    pub fn new(after: Duration) -> Self {
        Self {
            after,
            stateless: false,
            snapshot_bytes_max: 1 << 20,
        }
    }
}

/// A component actor.
pub(crate) enum ComponentBehaviour {
    Live(LiveComponent),
    /// Without an instance.
    Passive(Box<PassiveComponent>),
}

impl ComponentBehaviour {
    /// What a new incarnation begins with: what was kept of another one, or else an instance that is made.
    pub(crate) async fn start(
        child: &Arc<PreparedActor>,
        incarnation: u64,
        kept: Option<Self>,
    ) -> Result<LiveComponent, ExitReason> {
        let snapshot = match kept {
            Some(Self::Live(mut live)) => {
                // Its links may have been resolved again since it was put aside.
                live.link(&child.targets);
                live.serve(None);
                return Ok(live);
            }
            Some(Self::Passive(passive)) => passive.snapshot,
            None => None,
        };
        LiveComponent::start(child, incarnation, Origin::New(snapshot)).await
    }
}

/// What is left of an instance, and how there is one again.
pub(crate) struct PassiveComponent {
    child: Arc<PreparedActor>,
    incarnation: u64,
    snapshot: Option<Snapshot>,
}

impl PassiveComponent {
    /// What it held, if it held anything worth keeping.
    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// Is made of this, when it has an instance again.
    pub(crate) fn follow(&mut self, child: &Arc<PreparedActor>) {
        self.child = Arc::clone(child);
    }

    /// Makes an instance as it was.
    pub(crate) async fn wake(self) -> Result<LiveComponent, ExitReason> {
        let Self {
            child,
            incarnation,
            snapshot,
        } = self;
        let slot = Arc::clone(&child.slot);
        let live = LiveComponent::start(&child, incarnation, Origin::Again(snapshot)).await?;
        slot.set_passive(false);
        slot.shared().emit(Event::Activated {
            address: slot.address().clone(),
            incarnation,
        });
        Ok(live)
    }

    /// Makes an instance for a message. If that fails, the next incarnation has the message first.
    async fn wake_for(
        self: Box<Self>,
        envelope: Box<Envelope>,
    ) -> Result<(LiveComponent, Box<Envelope>), ExitReason> {
        let slot = Arc::clone(&self.child.slot);
        let kept = PutBack {
            slot: &slot,
            envelope: Some(envelope),
        };
        let live = self.wake().await?;
        match kept.take() {
            Some(envelope) => Ok((live, envelope)),
            // It is only taken here.
            None => Err(ExitReason::Killed),
        }
    }
}

/// A message that has not begun; also when the wake-up is dropped in the middle, it is kept.
struct PutBack<'a> {
    slot: &'a Slot,
    envelope: Option<Box<Envelope>>,
}

impl PutBack<'_> {
    fn take(mut self) -> Option<Box<Envelope>> {
        self.envelope.take()
    }
}

impl Drop for PutBack<'_> {
    fn drop(&mut self) {
        if let Some(envelope) = self.envelope.take() {
            self.slot.put_back(envelope);
        }
    }
}

impl AtRest for ComponentBehaviour {
    /// Without a layer of its own around the call of a live one: on the short road its future is allocated.
    fn call(
        self,
        export: ExportId,
        args: Args,
        context: CallContext,
        given: Given,
    ) -> impl Future<Output = (Answer, Result<Self, ExitReason>)> + Send {
        match self {
            Self::Live(live) => {
                Either::Left(live.call(export, args, context, given, |answer, after| {
                    (answer, after.map(Self::Live))
                }))
            }
            // It does not lie where callers look (`rests`); a message could not be put back from here.
            Self::Passive(passive) => {
                Either::Right(woken_call(passive, export, args, context, given))
            }
        }
    }
}

type Called = (Answer, Result<ComponentBehaviour, ExitReason>);

/// The call of one that is brought back for it.
#[cold]
fn woken_call(
    passive: Box<PassiveComponent>,
    export: ExportId,
    args: Args,
    context: CallContext,
    given: Given,
) -> Pin<Box<dyn Future<Output = Called> + Send>> {
    Box::pin(async move {
        let address = passive.child.slot.address().clone();
        match passive.wake().await {
            Ok(live) => {
                let end =
                    |answer, after: Result<_, _>| (answer, after.map(ComponentBehaviour::Live));
                live.call(export, args, context, given, end).await
            }
            Err(reason) => {
                let died = CallError::CalleeDied {
                    address,
                    reason: reason.clone(),
                };
                (Err(died), Err(reason))
            }
        }
    })
}

impl Behaviour for ComponentBehaviour {
    fn rests(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    fn place(slot: &Slot) -> Option<&Resting<Self>> {
        Some(slot.resting())
    }

    /// A call of a live one without a layer of its own around it; what is rarer in a box, so that it does not make
    /// every message's future larger.
    fn deliver(
        self,
        envelope: Box<Envelope>,
    ) -> impl Future<Output = Result<Self, ExitReason>> + Send {
        match self {
            Self::Live(live) if !live.is_handler(envelope.export) => {
                Either::Left(live.deliver(envelope, Self::Live))
            }
            other => Either::Right(Box::pin(async move {
                let (live, envelope) = match other {
                    Self::Live(live) => (live, envelope),
                    Self::Passive(passive) => passive.wake_for(envelope).await?,
                };
                if live.is_handler(envelope.export) {
                    live.handle(envelope).await.map(Self::Live)
                } else {
                    live.deliver(envelope, Self::Live).await
                }
            })),
        }
    }

    async fn release(self) -> Result<Self, ExitReason> {
        match self {
            Self::Live(live) => live.release().await.map(Self::Live),
            passive => Ok(passive),
        }
    }

    /// One that hears of the ends of others is brought back for it.
    async fn signal(self, signal: Signal) -> Result<Self, ExitReason> {
        let live = match self {
            Self::Live(live) => live,
            Self::Passive(passive) if passive.child.hooks.has_signals() => {
                Box::pin(passive.wake()).await?
            }
            passive => return Ok(passive),
        };
        live.signal(signal).await.map(Self::Live)
    }

    async fn passivate(self) -> Result<Self, ExitReason> {
        match self {
            Self::Live(live) => Box::pin(passivate(live)).await,
            passive => Ok(passive),
        }
    }

    fn owes(&self) -> usize {
        match self {
            Self::Live(live) => live.owes(),
            Self::Passive(_) => 0,
        }
    }

    async fn replace(self, replacement: Box<Replacement>) -> Result<Self, ExitReason> {
        replace(self, replacement).await
    }

    /// One without an instance is not woken to be asked.
    async fn health(self) -> Result<(Self, ChildHealth), ExitReason> {
        match self {
            Self::Live(live) => {
                let (live, health) = live.health().await?;
                Ok((Self::Live(live), health))
            }
            passive => Ok((passive, ChildHealth::Healthy)),
        }
    }

    async fn stop(self, reason: ExitReason) -> ExitReason {
        match self {
            Self::Live(live) => live.stop(reason).await,
            Self::Passive(_) => reason,
        }
    }
}

/// Takes the snapshot and drops the instance; or lets it stay, if anything speaks against it.
async fn passivate(mut live: LiveComponent) -> Result<ComponentBehaviour, ExitReason> {
    let Some((child, incarnation)) = live.revival() else {
        return Ok(ComponentBehaviour::Live(live));
    };
    let slot = Arc::clone(&child.slot);
    let Some(passivation) = child.spec.passivation() else {
        return Ok(ComponentBehaviour::Live(live));
    };
    // A message has come since it was asked, or others hold its resources: they would dangle.
    if slot.mailbox().has_queued() || slot.resources_held() > 0 {
        return Ok(ComponentBehaviour::Live(live));
    }
    let mut snapshot = None;
    if !passivation.stateless {
        match live.snapshot(passivation.snapshot_bytes_max).await? {
            (mut gone, Ok(bytes)) => {
                // It goes on, and what it does without an instance is not to be weighed down by this.
                gone.forget();
                snapshot = Some(bytes);
            }
            (back, Err(why)) => {
                let address = slot.address();
                tracing::warn!(%address, %why, "the instance stays: there is no snapshot of it");
                live = back;
                slot.shared().emit(Event::SnapshotFailed {
                    address: address.clone(),
                    why: why.into(),
                });
                return Ok(ComponentBehaviour::Live(live));
            }
        }
    } else {
        live.forget();
        drop(live);
    }
    slot.set_passive(true);
    slot.shared().emit(Event::Passivated {
        address: slot.address().clone(),
        incarnation,
    });
    Ok(ComponentBehaviour::Passive(Box::new(PassiveComponent {
        child,
        incarnation,
        snapshot,
    })))
}

/// Who is looked at, one for a system.
#[derive(Default)]
pub(crate) struct Sweep {
    watched: Mutex<Watched>,
    /// Somebody is new, and may be due before the next look.
    joined: Arc<Notify>,
}

#[derive(Default)]
struct Watched {
    slots: Vec<Idle>,
    /// The task is there.
    swept: bool,
    /// When it looks again.
    next: Option<Instant>,
}

/// How long one slot has been seen to do nothing.
struct Idle {
    slot: Weak<Slot>,
    after: Duration,
    /// Messages it had got when it was last seen to do something, and when that was.
    messages: u64,
    since: Instant,
}

/// How far apart two looks are, at least and at most.
const LOOK_AFTER_MIN: Duration = Duration::from_millis(10);
const LOOK_AFTER_MAX: Duration = Duration::from_secs(60);

/// How long after a look the next one is due, for one that may be idle for so long.
fn look_after(after: Duration) -> Duration {
    (after / 4).clamp(LOOK_AFTER_MIN, LOOK_AFTER_MAX)
}

impl Sweep {
    /// Has `slot` looked at from now on. Must be called in the system's runtime.
    pub(crate) fn watch(slot: &Arc<Slot>, after: Duration) {
        let shared = slot.shared();
        let sweep = shared.sweep();
        let mut watched = sweep.watched.lock();
        watched.slots.push(Idle {
            slot: Arc::downgrade(slot),
            after,
            messages: 0,
            since: Instant::now(),
        });
        if std::mem::replace(&mut watched.swept, true) {
            let due = Instant::now() + look_after(after);
            if watched.next.is_some_and(|next| due < next) {
                watched.next = Some(due);
                sweep.joined.notify_one();
            }
            return;
        }
        let (shared, joined) = (Arc::downgrade(shared), Arc::clone(&sweep.joined));
        tokio::spawn(async move {
            let look = || shared.upgrade().and_then(|shared| shared.sweep().look());
            while let Some(next) = look() {
                // Over early for somebody new who is due before.
                let _ = tokio::time::timeout(next, joined.notified()).await;
            }
        });
    }

    /// Has `slot` looked at with another idle time from now on, or no longer.
    pub(crate) fn change(slot: &Arc<Slot>, after: Option<Duration>) {
        let same = |idle: &Idle| idle.slot.as_ptr() == Arc::as_ptr(slot);
        {
            let mut watched = slot.shared().sweep().watched.lock();
            watched.slots.retain(|idle| !same(idle));
        }
        if let Some(after) = after {
            Self::watch(slot, after);
        }
    }

    /// Asks who has been idle for long enough to give up its instance; says when to look again, if there is
    /// still anybody to look at.
    fn look(&self) -> Option<Duration> {
        let mut watched = self.watched.lock();
        let now = Instant::now();
        let mut next = LOOK_AFTER_MAX;
        watched.slots.retain_mut(|idle| {
            let Some(slot) = idle.slot.upgrade() else {
                return false;
            };
            next = next.min(look_after(idle.after));
            idle.look(&slot, now);
            // One that is only stopped may be started again.
            slot.shared().by_id(slot.id()).is_some()
        });
        watched.swept = !watched.slots.is_empty();
        watched.next = watched.swept.then_some(now + next);
        watched.swept.then_some(next)
    }
}

impl Idle {
    fn look(&mut self, slot: &Slot, now: Instant) {
        let counts = slot.counters().read();
        let messages = counts.calls.saturating_add(counts.casts);
        let quiet = slot.lane().is_idle() && slot.mailbox().usage().0 == 0;
        if slot.is_passive() || !quiet || messages != self.messages {
            self.messages = messages;
            self.since = now;
        } else if now.saturating_duration_since(self.since) >= self.after {
            self.since = now;
            slot.lane().ask(Control::Passivate);
        }
    }
}

/// What `snapshot` answered: `result<list<u8>, string>`.
pub(crate) fn snapshot_of(answer: Option<Value>, bytes_max: u64) -> Result<Bytes, String> {
    match answer {
        Some(Value::Result(Ok(Some(bytes)))) => {
            let bytes = Bytes::from_value(*bytes)
                .map_err(|_| "`snapshot` answered in another type".to_owned())?;
            let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            if size > bytes_max {
                return Err(format!(
                    "it has {size} bytes, more than the limit `snapshot-bytes-max` of {bytes_max}"
                ));
            }
            Ok(bytes)
        }
        Some(Value::Result(Err(Some(message)))) => match *message {
            Value::String(text) => Err(format!("`snapshot` refused: {}", bounded(&text))),
            other => Err(format!("`snapshot` refused: {}", other.kind())),
        },
        _ => Err("`snapshot` answered in another type".to_owned()),
    }
}

/// Why there is no snapshot of one that says too much.
pub(crate) fn too_large(bytes_max: u64) -> String {
    format!("it has more than the limit `snapshot-bytes-max` of {bytes_max} bytes")
}

/// How the call of `restore` ended: `result<_, string>`.
pub(crate) fn restored(outcome: CallOutcome) -> Result<airssys_wasm::Instance, ExitReason> {
    match outcome {
        CallOutcome::Returned(instance, results) => match results.into_values().next() {
            Some(Value::Result(Err(Some(message)))) => {
                let text = match *message {
                    Value::String(text) => String::from(text),
                    other => other.kind().to_owned(),
                };
                let refused = format!("`restore` refused: {text}");
                Err(ExitReason::start_failed(&refused))
            }
            _ => Ok(instance),
        },
        CallOutcome::Refused(_, why) => Err(ExitReason::start_failed(&format!(
            "`restore` has another signature: {why}"
        ))),
        CallOutcome::Died(fault) => Err(ExitReason::start_failed(&format!(
            "`restore` failed: {fault}"
        ))),
    }
}

/// The arguments of `restore`.
pub(crate) fn restore_args(version: &str, snapshot: Bytes) -> Args {
    (version, Value::Bytes(snapshot)).into_args()
}
