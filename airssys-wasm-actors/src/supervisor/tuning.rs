//! How a child is supervised, as opposed to what it is.
//!
//! Owns [`Tuning`], the part of a [`ChildSpec`] that no revision has: it is changed by itself, while any revision runs, and
//! stays when that is taken back. A revision that comes with another tuning changes it, and takes back what of that nobody
//! has changed since. Costs a copy of a spec each time; nothing is told to anybody here.

use std::sync::Arc;
use std::time::Duration;

use super::child::{ChildSpec, PreparedActor, ShutdownPolicy};
use super::decide::RestartPolicy;
use super::spec::Backoff;
use crate::health::HealthCheck;

/// What only the supervisor of a child knows of it, and no revision of it: it is changed by itself, at any time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tuning {
    restart: RestartPolicy,
    shutdown: ShutdownPolicy,
    significant: bool,
    backoff: Option<Backoff>,
    health: Option<HealthCheck>,
    start_within: Duration,
}

impl Tuning {
    pub(crate) fn of(spec: &ChildSpec) -> Self {
        Self {
            restart: spec.restart,
            shutdown: spec.shutdown,
            significant: spec.significant,
            backoff: spec.backoff,
            health: spec.health,
            start_within: spec.start_within,
        }
    }

    pub(crate) fn put_into(self, spec: &mut ChildSpec) {
        let Self {
            restart,
            shutdown,
            significant,
            backoff,
            health,
            start_within,
        } = self;
        spec.restart = restart;
        spec.shutdown = shutdown;
        spec.significant = significant;
        spec.backoff = backoff;
        spec.health = health;
        spec.start_within = start_within;
    }

    /// This one, with what is not any more as it was `before` as it is `now`.
    fn after(self, before: Self, now: Self) -> Self {
        fn one<T: PartialEq>(wanted: T, before: T, now: T) -> T {
            if now == before { wanted } else { now }
        }
        Self {
            restart: one(self.restart, before.restart, now.restart),
            shutdown: one(self.shutdown, before.shutdown, now.shutdown),
            significant: one(self.significant, before.significant, now.significant),
            backoff: one(self.backoff, before.backoff, now.backoff),
            health: one(self.health, before.health, now.health),
            start_within: one(self.start_within, before.start_within, now.start_within),
        }
    }
}

impl PreparedActor {
    /// The same actor, supervised so.
    pub(crate) fn tuned(&self, tuning: Tuning) -> Self {
        let mut spec = self.spec.clone();
        tuning.put_into(&mut spec);
        Self {
            spec,
            slot: Arc::clone(&self.slot),
            targets: Arc::clone(&self.targets),
            hooks: self.hooks,
            standing: Arc::clone(&self.standing),
            follows: self.follows,
            tuned_from: tuning,
        }
    }

    /// The same actor in the place of the one that runs: what has been changed of how that is supervised since this was
    /// prepared stays.
    pub(crate) fn in_place_of(self: &Arc<Self>, now: &Self) -> Arc<Self> {
        let wanted = Tuning::of(&self.spec);
        let tuning = wanted.after(self.tuned_from, Tuning::of(&now.spec));
        if tuning == wanted {
            return Arc::clone(self);
        }
        Arc::new(self.tuned(tuning))
    }
}
