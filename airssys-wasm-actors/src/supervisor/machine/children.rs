//! The children of a supervisor, by id and in start order.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::address::ActorId;
use crate::exit::ExitReason;
use crate::ids::IdMap;
use crate::supervisor::ShutdownPolicy;
use crate::supervisor::decide::RestartPolicy;
use crate::supervisor::spec::Backoff;

/// Where a child is.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// Nothing runs, and nothing will by itself.
    Stopped,
    Starting,
    Running,
    /// Asked to end, or killed, by its supervisor.
    Stopping,
    /// It has ended by itself, and what follows has not been decided.
    Exited(ExitReason),
    /// It will be tried again. `counted` says whether the window knows of the try.
    Restarting {
        counted: bool,
    },
}

impl Phase {
    fn is_same(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// What OTP counts as a child that has a process.
    fn is_up(&self) -> bool {
        !matches!(self, Self::Stopped)
    }
}

/// What is done about a child.
#[derive(Debug, Clone, Copy)]
pub(in crate::supervisor) struct ChildPolicy {
    pub(in crate::supervisor) restart: RestartPolicy,
    pub(in crate::supervisor) shutdown: ShutdownPolicy,
    pub(in crate::supervisor) significant: bool,
    pub(in crate::supervisor) is_supervisor: bool,
    /// Its own crash loops have ended its supervisor too often: it is not started at a boot.
    pub(in crate::supervisor) quarantined: bool,
}

#[derive(Debug)]
pub(super) struct Child {
    policy: ChildPolicy,
    phase: Phase,
    /// The newest that was begun.
    incarnation: u64,
    place: u64,
    /// Of the few whose restarts wait.
    waits: Option<Box<Waits>>,
    /// Why it was asked to end, if it was not for its supervisor's sake.
    verdict: Option<Box<ExitReason>>,
}

#[derive(Debug)]
struct Waits {
    backoff: Backoff,
    /// Ends in a row, each soon after the start.
    streak: u32,
    up_since: Option<Instant>,
}

impl Waits {
    fn new(backoff: Backoff) -> Box<Self> {
        Box::new(Self {
            backoff,
            streak: 0,
            up_since: None,
        })
    }
}

impl Child {
    pub(super) fn new(policy: ChildPolicy, backoff: Option<Backoff>, incarnation: u64) -> Self {
        Self {
            policy,
            phase: Phase::Stopped,
            incarnation,
            place: 0,
            waits: backoff.map(Waits::new),
            verdict: None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Children {
    known: IdMap<Child>,
    /// Start order.
    order: BTreeMap<u64, ActorId>,
    next_place: u64,
    significant_up: usize,
}

impl Children {
    /// Adds one at the end.
    pub(super) fn insert(&mut self, id: ActorId, mut child: Child) {
        child.place = self.next_place;
        self.next_place += 1;
        self.order.insert(child.place, id);
        self.known.insert(id, child);
    }

    pub(super) fn remove(&mut self, id: ActorId) {
        if let Some(child) = self.known.remove(&id) {
            self.order.remove(&child.place);
            if child.policy.significant && child.phase.is_up() {
                self.significant_up -= 1;
            }
        }
    }

    pub(super) fn reorder(&mut self, first: &[ActorId]) {
        let named: HashSet<_> = first.iter().copied().collect();
        let rest: Vec<_> = self.order.values().copied().collect();
        let rest = rest.into_iter().filter(|id| !named.contains(id));
        let order: Vec<_> = first.iter().copied().chain(rest).collect();
        self.order.clear();
        for id in order {
            let Some(child) = self.known.get_mut(&id) else {
                continue;
            };
            child.place = self.next_place;
            self.next_place += 1;
            self.order.insert(child.place, id);
        }
    }

    pub(super) fn set(&mut self, id: ActorId, phase: Phase) {
        if let Some(child) = self.known.get_mut(&id) {
            let before = std::mem::replace(&mut child.phase, phase);
            if child.policy.significant {
                self.significant_up += usize::from(child.phase.is_up());
                self.significant_up -= usize::from(before.is_up());
            }
        }
    }

    pub(super) fn set_backoff(&mut self, id: ActorId, backoff: Option<Backoff>) {
        if let Some(child) = self.known.get_mut(&id) {
            match (&mut child.waits, backoff) {
                (Some(waits), Some(backoff)) => waits.backoff = backoff,
                (waits, backoff) => *waits = backoff.map(Waits::new),
            }
        }
    }

    pub(super) fn set_policy(&mut self, id: ActorId, policy: ChildPolicy) {
        if let Some(child) = self.known.get_mut(&id) {
            if child.phase.is_up() {
                self.significant_up += usize::from(policy.significant);
                self.significant_up -= usize::from(child.policy.significant);
            }
            child.policy = policy;
        }
    }

    /// The next incarnation is begun.
    pub(super) fn begin(&mut self, id: ActorId) {
        self.set(id, Phase::Starting);
        if let Some(child) = self.known.get_mut(&id) {
            child.incarnation += 1;
            child.verdict = None;
            if let Some(waits) = &mut child.waits {
                waits.up_since = None;
            }
        }
    }

    pub(super) fn is(&self, id: ActorId, incarnation: u64, phase: &Phase) -> bool {
        self.known
            .get(&id)
            .is_some_and(|child| child.incarnation == incarnation && child.phase.is_same(phase))
    }

    pub(super) fn phase(&self, id: ActorId) -> Option<&Phase> {
        self.known.get(&id).map(|child| &child.phase)
    }

    /// Where this incarnation of a child is; `None` if it is not the newest.
    pub(super) fn phase_of(&self, id: ActorId, incarnation: u64) -> Option<Phase> {
        let child = self.known.get(&id)?;
        (child.incarnation == incarnation).then(|| child.phase.clone())
    }

    pub(super) fn policy(&self, id: ActorId) -> Option<ChildPolicy> {
        self.known.get(&id).map(|child| child.policy)
    }

    pub(super) fn restart(&self, id: ActorId) -> Option<RestartPolicy> {
        self.policy(id).map(|policy| policy.restart)
    }

    pub(super) fn incarnation(&self, id: ActorId) -> u64 {
        self.known.get(&id).map_or(0, |child| child.incarnation)
    }

    pub(super) fn in_order(&self) -> impl Iterator<Item = ActorId> + '_ {
        self.order.values().copied()
    }

    /// This one and those started after it.
    pub(super) fn from(&self, id: ActorId) -> impl Iterator<Item = ActorId> + '_ {
        let place = self.known.get(&id).map_or(u64::MAX, |child| child.place);
        self.order.range(place..).map(|(_, id)| *id)
    }

    /// Significant children that are not stopped.
    pub(super) fn significant_up(&self) -> usize {
        self.significant_up
    }

    fn waits(&mut self, id: ActorId) -> Option<&mut Waits> {
        self.known.get_mut(&id)?.waits.as_deref_mut()
    }

    pub(super) fn up_since(&mut self, id: ActorId, now: Instant) {
        if let Some(waits) = self.waits(id) {
            waits.up_since = Some(now);
        }
    }

    /// It has ended: soon after its start again, or after it had run for long.
    pub(super) fn count_streak(&mut self, id: ActorId, now: Instant) {
        let Some(waits) = self.waits(id) else {
            return;
        };
        let since = waits.up_since;
        let ran = since.map(|since| now.saturating_duration_since(since));
        if ran.is_some_and(|ran| ran >= waits.backoff.reset_after) {
            waits.streak = 0;
        }
    }

    /// How long to wait before the next try, which is one more in a row.
    pub(super) fn next_delay(&mut self, id: ActorId) -> Duration {
        let seed = id.0 ^ (self.incarnation(id) << 32);
        let Some(waits) = self.waits(id) else {
            return Duration::ZERO;
        };
        let delay = waits.backoff.delay(waits.streak, seed);
        waits.streak = waits.streak.saturating_add(1);
        delay
    }

    pub(super) fn give_verdict(&mut self, id: ActorId, reason: ExitReason) {
        if let Some(child) = self.known.get_mut(&id) {
            child.verdict = Some(Box::new(reason));
        }
    }

    pub(super) fn has_verdict(&self, id: ActorId) -> bool {
        let child = self.known.get(&id);
        child.is_some_and(|child| child.verdict.is_some())
    }

    pub(super) fn take_verdict(&mut self, id: ActorId) -> Option<ExitReason> {
        let verdict = self.known.get_mut(&id)?.verdict.take()?;
        Some(*verdict)
    }
}
